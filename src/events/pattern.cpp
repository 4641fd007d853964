#include "events/pattern.hpp"

#include <fmt/format.h>

#include "base/text.hpp"
#include "events/pattern_tree.hpp"

namespace snapward::events {

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
  if (value.is_string()) return make(plain, value.plain());
  if (value.is_object() && value.as_object().size() == 1 && value["equals-ignore-case"].is_string())
    return make(blind, lower(value["equals-ignore-case"].as_string()));
  return bad(fmt::format("{} match pattern must be a string", name));
}

Result<Matcher> wildcard(const Json& value) {
  if (!value.is_string()) return bad("wildcard match pattern must be a string");
  const std::string text = value.plain();
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
    if (i + 1 >= list.size() || !list[i + 1].is_number()) return bad("Value of " + list[i].plain() + " must be numeric");
    const std::string_view sign = list[i].as_string();
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
      return bad("Unrecognized numeric range operator: " + std::string(sign));
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
    const auto network = Network::parse(operand.plain(), true);
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
