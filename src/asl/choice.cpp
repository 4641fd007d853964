#include "asl/choice.hpp"

#include <fmt/format.h>

#include "base/text.hpp"
#include "base/time.hpp"

namespace snapward::asl {

namespace {
bool is_timestamp(const Json& value) { return value.is_string() && parse_iso(value.as_string()).has_value(); }
}  // namespace

Result<ChoiceRule> ChoiceRule::parse(const Json& json, Language language, const std::string& field, bool nested) {
  if (!json.is_object()) return invalid("a choice rule must be an object");
  ChoiceRule rule;
  if (const Json* next = json.find("Next")) {
    if (nested) return invalid("the field 'Next' is only allowed at the top level of a choice rule");
    rule.next = next->string_or();
  } else if (!nested) {
    return invalid("the field 'Next' is required in a choice rule");
  }
  if (const Json* assign = json.find("Assign")) {
    auto parsed = Template::parse(*assign, language, field + "/Assign");
    if (!parsed) return std::unexpected(parsed.error());
    rule.assign = *std::move(parsed);
  }
  if (language == Language::jsonata) {
    for (const auto& member : json.as_object())
      if (member.key != "Condition" && member.key != "Next" && member.key != "Comment" && member.key != "Assign" && member.key != "Output")
        return invalid(fmt::format("Field '{}' is not supported", member.key));
    if (const Json* output = json.find("Output")) {
      auto parsed = Template::parse(*output, language, field + "/Output");
      if (!parsed) return std::unexpected(parsed.error());
      rule.output = *std::move(parsed);
    }
    const Json* condition = json.find("Condition");
    if (!condition) return invalid("These fields are required: [Condition]");
    auto parsed = Template::parse(*condition, language, field + "/Condition");
    if (!parsed) return std::unexpected(parsed.error());
    if (parsed->literal() && !parsed->literal()->is_bool())
      return invalid("The value for the field 'Condition' must be a boolean or a JSONata expression");
    rule.op_ = Op::condition;
    rule.condition_ = *std::move(parsed);
    return rule;
  }
  for (const auto& [name, op] : {std::pair{"And", Op::all}, std::pair{"Or", Op::any}}) {
    const Json* list = json.find(name);
    if (!list) continue;
    if (!list->is_array() || list->as_array().empty()) return invalid(fmt::format("'{}' must be a non-empty array of conditions", name));
    rule.op_ = op;
    for (const Json& item : list->as_array()) {
      auto operand = parse(item, language, field, true);
      if (!operand) return operand;
      rule.operands_.push_back(*std::move(operand));
    }
    return rule;
  }
  if (const Json* inner = json.find("Not")) {
    auto operand = parse(*inner, language, field, true);
    if (!operand) return operand;
    rule.op_ = Op::negate;
    rule.operands_.push_back(*std::move(operand));
    return rule;
  }
  const Json* variable = json.find("Variable");
  if (!variable || !variable->is_string()) return invalid("the field 'Variable' is required in a comparison");
  auto expression = Expression::parse(variable->as_string());
  if (!expression) return std::unexpected(expression.error());
  rule.variable_ = *std::move(expression);

  int operators = 0;
  for (const auto& [key, value] : json.as_object()) {
    if (key == "Variable" || key == "Next" || key == "Comment" || key == "Assign") continue;
    ++operators;
    static constexpr std::pair<std::string_view, Op> kTests[] = {
        {"IsNull", Op::is_null},       {"IsPresent", Op::is_present},     {"IsNumeric", Op::is_numeric}, {"IsString", Op::is_string},
        {"IsBoolean", Op::is_boolean}, {"IsTimestamp", Op::is_timestamp}, {"StringMatches", Op::matches}};
    bool known = false;
    for (const auto& [name, op] : kTests) {
      if (key != name) continue;
      if (op == Op::matches ? !value.is_string() : !value.is_bool())
        return invalid(fmt::format("the value of '{}' has the wrong type", key));
      rule.op_ = op;
      rule.expected_ = value;
      known = true;
    }
    if (known) continue;
    static constexpr std::pair<std::string_view, Kind> kKinds[] = {
        {"String", Kind::string}, {"Numeric", Kind::number}, {"Timestamp", Kind::timestamp}, {"Boolean", Kind::boolean}};
    static constexpr std::pair<std::string_view, Order> kOrders[] = {{"Equals", Order::equal},
                                                                     {"LessThan", Order::less},
                                                                     {"GreaterThan", Order::greater},
                                                                     {"LessThanEquals", Order::less_equal},
                                                                     {"GreaterThanEquals", Order::greater_equal}};
    for (const auto& [kind_name, kind] : kKinds)
      for (const auto& [order_name, order] : kOrders) {
        const std::string base = std::string(kind_name) + std::string(order_name);
        if ((key != base && key != base + "Path") || (kind == Kind::boolean && order != Order::equal)) continue;
        rule.kind_ = kind;
        rule.order_ = order;
        known = true;
        if (key == base) {
          const bool fits = kind == Kind::string    ? value.is_string()
                            : kind == Kind::number  ? value.is_number()
                            : kind == Kind::boolean ? value.is_bool()
                                                    : is_timestamp(value);
          if (!fits) return invalid(fmt::format("the value of '{}' has the wrong type", key));
          rule.expected_ = value;
        } else {
          if (!value.is_string()) return invalid(fmt::format("the value of '{}' must be a path", key));
          auto path = Expression::parse(value.as_string());
          if (!path) return std::unexpected(path.error());
          rule.expected_path_ = *std::move(path);
        }
      }
    if (!known) return invalid(fmt::format("'{}' is not a comparison operator", key));
  }
  if (operators != 1) return invalid("a comparison must have exactly one operator");
  return rule;
}

bool ChoiceRule::compares(const Json& actual, const Json& expected) const {
  int order = 0;
  switch (kind_) {
    case Kind::boolean:
      return actual.is_bool() && expected.is_bool() && actual.as_bool() == expected.as_bool();
    case Kind::string:
      if (!actual.is_string() || !expected.is_string()) return false;
      order = actual.as_string().compare(expected.as_string());
      break;
    case Kind::number: {
      if (!actual.is_number() || !expected.is_number()) return false;
      const double a = actual.as_double(), b = expected.as_double();
      order = a < b ? -1 : a > b ? 1 : 0;
      break;
    }
    case Kind::timestamp: {
      const auto a = parse_iso(actual.string_or()), b = parse_iso(expected.string_or());
      if (!a || !b) return false;
      order = *a < *b ? -1 : *a > *b ? 1 : 0;
      break;
    }
  }
  switch (order_) {
    case Order::equal:
      return order == 0;
    case Order::less:
      return order < 0;
    case Order::greater:
      return order > 0;
    case Order::less_equal:
      return order <= 0;
    case Order::greater_equal:
      return order >= 0;
  }
  return false;
}

void ChoiceRule::variables(std::set<std::string>& out) const {
  if (variable_) variable_->variables(out);
  if (expected_path_) expected_path_->variables(out);
  if (condition_) condition_->variables(out);
  if (assign) assign->variables(out);
  if (output) output->variables(out);
  for (const ChoiceRule& operand : operands_) operand.variables(out);
}

std::uint64_t ChoiceRule::work() const {
  std::uint64_t out = 0;
  const auto add = [&out](std::uint64_t more) { out = more > kUnboundedWork - out ? kUnboundedWork : out + more; };
  for (const auto* t : {&condition_, &assign, &output})
    if (*t) add((*t)->work());
  for (const ChoiceRule& operand : operands_) add(operand.work());
  return out;
}

Outcome<bool> ChoiceRule::holds(const Scope& scope) const {
  if (op_ == Op::condition) {
    const auto value = condition_->render(scope);
    if (!value) return std::unexpected(value.error());
    if (value->is_bool()) return value->as_bool();
    return std::unexpected(
        Failure{errors::kQueryEvaluationError,
                fmt::format("The JSONata expression '{}' specified for the field '{}' returned an unexpected result type. Expected "
                            "'boolean', but was '{}' for value: {}",
                            condition_->text(), condition_->field(), type_name(*value), value->dump()),
                condition_->field()});
  }
  if (op_ == Op::all || op_ == Op::any) {
    for (const ChoiceRule& operand : operands_) {
      const auto held = operand.holds(scope);
      if (!held) return held;
      if (*held == (op_ == Op::any)) return op_ == Op::any;
    }
    return op_ == Op::all;
  }
  if (op_ == Op::negate) {
    const auto held = operands_[0].holds(scope);
    if (!held) return held;
    return !*held;
  }
  const auto found = variable_->find(scope);
  if (!found) return std::unexpected(found.error());
  if (op_ == Op::is_present) return found->has_value() == expected_.as_bool();
  const auto missing = [](const Expression& path) {
    return std::unexpected(Failure{
        errors::kRuntime, fmt::format("Invalid path '{}': The choice state's condition path references an invalid value.", path.text())});
  };
  if (!*found) return missing(*variable_);
  const Json& actual = **found;
  switch (op_) {
    case Op::is_null:
      return actual.is_null() == expected_.as_bool();
    case Op::is_numeric:
      return actual.is_number() == expected_.as_bool();
    case Op::is_string:
      return actual.is_string() == expected_.as_bool();
    case Op::is_boolean:
      return actual.is_bool() == expected_.as_bool();
    case Op::is_timestamp:
      return is_timestamp(actual) == expected_.as_bool();
    case Op::matches: {
      if (!actual.is_string()) return false;
      std::string pattern;  // only '*' is special here: a '?' is itself
      for (const char c : expected_.as_string()) pattern += c == '?' ? std::string("\\?") : std::string(1, c);
      return wildcard_match(pattern, actual.as_string());
    }
    default:
      break;
  }
  if (!expected_path_) return compares(actual, expected_);
  const auto expected = expected_path_->find(scope);
  if (!expected) return std::unexpected(expected.error());
  if (!*expected) return missing(*expected_path_);
  return compares(actual, **expected);
}

}  // namespace snapward::asl
