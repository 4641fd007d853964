#include "services/scheduler/scheduler.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "base/arn.hpp"
#include "base/text.hpp"
#include "services/delivery.hpp"
#include "wire/conform.hpp"
#include "wire/model.hpp"

namespace snapward::services::scheduler {

namespace {

std::unexpected<cloud::Error> bad_input(std::string message) { return cloud::error("ValidationException", std::move(message)); }
std::string row_key(const std::string& region, const std::string& group, const std::string& name) {
  return region + '/' + group + '/' + name;
}
bool is_name(std::string_view name) {
  return !name.empty() && name.size() <= 64 && std::all_of(name.begin(), name.end(), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '-' || c == '_';
  });
}

// What begins the names of operations that only read, which no schedule may call (User Guide, "Using universal targets").
constexpr std::string_view kReadOnly[] = {"get",
                                          "describe",
                                          "list",
                                          "poll",
                                          "receive",
                                          "search",
                                          "scan",
                                          "query",
                                          "select",
                                          "read",
                                          "lookup",
                                          "discover",
                                          "validate",
                                          "batchGet",
                                          "batchRead",
                                          "batchDescribe",
                                          "adminGet",
                                          "adminList",
                                          "retrieve",
                                          "testMigration",
                                          "transactGet",
                                          "testConnection",
                                          "translateDocument",
                                          "isAuthorized",
                                          "invokeModel"};

void replace_all(std::string& text, std::string_view what, const std::string& with) {
  for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + with.size()))
    text.replace(at, what.size(), with);
}

}  // namespace

std::string Scheduler::arn(const Schedule& s) const {
  return fmt::format("arn:aws:scheduler:{}:{}:schedule/{}/{}", s.region, env_.account, s.group, s.name);
}
std::string Scheduler::group_arn(const std::string& region, const std::string& name) const {
  return fmt::format("arn:aws:scheduler:{}:{}:schedule-group/{}", region, env_.account, name);
}

Json Scheduler::group_json(const std::string& region, const std::string& name) const {
  Json::Object out{{"Arn", group_arn(region, name)}, {"Name", name}, {"State", "ACTIVE"}};
  if (const auto g = groups_.find({region, name}); g != groups_.end())
    out.set("CreationDate", iso_millis(g->second.created)).set("LastModificationDate", iso_millis(g->second.created));
  return Json(std::move(out));
}

void Scheduler::store(const Schedule& s) {
  save("schedules", row_key(s.region, s.group, s.name),
       Json::object({{"region", s.region},
                     {"group", s.group},
                     {"name", s.name},
                     {"definition", s.definition},
                     {"token", s.token},
                     {"created", s.created.time_since_epoch().count()},
                     {"modified", s.modified.time_since_epoch().count()},
                     {"due", s.last_due.time_since_epoch().count()}}));
}
void Scheduler::store_group(const std::string& region, const std::string& name) {
  const Group& g = groups_.at({region, name});
  save("groups", region + '/' + name,
       Json::object(
           {{"region", region}, {"name", name}, {"created", g.created.time_since_epoch().count()}, {"tags", g.tags}, {"token", g.token}}));
}

void Scheduler::restore() {
  const auto instant = [](const Json& millis) { return Instant(Duration(millis.integer_or(0))); };
  each_row("groups", [&](const std::string&, const Json& r) {
    groups_[{std::string(r["region"].string_or()), std::string(r["name"].string_or())}] = {instant(r["created"]), r["tags"],
                                                                                           std::string(r["token"].string_or())};
  });
  each_row("schedules", [&](const std::string&, const Json& r) {
    Schedule s{.region = std::string(r["region"].string_or()),
               .group = std::string(r["group"].string_or()),
               .name = std::string(r["name"].string_or()),
               .definition = r["definition"],
               .token = std::string(r["token"].string_or()),
               .created = instant(r["created"]),
               .modified = instant(r["modified"]),
               .last_due = instant(r["due"]),
               .times = {},
               .timer = {}};
    if (auto times = snapward::events::Schedule::parse(s.definition["ScheduleExpression"].string_or(),
                                                       std::string(s.definition["ScheduleExpressionTimezone"].string_or())))
      s.times = *std::move(times);
    const Key key{s.region, s.group, s.name};
    arm(schedules_[key] = std::move(s));
  });
  each_row("invocations", [&](const std::string& id, const Json& r) {
    Invocation i{.id = id,
                 .schedule_arn = std::string(r["schedule"].string_or()),
                 .region = std::string(r["region"].string_or()),
                 .target = r["target"],
                 .scheduled = instant(r["scheduled"]),
                 .first = instant(r["first"]),
                 .attempts = r["attempts"].integer_or(0)};
    env_.loop.defer([this, i] { attempt(i); });
  });
}

Scheduler::Scheduler(Environment& env) : Service("scheduler", env) {
  on("CreateSchedule", [this](const Call& c) { return create(c); });
  on("UpdateSchedule", [this](const Call& c) { return update(c); });
  on("ListSchedules", [this](const Call& c) { return list(c); });
  on("GetSchedule", [this](const Call& call) -> Reply {
    const auto s = find(call);
    if (!s) return std::unexpected(s.error());
    return describe(**s);
  });
  on("DeleteSchedule", [this](const Call& call) -> Reply {
    const auto s = find(call);
    if (!s) return std::unexpected(s.error());
    remove({(*s)->region, (*s)->group, (*s)->name});
    return Json(Json::Object{});
  });
  on("CreateScheduleGroup", [this](const Call& call) -> Reply {
    const std::string name(call.input["Name"].string_or());
    if (!is_name(name)) return bad_input(fmt::format("Invalid schedule group name: {}", name));
    const std::string token(call.input["ClientToken"].string_or());
    const auto known = groups_.find({call.region, name});
    const bool again = known != groups_.end() && !token.empty() && known->second.token == token;
    if ((name == "default" || known != groups_.end()) && !again)
      return cloud::error("ConflictException", fmt::format("Schedule group {} already exists.", name), 409);
    if (!again) groups_[{call.region, name}] = {env_.loop.now(), merge_tags(Json(Json::Array{}), call.input["Tags"]), token};
    store_group(call.region, name);
    return Json::object({{"ScheduleGroupArn", group_arn(call.region, name)}});
  });
  on("GetScheduleGroup", [this](const Call& call) -> Reply {
    const std::string name(call.input["Name"].string_or());
    if (name != "default" && !groups_.contains({call.region, name}))
      return cloud::error("ResourceNotFoundException", fmt::format("Schedule group {} does not exist.", name), 404);
    return group_json(call.region, name);
  });
  on("DeleteScheduleGroup", [this](const Call& call) -> Reply {
    const std::string name(call.input["Name"].string_or());
    if (name == "default") return bad_input("The default schedule group cannot be deleted.");
    if (!groups_.contains({call.region, name}))
      return cloud::error("ResourceNotFoundException", fmt::format("Schedule group {} does not exist.", name), 404);
    std::vector<Key> gone;  // its schedules go with it
    for (const auto& [key, s] : schedules_)
      if (s.region == call.region && s.group == name) gone.push_back(key);
    for (const Key& key : gone) remove(key);
    groups_.erase({call.region, name});
    drop("groups", call.region + '/' + name);
    return Json(Json::Object{});
  });
  on("ListScheduleGroups", [this](const Call& call) -> Reply {
    const std::string prefix(call.input["NamePrefix"].string_or());
    Json::Array out;
    const auto from = page_position(call.input["NextToken"].string_or());
    if (call.input.find("NextToken") && !from) return bad_input("Invalid NextToken.");
    const auto limit = static_cast<std::size_t>(std::clamp<std::int64_t>(call.input["MaxResults"].integer_or(100), 1, 100));
    std::map<std::string, Json> all{{"default", group_json(call.region, "default")}};
    for (const auto& [key, g] : groups_)
      if (key.first == call.region) all[key.second] = group_json(key.first, key.second);
    for (auto at = all.lower_bound(from.value_or("")); at != all.end(); ++at) {
      if (!at->first.starts_with(prefix)) continue;
      if (out.size() == limit) return Json::object({{"ScheduleGroups", std::move(out)}, {"NextToken", page_token(at->first)}});
      out.push_back(at->second);
    }
    return Json::object({{"ScheduleGroups", std::move(out)}});
  });
  // Only groups are tagged.
  const auto group_of = [this](const Call& call) -> std::expected<std::pair<std::string, std::string>, cloud::Error> {
    const auto parsed = Arn::parse(call.input["ResourceArn"].string_or());
    const auto name = parsed ? parsed->resource_id("schedule-group") : std::nullopt;
    if (!name || !groups_.contains({parsed->region, *name}))
      return cloud::error("ResourceNotFoundException", fmt::format("Resource {} does not exist.", call.input["ResourceArn"].string_or()),
                          404);
    return std::pair(parsed->region, *name);
  };
  on("TagResource", [this, group_of](const Call& call) -> Reply {
    const auto key = group_of(call);
    if (!key) return std::unexpected(key.error());
    groups_[*key].tags = merge_tags(groups_[*key].tags, call.input["Tags"]);
    store_group(key->first, key->second);
    return Json(Json::Object{});
  });
  on("UntagResource", [this, group_of](const Call& call) -> Reply {
    const auto key = group_of(call);
    if (!key) return std::unexpected(key.error());
    groups_[*key].tags = remove_tags(groups_[*key].tags, call.input["TagKeys"]);
    store_group(key->first, key->second);
    return Json(Json::Object{});
  });
  on("ListTagsForResource", [this, group_of](const Call& call) -> Reply {
    const auto key = group_of(call);
    if (!key) return std::unexpected(key.error());
    return Json::object({{"Tags", groups_[*key].tags}});
  });
}

// Reads and checks a definition into the schedule.
std::expected<void, cloud::Error> Scheduler::check(const Call& call, Schedule& s) const {
  const Json& in = call.input;
  auto times =
      snapward::events::Schedule::parse(in["ScheduleExpression"].string_or(), std::string(in["ScheduleExpressionTimezone"].string_or()));
  if (!times) return bad_input(times.error().message);
  const Json& window = in["FlexibleTimeWindow"];
  const std::string_view mode = window["Mode"].string_or();
  const std::int64_t minutes = window["MaximumWindowInMinutes"].integer_or(0);
  if (mode != "OFF" && mode != "FLEXIBLE") return bad_input("FlexibleTimeWindow.Mode must be OFF or FLEXIBLE.");
  if (mode == "FLEXIBLE" && (minutes < 1 || minutes > 1440))
    return bad_input("FlexibleTimeWindow.MaximumWindowInMinutes must be from 1 to 1440 when Mode is FLEXIBLE.");
  if (mode == "OFF" && window.find("MaximumWindowInMinutes"))
    return bad_input("FlexibleTimeWindow.MaximumWindowInMinutes must not be given when Mode is OFF.");
  const std::string_view state = in["State"].string_or("ENABLED"), after = in["ActionAfterCompletion"].string_or("NONE");
  if (state != "ENABLED" && state != "DISABLED") return bad_input("State must be ENABLED or DISABLED.");
  if (after != "NONE" && after != "DELETE") return bad_input("ActionAfterCompletion must be NONE or DELETE.");
  const auto from = parse_iso(in["StartDate"].string_or()), to = parse_iso(in["EndDate"].string_or());
  if (from && to && *to <= *from) return bad_input("The EndDate you specify must be after the StartDate.");
  const Json& target = in["Target"];
  if (!Arn::parse(target["Arn"].string_or()))
    return bad_input(fmt::format("Provided Arn is not in correct format: {}", target["Arn"].string_or()));
  if (!Arn::parse(target["RoleArn"].string_or()))
    return bad_input(fmt::format("Provided RoleArn is not in correct format: {}", target["RoleArn"].string_or()));
  const Json& retry = target["RetryPolicy"];
  if (retry["MaximumRetryAttempts"].integer_or(0) > kMaxDeliveryRetries || retry["MaximumRetryAttempts"].integer_or(0) < 0)
    return bad_input("RetryPolicy.MaximumRetryAttempts must be from 0 to 185.");
  if (const std::int64_t age = retry["MaximumEventAgeInSeconds"].integer_or(60); age < 60 || age > kMaxDeliveryAgeSeconds)
    return bad_input("RetryPolicy.MaximumEventAgeInSeconds must be from 60 to 86400.");
  for (const char* kind : {"EcsParameters", "KinesisParameters", "SageMakerPipelineParameters"})
    if (target.find(kind)) return bad_input(fmt::format("Targets with {} are not supported by Snapward's local cloud.", kind));
  Invocation probe{.id = {}, .schedule_arn = {}, .region = call.region, .target = target, .scheduled = {}, .first = {}};
  if (const auto made = call_for(probe); !made) return std::unexpected(made.error());
  s.times = *std::move(times);
  Json::Object kept;
  for (const char* field : {"ScheduleExpression", "ScheduleExpressionTimezone", "FlexibleTimeWindow", "StartDate", "EndDate", "Description",
                            "KmsKeyArn", "Target"})
    if (const Json* value = in.find(field)) kept.set(field, *value);
  kept.set("State", state).set("ActionAfterCompletion", after);
  if (!kept.find("ScheduleExpressionTimezone")) kept.set("ScheduleExpressionTimezone", "UTC");
  s.definition = Json(std::move(kept));
  return {};
}

Reply Scheduler::create(const Call& call) {
  const std::string name(call.input["Name"].string_or()), group(call.input["GroupName"].string_or("default"));
  if (!is_name(name)) return bad_input(fmt::format("Invalid schedule name: {}", name));
  if (group != "default" && !groups_.contains({call.region, group}))
    return cloud::error("ResourceNotFoundException", fmt::format("Schedule group {} does not exist.", group), 404);
  const Key key{call.region, group, name};
  Schedule s{.region = call.region,
             .group = group,
             .name = name,
             .definition = {},
             .token = std::string(call.input["ClientToken"].string_or()),
             .created = env_.loop.now(),
             .modified = env_.loop.now(),
             .last_due = env_.loop.now(),
             .times = {},
             .timer = {}};
  if (const auto good = check(call, s); !good) return std::unexpected(good.error());
  if (const auto known = schedules_.find(key); known != schedules_.end()) {
    // The same call made again, by a client that lost the answer, is answered as before.
    if (!s.token.empty() && s.token == known->second.token && s.definition == known->second.definition)
      return Json::object({{"ScheduleArn", arn(known->second)}});
    return cloud::error("ConflictException", fmt::format("Schedule {} already exists.", name), 409);
  }
  Schedule& kept = schedules_[key] = std::move(s);
  store(kept);
  arm(kept);
  return Json::object({{"ScheduleArn", arn(kept)}});
}

Reply Scheduler::update(const Call& call) {
  const auto s = find(call);
  if (!s) return std::unexpected(s.error());
  if (const auto good = check(call, **s); !good) return std::unexpected(good.error());
  (*s)->modified = (*s)->last_due = env_.loop.now();
  store(**s);
  arm(**s);
  return Json::object({{"ScheduleArn", arn(**s)}});
}

std::expected<Scheduler::Schedule*, cloud::Error> Scheduler::find(const Call& call) {
  const auto found = schedules_.find(
      {call.region, std::string(call.input["GroupName"].string_or("default")), std::string(call.input["Name"].string_or())});
  if (found == schedules_.end())
    return cloud::error("ResourceNotFoundException", fmt::format("Schedule {} does not exist.", call.input["Name"].string_or()), 404);
  return &found->second;
}

Json Scheduler::describe(const Schedule& s) const {
  Json::Object out = s.definition.as_object();
  out.set("Arn", arn(s))
      .set("Name", s.name)
      .set("GroupName", s.group)
      .set("CreationDate", iso_millis(s.created))
      .set("LastModificationDate", iso_millis(s.modified));
  return Json(std::move(out));
}

Reply Scheduler::list(const Call& call) {
  const Json& in = call.input;
  const auto from = page_position(in["NextToken"].string_or());
  if (in.find("NextToken") && !from) return bad_input("Invalid NextToken.");
  const auto limit = static_cast<std::size_t>(std::clamp<std::int64_t>(in["MaxResults"].integer_or(100), 1, 100));
  Json::Array out;
  for (const auto& [key, s] : schedules_) {
    const std::string position = row_key(s.region, s.group, s.name);
    if (s.region != call.region || (from && position < *from)) continue;
    if (in.find("GroupName") && in["GroupName"].string_or() != s.group) continue;
    if (!s.name.starts_with(in["NamePrefix"].string_or())) continue;
    if (in.find("State") && in["State"].string_or() != s.definition["State"].string_or()) continue;
    if (out.size() == limit) return Json::object({{"Schedules", std::move(out)}, {"NextToken", page_token(position)}});
    out.push_back(Json::object({{"Arn", arn(s)},
                                {"Name", s.name},
                                {"GroupName", s.group},
                                {"State", s.definition["State"]},
                                {"CreationDate", iso_millis(s.created)},
                                {"LastModificationDate", iso_millis(s.modified)},
                                {"Target", Json::object({{"Arn", s.definition["Target"]["Arn"]}})}}));
  }
  return Json::object({{"Schedules", std::move(out)}});
}

void Scheduler::remove(const Key& key) {
  const auto s = schedules_.find(key);
  if (s->second.timer) env_.loop.cancel(*s->second.timer);
  drop("schedules", row_key(std::get<0>(key), std::get<1>(key), std::get<2>(key)));
  schedules_.erase(s);
}

void Scheduler::arm(Schedule& s) {
  if (s.timer) env_.loop.cancel(*s.timer);
  s.timer.reset();
  if (!s.times || s.definition["State"].string_or() == "DISABLED") return;
  const auto start = parse_iso(s.definition["StartDate"].string_or()), end = parse_iso(s.definition["EndDate"].string_or());
  const Instant origin = start.value_or(s.created);
  // From the last time it was due, not from now: what came due while we were down is made good, once.
  const auto due = s.times->next(start && *start - Duration(1) > s.last_due ? *start - Duration(1) : s.last_due, origin);
  const Key key{s.region, s.group, s.name};
  if (!due || (end && *due > *end)) {
    if (s.definition["ActionAfterCompletion"].string_or() == "DELETE" && s.last_due > s.modified)
      env_.loop.defer([this, key] {
        if (schedules_.contains(key)) remove(key);
      });
    return;
  }
  Instant when = *due;
  if (s.definition["FlexibleTimeWindow"]["Mode"].string_or() == "FLEXIBLE")
    when += Duration(static_cast<std::int64_t>(env_.loop.entropy().below(
        static_cast<std::uint64_t>(s.definition["FlexibleTimeWindow"]["MaximumWindowInMinutes"].integer_or(1)) * 60'000)));
  s.timer = env_.loop.at(when, [this, key, due = *due] { fire(key, due); });
}

void Scheduler::fire(const Key& key, Instant due) {
  const auto found = schedules_.find(key);
  if (found == schedules_.end()) return;
  Schedule& s = found->second;
  s.timer.reset();
  // Missed more than once while the process was down: the one call stands for all.
  const std::chrono::minutes window(s.definition["FlexibleTimeWindow"]["MaximumWindowInMinutes"].integer_or(0) + 1);
  s.last_due = std::max(due, env_.loop.now() - window);
  store(s);
  attempt({.id = env_.loop.entropy().uuid(),
           .schedule_arn = arn(s),
           .region = s.region,
           .target = s.definition["Target"],
           .scheduled = due,
           .first = env_.loop.now(),
           .attempts = 0});
  arm(s);
}

std::expected<Call, cloud::Error> Scheduler::call_for(const Invocation& i) const {
  const std::string target(i.target["Arn"].string_or());
  const auto parsed = Arn::parse(target);
  const std::string region = parsed->region.empty() ? i.region : parsed->region;
  // Keywords that stand for this call (User Guide, "Adding context attributes").
  std::string input(i.target["Input"].string_or());
  replace_all(input, "<aws.scheduler.schedule-arn>", i.schedule_arn);
  replace_all(input, "<aws.scheduler.scheduled-time>", iso_seconds(i.scheduled));
  replace_all(input, "<aws.scheduler.execution-id>", i.id);
  replace_all(input, "<aws.scheduler.attempt-number>", std::to_string(i.attempts + 1));
  if (parsed->service == "states")
    return Call{"states", region, "StartExecution",
                Json::object({{"stateMachineArn", target}, {"input", input.empty() ? "{}" : input}, {"name", i.id.empty() ? "x" : i.id}})};
  if (parsed->service == "lambda")
    return Call{"lambda", region, "Invoke",
                Json::object({{"FunctionName", target}, {"InvocationType", "Event"}, {"Payload", input.empty() ? "{}" : input}})};
  if (parsed->service == "sns") return Call{"sns", region, "Publish", Json::object({{"TopicArn", target}, {"Message", input}})};
  if (parsed->service == "sqs") {
    Json::Object message{{"QueueUrl", fmt::format("{}/{}/{}", env_.base_url, parsed->account, parsed->resource)}, {"MessageBody", input}};
    if (const Json* group = i.target["SqsParameters"].find("MessageGroupId")) message.set("MessageGroupId", *group);
    return Call{"sqs", region, "SendMessage", Json(std::move(message))};
  }
  if (parsed->service == "events" && parsed->resource_id("event-bus")) {
    const Json& how = i.target["EventBridgeParameters"];
    if (!how.find("DetailType") || !how.find("Source"))
      return bad_input("EventBridgeParameters with DetailType and Source are required for an event bus.");
    return Call{"events", region, "PutEvents",
                Json::object({{"Entries", Json::array({Json::object({{"Source", how["Source"]},
                                                                     {"DetailType", how["DetailType"]},
                                                                     {"Detail", input.empty() ? "{}" : input},
                                                                     {"EventBusName", target}})})}})};
  }
  if (parsed->service == "scheduler" && parsed->resource.starts_with("aws-sdk:")) {
    const std::vector<std::string> parts = split(parsed->resource, ':');
    std::string service = parts.size() > 1 ? parts[1] : "", operation = parts.size() > 2 ? parts[2] : "";
    if (service == "sfn") service = "states";
    if (service == "eventbridge") service = "events";
    const wire::Service* model = wire::find_service(service);
    if (!model) return bad_input(fmt::format("{} is not a supported service for a target.", service));  // as users of AWS report it
    if (std::ranges::any_of(kReadOnly, [&](std::string_view begin) { return operation.starts_with(begin); }))
      return bad_input(fmt::format("{} only reads and is not a supported action for a target.", target));
    if (!operation.empty()) operation[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(operation[0])));
    if (!model->find(operation)) return bad_input(fmt::format("{} is not an operation of {}.", target, service));
    auto json = Json::parse(input.empty() ? "{}" : input);
    if (!json || !json->is_object()) return bad_input("The Input of a universal target must be a JSON object.");
    if (service == "states") {  // its own API writes camel case
      Json::Object camel;
      for (const auto& [key, value] : json->as_object()) {
        std::string name = key;
        name[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(name[0])));
        camel.set(std::move(name), value);
      }
      json = Json(std::move(camel));
    }
    if (const wire::Shape* shape = model->find(operation)->input)
      if (const auto problem = wire::nonconforming(*shape, *json, {}))
        return bad_input(fmt::format("The Input of {}: Field '{}' must be {}", target, problem->path, problem->wanted));
    return Call{service, i.region, operation, *std::move(json)};
  }
  return bad_input(fmt::format("Targets of service {} are not supported by Snapward's local cloud.", parsed->service));
}

cloud::Caller Scheduler::caller_of(const Invocation& i) {
  return {.service = "scheduler.amazonaws.com", .role = std::string(i.target["RoleArn"].string_or()), .source = i.schedule_arn};
}

void Scheduler::attempt(Invocation i) {
  auto call = call_for(i);
  if (!call) return failed(std::move(i), call.error());
  call->caller = caller_of(i);
  // An answer from another process comes after this turn's commit: until then a row keeps the invocation through a restart.
  const bool outside = !env_.here(call->service, call->region);
  if (outside && i.attempts == 0) store(i);
  env_.loop.spawn(env_.cloud->call(*std::move(call)), [this, outside, i = std::move(i)](const Reply& reply) mutable {
    const bool done = reply || reply.error().code == "ExecutionAlreadyExists";
    if (!done) return failed(std::move(i), reply.error());
    // PutEvents answers well even when it took nothing.
    if (reply && (*reply)["FailedEntryCount"].integer_or(0) > 0) {
      const Json& refused = (*reply)["Entries"].items().at(0);
      return failed(std::move(i),
                    cloud::error(std::string(refused["ErrorCode"].string_or()), std::string(refused["ErrorMessage"].string_or())).error());
    }
    if (outside || i.attempts > 0) drop("invocations", i.id);
  });
}

void Scheduler::store(const Invocation& i) {
  save("invocations", i.id,
       Json::object({{"schedule", i.schedule_arn},
                     {"region", i.region},
                     {"target", i.target},
                     {"scheduled", i.scheduled.time_since_epoch().count()},
                     {"first", i.first.time_since_epoch().count()},
                     {"attempts", i.attempts}}));
}

void Scheduler::failed(Invocation i, const cloud::Error& error) {
  const NextAttempt next = next_attempt(env_, i.target, error, i.attempts, i.first);
  if (next.delay) {
    ++i.attempts;
    store(i);
    env_.loop.after(*next.delay, [this, i = std::move(i)] { attempt(i); });
    return;
  }
  drop("invocations", i.id);
  spdlog::warn("schedule {}: {} could not be called: {}", i.schedule_arn, i.target["Arn"].string_or(), error.message);
  std::vector<std::pair<std::string, std::string>> attributes{{"SCHEDULE_ARN", i.schedule_arn},
                                                              {"TARGET_ARN", std::string(i.target["Arn"].string_or())},
                                                              {"ERROR_CODE", error.code},
                                                              {"ERROR_MESSAGE", error.message},
                                                              {"EXECUTION_TIME", iso_seconds(env_.loop.now())},
                                                              {"SCHEDULED_TIME", iso_seconds(i.scheduled)},
                                                              {"RETRY_ATTEMPTS", std::to_string(i.attempts)}};
  if (*next.exhausted) attributes.emplace_back("EXHAUSTED_RETRY_CONDITION", next.exhausted);
  send_dead_letter(env_, i.target, std::string(i.target["Input"].string_or("{}")), std::move(attributes), caller_of(i));
}

}  // namespace snapward::services::scheduler
