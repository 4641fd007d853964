// The one way to go on when the state cannot be read: not at all. Without a row that is there, an answer would be wrong, or something
// would be deleted that must stay; what has been committed stays as it is for whoever repairs it. docs/operations.md says what to do.
#pragma once
#include <string_view>

#include "base/json.hpp"
#include "base/result.hpp"

namespace snapward::engine {

// Says why, and ends the process with 1.
[[noreturn]] void stop_unreadable(const Error& error);

// What a row holds, read as JSON; when it is none, stop_unreadable().
Json value_of_row(Result<Json> read, std::string_view table, std::string_view key);

}  // namespace snapward::engine
