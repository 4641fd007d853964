// A state machine's definition: parsed, checked, ready to run. Immutable once compiled; many executions share one Machine.
// Source: Amazon States Language specification (states-language.net).
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
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
  std::optional<Template> output;  // JSONata
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

struct Machine;

// Distributed Map: where its items come from, how they are put together, where its results go.
struct ItemReader {
  Resource resource;
  std::optional<Template> parameters;  // Parameters, or Arguments
  std::string input_type;              // "JSON", "CSV", "JSONL", "MANIFEST"; empty for a listing
  bool headers_given = false;          // CSVHeaderLocation GIVEN, else FIRST_ROW
  std::vector<std::string> headers;
  char delimiter = ',';
  std::string items_pointer;  // RFC 6901, into a JSON document
  std::optional<Template> max_items;
};
struct ItemBatcher {
  std::optional<Template> max_items, max_bytes, input;
};
struct ResultWriter {
  std::optional<Resource> resource;
  std::optional<Template> parameters;
  bool flatten = false, compact = false;  // Transformation FLATTEN, COMPACT
  bool lines = false;                     // OutputType JSONL
};

struct State {
  std::string name;
  StateType type = StateType::pass;
  Language language = Language::jsonpath;
  std::string next;  // empty: End
  bool end = false;

  DataPath input_path, output_path;
  std::optional<Template> parameters;  // Parameters or Arguments; a Map's ItemSelector (and its legacy Parameters)
  std::optional<Template> result_selector;
  std::optional<query::JsonPath> result_path;  // absent: "$"
  bool discard_result = false;                 // ResultPath: null
  std::optional<Template> output;              // JSONata
  std::optional<Template> assign;
  std::vector<Retrier> retry;
  std::vector<Catcher> catches;

  std::optional<Json> result;  // Pass

  Resource resource;  // Task
  std::optional<Template> timeout, heartbeat, credentials;

  std::vector<ChoiceRule> choices;  // Choice
  std::string default_next;

  std::optional<Template> seconds, timestamp;  // Wait: one of the two

  std::optional<Template> error, cause;  // Fail

  std::vector<std::unique_ptr<Graph>> branches;  // Parallel: its branches; inline Map: its one item processor
  std::optional<Template> items;                 // Map
  std::optional<Template> max_concurrency;       // 0 or absent: no limit
  std::optional<Template> tolerated_count, tolerated_percentage;
  // Distributed Map: each item is an execution of its own, of this machine.
  std::shared_ptr<const Machine> processor;
  std::string label;
  std::optional<ItemReader> reader;
  std::optional<ItemBatcher> batcher;
  std::optional<ResultWriter> writer;
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
  Language language = Language::jsonpath;
  bool express = false;  // of a distributed Map's item processor: its ExecutionType
  // A state may compute for longer than what else waits for the same thread should wait: see Template::work().
  bool computes_long = false;
};

// A state of the machine or of anything nested in it; null when there is none.
const State* find_state(const Machine& machine, std::string_view name);
// The variables each state reads, by state name: {"Tag": {"total"}}. States that read none are left out.
std::map<std::string, std::set<std::string>> variable_references(const Machine& machine);

struct Diagnostic {
  std::string code;  // SCHEMA_VALIDATION_FAILED, MISSING_TRANSITION_TARGET, …
  std::string message;
  std::string location;  // "/States/Tag/Next"
};

struct Compiled {
  std::shared_ptr<const Machine> machine;  // null when there are diagnostics
  std::vector<Diagnostic> diagnostics;     // all of them, not only the first
};

// express: what Express workflows cannot do (activities, .sync, .waitForTaskToken, distributed Map) is an error.
// Limits: 1 MB of text (checked by the API), nesting as Json::parse allows.
Compiled compile(const Json& definition, bool express = false);
Compiled compile_text(std::string_view definition, bool express = false);
// One state alone, as TestState takes it: its targets need not exist. The machine's only state is named `name`.
Compiled compile_state(const Json& state, const std::string& name);

// "Invalid State Machine Definition: 'CODE: message at /location', …", as CreateStateMachine says it.
std::string describe(const std::vector<Diagnostic>& diagnostics);

}  // namespace snapward::asl
