#include "asl/expression.hpp"

#include <fmt/format.h>

#include "asl/intrinsics.hpp"
#include "base/text.hpp"

namespace snapward::asl {

class ExpressionParser {
 public:
  explicit ExpressionParser(std::string_view text) : text_(text) {}

  Result<Expression> whole() {
    auto out = text_.starts_with('$') ? path(text_) : call();
    if (!out) return out;
    if (!text_.starts_with('$')) {
      blanks();
      if (at_ != text_.size()) return error("text after the call");
    }
    return out;
  }

 private:
  std::unexpected<Error> error(std::string_view what) const { return invalid(fmt::format("invalid expression '{}': {}", text_, what)); }
  void blanks() {
    while (at_ < text_.size() && text_[at_] == ' ') ++at_;
  }
  [[nodiscard]] char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  static Result<Expression> path(std::string_view text) {
    Expression out;
    out.text_ = text;
    std::string rest(text);
    if (text.starts_with("$$")) {
      out.source_ = Expression::Source::context;
      rest = text.substr(1);
    } else if (text.size() > 1 && (std::isalpha(static_cast<unsigned char>(text[1])) || text[1] == '_')) {
      out.source_ = Expression::Source::variable;
      std::size_t end = 1;
      while (end < text.size() && (std::isalnum(static_cast<unsigned char>(text[end])) || text[end] == '_')) ++end;
      out.name_ = text.substr(1, end - 1);
      rest = "$" + std::string(text.substr(end));
    }
    auto parsed = query::JsonPath::parse(rest);
    if (!parsed) return std::unexpected(parsed.error());
    out.path_ = *std::move(parsed);
    return out;
  }

  Result<Expression> call() {
    if (++depth_ > 10) return error("intrinsic functions are nested deeper than 10");
    const std::size_t from = at_;
    while (at_ < text_.size() && (std::isalnum(static_cast<unsigned char>(text_[at_])) || text_[at_] == '.')) ++at_;
    Expression out;
    out.source_ = Expression::Source::call;
    out.name_ = text_.substr(from, at_ - from);
    out.text_ = text_;
    if (!is_intrinsic(out.name_)) return error(fmt::format("'{}' is neither a path nor an intrinsic function", out.name_));
    blanks();
    if (peek() != '(') return error("'(' is missing");
    ++at_;
    blanks();
    while (peek() != ')') {
      auto value = argument();
      if (!value) return value;
      out.arguments_.push_back(*std::move(value));
      blanks();
      if (peek() == ',') {
        ++at_;
        blanks();
        if (peek() == ')') return error("an argument is missing after ','");
      } else if (peek() != ')') {
        return error("',' or ')' is missing");
      }
    }
    ++at_;
    --depth_;
    return out;
  }

  Result<Expression> argument() {
    blanks();
    Expression out;
    const char c = peek();
    if (c == '\'') {
      ++at_;
      std::string text;
      for (;; ++at_) {
        if (at_ >= text_.size()) return error("a text has no closing quote");
        if (text_[at_] == '\'') break;
        if (text_[at_] == '\\' && at_ + 1 < text_.size()) {
          const char next = text_[++at_];
          if (next != '\'' && next != '\\' && next != '{' && next != '}') return error("an escape other than \\' \\\\ \\{ \\}");
          if (next != '\'') text.push_back('\\');  // the others are States.Format's to read
          text.push_back(next);
          continue;
        }
        text.push_back(text_[at_]);
      }
      ++at_;
      out.source_ = Expression::Source::literal;
      out.literal_ = Json(std::move(text));
      return out;
    }
    if (c == '$') {
      const std::size_t from = at_;
      int brackets = 0;
      char quote = '\0';
      for (; at_ < text_.size(); ++at_) {
        const char p = text_[at_];
        if (quote) {
          if (p == quote) quote = '\0';
        } else if (brackets > 0 && (p == '\'' || p == '"')) {
          quote = p;
        } else if (p == '[' || (p == '(' && brackets > 0)) {
          ++brackets;
        } else if (p == ']' || (p == ')' && brackets > 0)) {
          --brackets;
        } else if (brackets == 0 && (p == ',' || p == ')' || p == ' ')) {
          break;
        }
      }
      return path(text_.substr(from, at_ - from));
    }
    if (text_.substr(at_).starts_with("States.")) return call();
    const std::size_t from = at_;
    while (at_ < text_.size() && text_[at_] != ',' && text_[at_] != ')' && text_[at_] != ' ') ++at_;
    auto literal = Json::parse(text_.substr(from, at_ - from));
    if (!literal || literal->is_string() || literal->is_object() || literal->is_array())
      return error("an argument must be a path, a call, a number, true, false, null or a text in single quotes");
    out.source_ = Expression::Source::literal;
    out.literal_ = *std::move(literal);
    return out;
  }

  std::string_view text_;
  std::size_t at_ = 0;
  int depth_ = 0;
};

Result<Expression> Expression::parse(std::string_view text) { return ExpressionParser(trim(text)).whole(); }

Outcome<std::optional<Json>> Expression::find(const Scope& scope) const {
  switch (source_) {
    case Source::data:
      return path_.select(scope.data);
    case Source::context:
      return path_.select(scope.context());
    case Source::literal:
      return std::optional<Json>(literal_);
    case Source::variable: {
      const auto variable = scope.variables.find(name_);
      if (variable == scope.variables.end()) return std::optional<Json>();
      return path_.select(variable->second);
    }
    case Source::call:
      break;
  }
  std::vector<Json> values;
  values.reserve(arguments_.size());
  for (const Expression& argument : arguments_) {
    auto value = argument.find(scope);
    if (!value) return value;
    if (!*value)
      return std::unexpected(
          Failure{errors::kIntrinsicFailure, fmt::format("The JSONPath '{}' in '{}' could not be found", argument.text_, text_)});
    values.push_back(**std::move(value));
  }
  auto result = call_intrinsic(name_, values, scope.entropy);
  if (!result) return std::unexpected(result.error());
  return std::optional<Json>(*std::move(result));
}

void Expression::variables(std::set<std::string>& out) const {
  if (source_ == Source::variable) out.insert(name_);
  for (const Expression& argument : arguments_) argument.variables(out);
}

std::optional<std::string_view> jsonata_of(std::string_view text) {
  if (!text.starts_with("{%") || !text.ends_with("%}") || text.size() < 4) return std::nullopt;
  return trim(text.substr(2, text.size() - 4));
}

const char* type_name(const Json& value) {
  switch (value.kind()) {
    case Json::Kind::null:
      return "null";
    case Json::Kind::boolean:
      return "boolean";
    case Json::Kind::number:
      return "number";
    case Json::Kind::string:
      return "string";
    case Json::Kind::array:
      return "array";
    case Json::Kind::object:
      return "object";
  }
  return "";
}

namespace {

// Whether an expression may look at $states.context: it names $states otherwise than to go on to another member.
bool names_context(std::string_view text) {
  for (std::size_t at = text.find("$states"); at != std::string_view::npos; at = text.find("$states", at + 1)) {
    const std::string_view rest = text.substr(at + 7);
    if (!rest.starts_with(".input") && !rest.starts_with(".result") && !rest.starts_with(".errorOutput")) return true;
  }
  return false;
}

// How an evaluation's error is told: limits are named without their codes, and Step Functions' own errors are not told at all
// (measured at AWS, 2026).
std::string thrown(const query::JsonataError& error, Entropy& entropy) {
  if (error.code == query::kJsonataInternalError) return fmt::format("threw an internal error during evaluation. {}", entropy.uuid());
  if (error.code.starts_with('U')) return fmt::format("threw an error during evaluation: {}", error.message);
  return fmt::format("threw an error during evaluation. {}: {}", error.code, error.message);
}

}  // namespace

std::uint64_t Template::work() const {
  const auto sum = [](std::uint64_t a, std::uint64_t b) { return a > kUnboundedWork - b ? kUnboundedWork : a + b; };
  std::uint64_t out = 0;
  // A path with wildcards, descendants or filters looks through all of the data.
  if (expression_ && expression_->text().find_first_of("*?") != std::string::npos) ++out;
  if (expression_ && expression_->text().find("..") != std::string::npos) ++out;
  if (jsonata_) out = sum(out, jsonata_->work().value_or(kUnboundedWork));
  for (const auto& [key, member] : members_) out = sum(out, member.work());
  return out;
}

Template Template::of(Expression expression, std::string field) {
  Template out;
  out.kind_ = Kind::expression;
  out.expression_ = std::make_shared<const Expression>(std::move(expression));
  out.field_ = std::move(field);
  return out;
}

Result<Template> Template::parse(const Json& json, Language language, std::string field) {
  Template out;
  out.field_ = field;
  if (json.is_object()) {
    out.kind_ = Kind::object;
    for (const auto& [key, value] : json.as_object()) {
      if (language == Language::jsonpath && key.ends_with(".$")) {
        if (!value.is_string())
          return invalid(fmt::format("The value for the field '{}' must be a valid JSONPath or a valid intrinsic function call", key));
        auto expression = Expression::parse(value.as_string());
        if (!expression)
          return invalid(fmt::format("The value for the field '{}' must be a valid JSONPath or a valid intrinsic function call", key));
        out.members_.emplace_back(key.substr(0, key.size() - 2), of(*std::move(expression), key));
      } else {
        auto member = parse(value, language, field + '/' + key);
        if (!member) return member;
        out.members_.emplace_back(key, *std::move(member));
      }
    }
  } else if (json.is_array()) {
    out.kind_ = Kind::array;
    for (std::size_t i = 0; i < json.as_array().size(); ++i) {
      auto member = parse(json.as_array()[i], language, fmt::format("{}[{}]", field, i));
      if (!member) return member;
      out.members_.emplace_back("", *std::move(member));
    }
  } else if (language == Language::jsonata && json.is_string() && jsonata_of(json.as_string())) {
    auto expression = query::Jsonata::parse(*jsonata_of(json.as_string()));
    if (!expression)
      return invalid(fmt::format("The JSONata expression '{}' specified for the field '{}' is not valid. {}: {}",
                                 *jsonata_of(json.as_string()), field, expression.error().code, expression.error().message));
    out.kind_ = Kind::jsonata;
    out.needs_context_ = names_context(expression->text());
    out.jsonata_ = *std::move(expression);
    return out;
  } else {
    out.literal_ = json;
  }
  // What holds no expression is one shared value.
  const bool constant =
      std::all_of(out.members_.begin(), out.members_.end(), [](const auto& m) { return m.second.kind_ == Kind::literal; });
  if (constant) {
    out.kind_ = Kind::literal;
    out.literal_ = json;
    out.members_.clear();
  }
  return out;
}

const std::string& Template::text() const { return kind_ == Kind::jsonata ? jsonata_->text() : expression_->text(); }

void Template::variables(std::set<std::string>& out) const {
  if (expression_) expression_->variables(out);
  if (jsonata_)
    for (const std::string& name : jsonata_->variables())
      if (name != "states") out.insert(name);
  for (const auto& [key, member] : members_) member.variables(out);
}

Outcome<std::optional<Json>> Template::find(const Scope& scope) const {
  if (kind_ == Kind::expression) return expression_->find(scope);
  auto rendered = render(scope);
  if (!rendered) return std::unexpected(rendered.error());
  return std::optional<Json>(*std::move(rendered));
}

Outcome<Json> Template::render(const Scope& scope) const {
  switch (kind_) {
    case Kind::literal:
      return literal_;
    case Kind::expression: {
      auto value = expression_->find(scope);
      if (!value) return std::unexpected(value.error());
      if (*value) return **std::move(value);
      const Json root = expression_->is_context() ? scope.context() : scope.data;
      if (expression_->is_path() && !expression_->is_variable() && expression_->path().ends_behind_an_array(root))
        return Json();  // measured at AWS
      // Not States.ParameterPathFailure, which the documentation names: recorded at AWS.
      return std::unexpected(
          Failure{errors::kRuntime, fmt::format("The JSONPath '{}' specified for the field '{}' could not be found in the input '{}'",
                                                expression_->text(), field_, root.dump())});
    }
    case Kind::jsonata: {
      const Json states = scope.states ? (*scope.states)(needs_context_) : Json();
      const query::Jsonata::Environment environment{.variables = &scope.variables,
                                                    .states = &states,
                                                    .entropy = &scope.entropy,
                                                    .now = scope.now,
                                                    .step_functions = true,
                                                    .limits = query::Jsonata::step_functions_limits(),
                                                    .interrupted = scope.interrupted};
      auto value = jsonata_->evaluate(nullptr, environment);
      const auto failed = [&](const std::string& what) {
        return std::unexpected(
            Failure{errors::kQueryEvaluationError,
                    fmt::format("The JSONata expression '{}' specified for the field '{}' {}", jsonata_->text(), field_, what), field_});
      };
      if (!value) return failed(thrown(value.error(), scope.entropy));
      if (!*value) return failed("returned nothing (undefined).");
      return **std::move(value);
    }
    case Kind::array: {
      Json::Array out;
      for (const auto& member : members_) {
        auto value = member.second.render(scope);
        if (!value) return value;
        out.push_back(*std::move(value));
      }
      return Json(std::move(out));
    }
    case Kind::object:
      break;
  }
  Json::Object out;
  for (const auto& [key, member] : members_) {
    auto value = member.render(scope);
    if (!value) return value;
    out.set(key, *std::move(value));
  }
  return Json(std::move(out));
}

}  // namespace snapward::asl
