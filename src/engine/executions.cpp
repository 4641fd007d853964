#include "engine/executions.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "base/arn.hpp"
#include "base/crash_point.hpp"
#include "base/log.hpp"
#include "base/text.hpp"
#include "engine/integrations.hpp"

namespace snapward::engine {

namespace {
constexpr const char* kExecutions = "executions";
constexpr const char* kByMachine = "executions_by_machine";
constexpr const char* kFormerHistory = "history";
constexpr const char* kInputs = "inputs";
constexpr const char* kAsleep = "asleep";
constexpr const char* kFailures = "failures";
constexpr const char* kMapRuns = "map_runs";
constexpr const char* kMapRunsByExecution = "map_runs_by_execution";

constexpr std::size_t kMaxLoggedCause = 300;
constexpr std::size_t kForgottenAtOnce = 200;                  // executions a turn: what clients wait for meanwhile
constexpr Duration kLongestExpress = std::chrono::minutes(5);  // Developer Guide, "Standard and Express workflows"
constexpr Duration kSweepEvery = std::chrono::hours(1);

// RFC 9110's date: "Tue, 15 Nov 1994 08:12:31 GMT".
std::string http_date(Instant at) { return fmt::format("{:%a, %d %b %Y %H:%M:%S} GMT", std::chrono::floor<std::chrono::seconds>(at)); }

std::string numbered(const std::string& arn, std::int64_t n) { return fmt::format("{}\n{:010}", arn, n); }
// Newest first in key order: time counts down.
std::string by_machine_key(const std::string& machine, Instant started, const std::string& name) {
  return fmt::format("{}\n{:016}\n{}", machine, 9'999'999'999'999 - started.time_since_epoch().count(), name);
}
}  // namespace

struct Executions::Live {
  Live(std::shared_ptr<const asl::Machine> m, asl::ExecutionInfo info, std::string rev)
      : execution(m, std::move(info)), machine(std::move(m)), revision(std::move(rev)) {}
  asl::Execution execution;
  std::shared_ptr<const asl::Machine> machine;  // Commands point into it
  std::string revision;
  bool express = false;
  Parent parent;
  std::int64_t redrives = 0;
  std::string redriven_at;
  std::string test_case;
  std::unordered_map<std::string, std::int64_t> mocked;  // state → how often it was answered from the mocks
  std::vector<Future<Json>> ends;                        // who waits for the record
  std::optional<Loop::TimerId> limit;                    // of an Express execution
  std::int64_t inputs = 0;                               // journaled so far
  std::unordered_map<std::int64_t, Loop::TimerId> timers;
  std::unordered_map<std::int64_t, asl::Command> tasks;  // commanded, not answered

  [[nodiscard]] const std::string& arn() const { return execution.info().arn; }
  [[nodiscard]] Json record() const {
    const auto& info = execution.info();
    Json::Object out;
    out.set("executionArn", info.arn)
        .set("stateMachineArn", info.machine_arn)
        .set("name", info.name)
        .set("status", asl::status_name(execution.status()));
    out.set("startDate", iso_millis(info.started));
    if (execution.status() != asl::Status::running) out.set("stopDate", iso_millis(execution.stopped()));
    out.set("input", info.input_text);
    if (execution.status() == asl::Status::succeeded) out.set("output", execution.output_text());
    if (!execution.failure().error.empty()) out.set("error", execution.failure().error);
    if (!execution.failure().cause.empty()) out.set("cause", execution.failure().cause);
    out.set("roleArn", info.role_arn).set("machineName", info.machine_name).set("region", info.region).set("revision", revision);
    if (!info.version_arn.empty()) out.set("stateMachineVersionArn", info.version_arn);
    if (!info.alias_arn.empty()) out.set("stateMachineAliasArn", info.alias_arn);
    if (redrives) out.set("redriveCount", redrives).set("redriveDate", redriven_at);
    if (!parent.arn.empty())
      out.set("mapRunArn", parent.map_run).set("parent", parent.arn).set("parentTask", parent.task).set("parentState", parent.state);
    if (express) out.set("express", true);
    if (!test_case.empty()) out.set("testCase", test_case);
    return out;
  }
};

Executions::Executions(Loop& loop, Ledger& ledger, cloud::Cloud& cloud) : loop_(loop), ledger_(ledger), cloud_(cloud) {}
Executions::~Executions() = default;

std::string Executions::arn_of(const std::string& machine_arn, const std::string& name) {
  const auto arn = Arn::parse(machine_arn);
  const std::string machine = arn ? arn->resource_id("stateMachine").value_or("") : "";
  return fmt::format("arn:aws:states:{}:{}:execution:{}:{}", arn ? arn->region : "", arn ? arn->account : "", machine, name);
}

// Makes the execution, tells of it and takes its first step. It may be over when this returns: then the Live is gone.
Executions::Live& Executions::begin(const MachineVersion& version, const std::string& arn, const std::string& name,
                                    const std::string& input_text, const Json& input, Parent parent) {
  asl::ExecutionInfo info{.arn = arn,
                          .name = name,
                          .role_arn = version.role_arn,
                          .machine_arn = version.arn,
                          .machine_name = version.name,
                          .region = version.region,
                          .input = input,
                          .input_text = input_text,
                          .started = loop_.now(),
                          .version_arn = version.version_arn,
                          .alias_arn = version.alias_arn};
  auto live = std::make_unique<Live>(version.machine, std::move(info), version.revision);
  Live& l = *live;
  l.express = version.express;
  l.parent = std::move(parent);
  l.test_case = version.test_case;
  live_[arn] = std::move(live);
  ++counts_.started;
  if (l.express)
    l.limit = loop_.after(kLongestExpress,
                          [this, arn] { feed(arn, asl::Input::failure(asl::Input::Kind::aborted, 0, asl::errors::kTimeout, "")); });
  return l;
}

Json Executions::start(const MachineVersion& version, const std::string& name, const std::string& input_text, const Json& input) {
  std::string arn = arn_of(version.arn, name);
  if (version.express) {
    const std::size_t at = arn.find(":execution:");
    arn.replace(at, 11, ":express:");
    arn += ':' + loop_.entropy().uuid();
  }
  Live& l = begin(version, arn, name, input_text, input, {});
  if (listener_ && !l.express) listener_(version.region, l.record());
  asl::Input started = asl::Input::about(asl::Input::Kind::started, 0);
  started.at = loop_.now();
  started.seed = loop_.entropy().next();
  asl::Step step = l.execution.step(started);
  if (!l.express) ledger_.put(kByMachine, by_machine_key(version.arn, l.execution.info().started, name), arn);
  // Before apply(): an execution that ends at once is gone after it.
  const Json begun = Json::object({{"executionArn", l.arn()}, {"startDate", iso_millis(l.execution.info().started)}});
  apply(l, std::move(step), &started);
  return begun;
}

Task<Json> Executions::run_express(MachineVersion version, std::string name, std::string input_text, Json input) {
  const std::string base = arn_of(version.arn, name);
  std::string arn = base + ':' + loop_.entropy().uuid();
  arn.replace(arn.find(":execution:"), 11, ":express:");
  Live& l = begin(version, arn, name, input_text, input, {});
  const Future<Json> end;
  l.ends.push_back(end);
  feed(arn, asl::Input::about(asl::Input::Kind::started, 0));
  co_return co_await end;
}

// An item of a distributed Map.
void Executions::start_child(Live& live, const asl::Command& command) {
  const auto& info = live.execution.info();
  // "arn:aws:states:R:A:mapRun:MACHINE/LABEL:UUID"
  const std::vector<std::string> parts = split(command.map_run, ':');
  const std::string label = parts.size() > 6 ? parts[6] : "";
  const std::string arn = fmt::format("arn:aws:states:{}:{}:{}:{}:{}", info.region, parts[4],
                                      command.machine->express ? "express" : "execution", label, command.name);
  Parent parent{live.arn(), command.id, command.state, command.map_run};
  if (const auto known = find(arn)) {  // after a restart: it may be over, or still go on; or it is to go on again
    if ((*known)["status"].string_or() == "RUNNING") return;
    const Json* begun = known->find("redriveDate") ? known->find("redriveDate") : known->find("startDate");
    if (command.again && begun->string_or() < live.redriven_at && resume(*known, parent)) return;
    loop_.defer([this, parent = std::move(parent), record = *known] { child_over(parent, record); });
    return;
  }
  const MachineVersion version{.arn = fmt::format("arn:aws:states:{}:{}:stateMachine:{}", info.region, parts[4], label),
                               .name = label,
                               .role_arn = info.role_arn,
                               .region = info.region,
                               .revision = live.revision,
                               .machine = command.machine,
                               .express = command.machine->express,
                               .test_case = live.test_case};
  Live& child = begin(version, arn, command.name, command.parameters.dump(), command.parameters, std::move(parent));
  if (!child.express || !live.express) ledger_.put(kByMachine, by_machine_key(command.map_run, loop_.now(), command.name), arn);
  feed(arn, asl::Input::about(asl::Input::Kind::started, 0));
}

void Executions::child_over(const Parent& parent, const Json& record) {
  const auto found = live_.find(parent.arn);
  if (found == live_.end() || found->second->tasks.erase(parent.task) == 0) return;
  const Json shown = Json::object({{"ExecutionArn", record["executionArn"]},
                                   {"Input", record["input"]},
                                   {"InputDetails", Json::object({{"Included", true}})},
                                   {"Name", record["name"]},
                                   {"Output", record["output"]},
                                   {"OutputDetails", Json::object({{"Included", true}})},
                                   {"Error", record["error"]},
                                   {"Cause", record["cause"]},
                                   {"StartDate", record["startDate"]},
                                   {"StateMachineArn", record["stateMachineArn"]},
                                   {"Status", record["status"]},
                                   {"StopDate", record["stopDate"]}});
  const bool good = record["status"].string_or() == "SUCCEEDED";
  const auto output = Json::parse(record["output"].string_or("null"));
  asl::Input input = good ? asl::Input::about(asl::Input::Kind::task_succeeded, parent.task)
                          : asl::Input::failure(asl::Input::Kind::task_failed, parent.task, std::string(record["error"].string_or()),
                                                std::string(record["cause"].string_or()));
  input.value = Json::object({{"output", output.value_or(Json())}, {"execution", shown}});
  feed(parent.arn, std::move(input));
}

void Executions::stop(const std::string& arn, const std::string& error, const std::string& cause) {
  feed(arn, asl::Input::failure(asl::Input::Kind::aborted, 0, error, cause));
}

void Executions::feed(const std::string& arn, asl::Input input) {
  Live* found = awake(arn);
  if (!found) return;  // over: nothing to tell
  Live& live = *found;
  input.at = loop_.now();
  input.seed = loop_.entropy().next();
  asl::Step step = live.execution.step(input);
  apply(live, std::move(step), &input);
}

// One commit: the history, the Input for replay, the status. Then, once durable, the commands.
void Executions::apply(Live& live, asl::Step step, const asl::Input* journaled) {
  if (step.history.empty() && step.commands.empty()) return;
  if (!step.history.empty() && !live.express)
    ledger_.put(kExecutions, numbered(live.arn(), step.history.front().id), asl::stored_events(step.history));
  if (chronicler_ && !step.history.empty()) chronicler_(live.execution.info(), live.redrives, step.history);
  note(live, step);
  for (const auto& command : step.commands)
    if (command.kind == asl::Command::Kind::map_run) note_run(live, command);
  if (live.execution.status() != asl::Status::running) return finish(live);
  if (!live.express) {
    ledger_.put(kInputs, numbered(live.arn(), live.inputs++), journaled->to_json().dump());
    if (live.inputs == 1) ledger_.put(kExecutions, live.arn(), live.record().dump());  // the status changes only at the end
  }
  const bool performs = std::any_of(step.commands.begin(), step.commands.end(), [](const asl::Command& c) {
    return c.kind == asl::Command::Kind::invoke_task || c.kind == asl::Command::Kind::start_child;
  });
  if (!performs) return fall_asleep(live);
  auto perform = [this, arn = live.arn(), commands = std::move(step.commands)]() mutable {
    for (const auto& command : commands) {
      const auto found = live_.find(arn);
      if (found == live_.end()) return;
      if (!found->second->tasks.contains(command.id)) continue;
      crash_point("performing");
      if (command.kind == asl::Command::Kind::invoke_task) invoke(arn, command.id);
      if (command.kind == asl::Command::Kind::start_child) start_child(*found->second, command);
    }
  };
  if (live.express)
    loop_.defer(std::move(perform));
  else
    ledger_.after_commit(std::move(perform));
}

// Keeps the lists of open tasks and timers. Timers need no commit: replay finds them again.
void Executions::note(Live& live, const asl::Step& step) {
  for (const auto& command : step.commands) switch (command.kind) {
      case asl::Command::Kind::invoke_task:
      case asl::Command::Kind::start_child:
        live.tasks[command.id] = command;
        if (!command.token.empty()) tokens_[command.token] = {live.arn(), command.id};
        break;
      case asl::Command::Kind::cancel_task:
        if (const auto task = live.tasks.find(command.id); task != live.tasks.end()) {
          tokens_.erase(task->second.token);
          const asl::Command cancelled = std::move(task->second);
          live.tasks.erase(task);
          loop_.defer([this, cancelled, waiter = live.arn()] {
            if (cancelled.kind == asl::Command::Kind::start_child) return cancel(cancelled);
            if (cancelled.resource && cancelled.resource->pattern == asl::Resource::Pattern::sync)
              for (auto w = waiting_for_end_.begin(); w != waiting_for_end_.end(); ++w)
                if (w->second == std::pair(waiter, cancelled.id)) {
                  const std::string child = w->first;
                  waiting_for_end_.erase(w);
                  return stop(child, "", "");
                }
          });
        }
        break;
      case asl::Command::Kind::start_timer:
        arm(live, command.id, command.deadline);
        break;
      case asl::Command::Kind::cancel_timer:
        if (const auto timer = live.timers.find(command.id); timer != live.timers.end()) {
          loop_.cancel(timer->second);
          live.timers.erase(timer);
        }
        break;
      case asl::Command::Kind::map_run:  // its record was written with the step that is replayed
      case asl::Command::Kind::finish:
        break;
    }
}

void Executions::note_run(Live& live, const asl::Command& command) {
  const auto known = find_map_run(command.map_run);
  Json::Object run = known ? known->as_object()
                           : Json::Object{{"mapRunArn", command.map_run},
                                          {"executionArn", live.arn()},
                                          {"stateMachineArn", live.execution.info().machine_arn},
                                          {"startDate", iso_millis(loop_.now())}};
  if (!known) ledger_.put(kMapRunsByExecution, numbered(live.arn(), live.execution.events()), command.map_run);
  for (const auto& [key, value] : command.parameters.as_object()) run.set(key, value);
  run.erase("stopDate");
  if (run.find("status")->string_or() != "RUNNING") run.set("stopDate", iso_millis(loop_.now()));
  ledger_.put(kMapRuns, command.map_run, Json(std::move(run)).dump());
}

// Stops the child that a command started.
void Executions::cancel(const asl::Command& command) {
  const std::vector<std::string> parts = split(command.map_run, ':');
  if (parts.size() < 7) return;
  stop(fmt::format("arn:aws:states:{}:{}:{}:{}:{}", parts[3], parts[4], command.machine->express ? "express" : "execution", parts[6],
                   command.name),
       "", "");
}

std::optional<Json> Executions::find_map_run(const std::string& arn) {
  const auto row = ledger_.get(kMapRuns, arn);
  if (!row) return std::nullopt;
  auto json = Json::parse(*row);
  return json ? std::optional(*std::move(json)) : std::nullopt;
}

std::vector<Json> Executions::map_runs(const std::string& execution) {
  std::vector<Json> out;
  for (const auto& row : ledger_.scan(kMapRunsByExecution, store::Range::prefix(execution + "\n")))
    if (auto run = find_map_run(row.value)) out.push_back(*std::move(run));
  return out;
}

void Executions::update_map_run(const std::string& arn, const Json& limits) {
  const auto run = find_map_run(arn);
  if (!run) return;
  Json::Object updated = run->as_object();
  for (const auto& [key, value] : limits.as_object()) updated.set(key, value);
  ledger_.put(kMapRuns, arn, Json(std::move(updated)).dump());
  feed(std::string((*run)["executionArn"].string_or()), asl::Input::about(asl::Input::Kind::map_run_updated, 0, limits));
}

void Executions::arm(Live& live, std::int64_t timer, Instant deadline) {
  live.timers[timer] = loop_.at(deadline, [this, arn = live.arn(), timer] {
    if (const auto found = live_.find(arn); found != live_.end()) found->second->timers.erase(timer);
    feed(arn, asl::Input::about(asl::Input::Kind::timer_fired, timer));
  });
}

void Executions::answered(const std::string& arn, std::int64_t task, std::expected<Json, asl::Failure> outcome, bool submitted) {
  const auto found = live_.find(arn);
  if (found == live_.end() || !found->second->tasks.contains(task)) return;
  if (submitted && outcome) return feed(arn, asl::Input::about(asl::Input::Kind::task_submitted, task, *std::move(outcome)));
  tokens_.erase(found->second->tasks.at(task).token);
  found->second->tasks.erase(task);
  if (outcome)
    feed(arn, asl::Input::about(asl::Input::Kind::task_succeeded, task, *std::move(outcome)));
  else
    feed(arn, asl::Input::failure(asl::Input::Kind::task_failed, task, outcome.error().error, outcome.error().cause));
}

// Tasks are done in the name of the machine's role, or of the one that Credentials name.
cloud::Caller Executions::caller_of(const asl::ExecutionInfo& info) {
  return {.service = "states.amazonaws.com", .role = info.role_arn, .source = info.machine_arn};
}

void Executions::invoke(const std::string& arn, std::int64_t task) {
  Live& live = *live_.at(arn);
  const asl::Command command = live.tasks.at(task);
  if (answer_from_mocks(live, task, command)) return;
  if (command.resource->kind == asl::Resource::Kind::activity) return offer(arn, task, command);
  if (task < 0 && command.resource->action == "putObject") return write_results(live, task, command);
  const TaskContext context{.region = live.execution.info().region, .request_id = loop_.entropy().uuid(), .date = http_date(loop_.now())};
  auto call = call_for(*command.resource, command.parameters, context);
  if (!call) return answered(arn, task, std::unexpected(call.error()), false);
  call->caller = caller_of(live.execution.info());
  if (!command.role_arn.empty()) call->caller.role = command.role_arn;
  // `machine` keeps the resource alive whatever happens to the execution meanwhile.
  loop_.spawn(cloud_.call(*std::move(call)),
              [this, arn, task, machine = live.machine, resource = command.resource, context](const cloud::Reply& reply) {
                crash_point("performed");
                const auto pattern = resource->pattern;
                answered(arn, task, outcome_of(*resource, reply, context), pattern != asl::Resource::Pattern::request_response);
                if (reply && pattern == asl::Resource::Pattern::sync) watch(std::string((*reply)["executionArn"].string_or()), arn, task);
              });
}

// Step Functions' own .sync: the task is over when the execution it started is.
void Executions::watch(const std::string& child, const std::string& waiter, std::int64_t task) {
  if (live_.contains(child) || asleep_.contains(child)) {
    waiting_for_end_.emplace(child, std::pair(waiter, task));
    return;
  }
  if (const auto record = find(child)) sync_over(waiter, task, *record);
}
void Executions::sync_over(const std::string& waiter, std::int64_t task, const Json& record) {
  const auto found = live_.find(waiter);
  if (found == live_.end()) return;
  const auto command = found->second->tasks.find(task);
  if (command != found->second->tasks.end()) answered(waiter, task, sync_outcome(*command->second.resource, record), false);
}

// ── Activities ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────

void Executions::offer(const std::string& arn, std::int64_t task, const asl::Command& command) {
  const std::string& activity = command.resource->arn;
  if (activity_known_ && !activity_known_(activity))
    return answered(arn, task, std::unexpected(asl::Failure{asl::errors::kRuntime, fmt::format("Activity Does Not Exist: '{}'", activity)}),
                    false);
  Offered offered{arn, task, command.token, command.parameters.dump()};
  auto& waiting = pollers_[activity];
  if (waiting.empty()) {
    offered_[activity].push_back(std::move(offered));
    return;
  }
  const Poller poller = std::move(waiting.front());
  waiting.pop_front();
  feed(arn, asl::Input::about(asl::Input::Kind::task_started, task, Json(poller.worker)));
  poller.answer.set(Json::object({{"taskToken", offered.token}, {"input", offered.input}}));
}

Task<std::optional<Json>> Executions::poll_activity(std::string arn, std::string worker) {
  constexpr std::chrono::seconds kLongPoll{60};
  auto& waiting = offered_[arn];
  while (!waiting.empty()) {
    const Offered next = std::move(waiting.front());
    waiting.pop_front();
    const auto live = live_.find(next.execution);
    if (live == live_.end() || !live->second->tasks.contains(next.task)) continue;  // timed out or stopped meanwhile
    feed(next.execution, asl::Input::about(asl::Input::Kind::task_started, next.task, Json(worker)));
    co_return Json::object({{"taskToken", next.token}, {"input", next.input}});
  }
  Poller poller{++poller_ids_, worker, {}};
  pollers_[arn].push_back(poller);
  const auto timer = loop_.after(kLongPoll, [this, arn, id = poller.id] {
    auto& list = pollers_[arn];
    const auto found = std::find_if(list.begin(), list.end(), [id](const Poller& p) { return p.id == id; });
    if (found == list.end()) return;
    const auto answer = found->answer;
    list.erase(found);
    answer.set(std::nullopt);
  });
  auto task = co_await poller.answer;
  loop_.cancel(timer);
  co_return task;
}

// ── Mocks ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

bool Executions::answer_from_mocks(Live& live, std::int64_t task, const asl::Command& command) {
  if (live.test_case.empty()) return false;
  const std::string machine = live.execution.info().machine_name.substr(0, live.execution.info().machine_name.find('/'));
  const Json& responses =
      mocks_["MockedResponses"][mocks_["StateMachines"][machine]["TestCases"][live.test_case][command.state].string_or()];
  if (!responses.is_object()) return false;
  const std::int64_t attempt = live.mocked[command.state]++;
  for (const auto& [range, response] : responses.as_object()) {
    const std::size_t dash = range.find('-');
    const std::int64_t first = std::strtoll(range.c_str(), nullptr, 10);
    const std::int64_t last = dash == std::string::npos ? first : std::strtoll(range.c_str() + dash + 1, nullptr, 10);
    if (attempt < first || attempt > last) continue;
    if (const Json* value = response.find("Return"))
      answered(live.arn(), task, *value, false);
    else
      answered(live.arn(), task,
               std::unexpected(
                   asl::Failure{std::string(response["Throw"]["Error"].string_or()), std::string(response["Throw"]["Cause"].string_or())}),
               false);
    return true;
  }
  answered(live.arn(), task,
           std::unexpected(asl::Failure{asl::errors::kRuntime,
                                        fmt::format("The mocks of state '{}' have no response for attempt {}", command.state, attempt)}),
           false);
  return true;
}

// ── Results of a distributed Map ───────────────────────────────────────────────────────────────────────────────────────────────

void Executions::write_results(Live& live, std::int64_t task, const asl::Command& command) {
  loop_.spawn(
      put_results(live.execution.info().region, command.parameters, caller_of(live.execution.info())),
      [this, arn = live.arn(), task](std::expected<Json, asl::Failure> outcome) { answered(arn, task, std::move(outcome), false); });
}

// SUCCEEDED_0.json and FAILED_0.json, and the manifest that names them (Developer Guide, "ResultWriter").
Task<std::expected<Json, asl::Failure>> Executions::put_results(std::string region, Json wanted, cloud::Caller caller) {
  const std::string bucket(wanted["Bucket"].string_or()), run(wanted["MapRunArn"].string_or());
  std::string prefix(wanted["Prefix"].string_or());
  if (!prefix.empty() && !prefix.ends_with('/')) prefix += '/';
  prefix += run.substr(run.rfind(':') + 1) + '/';
  const bool lines = wanted["Lines"].bool_or(false);
  Json::Object files{{"FAILED", Json::Array{}}, {"PENDING", Json::Array{}}, {"SUCCEEDED", Json::Array{}}};
  const auto put = [&](const std::string& key, const std::string& body) {
    return cloud_.call({"s3", region, "PutObject",
                        Json::object({{"Bucket", bucket}, {"Key", key}, {"Body", body}, {"ContentType", "application/json"}}), caller});
  };
  const auto failed = [](const cloud::Error& e) { return std::unexpected(asl::Failure{asl::errors::kResultWriterFailed, e.message}); };
  for (const char* status : {"SUCCEEDED", "FAILED"}) {
    Json::Array entries;
    for (const Json& execution : wanted["Executions"].items()) {
      if ((execution["Status"].string_or() == "SUCCEEDED") != (std::string_view(status) == "SUCCEEDED")) continue;
      if (wanted["Transformation"].string_or() == "NONE") {
        entries.push_back(execution);
        continue;
      }
      auto output = Json::parse(execution["Output"].string_or("null"));
      if (wanted["Transformation"].string_or() == "FLATTEN" && output && output->is_array())
        entries.insert(entries.end(), output->as_array().begin(), output->as_array().end());
      else
        entries.push_back(output.value_or(Json()));
    }
    if (entries.empty()) continue;
    std::string body;
    if (lines)
      for (const Json& entry : entries) body += entry.dump() + '\n';
    else
      body = Json(std::move(entries)).dump();
    const std::string key = fmt::format("{}{}_0.{}", prefix, status, lines ? "jsonl" : "json");
    const auto reply = co_await put(key, body);
    if (!reply) co_return failed(reply.error());
    files.set(status, Json::array({Json::object({{"Key", key}, {"Size", body.size()}})}));
  }
  const std::string manifest = prefix + "manifest.json";
  const auto reply =
      co_await put(manifest, Json::object({{"DestinationBucket", bucket}, {"MapRunArn", run}, {"ResultFiles", std::move(files)}}).dump());
  if (!reply) co_return failed(reply.error());
  co_return Json::object({{"MapRunArn", run}, {"ResultWriterDetails", Json::object({{"Bucket", bucket}, {"Key", manifest}})}});
}

// ── The end ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

void Executions::finish(Live& live) {
  const Json record = live.record();
  ++counts_.ended[asl::status_name(live.execution.status())];
  const std::string arn = live.arn();
  if (!live.express || !live.parent.arn.empty()) ledger_.put(kExecutions, arn, record.dump());
  const bool good = live.execution.status() == asl::Status::succeeded;
  log::write(good ? spdlog::level::debug : spdlog::level::info, good ? "execution ended" : "execution ended badly",
             {{"execution", arn},
              {"status", asl::status_name(live.execution.status())},
              {"error", live.execution.failure().error},
              {"cause", std::string_view(live.execution.failure().cause).substr(0, kMaxLoggedCause)}});
  if (!live.express) {
    for (std::int64_t i = 0; i < live.inputs; ++i) ledger_.erase(kInputs, numbered(arn, i));
    if (live.execution.status() != asl::Status::succeeded) ledger_.put(kFailures, arn, live.execution.failure_point().dump());
  }
  for (const auto& [id, timer] : live.timers) loop_.cancel(timer);
  if (live.limit) loop_.cancel(*live.limit);
  for (const auto& [id, task] : live.tasks) tokens_.erase(task.token);
  const std::string region = live.execution.info().region;
  const bool announced = !live.express;
  const Parent parent = live.parent;
  const auto ends = std::move(live.ends);
  live_.erase(arn);
  if (listener_ && announced) listener_(region, record);
  for (const auto& end : ends) end.set(record);
  if (!parent.arn.empty()) loop_.defer([this, parent, record] { child_over(parent, record); });
  const auto [first, last] = waiting_for_end_.equal_range(arn);
  std::vector<std::pair<std::string, std::int64_t>> waiters;
  for (auto w = first; w != last; ++w) waiters.push_back(w->second);
  waiting_for_end_.erase(first, last);
  for (const auto& [waiter, task] : waiters) sync_over(waiter, task, record);
}

std::expected<Instant, std::string> Executions::redrive(const std::string& arn) {
  const auto record = find(arn);
  if (!record) return std::unexpected("Execution Does Not Exist");
  if (!resume(*record, {})) return std::unexpected("its state at the failure is not known");
  return loop_.now();
}

// Takes an execution that ended badly up again where it stopped; false: what that needs is not known.
bool Executions::resume(const Json& record, Parent parent) {
  const std::string arn(record["executionArn"].string_or());
  const auto row = ledger_.get(kFailures, arn);
  const auto point = row ? Json::parse(*row) : Result<Json>(Json());
  const auto machine = machine_of(record);
  const auto input = Json::parse(record["input"].string_or());
  if (!point || point->is_null() || !machine || !input) return false;
  auto live = revive(record, machine, *input);
  Live& l = *live;
  if (!parent.arn.empty()) l.parent = std::move(parent);
  l.redrives = record["redriveCount"].integer_or(0) + 1;
  l.redriven_at = iso_millis(loop_.now());
  live_[arn] = std::move(live);
  ledger_.erase(kFailures, arn);
  Json::Object from = point->as_object();
  from.set("redriveCount", l.redrives);
  if (listener_ && l.parent.arn.empty()) listener_(l.execution.info().region, l.record());
  feed(arn, asl::Input::about(asl::Input::Kind::redriven, 0, Json(std::move(from))));
  return true;
}

// The execution and task that wait with a token; they wait no more.
std::optional<std::pair<std::string, std::int64_t>> Executions::claim(const std::string& token) {
  const auto found = tokens_.find(token);
  if (found == tokens_.end()) return std::nullopt;
  auto claimed = std::move(found->second);
  tokens_.erase(found);
  live_.at(claimed.first)->tasks.erase(claimed.second);
  return claimed;
}

bool Executions::task_succeeded(const std::string& token, const Json& output) {
  const auto waiting = claim(token);
  if (waiting) feed(waiting->first, asl::Input::about(asl::Input::Kind::task_succeeded, waiting->second, output));
  return waiting.has_value();
}

bool Executions::task_failed(const std::string& token, const std::string& error, const std::string& cause) {
  const auto waiting = claim(token);
  if (waiting) feed(waiting->first, asl::Input::failure(asl::Input::Kind::task_failed, waiting->second, error, cause));
  return waiting.has_value();
}

bool Executions::task_heartbeat(const std::string& token) {
  const auto found = tokens_.find(token);
  if (found == tokens_.end()) return false;
  feed(found->second.first, asl::Input::about(asl::Input::Kind::task_heartbeat, found->second.second));
  return true;
}

// The definition an execution runs: its machine's, or the item processor of a distributed Map in its parent's.
std::shared_ptr<const asl::Machine> Executions::machine_of(const Json& record) {
  if (!record.find("parent"))
    return resolver_(std::string(record["stateMachineArn"].string_or()), std::string(record["revision"].string_or()));
  const auto parent = find(std::string(record["parent"].string_or()));
  if (!parent) return nullptr;
  const auto outer = machine_of(*parent);
  const asl::State* state = outer ? asl::find_state(*outer, record["parentState"].string_or()) : nullptr;
  return state ? state->processor : nullptr;
}

std::unique_ptr<Executions::Live> Executions::revive(const Json& r, std::shared_ptr<const asl::Machine> machine, const Json& input) {
  auto live = std::make_unique<Live>(std::move(machine),
                                     asl::ExecutionInfo{.arn = std::string(r["executionArn"].string_or()),
                                                        .name = std::string(r["name"].string_or()),
                                                        .role_arn = std::string(r["roleArn"].string_or()),
                                                        .machine_arn = std::string(r["stateMachineArn"].string_or()),
                                                        .machine_name = std::string(r["machineName"].string_or()),
                                                        .region = std::string(r["region"].string_or()),
                                                        .input = input,
                                                        .input_text = std::string(r["input"].string_or()),
                                                        .started = parse_iso(r["startDate"].string_or()).value_or(Instant{}),
                                                        .version_arn = std::string(r["stateMachineVersionArn"].string_or()),
                                                        .alias_arn = std::string(r["stateMachineAliasArn"].string_or())},
                                     std::string(r["revision"].string_or()));
  live->parent = {std::string(r["parent"].string_or()), r["parentTask"].integer_or(0), std::string(r["parentState"].string_or()),
                  std::string(r["mapRunArn"].string_or())};
  live->redrives = r["redriveCount"].integer_or(0);
  live->redriven_at = r["redriveDate"].string_or();
  live->test_case = r["testCase"].string_or();
  return live;
}

void Executions::restore(Resolver resolver) {
  resolver_ = std::move(resolver);
  constexpr std::size_t kAtOnce = 10'000;  // rows
  // Histories had a table of their own; beside the record of their execution they share its place on disk.
  const store::Range some{.from = "", .to = "", .limit = kAtOnce};
  for (auto rows = ledger_.scan(kFormerHistory, some); !rows.empty(); rows = ledger_.scan(kFormerHistory, some))
    for (auto& row : rows) {
      ledger_.erase(kFormerHistory, row.key);
      ledger_.put(kExecutions, std::move(row.key), std::move(row.value));
    }
  for (std::string from;;) {
    const auto rows = ledger_.scan(kAsleep, {.from = from, .to = "", .limit = kAtOnce});
    for (const auto& row : rows) rest(row.key, parse_iso(row.value).value_or(Instant{}));
    if (rows.size() < kAtOnce) break;
    from = rows.back().key + '\0';
  }
  // The journals of the others: consecutive rows with one ARN.
  std::size_t restored = 0;
  std::string arn;
  std::vector<asl::Input> inputs;
  const auto go_on = [&] {
    if (inputs.empty()) return;
    if (Live* live = replay(arn, inputs)) {
      ++restored;
      ask_again(*live, inputs);
    }
    inputs.clear();
  };
  for (std::string from;;) {
    const auto rows = ledger_.scan(kInputs, {.from = from, .to = "", .limit = kAtOnce});
    for (const auto& row : rows) {
      const std::string_view owner = std::string_view(row.key).substr(0, row.key.find('\n'));
      if (owner != arn) {
        go_on();
        arn = owner;
      }
      if (asleep_.contains(arn)) continue;
      if (const auto json = Json::parse(row.value)) inputs.push_back(asl::Input::from_json(*json));
    }
    if (rows.size() < kAtOnce) break;
    from = rows.back().key + '\0';
  }
  go_on();
  if (restored + asleep_.size()) spdlog::info("{} running executions go on, {} of them asleep", restored + asleep_.size(), asleep_.size());
}

// Where its journal has come to: the execution, its open tasks, its timers.
Executions::Live* Executions::replay(const std::string& arn, const std::vector<asl::Input>& inputs) {
  const auto record = find(arn);
  if (!record) return nullptr;
  const auto machine = machine_of(*record);
  const auto input = Json::parse((*record)["input"].string_or());
  if (!machine || !input) {
    spdlog::error("execution {} cannot go on: its definition is gone", arn);
    return nullptr;
  }
  auto live = revive(*record, machine, *input);
  Live& l = *live;
  live_[arn] = std::move(live);
  for (const asl::Input& in : inputs) {
    if (in.kind == asl::Input::Kind::task_succeeded || in.kind == asl::Input::Kind::task_failed) {
      if (const auto task = l.tasks.find(in.id); task != l.tasks.end()) {
        tokens_.erase(task->second.token);
        l.tasks.erase(task);
      }
    }
    if (in.kind == asl::Input::Kind::timer_fired)
      if (const auto timer = l.timers.find(in.id); timer != l.timers.end()) {
        loop_.cancel(timer->second);
        l.timers.erase(timer);
      }
    note(l, l.execution.step(in));
    ++l.inputs;
  }
  return &l;
}

// After a restart a task that was handed out waits for its answer; every other one is asked again.
void Executions::ask_again(Live& live, const std::vector<asl::Input>& inputs) {
  for (const auto& [id, command] : live.tasks) {
    const std::int64_t task = id;
    const auto said = [&](asl::Input::Kind kind) -> const asl::Input* {
      const auto found = std::find_if(inputs.begin(), inputs.end(), [&](const asl::Input& in) { return in.kind == kind && in.id == task; });
      return found == inputs.end() ? nullptr : &*found;
    };
    const asl::Input* submitted = said(asl::Input::Kind::task_submitted);
    if (said(asl::Input::Kind::task_started)) continue;
    if (submitted && !command.token.empty()) continue;
    loop_.defer([this, arn = live.arn(), task, child = submitted ? std::string(submitted->value["ExecutionArn"].string_or()) : ""] {
      const auto found = live_.find(arn);
      if (found == live_.end() || !found->second->tasks.contains(task)) return;
      if (!child.empty()) return watch(child, arn, task);
      const asl::Command again = found->second->tasks.at(task);
      if (again.kind == asl::Command::Kind::start_child)
        start_child(*found->second, again);
      else
        invoke(arn, task);
    });
  }
}

// ── Sleep ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

void Executions::fall_asleep(Live& live) {
  // What only memory knows keeps it awake: tasks under way, who waits for its end, how often a mock has answered, a redrive.
  if (live.express || !live.tasks.empty() || live.timers.empty() || !live.ends.empty() || live.redrives > 0 || !live.test_case.empty())
    return;
  Instant until = Instant::max();
  for (const auto& [id, timer] : live.timers) until = std::min(until, timer.first);
  // The longer the journal, the more its replay costs.
  if (until - loop_.now() < std::max<Duration>(sleep_after_, std::chrono::seconds(live.inputs))) return;
  for (const auto& [id, timer] : live.timers) loop_.cancel(timer);
  const std::string arn = live.arn();
  live_.erase(arn);
  ledger_.put(kAsleep, arn, iso_millis(until));
  rest(arn, until);
}

void Executions::rest(const std::string& arn, Instant until) {
  const auto sleeper = asleep_.emplace(arn, Loop::TimerId{}).first;
  sleeper->second = loop_.at(until, [this, key = &sleeper->first] { awake(*key); });  // nodes of the map stay where they are
}

Executions::Live* Executions::awake(const std::string& arn) {
  if (const auto found = live_.find(arn); found != live_.end()) return found->second.get();
  const auto sleeper = asleep_.find(arn);
  if (sleeper == asleep_.end()) return nullptr;
  const std::string name = arn;  // the argument may be the sleeper's own key
  loop_.cancel(sleeper->second);
  asleep_.erase(sleeper);
  ledger_.erase(kAsleep, name);
  std::vector<asl::Input> inputs;
  for (const auto& row : ledger_.scan(kInputs, store::Range::prefix(name + "\n")))
    if (const auto json = Json::parse(row.value)) inputs.push_back(asl::Input::from_json(*json));
  return replay(name, inputs);
}

std::optional<Json> Executions::find(const std::string& arn) {
  if (const auto live = live_.find(arn); live != live_.end()) return live->second->record();
  const auto row = ledger_.get(kExecutions, arn);
  if (!row) return std::nullopt;
  auto json = Json::parse(*row);
  if (!json) return std::nullopt;
  return *std::move(json);
}

Executions::Page Executions::list(const std::string& machine_arn, const std::string& status, std::size_t limit, const std::string& from) {
  Page page;
  store::Range range = store::Range::prefix(machine_arn + "\n");
  if (!from.empty()) range.from = from;
  const std::size_t step = status.empty() ? limit + 1 : 1000;
  range.limit = step;
  for (;;) {
    const auto rows = ledger_.scan(kByMachine, range);
    for (const auto& row : rows) {
      // Rows of before 0.2 hold no ARN: it follows from the name.
      auto record = find(row.value.empty() ? arn_of(machine_arn, row.key.substr(row.key.rfind('\n') + 1)) : row.value);
      if (!record || (!status.empty() && (*record)["status"].string_or() != status)) continue;
      if (page.items.size() == limit) {
        page.next = row.key;
        return page;
      }
      page.items.push_back(*std::move(record));
    }
    if (rows.size() < step) return page;
    range.from = rows.back().key + '\0';
  }
}

Executions::Page Executions::history(const std::string& arn, bool newest_first, std::size_t limit, const std::string& from) {
  Page page;
  store::Range range = store::Range::prefix(arn + "\n");
  range.newest_first = newest_first;
  // Chunks are keyed by their first event; `from` is an event id.
  const std::int64_t first = from.empty() ? 0 : std::strtoll(from.c_str(), nullptr, 10);
  if (first > 0 && newest_first) range.to = numbered(arn, first + 1);
  if (first > 0 && !newest_first) {
    const auto before = ledger_.scan(kExecutions, {.from = range.from, .to = numbered(arn, first + 1), .limit = 1, .newest_first = true});
    if (!before.empty()) range.from = before[0].key;
  }
  range.limit = limit + 1;  // a chunk holds at least one event
  for (const auto& row : ledger_.scan(kExecutions, range)) {
    const auto chunk = Json::parse(row.value);
    if (!chunk) continue;
    std::vector<Json> events = asl::api_events(*chunk);
    if (newest_first) std::reverse(events.begin(), events.end());
    for (const Json& event : events) {
      const std::int64_t id = event["id"].integer_or(0);
      if (first > 0 && (newest_first ? id > first : id < first)) continue;
      if (page.items.size() == limit) {
        page.next = std::to_string(id);
        return page;
      }
      page.items.push_back(event);
    }
  }
  return page;
}

// ── What is forgotten ──────────────────────────────────────────────────────────────────────────────────────────────────────────

void Executions::keep_for(Duration span) {
  keep_ = span;
  loop_.after(kSweepEvery, [this] { sweep({}, {}); });
}

// The listing is by machine and newest first: of each machine, what began before the limit stands together at the end.
void Executions::sweep(std::string machine, std::string from) {
  const Instant before = loop_.now() - keep_;
  std::size_t seen = 0;
  while (seen < kForgottenAtOnce) {
    if (from.empty()) {  // the next machine
      const auto next = ledger_.scan(kByMachine, {.from = machine.empty() ? "" : machine + "\n\xff", .to = "", .limit = 1});
      if (next.empty()) return void(loop_.after(kSweepEvery, [this] { sweep({}, {}); }));
      machine = next[0].key.substr(0, next[0].key.find('\n'));
      from = by_machine_key(machine, before, "");
    }
    const auto rows = ledger_.scan(kByMachine, {.from = from, .to = machine + "\n\xff", .limit = kForgottenAtOnce - seen});
    for (const auto& row : rows)
      if (forget(row.value.empty() ? arn_of(machine, row.key.substr(row.key.rfind('\n') + 1)) : row.value, before))
        ledger_.erase(kByMachine, row.key);
    seen += rows.size() + 1;
    from = rows.empty() ? std::string() : rows.back().key + '\0';
  }
  ledger_.after_commit([this, machine, from] { sweep(machine, from); });
}

// Whether it was over before then, and is gone now.
bool Executions::forget(const std::string& arn, Instant before) {
  if (live_.contains(arn) || asleep_.contains(arn)) return false;
  const auto record = find(arn);
  if (record) {
    const auto stopped = parse_iso((*record)["stopDate"].string_or());
    if (!stopped || *stopped >= before) return false;
  }
  ledger_.erase(kExecutions, arn);
  ledger_.erase(kFailures, arn);
  for (const auto& row : ledger_.scan(kExecutions, store::Range::prefix(arn + "\n"))) ledger_.erase(kExecutions, row.key);
  for (const auto& row : ledger_.scan(kMapRunsByExecution, store::Range::prefix(arn + "\n"))) {
    ledger_.erase(kMapRuns, row.value);
    ledger_.erase(kMapRunsByExecution, row.key);
  }
  return true;
}

std::vector<asl::Execution::Waiting> Executions::waiting_for(const std::string& arn) {
  const Live* live = awake(arn);
  return live ? live->execution.waiting_for() : std::vector<asl::Execution::Waiting>{};
}

}  // namespace snapward::engine
