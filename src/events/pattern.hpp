// Event patterns: which events a rule wants. Compiled once, immutable, shareable between threads.
// Source: Amazon EventBridge User Guide, "Amazon EventBridge event patterns"; the operators of aws/event-ruler's README.
//
// Fields are ANDed, the values of a field ORed. A value in an event's array matches when any item does; a pattern under an array of
// objects must be met by one of the objects as a whole (array consistency).
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.hpp"

namespace snapward::events {

class Pattern {
 public:
  // Errors are EventBridge's, without its "Event pattern is not valid. Reason: ". Where its parser notices a mistake, a second line
  // tells its place: " at [Source: (String)"…"; line: 1, column: 8]".
  static Result<Pattern> parse(std::string_view text);
  [[nodiscard]] bool matches(const Json& event) const;

  struct Matcher;
  struct Node;
  [[nodiscard]] const Node& root() const { return *root_; }  // events/pattern_tree.hpp

 private:
  std::shared_ptr<const Node> root_;
};

}  // namespace snapward::events
