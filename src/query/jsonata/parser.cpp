#include <re2/re2.h>

#include <charconv>
#include <cmath>

#include "base/text.hpp"
#include "query/jsonata/ast.hpp"

namespace snapward::query::jsonata {

namespace {

struct Token {
  enum class Kind { end, sign, name, variable, text, number, value, regex } kind = Kind::end;
  std::string text;
  double amount = 0;
  Json literal;
  std::shared_ptr<re2::RE2> regex;
  std::size_t at = 0;
};

// JavaScript's pattern in RE2's spelling. RE2 answers in linear time whatever the pattern; what it cannot do that way
// (look-around, back-references) is refused.
std::string re2_pattern(std::string_view pattern) {
  std::string out;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] != '\\' || i + 1 >= pattern.size()) {
      out += pattern[i];
      continue;
    }
    const char next = pattern[++i];
    if (next == 'u' && i + 4 < pattern.size()) {
      out += "\\x{" + std::string(pattern.substr(i + 1, 4)) + '}';
      i += 4;
    } else if (next == '/') {
      out += '/';
    } else {
      out += '\\';
      out += next;
    }
  }
  return out;
}

class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) {}

  // infix: a '/' here divides; else it begins a regular expression.
  Token next(bool infix) {
    blanks();
    Token t;
    t.at = at_;
    if (at_ >= text_.size()) return t;
    const char c = text_[at_];
    if (c == '/' && !infix) return regex();
    static constexpr std::string_view kPairs[] = {"..", ":=", "!=", ">=", "<=", "**", "~>", "?:", "??"};
    for (const auto pair : kPairs)
      if (text_.substr(at_).starts_with(pair)) return sign(std::string(pair));
    if (is_sign(c)) return sign(std::string(1, c));
    if (c == '"' || c == '\'') return string(c);
    if (c >= '0' && c <= '9') return number();
    if (c == '`') {
      const std::size_t end = text_.find('`', at_ + 1);
      if (end == std::string_view::npos) throw Failure{.code = "S0105", .position = text_.size()};
      t.kind = Token::Kind::name;
      t.text = text_.substr(at_ + 1, end - at_ - 1);
      at_ = end + 1;
      return t;
    }
    std::size_t end = at_;
    while (end < text_.size() && !is_blank(text_[end]) && !is_sign(text_[end])) ++end;
    const std::string word(text_.substr(at_, end - at_));
    at_ = end;
    if (word[0] == '$') {
      t.kind = Token::Kind::variable;
      t.text = word.substr(1);
    } else if (word == "or" || word == "and" || word == "in") {
      t.kind = Token::Kind::sign;
      t.text = word;
    } else if (word == "true" || word == "false" || word == "null") {
      t.kind = Token::Kind::value;
      t.text = word;
      if (word != "null") t.literal = Json(word == "true");
    } else {
      t.kind = Token::Kind::name;
      t.text = word;
    }
    return t;
  }
  [[nodiscard]] std::size_t at() const { return at_; }

 private:
  static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\v'; }
  static bool is_sign(char c) { return std::string_view(".[]{}(),@#;:?+-*/%|=<>^&!~").find(c) != std::string_view::npos; }
  void blanks() {
    for (;;) {
      while (at_ < text_.size() && is_blank(text_[at_])) ++at_;
      if (!text_.substr(at_).starts_with("/*")) return;
      const std::size_t end = text_.find("*/", at_ + 2);
      if (end == std::string_view::npos) throw Failure{.code = "S0106", .position = at_};
      at_ = end + 2;
    }
  }
  Token sign(std::string text) {
    Token t;
    t.kind = Token::Kind::sign;
    at_ += text.size();
    t.at = at_;
    t.text = std::move(text);
    return t;
  }
  Token number() {
    Token t;
    t.kind = Token::Kind::number;
    std::size_t end = at_;
    const auto digits = [&] {
      while (end < text_.size() && text_[end] >= '0' && text_[end] <= '9') ++end;
    };
    if (text_[end] == '0')
      ++end;
    else
      digits();
    if (end + 1 < text_.size() && text_[end] == '.' && text_[end + 1] >= '0' && text_[end + 1] <= '9') {
      ++end;
      digits();
    }
    if (end < text_.size() && (text_[end] == 'e' || text_[end] == 'E')) {
      std::size_t exponent = end + 1;
      if (exponent < text_.size() && (text_[exponent] == '+' || text_[exponent] == '-')) ++exponent;
      if (exponent < text_.size() && text_[exponent] >= '0' && text_[exponent] <= '9') {
        end = exponent;
        digits();
      }
    }
    t.text = text_.substr(at_, end - at_);
    at_ = end;
    t.at = at_;
    const auto [rest, error] = std::from_chars(t.text.data(), t.text.data() + t.text.size(), t.amount);
    if (error == std::errc::result_out_of_range) {
      if (t.text.find('-') == std::string::npos) throw Failure{.code = "S0102", .position = at_, .token = t.text};
      t.amount = 0;
    }
    return t;
  }
  Token string(char quote) {
    Token t;
    t.kind = Token::Kind::text;
    ++at_;
    for (; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      if (c == quote) {
        ++at_;
        t.at = at_;
        return t;
      }
      if (c != '\\') {
        t.text += c;
        continue;
      }
      const char e = ++at_ < text_.size() ? text_[at_] : '\0';
      static constexpr std::pair<char, char> kEscapes[] = {{'"', '"'},  {'\\', '\\'}, {'/', '/'},  {'b', '\b'},
                                                           {'f', '\f'}, {'n', '\n'},  {'r', '\r'}, {'t', '\t'}};
      const auto* known = std::find_if(std::begin(kEscapes), std::end(kEscapes), [e](const auto& p) { return p.first == e; });
      if (known != std::end(kEscapes)) {
        t.text += known->second;
      } else if (e == 'u') {
        char32_t code = hex4(at_ + 1);
        at_ += 4;
        if (code >= 0xd800 && code < 0xdc00 && text_.substr(at_ + 1).starts_with("\\u")) {
          const char32_t low = hex4(at_ + 3);
          if (low >= 0xdc00 && low < 0xe000) {
            code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
            at_ += 6;
          }
        }
        append_utf8(t.text, code >= 0xd800 && code < 0xe000 ? 0xfffd : code);  // a lone surrogate is no text
      } else {
        throw Failure{.code = "S0103", .position = at_, .token = std::string(1, e)};
      }
    }
    throw Failure{.code = "S0101", .position = at_};
  }
  char32_t hex4(std::size_t from) const {
    char32_t code = 0;
    const std::string_view digits = from <= text_.size() ? text_.substr(from, 4) : std::string_view();
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), reinterpret_cast<std::uint32_t&>(code), 16);
    if (digits.size() != 4 || error != std::errc() || end != digits.data() + 4) throw Failure{.code = "S0104", .position = at_};
    return code;
  }
  Token regex() {
    const std::size_t from = ++at_;
    int depth = 0;
    for (; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      const bool escaped = at_ > from && text_[at_ - 1] == '\\' && (at_ < from + 2 || text_[at_ - 2] != '\\');
      if (c == '/' && !escaped && depth == 0) {
        const std::string_view pattern = text_.substr(from, at_ - from);
        if (pattern.empty()) throw Failure{.code = "S0301", .position = at_};
        ++at_;
        re2::RE2::Options options;
        options.set_log_errors(false);
        options.set_max_mem(1 << 20);
        std::string flags;
        while (at_ < text_.size() && (text_[at_] == 'i' || text_[at_] == 'm')) flags += text_[at_++];
        if (flags.find('i') != std::string::npos) options.set_case_sensitive(false);
        std::string body = re2_pattern(pattern);
        if (flags.find('m') != std::string::npos) body = "(?m)" + body;
        Token t;
        t.kind = Token::Kind::regex;
        t.at = at_;
        t.text = pattern;
        t.regex = std::make_shared<re2::RE2>(body, options);
        if (!t.regex->ok()) throw Failure{.code = "S0303", .position = at_, .token = std::string(pattern), .value = t.regex->error()};
        return t;
      }
      if ((c == '(' || c == '[' || c == '{') && !escaped) ++depth;
      if ((c == ')' || c == ']' || c == '}') && !escaped) --depth;
    }
    throw Failure{.code = "S0302", .position = at_};
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

using Type = Node::Type;
using Op = Node::Op;

int power(const Token& t) {
  if (t.kind != Token::Kind::sign) return 0;
  static const std::map<std::string, int, std::less<>> kPowers = {
      {".", 75},  {"[", 80},  {"{", 70},  {"(", 80},   {"@", 80},  {"#", 80},  {"?", 20}, {"+", 50},  {"-", 50},
      {"*", 60},  {"/", 60},  {"%", 60},  {"=", 40},   {"<", 40},  {">", 40},  {"^", 40}, {":=", 10}, {"!=", 40},
      {"<=", 40}, {">=", 40}, {"~>", 40}, {"and", 30}, {"or", 25}, {"in", 40}, {"&", 50}, {"?:", 40}, {"??", 40}};
  const auto found = kPowers.find(t.text);
  return found == kPowers.end() ? 0 : found->second;
}

Op binary_op(const std::string& sign) {
  static const std::map<std::string, Op, std::less<>> kOps = {
      {"+", Op::add},      {"-", Op::subtract}, {"*", Op::multiply},    {"/", Op::divide},     {"%", Op::modulo},         {"=", Op::equal},
      {"!=", Op::unequal}, {"<", Op::less},     {"<=", Op::less_equal}, {">", Op::greater},    {">=", Op::greater_equal}, {"&", Op::concat},
      {"and", Op::both},   {"or", Op::either},  {"in", Op::in},         {"?:", Op::otherwise}, {"??", Op::coalesce}};
  const auto found = kOps.find(sign);
  return found == kOps.end() ? Op::none : found->second;
}

constexpr int kMaxNesting = 400;

class Parser {
 public:
  explicit Parser(std::string_view text) : lexer_(text) {}

  NodePtr whole() {
    advance({}, false);
    NodePtr tree = expression(0);
    if (now_.kind != Token::Kind::end) throw Failure{.code = "S0201", .position = now_.at, .token = now_.text};
    tree = finish(tree);
    if (tree->type == Type::parent || !tree->seeking.empty()) throw Failure{.code = "S0217", .position = tree->at, .token = "parent"};
    return tree;
  }

 private:
  struct Nesting {
    explicit Nesting(int& d) : depth(d) {
      if (++depth > kMaxNesting) --depth, raise("S0601");
    }
    ~Nesting() { --depth; }
    int& depth;
  };

  // ── Reading ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

  [[nodiscard]] bool is(std::string_view sign) const { return now_.kind == Token::Kind::sign && now_.text == sign; }
  void advance(std::string_view expected, bool infix) {
    if (!expected.empty() && !is(expected)) {
      const bool end = now_.kind == Token::Kind::end;
      throw Failure{.code = end                ? "S0203"
                            : now_.text == "!" ? "S0204"
                                               : "S0202",
                    .position = now_.at,
                    .token = end ? "(end)" : now_.text,
                    .value = std::string(expected)};
    }
    now_ = lexer_.next(infix);
  }
  static NodePtr make(Type type, const Token& t) {
    auto node = std::make_shared<Node>();
    node->type = type;
    node->at = t.at;
    node->text = t.text;
    return node;
  }

  NodePtr expression(int right_power) {
    const Nesting nesting(depth_);
    Token t = now_;
    const bool opens = t.kind == Token::Kind::sign && std::string_view("([{-|").find(t.text) != std::string_view::npos;
    advance({}, !opens);
    NodePtr left = prefix(t);
    while (right_power < power(now_)) {
      t = now_;
      advance({}, false);
      left = infix(t, std::move(left));
    }
    return left;
  }

  NodePtr prefix(const Token& t) {
    switch (t.kind) {
      case Token::Kind::name:
        return make(Type::name, t);
      case Token::Kind::variable:
        return make(Type::variable, t);
      case Token::Kind::text: {
        NodePtr node = make(Type::text, t);
        node->literal = Json(t.text);
        return node;
      }
      case Token::Kind::number: {
        NodePtr node = make(Type::number, t);
        node->amount = t.amount;
        return node;
      }
      case Token::Kind::value: {
        NodePtr node = make(Type::value, t);
        node->literal = t.literal;
        return node;
      }
      case Token::Kind::regex: {
        NodePtr node = make(Type::regex, t);
        node->regex = t.regex;
        return node;
      }
      case Token::Kind::end:
        throw Failure{.code = "S0207", .position = t.at, .token = "(end)"};
      case Token::Kind::sign:
        break;
    }
    const std::string& sign = t.text;
    if (sign == "-") {
      NodePtr node = make(Type::negate, t);
      node->left = expression(70);
      return node;
    }
    if (sign == "*") return make(Type::wildcard, t);
    if (sign == "**") return make(Type::descendants, t);
    if (sign == "%") return make(Type::parent, t);
    if (sign == "and" || sign == "or" || sign == "in") return make(Type::name, t);
    if (sign == "?") return make(Type::placeholder, t);
    if (sign == "(") {
      NodePtr node = make(Type::block, t);
      while (!is(")")) {
        node->list.push_back(expression(0));
        if (!is(";")) break;
        advance(";", false);
      }
      advance(")", true);
      return node;
    }
    if (sign == "[") {
      NodePtr node = make(Type::array, t);
      if (!is("]"))
        for (;;) {
          NodePtr item = expression(0);
          if (is("..")) {
            NodePtr range = make(Type::operation, now_);
            range->op = Op::range;
            advance("..", false);
            range->left = std::move(item);
            range->right = expression(0);
            item = std::move(range);
          }
          node->list.push_back(std::move(item));
          if (!is(",")) break;
          advance(",", false);
        }
      advance("]", true);
      return node;
    }
    if (sign == "{") {
      NodePtr node = make(Type::object, t);
      members(*node);
      return node;
    }
    if (sign == "|") {
      NodePtr node = make(Type::transform, t);
      node->left = expression(0);
      advance("|", false);
      node->right = expression(0);
      if (is(",")) {
        advance(",", false);
        node->other = expression(0);
      }
      advance("|", true);
      return node;
    }
    throw Failure{.code = sign == "!" || sign == "~" ? "S0204" : "S0211", .position = t.at, .token = sign};
  }

  void members(Node& node) {
    if (!is("}"))
      for (;;) {
        NodePtr key = expression(0);
        advance(":", false);
        NodePtr value = expression(0);
        node.pairs.emplace_back(std::move(key), std::move(value));
        if (!is(",")) break;
        advance(",", false);
      }
    advance("}", true);
  }

  NodePtr infix(const Token& t, NodePtr left) {
    const std::string& sign = t.text;
    if (sign == "(") return call(t, std::move(left));
    if (sign == "[") {
      if (is("]")) {
        Node* step = left.get();
        while (step->type == Type::predicate) step = step->left.get();
        step->keep_array = true;
        advance("]", true);
        return left;
      }
      NodePtr node = make(Type::predicate, t);
      node->left = std::move(left);
      node->right = expression(0);
      advance("]", true);
      return node;
    }
    if (sign == "{") {
      NodePtr node = make(Type::group, t);
      node->left = std::move(left);
      members(*node);
      return node;
    }
    if (sign == "^") {
      NodePtr node = make(Type::order, t);
      node->left = std::move(left);
      advance("(", false);
      for (;;) {
        SortTerm term;
        if (is("<")) {
          advance("<", false);
        } else if (is(">")) {
          term.descending = true;
          advance(">", false);
        }
        term.expression = expression(0);
        node->terms.push_back(std::move(term));
        if (!is(",")) break;
        advance(",", false);
      }
      advance(")", true);
      return node;
    }
    if (sign == ":=") {
      if (left->type != Type::variable) throw Failure{.code = "S0212", .position = left->at, .token = left->text};
      NodePtr node = make(Type::bind, t);
      node->left = std::move(left);
      node->right = expression(9);
      return node;
    }
    if (sign == "@" || sign == "#") {
      NodePtr node = make(sign == "@" ? Type::focus : Type::position, t);
      node->left = std::move(left);
      node->right = expression(80);
      if (node->right->type != Type::variable) throw Failure{.code = "S0214", .position = node->right->at, .token = sign};
      return node;
    }
    if (sign == "?") {
      NodePtr node = make(Type::condition, t);
      node->left = std::move(left);
      node->right = expression(0);
      if (is(":")) {
        advance(":", false);
        node->other = expression(0);
      }
      return node;
    }
    NodePtr node = make(sign == "~>" ? Type::apply : sign == "." ? Type::path : Type::operation, t);
    node->op = binary_op(sign);
    node->left = std::move(left);
    node->right = expression(sign == "?:" || sign == "??" ? 0 : power(t));
    return node;
  }

  NodePtr call(const Token& t, NodePtr left) {
    NodePtr node = make(Type::call, t);
    if (!is(")"))
      for (;;) {
        if (is("?")) {
          node->type = Type::partial;
          node->list.push_back(make(Type::placeholder, now_));
          advance("?", true);
        } else {
          node->list.push_back(expression(0));
        }
        if (!is(",")) break;
        advance(",", false);
      }
    advance(")", true);
    if (left->type == Type::name && (left->text == "function" || left->text == "λ")) {
      for (std::size_t i = 0; i < node->list.size(); ++i) {
        if (node->list[i]->type != Type::variable)
          throw Failure{.code = "S0208", .position = node->list[i]->at, .token = node->list[i]->text, .value = std::to_string(i + 1)};
        node->parameters.push_back(node->list[i]->text);
      }
      node->list.clear();
      node->type = Type::lambda;
      if (is("<")) {
        int depth = 1;
        std::string signature = "<";
        while (depth > 0 && !is("{") && now_.kind != Token::Kind::end) {
          advance({}, true);
          if (is(">")) --depth;
          if (is("<")) ++depth;
          signature += now_.text;
        }
        advance(">", true);
        node->signature = std::make_shared<Signature>(Signature::parse(signature));
      }
      advance("{", false);
      node->right = expression(0);
      advance("}", true);
      return node;
    }
    node->left = std::move(left);
    return node;
  }

  // ── Finishing: paths become flat lists of steps, ancestors find the steps they mean ──────────────────────────────────────

  static void adopt(Node& result, const NodePtr& part) {
    if (part->type == Type::parent) result.seeking.push_back(part->slot);
    for (const auto& slot : part->seeking) result.seeking.push_back(slot);
  }

  std::shared_ptr<Slot> seek(const NodePtr& node, std::shared_ptr<Slot> slot) {
    switch (node->type) {
      case Type::name:
      case Type::wildcard:
        if (--slot->level == 0) {
          if (!node->ancestor) {
            node->ancestor = slot;
          } else {  // two % mean one step: they share its label
            ancestry_[slot->index]->slot->label = node->ancestor->label;
            node->ancestor = slot;
          }
          node->tuple = true;
        }
        break;
      case Type::parent:
        ++slot->level;
        break;
      case Type::block:
        if (!node->list.empty()) {
          node->tuple = true;
          slot = seek(node->list.back(), slot);
        }
        break;
      case Type::path: {
        node->tuple = true;
        auto step = node->list.size();
        slot = seek(node->list[--step], slot);
        while (slot->level > 0 && step > 0) slot = seek(node->list[--step], slot);
        break;
      }
      default:
        throw Failure{.code = "S0217", .position = node->at, .token = "parent"};
    }
    return slot;
  }

  void resolve(const NodePtr& path) {
    const NodePtr& last = path->list.back();
    std::vector<std::shared_ptr<Slot>> slots = last->seeking;
    if (last->type == Type::parent) slots.push_back(last->slot);
    for (auto slot : slots) {
      auto index = static_cast<std::ptrdiff_t>(path->list.size()) - 2;
      while (slot->level > 0) {
        if (index < 0) {
          path->seeking.push_back(slot);
          break;
        }
        NodePtr step = path->list[static_cast<std::size_t>(index--)];
        while (index >= 0 && !step->focus.empty() && !path->list[static_cast<std::size_t>(index)]->focus.empty())
          step = path->list[static_cast<std::size_t>(index--)];
        slot = seek(step, slot);
      }
    }
  }

  NodePtr as_path(NodePtr node) {
    if (node->type == Type::path) return node;
    auto path = std::make_shared<Node>();
    path->type = Type::path;
    path->at = node->at;
    path->list.push_back(std::move(node));
    return path;
  }

  NodePtr finish(const NodePtr& node) {
    const Nesting nesting(depth_);
    NodePtr result = finish_kind(node);
    if (node->keep_array) result->keep_array = true;
    return result;
  }

  NodePtr finish_kind(const NodePtr& node) {
    switch (node->type) {
      case Type::path:
        return dot(*node);
      case Type::predicate: {
        NodePtr result = finish(node->left);
        NodePtr step = result;
        const bool in_path = result->type == Type::path;
        if (in_path) step = result->list.back();
        if (step->has_group) throw Failure{.code = "S0209", .position = node->at};
        NodePtr predicate = finish(node->right);
        for (const auto& slot : predicate->seeking) {
          if (slot->level == 1)
            seek(step, slot);
          else
            --slot->level;
        }
        if (!predicate->seeking.empty()) adopt(*step, predicate);
        (in_path ? step->stages : step->predicates).push_back({std::move(predicate), {}});
        return result;
      }
      case Type::group: {
        NodePtr result = finish(node->left);
        if (result->has_group) throw Failure{.code = "S0210", .position = node->at};
        result->has_group = true;
        for (const auto& [key, value] : node->pairs) {
          NodePtr k = finish(key), v = finish(value);
          result->pairs.emplace_back(std::move(k), std::move(v));
        }
        return result;
      }
      case Type::order: {
        NodePtr result = as_path(finish(node->left));
        auto sort = std::make_shared<Node>();
        sort->type = Type::sort;
        sort->at = node->at;
        for (const SortTerm& term : node->terms) {
          NodePtr expression = finish(term.expression);
          adopt(*sort, expression);
          sort->terms.push_back({std::move(expression), term.descending});
        }
        result->list.push_back(std::move(sort));
        resolve(result);
        return result;
      }
      case Type::bind: {
        node->right = finish(node->right);
        adopt(*node, node->right);
        return node;
      }
      case Type::focus: {
        NodePtr result = finish(node->left);
        const NodePtr step = result->type == Type::path ? result->list.back() : result;
        if (!step->stages.empty() || !step->predicates.empty()) throw Failure{.code = "S0215", .position = node->at};
        if (step->type == Type::sort) throw Failure{.code = "S0216", .position = node->at};
        if (node->keep_array) step->keep_array = true;
        step->focus = node->right->text;
        step->tuple = true;
        return result;
      }
      case Type::position: {
        NodePtr result = finish(node->left);
        NodePtr step = result;
        if (result->type == Type::path) {
          step = result->list.back();
        } else {
          result = as_path(result);
          step->stages = std::move(step->predicates);
          step->predicates.clear();
        }
        if (step->stages.empty())
          step->index = node->right->text;
        else
          step->stages.push_back({nullptr, node->right->text});
        step->tuple = true;
        return result;
      }
      case Type::operation:
        if (node->op == Op::none) throw Failure{.code = "S0201", .position = node->at, .token = node->text};
        node->type = Type::binary;
        [[fallthrough]];
      case Type::apply:
        node->left = finish(node->left);
        node->right = finish(node->right);
        adopt(*node, node->left);
        adopt(*node, node->right);
        return node;
      case Type::negate:
        node->left = finish(node->left);
        if (node->left->type == Type::number && node->left->predicates.empty()) {
          node->left->amount = -node->left->amount;
          return node->left;
        }
        adopt(*node, node->left);
        return node;
      case Type::array:
      case Type::block:
        for (NodePtr& item : node->list) {
          item = finish(item);
          adopt(*node, item);
          if (node->type == Type::block && (item->constructed || (item->type == Type::path && item->list[0]->constructed)))
            node->constructed = true;
        }
        return node;
      case Type::object:
        for (auto& [key, value] : node->pairs) {
          key = finish(key);
          adopt(*node, key);
          value = finish(value);
          adopt(*node, value);
        }
        return node;
      case Type::call:
      case Type::partial:
        for (NodePtr& argument : node->list) {
          argument = finish(argument);
          adopt(*node, argument);
        }
        node->left = finish(node->left);
        return node;
      case Type::lambda:
        node->right = tail(finish(node->right));
        return node;
      case Type::condition:
        for (NodePtr* part : {&node->left, &node->right, &node->other}) {
          if (!*part) continue;
          *part = finish(*part);
          adopt(*node, *part);
        }
        return node;
      case Type::transform:
        for (NodePtr* part : {&node->left, &node->right, &node->other})
          if (*part) *part = finish(*part);
        return node;
      case Type::name: {
        NodePtr path = as_path(node);
        if (node->keep_array) path->keep_singleton = true;
        return path;
      }
      case Type::parent:
        node->slot = std::make_shared<Slot>();
        node->slot->label = '!' + std::to_string(ancestry_.size());
        node->slot->index = ancestry_.size();
        ancestry_.push_back(node);
        return node;
      default:
        return node;
    }
  }

  NodePtr dot(const Node& node) {
    const NodePtr left = finish(node.left);
    NodePtr result;
    if (left->type == Type::path) {
      result = left;
    } else {
      result = as_path(left);
      if (left->type == Type::parent) result->seeking = {left->slot};
    }
    NodePtr rest = finish(node.right);
    if (rest->type == Type::call && rest->left->type == Type::path && rest->left->list.size() == 1 &&
        rest->left->list[0]->type == Type::name && result->list.back()->type == Type::call)
      result->list.back()->next_function = rest->left->list[0]->text;
    if (rest->type == Type::path) {
      for (NodePtr& step : rest->list) result->list.push_back(std::move(step));
      if (rest->has_group) {
        result->has_group = true;
        result->pairs = std::move(rest->pairs);
      }
      if (rest->keep_singleton) result->keep_singleton = true;
    } else {
      if (!rest->predicates.empty()) {
        rest->stages = std::move(rest->predicates);
        rest->predicates.clear();
      }
      result->list.push_back(std::move(rest));
    }
    for (const NodePtr& step : result->list) {
      if (step->type == Type::number || step->type == Type::value)
        throw Failure{.code = "S0213", .position = step->at, .token = step->type == Type::number ? number_text(step->amount) : step->text};
      if (step->type == Type::text) step->type = Type::name;
      if (step->keep_array) result->keep_singleton = true;
    }
    if (result->list.front()->type == Type::array) result->list.front()->constructed = true;
    if (result->list.back()->type == Type::array) result->list.back()->constructed = true;
    resolve(result);
    return result;
  }

  // A call in tail position becomes a thunk, which the caller runs in a loop rather than one inside the other.
  static NodePtr tail(const NodePtr& node) {
    if (node->type == Type::call && node->predicates.empty() && !node->has_group) {
      auto thunk = std::make_shared<Node>();
      thunk->type = Type::lambda;
      thunk->thunk = true;
      thunk->at = node->at;
      thunk->right = node;
      return thunk;
    }
    if (node->type == Type::condition) {
      node->right = tail(node->right);
      if (node->other) node->other = tail(node->other);
    } else if (node->type == Type::block && !node->list.empty()) {
      node->list.back() = tail(node->list.back());
    }
    return node;
  }

  Lexer lexer_;
  Token now_;
  int depth_ = 0;
  std::vector<NodePtr> ancestry_;
};

}  // namespace

Tree parse(std::string_view text) { return {Parser(text).whole()}; }

// ── Signatures ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────

Signature Signature::parse(std::string_view text) {
  Signature out;
  std::size_t at = 1;
  for (; at < text.size(); ++at) {
    const char c = text[at];
    Parameter p;
    if (c == ':') break;
    switch (c) {
      case 's':
      case 'n':
      case 'b':
      case 'l':
      case 'o':
        p.accepts = std::string(1, c) + 'm';
        break;
      case 'a':
        p.accepts = "asnblfom";
        p.array = true;
        break;
      case 'f':
        p.accepts = "f";
        break;
      case 'j':
        p.accepts = "asnblom";
        break;
      case 'x':
        p.accepts = "asnblfom";
        break;
      case '-':
        if (out.parameters.empty()) continue;
        out.parameters.back().context = true;
        out.parameters.back().context_accepts = out.parameters.back().accepts;
        out.parameters.back().optional = true;
        continue;
      case '?':
        if (!out.parameters.empty()) out.parameters.back().optional = true;
        continue;
      case '+':
        if (!out.parameters.empty()) out.parameters.back().many = true;
        continue;
      case '(': {
        const std::size_t end = text.find(')', at);
        if (end == std::string_view::npos) continue;
        const std::string_view choice = text.substr(at + 1, end - at - 1);
        if (choice.find('<') != std::string_view::npos) throw Failure{.code = "S0402", .position = at, .value = std::string(choice)};
        p.accepts = std::string(choice) + 'm';
        at = end;
        break;
      }
      case '<': {
        if (out.parameters.empty()) continue;
        Parameter& previous = out.parameters.back();
        if (!previous.array && previous.accepts != "f") throw Failure{.code = "S0401", .position = at, .value = previous.accepts};
        int depth = 1;
        std::size_t end = at + 1;
        while (end < text.size() && depth > 0) {
          if (text[end] == '<') ++depth;
          if (text[end] == '>') --depth;
          ++end;
        }
        if (previous.array) previous.items = text.substr(at + 1, end - at - 2);
        at = end - 1;
        continue;
      }
      default:
        continue;
    }
    out.parameters.push_back(std::move(p));
  }
  return out;
}

namespace {

char letter_of(const Value& v) {
  if (v.undefined()) return 'm';
  if (v.is_function()) return 'f';
  if (v.is_array()) return 'a';
  if (v.is_string()) return 's';
  if (v.is_number()) return 'n';
  if (v.is_bool()) return 'b';
  if (v.is_null()) return 'l';
  return 'o';
}

// How many arguments each parameter takes, tried greedily with backtracking.
bool assign(const std::vector<Signature::Parameter>& parameters, std::size_t p, std::string_view letters, std::vector<std::size_t>& taken) {
  if (p == parameters.size()) return letters.empty();
  const auto& parameter = parameters[p];
  std::size_t most = 0;
  while (most < letters.size() && (most == 0 || parameter.many) && parameter.accepts.find(letters[most]) != std::string::npos) ++most;
  const std::size_t least = parameter.optional ? 0 : 1;
  for (std::size_t n = most + 1; n-- > least;) {
    taken[p] = n;
    if (assign(parameters, p + 1, letters.substr(n), taken)) return true;
  }
  return false;
}

}  // namespace

std::vector<Value> Signature::apply(std::vector<Value> arguments, const Value& context, Meter& meter, std::string_view name) const {
  std::string letters;
  for (const Value& v : arguments) letters += letter_of(v);
  std::vector<std::size_t> taken(parameters.size());
  if (!assign(parameters, 0, letters, taken)) {
    // Which argument is the first that no reading allows: the longest prefix of parameters that still fits says.
    std::size_t good = 0;
    std::string_view rest = letters;
    for (const auto& p : parameters) {
      if (!rest.empty() && p.accepts.find(rest[0]) != std::string::npos) {
        rest.remove_prefix(1), ++good;
        while (p.many && !rest.empty() && p.accepts.find(rest[0]) != std::string::npos) rest.remove_prefix(1), ++good;
      } else if (!p.optional) {
        break;
      }
    }
    throw Failure{.code = "T0410", .token = std::string(name), .index = static_cast<std::int64_t>(good) + 1};
  }
  std::vector<Value> out;
  std::size_t next = 0;
  for (std::size_t p = 0; p < parameters.size(); ++p) {
    const Parameter& parameter = parameters[p];
    if (taken[p] == 0) {
      if (parameter.context) {
        if (parameter.context_accepts.find(letter_of(context)) == std::string::npos)
          throw Failure{.code = "T0411", .token = std::string(name), .index = static_cast<std::int64_t>(next) + 1};
        out.push_back(context);
      } else {
        out.emplace_back();
      }
      continue;
    }
    for (std::size_t n = 0; n < taken[p]; ++n, ++next) {
      Value value = arguments[next];
      const char letter = letters[next];
      if (parameter.array && letter != 'm') {
        bool fits = true;
        if (!parameter.items.empty()) {
          if (letter != 'a') {
            fits = parameter.items[0] == letter;
          } else if (value.size() > 0) {
            const char wanted = parameter.items[0];
            for (std::size_t i = 0; i < value.size() && fits; ++i) fits = letter_of(value.item(i)) == wanted;
          }
        }
        if (!fits)
          throw Failure{.code = "T0412", .token = std::string(name), .index = static_cast<std::int64_t>(next) + 1, .type = parameter.items};
        if (letter != 'a') {
          auto list = std::make_shared<List>(meter);
          list->push(std::move(value));
          value = Value(std::move(list));
        }
      }
      out.push_back(std::move(value));
    }
  }
  return out;
}

}  // namespace snapward::query::jsonata
