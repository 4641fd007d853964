#include <fmt/format.h>

#include <algorithm>

#include "asl/interpreter.hpp"

namespace snapward::asl {

void Execution::Interpreter::pass(Frame& frame) {
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

void Execution::Interpreter::choice(Frame& frame) {
  for (const ChoiceRule& rule : frame.state->choices) {
    const auto holds = rule.holds(scope(frame, frame.data));
    if (!holds) return fail(frame, holds.error());
    if (*holds) return leave(frame, frame.data, rule.next, &rule);
  }
  if (frame.state->default_next.empty())
    return fail(frame,
                {errors::kNoChoiceMatched,
                 fmt::format("Failed to transition out of the state. The state '{}' does not point to a next state.", frame.state->name)});
  leave(frame, frame.data, frame.state->default_next);
}

// ── Single values ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

Failure Execution::Interpreter::wrong_type(const Template& t, const char* expected, const Json& value) {
  return {
      errors::kQueryEvaluationError,
      fmt::format(
          "The JSONata expression '{}' specified for the field '{}' returned an unexpected result type. Expected '{}', but was '{}' for "
          "value: {}",
          t.text(), t.field(), expected, type_name(value), value.dump()),
      t.field()};
}

Outcome<double> Execution::Interpreter::number(Frame& frame, const Template& t, bool whole) {
  auto value = t.find(scope(frame, frame.data));
  if (!value) return std::unexpected(value.error());
  if (!*value)
    return std::unexpected(
        Failure{errors::kRuntime, fmt::format("The {} parameter does not reference an input value: {}", t.field(), t.text())});
  const Json& json = **value;
  if (json.is_number() && (!whole || json.as_integer())) return json.as_double();
  if (t.path() && json.is_string())  // a path may lead to a number in a text (recorded at AWS)
    if (const auto written = Json::parse(json.as_string()); written && written->is_number() && (!whole || written->as_integer()))
      return written->as_double();
  if (t.is_jsonata()) return std::unexpected(wrong_type(t, whole ? "integer" : "number", json));
  return std::unexpected(Failure{errors::kRuntime, fmt::format("The {} field refers to value \"{}\" which is not a valid {}: {}", t.field(),
                                                               json.plain(), whole ? "integer" : "float", t.text())});
}

Outcome<std::optional<std::int64_t>> Execution::Interpreter::seconds(Frame& frame, const std::optional<Template>& t, std::int64_t least) {
  if (!t) return std::nullopt;
  if (t->path())
    if (const auto found = t->find(scope(frame, frame.data)); found && !*found)
      return std::unexpected(no_such_path(frame, *t->path(), frame.data));
  const auto n = number(frame, *t, true);
  if (!n) return std::unexpected(n.error());
  if (*n < static_cast<double>(least) || *n > 99'999'999)
    return std::unexpected(
        Failure{t->is_jsonata() ? errors::kQueryEvaluationError : errors::kRuntime,
                fmt::format("The {} parameter must be an integer from {} to 99999999, but was {}", t->field(), least, *n),
                t->is_jsonata() ? t->field() : ""});
  return static_cast<std::int64_t>(*n);
}

void Execution::Interpreter::wait(Frame& frame) {
  const State& s = *frame.state;
  Instant until = now_;
  if (s.seconds && !s.seconds->is_jsonata()) {
    const auto value = s.seconds->find(scope(frame, frame.data));
    if (!value) return fail(frame, value.error());
    const auto refuse = [&](std::string_view why) {
      const std::string given = !*value ? "" : " == " + (*value)->plain();
      fail(frame, {errors::kRuntime, fmt::format("The {} parameter {}: {}{}", s.seconds->field(), why, s.seconds->text(), given)});
    };
    if (!*value) return refuse("does not reference an input value");
    const auto span = (*value)->as_integer();
    if (!span) return refuse("cannot be parsed as a long value");
    if (*span < 0) return refuse("references a negative value");
    until += std::chrono::seconds(std::min<std::int64_t>(*span, 0x80000000));
  } else if (s.seconds) {
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
      if (jsonata)
        return fail(frame, {errors::kQueryEvaluationError,
                            fmt::format("The {} field cannot be parsed as an ISO-8601 extended offset date-time format string: {}",
                                        s.timestamp->field(), (*value)->plain()),
                            s.timestamp->field()});
      return fail(frame,
                  {errors::kRuntime,
                   fmt::format("The {} parameter does not reference a valid ISO-8601 extended offset date-time format string: {} == {}",
                               s.timestamp->field(), s.timestamp->text(), (*value)->plain())});
    }
    until = *at;
  }
  if (until - now_ > std::chrono::seconds(0x7fffffff)) return fail(frame, {errors::kRuntime, "Wait state delay is too long."});
  if (probe_) return leave(frame, frame.data);  // TestState does not wait
  frame.timer = start_timer(std::max<double>(0, static_cast<double>((until - now_).count())), &frame);
}

void Execution::Interpreter::fail_state(Frame& frame) {
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

// ── Tasks ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

void Execution::Interpreter::task(Frame& frame) {
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
  if (too_large(parameters)) return handle(frame, data_limit(frame));
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

Json Execution::Interpreter::named(const Resource& resource, const Json::Object& rest) {
  Json::Object out;
  out.set("resourceType", resource.type).set("resource", resource.action);
  for (const auto& [key, value] : rest) out.set(key, value);
  return out;
}

Json::Object Execution::Interpreter::failure_fields(const Failure& failure) {
  Json::Object out;
  if (!failure.error.empty()) out.set("error", failure.error);
  if (!failure.cause.empty()) out.set("cause", failure.cause);
  return out;
}

void Execution::Interpreter::submitted(Frame& frame, const Json& output) {
  emit(frame, "TaskSubmitted", "taskSubmittedEventDetails", named(frame.state->resource, {{"outputValue", output}}));
}

void Execution::Interpreter::succeeded(Frame& frame, const Json& output) {
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

void Execution::Interpreter::task_ended(Frame& frame, const char* how, const Failure& failure) {
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

void Execution::Interpreter::task_failed(Frame& frame, const Failure& failure) {
  stop_waiting(frame);
  task_ended(frame, "Failed", failure);
}

void Execution::Interpreter::timed_out(Frame& frame, const Failure& failure) {
  const std::int64_t task = frame.task;
  stop_waiting(frame);
  command(Command::Kind::cancel_task, task);
  task_ended(frame, "TimedOut", failure);
}

}  // namespace snapward::asl
