// A state machine's definition: parsed, checked, ready to run. Immutable once compiled; many executions share one Machine.
// Source: Amazon States Language specification (states-language.net).
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "asl/choice.hpp"
#include "asl/expression.hpp"
#include "base/json.hpp"
#include "base/time.hpp"

namespace snapward::asl {

enum class StateType { pass, task, choice, wait, succeed, fail, parallel, map };
const char* type_name(StateType type);  // "Pass"

struct Graph;

struct Retrier {
  std::vector<std::string> errors;
  double interval_seconds = 1;
  std::int64_t max_attempts = 3;
  double backoff_rate = 2.0;
  std::optional<double> max_delay_seconds;
  bool full_jitter = false;
};

struct Catcher {
  std::vector<std::string> errors;
  std::string next;
  std::optional<query::JsonPath> result_path;  // nothing with discard: null
  bool discard_result = false;
  std::optional<Template> assign;
};

// InputPath and OutputPath: a path, "$" when absent, or null (the empty object).
struct DataPath {
  bool nothing = false;
  std::optional<Expression> path;  // absent: everything
};

// Where a Task's work is done.
struct Resource {
  enum class Kind { lambda, activity, service } kind = Kind::service;
  enum class Pattern { request_response, sync, wait_for_token } pattern = Pattern::request_response;
  std::string arn;
  std::string type;    // service: "sns", "aws-sdk:ec2"
  std::string action;  // service: "publish", "copySnapshot", with the pattern's suffix as histories show it
  static Result<Resource> parse(const std::string& arn);
};

struct State {
  std::string name;
  StateType type = StateType::pass;
  std::string next;  // empty: End
  bool end = false;

  DataPath input_path, output_path;
  std::optional<Template> parameters;  // Parameters, or a Map's ItemSelector (and its legacy Parameters)
  std::optional<Template> result_selector;
  std::optional<query::JsonPath> result_path;  // absent: "$"
  bool discard_result = false;                 // ResultPath: null
  std::optional<Template> assign;
  std::vector<Retrier> retry;
  std::vector<Catcher> catches;

  std::optional<Json> result;  // Pass

  Resource resource;  // Task
  std::optional<std::int64_t> timeout_seconds, heartbeat_seconds;
  std::optional<Expression> timeout_path, heartbeat_path;

  std::vector<ChoiceRule> choices;  // Choice
  std::string default_next;

  std::optional<double> seconds;  // Wait: one of the four
  std::optional<Instant> timestamp;
  std::optional<Expression> seconds_path, timestamp_path;

  std::string error, cause;  // Fail
  std::optional<Expression> error_path, cause_path;

  std::vector<std::unique_ptr<Graph>> branches;  // Parallel: its branches; Map: its one item processor
  std::optional<Expression> items_path;          // Map
  std::int64_t max_concurrency = 0;              // 0: no limit
  std::optional<Expression> max_concurrency_path;
  std::int64_t tolerated_failure_count = 0;
  double tolerated_failure_percentage = 0;
};

// One "States" scope: the machine's own, a branch's or an item processor's.
struct Graph {
  std::string start_at;
  std::map<std::string, State, std::less<>> states;
  [[nodiscard]] const State* find(std::string_view name) const;
};

struct Machine {
  Graph graph;
  std::string comment;
  std::optional<std::int64_t> timeout_seconds;
};

struct Diagnostic {
  std::string code;  // SCHEMA_VALIDATION_FAILED, MISSING_TRANSITION_TARGET, …
  std::string message;
  std::string location;  // "/States/Tag/Next"
};

struct Compiled {
  std::shared_ptr<const Machine> machine;  // null when there are diagnostics
  std::vector<Diagnostic> diagnostics;     // all of them, not only the first
};

// Limits: 1 MB of text (checked by the API), nesting as Json::parse allows.
Compiled compile(const Json& definition);
Compiled compile_text(std::string_view definition);

// "Invalid State Machine Definition: 'CODE: message at /location', …", as CreateStateMachine says it.
std::string describe(const std::vector<Diagnostic>& diagnostics);

}  // namespace snapward::asl
