#include "query/jsonata.hpp"

#include <fmt/format.h>

#include <functional>

#include "base/text.hpp"
#include "query/jsonata/evaluator.hpp"

namespace snapward::query {

using jsonata::Failure;

struct Jsonata::Compiled {
  jsonata::Tree tree;
};

namespace {

// Wording as JSONata's; {token}, {value}, {value2}, {index}, {type} are filled in.
constexpr std::pair<std::string_view, std::string_view> kMessages[] = {
    {"S0101", "String literal must be terminated by a matching quote"},
    {"S0102", "Number out of range: \"{token}\""},
    {"S0103", "Unsupported escape sequence: \\\"{token}\""},
    {"S0104", "The escape sequence \\u must be followed by 4 hex digits"},
    {"S0105", "Quoted property name must be terminated with a backquote (`)"},
    {"S0106", "Comment has no closing tag"},
    {"S0201", "Syntax error: \"{token}\""},
    {"S0202", "Expected \"{value}\", got \"{token}\""},
    {"S0203", "Expected \"{value}\" before end of expression"},
    {"S0204", "Unknown operator: \"{token}\""},
    {"S0207", "Unexpected end of expression"},
    {"S0208", "Parameter {value} of function definition must be a variable name (start with $)"},
    {"S0209", "A predicate cannot follow a grouping expression in a step"},
    {"S0210", "Each step can only have one grouping expression"},
    {"S0211", "The symbol \"{token}\" cannot be used as a unary operator"},
    {"S0212", "The left side of := must be a variable name (start with $)"},
    {"S0213", "The literal value {token} cannot be used as a step within a path expression"},
    {"S0214", "The right side of \"{token}\" must be a variable name (start with $)"},
    {"S0215", "A context variable binding must precede any predicates on a step"},
    {"S0216", "A context variable binding must precede the 'order-by' clause on a step"},
    {"S0217", "The object representing the 'parent' cannot be derived from this expression"},
    {"S0301", "Empty regular expressions are not allowed"},
    {"S0302", "No terminating / in regular expression"},
    {"S0303", "The regular expression /{token}/ cannot be used: {value}"},
    {"S0401", "Type parameters can only be applied to functions and arrays"},
    {"S0402", "Choice groups containing parameterized types are not supported"},
    {"S0601", "The expression is nested too deeply"},
    {"T0410", "Argument {index} of function \"{token}\" does not match function signature"},
    {"T0411", "Context value is not a compatible type with argument {index} of function \"{token}\""},
    {"T0412", "Argument {index} of function \"{token}\" must be an array of \"{type}\""},
    {"D1001", "Number out of range: {value}"},
    {"D1002", "Cannot negate a non-numeric value: {value}"},
    {"T1003", "Key in object structure must evaluate to a string; got: {value}"},
    {"D1004", "Regular expression matches zero length string"},
    {"T1005", "Attempted to invoke a non-function. Did you mean ${token}?"},
    {"T1006", "Attempted to invoke a non-function"},
    {"T1007", "Attempted to partially apply a non-function. Did you mean ${token}?"},
    {"T1008", "Attempted to partially apply a non-function"},
    {"D1009", "Multiple key definitions evaluate to same key: {value}"},
    {"T1010", "The matcher function argument passed to function \"{token}\" does not return the correct object structure"},
    {"T2001", "The left side of the \"{token}\" operator must evaluate to a number"},
    {"T2002", "The right side of the \"{token}\" operator must evaluate to a number"},
    {"T2003", "The left side of the range operator (..) must evaluate to an integer"},
    {"T2004", "The right side of the range operator (..) must evaluate to an integer"},
    {"T2006", "The right side of the function application operator ~> must be a function"},
    {"T2007", "Type mismatch when comparing values {value} and {value2} in order-by clause"},
    {"T2008", "The expressions within an order-by clause must evaluate to numeric or string values"},
    {"T2009", "The values {value} and {value2} either side of operator \"{token}\" must be of the same data type"},
    {"T2010", "The expressions either side of operator \"{token}\" must evaluate to numeric or string values"},
    {"T2011", "The insert/update clause of the transform expression must evaluate to an object: {value}"},
    {"T2012", "The delete clause of the transform expression must evaluate to a string or array of strings: {value}"},
    {"D2014", "The size of the sequence allocated by the range operator (..) must not exceed 1e6.  Attempted to allocate {value}."},
    {"D3001", "Attempting to invoke string function on Infinity or NaN"},
    {"D3010", "Second argument of replace function cannot be an empty string"},
    {"D3011", "Fourth argument of replace function must evaluate to a positive number"},
    {"D3012", "Attempted to replace a matched string with a non-string value"},
    {"D3020", "Third argument of split function must evaluate to a positive number"},
    {"D3030", "Unable to cast value to a number: {value}"},
    {"D3040", "Third argument of match function must evaluate to a positive number"},
    {"D3050", "The second argument of reduce function must be a function with at least two arguments"},
    {"D3060", "The sqrt function cannot be applied to a negative number: {value}"},
    {"D3061", "The power function has resulted in a value that cannot be represented as a JSON number: base={value}, exponent={value2}"},
    {"D3070",
     "The single argument form of the sort function can only be applied to an array of strings or an array of numbers.  Use the second "
     "argument to specify a comparison function"},
    {"D3080", "The picture string must only contain a maximum of two sub-pictures"},
    {"D3081", "The sub-picture must not contain more than one instance of the 'decimal-separator' character"},
    {"D3082", "The sub-picture must not contain more than one instance of the 'percent' character"},
    {"D3083", "The sub-picture must not contain more than one instance of the 'per-mille' character"},
    {"D3084", "The sub-picture must not contain both a 'percent' and a 'per-mille' character"},
    {"D3085",
     "The mantissa part of a sub-picture must contain at least one character that is either an 'optional digit character' or a member of "
     "the 'decimal digit family'"},
    {"D3086",
     "The sub-picture must not contain a passive character that is preceded by an active character and that is followed by another active "
     "character"},
    {"D3087", "The sub-picture must not contain a 'grouping-separator' character that appears adjacent to a 'decimal-separator' character"},
    {"D3088", "The sub-picture must not contain a 'grouping-separator' at the end of the integer part"},
    {"D3089", "The sub-picture must not contain two adjacent instances of the 'grouping-separator' character"},
    {"D3090",
     "The integer part of the sub-picture must not contain a member of the 'decimal digit family' that is followed by an instance of the "
     "'optional digit character'"},
    {"D3091",
     "The fractional part of the sub-picture must not contain an instance of the 'optional digit character' that is followed by a member "
     "of the 'decimal digit family'"},
    {"D3092",
     "A sub-picture that contains a 'percent' or 'per-mille' character must not contain a character treated as an 'exponent-separator'"},
    {"D3093",
     "The exponent part of the sub-picture must comprise only of one or more characters that are members of the 'decimal digit family'"},
    {"D3100", "The radix of the formatBase function must be between 2 and 36.  It was given {value}"},
    {"D3110", "The argument of the toMillis function must be an ISO 8601 formatted timestamp. Given \"{value}\""},
    {"D3120", "Syntax error in expression passed to function eval: \"{value}\""},
    {"D3121", "Dynamic error evaluating the expression passed to function eval: \"{value}\""},
    {"D3130", "Formatting or parsing an integer as a sequence starting with \"{value}\" is not supported by this implementation"},
    {"D3131", "In a decimal digit pattern, all digits must be from the same decimal group"},
    {"D3132", "Unknown component specifier \"{value}\" in date/time picture string"},
    {"D3133", "The 'name' modifier can only be applied to months and days in the date/time picture string, not \"{value}\""},
    {"D3134", "The timezone integer format specifier cannot have more than four digits"},
    {"D3135", "No matching closing bracket ']' in date/time picture string"},
    {"D3136", "The date/time picture string is missing specifiers required to parse the timestamp"},
    {"D3137", "{value}"},
    {"D3138", "The $single() function expected exactly 1 matching result.  Instead it matched more."},
    {"D3139", "The $single() function expected exactly 1 matching result.  Instead it matched 0."},
    {"D3140", "Malformed URL passed to ${value2}(): \"{value}\""},
    {"D3141", "{value}"},
    {"U1001", "Stack overflow error: Check for non-terminating recursive function.  Consider rewriting as tail-recursive."},
    {"U1002", "Expression evaluation timeout: Check for infinite loop"},
    {"U1003", "Expression evaluation memory limit exceeded: Check for excessive memory usage"},
};

JsonataError worded(const Failure& failure) { return {failure.code, jsonata::message_of(failure), failure.position}; }

void collect(const jsonata::Node& node, std::set<std::string> bound, std::set<std::string>& out) {
  using Type = jsonata::Node::Type;
  if (node.type == Type::variable && !node.text.empty() && node.text != "$" && !bound.contains(node.text) &&
      !jsonata::builtin(node.text, true))
    out.insert(node.text);
  for (const std::string& parameter : node.parameters) bound.insert(parameter);
  const auto part = [&](const jsonata::NodePtr& child) {
    if (!child) return;
    collect(*child, bound, out);
    if (child->type == Type::bind) bound.insert(child->left->text);
    if (!child->focus.empty()) bound.insert(child->focus);
    if (!child->index.empty()) bound.insert(child->index);
  };
  if (node.type != Type::bind) part(node.left);
  part(node.right);
  part(node.other);
  for (const auto& child : node.list) part(child);
  for (const auto& stage : node.stages) part(stage.filter);
  for (const auto& predicate : node.predicates) part(predicate.filter);
  for (const auto& term : node.terms) part(term.expression);
  for (const auto& [key, value] : node.pairs) {
    part(key);
    part(value);
  }
}

// Every node below one.
void each_part(const jsonata::Node& node, const std::function<void(const jsonata::Node&)>& use) {
  const auto part = [&](const jsonata::NodePtr& child) {
    if (child) use(*child);
  };
  part(node.left);
  part(node.right);
  part(node.other);
  for (const auto& child : node.list) part(child);
  for (const auto& [key, value] : node.pairs) part(key), part(value);
  for (const auto& stage : node.stages) part(stage.filter);
  for (const auto& predicate : node.predicates) part(predicate.filter);
  for (const auto& term : node.terms) part(term.expression);
}

// What a node reads of the context item that it is evaluated with. Steps behind a path's first, predicates, groupings and sort terms
// have the value before them as theirs; a function's body has the one of where it is written.
class ContextReferences {
 public:
  std::vector<std::string> found;

  void of(const jsonata::Node& node) {
    using Type = jsonata::Node::Type;
    switch (node.type) {
      case Type::name:
        return add(node.text);
      case Type::variable:
        if (node.text.empty() || node.text == "$") add('$' + node.text);
        return;
      case Type::path:
        of(*node.list.front());
        return;
      case Type::transform:  // its parts see what it is applied to
        return;
      case Type::sort:
        if (node.left) of(*node.left);
        return;
      case Type::bind:
        of(*node.right);
        return;
      default:
        break;
    }
    for (const auto* child : {&node.left, &node.right, &node.other})
      if (*child) of(**child);
    for (const auto& child : node.list) of(*child);
    if (node.has_group) return;
    for (const auto& [key, value] : node.pairs) of(*key), of(*value);
  }

 private:
  void add(std::string name) {
    if (std::ranges::find(found, name) == found.end()) found.push_back(std::move(name));
  }
};

bool reads_root(const jsonata::Node& node) {
  if (node.type == jsonata::Node::Type::variable && node.text == "$") return true;
  bool found = false;
  each_part(node, [&](const jsonata::Node& part) { found = found || reads_root(part); });
  return found;
}

void collect_states_members(const jsonata::Node& node, std::set<std::string>& out) {
  using Type = jsonata::Node::Type;
  if (node.type == Type::path && node.list.size() > 1 && node.list[0]->type == Type::variable && node.list[0]->text == "states" &&
      node.list[1]->type == Type::name)
    out.insert(node.list[1]->text);
  each_part(node, [&](const jsonata::Node& part) { collect_states_members(part, out); });
}

// Functions whose work is not bounded by the size of their arguments, or that call others.
bool computes_on(std::string_view function) {
  static constexpr std::string_view kSuch[] = {"distinct", "each",    "eval", "filter", "map",  "match", "range",
                                               "reduce",   "replace", "sift", "single", "sort", "split", "zip"};
  return std::ranges::find(kSuch, function) != std::end(kSuch);
}

// A name, or a number in brackets, behind what gives the value it is looked up in.
bool looks_up(const jsonata::Node& step) {
  const auto counts = [](const jsonata::Stage& stage) {
    return stage.filter && (stage.filter->type == jsonata::Node::Type::number || stage.filter->type == jsonata::Node::Type::negate);
  };
  return step.type == jsonata::Node::Type::name && step.focus.empty() && step.index.empty() && !step.has_group && step.terms.empty() &&
         std::ranges::all_of(step.stages, counts) && std::ranges::all_of(step.predicates, counts);
}

// Adds a node's paths and calls to `sum`; false: no number bounds its work.
bool add_work(const jsonata::Node& node, std::uint64_t& sum) {
  using Type = jsonata::Node::Type;
  const auto all = [&](const std::vector<jsonata::NodePtr>& nodes) {
    return std::ranges::all_of(nodes, [&](const jsonata::NodePtr& n) { return add_work(*n, sum); });
  };
  const auto part = [&](const jsonata::NodePtr& n) { return !n || add_work(*n, sum); };
  if (node.has_group || !node.terms.empty() || !node.stages.empty() || !node.predicates.empty()) return looks_up(node);
  switch (node.type) {
    case Type::name:
    case Type::variable:
      ++sum;
      return true;
    case Type::text:
    case Type::number:
    case Type::value:
      return true;
    case Type::path:
      ++sum;
      return add_work(*node.list.front(), sum) &&
             std::all_of(node.list.begin() + 1, node.list.end(), [](const jsonata::NodePtr& n) { return looks_up(*n); });
    case Type::binary:
      if (node.op == jsonata::Node::Op::range) return false;
      ++sum;  // concatenation and comparison read both sides
      return part(node.left) && part(node.right);
    case Type::call:
      ++sum;
      return node.left && node.left->type == Type::variable && !computes_on(node.left->text) && jsonata::builtin(node.left->text, true) &&
             all(node.list);
    case Type::negate:
    case Type::condition:
    case Type::bind:
    case Type::array:
    case Type::block:
    case Type::object:
      return part(node.left) && part(node.right) && part(node.other) && all(node.list) &&
             std::ranges::all_of(node.pairs, [&](const auto& pair) { return add_work(*pair.first, sum) && add_work(*pair.second, sum); });
    default:
      return false;
  }
}

}  // namespace

std::string jsonata::message_of(const Failure& failure) {
  std::string out = failure.code;
  for (const auto& [code, message] : kMessages) {
    if (code != failure.code) continue;
    out = message;
    static constexpr std::pair<std::string_view, std::string_view> kTypes[] = {{"a", "arrays"},  {"b", "booleans"}, {"f", "functions"},
                                                                               {"n", "numbers"}, {"o", "objects"},  {"s", "strings"}};
    std::string type = failure.type;
    for (const auto& [letter, name] : kTypes)
      if (type == letter) type = name;
    for (const auto& [name, value] :
         {std::pair<std::string_view, std::string>{"\"{token}\"", failure.token.empty() ? "undefined" : '"' + failure.token + '"'},
          {"{token}", failure.token},
          {"{value}", failure.value},
          {"{value2}", failure.value2},
          {"{type}", type},
          {"{index}", std::to_string(failure.index)}}) {
      const std::size_t at = out.find(name);
      if (at != std::string::npos) out.replace(at, name.size(), value);
    }
  }
  return out;
}

std::expected<Jsonata, JsonataError> Jsonata::parse(std::string_view text) {
  if (!is_utf8(text)) return std::unexpected(JsonataError{"S0201", "Syntax error: the expression is not UTF-8", 0});
  try {
    Jsonata out;
    out.compiled_ = std::make_shared<const Compiled>(Compiled{jsonata::parse(text)});
    out.text_ = std::make_shared<const std::string>(text);
    return out;
  } catch (const Failure& failure) {
    return std::unexpected(worded(failure));
  }
}

std::expected<std::optional<Json>, JsonataError> Jsonata::evaluate(const Json* input, const Environment& environment) const {
  jsonata::Meter meter;
  meter.max_depth = environment.limits.depth;
  meter.max_steps = environment.limits.steps;
  meter.interrupted = environment.interrupted;
  meter.max_list = environment.limits.list_items;
  // An item counts eight bytes. Measured at AWS, 2026: 873,782 items and a text of 2^22 characters are taken, one more and 2^23 are not.
  meter.max_text = environment.limits.list_items * 8;
  meter.max_cells = environment.limits.live_items;
  SeededEntropy none(0);
  jsonata::Evaluator evaluator(meter, environment.entropy ? *environment.entropy : none, environment.now, environment.step_functions);
  try {
    if (environment.variables)
      for (const auto& [name, value] : *environment.variables) evaluator.root->bind(name, jsonata::Value(value));
    if (environment.states) evaluator.root->bind("states", jsonata::Value(*environment.states));
    const jsonata::Value result = evaluator.run(compiled_->tree, input ? jsonata::Value(*input) : jsonata::Value(), evaluator.root);
    if (result.undefined()) return std::nullopt;
    Json out = evaluator.to_json(result);
    if (out.depth() > 500) jsonata::raise("U1001");  // what is written must be readable again
    return out;
  } catch (const Failure& failure) {
    return std::unexpected(worded(failure));
  }
}

std::vector<std::string> Jsonata::context_references() const {
  ContextReferences references;
  references.of(*compiled_->tree.root);
  // "$$" is the same everywhere, so it is looked for in every step.
  if (std::ranges::find(references.found, "$$") == references.found.end() && reads_root(*compiled_->tree.root))
    references.found.emplace_back("$$");
  return references.found;
}

std::set<std::string> Jsonata::states_members() const {
  std::set<std::string> out;
  collect_states_members(*compiled_->tree.root, out);
  return out;
}

std::optional<std::uint64_t> Jsonata::work() const {
  std::uint64_t sum = 0;
  if (!add_work(*compiled_->tree.root, sum)) return std::nullopt;
  return sum;
}

std::set<std::string> Jsonata::variables() const {
  std::set<std::string> out;
  collect(*compiled_->tree.root, {}, out);
  return out;
}

}  // namespace snapward::query
