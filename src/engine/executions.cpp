#include "engine/executions.hpp"

#include <spdlog/spdlog.h>

#include "base/arn.hpp"
#include "base/crash_point.hpp"
#include "base/log.hpp"
#include "engine/abort.hpp"
#include "engine/live.hpp"

namespace snapward::engine {

namespace {
constexpr const char* kFormerHistory = "history";
constexpr std::size_t kMaxLoggedCause = 300;
// States that a step enters before the loop has its turn.
constexpr std::int64_t kStatesPerStep = 128, kStatesPerStepAside = 8;
// A step that takes longer says that its machine's executions are better stepped aside.
constexpr auto kLongStep = std::chrono::milliseconds(5);
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
  l.aside = stepper_ && (version.machine->computes_long || slow(version.revision));
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
  if (!l.express) ledger_.put(kByMachine, by_machine_key(version.arn, l.execution.info().started, name), arn);
  // Before its first step: an execution that ends at once is gone after it.
  Json begun = Json::object({{"executionArn", l.arn()}, {"startDate", iso_millis(l.execution.info().started)}});
  feed(arn, asl::Input::about(asl::Input::Kind::started, 0));
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
  Live* live = awake(arn);
  if (live && live->to_replay > 0) return abort_unread(*live, error, cause);
  if (live) feed(arn, asl::Input::failure(asl::Input::Kind::aborted, 0, error, cause));
}

// The replay of a long journal is not waited for.
void Executions::abort_unread(Live& live, const std::string& error, const std::string& cause) {
  auto abort = abort_of([this](std::string_view table, const store::Range& range) { return ledger_.scan(table, range); }, live.arn(),
                        loop_.now(), error, cause);
  if (!abort) return;  // unreadable: the ledger has ended the process
  for (store::Write& w : abort->writes) {
    if (w.value)
      ledger_.put(std::move(w.table), std::move(w.key), *w.value);
    else
      ledger_.erase(std::move(w.table), std::move(w.key));
  }
  caught_up_with(live);
  live.past.clear();
  live.line.clear();
  end(live, abort->record);
}

void Executions::feed(const std::string& arn, asl::Input input) {
  Live* found = awake(arn);
  if (!found) return;  // over: nothing to tell
  Live& live = *found;
  loop_.doing(arn);
  input.at = loop_.now();
  input.seed = loop_.entropy().next();
  input.budget = live.aside ? kStatesPerStepAside : kStatesPerStep;
  if (live.aside) {
    if (!live.express) journal(live, input, true);
    live.line.push_back({std::move(input), false});
    return go_on_aside(live);
  }
  const auto begun = std::chrono::steady_clock::now();
  asl::Step step = live.execution.step(input);
  watch_time(live, std::chrono::steady_clock::now() - begun);
  apply(live, std::move(step), &input);
}

// The record of an execution that runs is written once: its status changes only at the end.
void Executions::journal(Live& live, const asl::Input& input, bool ahead) {
  Json row = input.to_json();
  if (ahead) {
    Json::Object marked = row.as_object();
    marked.set("ahead", true);
    row = Json(std::move(marked));
  }
  ledger_.put(kInputs, numbered(live.arn(), live.inputs++), row.dump());
  if (live.inputs == 1) ledger_.put(kExecutions, live.arn(), live.record().dump());
}

void Executions::watch_time(Live& live, std::chrono::steady_clock::duration took) {
  if (!stepper_ || took < kLongStep) return;
  live.aside = true;
  slow_revisions_.insert(live.revision);
}

void Executions::go_on_aside(Live& live) {
  if (live.busy || live.line.empty()) return;
  live.busy = true;
  Live::Fed next = std::move(live.line.front());
  live.line.pop_front();
  stepper_->run(live.execution, next.input, [this, arn = live.arn(), again = next.again, input = next.input](asl::Step step) {
    stepped_aside(arn, again, input, std::move(step));
  });
}

void Executions::stepped_aside(const std::string& arn, bool again, const asl::Input& input, asl::Step step) {
  loop_.doing(arn);
  if (dropped_.erase(arn) > 0) return;
  Live& live = *live_.at(arn);
  live.busy = false;
  if (!again)
    apply(live, std::move(step), nullptr);
  else if (retrace(live, input, std::move(step)) && --live.to_replay == 0) {
    caught_up_with(live);
    ask_again(live, std::exchange(live.past, {}));
  }
  if (const auto still = live_.find(arn); still != live_.end()) go_on_aside(*still->second);
}

// An execution has been replayed, or has ended before it was.
void Executions::caught_up_with(Live& live) {
  live.to_replay = 0;
  if (--catching_up_ > 0) return;
  for (const auto& waiting : std::exchange(wait_for_catching_up_, {})) waiting.set(true);
}

Task<void> Executions::caught_up() {
  if (catching_up_ == 0) co_return;
  const Future<bool> done;
  wait_for_catching_up_.push_back(done);
  co_await done;
}

Task<asl::Step> Executions::step(asl::Execution& execution, asl::Input input, bool computes_long) {
  input.at = loop_.now();
  input.seed = loop_.entropy().next();
  if (!stepper_ || !computes_long) co_return execution.step(input);
  const Future<std::shared_ptr<asl::Step>> done;
  stepper_->run(execution, std::move(input), [done](asl::Step step) { done.set(std::make_shared<asl::Step>(std::move(step))); });
  const auto step = co_await done;
  co_return std::move(*step);
}

// Goes on with what the last step left: in a later turn, and once that step is durable, so that an execution which writes much waits for
// the disk itself and does not let everybody else wait.
void Executions::resume_later(Live& live) {
  if (std::exchange(live.resuming, true)) return;
  auto go_on = [this, arn = live.arn()] {
    const auto found = live_.find(arn);
    if (found == live_.end()) return;
    found->second->resuming = false;
    if (found->second->unfinished) feed(arn, asl::Input::about(asl::Input::Kind::resumed, 0));
  };
  if (live.express)
    loop_.post(std::move(go_on));
  else
    ledger_.after_commit([this, go_on = std::move(go_on)]() mutable { loop_.post(std::move(go_on)); });
}

// One commit: the history, the Input for replay (null: it is journaled already), the status. Then, once durable, the commands; of a
// replay's step they are left to ask_again().
void Executions::apply(Live& live, asl::Step step, const asl::Input* input, bool replayed) {
  if (step.history.empty() && step.commands.empty()) return;
  if (!step.history.empty() && !live.express)
    ledger_.put(kExecutions, numbered(live.arn(), step.history.front().id), asl::stored_events(step.history));
  if (chronicler_ && !step.history.empty()) chronicler_(live.execution.info(), live.redrives, step.history);
  note(live, step);
  for (const auto& command : step.commands)
    if (command.kind == asl::Command::Kind::map_run) note_run(live, command);
  if (live.execution.status() != asl::Status::running) return finish(live);
  if (!live.express && input) journal(live, *input, false);
  if (live.unfinished) resume_later(live);
  const bool performs = std::any_of(step.commands.begin(), step.commands.end(), [](const asl::Command& c) {
    return c.kind == asl::Command::Kind::invoke_task || c.kind == asl::Command::Kind::start_child;
  });
  if (!performs) return fall_asleep(live);
  if (replayed) return;
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
  live.unfinished = step.more;
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
  const std::string& arn = live.arn();
  const Json record = live.record();
  if (!live.express || !live.parent.arn.empty()) ledger_.put(kExecutions, arn, record.dump());
  if (!live.express) {
    for (std::int64_t i = 0; i < live.inputs; ++i) ledger_.erase(kInputs, numbered(arn, i));
    if (live.execution.status() != asl::Status::succeeded) ledger_.put(kFailures, arn, live.execution.failure_point().dump());
  }
  if (live.to_replay > 0) caught_up_with(live);
  end(live, record);
}

// Its rows are written: tells those who wait for its end, and lets go of it.
void Executions::end(Live& live, const Json& record) {
  const std::string arn = live.arn(), status(record["status"].string_or());
  ++counts_.ended[status];
  const bool good = status == "SUCCEEDED";
  log::write(good ? spdlog::level::debug : spdlog::level::info, good ? "execution ended" : "execution ended badly",
             {{"execution", arn},
              {"status", status},
              {"error", record["error"].string_or()},
              {"cause", record["cause"].string_or().substr(0, kMaxLoggedCause)}});
  for (const auto& [id, timer] : live.timers) loop_.cancel(timer);
  if (live.limit) loop_.cancel(*live.limit);
  for (const auto& [id, task] : live.tasks) tokens_.erase(task.token);
  const std::string region = live.execution.info().region;
  const bool announced = !live.express;
  const Parent parent = live.parent;
  const auto ends = std::move(live.ends);
  if (live.busy) dropped_[arn] = std::move(live_.at(arn));  // until the Stepper gives it back
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
  l.aside = stepper_ && (l.machine->computes_long || slow(l.revision));
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
  Journal journal;
  const auto go_on = [&] {
    if (journal.inputs.empty()) return;
    if (replay(arn, std::exchange(journal, {}))) ++restored;
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
      journal.add(row.value);
    }
    if (rows.size() < kAtOnce) break;
    from = rows.back().key + '\0';
  }
  go_on();
  if (restored + asleep_.size()) spdlog::info("{} running executions go on, {} of them asleep", restored + asleep_.size(), asleep_.size());
}

void Executions::Journal::add(const std::string& row) {
  const auto json = Json::parse(row);
  if (!json) return;
  inputs.push_back(asl::Input::from_json(*json));
  aside = aside || (*json)["ahead"].bool_or(false);
}

// Where its journal has come to: the execution, its open tasks, its timers. Null: it does not run.
Executions::Live* Executions::replay(const std::string& arn, Journal journal) {
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
  l.inputs = static_cast<std::int64_t>(journal.inputs.size());
  if (journal.aside) {
    const store::Range newest{.from = arn + "\n", .to = arn + "\n\xff", .limit = 1, .newest_first = true};
    for (const auto& row : ledger_.scan(kExecutions, newest))
      if (const auto chunk = Json::parse(row.value))
        for (const Json& event : asl::api_events(*chunk)) l.saved_events = event["id"].integer_or(0);
  } else {
    l.saved_events = std::numeric_limits<std::int64_t>::max();
  }
  l.aside = stepper_ && (l.machine->computes_long || slow(l.revision) || journal.aside);
  if (l.aside) {
    for (const asl::Input& in : journal.inputs) l.line.push_back({in, true});
    l.to_replay = l.line.size();
    l.past = std::move(journal.inputs);
    ++catching_up_;
    go_on_aside(l);
    return &l;
  }
  for (const asl::Input& in : journal.inputs)
    if (!retrace(l, in, l.execution.step(in))) return nullptr;
  ask_again(l, journal.inputs);
  return &l;
}

bool Executions::retrace(Live& live, const asl::Input& input, asl::Step step) {
  if (input.kind == asl::Input::Kind::task_succeeded || input.kind == asl::Input::Kind::task_failed) {
    if (const auto task = live.tasks.find(input.id); task != live.tasks.end()) {
      tokens_.erase(task->second.token);
      live.tasks.erase(task);
    }
  }
  if (input.kind == asl::Input::Kind::timer_fired)
    if (const auto timer = live.timers.find(input.id); timer != live.timers.end()) {
      loop_.cancel(timer->second);
      live.timers.erase(timer);
    }
  if (!step.history.empty() && step.history.front().id > live.saved_events) {  // the process ended before it was written
    const std::string arn = live.arn();
    apply(live, std::move(step), nullptr, true);
    return live_.contains(arn);
  }
  note(live, step);
  if (live.unfinished) resume_later(live);
  return true;
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
  if (live.unfinished || live.to_replay > 0 || !live.line.empty()) return;
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
  Journal journal;
  for (const auto& row : ledger_.scan(kInputs, store::Range::prefix(name + "\n"))) journal.add(row.value);
  return replay(name, std::move(journal));
}

}  // namespace snapward::engine
