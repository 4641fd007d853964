#include "services/events/events.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

#include <array>

#include "base/arn.hpp"
#include "base/text.hpp"
#include "events/transform.hpp"
#include "services/delivery.hpp"
#include "services/events/constraints.hpp"
#include "services/events/listing.hpp"

namespace snapward::services::events {

namespace {

using snapward::events::Pattern;
using snapward::events::Schedule;

constexpr std::size_t kMaxEntries = 10;              // of one PutEvents
constexpr std::size_t kMaxRequestBytes = 1'048'576;  // of all its entries; since 2026-01, 256 KB before (AWS Compute Blog)
constexpr std::size_t kMaxTargets = 5;               // of a rule
// An event, and what holds events, must be readable again when it is stored: parse() takes 512 levels.
constexpr std::uint32_t kDeepestDetail = 500;

std::string row_key(const std::string& region, const std::string& bus, const std::string& rule) { return region + '/' + bus + '/' + rule; }

std::unexpected<cloud::Error> not_found(std::string message) { return cloud::error("ResourceNotFoundException", std::move(message)); }
std::unexpected<cloud::Error> bad_input(std::string message) { return cloud::error("ValidationException", std::move(message)); }
// The documentation describes the exception and does not say its text.
std::unexpected<cloud::Error> managed(std::string_view rule) {
  return cloud::error("ManagedRuleException", fmt::format("Rule {} is managed by an AWS service.", rule));
}

}  // namespace

std::string digest_uuid(std::string_view text) {
  const std::string digest = hex_encode(sha256(text));
  return fmt::format("{}-{}-{}-{}-{}", digest.substr(0, 8), digest.substr(8, 4), digest.substr(12, 4), digest.substr(16, 4),
                     digest.substr(20, 12));
}

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
  register_buses();
  register_archives();
  register_destinations();
}

Task<Reply> Events::handle(Call call) {
  if (auto breach = breach_of_constraints(call)) co_return std::unexpected(*std::move(breach));
  co_return co_await Service::handle(std::move(call));
}

Json Events::resource_policy(const std::string& arn) const {
  const auto parsed = Arn::parse(arn);
  const auto bus = parsed ? buses_.find({parsed->region, bus_name(arn)}) : buses_.end();
  return bus == buses_.end() ? Json() : bus->second.policy;
}

void Events::restore() {
  restore_buses();
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

// ── Rules ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

std::string Events::rule_arn(const Rule& rule) const {
  return fmt::format("arn:aws:events:{}:{}:rule/{}{}", rule.region, env_.account, rule.bus == "default" ? "" : rule.bus + '/', rule.name);
}

namespace {

std::string rule_name(const Call& call) {
  const Json* name = call.input.find("Name");
  return std::string((name ? *name : call.input["Rule"]).string_or());
}

}  // namespace

std::expected<Events::Rule*, cloud::Error> Events::find_rule(const Call& call) {
  const auto bus = find_bus(call, call.input["EventBusName"].string_or());
  if (!bus) return std::unexpected(bus.error());
  const std::string name = rule_name(call);
  const auto rule = (*bus)->rules.find(name);
  if (rule != (*bus)->rules.end()) return &rule->second;
  if (managed_rule(**bus, name)) return managed(name);
  return not_found(fmt::format("Rule {} does not exist on EventBus {}.", name, (*bus)->name));
}

std::expected<Events::Rule, cloud::Error> Events::find_shown_rule(const Call& call) {
  const auto bus = find_bus(call, call.input["EventBusName"].string_or());
  if (bus)
    if (auto managed = managed_rule(**bus, rule_name(call))) return *std::move(managed);
  const auto rule = find_rule(call);
  if (!rule) return std::unexpected(rule.error());
  return **rule;
}

void Events::store(const Rule& rule) { save("rules", row_key(rule.region, rule.bus, rule.name), rule.to_row()); }

Json Events::rule_json(const Rule& rule) const {
  Json::Object out{{"Name", rule.name}, {"Arn", rule_arn(rule)}, {"State", rule.state}, {"EventBusName", rule.bus}};
  out.set_if(!rule.pattern_text.empty(), "EventPattern", rule.pattern_text)
      .set_if(!rule.schedule_text.empty(), "ScheduleExpression", rule.schedule_text);
  out.set_if(!rule.description.empty(), "Description", rule.description)
      .set_if(!rule.role_arn.empty(), "RoleArn", rule.role_arn)
      .set_if(!rule.managed_by.empty(), "ManagedBy", rule.managed_by);
  return out;
}

Reply Events::put_rule(const Call& call) {
  const Json& in = call.input;
  const std::string name(in["Name"].string_or());
  const auto bus = find_bus(call, in["EventBusName"].string_or());
  if (!bus) return std::unexpected(bus.error());
  const std::string pattern_text(in["EventPattern"].string_or()), schedule_text(in["ScheduleExpression"].string_or());
  if (pattern_text.empty() && schedule_text.empty()) return bad_input("Parameter(s) EventPattern or ScheduleExpression must be specified.");
  if (!schedule_text.empty() && (*bus)->name != "default")
    return bad_input("ScheduleExpression is supported only on the default event bus.");
  if (managed_rule(**bus, name)) return managed(name);
  const std::string state(in["State"].string_or("ENABLED"));
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
  // To delete what is not there is no mistake.
  if (!rule && rule.error().message.starts_with("Rule") && rule.error().code == "ResourceNotFoundException") return Json(Json::Object{});
  if (!rule) return std::unexpected(rule.error());
  if (!(*rule)->targets.empty()) return bad_input("Rule can't be deleted since it has targets.");
  if ((*rule)->timer) env_.loop.cancel(*(*rule)->timer);
  drop("rules", row_key((*rule)->region, (*rule)->bus, (*rule)->name));
  Bus& bus = buses_.at({(*rule)->region, (*rule)->bus});
  forget(bus, **rule);
  bus.rules.erase((*rule)->name);
  return Json(Json::Object{});
}

Reply Events::describe_rule(const Call& call) {
  const auto rule = find_shown_rule(call);
  if (!rule) return std::unexpected(rule.error());
  Json::Object out = rule_json(*rule).as_object();
  out.set("CreatedBy", env_.account);
  return Json(std::move(out));
}

std::vector<const Events::Rule*> Events::rules_of(const Bus& bus, const std::string& from, const std::vector<Rule>& managed) {
  std::vector<const Rule*> out;
  for (auto rule = bus.rules.lower_bound(from); rule != bus.rules.end(); ++rule) out.push_back(&rule->second);
  for (const Rule& rule : managed)
    if (rule.name >= from) out.push_back(&rule);
  std::ranges::sort(out, {}, &Rule::name);
  return out;
}

Reply Events::list_rules(const Call& call) {
  const auto bus = find_bus(call, call.input["EventBusName"].string_or());
  if (!bus) return std::unexpected(bus.error());
  auto page = Page::of(call);
  if (!page) return std::unexpected(page.error());
  const std::vector<Rule> managed = managed_rules(**bus);
  for (const Rule* rule : rules_of(**bus, page->from(), managed))
    if (rule->name.starts_with(call.input["NamePrefix"].string_or()) && !page->add(rule->name, rule_json(*rule))) break;
  return (*std::move(page)).answer("Rules");
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
  const auto rule = find_shown_rule(call);
  if (!rule) return std::unexpected(rule.error());
  auto page = Page::of(call);
  if (!page) return std::unexpected(page.error());
  for (std::size_t i = 0; i < rule->targets.size(); ++i)
    if (const std::string position = fmt::format("{:04}", i); position >= page->from() && !page->add(position, rule->targets[i])) break;
  return (*std::move(page)).answer("Targets");
}

Reply Events::rule_names_by_target(const Call& call) {
  const auto bus = find_bus(call, call.input["EventBusName"].string_or());
  if (!bus) return std::unexpected(bus.error());
  auto page = Page::of(call);
  if (!page) return std::unexpected(page.error());
  const auto wanted = [&](const Json& target) { return target["Arn"] == call.input["TargetArn"]; };
  const std::vector<Rule> managed = managed_rules(**bus);
  for (const Rule* rule : rules_of(**bus, page->from(), managed))
    if (std::ranges::any_of(rule->targets, wanted) && !page->add(rule->name, Json(rule->name))) break;
  return (*std::move(page)).answer("RuleNames");
}

// ── Events ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

// An event needs no resources here, against the documentation (recorded by AWS, 2024).
Reply Events::test_pattern(const Call& call) {
  const auto pattern = Pattern::parse(call.input["EventPattern"].string_or());
  if (!pattern) return cloud::error("InvalidEventPatternException", "Event pattern is not valid. Reason: " + pattern.error().message);
  const auto event = Json::parse(call.input["Event"].string_or());
  const auto has = [&](const char* field) { return event->find(field) != nullptr; };
  if (!event || !std::ranges::all_of(std::array{"id", "account", "source", "time", "region", "detail-type"}, has))
    return bad_input("Parameter Event is not valid.");
  return Json::object({{"Result", pattern->matches(*event)}});
}

namespace {

// As AWS counts (User Guide, "Calculating PutEvents event entry size").
std::size_t size_of(const Json& entry) {
  std::size_t size = entry.find("Time") ? 14 : 0;
  for (const char* field : {"Source", "DetailType", "Detail"}) size += entry[field].string_or().size();
  for (const Json& r : entry["Resources"].items()) size += r.string_or().size();
  return size;
}

// An entry as AWS writes it into its refusal of too many (recorded, 2024).
std::string shown_entry(const Json& entry) {
  const auto text = [&](const char* field) { return entry[field].is_null() ? "null" : entry[field].plain(); };
  std::vector<std::string> resources;
  for (const Json& r : entry["Resources"].items()) resources.emplace_back(r.string_or());
  return fmt::format(
      "PutEventsRequestEntry(time={}, source={}, resources={}, detailType={}, detail={}, eventBusName={}, traceHeader={}, "
      "kmsKeyIdentifier=null, internalMetadata=null)",
      text("Time"), text("Source"), entry.find("Resources") ? fmt::format("[{}]", fmt::join(resources, ", ")) : "null", text("DetailType"),
      text("Detail"), text("EventBusName"), text("TraceHeader"));
}

std::optional<cloud::Error> refuse_entries(const Json::Array& entries) {
  const auto wrong_length = [&](std::string_view must) {
    std::vector<std::string> shown;
    for (const Json& entry : entries) shown.push_back(shown_entry(entry));
    return validation_error(
        {fmt::format("Value '[{}]' at 'entries' failed to satisfy constraint: Member must have length {}", fmt::join(shown, ", "), must)});
  };
  if (entries.empty()) return wrong_length("greater than or equal to 1");
  if (entries.size() > kMaxEntries) return wrong_length("less than or equal to 10");
  std::size_t size = 0;
  for (const Json& entry : entries) size += size_of(entry);
  if (size > kMaxRequestBytes)
    return cloud::error("ValidationException", "Total size of the entries in the request is over the limit.").error();
  return std::nullopt;
}

// Why an entry is not taken: code and message.
std::optional<std::pair<const char*, const char*>> refuse_entry(const Json& entry, const Result<Json>& detail) {
  const std::string_view source = entry["Source"].string_or();
  if (source.empty()) return {{"InvalidArgument", "Parameter Source is not valid. Reason: Source is a required argument."}};
  if (entry["DetailType"].string_or().empty())
    return {{"InvalidArgument", "Parameter DetailType is not valid. Reason: DetailType is a required argument."}};
  if (entry["Detail"].string_or().empty())
    return {{"InvalidArgument", "Parameter Detail is not valid. Reason: Detail is a required argument."}};
  if (source.starts_with("aws.")) return {{"NotAuthorizedForSourceException", "Not authorized for the source."}};
  if (!detail || !detail->is_object() || detail->depth() > kDeepestDetail) return {{"MalformedDetail", "Detail is malformed."}};
  return std::nullopt;
}

}  // namespace

Reply Events::put_events(const Call& call) {
  const auto& entries = call.input["Entries"].items();
  if (auto refused = refuse_entries(entries)) return std::unexpected(*std::move(refused));
  Json::Array out;
  std::int64_t failed_entries = 0;
  for (const Json& entry : entries) {
    const auto detail = Json::parse(entry["Detail"].string_or());
    if (const auto refused = refuse_entry(entry, detail)) {
      ++failed_entries;
      out.push_back(Json::object({{"ErrorCode", refused->first}, {"ErrorMessage", refused->second}}));
      continue;
    }
    const std::string id = env_.loop.entropy().uuid();
    const auto at = parse_iso(entry["Time"].string_or()).value_or(env_.loop.now());
    const Json event = Json::object({{"version", "0"},
                                     {"id", id},
                                     {"detail-type", entry["DetailType"]},
                                     {"source", entry["Source"]},
                                     {"account", env_.account},
                                     {"time", iso_seconds(at)},
                                     {"region", call.region},
                                     {"resources", entry.find("Resources") ? entry["Resources"] : Json(Json::Array{})},
                                     {"detail", *detail}});
    // A bus that does not exist swallows its events, as at AWS.
    if (const auto bus = find_bus(call, entry["EventBusName"].string_or())) dispatch(**bus, event);
    out.push_back(Json::object({{"EventId", id}}));
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

std::expected<Call, cloud::Error> Events::call_for(const Delivery& d, const std::string& input) const {
  const std::string target(d.target["Arn"].string_or());
  const auto arn = Arn::parse(target);
  const std::string region = arn->region.empty() ? d.region : arn->region;
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
bool Events::log(const Delivery& d, const Arn& group, std::string line) {
  if (const auto made = Json::parse(line); d.target.find("InputTransformer") && made && made->find("message"))
    line = (*made)["message"].is_string() ? std::string((*made)["message"].string_or()) : (*made)["message"].dump();
  const std::string stream = digest_uuid(d.rule_arn + '\n' + std::string(d.target["Id"].string_or()));
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
  const auto input =
      snapward::events::target_input(d.target, d.event, {.rule_arn = d.rule_arn, .rule_name = d.rule_name, .ingested = d.first});
  if (!input) {
    spdlog::warn("rule {}: the input transformer of target {} makes no valid JSON of the event {}", d.rule_name, d.target["Id"].string_or(),
                 d.event["id"].string_or());
    return drop("deliveries", d.id);
  }
  if (arn && arn->service == "logs") {
    if (log(d, *arn, *input)) return static_cast<void>(++counts_.delivered);
    return failed(std::move(d), cloud::Error{"ResourceNotFoundException", "The specified log group does not exist.", 400, {}});
  }
  auto call = call_for(d, *input);
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
