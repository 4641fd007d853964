// Log lines that carry what they are about as fields: "execution FAILED execution=arn:… error=States.Timeout" as text, members of an
// object a line as JSON. Through spdlog, as every line; from any thread.
#pragma once
#include <spdlog/common.h>

#include <initializer_list>
#include <string>
#include <string_view>

namespace snapward::log {

struct Field {
  std::string_view name;
  std::string_view value;
};

void write(spdlog::level::level_enum level, std::string_view message, std::initializer_list<Field> fields);

// From now on lines are text in spdlog's `pattern`, one a message: control characters of what users wrote are escaped.
void write_text(const std::string& pattern);

// From now on every line, with fields or without, is {"time", "level", "message", …}.
void write_json();

}  // namespace snapward::log
