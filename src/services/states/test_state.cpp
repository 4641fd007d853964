// TestState: one state, run alone, with its call made or mocked. Source: Step Functions API Reference, "TestState".
#include <fmt/format.h>

#include "base/arn.hpp"
#include "base/written.hpp"
#include "engine/integrations.hpp"
#include "services/states/states.hpp"

namespace snapward::services::states {

namespace {

// The definition of the state a name means: in a whole machine, nested ones too.
const Json* find_definition(const Json& machine, std::string_view name);

// The same among the states that a Parallel or Map holds.
const Json* find_inside(const Json& state, std::string_view name) {
  for (const Json& branch : state["Branches"].items())
    if (const Json* found = find_definition(branch, name)) return found;
  for (const char* processor : {"ItemProcessor", "Iterator"})
    if (const Json* inner = state.find(processor))
      if (const Json* found = find_definition(*inner, name)) return found;
  return nullptr;
}

const Json* find_definition(const Json& machine, std::string_view name) {
  const Json& states = machine["States"];
  if (!states.is_object()) return nullptr;
  if (const Json* found = states.find(name)) return found;
  for (const auto& [key, state] : states.as_object())
    if (const Json* found = find_inside(state, name)) return found;
  return nullptr;
}

// What stateConfiguration says of a mocked error: which state inside threw it, how many of a Map's iterations failed.
std::expected<void, cloud::Error> check_configuration(const Json& in, const Json& definition, const asl::State& state) {
  const Json& configuration = in["stateConfiguration"];
  const bool map = state.type == asl::StateType::map, composite = map || state.type == asl::StateType::parallel;
  const bool fails = in["mock"].find("errorOutput") != nullptr;
  if (const Json* name = configuration.find("errorCausedByState")) {
    if (!composite) return bad_input("errorCausedByState can be specified only for Map and Parallel states.");
    if (!fails) return bad_input("errorCausedByState can be specified only when an errorOutput is mocked.");
    if (!find_inside(definition, name->string_or()))
      return bad_input(fmt::format("errorCausedByState '{}' is not a state inside of the tested state.", name->string_or()));
  }
  if (const Json* count = configuration.find("mapIterationFailureCount")) {
    if (!map) return bad_input("mapIterationFailureCount can be specified only for Map states.");
    if (count->integer_or(-1) < 0) return bad_input("mapIterationFailureCount must be 0 or more.");
  }
  return {};
}

// A Map that tolerates failures, or is distributed, fails for their number rather than as one of them did.
asl::Failure mocked_failure(const Json& in, const asl::State& state, const asl::Probe& probe) {
  const Json& error = in["mock"]["errorOutput"];
  const asl::Failure given{std::string(error["error"].string_or()), std::string(error["cause"].string_or())};
  const Json* failed = in["stateConfiguration"].find("mapIterationFailureCount");
  if (state.type != asl::StateType::map || !failed) return given;
  const Json* count = probe.data.find("toleratedFailureCount");
  const Json* percentage = probe.data.find("toleratedFailurePercentage");
  const Json* items = probe.data.find("afterItemsPath");
  const double total = items && items->is_array() ? static_cast<double>(items->as_array().size()) : 0;
  const auto n = static_cast<double>(failed->integer_or(0));
  const bool too_many = (count && n > count->as_double()) || (percentage && total > 0 && n * 100 > percentage->as_double() * total);
  if (!too_many) return given;
  return {asl::errors::kExceedToleratedFailureThreshold, "The specified tolerated failure threshold was exceeded"};
}

std::expected<void, cloud::Error> check_mock(const Json& in, const asl::State& state, std::optional<Json>& result) {
  const Json* mock = in.find("mock");
  const bool composite = state.type == asl::StateType::parallel || state.type == asl::StateType::map;
  if (!mock) {
    if (composite)
      return cloud::error("InvalidDefinition",
                          "TestState API does not support Map or Parallel states. Supported state types include: [Task, Wait, Pass, "
                          "Succeed, Fail, Choice]");
    if (state.type == asl::StateType::task && !in.find("roleArn")) return bad_input("RoleArn must be specified when testing a Task state");
    return {};
  }
  if (in["revealSecrets"].bool_or(false)) return bad_input("TestState does not support RevealSecrets when a mock is specified.");
  const Json* given = mock->find("result");
  const Json* error = mock->find("errorOutput");
  if (given && error) return bad_input("A test mock should have only one of the following fields: [result, errorOutput].");
  if (!given && !error) return bad_input("A test mock must have one of the following fields: [result, errorOutput].");
  if (state.type != asl::StateType::task && !composite)
    return bad_input(fmt::format("State type '{}' is not supported when a mock is specified", asl::type_name(state.type)));
  if (!given) return {};
  auto parsed = Json::parse(given->string_or());
  if (!parsed) return bad_input("Mocked result must be valid JSON");
  if (state.type == asl::StateType::parallel) {
    if (!parsed->is_array()) return bad_input("Mocked result must be an array.");
    if (parsed->as_array().size() != state.branches.size())
      return bad_input("Mocked result must contain the same number of items as number of Parallel branches.");
  }
  if (state.type == asl::StateType::map) {
    if (state.writer && !parsed->is_object()) return bad_input("Mocked result must be a JSON object.");
    if (!state.writer && !parsed->is_array()) return bad_input("Mocked result must be an array.");
  }
  const std::string_view mode = (*mock)["fieldValidationMode"].string_or("STRICT");
  if (mode != "STRICT" && mode != "PRESENT" && mode != "NONE")
    return bad_input(fmt::format("The fieldValidationMode '{}' is not one of [STRICT, PRESENT, NONE].", mode));
  if (state.type == asl::StateType::task && mode != "NONE")
    if (const auto problem = engine::result_problem(state.resource, *parsed, mode == "STRICT"))
      return bad_input("Mock result schema validation error: " + *problem);
  result = *std::move(parsed);
  return {};
}

// The context object that the caller gives must look like one. Texts as recorded by AWS, 2025.
std::expected<Json, cloud::Error> given_context(const Json& given) {
  auto context = Json::parse(given.string_or());
  if (!context || !context->is_object()) return bad_input("The value provided in 'context' must be a JSON object.");
  static const std::map<std::string_view, std::vector<std::string_view>> kKnown = {
      {"Execution", {"Id", "Input", "Name", "RoleArn", "StartTime", "RedriveCount", "RedriveTime"}},
      {"State", {"EnteredTime", "Name", "RetryCount"}},
      {"StateMachine", {"Id", "Name"}},
      {"Task", {"Token"}}};
  const auto wrong = [](const std::string& what) { return bad_input("Invalid Context object provided: " + what); };
  for (const auto& [section, value] : context->as_object()) {
    if (section == "Map") return wrong("'Map' field is not supported when mocking a Context object");
    const auto known = kKnown.find(section);
    if (known == kKnown.end()) return wrong(fmt::format("Field '{}' is not allowed", section));
    if (!value.is_object()) return wrong(fmt::format("{} must be an object", section));
    for (const auto& [field, item] : value.as_object()) {
      if (std::ranges::find(known->second, field) == known->second.end()) return wrong(fmt::format("Field '{}' is not allowed", field));
      const bool number = field == "RetryCount" || field == "RedriveCount";
      if (field != "Input" && (number ? !item.is_number() : !item.is_string()))
        return wrong(fmt::format("{}.{} must be a {}", section, field, number ? "number" : "string"));
    }
  }
  return *std::move(context);
}

// The state that is tested, apart from its machine.
struct Subject {
  std::string name;
  Json definition;
  std::shared_ptr<const asl::Machine> machine;  // it alone
  [[nodiscard]] const asl::State& state() const { return machine->graph.states.begin()->second; }
};

// A state given alone has this name, and every state has it in its context object (recorded by AWS, 2025).
constexpr const char* kStateName = "StateName";

std::expected<Subject, cloud::Error> subject_of(const Json& in) {
  const std::string_view text = in["definition"].string_or();
  const auto refused = [](const asl::Compiled& c) { return cloud::error("InvalidDefinition", asl::describe(c.diagnostics)); };
  const auto definition = Json::parse(text);
  if (!definition) return refused(asl::compile_text(text));
  Subject out{std::string(in["stateName"].string_or(kStateName)), *definition, nullptr};
  if (definition->find("States")) {
    if (!in.find("stateName")) return bad_input("stateName is required when the definition is a state machine.");
    if (const asl::Compiled whole = asl::compile(*definition); !whole.machine) return refused(whole);
    const Json* found = find_definition(*definition, out.name);
    if (!found) return bad_input("State not found in definition");
    out.definition = *found;
    if (definition->find("QueryLanguage") && !found->find("QueryLanguage")) {
      Json::Object with = found->as_object();
      with.set("QueryLanguage", (*definition)["QueryLanguage"]);
      out.definition = Json(std::move(with));
    }
  } else if (in.find("stateName")) {
    return bad_input("stateName must not be given when the definition is one state.");
  }
  asl::Compiled compiled = asl::compile_state(out.definition, out.name);
  if (!compiled.machine) return refused(compiled);
  out.machine = std::move(compiled.machine);
  return out;
}

bool can_be_retried(const asl::State& state) {
  return state.type == asl::StateType::task || state.type == asl::StateType::parallel || state.type == asl::StateType::map;
}

// The context object when the caller gives none (recorded by AWS, 2025).
Json context_of(const asl::ExecutionInfo& info, const asl::State& state, std::int64_t retries) {
  Json::Object out;
  out.set("Execution", Json::object({{"Id", info.arn},
                                     {"Input", info.input},
                                     {"Name", info.name},
                                     {"RoleArn", info.role_arn.empty() ? Json() : Json(info.role_arn)},
                                     {"StartTime", iso_millis(info.started)}}));
  out.set("StateMachine", Json::object({{"Id", info.machine_arn}, {"Name", info.machine_name}}));
  Json::Object entered{{"Name", kStateName}, {"EnteredTime", iso_millis(info.started)}};
  if (can_be_retried(state)) entered.set("RetryCount", retries);
  out.set("State", std::move(entered));
  return Json(std::move(out));
}

// Which steps of its data flow a state shows, by its type (recorded by AWS, 2025): a fixed Result hides what came before it, a Pass
// without one has no result, and of what states inside would do nothing is shown.
bool shows(const asl::State& state, std::string_view what) {
  const bool before = what == "afterInputPath" || what == "afterParameters" || what == "afterArguments";
  switch (state.type) {
    case asl::StateType::pass:
      return state.result ? !before : what != "result";
    case asl::StateType::parallel:
      return !before && what != "result";
    case asl::StateType::map:
      return what != "result";
    default:
      return true;
  }
}

Json with_fraction(const Json& number) {
  const std::string text = number.number_text();
  return text.find_first_of(".eE") == std::string::npos ? Json::number(text + ".0") : number;
}

// The variables after the state: those given, and those that it assigned.
Json::Object variables_after(const asl::Probe& probe) {
  Json::Object out = probe.variables.is_object() ? probe.variables.as_object() : Json::Object{};
  if (const Json* text = probe.data.find("variables"))
    if (const auto assigned = Json::parse(text->string_or()); assigned && assigned->is_object())
      for (const auto& [name, value] : assigned->as_object()) out.set(name, value);
  return out;
}

Json inspection(const asl::State& state, const asl::Probe& probe, const std::string& input, const AsWritten& written) {
  Json::Object out{{"input", input}};
  for (const auto& [key, value] : probe.data) {
    if (key == "variables" || !shows(state, key)) continue;
    if (key == "toleratedFailurePercentage")
      out.set(key, with_fraction(value));
    else if (key == "toleratedFailureCount" || key == "maxConcurrency")
      out.set(key, value);
    else
      out.set(key, written.print(value));
  }
  if (Json::Object variables = variables_after(probe); !variables.empty()) out.set("variables", Json(std::move(variables)).dump());
  if (!probe.error_details.empty()) out.set("errorDetails", probe.error_details);
  return Json(std::move(out));
}

Json answer(const asl::Execution& execution, const asl::Probe& probe, const AsWritten& written) {
  const bool caught = probe.handled == asl::Probe::Handled::caught, retried = probe.handled == asl::Probe::Handled::retried;
  const bool good = execution.status() == asl::Status::succeeded;
  Json::Object out{{"status", retried ? "RETRIABLE" : caught && good ? "CAUGHT_ERROR" : good ? "SUCCEEDED" : "FAILED"}};
  if (good) out.set("output", written.print(probe.output));
  if (good && !probe.next.empty()) out.set("nextState", probe.next);
  if (good && !caught) return Json(std::move(out));
  const asl::Failure& failure = good ? probe.failure : execution.failure();
  if (!failure.error.empty()) out.set("error", failure.error);
  if (!failure.cause.empty()) out.set("cause", failure.cause);
  return Json(std::move(out));
}

}  // namespace

Task<Reply> States::test_state(Call call) {
  const Json& in = call.input;
  const auto subject = subject_of(in);
  if (!subject) co_return std::unexpected(subject.error());
  const asl::State& tested = subject->state();
  std::optional<Json> mocked;
  if (const auto good = check_mock(in, tested, mocked); !good) co_return std::unexpected(good.error());
  if (const auto good = check_configuration(in, subject->definition, tested); !good) co_return std::unexpected(good.error());
  const std::string text(in["input"].string_or("{}"));
  const auto input = execution_input(text);
  if (!input) co_return std::unexpected(input.error());
  const auto variables = Json::parse(in["variables"].string_or("{}"));
  if (!variables || !variables->is_object()) co_return bad_input("The value provided in 'variables' must be a JSON object.");

  asl::Probe probe;
  probe.variables = *variables;
  if (const Json* count = in["stateConfiguration"].find("retrierRetryCount"))
    probe.attempts.assign(tested.retry.size(), count->integer_or(0));
  const std::string name = env_.loop.entropy().uuid(), machine_name = env_.loop.entropy().uuid();
  asl::ExecutionInfo info{.arn = fmt::format("arn:aws:states:{}:{}:express:{}:{}", call.region, env_.account, machine_name, name),
                          .name = name,
                          .role_arn = std::string(in["roleArn"].string_or()),
                          .machine_arn = fmt::format("arn:aws:states:{}:{}:stateMachine:{}", call.region, env_.account, machine_name),
                          .machine_name = machine_name,
                          .region = call.region,
                          .input = *input,
                          .input_text = text,
                          .started = env_.loop.now()};
  if (const Json* given = in.find("context")) {
    auto context = given_context(*given);
    if (!context) co_return std::unexpected(context.error());
    info.context_extra = *std::move(context);
  } else {
    info.context_extra = context_of(info, tested, in["stateConfiguration"]["retrierRetryCount"].integer_or(0));
  }
  AsWritten written;
  written.add(*input, text);
  if (mocked) written.add(*mocked, in["mock"]["result"].string_or());
  asl::Execution execution(subject->machine, info);
  execution.probe(&probe);
  const auto feed = [&](asl::Input i) { return executions_.step(execution, std::move(i), subject->machine->computes_long); };
  asl::Step step = co_await feed(asl::Input::about(asl::Input::Kind::started, 0));
  while (execution.status() == asl::Status::running) {
    const auto asked = std::find_if(step.commands.begin(), step.commands.end(),
                                    [](const asl::Command& c) { return c.kind == asl::Command::Kind::invoke_task; });
    if (asked == step.commands.end()) break;
    const asl::Command command = *asked;
    const bool reads = tested.reader && command.resource == &tested.reader->resource;
    if (in["mock"].find("errorOutput") && !(reads && in["stateConfiguration"].find("mapItemReaderData"))) {
      const asl::Failure failure = mocked_failure(in, tested, probe);
      step = co_await feed(asl::Input::failure(asl::Input::Kind::task_failed, command.id, failure.error, failure.cause));
      continue;
    }
    if (reads) {  // a Map's items come with the request
      const Json* given = in["stateConfiguration"].find("mapItemReaderData");
      if (!given) co_return bad_input("mapItemReaderData is required for a Map state with an ItemReader.");
      const Json contents = Json::parse(given->string_or()).value_or(Json());
      step = co_await feed(
          asl::Input::about(asl::Input::Kind::task_succeeded, command.id, Json::object({{"Body", *given}, {"Contents", contents}})));
      continue;
    }
    if (mocked) {
      step = co_await feed(asl::Input::about(asl::Input::Kind::task_succeeded, command.id, *mocked));
      continue;
    }
    if (!command.resource || command.resource->kind == asl::Resource::Kind::activity ||
        command.resource->pattern != asl::Resource::Pattern::request_response)
      co_return bad_input("A state that waits for an activity, a task token or another job can be tested with a mock only.");
    const engine::TaskContext at{.region = call.region, .request_id = env_.loop.entropy().uuid(), .date = {}};
    auto made = engine::call_for(*command.resource, command.parameters, at);
    std::expected<Json, asl::Failure> outcome = std::unexpected(asl::Failure{});
    if (!made) {
      outcome = std::unexpected(made.error());
    } else {
      const Reply reply = co_await env_.cloud->call(*std::move(made));
      outcome = engine::outcome_of(*command.resource, reply, at);
    }
    asl::Input answered =
        outcome ? asl::Input::about(asl::Input::Kind::task_succeeded, command.id, *outcome)
                : asl::Input::failure(asl::Input::Kind::task_failed, command.id, outcome.error().error, outcome.error().cause);
    step = co_await feed(std::move(answered));
  }

  Json::Object out = answer(execution, probe, written).as_object();
  if (in["inspectionLevel"].string_or("INFO") != "INFO") out.set("inspectionData", inspection(tested, probe, text, written));
  co_return Json(std::move(out));
}

}  // namespace snapward::services::states
