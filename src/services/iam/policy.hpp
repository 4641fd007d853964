// What a policy says of a request: IAM's evaluation of one document. Pure.
// Source: IAM User Guide, "Policy evaluation logic" and "IAM JSON policy elements reference".
//
// Not evaluated: policy variables, session and permissions boundaries. A condition with an operator that is not known here
// keeps an Allow from holding and lets a Deny hold: what is not understood admits nobody.
#pragma once
#include <map>
#include <string>

#include "base/json.hpp"

namespace snapward::services::iam {

struct Request {
  std::string service;                                           // who asks: a service's principal, "events.amazonaws.com",
  std::string role;                                              // or a role, by its ARN
  std::string action;                                            // "sqs:SendMessage"
  std::string resource;                                          // ARN; empty: an action that names none
  std::map<std::string, std::string, std::less<>> context = {};  // of conditions, keys in lower case: "aws:sourcearn"
};

enum class Verdict { silent, allowed, denied };
enum class PolicyOf { identity, resource };  // a resource's policy names who it is for

Verdict judge(const Json& document, PolicyOf of, const Request& request);
// Of several documents: one that denies decides, else one that allows.
inline Verdict together(Verdict a, Verdict b) { return a > b ? a : b; }

}  // namespace snapward::services::iam
