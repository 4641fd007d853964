// The inside of Execution: the interpreter's state and what it can do, in four files.
//
//   interpreter.cpp  inputs, moving from state to state, leaving one, failing, history, timers, the context object
//   states.cpp       Pass, Choice, Wait, Fail and Task
//   branches.cpp     Parallel and the inline Map: frames within a frame
//   map_run.cpp      the distributed Map: executions within an execution
//
// A Frame is one path of control. What is ready to move waits in a queue; nothing here calls itself through a chain of states.
// Private to this folder. Not thread-safe.
#pragma once
#include <deque>
#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

#include "asl/execution.hpp"
#include "base/entropy.hpp"

namespace snapward::asl {

struct Frame {  // one path of control: the machine's own, a Parallel's branch or a Map's iteration
  Frame* parent = nullptr;
  std::size_t index = 0;  // among the parent's branches or items
  const Graph* graph = nullptr;
  Variables variables;  // a child starts with its parent's; what it assigns stays its own
  std::int64_t last_event = 0;

  // The state it is in.
  const State* state = nullptr;
  Json input;  // as entered, before InputPath
  Json data;   // after InputPath
  std::int64_t entered_event = 0;
  std::int64_t before_entered = 0;  // the event that the entered one follows
  Instant entered;
  bool starting = false;               // a Map's iteration before its first state
  std::vector<std::int64_t> attempts;  // by retrier
  std::int64_t retries = 0;
  Json item;                   // Map iterations: the item
  std::optional<Json> result;  // the state's, once it has one: $states.result
  Json error_output;           // while a Catch is taken: $states.errorOutput
  Json assigned;               // by the Assign just done, for the exit event
  Json left;                   // of a Parallel or Map that failed: inside() at that moment
  Json resume;                 // of a Parallel or Map that a redrive goes on with: what inside() gave

  // What it waits for; 0 is nothing.
  std::int64_t task = 0;
  std::string token;
  std::int64_t timer = 0;  // Wait or Retry
  bool retrying = false;
  std::int64_t timeout_timer = 0;
  std::int64_t heartbeat_timer = 0;
  std::optional<std::int64_t> heartbeat_seconds;

  // Parallel and Map.
  std::vector<std::unique_ptr<Frame>> children;
  Json::Array items;
  std::vector<Json> results;
  std::size_t next_item = 0, finished = 0, failed = 0;
  std::int64_t concurrency = 0;
  std::int64_t tolerated_count = 0;
  double tolerated_percentage = 0;

  // Distributed Map.
  std::string map_run;
  enum class Phase { none, reading, running, writing } phase = Phase::none;
  std::unordered_map<std::int64_t, std::size_t> running_items;  // child's id → item
  std::vector<Json> inputs;                                     // of the children
  std::vector<std::string> names;                               // theirs; empty: not started
  std::vector<bool> done;                                       // succeeded
  Json::Array outcomes;                                         // for the result writer
  std::int64_t run_redrives = 0;
};

class Execution::Interpreter {
 public:
  Interpreter(std::shared_ptr<const Machine> machine, ExecutionInfo info) : machine_(std::move(machine)), info_(std::move(info)) {
    top_.graph = &machine_->graph;
  }
  Step step(const Input& input);
  [[nodiscard]] Json failure_point() const { return failure_point_; }
  std::shared_ptr<const Machine> machine_;
  ExecutionInfo info_;
  Probe* probe_ = nullptr;
  const std::atomic<bool>* interrupted_ = nullptr;
  Status status_ = Status::running;
  Instant stopped_;
  std::string output_text_;
  Failure failure_;
  std::int64_t events_ = 0;
  void waiting(const Frame& frame, std::vector<Waiting>& out) const;
  Frame top_;

 private:
  // Inputs
  void take(const Input& input);
  // Goes on, in the same history, from the state that failed; of a Parallel or Map only the parts that did not succeed.
  void redrive(const Json& point);
  static Json point(const Frame& frame);  // where it stands: {"state", "input", "variables", "inside"?}
  // A Parallel's or Map's parts: an array of {"result"}, {"at": point} or null (not begun); of a distributed Map its run.
  static Json inside(const Frame& frame);
  static void resume_at(Frame& frame, const Json& point);
  void fire(std::int64_t id);

  // Moving through states
  // Puts the frame before a state; advance() enters it, so no chain of states grows the stack. A frame runs as far as it can before its
  // siblings begin: that is the order histories show.
  void go(Frame& frame, const std::string& state, Json input);
  static void place(Frame& frame, const std::string& state, Json input);
  void advance(Frame& frame);
  // Does the state's work: once on entering, again on each retry.
  void perform(Frame& frame);
  Failure no_such_path(const Frame& frame, const Expression& path, const Json& data);
  void pass(Frame& frame);
  void choice(Frame& frame);

  // Single values
  static Failure wrong_type(const Template& t, const char* expected, const Json& value);
  // A field that must give a number. `what` is the noun of AWS's messages: "integer", "float".
  Outcome<double> number(Frame& frame, const Template& t, bool whole);
  Outcome<std::optional<std::int64_t>> seconds(Frame& frame, const std::optional<Template>& t, std::int64_t least);
  void wait(Frame& frame);
  void fail_state(Frame& frame);

  // Tasks
  void task(Frame& frame);
  // {"resourceType", "resource", …}, as the Task* details begin.
  static Json named(const Resource& resource, const Json::Object& rest);
  static Json::Object failure_fields(const Failure& failure);
  void submitted(Frame& frame, const Json& output);
  void succeeded(Frame& frame, const Json& output);
  void task_ended(Frame& frame, const char* how, const Failure& failure);
  void task_failed(Frame& frame, const Failure& failure);
  void timed_out(Frame& frame, const Failure& failure);

  // Parallel and Map
  void parallel(Frame& frame);
  // TestState answers a Parallel or a Map as a whole.
  void wait_for_mock(Frame& frame);
  void map(Frame& frame);
  // Each evaluates fields of a Map; false: the state has failed.
  bool map_concurrency(Frame& frame);
  bool map_items(Frame& frame);
  bool map_tolerance(Frame& frame);
  void probe_map(Frame& frame);  // TestState: what an ItemSelector gives
  void begin_children(Frame& frame, std::size_t count);
  static const Json& part(const Frame& frame, std::size_t i);  // what a redrive knows of it
  static bool settled(Frame& frame, std::size_t i);            // it succeeded before the redrive, and has its result
  Frame& child(Frame& parent, std::size_t index, const Graph& graph);
  // Starts items until the concurrency limit is met.
  void more_items(Frame& frame);
  static Json iteration(const Frame& c);  // {"name", "index"}
  // A child ran to its end.
  void child_succeeded(Frame& c, Json output);
  void child_finished(Frame& c, std::int64_t last);
  void children_done(Frame& frame);
  [[nodiscard]] static bool tolerates(const Frame& map);
  void child_failed(Frame& c, const Failure& failure);
  // Ends every child that still runs: its tasks and timers are cancelled, and the history says which states were cut short.
  void drop_children(Frame& parent, const Frame* but);
  void abandon(Frame& frame, bool tell);

  // Distributed Map: every item is an execution of its own
  void ask(Frame& frame, Frame::Phase phase, const Resource& resource, Json parameters);
  void read_items(Frame& frame);
  // The answer of a reader, a writer or a child (ids below 0).
  void internal_answer(Frame& frame, const Input& input);
  void items_read(Frame& frame, const Input& input);
  // The run exists before its items are read: a reader or selector that fails, fails the run.
  void begin_run(Frame& frame);
  void tell_run(const Frame& frame, Json changes);  // to whoever keeps the records of runs
  bool child_inputs(Frame& frame);                  // items, selected and batched; false: the run has failed
  void start_run(Frame& frame);
  void run_failed(Frame& frame, const Failure& failure);
  static Json run_point(const Frame& frame);
  Outcome<std::vector<Json>> batch(Frame& frame, const ItemBatcher& batcher, std::vector<Json> items);
  void more_children(Frame& frame);
  // input.value: {"output"?, "execution": the child's record}.
  void child_answered(Frame& frame, const Input& input);
  // Ends a run: children that still go on are stopped.
  void stop_run(Frame& frame, const char* status);
  void run_done(Frame& frame);
  void results_written(Frame& frame, const Input& input);
  void run_succeeded(Frame& frame, const Json& result);
  // {"mapRunArn", "maxConcurrency"?, "toleratedFailureCount"?, "toleratedFailurePercentage"?}
  void update_map_run(Frame& frame, const Json& limits);

  // Leaving a state
  void select_and_complete(Frame& frame, Json result);
  // ResultPath, then leave.
  void complete(Frame& frame, const Json& result);
  // Assign, Output or OutputPath, the exit event and the way on. Both see the variables as they were before.
  void leave(Frame& frame, Json output, const std::string& next = {}, const ChoiceRule* rule = nullptr);
  void exit_to(Frame& frame, Json output, const std::string& next);
  void set_variables(Frame& frame, const Json& values);

  // Failing
  // The state itself failed (a path, an expression, a limit): worded as Step Functions words it, then handled.
  void fail(Frame& frame, const Failure& failure) { handle(frame, worded(frame, failure)); }
  Failure worded(Frame& frame, Failure failure);
  // Retry, else Catch, else the enclosing state or the execution fails.
  void handle(Frame& frame, const Failure& failure);
  void tell_failed(Frame& frame, const Failure& failure);
  void propagate(Frame& frame, const Failure& failure);
  void end(Status status, const Failure& failure);
  void finish();

  // Small things
  void show(const char* what, const Json& value);
  std::int64_t emit(Frame& frame, const char* type, const char* details, Json body);
  // As emit(), for an event that no other follows in the frame: the next one names the same predecessor as this one. AWS records so what
  // sums up a Map, its iterations and a Parallel (MapIterationSucceeded, MapStateSucceeded, …).
  std::int64_t emit_aside(Frame& frame, const char* type, const char* details, Json body);
  Command& command(Command::Kind kind, std::int64_t id);
  bool room_for_history();
  std::int64_t start_timer(double millis, Frame* frame);
  void cancel_timer(std::int64_t& id);
  void stop_waiting(Frame& frame);
  // What could not be read back is too large as well.
  bool too_large(const Json& value) {
    if (value.identical(fitting_)) return false;  // what passes through state after state is looked at once
    if (value.depth() > 500 || !value.dumps_within(kMaxPayloadBytes)) return true;
    fitting_ = value;
    return false;
  }
  static Failure data_limit(const Frame& frame);
  [[nodiscard]] std::string account() const;
  Json context(const Frame& frame) const;
  Scope scope(const Frame& frame, const Json& data);
  Outcome<Json> render(const Frame& frame, const Template& t, const Json& data) { return t.render(scope(frame, data)); }
  Step* out_ = nullptr;
  Json fitting_;  // the last value that was not too large
  Instant now_;
  SeededEntropy entropy_{0};
  std::function<Json()> context_of_;
  std::function<Json(bool)> states_of_;
  std::deque<Frame*> ready_;
  std::vector<std::unique_ptr<Frame>> discarded_;  // kept to the end of the step: callers up the stack may still look at them
  std::unordered_map<std::int64_t, Frame*> tasks_, timers_;
  std::int64_t timer_ids_ = 0;
  std::int64_t internal_ids_ = 0;
  std::int64_t execution_timer_ = 0;
  std::int64_t redrive_count_ = 0;
  Instant redrive_time_;
  Json failure_point_;
};

}  // namespace snapward::asl
