#include "engine/unreadable.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <cstdlib>

namespace snapward::engine {

void stop_unreadable(const Error& error) {
  spdlog::critical("the state cannot be read, and nothing is done without it: {}", error.message);
  spdlog::shutdown();
  std::_Exit(1);
}

Json value_of_row(Result<Json> read, std::string_view table, std::string_view key) {
  if (read) return *std::move(read);
  stop_unreadable(
      {.code = ErrorCode::corrupt,
       .message = fmt::format("the row '{}' of {} is damaged: {}; restore the state from a backup", key, table, read.error().message)});
}

}  // namespace snapward::engine
