#include "engine/executions.hpp"

#include <spdlog/spdlog.h>

#include "base/arn.hpp"
#include "base/crash_point.hpp"
#include "base/log.hpp"
#include "engine/live.hpp"

namespace snapward::engine {

namespace {
constexpr const char* kFormerHistory = "history";
constexpr std::size_t kMaxLoggedCause = 300;
constexpr Duration kLongestExpress = std::chrono::minutes(5);  // Developer Guide, "Standard and Express workflows"
}  // namespace

Executions::Executions(Loop& loop, Ledger& ledger, cloud::Cloud& cloud) : loop_(loop), ledger_(ledger), cloud_(cloud) {}

Executions::~Executions() = default;

std::string Executions::arn_of(const std::string& machine_arn, const std::string& name) {
  const auto arn = Arn::parse(machine_arn);
  const std::string machine = arn ? arn->resource_id("stateMachine").value_or("") : "";
  std::string out = "arn:aws:states:";
  if (arn) out.append(arn->region).append(1, ':').append(arn->account);
  return out.append(":execution:").append(machine).append(1, ':').append(name);
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

void Executions::arm(Live& live, std::int64_t timer, Instant deadline) {
  live.timers[timer] = loop_.at(deadline, [this, arn = live.arn(), timer] {
    if (const auto found = live_.find(arn); found != live_.end()) found->second->timers.erase(timer);
    feed(arn, asl::Input::about(asl::Input::Kind::timer_fired, timer));
  });
}

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

}  // namespace snapward::engine
