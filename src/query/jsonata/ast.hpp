// The syntax tree of a JSONata expression, and its parser. A tree is immutable once parsed.
// Source: docs.jsonata.org ("Path Operators", "Functions"); grammar read as a Pratt (top-down operator precedence) parser.
#pragma once
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "query/jsonata/value.hpp"

namespace re2 {
class RE2;
}

namespace snapward::query::jsonata {

// "<a<n>-s?:s>": what a function takes. Checks arguments, fills a missing first one from the context, wraps single values in arrays.
struct Signature {
  struct Parameter {
    std::string accepts;  // type letters; 'm' (missing) among them
    bool array = false;   // wraps a single value
    std::string items;    // the letters an array's items must have
    bool optional = false, many = false, context = false;
    std::string context_accepts;
  };
  std::vector<Parameter> parameters;
  static Signature parse(std::string_view text);
  std::vector<Value> apply(std::vector<Value> arguments, const Value& context, Meter& meter, std::string_view name) const;
};

// The ancestor a % refers to: found while parsing, bound to each step's input while running.
struct Slot {
  std::string label;
  int level = 1;
  std::size_t index = 0;
};

struct Node;
using NodePtr = std::shared_ptr<Node>;

struct Stage {
  NodePtr filter;     // a predicate, or
  std::string index;  // a variable that takes the item's position
};

struct SortTerm {
  NodePtr expression;
  bool descending = false;
};

struct Node {
  enum class Type {
    path,
    binary,
    negate,
    array,
    object,
    name,
    text,
    number,
    value,
    wildcard,
    descendants,
    parent,
    condition,
    block,
    bind,
    regex,
    call,
    partial,
    lambda,
    variable,
    apply,
    transform,
    sort,
    placeholder,
    // Only before a tree is finished:
    operation,
    predicate,
    group,
    order,
    focus,
    position,
    keyword
  };
  enum class Op {
    none,
    add,
    subtract,
    multiply,
    divide,
    modulo,
    equal,
    unequal,
    less,
    less_equal,
    greater,
    greater_equal,
    concat,
    both,
    either,
    range,
    in,
    otherwise,
    coalesce
  };

  Type type = Type::value;
  Op op = Op::none;
  std::size_t at = 0;
  std::string text;            // of a name, a variable, a string literal, an operator
  double amount = 0;           // of a number
  Json literal;                // true, false, null
  std::vector<NodePtr> list;   // steps, arguments, expressions
  NodePtr left, right, other;  // operands; condition, then, else; pattern, update, delete
  std::vector<std::pair<NodePtr, NodePtr>> pairs;
  bool has_group = false;  // pairs group this node's result
  std::vector<Stage> predicates, stages;
  std::vector<SortTerm> terms;
  std::string focus, index;
  bool tuple = false, keep_array = false, keep_singleton = false, constructed = false, thunk = false;
  std::shared_ptr<Slot> ancestor, slot;
  std::vector<std::shared_ptr<Slot>> seeking;
  std::shared_ptr<Signature> signature;
  std::shared_ptr<re2::RE2> regex;
  std::vector<std::string> parameters;
  std::string next_function;
};

struct Tree {
  NodePtr root;
};

// Throws Failure. Limits: nesting of 400 (a million '(' must not end the process).
Tree parse(std::string_view text);

}  // namespace snapward::query::jsonata
