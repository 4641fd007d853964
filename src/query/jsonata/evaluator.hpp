// Evaluator: one evaluation of one tree. Lives on one thread, for as long as the evaluation takes.
#pragma once
#include "base/entropy.hpp"
#include "base/time.hpp"
#include "query/jsonata/ast.hpp"
#include "query/jsonata/value.hpp"

namespace snapward::query::jsonata {

// Variables of one scope. Closures keep their frame alive; the evaluator empties all that are left when it ends, so that a function
// bound in the frame it closes over does not keep both for ever.
struct Frame {
  Frame(Evaluator& owner, std::shared_ptr<Frame> outer);
  ~Frame();
  Frame(const Frame&) = delete;
  Frame& operator=(const Frame&) = delete;
  void bind(std::string name, Value value);
  [[nodiscard]] const Value* find(std::string_view name) const;  // here or further out

  Evaluator& evaluator;
  std::shared_ptr<Frame> parent;
  std::vector<std::pair<std::string, Value>> bound;
  Frame *before = nullptr, *after = nullptr;  // of all frames alive
};
using FramePtr = std::shared_ptr<Frame>;

class Evaluator {
 public:
  Evaluator(Meter limits, Entropy& chance, Instant time, bool step_functions);
  ~Evaluator();

  Value evaluate(const Node& node, const Value& input, const FramePtr& env);
  Value apply(const Value& function, std::vector<Value> arguments, const Value& input, std::string_view name = {}, std::size_t at = 0);
  Value run(const Tree& tree, const Value& input, const FramePtr& env);
  FramePtr frame(const FramePtr& parent) { return std::make_shared<Frame>(*this, parent); }

  ListPtr list() { return std::make_shared<List>(meter); }
  ListPtr sequence() {
    auto out = list();
    out->sequence = true;
    return out;
  }
  ListPtr sequence_of(Value item) {
    auto out = sequence();
    out->push(std::move(item));
    return out;
  }
  // JavaScript's append: an absent side gives the other, single values are wrapped.
  Value append(Value a, const Value& b);
  // As the $string function and the & operator see it.
  std::string string_of(const Value& value, bool pretty = false);
  std::string shown(const Value& value);  // as JSON, for messages
  // Whole, for the world outside: functions become "".
  Json to_json(const Value& value);
  Value copy(const Value& value) { return Value(to_json(value)); }

  Meter meter;
  Entropy& entropy;
  const Instant now;
  const bool aws;           // Step Functions' functions are there, $eval is not
  Frame* frames = nullptr;  // all alive; before root, which is the first
  FramePtr root;
  std::vector<Tree> trees;  // of $eval: functions point into them

 private:
  Value dispatch(const Node& node, const Value& input, const FramePtr& env);
  Value path(const Node& node, const Value& input, const FramePtr& env);
  Value step(const Node& node, const Value& input, const FramePtr& env, bool last);
  ListPtr tuple_step(const Node& node, const Value& input, const ListPtr& bindings, const FramePtr& env);
  Value stages(const std::vector<Stage>& list, Value input, const FramePtr& env);
  Value filter(const Node& predicate, const Value& input, const FramePtr& env);
  Value group(const Node& node, const Value& input, const FramePtr& env);
  Value sort(const Node& node, const Value& input, const FramePtr& env);
  Value binary(const Node& node, const Value& input, const FramePtr& env);
  Value call(const Node& node, const Value& input, const FramePtr& env, const Value* first);
  Value partial(const Node& node, const Value& input, const FramePtr& env);
  Value apply_operator(const Node& node, const Value& input, const FramePtr& env);
  Value transformer(const Node& node, const FramePtr& env);
  Value apply_once(const Value& function, std::vector<Value> arguments, const Value& input, std::string_view name, std::size_t at);
  FramePtr tuple_frame(const FramePtr& env, const Tuple& tuple);
  Value matcher(const Node& node);
};

// Stable, and safe with a comparison that contradicts itself, as a user's may.
template <class T, class Before>
void merge_sort(std::vector<T>& items, const Before& before) {
  std::vector<T> merged(items.size());
  for (std::size_t run = 1; run < items.size(); run *= 2) {
    for (std::size_t from = 0; from < items.size(); from += 2 * run) {
      const std::size_t middle = std::min(from + run, items.size()), end = std::min(from + 2 * run, items.size());
      std::size_t l = from, r = middle;
      for (std::size_t out = from; out < end; ++out)
        merged[out] = std::move(r == end || (l < middle && !before(items[r], items[l])) ? items[l++] : items[r++]);
    }
    items.swap(merged);
  }
}

bool truth(const Value& value);
bool equal(const Value& a, const Value& b);
Value lookup(Evaluator& e, const Value& input, const std::string& key);
double numeric(const Value& value);  // raises D1001 for what is not finite

// formatting.cpp
std::string format_integer(double value, const std::string& picture);
double parse_integer(const std::string& text, const std::string& picture);
std::string format_number(double value, const std::string& picture, const Value& options);
std::string format_time(std::int64_t millis, const std::string& picture, const std::string& zone);
std::optional<double> parse_time(const std::string& text, const std::string& picture, Instant now);

// name → built-in function; null when there is none of that name.
const FunctionPtr* builtin(std::string_view name, bool aws);

// What a regular expression is, called with a text: {match, start, end, groups, next} or undefined.
struct Match {
  std::size_t start = 0, end = 0;  // bytes
  std::string text;
  std::vector<Value> groups;
};
// All matches, through any function that follows the matcher's contract.
bool next_match(Evaluator& e, const Value& matcher, const std::string& text, std::size_t from, Match& out);

}  // namespace snapward::query::jsonata
