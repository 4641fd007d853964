// Expressions of both query languages. JSONPath: "$.a" (the state's data), "$$.Execution.Id" (the context object), "$name.field"
// (a variable) and intrinsic calls ("States.Format('{}', $.a)"); and payload templates, JSON in which a key "x.$" is computed.
// JSONata: any text written "{% expression %}", in payloads and in single fields.
// Compiled once with the definition; evaluation is pure (randomness comes from the scope).
// Source: Amazon States Language specification, "Payload Template", "Intrinsic Functions"; Step Functions Developer Guide.
#pragma once
#include <atomic>
#include <expected>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "asl/failure.hpp"
#include "base/entropy.hpp"
#include "base/json.hpp"
#include "base/time.hpp"
#include "query/jsonata.hpp"
#include "query/jsonpath.hpp"

namespace snapward::asl {

using Variables = std::map<std::string, Json, std::less<>>;

// What an expression may look at while it is evaluated.
struct Scope {
  const Json& data;
  const std::function<Json()>& context;  // built only when asked for
  const Variables& variables;
  Entropy& entropy;
  Instant now;
  // JSONata: $states. Asked with whether the expression looks at $states.context, which costs to build.
  const std::function<Json(bool with_context)>* states = nullptr;
  const std::atomic<bool>* interrupted = nullptr;  // true: JSONata fails instead of computing on; may be null
};

enum class Language { jsonpath, jsonata };

template <class T>
using Outcome = std::expected<T, Failure>;

class Expression {
 public:
  static Result<Expression> parse(std::string_view text);
  [[nodiscard]] const std::string& text() const { return text_; }
  // Not a call: what it names may be missing.
  [[nodiscard]] bool is_path() const { return source_ != Source::call && source_ != Source::literal; }
  [[nodiscard]] bool is_context() const { return source_ == Source::context; }
  [[nodiscard]] bool is_variable() const { return source_ == Source::variable; }
  [[nodiscard]] const query::JsonPath& path() const { return path_; }
  // The variables it reads.
  void variables(std::set<std::string>& out) const;
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

// "{% … %}" without its marks; nothing when the text is not one.
std::optional<std::string_view> jsonata_of(std::string_view text);

// What Template::work() says when nothing but the limits of an evaluation bounds it.
inline constexpr std::uint64_t kUnboundedWork = ~std::uint64_t{0};

class Template {
 public:
  // field names it in messages ("Output", "Choices[0]/Condition"). Errors name the key whose expression is wrong.
  static Result<Template> parse(const Json& json, Language language, std::string field);
  // A template that is one JSONPath expression, as the …Path fields are.
  static Template of(Expression expression, std::string field);

  [[nodiscard]] Outcome<Json> render(const Scope& scope) const;
  // As render(), for a template of(): nothing when the path finds nothing.
  [[nodiscard]] Outcome<std::optional<Json>> find(const Scope& scope) const;

  [[nodiscard]] const Json* literal() const { return kind_ == Kind::literal ? &literal_ : nullptr; }
  [[nodiscard]] bool is_jsonata() const { return kind_ == Kind::jsonata; }
  [[nodiscard]] bool is_path() const { return kind_ == Kind::expression; }
  [[nodiscard]] const Expression* path() const { return expression_.get(); }  // its one JSONPath expression, or null
  [[nodiscard]] const std::string& text() const;                              // of its one expression
  [[nodiscard]] const std::string& field() const { return field_; }
  void variables(std::set<std::string>& out) const;
  // How often evaluating it reads its data as a whole: what its expressions add up to. kUnboundedWork: no such number is known.
  [[nodiscard]] std::uint64_t work() const;

 private:
  enum class Kind { literal, object, array, expression, jsonata } kind_ = Kind::literal;
  Json literal_;
  std::vector<std::pair<std::string, Template>> members_;  // object: keys without their ".$"; array: keys empty
  std::shared_ptr<const Expression> expression_;
  std::optional<query::Jsonata> jsonata_;
  bool needs_context_ = false;
  std::string field_;  // JSONPath: the key as written; JSONata: the path to it
};

// {"State0": …} of a JSON value in messages: "'string'", "'array'", …
const char* type_name(const Json& value);

}  // namespace snapward::asl
