#include "services/events/events.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "base/arn.hpp"
#include "base/text.hpp"
#include "events/transform.hpp"
#include "services/delivery.hpp"

namespace snapward::services::events {

namespace {

using snapward::events::Pattern;
using snapward::events::Schedule;

constexpr std::size_t kMaxEntries = 10;            // of one PutEvents
constexpr std::size_t kMaxEntryBytes = 1'048'576;  // since 2026-01; 256 KB before
constexpr std::size_t kMaxTargets = 5;             // of a rule

std::string row_key(const std::string& region, const std::string& bus, const std::string& rule) { return region + '/' + bus + '/' + rule; }

bool is_name(std::string_view name, std::size_t longest) {
  return !name.empty() && name.size() <= longest && std::all_of(name.begin(), name.end(), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '-' || c == '_';
  });
}

std::unexpected<cloud::Error> not_found(std::string message) { return cloud::error("ResourceNotFoundException", std::move(message)); }
std::unexpected<cloud::Error> bad_input(std::string message) { return cloud::error("ValidationException", std::move(message)); }

// "name" of a bus named by name or ARN.
std::string bus_name(std::string_view given) {
  if (given.empty()) return "default";
  if (!given.starts_with("arn:")) return std::string(given);
  const auto arn = Arn::parse(given);
  return arn ? arn->resource_id("event-bus").value_or("") : "";
}

}  // namespace

Json Events::Rule::to_row() const {
  return Json::object({{"name", name},
                       {"region", region},
                       {"bus", bus},
                       {"pattern", pattern_text},
                       {"schedule", schedule_text},
                       {"state", state},
                       {"description", description},
                       {"role", role_arn},
                       {"created", created.time_since_epoch().count()},
                       {"fired", last_fired.time_since_epoch().count()},
                       {"targets", Json::Array(targets)},
                       {"tags", tags}});
}

Json Events::Delivery::to_row() const {
  return Json::object({{"id", id},
                       {"region", region},
                       {"rule_arn", rule_arn},
                       {"rule_name", rule_name},
                       {"target", target},
                       {"event", event},
                       {"first", first.time_since_epoch().count()},
                       {"attempts", attempts}});
}

Events::Events(Environment& env, Outbound& outbound) : Service("events", env), outbound_(outbound) {
  on("CreateEventBus", [this](const Call& c) { return create_event_bus(c); });
  on("DeleteEventBus", [this](const Call& c) { return delete_event_bus(c); });
  on("DescribeEventBus", [this](const Call& c) { return describe_event_bus(c); });
  on("ListEventBuses", [this](const Call& c) { return list_event_buses(c); });
  on("PutRule", [this](const Call& c) { return put_rule(c); });
  on("DeleteRule", [this](const Call& c) { return delete_rule(c); });
  on("DescribeRule", [this](const Call& c) { return describe_rule(c); });
  on("ListRules", [this](const Call& c) { return list_rules(c); });
  on("EnableRule", [this](const Call& c) { return set_rule_state(c, "ENABLED"); });
  on("DisableRule", [this](const Call& c) { return set_rule_state(c, "DISABLED"); });
  on("PutTargets", [this](const Call& c) { return put_targets(c); });
  on("RemoveTargets", [this](const Call& c) { return remove_targets(c); });
  on("ListTargetsByRule", [this](const Call& c) { return list_targets(c); });
  on("ListRuleNamesByTarget", [this](const Call& c) { return rule_names_by_target(c); });
  on("PutEvents", [this](const Call& c) { return put_events(c); });
  on(kReceiveEvent, [this](const Call& c) -> Reply {
    const std::string name(c.input["Bus"].string_or());
    const auto bus = buses_.find({c.region, name});
    if (bus == buses_.end() && name != "default")
      return cloud::error("ResourceNotFoundException", fmt::format("Event bus {} does not exist.", name));
    dispatch(bus == buses_.end() ? default_bus(c.region) : bus->second, c.input["Event"]);
    return Json(Json::Object{});
  });
  on("TestEventPattern", [](const Call& c) { return test_pattern(c); });
  on("TagResource", [this](const Call& c) { return tag(c); });
  on("UntagResource", [this](const Call& c) { return untag(c); });
  on("ListTagsForResource", [this](const Call& c) { return list_tags(c); });
  on("PutPermission", [this](const Call& c) { return put_permission(c); });
  on("RemovePermission", [this](const Call& c) { return remove_permission(c); });
  register_archives();
  register_destinations();
}

Json Events::resource_policy(const std::string& arn) const {
  const auto parsed = Arn::parse(arn);
  const auto bus = parsed ? buses_.find({parsed->region, bus_name(arn)}) : buses_.end();
  return bus == buses_.end() ? Json() : bus->second.policy;
}

void Events::restore() {
  each_row("buses", [&](const std::string&, const Json& r) {
    Bus bus{.name = std::string(r["name"].string_or()),
            .region = std::string(r["region"].string_or()),
            .created = Instant(Duration(r["created"].integer_or(0))),
            .description = std::string(r["description"].string_or()),
            .policy = r["policy"],
            .rules = {}};
    buses_[{bus.region, bus.name}] = std::move(bus);
  });
  each_row("rules", [&](const std::string&, const Json& r) {
    Rule rule;
    rule.name = r["name"].string_or();
    rule.region = r["region"].string_or();
    rule.bus = r["bus"].string_or();
    rule.pattern_text = r["pattern"].string_or();
    rule.schedule_text = r["schedule"].string_or();
    rule.state = r["state"].string_or();
    rule.description = r["description"].string_or();
    rule.role_arn = r["role"].string_or();
    rule.created = Instant(Duration(r["created"].integer_or(0)));
    rule.last_fired = Instant(Duration(r["fired"].integer_or(0)));
    rule.targets = r["targets"].items();
    rule.tags = r["tags"];
    if (!rule.pattern_text.empty())
      if (auto p = Pattern::parse(rule.pattern_text)) rule.pattern = *std::move(p);
    if (!rule.schedule_text.empty())
      if (auto s = Schedule::parse(rule.schedule_text)) rule.schedule = *std::move(s);
    Bus& bus = rule.bus == "default" ? default_bus(rule.region) : buses_[{rule.region, rule.bus}];
    const std::string name = rule.name;
    Rule& kept = bus.rules[name] = std::move(rule);
    index(bus, kept);
    arm(kept);
  });
  restore_archives();
  restore_destinations();
  each_row("deliveries", [&](const std::string& id, const Json& r) {
    Delivery d{.id = id,
               .region = std::string(r["region"].string_or()),
               .rule_arn = std::string(r["rule_arn"].string_or()),
               .rule_name = std::string(r["rule_name"].string_or()),
               .target = r["target"],
               .event = r["event"],
               .first = Instant(Duration(r["first"].integer_or(0))),
               .attempts = r["attempts"].integer_or(0)};
    env_.loop.defer([this, d] { attempt(d); });
  });
}

// ── Buses ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

Events::Bus& Events::default_bus(const std::string& region) {
  auto [bus, fresh] = buses_.try_emplace({region, "default"});
  if (fresh) {
    bus->second.name = "default";
    bus->second.region = region;
  }
  return bus->second;
}

std::expected<Events::Bus*, cloud::Error> Events::find_bus(const Call& call, std::string_view given) {
  const std::string name = bus_name(given);
  if (name == "default") return &default_bus(call.region);
  const auto found = buses_.find({call.region, name});
  if (found == buses_.end()) return not_found(fmt::format("Event bus {} does not exist.", name));
  return &found->second;
}

std::string Events::bus_arn(const Bus& bus) const {
  return fmt::format("arn:aws:events:{}:{}:event-bus/{}", bus.region, env_.account, bus.name);
}
std::string Events::rule_arn(const Rule& rule) const {
  return fmt::format("arn:aws:events:{}:{}:rule/{}{}", rule.region, env_.account, rule.bus == "default" ? "" : rule.bus + '/', rule.name);
}

Reply Events::create_event_bus(const Call& call) {
  const std::string name(call.input["Name"].string_or());
  if (!is_name(name, 256) || name == "default") return bad_input(fmt::format("Event bus name '{}' is not valid.", name));
  if (buses_.contains({call.region, name}))
    return cloud::error("ResourceAlreadyExistsException", fmt::format("Event bus {} already exists.", name));
  Bus bus{.name = name,
          .region = call.region,
          .created = env_.loop.now(),
          .description = std::string(call.input["Description"].string_or()),
          .rules = {}};
  Bus& kept = buses_[{call.region, name}] = std::move(bus);
  store(kept);
  return Json::object({{"EventBusArn", bus_arn(kept)}});
}

void Events::store(const Bus& bus) {
  save("buses", bus.region + '/' + bus.name,
       Json::object({{"name", bus.name},
                     {"region", bus.region},
                     {"created", bus.created.time_since_epoch().count()},
                     {"description", bus.description},
                     {"policy", bus.policy}}));
}

// Statements of who may put events; kept and shown, not enforced (docs/services.md).
Reply Events::put_permission(const Call& call) {
  const Json& in = call.input;
  const auto bus = find_bus(call, in["EventBusName"].string_or());
  if (!bus) return std::unexpected(bus.error());
  if (const Json* text = in.find("Policy")) {
    auto policy = Json::parse(text->string_or());
    if (!policy || !policy->is_object() || !policy->find("Statement"))
      return cloud::error("ValidationException", "Policy is not valid. Reason: it must be a JSON object with Statement.");
    if (text->string_or().size() > 10'240) return cloud::error("PolicyLengthExceededException", "The event bus policy is too long.");
    (*bus)->policy = *std::move(policy);
    store(**bus);
    return Json(Json::Object{});
  }
  const std::string_view action = in["Action"].string_or(), principal = in["Principal"].string_or(), id = in["StatementId"].string_or();
  if (action != "events:PutEvents") return bad_input(fmt::format("Provided value in parameter 'action' is not supported: {}", action));
  const bool account = principal.size() == 12 && principal.find_first_not_of("0123456789") == std::string_view::npos;
  if (principal != "*" && !account) return bad_input(fmt::format("Provided value in parameter 'principal' is not valid: {}", principal));
  if (!is_name(id, 64)) return bad_input("StatementId is required and at most 64 letters, digits, '-' or '_'.");
  Json::Object statement{
      {"Sid", id},
      {"Effect", "Allow"},
      {"Principal", principal == "*" ? Json("*") : Json::object({{"AWS", fmt::format("arn:aws:iam::{}:root", principal)}})},
      {"Action", action},
      {"Resource", bus_arn(**bus)}};
  if (const Json* c = in.find("Condition"))
    statement.set(
        "Condition",
        Json::object({{std::string((*c)["Type"].string_or()), Json::object({{std::string((*c)["Key"].string_or()), (*c)["Value"]}})}}));
  Json::Array statements;
  for (const Json& known : (*bus)->policy["Statement"].items())
    if (known["Sid"].string_or() != id) statements.push_back(known);
  statements.emplace_back(std::move(statement));
  (*bus)->policy = Json::object({{"Version", "2012-10-17"}, {"Statement", std::move(statements)}});
  store(**bus);
  return Json(Json::Object{});
}

Reply Events::remove_permission(const Call& call) {
  const auto bus = find_bus(call, call.input["EventBusName"].string_or());
  if (!bus) return std::unexpected(bus.error());
  if (call.input["RemoveAllPermissions"].bool_or(false)) {
    (*bus)->policy = Json();
    store(**bus);
    return Json(Json::Object{});
  }
  if ((*bus)->policy.is_null()) return not_found("EventBus does not have a policy.");
  const std::string_view id = call.input["StatementId"].string_or();
  Json::Array statements;
  for (const Json& known : (*bus)->policy["Statement"].items())
    if (known["Sid"].string_or() != id) statements.push_back(known);
  if (statements.size() == (*bus)->policy["Statement"].items().size()) return not_found("Statement with the provided id does not exist.");
  (*bus)->policy = statements.empty() ? Json() : Json::object({{"Version", "2012-10-17"}, {"Statement", std::move(statements)}});
  store(**bus);
  return Json(Json::Object{});
}

Reply Events::delete_event_bus(const Call& call) {
  const std::string name = bus_name(call.input["Name"].string_or());
  if (name == "default") return bad_input("Cannot delete event bus default.");
  const auto found = buses_.find({call.region, name});
  if (found == buses_.end()) return Json(Json::Object{});
  if (!found->second.rules.empty()) return bad_input("Cannot delete event bus while it has rules.");
  buses_.erase(found);
  drop("buses", call.region + '/' + name);
  return Json(Json::Object{});
}

Reply Events::describe_event_bus(const Call& call) {
  const auto bus = find_bus(call, call.input["Name"].string_or());
  if (!bus) return std::unexpected(bus.error());
  Json::Object out{{"Name", (*bus)->name}, {"Arn", bus_arn(**bus)}};
  if (!(*bus)->policy.is_null()) out.set("Policy", (*bus)->policy.dump());
  return Json(std::move(out));
}

Reply Events::list_event_buses(const Call& call) {
  default_bus(call.region);
  Json::Array out;
  for (const auto& [key, bus] : buses_)
    if (key.first == call.region && key.second.starts_with(call.input["NamePrefix"].string_or()))
      out.push_back(Json::object({{"Name", bus.name}, {"Arn", bus_arn(bus)}}));
  return Json::object({{"EventBuses", std::move(out)}});
}

// ── Rules ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

std::expected<Events::Rule*, cloud::Error> Events::find_rule(const Call& call) {
  const auto bus = find_bus(call, call.input["EventBusName"].string_or());
  if (!bus) return std::unexpected(bus.error());
  const Json* name = call.input.find("Name");
  if (!name) name = call.input.find("Rule");
  const auto rule = (*bus)->rules.find(name ? name->string_or() : "");
  if (rule == (*bus)->rules.end())
    return not_found(fmt::format("Rule {} does not exist on EventBus {}.", name ? name->string_or() : "", (*bus)->name));
  return &rule->second;
}

Events::Rule* Events::rule_by_arn(const std::string& text) {
  const auto arn = Arn::parse(text);
  const auto id = arn ? arn->resource_id("rule") : std::nullopt;
  if (!id) return nullptr;
  const std::size_t slash = id->find('/');
  const auto bus = buses_.find({arn->region, slash == std::string::npos ? "default" : id->substr(0, slash)});
  if (bus == buses_.end()) return nullptr;
  const auto rule = bus->second.rules.find(slash == std::string::npos ? *id : id->substr(slash + 1));
  return rule == bus->second.rules.end() ? nullptr : &rule->second;
}

void Events::store(const Rule& rule) { save("rules", row_key(rule.region, rule.bus, rule.name), rule.to_row()); }

Json Events::rule_json(const Rule& rule) const {
  Json::Object out{{"Name", rule.name}, {"Arn", rule_arn(rule)}, {"State", rule.state}, {"EventBusName", rule.bus}};
  out.set_if(!rule.pattern_text.empty(), "EventPattern", rule.pattern_text)
      .set_if(!rule.schedule_text.empty(), "ScheduleExpression", rule.schedule_text);
  out.set_if(!rule.description.empty(), "Description", rule.description).set_if(!rule.role_arn.empty(), "RoleArn", rule.role_arn);
  return out;
}

Reply Events::put_rule(const Call& call) {
  const Json& in = call.input;
  const std::string name(in["Name"].string_or());
  if (!is_name(name, 64))
    return bad_input(
        fmt::format("1 validation error detected: Value '{}' at 'name' failed to satisfy constraint: Member must satisfy regular "
                    "expression pattern: [\\.\\-_A-Za-z0-9]+",
                    name));
  const auto bus = find_bus(call, in["EventBusName"].string_or());
  if (!bus) return std::unexpected(bus.error());
  const std::string pattern_text(in["EventPattern"].string_or()), schedule_text(in["ScheduleExpression"].string_or());
  if (pattern_text.empty() && schedule_text.empty()) return bad_input("Parameter(s) EventPattern or ScheduleExpression must be specified.");
  if (!schedule_text.empty() && (*bus)->name != "default")
    return bad_input("ScheduleExpression is supported only on the default event bus.");
  const std::string state(in["State"].string_or("ENABLED"));
  if (state != "ENABLED" && state != "DISABLED" && state != "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS")
    return bad_input(fmt::format("Value '{}' at 'state' is not a rule state.", state));
  std::optional<Pattern> pattern;
  std::optional<Schedule> schedule;
  if (!pattern_text.empty()) {
    auto parsed = Pattern::parse(pattern_text);
    if (!parsed) return cloud::error("InvalidEventPatternException", "Event pattern is not valid. Reason: " + parsed.error().message);
    pattern = *std::move(parsed);
  }
  if (!schedule_text.empty()) {
    auto parsed = Schedule::parse(schedule_text);
    if (!parsed) return bad_input(parsed.error().message);
    schedule = *std::move(parsed);
  }
  Rule& rule = (*bus)->rules[name];
  const bool fresh = rule.name.empty();
  rule.name = name;
  rule.region = call.region;
  rule.bus = (*bus)->name;
  const bool rescheduled = rule.schedule_text != schedule_text || rule.state != state;
  rule.pattern_text = pattern_text;
  rule.schedule_text = schedule_text;
  rule.pattern = std::move(pattern);
  rule.schedule = schedule;
  rule.state = state;
  rule.description = in["Description"].string_or();
  rule.role_arn = in["RoleArn"].string_or();
  if (fresh && in.find("Tags")) rule.tags = in["Tags"];
  if (fresh || rescheduled) rule.created = rule.last_fired = env_.loop.now();
  index(**bus, rule);
  arm(rule);
  store(rule);
  return Json::object({{"RuleArn", rule_arn(rule)}});
}

Reply Events::delete_rule(const Call& call) {
  const auto rule = find_rule(call);
  if (!rule) return rule.error().message.starts_with("Rule") ? Reply(Json(Json::Object{})) : std::unexpected(rule.error());
  if (!(*rule)->targets.empty()) return bad_input("Rule can't be deleted since it has targets.");
  if ((*rule)->timer) env_.loop.cancel(*(*rule)->timer);
  drop("rules", row_key((*rule)->region, (*rule)->bus, (*rule)->name));
  Bus& bus = buses_.at({(*rule)->region, (*rule)->bus});
  forget(bus, **rule);
  bus.rules.erase((*rule)->name);
  return Json(Json::Object{});
}

Reply Events::describe_rule(const Call& call) {
  const auto rule = find_rule(call);
  if (!rule) return std::unexpected(rule.error());
  Json::Object out = rule_json(**rule).as_object();
  out.set("CreatedBy", env_.account);
  return Json(std::move(out));
}

Reply Events::list_rules(const Call& call) {
  const auto bus = find_bus(call, call.input["EventBusName"].string_or());
  if (!bus) return std::unexpected(bus.error());
  const auto from = page_position(call.input["NextToken"].string_or());
  if (call.input.find("NextToken") && !from) return bad_input("Parameter NextToken is not valid.");
  const auto limit = static_cast<std::size_t>(std::clamp<std::int64_t>(call.input["Limit"].integer_or(100), 1, 100));
  Json::Array out;
  for (auto rule = (*bus)->rules.lower_bound(from.value_or("")); rule != (*bus)->rules.end(); ++rule) {
    if (!rule->first.starts_with(call.input["NamePrefix"].string_or())) continue;
    if (out.size() == limit) return Json::object({{"Rules", std::move(out)}, {"NextToken", page_token(rule->first)}});
    out.push_back(rule_json(rule->second));
  }
  return Json::object({{"Rules", std::move(out)}});
}

Reply Events::set_rule_state(const Call& call, const char* state) {
  const auto rule = find_rule(call);
  if (!rule) return std::unexpected(rule.error());
  if ((*rule)->state != state) (*rule)->created = (*rule)->last_fired = env_.loop.now();
  (*rule)->state = state;
  index(buses_.at({(*rule)->region, (*rule)->bus}), **rule);
  arm(**rule);
  store(**rule);
  return Json(Json::Object{});
}

Reply Events::put_targets(const Call& call) {
  const auto rule = find_rule(call);
  if (!rule) return std::unexpected(rule.error());
  std::vector<Json> targets = (*rule)->targets;
  for (const Json& target : call.input["Targets"].items()) {
    const std::string arn(target["Arn"].string_or());
    if (!Arn::parse(arn)) return bad_input(fmt::format("Parameter {} is not valid. Reason: Provided Arn is not in correct format.", arn));
    if (auto fine = snapward::events::check_target_input(target); !fine) return bad_input(fine.error().message);
    if (arn.find(":states:") != std::string::npos && !target.find("RoleArn"))
      return bad_input(fmt::format("Parameter(s) RoleArn must be specified for target: {}.", target["Id"].string_or()));
    if (const Json* role = target.find("RoleArn");
        role && env_.trusts && !env_.trusts(std::string(role->string_or()), "events.amazonaws.com"))
      return bad_input(fmt::format("Provided role '{}' cannot be assumed by principal 'events.amazonaws.com'.", role->string_or()));
    const auto same = std::find_if(targets.begin(), targets.end(), [&](const Json& t) { return t["Id"] == target["Id"]; });
    if (same == targets.end())
      targets.push_back(target);
    else
      *same = target;
  }
  if (targets.size() > kMaxTargets)
    return cloud::error("LimitExceededException", "The requested resource exceeds the maximum number allowed.");
  (*rule)->targets = std::move(targets);
  store(**rule);
  return Json::object({{"FailedEntryCount", 0}, {"FailedEntries", Json::Array{}}});
}

Reply Events::remove_targets(const Call& call) {
  const auto rule = find_rule(call);
  if (!rule) return std::unexpected(rule.error());
  const auto& ids = call.input["Ids"].items();
  std::erase_if((*rule)->targets, [&](const Json& t) { return std::find(ids.begin(), ids.end(), t["Id"]) != ids.end(); });
  store(**rule);
  return Json::object({{"FailedEntryCount", 0}, {"FailedEntries", Json::Array{}}});
}

Reply Events::list_targets(const Call& call) {
  const auto rule = find_rule(call);
  if (!rule) return std::unexpected(rule.error());
  return Json::object({{"Targets", Json::Array((*rule)->targets)}});
}

Reply Events::rule_names_by_target(const Call& call) {
  const auto bus = find_bus(call, call.input["EventBusName"].string_or());
  if (!bus) return std::unexpected(bus.error());
  Json::Array out;
  for (const auto& [name, rule] : (*bus)->rules)
    if (std::any_of(rule.targets.begin(), rule.targets.end(), [&](const Json& t) { return t["Arn"] == call.input["TargetArn"]; }))
      out.push_back(Json(name));
  return Json::object({{"RuleNames", std::move(out)}});
}

Reply Events::tag(const Call& call) {
  Rule* rule = rule_by_arn(std::string(call.input["ResourceARN"].string_or()));
  if (!rule) return not_found("Rule does not exist.");
  rule->tags = merge_tags(rule->tags, call.input["Tags"]);
  store(*rule);
  return Json(Json::Object{});
}
Reply Events::untag(const Call& call) {
  Rule* rule = rule_by_arn(std::string(call.input["ResourceARN"].string_or()));
  if (!rule) return not_found("Rule does not exist.");
  rule->tags = remove_tags(rule->tags, call.input["TagKeys"]);
  store(*rule);
  return Json(Json::Object{});
}
Reply Events::list_tags(const Call& call) {
  const Rule* rule = rule_by_arn(std::string(call.input["ResourceARN"].string_or()));
  if (!rule) return not_found("Rule does not exist.");
  return Json::object({{"Tags", rule->tags}});
}

// ── Events ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

Reply Events::test_pattern(const Call& call) {
  const auto pattern = Pattern::parse(call.input["EventPattern"].string_or());
  if (!pattern) return cloud::error("InvalidEventPatternException", "Event pattern is not valid. Reason: " + pattern.error().message);
  const auto event = Json::parse(call.input["Event"].string_or());
  if (!event || !event->is_object()) return bad_input("Parameter Event is not valid. Reason: the event must be a JSON object.");
  for (const char* field : {"id", "account", "source", "time", "region", "resources", "detail-type"})
    if (!event->find(field)) return bad_input(fmt::format("Parameter Event is not valid. Reason: the field '{}' is missing.", field));
  return Json::object({{"Result", pattern->matches(*event)}});
}

Reply Events::put_events(const Call& call) {
  const auto& entries = call.input["Entries"].items();
  if (entries.empty() || entries.size() > kMaxEntries)
    return bad_input(
        fmt::format("1 validation error detected: Value '{}' at 'entries' failed to satisfy constraint: Member must have length {}",
                    entries.size(), entries.empty() ? "greater than or equal to 1" : "less than or equal to 10"));
  Json::Array out;
  std::int64_t failed_entries = 0;
  for (const Json& entry : entries) {
    const auto refuse = [&](const char* code, std::string message) {
      ++failed_entries;
      out.push_back(Json::object({{"ErrorCode", code}, {"ErrorMessage", std::move(message)}}));
    };
    const std::string_view source = entry["Source"].string_or(), detail_type = entry["DetailType"].string_or(),
                           detail_text = entry["Detail"].string_or();
    const auto detail = Json::parse(detail_text);
    std::size_t size = (entry.find("Time") ? 14 : 0) + source.size() + detail_type.size() + detail_text.size();
    for (const Json& r : entry["Resources"].items()) size += r.string_or().size();
    if (source.empty()) {
      refuse("InvalidArgument", "Parameter Source is not valid. Reason: Source is a required argument.");
    } else if (detail_type.empty()) {
      refuse("InvalidArgument", "Parameter DetailType is not valid. Reason: DetailType is a required argument.");
    } else if (detail_text.empty()) {
      refuse("InvalidArgument", "Parameter Detail is not valid. Reason: Detail is a required argument.");
    } else if (source.starts_with("aws.")) {
      refuse("NotAuthorizedForSourceException", "Not authorized for the source.");
    } else if (!detail || !detail->is_object()) {
      refuse("MalformedDetail", "Detail is malformed.");
    } else if (size > kMaxEntryBytes) {
      refuse("InvalidArgument", "Entry is larger than 1 MB.");
    } else {
      const std::string id = env_.loop.entropy().uuid();
      const auto at = parse_iso(entry["Time"].string_or()).value_or(env_.loop.now());
      const Json event = Json::object({{"version", "0"},
                                       {"id", id},
                                       {"detail-type", detail_type},
                                       {"source", source},
                                       {"account", env_.account},
                                       {"time", iso_seconds(at)},
                                       {"region", call.region},
                                       {"resources", entry.find("Resources") ? entry["Resources"] : Json(Json::Array{})},
                                       {"detail", *detail}});
      // A bus that does not exist swallows its events, as at AWS.
      if (const auto bus = find_bus(call, entry["EventBusName"].string_or())) dispatch(**bus, event);
      out.push_back(Json::object({{"EventId", id}}));
    }
  }
  return Json::object({{"FailedEntryCount", failed_entries}, {"Entries", std::move(out)}});
}

void Events::publish(const std::string& region, const Json& event) { dispatch(default_bus(region), event); }

void Events::dispatch(Bus& bus, const Json& event, const Json* filter) {
  if (!filter) archive(bus, event);
  std::vector<snapward::events::Matcher::RuleId> matched;
  bus.matcher.match(event, scratch_, matched);
  ++counts_.events;
  counts_.matches += matched.size();
  // By name, so that a replay delivers in the same order. Delivering may change rules: each is looked up anew.
  std::vector<std::string> names;
  for (const auto number : matched) names.push_back(bus.numbered[number]->name);
  std::sort(names.begin(), names.end());
  for (const std::string& name : names)
    if (const auto rule = bus.rules.find(name); rule != bus.rules.end()) {
      const auto& wanted = filter ? filter->items() : Json::Array{};
      if (!wanted.empty() && std::find(wanted.begin(), wanted.end(), Json(rule_arn(rule->second))) == wanted.end()) continue;
      deliver(rule->second, event);
    }
}

void Events::index(Bus& bus, Rule& rule) {
  if (rule.state == "DISABLED" || !rule.pattern) return forget(bus, rule);
  if (!rule.number) {
    if (bus.free_numbers.empty()) {
      rule.number = static_cast<snapward::events::Matcher::RuleId>(bus.numbered.size());
      bus.numbered.push_back(&rule);
    } else {
      rule.number = bus.free_numbers.back();
      bus.free_numbers.pop_back();
      bus.numbered[*rule.number] = &rule;
    }
  }
  bus.matcher.add(*rule.number, *rule.pattern);
}

void Events::forget(Bus& bus, Rule& rule) {
  if (!rule.number) return;
  bus.matcher.remove(*rule.number);
  bus.numbered[*rule.number] = nullptr;
  bus.free_numbers.push_back(*rule.number);
  rule.number.reset();
}

void Events::arm(Rule& rule) {
  if (rule.timer) env_.loop.cancel(*rule.timer);
  rule.timer.reset();
  if (!rule.schedule || rule.state == "DISABLED") return;
  // From the last firing, not from now: one that came due while we were down is made good, once.
  const auto next = rule.schedule->next(rule.last_fired, rule.created);
  if (next) rule.timer = env_.loop.at(*next, [this, region = rule.region, bus = rule.bus, name = rule.name] { fire(region, bus, name); });
}

void Events::fire(const std::string& region, const std::string& bus, const std::string& name) {
  const auto b = buses_.find({region, bus});
  const auto found = b == buses_.end() ? decltype(b->second.rules.begin()){} : b->second.rules.find(name);
  if (b == buses_.end() || found == b->second.rules.end()) return;
  Rule& rule = found->second;
  rule.last_fired = env_.loop.now();
  rule.timer.reset();
  store(rule);
  deliver(rule, Json::object({{"version", "0"},
                              {"id", env_.loop.entropy().uuid()},
                              {"detail-type", "Scheduled Event"},
                              {"source", "aws.events"},
                              {"account", env_.account},
                              {"time", iso_seconds(rule.last_fired)},
                              {"region", region},
                              {"resources", Json::array({rule_arn(rule)})},
                              {"detail", Json(Json::Object{})}}));
  arm(rule);
}

// ── Deliveries ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────

void Events::deliver(const Rule& rule, const Json& event) {
  const std::vector<Json> targets = rule.targets;  // a delivery may change the rules
  const std::string arn = rule_arn(rule), name = rule.name, region = rule.region;
  for (const Json& target : targets)
    attempt({.id = fmt::format(
                 "{}_{}", event["id"].string_or(),
                 hex_encode(sha256(arn + '\n' + std::string(target["Id"].string_or()) + std::string(event["replay-name"].string_or())))
                     .substr(0, 32)),
             .region = region,
             .rule_arn = arn,
             .rule_name = name,
             .target = target,
             .event = event,
             .first = env_.loop.now(),
             .attempts = 0});
}

std::expected<Call, cloud::Error> Events::call_for(const Delivery& d) const {
  const std::string target(d.target["Arn"].string_or());
  const auto arn = Arn::parse(target);
  const std::string region = arn->region.empty() ? d.region : arn->region;
  const std::string input =
      snapward::events::target_input(d.target, d.event, {.rule_arn = d.rule_arn, .rule_name = d.rule_name, .ingested = d.first});
  if (arn->service == "states")
    return Call{"states", region, "StartExecution", Json::object({{"stateMachineArn", target}, {"name", d.id}, {"input", input}})};
  if (arn->service == "sns") return Call{"sns", region, "Publish", Json::object({{"TopicArn", target}, {"Message", input}})};
  if (arn->service == "sqs") {
    const std::string url = fmt::format("{}/{}/{}", env_.base_url, arn->account, arn->resource);
    return Call{"sqs", region, "SendMessage", Json::object({{"QueueUrl", url}, {"MessageBody", input}})};
  }
  if (arn->service == "lambda")
    return Call{"lambda", region, "Invoke", Json::object({{"FunctionName", target}, {"InvocationType", "Event"}, {"Payload", input}})};
  if (arn->service == "events" && arn->resource.starts_with("event-bus/"))
    return Call{"events", region, kReceiveEvent, Json::object({{"Bus", bus_name(target)}, {"Event", d.event}})};
  if (arn->service == "events" && arn->resource_id("api-destination"))
    return Call{"events", region, "InvokeApiDestination",
                Json::object({{"Arn", target}, {"Body", input}, {"HttpParameters", d.target["HttpParameters"]}})};
  if (arn->service == "events" && arn->resource == "target/create-snapshot") {
    // The built-in target: its input is the id or the ARN of a volume, as a JSON string.
    const auto volume = Json::parse(input);
    std::string id(volume ? volume->string_or() : "");
    if (const auto ebs = EbsArn::parse(id, "volume")) id = ebs->id;
    return Call{
        "ec2", region, "CreateSnapshot",
        Json::object(
            {{"VolumeId", id},
             {"Description", fmt::format("Created by rule {}", d.rule_name)},
             {"TagSpecifications",
              Json::array({Json::object({{"ResourceType", "snapshot"},
                                         {"Tags", Json::array({Json::object({{"Key", "CreatedByRule"}, {"Value", d.rule_name}})})}})})}})};
  }
  return cloud::error("UnsupportedTarget", fmt::format("Targets of service {} are not supported by Snapward's local cloud.", arn->service));
}

// User Guide, "CloudWatch Logs groups as targets": the event is the line; a transformer gives {"timestamp", "message"}.
bool Events::log(const Delivery& d, const Arn& group) {
  std::string line =
      snapward::events::target_input(d.target, d.event, {.rule_arn = d.rule_arn, .rule_name = d.rule_name, .ingested = d.first});
  if (const auto made = Json::parse(line); d.target.find("InputTransformer") && made && made->find("message"))
    line = (*made)["message"].is_string() ? std::string((*made)["message"].string_or()) : (*made)["message"].dump();
  const std::string digest = hex_encode(sha256(d.rule_arn + '\n' + std::string(d.target["Id"].string_or())));
  const std::string stream = fmt::format("{}-{}-{}-{}-{}", digest.substr(0, 8), digest.substr(8, 4), digest.substr(12, 4),
                                         digest.substr(16, 4), digest.substr(20, 12));
  return env_.log(group.region, log_group_name(group), stream, line);
}

cloud::Caller Events::caller_of(const Delivery& d) {
  return {.service = "events.amazonaws.com", .role = std::string(d.target["RoleArn"].string_or()), .source = d.rule_arn};
}

// What is reached without a call: another bus, a log group.
std::expected<void, cloud::Error> Events::may_reach(const Delivery& d, const Arn& target) const {
  if (!env_.permitted) return {};
  if (target.service == "logs") return {};  // AWS keeps its permission in a resource policy of logs that is not here
  return env_.permitted({"events", target.region, "PutEvents",
                         Json::object({{"Entries", Json::array({Json::object({{"EventBusName", target.str()}})})}}), caller_of(d)});
}

void Events::attempt(Delivery d) {
  const auto arn = Arn::parse(d.target["Arn"].string_or());
  const bool here = !arn || env_.here(arn->service, arn->region.empty() ? d.region : arn->region);
  if (here && arn && arn->service == "events" && arn->resource.starts_with("event-bus/")) {  // another bus of ours: no call between
    const auto bus = buses_.find({arn->region, bus_name(arn->str())});
    if (bus != buses_.end()) {
      if (auto may = may_reach(d, *arn); !may) return failed(std::move(d), may.error());
      save("deliveries", d.id, d.to_row());  // should this turn end first
      return env_.loop.defer([this, key = bus->first, d = std::move(d)] {
        drop("deliveries", d.id);
        if (const auto b = buses_.find(key); b != buses_.end()) dispatch(b->second, d.event);
      });
    }
  }
  if (arn && arn->service == "logs") {
    if (log(d, *arn)) return static_cast<void>(++counts_.delivered);
    return failed(std::move(d), cloud::Error{"ResourceNotFoundException", "The specified log group does not exist.", 400, {}});
  }
  auto call = call_for(d);
  if (!call) return bury(d, call.error(), "");
  // The answer comes from outside, after the event's commit: until then a row keeps the delivery through a restart.
  const bool outside = !here || call->operation == "InvokeApiDestination";
  if (outside && d.attempts == 0) save("deliveries", d.id, d.to_row());
  call->caller = caller_of(d);
  env_.loop.spawn(env_.cloud->call(*std::move(call)), [this, outside, d = std::move(d)](const Reply& reply) mutable {
    // The execution of this event is there already: it was delivered before.
    const bool done = reply || reply.error().code == "ExecutionAlreadyExists";
    if (!done) return failed(std::move(d), reply.error());
    ++counts_.delivered;
    if (outside || d.attempts > 0) drop("deliveries", d.id);
  });
}

void Events::failed(Delivery d, const cloud::Error& error) {
  const NextAttempt next = next_attempt(env_, d.target, error, d.attempts, d.first);
  if (!next.delay) return bury(d, error, next.exhausted);
  ++d.attempts;
  ++counts_.retried;
  save("deliveries", d.id, d.to_row());
  env_.loop.after(*next.delay, [this, d = std::move(d)] { attempt(d); });
}

void Events::metrics(Metrics& m) const {
  const auto count = [](std::uint64_t n) { return static_cast<double>(n); };
  std::size_t rules = 0;
  for (const auto& [key, bus] : buses_) rules += bus.rules.size();
  m.gauge("snapward_rules", "Rules on all buses.", static_cast<double>(rules));
  m.counter("snapward_events_total", "Events that reached a bus.", count(counts_.events));
  m.counter("snapward_rule_matches_total", "Rules that matched them.", count(counts_.matches));
  m.counter("snapward_deliveries_total", "Deliveries to targets, by outcome.", count(counts_.delivered), {{"outcome", "delivered"}});
  m.counter("snapward_deliveries_total", "Deliveries to targets, by outcome.", count(counts_.retried), {{"outcome", "to be tried again"}});
  m.counter("snapward_deliveries_total", "Deliveries to targets, by outcome.", count(counts_.buried), {{"outcome", "given up"}});
}

void Events::bury(const Delivery& d, const cloud::Error& error, const char* exhausted) {
  ++counts_.buried;
  drop("deliveries", d.id);
  spdlog::warn("rule {}: the event {} could not be delivered to {}: {}", d.rule_name, d.event["id"].string_or(),
               d.target["Arn"].string_or(), error.message);
  std::vector<std::pair<std::string, std::string>> attributes{{"RULE_ARN", d.rule_arn},
                                                              {"TARGET_ARN", std::string(d.target["Arn"].string_or())},
                                                              {"ERROR_MESSAGE", error.message},
                                                              {"RETRY_ATTEMPTS", std::to_string(d.attempts)}};
  const cloud::Kind kind = cloud::kind_of(error);
  attributes.emplace_back("ERROR_CODE", kind == cloud::Kind::not_found   ? "NO_RESOURCE"
                                        : kind == cloud::Kind::denied    ? "NO_PERMISSIONS"
                                        : kind == cloud::Kind::throttled ? "THROTTLING"
                                                                         : "SDK_CLIENT_ERROR");
  if (*exhausted) attributes.emplace_back("EXHAUSTED_RETRY_CONDITION", exhausted);
  send_dead_letter(env_, d.target, d.event.dump(), std::move(attributes),
                   {.service = "events.amazonaws.com", .role = {}, .source = d.rule_arn});
}

}  // namespace snapward::services::events
