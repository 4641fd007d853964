// The two readers behind Json::parse (docs/adr/0013). One is quick and gives up at anything odd; one is careful (Boost.JSON's parser)
// and says what is wrong, and where. Whatever the quick one reads, the careful one reads as the same value: a fuzzer holds them to it.
// Pure.
#pragma once
#include <optional>
#include <string_view>

#include "base/json.hpp"

namespace snapward::reading {

std::optional<Json> quick(std::string_view text);
Result<Json> careful(std::string_view text);

}  // namespace snapward::reading
