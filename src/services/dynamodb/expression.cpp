#include "services/dynamodb/expression.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "base/text.hpp"
#include "services/dynamodb/reserved_words.hpp"
#include "services/dynamodb/value.hpp"

namespace snapward::services::dynamodb {

namespace {

constexpr int kDeepest = 100;

struct Step {
  std::string name;         // of a member, or
  std::int64_t index = -1;  // of a list's item
};
using Path = std::vector<Step>;

const Json* find(const Json& item, const Path& path) {
  const Json* at = item.find(path[0].name);
  for (std::size_t i = 1; at && i < path.size(); ++i) {
    if (path[i].index < 0) {
      at = (*at)["M"].find(path[i].name);
    } else {
      const auto& list = (*at)["L"].items();
      at = path[i].index < static_cast<std::int64_t>(list.size()) ? &list[static_cast<std::size_t>(path[i].index)] : nullptr;
    }
  }
  return at;
}

// The value at a path, from step `i` on, replaced (or removed: null). Nothing: the path leads nowhere.
std::optional<Json> replaced(const Json& value, const Path& path, std::size_t i, const std::optional<Json>& by) {
  if (i == path.size()) return by ? *by : Json();
  const Step& step = path[i];
  const bool last = i + 1 == path.size();
  if (step.index < 0) {
    if (i > 0 && !value.find("M")) return std::nullopt;
    const Json members = i == 0 ? value : value["M"];
    Json::Object out = members.is_object() ? members.as_object() : Json::Object{};
    const Json* old = out.find(step.name);
    if (last && !by) {
      out.erase(step.name);
    } else {
      if (!last && !old) return std::nullopt;
      auto inner = replaced(old ? *old : Json(), path, i + 1, by);
      if (!inner) return std::nullopt;
      out.set(step.name, *std::move(inner));
    }
    return i == 0 ? Json(std::move(out)) : Json::object({{"M", std::move(out)}});
  }
  if (!value.find("L")) return std::nullopt;
  Json::Array list = value["L"].items();
  const auto at = static_cast<std::size_t>(step.index);
  if (last && !by) {
    if (at < list.size()) list.erase(list.begin() + step.index);
  } else if (at >= list.size()) {
    if (!last) return std::nullopt;
    list.push_back(*by);
  } else {
    auto inner = replaced(list[at], path, i + 1, by);
    if (!inner) return std::nullopt;
    list[at] = *std::move(inner);
  }
  return Json::object({{"L", std::move(list)}});
}

// "[a, b, [2]]", as messages show a path.
std::string shown(const Path& path) {
  std::string out;
  for (const Step& step : path) out += (out.empty() ? "" : ", ") + (step.index < 0 ? step.name : fmt::format("[{}]", step.index));
  return '[' + out + ']';
}

// What DynamoDB has against two paths in one expression: one lies above the other, or they disagree on what is a map and what a list.
std::optional<std::string> clash(const std::vector<Path>& paths) {
  for (std::size_t i = 0; i < paths.size(); ++i)
    for (std::size_t k = 0; k < i; ++k) {
      const Path &one = paths[k], &two = paths[i];
      std::size_t same = 0;
      while (same < one.size() && same < two.size() && one[same].name == two[same].name && one[same].index == two[same].index) ++same;
      const bool above = same == one.size() || same == two.size();
      if (above || (one[same].index < 0) != (two[same].index < 0))
        return fmt::format("Two document paths {} with each other; must remove or rewrite one of these paths; path one: {}, path two: {}",
                           above ? "overlap" : "conflict", shown(one), shown(two));
    }
  return std::nullopt;
}

bool is_reserved(std::string_view word) {
  static const std::set<std::string, std::less<>> kWords = [] {
    std::set<std::string, std::less<>> out;
    for (std::string& one : split(kReservedWords, ' '))
      if (!one.empty()) out.insert(lower(one));
    return out;
  }();
  return kWords.contains(lower(word));
}

// "STRING", as messages about operators name a value's type.
std::string_view long_name(std::string_view type) {
  static const std::map<std::string_view, std::string_view> kNames = {
      {"S", "STRING"}, {"N", "NUMBER"}, {"B", "BINARY"},      {"BOOL", "BOOLEAN"},  {"NULL", "NULL"},
      {"M", "MAP"},    {"L", "LIST"},   {"SS", "STRING_SET"}, {"NS", "NUMBER_SET"}, {"BS", "BINARY_SET"}};
  const auto found = kNames.find(type);
  return found == kNames.end() ? type : found->second;
}

class Parser {
 public:
  Parser(std::string kind, const std::string& text, Substitutes& with, const Json& item)
      : kind_(std::move(kind)), with_(with), item_(item) {
    split(text);
  }

  std::expected<bool, std::string> condition(const std::set<std::string>& keys) {
    forbidden_ = &keys;
    const bool out = any();
    if (!done() && !wrong_) syntax();
    if (wrong_) return std::unexpected(*wrong_);
    return out;
  }
  std::expected<Json, std::string> projection() {
    Json out{Json::Object{}};
    std::vector<Path> paths;
    do {
      const Path p = path();
      if (wrong_) break;
      if (const Json* found = find(item_, p)) out = put(out, p, *found);
      paths.push_back(p);
    } while (eat(","));
    if (!done() && !wrong_) syntax();
    if (!wrong_)
      if (const auto why = clash(paths)) fail(*why);
    if (wrong_) return std::unexpected(*wrong_);
    return out;
  }
  std::expected<Updated, std::string> update(const std::set<std::string>& keys);
  std::expected<KeyCondition, std::string> key_condition(const std::string& partition_name, const std::string& sort_name);

 private:
  // ── Words ──
  void split(const std::string& text) {
    for (std::size_t i = 0; i < text.size();) {
      const char c = text[i];
      if (std::isspace(static_cast<unsigned char>(c))) {
        ++i;
        continue;
      }
      const auto part_of_name = [&](std::size_t j) {
        return j < text.size() && (std::isalnum(static_cast<unsigned char>(text[j])) || text[j] == '_');
      };
      std::size_t end = i + 1;
      if (c == '#' || c == ':' || part_of_name(i)) {
        while (part_of_name(end)) ++end;
      } else if ((c == '<' || c == '>') && end < text.size() && (text[end] == '=' || (c == '<' && text[end] == '>'))) {
        ++end;
      }
      words_.push_back(text.substr(i, end - i));
      i = end;
    }
  }
  [[nodiscard]] bool done() const { return at_ >= words_.size(); }
  [[nodiscard]] std::string word() const { return done() ? "" : words_[at_]; }
  bool eat(std::string_view what) {
    if (done() || !iequals(words_[at_], what)) return false;
    ++at_;
    return true;
  }
  void need(std::string_view what) {
    if (!eat(what)) syntax();
  }
  void fail(std::string message) {
    if (!wrong_) wrong_ = fmt::format("Invalid {}: {}", kind_, message);
    at_ = words_.size();
  }
  void syntax() {
    std::string near;
    for (std::size_t i = at_ == 0 ? 0 : at_ - 1; i < std::min(at_ + 2, words_.size()); ++i) near += (near.empty() ? "" : " ") + words_[i];
    fail(done() ? "The expression can not be empty or ends too soon;"
                : fmt::format("Syntax error; token: \"{}\", near: \"{}\"", word(), near));
  }

  // ── Paths and operands ──
  Path path() {
    Path out;
    do {
      const std::string name = word();
      if (name.starts_with('#')) {
        const std::string* real = with_.name(name);
        if (!real)
          return fail(fmt::format("An expression attribute name used in the document path is not defined; attribute name: {}", name)),
                 Path{{}};
        out.push_back({*real});
      } else if (is_reserved(name)) {
        return fail(fmt::format("Attribute name is a reserved keyword; reserved keyword: {}", name)), Path{{}};
      } else if (!name.empty() && (std::isalpha(static_cast<unsigned char>(name[0])) || name[0] == '_')) {
        out.push_back({name});
      } else {
        return syntax(), Path{{}};
      }
      ++at_;
      while (eat("[")) {
        const std::string index = word();
        if (index.empty() || index.find_first_not_of("0123456789") != std::string::npos || index.size() > 9) return syntax(), Path{{}};
        ++at_;
        out.push_back({"", std::stoll(index)});
        need("]");
      }
    } while (eat("."));
    if (forbidden_ && forbidden_->contains(out[0].name) && !wrong_) {
      wrong_ = "Filter Expression can only contain non-primary key attributes: Primary key attribute: " + out[0].name;
      at_ = words_.size();
    }
    return out;
  }
  using Operand = std::optional<Json>;  // nothing: no such attribute
  Operand operand() {
    const Deeper level(*this);
    if (wrong_) return std::nullopt;
    if (word().starts_with(':')) {
      const std::string name = word();
      ++at_;
      const Json* value = with_.value(name);
      if (!value)
        return fail(fmt::format("An expression attribute value used in expression is not defined; attribute value: {}", name)),
               std::nullopt;
      return *value;
    }
    if (iequals(word(), "size") && at_ + 1 < words_.size() && words_[at_ + 1] == "(") {
      at_ += 2;
      const Operand of = operand();
      need(")");
      if (!of) return std::nullopt;
      const std::string_view type = type_of(*of);
      const Json& inner = (*of)[type];
      std::size_t n = 0;
      if (type == "S" || type == "B")
        n = type == "S" ? utf8_length(inner.string_or()) : inner.string_or().size();
      else if (type == "M")
        n = inner.as_object().size();
      else if (inner.is_array())
        n = inner.as_array().size();
      else
        return std::nullopt;
      return Json::object({{"N", std::to_string(n)}});
    }
    const Path p = path();
    if (wrong_) return std::nullopt;
    const Json* found = find(item_, p);
    return found ? Operand(*found) : std::nullopt;
  }

  // ── Conditions: every part is looked at, so that mistakes are seen whatever the item is ──
  bool any() {
    bool out = all();
    while (eat("OR")) {
      const bool next = all();
      out = out || next;
    }
    return out;
  }
  bool all() {
    bool out = negation();
    while (eat("AND")) {
      const bool next = negation();
      out = out && next;
    }
    return out;
  }
  bool negation() {
    const Deeper level(*this);
    if (wrong_) return false;
    if (eat("NOT")) return !negation();
    if (eat("(")) {
      const bool out = any();
      need(")");
      return out;
    }
    return comparison();
  }
  // Expressions nest so deep and no deeper: the stack has an end.
  struct Deeper {
    explicit Deeper(Parser& p) : parser(p) {
      if (++parser.depth_ > kDeepest) parser.fail("The expression is nested too deep;");
    }
    ~Deeper() { --parser.depth_; }
    Deeper(const Deeper&) = delete;
    Deeper& operator=(const Deeper&) = delete;
    Parser& parser;
  };
  bool comparison() {
    const std::string name = lower(word());
    if (at_ + 1 < words_.size() && words_[at_ + 1] == "(" && name != "size") return function(name);
    const Operand left = operand();
    if (wrong_) return false;
    if (eat("BETWEEN")) {
      const Operand low = operand();
      need("AND");
      const Operand high = operand();
      if (!left || !low || !high) return false;
      const auto a = compare(*left, *low), b = compare(*left, *high);
      return a && b && *a >= 0 && *b <= 0;
    }
    if (eat("IN")) {
      need("(");
      bool out = false;
      do {
        const Operand one = operand();
        out = out || (left && one && *left == *one);
      } while (eat(","));
      need(")");
      return out;
    }
    const std::string sign = word();
    if (sign != "=" && sign != "<>" && sign != "<" && sign != "<=" && sign != ">" && sign != ">=") return syntax(), false;
    ++at_;
    const Operand right = operand();
    if (sign == "=") return left && right && *left == *right;
    if (sign == "<>") return !(left && right && *left == *right);
    if (!left || !right) return false;
    const auto order = compare(*left, *right);
    if (!order) return false;
    return sign == "<" ? *order < 0 : sign == "<=" ? *order <= 0 : sign == ">" ? *order > 0 : *order >= 0;
  }
  bool function(const std::string& name) {
    static const std::set<std::string> kKnown = {"attribute_exists", "attribute_not_exists", "attribute_type", "begins_with", "contains"};
    if (!kKnown.contains(name)) return fail(fmt::format("Invalid function name; function: {}", word())), false;
    at_ += 2;
    if (name == "attribute_exists" || name == "attribute_not_exists") {
      const Path p = path();
      need(")");
      if (wrong_) return false;
      return (find(item_, p) != nullptr) == (name == "attribute_exists");
    }
    const Operand of = operand();
    need(",");
    const Operand with = operand();
    need(")");
    if (!of || !with) return false;
    if (name == "attribute_type") return type_of(*of) == (*with)["S"].string_or();
    const std::string_view type = type_of(*of), other = type_of(*with);
    if (name == "begins_with")
      return type == other && (type == "S" || type == "B") && (*of)[type].string_or().starts_with((*with)[type].string_or());
    if (type == "S" || type == "B")
      return type == other && (*of)[type].string_or().find((*with)[type].string_or()) != std::string_view::npos;
    if (type == "L") return std::ranges::any_of((*of)["L"].items(), [&](const Json& item) { return item == *with; });
    if (type.size() == 2 && type[0] == other[0] && other.size() == 1)
      return std::ranges::find((*of)[type].items(), (*with)[other]) != (*of)[type].items().end();
    return false;
  }

  // ── Updates ──
  Operand update_value() {
    Operand out = update_operand();
    while (!wrong_ && (word() == "+" || word() == "-")) {
      const bool subtract = word() == "-";
      ++at_;
      const Operand right = update_operand();
      if (wrong_) return std::nullopt;
      if (!out || !right) return missing(), std::nullopt;
      if (type_of(*out) != "N" || type_of(*right) != "N") {
        const std::string_view type = type_of(type_of(*out) != "N" ? *out : *right);
        return fail(fmt::format("Incorrect operand type for operator or function; operator or function: {}, operand type: {}",
                                subtract ? "-" : "+", type)),
               std::nullopt;
      }
      out = added(*out, *right, subtract);
    }
    if (!out && !wrong_) missing();
    return out;
  }
  Operand added(const Json& a, const Json& b, bool subtract) {
    auto n = sum(a["N"].string_or(), b["N"].string_or(), subtract);
    if (n) return Json::object({{"N", *std::move(n)}});
    if (!wrong_) wrong_ = n.error();
    at_ = words_.size();
    return std::nullopt;
  }
  void missing() {
    if (!wrong_) wrong_ = "The provided expression refers to an attribute that does not exist in the item";
    at_ = words_.size();
  }
  Operand update_operand() {
    const Deeper level(*this);
    if (wrong_) return std::nullopt;
    const std::string name = lower(word());
    const bool call = at_ + 1 < words_.size() && words_[at_ + 1] == "(";
    if (call && name == "if_not_exists") {
      at_ += 2;
      const Path p = path();
      need(",");
      const Operand other = update_value();
      need(")");
      if (wrong_) return std::nullopt;
      const Json* found = find(item_, p);
      return found ? Operand(*found) : other;
    }
    if (call && name == "list_append") {
      at_ += 2;
      const Operand first = update_value();
      need(",");
      const Operand second = update_value();
      need(")");
      if (wrong_ || !first || !second) return std::nullopt;
      if (type_of(*first) != "L" || type_of(*second) != "L")
        return fail(fmt::format("Incorrect operand type for operator or function; operator or function: list_append, operand type: {}",
                                type_of(type_of(*first) != "L" ? *first : *second))),
               std::nullopt;
      Json::Array both = (*first)["L"].items();
      for (const Json& item : (*second)["L"].items()) both.push_back(item);
      return Json::object({{"L", std::move(both)}});
    }
    if (call) return fail(fmt::format("Invalid function name; function: {}", word())), std::nullopt;
    if (eat("(")) {
      const Operand out = update_value();
      need(")");
      return out;
    }
    return operand();
  }
  // A projected value at its path, the maps above made anew.
  static Json put(const Json& into, const Path& path, const Json& value) {
    Json nested = value;
    for (std::size_t i = path.size(); i-- > 1;)
      nested =
          path[i].index < 0 ? Json::object({{"M", Json::object({{path[i].name, nested}})}}) : Json::object({{"L", Json::array({nested})}});
    Json::Object out = into.as_object();
    const Json* old = out.find(path[0].name);
    out.set(path[0].name, old ? merged(*old, nested) : nested);
    return Json(std::move(out));
  }
  static Json merged(const Json& a, const Json& b) {
    if (a.find("M") && b.find("M")) {
      Json::Object out = a["M"].as_object();
      for (const auto& [key, value] : b["M"].as_object()) out.set(key, out.find(key) ? merged(*out.find(key), value) : value);
      return Json::object({{"M", std::move(out)}});
    }
    if (a.find("L") && b.find("L")) {
      Json::Array out = a["L"].items();
      for (const Json& item : b["L"].items()) out.push_back(item);
      return Json::object({{"L", std::move(out)}});
    }
    return b;
  }

  std::string kind_;
  Substitutes& with_;
  const Json& item_;
  const std::set<std::string>* forbidden_ = nullptr;
  std::vector<std::string> words_;
  std::size_t at_ = 0;
  int depth_ = 0;
  std::optional<std::string> wrong_;
};

std::expected<Updated, std::string> Parser::update(const std::set<std::string>& keys) {
  Updated out{item_, {}};
  std::set<std::string> clauses;
  struct Change {
    Path path;
    std::optional<Json> value;  // nothing: removed
  };
  std::vector<Change> changes;  // all are read of the item as it was
  std::vector<Path> paths;
  while (!done() && !wrong_) {
    const std::string clause = lower(word());
    if (clause != "set" && clause != "remove" && clause != "add" && clause != "delete") {
      syntax();
      break;
    }
    if (!clauses.insert(clause).second) {
      std::string shouted = clause;
      std::ranges::transform(shouted, shouted.begin(), [](char c) { return static_cast<char>(std::toupper(c)); });
      fail(fmt::format("The \"{}\" section can only be used once in an update expression;", shouted));
      break;
    }
    ++at_;
    do {
      const Path p = path();
      if (wrong_) break;
      if (keys.contains(p[0].name)) {
        wrong_ = fmt::format("One or more parameter values were invalid: Cannot update attribute {}. This attribute is part of the key",
                             p[0].name);
        break;
      }
      out.touched.insert(p[0].name);
      paths.push_back(p);
      if (clause == "set") {
        need("=");
        auto value = update_value();
        if (wrong_) break;
        changes.push_back({p, *std::move(value)});
        continue;
      }
      if (clause == "remove") {
        changes.push_back({p, std::nullopt});
        continue;
      }
      const Operand value = operand();
      if (wrong_ || !value) {
        if (!wrong_) syntax();
        break;
      }
      const Json* old = find(item_, p);
      const std::string_view type = type_of(*value);
      const bool set = type == "SS" || type == "NS" || type == "BS";
      if ((clause == "add" && !set && type != "N") || (clause == "delete" && !set)) {
        const char* shouted = clause == "add" ? "ADD" : "DELETE";
        fail(fmt::format(
            "Incorrect operand type for operator or function; operator: {0}, operand type: {1}, typeSet: ALLOWED_FOR_{0}_OPERAND", shouted,
            long_name(type)));
        break;
      }
      if (old && type_of(*old) != type) {
        wrong_ = "An operand in the update expression has an incorrect data type";
        break;
      }
      if (type == "N") {
        auto total = old ? added(*old, *value, false) : value;
        if (wrong_) break;
        changes.push_back({p, *std::move(total)});
        continue;
      }
      std::set<std::string> members;
      if (old)
        for (const Json& m : (*old)[type].items()) members.insert(std::string(m.string_or()));
      for (const Json& m : (*value)[type].items()) {
        if (clause == "add")
          members.insert(std::string(m.string_or()));
        else
          members.erase(std::string(m.string_or()));
      }
      if (clause == "delete" && !old) continue;
      Json::Array list;
      for (const auto& m : members) list.emplace_back(m);
      changes.push_back({p, list.empty() ? std::nullopt : std::optional(Json::object({{std::string(type), std::move(list)}}))});
    } while (eat(","));
  }
  if (words_.empty()) fail("The expression can not be empty;");
  if (!wrong_)
    if (const auto why = clash(paths)) fail(*why);
  if (wrong_) return std::unexpected(*wrong_);
  // Removals last and, from lists, from behind, so that the others' indexes stay what they were.
  std::vector<Change> removals;
  std::erase_if(changes, [&removals](const Change& c) {
    if (!c.value) removals.push_back(c);
    return !c.value;
  });
  std::ranges::sort(removals, std::greater{}, [](const Change& c) { return c.path.back().index; });
  changes.insert(changes.end(), removals.begin(), removals.end());
  for (const Change& c : changes) {
    auto changed = replaced(out.item, c.path, 0, c.value);
    if (!changed && !c.value) continue;
    if (!changed) return std::unexpected("The document path provided in the update expression is invalid for update");
    out.item = *std::move(changed);
  }
  return out;
}

std::expected<KeyCondition, std::string> Parser::key_condition(const std::string& partition_name, const std::string& sort_name) {
  KeyCondition out;
  bool has_partition = false;
  using Kind = KeyCondition::Kind;
  const auto part = [&](auto&& self) -> void {
    const Deeper level(*this);
    if (wrong_) return;
    if (eat("(")) {
      self(self);
      need(")");
    } else if (iequals(word(), "begins_with")) {
      ++at_;
      need("(");
      const Path p = path();
      need(",");
      const Operand value = operand();
      need(")");
      if (wrong_ || !value) return;
      if (p[0].name != sort_name) return fail(fmt::format("Query key condition not supported"));
      out.kind = Kind::begins;
      out.first = *value;
    } else {
      const Path p = path();
      if (wrong_) return;
      const std::string sign = word();
      if (sign.empty()) return syntax();
      ++at_;
      const Operand value = operand();
      if (wrong_ || !value) return;
      if (p[0].name == partition_name && sign == "=") {
        out.partition = *value;
        has_partition = true;
      } else if (p[0].name == sort_name && iequals(sign, "BETWEEN")) {
        need("AND");
        const Operand high = operand();
        if (wrong_ || !high) return;
        out.kind = Kind::between;
        out.first = *value;
        out.second = *high;
      } else if (p[0].name == sort_name && (sign == "=" || sign == "<" || sign == "<=" || sign == ">" || sign == ">=")) {
        out.kind = sign == "="    ? Kind::equal
                   : sign == "<"  ? Kind::less
                   : sign == "<=" ? Kind::at_most
                   : sign == ">"  ? Kind::greater
                                  : Kind::at_least;
        out.first = *value;
      } else if (p[0].name == partition_name || p[0].name == sort_name) {
        wrong_ = "Query key condition not supported";
      } else {
        wrong_ =
            fmt::format("Query condition missed key schema element: {}", has_partition && !sort_name.empty() ? sort_name : partition_name);
      }
    }
    if (!wrong_ && eat("AND")) self(self);
  };
  part(part);
  if (!done() && !wrong_) syntax();
  if (wrong_) return std::unexpected(*wrong_);
  if (!has_partition) return std::unexpected(fmt::format("Query condition missed key schema element: {}", partition_name));
  return out;
}

}  // namespace

bool KeyCondition::accepts(const Json& sort) const {
  if (kind == Kind::any) return true;
  if (kind == Kind::begins) {
    const std::string_view type = type_of(first);
    return sort[type].string_or().starts_with(first[type].string_or());
  }
  const auto order = compare(sort, first);
  if (!order) return false;
  switch (kind) {
    case Kind::equal:
      return *order == 0;
    case Kind::less:
      return *order < 0;
    case Kind::at_most:
      return *order <= 0;
    case Kind::greater:
      return *order > 0;
    case Kind::at_least:
      return *order >= 0;
    default:
      return *order >= 0 && compare(sort, second).value_or(1) <= 0;
  }
}

std::expected<Substitutes, std::string> Substitutes::from(const Json& input) {
  Substitutes out;
  for (const char* given : {"ExpressionAttributeNames", "ExpressionAttributeValues"})
    if (input[given].is_object() && input[given].as_object().empty()) return std::unexpected(fmt::format("{} must not be empty", given));
  if (const Json& names = input["ExpressionAttributeNames"]; names.is_object())
    for (const auto& [key, name] : names.as_object()) {
      if (!key.starts_with('#'))
        return std::unexpected(fmt::format("ExpressionAttributeNames contains invalid key: Syntax error; key: \"{}\"", key));
      out.names_[key] = name.string_or();
    }
  if (const Json& values = input["ExpressionAttributeValues"]; values.is_object())
    for (const auto& [key, value] : values.as_object()) {
      if (!key.starts_with(':'))
        return std::unexpected(fmt::format("ExpressionAttributeValues contains invalid key: Syntax error; key: \"{}\"", key));
      auto good = checked(value);
      if (!good) return std::unexpected(fmt::format("ExpressionAttributeValues contains invalid value: {} for key {}", good.error(), key));
      out.values_[key] = *std::move(good);
    }
  return out;
}
const std::string* Substitutes::name(const std::string& placeholder) {
  const auto found = names_.find(placeholder);
  if (found == names_.end()) return nullptr;
  used_.insert(placeholder);
  return &found->second;
}
const Json* Substitutes::value(const std::string& placeholder) {
  const auto found = values_.find(placeholder);
  if (found == values_.end()) return nullptr;
  used_.insert(placeholder);
  return &found->second;
}
std::optional<std::string> Substitutes::unused() const {
  for (const auto& [key, name] : names_)
    if (!used_.contains(key)) return fmt::format("Value provided in ExpressionAttributeNames unused in expressions: keys: {{{}}}", key);
  for (const auto& [key, value] : values_)
    if (!used_.contains(key)) return fmt::format("Value provided in ExpressionAttributeValues unused in expressions: keys: {{{}}}", key);
  return std::nullopt;
}

std::expected<bool, std::string> holds(const std::string& kind, const std::string& expression, Substitutes& with, const Json& item,
                                       const std::set<std::string>& keys) {
  return Parser(kind, expression, with, item).condition(keys);
}
std::expected<Updated, std::string> update(const std::string& expression, Substitutes& with, const Json& item,
                                           const std::set<std::string>& keys) {
  return Parser("UpdateExpression", expression, with, item).update(keys);
}
std::expected<Json, std::string> project(const std::string& expression, Substitutes& with, const Json& item) {
  return Parser("ProjectionExpression", expression, with, item).projection();
}
std::expected<KeyCondition, std::string> key_condition(const std::string& expression, Substitutes& with, const std::string& partition_name,
                                                       const std::string& sort_name) {
  static const Json kNothing;
  return Parser("KeyConditionExpression", expression, with, kNothing).key_condition(partition_name, sort_name);
}

}  // namespace snapward::services::dynamodb
