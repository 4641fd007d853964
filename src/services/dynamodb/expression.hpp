// DynamoDB's expressions: conditions, key conditions, updates, projections; parsed and applied at once.
// Source: DynamoDB Developer Guide, "Using expressions", "Comparison operator and function reference", "Update expressions".
// Errors are ValidationException's messages.
#pragma once
#include <expected>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/json.hpp"

namespace snapward::services::dynamodb {

// #names and :values of a request, and which of them were used.
class Substitutes {
 public:
  static std::expected<Substitutes, std::string> from(const Json& input);
  const std::string* name(const std::string& placeholder);
  const Json* value(const std::string& placeholder);
  // What no expression has used, as DynamoDB complains of it.
  [[nodiscard]] std::optional<std::string> unused() const;

 private:
  std::map<std::string, std::string> names_;
  std::map<std::string, Json> values_;
  std::set<std::string> used_;
};

// kind: "ConditionExpression", "FilterExpression"…: errors begin with it. It may not speak of `keys`, as a query's filter may not.
std::expected<bool, std::string> holds(const std::string& kind, const std::string& expression, Substitutes& with, const Json& item,
                                       const std::set<std::string>& keys = {});

// The item after an update; which attributes at the top were touched.
struct Updated {
  Json item;
  std::set<std::string> touched;
};
std::expected<Updated, std::string> update(const std::string& expression, Substitutes& with, const Json& item,
                                           const std::set<std::string>& keys);

std::expected<Json, std::string> project(const std::string& expression, Substitutes& with, const Json& item);

// A key condition: the partition's value, and what its sort key must be.
struct KeyCondition {
  Json partition;
  enum class Kind { any, equal, less, at_most, greater, at_least, between, begins } kind = Kind::any;
  Json first, second;
  [[nodiscard]] bool accepts(const Json& sort) const;
};
std::expected<KeyCondition, std::string> key_condition(const std::string& expression, Substitutes& with, const std::string& partition_name,
                                                       const std::string& sort_name);

}  // namespace snapward::services::dynamodb
