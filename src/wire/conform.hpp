// Whether a value can be of a shape of the API models: for values that come from people's JSON and not off the wire, where the codecs
// see to it. A member that is null counts as absent; members that the model does not know are let be. Pure.
#pragma once
#include <optional>
#include <string>

#include "base/json.hpp"
#include "wire/model.hpp"

namespace snapward::wire {

struct Conformity {
  bool pascal_case = false;    // members begin with a capital, whatever the model says
  bool required = false;       // what the model requires must be there
  bool textual_times = false;  // timestamps are texts, never numbers
};

// The first thing that is wrong.
struct Nonconformity {
  std::string field;        // its own name: of a list's element the list's
  std::string path;         // from the top: "Tags[1].Key"
  const char* wanted = "";  // "a string", "an object" …; empty when the field is missing
};
std::optional<Nonconformity> nonconforming(const Shape& shape, const Json& value, Conformity how);

}  // namespace snapward::wire
