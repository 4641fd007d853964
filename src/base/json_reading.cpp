#include "base/json_reading.hpp"

#include <fmt/format.h>
#include <simdjson.h>

#include <array>
#include <bit>
#include <boost/json/basic_parser_impl.hpp>
#include <charconv>
#include <cstring>

namespace snapward::reading {

namespace {

constexpr std::size_t kDeepest = 512;

// Boost's basic_parser drives this; numbers arrive with their text, which is all we keep of them.
struct Handler {
  static constexpr std::size_t max_object_size = static_cast<std::size_t>(-1);
  static constexpr std::size_t max_array_size = static_cast<std::size_t>(-1);
  static constexpr std::size_t max_key_size = static_cast<std::size_t>(-1);
  static constexpr std::size_t max_string_size = static_cast<std::size_t>(-1);
  using code = boost::system::error_code;
  using view = boost::json::string_view;

  // What the open objects and arrays hold so far, each level's above the one before; a member lies there from its key on.
  struct Level {
    bool object;
    std::size_t start;
  };
  std::vector<Level> levels;
  std::vector<Json::Member> members;
  std::vector<Json> items;
  std::string text;
  Json root;

  void add(Json value) {
    if (levels.empty())
      root = std::move(value);
    else if (levels.back().object)
      members.back().value = std::move(value);
    else
      items.push_back(std::move(value));
  }
  static bool on_document_begin(code&) { return true; }
  static bool on_document_end(code&) { return true; }
  bool on_object_begin(code&) { return levels.push_back({true, members.size()}), true; }
  bool on_array_begin(code&) { return levels.push_back({false, items.size()}), true; }
  // The top of a stack, taken off it.
  template <class T>
  static std::vector<T> taken(std::vector<T>& stack, std::size_t start) {
    const auto from = stack.begin() + static_cast<std::ptrdiff_t>(start);
    std::vector<T> out(std::make_move_iterator(from), std::make_move_iterator(stack.end()));
    stack.erase(from, stack.end());
    return out;
  }
  bool on_object_end(std::size_t, code&) {
    Json value(Json::Object::of(taken(members, levels.back().start)));
    levels.pop_back();
    return add(std::move(value)), true;
  }
  bool on_array_end(std::size_t, code&) {
    Json value(taken(items, levels.back().start));
    levels.pop_back();
    return add(std::move(value)), true;
  }
  bool on_key_part(view s, std::size_t, code&) { return text.append(s.data(), s.size()), true; }
  // A text that came in one piece needs no gathering.
  std::string_view whole(view s) {
    if (text.empty()) return {s.data(), s.size()};
    return text.append(s.data(), s.size());
  }
  bool on_key(view s, std::size_t, code&) {
    members.push_back({std::string(whole(s)), {}});
    return text.clear(), true;
  }
  bool on_string_part(view s, std::size_t, code&) { return text.append(s.data(), s.size()), true; }
  bool on_string(view s, std::size_t, code&) {
    add(Json(whole(s)));
    return text.clear(), true;
  }
  bool on_number_part(view s, code&) { return text.append(s.data(), s.size()), true; }
  bool on_number(view s) {
    add(Json::number(whole(s)));
    return text.clear(), true;
  }
  bool on_int64(std::int64_t, view s, code&) { return on_number(s); }
  bool on_uint64(std::uint64_t, view s, code&) { return on_number(s); }
  bool on_double(double, view s, code&) { return on_number(s); }
  bool on_bool(bool b, code&) { return add(Json(b)), true; }
  bool on_null(code&) { return add(Json()), true; }
  static bool on_comment_part(view, code&) { return true; }
  static bool on_comment(view, code&) { return true; }
};

// One pass over a text known to be UTF-8, without looking ahead or keeping a state to go on from. What is false has met something for
// the careful reader.
class Quick {
 public:
  explicit Quick(std::string_view text) : at_(text.data()), end_(text.data() + text.size()) {}

  std::optional<Json> read() {
    Json out;
    blanks();
    if (!value(out, 1)) return std::nullopt;
    blanks();
    return at_ == end_ ? std::optional(std::move(out)) : std::nullopt;
  }

 private:
  [[nodiscard]] bool is(char c) const { return at_ != end_ && *at_ == c; }
  bool eat(char c) { return is(c) && (++at_, true); }
  void blanks() {
    while (at_ != end_ && static_cast<unsigned char>(*at_) <= ' ' && (*at_ == ' ' || *at_ == '\n' || *at_ == '\r' || *at_ == '\t')) ++at_;
  }
  bool literal(std::string_view word) {
    if (static_cast<std::size_t>(end_ - at_) < word.size() || std::memcmp(at_, word.data(), word.size()) != 0) return false;
    at_ += word.size();
    return true;
  }

  bool value(Json& out, std::size_t depth) {
    if (at_ == end_) return false;
    switch (*at_) {
      case '{':
        return depth <= kDeepest && object(out, depth);
      case '[':
        return depth <= kDeepest && array(out, depth);
      case '"': {
        std::string_view text;
        if (!string(text)) return false;
        out = Json(text);
        return true;
      }
      case 't':
        return out = Json(true), literal("true");
      case 'f':
        return out = Json(false), literal("false");
      case 'n':
        return literal("null");
      default:
        return number(out);
    }
  }

  bool object(Json& out, std::size_t depth) {
    ++at_;
    std::vector<Json::Member> members;
    // As many as the last one of this depth had: lists hold objects of one make.
    std::uint8_t& expected = expected_[depth % expected_.size()];
    members.reserve(expected);
    blanks();
    if (!eat('}')) {
      do {
        blanks();
        std::string_view key;
        if (!is('"') || !string(key)) return false;
        members.emplace_back().key.assign(key);
        blanks();
        if (!eat(':')) return false;
        blanks();
        if (!value(members.back().value, depth + 1)) return false;
        blanks();
      } while (eat(','));
      if (!eat('}')) return false;
    }
    expected = static_cast<std::uint8_t>(std::min<std::size_t>(members.size(), 32));
    if (members.capacity() > 2 * members.size()) members.shrink_to_fit();
    out = Json(Json::Object::of(std::move(members)));
    return true;
  }

  bool array(Json& out, std::size_t depth) {
    ++at_;
    Json::Array items;
    blanks();
    if (!eat(']')) {
      do {
        blanks();
        if (!value(items.emplace_back(), depth + 1)) return false;
        blanks();
      } while (eat(','));
      if (!eat(']')) return false;
    }
    out = Json(std::move(items));
    return true;
  }

  bool number(Json& out) {
    const char* const from = at_;
    const bool negative = eat('-');
    const char* const digits = at_;
    std::int64_t whole = 0;
    for (; at_ != end_ && *at_ >= '0' && *at_ <= '9'; ++at_)
      if (at_ - digits < 18) whole = whole * 10 + (*at_ - '0');
    const std::ptrdiff_t length = at_ - digits;
    if (length == 0 || (*digits == '0' && length > 1)) return false;
    const bool plain = length <= 18 && !is('.') && !is('e') && !is('E') && !(negative && *digits == '0');
    if (plain) {
      out = Json(negative ? -whole : whole);
      return true;
    }
    const auto more = [this] {
      const char* const first = at_;
      while (at_ != end_ && *at_ >= '0' && *at_ <= '9') ++at_;
      return at_ - first;
    };
    if (eat('.') && more() == 0) return false;
    if (eat('e') || eat('E')) {
      if (!eat('+')) eat('-');
      if (const auto n = more(); n == 0 || n > 8) return false;  // there are limits to what an exponent may be
    }
    out = Json::number({from, static_cast<std::size_t>(at_ - from)});
    return true;
  }

  // To the next quote, backslash or control character: eight bytes at a time, of which the lowest high bit of `special` marks it.
  void plain() {
    constexpr std::uint64_t kOnes = 0x0101010101010101ULL, kHigh = 0x8080808080808080ULL;
    static_assert(std::endian::native == std::endian::little);
    for (; end_ - at_ >= 8; at_ += 8) {
      std::uint64_t word = 0;
      std::memcpy(&word, at_, 8);
      const auto zero = [](std::uint64_t w) { return (w - kOnes) & ~w & kHigh; };
      const std::uint64_t special = zero(word ^ (kOnes * '"')) | zero(word ^ (kOnes * '\\')) | ((word - kOnes * 0x20) & ~word & kHigh);
      if (special == 0) continue;
      at_ += std::countr_zero(special) / 8;
      return;
    }
    while (at_ != end_ && *at_ != '"' && *at_ != '\\' && static_cast<unsigned char>(*at_) >= 0x20) ++at_;
  }

  // Of a name or a value, its quotes off; good until the next one is read.
  bool string(std::string_view& out) {
    const char* const from = ++at_;
    plain();
    if (is('"')) {
      out = {from, static_cast<std::size_t>(at_++ - from)};
      return true;
    }
    unescaped_.assign(from, at_);
    while (eat('\\')) {
      if (at_ == end_) return false;
      static constexpr std::string_view kFrom = "\"\\/bfnrt", kTo = "\"\\/\b\f\n\r\t";
      const char c = *at_++;
      if (const std::size_t known = kFrom.find(c); known != std::string_view::npos)
        unescaped_.push_back(kTo[known]);
      else if (c != 'u' || !code_point())
        return false;
      const char* const rest = at_;
      plain();
      unescaped_.append(rest, at_);
    }
    out = unescaped_;
    return eat('"');
  }

  bool unit(std::uint32_t& out) {
    if (end_ - at_ < 4) return false;
    const auto [read, error] = std::from_chars(at_, at_ + 4, out, 16);
    if (error != std::errc{} || read != at_ + 4) return false;
    at_ += 4;
    return true;
  }
  // Behind "\u", as UTF-8.
  bool code_point() {
    std::uint32_t c = 0, low = 0;
    if (!unit(c) || (c >= 0xdc00 && c < 0xe000)) return false;
    if (c >= 0xd800 && c < 0xdc00) {
      if (!literal("\\u") || !unit(low) || low < 0xdc00 || low >= 0xe000) return false;
      c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
    }
    const auto put = [this](std::uint32_t byte) { unescaped_.push_back(static_cast<char>(byte)); };
    if (c < 0x80) return put(c), true;
    if (c < 0x800) return put(0xc0 | (c >> 6)), put(0x80 | (c & 0x3f)), true;
    if (c < 0x10000) return put(0xe0 | (c >> 12)), put(0x80 | ((c >> 6) & 0x3f)), put(0x80 | (c & 0x3f)), true;
    return put(0xf0 | (c >> 18)), put(0x80 | ((c >> 12) & 0x3f)), put(0x80 | ((c >> 6) & 0x3f)), put(0x80 | (c & 0x3f)), true;
  }

  const char* at_;
  const char* const end_;
  std::string unescaped_;
  std::array<std::uint8_t, 16> expected_{};
};

}  // namespace

std::optional<Json> quick(std::string_view text) {
  if (!simdjson::validate_utf8(text)) return std::nullopt;
  return Quick(text).read();
}

Result<Json> careful(std::string_view text) {
  boost::json::parse_options options;
  options.max_depth = kDeepest;
  boost::json::basic_parser<Handler> parser(options);
  boost::system::error_code error;
  const std::size_t used = parser.write_some(false, text.data(), text.size(), error);
  if (!error && used < text.size()) {
    const std::size_t rest = text.find_first_not_of(" \t\r\n", used);
    if (rest != std::string_view::npos) return invalid(fmt::format("not JSON: text after the value, at byte {}", rest));
  }
  if (error) return invalid(fmt::format("not JSON: {} at byte {}", error.message(), used));
  return std::move(parser.handler().root);
}

}  // namespace snapward::reading

snapward::Result<snapward::Json> snapward::Json::parse(std::string_view text) {
  if (auto read = reading::quick(text)) return *std::move(read);
  return reading::careful(text);
}
