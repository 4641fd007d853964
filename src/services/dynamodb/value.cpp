#include "services/dynamodb/value.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/multiprecision/cpp_dec_float.hpp>
#include <set>

#include "base/text.hpp"

namespace snapward::services::dynamodb {

namespace {

constexpr std::size_t kDigits = 38;
constexpr int kDeepest = 32;
constexpr const char* kTooDeep =
    "Nesting Levels have exceeded supported limits: Attributes in the item have nested levels beyond supported limit";

// A decimal number taken apart: 0.DIGITS × 10^exponent.
struct Decimal {
  bool negative = false;
  std::string digits;  // no zeros before or after; empty: zero
  long exponent = 0;
};

std::optional<Decimal> take_apart(std::string_view text) {
  Decimal out;
  std::size_t i = 0;
  if (i < text.size() && (text[i] == '-' || text[i] == '+')) out.negative = text[i++] == '-';
  bool any = false, point = false;
  for (; i < text.size() && (std::isdigit(static_cast<unsigned char>(text[i])) || (text[i] == '.' && !point)); ++i) {
    if (text[i] == '.') {
      point = true;
      continue;
    }
    any = true;
    out.digits += text[i];
    if (!point) ++out.exponent;
  }
  if (!any) return std::nullopt;
  if (i < text.size() && (text[i] == 'e' || text[i] == 'E')) {
    const std::string rest(text.substr(i + 1));
    char* end = nullptr;
    out.exponent += std::clamp(std::strtol(rest.c_str(), &end, 10), -100'000L, 100'000L);  // out of range either way
    if (rest.empty() || *end != '\0') return std::nullopt;
    i = text.size();
  }
  if (i != text.size()) return std::nullopt;
  const std::size_t first = std::min(out.digits.find_first_not_of('0'), out.digits.size());
  out.digits.erase(0, first);
  out.exponent -= static_cast<long>(first);
  while (out.digits.ends_with('0')) out.digits.pop_back();
  if (out.digits.empty()) out = {};
  return out;
}

std::string put_together(const Decimal& d) {
  if (d.digits.empty()) return "0";
  std::string out = d.negative ? "-" : "";
  const auto size = static_cast<long>(d.digits.size());
  if (d.exponent > 40 || d.exponent < -20) {
    out += d.digits.substr(0, 1);
    if (size > 1) out += '.' + d.digits.substr(1);
    return out + fmt::format("E{}{}", d.exponent - 1 < 0 ? "" : "+", d.exponent - 1);
  }
  if (d.exponent <= 0) return out + "0." + std::string(static_cast<std::size_t>(-d.exponent), '0') + d.digits;
  if (d.exponent >= size) return out + d.digits + std::string(static_cast<std::size_t>(d.exponent - size), '0');
  return out + d.digits.substr(0, static_cast<std::size_t>(d.exponent)) + '.' + d.digits.substr(static_cast<std::size_t>(d.exponent));
}

std::expected<Json, std::string> checked(const Json& value, int depth);

std::expected<Json, std::string> checked_set(std::string_view type, const Json& items) {
  if (!items.is_array() || items.as_array().empty())
    return std::unexpected(fmt::format("One or more parameter values were invalid: An {} set  may not be empty", type == "SS" ? "string"
                                                                                                                 : type == "NS"
                                                                                                                     ? "number"
                                                                                                                     : "binary"));
  std::set<std::string> seen;
  for (const Json& item : items.as_array()) {
    std::string text(item.string_or());
    if (type == "NS") {
      auto canonical = number(text);
      if (!canonical) return std::unexpected(canonical.error());
      text = *std::move(canonical);
    }
    if (!seen.insert(text).second)
      return std::unexpected(
          fmt::format("One or more parameter values were invalid: Input collection [{}] contains duplicates.", fmt::join(seen, ", ")));
  }
  Json::Array out;
  for (const auto& item : seen) out.emplace_back(item);
  return Json::object({{std::string(type), std::move(out)}});
}

std::expected<Json, std::string> checked(const Json& value, int depth) {
  if (depth > kDeepest) return std::unexpected(kTooDeep);
  const std::string_view type = type_of(value);
  if (type.empty()) {
    const bool several = value.is_object() && value.as_object().size() > 1;
    return std::unexpected(
        several ? "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes"
                : "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes");
  }
  const Json& inner = value[type];
  if (type == "N") {
    auto canonical = number(inner.string_or());
    if (!canonical) return std::unexpected(canonical.error());
    return Json::object({{"N", *std::move(canonical)}});
  }
  if (type == "SS" || type == "NS" || type == "BS") return checked_set(type, inner);
  if (type == "L") {
    Json::Array out;
    for (const Json& item : inner.items()) {
      auto one = checked(item, depth + 1);
      if (!one) return one;
      out.push_back(*std::move(one));
    }
    return Json::object({{"L", std::move(out)}});
  }
  if (type == "M") {
    Json::Object out;
    for (const auto& [key, item] : inner.as_object()) {
      auto one = checked(item, depth + 1);
      if (!one) return one;
      out.set(key, *std::move(one));
    }
    return Json::object({{"M", std::move(out)}});
  }
  return value;
}

// Every binary value of an item changed by `change`.
Json with_binaries(const Json& value, const std::function<std::string(std::string_view)>& change) {
  const std::string_view type = type_of(value);
  if (type == "B") return Json::object({{"B", change(value["B"].string_or())}});
  if (type == "BS" || type == "L") {
    Json::Array out;
    for (const Json& item : value[type].items()) out.push_back(type == "L" ? with_binaries(item, change) : Json(change(item.string_or())));
    return Json::object({{std::string(type), std::move(out)}});
  }
  if (type == "M") {
    Json::Object out;
    for (const auto& [key, item] : value["M"].as_object()) out.set(key, with_binaries(item, change));
    return Json::object({{"M", std::move(out)}});
  }
  return value;
}

Json each_attribute(const Json& item, const std::function<std::string(std::string_view)>& change) {
  Json::Object out;
  if (item.is_object())
    for (const auto& [key, value] : item.as_object()) out.set(key, with_binaries(value, change));
  return Json(std::move(out));
}

}  // namespace

std::string_view type_of(const Json& value) {
  static constexpr std::string_view kTypes[] = {"S", "N", "B", "BOOL", "NULL", "M", "L", "SS", "NS", "BS"};
  if (!value.is_object() || value.as_object().size() != 1) return {};
  const std::string& key = value.as_object().begin()->key;
  const Json& inner = value.as_object().begin()->value;
  for (const std::string_view type : kTypes)
    if (key == type) {
      const bool fits = type == "M"                        ? inner.is_object()
                        : type == "BOOL" || type == "NULL" ? inner.is_bool()
                        : type == "L" || type.size() == 2  ? inner.is_array()
                                                           : inner.is_string();
      return fits ? type : std::string_view();
    }
  return {};
}

std::expected<std::string, std::string> number(std::string_view text) {
  const auto parts = take_apart(text);
  if (!parts) return std::unexpected(fmt::format("The parameter cannot be converted to a numeric value: {}", text));
  if (parts->digits.size() > kDigits) return std::unexpected("Attempting to store more than 38 significant digits in a Number");
  if (!parts->digits.empty() && parts->exponent > 126)
    return std::unexpected("Number overflow. Attempting to store a number with magnitude larger than supported range");
  if (!parts->digits.empty() && parts->exponent < -129)
    return std::unexpected("Number underflow. Attempting to store a number with magnitude smaller than supported range");
  return put_together(*parts);
}

std::expected<std::string, std::string> sum(std::string_view a, std::string_view b, bool subtract) {
  using Number = boost::multiprecision::number<boost::multiprecision::cpp_dec_float<50>>;
  const Number x{std::string(a)}, y{std::string(b)};
  const Number result = subtract ? Number(x - y) : Number(x + y);
  return number(result.str(kDigits));
}

std::expected<Json, std::string> checked(const Json& value) { return checked(value, 1); }

std::string sort_key(const Json& value) {
  const std::string_view type = type_of(value);
  if (type != "N") return std::string(value[type].string_or());
  const auto d = take_apart(value["N"].string_or());
  if (!d || d->digits.empty()) return "1";
  // Sign, exponent, digits; for negative numbers all of it the other way round.
  std::string magnitude = fmt::format("{:04}", d->exponent + 1000) + d->digits;
  if (!d->negative) return "2" + magnitude;
  for (char& c : magnitude) c = static_cast<char>('9' - (c - '0'));
  return "0" + magnitude + '~';
}

std::optional<int> compare(const Json& a, const Json& b) {
  const std::string_view type = type_of(a);
  if (type != type_of(b) || (type != "S" && type != "N" && type != "B")) return std::nullopt;
  return sort_key(a).compare(sort_key(b));
}

Json to_row(const Json& item) {
  return each_attribute(item, [](std::string_view bytes) { return base64_encode(bytes); });
}
Json from_row(const Json& row) {
  return each_attribute(row, [](std::string_view text) { return base64_decode(text).value_or(""); });
}

std::expected<void, std::string> checked_depth(const Json& item) {
  // Of JSON, the item is a level, a value two ({"M": {…}}), and a set at the bottom another one.
  if (item.depth() > 2 * (kDeepest + 1) + 1) return std::unexpected(kTooDeep);
  return {};
}

std::size_t size_of(const Json& item) { return item.dump().size(); }

}  // namespace snapward::services::dynamodb
