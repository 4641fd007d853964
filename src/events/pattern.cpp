#include "events/pattern.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <array>
#include <cstring>
#include <optional>

#include "base/text.hpp"

namespace snapward::events {

namespace {

// '*' any run; "\*" and "\\" are themselves.
bool glob(std::string_view pattern, std::string_view text) {
  std::string escaped;
  for (const char c : pattern) escaped += c == '?' ? std::string("\\?") : std::string(1, c);
  return wildcard_match(escaped, text);
}

struct Network {
  std::array<unsigned char, 16> address{};
  int bits = 0;
  bool v6 = false;

  static std::optional<Network> parse(const std::string& text, bool with_prefix) {
    Network n;
    const std::size_t slash = text.find('/');
    if (with_prefix != (slash != std::string::npos)) return std::nullopt;
    const std::string host = text.substr(0, slash);
    if (inet_pton(AF_INET, host.c_str(), n.address.data()) == 1)
      n.bits = 32;
    else if (inet_pton(AF_INET6, host.c_str(), n.address.data()) == 1)
      n.bits = 128, n.v6 = true;
    else
      return std::nullopt;
    if (with_prefix) {
      const auto parsed = Json::parse(text.substr(slash + 1));
      const auto prefix = parsed ? parsed->as_integer() : std::nullopt;
      if (!prefix || *prefix < 0 || *prefix > n.bits) return std::nullopt;
      n.bits = static_cast<int>(*prefix);
    }
    return n;
  }
  [[nodiscard]] bool contains(const Network& ip) const {
    if (ip.v6 != v6) return false;
    for (int bit = 0; bit < bits; ++bit) {
      const int mask = 0x80 >> (bit % 8);
      if ((address[static_cast<std::size_t>(bit / 8)] & mask) != (ip.address[static_cast<std::size_t>(bit / 8)] & mask)) return false;
    }
    return true;
  }
};

}  // namespace

struct Pattern::Matcher {
  enum class Op {
    equals,
    prefix,
    suffix,
    ignore_case,
    prefix_ignore_case,
    suffix_ignore_case,
    wildcard,
    anything_but,
    numeric,
    cidr,
    exists,
    absent
  } op;
  Json value;                     // equals
  std::string text;               // the string operators, lower-cased for the case-blind ones
  std::vector<Matcher> excluded;  // anything_but: none of these
  std::optional<double> low, high;
  bool low_included = false, high_included = false;
  Network network;

  [[nodiscard]] bool accepts(const Json& v) const {
    const auto s = v.is_string() ? std::string_view(v.as_string()) : std::string_view();
    switch (op) {
      case Op::equals:
        return v == value;
      case Op::prefix:
        return v.is_string() && s.starts_with(text);
      case Op::suffix:
        return v.is_string() && s.ends_with(text);
      case Op::ignore_case:
        return v.is_string() && lower(s) == text;
      case Op::prefix_ignore_case:
        return v.is_string() && lower(s).starts_with(text);
      case Op::suffix_ignore_case:
        return v.is_string() && lower(s).ends_with(text);
      case Op::wildcard:
        return v.is_string() && glob(text, s);
      case Op::anything_but:
        return std::none_of(excluded.begin(), excluded.end(), [&](const Matcher& m) { return m.accepts(v); });
      case Op::numeric: {
        if (!v.is_number()) return false;
        const double n = v.as_double();
        return (!low || (low_included ? n >= *low : n > *low)) && (!high || (high_included ? n <= *high : n < *high));
      }
      case Op::cidr: {
        if (!v.is_string()) return false;
        const auto ip = Network::parse(v.as_string(), false);
        return ip && network.contains(*ip);
      }
      case Op::exists:
      case Op::absent:
        return op == Op::exists;
    }
    return false;
  }
};

struct Pattern::Node {
  struct Field {
    std::string key;
    std::vector<Matcher> values;  // a leaf
    std::shared_ptr<const Node> object;
  };
  std::vector<Field> fields;
  std::vector<std::vector<std::shared_ptr<const Node>>> either;  // $or: of each group, one

  [[nodiscard]] bool matches(const Json& event) const {
    if (event.is_array()) {  // one object of the array must meet all of this
      return std::any_of(event.as_array().begin(), event.as_array().end(), [&](const Json& item) { return matches(item); });
    }
    for (const Field& field : fields) {
      const Json* value = event.find(field.key);
      if (field.object) {
        static const Json kEmpty = Json(Json::Object{});
        if (!field.object->matches(value ? *value : kEmpty)) return false;
      } else if (!leaf(field, value)) {
        return false;
      }
    }
    for (const auto& group : either)
      if (std::none_of(group.begin(), group.end(), [&](const auto& option) { return option->matches(event); })) return false;
    return true;
  }

 private:
  static bool leaf(const Field& field, const Json* value) {
    const bool present = value && !value->is_object() && !(value->is_array() && value->as_array().empty());
    for (const Matcher& m : field.values) {
      if (m.op == Matcher::Op::absent) {
        if (!present) return true;
      } else if (present && any(m, *value)) {
        return true;
      }
    }
    return false;
  }
  static bool any(const Matcher& m, const Json& value) {
    if (value.is_array())
      return std::any_of(value.as_array().begin(), value.as_array().end(), [&](const Json& item) { return any(m, item); });
    if (value.is_object()) return false;
    return m.accepts(value);
  }
};

namespace {

using Matcher = Pattern::Matcher;
using Node = Pattern::Node;
using Op = Matcher::Op;

std::unexpected<Error> bad(std::string message) { return invalid(std::move(message)); }

Matcher make(Op op, std::string text) {
  Matcher m{.op = op, .value = {}, .text = std::move(text), .excluded = {}, .low = {}, .high = {}, .network = {}};
  return m;
}

// {"prefix": "a"} or {"prefix": {"equals-ignore-case": "a"}}
Result<Matcher> affix(const char* name, Op plain, Op blind, const Json& value) {
  if (value.is_string()) return make(plain, value.as_string());
  if (value.is_object() && value.as_object().size() == 1 && value["equals-ignore-case"].is_string())
    return make(blind, lower(value["equals-ignore-case"].as_string()));
  return bad(fmt::format("{} match pattern must be a string", name));
}

Result<Matcher> wildcard(const Json& value) {
  if (!value.is_string()) return bad("wildcard match pattern must be a string");
  const std::string& text = value.as_string();
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\') {
      if (i + 1 >= text.size() || (text[i + 1] != '*' && text[i + 1] != '\\'))
        return bad("Invalid escape character at pos " + std::to_string(i));
      ++i;
    } else if (text[i] == '*' && i + 1 < text.size() && text[i + 1] == '*') {
      return bad("Consecutive wildcard characters at pos " + std::to_string(i));
    }
  }
  return make(Op::wildcard, text);
}

Result<Matcher> numeric(const Json& value) {
  if (!value.is_array() || value.as_array().empty()) return bad("Value of numeric must be an array.");
  const auto& list = value.as_array();
  Matcher m = make(Op::numeric, "");
  for (std::size_t i = 0; i < list.size(); i += 2) {
    if (!list[i].is_string()) return bad("Invalid member in numeric match: " + list[i].dump());
    if (i + 1 >= list.size() || !list[i + 1].is_number()) return bad("Value of " + list[i].as_string() + " must be numeric");
    const std::string& sign = list[i].as_string();
    const double n = list[i + 1].as_double();
    if (n < -5e9 || n > 5e9) return bad("Value must be between -5.0E9 and 5.0E9, inclusive");
    if (sign == "=") {
      if (list.size() != 2) return bad("Too many terms in numeric range expression");
      m.low = m.high = n;
      m.low_included = m.high_included = true;
    } else if (sign == ">" || sign == ">=") {
      if (m.low || m.high) return bad("Too many terms in numeric range expression");
      m.low = n;
      m.low_included = sign == ">=";
    } else if (sign == "<" || sign == "<=") {
      if (m.high) return bad("Too many terms in numeric range expression");
      m.high = n;
      m.high_included = sign == "<=";
    } else {
      return bad("Unrecognized numeric range operator: " + sign);
    }
  }
  if (m.low && m.high && (*m.low > *m.high || (*m.low == *m.high && !(m.low_included && m.high_included))))
    return bad("Bottom must be less than top");
  return m;
}

Result<Matcher> value_match(const Json& value);

Result<Matcher> anything_but(const Json& value) {
  Matcher m = make(Op::anything_but, "");
  const auto scalar = [](const Json& v) { return v.is_string() || v.is_number(); };
  if (value.is_object()) {
    if (value.as_object().size() != 1) return bad("Only one key allowed in match expression");
    const auto& [key, inner] = *value.as_object().begin();
    if (key != "prefix" && key != "suffix" && key != "equals-ignore-case" && key != "wildcard")
      return bad("Unsupported anything-but pattern: " + key);
    const Json::Array list = inner.is_array() ? inner.as_array() : Json::Array{inner};
    if (list.empty()) return bad("Empty arrays are not allowed");
    for (const Json& item : list) {
      if (!item.is_string() && !item.is_object()) return bad(fmt::format("{} match pattern must be a string", key));
      auto one = value_match(Json::object({{key, item}}));
      if (!one) return one;
      m.excluded.push_back(*std::move(one));
    }
    return m;
  }
  const Json::Array list = value.is_array() ? value.as_array() : Json::Array{value};
  if (list.empty()) return bad("Empty arrays are not allowed");
  for (const Json& item : list) {
    if (!scalar(item)) return bad("Inside anything-but list, number, string and boolean are not supported together.");
    if (item.kind() != list[0].kind())
      return bad("Inside anything but list, either all values are number or string, mixed type is not supported");
    Matcher one = make(Op::equals, "");
    one.value = item;
    m.excluded.push_back(std::move(one));
  }
  return m;
}

Result<Matcher> value_match(const Json& value) {
  if (!value.is_object()) {
    if (value.is_array()) return bad("Match value must be String, number, true, false, or null");
    Matcher m = make(Op::equals, "");
    m.value = value;
    return m;
  }
  if (value.as_object().size() != 1) return bad("Only one key allowed in match expression");
  const auto& [key, operand] = *value.as_object().begin();
  if (key == "prefix") return affix("prefix", Op::prefix, Op::prefix_ignore_case, operand);
  if (key == "suffix") return affix("suffix", Op::suffix, Op::suffix_ignore_case, operand);
  if (key == "equals-ignore-case")
    return operand.is_string() ? Result<Matcher>(make(Op::ignore_case, lower(operand.as_string())))
                               : bad("equals-ignore-case match pattern must be a string");
  if (key == "wildcard") return wildcard(operand);
  if (key == "anything-but") return anything_but(operand);
  if (key == "numeric") return numeric(operand);
  if (key == "exists")
    return operand.is_bool() ? Result<Matcher>(make(operand.as_bool() ? Op::exists : Op::absent, ""))
                             : bad("exists match pattern must be either true or false.");
  if (key == "exactly") {
    if (!operand.is_string()) return bad("exact match pattern must be a string");
    Matcher m = make(Op::equals, "");
    m.value = operand;
    return m;
  }
  if (key == "cidr") {
    if (!operand.is_string()) return bad("prefix match pattern must be a string");
    const auto network = Network::parse(operand.as_string(), true);
    if (!network) return bad("Malformed CIDR, one '/' required");
    Matcher m = make(Op::cidr, "");
    m.network = *network;
    return m;
  }
  return bad("Unrecognized match type " + key);
}

Result<std::shared_ptr<const Node>> node(const Json& json, bool top) {
  auto out = std::make_shared<Node>();
  if (json.as_object().empty()) return bad(top ? "Empty event pattern is not allowed" : "Empty objects are not allowed");
  for (const auto& [key, value] : json.as_object()) {
    if (key == "$or" && value.is_array() && value.as_array().size() > 1 &&
        std::all_of(value.as_array().begin(), value.as_array().end(), [](const Json& v) { return v.is_object(); })) {
      auto& group = out->either.emplace_back();
      for (const Json& option : value.as_array()) {
        auto inner = node(option, false);
        if (!inner) return inner;
        group.push_back(*std::move(inner));
      }
      continue;
    }
    Node::Field field{.key = key, .values = {}, .object = {}};
    if (value.is_object()) {
      auto inner = node(value, false);
      if (!inner) return inner;
      field.object = *std::move(inner);
    } else if (value.is_array()) {
      if (value.as_array().empty()) return bad("Empty arrays are not allowed");
      for (const Json& item : value.as_array()) {
        auto matcher = value_match(item);
        if (!matcher) return std::unexpected(matcher.error());
        field.values.push_back(*std::move(matcher));
      }
    } else {
      return bad(fmt::format("\"{}\" must be an object or an array", key));
    }
    out->fields.push_back(std::move(field));
  }
  return std::shared_ptr<const Node>(std::move(out));
}

}  // namespace

Result<Pattern> Pattern::parse(std::string_view text) {
  const auto json = Json::parse(text);
  if (!json) return bad(json.error().message);
  if (!json->is_object()) return bad("Filter is not an object");
  auto root = node(*json, true);
  if (!root) return std::unexpected(root.error());
  Pattern out;
  out.root_ = *std::move(root);
  return out;
}

bool Pattern::matches(const Json& event) const { return root_->matches(event); }

}  // namespace snapward::events
