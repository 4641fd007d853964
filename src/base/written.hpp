// JSON printed as its author wrote it: a value that was read from a known text, or is a part of one, keeps the spelling it has there,
// blanks included. What was computed is compact. Step Functions prints state data so (recorded by AWS, 2025: of the input
// {"a": [1, 2]} the path $.a gives "[1, 2]", while a list made by a state is "[1,2]").
#pragma once
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/json.hpp"

namespace snapward {

class AsWritten {
 public:
  // `value` must have been parsed from `text`, which must outlive this.
  void add(Json value, std::string_view text);
  [[nodiscard]] std::string print(const Json& value) const;

 private:
  void print_to(std::string& out, const Json& value) const;

  std::vector<Json> kept_;  // the nodes below stay alive
  std::unordered_map<const void*, std::string_view> texts_;
};

}  // namespace snapward
