// Bytes that others send and that are to be text: whatever is not UTF-8 becomes U+FFFD, piece by piece, as Java reads bytes. Pure.
#pragma once
#include <string>
#include <string_view>

#include "base/json.hpp"

namespace snapward {

std::string utf8_of(std::string_view bytes);
// The same for every text and name in a value; what is good is shared, not copied.
Json readable(const Json& value);

// JSON text of a value some of whose texts are bytes (blobs of API calls), and back: they stand as base64 behind a mark that nothing
// else begins with. What has no bytes is written as dump() does.
std::string dump_bytes(const Json& value);
Result<Json> parse_bytes(std::string_view text);

}  // namespace snapward
