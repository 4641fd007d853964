// What a Pattern is inside: shared by its own evaluation (pattern.cpp, the plain reference) and by the compiled one (matcher.cpp).
#pragma once
#include <arpa/inet.h>

#include <array>
#include <cstring>
#include <optional>

#include "base/text.hpp"
#include "events/pattern.hpp"

namespace snapward::events {

// '*' any run; "\*" and "\\" are themselves.
inline bool glob(std::string_view pattern, std::string_view text) {
  std::string escaped;
  for (const char c : pattern) escaped += c == '?' ? std::string("\\?") : std::string(1, c);
  return wildcard_match(escaped, text);
}

struct Network {
  std::array<unsigned char, 16> address{};
  int bits = 0;
  bool v6 = false;

  // One address, all its bits.
  static std::optional<Network> parse(const std::string& text) {
    Network n;
    if (inet_pton(AF_INET, text.c_str(), n.address.data()) == 1)
      n.bits = 32;
    else if (inet_pton(AF_INET6, text.c_str(), n.address.data()) == 1)
      n.bits = 128, n.v6 = true;
    else
      return std::nullopt;
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
        const auto ip = Network::parse(v.plain());
        return ip && network.contains(*ip);
      }
      case Op::exists:
      case Op::absent:
        return op == Op::exists;
    }
    return false;
  }
};

// The steps of a path: EventBridge joins the names on the way to a field with dots, so {"a.b": 1} is {"a": {"b": 1}} to it, in patterns
// as in events (User Guide, "Considerations when creating event patterns"). Nothing when there are more than anybody needs.
inline constexpr std::size_t kMostSteps = 200;
inline std::optional<std::vector<std::string>> steps_of(const std::string& name) {
  if (std::ranges::count(name, '.') >= static_cast<std::ptrdiff_t>(kMostSteps)) return std::nullopt;
  return split(name, '.');
}

// The event with each name that has dots taken apart; the same value when it has none.
Json without_dots(const Json& event);

// To be asked about events without dots in their names.
struct Pattern::Node {
  struct Field {
    std::string key;              // without dots
    std::vector<Matcher> values;  // a leaf; a name can stand for a leaf and, in another field, for an object
    std::shared_ptr<Node> object;
  };
  std::vector<Field> fields;
  std::vector<std::vector<std::shared_ptr<const Node>>> either;  // $or: of each group, one

  [[nodiscard]] bool matches(const Json& event) const {
    if (event.is_array() && !event.as_array().empty()) {  // one object of the array must meet all of this
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
    const bool present = value && has_value(*value);
    for (const Matcher& m : field.values) {
      if (m.op == Matcher::Op::absent) {
        if (!present) return true;
      } else if (present && any(m, *value)) {
        return true;
      }
    }
    return false;
  }
  // Whether a field has a value at all: an object has not, nor has an array without one.
  static bool has_value(const Json& value) {
    if (value.is_array()) return std::any_of(value.as_array().begin(), value.as_array().end(), has_value);
    return !value.is_object();
  }
  static bool any(const Matcher& m, const Json& value) {
    if (value.is_array())
      return std::any_of(value.as_array().begin(), value.as_array().end(), [&](const Json& item) { return any(m, item); });
    if (value.is_object()) return false;
    return m.accepts(value);
  }
};

}  // namespace snapward::events
