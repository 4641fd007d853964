#include "events/pattern.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <set>

#include "base/jackson.hpp"
#include "base/text.hpp"
#include "events/pattern_tree.hpp"

namespace snapward::events {

namespace {

using Matcher = Pattern::Matcher;
using Node = Pattern::Node;
using Op = Matcher::Op;
using Token = JacksonReader::Token;

constexpr int kDeepest = kMostSteps;
constexpr std::size_t kMostActive = 10;

// Without the parser's place: what EventBridge finds out behind its parser.
[[noreturn]] void refuse(std::string message) { throw JacksonReader::Failure{std::move(message)}; }

Matcher make(Op op, std::string text) {
  Matcher m{.op = op, .value = {}, .text = std::move(text), .excluded = {}, .low = {}, .high = {}, .network = {}};
  return m;
}

Matcher equal(Json value) {
  Matcher m = make(Op::equals, "");
  m.value = std::move(value);
  return m;
}

Matcher excluding(std::vector<Matcher> values) {
  Matcher m = make(Op::anything_but, "");
  m.excluded = std::move(values);
  return m;
}

// How many prefixes of a wildcard pattern the worst text matches at once, counted as AWS's matcher does (the evaluation of a rule's
// complexity in aws/event-ruler): each '*' reached is one, and so is each place inside the literals behind it, where a place before a
// '*' counts beside that '*'. EventBridge refuses patterns with more than `most` of them (recorded, 2024); the answer is then `most` + 1.
std::size_t open_prefixes(std::string_view pattern, std::size_t most) {
  std::string tokens;  // '*' is 0; the closing quote counts too
  for (std::size_t i = 0; i < pattern.size(); ++i)
    tokens.push_back(pattern[i] == '*' ? '\0' : pattern[i] == '\\' && i + 1 < pattern.size() ? pattern[++i] : pattern[i]);
  tokens.push_back('"');
  const std::size_t first = tokens.find('\0');
  if (first == std::string::npos) return 0;
  const auto is_star = [&](std::size_t token) { return token < tokens.size() && tokens[token] == '\0'; };
  using Places = std::vector<std::size_t>;  // how many tokens were matched, ascending
  const auto on = [&](const Places& places, char letter) {
    Places next;
    for (const std::size_t at : places) {
      if (at > 0 && is_star(at - 1)) next.push_back(at);
      if (is_star(at)) next.push_back(at + 1);
      const std::size_t literal = is_star(at) ? at + 1 : at;
      if (letter != '\0' && literal < tokens.size() && tokens[literal] == letter) next.push_back(literal + 1);
    }
    std::ranges::sort(next);
    next.erase(std::unique(next.begin(), next.end()), next.end());
    return next;
  };
  std::set<Places> seen{{first}};
  std::vector<Places> left{{first}};
  std::size_t worst = 1;
  constexpr std::size_t kExplored = 2'000;
  while (!left.empty() && seen.size() < kExplored) {
    const Places at = std::move(left.back());
    left.pop_back();
    std::set<char> letters{'\0'};  // those that go on somewhere, and one for all that do not
    for (const std::size_t place : at)
      for (const std::size_t token : {place, place + 1})
        if (token < tokens.size()) letters.insert(tokens[token]);
    for (const char letter : letters) {
      Places next = on(at, letter);
      const auto stars_ahead =
          std::ranges::count_if(next, [&](std::size_t p) { return is_star(p) && !std::ranges::binary_search(next, p + 1); });
      worst = std::max(worst, next.size() + static_cast<std::size_t>(stars_ahead));
      if (worst > most) return most + 1;
      if (!next.empty() && seen.insert(next).second) left.push_back(std::move(next));
    }
  }
  return worst;
}

class Compiler {
 public:
  explicit Compiler(std::string_view text) : in_(text) {}

  std::shared_ptr<const Node> pattern() {
    if (in_.next() != Token::object_start) in_.fail("Filter is not an object");
    auto root = std::make_shared<Node>();
    object(*root);
    if (in_.next() != Token::end) in_.fail("The event pattern is one JSON object; more follows it");
    return root;
  }

 private:
  // Behind the '{' of fields.
  void object(Node& into) {
    if (++depth_ > kDeepest) too_deep();
    bool empty = true;
    while (in_.next() != Token::object_end) {
      empty = false;
      const std::string name = in_.text();
      if (name == "$or" && alternatives_follow())
        alternatives(into.either.emplace_back());
      else
        field(into, name);
    }
    if (empty) in_.fail("Empty objects are not allowed");
    --depth_;
  }

  // A name that occurs again adds to its object, and replaces its values.
  void field(Node& into, const std::string& name) {
    const auto steps = steps_of(name);
    if (!steps) too_deep();
    Node* at = &into;
    for (std::size_t i = 0; i + 1 < steps->size(); ++i) at = &inside(*at, (*steps)[i]);
    switch (in_.next()) {
      case Token::object_start:
        depth_ += static_cast<int>(steps->size()) - 1;
        object(inside(*at, steps->back()));
        depth_ -= static_cast<int>(steps->size()) - 1;
        break;
      case Token::array_start:
        leaf(*at, steps->back()).values = values();
        break;
      default:
        in_.fail(fmt::format("\"{}\" must be an object or an array", name));
    }
  }
  static Node& inside(Node& node, const std::string& key) {
    const auto known = std::ranges::find_if(node.fields, [&](const Node::Field& f) { return f.object && f.key == key; });
    if (known != node.fields.end()) return *known->object;
    return *node.fields.emplace_back(Node::Field{.key = key, .values = {}, .object = std::make_shared<Node>()}).object;
  }
  static Node::Field& leaf(Node& node, const std::string& key) {
    const auto known = std::ranges::find_if(node.fields, [&](const Node::Field& f) { return !f.object && f.key == key; });
    if (known != node.fields.end()) return *known;
    return node.fields.emplace_back(Node::Field{.key = key, .values = {}, .object = {}});
  }
  [[noreturn]] void too_deep() const { in_.fail(fmt::format("An event pattern has at most {} levels", kDeepest)); }

  void alternatives(std::vector<std::shared_ptr<const Node>>& group) {
    in_.next();
    while (in_.next() != Token::array_end) {
      auto option = std::make_shared<Node>();
      object(*option);
      group.push_back(std::move(option));
    }
  }

  // Whether what follows the name "$or" are alternatives: a list of at least two objects of fields. Else it is a field of that name.
  bool alternatives_follow() {
    static constexpr std::string_view kOperators[] = {"exactly", "prefix", "suffix",  "equals-ignore-case", "anything-but", "numeric",
                                                      "exists",  "cidr",   "wildcard"};
    JacksonReader ahead = in_;
    if (ahead.next() != Token::array_start) return false;
    int options = 0;
    for (int depth = 0;;) {
      const Token token = ahead.next();
      if (depth == 0 && token == Token::array_end) return options >= 2;
      if (depth == 0 && token != Token::object_start) return false;
      if (depth == 0) ++options;
      if (depth == 1 && token == Token::name && std::ranges::count(kOperators, std::string_view(ahead.text())) > 0) return false;
      if (token == Token::object_start || token == Token::array_start) ++depth;
      if (token == Token::object_end || token == Token::array_end) --depth;
    }
  }

  // Behind the '[' of a field's values.
  std::vector<Matcher> values() {
    std::vector<Matcher> out;
    while (in_.next() != Token::array_end) switch (in_.token()) {
        case Token::object_start:
          out.push_back(expression());
          break;
        case Token::string:
        case Token::number:
        case Token::boolean:
        case Token::null:
          out.push_back(equal(in_.value()));
          break;
        default:
          in_.fail("Match value must be String, number, true, false, or null");
      }
    if (out.empty()) in_.fail("Empty arrays are not allowed");
    return out;
  }

  void end_expression() {
    if (in_.next() != Token::object_end) in_.fail("Only one key allowed in match expression");
  }
  // AWS has another message where a numeric or an anything-but ends.
  void end_numeric(Token end = Token::object_end) {
    if (in_.next() != end) in_.fail("Too many elements in numeric expression");
  }

  std::string string_operand(std::string_view name) {
    if (in_.next() != Token::string) in_.fail(fmt::format("{} match pattern must be a string", name));
    return in_.text();
  }

  // Behind the '{' of {"operator": operand}.
  Matcher expression() {
    if (in_.next() != Token::name) in_.fail("Match expression name not found");
    const std::string name = in_.text();
    if (name == "anything-but") return anything_but();
    Matcher out = make(Op::equals, "");
    if (name == "exactly")
      out = equal(Json(string_operand("exact")));
    else if (name == "prefix")
      out = affix(name, "Prefix", Op::prefix, Op::prefix_ignore_case);
    else if (name == "suffix")
      out = affix(name, "Suffix", Op::suffix, Op::suffix_ignore_case);
    else if (name == "equals-ignore-case")
      out = make(Op::ignore_case, lower(string_operand(name)));
    else if (name == "wildcard")
      out = wildcard(string_operand(name));
    else if (name == "numeric")
      return numeric();
    else if (name == "exists")
      out = exists();
    else if (name == "cidr")
      out = cidr(string_operand("prefix"));
    else
      in_.fail("Unrecognized match type " + name);
    end_expression();
    return out;
  }

  // "a" or {"equals-ignore-case": "a"}
  Matcher affix(std::string_view name, std::string_view title, Op plain, Op blind) {
    if (in_.next() == Token::string) return make(plain, in_.text());
    if (in_.token() != Token::object_start) in_.fail(fmt::format("{} match pattern must be a string", name));
    if (in_.next() != Token::name) in_.fail(fmt::format("{} expression name not found", title));
    if (in_.text() != "equals-ignore-case") in_.fail(fmt::format("Unsupported {} pattern: {}", name, in_.text()));
    Matcher out = make(blind, lower(string_operand("equals-ignore-case")));
    end_expression();
    return out;
  }

  Matcher exists() {
    if (in_.next() != Token::boolean) in_.fail("exists match pattern must be either true or false.");
    return make(in_.text() == "true" ? Op::exists : Op::absent, "");
  }

  Matcher wildcard(const std::string& text) {
    for (std::size_t i = 0; i < text.size(); ++i) {  // places count the quote before the text
      if (text[i] == '\\') {
        if (i + 1 >= text.size() || (text[i + 1] != '*' && text[i + 1] != '\\'))
          in_.fail(fmt::format("Invalid escape character at pos {}", i + 1));
        ++i;
      } else if (text[i] == '*' && i + 1 < text.size() && text[i + 1] == '*') {
        in_.fail(fmt::format("Consecutive wildcard characters at pos {}", i + 1));
      }
    }
    if (open_prefixes(text, kMostActive) > kMostActive)
      refuse(
          "Rule is too complex - try using fewer wildcard characters or fewer repeating character sequences after a wildcard "
          "character");
    return make(Op::wildcard, text);
  }

  Matcher cidr(const std::string& text) {
    const std::size_t slash = text.find('/');
    if (slash == std::string::npos || text.find('/', slash + 1) != std::string::npos || slash + 1 == text.size())
      refuse("Malformed CIDR, one '/' required");
    int bits = 0;
    const char* end = text.data() + text.size();
    if (const auto [at, failure] = std::from_chars(text.data() + slash + 1, end, bits); failure != std::errc{} || at != end)
      refuse("Malformed CIDR, mask bits must be an integer");
    if (bits < 0) refuse("Malformed CIDR, mask bits must not be negative");
    auto network = Network::parse(text.substr(0, slash));
    if (!network) refuse("Nonstandard IP address: " + text.substr(0, slash));
    if (bits >= network->bits) refuse(network->v6 ? "IPv6 mask bits must be < 128" : "IPv4 mask bits must be < 32");
    network->bits = bits;
    Matcher m = make(Op::cidr, "");
    m.network = *network;
    return m;
  }

  double number_behind(std::string_view sign) {
    if (in_.next() != Token::number) in_.fail(fmt::format("Value of {} must be numeric", sign == "=" ? "equals" : sign));
    const double n = in_.value().as_double();
    if (n < -5e9 || n > 5e9) in_.fail("Value must be between -5.0E9 and 5.0E9, inclusive");
    return n;
  }

  // ["=", n], or one or two of < <= > >= with a number each, the lower bound first.
  Matcher numeric() {
    if (in_.next() != Token::array_start) in_.fail("Value of numeric must be an array.");
    if (in_.next() != Token::string) in_.fail("Invalid member in numeric match: " + shown());
    Matcher m = make(Op::numeric, "");
    const std::string sign = in_.text();
    if (sign == ">" || sign == ">=") {
      m.low = number_behind(sign);
      m.low_included = sign == ">=";
      if (in_.next() != Token::array_end) upper_bound(m);
    } else if (sign == "=" || sign == "<" || sign == "<=") {
      m.high = number_behind(sign);
      m.high_included = sign != "<";
      if (sign == "=") {
        m.low = m.high;
        m.low_included = true;
      }
      end_numeric(Token::array_end);
    } else {
      in_.next();
      in_.fail("Unrecognized numeric range operator: " + sign);
    }
    end_numeric();
    return m;
  }

  // The last token begins the second half of a range, up to the end of its list.
  void upper_bound(Matcher& m) {
    if (in_.token() != Token::string) in_.fail("Bad value in numeric range: " + shown());
    const std::string sign = in_.text();
    if (sign != "<" && sign != "<=") in_.fail("Bad numeric range operator: " + sign);
    m.high = number_behind(sign);
    m.high_included = sign == "<=";
    if (in_.next() != Token::array_end) in_.fail("Too many terms in numeric range expression");
    if (*m.low > *m.high || (*m.low == *m.high && !(m.low_included && m.high_included))) in_.fail("Bottom must be less than top");
  }

  // The last token as it is written.
  std::string shown() {
    switch (in_.token()) {
      case Token::object_start:
        return "{";
      case Token::object_end:
        return "}";
      case Token::array_start:
        return "[";
      case Token::array_end:
        return "]";
      default:
        return in_.text();
    }
  }

  // Its operand: a value, a list of values of one kind, or {prefix | suffix | equals-ignore-case | wildcard: a text or texts}.
  Matcher anything_but() {
    if (in_.next() == Token::object_start) return anything_but_texts();
    check_excluded();
    std::vector<Matcher> out;
    if (in_.token() == Token::array_start) {
      bool strings = false, numbers = false;
      each_of_list([&] {
        if (in_.token() != Token::string && in_.token() != Token::number)
          in_.fail("Inside anything but list, start|null|boolean is not supported.");
        (in_.token() == Token::string ? strings : numbers) = true;
        out.push_back(equal(in_.value()));
      });
      if (strings == numbers) in_.fail("Inside anything but list, either all values are number or string, mixed type is not supported");
    } else {
      out.push_back(equal(in_.value()));
    }
    end_numeric();
    return excluding(std::move(out));
  }

  // Behind the '{' of {"anything-but": {.
  Matcher anything_but_texts() {
    if (in_.next() != Token::name) in_.fail("Anything-But expression name not found");
    const std::string name = in_.text();
    if (name != "prefix" && name != "suffix" && name != "equals-ignore-case" && name != "wildcard")
      in_.fail("Unsupported anything-but pattern: " + name);
    std::vector<std::string> texts;
    in_.next();
    check_excluded();
    if (in_.token() == Token::array_start) {
      each_of_list([&] { texts.push_back(excluded_text(name)); });
      if (texts.empty()) in_.fail("Empty arrays are not allowed");
    } else {
      texts.push_back(excluded_text(name));
    }
    std::vector<Matcher> out;
    for (const std::string& text : texts) {
      if (name == "wildcard")
        out.push_back(wildcard(text));
      else if (name == "equals-ignore-case")
        out.push_back(make(Op::ignore_case, lower(text)));
      else
        out.push_back(make(name == "prefix" ? Op::prefix : Op::suffix, text));
    }
    end_numeric();
    end_numeric();
    return excluding(std::move(out));
  }

  // The last token must begin what an anything-but can exclude.
  void check_excluded() const {
    if (in_.token() != Token::array_start && in_.token() != Token::string && in_.token() != Token::number)
      in_.fail("Value of anything-but must be an array or single string/number value.");
  }

  // The last token as a text that {"anything-but": {name: …}} excludes. The messages are recorded by AWS (2024), those about affixes
  // name both kinds.
  std::string excluded_text(std::string_view name) {
    if (in_.token() != Token::string) {
      if (name == "equals-ignore-case")
        in_.fail("Inside anything-but/equals-ignore-case list, number|start|null|boolean is not supported.");
      in_.fail(name == "wildcard" ? "wildcard match pattern must be a string" : "prefix/suffix match pattern must be a string");
    }
    if (in_.text().empty() && (name == "prefix" || name == "suffix")) in_.fail("Null prefix/suffix not allowed");
    return in_.text();
  }

  // Calls use() with each value of a list as the last token. AWS reports a mistake among the values of an anything-but with its place
  // twice (recorded, 2024).
  template <class Use>
  void each_of_list(const Use& use) {
    try {
      while (in_.next() != Token::array_end) use();
    } catch (const JacksonReader::Failure& failure) {
      in_.fail(failure.message);
    }
  }

  JacksonReader in_;
  int depth_ = 0;
};

}  // namespace

Result<Pattern> Pattern::parse(std::string_view text) {
  try {
    Pattern out;
    out.root_ = Compiler(text).pattern();
    return out;
  } catch (const JacksonReader::Failure& failure) {
    return invalid(failure.message);
  }
}

bool Pattern::matches(const Json& event) const { return root_->matches(without_dots(event)); }

namespace {

bool has_dots(const Json& value) {
  if (value.is_array()) return std::ranges::any_of(value.as_array(), has_dots);
  return value.is_object() &&
         std::ranges::any_of(value.as_object(), [](const Json::Member& m) { return m.key.contains('.') || has_dots(m.value); });
}

// Two values of one field: both count.
Json merged(const Json& a, const Json& b) {
  if (a.is_object() && b.is_object()) {
    Json::Object out = a.as_object();
    for (const auto& [key, value] : b.as_object()) {
      const Json* known = out.find(key);
      out.set(key, known ? merged(*known, value) : value);
    }
    return Json(std::move(out));
  }
  Json::Array out = a.is_array() ? a.as_array() : Json::Array{a};
  if (b.is_array())
    out.insert(out.end(), b.as_array().begin(), b.as_array().end());
  else
    out.push_back(b);
  return Json(std::move(out));
}

Json expanded(const Json& value) {
  if (value.is_array()) {
    Json::Array out;
    for (const Json& item : value.as_array()) out.push_back(expanded(item));
    return Json(std::move(out));
  }
  if (!value.is_object()) return value;
  Json::Object out;
  for (const auto& [key, inner] : value.as_object()) {
    Json made = expanded(inner);
    const auto steps = steps_of(key).value_or(std::vector{key});
    for (std::size_t i = steps.size(); i-- > 1;) made = Json::object({{steps[i], std::move(made)}});
    const Json* known = out.find(steps.front());
    out.set(steps.front(), known ? merged(*known, made) : made);
  }
  return Json(std::move(out));
}

}  // namespace

Json without_dots(const Json& event) { return has_dots(event) ? expanded(event) : event; }

}  // namespace snapward::events
