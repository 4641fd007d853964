#include "services/states/states.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "base/arn.hpp"
#include "base/text.hpp"

namespace snapward::services::states {

namespace {

constexpr std::size_t kMaxDefinition = 1'048'576;
constexpr std::size_t kMaxExecutionEventBytes = 253'952;  // 248 KiB

std::unexpected<cloud::Error> bad_input(std::string message) { return cloud::error("ValidationException", std::move(message)); }

bool is_name(std::string_view name) {
  if (name.empty() || utf8_length(name) > 80) return false;
  return name.find_first_of(" \t\n\r<>{}[]?*\"#%\\^|~`$&,;:/") == std::string_view::npos &&
         std::none_of(name.begin(), name.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

Json with_details(const Json& record, bool describe) {
  Json::Object out;
  for (const char* field : {"executionArn", "stateMachineArn", "name", "status", "startDate", "stopDate"})
    if (const Json* value = record.find(field)) out.set(field, *value);
  if (!describe) return out;
  const Json included = Json::object({{"included", true}});
  out.set("input", record["input"]).set("inputDetails", included);
  if (const Json* output = record.find("output")) out.set("output", *output).set("outputDetails", included);
  for (const char* field : {"error", "cause"})
    if (const Json* value = record.find(field)) out.set(field, *value);
  out.set("redriveCount", 0);
  const std::string_view status = record["status"].string_or();
  out.set("redriveStatus", "NOT_REDRIVABLE");
  out.set("redriveStatusReason", status == "RUNNING"     ? "Execution is RUNNING and cannot be redriven"
                                 : status == "SUCCEEDED" ? "Execution is SUCCEEDED and cannot be redriven"
                                                         : "Redrive is not supported by this version of Snapward");
  return out;
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
                       {"tags", tags},
                       {"logging", logging},
                       {"tracing", tracing}});
}

States::States(Environment& env, engine::Executions& executions) : Service("states", env), executions_(executions) {
  executions_.set_listener([this](const std::string& region, const Json& record) { announce(region, record); });
  on("CreateStateMachine", [this](const Call& c) { return create(c); });
  on("UpdateStateMachine", [this](const Call& c) { return update(c); });
  on("DescribeStateMachine", [this](const Call& c) { return describe(c); });
  on("DescribeStateMachineForExecution", [this](const Call& c) { return describe_for_execution(c); });
  on("ListStateMachines", [this](const Call& c) { return list(c); });
  on("DeleteStateMachine", [this](const Call& c) { return remove(c); });
  on("ValidateStateMachineDefinition", [](const Call& c) { return validate(c); });
  on("StartExecution", [this](const Call& c) { return start(c); });
  on("StopExecution", [this](const Call& c) { return stop(c); });
  on("DescribeExecution", [this](const Call& c) { return describe_execution(c); });
  on("ListExecutions", [this](const Call& c) { return list_executions(c); });
  on("GetExecutionHistory", [this](const Call& c) { return history(c); });
  on("SendTaskSuccess", [this](const Call& c) { return task_success(c); });
  on("SendTaskFailure", [this](const Call& c) { return task_failure(c); });
  on("SendTaskHeartbeat", [this](const Call& c) { return task_heartbeat(c); });
  on("TagResource", [this](const Call& c) { return tag(c); });
  on("UntagResource", [this](const Call& c) { return untag(c); });
  on("ListTagsForResource", [this](const Call& c) { return list_tags(c); });
}

void States::restore() {
  each_row("machines", [&](const std::string& arn, const Json& r) {
    Machine m;
    m.arn = arn;
    m.name = r["name"].string_or();
    m.region = r["region"].string_or();
    m.role_arn = r["role"].string_or();
    m.type = r["type"].string_or();
    m.revision = r["revision"].string_or();
    m.created = Instant(Duration(r["created"].integer_or(0)));
    m.updated = Instant(Duration(r["updated"].integer_or(0)));
    m.tags = r["tags"];
    m.logging = r["logging"];
    m.tracing = r["tracing"];
    m.definition = env_.ledger.get("states.definitions", arn + '\n' + m.revision).value_or("");
    m.compiled = asl::compile_text(m.definition).machine;
    machines_[arn] = std::move(m);
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
  if (!parsed || parsed->service != "states" || !parsed->resource_id("stateMachine"))
    return cloud::error("InvalidArn", fmt::format("Invalid Arn: 'Resource type not valid in this context: {}'", arn));
  const auto found = machines_.find(arn);
  if (found == machines_.end()) return cloud::error("StateMachineDoesNotExist", fmt::format("State Machine Does Not Exist: '{}'", arn));
  return &found->second;
}

Reply States::create(const Call& call) {
  const Json& in = call.input;
  const std::string name(in["name"].string_or());
  if (!is_name(name)) return cloud::error("InvalidName", fmt::format("Invalid Name: '{}'", name));
  const std::string text(in["definition"].string_or());
  if (text.empty() || text.size() > kMaxDefinition)
    return bad_input(
        "1 validation error detected: Value at 'definition' failed to satisfy constraint: Member must have length less than or equal to "
        "1048576");
  if (!Arn::parse(in["roleArn"].string_or()))
    return cloud::error("InvalidArn", fmt::format("Invalid Role Arn: '{}'", in["roleArn"].string_or()));
  const std::string type(in["type"].string_or("STANDARD"));
  if (type == "EXPRESS")
    return cloud::error("StateMachineTypeNotSupported", "Express state machines are not supported by this version of Snapward");
  if (type != "STANDARD")
    return bad_input(
        fmt::format("1 validation error detected: Value '{}' at 'type' failed to satisfy constraint: Member must satisfy enum value set: "
                    "[STANDARD, EXPRESS]",
                    type));
  if (in["publish"].bool_or(false))
    return bad_input("Versions are not supported by this version of Snapward; create the machine without publish");
  const auto compiled = asl::compile_text(text);
  if (!compiled.machine) return cloud::error("InvalidDefinition", asl::describe(compiled.diagnostics));
  const std::string arn = fmt::format("arn:aws:states:{}:{}:stateMachine:{}", call.region, env_.account, name);
  if (const auto known = machines_.find(arn); known != machines_.end()) {
    // Idempotent when nothing differs.
    const Machine& m = known->second;
    if (m.definition == text && m.role_arn == in["roleArn"].string_or() && m.type == type)
      return Json::object({{"stateMachineArn", arn}, {"creationDate", iso_millis(m.created)}});
    return cloud::error("StateMachineAlreadyExists", fmt::format("State Machine Already Exists: '{}'", arn));
  }
  Machine m;
  m.arn = arn;
  m.name = name;
  m.region = call.region;
  m.role_arn = in["roleArn"].string_or();
  m.definition = text;
  m.type = type;
  m.revision = env_.loop.entropy().uuid();
  m.created = m.updated = env_.loop.now();
  if (in.find("tags")) m.tags = in["tags"];
  m.logging = in["loggingConfiguration"];
  m.tracing = in["tracingConfiguration"];
  m.compiled = compiled.machine;
  store(m);
  machines_[arn] = std::move(m);
  return Json::object({{"stateMachineArn", arn}, {"creationDate", iso_millis(env_.loop.now())}});
}

Reply States::update(const Call& call) {
  const auto m = find(std::string(call.input["stateMachineArn"].string_or()));
  if (!m) return std::unexpected(m.error());
  const Json& in = call.input;
  if (!in.find("definition") && !in.find("roleArn") && !in.find("loggingConfiguration") && !in.find("tracingConfiguration"))
    return cloud::error("MissingRequiredParameter",
                        "Either the definition, the role ARN, the LoggingConfiguration, or the TracingConfiguration must be specified");
  if (const Json* text = in.find("definition")) {
    const auto compiled = asl::compile_text(text->string_or());
    if (!compiled.machine) return cloud::error("InvalidDefinition", asl::describe(compiled.diagnostics));
    (*m)->definition = text->string_or();
    (*m)->compiled = compiled.machine;
  }
  if (const Json* role = in.find("roleArn")) (*m)->role_arn = role->string_or();
  if (in.find("loggingConfiguration")) (*m)->logging = in["loggingConfiguration"];
  if (in.find("tracingConfiguration")) (*m)->tracing = in["tracingConfiguration"];
  (*m)->revision = env_.loop.entropy().uuid();
  (*m)->updated = env_.loop.now();
  store(**m);
  return Json::object({{"updateDate", iso_millis((*m)->updated)}, {"revisionId", (*m)->revision}});
}

Reply States::describe(const Call& call) {
  const auto m = find(std::string(call.input["stateMachineArn"].string_or()));
  if (!m) return std::unexpected(m.error());
  Json::Object out{{"stateMachineArn", (*m)->arn},
                   {"name", (*m)->name},
                   {"status", "ACTIVE"},
                   {"definition", (*m)->definition},
                   {"roleArn", (*m)->role_arn},
                   {"type", (*m)->type},
                   {"creationDate", iso_millis((*m)->created)},
                   {"revisionId", (*m)->revision}};
  out.set("loggingConfiguration",
          (*m)->logging.is_null() ? Json::object({{"level", "OFF"}, {"includeExecutionData", false}}) : (*m)->logging);
  out.set("tracingConfiguration", (*m)->tracing.is_null() ? Json::object({{"enabled", false}}) : (*m)->tracing);
  return Json(std::move(out));
}

Reply States::describe_for_execution(const Call& call) {
  const std::string arn(call.input["executionArn"].string_or());
  const auto record = executions_.find(arn);
  if (!record) return cloud::error("ExecutionDoesNotExist", fmt::format("Execution Does Not Exist: '{}'", arn));
  const std::string machine((*record)["stateMachineArn"].string_or()), revision((*record)["revision"].string_or());
  const auto text = env_.ledger.get("states.definitions", machine + '\n' + revision);
  return Json::object({{"stateMachineArn", machine},
                       {"name", (*record)["machineName"]},
                       {"definition", text.value_or("")},
                       {"roleArn", (*record)["roleArn"]},
                       {"revisionId", revision},
                       {"updateDate", (*record)["startDate"]}});
}

Reply States::list(const Call& call) {
  const auto from = page_position(call.input["nextToken"].string_or());
  if (call.input.find("nextToken") && !from) return cloud::error("InvalidToken", "Invalid Token: 'Invalid token'");
  const std::int64_t max = call.input["maxResults"].integer_or(0);
  const auto limit = static_cast<std::size_t>(max == 0 ? 100 : std::clamp<std::int64_t>(max, 1, 1000));
  Json::Array out;
  for (auto m = machines_.lower_bound(from.value_or("")); m != machines_.end(); ++m) {
    if (m->second.region != call.region) continue;
    if (out.size() == limit) return Json::object({{"stateMachines", std::move(out)}, {"nextToken", page_token(m->first)}});
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
  drop("machines", (*m)->arn);  // its definitions stay for the executions that run them
  machines_.erase((*m)->arn);
  return Json(Json::Object{});
}

Reply States::validate(const Call& call) {
  const auto compiled = asl::compile_text(call.input["definition"].string_or());
  Json::Array out;
  for (const auto& d : compiled.diagnostics)
    out.push_back(Json::object({{"severity", "ERROR"}, {"code", d.code}, {"message", d.message}, {"location", d.location}}));
  return Json::object({{"result", compiled.machine ? "OK" : "FAIL"}, {"diagnostics", std::move(out)}, {"truncated", false}});
}

Reply States::start(const Call& call) {
  const auto m = find(std::string(call.input["stateMachineArn"].string_or()));
  if (!m) return std::unexpected(m.error());
  const std::string name(call.input.find("name") ? std::string(call.input["name"].string_or()) : env_.loop.entropy().uuid());
  if (!is_name(name)) return cloud::error("InvalidName", fmt::format("Invalid Name: '{}'", name));
  const std::string text(call.input["input"].string_or("{}"));
  if (text.size() > asl::kMaxPayloadBytes)
    return bad_input(
        "1 validation error detected: Value at 'input' failed to satisfy constraint: Member must have length less than or equal to 262144");
  const auto input = Json::parse(text);
  if (!input) return cloud::error("InvalidExecutionInput", "Invalid State Machine Execution Input: '" + input.error().message + "'");
  if (!(*m)->compiled) return cloud::error("StateMachineDeleting", fmt::format("The definition of '{}' cannot be read", (*m)->arn));
  // The same name and input while it runs is the same request; else the name is taken.
  if (call.input.find("name"))
    if (const auto known = executions_.find(engine::Executions::arn_of((*m)->arn, name))) {
      if ((*known)["status"].string_or() == "RUNNING" && (*known)["input"].string_or() == text)
        return Json::object({{"executionArn", (*known)["executionArn"]}, {"startDate", (*known)["startDate"]}});
      return cloud::error("ExecutionAlreadyExists", fmt::format("Execution Already Exists: '{}'", (*known)["executionArn"].string_or()));
    }
  const Json record = executions_.start({.arn = (*m)->arn,
                                         .name = (*m)->name,
                                         .role_arn = (*m)->role_arn,
                                         .region = (*m)->region,
                                         .revision = (*m)->revision,
                                         .machine = (*m)->compiled},
                                        name, text, *input);
  return Json::object({{"executionArn", record["executionArn"]}, {"startDate", record["startDate"]}});
}

Reply States::stop(const Call& call) {
  const std::string arn(call.input["executionArn"].string_or());
  const auto record = executions_.find(arn);
  if (!record) return cloud::error("ExecutionDoesNotExist", fmt::format("Execution Does Not Exist: '{}'", arn));
  if ((*record)["status"].string_or() == "RUNNING")
    executions_.stop(arn, std::string(call.input["error"].string_or()), std::string(call.input["cause"].string_or()));
  const auto after = executions_.find(arn);
  return Json::object({{"stopDate", (*after)["stopDate"]}});
}

Reply States::describe_execution(const Call& call) {
  const std::string arn(call.input["executionArn"].string_or());
  const auto parsed = Arn::parse(arn);
  if (!parsed || !parsed->resource_id("execution"))
    return cloud::error("InvalidArn", fmt::format("Invalid Arn: 'Invalid ARN prefix: {}'", arn));
  const auto record = executions_.find(arn);
  if (!record) return cloud::error("ExecutionDoesNotExist", fmt::format("Execution Does Not Exist: '{}'", arn));
  return with_details(*record, true);
}

Reply States::list_executions(const Call& call) {
  const auto m = find(std::string(call.input["stateMachineArn"].string_or()));
  if (!m) return std::unexpected(m.error());
  const auto from = page_position(call.input["nextToken"].string_or());
  if (call.input.find("nextToken") && !from) return cloud::error("InvalidToken", "Invalid Token: 'Invalid token'");
  const std::int64_t max = call.input["maxResults"].integer_or(0);
  const auto page = executions_.list((*m)->arn, std::string(call.input["statusFilter"].string_or()),
                                     static_cast<std::size_t>(max == 0 ? 100 : std::clamp<std::int64_t>(max, 1, 1000)), from.value_or(""));
  Json::Array out;
  for (const Json& record : page.items) out.push_back(with_details(record, false));
  Json::Object reply{{"executions", std::move(out)}};
  reply.set_if(!page.next.empty(), "nextToken", page_token(page.next));
  return Json(std::move(reply));
}

Reply States::history(const Call& call) {
  const std::string arn(call.input["executionArn"].string_or());
  if (!executions_.find(arn)) return cloud::error("ExecutionDoesNotExist", fmt::format("Execution Does Not Exist: '{}'", arn));
  const auto from = page_position(call.input["nextToken"].string_or());
  if (call.input.find("nextToken") && !from) return cloud::error("InvalidToken", "Invalid Token: 'Invalid token'");
  const std::int64_t max = call.input["maxResults"].integer_or(0);
  auto page = executions_.history(arn, call.input["reverseOrder"].bool_or(false),
                                  static_cast<std::size_t>(max == 0 ? 100 : std::clamp<std::int64_t>(max, 1, 1000)), from.value_or(""));
  if (!call.input["includeExecutionData"].bool_or(true))
    for (Json& event : page.items) {
      Json::Object out;
      for (const auto& [key, value] : event.as_object()) {
        if (!value.is_object()) {
          out.set(key, value);
          continue;
        }
        Json::Object details;
        for (const auto& [field, item] : value.as_object())
          if (field != "input" && field != "output" && field != "parameters" && field != "inputDetails" && field != "outputDetails")
            details.set(field, item);
        out.set(key, std::move(details));
      }
      event = Json(std::move(out));
    }
  Json::Object reply{{"events", std::move(page.items)}};
  reply.set_if(!page.next.empty(), "nextToken", page_token(page.next));
  return Json(std::move(reply));
}

namespace {
Reply token_answer(bool known) {
  if (known) return Json(Json::Object{});
  return cloud::error("TaskTimedOut", "Task Timed Out: 'Provided task does not exist anymore'");
}
}  // namespace

Reply States::task_success(const Call& call) {
  const auto output = Json::parse(call.input["output"].string_or());
  if (!output) return cloud::error("InvalidOutput", "Invalid Output: 'the output is " + output.error().message + "'");
  return token_answer(executions_.task_succeeded(std::string(call.input["taskToken"].string_or()), *output));
}
Reply States::task_failure(const Call& call) {
  return token_answer(executions_.task_failed(std::string(call.input["taskToken"].string_or()),
                                              std::string(call.input["error"].string_or()), std::string(call.input["cause"].string_or())));
}
Reply States::task_heartbeat(const Call& call) {
  return token_answer(executions_.task_heartbeat(std::string(call.input["taskToken"].string_or())));
}

Reply States::tag(const Call& call) {
  const auto m = find(std::string(call.input["resourceArn"].string_or()));
  if (!m) return cloud::error("ResourceNotFound", fmt::format("Resource not found: '{}'", call.input["resourceArn"].string_or()));
  (*m)->tags = merge_tags((*m)->tags, call.input["tags"], "key", "value");
  store(**m);
  return Json(Json::Object{});
}
Reply States::untag(const Call& call) {
  const auto m = find(std::string(call.input["resourceArn"].string_or()));
  if (!m) return cloud::error("ResourceNotFound", fmt::format("Resource not found: '{}'", call.input["resourceArn"].string_or()));
  (*m)->tags = remove_tags((*m)->tags, call.input["tagKeys"], "key");
  store(**m);
  return Json(Json::Object{});
}
Reply States::list_tags(const Call& call) {
  const auto m = find(std::string(call.input["resourceArn"].string_or()));
  if (!m) return cloud::error("ResourceNotFound", fmt::format("Resource not found: '{}'", call.input["resourceArn"].string_or()));
  return Json::object({{"tags", (*m)->tags}});
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
