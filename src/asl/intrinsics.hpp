// The intrinsic functions, States.Array to States.UUID. Pure, but for what they draw from the entropy.
#pragma once
#include <string_view>
#include <vector>

#include "asl/expression.hpp"

namespace snapward::asl {

[[nodiscard]] bool is_intrinsic(std::string_view name);  // "States.Format"

// Fails with States.IntrinsicFailure and a cause that names the function.
Outcome<Json> call_intrinsic(std::string_view name, const std::vector<Json>& arguments, Entropy& entropy);

}  // namespace snapward::asl
