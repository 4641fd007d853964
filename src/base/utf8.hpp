// Bytes that others send and that are to be text: whatever is not UTF-8 becomes U+FFFD, piece by piece, as Java reads bytes. Pure.
#pragma once
#include <string>
#include <string_view>

#include "base/json.hpp"

namespace snapward {

std::string utf8_of(std::string_view bytes);
// The same for every text and name in a value; what is good is shared, not copied.
Json readable(const Json& value);

}  // namespace snapward
