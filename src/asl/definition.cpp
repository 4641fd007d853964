#include "asl/definition.hpp"

#include <fmt/format.h>

#include <set>

#include "base/arn.hpp"

namespace snapward::asl {

namespace {
constexpr std::pair<std::string_view, StateType> kTypes[] = {
    {"Pass", StateType::pass},       {"Task", StateType::task}, {"Choice", StateType::choice},     {"Wait", StateType::wait},
    {"Succeed", StateType::succeed}, {"Fail", StateType::fail}, {"Parallel", StateType::parallel}, {"Map", StateType::map}};

constexpr std::int64_t kMaxSeconds = 99'999'999;  // ASL: timeouts must not exceed it

using Names = std::vector<std::string_view>;
const Names kAnyState = {"Type", "Comment", "QueryLanguage"};

const Names& fields_of(StateType type) {
  static const Names kPass = {"Next", "End", "InputPath", "OutputPath", "Parameters", "Result", "ResultPath", "Assign"};
  static const Names kTask = {
      "Next",  "End",   "InputPath",      "OutputPath",       "Parameters",         "ResultSelector",       "ResultPath",  "Resource",
      "Retry", "Catch", "TimeoutSeconds", "HeartbeatSeconds", "TimeoutSecondsPath", "HeartbeatSecondsPath", "Credentials", "Assign"};
  static const Names kChoice = {"InputPath", "OutputPath", "Choices", "Default", "Assign"};
  static const Names kWait = {"Next", "End", "InputPath", "OutputPath", "Seconds", "Timestamp", "SecondsPath", "TimestampPath", "Assign"};
  static const Names kSucceed = {"InputPath", "OutputPath"};
  static const Names kFail = {"Error", "Cause", "ErrorPath", "CausePath"};
  static const Names kParallel = {"Next",       "End",      "InputPath", "OutputPath", "Parameters", "ResultSelector",
                                  "ResultPath", "Branches", "Retry",     "Catch",      "Assign"};
  static const Names kMap = {"Next",
                             "End",
                             "InputPath",
                             "OutputPath",
                             "Parameters",
                             "ResultSelector",
                             "ResultPath",
                             "Retry",
                             "Catch",
                             "Assign",
                             "ItemProcessor",
                             "Iterator",
                             "ItemSelector",
                             "ItemsPath",
                             "MaxConcurrency",
                             "MaxConcurrencyPath",
                             "ToleratedFailureCount",
                             "ToleratedFailurePercentage",
                             "Label"};
  switch (type) {
    case StateType::pass:
      return kPass;
    case StateType::task:
      return kTask;
    case StateType::choice:
      return kChoice;
    case StateType::wait:
      return kWait;
    case StateType::succeed:
      return kSucceed;
    case StateType::fail:
      return kFail;
    case StateType::parallel:
      return kParallel;
    case StateType::map:
      return kMap;
  }
  return kPass;
}

class Compiler {
 public:
  explicit Compiler(std::vector<Diagnostic>& diagnostics) : diagnostics_(diagnostics) {}

  void machine(const Json& json, Machine& out) {
    if (!json.is_object()) return schema("the definition must be a JSON object", "/");
    for (const auto& member : json.as_object())
      if (!contains({"Comment", "StartAt", "States", "Version", "TimeoutSeconds", "QueryLanguage"}, member.key)) unknown(member.key, "");
    query_language(json, "");
    out.comment = json["Comment"].string_or();
    if (const Json* version = json.find("Version"); version && version->string_or() != "1.0") schema("Version must be \"1.0\"", "/Version");
    out.timeout_seconds = seconds(json, "TimeoutSeconds", "");
    graph(json, out.graph, "");
  }

 private:
  static bool contains(const Names& names, std::string_view name) { return std::find(names.begin(), names.end(), name) != names.end(); }
  void say(std::string code, std::string message, std::string location) {
    diagnostics_.push_back({std::move(code), std::move(message), std::move(location)});
  }
  void schema(std::string message, const std::string& at) { say("SCHEMA_VALIDATION_FAILED", std::move(message), at.empty() ? "/" : at); }
  void unknown(const std::string& field, const std::string& at) {
    schema(fmt::format("Field '{}' is not supported", field), at + '/' + field);
  }
  void missing(const char* field, const std::string& at) { schema(fmt::format("The field '{}' is required but was missing", field), at); }

  // JSONata is a language of its own that this build does not run: say so at creation rather than at run time.
  void query_language(const Json& json, const std::string& at) {
    const std::string_view language = json["QueryLanguage"].string_or("JSONPath");
    if (language == "JSONata")
      schema("QueryLanguage 'JSONata' is not supported by this version of Snapward; use JSONPath", at + "/QueryLanguage");
    else if (language != "JSONPath")
      schema("QueryLanguage must be JSONPath or JSONata", at + "/QueryLanguage");
  }

  void graph(const Json& json, Graph& out, const std::string& at) {
    const Json* start = json.find("StartAt");
    const Json* states = json.find("States");
    if (!start || !start->is_string()) missing("StartAt", at);
    if (!states || !states->is_object() || states->as_object().empty()) return missing("States", at);
    for (const auto& [name, definition] : states->as_object()) {
      const std::string here = at + "/States/" + name;
      if (name.size() > 80) schema("State names must not be longer than 80 characters", here);
      if (!names_.insert(name).second) say("DUPLICATE_STATE_NAME", fmt::format("Duplicate state name: {}", name), at + "/States");
      State& s = out.states[name];
      s.name = name;
      state(definition, s, here);
    }
    if (start && start->is_string()) {
      out.start_at = start->as_string();
      if (!out.find(out.start_at))
        say("MISSING_TRANSITION_TARGET", fmt::format("Missing 'StartAt' target: {}", out.start_at), at + "/StartAt");
    }
    std::set<std::string, std::less<>> reached = {out.start_at};
    bool terminal = false;
    for (const auto& [name, s] : out.states) {
      const std::string here = at + "/States/" + name;
      const auto target = [&](const std::string& to, const std::string& where) {
        if (to.empty()) return;
        reached.insert(to);
        if (!out.find(to)) say("MISSING_TRANSITION_TARGET", fmt::format("Missing 'Next' target: {}", to), here + where);
      };
      target(s.next, "/Next");
      target(s.default_next, "/Default");
      for (std::size_t i = 0; i < s.choices.size(); ++i) target(s.choices[i].next, fmt::format("/Choices[{}]/Next", i));
      for (std::size_t i = 0; i < s.catches.size(); ++i) target(s.catches[i].next, fmt::format("/Catch[{}]/Next", i));
      terminal = terminal || s.end || s.type == StateType::succeed || s.type == StateType::fail;
    }
    for (const auto& [name, s] : out.states)
      if (!reached.contains(name)) say("UNREACHABLE_STATE", fmt::format("State \"{}\" is not reachable.", name), at + "/States/" + name);
    if (!terminal) say("NO_TERMINAL_STATE", "No terminal state was found: one state must end the machine", at + "/States");
  }

  void state(const Json& json, State& s, const std::string& at) {
    if (!json.is_object()) return schema("a state must be an object", at);
    const std::string_view type = json["Type"].string_or();
    const auto* known = std::find_if(std::begin(kTypes), std::end(kTypes), [&](const auto& t) { return t.first == type; });
    if (known == std::end(kTypes))
      return schema(json.find("Type") ? fmt::format("Invalid state type '{}'", type) : "The field 'Type' is required but was missing", at);
    s.type = known->second;
    query_language(json, at);
    for (const auto& member : json.as_object())
      if (!contains(kAnyState, member.key) && !contains(fields_of(s.type), member.key)) unknown(member.key, at);

    s.input_path = data_path(json, "InputPath", at);
    s.output_path = data_path(json, "OutputPath", at);
    s.parameters = payload(json, "Parameters", at);
    s.result_selector = payload(json, "ResultSelector", at);
    s.assign = payload(json, "Assign", at);
    result_path(json, s.result_path, s.discard_result, at);
    retriers(json, s.retry, at);
    catchers(json, s.catches, at);
    transition(json, s, at);

    switch (s.type) {
      case StateType::pass:
        if (const Json* result = json.find("Result")) s.result = *result;
        break;
      case StateType::task:
        task(json, s, at);
        break;
      case StateType::choice:
        choice(json, s, at);
        break;
      case StateType::wait:
        wait(json, s, at);
        break;
      case StateType::fail:
        s.error = json["Error"].string_or();
        s.cause = json["Cause"].string_or();
        s.error_path = expression(json, "ErrorPath", at);
        s.cause_path = expression(json, "CausePath", at);
        if ((json.find("Error") && json.find("ErrorPath")) || (json.find("Cause") && json.find("CausePath")))
          schema("a Fail state takes either a value or a path for the same field", at);
        break;
      case StateType::parallel: {
        const Json& branches = json["Branches"];
        if (!branches.is_array() || branches.as_array().empty()) return missing("Branches", at);
        for (std::size_t i = 0; i < branches.as_array().size(); ++i) {
          s.branches.push_back(std::make_unique<Graph>());
          graph(branches.as_array()[i], *s.branches.back(), fmt::format("{}/Branches[{}]", at, i));
        }
        break;
      }
      case StateType::map:
        map(json, s, at);
        break;
      case StateType::succeed:
        break;
    }
  }

  void transition(const Json& json, State& s, const std::string& at) {
    if (s.type == StateType::choice || s.type == StateType::succeed || s.type == StateType::fail) return;
    const Json* next = json.find("Next");
    const Json* end = json.find("End");
    if (next && !next->is_string()) schema("The value of 'Next' must be a state name", at + "/Next");
    s.next = next ? next->string_or() : "";
    s.end = end && end->bool_or(false);
    if (!next && !s.end) schema("These fields are required: [Next] or [End]", at);
    if (next && s.end) schema("'Next' and 'End' exclude each other", at);
  }

  void task(const Json& json, State& s, const std::string& at) {
    const Json* resource = json.find("Resource");
    if (!resource || !resource->is_string()) return missing("Resource", at);
    auto parsed = Resource::parse(resource->as_string());
    if (!parsed)
      schema(parsed.error().message, at + "/Resource");
    else
      s.resource = *std::move(parsed);
    s.timeout_seconds = seconds(json, "TimeoutSeconds", at);
    s.heartbeat_seconds = seconds(json, "HeartbeatSeconds", at);
    s.timeout_path = expression(json, "TimeoutSecondsPath", at);
    s.heartbeat_path = expression(json, "HeartbeatSecondsPath", at);
    if (s.timeout_seconds && s.heartbeat_seconds && *s.heartbeat_seconds >= *s.timeout_seconds)
      schema("HeartbeatSeconds must be smaller than TimeoutSeconds", at);
  }

  void choice(const Json& json, State& s, const std::string& at) {
    s.default_next = json["Default"].string_or();
    const Json& choices = json["Choices"];
    if (!choices.is_array() || choices.as_array().empty()) return missing("Choices", at);
    for (std::size_t i = 0; i < choices.as_array().size(); ++i) {
      auto rule = ChoiceRule::parse(choices.as_array()[i]);
      if (!rule)
        schema(rule.error().message, fmt::format("{}/Choices[{}]", at, i));
      else
        s.choices.push_back(*std::move(rule));
    }
  }

  void wait(const Json& json, State& s, const std::string& at) {
    int ways = 0;
    if (const Json* value = json.find("Seconds")) {
      ++ways;
      if (!value->as_integer() || *value->as_integer() < 0 || *value->as_integer() > kMaxSeconds)
        schema("The value of 'Seconds' must be an integer from 0 to 99999999", at + "/Seconds");
      else
        s.seconds = value->as_double();
    }
    if (const Json* value = json.find("Timestamp")) {
      ++ways;
      s.timestamp = parse_iso(value->string_or());
      if (!s.timestamp) schema("The value of 'Timestamp' must be an ISO 8601 timestamp", at + "/Timestamp");
    }
    s.seconds_path = expression(json, "SecondsPath", at);
    s.timestamp_path = expression(json, "TimestampPath", at);
    ways += (s.seconds_path ? 1 : 0) + (s.timestamp_path ? 1 : 0);
    if (ways != 1) schema("A Wait state must contain exactly one of 'Seconds', 'Timestamp', 'SecondsPath' or 'TimestampPath'", at);
  }

  void map(const Json& json, State& s, const std::string& at) {
    const Json* processor = json.find("ItemProcessor");
    if (!processor) processor = json.find("Iterator");
    if (!processor || !processor->is_object()) return missing("ItemProcessor", at);
    const std::string where = at + (json.find("ItemProcessor") ? "/ItemProcessor" : "/Iterator");
    const std::string_view mode = (*processor)["ProcessorConfig"]["Mode"].string_or("INLINE");
    if (mode == "DISTRIBUTED")
      schema("Map mode DISTRIBUTED is not supported by this version of Snapward; use INLINE", where + "/ProcessorConfig/Mode");
    s.branches.push_back(std::make_unique<Graph>());
    graph(*processor, *s.branches.back(), where);
    if (json.find("ItemSelector")) s.parameters = payload(json, "ItemSelector", at);
    s.items_path = expression(json, "ItemsPath", at);
    s.max_concurrency_path = expression(json, "MaxConcurrencyPath", at);
    if (const Json* value = json.find("MaxConcurrency")) {
      if (!value->as_integer() || *value->as_integer() < 0)
        schema("'MaxConcurrency' must be an integer of at least 0", at + "/MaxConcurrency");
      s.max_concurrency = value->integer_or(0);
    }
    if (const Json* value = json.find("ToleratedFailureCount")) s.tolerated_failure_count = value->integer_or(0);
    if (const Json* value = json.find("ToleratedFailurePercentage"); value && value->is_number())
      s.tolerated_failure_percentage = value->as_double();
  }

  DataPath data_path(const Json& json, const char* field, const std::string& at) {
    DataPath out;
    const Json* value = json.find(field);
    if (!value) return out;
    if (value->is_null())
      out.nothing = true;
    else
      out.path = expression(json, field, at);
    if (out.path && out.path->text() == "$") out.path.reset();
    return out;
  }

  std::optional<Expression> expression(const Json& json, const char* field, const std::string& at) {
    const Json* value = json.find(field);
    if (!value) return std::nullopt;
    auto parsed = value->is_string() ? Expression::parse(value->as_string()) : invalid("it is not a string");
    if (parsed) return *std::move(parsed);
    schema(fmt::format("The value for the field '{}' must be a valid JSONPath ({})", field, parsed.error().message), at + '/' + field);
    return std::nullopt;
  }

  std::optional<Template> payload(const Json& json, const char* field, const std::string& at) {
    const Json* value = json.find(field);
    if (!value) return std::nullopt;
    auto parsed = Template::parse(*value);
    if (parsed) return *std::move(parsed);
    schema(parsed.error().message, at + '/' + field);
    return std::nullopt;
  }

  void result_path(const Json& json, std::optional<query::JsonPath>& out, bool& discard, const std::string& at) {
    const Json* value = json.find("ResultPath");
    if (!value) return;
    if (value->is_null()) {
      discard = true;
      return;
    }
    auto parsed = value->is_string() ? query::JsonPath::parse(value->as_string()) : Result<query::JsonPath>(invalid("it is not a string"));
    if (!parsed || !parsed->is_reference() || value->as_string().starts_with("$$"))
      return schema("The value for the field 'ResultPath' must be a valid Reference Path", at + "/ResultPath");
    if (parsed->text() != "$") out = *std::move(parsed);
  }

  static std::vector<std::string> error_names(const Json& list) {
    std::vector<std::string> out;
    for (const Json& name : list.items()) out.emplace_back(name.string_or());
    return out;
  }
  // States.ALL stands alone, and last.
  void check_errors(const std::vector<std::string>& names, bool last, const std::string& at) {
    if (names.empty()) return missing("ErrorEquals", at);
    if (std::find(names.begin(), names.end(), errors::kAll) == names.end()) return;
    if (names.size() > 1) schema("'States.ALL' must appear alone in 'ErrorEquals'", at + "/ErrorEquals");
    if (!last) schema("'States.ALL' must be in the last retrier or catcher", at + "/ErrorEquals");
  }

  void retriers(const Json& json, std::vector<Retrier>& out, const std::string& at) {
    const Json* list = json.find("Retry");
    if (!list) return;
    if (!list->is_array()) return schema("'Retry' must be an array", at + "/Retry");
    for (std::size_t i = 0; i < list->as_array().size(); ++i) {
      const Json& r = list->as_array()[i];
      const std::string here = fmt::format("{}/Retry[{}]", at, i);
      Retrier retrier;
      retrier.errors = error_names(r["ErrorEquals"]);
      check_errors(retrier.errors, i + 1 == list->as_array().size(), here);
      const auto number = [&](const char* field, double fallback, double least) {
        const Json* value = r.find(field);
        if (!value) return fallback;
        if (value->is_number() && value->as_double() >= least) return value->as_double();
        schema(fmt::format("'{}' must be a number of at least {}", field, least), here + '/' + field);
        return fallback;
      };
      retrier.interval_seconds = number("IntervalSeconds", 1, 1);
      retrier.max_attempts = static_cast<std::int64_t>(number("MaxAttempts", 3, 0));
      retrier.backoff_rate = number("BackoffRate", 2.0, 1.0);
      if (r.find("MaxDelaySeconds")) retrier.max_delay_seconds = number("MaxDelaySeconds", 1, 1);
      const std::string_view jitter = r["JitterStrategy"].string_or("NONE");
      if (jitter != "NONE" && jitter != "FULL") schema("'JitterStrategy' must be FULL or NONE", here + "/JitterStrategy");
      retrier.full_jitter = jitter == "FULL";
      out.push_back(std::move(retrier));
    }
  }

  void catchers(const Json& json, std::vector<Catcher>& out, const std::string& at) {
    const Json* list = json.find("Catch");
    if (!list) return;
    if (!list->is_array()) return schema("'Catch' must be an array", at + "/Catch");
    for (std::size_t i = 0; i < list->as_array().size(); ++i) {
      const Json& c = list->as_array()[i];
      const std::string here = fmt::format("{}/Catch[{}]", at, i);
      Catcher catcher;
      catcher.errors = error_names(c["ErrorEquals"]);
      check_errors(catcher.errors, i + 1 == list->as_array().size(), here);
      catcher.next = c["Next"].string_or();
      if (catcher.next.empty()) missing("Next", here);
      result_path(c, catcher.result_path, catcher.discard_result, here);
      catcher.assign = payload(c, "Assign", here);
      out.push_back(std::move(catcher));
    }
  }

  std::optional<std::int64_t> seconds(const Json& json, const char* field, const std::string& at) {
    const Json* value = json.find(field);
    if (!value) return std::nullopt;
    const auto number = value->as_integer();
    if (number && *number > 0 && *number <= kMaxSeconds) return number;
    schema(fmt::format("'{}' must be an integer from 1 to 99999999", field), at + '/' + field);
    return std::nullopt;
  }

  std::vector<Diagnostic>& diagnostics_;
  std::set<std::string> names_;  // state names are unique in the whole machine
};

}  // namespace

const char* type_name(StateType type) {
  for (const auto& [name, known] : kTypes)
    if (known == type) return name.data();
  return "";
}

const State* Graph::find(std::string_view name) const {
  const auto found = states.find(name);
  return found == states.end() ? nullptr : &found->second;
}

Result<Resource> Resource::parse(const std::string& text) {
  Resource out;
  out.arn = text;
  const auto arn = Arn::parse(text);
  if (!arn) return invalid(fmt::format("Value is not a valid resource ARN: {}", text));
  if (arn->service == "lambda") {
    out.kind = Kind::lambda;
    return out;
  }
  if (arn->service != "states") return invalid(fmt::format("The resource provided {} is not recognized", text));
  if (arn->resource.starts_with("activity:")) {
    return invalid("Activities are not supported by this version of Snapward");
  }
  std::string rest = arn->resource;
  const std::size_t colon = rest.rfind(':');
  if (colon == std::string::npos) return invalid(fmt::format("The resource provided {} is not recognized", text));
  out.type = rest.substr(0, colon);
  out.action = rest.substr(colon + 1);
  if (out.action.ends_with(".waitForTaskToken")) out.pattern = Pattern::wait_for_token;
  if (out.action.ends_with(".sync") || out.action.ends_with(".sync:2") || rest.ends_with(".sync:2"))
    return invalid(fmt::format("The '.sync' pattern of {} is not supported by this version of Snapward; poll with a Wait state", text));
  return out;
}

Compiled compile(const Json& definition) {
  Compiled out;
  auto machine = std::make_shared<Machine>();
  Compiler(out.diagnostics).machine(definition, *machine);
  if (out.diagnostics.empty()) out.machine = std::move(machine);
  return out;
}

Compiled compile_text(std::string_view definition) {
  const auto json = Json::parse(definition);
  if (json) return compile(*json);
  Compiled out;
  out.diagnostics.push_back({"INVALID_JSON_DESCRIPTION", json.error().message, "/"});
  return out;
}

std::string describe(const std::vector<Diagnostic>& diagnostics) {
  std::string out = "Invalid State Machine Definition: ";
  for (std::size_t i = 0; i < diagnostics.size(); ++i) {
    const auto& d = diagnostics[i];
    out += fmt::format("{}'{}: {} at {}'", i ? ", " : "", d.code, d.message, d.location);
  }
  return out;
}

}  // namespace snapward::asl
