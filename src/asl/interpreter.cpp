#include "asl/interpreter.hpp"

#include <fmt/format.h>

#include <cassert>
#include <cmath>

#include "base/text.hpp"

namespace snapward::asl {

namespace {

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

bool matches(const std::vector<std::string>& names, const Failure& failure, StateType type) {
  const std::string& error = failure.error;
  for (const std::string& name : names) {
    if (name == error) return true;
    if (name == errors::kAll && error != errors::kRuntime) return true;
    if (name == errors::kTaskFailed && type == StateType::task && error != errors::kTimeout && error != errors::kRuntime &&
        error != errors::kDataLimitExceeded)
      return true;
    if (name == errors::kHeartbeatTimeout && failure.heartbeat) return true;
  }
  return false;
}

}  // namespace

Step Execution::Interpreter::step(const Input& input) {
  Step out;
  out_ = &out;
  now_ = input.at;
  entropy_ = SeededEntropy(input.seed);
  take(input);
  for (std::int64_t entered = 0; !ready_.empty();) {
    if (input.budget > 0 && entered == input.budget) {
      out.more = true;
      break;
    }
    Frame* frame = ready_.front();
    ready_.pop_front();
    if (!frame) continue;
    advance(*frame);
    ++entered;
  }
  discarded_.clear();
  out_ = nullptr;
  return out;
}

void Execution::Interpreter::waiting(const Frame& frame, std::vector<Waiting>& out) const {
  if (frame.task) out.push_back({frame.state->name, "task"});
  if (frame.timer) out.push_back({frame.state->name, frame.retrying ? "retry" : "timer"});
  for (std::size_t i = 0; i < frame.running_items.size(); ++i) out.push_back({frame.state->name, "child execution"});
  for (const auto& child : frame.children)
    if (child) waiting(*child, out);
}

// ── Inputs ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

void Execution::Interpreter::take(const Input& input) {
  if (input.kind == Input::Kind::started) {
    if (events_ > 0) return;
    // As it was given: mostly the text that its value has, too.
    Json::Object details = info_.input.dump() == info_.input_text
                               ? Json::Object{{"inputValue", info_.input}}
                               : Json::Object{{"input", info_.input_text}, {"inputDetails", Json::object({{"truncated", false}})}};
    details.set("roleArn", info_.role_arn);
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
  if (input.kind == Input::Kind::resumed) return;  // what is ready goes on

  const auto found = tasks_.find(input.id);
  if (found == tasks_.end()) return;
  Frame& frame = *found->second;
  if (input.id < 0) return internal_answer(frame, input);
  switch (input.kind) {
    case Input::Kind::task_started:
      emit(
          frame, "ActivityStarted", "activityStartedEventDetails",
          input.value.is_string() && !input.value.as_string().empty() ? Json::object({{"workerName", input.value}}) : Json(Json::Object{}));
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

void Execution::Interpreter::redrive(const Json& from) {
  if (events_ > 0) return;
  events_ = from["events"].integer_or(0);
  timer_ids_ = from["timers"].integer_or(0);
  redrive_count_ = from["redriveCount"].integer_or(1);
  redrive_time_ = now_;
  top_.last_event = events_;
  emit(top_, "ExecutionRedriven", "executionRedrivenEventDetails", Json::object({{"redriveCount", redrive_count_}}));
  if (machine_->timeout_seconds) execution_timer_ = start_timer(static_cast<double>(*machine_->timeout_seconds) * 1000.0, nullptr);
  if (from["state"].is_null()) return go(top_, machine_->graph.start_at, info_.input);  // stopped before its first state
  resume_at(top_, from);
  ready_.push_front(&top_);
}

Json Execution::Interpreter::point(const Frame& frame) {
  Json::Object variables;
  for (const auto& [name, value] : frame.variables) variables.set(name, value);
  Json::Object out{{"state", frame.state ? Json(frame.state->name) : Json()}, {"input", frame.input}, {"variables", std::move(variables)}};
  if (Json parts = inside(frame); !parts.is_null()) out.set("inside", std::move(parts));
  return Json(std::move(out));
}

Json Execution::Interpreter::inside(const Frame& frame) {
  if (!frame.map_run.empty()) return run_point(frame);
  if (frame.children.empty()) return frame.left;
  Json::Array parts;
  parts.reserve(frame.children.size());
  for (std::size_t i = 0; i < frame.children.size(); ++i) {
    const Frame* part = frame.children[i].get();
    if (part)
      parts.push_back(part->starting ? Json() : Json::object({{"at", point(*part)}}));
    else
      parts.push_back(i < frame.next_item ? Json::object({{"result", frame.results[i]}}) : Json());
  }
  return Json(std::move(parts));
}

void Execution::Interpreter::resume_at(Frame& frame, const Json& point) {
  if (point["variables"].is_object())
    for (const auto& [name, value] : point["variables"].as_object()) frame.variables.insert_or_assign(name, value);
  place(frame, std::string(point["state"].string_or()), point["input"]);
  frame.resume = point["inside"];
}

void Execution::Interpreter::fire(std::int64_t id) {
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
    timed_out(frame, {.error = errors::kTimeout, .cause = "", .heartbeat = heartbeat});
    return;
  }
  frame.timer = 0;
  if (std::exchange(frame.retrying, false)) return perform(frame);
  leave(frame, frame.data);
}

// ── Moving through states ──────────────────────────────────────────────────────────────────────────────────────────────────────

void Execution::Interpreter::go(Frame& frame, const std::string& state, Json input) {
  place(frame, state, std::move(input));
  ready_.push_front(&frame);
}

void Execution::Interpreter::place(Frame& frame, const std::string& state, Json input) {
  frame.state = frame.graph->find(state);
  frame.left = frame.resume = Json();
  assert(frame.state);  // compile() checked every target
  frame.input = std::move(input);
}

void Execution::Interpreter::advance(Frame& frame) {
  const State& s = *frame.state;
  if (!room_for_history()) return;
  if (std::exchange(frame.starting, false)) emit(frame, "MapIterationStarted", "mapIterationStartedEventDetails", iteration(frame));
  frame.entered = now_;
  frame.retries = 0;
  frame.attempts.assign(s.retry.size(), 0);
  if (probe_)
    for (std::size_t i = 0; i < std::min(frame.attempts.size(), probe_->attempts.size()); ++i)
      frame.retries += frame.attempts[i] = probe_->attempts[i];
  frame.result.reset();
  frame.error_output = Json();
  frame.before_entered = frame.last_event;
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
  if (s.language == Language::jsonpath) show("afterInputPath", frame.data);
  perform(frame);
}

void Execution::Interpreter::perform(Frame& frame) {
  const State& s = *frame.state;
  frame.left = Json();
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

Failure Execution::Interpreter::no_such_path(const Frame& frame, const Expression& path, const Json& data) {
  const Json context = path.is_context() ? this->context(frame) : Json();
  return {errors::kRuntime,
          fmt::format("Invalid path '{}' : {}", path.text(), path.path().why_missing(path.is_context() ? context : data))};
}

// ── Leaving a state ────────────────────────────────────────────────────────────────────────────────────────────────────────────

void Execution::Interpreter::select_and_complete(Frame& frame, Json result) {
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

void Execution::Interpreter::complete(Frame& frame, const Json& result) {
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

void Execution::Interpreter::leave(Frame& frame, Json output, const std::string& next, const ChoiceRule* rule) {
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
  if (s.output_path.nothing) {
    output = Json(Json::Object{});
  } else if (s.output_path.path) {
    auto selected = s.output_path.path->find(scope(frame, output));
    if (!selected) return fail(frame, selected.error());
    if (!*selected) return fail(frame, no_such_path(frame, *s.output_path.path, output));
    output = **std::move(selected);
  }
  set_variables(frame, assigned);
  exit_to(frame, std::move(output), next.empty() ? s.next : next);
}

void Execution::Interpreter::exit_to(Frame& frame, Json output, const std::string& next) {
  if (too_large(output)) return handle(frame, data_limit(frame));
  Json::Object details{{"name", frame.state->name}, {"outputValue", output}};
  if (const Json assigned = std::exchange(frame.assigned, Json()); assigned.is_object() && assigned.as_object().size() > 0) {
    Json::Object shown;
    for (const auto& [name, value] : assigned.as_object()) shown.set(name, value.dump());
    details.set("assignedVariables", std::move(shown));
    details.set("assignedVariablesDetails", Json::object({{"truncated", false}}));
  }
  emit(frame, exited_type(frame.state->type), "stateExitedEventDetails", std::move(details));
  if (probe_) probe_->next = next, probe_->output = output;
  if (!next.empty() && !probe_) return go(frame, next, std::move(output));
  if (frame.parent) return child_succeeded(frame, std::move(output));
  status_ = Status::succeeded;
  stopped_ = now_;
  output_text_ = output.dump();
  emit(frame, "ExecutionSucceeded", "executionSucceededEventDetails", Json::object({{"outputValue", output}}));
  finish();
}

void Execution::Interpreter::set_variables(Frame& frame, const Json& values) {
  if (!values.is_object()) return;
  for (const auto& [name, value] : values.as_object()) frame.variables.insert_or_assign(name, value);
  frame.assigned = values;
  if (probe_) show("variables", Json(values.dump()));
}

// ── Failing ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

Failure Execution::Interpreter::worded(Frame& frame, Failure failure) {
  if (probe_) return failure;  // TestState says only what went wrong (recorded by AWS, 2025)
  failure.cause = fmt::format("An error occurred while executing the state '{}' (entered at the event id #{}). {}", frame.state->name,
                              frame.entered_event, failure.cause);
  // What is evaluated on entering a state fails before the state has been entered, by what AWS recorded; but for a Wait.
  if (!failure.location.empty() && frame.last_event == frame.entered_event && frame.state->type != StateType::wait)
    frame.last_event = frame.before_entered;
  if (!failure.location.empty())
    emit(frame, "EvaluationFailed", "evaluationFailedEventDetails",
         Json::object({{"error", failure.error}, {"cause", failure.cause}, {"location", failure.location}, {"state", frame.state->name}}));
  return failure;
}

void Execution::Interpreter::handle(Frame& frame, const Failure& failure) {
  const State& s = *frame.state;
  for (std::size_t i = 0; i < s.retry.size(); ++i) {
    const Retrier& r = s.retry[i];
    if (!matches(r.errors, failure, s.type)) continue;
    if (frame.attempts[i] >= r.max_attempts) {
      if (probe_) probe_->error_details.set("retryIndex", i);
      break;
    }
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
  tell_failed(frame, failure);
  for (std::size_t i = 0; i < s.catches.size(); ++i) {
    const Catcher& c = s.catches[i];
    if (!matches(c.errors, failure, s.type)) continue;
    // What a task's worker left out is null.
    const bool nameless = failure.error.empty() && failure.cause.empty();
    const Json error = nameless ? Json::object({{"Error", Json()}, {"Cause", Json()}})
                                : Json::object({{"Error", failure.error}, {"Cause", failure.cause}});
    frame.error_output = error;
    frame.result.reset();
    if (probe_) {
      probe_->handled = Probe::Handled::caught;
      probe_->failure = failure;
      probe_->error_details.set("catchIndex", i);
    }
    const auto give_up = [&](const Failure& why) { propagate(frame, worded(frame, why)); };
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

// A Map or Parallel that is not tried again says that it has failed; not of States.Runtime, with which the execution ends (recorded at
// AWS).
void Execution::Interpreter::tell_failed(Frame& frame, const Failure& failure) {
  const StateType type = frame.state->type;
  if ((type != StateType::map && type != StateType::parallel) || failure.error == errors::kRuntime) return;
  emit(frame, type == StateType::map ? "MapStateFailed" : "ParallelStateFailed", "", {});
}

void Execution::Interpreter::propagate(Frame& frame, const Failure& failure) {
  if (frame.parent) return child_failed(frame, failure);
  end(Status::failed, failure);
}

void Execution::Interpreter::end(Status status, const Failure& failure) {
  Json::Object from = point(top_).as_object();
  abandon(top_, false);
  for (auto& c : top_.children) discarded_.push_back(std::move(c));
  top_.children.clear();
  ready_.clear();
  status_ = status;
  stopped_ = now_;
  failure_ = failure;
  if (status == Status::timed_out) {
    emit(top_, "ExecutionTimedOut", "executionTimedOutEventDetails", Json::object({{"error", errors::kTimeout}}));
  } else if (status == Status::aborted) {
    top_.last_event = 0;  // as AWS records it: it follows from no event of the execution
    emit(top_, "ExecutionAborted", "executionAbortedEventDetails", failure_fields(failure));
  } else {
    emit(top_, "ExecutionFailed", "executionFailedEventDetails", failure_fields(failure));
  }
  from.set("events", events_).set("timers", timer_ids_);
  failure_point_ = Json(std::move(from));
  finish();
}

void Execution::Interpreter::finish() {
  if (execution_timer_) cancel_timer(execution_timer_);
  command(Command::Kind::finish, 0);
}

// ── Small things ───────────────────────────────────────────────────────────────────────────────────────────────────────────────

void Execution::Interpreter::show(const char* what, const Json& value) {
  if (probe_) probe_->data.set(what, value);
}

std::int64_t Execution::Interpreter::emit(Frame& frame, const char* type, const char* details, Json body) {
  const std::int64_t id = ++events_;
  out_->history.push_back({.id = id, .previous = frame.last_event, .at = now_, .type = type, .details = details, .body = std::move(body)});
  frame.last_event = id;
  return id;
}

std::int64_t Execution::Interpreter::emit_aside(Frame& frame, const char* type, const char* details, Json body) {
  const std::int64_t before = frame.last_event;
  const std::int64_t id = emit(frame, type, details, std::move(body));
  frame.last_event = before;
  return id;
}

Command& Execution::Interpreter::command(Command::Kind kind, std::int64_t id) {
  Command& c = out_->commands.emplace_back();
  c.kind = kind;
  c.id = id;
  return c;
}

bool Execution::Interpreter::room_for_history() {
  if (events_ + 1 < kMaxHistoryEvents) return true;
  end(Status::failed, {errors::kRuntime, "The execution reached the maximum number of history events (25000)."});
  return false;
}

std::int64_t Execution::Interpreter::start_timer(double millis, Frame* frame) {
  const std::int64_t id = ++timer_ids_;
  if (frame) timers_[id] = frame;
  command(Command::Kind::start_timer, id).deadline = now_ + Duration(static_cast<std::int64_t>(std::llround(millis)));
  return id;
}

void Execution::Interpreter::cancel_timer(std::int64_t& id) {
  if (!id) return;
  timers_.erase(id);
  command(Command::Kind::cancel_timer, id);
  id = 0;
}

void Execution::Interpreter::stop_waiting(Frame& frame) {
  tasks_.erase(std::exchange(frame.task, 0));
  cancel_timer(frame.timer);
  cancel_timer(frame.timeout_timer);
  cancel_timer(frame.heartbeat_timer);
  frame.retrying = false;
}

Failure Execution::Interpreter::data_limit(const Frame& frame) {
  const std::string who = frame.state->type == StateType::task ? frame.state->resource.arn : frame.state->name;
  return {errors::kDataLimitExceeded,
          fmt::format("The state/task '{}' returned a result with a size exceeding the maximum number of bytes service limit.", who)};
}

std::string Execution::Interpreter::account() const {
  const std::vector<std::string> parts = split(info_.machine_arn, ':');
  return parts.size() > 4 ? parts[4] : "";
}

Json Execution::Interpreter::context(const Frame& frame) const {
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
  if (frame.state) {
    Json::Object state{{"EnteredTime", iso_millis(frame.entered)}, {"Name", frame.state->name}};
    const StateType type = frame.state->type;  // the count is there for what can be retried
    if (type == StateType::task || type == StateType::parallel || type == StateType::map) state.set("RetryCount", frame.retries);
    out.set("State", std::move(state));
  }
  out.set("StateMachine", Json::object({{"Id", info_.machine_arn}, {"Name", info_.machine_name}}));
  if (!frame.token.empty()) out.set("Task", Json::object({{"Token", frame.token}}));
  if (info_.context_extra.is_object()) {  // TestState: just what its caller gave, and the token
    Json::Object given = info_.context_extra.as_object();
    if (!given.find("Map") && out.find("Map")) given.set("Map", *out.find("Map"));
    return Json(std::move(given));
  }
  return out;
}

Scope Execution::Interpreter::scope(const Frame& frame, const Json& data) {
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
  return {data, context_of_, frame.variables, entropy_, now_, &states_of_, interrupted_};
}

}  // namespace snapward::asl
