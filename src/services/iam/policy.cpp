#include "services/iam/policy.hpp"

#include <algorithm>
#include <charconv>
#include <functional>
#include <optional>

#include "base/text.hpp"

namespace snapward::services::iam {

namespace {

// A member that may be one value or a list.
Json::Array listed(const Json& value) {
  if (value.is_array()) return value.as_array();
  return value.is_null() ? Json::Array{} : Json::Array{value};
}
bool any(const Json& value, const std::function<bool(std::string_view)>& holds) {
  const Json::Array all = listed(value);
  return std::any_of(all.begin(), all.end(), [&](const Json& one) { return holds(one.string_or()); });
}

bool names_action(const Json& actions, const std::string& action) {
  return any(actions, [&](std::string_view pattern) { return wildcard_match(lower(pattern), lower(action)); });
}
// What names no resource is admitted by any.
bool names_resource(const Json& resources, const std::string& resource) {
  return any(resources, [&](std::string_view pattern) { return resource.empty() || wildcard_match(pattern, resource); });
}

bool names_principal(const Json& principal, const Request& request) {
  if (principal.string_or() == "*") return true;
  if (!request.service.empty() && request.role.empty())
    return any(principal["Service"], [&](std::string_view one) { return one == request.service; });
  return any(principal["AWS"], [&](std::string_view one) { return one == "*" || one == request.role; });
}

std::optional<double> number(std::string_view text) {
  double out = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc{} && end == text.data() + text.size() ? std::optional(out) : std::nullopt;
}

// How one wanted value is compared with the one there is; nothing for an operator that is not known.
using Compare = std::function<bool(std::string_view wanted, std::string_view found)>;
std::optional<Compare> comparison(std::string_view name) {
  const auto order = [](auto holds) -> Compare {
    return [holds](std::string_view wanted, std::string_view found) {
      const auto w = number(wanted), f = number(found);
      return w && f && holds(*f, *w);
    };
  };
  if (name == "StringEquals") return [](auto wanted, auto found) { return wanted == found; };
  if (name == "StringEqualsIgnoreCase" || name == "Bool") return [](auto wanted, auto found) { return lower(wanted) == lower(found); };
  if (name == "StringLike" || name == "ArnEquals" || name == "ArnLike")
    return [](auto wanted, auto found) { return wildcard_match(wanted, found); };
  if (name == "NumericEquals") return order(std::equal_to<>());
  if (name == "NumericLessThan") return order(std::less<>());
  if (name == "NumericLessThanEquals") return order(std::less_equal<>());
  if (name == "NumericGreaterThan") return order(std::greater<>());
  if (name == "NumericGreaterThanEquals") return order(std::greater_equal<>());
  return std::nullopt;
}

enum class Condition { holds, fails, unknown };

Condition condition(std::string_view name, std::string_view key, const Json& wanted, const Request& request) {
  const auto found = request.context.find(lower(key));
  const bool there = found != request.context.end();
  if (name == "Null")
    return any(wanted, [&](auto value) { return (lower(value) == "true") == !there; }) ? Condition::holds : Condition::fails;
  for (const std::string_view set : {"ForAnyValue:", "ForAllValues:"})  // every key here has one value
    if (name.starts_with(set)) name.remove_prefix(set.size());
  if (name.ends_with("IfExists")) {
    if (!there) return Condition::holds;
    name.remove_suffix(8);
  }
  // StringNotLike is StringLike with "Not" in it, and holds when there is nothing to compare.
  std::string positive(name);
  const std::size_t at = positive.find("Not");
  if (at != std::string::npos) positive.erase(at, 3);
  const auto compare = comparison(positive);
  if (!compare) return Condition::unknown;
  const bool matches = there && any(wanted, [&](auto value) { return (*compare)(value, found->second); });
  return matches == (at == std::string::npos) ? Condition::holds : Condition::fails;
}

Verdict judge_statement(const Json& s, PolicyOf of, const Request& request) {
  const bool allow = s["Effect"].string_or() == "Allow";
  if (!allow && s["Effect"].string_or() != "Deny") return Verdict::silent;
  if (of == PolicyOf::resource &&
      (s.find("NotPrincipal") ? names_principal(s["NotPrincipal"], request) : !names_principal(s["Principal"], request)))
    return Verdict::silent;
  if (s.find("NotAction") ? names_action(s["NotAction"], request.action) : !names_action(s["Action"], request.action))
    return Verdict::silent;
  // A trust policy has no Resource: it is about its role.
  if (s.find("NotResource") ? names_resource(s["NotResource"], request.resource)
                            : s.find("Resource") && !names_resource(s["Resource"], request.resource))
    return Verdict::silent;
  if (of == PolicyOf::identity && !s.find("Resource") && !s.find("NotResource")) return Verdict::silent;
  const Json& conditions = s["Condition"];
  if (conditions.is_object())
    for (const auto& [name, keys] : conditions.as_object())
      for (const auto& [key, wanted] : keys.is_object() ? keys.as_object() : Json::Object{}) {
        const Condition held = condition(name, key, wanted, request);
        if (held == Condition::fails || (held == Condition::unknown && allow)) return Verdict::silent;
      }
  return allow ? Verdict::allowed : Verdict::denied;
}

}  // namespace

Verdict judge(const Json& document, PolicyOf of, const Request& request) {
  Verdict out = Verdict::silent;
  for (const Json& statement : listed(document["Statement"])) out = together(out, judge_statement(statement, of, request));
  return out;
}

}  // namespace snapward::services::iam
