#include "events/matcher.hpp"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <array>
#include <bit>
#include <bitset>
#include <cmath>
#include <map>
#include <unordered_map>

#include "events/pattern_tree.hpp"

namespace snapward::events {

namespace {

using Op = Pattern::Matcher::Op;
using Index = std::uint32_t;

// A polynomial hash: that of every beginning of a text comes out of one walk over it.
constexpr std::uint64_t kBase = 0x9E3779B97F4A7C15ULL | 1;
constexpr std::uint64_t step(std::uint64_t hash, char c) { return hash * kBase + static_cast<unsigned char>(c) + 1; }

std::string reversed(std::string_view s) { return {s.rbegin(), s.rend()}; }

// A few indexes, the first of them in place: most lists have just one.
class Few {
 public:
  void add(Index i) {
    if (first_ == kNone)
      first_ = i;
    else
      more_.push_back(i);
  }
  void erase(Index i) {
    if (first_ != i) {
      std::erase(more_, i);
      return;
    }
    first_ = kNone;
    if (more_.empty()) return;
    first_ = more_.back();
    more_.pop_back();
  }
  [[nodiscard]] bool empty() const { return first_ == kNone; }
  [[nodiscard]] std::size_t size() const { return empty() ? 0 : 1 + more_.size(); }
  [[nodiscard]] Index first() const { return first_; }
  template <class Use>
  void each(const Use& use) const {
    if (first_ == kNone) return;
    use(first_);
    for (const Index i : more_) use(i);
  }

 private:
  static constexpr Index kNone = ~Index{0};
  Index first_ = kNone;
  std::vector<Index> more_;
};

// Texts by length, so that all beginnings of a value that are among them are found in one walk over it.
class Beginnings {
 public:
  void add(std::string_view text, Index entry) {
    std::vector<Group>& groups = of(text.size()).by_hash[hash_of(text)];
    for (Group& group : groups)
      if (group.text == text) return group.entries.add(entry);
    groups.push_back({std::string(text), {}});
    groups.back().entries.add(entry);
  }
  void remove(std::string_view text, Index entry) {
    Length& length = of(text.size());
    const auto found = length.by_hash.find(hash_of(text));
    if (found != length.by_hash.end()) {
      for (Group& group : found->second)
        if (group.text == text) group.entries.erase(entry);
      std::erase_if(found->second, [](const Group& g) { return g.entries.empty(); });
      if (found->second.empty()) length.by_hash.erase(found);
    }
    if (length.by_hash.empty()) std::erase_if(lengths_, [&](const Length& l) { return l.size == text.size(); });
  }
  // use(entry) for each text that `value` begins with; kReverse: the texts are kept reversed and the value is read from its end.
  template <bool kReverse, class Use>
  void find(std::string_view value, const Use& use) const {
    std::uint64_t hash = 0;
    std::size_t at = 0;
    for (const Length& length : lengths_) {
      if (length.size > value.size()) return;
      for (; at < length.size; ++at) hash = step(hash, kReverse ? value[value.size() - 1 - at] : value[at]);
      const auto found = length.by_hash.find(hash);
      if (found == length.by_hash.end()) continue;
      for (const Group& group : found->second) {
        const bool same = kReverse ? std::equal(group.text.begin(), group.text.end(), value.rbegin()) : value.starts_with(group.text);
        if (same) group.entries.each(use);
      }
    }
  }
  [[nodiscard]] std::size_t bytes() const {
    std::size_t out = 0;
    for (const Length& l : lengths_) out += l.by_hash.size() * (l.size + 120);
    return out;
  }
  [[nodiscard]] bool empty() const { return lengths_.empty(); }

 private:
  struct Group {
    std::string text;
    Few entries;
  };
  struct Length {
    std::size_t size = 0;
    std::unordered_map<std::uint64_t, std::vector<Group>> by_hash;  // more than one only where texts collide
  };
  static std::uint64_t hash_of(std::string_view text) {
    std::uint64_t hash = 0;
    for (const char c : text) hash = step(hash, c);
    return hash;
  }
  Length& of(std::size_t size) {
    const auto at = std::lower_bound(lengths_.begin(), lengths_.end(), size, [](const Length& l, std::size_t s) { return l.size < s; });
    if (at != lengths_.end() && at->size == size) return *at;
    return *lengths_.insert(at, Length{size, {}});
  }
  std::vector<Length> lengths_;  // shortest first
};

struct TextHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view s) const { return std::hash<std::string_view>{}(s); }
};

// One way a field's value may be wanted, shared by all conditions that want it so.
struct Entry {
  Pattern::Matcher matcher;
  std::string key;  // its text form: what makes two the same
};

// "a*bc*d" as its literal pieces.
struct Glob {
  std::string first, last;  // before the first and after the last '*'
  std::vector<std::string> middle;
};
Glob glob_of(std::string_view pattern) {
  std::vector<std::string> parts = {{}};
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] == '\\' && i + 1 < pattern.size())
      parts.back() += pattern[++i];
    else if (pattern[i] == '*')
      parts.emplace_back();
    else
      parts.back() += pattern[i];
  }
  Glob out;
  out.first = parts.front();
  if (parts.size() > 1) out.last = parts.back();
  for (std::size_t i = 1; i + 1 < parts.size(); ++i) out.middle.push_back(parts[i]);
  return out;
}
bool accepts(const Glob& g, bool has_star, std::string_view value) {
  if (!has_star) return value == g.first;
  if (value.size() < g.first.size() + g.last.size() || !value.starts_with(g.first) || !value.ends_with(g.last)) return false;
  std::size_t at = g.first.size();
  const std::size_t end = value.size() - g.last.size();
  for (const std::string& piece : g.middle) {
    const std::size_t found = value.substr(0, end).find(piece, at);
    if (found == std::string_view::npos) return false;
    at = found + piece.size();
  }
  return true;
}

// Everything any rule wants of one field.
struct Field {
  std::vector<Index> path_entries;  // exists, absent: Entry indexes
  std::unordered_multimap<std::string, Index, TextHash, std::equal_to<>> equals, ignoring_case;
  Beginnings prefixes, suffixes;  // suffixes are kept reversed
  Beginnings prefixes_ignoring_case, suffixes_ignoring_case;
  // Wildcards, found by their last literal piece, else by their first; those with neither are all tried.
  Beginnings wildcards_by_end, wildcards_by_start;
  std::vector<Index> wildcards, others;  // others: numeric ranges, cidr, anything-but with prefix and so on
  std::map<double, std::vector<Index>> numbers;
  std::vector<Index> true_values, false_values, null_values;
  // anything-but over texts or numbers: all of them hold but those whose list has the value.
  std::vector<Index> but;
  std::unordered_multimap<std::string, Index, TextHash, std::equal_to<>> but_texts;
  std::multimap<double, Index> but_numbers;
  std::size_t entries = 0;
  std::string name;  // "detail.snapshot_id"
};

// Of a key, what tells it from most others; an empty one may be followed by a dot.
std::size_t first_byte(std::string_view key) { return key.empty() ? '.' : static_cast<unsigned char>(key[0]); }

// Where fields are in an event.
struct PathNode {
  struct Child {
    std::string key;
    std::unique_ptr<PathNode> node;
    std::uint64_t word = 0, mask = 0;  // the key's first eight bytes, to compare at once
  };
  std::vector<Child> children;
  std::bitset<256> begins;  // the first bytes of the children's keys
  Index field = ~Index{0};
  [[nodiscard]] PathNode* child(std::string_view key) const {
    if (children.size() > kFew) {
      const auto found = by_key.find(key);
      return found == by_key.end() ? nullptr : found->second;
    }
    for (const Child& c : children)
      if (c.key == key) return c.node.get();
    return nullptr;
  }
  PathNode* add(const std::string& key) {
    Child& c = children.emplace_back();
    c.key = key;
    c.node = std::make_unique<PathNode>();
    std::memcpy(&c.word, key.data(), std::min<std::size_t>(8, key.size()));
    c.mask = key.size() >= 8 ? ~0ULL : (1ULL << (8 * key.size())) - 1;
    begins.set(first_byte(key));
    by_key.emplace(key, c.node.get());
    return c.node.get();
  }

 private:
  static constexpr std::size_t kFew = 8;  // as many children are found faster one by one
  std::unordered_map<std::string, PathNode*, TextHash, std::equal_to<>> by_key;
};

// One field's values ORed: {"a": ["x", {"prefix": "y"}]} as a whole.
struct Condition {
  Index field = 0;
  std::vector<Index> entries;
  std::size_t uses = 0;  // clauses that have it
  int rank = 0;          // the less, the rarer it holds
  std::string key;
};

// Conditions ANDed: a rule, or one of the ways through its $or. The first few are in place: all that most clauses have.
struct Clause {
  static constexpr std::size_t kInPlace = 8;
  Index rule = 0;
  Index access = 0;
  std::uint32_t count = 0;
  std::array<Index, kInPlace> some{};
  std::vector<Index> more;
  void set(const std::vector<Index>& all) {
    count = static_cast<std::uint32_t>(std::min(all.size(), kInPlace));
    std::copy_n(all.begin(), count, some.begin());
    more.assign(all.begin() + count, all.end());
  }
  template <class Use>
  void each(const Use& use) const {
    for (std::uint32_t i = 0; i < count; ++i) use(some[i]);
    for (const Index c : more) use(c);
  }
  [[nodiscard]] bool holds(const std::vector<std::uint32_t>& held, std::uint32_t epoch) const {
    for (std::uint32_t i = 0; i < count; ++i)
      if (held[some[i]] != epoch) return false;
    return std::all_of(more.begin(), more.end(), [&](Index c) { return held[c] == epoch; });
  }
};

struct RuleState {
  std::vector<Index> clauses;
  std::optional<Pattern> pattern;  // for events with arrays of objects, where one object must meet all
};

template <class T>
class Slots {  // indexes that are used again
 public:
  Index add(T value) {
    if (free_.empty()) {
      items.push_back(std::move(value));
      return static_cast<Index>(items.size() - 1);
    }
    const Index at = free_.back();
    free_.pop_back();
    items[at] = std::move(value);
    return at;
  }
  void remove(Index at) {
    items[at] = T{};
    free_.push_back(at);
  }
  [[nodiscard]] std::size_t used() const { return items.size() - free_.size(); }
  std::vector<T> items;

 private:
  std::vector<Index> free_;
};

std::string key_of(const Pattern::Matcher& m) {
  std::string out = std::to_string(static_cast<int>(m.op)) + ':' + (m.op == Op::equals ? m.value.dump() : m.text);
  if (m.low) out += fmt::format(">{}{}", *m.low, m.low_included);
  if (m.high) out += fmt::format("<{}{}", *m.high, m.high_included);
  if (m.op == Op::cidr)
    out += fmt::format("{}/{}", hex_encode({reinterpret_cast<const char*>(m.network.address.data()), 16}), m.network.bits);
  for (const auto& e : m.excluded) out += '[' + key_of(e) + ']';
  return out;
}

int rank_of(const Pattern::Matcher& m) {
  switch (m.op) {
    case Op::equals:
    case Op::ignore_case:
      return 1;
    case Op::prefix:
    case Op::suffix:
    case Op::prefix_ignore_case:
    case Op::suffix_ignore_case:
      return m.text.size() >= 3 ? 1 : 4;
    case Op::wildcard:
      return 2;
    case Op::cidr:
    case Op::numeric:
      return 4;
    case Op::anything_but:
      return 8;
    case Op::exists:
    case Op::absent:
      return 9;
  }
  return 9;
}

// anything-but of plain texts or numbers, which can be answered by looking the value up.
bool is_plain_but(const Pattern::Matcher& m) {
  return m.op == Op::anything_but && std::all_of(m.excluded.begin(), m.excluded.end(), [](const auto& e) { return e.op == Op::equals; });
}

}  // namespace

struct Matcher::Tables {
  PathNode root;
  std::vector<std::unique_ptr<Field>> fields;
  Slots<Entry> entries;
  std::vector<Few> fires;    // by entry: the conditions that hold when it accepts
  std::vector<Few> waiting;  // by condition: the clauses that wait for it to hold first
  std::vector<Glob> globs;   // by entry, of wildcards
  std::vector<char> has_star;
  std::unordered_map<std::string, Index> entry_by_key;  // "field/key"
  Slots<Condition> conditions;
  std::unordered_map<std::string, Index> condition_by_key;
  Slots<Clause> clauses;
  std::vector<RuleState> rules;
  std::size_t rule_count = 0;

  Index field_at(const std::vector<std::string>& path) {
    PathNode* node = &root;
    std::string name;
    for (const std::string& key : path) {
      name += (name.empty() ? "" : ".") + key;
      PathNode* next = node->child(key);
      if (!next) next = node->add(key);
      node = next;
    }
    if (node->field == ~Index{0}) {
      node->field = static_cast<Index>(fields.size());
      fields.push_back(std::make_unique<Field>());
      fields.back()->name = name;
    }
    return node->field;
  }

  // ── Adding ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────

  Index entry(Index f, const Pattern::Matcher& m) {
    const std::string key = fmt::format("{}/{}", f, key_of(m));
    if (const auto known = entry_by_key.find(key); known != entry_by_key.end()) return known->second;
    const Index at = entries.add({m, key});
    entry_by_key[key] = at;
    fires.resize(entries.items.size());
    globs.resize(entries.items.size());
    has_star.resize(entries.items.size());
    if (m.op == Op::wildcard) {
      globs[at] = glob_of(m.text);
      has_star[at] = globs[at].first.size() < unescaped_size(m.text);
    }
    file(*fields[f], at, true);
    ++fields[f]->entries;
    return at;
  }
  static std::size_t unescaped_size(std::string_view pattern) {
    std::size_t n = 0;
    for (std::size_t i = 0; i < pattern.size(); ++i, ++n)
      if (pattern[i] == '\\') ++i;
    return n;
  }

  // Puts an entry where a value will find it, or takes it out.
  void file(Field& f, Index at, bool in) {
    const Pattern::Matcher& m = entries.items[at].matcher;
    const auto listed = [&](std::vector<Index>& list) {
      if (in)
        list.push_back(at);
      else
        std::erase(list, at);
    };
    const auto text = [&](auto& map, const std::string& key) {
      if (in) {
        map.emplace(key, at);
        return;
      }
      const auto [first, last] = map.equal_range(key);
      for (auto i = first; i != last; ++i)
        if (i->second == at) {
          map.erase(i);
          return;
        }
    };
    const auto beginning = [&](Beginnings& b, const std::string& key) { in ? b.add(key, at) : b.remove(key, at); };
    switch (m.op) {
      case Op::equals:
        if (m.value.is_string())
          text(f.equals, m.value.plain());
        else if (m.value.is_number())
          listed(f.numbers[m.value.as_double()]);
        else
          listed(m.value.is_null() ? f.null_values : m.value.as_bool() ? f.true_values : f.false_values);
        return;
      case Op::ignore_case:
        return text(f.ignoring_case, m.text);
      case Op::prefix:
        return beginning(f.prefixes, m.text);
      case Op::suffix:
        return beginning(f.suffixes, reversed(m.text));
      case Op::prefix_ignore_case:
        return beginning(f.prefixes_ignoring_case, m.text);
      case Op::suffix_ignore_case:
        return beginning(f.suffixes_ignoring_case, reversed(m.text));
      case Op::wildcard: {
        const Glob& g = globs[at];
        if (!has_star[at]) return text(f.equals, g.first);
        if (!g.last.empty()) return beginning(f.wildcards_by_end, reversed(g.last));
        if (!g.first.empty()) return beginning(f.wildcards_by_start, g.first);
        return listed(f.wildcards);
      }
      case Op::anything_but:
        if (!is_plain_but(m)) return listed(f.others);
        listed(f.but);
        for (const auto& e : m.excluded) {
          if (e.value.is_string()) {
            text(f.but_texts, e.value.plain());
          } else if (in) {
            f.but_numbers.emplace(e.value.as_double(), at);
          } else {
            const auto [first, last] = f.but_numbers.equal_range(e.value.as_double());
            for (auto i = first; i != last; ++i)
              if (i->second == at) {
                f.but_numbers.erase(i);
                break;
              }
          }
        }
        return;
      case Op::numeric:
      case Op::cidr:
        return listed(f.others);
      case Op::exists:
      case Op::absent:
        return listed(f.path_entries);
    }
  }

  Index condition(Index f, const std::vector<Pattern::Matcher>& values) {
    std::vector<Index> wanted;
    for (const auto& m : values) wanted.push_back(entry(f, m));
    std::sort(wanted.begin(), wanted.end());
    wanted.erase(std::unique(wanted.begin(), wanted.end()), wanted.end());
    std::string key = std::to_string(f);
    for (const Index e : wanted) key += ',' + std::to_string(e);
    if (const auto known = condition_by_key.find(key); known != condition_by_key.end()) return known->second;
    Condition c{.field = f, .entries = wanted, .uses = 0, .rank = 0, .key = key};
    for (const Index e : wanted) c.rank = std::max(c.rank, rank_of(entries.items[e].matcher));
    const Index at = conditions.add(std::move(c));
    condition_by_key[key] = at;
    waiting.resize(conditions.items.size());
    for (const Index e : wanted) fires[e].add(at);
    return at;
  }

  // Every way through the $or's of a pattern, as sets of conditions.
  void ways(const Pattern::Node& node, std::vector<std::string>& path, std::vector<std::vector<Index>>& out) {
    for (const auto& field : node.fields) {
      path.push_back(field.key);
      if (field.object) {
        ways(*field.object, path, out);
      } else {
        const Index c = condition(field_at(path), field.values);
        for (auto& way : out) way.push_back(c);
      }
      path.pop_back();
    }
    for (const auto& group : node.either) {
      std::vector<std::vector<Index>> all;
      for (const auto& option : group) {
        std::vector<std::vector<Index>> branch = out;
        ways(*option, path, branch);
        all.insert(all.end(), std::make_move_iterator(branch.begin()), std::make_move_iterator(branch.end()));
      }
      out = std::move(all);
    }
  }

  void add(RuleId rule, const Pattern& pattern) {
    if (rule >= rules.size()) rules.resize(rule + 1);
    std::vector<std::vector<Index>> all = {{}};
    std::vector<std::string> path;
    ways(pattern.root(), path, all);
    for (auto& way : all) {
      std::sort(way.begin(), way.end());
      way.erase(std::unique(way.begin(), way.end()), way.end());
      // It waits for the condition that holds for the fewest events: rare by its kind, and shared with few others.
      Index access = way.front();
      const auto cost = [&](Index c) {
        const Condition& known = conditions.items[c];
        return known.rank * 4 + static_cast<int>(std::bit_width(known.uses)) * 2;
      };
      for (const Index c : way)
        if (cost(c) < cost(access) || (cost(c) == cost(access) && conditions.items[c].field > conditions.items[access].field)) access = c;
      Clause clause;
      clause.rule = rule;
      clause.access = access;
      clause.set(way);
      const Index at = clauses.add(std::move(clause));
      for (const Index c : way) ++conditions.items[c].uses;
      waiting[access].add(at);
      rules[rule].clauses.push_back(at);
    }
    rules[rule].pattern = pattern;
    ++rule_count;
  }

  void remove(RuleId rule) {
    if (rule >= rules.size() || !rules[rule].pattern) return;
    for (const Index at : rules[rule].clauses) {
      const Clause clause = clauses.items[at];
      waiting[clause.access].erase(at);
      clause.each([&](Index c) {
        Condition& condition = conditions.items[c];
        if (--condition.uses > 0) return;
        for (const Index e : condition.entries) {
          fires[e].erase(c);
          if (!fires[e].empty()) continue;
          file(*fields[condition.field], e, false);
          --fields[condition.field]->entries;
          entry_by_key.erase(entries.items[e].key);
          entries.remove(e);
        }
        condition_by_key.erase(condition.key);
        conditions.remove(c);
      });
      clauses.remove(at);
    }
    rules[rule] = {};
    --rule_count;
  }

  // ── Matching ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────

  struct Found;
  void take_text(const Field& f, std::string_view value, Found& found) const;
  void take_number(const Field& f, double value, Found& found) const;
  void take_other(const Field& f, const Json& value, Found& found) const;
  void walk(const PathNode& node, const Json& object, Found& found) const;
  void take(const PathNode& node, const Json& value, Found& found) const;
  void finish(const Json* event, Found& found, std::vector<RuleId>& out) const;
};

struct Matcher::Scratch::State {
  std::uint32_t epoch = 0;
  std::vector<std::uint32_t> held;     // by condition: the epoch in which it held
  std::vector<std::uint32_t> matched;  // by rule
  std::vector<std::uint32_t> seen;     // by field: whether the event has it
  std::vector<std::uint32_t> barred;   // by entry: an anything-but that the value at hand is listed in
  std::vector<Index> holding;          // conditions that hold
  std::uint32_t bar = 0;
  simdjson::ondemand::parser parser;
  std::string padded;
  std::string lowered;
};

struct Matcher::Tables::Found {
  Scratch::State& s;
  const Tables& t;
  bool objects_in_arrays = false;  // then what holds is a first guess, and each rule is asked itself
  bool dots = false;               // in names that some rule may look at: the event has to be taken apart first

  void entry(Index e) {
    t.fires[e].each([this](Index c) {
      if (s.held[c] == s.epoch) return;
      s.held[c] = s.epoch;
      if (!t.waiting[c].empty()) s.holding.push_back(c);
    });
  }
};

void Matcher::Tables::take_text(const Field& f, std::string_view value, Found& found) const {
  const auto all = [&](const auto& map) {
    if (map.empty()) return;
    const auto [first, last] = map.equal_range(value);
    for (auto i = first; i != last; ++i) found.entry(i->second);
  };
  const auto hit = [&](Index e) { found.entry(e); };
  all(f.equals);
  f.prefixes.find<false>(value, hit);
  f.suffixes.find<true>(value, hit);
  const auto glob = [&](Index e) {
    if (accepts(globs[e], true, value)) found.entry(e);
  };
  f.wildcards_by_end.find<true>(value, glob);
  f.wildcards_by_start.find<false>(value, glob);
  for (const Index e : f.wildcards) glob(e);
  if (!f.ignoring_case.empty() || !f.prefixes_ignoring_case.empty() || !f.suffixes_ignoring_case.empty()) {
    found.s.lowered = lower(value);
    const auto [first, last] = f.ignoring_case.equal_range(std::string_view(found.s.lowered));
    for (auto i = first; i != last; ++i) found.entry(i->second);
    f.prefixes_ignoring_case.find<false>(found.s.lowered, hit);
    f.suffixes_ignoring_case.find<true>(found.s.lowered, hit);
  }
  if (!f.but.empty()) {
    const std::uint32_t bar = ++found.s.bar;
    const auto [first, last] = f.but_texts.equal_range(value);
    for (auto i = first; i != last; ++i) found.s.barred[i->second] = bar;
    for (const Index e : f.but)
      if (found.s.barred[e] != bar) found.entry(e);
  }
  if (!f.others.empty()) {
    const Json json{std::string(value)};
    for (const Index e : f.others)
      if (entries.items[e].matcher.accepts(json)) found.entry(e);
  }
}

void Matcher::Tables::take_number(const Field& f, double value, Found& found) const {
  if (const auto known = f.numbers.find(value); known != f.numbers.end())
    for (const Index e : known->second) found.entry(e);
  if (!f.but.empty()) {
    const std::uint32_t bar = ++found.s.bar;
    const auto [first, last] = f.but_numbers.equal_range(value);
    for (auto i = first; i != last; ++i) found.s.barred[i->second] = bar;
    for (const Index e : f.but)
      if (found.s.barred[e] != bar) found.entry(e);
  }
  if (f.others.empty()) return;
  const Json json(value);
  for (const Index e : f.others)
    if (entries.items[e].matcher.accepts(json)) found.entry(e);
}

void Matcher::Tables::take_other(const Field& f, const Json& value, Found& found) const {
  for (const Index e : value.is_null() ? f.null_values : value.as_bool() ? f.true_values : f.false_values) found.entry(e);
  for (const Index e : f.but) found.entry(e);
  for (const Index e : f.others)
    if (entries.items[e].matcher.accepts(value)) found.entry(e);
}

void Matcher::Tables::take(const PathNode& node, const Json& value, Found& found) const {
  if (value.is_object()) {
    if (!node.children.empty()) walk(node, value, found);
    return;
  }
  if (value.is_array()) {
    for (const Json& item : value.as_array()) {
      if (item.is_object() || (item.is_array() && !node.children.empty())) found.objects_in_arrays = true;
      take(node, item, found);
    }
    return;
  }
  if (node.field == ~Index{0}) return;
  const Field& f = *fields[node.field];
  found.s.seen[node.field] = found.s.epoch;
  if (value.is_string())
    take_text(f, value.as_string(), found);
  else if (value.is_number())
    take_number(f, value.as_double(), found);
  else
    take_other(f, value, found);
}

void Matcher::Tables::walk(const PathNode& node, const Json& object, Found& found) const {
  if (!object.is_object()) return;
  for (const auto& [key, value] : object.as_object()) {
    if (!node.begins.test(first_byte(key))) continue;
    if (const PathNode* child = node.child(key))
      take(*child, value, found);
    else if (key.contains('.'))
      found.dots = true;
  }
}

void Matcher::Tables::finish(const Json* event, Found& found, std::vector<RuleId>& out) const {
  for (std::size_t f = 0; f < fields.size(); ++f)
    for (const Index e : fields[f]->path_entries) {
      const bool present = found.s.seen[f] == found.s.epoch;
      const bool wants = entries.items[e].matcher.op == Op::exists;
      if (present == wants || (found.objects_in_arrays && !wants)) found.entry(e);
    }
  for (const Index c : found.s.holding)
    waiting[c].each([&](Index at) {
      const Clause& clause = clauses.items[at];
      if (found.s.matched[clause.rule] == found.s.epoch || !clause.holds(found.s.held, found.s.epoch)) return;
      found.s.matched[clause.rule] = found.s.epoch;
      if (!found.objects_in_arrays || rules[clause.rule].pattern->root().matches(*event)) out.push_back(clause.rule);
    });
}

Matcher::Matcher() : tables_(std::make_unique<Tables>()) {}
Matcher::~Matcher() = default;
Matcher::Matcher(Matcher&&) noexcept = default;
Matcher& Matcher::operator=(Matcher&&) noexcept = default;
Matcher::Scratch::Scratch() : state_(std::make_unique<State>()) {}
Matcher::Scratch::~Scratch() = default;
Matcher::Scratch::Scratch(Scratch&&) noexcept = default;

void Matcher::add(RuleId rule, const Pattern& pattern) {
  remove(rule);
  tables_->add(rule, pattern);
}
void Matcher::remove(RuleId rule) { tables_->remove(rule); }

namespace {
template <class State, class Tables>
void ready(State& s, const Tables& t) {
  const auto fit = [](std::vector<std::uint32_t>& v, std::size_t n) {
    if (v.size() < n) v.resize(n, 0);
  };
  fit(s.held, t.conditions.items.size());
  fit(s.matched, t.rules.size());
  fit(s.seen, t.fields.size());
  fit(s.barred, t.entries.items.size());
  s.holding.clear();
  if (++s.epoch == 0 || s.bar > 0xf0000000U) {  // after four thousand million events
    for (auto* v : {&s.held, &s.matched, &s.seen, &s.barred}) std::fill(v->begin(), v->end(), 0U);
    s.epoch = 1;
    s.bar = 0;
  }
}
}  // namespace

void Matcher::match(const Json& event, Scratch& scratch, std::vector<RuleId>& out) const {
  const auto walked = [&](const Json& root) {
    ready(*scratch.state_, *tables_);
    Tables::Found found{*scratch.state_, *tables_};
    tables_->walk(tables_->root, root, found);
    return found;
  };
  if (Tables::Found found = walked(event); !found.dots) return tables_->finish(&event, found, out);
  const Json plain = without_dots(event);
  Tables::Found found = walked(plain);
  tables_->finish(&plain, found, out);
}

namespace {

enum class Walk { good, again, bad };  // again: what only the parsed form answers (a key twice or with dots, objects in arrays)

struct TextEnd {
  const char* end;
  bool escapes;  // somewhere in the text: then keys may be written otherwise than they are
};

template <class Tables, class Found>
Walk walk_text(const Tables& t, const PathNode& node, simdjson::ondemand::object object, TextEnd text_end, Found& found) {
  std::uint64_t met = 0;
  for (auto field : object) {
    // Most keys are plain: compared as they stand in the text.
    simdjson::ondemand::raw_json_string raw;
    if (field.key().get(raw)) return Walk::bad;
    const char* text = raw.raw();
    const auto left = static_cast<std::size_t>(text_end.end - text);
    std::uint64_t word = 0;
    std::memcpy(&word, text, 8);  // the padding makes it readable
    const PathNode* child = nullptr;
    std::size_t index = 0;
    for (; index < node.children.size(); ++index) {
      const PathNode::Child& c = node.children[index];
      if ((word & c.mask) != c.word) continue;
      if (c.key.size() >= 8 && (c.key.size() >= left || std::memcmp(text, c.key.data(), c.key.size()) != 0)) continue;
      if (text[c.key.size()] == '.') return Walk::again;
      if (text[c.key.size()] != '"') continue;
      child = c.node.get();
      break;
    }
    if (!child) {
      if (!text_end.escapes) continue;
      const char* end = static_cast<const char*>(std::memchr(text, '"', left));
      if (!end || std::memchr(text, '\\', static_cast<std::size_t>(end - text))) return Walk::again;  // an escaped key
      continue;
    }
    if (index >= 64 || (met >> index & 1)) return Walk::again;  // the last of a key's values counts
    met |= 1ULL << index;
    simdjson::ondemand::value value;
    if (field.value().get(value)) return Walk::bad;
    simdjson::ondemand::json_type type;
    if (value.type().get(type)) return Walk::bad;
    const auto scalar = [&](simdjson::ondemand::value v, simdjson::ondemand::json_type kind) {
      const Field& f = *t.fields[child->field];
      found.s.seen[child->field] = found.s.epoch;
      switch (kind) {
        case simdjson::ondemand::json_type::string: {
          std::string_view s;
          if (v.get_string().get(s)) return Walk::bad;
          t.take_text(f, s, found);
          return Walk::good;
        }
        case simdjson::ondemand::json_type::number: {
          double n = 0;
          if (v.get_double().get(n)) return Walk::again;  // more digits or a greater exponent than it reads
          t.take_number(f, n, found);
          return Walk::good;
        }
        case simdjson::ondemand::json_type::boolean: {
          bool b = false;
          if (v.get_bool().get(b)) return Walk::bad;
          t.take_other(f, Json(b), found);
          return Walk::good;
        }
        default:
          if (!v.is_null()) return Walk::bad;
          t.take_other(f, Json(), found);
          return Walk::good;
      }
    };
    Walk out = Walk::good;
    if (type == simdjson::ondemand::json_type::object) {
      if (child->children.empty()) continue;
      simdjson::ondemand::object inner;
      if (value.get_object().get(inner)) return Walk::bad;
      out = walk_text(t, *child, inner, text_end, found);
    } else if (type == simdjson::ondemand::json_type::array) {
      simdjson::ondemand::array items;
      if (value.get_array().get(items)) return Walk::bad;
      for (auto item : items) {
        simdjson::ondemand::value v;
        simdjson::ondemand::json_type kind;
        if (item.get(v) || v.type().get(kind)) return Walk::bad;
        if (kind == simdjson::ondemand::json_type::object || kind == simdjson::ondemand::json_type::array) return Walk::again;
        if (child->field != ~Index{0} && scalar(v, kind) != Walk::good) return Walk::again;
      }
    } else if (child->field != ~Index{0}) {
      out = scalar(value, type);
    }
    if (out != Walk::good) return out;
  }
  return Walk::good;
}

}  // namespace

Result<void> Matcher::match_text(std::string_view event, Scratch& scratch, std::vector<RuleId>& out) const {
  auto& s = *scratch.state_;
  ready(s, *tables_);
  Tables::Found found{s, *tables_};
  s.padded.reserve(event.size() + simdjson::SIMDJSON_PADDING);
  s.padded.assign(event);
  simdjson::ondemand::document document;
  simdjson::ondemand::object object;
  Walk walked = Walk::again;
  if (!s.parser.iterate(s.padded.data(), s.padded.size(), s.padded.capacity()).get(document) && !document.get_object().get(object))
    walked =
        walk_text(*tables_, tables_->root, object, {s.padded.data() + s.padded.size(), event.find('\\') != std::string_view::npos}, found);
  if (walked == Walk::good) {
    tables_->finish(nullptr, found, out);
    return {};
  }
  // What is not plain, or not JSON: the careful way says which.
  const auto json = Json::parse(event);
  if (!json) return std::unexpected(json.error());
  if (!json->is_object()) return invalid("the event must be a JSON object");
  match(*json, scratch, out);
  return {};
}

Matcher::Size Matcher::size() const {
  Size out{.rules = tables_->rule_count,
           .clauses = tables_->clauses.used(),
           .conditions = tables_->conditions.used(),
           .fields = tables_->fields.size(),
           .bytes = 0};
  for (const auto& e : tables_->entries.items)
    out.bytes += sizeof(Entry) + sizeof(Few) + sizeof(Glob) + e.key.size() * 2 + e.matcher.text.size() + 64;
  for (const auto& c : tables_->conditions.items)
    out.bytes += sizeof(Condition) + sizeof(Few) + c.key.size() * 2 + 64 + c.entries.size() * sizeof(Index);
  for (const auto& c : tables_->clauses.items) out.bytes += sizeof(Clause) + c.more.size() * sizeof(Index);
  for (const auto& f : tables_->fields)
    out.bytes += sizeof(Field) + f->prefixes.bytes() + f->suffixes.bytes() + f->wildcards_by_end.bytes() + f->wildcards_by_start.bytes() +
                 f->equals.size() * 80 + f->but_texts.size() * 80;
  out.bytes += tables_->rules.size() * sizeof(RuleState);
  return out;
}

std::string Matcher::describe() const {
  const Size total = size();
  std::string out = fmt::format("{} rules, {} clauses, {} conditions on {} fields, about {} KiB\n", total.rules, total.clauses,
                                total.conditions, total.fields, total.bytes / 1024);
  static constexpr const char* kOps[] = {
      "equals",  "prefix", "suffix", "equals-ignore-case", "prefix (any case)", "suffix (any case)", "wildcard", "anything-but",
      "numeric", "cidr",   "exists", "exists: false"};
  for (std::size_t f = 0; f < tables_->fields.size(); ++f) {
    const Field& field = *tables_->fields[f];
    if (field.entries == 0) continue;
    out += fmt::format("  {}\n", field.name);
    std::map<std::string, std::pair<std::size_t, std::size_t>> kinds;  // kind → values, clauses that wait
    std::vector<std::string> examples;
    for (std::size_t at = 0; at < tables_->entries.items.size(); ++at) {
      const Entry& e = tables_->entries.items[at];
      if (tables_->fires[at].empty() || tables_->conditions.items[tables_->fires[at].first()].field != f) continue;
      const char* op = kOps[static_cast<int>(e.matcher.op)];
      std::size_t waiting = 0;
      tables_->fires[at].each([&](Index c) { waiting += tables_->waiting[c].size(); });
      auto& kind = kinds[op];
      ++kind.first;
      kind.second += waiting;
      if (examples.size() < 6)
        examples.push_back(fmt::format("{} {}", op, e.matcher.op == Op::equals ? e.matcher.value.dump() : '"' + e.matcher.text + '"'));
    }
    for (const auto& [kind, counts] : kinds)
      out += fmt::format("    {:<20} {:>6} values, {:>6} clauses are found by them\n", kind, counts.first, counts.second);
    for (const std::string& example : examples) out += fmt::format("      {}\n", example);
  }
  return out;
}

}  // namespace snapward::events
