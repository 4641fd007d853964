// Permissions: whether one service may call another, for `snapward serve --enforce-iam`. A caller that takes a role needs the role's
// trust and either the role's policies or the called resource's; one that comes as itself needs the resource's. A Deny anywhere decides.
// Clients' own calls are not judged: the local cloud trusts its clients.
//
// Known of AWS's own managed policies: those in permissions.cpp; another one grants nothing, and is logged.
#pragma once
#include <expected>
#include <functional>
#include <string>
#include <vector>

#include "services/iam/iam.hpp"
#include "services/service.hpp"

namespace snapward::services {

// What a call needs: "sqs:SendMessage" on the queue's ARN. The resource is empty where none can be told.
struct Need {
  std::string action, resource;
};
std::vector<Need> needs_of(const Call& call, const std::string& account);  // one for each resource that it touches

// policy: of the resource that is called, null when it has none. Gives the error that the called service would answer with.
std::expected<void, cloud::Error> permitted(const iam::Iam& iam, const Call& call, const std::string& account,
                                            const std::function<Json(const Need&)>& policy);

}  // namespace snapward::services
