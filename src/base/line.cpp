#include "base/line.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace snapward {

namespace {
bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; }
}  // namespace

bool has_control(std::string_view s) { return std::ranges::any_of(s, is_control); }

std::string escape_control(std::string_view s) {
  std::string out;
  out.reserve(s.size());
  for (const char c : s) {
    if (!is_control(c))
      out += c;
    else if (c == '\n')
      out += "\\n";
    else if (c == '\r')
      out += "\\r";
    else if (c == '\t')
      out += "\\t";
    else
      fmt::format_to(std::back_inserter(out), "\\x{:02x}", static_cast<unsigned char>(c));
  }
  return out;
}

bool is_header_name(std::string_view s) {
  constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
  return !s.empty() && std::ranges::all_of(s, [&](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || kMarks.contains(c);
  });
}

bool is_header_value(std::string_view s) {
  return std::ranges::none_of(s, [](char c) { return is_control(c) && c != '\t'; });
}

bool is_request_target(std::string_view s) {
  return !s.empty() && std::ranges::none_of(s, [](char c) { return is_control(c) || c == ' '; });
}

}  // namespace snapward
