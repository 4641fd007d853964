#include "base/utf8.hpp"

#include <simdjson.h>

#include "base/text.hpp"

namespace snapward {

namespace {

constexpr std::string_view kReplacement = "\xef\xbf\xbd";

// How many bytes from here on are a character, or, negative, the beginning of one that is not finished as it should be.
int character(std::string_view s) {
  const auto byte = [&](std::size_t i) { return i < s.size() ? static_cast<unsigned char>(s[i]) : 0U; };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  const int length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4) return -1;
  // The second byte's range keeps overlong forms, surrogates and what is beyond U+10FFFF out (Unicode, table 3-7).
  const unsigned low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80, high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
  if (byte(1) < low || byte(1) > high) return -1;
  for (int i = 2; i < length; ++i)
    if ((byte(static_cast<std::size_t>(i)) & 0xc0) != 0x80) return -i;
  return length;
}

constexpr std::string_view kBytes =
    "\x01"
    "base64:";
constexpr std::string_view kBytesDumped = "\\u0001base64:";

Json map_strings(const Json& value, std::string (*change)(std::string_view)) {
  if (value.is_string()) return Json(change(value.as_string()));
  if (value.is_array()) {
    Json::Array out;
    for (const Json& item : value.as_array()) out.push_back(map_strings(item, change));
    return Json(std::move(out));
  }
  if (!value.is_object()) return value;
  Json::Object out;
  for (const auto& [name, member] : value.as_object()) out.set(name, map_strings(member, change));
  return Json(std::move(out));
}

bool is_good(const Json& value) {
  if (value.is_string()) return simdjson::validate_utf8(value.as_string());
  if (value.is_array()) return std::ranges::all_of(value.as_array(), is_good);
  if (!value.is_object()) return true;
  return std::ranges::all_of(value.as_object(), [](const Json::Member& m) { return simdjson::validate_utf8(m.key) && is_good(m.value); });
}

}  // namespace

std::string utf8_of(std::string_view bytes) {
  if (simdjson::validate_utf8(bytes)) return std::string(bytes);
  std::string out;
  while (!bytes.empty()) {
    const int n = character(bytes);
    const auto length = static_cast<std::size_t>(n > 0 ? n : -n);
    out += n > 0 ? bytes.substr(0, length) : kReplacement;
    bytes.remove_prefix(length);
  }
  return out;
}

Json readable(const Json& value) {
  if (is_good(value)) return value;
  if (value.is_string()) return Json(utf8_of(value.as_string()));
  if (value.is_array()) {
    Json::Array out;
    for (const Json& item : value.as_array()) out.push_back(readable(item));
    return Json(std::move(out));
  }
  Json::Object out;
  for (const auto& [key, member] : value.as_object()) out.set(utf8_of(key), readable(member));
  return Json(std::move(out));
}

std::string dump_bytes(const Json& value) {
  std::string plain = value.dump();
  if (is_utf8(plain) && !plain.contains(kBytesDumped)) return plain;
  return map_strings(value,
                     [](std::string_view s) {
                       return is_utf8(s) && !s.starts_with(kBytes) ? std::string(s) : std::string(kBytes) + base64_encode(s);
                     })
      .dump();
}

Result<Json> parse_bytes(std::string_view text) {
  auto value = Json::parse(text);
  if (!value || !text.contains(kBytesDumped)) return value;
  return map_strings(*value, [](std::string_view s) {
    return s.starts_with(kBytes) ? base64_decode(s.substr(kBytes.size())).value_or("") : std::string(s);
  });
}

}  // namespace snapward
