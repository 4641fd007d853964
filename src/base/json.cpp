#include "base/json.hpp"

#include <fmt/format.h>

#include <array>
#include <boost/json/basic_parser_impl.hpp>
#include <cassert>
#include <charconv>
#include <cmath>
#include <cstring>

namespace snapward {

struct Json::Node {
  std::atomic<std::uint32_t> refs{1};
  std::uint32_t depth = 0;
};
struct Json::StringNode : Node {
  explicit StringNode(std::string t) : text(std::move(t)) {}
  std::string text;
};
struct Json::NumberNode : Node {
  explicit NumberNode(std::string t) : text(std::move(t)) {}
  std::string text;
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
Json::Json(std::string text) : kind_(Kind::string), node_(new StringNode(std::move(text))) {}
Json::Json(Array items) : kind_(Kind::array), node_(new ArrayNode(std::move(items))) {}
Json::Json(Object members) : kind_(Kind::object), node_(new ObjectNode(std::move(members))) {}
Json Json::number(std::string text) {
  Json result;
  result.kind_ = Kind::number;
  result.node_ = new NumberNode(std::move(text));
  return result;
}
Json Json::from_integer(std::int64_t value) { return number(fmt::format_int(value).str()); }
Json Json::object(std::initializer_list<Member> members) { return {Object(members)}; }

void Json::retain() const noexcept {
  if (node_) node_->refs.fetch_add(1, std::memory_order_relaxed);
}
void Json::release() noexcept {
  if (!node_ || node_->refs.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  switch (kind_) {
    case Kind::string:
      delete static_cast<StringNode*>(node_);
      break;
    case Kind::number:
      delete static_cast<NumberNode*>(node_);
      break;
    case Kind::array:
      delete static_cast<ArrayNode*>(node_);
      break;
    case Kind::object:
      delete static_cast<ObjectNode*>(node_);
      break;
    default:
      break;
  }
}

std::uint32_t Json::depth() const { return node_ ? node_->depth : 0; }
bool Json::as_bool() const { return assert(is_bool()), bool_; }
const std::string& Json::as_string() const { return assert(is_string()), static_cast<const StringNode*>(node_)->text; }
const std::string& Json::number_text() const { return assert(is_number()), static_cast<const NumberNode*>(node_)->text; }
const Json::Array& Json::as_array() const { return assert(is_array()), static_cast<const ArrayNode*>(node_)->items; }
const Json::Object& Json::as_object() const { return assert(is_object()), static_cast<const ObjectNode*>(node_)->members; }
double Json::as_double() const { return read_double(number_text()); }

std::optional<std::int64_t> Json::as_integer() const {
  if (!is_number()) return std::nullopt;
  const std::string& text = number_text();
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
std::string_view Json::string_or(std::string_view fallback) const { return is_string() ? std::string_view(as_string()) : fallback; }
std::int64_t Json::integer_or(std::int64_t fallback) const { return as_integer().value_or(fallback); }
const Json::Array& Json::items() const { return is_array() ? as_array() : kNoItems; }

bool operator==(const Json& a, const Json& b) {
  if (a.kind_ != b.kind_) return false;
  if (a.node_ && a.node_ == b.node_) return true;
  switch (a.kind_) {
    case Json::Kind::null:
      return true;
    case Json::Kind::boolean:
      return a.bool_ == b.bool_;
    case Json::Kind::string:
      return a.as_string() == b.as_string();
    case Json::Kind::number:
      return a.number_text() == b.number_text() || a.as_double() == b.as_double();
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
  for (const auto& m : members) set(m.key, m.value);
}
Json::Object::Object(const Object& other)
    : members_(other.members_), index_(other.index_ ? std::make_unique<Index>(*other.index_) : nullptr) {}
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
  constexpr std::size_t kFew = 24;  // as many are found faster one by one
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
  else
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

void append_json_string(std::string& out, std::string_view s) {
  static constexpr char kHex[] = "0123456789abcdef";
  out.push_back('"');
  const char* plain = s.data();
  const char* const end = s.data() + s.size();
  for (const char* at = plain; at != end;) {
    // Eight bytes at a time while none of them is a control character, a quote or a backslash.
    if (end - at >= 8) {
      std::uint64_t word = 0;
      std::memcpy(&word, at, 8);
      constexpr std::uint64_t kOnes = 0x0101010101010101ULL, kHigh = 0x8080808080808080ULL;
      const auto zero = [](std::uint64_t w) { return (w - kOnes) & ~w & kHigh; };
      if (((zero(word ^ (kOnes * '"')) | zero(word ^ (kOnes * '\\')) | ((word - kOnes * 0x20) & ~word & kHigh)) == 0)) {
        at += 8;
        continue;
      }
    }
    const auto c = static_cast<unsigned char>(*at);
    const char escape = kEscapes[c];
    if (escape != 0) {
      out.append(plain, static_cast<std::size_t>(at - plain));
      plain = at + 1;
      const char pair[] = {'\\', escape};
      out.append(pair, 2);
      if (escape == 'u') {
        const char code[] = {'0', '0', kHex[c >> 4], kHex[c & 15]};
        out.append(code, 4);
      }
    }
    ++at;
  }
  out.append(plain, static_cast<std::size_t>(end - plain));
  out.push_back('"');
}

void Json::dump_to(std::string& out) const {
  switch (kind_) {
    case Kind::null:
      out += "null";
      break;
    case Kind::boolean:
      out += bool_ ? "true" : "false";
      break;
    case Kind::number:
      out += number_text();
      break;
    case Kind::string:
      append_json_string(out, as_string());
      break;
    case Kind::array: {
      char separator = '[';
      for (const Json& item : as_array()) {
        out.push_back(separator);
        item.dump_to(out);
        separator = ',';
      }
      out += as_array().empty() ? "[]" : "]";
      break;
    }
    case Kind::object: {
      char separator = '{';
      for (const auto& [key, value] : as_object()) {
        out.push_back(separator);
        append_json_string(out, key);
        out.push_back(':');
        value.dump_to(out);
        separator = ',';
      }
      out += as_object().empty() ? "{}" : "}";
      break;
    }
  }
}
std::string Json::dump() const {
  std::string out;
  dump_to(out);
  return out;
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

// Boost's basic_parser drives this; numbers arrive with their text, which is all we keep of them.
struct Handler {
  static constexpr std::size_t max_object_size = static_cast<std::size_t>(-1);
  static constexpr std::size_t max_array_size = static_cast<std::size_t>(-1);
  static constexpr std::size_t max_key_size = static_cast<std::size_t>(-1);
  static constexpr std::size_t max_string_size = static_cast<std::size_t>(-1);
  using code = boost::system::error_code;
  using view = boost::json::string_view;

  // Open objects and arrays; what they hold so far lies in `pending`, each level's above the one before.
  struct Level {
    std::size_t start;
    std::string key;  // the member being read
  };
  std::vector<Level> levels;
  std::vector<Json::Member> pending;
  std::string text;
  Json root;

  void add(Json value) {
    if (levels.empty())
      root = std::move(value);
    else
      pending.push_back({std::move(levels.back().key), std::move(value)});
  }
  static bool on_document_begin(code&) { return true; }
  static bool on_document_end(code&) { return true; }
  bool on_object_begin(code&) { return levels.push_back({pending.size(), {}}), true; }
  bool on_array_begin(code&) { return levels.push_back({pending.size(), {}}), true; }
  bool on_object_end(std::size_t, code&) {
    const std::size_t start = levels.back().start;
    Json::Object members;
    members.reserve(pending.size() - start);
    for (std::size_t i = start; i < pending.size(); ++i) members.set(std::move(pending[i].key), std::move(pending[i].value));
    return close(Json(std::move(members)));
  }
  bool on_array_end(std::size_t, code&) {
    const std::size_t start = levels.back().start;
    Json::Array items;
    items.reserve(pending.size() - start);
    for (std::size_t i = start; i < pending.size(); ++i) items.push_back(std::move(pending[i].value));
    return close(Json(std::move(items)));
  }
  bool close(Json value) {
    pending.resize(levels.back().start);
    levels.pop_back();
    add(std::move(value));
    return true;
  }
  bool on_key_part(view s, std::size_t, code&) { return text.append(s.data(), s.size()), true; }
  bool on_key(view s, std::size_t, code&) {
    text.append(s.data(), s.size());
    return levels.back().key = std::exchange(text, {}), true;
  }
  bool on_string_part(view s, std::size_t, code&) { return text.append(s.data(), s.size()), true; }
  bool on_string(view s, std::size_t, code&) {
    text.append(s.data(), s.size());
    return add(Json(std::exchange(text, {}))), true;
  }
  bool on_number_part(view s, code&) { return text.append(s.data(), s.size()), true; }
  bool on_number(view s) {
    text.append(s.data(), s.size());
    return add(Json::number(std::exchange(text, {}))), true;
  }
  bool on_int64(std::int64_t, view s, code&) { return on_number(s); }
  bool on_uint64(std::uint64_t, view s, code&) { return on_number(s); }
  bool on_double(double, view s, code&) { return on_number(s); }
  bool on_bool(bool b, code&) { return add(Json(b)), true; }
  bool on_null(code&) { return add(Json()), true; }
  static bool on_comment_part(view, code&) { return true; }
  static bool on_comment(view, code&) { return true; }
};
}  // namespace

std::string Json::pretty() const {
  std::string out;
  pretty_to(*this, out, 0);
  return out;
}

Result<Json> Json::parse(std::string_view text) {
  boost::json::parse_options options;
  options.max_depth = 512;
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

}  // namespace snapward
