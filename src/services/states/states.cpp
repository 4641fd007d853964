#include "services/states/states.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

#include "base/arn.hpp"
#include "base/jackson.hpp"
#include "engine/integrations.hpp"

namespace snapward::services::states {

namespace {

constexpr std::size_t kMaxDefinition = 1'048'576;
constexpr std::size_t kMaxExecutionEventBytes = 253'952;  // 248 KiB

Json with_details(const Json& record, bool describe) {
  Json::Object out;
  for (const char* field : {"executionArn", "stateMachineArn", "name", "status", "startDate", "stopDate", "mapRunArn",
                            "stateMachineVersionArn", "stateMachineAliasArn"})
    if (const Json* value = record.find(field)) out.set(field, *value);
  if (record.find("redriveDate")) out.set("redriveDate", record["redriveDate"]);
  if (!describe) {
    if (record.find("redriveCount")) out.set("redriveCount", record["redriveCount"]);
    return out;
  }
  const Json included = Json::object({{"included", true}});
  out.set("input", record["input"]).set("inputDetails", included);
  if (const Json* output = record.find("output")) out.set("output", *output).set("outputDetails", included);
  for (const char* field : {"error", "cause"})
    if (const Json* value = record.find(field)) out.set(field, *value);
  out.set("redriveCount", record["redriveCount"].integer_or(0));
  const std::string_view status = record["status"].string_or();
  if (record.find("mapRunArn") && status != "RUNNING" && status != "SUCCEEDED") {
    out.set("redriveStatus", "REDRIVABLE_BY_MAP_RUN");
  } else if (status == "RUNNING" || status == "SUCCEEDED") {
    out.set("redriveStatus", "NOT_REDRIVABLE");
    out.set("redriveStatusReason", fmt::format("Execution is {} and cannot be redriven", status));
  } else {
    out.set("redriveStatus", "REDRIVABLE");
  }
  return out;
}

Json shown_logging(const Json& logging) {
  Json::Object out{{"level", logging["level"].string_or("OFF")}, {"includeExecutionData", logging["includeExecutionData"].bool_or(false)}};
  if (!logging["destinations"].items().empty()) out.set("destinations", logging["destinations"]);
  return Json(std::move(out));
}
Json shown_tracing(const Json& tracing) { return Json::object({{"enabled", tracing["enabled"].bool_or(false)}}); }

// {"State": ["variable"]}; null when no state reads any.
Json references(const std::shared_ptr<const asl::Machine>& machine) {
  if (!machine) return {};
  Json::Object out;
  for (const auto& [state, names] : asl::variable_references(*machine)) {
    Json::Array list;
    for (const std::string& name : names) list.emplace_back(name);
    out.set(state, std::move(list));
  }
  return out.empty() ? Json() : Json(std::move(out));
}

}  // namespace

Json States::Machine::to_row() const {
  return Json::object({{"arn", arn},
                       {"name", name},
                       {"region", region},
                       {"role", role_arn},
                       {"type", type},
                       {"revision", revision},
                       {"created", created.time_since_epoch().count()},
                       {"updated", updated.time_since_epoch().count()},
                       {"changed", changed},
                       {"versions", versions},
                       {"tags", tags},
                       {"logging", logging},
                       {"tracing", tracing}});
}

States::States(Environment& env, engine::Executions& executions) : Service("states", env), executions_(executions) {
  executions_.set_listener([this](const std::string& region, const Json& record) { announce(region, record); });
  executions_.set_chronicler([this](const auto&... step) { log(step...); });
  executions_.set_activity_check([this](const std::string& arn) { return activities_.contains(arn); });
  register_machines();
  register_executions();
  register_versions();
  register_activities();
  register_map_runs();
}

void States::register_machines() {
  on("CreateStateMachine", [this](const Call& c) { return create(c); });
  on("UpdateStateMachine", [this](const Call& c) { return update(c); });
  on("DescribeStateMachine", [this](const Call& c) { return describe(c); });
  on("DescribeStateMachineForExecution", [this](const Call& c) { return describe_for_execution(c); });
  on("ListStateMachines", [this](const Call& c) { return list(c); });
  on("DeleteStateMachine", [this](const Call& c) { return remove(c); });
  on("ValidateStateMachineDefinition", [](const Call& c) { return validate(c); });
  on("TagResource", [this](const Call& c) { return tag(c); });
  on("UntagResource", [this](const Call& c) { return untag(c); });
  on("ListTagsForResource", [this](const Call& c) { return list_tags(c); });
  on_async("TestState", [this](Call c) { return test_state(std::move(c)); });
}

void States::register_executions() {
  on("StartExecution", [this](const Call& c) { return start(c); });
  on_async("StartSyncExecution", [this](Call c) { return start_sync(std::move(c)); });
  on("StopExecution", [this](const Call& c) { return stop(c); });
  on("RedriveExecution", [this](const Call& c) { return redrive(c); });
  on("DescribeExecution", [this](const Call& c) { return describe_execution(c); });
  on("ListExecutions", [this](const Call& c) { return list_executions(c); });
  on("GetExecutionHistory", [this](const Call& c) { return history(c); });
  on_async("SendTaskSuccess", [this](Call c) { return about_a_token(std::move(c), &States::task_success); });
  on_async("SendTaskFailure", [this](Call c) { return about_a_token(std::move(c), &States::task_failure); });
  on_async("SendTaskHeartbeat", [this](Call c) { return about_a_token(std::move(c), &States::task_heartbeat); });
}

void States::restore() {
  const auto instant = [](const Json& millis) { return Instant(Duration(millis.integer_or(0))); };
  each_row("machines", [&](const std::string& arn, const Json& r) {
    Machine m;
    m.arn = arn;
    m.name = r["name"].string_or();
    m.region = r["region"].string_or();
    m.role_arn = r["role"].string_or();
    m.type = r["type"].string_or();
    m.revision = r["revision"].string_or();
    m.created = instant(r["created"]);
    m.updated = instant(r["updated"]);
    m.changed = r["changed"].bool_or(false);
    m.versions = r["versions"].integer_or(0);
    m.tags = r["tags"];
    m.logging = r["logging"];
    m.tracing = r["tracing"];
    m.definition = env_.ledger.get("states.definitions", arn + '\n' + m.revision).value_or("");
    m.compiled = asl::compile_text(m.definition, m.express()).machine;
    machines_[arn] = std::move(m);
  });
  each_row("versions", [&](const std::string& arn, const Json& r) {
    versions_[arn] = {
        .arn = arn,
        .machine = std::string(r["machine"].string_or()),
        .revision = std::string(r["revision"].string_or()),
        .role_arn = std::string(r["role"].string_or()),
        .description = std::string(r["description"].string_or()),
        .definition =
            env_.ledger.get("states.definitions", std::string(r["machine"].string_or()) + '\n' + std::string(r["revision"].string_or()))
                .value_or(""),
        .number = r["number"].integer_or(0),
        .created = instant(r["created"]),
        .logging = r["logging"],
        .tracing = r["tracing"]};
  });
  each_row("aliases", [&](const std::string& arn, const Json& r) {
    aliases_[arn] = {.arn = arn,
                     .machine = std::string(r["machine"].string_or()),
                     .name = std::string(r["name"].string_or()),
                     .description = std::string(r["description"].string_or()),
                     .routing = r["routing"],
                     .created = instant(r["created"]),
                     .updated = instant(r["updated"])};
  });
  each_row("activities", [&](const std::string& arn, const Json& r) {
    activities_[arn] = {.arn = arn,
                        .name = std::string(r["name"].string_or()),
                        .region = std::string(r["region"].string_or()),
                        .created = instant(r["created"]),
                        .tags = r["tags"]};
  });
  executions_.restore([this](const std::string& arn, const std::string& revision) { return definition(arn, revision); });
}

std::shared_ptr<const asl::Machine> States::definition(const std::string& arn, const std::string& revision) {
  if (const auto m = machines_.find(arn); m != machines_.end() && m->second.revision == revision) return m->second.compiled;
  const auto text = env_.ledger.get("states.definitions", arn + '\n' + revision);
  return text ? asl::compile_text(*text).machine : nullptr;
}

void States::store(const Machine& m) {
  save("machines", m.arn, m.to_row());
  env_.ledger.put("states.definitions", m.arn + '\n' + m.revision, m.definition);
}

std::expected<States::Machine*, cloud::Error> States::find(const std::string& arn) {
  const auto parsed = Arn::parse(arn);
  if (!parsed || parsed->service != "states" || !parsed->resource_id("stateMachine")) return invalid_arn(arn);
  const auto found = machines_.find(arn);
  if (found == machines_.end()) return cloud::error("StateMachineDoesNotExist", fmt::format("State Machine Does Not Exist: '{}'", arn));
  return &found->second;
}

// A standard execution's record.
std::expected<Json, cloud::Error> States::find_execution(const std::string& arn) {
  const auto parsed = Arn::parse(arn);
  if (!parsed || !parsed->resource_id("execution")) return invalid_arn(arn);
  auto record = executions_.find(arn);
  if (!record) return cloud::error("ExecutionDoesNotExist", fmt::format("Execution Does Not Exist: '{}'", arn));
  return *std::move(record);
}

// "…:stateMachine:NAME", "…:NAME:3", "…:NAME:alias", each with or without "#test-case".
std::expected<States::Target, cloud::Error> States::target(const std::string& given) {
  Target out;
  const std::size_t hash = given.find('#');
  const std::string arn = given.substr(0, hash);
  if (hash != std::string::npos) out.test_case = given.substr(hash + 1);
  std::string machine = arn;
  if (const auto v = versions_.find(arn); v != versions_.end()) {
    out.version = &v->second;
    machine = v->second.machine;
  } else if (const auto a = aliases_.find(arn); a != aliases_.end()) {
    out.alias = &a->second;
    machine = a->second.machine;
    // By weight.
    auto draw = static_cast<std::int64_t>(env_.loop.entropy().below(100));
    for (const Json& route : a->second.routing.items()) {
      const auto to = versions_.find(route["stateMachineVersionArn"].string_or());
      draw -= route["weight"].integer_or(0);
      if (to != versions_.end() && draw < 0) {
        out.version = &to->second;
        break;
      }
    }
  }
  const auto m = find(machine);
  if (!m) return std::unexpected(m.error());
  out.machine = *m;
  return out;
}

std::expected<engine::MachineVersion, cloud::Error> States::runnable(const Target& t) {
  const Machine& m = *t.machine;
  engine::MachineVersion out{.arn = m.arn,
                             .name = m.name,
                             .role_arn = m.role_arn,
                             .region = m.region,
                             .revision = m.revision,
                             .machine = m.compiled,
                             .express = m.express()};
  if (t.version) {
    out.version_arn = t.version->arn;
    out.role_arn = t.version->role_arn;
    out.revision = t.version->revision;
    out.machine = definition(m.arn, t.version->revision);
  }
  if (t.alias) out.alias_arn = t.alias->arn;
  out.test_case = t.test_case;
  if (!out.machine) return cloud::error("StateMachineDeleting", fmt::format("The definition of '{}' cannot be read", m.arn));
  return out;
}

std::expected<void, cloud::Error> States::check_role(std::string_view arn) const {
  if (!Arn::parse(arn)) return cloud::error("InvalidArn", fmt::format("Invalid Role Arn: '{}'", arn));
  if (env_.trusts && !env_.trusts(std::string(arn), "states.amazonaws.com"))
    return cloud::error(
        "AccessDeniedException",
        "Neither the global service principal states.amazonaws.com, nor the regional one is authorized to assume the provided role.");
  return {};
}

Reply States::create(const Call& call) {
  const Json& in = call.input;
  const std::string name(in["name"].string_or());
  if (!is_name(name)) return cloud::error("InvalidName", fmt::format("Invalid Name: '{}'", name));
  const std::string text(in["definition"].string_or());
  if (text.empty() || text.size() > kMaxDefinition)
    return bad_input(
        fmt::format("1 validation error detected: Value at 'definition' failed to satisfy constraint: Member must have length {}",
                    text.empty() ? "greater than or equal to 1" : "less than or equal to 1048576"));
  if (const auto good = check_role(in["roleArn"].string_or()); !good) return std::unexpected(good.error());
  const std::string type(in["type"].string_or("STANDARD"));
  if (type != "STANDARD" && type != "EXPRESS")
    return bad_input(
        fmt::format("1 validation error detected: Value '{}' at 'type' failed to satisfy constraint: Member must satisfy enum value set: "
                    "[STANDARD, EXPRESS]",
                    type));
  const bool publish = in["publish"].bool_or(false);
  if (!publish && in.find("versionDescription")) return bad_input("Version description can only be set when publish is true");
  const auto compiled = engine::compile(text, type == "EXPRESS");
  if (!compiled.machine) return cloud::error("InvalidDefinition", asl::describe(compiled.diagnostics));
  const std::string arn = fmt::format("arn:aws:states:{}:{}:stateMachine:{}", call.region, env_.account, name);
  if (const auto known = machines_.find(arn); known != machines_.end()) {
    // Idempotent when nothing differs but the role or the tags, which stay as they are.
    const Machine& m = known->second;
    if (m.definition == text && m.type == type && m.logging == in["loggingConfiguration"] && m.tracing == in["tracingConfiguration"]) {
      Json::Object out{{"stateMachineArn", arn}, {"creationDate", iso_millis(m.created)}};
      if (publish) out.set("stateMachineVersionArn", publish_version(known->second, std::string(in["versionDescription"].string_or())).arn);
      return Json(std::move(out));
    }
    return cloud::error("StateMachineAlreadyExists", fmt::format("State Machine Already Exists: '{}'", arn));
  }
  if (const auto good = check_logging(in["loggingConfiguration"]); !good) return std::unexpected(good.error());
  Machine m;
  m.arn = arn;
  m.name = name;
  m.region = call.region;
  m.role_arn = in["roleArn"].string_or();
  m.definition = text;
  m.type = type;
  m.revision = env_.loop.entropy().uuid();
  m.created = m.updated = env_.loop.now();
  if (in.find("tags")) m.tags = merge_tags(m.tags, in["tags"], "key", "value");
  m.logging = in["loggingConfiguration"];
  m.tracing = in["tracingConfiguration"];
  m.compiled = compiled.machine;
  store(m);
  Machine& kept = machines_[arn] = std::move(m);
  Json::Object out{{"stateMachineArn", arn}, {"creationDate", iso_millis(env_.loop.now())}};
  if (publish) out.set("stateMachineVersionArn", publish_version(kept, std::string(in["versionDescription"].string_or())).arn);
  return Json(std::move(out));
}

Reply States::update(const Call& call) {
  const auto m = find(std::string(call.input["stateMachineArn"].string_or()));
  if (!m) return std::unexpected(m.error());
  const Json& in = call.input;
  const bool publish = in["publish"].bool_or(false);
  if (!publish && in.find("versionDescription")) return bad_input("Version description can only be set when publish is true");
  if (!in.find("definition") && !in.find("roleArn") && !in.find("loggingConfiguration") && !in.find("tracingConfiguration"))
    return cloud::error("MissingRequiredParameter",
                        "Either the definition, the role ARN, the LoggingConfiguration, or the TracingConfiguration must be specified");
  if (const auto good = check_logging(in["loggingConfiguration"]); !good) return std::unexpected(good.error());
  if (const Json* role = in.find("roleArn"))
    if (const auto good = check_role(role->string_or()); !good) return std::unexpected(good.error());
  bool differs = false;
  if (const Json* text = in.find("definition")) {
    const auto compiled = engine::compile(text->string_or(), (*m)->express());
    if (!compiled.machine) return cloud::error("InvalidDefinition", asl::describe(compiled.diagnostics));
    differs = (*m)->definition != text->string_or();
    (*m)->definition = text->string_or();
    (*m)->compiled = compiled.machine;
  }
  if (const Json* role = in.find("roleArn")) {
    differs = differs || (*m)->role_arn != role->string_or();
    (*m)->role_arn = role->string_or();
  }
  for (const auto& [field, kept] : {std::pair{"loggingConfiguration", &(*m)->logging}, std::pair{"tracingConfiguration", &(*m)->tracing}})
    if (const Json* value = in.find(field)) {
      differs = differs || *kept != *value;
      *kept = *value;
    }
  if (differs) {
    (*m)->revision = env_.loop.entropy().uuid();
    (*m)->changed = true;
  }
  (*m)->updated = env_.loop.now();
  store(**m);
  Json::Object out{{"updateDate", iso_millis((*m)->updated)}};
  out.set_if((*m)->changed, "revisionId", (*m)->revision);
  if (publish) out.set("stateMachineVersionArn", publish_version(**m, std::string(in["versionDescription"].string_or())).arn);
  return Json(std::move(out));
}

Reply States::describe(const Call& call) {
  const auto t = target(std::string(call.input["stateMachineArn"].string_or()));
  if (!t) return std::unexpected(t.error());
  const Machine& m = *t->machine;
  const Version* v = t->version;
  const auto compiled = v ? definition(m.arn, v->revision) : m.compiled;
  Json::Object out{{"stateMachineArn", v ? v->arn : m.arn},
                   {"name", m.name},
                   {"status", "ACTIVE"},
                   {"definition", v ? v->definition : m.definition},
                   {"roleArn", v ? v->role_arn : m.role_arn},
                   {"type", m.type},
                   {"creationDate", iso_millis(v ? v->created : m.created)}};
  if (m.changed) out.set("revisionId", v ? v->revision : m.revision);
  if (v && !v->description.empty()) out.set("description", v->description);
  out.set("loggingConfiguration", shown_logging(v ? v->logging : m.logging));
  out.set("tracingConfiguration", shown_tracing(v ? v->tracing : m.tracing));
  if (const Json names = references(compiled); !names.is_null()) out.set("variableReferences", names);
  return Json(std::move(out));
}

Reply States::describe_for_execution(const Call& call) {
  const std::string arn(call.input["executionArn"].string_or());
  const auto record = find_execution(arn);
  if (!record) return std::unexpected(record.error());
  const std::string machine((*record)["stateMachineArn"].string_or()), revision((*record)["revision"].string_or());
  const std::string root = machine.substr(0, machine.find('/'));
  const auto text = env_.ledger.get("states.definitions", root + '\n' + revision);
  Json::Object out{{"stateMachineArn", machine},
                   {"name", (*record)["machineName"]},
                   {"definition", text.value_or("")},
                   {"roleArn", (*record)["roleArn"]},
                   {"updateDate", (*record)["startDate"]}};
  if (const auto m = machines_.find(root); m != machines_.end()) {
    out.set("loggingConfiguration", shown_logging(m->second.logging)).set("tracingConfiguration", shown_tracing(m->second.tracing));
    out.set_if(m->second.changed, "revisionId", revision);
    if (m->second.revision == revision) out.set("updateDate", iso_millis(m->second.updated));
  }
  for (const char* field : {"mapRunArn"})
    if (const Json* value = record->find(field)) out.set(field, *value);
  if (text)
    if (const Json names = references(asl::compile_text(*text).machine); !names.is_null()) out.set("variableReferences", names);
  return Json(std::move(out));
}

Reply States::list(const Call& call) {
  const auto page = page_request(call.input);
  if (!page) return std::unexpected(page.error());
  Json::Array out;
  for (auto m = machines_.lower_bound(page->from); m != machines_.end(); ++m) {
    if (m->second.region != call.region) continue;
    if (out.size() == page->limit) return Json::object({{"stateMachines", std::move(out)}, {"nextToken", page_token(m->first)}});
    out.push_back(Json::object({{"stateMachineArn", m->first},
                                {"name", m->second.name},
                                {"type", m->second.type},
                                {"creationDate", iso_millis(m->second.created)}}));
  }
  return Json::object({{"stateMachines", std::move(out)}});
}

Reply States::remove(const Call& call) {
  const auto m = find(std::string(call.input["stateMachineArn"].string_or()));
  if (!m) return m.error().code == "StateMachineDoesNotExist" ? Reply(Json(Json::Object{})) : std::unexpected(m.error());
  for (auto a = aliases_.begin(); a != aliases_.end();) {
    if (a->second.machine == (*m)->arn) {
      drop("aliases", a->first);
      a = aliases_.erase(a);
    } else {
      ++a;
    }
  }
  for (auto v = versions_.begin(); v != versions_.end();) {
    if (v->second.machine == (*m)->arn) {
      drop("versions", v->first);
      v = versions_.erase(v);
    } else {
      ++v;
    }
  }
  drop("machines", (*m)->arn);  // its definitions stay for the executions that run them
  machines_.erase((*m)->arn);
  return Json(Json::Object{});
}

Reply States::validate(const Call& call) {
  const auto compiled = engine::compile(call.input["definition"].string_or(), call.input["type"].string_or() == "EXPRESS");
  const std::int64_t max = call.input["maxResults"].integer_or(0);
  Json::Array out;
  for (const auto& d : compiled.diagnostics) {
    if (max > 0 && static_cast<std::int64_t>(out.size()) == max) break;
    Json::Object one{{"severity", "ERROR"}, {"code", d.code}, {"message", d.message}};
    one.set_if(!d.location.empty(), "location", d.location);
    out.emplace_back(std::move(one));
  }
  const bool truncated = out.size() < compiled.diagnostics.size();
  return Json::object({{"result", compiled.machine ? "OK" : "FAIL"}, {"diagnostics", std::move(out)}, {"truncated", truncated}});
}

Reply States::start(const Call& call) {
  const auto t = target(std::string(call.input["stateMachineArn"].string_or()));
  if (!t) return std::unexpected(t.error());
  const std::string name(call.input.find("name") ? std::string(call.input["name"].string_or()) : env_.loop.entropy().uuid());
  if (!is_name(name)) return cloud::error("InvalidName", fmt::format("Invalid Name: '{}'", name));
  const std::string text(call.input["input"].string_or("{}"));
  const auto input = execution_input(text);
  if (!input) return std::unexpected(input.error());
  // The same name and input while it runs is the same request; else the name is taken.
  if (call.input.find("name") && !t->machine->express())
    if (const auto known = executions_.find(engine::Executions::arn_of(t->machine->arn, name))) {
      if ((*known)["status"].string_or() == "RUNNING" && (*known)["input"].string_or() == text)
        return Json::object({{"executionArn", (*known)["executionArn"]}, {"startDate", (*known)["startDate"]}});
      return cloud::error("ExecutionAlreadyExists", fmt::format("Execution Already Exists: '{}'", (*known)["executionArn"].string_or()));
    }
  const auto version = runnable(*t);
  if (!version) return std::unexpected(version.error());
  const Json record = executions_.start(*version, name, text, *input);
  return Json::object({{"executionArn", record["executionArn"]}, {"startDate", record["startDate"]}});
}

Task<Reply> States::start_sync(Call call) {
  const auto t = target(std::string(call.input["stateMachineArn"].string_or()));
  if (!t) co_return std::unexpected(t.error());
  if (!t->machine->express())
    co_return cloud::error("StateMachineTypeNotSupported", "This operation is not supported by this type of state machine");
  const std::string name(call.input.find("name") ? std::string(call.input["name"].string_or()) : env_.loop.entropy().uuid());
  if (!is_name(name)) co_return cloud::error("InvalidName", fmt::format("Invalid Name: '{}'", name));
  const std::string text(call.input["input"].string_or("{}"));
  const auto input = execution_input(text);
  if (!input) co_return std::unexpected(input.error());
  auto version = runnable(*t);
  if (!version) co_return std::unexpected(version.error());
  const Json record = co_await executions_.run_express(*std::move(version), name, text, *input);
  const bool late = record["status"].string_or() == "ABORTED" && record["error"].string_or() == asl::errors::kTimeout;
  const auto from = parse_iso(record["startDate"].string_or()), to = parse_iso(record["stopDate"].string_or());
  const std::int64_t took = from && to ? (*to - *from).count() : 0;
  const Json included = Json::object({{"included", true}});
  Json::Object out{{"executionArn", record["executionArn"]},
                   {"stateMachineArn", record["stateMachineArn"]},
                   {"name", record["name"]},
                   {"startDate", record["startDate"]},
                   {"stopDate", record["stopDate"]},
                   {"status", late ? Json("TIMED_OUT") : record["status"]},
                   {"input", text},
                   {"inputDetails", included}};
  for (const char* field : {"error", "cause", "output"})
    if (const Json* value = record.find(field)) out.set(field, *value);
  out.set("outputDetails", included);
  // Billed in steps of 64 MB and 100 ms.
  out.set("billingDetails", Json::object({{"billedMemoryUsedInMB", 64}, {"billedDurationInMilliseconds", (took / 100 + 1) * 100}}));
  co_return Json(std::move(out));
}

Reply States::redrive(const Call& call) {
  const std::string arn(call.input["executionArn"].string_or());
  const auto record = find_execution(arn);
  if (!record) return std::unexpected(record.error());
  const std::string_view status = (*record)["status"].string_or();
  if (status == "RUNNING" || status == "SUCCEEDED")
    return cloud::error("ExecutionNotRedrivable", fmt::format("Execution is {} and cannot be redriven", status));
  if (record->find("mapRunArn")) return cloud::error("ExecutionNotRedrivable", "Execution is a child of a Map Run and is redriven with it");
  const auto stopped = parse_iso((*record)["stopDate"].string_or());
  if (stopped && env_.loop.now() - *stopped > std::chrono::days(14))
    return cloud::error("ExecutionNotRedrivable", "Execution has exceeded the redrivable period of 14 days");
  const auto at = executions_.redrive(arn);
  if (!at) return cloud::error("ExecutionNotRedrivable", "Execution cannot be redriven: " + at.error());
  return Json::object({{"redriveDate", iso_millis(*at)}});
}

Reply States::stop(const Call& call) {
  const std::string arn(call.input["executionArn"].string_or());
  const auto record = find_execution(arn);
  if (!record) return std::unexpected(record.error());
  if ((*record)["status"].string_or() == "RUNNING")
    executions_.stop(arn, std::string(call.input["error"].string_or()), std::string(call.input["cause"].string_or()));
  const auto after = executions_.find(arn);
  const Json* stopped = after ? after->find("stopDate") : nullptr;  // none yet: it computes, and ends when that is over
  return Json::object({{"stopDate", stopped ? *stopped : Json(iso_millis(env_.loop.now()))}});
}

Reply States::describe_execution(const Call& call) {
  const std::string arn(call.input["executionArn"].string_or());
  const auto record = find_execution(arn);
  if (!record) return std::unexpected(record.error());
  return with_details(*record, true);
}

Reply States::list_executions(const Call& call) {
  const auto page = page_request(call.input, 3096);
  if (!page) return std::unexpected(page.error());
  const std::string_view filter = call.input["statusFilter"].string_or();
  static constexpr std::array<std::string_view, 6> kStatuses = {"SUCCEEDED", "TIMED_OUT", "PENDING_REDRIVE",
                                                                "ABORTED",   "FAILED",    "RUNNING"};
  if (!filter.empty() && std::ranges::find(kStatuses, filter) == kStatuses.end())
    return bad_input(
        fmt::format("1 validation error detected: Value '{}' at 'statusFilter' failed to satisfy constraint: Member must "
                    "satisfy enum value set: [{}]",
                    filter, fmt::join(kStatuses, ", ")));
  std::string owner(call.input["mapRunArn"].string_or()), through;
  if (owner.empty()) {
    const auto t = target(std::string(call.input["stateMachineArn"].string_or()));
    if (!t) return std::unexpected(t.error());
    if (t->machine->express())
      return cloud::error("StateMachineTypeNotSupported", "This operation is not supported by this type of state machine");
    owner = t->machine->arn;
    if (t->version || t->alias) through = call.input["stateMachineArn"].string_or();
  } else if (!executions_.find_map_run(owner)) {
    return cloud::error("ResourceNotFound", fmt::format("Resource not found: '{}'", owner));
  }
  const auto found = executions_.list(owner, std::string(filter), page->limit, page->from, through);
  Json::Array out;
  for (const Json& record : found.items) out.push_back(with_details(record, false));
  Json::Object reply{{"executions", std::move(out)}};
  reply.set_if(!found.next.empty(), "nextToken", page_token(found.next));
  return Json(std::move(reply));
}

Reply States::history(const Call& call) {
  const std::string arn(call.input["executionArn"].string_or());
  if (const auto record = find_execution(arn); !record) return std::unexpected(record.error());
  const auto page = page_request(call.input);
  if (!page) return std::unexpected(page.error());
  auto found = executions_.history(arn, call.input["reverseOrder"].bool_or(false), page->limit, page->from);
  if (!call.input["includeExecutionData"].bool_or(true))
    for (Json& event : found.items) {
      Json::Object out;
      for (const auto& [key, value] : event.as_object()) {
        if (!value.is_object()) {
          out.set(key, value);
          continue;
        }
        out.set(key, without_data(value));
      }
      event = Json(std::move(out));
    }
  Json::Object reply{{"events", std::move(found.items)}};
  reply.set_if(!found.next.empty(), "nextToken", page_token(found.next));
  return Json(std::move(reply));
}

namespace {
// Of the form of a token that was once given out.
bool is_token(const Call& call) {
  const std::string_view token = call.input["taskToken"].string_or();
  return token.size() == 64 && token.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}
Reply token_answer(const Call& call, bool known) {
  if (known) return Json(Json::Object{});
  if (!is_token(call)) return cloud::error("InvalidToken", "Invalid Token: 'Invalid token'");
  return cloud::error("TaskTimedOut", "Task Timed Out: 'Provided task does not exist anymore'");
}
}  // namespace

// After a restart, tokens are known once the executions have caught up with their journals.
Task<Reply> States::about_a_token(Call call, Reply (States::*answer)(const Call&)) {
  co_await executions_.caught_up();
  co_return (this->*answer)(call);
}

Reply States::task_success(const Call& call) {
  if (!is_token(call)) return token_answer(call, false);
  const auto output = Json::parse(call.input["output"].string_or());
  if (!output) {
    const auto said = jackson_error(call.input["output"].string_or());
    return cloud::error("InvalidOutput", fmt::format("Invalid Output: '{}'", said ? said->exception : output.error().message));
  }
  return token_answer(call, executions_.task_succeeded(std::string(call.input["taskToken"].string_or()), *output));
}
Reply States::task_failure(const Call& call) {
  return token_answer(
      call, executions_.task_failed(std::string(call.input["taskToken"].string_or()), std::string(call.input["error"].string_or()),
                                    std::string(call.input["cause"].string_or())));
}
Reply States::task_heartbeat(const Call& call) {
  return token_answer(call, executions_.task_heartbeat(std::string(call.input["taskToken"].string_or())));
}

// "Step Functions Execution Status Change" on the default bus; large payloads are left out, as AWS leaves them.
void States::announce(const std::string& region, const Json& record) {
  const auto millis = [](const Json& at) -> Json {
    const auto instant = parse_iso(at.string_or());
    return instant ? Json(instant->time_since_epoch().count()) : Json();
  };
  const std::string_view input = record["input"].string_or(), output = record["output"].string_or();
  const bool fits = input.size() + output.size() <= kMaxExecutionEventBytes;
  const Json included = Json::object({{"included", fits}});
  Json::Object detail{{"executionArn", record["executionArn"]},
                      {"stateMachineArn", record["stateMachineArn"]},
                      {"name", record["name"]},
                      {"status", record["status"]},
                      {"startDate", millis(record["startDate"])},
                      {"stopDate", millis(record["stopDate"])},
                      {"input", fits ? record["input"] : Json()},
                      {"inputDetails", included},
                      {"output", fits ? record["output"] : Json()},
                      {"outputDetails", record.find("output") ? included : Json()},
                      {"error", record["error"]},
                      {"cause", record["cause"]}};
  env_.publish(region, Json::object({{"version", "0"},
                                     {"id", env_.loop.entropy().uuid()},
                                     {"detail-type", "Step Functions Execution Status Change"},
                                     {"source", "aws.states"},
                                     {"account", env_.account},
                                     {"time", iso_seconds(env_.loop.now())},
                                     {"region", region},
                                     {"resources", Json::array({record["executionArn"]})},
                                     {"detail", std::move(detail)}}));
}

}  // namespace snapward::services::states
