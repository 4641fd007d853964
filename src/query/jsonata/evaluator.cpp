#include "query/jsonata/evaluator.hpp"

#include <fmt/format.h>
#include <re2/re2.h>

#include <algorithm>
#include <cassert>
#include <charconv>
#include <cmath>
#include <limits>

namespace snapward::query::jsonata {

using Type = Node::Type;
using Op = Node::Op;

// ── Values ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

std::size_t Value::size() const { return list() ? list()->items.size() : json()->as_array().size(); }
Value Value::item(std::size_t i) const { return list() ? list()->items[i] : Value(json()->as_array()[i]); }
Value Value::member(std::string_view key) const {
  if (const Record* r = record()) {
    for (const auto& [name, value] : r->members)
      if (name == key) return value;
    return {};
  }
  if (const Json* j = json())
    if (const Json* found = j->find(key)) return *found;
  return {};
}
void Value::each_member(const std::function<void(const std::string&, const Value&)>& use) const {
  if (const Record* r = record())
    for (const auto& [name, value] : r->members) use(name, value);
  else if (json() && json()->is_object())
    for (const auto& [name, value] : json()->as_object()) use(name, Value(value));
}
std::size_t Value::members() const { return record() ? record()->members.size() : json()->as_object().size(); }

std::uint32_t Value::depth() const {
  if (json()) return json()->depth();
  if (list()) return list()->depth;
  std::uint32_t out = 0;
  if (record())
    for (const auto& member : record()->members) out = std::max(out, member.second.depth());
  if (tuple()) out = tuple()->at.depth();
  return out + 1;
}

void append_utf8(std::string& out, char32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xc0 | (c >> 6));
    out += static_cast<char>(0x80 | (c & 0x3f));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xe0 | (c >> 12));
    out += static_cast<char>(0x80 | ((c >> 6) & 0x3f));
    out += static_cast<char>(0x80 | (c & 0x3f));
  } else {
    out += static_cast<char>(0xf0 | (c >> 18));
    out += static_cast<char>(0x80 | ((c >> 12) & 0x3f));
    out += static_cast<char>(0x80 | ((c >> 6) & 0x3f));
    out += static_cast<char>(0x80 | (c & 0x3f));
  }
}

std::string number_text(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
  if (value == 0) return "0";
  if (std::fabs(value) < 1e15 && value == std::floor(value)) return fmt::format("{}", static_cast<std::int64_t>(value));
  // Shortest digits that read back, then laid out as ECMAScript's Number::toString does.
  char buffer[64];
  std::string e(buffer, std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific).ptr);
  const bool negative = e[0] == '-';
  if (negative) e.erase(0, 1);
  const std::size_t mark = e.find('e');
  const int exponent = std::atoi(e.c_str() + mark + 1);
  std::string digits = e.substr(0, mark);
  std::erase(digits, '.');
  const int count = static_cast<int>(digits.size());
  std::string out;
  if (exponent >= 21 || exponent < -6) {
    out = digits.substr(0, 1);
    if (count > 1) out += '.' + digits.substr(1);
    out += fmt::format("e{}{}", exponent < 0 ? '-' : '+', std::abs(exponent));
  } else if (exponent < 0) {
    out = "0." + std::string(static_cast<std::size_t>(-exponent - 1), '0') + digits;
  } else if (count <= exponent + 1) {
    out = digits + std::string(static_cast<std::size_t>(exponent + 1 - count), '0');
  } else {
    out = digits.substr(0, static_cast<std::size_t>(exponent) + 1) + '.' + digits.substr(static_cast<std::size_t>(exponent) + 1);
  }
  return negative ? '-' + out : out;
}

std::string type_of(const Value& v) {
  if (v.undefined()) return "undefined";
  if (v.is_function()) return "function";
  if (v.is_array()) return "array";
  if (v.is_string()) return "string";
  if (v.is_number()) return "number";
  if (v.is_bool()) return "boolean";
  if (v.is_null()) return "null";
  return "object";
}

double numeric(const Value& value) {
  const double n = value.number();
  if (!std::isfinite(n)) throw Failure{.code = "D1001", .value = "null"};  // as JSON writes it
  return n;
}

bool truth(const Value& v) {
  if (v.undefined() || v.is_function()) return false;
  if (v.is_array()) {
    const std::size_t n = v.size();
    if (n == 1) return truth(v.item(0));
    for (std::size_t i = 0; i < n; ++i)
      if (truth(v.item(i))) return true;
    return false;
  }
  if (v.is_string()) return !v.view().empty();
  if (v.is_number()) return numeric(v) != 0;
  if (v.is_bool()) return v.json()->as_bool();
  if (v.is_object()) return v.members() > 0;
  return false;
}

bool equal(const Value& a, const Value& b) {
  if (a.json() && b.json()) return *a.json() == *b.json();
  if (a.is_number() || b.is_number()) return a.is_number() && b.is_number() && a.number() == b.number();
  if (a.is_array() || b.is_array()) {
    if (!a.is_array() || !b.is_array() || a.size() != b.size()) return false;
    for (std::size_t i = 0; i < a.size(); ++i)
      if (!equal(a.item(i), b.item(i))) return false;
    return true;
  }
  if (a.is_object() && b.is_object()) {
    if (a.members() != b.members()) return false;
    bool same = true;
    a.each_member([&](const std::string& key, const Value& value) { same = same && equal(value, b.member(key)); });
    return same;
  }
  if (a.is_function() && b.is_function()) return a.function() == b.function();
  return a.undefined() && b.undefined();
}

namespace {

void push_all(List& out, const Value& value) {
  if (!value.is_array()) return out.push(value);
  for (std::size_t i = 0; i < value.size(); ++i) out.push(value.item(i));
}

Value lookup_in(Evaluator& e, const Value& array, const std::string& key) {
  auto out = e.sequence();
  for (std::size_t i = 0; i < array.size(); ++i) {
    Value found = lookup(e, array.item(i), key);
    if (found.undefined()) continue;
    push_all(*out, found);
  }
  return out;
}

void descend(List& out, const Value& value, int depth) {
  if (depth > 600) raise("U1001");
  if (!value.is_array()) out.push(value);
  if (value.is_array())
    for (std::size_t i = 0; i < value.size(); ++i) descend(out, value.item(i), depth + 1);
  else if (value.is_object())
    value.each_member([&](const std::string&, const Value& member) { descend(out, member, depth + 1); });
}

void flatten(List& out, const Value& value, int depth = 0) {
  if (depth > 600) raise("U1001");
  if (!value.is_array()) return out.push(value);
  for (std::size_t i = 0; i < value.size(); ++i) flatten(out, value.item(i), depth + 1);
}

// An object from pairs whose keys are unique: Json where it can be.
Value make_object(std::vector<std::pair<std::string, Value>> members, Evaluator& e) {
  const bool plain = std::none_of(members.begin(), members.end(), [](const auto& m) {
    const double* n = m.second.computed();
    return m.second.is_function() || m.second.record() || (n && !std::isfinite(*n));  // which Json does not hold
  });
  if (!plain) return Value(std::make_shared<const Record>(Record{std::move(members)}));
  Json::Object out;
  for (auto& [key, value] : members) out.set(std::move(key), e.to_json(value));
  Json object(std::move(out));
  if (object.depth() > kMaxDepth) raise("U1001");
  return Value(std::move(object));
}

}  // namespace

Value lookup(Evaluator& e, const Value& input, const std::string& key) {
  if (input.is_array()) return lookup_in(e, input, key);
  return input.member(key);
}

// ── Frames and the evaluator's own life ────────────────────────────────────────────────────────────────────────────────────────

Frame::Frame(Evaluator& owner, std::shared_ptr<Frame> outer) : evaluator(owner), parent(std::move(outer)), after(owner.frames) {
  if (after) after->before = this;
  owner.frames = this;
}
Frame::~Frame() {
  if (before) before->after = after;
  if (after) after->before = before;
  if (evaluator.frames == this) evaluator.frames = after;
}
void Frame::bind(std::string name, Value value) {
  for (auto& [known, held] : bound)
    if (known == name) {
      held = std::move(value);
      return;
    }
  bound.emplace_back(std::move(name), std::move(value));
}
const Value* Frame::find(std::string_view name) const {
  for (const Frame* f = this; f; f = f->parent.get())
    for (const auto& [known, value] : f->bound)
      if (known == name) return &value;
  return nullptr;
}

Evaluator::Evaluator(Meter limits, Entropy& chance, Instant time, bool step_functions)
    : meter(limits), entropy(chance), now(time), aws(step_functions), root(std::make_shared<Frame>(*this, nullptr)) {}
Evaluator::~Evaluator() {
  root.reset();
  std::vector<std::pair<std::string, Value>> dropped;
  while (frames) {  // frames kept alive only by functions bound in them
    Frame* f = frames;
    std::swap(dropped, f->bound);
    if (dropped.empty()) {
      frames = f->after;  // held by an outer one yet to be emptied
      if (frames) frames->before = nullptr;
      f->before = f->after = nullptr;
      continue;
    }
    dropped.clear();
  }
}

// ── Evaluating ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────

Value Evaluator::run(const Tree& tree, const Value& input, const FramePtr& env) {
  Value given = input;
  if (input.is_array() && !(input.list() && input.list()->sequence)) {  // an array as the whole input is one value, not a sequence
    auto outer = sequence_of(input);
    outer->outer = true;
    given = Value(std::move(outer));
  }
  env->bind("$", given);
  return evaluate(*tree.root, given, env);
}

void Meter::check_text(std::size_t bytes) const {
  if (bytes > max_text) raise("U1003");
}
void Meter::look() {
  constexpr std::uint64_t kBetweenLooks = 100'000;  // some milliseconds
  if (steps > max_steps || (interrupted && interrupted->load(std::memory_order_relaxed))) raise("U1002");
  look_at = std::min(max_steps, steps + kBetweenLooks);
}

Value Evaluator::evaluate(const Node& node, const Value& input, const FramePtr& env) {
  struct Depth {
    Meter& meter;
    explicit Depth(Meter& m) : meter(m) {
      if (++meter.depth > meter.max_depth) --meter.depth, raise("U1001");
      if (++meter.steps > meter.look_at) --meter.depth, meter.look(), ++meter.depth;
    }
    ~Depth() { --meter.depth; }
  } depth(meter);

  Value result = dispatch(node, input, env);
  for (const Stage& predicate : node.predicates) result = filter(*predicate.filter, result, env);
  if (node.has_group && node.type != Type::path) result = group(node, result, env);
  if (List* list = result.list(); list && list->sequence && !list->tuples) {
    if (node.keep_array) list->keep_singleton = true;
    if (list->items.empty()) return {};
    if (list->items.size() == 1 && !list->keep_singleton) return Value(list->items[0]);
  }
  return result;
}

Value Evaluator::dispatch(const Node& node, const Value& input, const FramePtr& env) {
  switch (node.type) {
    case Type::path:
      return path(node, input, env);
    case Type::name:
      return lookup(*this, input, node.text);
    case Type::text:
    case Type::value:
      return Value(node.literal);
    case Type::number:
      return Value(node.amount);
    case Type::binary:
      return binary(node, input, env);
    case Type::negate: {
      const Value value = evaluate(*node.left, input, env);
      if (value.undefined()) return {};
      if (!value.is_number()) throw Failure{.code = "D1002", .position = node.at, .token = "-", .value = shown(value)};
      return Value(-numeric(value));
    }
    case Type::array: {
      auto out = list();
      out->constructed = node.constructed;
      for (const NodePtr& item : node.list) {
        Value value = evaluate(*item, input, env);
        if (value.undefined()) continue;
        if (item->type == Type::array)
          out->push(std::move(value));
        else
          push_all(*out, value);
      }
      return Value(std::move(out));
    }
    case Type::object:
      return group(node, input, env);
    case Type::wildcard: {
      Value at = input;
      if (at.list() && at.list()->outer && at.size() > 0) at = at.item(0);
      auto out = sequence();
      const auto take = [&](const Value& value) {
        if (value.is_array())
          flatten(*out, value);
        else
          out->push(value);
      };
      if (at.is_array())
        for (std::size_t i = 0; i < at.size(); ++i) take(at.item(i));
      else
        at.each_member([&](const std::string&, const Value& value) { take(value); });
      return Value(std::move(out));
    }
    case Type::descendants: {
      if (input.undefined()) return {};
      auto out = sequence();
      descend(*out, input, 0);
      if (out->items.size() == 1) return Value(out->items[0]);
      return Value(std::move(out));
    }
    case Type::parent:
      if (const Value* found = env->find(node.slot->label)) return *found;
      return {};
    case Type::condition: {
      const bool yes = truth(evaluate(*node.left, input, env));
      if (yes) return evaluate(*node.right, input, env);
      return node.other ? evaluate(*node.other, input, env) : Value();
    }
    case Type::block: {
      const FramePtr inner = frame(env);
      Value result;
      for (const NodePtr& item : node.list) result = evaluate(*item, input, inner);
      return result;
    }
    case Type::bind: {
      Value value = evaluate(*node.right, input, env);
      env->bind(node.left->text, value);
      return value;
    }
    case Type::regex:
      return matcher(node);
    case Type::call:
      return call(node, input, env, nullptr);
    case Type::partial:
      return partial(node, input, env);
    case Type::lambda: {
      auto f = std::make_shared<Function>();
      f->lambda = &node;
      f->frame = env;
      f->input = input;
      f->arity = node.parameters.size();
      f->signature = node.signature.get();
      f->thunk = node.thunk;
      return Value(FunctionPtr(std::move(f)));
    }
    case Type::variable: {
      if (node.text.empty()) return input.list() && input.list()->outer ? input.item(0) : input;
      if (const Value* found = env->find(node.text)) return *found;
      if (const FunctionPtr* function = builtin(node.text, aws)) return Value(*function);
      return {};
    }
    case Type::apply:
      return apply_operator(node, input, env);
    case Type::transform:
      return transformer(node, env);
    case Type::sort:
      return sort(node, input, env);
    case Type::placeholder:
      throw Failure{.code = "S0211", .position = node.at, .token = "?"};
    default:
      assert(false);
      return {};
  }
}

// ── Paths ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

namespace {
bool is_plain(const Node& step) {
  return step.type == Type::name && !step.tuple && step.stages.empty() && step.predicates.empty() && !step.keep_array && !step.has_group;
}
}  // namespace

Value Evaluator::path(const Node& node, const Value& input, const FramePtr& env) {
  const auto& steps = node.list;
  std::size_t i = 0;
  Value at;
  // Members of objects, one in the other, need no sequences: the common case, without a copy.
  if (!node.tuple && input.json() && input.json()->is_object()) {
    const Json* here = input.json();
    while (i < steps.size() && here->is_object() && is_plain(*steps[i])) {
      here = here->find(steps[i]->text);
      ++i;
      if (!here) return node.has_group ? group(node, {}, env) : Value();
    }
    if (i == steps.size() && !node.keep_singleton && !node.has_group) return Value(*here);
    if (i > 0) at = Value(*here);
  }
  if (at.undefined()) at = input;
  if (i == steps.size()) {  // only what comes after the steps is left
    Value whole = at;
    if (!whole.is_array()) whole = Value(sequence_of(whole));
    at = whole;
  } else if (i > 0 ? !at.is_array() : !(at.is_array() && steps[0]->type != Type::variable)) {
    at = Value(sequence_of(at));
  }
  bool tuples = false;
  ListPtr bindings;
  for (; i < steps.size(); ++i) {
    const Node& s = *steps[i];
    if (s.tuple) tuples = true;
    Value result;
    if (i == 0 && s.constructed && !s.tuple) {
      result = evaluate(s, at, env);
      if (!result.undefined() && !result.is_array()) result = Value(sequence_of(std::move(result)));  // a predicate left one item
    } else if (tuples) {
      bindings = tuple_step(s, at, bindings, env);
    } else {
      result = step(s, at, env, i + 1 == steps.size());
    }
    if (!tuples && (result.undefined() || (result.is_array() && result.size() == 0))) {
      at = result;
      break;
    }
    if (s.focus.empty()) at = tuples ? Value(bindings) : result;
  }
  if (tuples) {
    if (node.tuple) {
      at = Value(bindings);
    } else {
      auto out = sequence();
      for (const Value& t : bindings->items) out->push(t.tuple()->at);
      at = Value(std::move(out));
    }
  }
  // An array of the input is no sequence and stays what it is.
  if (node.keep_singleton && at.list()) {
    if (at.list()->constructed && !at.list()->sequence) at = Value(sequence_of(at));
    at.list()->keep_singleton = true;
  }
  if (node.has_group) return group(node, tuples ? Value(bindings) : at, env);
  return at;
}

Value Evaluator::step(const Node& node, const Value& input, const FramePtr& env, bool last) {
  if (node.type == Type::sort) {
    Value result = sort(node, input, env);
    return node.stages.empty() ? result : stages(node.stages, std::move(result), env);
  }
  auto results = sequence();
  for (std::size_t i = 0; i < input.size(); ++i) {
    Value value = evaluate(node, input.item(i), env);
    for (const Stage& stage : node.stages)
      if (stage.filter) value = filter(*stage.filter, value, env);
    if (!value.undefined()) results->push(std::move(value));
  }
  if (last && results->items.size() == 1 && results->items[0].is_array() &&
      !(results->items[0].list() && results->items[0].list()->sequence))
    return Value(results->items[0]);
  const bool flat = std::none_of(results->items.begin(), results->items.end(), [](const Value& v) { return v.is_array(); });
  if (flat) return Value(std::move(results));
  if (results->items.size() == 1) {  // what a predicate left, flat already
    const Value& only = results->items[0];
    if (const List* list = only.list();
        list && list->sequence && !list->constructed && !list->keep_singleton && !list->tuples && !list->outer && only.only_here())
      return only;
  }
  auto out = sequence();
  for (const Value& value : results->items) {
    if (value.is_array() && !(value.list() && value.list()->constructed))
      push_all(*out, value);
    else
      out->push(value);
  }
  return Value(std::move(out));
}

FramePtr Evaluator::tuple_frame(const FramePtr& env, const Tuple& tuple) {
  FramePtr out = frame(env);
  for (const auto& [name, value] : tuple.bound) out->bind(name, value);
  return out;
}

namespace {
void bind_in(Tuple& tuple, const std::string& name, Value value) {
  for (auto& [known, held] : tuple.bound)
    if (known == name) {
      held = std::move(value);
      return;
    }
  tuple.bound.emplace_back(name, std::move(value));
}
}  // namespace

ListPtr Evaluator::tuple_step(const Node& node, const Value& input, const ListPtr& bindings, const FramePtr& env) {
  auto out = sequence();
  out->tuples = true;
  if (node.type == Type::sort) {
    if (bindings) {
      const Value sorted = sort(node, Value(bindings), env);
      for (const Value& t : sorted.list()->items) out->push(t);
    } else {
      const Value sorted = sort(node, input, env);
      for (std::size_t i = 0; i < sorted.size(); ++i) {
        auto t = std::make_shared<Tuple>();
        t->at = sorted.item(i);
        if (!node.index.empty()) bind_in(*t, node.index, Value(static_cast<double>(i)));
        out->push(Value(TuplePtr(std::move(t))));
      }
    }
  } else {
    std::vector<TuplePtr> from;
    if (bindings)
      for (const Value& t : bindings->items) from.push_back(std::make_shared<const Tuple>(*t.tuple()));
    else
      for (std::size_t i = 0; i < input.size(); ++i) from.push_back(std::make_shared<const Tuple>(Tuple{input.item(i), {}}));
    for (const TuplePtr& base : from) {
      Value result = evaluate(node, base->at, tuple_frame(env, *base));
      if (result.undefined()) continue;
      if (!result.is_array()) result = Value(sequence_of(std::move(result)));
      const bool inner_tuples = result.list() && result.list()->tuples;
      for (std::size_t i = 0; i < result.size(); ++i) {
        auto t = std::make_shared<Tuple>(*base);
        const Value item = result.item(i);
        if (inner_tuples) {
          t->at = item.tuple()->at;
          for (const auto& [name, value] : item.tuple()->bound) bind_in(*t, name, value);
        } else {
          if (!node.focus.empty())
            bind_in(*t, node.focus, item);
          else
            t->at = item;
          if (!node.index.empty()) bind_in(*t, node.index, Value(static_cast<double>(i)));
          if (node.ancestor) bind_in(*t, node.ancestor->label, base->at);
        }
        out->push(Value(TuplePtr(std::move(t))));
      }
    }
  }
  if (node.stages.empty()) return out;
  const Value staged = stages(node.stages, Value(out), env);
  return staged.list_ptr();
}

Value Evaluator::stages(const std::vector<Stage>& list, Value input, const FramePtr& env) {
  for (const Stage& stage : list) {
    if (stage.filter) {
      input = filter(*stage.filter, input, env);
      continue;
    }
    auto out = sequence();
    out->tuples = true;
    for (std::size_t i = 0; i < input.size(); ++i) {
      const Value item = input.item(i);
      auto t = item.tuple() ? std::make_shared<Tuple>(*item.tuple()) : std::make_shared<Tuple>(Tuple{item, {}});
      bind_in(*t, stage.index, Value(static_cast<double>(i)));
      out->push(Value(TuplePtr(std::move(t))));
    }
    input = Value(std::move(out));
  }
  return input;
}

namespace {
// Gives the same for every item, whatever the item is.
bool is_constant(const Node& node) {
  if (!node.predicates.empty() || node.has_group) return false;
  switch (node.type) {
    case Type::text:
    case Type::value:
    case Type::number:
      return true;
    case Type::negate:
      return is_constant(*node.left);
    case Type::binary:
      return is_constant(*node.left) && is_constant(*node.right);
    case Type::array:
      return std::all_of(node.list.begin(), node.list.end(), [](const NodePtr& item) { return is_constant(*item); });
    default:
      return false;
  }
}

bool all_numbers(const Value& array) {
  for (std::size_t i = 0; i < array.size(); ++i)
    if (!array.item(i).is_number()) return false;
  return true;
}

// The item that a number points at: whole numbers from 0, or from -1 at the end.
double index_of(const Value& number, double size) {
  const double n = std::floor(number.number());
  return n < 0 ? n + size : n;
}
}  // namespace

namespace {

// What a comparison sees of a literal, or of members of the object at hand, without a Value made of it. Nothing for what is neither a
// number, a text nor absent, and for every other kind of operand.
struct Operand {
  enum class Kind { absent, number, text } kind = Kind::absent;
  double number = 0;
  std::string_view text;
};

std::optional<Operand> operand(const Node& node, const Json& item) {
  if (!node.predicates.empty() || node.keep_array || node.has_group) return std::nullopt;
  const Json* at = &item;
  if (node.type == Type::number) return Operand{Operand::Kind::number, node.amount, {}};
  if (node.type == Type::text) {
    at = &node.literal;
  } else if (node.type == Type::path && !node.tuple && !node.keep_singleton) {
    for (const auto& step : node.list) {
      if (!at->is_object() || !is_plain(*step)) return std::nullopt;
      at = at->find(step->text);
      if (!at) return Operand{};
    }
  } else {
    return std::nullopt;
  }
  if (at->is_string()) return Operand{Operand::Kind::text, 0, at->as_string()};
  if (!at->is_number()) return std::nullopt;
  const double number = at->as_double();
  return std::isfinite(number) ? std::optional(Operand{Operand::Kind::number, number, {}}) : std::nullopt;
}

// Whether a predicate made of comparisons holds for an item: what evaluate() and truth() would say, where that is cheap to know.
std::optional<bool> holds(const Node& predicate, const Json& item) {
  if (predicate.type != Type::binary || !predicate.predicates.empty() || predicate.keep_array || predicate.has_group) return std::nullopt;
  if (predicate.op == Op::both || predicate.op == Op::either) {
    const auto a = holds(*predicate.left, item);
    if (!a || *a == (predicate.op == Op::either)) return a;
    return holds(*predicate.right, item);
  }
  if (predicate.op < Op::equal || predicate.op > Op::greater_equal) return std::nullopt;
  const auto a = operand(*predicate.left, item);
  const auto b = a ? operand(*predicate.right, item) : std::nullopt;
  if (!b) return std::nullopt;
  const bool ordered = predicate.op != Op::equal && predicate.op != Op::unequal;
  if (a->kind == Operand::Kind::absent || b->kind == Operand::Kind::absent) return false;
  if (a->kind != b->kind) return ordered ? std::nullopt : std::optional(predicate.op == Op::unequal);  // an order of the two is an error
  const double x = a->kind == Operand::Kind::text ? a->text.compare(b->text) : a->number;
  const double y = a->kind == Operand::Kind::text ? 0 : b->number;
  switch (predicate.op) {
    case Op::equal:
      return x == y;
    case Op::unequal:
      return x != y;
    case Op::less:
      return x < y;
    case Op::less_equal:
      return x <= y;
    case Op::greater:
      return x > y;
    default:
      return x >= y;
  }
}

}  // namespace

Value Evaluator::filter(const Node& predicate, const Value& given, const FramePtr& env) {
  auto out = sequence();
  const bool tuples = given.list() && given.list()->tuples;
  out->tuples = tuples;
  if (given.undefined()) {  // nothing is left of nothing, but what is wrong with the predicate is told
    if (predicate.type != Type::number) evaluate(predicate, given, env);
    return Value(std::move(out));
  }
  const Value input = given.is_array() ? given : Value(sequence_of(given));
  const auto size = static_cast<double>(input.size());
  if (predicate.type == Type::number && predicate.predicates.empty()) {
    const double index = index_of(Value(predicate.amount), size);
    if (index >= 0 && index < size) {
      Value item = input.item(static_cast<std::size_t>(index));
      if (item.is_array()) return item;
      out->push(std::move(item));
    }
    return Value(std::move(out));
  }
  if (input.size() > 0 && is_constant(predicate)) {
    const Value result = evaluate(predicate, input.item(0), env);
    if (result.is_array() && all_numbers(result)) {  // items in their own order, each as often as it is named
      std::vector<double> indexes(result.size());
      for (std::size_t k = 0; k < indexes.size(); ++k) indexes[k] = index_of(result.item(k), size);
      std::sort(indexes.begin(), indexes.end());
      for (const double index : indexes)
        if (index >= 0 && index < size) out->push(input.item(static_cast<std::size_t>(index)));
      return Value(std::move(out));
    }
  }
  out->items.reserve(std::min<std::size_t>(input.size(), 256));
  for (std::size_t i = 0; i < input.size(); ++i) {
    if (const Json* array = input.json()) {
      const Json& item = array->as_array()[i];
      if (const auto known = holds(predicate, item)) {
        meter.step();
        if (*known) out->push_json(item);
        continue;
      }
    }
    const Value item = input.item(i);
    const Value result = tuples ? evaluate(predicate, item.tuple()->at, tuple_frame(env, *item.tuple())) : evaluate(predicate, item, env);
    const auto points_here = [&](const Value& number) { return index_of(number, size) == static_cast<double>(i); };
    if (result.is_number()) {
      if (points_here(result)) out->push(item);
    } else if (result.is_array() && all_numbers(result)) {  // an empty array too: no index at all
      for (std::size_t k = 0; k < result.size(); ++k)
        if (points_here(result.item(k))) out->push(item);
    } else if (truth(result)) {
      out->push(item);
    }
  }
  return Value(std::move(out));
}

Value Evaluator::group(const Node& node, const Value& given, const FramePtr& env) {
  struct Entry {
    std::string key;
    Value data;
    std::vector<TuplePtr> tuples;
    std::size_t pair;
  };
  std::vector<Entry> groups;
  std::unordered_map<std::string, std::size_t> by_key;
  const bool tuples = given.list() && given.list()->tuples;
  Value input = given;
  if (!given.is_array()) input = given.undefined() ? Value(sequence()) : Value(sequence_of(given));
  const std::size_t count = std::max<std::size_t>(1, input.size());  // with no input, once with nothing: {"a": 1}
  for (std::size_t i = 0; i < count; ++i) {
    const Value item = i < input.size() ? input.item(i) : Value();
    const FramePtr here = tuples && item.tuple() ? tuple_frame(env, *item.tuple()) : env;
    const Value& at = tuples && item.tuple() ? item.tuple()->at : item;
    for (std::size_t p = 0; p < node.pairs.size(); ++p) {
      const Value key = evaluate(*node.pairs[p].first, at, here);
      if (key.undefined()) continue;
      if (!key.is_string()) throw Failure{.code = "T1003", .position = node.at, .value = shown(key)};
      const auto [found, fresh] = by_key.try_emplace(key.text(), groups.size());
      if (fresh) {
        groups.push_back({key.text(), tuples ? Value() : item, {}, p});
      } else {
        Entry& entry = groups[found->second];
        if (entry.pair != p) throw Failure{.code = "D1009", .position = node.at, .value = shown(key)};
        if (!tuples) entry.data = append(entry.data, item);
      }
      if (tuples && item.tuple()) groups[found->second].tuples.push_back(std::make_shared<const Tuple>(*item.tuple()));
    }
  }
  std::vector<std::pair<std::string, Value>> members;
  for (Entry& entry : groups) {
    Value context = entry.data;
    FramePtr here = env;
    if (tuples) {  // the group's tuples become one: each variable holds what it held in all of them
      Tuple merged = *entry.tuples[0];
      for (std::size_t t = 1; t < entry.tuples.size(); ++t) {
        merged.at = append(merged.at, entry.tuples[t]->at);
        for (const auto& [name, value] : entry.tuples[t]->bound) {
          Value known;
          for (const auto& [n, v] : merged.bound)
            if (n == name) known = v;
          bind_in(merged, name, append(known, value));
        }
      }
      context = merged.at;
      here = tuple_frame(env, merged);
    }
    Value value = evaluate(*node.pairs[entry.pair].second, context, here);
    if (!value.undefined()) members.emplace_back(std::move(entry.key), std::move(value));
  }
  return make_object(std::move(members), *this);
}

Value Evaluator::sort(const Node& node, const Value& input, const FramePtr& env) {
  const bool tuples = input.list() && input.list()->tuples;
  std::vector<Value> items;
  for (std::size_t i = 0; i < input.size(); ++i) items.push_back(input.item(i));
  const auto key_of = [&](const Value& item, std::size_t term) {
    const Node& expression = *node.terms[term].expression;
    if (tuples) return evaluate(expression, item.tuple()->at, tuple_frame(env, *item.tuple()));
    return evaluate(expression, item, env);
  };
  // Each item's keys once; a later term's only where the first ones are equal.
  std::vector<std::vector<Value>> keys(items.size());
  const auto key = [&](std::size_t item, std::size_t term) -> const Value& {
    while (keys[item].size() <= term) keys[item].push_back(key_of(items[item], keys[item].size()));
    return keys[item][term];
  };
  const auto before = [&](std::size_t a, std::size_t b) {
    for (std::size_t t = 0; t < node.terms.size(); ++t) {
      const Value& x = key(a, t);
      const Value& y = key(b, t);
      if (x.undefined() || y.undefined()) {
        if (x.undefined() && y.undefined()) continue;
        return y.undefined();  // what has no key comes last
      }
      for (const Value* v : {&x, &y})
        if (!v->is_string() && !v->is_number()) throw Failure{.code = "T2008", .position = node.at, .value = shown(*v)};
      if (x.is_string() != y.is_string()) throw Failure{.code = "T2007", .position = node.at, .value = shown(x), .value2 = shown(y)};
      const int order = x.is_string() ? x.view().compare(y.view()) : (x.number() < y.number() ? -1 : x.number() > y.number() ? 1 : 0);
      if (order != 0) return node.terms[t].descending ? order > 0 : order < 0;
    }
    return false;
  };
  std::vector<std::size_t> order(items.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  merge_sort(order, before);
  auto out = sequence();
  out->tuples = tuples;
  for (const std::size_t i : order) out->push(std::move(items[i]));
  return Value(std::move(out));
}

// ── Operators ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────

Value Evaluator::append(Value a, const Value& b) {
  if (a.undefined()) return b;
  if (b.undefined()) return a;
  // Growing one list is linear in what is added, as long as nobody else looks at it.
  if (a.list() && a.only_here() && a.list()->sequence && !a.list()->tuples) {
    push_all(*a.list(), b);
    return a;
  }
  auto out = sequence();
  if (a.is_array()) {
    out->sequence = a.list() && a.list()->sequence;
    push_all(*out, a);
  } else {
    out->push(std::move(a));
  }
  push_all(*out, b);
  return Value(std::move(out));
}

Value Evaluator::binary(const Node& node, const Value& input, const FramePtr& env) {
  const Value a = evaluate(*node.left, input, env);
  switch (node.op) {
    case Op::both:
      return Value(truth(a) && truth(evaluate(*node.right, input, env)));
    case Op::either:
      return Value(truth(a) || truth(evaluate(*node.right, input, env)));
    case Op::otherwise:
      return truth(a) ? a : evaluate(*node.right, input, env);
    case Op::coalesce:
      return !a.undefined() ? a : evaluate(*node.right, input, env);
    default:
      break;
  }
  const Value b = evaluate(*node.right, input, env);
  switch (node.op) {
    case Op::add:
    case Op::subtract:
    case Op::multiply:
    case Op::divide:
    case Op::modulo: {
      if (!a.undefined() && !a.is_number()) throw Failure{.code = "T2001", .position = node.at, .token = node.text, .value = shown(a)};
      if (!b.undefined() && !b.is_number()) throw Failure{.code = "T2002", .position = node.at, .token = node.text, .value = shown(b)};
      if (a.undefined() || b.undefined()) return {};
      const double x = numeric(a), y = numeric(b);
      switch (node.op) {
        case Op::add:
          return Value(x + y);
        case Op::subtract:
          return Value(x - y);
        case Op::multiply:
          return Value(x * y);
        case Op::divide:
          return Value(y == 0
                           ? (x == 0 ? std::numeric_limits<double>::quiet_NaN() : std::copysign(std::numeric_limits<double>::infinity(), x))
                           : x / y);
        default:
          return Value(y == 0 ? std::numeric_limits<double>::quiet_NaN() : std::fmod(x, y));
      }
    }
    case Op::equal:
    case Op::unequal:
      if (a.undefined() || b.undefined()) return Value(false);
      return Value(equal(a, b) == (node.op == Op::equal));
    case Op::less:
    case Op::less_equal:
    case Op::greater:
    case Op::greater_equal: {
      for (const Value* v : {&a, &b})
        if (!v->undefined() && !v->is_string() && !v->is_number())
          throw Failure{.code = "T2010", .position = node.at, .token = node.text, .value = shown(*v)};
      if (a.undefined() || b.undefined()) return {};
      if (a.is_string() != b.is_string())
        throw Failure{.code = "T2009", .position = node.at, .token = node.text, .value = shown(a), .value2 = shown(b)};
      const double x = a.is_string() ? a.view().compare(b.view()) : numeric(a);
      const double y = a.is_string() ? 0 : numeric(b);
      return Value(node.op == Op::less ? x < y : node.op == Op::less_equal ? x <= y : node.op == Op::greater ? x > y : x >= y);
    }
    case Op::concat: {
      std::string out = a.undefined() ? "" : string_of(a);
      if (!b.undefined()) out += string_of(b);
      meter.check_text(out.size());
      return Value(std::move(out));
    }
    case Op::range: {
      const auto whole = [](const Value& v) { return v.is_number() && numeric(v) == std::floor(v.number()); };
      if (!a.undefined() && !whole(a)) throw Failure{.code = "T2003", .position = node.at, .value = shown(a)};
      if (!b.undefined() && !whole(b)) throw Failure{.code = "T2004", .position = node.at, .value = shown(b)};
      if (a.undefined() || b.undefined()) return {};
      const double from = a.number(), to = b.number();
      if (from > to) return {};
      if (to - from + 1 > 1e7) throw Failure{.code = "D2014", .position = node.at, .value = number_text(to - from + 1)};
      auto out = sequence();
      for (double n = from; n <= to; ++n) out->push(Value(n));
      return Value(std::move(out));
    }
    case Op::in: {
      if (a.undefined() || b.undefined()) return Value(false);
      const auto same = [&](const Value& v) { return !v.is_array() && !v.is_object() && equal(a, v); };
      if (!b.is_array()) return Value(same(b));
      for (std::size_t i = 0; i < b.size(); ++i)
        if (same(b.item(i))) return Value(true);
      return Value(false);
    }
    default:
      assert(false);
      return {};
  }
}

// ── Functions ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────

namespace {
std::string called(const Node& procedure) {
  if (procedure.type == Type::variable) return procedure.text;
  if (procedure.type == Type::path && !procedure.list.empty()) return procedure.list[0]->text;
  return {};
}
}  // namespace

Value Evaluator::call(const Node& node, const Value& input, const FramePtr& env, const Value* first) {
  const Value procedure = evaluate(*node.left, input, env);
  const std::string name = called(*node.left);
  if (procedure.undefined() && node.left->type == Type::path && (env->find(name) || builtin(name, aws)))
    throw Failure{.code = "T1005", .position = node.at, .token = name};
  std::vector<Value> arguments;
  arguments.reserve(node.list.size() + (first ? 1 : 0));
  if (first) arguments.push_back(*first);
  for (const NodePtr& argument : node.list) arguments.push_back(evaluate(*argument, input, env));
  return apply(procedure, std::move(arguments), input, name, node.at);
}

Value Evaluator::apply(const Value& function, std::vector<Value> arguments, const Value& input, std::string_view name, std::size_t at) {
  Value result = apply_once(function, std::move(arguments), input, name, at);
  while (result.is_function() && result.function()->thunk) {  // tail calls
    const FunctionPtr thunk = result.function_ptr();
    const Node& body = *thunk->lambda->right;
    const Value next = evaluate(*body.left, thunk->input, thunk->frame);
    std::vector<Value> values;
    values.reserve(body.list.size());
    for (const NodePtr& argument : body.list) values.push_back(evaluate(*argument, thunk->input, thunk->frame));
    result = apply_once(next, std::move(values), thunk->input, called(*body.left), body.at);
  }
  return result;
}

Value Evaluator::apply_once(const Value& function, std::vector<Value> arguments, const Value& input, std::string_view name,
                            std::size_t at) {
  const Function* f = function.function();
  if (!f) throw Failure{.code = "T1006", .position = at, .token = std::string(name), .value = function.undefined() ? "" : shown(function)};
  meter.step();
  const FunctionPtr keep = function.function_ptr();
  try {
    if (f->signature) arguments = f->signature->apply(std::move(arguments), input, meter, name);
    if (f->lambda) {
      const FramePtr env = frame(f->frame);
      for (std::size_t i = 0; i < f->lambda->parameters.size(); ++i)
        env->bind(f->lambda->parameters[i], i < arguments.size() ? std::move(arguments[i]) : Value());
      return evaluate(*f->lambda->right, f->input, env);
    }
    if (f->native) return f->native(*this, arguments, input);
    return f->closure(*this, arguments);
  } catch (Failure& failure) {
    if (failure.position == 0) failure.position = at;
    if (failure.token.empty()) failure.token = name;
    throw;
  }
}

Value Evaluator::partial(const Node& node, const Value& input, const FramePtr& env) {
  const Value procedure = evaluate(*node.left, input, env);
  const std::string name = called(*node.left);
  if (procedure.undefined() && node.left->type == Type::path && (env->find(name) || builtin(name, aws)))
    throw Failure{.code = "T1007", .position = node.at, .token = name};
  if (!procedure.is_function()) throw Failure{.code = "T1008", .position = node.at, .token = name};
  auto f = std::make_shared<Function>();
  std::vector<std::optional<Value>> given;
  for (const NodePtr& argument : node.list) {
    if (argument->type == Type::placeholder) {
      given.emplace_back();
      ++f->arity;
    } else {
      given.emplace_back(evaluate(*argument, input, env));
    }
  }
  f->closure = [procedure, given, input, name](Evaluator& e, std::vector<Value>& rest) {
    std::vector<Value> all;
    std::size_t next = 0;
    for (const auto& value : given) all.push_back(value ? *value : next < rest.size() ? rest[next++] : Value());
    return e.apply(procedure, std::move(all), input, name);
  };
  return Value(FunctionPtr(std::move(f)));
}

Value Evaluator::apply_operator(const Node& node, const Value& input, const FramePtr& env) {
  const Value left = evaluate(*node.left, input, env);
  if (node.right->type == Type::call && node.right->predicates.empty() && !node.right->has_group)
    return call(*node.right, input, env, &left);
  const Value right = evaluate(*node.right, input, env);
  if (!right.is_function()) throw Failure{.code = "T2006", .position = node.at, .value = right.undefined() ? "" : shown(right)};
  if (!left.is_function()) return apply(right, {left}, Value());
  auto f = std::make_shared<Function>();  // one after the other
  f->arity = 1;
  f->closure = [left, right](Evaluator& e, std::vector<Value>& arguments) {
    std::vector<Value> first = {arguments.empty() ? Value() : arguments[0]};
    return e.apply(right, {e.apply(left, std::move(first), Value())}, Value());
  };
  return Value(FunctionPtr(std::move(f)));
}

namespace {

// What a transform does to the objects its pattern names, by where their members live.
struct Changes {
  struct Change {
    Json::Object set;
    std::vector<std::string> erased;
  };
  std::vector<std::pair<Json, std::vector<Change>>> all;

  std::vector<Change>& of(const Json& target) {
    for (auto& [json, changes] : all)
      if (json.identical(target)) return changes;
    return all.emplace_back(target, std::vector<Change>{}).second;
  }
  Json apply(const Json& json) const {
    if (json.is_array()) {
      Json::Array out;
      for (const Json& item : json.as_array()) out.push_back(apply(item));
      return Json(std::move(out));
    }
    if (!json.is_object()) return json;
    Json::Object out;
    for (const auto& [key, value] : json.as_object()) out.set(key, apply(value));
    for (const auto& [target, changes] : all) {
      if (!target.identical(json)) continue;
      for (const Change& change : changes) {
        for (const auto& [key, value] : change.set) out.set(key, value);
        for (const std::string& key : change.erased) out.erase(key);
      }
    }
    return Json(std::move(out));
  }
};

// A copy in which no two places share a node.
Json deep_copy(const Json& json) {
  if (json.is_array()) {
    Json::Array out;
    for (const Json& item : json.as_array()) out.push_back(deep_copy(item));
    return Json(std::move(out));
  }
  if (!json.is_object()) return json;
  Json::Object out;
  for (const auto& [key, value] : json.as_object()) out.set(key, deep_copy(value));
  return Json(std::move(out));
}

}  // namespace

Value Evaluator::transformer(const Node& node, const FramePtr& env) {
  auto f = std::make_shared<Function>();
  f->arity = 1;
  static const Signature kSignature = Signature::parse("<(oa):o>");
  f->signature = &kSignature;
  f->closure = [&node, env](Evaluator& e, std::vector<Value>& arguments) -> Value {
    if (arguments.empty() || arguments[0].undefined()) return {};
    const Json original = deep_copy(e.to_json(arguments[0]));
    Value matches = e.evaluate(*node.left, Value(original), env);
    if (matches.undefined()) return Value(original);
    Changes changes;
    const auto change = [&](const Value& match) {
      Changes::Change c;
      const Value update = e.evaluate(*node.right, match, env);
      if (!update.undefined()) {
        if (!update.is_object()) throw Failure{.code = "T2011", .position = node.right->at, .value = e.shown(update)};
        const Json set = e.to_json(update);
        c.set = set.as_object();
      }
      if (node.other) {
        Value erased = e.evaluate(*node.other, match, env);
        if (!erased.undefined()) {
          if (!erased.is_array()) erased = Value(e.sequence_of(erased));
          for (std::size_t i = 0; i < erased.size(); ++i) {
            if (!erased.item(i).is_string()) throw Failure{.code = "T2012", .position = node.other->at, .value = e.shown(erased)};
            c.erased.push_back(erased.item(i).text());
          }
        }
      }
      if (match.json() && match.json()->is_object()) changes.of(*match.json()).push_back(std::move(c));
    };
    if (matches.is_array())
      for (std::size_t i = 0; i < matches.size(); ++i) change(matches.item(i));
    else
      change(matches);
    return Value(changes.apply(original));
  };
  return Value(FunctionPtr(std::move(f)));
}

// ── Regular expressions ────────────────────────────────────────────────────────────────────────────────────────────────────────

namespace {
bool find(const re2::RE2& regex, const std::string& text, std::size_t from, Match& out) {
  const int groups = regex.NumberOfCapturingGroups();
  std::vector<re2::StringPiece> parts(static_cast<std::size_t>(groups) + 1);
  if (from > text.size() || !regex.Match(text, from, text.size(), re2::RE2::UNANCHORED, parts.data(), groups + 1)) return false;
  out.start = static_cast<std::size_t>(parts[0].data() - text.data());
  out.end = out.start + parts[0].size();
  if (out.end == out.start) throw Failure{.code = "D1004", .value = regex.pattern()};
  out.text = std::string(parts[0]);
  out.groups.clear();
  for (int i = 1; i <= groups; ++i) {
    const auto& part = parts[static_cast<std::size_t>(i)];
    out.groups.push_back(part.data() ? Value(std::string(part)) : Value());
  }
  return true;
}
std::size_t characters(std::string_view bytes) {
  return static_cast<std::size_t>(
      std::count_if(bytes.begin(), bytes.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}
}  // namespace

struct RegexMatcher {
  std::shared_ptr<re2::RE2> regex;
  Value operator()(Evaluator& e, std::vector<Value>& arguments) const {
    if (arguments.empty() || !arguments[0].is_string()) return {};
    const std::size_t from = arguments.size() > 1 && arguments[1].is_number() ? static_cast<std::size_t>(arguments[1].number()) : 0;
    return from_byte(e, arguments[0].text(), from);
  }
  Value from_byte(Evaluator& e, const std::string& text, std::size_t from) const {
    Match m;
    if (!find(*regex, text, from, m)) return {};
    auto groups = e.list();
    for (Value& group : m.groups) groups->push(std::move(group));
    auto next = std::make_shared<Function>();
    next->closure = [self = *this, text, end = m.end](Evaluator& inner, std::vector<Value>&) { return self.from_byte(inner, text, end); };
    Record out;
    out.members.emplace_back("match", Value(m.text));
    out.members.emplace_back("start", Value(static_cast<double>(characters(std::string_view(text).substr(0, m.start)))));
    out.members.emplace_back("end", Value(static_cast<double>(characters(std::string_view(text).substr(0, m.end)))));
    out.members.emplace_back("groups", Value(std::move(groups)));
    out.members.emplace_back("next", Value(FunctionPtr(std::move(next))));
    return Value(std::make_shared<const Record>(std::move(out)));
  }
};

Value Evaluator::matcher(const Node& node) {
  auto f = std::make_shared<Function>();
  f->arity = 2;
  f->closure = RegexMatcher{node.regex};
  return Value(FunctionPtr(std::move(f)));
}

bool next_match(Evaluator& e, const Value& matcher, const std::string& text, std::size_t from, Match& out) {
  const Function* f = matcher.function();
  if (const auto* own = f->closure.target<RegexMatcher>()) return find(*own->regex, text, from, out);
  // A user's own matcher: asked once for the text that is left.
  const Value found = e.apply(matcher, {Value(text.substr(from))}, Value());
  if (found.undefined()) return false;
  const Value start = found.member("start"), end = found.member("end"), groups = found.member("groups");
  if (!found.is_object() || !start.is_number() || !end.is_number() || !groups.is_array()) throw Failure{.code = "T1010"};
  const auto byte_of = [&](double character) {
    std::size_t at = from;
    for (auto n = static_cast<std::int64_t>(character); n > 0 && at < text.size(); --n) do
        ++at;
      while (at < text.size() && (static_cast<unsigned char>(text[at]) & 0xc0) == 0x80);
    return at;
  };
  out.start = byte_of(start.number());
  out.end = byte_of(end.number());
  if (out.end <= out.start) throw Failure{.code = "D1004", .value = "a matcher function"};
  out.text = text.substr(out.start, out.end - out.start);
  out.groups.clear();
  for (std::size_t i = 0; i < groups.size(); ++i) out.groups.push_back(groups.item(i));
  return true;
}

// ── Text and JSON of values ────────────────────────────────────────────────────────────────────────────────────────────────────

Json Evaluator::to_json(const Value& value) {
  if (const double* n = value.computed()) {
    // JSON has no such numbers. Step Functions writes their names (measured at AWS, 2026).
    if (!std::isfinite(*n)) return aws ? Json(number_text(*n)) : Json();
    const double x = *n == 0 ? 0.0 : *n;
    return Json::number(number_text(x));
  }
  if (value.json()) return *value.json();
  if (value.list()) {
    Json::Array out;
    out.reserve(value.size());
    for (const Value& item : value.list()->items) out.push_back(item.tuple() ? to_json(item.tuple()->at) : to_json(item));
    return Json(std::move(out));
  }
  if (value.record()) {
    Json::Object out;
    for (const auto& [key, member] : value.record()->members)
      if (!member.is_function()) out.set(key, to_json(member));
    return Json(std::move(out));
  }
  if (value.is_function()) return Json("");
  return Json();
}

namespace {

// Numbers in texts have 15 digits at most, but for whole ones.
std::string short_number(double n) {
  if (!std::isfinite(n)) throw Failure{.code = "D3001", .value = number_text(n)};
  if (n == std::floor(n)) return number_text(n);
  double rounded = 0;
  const std::string text = fmt::format("{:.14e}", n);
  std::from_chars(text.data(), text.data() + text.size(), rounded);
  return number_text(rounded);
}

void write(std::string& out, const Value& v, bool pretty, int indent) {
  const auto line = [&](int level) {
    if (!pretty) return;
    out += '\n';
    out.append(static_cast<std::size_t>(level) * 2, ' ');
  };
  if (v.is_number()) {
    if (indent > 0 && !std::isfinite(v.number())) throw Failure{.code = "D1001", .value = number_text(v.number())};
    out += short_number(v.number());
  } else if (v.is_array()) {
    out += '[';
    for (std::size_t i = 0; i < v.size(); ++i) {
      if (i) out += ',';
      line(indent + 1);
      const Value item = v.item(i);
      if (item.undefined())
        out += "null";
      else
        write(out, item, pretty, indent + 1);
    }
    if (v.size()) line(indent);
    out += ']';
  } else if (v.is_object()) {
    out += '{';
    bool first = true;
    v.each_member([&](const std::string& key, const Value& value) {
      if (!std::exchange(first, false)) out += ',';
      line(indent + 1);
      append_json_string(out, key);
      out += pretty ? ": " : ":";
      write(out, value, pretty, indent + 1);
    });
    if (!first) line(indent);
    out += '}';
  } else if (v.is_function()) {
    out += "\"\"";
  } else if (v.json()) {
    v.json()->dump_to(out);
  } else {
    out += "null";
  }
}

}  // namespace

std::string Evaluator::shown(const Value& value) { return to_json(value).dump(); }

std::string Evaluator::string_of(const Value& value, bool pretty) {
  if (value.is_string()) return value.text();
  if (value.is_function()) return "";
  if (value.list() && value.list()->outer) return string_of(value.item(0), pretty);
  std::string out;
  write(out, value, pretty, 0);
  return out;
}

}  // namespace snapward::query::jsonata
