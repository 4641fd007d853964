#include "services/sns/filter.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/jackson.hpp"
#include "events/pattern.hpp"

namespace snapward::services::sns {

namespace {

constexpr std::size_t kMostKeys = 5;
constexpr std::int64_t kMostCombinations = 150;

// A policy's size: how many keys have values, and how many combinations of values it allows. In a body's policy, a value counts as
// often as it is deep; the alternatives of an $or are added.
struct Size {
  std::size_t keys = 0;
  std::int64_t combinations = 1;
  bool nested = false;
};

Size size_of(const Json& policy, std::int64_t depth) {
  Size total;
  for (const auto& [key, value] : policy.as_object()) {
    if (key == "$or" && value.is_array()) {
      std::int64_t alternatives = 0;
      for (const Json& one : value.as_array()) {
        if (!one.is_object()) continue;
        const Size inner = size_of(one, depth);
        total.keys += inner.keys;
        total.nested = total.nested || inner.nested;
        alternatives += inner.combinations;
      }
      total.combinations *= std::max<std::int64_t>(1, alternatives);
    } else if (value.is_object()) {
      const Size inner = size_of(value, depth + 1);
      total.keys += inner.keys;
      total.nested = true;
      total.combinations *= inner.combinations;
    } else {
      ++total.keys;
      total.combinations *= std::max<std::int64_t>(1, static_cast<std::int64_t>(value.items().size()) * depth);
    }
    total.combinations = std::min(total.combinations, kMostCombinations + 1);
  }
  return total;
}

// What the parser says, or nothing.
std::string syntax_error(std::string_view policy) {
  try {
    JacksonReader reader(policy);
    reader.next();
    reader.value();
    return {};
  } catch (const JacksonReader::Failure& failure) {
    if (failure.line == 0) return failure.message;
    return fmt::format("{}\n at [Source: REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); line: {}, column: {}]",
                       failure.what, failure.line, failure.column);
  }
}

// A message's attributes as the event that a policy is matched against.
Json event_of(const Json& attributes) {
  Json::Object event;
  if (!attributes.is_object()) return Json(std::move(event));
  for (const auto& [name, attribute] : attributes.as_object()) {
    const std::string_view type = attribute["DataType"].string_or(), text = attribute["StringValue"].string_or();
    auto parsed = type == "Number" || type == "String.Array" ? Json::parse(text) : Result<Json>(Json(text));
    event.set(name, parsed ? *std::move(parsed) : Json(text));
  }
  return Json(std::move(event));
}

}  // namespace

std::expected<Json, std::string> read_json(std::string_view text) {
  auto json = Json::parse(text);
  if (json) return *std::move(json);
  const std::string why = syntax_error(text);
  return std::unexpected(why.empty() ? json.error().message : why);
}

std::expected<void, std::string> check_filter(std::string_view policy, std::string_view scope) {
  if (policy.empty()) return {};
  const auto json = read_json(policy);
  if (!json) return std::unexpected("FilterPolicy: failed to parse JSON. " + json.error());
  if (!json->is_object()) return std::unexpected("FilterPolicy: failed to parse JSON. Filter is not an object");
  if (json->as_object().empty()) return {};
  if (const auto pattern = snapward::events::Pattern::parse(json->dump()); !pattern)
    return std::unexpected("FilterPolicy: " + pattern.error().message);
  const Size size = size_of(*json, 1);
  if (size.keys > kMostKeys) return std::unexpected("FilterPolicy: Filter policy can not have more than 5 keys");
  if (scope != kByBody && size.nested)
    return std::unexpected("FilterPolicy: Filter policy scope MessageAttributes does not support nested filter policy");
  if (size.combinations > kMostCombinations) return std::unexpected("FilterPolicy: Filter policy is too complex");
  return {};
}

bool wants(std::string_view policy, std::string_view scope, const Json& attributes, std::string_view body) {
  if (policy.empty() || policy == "{}") return true;
  const auto pattern = snapward::events::Pattern::parse(policy);
  if (!pattern) return true;
  if (scope != kByBody) return pattern->matches(event_of(attributes));
  const auto event = Json::parse(body);
  return event && event->is_object() && pattern->matches(*event);
}

}  // namespace snapward::services::sns
