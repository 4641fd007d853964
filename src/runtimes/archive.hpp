// Archives: a function's code, a zip file.
#pragma once
#include <string>
#include <string_view>

#include "base/result.hpp"

namespace snapward::runtimes {

// Unpacks into an existing, empty folder. Names that would leave it, links among them, are refused, as is more than 250 MiB
// (Lambda's limit for the unpacked package).
Result<void> unpack(std::string_view zip, const std::string& folder);

}  // namespace snapward::runtimes
