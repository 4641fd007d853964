// Choice rules: comparisons and their combinations (JSONPath), or a Condition (JSONata). Source: Amazon States Language specification,
// "Choice State".
#pragma once
#include <string>
#include <vector>

#include "asl/expression.hpp"

namespace snapward::asl {

class ChoiceRule {
 public:
  // json is a rule; field names it in messages ("Choices[0]"). Errors name the field.
  static Result<ChoiceRule> parse(const Json& json, Language language, const std::string& field) {
    return parse(json, language, field, false);
  }
  // Whether the rule holds. Fails (States.Runtime) when the variable, or the path compared with, names nothing.
  [[nodiscard]] Outcome<bool> holds(const Scope& scope) const;
  void variables(std::set<std::string>& out) const;
  [[nodiscard]] std::uint64_t work() const;  // as Template::work()

  std::string next;
  std::optional<Template> assign;
  std::optional<Template> output;  // JSONata

 private:
  // nested: a condition within And/Or/Not.
  static Result<ChoiceRule> parse(const Json& json, Language language, const std::string& field, bool nested);
  enum class Op {
    condition,
    all,
    any,
    negate,
    compare,
    is_null,
    is_present,
    is_numeric,
    is_string,
    is_boolean,
    is_timestamp,
    matches
  } op_ = Op::compare;
  enum class Kind { string, number, timestamp, boolean } kind_ = Kind::string;
  enum class Order { equal, less, greater, less_equal, greater_equal } order_ = Order::equal;
  std::vector<ChoiceRule> operands_;
  std::optional<Template> condition_;
  std::optional<Expression> variable_;
  Json expected_;
  std::optional<Expression> expected_path_;

  [[nodiscard]] bool compares(const Json& actual, const Json& expected) const;
};

}  // namespace snapward::asl
