// Execution: the interpreter of one state-machine execution, as a pure step (design, contract 1).
//
//   Input  ── step() ──▶  HistoryEvents (what users read)  +  Commands (what the engine must do next)
//
// It opens nothing, waits for nothing and reads no clock: each Input brings its time and a seed. step() runs through every state it
// can (Pass, Choice, Succeed, …) and stops where something outside must answer. The same Inputs in the same order give the same
// bytes; that is how a crash is recovered (replay the journal) and a bug replayed.
//
//   Input            comes when                                      moves
//   started          once, first                                     enters StartAt
//   redriven         RedriveExecution, to a fresh Execution          goes on from the state that failed
//   task_started     a worker took an activity's task                still waits
//   task_submitted   a .sync or .waitForTaskToken call was accepted  still waits
//   task_succeeded   an InvokeTask was answered                      leaves the Task
//   task_failed      it was answered with an error                   Retry, Catch or failure
//   task_heartbeat   a worker said it lives                          starts the heartbeat timer anew
//   timer_fired      a StartTimer is due                             Wait, Retry, timeouts, the execution's own timeout
//   map_run_updated  UpdateMapRun                                    may start more children, or end the run
//   resumed          the step before had more to do                  goes on where the budget ended
//   aborted          StopExecution                                   ends ABORTED
//
// Inputs that concern nothing any more (a timer just cancelled, an answer after the timeout, anything after the end) are ignored:
// the step is empty. That makes at-least-once delivery safe.
//
// Not thread-safe: one loop owns an Execution.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "asl/definition.hpp"
#include "asl/history.hpp"
#include "base/json.hpp"
#include "base/time.hpp"

namespace snapward::asl {

// Limits of the service (Developer Guide, "Service quotas").
inline constexpr std::size_t kMaxPayloadBytes = 262'144;   // input or output of a state, task or execution
inline constexpr std::int64_t kMaxHistoryEvents = 25'000;  // then the execution fails

struct ExecutionInfo {
  std::string arn, name, role_arn, machine_arn, machine_name;
  std::string region;
  Json input;              // parsed
  std::string input_text;  // as given
  Instant started;
  std::string version_arn = {}, alias_arn = {};  // when started by one
  Json context_extra = {};                       // TestState: what the caller says of the context object
};

// What TestState shows of one state, filled in as it runs. The state's targets need not exist: leaving it ends the execution.
struct Probe {
  Json::Object data;  // afterInputPath, afterParameters, afterArguments, result, afterResultSelector, …
  std::string next;   // where it would go
  Json output;        // what it would give
  enum class Handled { no, retried, caught } handled = Handled::no;
  Failure failure;                          // what was retried or caught
  Json::Object error_details;               // retryIndex, catchIndex, retryBackoffIntervalSeconds
  std::vector<std::int64_t> attempts = {};  // given: how often each retrier has tried already
  Json variables = {};                      // given: what is assigned before
};

struct Input {
  enum class Kind {
    started,
    task_submitted,
    task_succeeded,
    task_failed,
    task_heartbeat,
    timer_fired,
    aborted,
    task_started,
    redriven,
    map_run_updated,
    resumed
  };
  Kind kind = Kind::started;
  Instant at;
  std::uint64_t seed = 0;
  std::int64_t id = 0;       // the task's or timer's, as its Command named it
  Json value;                // task output; redriven: what failure_point() gave; map_run_updated: the new limits
  std::string error, cause;  // task_failed, aborted
  // States that this step may enter at most; 0: no limit. A step that reaches it returns with `more` set. Part of the Input, hence of the
  // journal, because a replay must stop where the first run stopped.
  std::int64_t budget = 0;

  // Without time and seed, which whoever feeds it adds.
  static Input about(Kind kind, std::int64_t id, Json value = {});
  static Input failure(Kind kind, std::int64_t id, std::string error, std::string cause);

  [[nodiscard]] Json to_json() const;
  static Input from_json(const Json& json);  // of to_json's making
};

struct Command {
  enum class Kind { invoke_task, cancel_task, start_timer, cancel_timer, start_child, map_run, finish };
  Kind kind = Kind::finish;
  // Task: the id of its Scheduled event; timer: a number of its own; child execution, item reader, result writer: below 0.
  std::int64_t id = 0;

  // invoke_task
  const Resource* resource = nullptr;  // lives with the machine
  std::string state;
  Json parameters;
  std::string token;     // wait_for_token and activities
  std::string role_arn;  // Credentials, else empty
  std::optional<std::int64_t> timeout, heartbeat;

  Instant deadline;  // start_timer

  // start_child: an execution of this machine with `parameters` as its input; answered like a task.
  std::shared_ptr<const Machine> machine;
  std::string name;     // of the child
  bool again = false;   // it ended badly, and the redrive goes on with it
  std::string map_run;  // its ARN; also of map_run: `parameters` change its record, the first makes it
};

enum class Status { running, succeeded, failed, timed_out, aborted };
const char* status_name(Status status);  // "SUCCEEDED"

struct Step {
  std::vector<HistoryEvent> history;
  std::vector<Command> commands;
  bool more = false;  // the budget is used up and states are still to be entered: feed `resumed`
};

class Execution {
 public:
  Execution(std::shared_ptr<const Machine> machine, ExecutionInfo info);
  ~Execution();
  Execution(Execution&&) noexcept;
  Execution& operator=(Execution&&) noexcept;

  Step step(const Input& input);
  void probe(Probe* probe);  // before the first step; the caller's
  // While *flag is true, expressions fail instead of computing on. For a step on another thread whose result nobody wants any more; the
  // Execution must not be used afterwards. The flag must outlive the Execution.
  void interrupt_on(const std::atomic<bool>* flag);
  // What a redrive needs to go on where this execution failed; null when it did not fail.
  [[nodiscard]] Json failure_point() const;

  [[nodiscard]] const ExecutionInfo& info() const;
  [[nodiscard]] Status status() const;
  [[nodiscard]] Instant stopped() const;                 // when no longer running
  [[nodiscard]] const std::string& output_text() const;  // when succeeded
  [[nodiscard]] const Failure& failure() const;          // when failed, timed out or aborted
  [[nodiscard]] std::int64_t events() const;             // history events so far

  struct Waiting {
    std::string state;
    std::string what;  // "task", "timer", "retry"
  };
  [[nodiscard]] std::vector<Waiting> waiting_for() const;

 private:
  class Interpreter;
  std::unique_ptr<Interpreter> impl_;
};

}  // namespace snapward::asl
