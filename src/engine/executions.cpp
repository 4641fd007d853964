#include "engine/executions.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "base/arn.hpp"
#include "engine/integrations.hpp"

namespace snapward::engine {

namespace {
constexpr const char* kExecutions = "executions";
constexpr const char* kByMachine = "executions_by_machine";
constexpr const char* kHistory = "history";
constexpr const char* kInputs = "inputs";

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
  std::int64_t inputs = 0;  // journaled so far
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

Json Executions::start(const MachineVersion& version, const std::string& name, const std::string& input_text, const Json& input) {
  asl::ExecutionInfo info{.arn = arn_of(version.arn, name),
                          .name = name,
                          .role_arn = version.role_arn,
                          .machine_arn = version.arn,
                          .machine_name = version.name,
                          .region = version.region,
                          .input = input,
                          .input_text = input_text,
                          .started = loop_.now()};
  auto live = std::make_unique<Live>(version.machine, std::move(info), version.revision);
  Live& l = *live;
  const std::string arn = l.arn();
  live_[arn] = std::move(live);
  if (listener_) listener_(version.region, l.record());
  asl::Input started = asl::Input::about(asl::Input::Kind::started, 0);
  started.at = loop_.now();
  started.seed = loop_.entropy().next();
  asl::Step step = l.execution.step(started);
  ledger_.put(kByMachine, by_machine_key(version.arn, l.execution.info().started, name), "");
  // Before apply(): an execution that ends at once is gone after it.
  const Json begun = Json::object({{"executionArn", l.arn()}, {"startDate", iso_millis(l.execution.info().started)}});
  apply(l, std::move(step), &started);
  return begun;
}

void Executions::stop(const std::string& arn, const std::string& error, const std::string& cause) {
  feed(arn, asl::Input::failure(asl::Input::Kind::aborted, 0, error, cause));
}

void Executions::feed(const std::string& arn, asl::Input input) {
  const auto found = live_.find(arn);
  if (found == live_.end()) return;  // over: nothing to tell
  Live& live = *found->second;
  input.at = loop_.now();
  input.seed = loop_.entropy().next();
  asl::Step step = live.execution.step(input);
  apply(live, std::move(step), &input);
}

// One commit: the history, the Input for replay, the status. Then, once durable, the commands.
void Executions::apply(Live& live, asl::Step step, const asl::Input* journaled) {
  if (step.history.empty() && step.commands.empty()) return;
  if (!step.history.empty()) ledger_.put(kHistory, numbered(live.arn(), step.history.front().id), asl::stored_events(step.history));
  note(live, step);
  if (live.execution.status() != asl::Status::running) return finish(live);
  ledger_.put(kInputs, numbered(live.arn(), live.inputs++), journaled->to_json().dump());
  if (live.inputs == 1) ledger_.put(kExecutions, live.arn(), live.record().dump());  // the status changes only at the end
  ledger_.after_commit([this, arn = live.arn(), commands = std::move(step.commands)]() mutable {
    const auto found = live_.find(arn);
    if (found == live_.end()) return;
    for (const auto& command : commands)
      if (command.kind == asl::Command::Kind::invoke_task && found->second->tasks.contains(command.id)) invoke(arn, command.id);
  });
}

// Keeps the lists of open tasks and timers. Timers need no commit: replay finds them again.
void Executions::note(Live& live, const asl::Step& step) {
  for (const auto& command : step.commands) switch (command.kind) {
      case asl::Command::Kind::invoke_task:
        live.tasks[command.id] = command;
        if (!command.token.empty()) tokens_[command.token] = {live.arn(), command.id};
        break;
      case asl::Command::Kind::cancel_task:
        if (const auto task = live.tasks.find(command.id); task != live.tasks.end()) {
          tokens_.erase(task->second.token);
          live.tasks.erase(task);
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

void Executions::invoke(const std::string& arn, std::int64_t task) {
  Live& live = *live_.at(arn);
  const asl::Command command = live.tasks.at(task);
  const TaskContext context{.region = live.execution.info().region, .request_id = loop_.entropy().uuid()};
  const auto answer = [this, arn, task](std::expected<Json, asl::Failure> outcome, bool submitted) {
    const auto found = live_.find(arn);
    if (found == live_.end() || !found->second->tasks.contains(task)) return;
    if (submitted && outcome) return feed(arn, asl::Input::about(asl::Input::Kind::task_submitted, task, *std::move(outcome)));
    tokens_.erase(found->second->tasks.at(task).token);
    found->second->tasks.erase(task);
    if (outcome)
      feed(arn, asl::Input::about(asl::Input::Kind::task_succeeded, task, *std::move(outcome)));
    else
      feed(arn, asl::Input::failure(asl::Input::Kind::task_failed, task, outcome.error().error, outcome.error().cause));
  };
  auto call = call_for(*command.resource, command.parameters, context);
  if (!call) return answer(std::unexpected(call.error()), false);
  const bool waits = !command.token.empty();
  // `machine` keeps the resource alive whatever happens to the execution meanwhile.
  loop_.spawn(cloud_.call(*std::move(call)), [answer, machine = live.machine, resource = command.resource, context,
                                              waits](const cloud::Reply& reply) { answer(outcome_of(*resource, reply, context), waits); });
}

void Executions::finish(Live& live) {
  const Json record = live.record();
  ledger_.put(kExecutions, live.arn(), record.dump());
  for (std::int64_t i = 0; i < live.inputs; ++i) ledger_.erase(kInputs, numbered(live.arn(), i));
  for (const auto& [id, timer] : live.timers) loop_.cancel(timer);
  for (const auto& [id, task] : live.tasks) tokens_.erase(task.token);
  const std::string region = live.execution.info().region;
  live_.erase(std::string(live.arn()));
  if (listener_) listener_(region, record);
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

void Executions::restore(const Resolver& resolver) {
  // The journals of running executions: consecutive rows with one ARN.
  std::size_t restored = 0;
  const auto rows = ledger_.scan(kInputs, {});
  for (std::size_t i = 0; i < rows.size();) {
    const std::string arn = rows[i].key.substr(0, rows[i].key.find('\n'));
    std::vector<asl::Input> inputs;
    for (; i < rows.size() && rows[i].key.starts_with(arn + '\n'); ++i)
      if (const auto json = Json::parse(rows[i].value)) inputs.push_back(asl::Input::from_json(*json));
    const auto record = find(arn);
    if (!record) continue;
    const Json& r = *record;
    auto machine = resolver(std::string(r["stateMachineArn"].string_or()), std::string(r["revision"].string_or()));
    const auto input = Json::parse(r["input"].string_or());
    if (!machine || !input) {
      spdlog::error("execution {} cannot go on: its definition is gone", arn);
      continue;
    }
    auto live = std::make_unique<Live>(machine,
                                       asl::ExecutionInfo{.arn = arn,
                                                          .name = std::string(r["name"].string_or()),
                                                          .role_arn = std::string(r["roleArn"].string_or()),
                                                          .machine_arn = std::string(r["stateMachineArn"].string_or()),
                                                          .machine_name = std::string(r["machineName"].string_or()),
                                                          .region = std::string(r["region"].string_or()),
                                                          .input = *input,
                                                          .input_text = std::string(r["input"].string_or()),
                                                          .started = parse_iso(r["startDate"].string_or()).value_or(Instant{})},
                                       std::string(r["revision"].string_or()));
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
    ++restored;
    for (const auto& [id, command] : l.tasks) {
      const std::int64_t task = id;
      // A task whose token was handed out waits for its answer; every other one is asked again.
      const bool handed_out = !command.token.empty() && std::any_of(inputs.begin(), inputs.end(), [task](const asl::Input& in) {
        return in.kind == asl::Input::Kind::task_submitted && in.id == task;
      });
      if (!handed_out)
        loop_.defer([this, arn, task] {
          if (const auto found = live_.find(arn); found != live_.end() && found->second->tasks.contains(task)) invoke(arn, task);
        });
    }
  }
  if (restored) spdlog::info("{} running executions go on", restored);
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
      const std::string name = row.key.substr(row.key.rfind('\n') + 1);
      auto record = find(arn_of(machine_arn, name));
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
    const auto before = ledger_.scan(kHistory, {.from = range.from, .to = numbered(arn, first + 1), .limit = 1, .newest_first = true});
    if (!before.empty()) range.from = before[0].key;
  }
  range.limit = limit + 1;  // a chunk holds at least one event
  for (const auto& row : ledger_.scan(kHistory, range)) {
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

std::vector<asl::Execution::Waiting> Executions::waiting_for(const std::string& arn) const {
  const auto live = live_.find(arn);
  return live == live_.end() ? std::vector<asl::Execution::Waiting>{} : live->second->execution.waiting_for();
}

}  // namespace snapward::engine
