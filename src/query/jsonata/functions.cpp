#include <fmt/format.h>

#include <cassert>
#include <charconv>
#include <cmath>
#include <deque>
#include <limits>
#include <map>

#include "base/text.hpp"
#include "query/jsonata/evaluator.hpp"

namespace snapward::query::jsonata {

namespace {

using Arguments = std::vector<Value>;

const Value& at(const Arguments& a, std::size_t i) {
  static const Value kNothing;
  return i < a.size() ? a[i] : kNothing;
}
Value text(std::string s) { return Value(std::move(s)); }
Value whole(std::size_t n) { return Value(static_cast<double>(n)); }

std::vector<std::string_view> characters(std::string_view s) {
  std::vector<std::string_view> out;
  for (std::size_t i = 0; i < s.size();) {
    std::size_t end = i + 1;
    while (end < s.size() && (static_cast<unsigned char>(s[end]) & 0xc0) == 0x80) ++end;
    out.push_back(s.substr(i, end - i));
    i = end;
  }
  return out;
}

// Calls a function with as many of (value, key or index, whole) as it takes.
Value invoke(Evaluator& e, const Value& f, Value value, Value key, const Value& all) {
  const std::size_t arity = f.function()->arity;
  Arguments arguments;
  arguments.push_back(std::move(value));
  if (arity >= 2) arguments.push_back(std::move(key));
  if (arity >= 3) arguments.push_back(all);
  return e.apply(f, std::move(arguments), Value());
}

// ── Numbers ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

Value sum(Evaluator&, Arguments& a, const Value&) {
  if (at(a, 0).undefined()) return {};
  double total = 0;
  for (std::size_t i = 0; i < a[0].size(); ++i) total += a[0].item(i).number();
  return Value(total);
}
Value count(Evaluator&, Arguments& a, const Value&) { return whole(at(a, 0).undefined() ? 0 : a[0].size()); }
Value extreme(const Arguments& a, bool greatest) {
  if (at(a, 0).undefined() || a[0].size() == 0) return {};
  double out = a[0].item(0).number();
  for (std::size_t i = 1; i < a[0].size(); ++i) {
    const double n = a[0].item(i).number();
    out = greatest ? std::max(out, n) : std::min(out, n);
  }
  return Value(out);
}
Value max(Evaluator&, Arguments& a, const Value&) { return extreme(a, true); }
Value min(Evaluator&, Arguments& a, const Value&) { return extreme(a, false); }
Value average(Evaluator&, Arguments& a, const Value&) {
  if (at(a, 0).undefined() || a[0].size() == 0) return {};
  double total = 0;
  for (std::size_t i = 0; i < a[0].size(); ++i) total += a[0].item(i).number();
  return Value(total / static_cast<double>(a[0].size()));
}
template <double (*F)(double)>
Value rounded(Evaluator&, Arguments& a, const Value&) {
  if (at(a, 0).undefined()) return {};
  return Value(F(numeric(a[0])));
}
// Half to even, on the decimal text: 11.875 at 2 digits is 11.88, whatever its binary is.
double shift(double value, int digits) {
  const std::string s = number_text(value);
  const std::size_t e = s.find('e');
  const std::string moved = s.substr(0, e) + 'e' + std::to_string((e == std::string::npos ? 0 : std::atoi(s.c_str() + e + 1)) + digits);
  return std::strtod(moved.c_str(), nullptr);
}
Value round(Evaluator&, Arguments& a, const Value&) {
  if (at(a, 0).undefined()) return {};
  double value = numeric(a[0]);
  const int digits = at(a, 1).undefined() ? 0 : static_cast<int>(std::clamp(a[1].number(), -400.0, 400.0));
  if (digits) value = shift(value, digits);
  double out = std::floor(value + 0.5);
  if (std::fabs(out - value) == 0.5 && std::fmod(std::fabs(out), 2.0) == 1.0) out -= 1;
  if (digits) out = shift(out, -digits);
  return Value(out == 0 ? 0.0 : out);
}
Value square_root(Evaluator&, Arguments& a, const Value&) {
  if (at(a, 0).undefined()) return {};
  if (a[0].number() < 0) throw Failure{.code = "D3060", .token = "sqrt", .value = number_text(a[0].number())};
  return Value(std::sqrt(numeric(a[0])));
}
Value power(Evaluator&, Arguments& a, const Value&) {
  if (at(a, 0).undefined()) return {};
  const double exponent = at(a, 1).undefined() ? std::numeric_limits<double>::quiet_NaN() : a[1].number();
  const double out = std::pow(numeric(a[0]), exponent);
  if (!std::isfinite(out))
    throw Failure{.code = "D3061", .token = "power", .value = number_text(a[0].number()), .value2 = number_text(exponent)};
  return Value(out);
}
Value to_number(Evaluator& e, Arguments& a, const Value&) {
  const Value& v = at(a, 0);
  if (v.undefined()) return {};
  if (v.is_number()) return v;
  if (v.is_bool()) return Value(v.json()->as_bool() ? 1.0 : 0.0);
  if (v.is_string()) {
    const std::string& s = v.text();
    if (s.size() > 2 && s[0] == '0') {
      const int base = s[1] == 'x' || s[1] == 'X' ? 16 : s[1] == 'o' || s[1] == 'O' ? 8 : s[1] == 'b' || s[1] == 'B' ? 2 : 0;
      std::uint64_t n = 0;
      if (base) {
        const auto [end, error] = std::from_chars(s.data() + 2, s.data() + s.size(), n, base);
        if (error == std::errc() && end == s.data() + s.size()) return Value(static_cast<double>(n));
      }
    }
    std::size_t i = s.starts_with('-') ? 1 : 0;
    const auto digits = [&] {
      const std::size_t from = i;
      while (i < s.size() && s[i] >= '0' && s[i] <= '9') ++i;
      return i > from;
    };
    bool good = digits();
    if (good && i < s.size() && s[i] == '.') ++i, good = digits();
    if (good && i < s.size() && (s[i] == 'e' || s[i] == 'E')) {
      ++i;
      if (i < s.size() && (s[i] == '-' || s[i] == '+')) ++i;
      good = digits();
    }
    const double n = good && i == s.size() ? std::strtod(s.c_str(), nullptr) : std::numeric_limits<double>::infinity();
    if (std::isfinite(n)) return Value(n);
  }
  throw Failure{.code = "D3030", .token = "number", .value = e.shown(v)};
}
Value format_base(Evaluator&, Arguments& a, const Value&) {
  if (at(a, 0).undefined()) return {};
  const double value = std::nearbyint(numeric(a[0]));  // halves to even, as $round
  const double radix = at(a, 1).undefined() ? 10 : std::nearbyint(a[1].number());
  if (radix < 2 || radix > 36) throw Failure{.code = "D3100", .value = number_text(radix)};
  if (std::fabs(value) >= 9007199254740992.0) return text(number_text(value));
  auto n = static_cast<std::uint64_t>(std::fabs(value));
  std::string out;
  do out += "0123456789abcdefghijklmnopqrstuvwxyz"[n % static_cast<std::uint64_t>(radix)];
  while (n /= static_cast<std::uint64_t>(radix));
  if (value < 0) out += '-';
  return text({out.rbegin(), out.rend()});
}
Value format_number_of(Evaluator&, Arguments& a, const Value&) {
  if (at(a, 0).undefined()) return {};
  return text(format_number(numeric(a[0]), at(a, 1).is_string() ? a[1].text() : "", at(a, 2)));
}
Value format_integer_of(Evaluator&, Arguments& a, const Value&) {
  if (at(a, 0).undefined()) return {};
  return text(format_integer(std::floor(numeric(a[0])), at(a, 1).is_string() ? a[1].text() : ""));
}
Value parse_integer_of(Evaluator&, Arguments& a, const Value&) {
  if (at(a, 0).undefined()) return {};
  return Value(parse_integer(a[0].text(), at(a, 1).is_string() ? a[1].text() : ""));
}

Value random(Evaluator& e, Arguments&, const Value&) { return Value(e.entropy.unit()); }
Value random_seeded(Evaluator& e, Arguments& a, const Value&) {
  if (at(a, 0).undefined()) return Value(e.entropy.unit());
  return Value(JavaRandom(static_cast<std::int64_t>(a[0].number())).next_double());
}

// ── Texts ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

Value string(Evaluator& e, Arguments& a, const Value&) {
  if (at(a, 0).undefined()) return {};
  return text(e.string_of(a[0], truth(at(a, 1))));
}
Value substring(Evaluator&, Arguments& a, const Value&) {
  if (at(a, 0).undefined()) return {};
  const auto chars = characters(a[0].view());
  const auto size = static_cast<double>(chars.size());
  double from = at(a, 1).undefined() ? 0 : a[1].number();
  if (size + from < 0) from = 0;
  double to = size;
  if (!at(a, 2).undefined()) {
    const double length = a[2].number();
    if (length <= 0) return text("");
    to = from >= 0 ? from + length : size + from + length;
  }
  const auto clamp = [size](double n) {
    n = std::trunc(n);
    return n < 0 ? std::max(0.0, size + n) : std::min(n, size);
  };
  std::string out;
  for (auto i = static_cast<std::size_t>(clamp(from)); i < static_cast<std::size_t>(clamp(to)); ++i) out += chars[i];
  return text(std::move(out));
}
Value substring_before(Evaluator&, Arguments& a, const Value&) {
  if (at(a, 0).undefined()) return {};
  if (at(a, 1).undefined()) return a[0];
  return text(a[0].text().substr(0, a[0].text().find(a[1].text())));
}
Value substring_after(Evaluator&, Arguments& a, const Value&) {
  if (at(a, 0).undefined()) return {};
  if (at(a, 1).undefined()) return a[0];
  const std::size_t found = a[0].text().find(a[1].text());
  return found == std::string::npos ? a[0] : text(a[0].text().substr(found + a[1].text().size()));
}
// Simple case mapping of the scripts people name volumes in: Latin, Greek, Cyrillic. Others stay as they are.
char32_t change_case(char32_t c, bool up) {
  if (up) {
    if (c >= 'a' && c <= 'z') return c - 32;
    if ((c >= 0xe0 && c <= 0xfe && c != 0xf7) || (c >= 0x3b1 && c <= 0x3c9 && c != 0x3c2) || (c >= 0x430 && c <= 0x44f)) return c - 32;
    if (c >= 0x450 && c <= 0x45f) return c - 80;
    if (c >= 0x100 && c <= 0x17f && c != 0x131 && c != 0x138 && c != 0x149 && c != 0x17f)
      return (c >= 0x139 && c <= 0x148) || (c >= 0x179 && c <= 0x17e) ? (c % 2 == 0 ? c - 1 : c) : (c % 2 == 1 ? c - 1 : c);
    return c;
  }
  if (c >= 'A' && c <= 'Z') return c + 32;
  if ((c >= 0xc0 && c <= 0xde && c != 0xd7) || (c >= 0x391 && c <= 0x3a9) || (c >= 0x410 && c <= 0x42f)) return c + 32;
  if (c >= 0x400 && c <= 0x40f) return c + 80;
  if (c >= 0x100 && c <= 0x17f && c != 0x130 && c != 0x138 && c != 0x178)
    return (c >= 0x139 && c <= 0x148) || (c >= 0x179 && c <= 0x17e) ? (c % 2 == 1 ? c + 1 : c) : (c % 2 == 0 ? c + 1 : c);
  return c;
}
std::string with_case(const std::string& s, bool up) {
  std::string out;
  for (const std::string_view ch : characters(s)) {
    if (ch.size() == 1) {
      out += static_cast<char>(change_case(static_cast<unsigned char>(ch[0]), up));
    } else if (ch.size() == 2) {
      const char32_t c = change_case(
          static_cast<char32_t>((static_cast<unsigned char>(ch[0]) & 0x1f) << 6 | (static_cast<unsigned char>(ch[1]) & 0x3f)), up);
      out += static_cast<char>(0xc0 | (c >> 6));
      out += static_cast<char>(0x80 | (c & 0x3f));
    } else {
      out += ch;
    }
  }
  return out;
}
Value lowercase(Evaluator&, Arguments& a, const Value&) { return at(a, 0).undefined() ? Value() : text(with_case(a[0].text(), false)); }
Value uppercase(Evaluator&, Arguments& a, const Value&) { return at(a, 0).undefined() ? Value() : text(with_case(a[0].text(), true)); }
Value length(Evaluator&, Arguments& a, const Value&) { return at(a, 0).undefined() ? Value() : whole(utf8_length(a[0].text())); }
Value trimmed(Evaluator&, Arguments& a, const Value&) {
  if (at(a, 0).undefined()) return {};
  std::string out;
  for (const char c : a[0].text()) {
    if (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
      if (!out.empty() && out.back() != ' ') out += ' ';
    } else {
      out += c;
    }
  }
  if (out.ends_with(' ')) out.pop_back();
  return text(std::move(out));
}
Value pad(Evaluator& e, Arguments& a, const Value&) {
  if (at(a, 0).undefined()) return {};
  const double width = at(a, 1).undefined() ? 0 : a[1].number();
  auto fill = characters(at(a, 2).is_string() && !a[2].view().empty() ? a[2].view() : " ");
  const double missing = std::trunc(std::fabs(width)) - static_cast<double>(utf8_length(a[0].text()));
  if (missing > static_cast<double>(e.meter.max_text)) raise("U1003");
  std::string padding;
  for (std::size_t i = 0; static_cast<double>(i) < missing; ++i) padding += fill[i % fill.size()];
  return text(width > 0 ? a[0].text() + padding : padding + a[0].text());
}
std::optional<double> limit_of(const Arguments& a, std::size_t i, const char* code) {
  if (at(a, i).undefined()) return std::nullopt;
  if (a[i].number() < 0) throw Failure{.code = code, .index = static_cast<std::int64_t>(i) + 1};
  return a[i].number();
}
Value match(Evaluator& e, Arguments& a, const Value&) {
  if (at(a, 0).undefined()) return {};
  const auto limit = limit_of(a, 2, "D3040");
  const std::string& s = a[0].text();
  auto out = e.sequence();
  Match m;
  for (std::size_t from = 0, n = 0; (!limit || static_cast<double>(n) < *limit) && next_match(e, a[1], s, from, m); ++n, from = m.end) {
    Json::Array groups;
    for (const Value& group : m.groups) groups.push_back(e.to_json(group));
    out->push(Value(
        Json::object({{"match", m.text}, {"index", utf8_length(std::string_view(s).substr(0, m.start))}, {"groups", std::move(groups)}})));
  }
  return Value(std::move(out));
}
Value contains(Evaluator& e, Arguments& a, const Value&) {
  if (at(a, 0).undefined() || at(a, 1).undefined()) return {};
  if (at(a, 1).is_string()) return Value(a[0].text().find(a[1].text()) != std::string::npos);
  if (!at(a, 1).is_function()) return Value(false);
  Match m;
  return Value(next_match(e, a[1], a[0].text(), 0, m));
}
// "$1" and "$$" and "$0" in a replacement.
std::string expand(Evaluator& e, const std::string& replacement, const Match& m) {
  std::string out;
  const std::size_t most = m.groups.size() < 10 ? 1 : m.groups.size() < 100 ? 2 : 3;
  for (std::size_t i = 0; i < replacement.size(); ++i) {
    if (replacement[i] != '$') {
      out += replacement[i];
      continue;
    }
    const char next = i + 1 < replacement.size() ? replacement[i + 1] : '\0';
    if (next == '$') {
      out += '$';
      ++i;
    } else if (next == '0') {
      out += m.text;
      ++i;
    } else if (next >= '1' && next <= '9') {
      std::size_t digits = 0, index = 0;
      while (digits < most && i + 1 + digits < replacement.size() &&
             std::isdigit(static_cast<unsigned char>(replacement[i + 1 + digits]))) {
        const std::size_t longer = index * 10 + static_cast<std::size_t>(replacement[i + 1 + digits] - '0');
        if (digits > 0 && longer > m.groups.size()) break;
        index = longer;
        ++digits;
      }
      if (index <= m.groups.size() && !m.groups[index - 1].undefined()) out += e.string_of(m.groups[index - 1]);
      i += digits;
    } else {
      out += '$';
    }
  }
  return out;
}
Value replace(Evaluator& e, Arguments& a, const Value&) {
  if (at(a, 0).undefined()) return {};
  const std::string& s = a[0].text();
  if (at(a, 1).is_string() && a[1].text().empty()) throw Failure{.code = "D3010", .value = "", .index = 2};
  const auto limit = limit_of(a, 3, "D3011");
  std::string out;
  std::size_t from = 0, n = 0;
  const auto more = [&] { return !limit || static_cast<double>(n) < *limit; };
  if (at(a, 1).is_string()) {
    if (!at(a, 2).is_string()) throw Failure{.code = "D3012", .index = 3};
    for (std::size_t found = s.find(a[1].text()); found != std::string::npos && more(); found = s.find(a[1].text(), from), ++n) {
      out += s.substr(from, found - from) + a[2].text();
      from = found + a[1].text().size();
      e.meter.check_text(out.size());
    }
    return text(out + s.substr(from));
  }
  if (!at(a, 1).is_function()) return a[0];
  Match m;
  for (; more() && next_match(e, a[1], s, from, m); ++n) {
    out += s.substr(from, m.start - from);
    if (at(a, 2).is_string()) {
      out += expand(e, a[2].text(), m);
    } else {
      auto groups = e.list();
      for (const Value& group : m.groups) groups->push(group);
      Record record;
      record.members = {{"match", text(m.text)},
                        {"start", whole(utf8_length(std::string_view(s).substr(0, m.start)))},
                        {"end", whole(utf8_length(std::string_view(s).substr(0, m.end)))},
                        {"groups", Value(std::move(groups))}};
      const Value with = e.apply(a[2], {Value(std::make_shared<const Record>(std::move(record)))}, Value());
      if (!with.is_string()) throw Failure{.code = "D3012", .value = with.undefined() ? "" : e.shown(with)};
      out += with.text();
    }
    from = m.end;
  }
  return text(out + s.substr(from));
}
Value split(Evaluator& e, Arguments& a, const Value&) {
  if (at(a, 0).undefined()) return {};
  const std::string& s = a[0].text();
  const auto limit = limit_of(a, 2, "D3020");
  auto out = e.list();
  const auto room = [&] { return !limit || static_cast<double>(out->items.size()) < std::floor(*limit); };
  if (at(a, 1).is_string()) {
    const std::string& separator = a[1].text();
    if (separator.empty()) {
      for (const std::string_view c : characters(s))
        if (room()) out->push(text(std::string(c)));
      return Value(std::move(out));
    }
    std::size_t from = 0;
    for (std::size_t found = s.find(separator); found != std::string::npos && room(); found = s.find(separator, from)) {
      out->push(text(s.substr(from, found - from)));
      from = found + separator.size();
    }
    if (room()) out->push(text(s.substr(from)));
    return Value(std::move(out));
  }
  if (!at(a, 1).is_function()) {
    out->push(a[0]);
    return Value(std::move(out));
  }
  std::size_t from = 0;
  Match m;
  while (room() && next_match(e, a[1], s, from, m)) {
    out->push(text(s.substr(from, m.start - from)));
    from = m.end;
  }
  if (room()) out->push(text(s.substr(from)));
  return Value(std::move(out));
}
Value join(Evaluator& e, Arguments& a, const Value&) {
  if (at(a, 0).undefined()) return {};
  std::string out;
  for (std::size_t i = 0; i < a[0].size(); ++i) {
    if (i && at(a, 1).is_string()) out += a[1].text();
    out += a[0].item(i).text();
    e.meter.check_text(out.size());
  }
  return text(std::move(out));
}
Value encode64(Evaluator&, Arguments& a, const Value&) { return at(a, 0).undefined() ? Value() : text(base64_encode(a[0].text())); }
// As Java's decoder: padding may be missing, what is no letter of the alphabet may not be there.
bool decodable(std::string_view text) {
  const std::size_t letters = std::min(text.find_last_not_of('=') + 1, text.size());
  const std::size_t padding = text.size() - letters;
  const bool alphabet = std::all_of(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(letters),
                                    [](unsigned char c) { return std::isalnum(c) || c == '+' || c == '/'; });
  return alphabet && letters % 4 != 1 && (padding == 0 || (padding <= 2 && text.size() % 4 == 0));
}
Value decode64(Evaluator& e, Arguments& a, const Value&) {
  if (at(a, 0).undefined()) return {};
  if (e.aws && !decodable(a[0].view())) raise(kInternalError);
  // Padding may be missing, and what is no letter of the alphabet is passed over.
  std::string letters;
  for (const char c : a[0].text()) {
    if (c == '=') break;
    if (c == '-' || c == '_')
      letters += c == '-' ? '+' : '/';
    else if (std::isalnum(static_cast<unsigned char>(c)) || c == '+' || c == '/')
      letters += c;
  }
  if (letters.size() % 4 == 1) letters.pop_back();
  letters.append((4 - letters.size() % 4) % 4, '=');
  const auto bytes = base64_decode(letters);
  if (!bytes) return text("");
  if (is_utf8(*bytes)) return text(*bytes);
  std::string latin;  // bytes that are no UTF-8 are a character each
  for (const char c : *bytes) {
    const auto u = static_cast<unsigned char>(c);
    if (u < 0x80) {
      latin += c;
    } else {
      latin += static_cast<char>(0xc0 | (u >> 6));
      latin += static_cast<char>(0x80 | (u & 0x3f));
    }
  }
  return text(std::move(latin));
}
std::string encode_url(std::string_view s, std::string_view kept) {
  std::string out;
  for (const char c : s) {
    if (std::isalnum(static_cast<unsigned char>(c)) || kept.find(c) != std::string_view::npos)
      out += c;
    else
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}
Value encode_url_component(Evaluator&, Arguments& a, const Value&) {
  return at(a, 0).undefined() ? Value() : text(encode_url(a[0].text(), "-_.!~*'()"));
}
Value encode_url_whole(Evaluator&, Arguments& a, const Value&) {
  return at(a, 0).undefined() ? Value() : text(encode_url(a[0].text(), "-_.!~*'();,/?:@&=+$#"));
}
Value decode_url_text(const Arguments& a, const char* name, std::string_view kept) {
  if (at(a, 0).undefined()) return {};
  const std::string& s = a[0].text();
  std::string out;
  for (std::size_t i = 0; i < s.size(); ++i) {
    if (s[i] != '%') {
      out += s[i];
      continue;
    }
    unsigned code = 0;
    const auto [end, error] = std::from_chars(s.data() + i + 1, s.data() + std::min(s.size(), i + 3), code, 16);
    if (error != std::errc() || end != s.data() + i + 3) throw Failure{.code = "D3140", .value = s, .value2 = name};
    if (kept.find(static_cast<char>(code)) != std::string_view::npos && code < 0x80)
      out += s.substr(i, 3);
    else
      out += static_cast<char>(code);
    i += 2;
  }
  if (!is_utf8(out)) throw Failure{.code = "D3140", .value = s, .value2 = name};
  return text(std::move(out));
}
Value decode_url_component(Evaluator&, Arguments& a, const Value&) { return decode_url_text(a, "decodeUrlComponent", ""); }
Value decode_url_whole(Evaluator&, Arguments& a, const Value&) { return decode_url_text(a, "decodeUrl", ";,/?:@&=+$#"); }

// ── Truth, arrays, objects ─────────────────────────────────────────────────────────────────────────────────────────────────────

Value boolean(Evaluator&, Arguments& a, const Value&) { return at(a, 0).undefined() ? Value() : Value(truth(a[0])); }
Value negation(Evaluator&, Arguments& a, const Value&) { return at(a, 0).undefined() ? Value() : Value(!truth(a[0])); }
Value exists(Evaluator&, Arguments& a, const Value&) { return Value(!at(a, 0).undefined()); }
Value type(Evaluator&, Arguments& a, const Value&) { return at(a, 0).undefined() ? Value() : text(type_of(a[0])); }

Value map(Evaluator& e, Arguments& a, const Value&) {
  if (at(a, 0).undefined()) return {};
  auto out = e.sequence();
  for (std::size_t i = 0; i < a[0].size(); ++i) {
    Value value = invoke(e, a[1], a[0].item(i), whole(i), a[0]);
    if (!value.undefined()) out->push(std::move(value));
  }
  return Value(std::move(out));
}
Value filter(Evaluator& e, Arguments& a, const Value&) {
  if (at(a, 0).undefined()) return {};
  auto out = e.sequence();
  for (std::size_t i = 0; i < a[0].size(); ++i)
    if (truth(invoke(e, a[1], a[0].item(i), whole(i), a[0]))) out->push(a[0].item(i));
  return Value(std::move(out));
}
Value single(Evaluator& e, Arguments& a, const Value&) {
  if (at(a, 0).undefined()) return {};
  Value out;
  bool found = false;
  for (std::size_t i = 0; i < a[0].size(); ++i) {
    if (!at(a, 1).undefined() && !truth(invoke(e, a[1], a[0].item(i), whole(i), a[0]))) continue;
    if (found) throw Failure{.code = "D3138", .index = static_cast<std::int64_t>(i)};
    found = true;
    out = a[0].item(i);
  }
  if (!found) raise("D3139");
  return out;
}
Value reduce(Evaluator& e, Arguments& a, const Value&) {
  if (at(a, 0).undefined()) return {};
  const std::size_t arity = a[1].function()->arity;
  if (arity < 2) throw Failure{.code = "D3050", .index = 1};
  Value out = at(a, 2);
  std::size_t i = 0;
  if (out.undefined() && a[0].size() > 0) out = a[0].item(i++);
  for (; i < a[0].size(); ++i) {
    Arguments arguments = {out, a[0].item(i)};
    if (arity >= 3) arguments.push_back(whole(i));
    if (arity >= 4) arguments.push_back(a[0]);
    out = e.apply(a[1], std::move(arguments), Value());
  }
  return out;
}
Value zip(Evaluator& e, Arguments& a, const Value&) {
  auto out = e.list();
  if (a.empty()) return Value(std::move(out));
  std::size_t shortest = std::numeric_limits<std::size_t>::max();
  for (const Value& v : a) shortest = std::min(shortest, v.is_array() ? v.size() : v.undefined() ? 0 : 1);
  for (std::size_t i = 0; i < shortest; ++i) {
    auto row = e.list();
    for (const Value& v : a) row->push(v.is_array() ? v.item(i) : v);
    out->push(Value(std::move(row)));
  }
  return Value(std::move(out));
}
Value append(Evaluator& e, Arguments& a, const Value&) {
  const Value& x = at(a, 0);
  const Value& y = at(a, 1);
  if (x.undefined()) return y;
  if (y.undefined()) return x;
  Value out = e.append(x, y);
  if (out.list()) out.list()->sequence = false;  // what it makes is an array, of one item too
  return out;
}
Value reverse(Evaluator& e, Arguments& a, const Value&) {
  if (at(a, 0).undefined()) return {};
  if (a[0].size() <= 1) return a[0];
  auto out = e.list();
  for (std::size_t i = a[0].size(); i-- > 0;) out->push(a[0].item(i));
  return Value(std::move(out));
}
Value shuffle(Evaluator& e, Arguments& a, const Value&) {
  if (at(a, 0).undefined()) return {};
  if (a[0].size() <= 1) return a[0];
  auto out = e.list();
  for (std::size_t i = 0; i < a[0].size(); ++i) out->push(a[0].item(i));
  for (std::size_t i = out->items.size() - 1; i > 0; --i) std::swap(out->items[i], out->items[e.entropy.below(i + 1)]);
  return Value(std::move(out));
}
Value sort(Evaluator& e, Arguments& a, const Value&) {
  if (at(a, 0).undefined()) return {};
  if (a[0].size() <= 1) return a[0];
  std::vector<Value> items;
  bool numbers = true, texts = true;
  for (std::size_t i = 0; i < a[0].size(); ++i) {
    items.push_back(a[0].item(i));
    numbers = numbers && items.back().is_number();
    texts = texts && items.back().is_string();
  }
  if (at(a, 1).undefined()) {
    if (!numbers && !texts) raise("D3070");
    if (numbers)
      merge_sort(items, [](const Value& x, const Value& y) { return x.number() < y.number(); });
    else
      merge_sort(items, [](const Value& x, const Value& y) { return x.view() < y.view(); });
  } else {
    // The function says whether its first argument goes after the second.
    merge_sort(items, [&](const Value& right, const Value& left) { return truth(e.apply(a[1], {left, right}, Value())); });
  }
  auto out = e.list();
  for (Value& item : items) out->push(std::move(item));
  return Value(std::move(out));
}
Value distinct(Evaluator& e, Arguments& a, const Value&) {
  const Value& v = at(a, 0);
  if (v.undefined() || !v.is_array() || v.size() <= 1) return v;
  auto out = v.list() && v.list()->sequence ? e.sequence() : e.list();
  for (std::size_t i = 0; i < v.size(); ++i) {
    const Value item = v.item(i);
    e.meter.step();
    bool known = false;
    for (const Value& seen : out->items) {
      known = equal(seen, item);
      if (known) break;
    }
    e.meter.steps += out->items.size() / 8;
    if (!known) out->push(item);
  }
  return Value(std::move(out));
}
Value sift(Evaluator& e, Arguments& a, const Value&) {
  if (at(a, 0).undefined()) return {};
  Json::Object out;
  a[0].each_member([&](const std::string& key, const Value& value) {
    if (truth(invoke(e, a[1], value, text(key), a[0]))) out.set(key, e.to_json(value));
  });
  return out.empty() ? Value() : Value(Json(std::move(out)));
}
Value each(Evaluator& e, Arguments& a, const Value&) {
  if (at(a, 0).undefined()) return {};
  auto out = e.sequence();
  a[0].each_member([&](const std::string& key, const Value& value) {
    Value result = invoke(e, a[1], value, text(key), a[0]);
    if (!result.undefined()) out->push(std::move(result));
  });
  return Value(std::move(out));
}
void keys_of(const Value& v, List& out, std::map<std::string, bool>& seen) {
  if (v.is_array())
    for (std::size_t i = 0; i < v.size(); ++i) keys_of(v.item(i), out, seen);
  else
    v.each_member([&](const std::string& key, const Value&) {
      if (seen.try_emplace(key).second) out.push(text(key));
    });
}
Value keys(Evaluator& e, Arguments& a, const Value&) {
  auto out = e.sequence();
  std::map<std::string, bool> seen;
  keys_of(at(a, 0), *out, seen);
  return Value(std::move(out));
}
Value look_up(Evaluator& e, Arguments& a, const Value&) { return at(a, 1).is_string() ? lookup(e, a[0], a[1].text()) : Value(); }
Value spread(Evaluator& e, Arguments& a, const Value&) {
  const Value& v = at(a, 0);
  if (v.is_function()) return text("");
  if (!v.is_array() && !v.is_object()) return v;
  auto out = e.sequence();
  const auto one = [&](const Value& item) {
    if (item.is_array()) {
      for (std::size_t i = 0; i < item.size(); ++i) out->push(item.item(i));
      return;
    }
    if (!item.is_object()) return out->push(item);
    item.each_member([&](const std::string& key, const Value& value) { out->push(Value(Json::object({{key, e.to_json(value)}}))); });
  };
  if (v.is_array())
    for (std::size_t i = 0; i < v.size(); ++i) one(v.item(i));
  else
    one(v);
  return Value(std::move(out));
}
Value merge(Evaluator& e, Arguments& a, const Value&) {
  if (at(a, 0).undefined()) return {};
  std::vector<std::pair<std::string, Value>> members;
  std::unordered_map<std::string, std::size_t> by_key;
  bool functions = false;
  for (std::size_t i = 0; i < a[0].size(); ++i)
    a[0].item(i).each_member([&](const std::string& key, const Value& value) {
      functions = functions || value.is_function();
      const auto [found, fresh] = by_key.try_emplace(key, members.size());
      if (fresh)
        members.emplace_back(key, value);
      else
        members[found->second].second = value;
    });
  if (functions) return Value(std::make_shared<const Record>(Record{std::move(members)}));
  Json::Object out;
  for (auto& [key, value] : members) out.set(key, e.to_json(value));
  return Value(Json(std::move(out)));
}
Value clone(Evaluator& e, Arguments& a, const Value&) { return at(a, 0).undefined() ? Value() : e.copy(a[0]); }

// ── Errors, time, the rest ─────────────────────────────────────────────────────────────────────────────────────────────────────

Value error(Evaluator&, Arguments& a, const Value&) {
  throw Failure{.code = "D3137", .value = at(a, 0).is_string() ? a[0].text() : "$error() function evaluated"};
}
Value assertion(Evaluator&, Arguments& a, const Value&) {
  if (!truth(at(a, 0))) throw Failure{.code = "D3141", .value = at(a, 1).is_string() ? a[1].text() : "$assert() statement failed"};
  return {};
}
constexpr const char* kIsoPicture = "[Y0001]-[M01]-[D01]T[H01]:[m01]:[s01].[f001][Z01:01t]";
Value now(Evaluator& e, Arguments& a, const Value&) {
  return text(format_time(e.now.time_since_epoch().count(), at(a, 0).is_string() ? a[0].text() : kIsoPicture,
                          at(a, 1).is_string() ? a[1].text() : ""));
}
Value millis(Evaluator& e, Arguments&, const Value&) { return Value(static_cast<double>(e.now.time_since_epoch().count())); }
Value from_millis(Evaluator&, Arguments& a, const Value&) {
  if (at(a, 0).undefined()) return {};
  const double n = numeric(a[0]);
  if (std::fabs(n) > 8.64e15) throw Failure{.code = "D3001", .value = number_text(n)};
  return text(format_time(static_cast<std::int64_t>(std::floor(n)), at(a, 1).is_string() ? a[1].text() : kIsoPicture,
                          at(a, 2).is_string() ? a[2].text() : ""));
}
Value to_millis(Evaluator& e, Arguments& a, const Value&) {
  if (at(a, 0).undefined()) return {};
  const auto found = parse_time(a[0].text(), at(a, 1).is_string() ? a[1].text() : "", e.now);
  return found ? Value(*found) : Value();
}
Value eval(Evaluator& e, Arguments& a, const Value& input) {
  if (at(a, 0).undefined()) return {};
  Value focus = a.size() > 1 && !a[1].undefined() ? a[1] : input;
  if (focus.is_array() && !(focus.list() && focus.list()->sequence)) {
    auto outer = e.sequence_of(focus);
    outer->outer = true;
    focus = Value(std::move(outer));
  }
  try {
    e.trees.push_back(parse(a[0].text()));
  } catch (const Failure& failure) {
    throw Failure{.code = "D3120", .value = message_of(failure)};
  }
  const NodePtr root = e.trees.back().root;
  try {
    return e.evaluate(*root, focus, e.root);
  } catch (const Failure& failure) {
    throw Failure{.code = "D3121", .value = message_of(failure)};
  }
}

// ── Step Functions' own ────────────────────────────────────────────────────────────────────────────────────────────────────────

constexpr double kMaxRange = 360'145;  // measured at AWS

Value partition(Evaluator& e, Arguments& a, const Value&) {
  if (at(a, 0).undefined() || at(a, 1).undefined()) return {};
  const double size = std::trunc(a[1].number());
  if (size < 1) throw Failure{.code = "T0410", .token = "partition", .index = 2};
  auto out = e.list();
  for (std::size_t i = 0; i < a[0].size();) {
    auto part = e.list();
    for (double n = 0; n < size && i < a[0].size(); ++n) part->push(a[0].item(i++));
    out->push(Value(std::move(part)));
  }
  return Value(std::move(out));
}
Value range(Evaluator& e, Arguments& a, const Value&) {
  if (at(a, 0).undefined() || at(a, 1).undefined() || at(a, 2).undefined()) return {};
  const double first = a[0].number(), last = a[1].number(), step = a[2].number();
  if (step == 0) throw Failure{.code = "T0410", .token = "range", .index = 3};
  const double items = std::floor((last - first) / step) + 1;
  if (items > kMaxRange) raise("U1003");
  auto out = e.sequence();  // of one number: that number
  for (double n = 0; n < items; ++n) out->push(Value(first + n * step));
  return Value(std::move(out));
}
Value hash(Evaluator& e, Arguments& a, const Value&) {
  if (at(a, 0).undefined()) return {};
  const std::string algorithm = at(a, 1).is_string() ? a[1].text() : "SHA-256";
  auto out = digest_hex(algorithm, e.string_of(a[0]));
  if (!out) throw Failure{.code = "T0410", .token = "hash", .index = 2};
  return text(*std::move(out));
}
Value uuid(Evaluator& e, Arguments&, const Value&) { return text(e.entropy.uuid()); }
// JSON has a negative zero that JavaScript does not write.
Json without_negative_zero(const Json& value) {
  if (value.is_number()) return value.as_double() == 0 ? Json(0) : value;
  if (value.is_array()) {
    Json::Array out;
    for (const Json& item : value.as_array()) out.push_back(without_negative_zero(item));
    return Json(std::move(out));
  }
  if (!value.is_object()) return value;
  Json::Object out;
  for (const auto& [key, member] : value.as_object()) out.set(key, without_negative_zero(member));
  return Json(std::move(out));
}
Value parse_json(Evaluator&, Arguments& a, const Value&) {
  if (at(a, 0).undefined()) return {};
  auto json = Json::parse(a[0].text());
  if (!json) throw Failure{.code = "D3137", .value = "Invalid JSON provided to $parse: " + json.error().message};
  return Value(a[0].text().find("-0") == std::string_view::npos ? *std::move(json) : without_negative_zero(*json));
}

struct Row {
  const char* name;
  const char* signature;
  Function::Native native;
  std::size_t arity;
};

constexpr Row kFunctions[] = {
    {"sum", "<a<n>:n>", sum, 1},
    {"count", "<a:n>", count, 1},
    {"max", "<a<n>:n>", max, 1},
    {"min", "<a<n>:n>", min, 1},
    {"average", "<a<n>:n>", average, 1},
    {"string", "<x-b?:s>", string, 1},
    {"substring", "<s-nn?:s>", substring, 3},
    {"substringBefore", "<s-s:s>", substring_before, 2},
    {"substringAfter", "<s-s:s>", substring_after, 2},
    {"lowercase", "<s-:s>", lowercase, 1},
    {"uppercase", "<s-:s>", uppercase, 1},
    {"length", "<s-:n>", length, 1},
    {"trim", "<s-:s>", trimmed, 1},
    {"pad", "<s-ns?:s>", pad, 3},
    {"match", "<s-f<s:o>n?:a<o>>", match, 3},
    {"contains", "<s-(sf):b>", contains, 2},
    {"replace", "<s-(sf)(sf)n?:s>", replace, 4},
    {"split", "<s-(sf)n?:a<s>>", split, 3},
    {"join", "<a<s>s?:s>", join, 2},
    {"formatNumber", "<n-so?:s>", format_number_of, 3},
    {"formatBase", "<n-n?:s>", format_base, 2},
    {"formatInteger", "<n-s:s>", format_integer_of, 2},
    {"parseInteger", "<s-s:n>", parse_integer_of, 2},
    {"number", "<(nsb)-:n>", to_number, 1},
    {"floor", "<n-:n>", rounded<std::floor>, 1},
    {"ceil", "<n-:n>", rounded<std::ceil>, 1},
    {"round", "<n-n?:n>", round, 2},
    {"abs", "<n-:n>", rounded<std::fabs>, 1},
    {"sqrt", "<n-:n>", square_root, 1},
    {"power", "<n-n:n>", power, 2},
    {"random", "<:n>", random, 0},
    {"boolean", "<x-:b>", boolean, 1},
    {"not", "<x-:b>", negation, 1},
    {"map", "<af>", map, 2},
    {"zip", "<a+>", zip, 0},
    {"filter", "<af>", filter, 2},
    {"single", "<af?>", single, 2},
    {"reduce", "<afj?:j>", reduce, 3},
    {"sift", "<o-f?:o>", sift, 2},
    {"keys", "<x-:a<s>>", keys, 1},
    {"lookup", "<x-s:x>", look_up, 2},
    {"append", "<xx:a>", append, 2},
    {"exists", "<x:b>", exists, 1},
    {"spread", "<x-:a<o>>", spread, 1},
    {"merge", "<a<o>:o>", merge, 1},
    {"reverse", "<a:a>", reverse, 1},
    {"each", "<o-f:a>", each, 2},
    {"error", "<s?:x>", error, 1},
    {"assert", "<bs?:x>", assertion, 2},
    {"type", "<x:s>", type, 1},
    {"sort", "<af?:a>", sort, 2},
    {"shuffle", "<a:a>", shuffle, 1},
    {"distinct", "<x:x>", distinct, 1},
    {"base64encode", "<s-:s>", encode64, 1},
    {"base64decode", "<s-:s>", decode64, 1},
    {"encodeUrlComponent", "<s-:s>", encode_url_component, 1},
    {"encodeUrl", "<s-:s>", encode_url_whole, 1},
    {"decodeUrlComponent", "<s-:s>", decode_url_component, 1},
    {"decodeUrl", "<s-:s>", decode_url_whole, 1},
    {"toMillis", "<s-s?:n>", to_millis, 2},
    {"fromMillis", "<n-s?s?:s>", from_millis, 3},
    {"clone", "<(oa)-:o>", clone, 1},
    {"now", "<s?s?:s>", now, 2},
    {"millis", "<:n>", millis, 0},
};
constexpr Row kPlain[] = {{"eval", "<sx?:x>", eval, 2}};
constexpr Row kStepFunctions[] = {
    {"partition", "<an:a>", partition, 2},  {"range", "<nnn:a>", range, 3}, {"hash", "<xs?:s>", hash, 2},
    {"random", "<n?:n>", random_seeded, 1}, {"uuid", "<:s>", uuid, 0},      {"parse", "<s-:x>", parse_json, 1},
};

}  // namespace

const FunctionPtr* builtin(std::string_view name, bool aws) {
  using Table = std::map<std::string_view, FunctionPtr>;
  static std::deque<Signature>& signatures = *new std::deque<Signature>;  // for the life of the process, as the tables
  static const auto make = [](bool step_functions) {
    Table out;
    const auto add = [&](const auto& rows) {
      for (const Row& row : rows) {
        auto f = std::make_shared<Function>();
        f->native = row.native;
        f->arity = row.arity;
        f->signature = &signatures.emplace_back(Signature::parse(row.signature));
        out[row.name] = std::move(f);
      }
    };
    add(kFunctions);
    if (step_functions)
      add(kStepFunctions);
    else
      add(kPlain);
    return out;
  };
  static const Table& own = *new Table(make(false));  // for the life of the process
  static const Table& step_functions = *new Table(make(true));
  const Table& table = aws ? step_functions : own;
  const auto found = table.find(name);
  return found == table.end() ? nullptr : &found->second;
}

}  // namespace snapward::query::jsonata
