#include "services/rbin/rbin.hpp"

#include <fmt/format.h>

namespace snapward::services::rbin {

namespace {
bool has_tag(const Json& tags, const Json& wanted) {
  for (const Json& tag : tags.items())
    if (tag["Key"] == wanted["ResourceTagKey"] && (!wanted.find("ResourceTagValue") || tag["Value"] == wanted["ResourceTagValue"]))
      return true;
  return false;
}
std::unexpected<cloud::Error> bad_input(std::string message) { return cloud::error("ValidationException", std::move(message)); }

std::expected<void, cloud::Error> check_retention(const Json& period) {
  const std::int64_t days = period["RetentionPeriodValue"].integer_or(0);
  if (days < 1 || days > 3650 || period["RetentionPeriodUnit"].string_or() != "DAYS")
    return bad_input("RetentionPeriod must be 1 to 3650 DAYS.");
  return {};
}
}  // namespace

std::expected<Json*, cloud::Error> Rbin::find(const Call& call) {
  const auto found = rules_.find(call.input["Identifier"].string_or());
  if (found == rules_.end() || found->second["Region"].string_or() != call.region)
    return cloud::error("ResourceNotFoundException", "Rule " + std::string(call.input["Identifier"].string_or()) + " not found.", 404);
  return &found->second;
}

Duration Rbin::keeps(const std::string& region, const Json& tags) const {
  std::int64_t days = 0;
  for (const auto& [id, rule] : rules_) {
    if (rule["Region"].string_or() != region || rule["ResourceType"].string_or() != "EBS_SNAPSHOT") continue;
    const auto& wanted = rule["ResourceTags"].items();
    const auto& excluded = rule["ExcludeResourceTags"].items();
    const auto carried = [&](const Json& tag) { return has_tag(tags, tag); };
    if (!wanted.empty() && std::none_of(wanted.begin(), wanted.end(), carried)) continue;
    if (std::any_of(excluded.begin(), excluded.end(), carried)) continue;
    days = std::max(days, rule["RetentionPeriod"]["RetentionPeriodValue"].integer_or(0));
  }
  return std::chrono::hours(24 * days);
}

void Rbin::restore() {
  each_row("rules", [&](const std::string& id, const Json& row) { rules_[id] = row; });
}

Rbin::Rbin(Environment& env) : Service("rbin", env) {
  on("CreateRule", [this](const Call& call) -> Reply {
    const Json& in = call.input;
    if (auto fine = check_retention(in["RetentionPeriod"]); !fine) return std::unexpected(fine.error());
    if (in["ResourceType"].string_or() != "EBS_SNAPSHOT" && in["ResourceType"].string_or() != "EC2_IMAGE")
      return bad_input("ResourceType must be EBS_SNAPSHOT or EC2_IMAGE.");
    const std::string id = env_.loop.entropy().hex(11);
    Json::Object rule = in.as_object();
    rule.set("Identifier", id)
        .set("Status", "available")
        .set("LockState", "unlocked")
        .set("RuleArn", fmt::format("arn:aws:rbin:{}:{}:rule/{}", call.region, env_.account, id))
        .set("Region", call.region);
    rules_[id] = Json(rule);
    save("rules", id, rules_[id]);
    return Json(std::move(rule));
  });
  on("GetRule", [this](const Call& call) -> Reply {
    const auto rule = find(call);
    if (!rule) return std::unexpected(rule.error());
    return **rule;
  });
  on("ListRules", [this](const Call& call) -> Reply {
    Json::Array out;
    for (const auto& [id, rule] : rules_)
      if (rule["Region"].string_or() == call.region && rule["ResourceType"] == call.input["ResourceType"])
        out.push_back(Json::object({{"Identifier", id},
                                    {"Description", rule["Description"]},
                                    {"RetentionPeriod", rule["RetentionPeriod"]},
                                    {"LockState", rule["LockState"]},
                                    {"RuleArn", rule["RuleArn"]}}));
    return Json::object({{"Rules", std::move(out)}});
  });
  on("UpdateRule", [this](const Call& call) -> Reply {
    const auto rule = find(call);
    if (!rule) return std::unexpected(rule.error());
    Json::Object updated = (*rule)->as_object();
    if (const Json* period = call.input.find("RetentionPeriod"))
      if (auto fine = check_retention(*period); !fine) return std::unexpected(fine.error());
    for (const char* field : {"RetentionPeriod", "Description", "ResourceTags", "ExcludeResourceTags"})
      if (const Json* value = call.input.find(field)) updated.set(field, *value);
    **rule = Json(updated);
    save("rules", std::string(call.input["Identifier"].string_or()), **rule);
    return Json(std::move(updated));
  });
  on("DeleteRule", [this](const Call& call) -> Reply {
    const auto rule = find(call);
    if (!rule) return std::unexpected(rule.error());
    const std::string id(call.input["Identifier"].string_or());
    drop("rules", id);
    rules_.erase(id);
    return Json(Json::Object{});
  });
}

}  // namespace snapward::services::rbin
