// Json: an immutable, reference-counted JSON value. Copying shares; members keep their order; a number keeps the text it was
// written with (1.0 stays 1.0, a 30-digit integer stays whole).
//
// 16 bytes: a kind, and either a shared node or, without one, a plain integer or a text of at most 14 bytes.
// A text read from a value is part of it: valid as long as that very value, not a copy of it, lives where it is.
//
// Threads: values may be shared between threads (the count is atomic). Builders (Object, Array) belong to one thread.
// Strings hold bytes: UTF-8 wherever they came from parse(); blob members of API calls hold raw bytes.
// Limits: parse() refuses nesting deeper than 512 (a million '[' must not end the process).
#pragma once
#include <array>
#include <atomic>
#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.hpp"

namespace snapward {

class Json {
 public:
  enum class Kind : std::uint8_t { null, boolean, number, string, array, object };
  class Object;
  struct Member;
  using Array = std::vector<Json>;

  Json() = default;
  Json(std::nullptr_t) {}
  Json(bool value) : kind_(Kind::boolean), form_(value ? 1 : 0) {}
  Json(double value);  // shortest text that reads back; NaN and infinities become null, as JSON has none
  template <std::integral T>
    requires(!std::same_as<T, bool>)
  Json(T value) : Json(from_integer(static_cast<std::int64_t>(value))) {}
  Json(const char* text) : Json(std::string_view(text)) {}
  Json(std::string_view text) : kind_(Kind::string) { hold(text); }
  Json(const std::string& text) : Json(std::string_view(text)) {}
  Json(Array items);
  Json(Object members);
  static Json number(std::string_view text);  // which must be a JSON number
  static Json object(std::initializer_list<Member> members);
  static Json array(std::initializer_list<Json> items) { return {Array(items)}; }

  Json(const Json& other) noexcept { take(other), retain(); }
  Json(Json&& other) noexcept { take(other), other.forget(); }
  Json& operator=(const Json& other) noexcept { return *this = Json(other); }
  Json& operator=(Json&& other) noexcept {
    if (this != &other) release(), take(other), other.forget();
    return *this;
  }
  ~Json() { release(); }

  [[nodiscard]] Kind kind() const { return kind_; }
  [[nodiscard]] bool is_null() const { return kind_ == Kind::null; }
  [[nodiscard]] bool is_bool() const { return kind_ == Kind::boolean; }
  [[nodiscard]] bool is_number() const { return kind_ == Kind::number; }
  [[nodiscard]] bool is_string() const { return kind_ == Kind::string; }
  [[nodiscard]] bool is_array() const { return kind_ == Kind::array; }
  [[nodiscard]] bool is_object() const { return kind_ == Kind::object; }

  // The kind must fit (asserted), except where a fallback is named.
  [[nodiscard]] bool as_bool() const;
  [[nodiscard]] double as_double() const;
  [[nodiscard]] std::string_view as_string() const;  // of a string
  [[nodiscard]] std::string number_text() const;
  [[nodiscard]] const Array& as_array() const;
  [[nodiscard]] const Object& as_object() const;
  // The integer a number denotes exactly (1, 1.0, 1e3), else nothing.
  [[nodiscard]] std::optional<std::int64_t> as_integer() const;

  // Lenient look-ups for trusted shapes: missing or of another kind gives the fallback.
  [[nodiscard]] const Json* find(std::string_view key) const;        // null when not an object or no such member
  [[nodiscard]] const Json& operator[](std::string_view key) const;  // a null value when missing
  [[nodiscard]] std::string_view string_or(std::string_view fallback = {}) const;
  [[nodiscard]] std::int64_t integer_or(std::int64_t fallback) const;
  [[nodiscard]] bool bool_or(bool fallback) const { return is_bool() ? form_ != 0 : fallback; }
  [[nodiscard]] const Array& items() const;  // an empty array when not an array

  // Whether both share one node, or are the same without one: a quick yes; a no says nothing about equality.
  [[nodiscard]] bool identical(const Json& other) const;
  // How deep arrays and objects are nested in it; 0 for a scalar. What parse() reads is at most 512; values built by programs may be
  // deeper, and are to be refused before they are written or taken apart.
  [[nodiscard]] std::uint32_t depth() const { return form_ == kNode ? node()->depth : 0; }
  // Structural equality; numbers by value (1 == 1.0), members in any order.
  friend bool operator==(const Json& a, const Json& b);

  [[nodiscard]] std::string dump() const;  // compact JSON text
  void dump_to(std::string& out) const;
  [[nodiscard]] bool dumps_within(std::size_t bytes) const;  // whether that text has no more; mostly told without writing it
  [[nodiscard]] std::string plain() const;                   // of a string its text, of anything else its JSON text
  [[nodiscard]] std::string pretty() const;                  // two-space indented, for people

  // Duplicate keys: the last value wins, at the first one's place. Invalid UTF-8 is refused.
  static Result<Json> parse(std::string_view text);

 private:
  struct Node {
    std::atomic<std::uint32_t> refs{1};
    std::uint32_t depth = 0;
  };
  class Writer;
  friend void append_json_string(std::string& out, std::string_view s);
  void write(Writer& out) const;
  struct TextNode;
  struct ArrayNode;
  struct ObjectNode;
  // form_: kNode, kInteger, else the length of the text in the value; of a boolean, what it is.
  static constexpr std::uint8_t kNode = 255, kInteger = 254, kMostInside = 14;
  static Json from_integer(std::int64_t value);
  void hold(std::string_view text);
  [[nodiscard]] std::string_view text() const;  // of a string, or of a number that is no plain integer
  [[nodiscard]] Node* node() const { return payload_.node; }
  void take(const Json& other) noexcept { kind_ = other.kind_, form_ = other.form_, first_ = other.first_, payload_ = other.payload_; }
  void forget() noexcept { kind_ = Kind::null, form_ = 0; }
  void retain() const noexcept {
    if (form_ == kNode) node()->refs.fetch_add(1, std::memory_order_relaxed);
  }
  void release() noexcept {
    if (form_ != kNode) return;
    // The only owner need not take part in the counting: nobody else can come by a reference now.
    if (node()->refs.load(std::memory_order_acquire) == 1 || node()->refs.fetch_sub(1, std::memory_order_acq_rel) == 1) destroy();
  }
  void destroy() noexcept;

  // A text in the value begins in first_ and runs on into payload_.
  Kind kind_ = Kind::null;
  std::uint8_t form_ = 0;
  std::array<char, 6> first_{};
  union Payload {
    Node* node;
    std::int64_t integer;
    std::array<char, 8> rest;
  } payload_{};
};
static_assert(sizeof(Json) == 16);

struct Json::Member {
  std::string key;
  Json value;
};

// An ordered set of members with unique keys. Look-up is linear while small, hashed beyond 24 members.
class Json::Object {
 public:
  Object() = default;
  Object(std::initializer_list<Member> members);
  Object(const Object& other);
  Object(Object&&) noexcept = default;
  Object& operator=(Object other) noexcept {
    members_.swap(other.members_);
    index_.swap(other.index_);
    return *this;
  }
  ~Object() = default;
  void reserve(std::size_t members) { members_.reserve(members); }
  [[nodiscard]] const Json* find(std::string_view key) const;
  // Of members in this order; of those with one key the last value counts, at the first one's place.
  static Object of(std::vector<Member> members);
  Object& set(std::string key, Json value);  // replaces in place or appends
  Object& set_if(bool condition, std::string key, Json value) { return condition ? set(std::move(key), std::move(value)) : *this; }
  bool erase(std::string_view key);
  [[nodiscard]] bool empty() const { return members_.empty(); }
  [[nodiscard]] std::size_t size() const { return members_.size(); }
  [[nodiscard]] auto begin() const { return members_.begin(); }
  [[nodiscard]] auto end() const { return members_.end(); }

 private:
  [[nodiscard]] std::size_t position(std::string_view key) const;
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view s) const { return std::hash<std::string_view>{}(s); }
  };
  using Index = std::unordered_map<std::string, std::size_t, Hash, std::equal_to<>>;
  void index_all();
  std::vector<Member> members_;
  std::unique_ptr<Index> index_;  // only when there are many
};

// Appends s as a JSON string, with quotes.
void append_json_string(std::string& out, std::string_view s);

}  // namespace snapward
