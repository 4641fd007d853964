// Expressions of the JSONPath query language: "$.a" (the state's data), "$$.Execution.Id" (the context object), "$name.field"
// (a variable) and intrinsic calls ("States.Format('{}', $.a)"); and payload templates, JSON in which a key "x.$" is computed.
// Compiled once with the definition; evaluation is pure (randomness comes from the scope).
// Source: Amazon States Language specification, "Payload Template", "Intrinsic Functions"; Step Functions Developer Guide.
#pragma once
#include <expected>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "asl/failure.hpp"
#include "base/entropy.hpp"
#include "base/json.hpp"
#include "query/jsonpath.hpp"

namespace snapward::asl {

using Variables = std::map<std::string, Json, std::less<>>;

// What an expression may look at while it is evaluated.
struct Scope {
  const Json& data;
  const std::function<Json()>& context;  // built only when asked for
  const Variables& variables;
  Entropy& entropy;
};

template <class T>
using Outcome = std::expected<T, Failure>;

class Expression {
 public:
  static Result<Expression> parse(std::string_view text);
  [[nodiscard]] const std::string& text() const { return text_; }
  // A path that finds nothing gives an empty optional; only intrinsics fail.
  [[nodiscard]] Outcome<std::optional<Json>> find(const Scope& scope) const;

 private:
  friend class ExpressionParser;
  enum class Source { data, context, variable, literal, call } source_ = Source::data;
  std::string text_;
  std::string name_;  // of the variable or the function
  query::JsonPath path_;
  Json literal_;
  std::vector<Expression> arguments_;
};

class Template {
 public:
  // Errors name the key whose expression is wrong.
  static Result<Template> parse(const Json& json);
  [[nodiscard]] Outcome<Json> render(const Scope& scope) const;

 private:
  enum class Kind { literal, object, array, expression } kind_ = Kind::literal;
  Json literal_;
  std::vector<std::pair<std::string, Template>> members_;  // object: keys without their ".$"; array: keys empty
  std::shared_ptr<const Expression> expression_;
  std::string field_;  // the key as written, for error messages
};

}  // namespace snapward::asl
