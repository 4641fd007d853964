#include "snapshots/settings.hpp"

#include <fmt/format.h>

namespace snapward::snapshots {

Result<Settings> Settings::from_json(const Json& json) {
  Settings s;
  s.tag = json["tag"].string_or("none");
  s.dr_region = json["drRegion"].string_or();
  s.topic_arn = json["topicArn"].string_or();
  if (const Json* retention = json.find("retention")) {
    const auto number = retention->is_string() ? Json::parse(retention->as_string()) : Result<Json>(*retention);
    const auto value = number ? number->as_integer() : std::nullopt;
    if (!value || *value < 1 || *value > 100'000)
      return invalid(fmt::format("settings.retention must be an integer from 1 to 100000, not {}", retention->dump()));
    s.retention = *value;
  }
  if (s.tag.empty()) return invalid("settings.tag must be 'none', a tag key, or key=value");
  return s;
}

}  // namespace snapward::snapshots
