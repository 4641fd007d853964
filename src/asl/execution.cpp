#include "asl/execution.hpp"

#include <fmt/format.h>

#include <cassert>
#include <cmath>
#include <deque>
#include <unordered_map>

#include "asl/items.hpp"
#include "base/text.hpp"

namespace snapward::asl {

namespace {

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
  Instant entered;
  bool starting = false;               // a Map's iteration before its first state
  std::vector<std::int64_t> attempts;  // by retrier
  std::int64_t retries = 0;
  Json item;                   // Map iterations: the item
  std::optional<Json> result;  // the state's, once it has one: $states.result
  Json error_output;           // while a Catch is taken: $states.errorOutput
  Json assigned;               // by the Assign just done, for the exit event

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
  Json::Array outcomes;                                         // for the result writer
};

const char* entered_type(StateType type) {
  switch (type) {
    case StateType::pass:
      return "PassStateEntered";
    case StateType::task:
      return "TaskStateEntered";
    case StateType::choice:
      return "ChoiceStateEntered";
    case StateType::wait:
      return "WaitStateEntered";
    case StateType::succeed:
      return "SucceedStateEntered";
    case StateType::fail:
      return "FailStateEntered";
    case StateType::parallel:
      return "ParallelStateEntered";
    case StateType::map:
      return "MapStateEntered";
  }
  return "";
}
const char* exited_type(StateType type) {
  switch (type) {
    case StateType::pass:
      return "PassStateExited";
    case StateType::task:
      return "TaskStateExited";
    case StateType::choice:
      return "ChoiceStateExited";
    case StateType::wait:
      return "WaitStateExited";
    case StateType::succeed:
      return "SucceedStateExited";
    case StateType::parallel:
      return "ParallelStateExited";
    case StateType::map:
      return "MapStateExited";
    case StateType::fail:
      break;
  }
  return "";
}

bool matches(const std::vector<std::string>& names, const std::string& error, StateType type) {
  for (const std::string& name : names) {
    if (name == error) return true;
    if (name == errors::kAll && error != errors::kDataLimitExceeded && error != errors::kRuntime) return true;
    if (name == errors::kTaskFailed && type == StateType::task && error != errors::kTimeout && error != errors::kRuntime &&
        error != errors::kDataLimitExceeded)
      return true;
    if (name == errors::kTimeout && error == errors::kHeartbeatTimeout) return true;
  }
  return false;
}

}  // namespace

class Execution::Interpreter {
 public:
  Interpreter(std::shared_ptr<const Machine> machine, ExecutionInfo info) : machine_(std::move(machine)), info_(std::move(info)) {
    top_.graph = &machine_->graph;
  }

  Step step(const Input& input) {
    Step out;
    out_ = &out;
    now_ = input.at;
    entropy_ = SeededEntropy(input.seed);
    take(input);
    while (!ready_.empty()) {
      Frame* frame = ready_.front();
      ready_.pop_front();
      if (frame) advance(*frame);
    }
    discarded_.clear();
    out_ = nullptr;
    return out;
  }

  [[nodiscard]] Json failure_point() const { return failure_point_; }

  std::shared_ptr<const Machine> machine_;
  ExecutionInfo info_;
  Probe* probe_ = nullptr;
  Status status_ = Status::running;
  Instant stopped_;
  std::string output_text_;
  Failure failure_;
  std::int64_t events_ = 0;

  void waiting(const Frame& frame, std::vector<Waiting>& out) const {
    if (frame.task) out.push_back({frame.state->name, "task"});
    if (frame.timer) out.push_back({frame.state->name, frame.retrying ? "retry" : "timer"});
    for (std::size_t i = 0; i < frame.running_items.size(); ++i) out.push_back({frame.state->name, "child execution"});
    for (const auto& child : frame.children)
      if (child) waiting(*child, out);
  }
  Frame top_;

 private:
  // ── Inputs ───────────────────────────────────────────────────────────────────────────────────────────────────────────────

  void take(const Input& input) {
    if (input.kind == Input::Kind::started) {
      if (events_ > 0) return;
      Json::Object details{
          {"input", info_.input_text}, {"inputDetails", Json::object({{"truncated", false}})}, {"roleArn", info_.role_arn}};
      if (!info_.alias_arn.empty()) details.set("stateMachineAliasArn", info_.alias_arn);
      if (!info_.version_arn.empty()) details.set("stateMachineVersionArn", info_.version_arn);
      emit(top_, "ExecutionStarted", "executionStartedEventDetails", std::move(details));
      top_.last_event = 0;  // the first state's predecessor is 0, not the start
      if (machine_->timeout_seconds) execution_timer_ = start_timer(static_cast<double>(*machine_->timeout_seconds) * 1000.0, nullptr);
      if (probe_ && probe_->variables.is_object())
        for (const auto& [name, value] : probe_->variables.as_object()) top_.variables.insert_or_assign(name, value);
      go(top_, machine_->graph.start_at, info_.input);
      return;
    }
    if (input.kind == Input::Kind::redriven) return redrive(input.value);
    if (status_ != Status::running) return;
    if (input.kind == Input::Kind::aborted) return end(Status::aborted, {input.error, input.cause});
    if (input.kind == Input::Kind::timer_fired) return fire(input.id);
    if (input.kind == Input::Kind::map_run_updated) return update_map_run(top_, input.value);

    const auto found = tasks_.find(input.id);
    if (found == tasks_.end()) return;
    Frame& frame = *found->second;
    if (input.id < 0) return internal_answer(frame, input);
    switch (input.kind) {
      case Input::Kind::task_started:
        emit(frame, "ActivityStarted", "activityStartedEventDetails",
             input.value.is_string() && !input.value.as_string().empty() ? Json::object({{"workerName", input.value}})
                                                                         : Json(Json::Object{}));
        break;
      case Input::Kind::task_submitted:
        submitted(frame, input.value);
        break;
      case Input::Kind::task_heartbeat:
        if (frame.heartbeat_timer) {
          cancel_timer(frame.heartbeat_timer);
          frame.heartbeat_timer = start_timer(static_cast<double>(*frame.heartbeat_seconds) * 1000.0, &frame);
        }
        break;
      case Input::Kind::task_succeeded:
        succeeded(frame, input.value);
        break;
      case Input::Kind::task_failed:
        task_failed(frame, {input.error, input.cause});
        break;
      default:
        break;
    }
  }

  // Goes on, in the same history, from the state that failed.
  void redrive(const Json& point) {
    if (events_ > 0) return;
    events_ = point["events"].integer_or(0);
    timer_ids_ = point["timers"].integer_or(0);
    redrive_count_ = point["redriveCount"].integer_or(1);
    redrive_time_ = now_;
    for (const auto& [name, value] : point["variables"].is_object() ? point["variables"].as_object() : Json::Object{})
      top_.variables.insert_or_assign(name, value);
    top_.last_event = events_;
    emit(top_, "ExecutionRedriven", "executionRedrivenEventDetails", Json::object({{"redriveCount", redrive_count_}}));
    if (machine_->timeout_seconds) execution_timer_ = start_timer(static_cast<double>(*machine_->timeout_seconds) * 1000.0, nullptr);
    go(top_, std::string(point["state"].string_or(machine_->graph.start_at)), point["input"]);
  }

  void fire(std::int64_t id) {
    if (id == execution_timer_) {
      execution_timer_ = 0;
      return end(Status::timed_out, {});
    }
    const auto found = timers_.find(id);
    if (found == timers_.end()) return;
    Frame& frame = *found->second;
    timers_.erase(found);
    if (id == frame.timeout_timer || id == frame.heartbeat_timer) {
      const bool heartbeat = id == frame.heartbeat_timer;
      (heartbeat ? frame.heartbeat_timer : frame.timeout_timer) = 0;
      timed_out(frame, {heartbeat ? errors::kHeartbeatTimeout : errors::kTimeout, ""});
      return;
    }
    frame.timer = 0;
    if (std::exchange(frame.retrying, false)) return perform(frame);
    leave(frame, frame.data);
  }

  // ── Moving through states ────────────────────────────────────────────────────────────────────────────────────────────────

  // Puts the frame before a state; advance() enters it, so no chain of states grows the stack. A frame runs as far as it can before its
  // siblings begin: that is the order histories show.
  void go(Frame& frame, const std::string& state, Json input) {
    place(frame, state, std::move(input));
    ready_.push_front(&frame);
  }
  static void place(Frame& frame, const std::string& state, Json input) {
    frame.state = frame.graph->find(state);
    assert(frame.state);  // compile() checked every target
    frame.input = std::move(input);
  }

  void advance(Frame& frame) {
    const State& s = *frame.state;
    if (!room_for_history()) return;
    if (std::exchange(frame.starting, false)) iteration(frame, "MapIterationStarted", "mapIterationStartedEventDetails");
    frame.entered = now_;
    frame.retries = 0;
    frame.attempts.assign(s.retry.size(), 0);
    if (probe_)
      for (std::size_t i = 0; i < std::min(frame.attempts.size(), probe_->attempts.size()); ++i)
        frame.retries += frame.attempts[i] = probe_->attempts[i];
    frame.result.reset();
    frame.error_output = Json();
    frame.entered_event =
        emit(frame, entered_type(s.type), "stateEnteredEventDetails", Json::object({{"name", s.name}, {"inputValue", frame.input}}));
    if (s.input_path.nothing) {
      frame.data = Json(Json::Object{});
    } else if (s.input_path.path) {
      auto data = s.input_path.path->find(scope(frame, frame.input));
      if (!data) return fail(frame, data.error());
      if (!*data) return fail(frame, no_such_path(frame, *s.input_path.path, frame.input));
      frame.data = **std::move(data);
    } else {
      frame.data = frame.input;
    }
    if (s.language == Language::jsonpath && s.type != StateType::fail) show("afterInputPath", frame.data);
    perform(frame);
  }

  // Does the state's work: once on entering, again on each retry.
  void perform(Frame& frame) {
    const State& s = *frame.state;
    switch (s.type) {
      case StateType::pass:
        return pass(frame);
      case StateType::task:
        return task(frame);
      case StateType::choice:
        return choice(frame);
      case StateType::wait:
        return wait(frame);
      case StateType::succeed:
        return leave(frame, frame.data);
      case StateType::fail:
        return fail_state(frame);
      case StateType::parallel:
        return parallel(frame);
      case StateType::map:
        return map(frame);
    }
  }

  Failure no_such_path(const Frame& frame, const Expression& path, const Json& data) {
    const Json context = path.is_context() ? this->context(frame) : Json();
    return {errors::kRuntime,
            fmt::format("Invalid path '{}': {}", path.text(), path.path().why_missing(path.is_context() ? context : data))};
  }

  void pass(Frame& frame) {
    const State& s = *frame.state;
    Json result = frame.data;
    if (s.parameters) {
      auto rendered = render(frame, *s.parameters, frame.data);
      if (!rendered) return fail(frame, rendered.error());
      result = *std::move(rendered);
    }
    if (s.language == Language::jsonpath) show("afterParameters", result);
    if (s.result) result = *s.result;
    if (s.language == Language::jsonpath) {
      show("result", result);
      show("afterResultSelector", result);
    }
    complete(frame, result);
  }

  void choice(Frame& frame) {
    for (const ChoiceRule& rule : frame.state->choices) {
      const auto holds = rule.holds(scope(frame, frame.data));
      if (!holds) return fail(frame, holds.error());
      if (*holds) return leave(frame, frame.data, rule.next, &rule);
    }
    if (frame.state->default_next.empty())
      return fail(
          frame, {errors::kNoChoiceMatched,
                  fmt::format("Failed to transition out of the state. The state '{}' does not point to a next state.", frame.state->name)});
    leave(frame, frame.data, frame.state->default_next);
  }

  // ── Single values ────────────────────────────────────────────────────────────────────────────────────────────────────────

  static Failure wrong_type(const Template& t, const char* expected, const Json& value) {
    return {
        errors::kQueryEvaluationError,
        fmt::format(
            "The JSONata expression '{}' specified for the field '{}' returned an unexpected result type. Expected '{}', but was '{}' for "
            "value: {}",
            t.text(), t.field(), expected, type_name(value), value.dump()),
        t.field()};
  }

  // A field that must give a number. `what` is the noun of AWS's messages: "integer", "float".
  Outcome<double> number(Frame& frame, const Template& t, bool whole) {
    auto value = t.find(scope(frame, frame.data));
    if (!value) return std::unexpected(value.error());
    if (!*value)
      return std::unexpected(
          Failure{errors::kRuntime, fmt::format("The {} parameter does not reference an input value: {}", t.field(), t.text())});
    const Json& json = **value;
    if (json.is_number() && (!whole || json.as_integer())) return json.as_double();
    if (t.is_jsonata()) return std::unexpected(wrong_type(t, whole ? "integer" : "number", json));
    return std::unexpected(
        Failure{errors::kRuntime, fmt::format("The {} field refers to value \"{}\" which is not a valid {}: {}", t.field(),
                                              json.is_string() ? json.as_string() : json.dump(), whole ? "integer" : "float", t.text())});
  }
  Outcome<std::optional<std::int64_t>> seconds(Frame& frame, const std::optional<Template>& t, std::int64_t least) {
    if (!t) return std::nullopt;
    const auto n = number(frame, *t, true);
    if (!n) return std::unexpected(n.error());
    if (*n < static_cast<double>(least) || *n > 99'999'999)
      return std::unexpected(
          Failure{t->is_jsonata() ? errors::kQueryEvaluationError : errors::kRuntime,
                  fmt::format("The {} parameter must be an integer from {} to 99999999, but was {}", t->field(), least, *n),
                  t->is_jsonata() ? t->field() : ""});
    return static_cast<std::int64_t>(*n);
  }

  void wait(Frame& frame) {
    const State& s = *frame.state;
    Instant until = now_;
    if (s.seconds) {
      const auto span = seconds(frame, s.seconds, 0);
      if (!span) return fail(frame, span.error());
      until += std::chrono::seconds(**span);
    } else {
      const auto value = s.timestamp->find(scope(frame, frame.data));
      if (!value) return fail(frame, value.error());
      if (!*value)
        return fail(frame, {errors::kRuntime, fmt::format("The {} parameter does not reference an input value: {}", s.timestamp->field(),
                                                          s.timestamp->text())});
      const auto at = parse_iso((*value)->string_or());
      if (!at) {
        const bool jsonata = s.timestamp->is_jsonata();
        if (jsonata && !(*value)->is_string()) return fail(frame, wrong_type(*s.timestamp, "string", **value));
        return fail(
            frame,
            {jsonata ? errors::kQueryEvaluationError : errors::kRuntime,
             fmt::format("The {} parameter does not reference a valid ISO-8601 extended offset date-time format string: {} == {}",
                         s.timestamp->field(), s.timestamp->text(), (*value)->is_string() ? (*value)->as_string() : (*value)->dump()),
             jsonata ? s.timestamp->field() : ""});
      }
      until = *at;
    }
    if (until - now_ > std::chrono::seconds(0x7fffffff))
      return fail(frame,
                  {errors::kRuntime,
                   fmt::format("The timestamp {} is too far in the future: a Wait lasts 2147483647 seconds at most", iso_millis(until))});
    if (probe_) return leave(frame, frame.data);  // TestState does not wait
    frame.timer = start_timer(std::max<double>(0, static_cast<double>((until - now_).count())), &frame);
  }

  void fail_state(Frame& frame) {
    const State& s = *frame.state;
    Failure failure;
    for (const auto& [given, target] : {std::pair{&s.error, &failure.error}, std::pair{&s.cause, &failure.cause}}) {
      if (!*given) continue;
      const Template& t = **given;
      const auto value = t.find(scope(frame, frame.data));
      if (!value) return fail(frame, value.error());
      if (!*value)
        return fail(frame, {errors::kRuntime, fmt::format("The {} parameter does not reference an input value: {}", t.field(), t.text())});
      if (!(*value)->is_string()) {
        if (t.is_jsonata()) return fail(frame, wrong_type(t, "string", **value));
        return fail(frame, {errors::kRuntime,
                            fmt::format("The {} parameter must reference a string: {} == {}", t.field(), t.text(), (*value)->dump())});
      }
      *target = (*value)->as_string();
    }
    propagate(frame, failure);
  }

  // ── Tasks ────────────────────────────────────────────────────────────────────────────────────────────────────────────────

  void task(Frame& frame) {
    const State& s = *frame.state;
    if (s.resource.pattern == Resource::Pattern::wait_for_token || s.resource.kind == Resource::Kind::activity)
      frame.token = entropy_.hex(64);
    Json parameters = frame.data;
    if (s.parameters) {
      auto rendered = render(frame, *s.parameters, frame.data);
      if (!rendered) return fail(frame, rendered.error());
      parameters = *std::move(rendered);
    }
    show(s.language == Language::jsonata ? "afterArguments" : "afterParameters", parameters);
    const auto timeout = seconds(frame, s.timeout, 1), heartbeat = seconds(frame, s.heartbeat, 1);
    if (!timeout) return fail(frame, timeout.error());
    if (!heartbeat) return fail(frame, heartbeat.error());
    std::string role;
    if (s.credentials) {
      const auto credentials = render(frame, *s.credentials, frame.data);
      if (!credentials) return fail(frame, credentials.error());
      role = (*credentials)["RoleArn"].string_or();
    }
    if (too_large(parameters)) return fail(frame, data_limit(frame));
    std::int64_t id = 0;
    Json::Object details;
    const auto limits = [&] {
      if (*timeout) details.set("timeoutInSeconds", **timeout);
      if (*heartbeat) details.set("heartbeatInSeconds", **heartbeat);
      if (!role.empty()) details.set("taskCredentials", Json::object({{"roleArn", role}}));
    };
    switch (s.resource.kind) {
      case Resource::Kind::lambda:
        details.set("resource", s.resource.arn).set("inputValue", parameters);
        limits();
        details.erase("heartbeatInSeconds");
        id = emit(frame, "LambdaFunctionScheduled", "lambdaFunctionScheduledEventDetails", std::move(details));
        emit(frame, "LambdaFunctionStarted", "", {});
        break;
      case Resource::Kind::activity:
        details.set("resource", s.resource.arn).set("inputValue", parameters);
        limits();
        details.erase("taskCredentials");
        id = emit(frame, "ActivityScheduled", "activityScheduledEventDetails", std::move(details));
        break;
      case Resource::Kind::service:
        details.set("resourceType", s.resource.type)
            .set("resource", s.resource.action)
            .set("region", info_.region)
            .set("parametersValue", parameters);
        limits();
        id = emit(frame, "TaskScheduled", "taskScheduledEventDetails", std::move(details));
        emit(frame, "TaskStarted", "taskStartedEventDetails", named(s.resource, {}));
        break;
    }
    frame.task = id;
    tasks_[id] = &frame;
    Command& invoke = command(Command::Kind::invoke_task, id);
    invoke.resource = &s.resource;
    invoke.state = s.name;
    invoke.parameters = std::move(parameters);
    invoke.token = frame.token;
    invoke.role_arn = std::move(role);
    invoke.timeout = *timeout;
    invoke.heartbeat = *heartbeat;
    if (*timeout) frame.timeout_timer = start_timer(static_cast<double>(**timeout) * 1000.0, &frame);
    frame.heartbeat_seconds = *heartbeat;
    if (*heartbeat) frame.heartbeat_timer = start_timer(static_cast<double>(**heartbeat) * 1000.0, &frame);
  }

  // {"resourceType", "resource", …}, as the Task* details begin.
  static Json named(const Resource& resource, const Json::Object& rest) {
    Json::Object out;
    out.set("resourceType", resource.type).set("resource", resource.action);
    for (const auto& [key, value] : rest) out.set(key, value);
    return out;
  }
  static Json::Object failure_fields(const Failure& failure) {
    Json::Object out;
    if (!failure.error.empty()) out.set("error", failure.error);
    if (!failure.cause.empty()) out.set("cause", failure.cause);
    return out;
  }

  void submitted(Frame& frame, const Json& output) {
    emit(frame, "TaskSubmitted", "taskSubmittedEventDetails", named(frame.state->resource, {{"outputValue", output}}));
  }

  void succeeded(Frame& frame, const Json& output) {
    stop_waiting(frame);
    if (too_large(output)) return task_failed(frame, data_limit(frame));
    const Resource& resource = frame.state->resource;
    Json::Object details{{"outputValue", output}};
    switch (resource.kind) {
      case Resource::Kind::lambda:
        emit(frame, "LambdaFunctionSucceeded", "lambdaFunctionSucceededEventDetails", std::move(details));
        break;
      case Resource::Kind::activity:
        emit(frame, "ActivitySucceeded", "activitySucceededEventDetails", std::move(details));
        break;
      case Resource::Kind::service:
        emit(frame, "TaskSucceeded", "taskSucceededEventDetails", named(resource, std::move(details)));
        break;
    }
    select_and_complete(frame, output);
  }

  void task_ended(Frame& frame, const char* how, const Failure& failure) {
    const Resource& resource = frame.state->resource;
    const bool late = std::string_view(how) == "TimedOut";
    Json fields(failure_fields(failure));
    switch (resource.kind) {
      case Resource::Kind::lambda:
        emit(frame, late ? "LambdaFunctionTimedOut" : "LambdaFunctionFailed",
             late ? "lambdaFunctionTimedOutEventDetails" : "lambdaFunctionFailedEventDetails", std::move(fields));
        break;
      case Resource::Kind::activity:
        emit(frame, late ? "ActivityTimedOut" : "ActivityFailed", late ? "activityTimedOutEventDetails" : "activityFailedEventDetails",
             std::move(fields));
        break;
      case Resource::Kind::service:
        emit(frame, late ? "TaskTimedOut" : "TaskFailed", late ? "taskTimedOutEventDetails" : "taskFailedEventDetails",
             named(resource, fields.as_object()));
        break;
    }
    handle(frame, failure);
  }
  void task_failed(Frame& frame, const Failure& failure) {
    stop_waiting(frame);
    task_ended(frame, "Failed", failure);
  }
  void timed_out(Frame& frame, const Failure& failure) {
    const std::int64_t task = frame.task;
    stop_waiting(frame);
    command(Command::Kind::cancel_task, task);
    task_ended(frame, "TimedOut", failure);
  }

  // ── Parallel and Map ─────────────────────────────────────────────────────────────────────────────────────────────────────

  void parallel(Frame& frame) {
    const State& s = *frame.state;
    Json input = frame.data;
    if (s.parameters) {
      auto rendered = render(frame, *s.parameters, frame.data);
      if (!rendered) return fail(frame, rendered.error());
      input = *std::move(rendered);
    }
    show(s.language == Language::jsonata ? "afterArguments" : "afterParameters", input);
    emit(frame, "ParallelStateStarted", "", {});
    if (probe_) return wait_for_mock(frame);
    begin_children(frame, s.branches.size());
    for (std::size_t i = 0; i < s.branches.size(); ++i) place(child(frame, i, *s.branches[i]), s.branches[i]->start_at, input);
    for (std::size_t i = s.branches.size(); i-- > 0;) ready_.push_front(frame.children[i].get());
    frame.next_item = s.branches.size();
  }

  // TestState answers a Parallel or a Map as a whole.
  void wait_for_mock(Frame& frame) {
    frame.task = --internal_ids_;
    tasks_[frame.task] = &frame;
    frame.phase = Frame::Phase::none;
    command(Command::Kind::invoke_task, frame.task).state = frame.state->name;
  }

  void map(Frame& frame) {
    const State& s = *frame.state;
    frame.items.clear();
    if (s.reader) return read_items(frame);
    Json items = frame.data;
    if (s.items) {
      auto found = s.items->find(scope(frame, frame.data));
      if (!found) return fail(frame, found.error());
      if (!*found) {
        auto path = Expression::parse(s.items->text());
        return fail(frame, no_such_path(frame, *path, frame.data));
      }
      items = **std::move(found);
    }
    if (s.language == Language::jsonpath) show("afterItemsPath", items);
    if (!items.is_array()) {
      if (s.items && s.items->is_jsonata()) return fail(frame, wrong_type(*s.items, "array", items));
      if (s.language == Language::jsonata)
        return fail(
            frame, {errors::kQueryEvaluationError, fmt::format("Map state input must be an array but was: {}", type_name(items)), "Items"});
      return fail(frame, {errors::kRuntime, fmt::format("Reference path \"{}\" must point to array.", s.items ? s.items->text() : "$")});
    }
    frame.items = items.as_array();
    begin_map(frame, frame.items.size());
  }

  // Limits, then the start of the items. `shown` is the length that the history tells.
  void begin_map(Frame& frame, std::size_t shown) {
    const State& s = *frame.state;
    frame.concurrency = 0;
    frame.tolerated_count = 0;
    frame.tolerated_percentage = 0;
    if (s.max_concurrency) {
      const auto n = number(frame, *s.max_concurrency, true);
      if (!n) return fail(frame, n.error());
      if (*n < 0)
        return fail(frame, {errors::kRuntime, fmt::format("Expected non-negative integer for MaxConcurrency, got '{}' instead.", *n)});
      frame.concurrency = static_cast<std::int64_t>(*n);
      show("maxConcurrency", Json(frame.concurrency));
    }
    if (s.tolerated_count) {
      const auto n = number(frame, *s.tolerated_count, true);
      if (!n) return fail(frame, n.error());
      if (*n < 0) return fail(frame, {errors::kRuntime, "ToleratedFailureCount cannot be negative."});
      frame.tolerated_count = static_cast<std::int64_t>(*n);
      show("toleratedFailureCount", Json(frame.tolerated_count));
    }
    if (s.tolerated_percentage) {
      const auto n = number(frame, *s.tolerated_percentage, false);
      if (!n) return fail(frame, n.error());
      if (*n < 0 || *n > 100) return fail(frame, {errors::kRuntime, "ToleratedFailurePercentage must be between 0 and 100."});
      frame.tolerated_percentage = *n;
      show("toleratedFailurePercentage", Json(frame.tolerated_percentage));
    }
    if (probe_) {
      if (s.parameters) {
        Json::Array selected;
        for (std::size_t i = 0; i < frame.items.size(); ++i) {
          frame.item = Json::object({{"Index", i}, {"Value", frame.items[i]}});
          auto rendered = render(frame, *s.parameters, frame.data);
          if (!rendered) return fail(frame, rendered.error());
          selected.push_back(*std::move(rendered));
        }
        frame.item = Json();
        show("afterItemSelector", Json(std::move(selected)));
      }
      return wait_for_mock(frame);
    }
    emit(frame, "MapStateStarted", "mapStateStartedEventDetails", Json::object({{"length", shown}}));
    if (s.processor) return begin_run(frame);
    begin_children(frame, frame.items.size());
    if (frame.items.empty()) return children_done(frame);
    more_items(frame);
  }

  void begin_children(Frame& frame, std::size_t count) {
    frame.children.clear();
    frame.children.resize(count);
    frame.results.assign(count, Json());
    frame.next_item = frame.finished = frame.failed = 0;
  }

  Frame& child(Frame& parent, std::size_t index, const Graph& graph) {
    auto frame = std::make_unique<Frame>();
    frame->parent = &parent;
    frame->index = index;
    frame->graph = &graph;
    frame->variables = parent.variables;
    frame->last_event = parent.last_event;
    return *(parent.children[index] = std::move(frame));
  }

  // Starts items until the concurrency limit is met.
  void more_items(Frame& frame) {
    constexpr std::int64_t kMostAtOnce = 40;  // Developer Guide, "Map state processing modes"
    const State& s = *frame.state;
    const std::int64_t limit = frame.concurrency == 0 ? kMostAtOnce : std::min(frame.concurrency, kMostAtOnce);
    const std::size_t first = frame.next_item;
    while (frame.next_item < frame.items.size() && static_cast<std::int64_t>(frame.next_item - frame.finished) < limit) {
      const std::size_t i = frame.next_item++;
      Frame& c = child(frame, i, *s.branches[0]);
      c.item = Json::object({{"Index", i}, {"Value", frame.items[i]}});
      c.starting = true;
      Json input = frame.items[i];
      if (s.parameters) {
        c.input = frame.input;  // what an ItemSelector's $states.input is
        auto rendered = render(c, *s.parameters, frame.data);
        if (!rendered) {
          discarded_.push_back(std::move(frame.children[i]));
          drop_children(frame, nullptr);
          return fail(frame, rendered.error());
        }
        input = *std::move(rendered);
      }
      place(c, s.branches[0]->start_at, std::move(input));
    }
    for (std::size_t i = frame.next_item; i-- > first;) ready_.push_front(frame.children[i].get());
  }

  void iteration(Frame& c, const char* type, const char* details) {
    emit(c, type, details, Json::object({{"name", c.parent->state->name}, {"index", c.index}}));
  }

  // A child ran to its end.
  void child_succeeded(Frame& c, Json output) {
    Frame& parent = *c.parent;
    if (parent.state->type == StateType::map) iteration(c, "MapIterationSucceeded", "mapIterationSucceededEventDetails");
    parent.results[c.index] = std::move(output);
    child_finished(c);
  }

  void child_finished(Frame& c) {
    Frame& parent = *c.parent;
    ++parent.finished;
    parent.last_event = c.last_event;
    discarded_.push_back(std::move(parent.children[c.index]));
    if (parent.finished == parent.children.size()) return children_done(parent);
    if (parent.state->type == StateType::map) more_items(parent);
  }

  void children_done(Frame& frame) {
    const bool is_map = frame.state->type == StateType::map;
    emit(frame, is_map ? "MapStateSucceeded" : "ParallelStateSucceeded", "", {});
    Json::Array results = std::move(frame.results);
    frame.children.clear();
    frame.items.clear();
    select_and_complete(frame, Json(std::move(results)));
  }

  [[nodiscard]] static bool tolerates(const Frame& map) {
    const double percentage = 100.0 * static_cast<double>(map.failed) / static_cast<double>(std::max<std::size_t>(1, map.results.size()));
    return (map.tolerated_count > 0 && static_cast<std::int64_t>(map.failed) <= map.tolerated_count) ||
           (map.tolerated_percentage > 0 && percentage <= map.tolerated_percentage);
  }

  void child_failed(Frame& c, const Failure& failure) {
    Frame& parent = *c.parent;
    const State& s = *parent.state;
    if (s.type == StateType::map) {
      iteration(c, "MapIterationFailed", "mapIterationFailedEventDetails");
      ++parent.failed;
      if (tolerates(parent)) {
        parent.results[c.index] = Json(failure_fields(failure));
        return child_finished(c);
      }
    }
    parent.last_event = c.last_event;
    drop_children(parent, &c);
    emit(parent, s.type == StateType::map ? "MapStateFailed" : "ParallelStateFailed", "", {});
    handle(parent, failure);
  }

  // Ends every child that still runs: its tasks and timers are cancelled, and the history says which states were cut short.
  void drop_children(Frame& parent, const Frame* but) {
    for (auto& c : parent.children) {
      if (!c) continue;
      if (c.get() != but) {
        abandon(*c, true);
        if (parent.state->type == StateType::map && !c->starting) iteration(*c, "MapIterationAborted", "mapIterationAbortedEventDetails");
        parent.last_event = c->last_event;
      }
      std::replace(ready_.begin(), ready_.end(), c.get(), static_cast<Frame*>(nullptr));
      discarded_.push_back(std::move(c));
    }
    parent.children.clear();
    parent.items.clear();
    parent.results.clear();
  }

  void abandon(Frame& frame, bool tell) {
    const bool waited = frame.task || frame.timer;
    const std::int64_t task = frame.task;
    stop_waiting(frame);
    if (task) command(Command::Kind::cancel_task, task);
    stop_run(frame, "ABORTED");
    bool inside = false;
    for (auto& c : frame.children)
      if (c) {
        inside = true;
        abandon(*c, tell);
        if (tell && frame.state->type == StateType::map && !c->starting)
          iteration(*c, "MapIterationAborted", "mapIterationAbortedEventDetails");
        frame.last_event = c->last_event;
        std::replace(ready_.begin(), ready_.end(), c.get(), static_cast<Frame*>(nullptr));
      }
    if (!tell || !(waited || inside)) return;
    switch (frame.state->type) {
      case StateType::task:
        emit(frame, "TaskStateAborted", "", {});
        break;
      case StateType::wait:
        emit(frame, "WaitStateAborted", "", {});
        break;
      case StateType::parallel:
        emit(frame, "ParallelStateAborted", "", {});
        break;
      case StateType::map:
        emit(frame, "MapStateAborted", "", {});
        break;
      default:
        break;
    }
  }

  // ── Distributed Map: every item is an execution of its own ───────────────────────────────────────────────────────────────

  void ask(Frame& frame, Frame::Phase phase, const Resource& resource, Json parameters) {
    frame.phase = phase;
    frame.task = --internal_ids_;
    tasks_[frame.task] = &frame;
    Command& c = command(Command::Kind::invoke_task, frame.task);
    c.resource = &resource;
    c.state = frame.state->name;
    c.parameters = std::move(parameters);
  }

  void read_items(Frame& frame) {
    const ItemReader& reader = *frame.state->reader;
    Json parameters = Json(Json::Object{});
    if (reader.parameters) {
      auto rendered = render(frame, *reader.parameters, frame.data);
      if (!rendered) return fail(frame, rendered.error());
      parameters = *std::move(rendered);
    }
    show("afterItemReaderArguments", parameters);
    ask(frame, Frame::Phase::reading, reader.resource, std::move(parameters));
  }

  // The answer of a reader, a writer or a child (ids below 0).
  void internal_answer(Frame& frame, const Input& input) {
    const bool good = input.kind == Input::Kind::task_succeeded;
    if (!good && input.kind != Input::Kind::task_failed) return;
    tasks_.erase(input.id);
    if (input.id == frame.task) {
      frame.task = 0;
      const Frame::Phase phase = std::exchange(frame.phase, Frame::Phase::none);
      if (phase == Frame::Phase::reading) return items_read(frame, input);
      if (phase == Frame::Phase::writing) return results_written(frame, input);
      if (!good) {  // a mock
        emit(frame, frame.state->type == StateType::map ? "MapStateFailed" : "ParallelStateFailed", "", {});
        return handle(frame, {input.error, input.cause});
      }
      return select_and_complete(frame, input.value);
    }
    child_answered(frame, input);
  }

  void items_read(Frame& frame, const Input& input) {
    const ItemReader& reader = *frame.state->reader;
    if (input.kind == Input::Kind::task_failed) return fail(frame, {errors::kItemReaderFailed, input.cause});
    auto items = read_item_list(reader, input.value);
    if (!items) return fail(frame, items.error());
    if (reader.max_items) {
      const auto n = number(frame, *reader.max_items, true);
      if (!n) return fail(frame, {errors::kItemReaderFailed, n.error().cause, n.error().location});
      if (*n < 0 || *n > 100'000'000)
        return fail(frame, {errors::kItemReaderFailed,
                            *n < 0 ? fmt::format("Expected non-negative integer for {}, got '{}' instead.", reader.max_items->field(), *n)
                                   : fmt::format("{} must not be greater than 100000000, but was {}", reader.max_items->field(), *n)});
      if (*n > 0 && static_cast<double>(items->size()) > *n) items->resize(static_cast<std::size_t>(*n));
    }
    frame.items = *std::move(items);
    show("afterItemReader", Json(frame.items));
    begin_map(frame, 0);
  }

  void begin_run(Frame& frame) {
    const State& s = *frame.state;
    // What each child gets: the items as selected, in batches if asked for.
    std::vector<Json> inputs;
    for (std::size_t i = 0; i < frame.items.size(); ++i) {
      if (!s.parameters) {
        inputs.push_back(frame.items[i]);
        continue;
      }
      frame.item = Json::object({{"Index", i}, {"Value", frame.items[i]}});
      auto rendered = render(frame, *s.parameters, frame.data);
      frame.item = Json();
      if (!rendered) return fail(frame, rendered.error());
      inputs.push_back(*std::move(rendered));
    }
    if (s.batcher) {
      auto batches = batch(frame, *s.batcher, std::move(inputs));
      if (!batches) return fail(frame, batches.error());
      inputs = *std::move(batches);
    }
    frame.inputs = std::move(inputs);
    frame.results.assign(frame.inputs.size(), Json());
    frame.outcomes.clear();
    frame.next_item = frame.finished = frame.failed = 0;
    frame.phase = Frame::Phase::running;
    // A run without a Label is labelled by the service: the same for a state of a machine, and like no name a person gives.
    std::string label = s.label;
    if (label.empty()) {
      const std::string digest = hex_encode(sha256(info_.machine_arn + '\n' + s.name));
      label = fmt::format("{}-{}-{}-{}-{}", digest.substr(0, 8), digest.substr(8, 4), digest.substr(12, 4), digest.substr(16, 4),
                          digest.substr(20, 12));
    }
    frame.map_run =
        fmt::format("arn:aws:states:{}:{}:mapRun:{}/{}:{}", info_.region, account(), info_.machine_name, label, entropy_.uuid());
    emit(frame, "MapRunStarted", "mapRunStartedEventDetails", Json::object({{"mapRunArn", frame.map_run}}));
    Command& c = command(Command::Kind::map_run_started, 0);
    c.map_run = frame.map_run;
    c.parameters = Json::object({{"total", frame.inputs.size()},
                                 {"items", frame.items.size()},
                                 {"maxConcurrency", frame.concurrency},
                                 {"toleratedFailureCount", frame.tolerated_count},
                                 {"toleratedFailurePercentage", frame.tolerated_percentage}});
    if (frame.inputs.empty()) return run_done(frame);
    more_children(frame);
  }

  Outcome<std::vector<Json>> batch(Frame& frame, const ItemBatcher& batcher, std::vector<Json> items) {
    double most = 0, bytes = 0;
    for (const auto& [t, target] : {std::pair{&batcher.max_items, &most}, std::pair{&batcher.max_bytes, &bytes}}) {
      if (!*t) continue;
      const auto n = number(frame, **t, true);
      if (!n) return std::unexpected(n.error());
      if (*n < 0)
        return std::unexpected(
            Failure{errors::kRuntime, fmt::format("Expected non-negative integer for {}, got '{}' instead.", (*t)->field(), *n)});
      *target = *n;
    }
    std::optional<Json> shared;
    if (batcher.input) {
      auto rendered = render(frame, *batcher.input, frame.data);
      if (!rendered) return std::unexpected(rendered.error());
      shared = *std::move(rendered);
    }
    if (bytes == 0) bytes = static_cast<double>(kMaxPayloadBytes);
    std::vector<Json> out;
    Json::Array now;
    std::size_t size = 0;
    const std::size_t fixed = 20 + (shared ? shared->dump().size() + 15 : 0);
    const auto close = [&] {
      if (now.empty()) return;
      Json::Object input;
      if (shared) input.set("BatchInput", *shared);
      input.set("Items", std::exchange(now, {}));
      out.emplace_back(std::move(input));
      size = 0;
    };
    for (Json& item : items) {
      const std::size_t one = item.dump().size() + 1;
      if (!now.empty() && ((most > 0 && static_cast<double>(now.size()) >= most) || static_cast<double>(fixed + size + one) > bytes))
        close();
      size += one;
      now.push_back(std::move(item));
    }
    close();
    return out;
  }

  void more_children(Frame& frame) {
    constexpr std::size_t kMaxChildren = 10'000;
    const State& s = *frame.state;
    const std::size_t limit =
        frame.concurrency == 0 ? kMaxChildren : std::min<std::size_t>(kMaxChildren, static_cast<std::size_t>(frame.concurrency));
    while (frame.next_item < frame.inputs.size() && frame.running_items.size() < limit) {
      const std::size_t i = frame.next_item++;
      const std::int64_t id = --internal_ids_;
      tasks_[id] = &frame;
      frame.running_items[id] = i;
      Command& c = command(Command::Kind::start_child, id);
      c.state = s.name;
      c.machine = s.processor;
      c.name = entropy_.uuid();
      c.map_run = frame.map_run;
      c.parameters = std::move(frame.inputs[i]);
    }
  }

  // input.value: {"output"?, "execution": the child's record}.
  void child_answered(Frame& frame, const Input& input) {
    const auto found = frame.running_items.find(input.id);
    if (found == frame.running_items.end()) return;
    const std::size_t index = found->second;
    frame.running_items.erase(found);
    ++frame.finished;
    if (frame.state->writer && frame.state->writer->resource) frame.outcomes.push_back(input.value["execution"]);
    if (input.kind == Input::Kind::task_succeeded) {
      frame.results[index] = input.value["output"];
    } else {
      ++frame.failed;
      frame.results[index] = Json(failure_fields({input.error, input.cause}));
      if (!tolerates(frame)) {
        const Failure failure{errors::kExceedToleratedFailureThreshold, "The specified tolerated failure threshold was exceeded"};
        stop_run(frame, "FAILED");
        emit(frame, "MapRunFailed", "mapRunFailedEventDetails", failure_fields(failure));
        emit(frame, "MapStateFailed", "", {});
        frame.items.clear();
        frame.results.clear();
        return handle(frame, failure);
      }
    }
    if (frame.finished == frame.results.size()) return run_done(frame);
    more_children(frame);
  }

  // Ends a run: children that still go on are stopped.
  void stop_run(Frame& frame, const char* status) {
    if (frame.map_run.empty()) return;
    for (const auto& [id, item] : frame.running_items) {
      tasks_.erase(id);
      command(Command::Kind::cancel_task, id);
    }
    frame.running_items.clear();
    frame.inputs.clear();
    Command& c = command(Command::Kind::map_run_ended, 0);
    c.map_run = std::exchange(frame.map_run, {});
    c.parameters = Json::object({{"status", status}});
    frame.phase = Frame::Phase::none;
  }

  void run_done(Frame& frame) {
    const auto& writer = frame.state->writer;
    const std::string run = frame.map_run;
    if (writer && writer->resource) {
      Json parameters = Json(Json::Object{});
      if (writer->parameters) {
        auto rendered = render(frame, *writer->parameters, frame.data);
        if (!rendered) return fail(frame, rendered.error());
        parameters = *std::move(rendered);
      }
      // {"bucket", "prefix", "mapRunArn", "executions"}: the engine lays the files out.
      return ask(frame, Frame::Phase::writing, *writer->resource,
                 Json::object({{"Bucket", parameters["Bucket"]},
                               {"Prefix", parameters["Prefix"]},
                               {"MapRunArn", run},
                               {"Lines", writer->lines},
                               {"Transformation", writer->flatten   ? "FLATTEN"
                                                  : writer->compact ? "COMPACT"
                                                                    : "NONE"},
                               {"Executions", std::exchange(frame.outcomes, {})}}));
    }
    Json::Array results = std::move(frame.results);
    if (writer && writer->flatten) {
      Json::Array flat;
      for (const Json& result : results) {
        if (result.is_array())
          flat.insert(flat.end(), result.as_array().begin(), result.as_array().end());
        else
          flat.push_back(result);
      }
      results = std::move(flat);
    }
    run_succeeded(frame, Json(std::move(results)));
  }

  void results_written(Frame& frame, const Input& input) {
    if (input.kind == Input::Kind::task_failed) {
      const Failure failure{errors::kResultWriterFailed, input.cause};
      stop_run(frame, "FAILED");
      emit(frame, "MapRunFailed", "mapRunFailedEventDetails", failure_fields(failure));
      emit(frame, "MapStateFailed", "", {});
      return handle(frame, failure);
    }
    run_succeeded(frame, input.value);
  }

  void run_succeeded(Frame& frame, const Json& result) {
    stop_run(frame, "SUCCEEDED");
    emit(frame, "MapRunSucceeded", "", {});
    emit(frame, "MapStateSucceeded", "", {});
    frame.items.clear();
    frame.results.clear();
    select_and_complete(frame, result);
  }

  // {"mapRunArn", "maxConcurrency"?, "toleratedFailureCount"?, "toleratedFailurePercentage"?}
  void update_map_run(Frame& frame, const Json& limits) {
    for (auto& c : frame.children)
      if (c) update_map_run(*c, limits);
    if (frame.map_run.empty() || frame.map_run != limits["mapRunArn"].string_or()) return;
    frame.concurrency = limits["maxConcurrency"].integer_or(frame.concurrency);
    frame.tolerated_count = limits["toleratedFailureCount"].integer_or(frame.tolerated_count);
    if (limits["toleratedFailurePercentage"].is_number()) frame.tolerated_percentage = limits["toleratedFailurePercentage"].as_double();
    if (frame.phase == Frame::Phase::running) more_children(frame);
  }

  // ── Leaving a state ──────────────────────────────────────────────────────────────────────────────────────────────────────

  void select_and_complete(Frame& frame, Json result) {
    if (frame.state->language == Language::jsonpath) show("result", result);
    if (frame.state->result_selector) {
      auto selected = render(frame, *frame.state->result_selector, result);
      if (!selected) return fail(frame, selected.error());
      result = *std::move(selected);
    }
    if (frame.state->language == Language::jsonpath)
      show("afterResultSelector", result);
    else
      show("result", result);
    complete(frame, result);
  }

  // ResultPath, then leave.
  void complete(Frame& frame, const Json& result) {
    const State& s = *frame.state;
    frame.result = result;
    if (s.discard_result) {
      show("afterResultPath", frame.input);
      return leave(frame, frame.input);
    }
    if (!s.result_path) {
      if (s.language == Language::jsonpath) show("afterResultPath", result);
      return leave(frame, result);
    }
    auto output = s.result_path->assign(frame.input, result);
    if (!output)
      return fail(frame, {errors::kResultPathMatchFailure,
                          fmt::format("Unable to apply ReferencePath {} to input {}", s.result_path->text(), frame.input.dump())});
    show("afterResultPath", *output);
    leave(frame, *std::move(output));
  }

  // Assign, Output or OutputPath, the exit event and the way on. Both see the variables as they were before.
  void leave(Frame& frame, Json output, const std::string& next = {}, const ChoiceRule* rule = nullptr) {
    const State& s = *frame.state;
    // A Choice's own Assign and Output are for its default.
    const auto& assign = rule ? rule->assign : s.assign;
    const auto& wanted = rule ? rule->output : s.output;
    Json assigned;
    if (assign) {
      auto values = render(frame, *assign, frame.result ? *frame.result : frame.data);
      if (!values) return fail(frame, values.error());
      assigned = *std::move(values);
    }
    if (wanted) {
      auto rendered = render(frame, *wanted, output);
      if (!rendered) return fail(frame, rendered.error());
      output = *std::move(rendered);
    }
    set_variables(frame, assigned);
    if (s.output_path.nothing) {
      output = Json(Json::Object{});
    } else if (s.output_path.path) {
      auto selected = s.output_path.path->find(scope(frame, output));
      if (!selected) return fail(frame, selected.error());
      if (!*selected) return fail(frame, no_such_path(frame, *s.output_path.path, output));
      output = **std::move(selected);
    }
    exit_to(frame, std::move(output), next.empty() ? s.next : next);
  }

  void exit_to(Frame& frame, Json output, const std::string& next) {
    if (too_large(output)) return fail(frame, data_limit(frame));
    Json::Object details{{"name", frame.state->name}, {"outputValue", output}};
    if (const Json assigned = std::exchange(frame.assigned, Json()); assigned.is_object()) {
      Json::Object shown;
      for (const auto& [name, value] : assigned.as_object()) shown.set(name, value.dump());
      details.set("assignedVariables", std::move(shown));
      details.set("assignedVariablesDetails", Json::object({{"truncated", false}}));
    }
    emit(frame, exited_type(frame.state->type), "stateExitedEventDetails", std::move(details));
    if (probe_) probe_->next = next;
    if (!next.empty() && !probe_) return go(frame, next, std::move(output));
    if (frame.parent) return child_succeeded(frame, std::move(output));
    status_ = Status::succeeded;
    stopped_ = now_;
    output_text_ = text_of(output);
    emit(frame, "ExecutionSucceeded", "executionSucceededEventDetails", Json::object({{"outputValue", output}}));
    finish();
  }

  void set_variables(Frame& frame, const Json& values) {
    if (!values.is_object()) return;
    for (const auto& [name, value] : values.as_object()) frame.variables.insert_or_assign(name, value);
    frame.assigned = values;
    if (probe_) show("variables", Json(values.dump()));
  }

  // ── Failing ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

  // The state itself failed (a path, an expression, a limit): worded as Step Functions words it, then handled.
  void fail(Frame& frame, Failure failure) {
    failure.cause = fmt::format("An error occurred while executing the state '{}' (entered at the event id #{}). {}", frame.state->name,
                                frame.entered_event, failure.cause);
    if (!failure.location.empty())
      emit(
          frame, "EvaluationFailed", "evaluationFailedEventDetails",
          Json::object({{"error", failure.error}, {"cause", failure.cause}, {"location", failure.location}, {"state", frame.state->name}}));
    handle(frame, failure);
  }

  // Retry, else Catch, else the enclosing state or the execution fails.
  void handle(Frame& frame, const Failure& failure) {
    const State& s = *frame.state;
    for (std::size_t i = 0; i < s.retry.size(); ++i) {
      const Retrier& r = s.retry[i];
      if (!matches(r.errors, failure.error, s.type)) continue;
      if (frame.attempts[i] >= r.max_attempts) break;
      double delay = r.interval_seconds * std::pow(r.backoff_rate, static_cast<double>(frame.attempts[i]++));
      delay = std::min(delay, r.max_delay_seconds.value_or(31'622'400.0));
      if (probe_) {
        probe_->handled = Probe::Handled::retried;
        probe_->error_details.set("retryIndex", i).set("retryBackoffIntervalSeconds", Json(std::floor(delay)));
        return end(Status::failed, failure);
      }
      if (r.full_jitter) delay *= entropy_.unit();
      ++frame.retries;
      frame.retrying = true;
      frame.timer = start_timer(delay * 1000.0, &frame);
      return;
    }
    for (std::size_t i = 0; i < s.catches.size(); ++i) {
      const Catcher& c = s.catches[i];
      if (!matches(c.errors, failure.error, s.type)) continue;
      const Json error = Json::object({{"Error", failure.error}, {"Cause", failure.cause}});
      frame.error_output = error;
      frame.result.reset();
      if (probe_) {
        probe_->handled = Probe::Handled::caught;
        probe_->error_details.set("catchIndex", i);
      }
      const auto give_up = [&](Failure why) {
        why.cause = fmt::format("An error occurred while executing the state '{}' (entered at the event id #{}). {}", s.name,
                                frame.entered_event, why.cause);
        if (!why.location.empty())
          emit(frame, "EvaluationFailed", "evaluationFailedEventDetails",
               Json::object({{"error", why.error}, {"cause", why.cause}, {"location", why.location}, {"state", s.name}}));
        propagate(frame, why);
      };
      Json assigned, output = error;
      if (c.assign) {
        auto values = render(frame, *c.assign, error);
        if (!values) return give_up(values.error());
        assigned = *std::move(values);
      }
      if (c.output) {
        auto rendered = render(frame, *c.output, error);
        if (!rendered) return give_up(rendered.error());
        output = *std::move(rendered);
      }
      set_variables(frame, assigned);
      if (c.discard_result) return exit_to(frame, frame.input, c.next);
      if (!c.result_path) return exit_to(frame, std::move(output), c.next);
      auto placed = c.result_path->assign(frame.input, error);
      if (!placed)
        return give_up({errors::kResultPathMatchFailure,
                        fmt::format("Unable to apply ReferencePath {} to input {}", c.result_path->text(), frame.input.dump())});
      return exit_to(frame, *std::move(placed), c.next);
    }
    propagate(frame, failure);
  }

  void propagate(Frame& frame, const Failure& failure) {
    if (frame.parent) return child_failed(frame, failure);
    end(Status::failed, failure);
  }

  void end(Status status, const Failure& failure) {
    Json::Object variables;
    for (const auto& [name, value] : top_.variables) variables.set(name, value);
    failure_point_ =
        Json::object({{"state", top_.state ? Json(top_.state->name) : Json()}, {"input", top_.input}, {"variables", std::move(variables)}});
    abandon(top_, false);
    for (auto& c : top_.children) discarded_.push_back(std::move(c));
    top_.children.clear();
    ready_.clear();
    status_ = status;
    stopped_ = now_;
    failure_ = failure;
    if (status == Status::timed_out) {
      emit(top_, "ExecutionTimedOut", "executionTimedOutEventDetails", failure_fields(failure));
    } else if (status == Status::aborted) {
      emit(top_, "ExecutionAborted", "executionAbortedEventDetails", failure_fields(failure));
    } else {
      emit(top_, "ExecutionFailed", "executionFailedEventDetails", failure_fields(failure));
    }
    Json::Object point = failure_point_.as_object();
    point.set("events", events_).set("timers", timer_ids_);
    failure_point_ = Json(std::move(point));
    finish();
  }

  void finish() {
    if (execution_timer_) cancel_timer(execution_timer_);
    command(Command::Kind::finish, 0);
  }

  // ── Small things ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  void show(const char* what, const Json& value) {
    if (probe_) probe_->data.set(what, value);
  }

  std::int64_t emit(Frame& frame, const char* type, const char* details, Json body) {
    const std::int64_t id = ++events_;
    out_->history.push_back(
        {.id = id, .previous = frame.last_event, .at = now_, .type = type, .details = details, .body = std::move(body)});
    frame.last_event = id;
    return id;
  }

  Command& command(Command::Kind kind, std::int64_t id) {
    Command& c = out_->commands.emplace_back();
    c.kind = kind;
    c.id = id;
    return c;
  }

  bool room_for_history() {
    if (events_ + 1 < kMaxHistoryEvents) return true;
    end(Status::failed, {errors::kRuntime, "The execution reached the maximum number of history events (25000)."});
    return false;
  }

  std::int64_t start_timer(double millis, Frame* frame) {
    const std::int64_t id = ++timer_ids_;
    if (frame) timers_[id] = frame;
    command(Command::Kind::start_timer, id).deadline = now_ + Duration(static_cast<std::int64_t>(std::llround(millis)));
    return id;
  }
  void cancel_timer(std::int64_t& id) {
    if (!id) return;
    timers_.erase(id);
    command(Command::Kind::cancel_timer, id);
    id = 0;
  }
  void stop_waiting(Frame& frame) {
    tasks_.erase(std::exchange(frame.task, 0));
    cancel_timer(frame.timer);
    cancel_timer(frame.timeout_timer);
    cancel_timer(frame.heartbeat_timer);
    frame.retrying = false;
  }

  // The text of a value; the last one is kept, since one value goes out of one state and into the next.
  const std::string& text_of(const Json& value) {
    if (!value.identical(text_value_) || text_.empty()) {
      text_.clear();
      value.dump_to(text_);
      text_value_ = value;
    }
    return text_;
  }
  // What could not be read back is too large as well.
  bool too_large(const Json& value) { return value.depth() > 500 || text_of(value).size() > kMaxPayloadBytes; }
  static Failure data_limit(const Frame& frame) {
    const std::string who = frame.state->type == StateType::task ? frame.state->resource.arn : frame.state->name;
    return {errors::kDataLimitExceeded,
            fmt::format("The state/task '{}' returned a result with a size exceeding the maximum number of bytes service limit.", who)};
  }

  [[nodiscard]] std::string account() const {
    const std::vector<std::string> parts = split(info_.machine_arn, ':');
    return parts.size() > 4 ? parts[4] : "";
  }

  Json context(const Frame& frame) const {
    Json::Object out;
    Json::Object execution{{"Id", info_.arn},
                           {"Input", info_.input},
                           {"Name", info_.name},
                           {"RoleArn", info_.role_arn},
                           {"StartTime", iso_millis(info_.started)},
                           {"RedriveCount", redrive_count_}};
    if (redrive_count_ > 0) execution.set("RedriveTime", iso_millis(redrive_time_));
    out.set("Execution", std::move(execution));
    for (const Frame* f = &frame; f; f = f->parent)
      if (!f->item.is_null()) {
        out.set("Map", Json::object({{"Item", f->item}}));
        break;
      }
    if (frame.state)
      out.set("State",
              Json::object({{"EnteredTime", iso_millis(frame.entered)}, {"Name", frame.state->name}, {"RetryCount", frame.retries}}));
    out.set("StateMachine", Json::object({{"Id", info_.machine_arn}, {"Name", info_.machine_name}}));
    if (!frame.token.empty()) out.set("Task", Json::object({{"Token", frame.token}}));
    if (info_.context_extra.is_object()) {  // TestState: just what its caller gave, and the token
      Json::Object given = info_.context_extra.as_object();
      if (!given.find("Map") && out.find("Map")) given.set("Map", *out.find("Map"));
      return Json(std::move(given));
    }
    return out;
  }

  Scope scope(const Frame& frame, const Json& data) {
    context_of_ = [this, &frame] { return context(frame); };
    states_of_ = [this, &frame](bool with_context) {
      Json::Object out;
      // An ItemSelector is evaluated before its iteration has entered a state: its input is the Map's.
      out.set("input", frame.input);
      if (frame.result) out.set("result", *frame.result);
      if (!frame.error_output.is_null()) out.set("errorOutput", frame.error_output);
      if (with_context) out.set("context", context(frame));
      return Json(std::move(out));
    };
    return {data, context_of_, frame.variables, entropy_, now_, &states_of_};
  }
  Outcome<Json> render(const Frame& frame, const Template& t, const Json& data) { return t.render(scope(frame, data)); }

  Step* out_ = nullptr;
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
  Json text_value_;
  std::string text_;
};

Execution::Execution(std::shared_ptr<const Machine> machine, ExecutionInfo info)
    : impl_(std::make_unique<Interpreter>(std::move(machine), std::move(info))) {}
Execution::~Execution() = default;
Execution::Execution(Execution&&) noexcept = default;
Execution& Execution::operator=(Execution&&) noexcept = default;
Step Execution::step(const Input& input) { return impl_->step(input); }
void Execution::probe(Probe* probe) { impl_->probe_ = probe; }
Json Execution::failure_point() const { return impl_->failure_point(); }
const ExecutionInfo& Execution::info() const { return impl_->info_; }
Status Execution::status() const { return impl_->status_; }
Instant Execution::stopped() const { return impl_->stopped_; }
const std::string& Execution::output_text() const { return impl_->output_text_; }
const Failure& Execution::failure() const { return impl_->failure_; }
std::int64_t Execution::events() const { return impl_->events_; }
std::vector<Execution::Waiting> Execution::waiting_for() const {
  std::vector<Waiting> out;
  impl_->waiting(impl_->top_, out);
  return out;
}

const char* status_name(Status status) {
  switch (status) {
    case Status::running:
      return "RUNNING";
    case Status::succeeded:
      return "SUCCEEDED";
    case Status::failed:
      return "FAILED";
    case Status::timed_out:
      return "TIMED_OUT";
    case Status::aborted:
      return "ABORTED";
  }
  return "";
}

namespace {
constexpr const char* kInputNames[] = {"started",     "task_submitted", "task_succeeded", "task_failed", "task_heartbeat",
                                       "timer_fired", "aborted",        "task_started",   "redriven",    "map_run_updated"};
}

Input Input::about(Kind kind, std::int64_t id, Json value) {
  Input out;
  out.kind = kind;
  out.id = id;
  out.value = std::move(value);
  return out;
}
Input Input::failure(Kind kind, std::int64_t id, std::string error, std::string cause) {
  Input out = about(kind, id);
  out.error = std::move(error);
  out.cause = std::move(cause);
  return out;
}

Json Input::to_json() const {
  Json::Object out;
  out.set("kind", kInputNames[static_cast<int>(kind)])
      .set("at", at.time_since_epoch().count())
      .set("seed", static_cast<std::int64_t>(seed));
  if (id) out.set("id", id);
  if (!value.is_null()) out.set("value", value);
  if (!error.empty()) out.set("error", error);
  if (!cause.empty()) out.set("cause", cause);
  return out;
}

Input Input::from_json(const Json& json) {
  Input out;
  for (int i = 0; i < static_cast<int>(std::size(kInputNames)); ++i)
    if (json["kind"].string_or() == kInputNames[i]) out.kind = static_cast<Kind>(i);
  out.at = Instant(Duration(json["at"].integer_or(0)));
  out.seed = static_cast<std::uint64_t>(json["seed"].integer_or(0));
  out.id = json["id"].integer_or(0);
  out.value = json["value"];
  out.error = json["error"].string_or();
  out.cause = json["cause"].string_or();
  return out;
}

}  // namespace snapward::asl
