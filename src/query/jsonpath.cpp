#include "query/jsonpath.hpp"

#include <fmt/format.h>
#include <re2/re2.h>

#include <algorithm>
#include <cassert>
#include <charconv>

namespace snapward::query {

namespace {
// Filters compare a number with a text that writes it, as Jayway does: 1 == '1'.
bool equals(const Json& x, const Json& y) {
  if (x.is_number() == y.is_number() || !(x.is_string() || y.is_string())) return x == y;
  const Json& number = x.is_number() ? x : y;
  const auto read = Json::parse((x.is_number() ? y : x).is_string() ? (x.is_number() ? y : x).as_string() : std::string_view());
  return read && read->is_number() && *read == number;
}

bool holds(const Json& list, const Json& value) {
  return std::ranges::any_of(list.items(), [&](const Json& candidate) { return equals(candidate, value); });
}
}  // namespace

// A filter is a tree of comparisons over paths from the item (@) or the root ($) and literals.
struct JsonPath::Filter {
  enum class Op {
    both,
    either,
    negate,
    exists,
    equal,
    unequal,
    less,
    less_equal,
    greater,
    greater_equal,
    in,
    not_in,
    contains,
    size,
    empty,
    all,
    subset,
    any,
    none,
    matches
  } op;
  std::shared_ptr<const Filter> left, right;  // both, either; negate has only left
  struct Operand {
    Json literal;
    std::optional<JsonPath> path;
    bool from_root = false;
    [[nodiscard]] std::optional<Json> value(const Json& item, const Json& root) const {
      return path ? path->select(from_root ? root : item) : literal;
    }
  } a, b;
  std::shared_ptr<const re2::RE2> regex;  // of `matches`; the whole text must match

  // What needs two sets: a list each; a text or anything else is none.
  [[nodiscard]] bool accepts_sets(const Json& x, const Json& y) const {
    if (!x.is_array() || !y.is_array()) return false;
    const auto within = [](const Json& list) { return [&list](const Json& value) { return holds(list, value); }; };
    switch (op) {
      case Op::all:
        return std::ranges::all_of(y.items(), within(x));
      case Op::subset:
        return std::ranges::all_of(x.items(), within(y));
      case Op::any:
        return std::ranges::any_of(x.items(), within(y));
      default:
        return std::ranges::none_of(x.items(), within(y));
    }
  }

  [[nodiscard]] bool accepts(const Json& item, const Json& root) const {
    switch (op) {
      case Op::both:
        return left->accepts(item, root) && right->accepts(item, root);
      case Op::either:
        return left->accepts(item, root) || right->accepts(item, root);
      case Op::negate:
        return !left->accepts(item, root);
      case Op::exists:
        return a.value(item, root).has_value();
      case Op::matches: {
        const auto value = a.value(item, root);
        if (!value || value->is_null() || value->is_array() || value->is_object()) return false;
        return re2::RE2::FullMatch(value->is_string() ? std::string(value->as_string()) : value->dump(), *regex);
      }
      default:
        break;
    }
    const auto x = a.value(item, root);
    const auto y = b.value(item, root);
    if (!x || !y) return op == Op::unequal && (x.has_value() != y.has_value());
    switch (op) {
      case Op::equal:
        return equals(*x, *y);
      case Op::unequal:
        return !equals(*x, *y);
      case Op::in:
        return holds(*y, *x);
      case Op::not_in:
        return !holds(*y, *x);
      case Op::contains:
        if (x->is_string() && y->is_string()) return x->as_string().find(y->as_string()) != std::string_view::npos;
        return holds(*x, *y);
      case Op::size:
      case Op::empty: {
        if (!x->is_array() && !x->is_string()) return false;
        const std::size_t size = x->is_array() ? x->items().size() : x->as_string().size();
        if (op == Op::empty) return y->is_bool() && y->as_bool() == (size == 0);
        return y->is_number() && y->as_double() == static_cast<double>(size);
      }
      case Op::all:
      case Op::subset:
      case Op::any:
      case Op::none:
        return accepts_sets(*x, *y);
      default:
        break;
    }
    int order = 0;
    if (x->is_number() && y->is_number()) {
      const double l = x->as_double(), r = y->as_double();
      order = l < r ? -1 : l > r ? 1 : 0;
    } else if (x->is_string() && y->is_string()) {
      order = x->as_string().compare(y->as_string());
    } else {
      return false;
    }
    switch (op) {
      case Op::less:
        return order < 0;
      case Op::less_equal:
        return order <= 0;
      case Op::greater:
        return order > 0;
      default:
        return order >= 0;
    }
  }
};

class PathParser {
 public:
  explicit PathParser(std::string_view text) : text_(text) {}

  // Reads a whole path from at_; stops at the first character that cannot continue it when `open` (inside a filter).
  Result<JsonPath> path(bool open) {
    const std::size_t start = at_;
    JsonPath out;
    if (at_ >= text_.size() || (text_[at_] != '$' && text_[at_] != '@')) return error("a path starts with '$'");
    ++at_;
    while (at_ < text_.size()) {
      if (text_[at_] == '.') {
        ++at_;
        if (peek() == '.') {
          ++at_;
          out.steps_.push_back({JsonPath::Step::Kind::descent, {}, {}, {}, {}, {}});
          out.definite_ = out.reference_ = false;
          if (peek() == '[') continue;
        }
        if (peek() == '*') {
          ++at_;
          out.steps_.push_back({JsonPath::Step::Kind::wildcard, {}, {}, {}, {}, {}});
          out.definite_ = out.reference_ = false;
          continue;
        }
        if (peek() == '[') continue;  // "$.['a b']" is "$['a b']" (Developer Guide, "Reference paths")
        std::string name = bare_name(open);
        if (name.empty()) return error("a member name is missing after '.'");
        out.steps_.push_back({JsonPath::Step::Kind::member, {std::move(name)}, {}, {}, {}, {}});
      } else if (text_[at_] == '[') {
        ++at_;
        if (auto step = bracket(out); !step) return std::unexpected(step.error());
      } else if (open) {
        break;
      } else {
        return error(fmt::format("unexpected character '{}'", text_[at_]));
      }
    }
    for (std::size_t i = 0; i + 1 < out.steps_.size(); ++i)  // at the end, several names pick one object
      if (out.steps_[i].kind == JsonPath::Step::Kind::members) out.definite_ = false;
    out.text_ = text_.substr(start, at_ - start);
    return out;
  }

  [[nodiscard]] bool at_end() const { return at_ == text_.size(); }

 private:
  std::unexpected<Error> error(const std::string& what) const {
    return invalid(fmt::format("invalid JSONPath '{}': {} at position {}", text_, what, at_));
  }
  [[nodiscard]] char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  void blanks() {
    while (peek() == ' ') ++at_;
  }
  bool take(std::string_view word) {
    if (!text_.substr(at_).starts_with(word)) return false;
    at_ += word.size();
    return true;
  }

  // A name goes to the next step; inside a filter also to what can follow an operand there.
  std::string bare_name(bool open) {
    const std::size_t from = at_;
    while (at_ < text_.size() && !std::string_view(open ? ".[] ()=!<>&|,~" : ".[] ()").contains(text_[at_])) ++at_;
    return std::string(text_.substr(from, at_ - from));
  }

  std::optional<std::string> quoted() {
    const char quote = text_[at_++];
    std::string out;
    while (at_ < text_.size() && text_[at_] != quote) {
      // Only a quote and the backslash itself are escaped; before anything else it stands for itself (recorded at AWS).
      if (text_[at_] == '\\' && at_ + 1 < text_.size() && (text_[at_ + 1] == '\\' || text_[at_ + 1] == quote)) ++at_;
      out.push_back(text_[at_++]);
    }
    if (at_ >= text_.size()) return std::nullopt;
    ++at_;
    return out;
  }

  std::optional<std::int64_t> integer() {
    std::int64_t value = 0;
    const char* first = text_.data() + at_;
    const auto [end, failure] = std::from_chars(first, text_.data() + text_.size(), value);
    if (failure != std::errc{}) return std::nullopt;
    at_ += static_cast<std::size_t>(end - first);
    return value;
  }

  Result<void> bracket(JsonPath& out) {
    blanks();
    using Kind = JsonPath::Step::Kind;
    JsonPath::Step step{Kind::wildcard, {}, {}, {}, {}, {}};
    if (peek() == '*') {
      ++at_;
      out.definite_ = out.reference_ = false;
    } else if (peek() == '?') {
      ++at_;
      blanks();
      if (peek() != '(') return error("a filter is written [?(…)]");
      ++at_;
      auto filter = either();
      if (!filter) return std::unexpected(filter.error());
      blanks();
      if (peek() != ')') return error("the filter's ')' is missing");
      ++at_;
      step.kind = Kind::filter;
      step.filter = *std::move(filter);
      out.definite_ = out.reference_ = false;
    } else if (peek() == '\'' || peek() == '"') {
      step.kind = Kind::member;
      for (;;) {
        auto name = quoted();
        if (!name) return error("a quoted name has no end");
        step.names.push_back(*std::move(name));
        blanks();
        if (peek() != ',') break;
        ++at_;
        blanks();
        if (peek() != '\'' && peek() != '"') return error("a quoted name is expected");
      }
      if (step.names.size() > 1) step.kind = Kind::members, out.reference_ = false;
    } else {
      const auto first = integer();
      blanks();
      if (peek() == ':') {
        ++at_;
        blanks();
        step = {Kind::slice, {}, {}, first, integer(), {}};
        if (peek() == ':') {  // a step is read and not used, as Jayway does
          ++at_;
          integer();
        }
        out.definite_ = out.reference_ = false;
      } else if (!first) {
        return error("an index, a quoted name, '*' or a filter is expected in []");
      } else {
        step = {Kind::index, {}, {*first}, {}, {}, {}};
        while (peek() == ',') {
          ++at_;
          blanks();
          const auto more = integer();
          if (!more) return error("an index is expected");
          step.indexes.push_back(*more);
          blanks();
        }
        if (step.indexes.size() > 1) step.kind = Kind::indexes, out.definite_ = out.reference_ = false;
        if (*first < 0) out.reference_ = false;
      }
    }
    blanks();
    if (peek() != ']') return error("']' is missing");
    ++at_;
    out.steps_.push_back(std::move(step));
    return {};
  }

  using FilterPtr = std::shared_ptr<const JsonPath::Filter>;
  using Op = JsonPath::Filter::Op;

  Result<FilterPtr> combine(Op op, std::string_view sign, Result<FilterPtr> (PathParser::*next)()) {
    if (++depth_ > 100) return error("the filter is nested too deep");
    auto left = (this->*next)();
    while (left) {
      blanks();
      if (!take(sign)) break;
      auto right = (this->*next)();
      if (!right) return right;
      auto both = std::make_shared<JsonPath::Filter>();
      both->op = op;
      both->left = *std::move(left);
      both->right = *std::move(right);
      left = FilterPtr(std::move(both));
    }
    --depth_;
    return left;
  }
  Result<FilterPtr> either() { return combine(Op::either, "||", &PathParser::both); }
  Result<FilterPtr> both() { return combine(Op::both, "&&", &PathParser::unary); }

  Result<FilterPtr> unary() {
    if (++depth_ > 100) return error("the filter is nested too deep");
    blanks();
    if (peek() == '!') {
      ++at_;
      auto inner = unary();
      if (!inner) return inner;
      auto node = std::make_shared<JsonPath::Filter>();
      node->op = Op::negate;
      node->left = *std::move(inner);
      --depth_;
      return FilterPtr(std::move(node));
    }
    if (peek() == '(') {
      ++at_;
      auto inner = either();
      if (!inner) return inner;
      blanks();
      if (peek() != ')') return error("')' is missing");
      ++at_;
      --depth_;
      return inner;
    }
    auto node = std::make_shared<JsonPath::Filter>();
    if (auto a = operand(node->a); !a) return std::unexpected(a.error());
    blanks();
    static constexpr std::pair<std::string_view, Op> kSigns[] = {{"==", Op::equal},         {"!=", Op::unequal}, {"<=", Op::less_equal},
                                                                 {">=", Op::greater_equal}, {"<", Op::less},     {">", Op::greater}};
    static constexpr std::pair<std::string_view, Op> kWords[] = {{"in", Op::in},           {"nin", Op::not_in},  {"contains", Op::contains},
                                                                 {"size", Op::size},       {"empty", Op::empty}, {"all", Op::all},
                                                                 {"subsetof", Op::subset}, {"anyof", Op::any},   {"noneof", Op::none}};
    node->op = Op::exists;
    if (take("=~")) {
      node->op = Op::matches;
      auto regex = regular_expression();
      if (!regex) return std::unexpected(regex.error());
      node->regex = *std::move(regex);
      --depth_;
      return FilterPtr(std::move(node));
    }
    for (const auto& [sign, op] : kSigns)
      if (take(sign)) {
        node->op = op;
        break;
      }
    if (node->op == Op::exists && std::isalpha(static_cast<unsigned char>(peek()))) {
      const std::string word = this->word();
      const auto* known = std::ranges::find(kWords, std::string_view(word), &std::pair<std::string_view, Op>::first);
      if (known == std::end(kWords)) return error(fmt::format("'{}' is no operator of filters", word));
      node->op = known->second;
    }
    if (node->op != Op::exists)
      if (auto b = operand(node->b); !b) return std::unexpected(b.error());
    --depth_;
    return FilterPtr(std::move(node));
  }

  // The letters that follow, in lower case.
  std::string word() {
    std::string out;
    while (std::isalpha(static_cast<unsigned char>(peek()))) out.push_back(static_cast<char>(std::tolower(text_[at_++])));
    return out;
  }

  // /pattern/flags as Java writes them. RE2 answers in linear time, and has no look-around.
  Result<std::shared_ptr<const re2::RE2>> regular_expression() {
    blanks();
    if (peek() != '/') return error("a regular expression is written /…/");
    ++at_;
    std::string pattern;
    while (at_ < text_.size() && text_[at_] != '/') {
      if (text_[at_] == '\\' && at_ + 1 < text_.size()) {
        if (text_[at_ + 1] != '/') pattern.push_back('\\');
        ++at_;
      }
      pattern.push_back(text_[at_++]);
    }
    if (at_ == text_.size()) return error("the regular expression has no end");
    ++at_;
    std::string flags;
    while (std::string_view("imsuxdU").contains(peek()) && at_ < text_.size()) {
      const char flag = text_[at_++];
      if (flag == 'x') return error("the flag x of regular expressions is not supported");
      if (flag == 'i' || flag == 'm' || flag == 's') flags.push_back(flag);
    }
    re2::RE2::Options options(re2::RE2::Quiet);
    auto regex = std::make_shared<const re2::RE2>(flags.empty() ? pattern : fmt::format("(?{}){}", flags, pattern), options);
    if (!regex->ok()) return error(fmt::format("the regular expression cannot be read ({})", regex->error()));
    return regex;
  }

  Result<void> operand(JsonPath::Filter::Operand& out) {
    blanks();
    const char c = peek();
    if (c == '$' || c == '@') {
      out.from_root = c == '$';
      auto inner = path(true);
      if (!inner) return std::unexpected(inner.error());
      out.path = *std::move(inner);
      return {};
    }
    if (c == '\'' || c == '"') {
      auto text = quoted();
      if (!text) return error("a quoted text has no end");
      out.literal = Json(*std::move(text));
      return {};
    }
    if (c == '[') {
      const std::size_t from = at_;
      while (at_ < text_.size() && text_[at_] != ']') ++at_;
      std::string list(text_.substr(from, at_ == text_.size() ? at_ - from : ++at_ - from));
      for (char& ch : list)
        if (ch == '\'') ch = '"';
      auto value = Json::parse(list);
      if (!value) return error("the list cannot be read");
      out.literal = *std::move(value);
      return {};
    }
    const std::size_t from = at_;
    while (at_ < text_.size() && !std::string_view(" )]=!<>&|~,").contains(text_[at_])) ++at_;
    const std::string_view word = text_.substr(from, at_ - from);
    if (word.empty()) return error("a path, text, number, true, false or null is expected");
    // A number, true, false or null; anything else is a text without its quotes, which AWS takes as it stands.
    auto value = Json::parse(word);
    out.literal = value ? *std::move(value) : Json(std::string(word));
    return {};
  }

  std::string_view text_;
  std::size_t at_ = 0;
  int depth_ = 0;
};

Result<JsonPath> JsonPath::parse(std::string_view text) {
  PathParser parser(text);
  return parser.path(false);
}

namespace {
const Json* item_at(const Json& value, std::int64_t index) {
  const auto& items = value.items();
  const auto size = static_cast<std::int64_t>(items.size());
  if (index < 0) index += size;
  return index >= 0 && index < size ? &items[static_cast<std::size_t>(index)] : nullptr;
}

// The members of these names that the object has, as an object.
Json picked(const Json& object, const std::vector<std::string>& names) {
  Json::Object out;
  for (const std::string& name : names)
    if (const Json* value = object.find(name)) out.set(name, *value);
  return Json(std::move(out));
}
}  // namespace

void JsonPath::collect(const Json& at, std::size_t step, const Json& root, Json::Array& out) const {
  if (step == steps_.size()) {
    out.push_back(at);
    return;
  }
  const Step& s = steps_[step];
  const auto each_child = [&](auto&& use) {
    if (at.is_array())
      for (const Json& item : at.as_array()) use(item);
    else if (at.is_object())
      for (const auto& member : at.as_object()) use(member.value);
  };
  switch (s.kind) {
    case Step::Kind::member:
      if (const Json* value = at.find(s.names[0])) {
        collect(*value, step + 1, root, out);
      }
      break;
    case Step::Kind::members:
      if (!at.is_object()) break;
      if (step + 1 == steps_.size()) {
        out.push_back(picked(at, s.names));
        break;
      }
      for (const std::string& name : s.names)
        if (const Json* value = at.find(name)) collect(*value, step + 1, root, out);
      break;
    case Step::Kind::index:
    case Step::Kind::indexes:
      for (const std::int64_t index : s.indexes)
        if (const Json* value = item_at(at, index)) collect(*value, step + 1, root, out);
      break;
    case Step::Kind::slice: {
      const auto size = static_cast<std::int64_t>(at.items().size());
      std::int64_t from = s.from.value_or(0), to = s.to.value_or(size);
      if (from < 0) from = std::max<std::int64_t>(0, from + size);
      if (to < 0) to += size;
      for (std::int64_t i = from; i < std::min(to, size); ++i) collect(at.items()[static_cast<std::size_t>(i)], step + 1, root, out);
      break;
    }
    case Step::Kind::wildcard:
      each_child([&](const Json& child) { collect(child, step + 1, root, out); });
      break;
    case Step::Kind::descent: {
      // A filter right behind judges each object met, and not the items of arrays, which are met themselves.
      const bool filtered = step + 1 < steps_.size() && steps_[step + 1].kind == Step::Kind::filter;
      if (!filtered || at.is_object()) collect(at, step + 1, root, out);
      each_child([&](const Json& child) {
        if (child.is_array() || child.is_object()) collect(child, step, root, out);
      });
      break;
    }
    case Step::Kind::filter:
      if (at.is_array()) {
        each_child([&](const Json& child) {
          if (s.filter->accepts(child, root)) collect(child, step + 1, root, out);
        });
      } else if (at.is_object() && s.filter->accepts(at, root)) {
        collect(at, step + 1, root, out);
      }
      break;
  }
}

// Follows the steps that name one value each from root, as far as they go; `at` is null where one names nothing.
JsonPath::Way JsonPath::follow(const Json& root) const {
  Way way{&root, &root, 0};
  for (; way.step < steps_.size(); ++way.step) {
    const Step& s = steps_[way.step];
    if (s.kind != Step::Kind::member && s.kind != Step::Kind::index) break;
    way.last = way.at;
    way.at = s.kind == Step::Kind::member ? way.at->find(s.names[0]) : item_at(*way.at, s.indexes[0]);
    if (!way.at) break;
  }
  return way;
}

std::optional<Json> JsonPath::select(const Json& root) const {
  const Way way = follow(root);
  if (!way.at) {
    // An indefinite path below a member that an object does not have finds nothing, which is a list too.
    if (!definite_ && steps_[way.step].kind == Step::Kind::member && way.last->is_object()) return Json(Json::Array{});
    return std::nullopt;
  }
  if (way.step == steps_.size()) return *way.at;
  const Step& s = steps_[way.step];
  if (definite_) return way.at->is_object() ? std::optional(picked(*way.at, s.names)) : std::nullopt;
  if ((s.kind == Step::Kind::slice || s.kind == Step::Kind::indexes) && !way.at->is_array()) return std::nullopt;
  Json::Array out;
  collect(*way.at, way.step, root, out);
  return Json(std::move(out));
}

std::string JsonPath::why_missing(const Json& root) const {
  const Way way = follow(root);
  std::string at = "$";
  for (std::size_t i = 0; i < way.step; ++i)
    at += steps_[i].kind == Step::Kind::member ? fmt::format("['{}']", steps_[i].names[0]) : fmt::format("[{}]", steps_[i].indexes[0]);
  if (way.step == steps_.size()) return "No results for path: " + at;
  const Step& s = steps_[way.step];
  const Json& last = way.at ? *way.at : *way.last;
  switch (s.kind) {
    case Step::Kind::member:
      if (!last.is_object()) return fmt::format("Property ['{}'] not found in path {}", s.names[0], at);
      return fmt::format("{} path{} {}['{}']", way.step + 1 < steps_.size() ? "Missing property in" : "No results for",
                         way.step + 1 < steps_.size() ? "" : ":", at, s.names[0]);
    case Step::Kind::index:
      if (last.is_array()) return fmt::format("Index out of bounds when evaluating path {}[{}]", at, s.indexes[0]);
      return fmt::format("Filter: [{}] can only be applied to arrays. Current context is: {}", s.indexes[0], last.dump());
    case Step::Kind::slice:
      return fmt::format("Filter: [{}:{}] can only be applied to arrays. Current context is: {}", s.from ? std::to_string(*s.from) : "",
                         s.to ? std::to_string(*s.to) : "", last.dump());
    case Step::Kind::indexes:
      return fmt::format("Filter: [{}] can only be applied to arrays. Current context is: {}", fmt::join(s.indexes, ","), last.dump());
    default:
      return "No results for path: " + at;
  }
}

bool JsonPath::ends_behind_an_array(const Json& root) const {
  const Way way = follow(root);
  return way.step < steps_.size() && steps_[way.step].kind == Step::Kind::index && (way.at ? *way.at : *way.last).is_array();
}

std::optional<Json> JsonPath::assign_at(const std::vector<Step>& steps, std::size_t step, const Json* at, const Json& value) {
  if (step == steps.size()) return value;
  const Step& s = steps[step];
  if (s.kind == Step::Kind::member) {
    if (at && !at->is_null() && !at->is_object()) return std::nullopt;
    Json::Object members = at && at->is_object() ? at->as_object() : Json::Object{};
    auto inner = assign_at(steps, step + 1, members.find(s.names[0]), value);
    if (!inner) return std::nullopt;
    members.set(s.names[0], *std::move(inner));
    return Json(std::move(members));
  }
  const Json* item = at ? item_at(*at, s.indexes[0]) : nullptr;
  if (!item) return std::nullopt;
  auto inner = assign_at(steps, step + 1, item, value);
  if (!inner) return std::nullopt;
  Json::Array items = at->as_array();
  items[static_cast<std::size_t>(s.indexes[0])] = *std::move(inner);
  return Json(std::move(items));
}

std::optional<Json> JsonPath::assign(const Json& root, const Json& value) const {
  assert(reference_);
  return assign_at(steps_, 0, &root, value);
}

}  // namespace snapward::query
