// Text in the forms AWS uses it: percent-encoding, base64, hex, digests, wildcards.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace snapward {

std::string lower(std::string_view s);
std::string upper(std::string_view s);
std::vector<std::string> split(std::string_view s, char separator);
std::string join(const std::vector<std::string>& parts, std::string_view separator);
bool iequals(std::string_view a, std::string_view b);  // ASCII case aside
std::string_view trim(std::string_view s);

// RFC 3986: everything but unreserved characters becomes %XX; '/' stays when keep_slash.
std::string percent_encode(std::string_view s, bool keep_slash = false);
std::string percent_decode(std::string_view s, bool plus_is_space = false);  // a stray % stays as it is

std::string base64_encode(std::string_view bytes);
std::optional<std::string> base64_decode(std::string_view text);  // nothing when text is not base64

std::string hex_encode(std::string_view bytes);
std::string sha256(std::string_view bytes);                                                 // 32 raw bytes
std::string hmac_sha256(std::string_view key, std::string_view message);                    // 32 raw bytes
std::optional<std::string> digest_hex(std::string_view algorithm, std::string_view bytes);  // MD5, SHA-1, SHA-256, SHA-384, SHA-512
bool is_utf8(std::string_view bytes);
std::size_t utf8_length(std::string_view s);  // code points

// '*' any run, '?' any one character, '\' takes the next literally: EC2 filters. Linear time in practice, never exponential.
bool wildcard_match(std::string_view pattern, std::string_view text);

}  // namespace snapward
