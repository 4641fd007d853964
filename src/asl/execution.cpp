#include "asl/execution.hpp"

#include <fmt/format.h>

#include <cassert>
#include <cmath>
#include <deque>
#include <unordered_map>

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
  std::vector<std::int64_t> attempts;  // by retrier
  std::int64_t retries = 0;
  Json item;  // Map iterations: the item

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

  std::shared_ptr<const Machine> machine_;
  ExecutionInfo info_;
  Status status_ = Status::running;
  Instant stopped_;
  std::string output_text_;
  Failure failure_;
  std::int64_t events_ = 0;

  void waiting(const Frame& frame, std::vector<Waiting>& out) const {
    if (frame.task) out.push_back({frame.state->name, "task"});
    if (frame.timer) out.push_back({frame.state->name, frame.retrying ? "retry" : "timer"});
    for (const auto& child : frame.children)
      if (child) waiting(*child, out);
  }
  Frame top_;

 private:
  // ── Inputs ───────────────────────────────────────────────────────────────────────────────────────────────────────────────

  void take(const Input& input) {
    if (input.kind == Input::Kind::started) {
      if (events_ > 0) return;
      emit(
          top_, "ExecutionStarted", "executionStartedEventDetails",
          Json::object({{"input", info_.input_text}, {"inputDetails", Json::object({{"truncated", false}})}, {"roleArn", info_.role_arn}}));
      top_.last_event = 0;  // the first state's predecessor is 0, not the start
      if (machine_->timeout_seconds) execution_timer_ = start_timer(static_cast<double>(*machine_->timeout_seconds) * 1000.0, nullptr);
      go(top_, machine_->graph.start_at, info_.input);
      return;
    }
    if (status_ != Status::running) return;
    if (input.kind == Input::Kind::aborted) return end(Status::aborted, {input.error, input.cause});
    if (input.kind == Input::Kind::timer_fired) return fire(input.id);

    const auto found = tasks_.find(input.id);
    if (found == tasks_.end()) return;
    Frame& frame = *found->second;
    switch (input.kind) {
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

  // Puts the frame before a state; advance() enters it. Frames take turns, so no chain of states grows the stack.
  void go(Frame& frame, const std::string& state, Json input) {
    frame.state = frame.graph->find(state);
    assert(frame.state);  // compile() checked every target
    frame.input = std::move(input);
    ready_.push_back(&frame);
  }

  void advance(Frame& frame) {
    const State& s = *frame.state;
    if (!room_for_history()) return;
    frame.entered = now_;
    frame.retries = 0;
    frame.attempts.assign(s.retry.size(), 0);
    frame.entered_event =
        emit(frame, entered_type(s.type), "stateEnteredEventDetails", Json::object({{"name", s.name}, {"inputValue", frame.input}}));
    if (s.input_path.nothing) {
      frame.data = Json(Json::Object{});
    } else if (s.input_path.path) {
      auto data = s.input_path.path->find(scope(frame, frame.input));
      if (!data) return fail(frame, data.error());
      if (!*data)
        return fail(frame, {errors::kRuntime, fmt::format("Invalid path '{}': No results for path: {}", s.input_path.path->text(),
                                                          s.input_path.path->text())});
      frame.data = **std::move(data);
    } else {
      frame.data = frame.input;
    }
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

  void pass(Frame& frame) {
    Json result = frame.data;
    if (frame.state->parameters) {
      auto rendered = render(frame, *frame.state->parameters, frame.data);
      if (!rendered) return fail(frame, rendered.error());
      result = *std::move(rendered);
    }
    if (frame.state->result) result = *frame.state->result;
    complete(frame, result);
  }

  void choice(Frame& frame) {
    for (const ChoiceRule& rule : frame.state->choices) {
      const auto holds = rule.holds(scope(frame, frame.data));
      if (!holds) return fail(frame, holds.error());
      if (*holds) return leave(frame, frame.data, rule.next, rule.assign ? &*rule.assign : nullptr);
    }
    if (frame.state->default_next.empty())
      return fail(
          frame, {errors::kNoChoiceMatched,
                  fmt::format("Failed to transition out of the state. The state '{}' does not point to a next state.", frame.state->name)});
    leave(frame, frame.data, frame.state->default_next);
  }

  void wait(Frame& frame) {
    const State& s = *frame.state;
    Instant until = now_;
    if (s.seconds) {
      until += Duration(static_cast<std::int64_t>(*s.seconds * 1000));
    } else if (s.timestamp) {
      until = *s.timestamp;
    } else {
      const Expression& path = s.seconds_path ? *s.seconds_path : *s.timestamp_path;
      const auto value = path.find(scope(frame, frame.data));
      if (!value) return fail(frame, value.error());
      const char* field = s.seconds_path ? "SecondsPath" : "TimestampPath";
      const auto bad = [&](const std::string& what) {
        return fail(frame, {errors::kRuntime, fmt::format("The {} parameter {}", field, what)});
      };
      if (!*value) return bad(fmt::format("does not reference an input value: {}", path.text()));
      if (s.seconds_path) {
        const auto seconds = (*value)->as_integer();
        if (!seconds || *seconds < 0 || *seconds > 99'999'999)
          return bad(fmt::format("cannot be parsed as a positive integer: {}", (*value)->dump()));
        until += std::chrono::seconds(*seconds);
      } else {
        const auto at = parse_iso((*value)->string_or());
        if (!at) return bad(fmt::format("cannot be parsed as a timestamp: {}", (*value)->dump()));
        until = *at;
      }
    }
    frame.timer = start_timer(std::max<double>(0, static_cast<double>((until - now_).count())), &frame);
  }

  void fail_state(Frame& frame) {
    const State& s = *frame.state;
    Failure failure{s.error, s.cause};
    for (const auto& [path, target] : {std::pair{&s.error_path, &failure.error}, std::pair{&s.cause_path, &failure.cause}}) {
      if (!*path) continue;
      const auto value = (*path)->find(scope(frame, frame.data));
      if (!value) return fail(frame, value.error());
      if (!*value || !(*value)->is_string())
        return fail(frame, {errors::kRuntime, fmt::format("The path '{}' of a Fail state must name a string", (*path)->text())});
      *target = (*value)->as_string();
    }
    propagate(frame, failure);
  }

  // ── Tasks ────────────────────────────────────────────────────────────────────────────────────────────────────────────────

  void task(Frame& frame) {
    const State& s = *frame.state;
    if (s.resource.pattern == Resource::Pattern::wait_for_token) frame.token = entropy_.hex(64);
    Json parameters = frame.data;
    if (s.parameters) {
      auto rendered = render(frame, *s.parameters, frame.data);
      if (!rendered) return fail(frame, rendered.error());
      parameters = *std::move(rendered);
    }
    std::optional<std::int64_t> timeout = s.timeout_seconds, heartbeat = s.heartbeat_seconds;
    for (const auto& [path, target] : {std::pair{&s.timeout_path, &timeout}, std::pair{&s.heartbeat_path, &heartbeat}}) {
      if (!*path) continue;
      const auto value = (*path)->find(scope(frame, frame.data));
      if (!value) return fail(frame, value.error());
      *target = *value ? (*value)->as_integer() : std::nullopt;
      if (!*target || **target <= 0)
        return fail(frame, {errors::kRuntime, fmt::format("The path '{}' must name a positive integer", (*path)->text())});
    }
    if (too_large(parameters)) return fail(frame, data_limit(frame));
    std::int64_t id = 0;
    if (s.resource.kind == Resource::Kind::lambda) {
      Json::Object details;
      details.set("resource", s.resource.arn).set("inputValue", parameters);
      if (timeout) details.set("timeoutInSeconds", *timeout);
      id = emit(frame, "LambdaFunctionScheduled", "lambdaFunctionScheduledEventDetails", std::move(details));
      emit(frame, "LambdaFunctionStarted", "", {});
    } else {
      Json::Object details;
      details.set("resourceType", s.resource.type)
          .set("resource", s.resource.action)
          .set("region", info_.region)
          .set("parametersValue", parameters);
      if (timeout) details.set("timeoutInSeconds", *timeout);
      if (heartbeat) details.set("heartbeatInSeconds", *heartbeat);
      id = emit(frame, "TaskScheduled", "taskScheduledEventDetails", std::move(details));
      emit(frame, "TaskStarted", "taskStartedEventDetails", named(s.resource, {}));
    }
    frame.task = id;
    tasks_[id] = &frame;
    Command& invoke = command(Command::Kind::invoke_task, id);
    invoke.resource = &s.resource;
    invoke.state = s.name;
    invoke.parameters = std::move(parameters);
    invoke.token = frame.token;
    if (timeout) frame.timeout_timer = start_timer(static_cast<double>(*timeout) * 1000.0, &frame);
    frame.heartbeat_seconds = heartbeat;
    if (heartbeat) frame.heartbeat_timer = start_timer(static_cast<double>(*heartbeat) * 1000.0, &frame);
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
    if (resource.kind == Resource::Kind::lambda)
      emit(frame, "LambdaFunctionSucceeded", "lambdaFunctionSucceededEventDetails", std::move(details));
    else
      emit(frame, "TaskSucceeded", "taskSucceededEventDetails", named(resource, std::move(details)));
    select_and_complete(frame, output);
  }

  void task_failed(Frame& frame, const Failure& failure) {
    stop_waiting(frame);
    const Resource& resource = frame.state->resource;
    if (resource.kind == Resource::Kind::lambda)
      emit(frame, "LambdaFunctionFailed", "lambdaFunctionFailedEventDetails", failure_fields(failure));
    else
      emit(frame, "TaskFailed", "taskFailedEventDetails", named(resource, failure_fields(failure)));
    handle(frame, failure);
  }

  void timed_out(Frame& frame, const Failure& failure) {
    const std::int64_t task = frame.task;
    stop_waiting(frame);
    command(Command::Kind::cancel_task, task);
    const Resource& resource = frame.state->resource;
    if (resource.kind == Resource::Kind::lambda)
      emit(frame, "LambdaFunctionTimedOut", "lambdaFunctionTimedOutEventDetails", failure_fields(failure));
    else
      emit(frame, "TaskTimedOut", "taskTimedOutEventDetails", named(resource, failure_fields(failure)));
    handle(frame, failure);
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
    emit(frame, "ParallelStateStarted", "", {});
    begin_children(frame, s.branches.size());
    for (std::size_t i = 0; i < s.branches.size(); ++i) go(child(frame, i, *s.branches[i]), s.branches[i]->start_at, input);
    frame.next_item = s.branches.size();
  }

  void map(Frame& frame) {
    const State& s = *frame.state;
    Json items = frame.data;
    if (s.items_path) {
      auto found = s.items_path->find(scope(frame, frame.data));
      if (!found) return fail(frame, found.error());
      if (!*found)
        return fail(frame, {errors::kRuntime,
                            fmt::format("Invalid path '{}': No results for path: {}", s.items_path->text(), s.items_path->text())});
      items = **std::move(found);
    }
    if (!items.is_array())
      return fail(frame,
                  {errors::kRuntime, fmt::format("Reference path \"{}\" must point to array.", s.items_path ? s.items_path->text() : "$")});
    frame.concurrency = s.max_concurrency;
    if (s.max_concurrency_path) {
      const auto value = s.max_concurrency_path->find(scope(frame, frame.data));
      if (!value) return fail(frame, value.error());
      const auto limit = *value ? (*value)->as_integer() : std::nullopt;
      if (!limit || *limit < 0)
        return fail(frame,
                    {errors::kRuntime, fmt::format("The path '{}' must name an integer of at least 0", s.max_concurrency_path->text())});
      frame.concurrency = *limit;
    }
    frame.items = items.as_array();
    emit(frame, "MapStateStarted", "mapStateStartedEventDetails", Json::object({{"length", frame.items.size()}}));
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
    const State& s = *frame.state;
    while (frame.next_item < frame.items.size() &&
           (frame.concurrency == 0 || static_cast<std::int64_t>(frame.next_item - frame.finished) < frame.concurrency)) {
      const std::size_t i = frame.next_item++;
      Frame& c = child(frame, i, *s.branches[0]);
      c.item = Json::object({{"Index", i}, {"Value", frame.items[i]}});
      Json input = frame.items[i];
      if (s.parameters) {
        auto rendered = render(c, *s.parameters, frame.data);
        if (!rendered) return fail(frame, rendered.error());
        input = *std::move(rendered);
      }
      iteration(c, "MapIterationStarted", "mapIterationStartedEventDetails");
      go(c, s.branches[0]->start_at, std::move(input));
    }
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

  void child_failed(Frame& c, const Failure& failure) {
    Frame& parent = *c.parent;
    const State& s = *parent.state;
    if (s.type == StateType::map) {
      iteration(c, "MapIterationFailed", "mapIterationFailedEventDetails");
      ++parent.failed;
      const double percentage = 100.0 * static_cast<double>(parent.failed) / static_cast<double>(parent.items.size());
      const bool tolerated = (s.tolerated_failure_count > 0 && static_cast<std::int64_t>(parent.failed) <= s.tolerated_failure_count) ||
                             (s.tolerated_failure_percentage > 0 && percentage <= s.tolerated_failure_percentage);
      if (tolerated) {
        parent.results[c.index] = Json(failure_fields(failure));
        return child_finished(c);
      }
    }
    parent.last_event = c.last_event;
    drop_children(parent, &c);
    emit(parent, s.type == StateType::map ? "MapStateFailed" : "ParallelStateFailed",
         s.type == StateType::map ? "mapStateFailedEventDetails" : "parallelStateFailedEventDetails", failure_fields(failure));
    handle(parent, failure);
  }

  // Ends every child that still runs: its tasks and timers are cancelled.
  void drop_children(Frame& parent, const Frame* but) {
    for (auto& c : parent.children) {
      if (!c) continue;
      if (c.get() != but) {
        if (parent.state->type == StateType::map) {
          iteration(*c, "MapIterationAborted", "mapIterationAbortedEventDetails");
          parent.last_event = c->last_event;
        }
        abandon(*c);
      }
      std::replace(ready_.begin(), ready_.end(), c.get(), static_cast<Frame*>(nullptr));
      discarded_.push_back(std::move(c));
    }
    parent.children.clear();
    parent.items.clear();
    parent.results.clear();
  }

  void abandon(Frame& frame) {
    const std::int64_t task = frame.task;
    stop_waiting(frame);
    if (task) command(Command::Kind::cancel_task, task);
    for (auto& c : frame.children)
      if (c) {
        abandon(*c);
        std::replace(ready_.begin(), ready_.end(), c.get(), static_cast<Frame*>(nullptr));
      }
  }

  // ── Leaving a state ──────────────────────────────────────────────────────────────────────────────────────────────────────

  void select_and_complete(Frame& frame, Json result) {
    if (frame.state->result_selector) {
      auto selected = render(frame, *frame.state->result_selector, result);
      if (!selected) return fail(frame, selected.error());
      result = *std::move(selected);
    }
    complete(frame, result);
  }

  // ResultPath, then leave.
  void complete(Frame& frame, const Json& result) {
    const State& s = *frame.state;
    if (s.discard_result) return leave(frame, frame.input, {}, nullptr, &result);
    if (!s.result_path) return leave(frame, result, {}, nullptr, &result);
    auto output = s.result_path->assign(frame.input, result);
    if (!output)
      return fail(frame, {errors::kResultPathMatchFailure,
                          fmt::format("Unable to apply ReferencePath {} to input {}", s.result_path->text(), frame.input.dump())});
    leave(frame, *std::move(output), {}, nullptr, &result);
  }

  // Assign, OutputPath, the exit event and the way on. `result` is what Assign may look at ($): the state's result, else its data.
  void leave(Frame& frame, Json output, const std::string& next = {}, const Template* rule_assign = nullptr, const Json* result = nullptr) {
    const State& s = *frame.state;
    const Template* assign = rule_assign ? rule_assign : (s.assign ? &*s.assign : nullptr);
    if (assign && !assign_variables(frame, *assign, result ? *result : frame.data)) return;
    if (s.output_path.nothing) {
      output = Json(Json::Object{});
    } else if (s.output_path.path) {
      auto selected = s.output_path.path->find(scope(frame, output));
      if (!selected) return fail(frame, selected.error());
      if (!*selected)
        return fail(frame, {errors::kRuntime, fmt::format("Invalid path '{}': No results for path: {}", s.output_path.path->text(),
                                                          s.output_path.path->text())});
      output = **std::move(selected);
    }
    exit_to(frame, std::move(output), next.empty() ? s.next : next);
  }

  void exit_to(Frame& frame, Json output, const std::string& next) {
    if (too_large(output)) return fail(frame, data_limit(frame));
    emit(frame, exited_type(frame.state->type), "stateExitedEventDetails",
         Json::object({{"name", frame.state->name}, {"outputValue", output}}));
    if (!next.empty()) return go(frame, next, std::move(output));
    if (frame.parent) return child_succeeded(frame, std::move(output));
    status_ = Status::succeeded;
    stopped_ = now_;
    output_text_ = text_of(output);
    emit(frame, "ExecutionSucceeded", "executionSucceededEventDetails", Json::object({{"outputValue", output}}));
    finish();
  }

  bool assign_variables(Frame& frame, const Template& assign, const Json& data) {
    auto values = render(frame, assign, data);
    if (!values) return fail(frame, values.error()), false;
    if (values->is_object())
      for (const auto& [name, value] : values->as_object()) frame.variables.insert_or_assign(name, value);
    return true;
  }

  // ── Failing ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

  // The state itself failed (a path, an intrinsic, a limit): worded as Step Functions words it, then handled.
  void fail(Frame& frame, Failure failure) {
    failure.cause = fmt::format("An error occurred while executing the state '{}' (entered at the event id #{}). {}", frame.state->name,
                                frame.entered_event, failure.cause);
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
      if (r.full_jitter) delay *= entropy_.unit();
      ++frame.retries;
      frame.retrying = true;
      frame.timer = start_timer(delay * 1000.0, &frame);
      return;
    }
    for (const Catcher& c : s.catches) {
      if (!matches(c.errors, failure.error, s.type)) continue;
      const Json error = Json::object({{"Error", failure.error}, {"Cause", failure.cause}});
      if (c.assign && !assign_variables(frame, *c.assign, error)) return;
      if (c.discard_result) return exit_to(frame, frame.input, c.next);
      if (!c.result_path) return exit_to(frame, error, c.next);
      auto output = c.result_path->assign(frame.input, error);
      if (!output)
        return propagate(frame, {errors::kResultPathMatchFailure,
                                 fmt::format("Unable to apply ReferencePath {} to input {}", c.result_path->text(), frame.input.dump())});
      return exit_to(frame, *std::move(output), c.next);
    }
    propagate(frame, failure);
  }

  void propagate(Frame& frame, const Failure& failure) {
    if (frame.parent) return child_failed(frame, failure);
    end(Status::failed, failure);
  }

  void end(Status status, const Failure& failure) {
    const std::int64_t task = top_.task;
    stop_waiting(top_);
    if (task) command(Command::Kind::cancel_task, task);
    for (auto& c : top_.children)
      if (c) abandon(*c);
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
    finish();
  }

  void finish() {
    if (execution_timer_) cancel_timer(execution_timer_);
    command(Command::Kind::finish, 0);
  }

  // ── Small things ─────────────────────────────────────────────────────────────────────────────────────────────────────────

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
  bool too_large(const Json& value) { return text_of(value).size() > kMaxPayloadBytes; }
  static Failure data_limit(const Frame& frame) {
    const std::string who = frame.state->type == StateType::task ? frame.state->resource.arn : frame.state->name;
    return {errors::kDataLimitExceeded,
            fmt::format("The state/task '{}' returned a result with a size exceeding the maximum number of bytes service limit.", who)};
  }

  Json context(const Frame& frame) const {
    Json::Object out;
    out.set("Execution", Json::object({{"Id", info_.arn},
                                       {"Input", info_.input},
                                       {"Name", info_.name},
                                       {"RoleArn", info_.role_arn},
                                       {"StartTime", iso_millis(info_.started)},
                                       {"RedriveCount", 0}}));
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
    return out;
  }

  Scope scope(const Frame& frame, const Json& data) {
    context_of_ = [this, &frame] { return context(frame); };
    return {data, context_of_, frame.variables, entropy_};
  }
  Outcome<Json> render(const Frame& frame, const Template& t, const Json& data) { return t.render(scope(frame, data)); }

  Step* out_ = nullptr;
  Instant now_;
  SeededEntropy entropy_{0};
  std::function<Json()> context_of_;
  std::deque<Frame*> ready_;
  std::vector<std::unique_ptr<Frame>> discarded_;  // kept to the end of the step: callers up the stack may still look at them
  std::unordered_map<std::int64_t, Frame*> tasks_, timers_;
  std::int64_t timer_ids_ = 0;
  std::int64_t execution_timer_ = 0;
  Json text_value_;
  std::string text_;
};

Execution::Execution(std::shared_ptr<const Machine> machine, ExecutionInfo info)
    : impl_(std::make_unique<Interpreter>(std::move(machine), std::move(info))) {}
Execution::~Execution() = default;
Execution::Execution(Execution&&) noexcept = default;
Execution& Execution::operator=(Execution&&) noexcept = default;
Step Execution::step(const Input& input) { return impl_->step(input); }
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
constexpr const char* kInputNames[] = {"started",        "task_submitted", "task_succeeded", "task_failed",
                                       "task_heartbeat", "timer_fired",    "aborted"};
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
  if (kind == Kind::task_succeeded || kind == Kind::task_submitted) out.set("value", value);
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
