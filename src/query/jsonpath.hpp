// JSONPath as Step Functions answers it (Jayway's dialect): $.a['b'][0][-1][1:3][*]..c[?(@.x == 'y' && @.n > 1)]. Filters know
// == != < <= > >= =~ /…/ in nin contains size empty all subsetof anyof noneof, && || ! and parentheses.
//
// A path is definite when it can name at most one value; evaluating an indefinite one gives an array of all it names, an empty
// one when a member on the way is missing. Compared with Jayway 2.0, the age of which Step Functions' answers show.
// Immutable and shareable between threads once parsed.
// Source: Amazon States Language specification, "Paths"; Step Functions Developer Guide, "Paths".
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.hpp"

namespace snapward::query {

class JsonPath {
 public:
  // text begins with '$' (or '@' inside filters).
  static Result<JsonPath> parse(std::string_view text);

  [[nodiscard]] bool definite() const { return definite_; }
  // Only member names and single indexes: what ResultPath may be.
  [[nodiscard]] bool is_reference() const { return reference_; }
  [[nodiscard]] const std::string& text() const { return text_; }

  // The value named, or nothing. An indefinite path gives an array; nothing only where an index or slice meets no array, or a
  // name no object.
  [[nodiscard]] std::optional<Json> select(const Json& root) const;

  // Why select() finds nothing, as Jayway words it: "No results for path: $['a']['b']", "Missing property in path $['a']" when
  // already a is missing, "Index out of bounds when evaluating path $['a'][3]".
  [[nodiscard]] std::string why_missing(const Json& root) const;
  // Of a path that finds nothing: whether that is because an array has too few items.
  [[nodiscard]] bool ends_behind_an_array(const Json& root) const;

  // root with value put at this reference path; objects on the way are made where missing. Nothing when the way leads through
  // something that is not an object, or an array index is out of range. Must be a reference path.
  [[nodiscard]] std::optional<Json> assign(const Json& root, const Json& value) const;

  struct Filter;
  struct Step {
    enum class Kind { member, members, index, indexes, slice, wildcard, descent, filter } kind;
    std::vector<std::string> names;
    std::vector<std::int64_t> indexes;
    std::optional<std::int64_t> from, to;
    std::shared_ptr<const Filter> filter;
  };

 private:
  friend class PathParser;
  struct Way {
    const Json* at;    // null where a step names nothing
    const Json* last;  // what that step was applied to
    std::size_t step;
  };
  [[nodiscard]] Way follow(const Json& root) const;
  void collect(const Json& at, std::size_t step, const Json& root, Json::Array& out) const;
  static std::optional<Json> assign_at(const std::vector<Step>& steps, std::size_t step, const Json* at, const Json& value);

  std::string text_;
  std::vector<Step> steps_;
  bool definite_ = true;
  bool reference_ = true;
};

}  // namespace snapward::query
