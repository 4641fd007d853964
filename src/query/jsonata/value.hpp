// Value: what a JSONata expression works on. JSON from outside stays the Json it was (nothing is copied); lists, functions and
// records that hold functions are made on the way. One evaluation owns all of them; none outlives it.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "base/json.hpp"

namespace snapward::query::jsonata {

// Thrown within this folder only: JsonataError of the public header, before it is worded.
struct Failure {
  const char* code;
  std::size_t position = 0;
  std::string token = {};  // what the message calls {{token}}
  std::string value = {};  // {{value}}, {{value2}}: what was found instead
  std::string value2 = {};
  std::int64_t index = 0;  // {{index}}: of the argument
  std::string type = {};   // {{type}}
};
std::string message_of(const Failure& failure);            // worded as JSONata words it
inline constexpr const char* kInternalError = "internal";  // kJsonataInternalError of the public header
[[noreturn]] inline void raise(const char* code) { throw Failure{.code = code}; }

// What an evaluation has used up. Limits turn a run-away expression into an error.
struct Meter {
  std::uint64_t steps = 0, max_steps = 0;
  std::uint64_t look_at = 0;                       // the step at which to look at the limit, and at `interrupted`
  const std::atomic<bool>* interrupted = nullptr;  // or null
  void step() {
    if (++steps > look_at) look();
  }
  void look();                               // raises U1002 when the limit is reached or the evaluation is interrupted
  std::size_t cells = 0, max_cells = 0;      // list items alive
  std::size_t max_list = 0;                  // items of one list
  std::size_t max_text = 0;                  // bytes of one text made on the way
  void check_text(std::size_t bytes) const;  // raises U1003 when a text has more
  int depth = 0, max_depth = 0;
};

// Values nested deeper are refused: taking them apart is recursive.
constexpr std::uint32_t kMaxDepth = 600;

class Value;
struct List;
struct Record;
struct Function;
struct Tuple;
using ListPtr = std::shared_ptr<List>;
using FunctionPtr = std::shared_ptr<const Function>;
using TuplePtr = std::shared_ptr<const Tuple>;

class Value {
 public:
  Value() noexcept {}  // undefined: nothing at all, unlike null
  Value(Json json) noexcept : tag_(Tag::json), json_(std::move(json)) {}
  Value(double number) noexcept : tag_(Tag::number), number_(number) {}
  Value(bool value) noexcept : Value(Json(value)) {}
  Value(const std::string& text) : Value(Json(text)) {}
  Value(ListPtr list) noexcept : Value(Tag::list, std::move(list)) {}
  Value(FunctionPtr function) noexcept : Value(Tag::function, std::move(function)) {}
  Value(std::shared_ptr<const Record> record) noexcept : Value(Tag::record, std::move(record)) {}
  Value(TuplePtr tuple) noexcept : Value(Tag::tuple, std::move(tuple)) {}
  Value(const char*) = delete;

  Value(const Value& other) noexcept : tag_(other.tag_) {
    if (shared())
      new (&pointer_) Pointer(other.pointer_);
    else if (tag_ == Tag::json)
      new (&json_) Json(other.json_);
    else
      number_ = other.number_;
  }
  Value(Value&& other) noexcept : tag_(other.tag_) {
    if (shared())
      new (&pointer_) Pointer(std::move(other.pointer_));
    else if (tag_ == Tag::json)
      new (&json_) Json(std::move(other.json_));
    else
      number_ = other.number_;
    other.clear();
  }
  Value& operator=(const Value& other) noexcept { return *this = Value(other); }
  Value& operator=(Value&& other) noexcept {
    if (this == &other) return *this;
    this->~Value();
    return *new (this) Value(std::move(other));
  }
  ~Value() { clear(); }

  [[nodiscard]] bool undefined() const { return tag_ == Tag::nothing; }
  [[nodiscard]] bool is_function() const { return tag_ == Tag::function; }
  [[nodiscard]] const double* computed() const { return tag_ == Tag::number ? &number_ : nullptr; }
  [[nodiscard]] const Json* json() const { return tag_ == Tag::json ? &json_ : nullptr; }
  [[nodiscard]] List* list() const { return const_cast<List*>(as<List>(Tag::list)); }
  [[nodiscard]] ListPtr list_ptr() const { return std::const_pointer_cast<List>(std::static_pointer_cast<const List>(pointer_)); }
  [[nodiscard]] bool only_here() const { return pointer_.use_count() == 1; }  // nobody else sees this list
  [[nodiscard]] const Function* function() const { return as<Function>(Tag::function); }
  [[nodiscard]] FunctionPtr function_ptr() const { return std::static_pointer_cast<const Function>(pointer_); }
  [[nodiscard]] const Record* record() const { return as<Record>(Tag::record); }
  [[nodiscard]] const Tuple* tuple() const { return as<Tuple>(Tag::tuple); }

  [[nodiscard]] bool is_null() const { return json() && json()->is_null(); }
  [[nodiscard]] bool is_bool() const { return json() && json()->is_bool(); }
  [[nodiscard]] bool is_string() const { return json() && json()->is_string(); }
  [[nodiscard]] bool is_number() const { return computed() || (json() && json()->is_number()); }
  [[nodiscard]] bool is_array() const { return list() || (json() && json()->is_array()); }
  [[nodiscard]] bool is_object() const { return record() || (json() && json()->is_object()); }

  [[nodiscard]] double number() const { return computed() ? *computed() : json()->as_double(); }
  [[nodiscard]] std::string text() const { return std::string(view()); }
  [[nodiscard]] std::string_view view() const { return json()->as_string(); }  // while this value lives
  [[nodiscard]] std::size_t size() const;                                      // of an array
  [[nodiscard]] Value item(std::size_t i) const;                               // of an array
  [[nodiscard]] Value member(std::string_view key) const;                      // of an object, else undefined
  // Each member in order.
  void each_member(const std::function<void(const std::string&, const Value&)>& use) const;
  [[nodiscard]] std::size_t members() const;
  [[nodiscard]] std::uint32_t depth() const;  // of arrays and objects in it

 private:
  enum class Tag : std::uint8_t { nothing, number, json, list, function, record, tuple };  // what follows json is shared
  using Pointer = std::shared_ptr<const void>;
  Value(Tag tag, Pointer pointer) noexcept : tag_(tag), pointer_(std::move(pointer)) {}
  [[nodiscard]] bool shared() const { return tag_ > Tag::json; }
  template <class T>
  [[nodiscard]] const T* as(Tag tag) const {
    return tag_ == tag ? static_cast<const T*>(pointer_.get()) : nullptr;
  }
  void clear() noexcept {
    if (shared())
      pointer_.~Pointer();
    else if (tag_ == Tag::json)
      json_.~Json();
    tag_ = Tag::nothing;
  }

  Tag tag_ = Tag::nothing;
  union {
    double number_ = 0;
    Json json_;
    Pointer pointer_;
  };
};

// An array made by the expression. A sequence is what a path gives: one with a single item stands for that item.
struct List {
  explicit List(Meter& m) : meter(m) {}
  ~List() { meter.cells -= items.size(); }
  List(const List&) = delete;
  List& operator=(const List&) = delete;
  void push(Value value) {
    count(value.depth());
    items.push_back(std::move(value));
  }
  void push_json(const Json& value) {
    count(value.depth());
    items.emplace_back(value);
  }
  void count(std::uint32_t depth_of_item) {
    depth = std::max(depth, depth_of_item + 1);
    if (depth > kMaxDepth) raise("U1001");
    if (++meter.cells > meter.max_cells || items.size() >= meter.max_list) --meter.cells, raise("U1003");
  }
  Meter& meter;
  std::vector<Value> items;
  std::uint32_t depth = 1;
  bool sequence = false;
  bool keep_singleton = false;
  bool constructed = false;  // by [...]: a path does not flatten it
  bool tuples = false;       // its items are Tuples
  bool outer = false;        // wraps an array given as the whole input
};

// An object some of whose members hold functions (others are plain Json).
struct Record {
  std::vector<std::pair<std::string, Value>> members;
};

// A step's item together with the variables that @ and # and % bound on the way.
struct Tuple {
  Value at;
  std::vector<std::pair<std::string, Value>> bound;
};

struct Node;
struct Frame;
struct Signature;
class Evaluator;

struct Function {
  // Built in.
  using Native = Value (*)(Evaluator&, std::vector<Value>& arguments, const Value& context);
  Native native = nullptr;
  std::function<Value(Evaluator&, std::vector<Value>&)> closure;  // matchers, partial applications, transforms
  std::size_t arity = 0;
  const Signature* signature = nullptr;

  // λ
  const Node* lambda = nullptr;
  std::shared_ptr<Frame> frame;
  Value input;
  bool thunk = false;
};

void append_utf8(std::string& out, char32_t c);
// JavaScript's text of a number: 1e21 is "1e+21", 0.000001 stays.
std::string number_text(double value);
std::string type_of(const Value& value);

}  // namespace snapward::query::jsonata
