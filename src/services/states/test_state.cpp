// TestState: one state, run alone, with its call made or mocked. Source: Step Functions API Reference, "TestState".
#include <fmt/format.h>

#include "base/arn.hpp"
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
      return bad_input(fmt::format("Mocked result must be an array of size {}.", state.branches.size()));
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

// The context object given must look like one.
std::expected<Json, cloud::Error> check_context(const Json& in) {
  const Json* text = in.find("context");
  if (!text) return Json(Json::Object{});
  auto context = Json::parse(text->string_or());
  if (!context || !context->is_object()) return bad_input("The value provided in 'context' must be a JSON object.");
  static const std::map<std::string_view, std::vector<std::string_view>> kKnown = {
      {"Execution", {"Id", "Input", "Name", "RoleArn", "StartTime", "RedriveCount", "RedriveTime"}},
      {"State", {"EnteredTime", "Name", "RetryCount"}},
      {"StateMachine", {"Id", "Name"}},
      {"Task", {"Token"}},
      {"Map", {"Item"}}};
  for (const auto& [section, value] : context->as_object()) {
    const auto known = kKnown.find(section);
    if (known == kKnown.end()) return bad_input(fmt::format("Error when parsing context: Field '{}' is not allowed", section));
    if (!value.is_object()) return bad_input(fmt::format("Error when parsing context: Field '{}' must be an object", section));
    for (const auto& [field, item] : value.as_object()) {
      if (std::find(known->second.begin(), known->second.end(), field) == known->second.end())
        return bad_input(fmt::format("Error when parsing context: Field '{}' is not allowed", field));
      const bool number = field == "RetryCount" || field == "RedriveCount", any = field == "Input" || field == "Item";
      if (!any && (number ? !item.is_number() : !item.is_string()))
        return bad_input(fmt::format("Error when parsing context: Field '{}' must be a {}", field, number ? "number" : "string"));
    }
  }
  return *std::move(context);
}

}  // namespace

Task<Reply> States::test_state(Call call) {
  const Json& in = call.input;
  const auto definition = Json::parse(in["definition"].string_or());
  if (!definition) co_return cloud::error("InvalidDefinition", asl::describe(asl::compile_text(in["definition"].string_or()).diagnostics));
  std::string name(in["stateName"].string_or("StateToTest"));
  Json state = *definition;
  if (definition->find("States")) {
    if (!in.find("stateName")) co_return bad_input("stateName is required when the definition is a state machine.");
    const asl::Compiled whole = asl::compile(*definition);
    if (!whole.machine) co_return cloud::error("InvalidDefinition", asl::describe(whole.diagnostics));
    const Json* found = find_definition(*definition, name);
    if (!found) co_return bad_input(fmt::format("State not found. State name: {}", name));
    state = *found;
    if (definition->find("QueryLanguage") && !state.find("QueryLanguage")) {
      Json::Object with = state.as_object();
      with.set("QueryLanguage", (*definition)["QueryLanguage"]);
      state = Json(std::move(with));
    }
  } else if (in.find("stateName")) {
    co_return bad_input("stateName must not be given when the definition is one state.");
  }
  const asl::Compiled compiled = asl::compile_state(state, name);
  if (!compiled.machine) co_return cloud::error("InvalidDefinition", asl::describe(compiled.diagnostics));
  const asl::State& tested = compiled.machine->graph.states.begin()->second;
  std::optional<Json> mocked;
  if (const auto good = check_mock(in, tested, mocked); !good) co_return std::unexpected(good.error());
  if (const auto good = check_configuration(in, state, tested); !good) co_return std::unexpected(good.error());
  auto context = check_context(in);
  if (!context) co_return std::unexpected(context.error());
  const std::string text(in["input"].string_or("{}"));
  const auto input = execution_input(text);
  if (!input) co_return std::unexpected(input.error());
  const auto variables = Json::parse(in["variables"].string_or("{}"));
  if (!variables || !variables->is_object()) co_return bad_input("The value provided in 'variables' must be a JSON object.");

  asl::Probe probe;
  probe.variables = *variables;
  if (const Json* count = in["stateConfiguration"].find("retrierRetryCount"))
    probe.attempts.assign(tested.retry.size(), count->integer_or(0));
  const std::string role(in["roleArn"].string_or());
  asl::Execution execution(
      compiled.machine,
      {.arn = fmt::format("arn:aws:states:{}:{}:execution:TestState:{}", call.region, env_.account, env_.loop.entropy().uuid()),
       .name = "TestState",
       .role_arn = role,
       .machine_arn = fmt::format("arn:aws:states:{}:{}:stateMachine:TestState", call.region, env_.account),
       .machine_name = "TestState",
       .region = call.region,
       .input = *input,
       .input_text = text,
       .started = env_.loop.now(),
       .context_extra = *std::move(context)});
  execution.probe(&probe);
  const auto feed = [&](asl::Input i) {
    i.at = env_.loop.now();
    i.seed = env_.loop.entropy().next();
    return execution.step(i);
  };
  asl::Step step = feed(asl::Input::about(asl::Input::Kind::started, 0));
  while (execution.status() == asl::Status::running) {
    const auto asked = std::find_if(step.commands.begin(), step.commands.end(),
                                    [](const asl::Command& c) { return c.kind == asl::Command::Kind::invoke_task; });
    if (asked == step.commands.end()) break;
    const asl::Command command = *asked;
    const bool reads = tested.reader && command.resource == &tested.reader->resource;
    if (in["mock"].find("errorOutput") && !(reads && in["stateConfiguration"].find("mapItemReaderData"))) {
      const asl::Failure failure = mocked_failure(in, tested, probe);
      step = feed(asl::Input::failure(asl::Input::Kind::task_failed, command.id, failure.error, failure.cause));
      continue;
    }
    if (reads) {  // a Map's items come with the request
      const Json* given = in["stateConfiguration"].find("mapItemReaderData");
      if (!given) co_return bad_input("mapItemReaderData is required for a Map state with an ItemReader.");
      step = feed(asl::Input::about(asl::Input::Kind::task_succeeded, command.id,
                                    Json::object({{"Body", *given}, {"Contents", Json::parse(given->string_or()).value_or(Json())}})));
      continue;
    }
    if (mocked) {
      step = feed(asl::Input::about(asl::Input::Kind::task_succeeded, command.id, *mocked));
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
    step = outcome ? feed(asl::Input::about(asl::Input::Kind::task_succeeded, command.id, *std::move(outcome)))
                   : feed(asl::Input::failure(asl::Input::Kind::task_failed, command.id, outcome.error().error, outcome.error().cause));
  }

  Json::Object out;
  const bool caught = probe.handled == asl::Probe::Handled::caught, retried = probe.handled == asl::Probe::Handled::retried;
  const bool good = execution.status() == asl::Status::succeeded;
  out.set("status", retried ? "RETRIABLE" : caught && good ? "CAUGHT_ERROR" : good ? "SUCCEEDED" : "FAILED");
  if (good) out.set("output", execution.output_text());
  if (good && !probe.next.empty()) out.set("nextState", probe.next);
  if (!good) {
    if (!execution.failure().error.empty()) out.set("error", execution.failure().error);
    if (!execution.failure().cause.empty()) out.set("cause", execution.failure().cause);
  } else if (caught) {
    if (const auto shown = Json::parse(execution.output_text())) {
      if (shown->find("Error")) out.set("error", (*shown)["Error"]);
      if (shown->find("Cause")) out.set("cause", (*shown)["Cause"]);
    }
  }
  if (in["inspectionLevel"].string_or("INFO") != "INFO") {
    Json::Object data{{"input", text}};
    for (const auto& [key, value] : probe.data) {
      const bool plain = key == "variables" || value.is_number();
      data.set(key, plain ? value : Json(value.dump()));
    }
    if (!probe.error_details.empty()) data.set("errorDetails", probe.error_details);
    out.set("inspectionData", std::move(data));
  }
  co_return Json(std::move(out));
}

}  // namespace snapward::services::states
