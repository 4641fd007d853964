// Value: what a JSONata expression works on. JSON from outside stays the Json it was (nothing is copied); lists, functions and
// records that hold functions are made on the way. One evaluation owns all of them; none outlives it.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <variant>
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
std::string message_of(const Failure& failure);  // worded as JSONata words it
[[noreturn]] inline void raise(const char* code) { throw Failure{.code = code}; }

// What an evaluation has used up. Limits turn a run-away expression into an error.
struct Meter {
  std::uint64_t steps = 0, max_steps = 0;
  std::size_t cells = 0, max_cells = 0;  // list items alive
  std::size_t max_list = 0;              // items of one list
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
  Value() = default;  // undefined: nothing at all, unlike null
  Value(Json json) : held_(std::move(json)) {}
  Value(double number) : held_(number) {}
  Value(bool value) : held_(Json(value)) {}
  Value(std::string text) : held_(Json(std::move(text))) {}
  Value(ListPtr list) : held_(std::move(list)) {}
  Value(FunctionPtr function) : held_(std::move(function)) {}
  Value(std::shared_ptr<const Record> record) : held_(std::move(record)) {}
  Value(TuplePtr tuple) : held_(std::move(tuple)) {}
  Value(const char*) = delete;

  [[nodiscard]] bool undefined() const { return held_.index() == 0; }
  [[nodiscard]] bool is_function() const { return held_.index() == 4; }
  [[nodiscard]] const double* computed() const { return std::get_if<double>(&held_); }
  [[nodiscard]] const Json* json() const { return std::get_if<Json>(&held_); }
  [[nodiscard]] List* list() const { return held_.index() == 3 ? std::get<3>(held_).get() : nullptr; }
  [[nodiscard]] const ListPtr& list_ptr() const { return std::get<3>(held_); }
  [[nodiscard]] const Function* function() const { return held_.index() == 4 ? std::get<4>(held_).get() : nullptr; }
  [[nodiscard]] const FunctionPtr& function_ptr() const { return std::get<4>(held_); }
  [[nodiscard]] const Record* record() const { return held_.index() == 5 ? std::get<5>(held_).get() : nullptr; }
  [[nodiscard]] const Tuple* tuple() const { return held_.index() == 6 ? std::get<6>(held_).get() : nullptr; }

  [[nodiscard]] bool is_null() const { return json() && json()->is_null(); }
  [[nodiscard]] bool is_bool() const { return json() && json()->is_bool(); }
  [[nodiscard]] bool is_string() const { return json() && json()->is_string(); }
  [[nodiscard]] bool is_number() const { return computed() || (json() && json()->is_number()); }
  [[nodiscard]] bool is_array() const { return list() || (json() && json()->is_array()); }
  [[nodiscard]] bool is_object() const { return record() || (json() && json()->is_object()); }

  [[nodiscard]] double number() const { return computed() ? *computed() : json()->as_double(); }
  [[nodiscard]] const std::string& text() const { return json()->as_string(); }
  [[nodiscard]] std::size_t size() const;                  // of an array
  [[nodiscard]] Value item(std::size_t i) const;           // of an array
  [[nodiscard]] Value member(std::string_view key) const;  // of an object, else undefined
  // Each member in order.
  void each_member(const std::function<void(const std::string&, const Value&)>& use) const;
  [[nodiscard]] std::size_t members() const;
  [[nodiscard]] std::uint32_t depth() const;  // of arrays and objects in it

 private:
  std::variant<std::monostate, double, Json, ListPtr, FunctionPtr, std::shared_ptr<const Record>, TuplePtr> held_;
};

// An array made by the expression. A sequence is what a path gives: one with a single item stands for that item.
struct List {
  explicit List(Meter& m) : meter(m) {}
  ~List() { meter.cells -= items.size(); }
  List(const List&) = delete;
  List& operator=(const List&) = delete;
  void push(Value value) {
    depth = std::max(depth, value.depth() + 1);
    if (depth > kMaxDepth) raise("U1001");
    if (++meter.cells > meter.max_cells || items.size() >= meter.max_list) --meter.cells, raise("U1003");
    items.push_back(std::move(value));
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
