// Executions: durable state-machine executions on the loop.
//
// Each Input is journaled with the history it gave in one commit, and only then are its Commands performed (persist, then perform).
// After a restart, restore() replays the journals: what was answered stays answered, what was not is performed again; a Task's work
// is therefore done at least once, and its journal position (execution ARN and task id) is its idempotency key.
//
// An execution that only waits for a time far away falls asleep: what stays in memory is its ARN and the time. It is replayed when the
// time comes, or when somebody asks for it to do something. A million may wait so.
//
// No execution holds up the loop: a step enters a bounded number of states, and goes on in a later turn of the loop. One that may
// compute for long (asl::Machine::computes_long, or seen to be slow) is stepped aside, on a thread of its own (use_stepper()): its Inputs
// are journaled when they come and stepped in order, so what was acknowledged is kept although its history follows later.
//
// Express executions are of the moment: nothing of them is written; they end with the process.
// The items of a distributed Map are executions of their own, children of the one whose Map it is.
//
// Tables: executions (ARN → record; ARN, first event id → events), executions_by_machine (machine or map run, newest first),
// inputs (ARN, number → Input; only while running), asleep (ARN → when to wake), failures (ARN → what a redrive goes on from), map_runs
// (ARN → record), map_runs_by_execution (execution, number → map run ARN). Owned by main, used on the loop's thread only.
#pragma once
#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "asl/execution.hpp"
#include "cloud/cloud.hpp"
#include "engine/ledger.hpp"
#include "engine/loop.hpp"
#include "engine/stepper.hpp"

namespace snapward::engine {

// A machine as an execution is started from it: what it runs now, whatever becomes of the machine later.
struct MachineVersion {
  std::string arn, name, role_arn, region;
  std::string revision;  // names the definition in the resolver
  std::shared_ptr<const asl::Machine> machine;
  bool express = false;
  std::string version_arn = {}, alias_arn = {};  // when started by one
  std::string test_case = {};                    // of the mocks
};

class Executions {
 public:
  // Finds a definition again after a restart; null when it is gone.
  using Resolver = std::function<std::shared_ptr<const asl::Machine>(const std::string& machine_arn, const std::string& revision)>;
  // Told of each start and end, with the record (fields of DescribeExecution; see record()).
  using Listener = std::function<void(const std::string& region, const Json& record)>;

  Executions(Loop& loop, Ledger& ledger, cloud::Cloud& cloud);
  ~Executions();

  void set_listener(Listener listener) { listener_ = std::move(listener); }
  // Told of each step's history, in the turn that saves it: what a state machine's logs are made of.
  using Chronicler =
      std::function<void(const asl::ExecutionInfo& execution, std::int64_t redrives, const std::vector<asl::HistoryEvent>& events)>;
  void set_chronicler(Chronicler chronicler) { chronicler_ = std::move(chronicler); }
  void restore(Resolver resolver);
  // From now on executions that may compute for long are stepped on another thread. Not with a VirtualClock: the order of events would
  // depend on the machine. Before restore().
  void use_stepper() { stepper_ = std::make_unique<Stepper>(loop_); }
  // When the executions that restore() found have caught up with their journals; at once, mostly. Before that a task token may be unknown
  // that will be known.
  Task<void> caught_up();
  // A step of an execution that is not one of these (TestState), aside when it may compute for long. `execution` must outlive it.
  Task<asl::Step> step(asl::Execution& execution, asl::Input input, bool computes_long);
  // How far away the time must be (five minutes, unless set).
  void set_sleep_after(Duration span) { sleep_after_ = span; }

  // Starts and persists; the name must be free (find() first). Returns {"executionArn", "startDate"}.
  Json start(const MachineVersion& version, const std::string& name, const std::string& input_text, const Json& input);
  void stop(const std::string& arn, const std::string& error, const std::string& cause);
  // Starts an Express execution and gives its record once it is over.
  Task<Json> run_express(MachineVersion version, std::string name, std::string input_text, Json input);
  // Goes on with one that failed, was stopped or timed out; why not, when it cannot.
  std::expected<Instant, std::string> redrive(const std::string& arn);

  // By task token; false when no task waits with it.
  bool task_succeeded(const std::string& token, const Json& output);
  bool task_failed(const std::string& token, const std::string& error, const std::string& cause);
  bool task_heartbeat(const std::string& token);

  // A worker asks for an activity's next task: {"taskToken", "input"}, or nothing after a minute.
  Task<std::optional<Json>> poll_activity(std::string arn, std::string worker);
  void set_activity_check(std::function<bool(const std::string& arn)> known) { activity_known_ = std::move(known); }

  // Executions that ended longer ago are forgotten with their histories and map runs, as AWS does after 90 days. Looks once an hour, and
  // forgets a few at a time.
  void keep_for(Duration span);

  // Answers given instead of calls, per machine, test case and state (the format of Step Functions Local's mock configuration).
  void set_mocks(Json mocks) { mocks_ = std::move(mocks); }

  // {"mapRunArn", "executionArn", "stateMachineArn", "status", "startDate", "stopDate"?, "maxConcurrency", "toleratedFailureCount",
  // "toleratedFailurePercentage", "total", "items", "resultsWritten"}
  [[nodiscard]] std::optional<Json> find_map_run(const std::string& arn);
  std::vector<Json> map_runs(const std::string& execution);
  void update_map_run(const std::string& arn, const Json& limits);

  // {"executionArn", "stateMachineArn", "name", "status", "startDate", "stopDate"?, "input", "output"?, "error"?, "cause"?, "roleArn",
  // "revision"}
  [[nodiscard]] std::optional<Json> find(const std::string& arn);

  struct Page {
    std::vector<Json> items;
    std::string next;  // empty: the end
  };
  // Newest first. `from` is a Page's next.
  // machine_arn: a machine's, or a map run's for its children. through: only those started by this version or alias; empty: all.
  Page list(const std::string& machine_arn, const std::string& status, std::size_t limit, const std::string& from,
            const std::string& through = {});
  // HistoryEvents as JSON; `from` and next as above.
  Page history(const std::string& arn, bool newest_first, std::size_t limit, const std::string& from);

  [[nodiscard]] std::size_t running() const { return live_.size() + asleep_.size(); }
  struct Counts {  // since the process began
    std::uint64_t started = 0;
    std::map<std::string, std::uint64_t> ended;  // by status
  };
  [[nodiscard]] const Counts& counts() const { return counts_; }
  // What each running execution waits for, for people.
  [[nodiscard]] std::vector<asl::Execution::Waiting> waiting_for(const std::string& arn);

  static std::string arn_of(const std::string& machine_arn, const std::string& name);

 private:
  struct Live;
  struct Parent {
    std::string arn;  // empty: none
    std::int64_t task = 0;
    std::string state, map_run;
  };
  Live& begin(const MachineVersion& version, const std::string& arn, const std::string& name, const std::string& input_text,
              const Json& input, Parent parent);
  void start_child(Live& live, const asl::Command& command);
  void write_results(Live& live, std::int64_t task, const asl::Command& command);
  Task<std::expected<Json, asl::Failure>> put_results(std::string region, Json wanted, cloud::Caller caller);
  static cloud::Caller caller_of(const asl::ExecutionInfo& info);
  bool answer_from_mocks(Live& live, std::int64_t task, const asl::Command& command);
  void offer(const std::string& arn, std::int64_t task, const asl::Command& command);
  void child_over(const Parent& parent, const Json& record);
  void sync_over(const std::string& waiter, std::int64_t task, const Json& record);
  void watch(const std::string& child, const std::string& waiter, std::int64_t task);
  void cancel(const asl::Command& command);
  std::shared_ptr<const asl::Machine> machine_of(const Json& record);
  Live* awake(const std::string& arn);  // null: it does not run
  struct Journal {
    std::vector<asl::Input> inputs;
    bool aside = false;  // it was stepped aside: the last histories may be missing
    void add(const std::string& row);
  };
  Live* replay(const std::string& arn, Journal journal);
  // One journaled Input again. False: the execution is over now, and gone.
  bool retrace(Live& live, const asl::Input& input, asl::Step step);
  void ask_again(Live& live, const std::vector<asl::Input>& inputs);
  void fall_asleep(Live& live);
  void rest(const std::string& arn, Instant until);
  std::unique_ptr<Live> revive(const Json& record, std::shared_ptr<const asl::Machine> machine, const Json& input);
  void answered(const std::string& arn, std::int64_t task, std::expected<Json, asl::Failure> outcome, bool submitted);
  void feed(const std::string& arn, asl::Input input);
  void journal(Live& live, const asl::Input& input, bool ahead);
  void go_on_aside(Live& live);
  void stepped_aside(const std::string& arn, bool again, const asl::Input& input, asl::Step step);
  void resume_later(Live& live);
  [[nodiscard]] bool slow(const std::string& revision) const { return slow_revisions_.contains(revision); }
  void watch_time(Live& live, std::chrono::steady_clock::duration took);
  std::optional<std::pair<std::string, std::int64_t>> claim(const std::string& token);
  void apply(Live& live, asl::Step step, const asl::Input* input, bool replayed = false);
  void note(Live& live, const asl::Step& step);
  void note_run(Live& live, const asl::Command& command);
  bool resume(const Json& record, Parent parent);
  void invoke(const std::string& arn, std::int64_t task);
  void arm(Live& live, std::int64_t timer, Instant deadline);
  void finish(Live& live);
  void end(Live& live, const Json& record);
  void abort_unread(Live& live, const std::string& error, const std::string& cause);
  void caught_up_with(Live& live);
  void sweep(std::string machine, std::string from);
  bool forget(const std::string& arn, Instant before);

  Loop& loop_;
  Ledger& ledger_;
  cloud::Cloud& cloud_;
  Listener listener_;
  Chronicler chronicler_;
  Resolver resolver_;
  std::unordered_map<std::string, std::unique_ptr<Live>> live_;
  std::unordered_map<std::string, Loop::TimerId> asleep_;  // with the timer that wakes it
  Duration sleep_after_ = std::chrono::minutes(5);
  std::unordered_map<std::string, std::pair<std::string, std::int64_t>> tokens_;  // token → execution, task
  // Execution that a .sync task started → the execution and task that wait for its end.
  std::unordered_multimap<std::string, std::pair<std::string, std::int64_t>> waiting_for_end_;
  struct Offered {
    std::string execution;
    std::int64_t task = 0;
    std::string token, input;
  };
  struct Poller {
    std::uint64_t id = 0;
    std::string worker;
    Future<std::optional<Json>> answer;
  };
  std::unordered_map<std::string, std::deque<Offered>> offered_;  // by activity
  std::unordered_map<std::string, std::deque<Poller>> pollers_;
  std::uint64_t poller_ids_ = 0;
  std::function<bool(const std::string& arn)> activity_known_;
  Json mocks_;
  Counts counts_;
  Duration keep_{0};                                                // zero: for ever
  std::unordered_map<std::string, std::unique_ptr<Live>> dropped_;  // ended while the Stepper had them
  std::set<std::string> slow_revisions_;                            // of machines of which an execution was seen to be slow
  std::size_t catching_up_ = 0;                                     // executions whose replay goes on
  std::vector<Future<bool>> wait_for_catching_up_;
  std::unique_ptr<Stepper> stepper_;  // last: it goes first
};

}  // namespace snapward::engine
