#include "base/json.hpp"

#include <fmt/format.h>

#include <array>
#include <bit>
#include <cassert>
#include <charconv>
#include <cmath>
#include <cstring>

namespace snapward {

struct Json::TextNode : Node {
  explicit TextNode(std::size_t bytes) : size(bytes) {}
  std::size_t size;
  // the bytes follow

  [[nodiscard]] const char* bytes() const { return reinterpret_cast<const char*>(this + 1); }
  static TextNode* make(std::string_view text) {
    auto* out = new (::operator new(sizeof(TextNode) + text.size())) TextNode(text.size());
    std::memcpy(out + 1, text.data(), text.size());
    return out;
  }
};
struct Json::ArrayNode : Node {
  explicit ArrayNode(Array i) : items(std::move(i)) {
    for (const Json& item : items) depth = std::max(depth, item.depth());
    ++depth;
  }
  Array items;
};
struct Json::ObjectNode : Node {
  explicit ObjectNode(Object m) : members(std::move(m)) {
    for (const Member& member : members) depth = std::max(depth, member.value.depth());
    ++depth;
  }
  Object members;
};

namespace {
const Json kNull;
const Json::Array kNoItems;

double read_double(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc::result_out_of_range) {  // from_chars leaves value alone: say infinity or zero as strtod would
    const bool tiny = text.find("e-") != std::string_view::npos || text.find("E-") != std::string_view::npos;
    value = tiny ? 0.0 : (text.front() == '-' ? -HUGE_VAL : HUGE_VAL);
  }
  return value;
}
}  // namespace

Json::Json(double value) {
  if (!std::isfinite(value)) return;
  *this = (std::floor(value) == value && std::fabs(value) < 1e15) ? from_integer(static_cast<std::int64_t>(value))
                                                                  : number(fmt::format("{}", value));
}
Json::Json(Array items) : kind_(Kind::array), form_(kNode) { payload_.node = new ArrayNode(std::move(items)); }
Json::Json(Object members) : kind_(Kind::object), form_(kNode) { payload_.node = new ObjectNode(std::move(members)); }

namespace {
// "0", "17", "-5", but not "-0", "1.0" or what has more than 18 digits: what an integer's own text gives back.
bool is_plain_integer(std::string_view text) {
  const bool negative = text.starts_with('-');
  const std::string_view digits = text.substr(negative ? 1 : 0);
  if (digits.empty() || digits.size() > 18 || (digits[0] == '0' && text.size() > 1)) return false;
  return std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; });
}
}  // namespace

Json Json::number(std::string_view text) {
  Json result;
  result.kind_ = Kind::number;
  if (is_plain_integer(text)) {
    result.form_ = kInteger;
    std::from_chars(text.data(), text.data() + text.size(), result.payload_.integer);
  } else {
    result.hold(text);
  }
  return result;
}
Json Json::from_integer(std::int64_t value) {
  Json result;
  result.kind_ = Kind::number;
  result.form_ = kInteger;
  result.payload_.integer = value;
  return result;
}
Json Json::object(std::initializer_list<Member> members) { return {Object(members)}; }

void Json::hold(std::string_view text) {
  if (text.size() > kMostInside) {
    form_ = kNode;
    payload_.node = TextNode::make(text);
    return;
  }
  form_ = static_cast<std::uint8_t>(text.size());
  static_assert(offsetof(Json, payload_) == offsetof(Json, first_) + 6);
  if (!text.empty()) std::memcpy(reinterpret_cast<char*>(this) + offsetof(Json, first_), text.data(), text.size());
}
std::string_view Json::text() const {
  if (form_ != kNode) return {reinterpret_cast<const char*>(this) + offsetof(Json, first_), form_};
  const auto* held = static_cast<const TextNode*>(node());
  return {held->bytes(), held->size};
}

void Json::destroy() noexcept {
  switch (kind_) {
    case Kind::string:
    case Kind::number: {
      auto* held = static_cast<TextNode*>(node());
      held->~TextNode();
      ::operator delete(held);
      break;
    }
    case Kind::array:
      delete static_cast<ArrayNode*>(node());
      break;
    case Kind::object:
      delete static_cast<ObjectNode*>(node());
      break;
    default:
      break;
  }
}

bool Json::identical(const Json& other) const {
  if (kind_ != other.kind_ || form_ != other.form_) return false;
  if (form_ == kNode) return node() == other.node();
  if (is_number() && form_ == kInteger) return payload_.integer == other.payload_.integer;
  return (!is_string() && !is_number()) || text() == other.text();
}
bool Json::as_bool() const { return assert(is_bool()), form_ != 0; }
std::string_view Json::as_string() const { return assert(is_string()), text(); }
std::string Json::number_text() const {
  assert(is_number());
  return form_ == kInteger ? fmt::format_int(payload_.integer).str() : std::string(text());
}
const Json::Array& Json::as_array() const { return assert(is_array()), static_cast<const ArrayNode*>(node())->items; }
const Json::Object& Json::as_object() const { return assert(is_object()), static_cast<const ObjectNode*>(node())->members; }
double Json::as_double() const {
  assert(is_number());
  return form_ == kInteger ? static_cast<double>(payload_.integer) : read_double(text());
}

std::optional<std::int64_t> Json::as_integer() const {
  if (!is_number()) return std::nullopt;
  if (form_ == kInteger) return payload_.integer;
  const std::string_view text = this->text();
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc{} && end == text.data() + text.size()) return value;
  const double d = read_double(text);
  if (std::floor(d) == d && std::fabs(d) < 9.0e15) return static_cast<std::int64_t>(d);
  return std::nullopt;
}

const Json* Json::find(std::string_view key) const { return is_object() ? as_object().find(key) : nullptr; }
const Json& Json::operator[](std::string_view key) const {
  const Json* found = find(key);
  return found ? *found : kNull;
}
std::string_view Json::string_or(std::string_view fallback) const { return is_string() ? text() : fallback; }
std::int64_t Json::integer_or(std::int64_t fallback) const { return as_integer().value_or(fallback); }
const Json::Array& Json::items() const { return is_array() ? as_array() : kNoItems; }

bool operator==(const Json& a, const Json& b) {
  if (a.kind_ != b.kind_) return false;
  if (a.form_ == Json::kNode && b.form_ == Json::kNode && a.node() == b.node()) return true;
  switch (a.kind_) {
    case Json::Kind::null:
      return true;
    case Json::Kind::boolean:
      return a.form_ == b.form_;
    case Json::Kind::string:
      return a.text() == b.text();
    case Json::Kind::number:
      return a.as_double() == b.as_double();
    case Json::Kind::array:
      return a.as_array() == b.as_array();
    case Json::Kind::object: {
      const auto& x = a.as_object();
      const auto& y = b.as_object();
      return x.size() == y.size() && std::all_of(x.begin(), x.end(), [&](const Json::Member& m) {
               const Json* other = y.find(m.key);
               return other && *other == m.value;
             });
    }
  }
  return false;
}

Json::Object::Object(std::initializer_list<Member> members) {
  members_.reserve(members.size());
  for (const auto& m : members) {
    const std::size_t i = position(m.key);
    if (i < members_.size())
      members_[i].value = m.value;
    else
      members_.push_back(m);
  }
  index_all();
}
Json::Object::Object(const Object& other)
    : members_(other.members_), index_(other.index_ ? std::make_unique<Index>(*other.index_) : nullptr) {}
namespace {
constexpr std::size_t kFew = 24;  // as many members are found faster one by one
}

Json::Object Json::Object::of(std::vector<Member> members) {
  Object out;
  bool unique = members.size() <= kFew;
  for (std::size_t i = 1; unique && i < members.size(); ++i)
    for (std::size_t k = 0; unique && k < i; ++k) unique = members[k].key != members[i].key;
  if (unique) {
    out.members_ = std::move(members);
    return out;
  }
  out.reserve(members.size());
  for (Member& member : members) out.set(std::move(member.key), std::move(member.value));
  return out;
}
std::size_t Json::Object::position(std::string_view key) const {
  if (!index_) {
    for (std::size_t i = 0; i < members_.size(); ++i)
      if (members_[i].key == key) return i;
    return members_.size();
  }
  const auto found = index_->find(key);
  return found == index_->end() ? members_.size() : found->second;
}
void Json::Object::index_all() {
  index_.reset();
  if (members_.size() <= kFew) return;
  index_ = std::make_unique<Index>();
  for (std::size_t k = 0; k < members_.size(); ++k) (*index_)[members_[k].key] = k;
}
const Json* Json::Object::find(std::string_view key) const {
  const std::size_t i = position(key);
  return i < members_.size() ? &members_[i].value : nullptr;
}
Json::Object& Json::Object::set(std::string key, Json value) {
  const std::size_t i = position(key);
  if (i < members_.size()) {
    members_[i].value = std::move(value);
    return *this;
  }
  members_.push_back({std::move(key), std::move(value)});
  if (index_)
    (*index_)[members_.back().key] = i;
  else if (members_.size() > kFew)
    index_all();
  return *this;
}
bool Json::Object::erase(std::string_view key) {
  const std::size_t i = position(key);
  if (i == members_.size()) return false;
  members_.erase(members_.begin() + static_cast<std::ptrdiff_t>(i));
  index_all();
  return true;
}

namespace {
// 0: as it is; 'u': \\u00XX; else the letter after the backslash.
constexpr std::array<char, 256> kEscapes = [] {
  std::array<char, 256> table{};
  for (std::size_t c = 0; c < 0x20; ++c) table[c] = 'u';
  table['"'] = '"';
  table['\\'] = '\\';
  table['\n'] = 'n';
  table['\r'] = 'r';
  table['\t'] = 't';
  table['\b'] = 'b';
  table['\f'] = 'f';
  return table;
}();
}  // namespace

// Appends to a string with room made ahead: up to what room() was asked for is written without looking.
class Json::Writer {
 public:
  explicit Writer(std::string& out) : out_(out) { make_room(out.size(), 256); }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;
  ~Writer() { out_.resize(written()); }

  void byte(char c) {
    room(1);
    *at_++ = c;
  }
  void plain(std::string_view s) {
    room(s.size());
    std::memcpy(at_, s.data(), s.size());
    at_ += s.size();
  }
  // As a JSON string, with quotes.
  void quoted(std::string_view s) {
    const char* from = s.data();
    const char* const end = from + s.size();
    room(s.size() + kSpare);
    char* at = at_;  // what is written might be this object, for all that the compiler knows
    *at++ = '"';
    while (end - from >= 8) {
      // Eight bytes at a time; the lowest high bit of `special` marks the first control character, quote or backslash among them.
      std::uint64_t word = 0;
      std::memcpy(&word, from, 8);
      std::memcpy(at, from, 8);
      constexpr std::uint64_t kOnes = 0x0101010101010101ULL, kHigh = 0x8080808080808080ULL;
      const auto zero = [](std::uint64_t w) { return (w - kOnes) & ~w & kHigh; };
      const std::uint64_t special = zero(word ^ (kOnes * '"')) | zero(word ^ (kOnes * '\\')) | ((word - kOnes * 0x20) & ~word & kHigh);
      static_assert(std::endian::native == std::endian::little);
      if (special == 0) {
        from += 8;
        at += 8;
        continue;
      }
      // Where one is there are more: JSON in JSON.
      const std::ptrdiff_t good = std::countr_zero(special) / 8;
      at_ = escaped(at + good, from + good, from + 8);
      from += 8;
      room(static_cast<std::size_t>(end - from) + kSpare);
      at = at_;
    }
    at = escaped(at, from, end);
    *at++ = '"';
    at_ = at;
  }

 private:
  static constexpr std::size_t kSpare = 64;  // eight bytes that all are "\u00XX", and both quotes

  [[nodiscard]] std::size_t written() const { return static_cast<std::size_t>(at_ - out_.data()); }
  void room(std::size_t bytes) {
    if (static_cast<std::size_t>(end_ - at_) < bytes) make_room(written(), bytes);
  }
  void make_room(std::size_t used, std::size_t bytes) {
    const std::size_t size = std::max(used + bytes, std::max(out_.capacity(), 2 * used));
    out_.resize_and_overwrite(size, [](char*, std::size_t n) { return n; });
    at_ = out_.data() + used;
    end_ = out_.data() + size;
  }
  // Eight bytes at most: there is room for what they become. Where the next is to be written.
  static char* escaped(char* at, const char* from, const char* end) {
    static constexpr char kHex[] = "0123456789abcdef";
    for (; from != end; ++from) {
      const auto code = static_cast<unsigned char>(*from);
      const char letter = kEscapes[code];
      if (letter == 0) {
        *at++ = *from;
        continue;
      }
      *at++ = '\\';
      *at++ = letter;
      if (letter != 'u') continue;
      for (const char digit : {'0', '0', kHex[code >> 4], kHex[code & 15]}) *at++ = digit;
    }
    return at;
  }

  std::string& out_;
  char *at_ = nullptr, *end_ = nullptr;
};

void append_json_string(std::string& out, std::string_view s) { Json::Writer(out).quoted(s); }

void Json::write(Writer& out) const {
  switch (kind_) {
    case Kind::null:
      out.plain("null");
      break;
    case Kind::boolean:
      out.plain(form_ != 0 ? "true" : "false");
      break;
    case Kind::number:
      if (form_ == kInteger) {
        const fmt::format_int digits(payload_.integer);
        out.plain({digits.data(), digits.size()});
      } else {
        out.plain(text());
      }
      break;
    case Kind::string:
      out.quoted(text());
      break;
    case Kind::array: {
      out.byte('[');
      bool first = true;
      for (const Json& item : as_array()) {
        if (!std::exchange(first, false)) out.byte(',');
        item.write(out);
      }
      out.byte(']');
      break;
    }
    case Kind::object: {
      out.byte('{');
      bool first = true;
      for (const auto& [key, value] : as_object()) {
        if (!std::exchange(first, false)) out.byte(',');
        out.quoted(key);
        out.byte(':');
        value.write(out);
      }
      out.byte('}');
      break;
    }
  }
}
void Json::dump_to(std::string& out) const {
  Writer writer(out);
  write(writer);
}
std::string Json::plain() const { return is_string() ? std::string(text()) : dump(); }
std::string Json::dump() const {
  std::string out;
  dump_to(out);
  return out;
}

bool Json::dumps_within(std::size_t bytes) const {
  // No text is longer than this; what may be too long is written to see.
  constexpr std::size_t kEscaped = 6, kAround = 3;
  const auto count = [bytes](const auto& self, const Json& value, std::size_t& sum) -> bool {
    if (value.kind_ == Kind::array) {
      for (const Json& item : value.as_array())
        if (!self(self, item, sum)) return false;
    } else if (value.kind_ == Kind::object) {
      for (const auto& [key, member] : value.as_object()) {
        sum += kEscaped * key.size() + kAround;
        if (!self(self, member, sum)) return false;
      }
    } else if (value.form_ == kInteger) {
      sum += 20;
    } else if (value.kind_ == Kind::string || value.kind_ == Kind::number) {
      sum += kEscaped * value.text().size();
    }
    sum += 6;  // the others, brackets or quotes, a comma
    return sum <= bytes;
  };
  std::size_t sum = 0;
  return count(count, *this, sum) || dump().size() <= bytes;
}

namespace {
void pretty_to(const Json& value, std::string& out, std::size_t indent) {
  const auto line = [&](std::size_t depth) { out.append("\n").append(depth * 2, ' '); };
  if (value.is_array() && !value.as_array().empty()) {
    char separator = '[';
    for (const Json& item : value.as_array()) {
      out.push_back(separator);
      line(indent + 1);
      pretty_to(item, out, indent + 1);
      separator = ',';
    }
    line(indent);
    out.push_back(']');
  } else if (value.is_object() && !value.as_object().empty()) {
    char separator = '{';
    for (const auto& [key, member] : value.as_object()) {
      out.push_back(separator);
      line(indent + 1);
      append_json_string(out, key);
      out += ": ";
      pretty_to(member, out, indent + 1);
      separator = ',';
    }
    line(indent);
    out.push_back('}');
  } else {
    value.dump_to(out);
  }
}
}  // namespace

std::string Json::pretty() const {
  std::string out;
  pretty_to(*this, out, 0);
  return out;
}

}  // namespace snapward
