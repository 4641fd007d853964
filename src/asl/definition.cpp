#include "asl/definition.hpp"

#include <fmt/format.h>

#include <set>

#include "base/arn.hpp"
#include "base/jackson.hpp"

namespace snapward::asl {

namespace {
constexpr std::pair<std::string_view, StateType> kTypes[] = {
    {"Pass", StateType::pass},       {"Task", StateType::task}, {"Choice", StateType::choice},     {"Wait", StateType::wait},
    {"Succeed", StateType::succeed}, {"Fail", StateType::fail}, {"Parallel", StateType::parallel}, {"Map", StateType::map}};

constexpr std::int64_t kMaxSeconds = 99'999'999;  // ASL: timeouts must not exceed it

constexpr const char* kNoReference = "Value is not a Reference Path: Reference path didn't start with '$'";  // AWS, reported 2025

using Names = std::vector<std::string_view>;

// What a state may have, by query language. A field of the other language is refused like any unknown one.
struct Fields {
  Names both, jsonpath, jsonata;
};
const Fields& fields_of(StateType type) {
  static const Fields kPass = {{"Next", "End", "Assign"}, {"InputPath", "OutputPath", "Parameters", "Result", "ResultPath"}, {"Output"}};
  static const Fields kTask = {
      {"Next", "End", "Assign", "Resource", "Retry", "Catch", "TimeoutSeconds", "HeartbeatSeconds", "Credentials"},
      {"InputPath", "OutputPath", "Parameters", "ResultSelector", "ResultPath", "TimeoutSecondsPath", "HeartbeatSecondsPath"},
      {"Arguments", "Output"}};
  static const Fields kChoice = {{"Choices", "Default", "Assign"}, {"InputPath", "OutputPath"}, {"Output"}};
  static const Fields kWait = {
      {"Next", "End", "Assign", "Seconds", "Timestamp"}, {"InputPath", "OutputPath", "SecondsPath", "TimestampPath"}, {"Output"}};
  static const Fields kSucceed = {{}, {"InputPath", "OutputPath"}, {"Output"}};
  static const Fields kFail = {{"Error", "Cause"}, {"ErrorPath", "CausePath"}, {}};
  static const Fields kParallel = {{"Next", "End", "Assign", "Branches", "Retry", "Catch"},
                                   {"InputPath", "OutputPath", "Parameters", "ResultSelector", "ResultPath"},
                                   {"Arguments", "Output"}};
  static const Fields kMap = {{"Next", "End", "Assign", "Retry", "Catch", "ItemProcessor", "Iterator", "ItemSelector", "MaxConcurrency",
                               "ToleratedFailureCount", "ToleratedFailurePercentage", "Label", "ItemReader", "ItemBatcher", "ResultWriter"},
                              {"InputPath", "OutputPath", "Parameters", "ResultSelector", "ResultPath", "ItemsPath", "MaxConcurrencyPath",
                               "ToleratedFailureCountPath", "ToleratedFailurePercentagePath"},
                              {"Items", "Output"}};
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
  Compiler(std::vector<Diagnostic>& diagnostics, bool express) : diagnostics_(diagnostics), express_(express) {}

  void machine(const Json& json, Machine& out) {
    if (!json.is_object()) return schema("the definition must be a JSON object", "/");
    for (const auto& member : json.as_object())
      if (!contains({"Comment", "StartAt", "States", "Version", "TimeoutSeconds", "QueryLanguage"}, member.key)) unknown(member.key, "");
    out.language = language_ = language_of(json, Language::jsonpath);
    check_language(json, "");
    out.comment = json["Comment"].string_or();
    if (const Json* version = json.find("Version"); version && version->string_or() != "1.0") schema("Version must be \"1.0\"", "/Version");
    if (const Json* value = json.find("TimeoutSeconds")) {
      const auto number = value->as_integer();
      if (number && *number > 0 && *number <= kMaxSeconds)
        out.timeout_seconds = number;
      else
        schema("'TimeoutSeconds' must be an integer from 1 to 99999999", "/TimeoutSeconds");
    }
    graph(json, out.graph, "");
    if (!has_end_ && schema_errors() == 0) say("MISSING_END_STATE", "Workflow has no terminal state", "");
  }

  void lone_state(const Json& json, const std::string& name, Machine& out) {
    State& s = out.graph.states[name];
    out.graph.start_at = s.name = name;
    state(json, s, "/States/" + name);
    out.language = s.language;
  }

 private:
  static bool is_expression(const Json& value) { return value.is_string() && jsonata_of(value.as_string()); }
  static bool contains(const Names& names, std::string_view name) { return std::find(names.begin(), names.end(), name) != names.end(); }
  void say(std::string code, std::string message, std::string location) {
    diagnostics_.push_back({std::move(code), std::move(message), std::move(location)});
  }
  void schema(std::string message, const std::string& at) { say("SCHEMA_VALIDATION_FAILED", std::move(message), at.empty() ? "/" : at); }
  void unknown(const std::string& field, const std::string& at) {
    schema(fmt::format("Field '{}' is not supported", field), at.empty() ? "/" : at);
  }
  void missing(const char* field, const std::string& at) { schema(fmt::format("These fields are required: [{}]", field), at); }

  [[nodiscard]] std::ptrdiff_t schema_errors() const {
    return std::ranges::count(diagnostics_, "SCHEMA_VALIDATION_FAILED", &Diagnostic::code);
  }

  // Only "JSONPath" itself means JSONPath; whatever else is given means JSONata, and is a mistake of its own (measured at AWS, 2026).
  static Language language_of(const Json& json, Language inherited) {
    const Json* field = json.find("QueryLanguage");
    if (!field) return inherited;
    return field->string_or() == "JSONPath" ? Language::jsonpath : Language::jsonata;
  }
  void check_language(const Json& json, const std::string& at) {
    const Json* field = json.find("QueryLanguage");
    if (!field || field->string_or() == "JSONPath" || field->string_or() == "JSONata") return;
    schema(field->is_string() ? "Value should be one of the following: [JSONPath, JSONata]" : "Expected value of type [STRING]",
           at + "/QueryLanguage");
  }

  void graph(const Json& json, Graph& out, const std::string& at) {
    const Json* start = json.find("StartAt");
    const Json* states = json.find("States");
    const std::ptrdiff_t before = schema_errors();
    if (!start || !start->is_string()) missing("StartAt", at);
    if (!states || !states->is_object() || states->as_object().empty()) return missing("States", at);
    scopes_.push_back(assigned_in(*states, at));
    for (const auto& [name, definition] : states->as_object()) {
      const std::string here = at + "/States/" + name;
      if (name.size() > 80) schema("State names must not be longer than 80 characters", here);
      if (!names_.insert(name).second) say("DUPLICATE_STATE_NAME", fmt::format("Duplicate State name: {}", name), here);
      State& s = out.states[name];
      s.name = name;
      state(definition, s, here);
    }
    scopes_.pop_back();
    if (start) out.start_at = start->string_or();
    if (schema_errors() == before) transitions(out, at);  // recorded by AWS, 2024: fields first, and where they are wrong nothing else
  }

  // A state inside of a Parallel or Map.
  void inner_graph(const Json& json, Graph& out, const std::string& at, bool processor) {
    if (json.is_object())
      for (const auto& member : json.as_object())
        if (!contains({"Comment", "StartAt", "States"}, member.key) && !(processor && member.key == "ProcessorConfig"))
          unknown(member.key, at);
    graph(json, out, at);
  }

  // Where each transition of a state leads, and the field that says so.
  static std::vector<std::pair<std::string, std::string>> targets_of(const State& s) {
    std::vector<std::pair<std::string, std::string>> out = {{s.next, "/Next"}};
    for (std::size_t i = 0; i < s.choices.size(); ++i) out.emplace_back(s.choices[i].next, fmt::format("/Choices[{}]/Next", i));
    out.emplace_back(s.default_next, "/Default");
    for (std::size_t i = 0; i < s.catches.size(); ++i) out.emplace_back(s.catches[i].next, fmt::format("/Catch[{}]/Next", i));
    std::erase_if(out, [](const auto& target) { return target.first.empty(); });
    return out;
  }

  // Targets exist, and every state can be reached. A machine without an end is told instead of what cannot be reached in it; what runs
  // inside of a state need not have one (measured at AWS, 2026).
  void transitions(const Graph& graph, const std::string& at) {
    const auto check = [&](const std::string& to, const std::string& where) {
      if (!graph.find(to)) say("MISSING_TRANSITION_TARGET", fmt::format("Missing 'Next' target: {}", to), where);
    };
    check(graph.start_at, at + "/StartAt");
    bool end = false;
    for (const auto& [name, s] : graph.states) {
      for (const auto& [to, field] : targets_of(s)) check(to, at + "/States/" + name + field);
      end = end || s.end || s.type == StateType::succeed || s.type == StateType::fail;
    }
    if (at.empty() && !end) {
      has_end_ = false;
      return;
    }
    std::set<std::string, std::less<>> reached;
    std::vector<std::string> next = {graph.start_at};
    while (!next.empty()) {
      const std::string name = std::move(next.back());
      next.pop_back();
      const State* s = graph.find(name);
      if (!s || !reached.insert(name).second) continue;
      for (auto& [to, field] : targets_of(*s)) next.push_back(to);
    }
    for (const auto& [name, s] : graph.states)
      if (!reached.contains(name))
        say("MISSING_TRANSITION_TARGET", fmt::format("State \"{}\" is not reachable.", name), at + "/States/" + name);
  }

  // The variables that a scope's states assign. An inner scope may read those of an outer one, not have one of the same name
  // (Developer Guide, "Passing data between states with variables", on their scope).
  std::set<std::string, std::less<>> assigned_in(const Json& states, const std::string& at) {
    std::set<std::string, std::less<>> out;
    const auto take = [&](const Json& holder, const std::string& where) {
      if (!holder["Assign"].is_object()) return;
      for (const auto& member : holder["Assign"].as_object()) {
        std::string name = member.key;
        if (name.ends_with(".$")) name.resize(name.size() - 2);
        if (std::any_of(scopes_.begin(), scopes_.end(), [&](const auto& outer) { return outer.contains(name); }))
          schema(fmt::format("Variable '{}' is assigned in an outer scope and cannot be assigned in this one", name), where + "/Assign");
        out.insert(std::move(name));
      }
    };
    for (const auto& [name, state] : states.as_object()) {
      const std::string here = at + "/States/" + name;
      take(state, here);
      // Not those of a Catch: AWS lets a branch assign what its Parallel's Catch assigns, too.
      for (std::size_t i = 0; i < state["Choices"].items().size(); ++i)
        take(state["Choices"].items()[i], fmt::format("{}/Choices[{}]", here, i));
    }
    return out;
  }

  void state(const Json& json, State& s, const std::string& at) {
    if (!json.is_object()) return schema("a state must be an object", at);
    const std::string_view type = json["Type"].string_or();
    const auto* known = std::find_if(std::begin(kTypes), std::end(kTypes), [&](const auto& t) { return t.first == type; });
    if (known == std::end(kTypes)) {
      if (!json.find("Type")) return missing("Type", at);
      return schema("The field 'Type' should have one of these values: [Task, Wait, Pass, Succeed, Fail, Choice, Parallel, Map]",
                    at + "/Type");
    }
    s.type = known->second;
    s.language = language_of(json, language_);
    const Language enclosing = std::exchange(current_, s.language);
    // A JSONata machine has no JSONPath states. Of such a state's fields the language is not looked at any more.
    const bool mixed = language_ == Language::jsonata && s.language == Language::jsonpath;
    if (mixed) schema("'QueryLanguage' can not be 'JSONPath' if set to 'JSONata' for whole state machine", at);
    const Fields& fields = fields_of(s.type);
    const bool jsonata = s.language == Language::jsonata;
    for (const auto& member : json.as_object()) {
      if (contains({"Type", "Comment", "QueryLanguage"}, member.key) || contains(fields.both, member.key)) continue;
      if (contains(jsonata ? fields.jsonata : fields.jsonpath, member.key)) continue;
      if (!contains(jsonata ? fields.jsonpath : fields.jsonata, member.key))
        unknown(member.key, at);
      else if (!mixed)
        schema(fmt::format("The QueryLanguage is set to '{}', but field '{}' is only supported for the '{}' QueryLanguage",
                           jsonata ? "JSONata" : "JSONPath", member.key, jsonata ? "JSONPath" : "JSONata"),
               at);
    }
    check_language(json, at);
    bad_expression_ = false;
    if (jsonata) expressions(json, at);

    if (!jsonata) {
      s.input_path = data_path(json, "InputPath", at);
      s.output_path = data_path(json, "OutputPath", at);
      s.parameters = payload(json, "Parameters", at);
      s.result_selector = payload(json, "ResultSelector", at);
      result_path(json, s.result_path, s.discard_result, at);
    } else {
      s.parameters = payload(json, "Arguments", at);
      s.output = payload(json, "Output", at);
    }
    s.assign = payload(json, "Assign", at);
    retriers(json, s.retry, at);
    catchers(json, s.catches, at);
    transition(json, s, at);

    switch (s.type) {
      case StateType::pass:
        if (const Json* result = json.find("Result"); result && !jsonata) s.result = *result;
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
        s.error = text(json, "Error", "ErrorPath", at);
        s.cause = text(json, "Cause", "CausePath", at);
        break;
      case StateType::parallel: {
        const Json& branches = json["Branches"];
        if (!branches.is_array()) return missing("Branches", at);
        if (branches.as_array().empty()) return schema("Value cannot be empty", at + "/Branches");
        for (std::size_t i = 0; i < branches.as_array().size(); ++i) {
          s.branches.push_back(std::make_unique<Graph>());
          inner_graph(branches.as_array()[i], *s.branches.back(), fmt::format("{}/Branches[{}]", at, i), false);
        }
        break;
      }
      case StateType::map:
        map(json, s, at);
        break;
      case StateType::succeed:
        break;
    }
    current_ = enclosing;
  }

  // The expressions of a JSONata state, wherever they stand.
  void expressions(const Json& json, const std::string& at) {
    static const Names kFields = {"Arguments",        "Assign",         "Cause",     "Credentials",           "Error",
                                  "HeartbeatSeconds", "ItemSelector",   "Items",     "MaxConcurrency",        "Output",
                                  "Seconds",          "TimeoutSeconds", "Timestamp", "ToleratedFailureCount", "ToleratedFailurePercentage"};
    static const Names kBatcher = {"BatchInput", "MaxItemsPerBatch", "MaxInputBytesPerBatch"};
    static const Names kArguments = {"Arguments"}, kReader = {"MaxItems"}, kRule = {"Condition", "Output", "Assign"};
    const auto in = [&](const Json& holder, const Names& names, const std::string& where, bool caught) {
      for (const std::string_view name : names)
        if (const Json* value = holder.find(name))
          expressions_in(*value, where + '/' + std::string(name),
                         {.result = !caught && (name == "Output" || name == "Assign"), .error = caught});
    };
    in(json, kFields, at, false);
    const auto each = [&](const char* list, bool caught) {
      for (std::size_t i = 0; i < json[list].items().size(); ++i)
        in(json[list].items()[i], kRule, fmt::format("{}/{}[{}]", at, list, i), caught);
    };
    each("Choices", false);
    each("Catch", true);
    in(json["ItemReader"], kArguments, at + "/ItemReader", false);
    in(json["ItemReader"]["ReaderConfig"], kReader, at + "/ItemReader/ReaderConfig", false);
    in(json["ItemBatcher"], kBatcher, at + "/ItemBatcher", false);
    in(json["ResultWriter"], kArguments, at + "/ResultWriter", false);
  }

  // What $states has where an expression stands, beside the input and the context.
  struct Known {
    bool result = false, error = false;
  };
  void expressions_in(const Json& value, const std::string& at, Known known) {
    for (std::size_t i = 0; i < value.items().size(); ++i) expressions_in(value.items()[i], fmt::format("{}[{}]", at, i), known);
    if (value.is_object())
      for (const auto& [key, member] : value.as_object()) expressions_in(member, at + '/' + key, known);
    if (value.is_string()) expression_text(value.as_string(), at, known);
  }
  // Codes and texts as measured at AWS, 2026.
  void expression_text(std::string_view text, const std::string& at, Known known) {
    const auto inner = jsonata_of(text);
    if (!inner) {
      if (text.starts_with("{%") != text.ends_with("%}"))
        say("INVALID_JSONATA_EXPRESSION", "A JSONata expression must start with '{%' and end with '%}'", at);
      return;
    }
    const auto parsed = query::Jsonata::parse(*inner);
    if (!parsed) {
      bad_expression_ = true;
      return say("INVALID_JSONATA_EXPRESSION", parsed.error().message, at);
    }
    for (const std::string& name : parsed->context_references()) {
      const char* where = name == "$$" ? "" : " at the top level";
      say("UNSUPPORTED_JSONATA_EXPRESSION", fmt::format("Reference to '{}'{} is not supported.", name, where), at);
    }
    for (const std::string& member : parsed->states_members())
      if (member != "input" && member != "context" && !(member == "result" && known.result) && !(member == "errorOutput" && known.error))
        say("UNSUPPORTED_JSONATA_EXPRESSION", fmt::format("Field '$states.{}' does not exist.", member), at);
  }

  void transition(const Json& json, State& s, const std::string& at) {
    if (s.type == StateType::choice || s.type == StateType::succeed || s.type == StateType::fail) return;
    const Json* next = json.find("Next");
    const Json* end = json.find("End");
    if (next && !next->is_string()) schema("The value of 'Next' must be a state name", at + "/Next");
    s.next = next ? next->string_or() : "";
    s.end = end && end->bool_or(false);
    if (!next && !s.end) schema("Exactly one of 'Next' or 'End' is required", at);
    if (next && s.end) schema("'Next' and 'End' exclude each other", at);
  }

  void not_both(const Json& json, const char* one, const char* other, const std::string& at) {
    if (json.find(one) && json.find(other)) schema(fmt::format("You cannot specify both '{}' and '{}' for the same state", one, other), at);
  }

  // A field that is a literal (checked by `fits`), a JSONata expression or, under its Path name, a JSONPath.
  template <class Fits>
  std::optional<Template> field(const Json& json, const char* name, const char* path_name, const char* what, const std::string& at,
                                const Fits& fits) {
    const Json* value = json.find(name);
    const Json* path = path_name && current_ == Language::jsonpath ? json.find(path_name) : nullptr;
    if (path) not_both(json, name, path_name, at);
    if (value) {
      auto parsed = Template::parse(*value, current_, name);
      if (!parsed) {
        if (!bad_expression_) schema(parsed.error().message, at + '/' + name);
      } else if (parsed->literal() && !fits(*value)) {
        schema(fmt::format("The value for the field '{}' must be {}", name, what), at + '/' + name);
      } else {
        return *std::move(parsed);
      }
      return std::nullopt;
    }
    if (!path) return std::nullopt;
    auto parsed = expression(json, path_name, at);
    if (!parsed) return std::nullopt;
    return Template::of(*std::move(parsed), path_name);
  }
  std::optional<Template> text(const Json& json, const char* name, const char* path_name, const std::string& at) {
    static constexpr std::array<std::string_view, 7> kGiveText = {"States.ArrayGetItem", "States.Base64Encode", "States.Base64Decode",
                                                                  "States.Format",       "States.JsonToString", "States.Hash",
                                                                  "States.UUID"};
    const std::string_view path = json[path_name].string_or(), function = path.substr(0, path.find('('));
    if (path.starts_with("States.") && std::ranges::find(kGiveText, function) == kGiveText.end())
      schema(fmt::format("The value for the field '{}' must be a valid JSONPath or an intrinsic function expression that returns a string "
                         "(ArrayGetItem, Base64Encode, Base64Decode, Format, JsonToString, Hash, or UUID)",
                         path_name),
             at + '/' + path_name);
    return field(json, name, path_name, "a string", at, [](const Json& v) { return v.is_string(); });
  }
  std::optional<Template> seconds(const Json& json, const char* name, const char* path_name, std::int64_t least, const std::string& at) {
    return field(json, name, path_name, fmt::format("an integer from {} to 99999999", least).c_str(), at, [least](const Json& v) {
      const auto n = (v.is_number() ? v.as_integer() : std::nullopt);
      return n && *n >= least && *n <= kMaxSeconds;
    });
  }
  std::optional<Template> count(const Json& json, const char* name, const char* path_name, const std::string& at) {
    return field(json, name, path_name, "a non-negative integer", at, [](const Json& v) {
      const auto n = (v.is_number() ? v.as_integer() : std::nullopt);
      return n && *n >= 0;
    });
  }

  void task(const Json& json, State& s, const std::string& at) {
    const Json* resource = json.find("Resource");
    if (!resource || !resource->is_string()) return missing("Resource", at);
    auto parsed = Resource::parse(resource->plain());
    if (!parsed)
      schema(parsed.error().message, at + "/Resource");
    else
      s.resource = *std::move(parsed);
    if (express_ && s.resource.kind == Resource::Kind::activity)
      schema("Express state machine does not support Activity ARN", at + "/Resource");
    if (express_ && s.resource.pattern != Resource::Pattern::request_response)
      schema(fmt::format("Express state machine does not support '{}' service integration",
                         s.resource.pattern == Resource::Pattern::sync ? ".sync" : ".waitForTaskToken"),
             at + "/Resource");
    s.timeout = seconds(json, "TimeoutSeconds", "TimeoutSecondsPath", 1, at);
    s.heartbeat = seconds(json, "HeartbeatSeconds", "HeartbeatSecondsPath", 1, at);
    if (s.timeout && s.heartbeat && s.timeout->literal() && s.heartbeat->literal() &&
        s.heartbeat->literal()->as_double() >= s.timeout->literal()->as_double())
      schema("The value of 'HeartbeatSeconds' must be smaller than 'TimeoutSeconds'", at);
    if (const Json* credentials = json.find("Credentials")) {
      if (!credentials->find("RoleArn") && !credentials->find("RoleArn.$")) missing("RoleArn", at + "/Credentials");
      s.credentials = payload(json, "Credentials", at);
    }
  }

  void choice(const Json& json, State& s, const std::string& at) {
    s.default_next = json["Default"].string_or();
    const Json& choices = json["Choices"];
    if (!choices.is_array() || choices.as_array().empty()) return missing("Choices", at);
    for (std::size_t i = 0; i < choices.as_array().size(); ++i) {
      const Json& given = choices.as_array()[i];
      const std::string here = fmt::format("{}/Choices[{}]", at, i);
      if (given.is_object() && !given.find("Next")) {
        missing("Next", here);
        continue;
      }
      if (current_ == Language::jsonpath && !variables_are_references(given, here)) continue;
      auto rule = ChoiceRule::parse(given, current_, fmt::format("Choices[{}]", i));
      if (rule)
        s.choices.push_back(*std::move(rule));
      else if (!bad_expression_)
        schema(rule.error().message, here);
    }
  }

  // Of a choice rule and the rules in it: a variable is a path into the data, never a call.
  bool variables_are_references(const Json& rule, const std::string& at) {
    bool good = true;
    if (const Json* variable = rule.find("Variable"); variable && variable->is_string() && !variable->as_string().starts_with('$')) {
      schema(kNoReference, at + "/Variable");
      good = false;
    }
    for (const char* list : {"And", "Or"})
      for (std::size_t i = 0; i < rule[list].items().size(); ++i)
        good = variables_are_references(rule[list].items()[i], fmt::format("{}/{}[{}]", at, list, i)) && good;
    if (const Json* inner = rule.find("Not")) good = variables_are_references(*inner, at + "/Not") && good;
    return good;
  }

  void wait(const Json& json, State& s, const std::string& at) {
    int ways = 0;
    for (const char* name : {"Seconds", "Timestamp", "SecondsPath", "TimestampPath"}) ways += json.find(name) ? 1 : 0;
    if (ways != 1)
      return schema(current_ == Language::jsonpath
                        ? "A Wait state must contain exactly one of 'Seconds', 'Timestamp', 'SecondsPath' or 'TimestampPath'"
                        : "A Wait state must contain exactly one of 'Seconds' or 'Timestamp'",
                    at);
    s.seconds = seconds(json, "Seconds", "SecondsPath", 0, at);
    const auto is_time = [](const Json& v) { return parse_iso(v.string_or()).has_value(); };
    if (const Json* given = json.find("Timestamp"); given && !is_time(*given) && !(current_ == Language::jsonata && is_expression(*given)))
      return schema("String does not match RFC3339 timestamp", at + "/Timestamp");
    s.timestamp = field(json, "Timestamp", "TimestampPath", "an ISO 8601 timestamp", at, is_time);
  }

  void map(const Json& json, State& s, const std::string& at) {
    const Json* processor = json.find("ItemProcessor");
    if (!processor) processor = json.find("Iterator");
    if (!processor || !processor->is_object()) return missing("ItemProcessor", at);
    not_both(json, "ItemProcessor", "Iterator", at);
    not_both(json, "ItemSelector", "Parameters", at);
    const std::string where = at + (json.find("ItemProcessor") ? "/ItemProcessor" : "/Iterator");
    const Json& config = (*processor)["ProcessorConfig"];
    const std::string_view mode = config["Mode"].string_or("INLINE");
    if (mode != "INLINE" && mode != "DISTRIBUTED")
      schema("The value for the field 'Mode' must be 'INLINE' or 'DISTRIBUTED'", where + "/ProcessorConfig/Mode");
    if (mode == "DISTRIBUTED") {
      if (express_) schema("Express state machine does not support Map state in DISTRIBUTED mode", where + "/ProcessorConfig/Mode");
      const std::string_view type = config["ExecutionType"].string_or();
      if (type != "STANDARD" && type != "EXPRESS") missing("ExecutionType", where + "/ProcessorConfig");
      auto machine = std::make_shared<Machine>();
      machine->language = language_;
      machine->express = type == "EXPRESS";
      const bool outer = std::exchange(express_, machine->express);
      const auto around = std::exchange(scopes_, {});  // executions of their own see none of ours
      inner_graph(*processor, machine->graph, where, true);
      scopes_ = around;
      express_ = outer;
      s.processor = std::move(machine);
    } else {
      s.branches.push_back(std::make_unique<Graph>());
      inner_graph(*processor, *s.branches.back(), where, true);
    }
    if (json.find("ItemSelector")) s.parameters = payload(json, "ItemSelector", at);
    if (current_ == Language::jsonata) {
      if (json.find("Items")) {
        s.items = payload(json, "Items", at);
        if (s.items && s.items->literal() && !s.items->literal()->is_array())
          schema("The value for the field 'Items' must be an array or a JSONata expression", at + "/Items");
      }
    } else if (auto path = expression(json, "ItemsPath", at)) {
      s.items = Template::of(*std::move(path), "ItemsPath");
    }
    s.max_concurrency = count(json, "MaxConcurrency", "MaxConcurrencyPath", at);
    s.tolerated_count = count(json, "ToleratedFailureCount", "ToleratedFailureCountPath", at);
    s.tolerated_percentage = field(json, "ToleratedFailurePercentage", "ToleratedFailurePercentagePath", "a number from 0 to 100", at,
                                   [](const Json& v) { return v.is_number() && v.as_double() >= 0 && v.as_double() <= 100; });
    if (const Json* label = json.find("Label")) {
      s.label = label->string_or();
      if (s.label.empty()) schema("The value for the field 'Label' must not be empty", at + "/Label");
      if (s.label.size() > 40) schema("The value for the field 'Label' must not be longer than 40 characters", at + "/Label");
      if (s.label.find_first_of(" ?*<>{}[]:;,\\|^~$#%&`\"") != std::string::npos || std::any_of(s.label.begin(), s.label.end(), [](char c) {
            return static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) >= 0x7f;
          }))
        schema("The value for the field 'Label' contains characters that are not allowed", at + "/Label");
    }
    if (const Json* reader = json.find("ItemReader")) item_reader(*reader, s, at + "/ItemReader");
    if (const Json* batcher = json.find("ItemBatcher")) item_batcher(*batcher, s, at + "/ItemBatcher");
    if (const Json* writer = json.find("ResultWriter")) result_writer(*writer, s, at + "/ResultWriter");
    if (!s.processor)
      for (const char* name : {"ItemReader", "ItemBatcher", "ResultWriter", "Label"})
        if (json.find(name)) schema(fmt::format("Field '{}' is only supported by a Map state in DISTRIBUTED mode", name), at);
  }

  std::optional<Template> call_payload(const Json& json, const std::string& at) {
    return payload(json, current_ == Language::jsonata ? "Arguments" : "Parameters", at);
  }

  void item_reader(const Json& json, State& s, const std::string& at) {
    ItemReader reader;
    auto resource = Resource::parse(std::string(json["Resource"].string_or()));
    if (!resource) return schema(resource.error().message, at + "/Resource");
    reader.resource = *std::move(resource);
    if (reader.resource.type != "s3" || (reader.resource.action != "getObject" && reader.resource.action != "listObjectsV2"))
      return schema(fmt::format("The resource provided {} is not recognized. The value is not a valid resource ARN, or the resource is not "
                                "available in this region.",
                                reader.resource.arn),
                    at + "/Resource");
    reader.parameters = call_payload(json, at);
    const Json& config = json["ReaderConfig"];
    reader.input_type = config["InputType"].string_or();
    const bool known = contains({"CSV", "JSON", "JSONL", "MANIFEST"}, reader.input_type);
    if (reader.resource.action == "getObject" && !known)
      return schema(reader.input_type == "PARQUET" ? "InputType PARQUET is not supported by this version of Snapward"
                                                   : "The value for the field 'InputType' must be one of [CSV, JSON, JSONL, MANIFEST]",
                    at + "/ReaderConfig");
    if (reader.input_type == "CSV") {
      const std::string_view location = config["CSVHeaderLocation"].string_or();
      if (location != "FIRST_ROW" && location != "GIVEN")
        schema("The value for the field 'CSVHeaderLocation' must be one of [FIRST_ROW, GIVEN]", at + "/ReaderConfig");
      reader.headers_given = location == "GIVEN";
      for (const Json& header : config["CSVHeaders"].items()) reader.headers.emplace_back(header.string_or());
      if (reader.headers_given && reader.headers.empty()) missing("CSVHeaders", at + "/ReaderConfig");
      static constexpr std::pair<std::string_view, char> kDelimiters[] = {
          {"COMMA", ','}, {"PIPE", '|'}, {"SEMICOLON", ';'}, {"SPACE", ' '}, {"TAB", '\t'}};
      const std::string_view delimiter = config["CSVDelimiter"].string_or("COMMA");
      const auto* found = std::find_if(std::begin(kDelimiters), std::end(kDelimiters), [&](const auto& d) { return d.first == delimiter; });
      if (found == std::end(kDelimiters))
        schema("The value for the field 'CSVDelimiter' must be one of [COMMA, PIPE, SEMICOLON, SPACE, TAB]", at + "/ReaderConfig");
      else
        reader.delimiter = found->second;
    }
    reader.items_pointer = config["ItemsPointer"].string_or();
    reader.max_items = count(config, "MaxItems", "MaxItemsPath", at + "/ReaderConfig");
    s.reader = std::move(reader);
  }

  void item_batcher(const Json& json, State& s, const std::string& at) {
    ItemBatcher batcher;
    batcher.max_items = count(json, "MaxItemsPerBatch", "MaxItemsPerBatchPath", at);
    batcher.max_bytes = count(json, "MaxInputBytesPerBatch", "MaxInputBytesPerBatchPath", at);
    batcher.input = payload(json, "BatchInput", at);
    if (!batcher.max_items && !batcher.max_bytes) schema("At least one of 'MaxItemsPerBatch' or 'MaxInputBytesPerBatch' is required", at);
    s.batcher = std::move(batcher);
  }

  void result_writer(const Json& json, State& s, const std::string& at) {
    ResultWriter writer;
    if (json.find("Resource")) {
      auto resource = Resource::parse(std::string(json["Resource"].string_or()));
      if (!resource || resource->type != "s3" || resource->action != "putObject")
        return schema("The value for the field 'Resource' must be arn:aws:states:::s3:putObject", at + "/Resource");
      writer.resource = *std::move(resource);
    }
    writer.parameters = call_payload(json, at);
    const std::string_view transformation = json["WriterConfig"]["Transformation"].string_or("NONE"),
                           type = json["WriterConfig"]["OutputType"].string_or("JSON");
    if (!contains({"NONE", "COMPACT", "FLATTEN"}, transformation))
      schema("The value for the field 'Transformation' must be one of [NONE, COMPACT, FLATTEN]", at + "/WriterConfig");
    if (!contains({"JSON", "JSONL"}, type))
      schema("The value for the field 'OutputType' must be one of [JSON, JSONL]", at + "/WriterConfig");
    writer.compact = transformation == "COMPACT";
    writer.flatten = transformation == "FLATTEN";
    writer.lines = type == "JSONL";
    s.writer = std::move(writer);
  }

  DataPath data_path(const Json& json, const char* name, const std::string& at) {
    DataPath out;
    const Json* value = json.find(name);
    if (!value) return out;
    if (value->is_null()) {
      out.nothing = true;
    } else if (!value->string_or().starts_with('$') || !Expression::parse(value->as_string())) {
      schema("Value must be a valid JSONPath.", at + '/' + name);
    } else {
      out.path = *Expression::parse(value->as_string());
    }
    if (out.path && out.path->text() == "$") out.path.reset();
    return out;
  }

  std::optional<Expression> expression(const Json& json, const char* name, const std::string& at) {
    const Json* value = json.find(name);
    if (!value) return std::nullopt;
    auto parsed = value->is_string() ? Expression::parse(value->as_string()) : invalid("it is not a string");
    if (parsed) return *std::move(parsed);
    schema(fmt::format("The value for the field '{}' must be a valid JSONPath", name), at + '/' + name);
    return std::nullopt;
  }

  std::optional<Template> payload(const Json& json, const char* name, const std::string& at) {
    const Json* value = json.find(name);
    if (!value) return std::nullopt;
    auto parsed = Template::parse(*value, current_, name);
    if (parsed) return *std::move(parsed);
    if (!bad_expression_) schema(parsed.error().message, at + '/' + name);
    return std::nullopt;
  }

  void result_path(const Json& json, std::optional<query::JsonPath>& out, bool& discard, const std::string& at) {
    const Json* value = json.find("ResultPath");
    if (!value) return;
    if (value->is_null()) {
      discard = true;
      return;
    }
    if (value->is_string() && !value->as_string().starts_with('$')) return schema(kNoReference, at + "/ResultPath");
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
    for (std::size_t i = 0; i < names.size(); ++i)
      if (names[i] == errors::kAll && (names.size() > 1 || !last))
        schema("States.ALL must appear alone and at end of list", fmt::format("{}/ErrorEquals[{}]", at, i));
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
      const auto number = [&](const char* name, double fallback, double least) {
        const Json* value = r.find(name);
        if (!value) return fallback;
        if (value->is_number() && value->as_double() >= least) return value->as_double();
        schema(fmt::format("'{}' must be a number of at least {}", name, least), here + '/' + name);
        return fallback;
      };
      retrier.interval_seconds = number("IntervalSeconds", 1, 1);
      retrier.max_attempts = static_cast<std::int64_t>(number("MaxAttempts", 3, 0));
      retrier.backoff_rate = number("BackoffRate", 2.0, 1.0);
      if (r.find("MaxDelaySeconds")) {
        retrier.max_delay_seconds = number("MaxDelaySeconds", 1, 1);
        if (*retrier.max_delay_seconds > 31'622'400) schema("'MaxDelaySeconds' must be at most 31622400", here + "/MaxDelaySeconds");
      }
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
      if (current_ == Language::jsonpath)
        result_path(c, catcher.result_path, catcher.discard_result, here);
      else
        catcher.output = payload(c, "Output", here);
      if (c.find(current_ == Language::jsonpath ? "Output" : "ResultPath"))
        unknown(current_ == Language::jsonpath ? "Output" : "ResultPath", here);
      catcher.assign = payload(c, "Assign", here);
      out.push_back(std::move(catcher));
    }
  }

  std::vector<Diagnostic>& diagnostics_;
  bool express_;
  bool has_end_ = true;          // the machine has a terminal state
  bool bad_expression_ = false;  // of the state that is being read: told already
  Language language_ = Language::jsonpath, current_ = Language::jsonpath;
  std::set<std::string> names_;                             // state names are unique in the whole machine
  std::vector<std::set<std::string, std::less<>>> scopes_;  // variables assigned in the one being read and those around it
};

void each_state(const Graph& graph, const std::function<void(const State&)>& use) {
  for (const auto& [name, s] : graph.states) {
    use(s);
    for (const auto& branch : s.branches) each_state(*branch, use);
    if (s.processor) each_state(s.processor->graph, use);
  }
}

// Every template of a state; what a choice rule compares is apart.
void each_template(const State& s, const std::function<void(const Template&)>& use) {
  const auto of = [&](const std::optional<Template>& t) {
    if (t) use(*t);
  };
  for (const auto* t : {&s.parameters, &s.result_selector, &s.output, &s.assign, &s.timeout, &s.heartbeat, &s.credentials, &s.seconds,
                        &s.timestamp, &s.error, &s.cause, &s.items, &s.max_concurrency, &s.tolerated_count, &s.tolerated_percentage})
    of(*t);
  for (const Catcher& c : s.catches) {
    of(c.assign);
    of(c.output);
  }
  if (s.reader) {
    of(s.reader->parameters);
    of(s.reader->max_items);
  }
  if (s.batcher) {
    of(s.batcher->max_items);
    of(s.batcher->max_bytes);
    of(s.batcher->input);
  }
  if (s.writer) of(s.writer->parameters);
}

// So many reads of 256 KiB take some milliseconds.
constexpr std::uint64_t kMuchWork = 64;

bool computes_long(const Graph& graph) {
  bool found = false;
  each_state(graph, [&](const State& s) {
    std::uint64_t work = 0;
    const auto add = [&](std::uint64_t more) { found = found || more > kMuchWork || (work += more) > kMuchWork; };
    each_template(s, [&](const Template& t) { add(t.work()); });
    for (const ChoiceRule& rule : s.choices) add(rule.work());
  });
  return found;
}

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

const State* find_state(const Machine& machine, std::string_view name) {
  const State* found = nullptr;
  each_state(machine.graph, [&](const State& s) {
    if (s.name == name) found = &s;
  });
  return found;
}

std::map<std::string, std::set<std::string>> variable_references(const Machine& machine) {
  std::map<std::string, std::set<std::string>> out;
  each_state(machine.graph, [&](const State& s) {
    std::set<std::string> names;
    for (const DataPath* path : {&s.input_path, &s.output_path})
      if (path->path) path->path->variables(names);
    each_template(s, [&](const Template& t) { t.variables(names); });
    for (const ChoiceRule& rule : s.choices) rule.variables(names);
    if (!names.empty()) out[s.name] = std::move(names);
  });
  return out;
}

namespace {

// Developer Guide, "Integrating optimized services".
bool is_optimized(std::string_view type) {
  static constexpr std::string_view kOptimized[] = {"apigateway",
                                                    "athena",
                                                    "batch",
                                                    "bedrock",
                                                    "codebuild",
                                                    "databrew",
                                                    "dynamodb",
                                                    "ecs",
                                                    "eks",
                                                    "elasticmapreduce",
                                                    "emr-containers",
                                                    "emr-serverless",
                                                    "events",
                                                    "glue",
                                                    "http",
                                                    "lambda",
                                                    "mediaconvert",
                                                    "s3",
                                                    "sagemaker",
                                                    "sns",
                                                    "sqs",
                                                    "states"};
  return std::ranges::find(kOptimized, type.substr(0, type.find(':'))) != std::end(kOptimized);
}

}  // namespace

Result<Resource> Resource::parse(const std::string& text) {
  Resource out;
  out.arn = text;
  const auto unrecognized = [&] {
    return invalid(
        fmt::format("The resource provided {} is not recognized. The value is not a valid resource ARN, or the resource is not available "
                    "in this region.",
                    text));
  };
  const auto arn = Arn::parse(text);
  if (!arn) return invalid("Value is not a valid resource ARN");
  if (arn->service == "lambda") {
    out.kind = Kind::lambda;
    return out;
  }
  if (arn->service != "states") return unrecognized();
  if (arn->resource.starts_with("activity:")) {
    out.kind = Kind::activity;
    return out;
  }
  std::string rest = arn->resource;
  if (rest.ends_with(".waitForTaskToken")) out.pattern = Pattern::wait_for_token;
  if (rest.ends_with(".sync") || rest.ends_with(".sync:2")) out.pattern = Pattern::sync;
  // "sync:2" has a colon of its own.
  const std::size_t colon = rest.rfind(':', rest.ends_with(".sync:2") ? rest.size() - 3 : std::string::npos);
  if (colon == std::string::npos || colon == 0 || colon + 1 == rest.size()) return unrecognized();
  out.type = rest.substr(0, colon);
  out.action = rest.substr(colon + 1);
  if (out.type.starts_with("aws-sdk:") ? std::isupper(static_cast<unsigned char>(out.action[0])) : !is_optimized(out.type))
    return unrecognized();
  return out;
}

Compiled compile(const Json& definition, bool express) {
  Compiled out;
  auto machine = std::make_shared<Machine>();
  Compiler(out.diagnostics, express).machine(definition, *machine);
  machine->computes_long = computes_long(machine->graph);
  if (out.diagnostics.empty()) out.machine = std::move(machine);
  return out;
}

Compiled compile_text(std::string_view definition, bool express) {
  const auto json = Json::parse(definition);
  if (json) return compile(*json, express);
  Compiled out;
  const auto said = jackson_error(definition);
  out.diagnostics.push_back({"INVALID_JSON_DESCRIPTION", said ? said->message : json.error().message, ""});
  return out;
}

Compiled compile_state(const Json& state, const std::string& name) {
  Compiled out;
  auto machine = std::make_shared<Machine>();
  Compiler(out.diagnostics, false).lone_state(state, name, *machine);
  machine->computes_long = computes_long(machine->graph);
  if (out.diagnostics.empty()) out.machine = std::move(machine);
  return out;
}

std::string describe(const std::vector<Diagnostic>& diagnostics) {
  std::string out = "Invalid State Machine Definition: ";
  for (std::size_t i = 0; i < diagnostics.size(); ++i) {
    const auto& d = diagnostics[i];
    // A machine without an end has no place, and AWS says so (measured, 2026).
    const std::string at = !d.location.empty() ? " at " + d.location : d.code == "MISSING_END_STATE" ? " at null" : "";
    out += fmt::format("{}'{}: {}{}'", i ? ", " : "", d.code, d.message, at);
  }
  return out;
}

}  // namespace snapward::asl
