// JSONata 2.x, natively: parsed once into a tree, evaluated over a Json without copying it. Immutable and shareable between threads
// once parsed; each evaluation has its own state.
//
// Errors carry JSONata's codes and messages (S0201, T1006, D3030, …). Limits: see Limits; an expression that exceeds one fails, it
// never hangs. Regular expressions are RE2's: linear time; look-around and back-references are refused (S0303).
// Source: docs.jsonata.org; XPath and XQuery Functions 3.1 for pictures; Step Functions Developer Guide, "Transforming data with JSONata".
#pragma once
#include <atomic>
#include <cstdint>
#include <expected>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/entropy.hpp"
#include "base/json.hpp"
#include "base/time.hpp"

namespace snapward::query {

// The code of an error that Step Functions reports without saying what went wrong.
inline constexpr std::string_view kJsonataInternalError = "internal";

struct JsonataError {
  std::string code;     // "T2001"
  std::string message;  // "The left side of the \"+\" operator must evaluate to a number"
  std::size_t position = 0;
};

class Jsonata {
 public:
  struct Limits {
    int depth = 500;                      // expressions within expressions, calls included; tail calls are free
    std::uint64_t steps = 10'000'000;     // expressions evaluated: some tenths of a second
    std::size_t list_items = 10'000'000;  // of one array
    std::size_t live_items = 10'000'000;  // of all arrays alive
  };
  // What AWS was measured to allow within Step Functions.
  static constexpr Limits step_functions_limits() {
    return {.depth = 100, .steps = 10'000'000, .list_items = 873'782, .live_items = 4'000'000};
  }

  static std::expected<Jsonata, JsonataError> parse(std::string_view text);

  struct Environment {
    const std::map<std::string, Json, std::less<>>* variables = nullptr;  // $name, beside the functions
    const Json* states = nullptr;                                         // $states, bound when given
    Entropy* entropy = nullptr;
    Instant now;
    bool step_functions = false;  // $partition, $range, $hash, $random(seed), $uuid, $parse; no $eval
    Limits limits = {};
    const std::atomic<bool>* interrupted = nullptr;  // while true, evaluation fails with U1002; read from time to time; may be null
  };
  // Nothing: the expression found nothing (undefined, unlike null).
  // input: what $ is; null for nothing.
  [[nodiscard]] std::expected<std::optional<Json>, JsonataError> evaluate(const Json* input, const Environment& environment) const;

  // The variables it reads that it does not bind itself, without the functions: {"states", "total"}.
  [[nodiscard]] std::set<std::string> variables() const;
  // What it reads of the context item, in the order written, each once: names that begin a path outside of other steps ("phone"), "$"
  // and "$$". Where there is no context item, as in Step Functions, these are mistakes.
  [[nodiscard]] std::vector<std::string> context_references() const;
  // The members of $states that it reads by name: {"input"}.
  [[nodiscard]] std::set<std::string> states_members() const;
  // How often evaluating it can read its data as a whole: the number of its paths and calls. Nothing: no such number is known, because it
  // has functions of its own, ranges, sorting, regular expressions or paths within paths, whose work the limits alone bound.
  [[nodiscard]] std::optional<std::uint64_t> work() const;
  [[nodiscard]] const std::string& text() const { return *text_; }

 private:
  struct Compiled;
  std::shared_ptr<const Compiled> compiled_;
  std::shared_ptr<const std::string> text_;
};

}  // namespace snapward::query
