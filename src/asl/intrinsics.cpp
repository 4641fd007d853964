#include "asl/intrinsics.hpp"

#include <fmt/format.h>

#include <array>
#include <cmath>

#include "base/text.hpp"

namespace snapward::asl {

namespace {

using Args = std::vector<Json>;

std::unexpected<Failure> bad(std::string cause) { return std::unexpected(Failure{errors::kIntrinsicFailure, std::move(cause)}); }

// Hash and base64 take at most 10,000 characters (Developer Guide, "Intrinsic functions").
constexpr std::size_t kMaxEncodedCharacters = 10'000;
constexpr std::size_t kMaxRange = 1'000;

// A value as Java's toString() writes it, which is what AWS inserts: {Arg1=1, Arg2=[a, b]}.
void write_as_java(const Json& value, std::string& out) {
  if (value.is_string()) {
    out += value.as_string();
  } else if (value.is_array()) {
    out += '[';
    for (bool first = true; const Json& item : value.as_array()) {
      if (!std::exchange(first, false)) out += ", ";
      write_as_java(item, out);
    }
    out += ']';
  } else if (value.is_object()) {
    out += '{';
    for (bool first = true; const auto& [key, member] : value.as_object()) {
      if (!std::exchange(first, false)) out += ", ";
      out.append(key).append(1, '=');
      write_as_java(member, out);
    }
    out += '}';
  } else {
    value.dump_to(out);
  }
}

// A number argument as AWS reads it: rounded to the nearest integer, halves up, as Java's Math.round does.
std::optional<std::int64_t> rounded(const Json& value) {
  if (const auto whole = value.as_integer()) return whole;
  if (!value.is_number()) return std::nullopt;
  const double nearest = std::floor(value.as_double() + 0.5);
  if (!(std::fabs(nearest) < 9e15)) return std::nullopt;
  return static_cast<std::int64_t>(nearest);
}

Outcome<Json> format(const Args& a, Entropy&) {
  if (a.empty() || !a[0].is_string()) return bad("Invalid arguments in States.Format: the first must be a string template");
  const std::string_view text = a[0].as_string();
  std::string out;
  std::size_t next = 1;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 1 < text.size()) {
      out.push_back(text[++i]);
    } else if (text[i] == '{' && i + 1 < text.size() && text[i + 1] == '}') {
      if (next >= a.size()) return bad("Invalid arguments in States.Format: fewer arguments than {} in the template");
      const Json& value = a[next++];
      write_as_java(value, out);
      ++i;
    } else {
      out.push_back(text[i]);
    }
  }
  if (next != a.size()) return bad("Invalid arguments in States.Format: more arguments than {} in the template");
  return Json(std::move(out));
}

Outcome<Json> string_to_json(const Args& a, Entropy&) {
  if (a.size() != 1 || !a[0].is_string()) return bad("Invalid arguments in States.StringToJson: one string is expected");
  if (trim(a[0].as_string()).empty()) return Json();  // recorded at AWS
  auto parsed = Json::parse(a[0].as_string());
  if (!parsed) return bad("Invalid arguments in States.StringToJson: " + parsed.error().message);
  return *std::move(parsed);
}
Outcome<Json> json_to_string(const Args& a, Entropy&) {
  if (a.size() != 1) return bad("Invalid arguments in States.JsonToString: one value is expected");
  return Json(a[0].dump());
}
Outcome<Json> array(const Args& a, Entropy&) { return Json(Json::Array(a)); }

Outcome<Json> array_partition(const Args& a, Entropy&) {
  const auto size = a.size() == 2 ? rounded(a[1]) : std::nullopt;
  if (!size || *size <= 0 || !a[0].is_array())
    return bad("Invalid arguments in States.ArrayPartition: an array and a positive integer are expected");
  Json::Array out;
  const auto& items = a[0].as_array();
  for (std::size_t i = 0; i < items.size(); i += static_cast<std::size_t>(*size)) {
    const std::size_t end = std::min(items.size(), i + static_cast<std::size_t>(*size));
    out.emplace_back(Json::Array(items.begin() + static_cast<std::ptrdiff_t>(i), items.begin() + static_cast<std::ptrdiff_t>(end)));
  }
  return Json(std::move(out));
}
Outcome<Json> array_contains(const Args& a, Entropy&) {
  if (a.size() != 2 || !a[0].is_array()) return bad("Invalid arguments in States.ArrayContains: an array and a value are expected");
  const auto& items = a[0].as_array();
  return Json(std::find(items.begin(), items.end(), a[1]) != items.end());
}
Outcome<Json> array_range(const Args& a, Entropy&) {
  if (a.size() != 3) return bad("Invalid arguments in States.ArrayRange: three integers are expected");
  const auto first = rounded(a[0]), last = rounded(a[1]), step = rounded(a[2]);
  if (!first || !last || !step || *step == 0)
    return bad("Invalid arguments in States.ArrayRange: three integers are expected, the step not 0");
  Json::Array out;
  for (std::int64_t i = *first; *step > 0 ? i <= *last : i >= *last; i += *step) {
    if (out.size() == kMaxRange) return bad("Invalid arguments in States.ArrayRange: the range holds more than 1000 items");
    out.emplace_back(i);
  }
  return Json(std::move(out));
}
Outcome<Json> array_get_item(const Args& a, Entropy&) {
  const auto index = a.size() == 2 ? rounded(a[1]) : std::nullopt;
  if (!index || !a[0].is_array()) return bad("Invalid arguments in States.ArrayGetItem: an array and an index are expected");
  if (*index < 0 || *index >= static_cast<std::int64_t>(a[0].as_array().size()))
    return bad("Invalid arguments in States.ArrayGetItem: the index is outside the array");
  return a[0].as_array()[static_cast<std::size_t>(*index)];
}
Outcome<Json> array_length(const Args& a, Entropy&) {
  if (a.size() != 1 || !a[0].is_array()) return bad("Invalid arguments in States.ArrayLength: an array is expected");
  return Json(a[0].as_array().size());
}
Outcome<Json> array_unique(const Args& a, Entropy&) {
  if (a.size() != 1 || !a[0].is_array()) return bad("Invalid arguments in States.ArrayUnique: an array is expected");
  Json::Array out;
  for (const Json& item : a[0].as_array())
    if (std::find(out.begin(), out.end(), item) == out.end()) out.push_back(item);
  return Json(std::move(out));
}
Outcome<Json> encode64(const Args& a, Entropy&) {
  if (a.size() != 1 || !a[0].is_string() || a[0].as_string().size() > kMaxEncodedCharacters)
    return bad("Invalid arguments in States.Base64Encode: a string of at most 10000 characters is expected");
  return Json(base64_encode(a[0].as_string()));
}
Outcome<Json> decode64(const Args& a, Entropy&) {
  if (a.size() != 1 || !a[0].is_string() || a[0].as_string().size() > kMaxEncodedCharacters)
    return bad("Invalid arguments in States.Base64Decode: a string of at most 10000 characters is expected");
  auto bytes = base64_decode(a[0].as_string());
  if (!bytes || !is_utf8(*bytes)) return bad("Invalid arguments in States.Base64Decode: the text is not base64");
  return Json(*std::move(bytes));
}
Outcome<Json> hash(const Args& a, Entropy&) {
  if (a.size() != 2 || !a[1].is_string()) return bad("Invalid arguments in States.Hash: a value and an algorithm are expected");
  const std::string text = a[0].plain();
  if (text.size() > kMaxEncodedCharacters) return bad("Invalid arguments in States.Hash: the value is longer than 10000 characters");
  auto out = digest_hex(a[1].as_string(), text);
  if (!out) return bad("Invalid arguments in States.Hash: the algorithm must be MD5, SHA-1, SHA-256, SHA-384 or SHA-512");
  return Json(*std::move(out));
}
Outcome<Json> json_merge(const Args& a, Entropy&) {
  if (a.size() != 3 || !a[0].is_object() || !a[1].is_object() || !a[2].is_bool())
    return bad("Invalid arguments in States.JsonMerge: two objects and false are expected");
  if (a[2].as_bool()) return bad("Invalid arguments in States.JsonMerge: only the shallow merge (false) is supported, as at AWS");
  Json::Object out = a[0].as_object();
  for (const auto& [key, value] : a[1].as_object()) out.set(key, value);
  return Json(std::move(out));
}
Outcome<Json> math_random(const Args& a, Entropy& entropy) {
  if (a.size() < 2 || a.size() > 3) return bad("Invalid arguments in States.MathRandom: a start, an end and an optional seed are expected");
  const auto from = rounded(a[0]), to = rounded(a[1]);
  if (!from || !to || *from >= *to) return bad("Invalid arguments in States.MathRandom: the start must be an integer below the end");
  const auto span = static_cast<std::uint64_t>(*to - *from);
  if (a.size() == 2) return Json(*from + static_cast<std::int64_t>(entropy.below(span)));
  const auto seed = rounded(a[2]);
  if (!seed) return bad("Invalid arguments in States.MathRandom: the seed must be an integer");
  if (span > 0x7fffffff) return bad("Invalid arguments in States.MathRandom: the range is larger than a 32-bit integer");
  return Json(*from + JavaRandom(*seed).next_int(static_cast<std::int32_t>(span)));
}
Outcome<Json> math_add(const Args& a, Entropy&) {
  if (a.size() != 2 || !a[0].is_number() || !a[1].is_number()) return bad("Invalid arguments in States.MathAdd: two numbers are expected");
  // AWS rounds to the nearest integer and adds within 32 bits.
  const double sum = std::floor(a[0].as_double() + 0.5) + std::floor(a[1].as_double() + 0.5);
  if (std::fabs(sum) > 2147483647.0) return bad("Invalid arguments in States.MathAdd: the sum is outside the range of a 32-bit integer");
  return Json(static_cast<std::int64_t>(sum));
}
Outcome<Json> string_split(const Args& a, Entropy&) {
  if (a.size() != 2 || !a[0].is_string() || !a[1].is_string())
    return bad("Invalid arguments in States.StringSplit: two strings are expected");
  Json::Array out;
  std::string part;  // every character of the delimiter separates; empty parts are left out
  for (const char c : a[0].as_string()) {
    if (a[1].as_string().find(c) == std::string::npos) {
      part.push_back(c);
    } else if (!part.empty()) {
      out.emplace_back(std::exchange(part, {}));
    }
  }
  if (!part.empty()) out.emplace_back(std::move(part));
  return Json(std::move(out));
}
Outcome<Json> uuid(const Args& a, Entropy& entropy) {
  if (!a.empty()) return bad("Invalid arguments in States.UUID: none are expected");
  return Json(entropy.uuid());
}

using Function = Outcome<Json> (*)(const Args&, Entropy&);
constexpr std::array<std::pair<std::string_view, Function>, 18> kFunctions = {{
    {"States.Format", format},
    {"States.StringToJson", string_to_json},
    {"States.JsonToString", json_to_string},
    {"States.Array", array},
    {"States.ArrayPartition", array_partition},
    {"States.ArrayContains", array_contains},
    {"States.ArrayRange", array_range},
    {"States.ArrayGetItem", array_get_item},
    {"States.ArrayLength", array_length},
    {"States.ArrayUnique", array_unique},
    {"States.Base64Encode", encode64},
    {"States.Base64Decode", decode64},
    {"States.Hash", hash},
    {"States.JsonMerge", json_merge},
    {"States.MathRandom", math_random},
    {"States.MathAdd", math_add},
    {"States.StringSplit", string_split},
    {"States.UUID", uuid},
}};

Function find_function(std::string_view name) {
  for (const auto& [known, function] : kFunctions)
    if (known == name) return function;
  return nullptr;
}

}  // namespace

bool is_intrinsic(std::string_view name) { return find_function(name) != nullptr; }

Outcome<Json> call_intrinsic(std::string_view name, const std::vector<Json>& arguments, Entropy& entropy) {
  const Function function = find_function(name);
  if (!function) return bad(fmt::format("The intrinsic function {} does not exist", name));
  return function(arguments, entropy);
}

}  // namespace snapward::asl
