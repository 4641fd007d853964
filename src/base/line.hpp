// Text that is to stand in one line: a header, a request line, a line of a log. Control characters of users would make more of it.
// All functions may run on any thread.
#pragma once
#include <string>
#include <string_view>

namespace snapward {

bool has_control(std::string_view s);            // C0 (tab too) or DEL
std::string escape_control(std::string_view s);  // "\n", "\r", "\t", else "\x1b"; a backslash stays as it is
bool is_header_name(std::string_view s);         // RFC 9110, 5.6.2: a token
bool is_header_value(std::string_view s);        // RFC 9110, 5.5: no control character but the tab
bool is_request_target(std::string_view s);      // no space, no control character

}  // namespace snapward
