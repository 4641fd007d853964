// The inside of Executions, in four files: executions.cpp (an execution's life: steps, journal, restart, sleep), tasks.cpp (what its
// Commands ask of others, and the answers), map_runs.cpp (executions within executions), records.cpp (what is read and forgotten).
// Private to this folder.
#pragma once
#include <fmt/format.h>

#include "base/text.hpp"
#include "engine/executions.hpp"

namespace snapward::engine {

// Tables and keys (executions.hpp says what is in them).
inline constexpr const char* kExecutions = "executions";
inline constexpr const char* kByMachine = "executions_by_machine";
inline constexpr const char* kInputs = "inputs";
inline constexpr const char* kAsleep = "asleep";
inline constexpr const char* kFailures = "failures";
inline constexpr const char* kMapRuns = "map_runs";
inline constexpr const char* kMapRunsByExecution = "map_runs_by_execution";

inline void append_padded(std::string& out, std::int64_t n, std::size_t width) {
  const fmt::format_int digits(n);
  if (digits.size() < width) out.append(width - digits.size(), '0');
  out.append(digits.data(), digits.size());
}
inline std::string numbered(const std::string& arn, std::int64_t n) {
  std::string out;
  out.reserve(arn.size() + 11);
  out.append(arn).append(1, '\n');
  append_padded(out, n, 10);
  return out;
}
// Newest first in key order: time counts down.
inline std::string by_machine_key(const std::string& machine, Instant started, const std::string& name) {
  std::string out;
  out.reserve(machine.size() + name.size() + 18);
  out.append(machine).append(1, '\n');
  append_padded(out, 9'999'999'999'999 - started.time_since_epoch().count(), 16);
  return out.append(1, '\n').append(name);
}

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
  bool unfinished = false;                               // its last step had more to do
  bool resuming = false;                                 // …and going on is asked of the loop already

  // An execution that may compute for long is stepped aside, by the Stepper. Its Inputs wait in a line, journaled before they are stepped.
  struct Fed {
    asl::Input input;
    bool again;  // by a replay: its history may be there already
  };
  bool aside = false;
  bool busy = false;  // `execution` is the Stepper's now
  std::deque<Fed> line;
  std::vector<asl::Input> past;   // the journal, while it is replayed
  std::size_t to_replay = 0;      // of `line`
  std::int64_t saved_events = 0;  // the newest that had been written when the replay began
  std::unordered_map<std::int64_t, Loop::TimerId> timers;
  std::unordered_map<std::int64_t, asl::Command> tasks;  // commanded, not answered

  [[nodiscard]] const std::string& arn() const { return execution.info().arn; }
  // While the Stepper has the execution, it has not ended.
  [[nodiscard]] asl::Status status() const { return busy ? asl::Status::running : execution.status(); }
  [[nodiscard]] Json record() const {
    const auto& info = execution.info();
    const bool over = status() != asl::Status::running;
    Json::Object out;
    out.set("executionArn", info.arn)
        .set("stateMachineArn", info.machine_arn)
        .set("name", info.name)
        .set("status", asl::status_name(status()));
    out.set("startDate", iso_millis(info.started));
    if (over) out.set("stopDate", iso_millis(execution.stopped()));
    out.set("input", info.input_text);
    if (status() == asl::Status::succeeded) out.set("output", execution.output_text());
    if (over && !execution.failure().error.empty()) out.set("error", execution.failure().error);
    if (over && !execution.failure().cause.empty()) out.set("cause", execution.failure().cause);
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

}  // namespace snapward::engine
