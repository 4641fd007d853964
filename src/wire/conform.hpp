// Whether a value can be of a shape of the API models: for values that come from people's JSON and not off the wire, where the codecs
// see to it. A member that is null counts as absent. Pure.
#pragma once
#include <optional>
#include <string>

#include "base/json.hpp"
#include "wire/model.hpp"

namespace snapward::wire {

struct Conformity {
  bool pascal_case = false;        // members begin with a capital, whatever the model says
  bool required = false;           // what the model requires must be there
  bool strangers_allowed = false;  // members that the model does not know
};

// What is wrong, as a sentence that names the field ("Field 'Tags[1].Key' must be a string"), or nothing.
std::optional<std::string> nonconforming(const Shape& shape, const Json& value, Conformity how);

}  // namespace snapward::wire
