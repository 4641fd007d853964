// Matcher: all the patterns of a bus as one, so that an event is looked at once however many rules there are. How it works and why it is
// fast: docs/matching.md.
//
// Rules come and go one by one; each costs what its own pattern costs. Answers are those of Pattern::matches, which the tests and a
// fuzzer hold it to.
// Threads: match() and match_text() may run on several threads at once, each with a Scratch of its own, as long as nobody adds or removes
// meanwhile. A bus lives on the loop, where that is so by nature.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.hpp"
#include "events/pattern.hpp"

namespace snapward::events {

class Matcher {
 public:
  using RuleId = std::uint32_t;  // the caller's, small numbers: tables are as long as the greatest

  Matcher();
  ~Matcher();
  Matcher(Matcher&&) noexcept;
  Matcher& operator=(Matcher&&) noexcept;

  void add(RuleId rule, const Pattern& pattern);  // replaces what the rule had
  void remove(RuleId rule);

  // What one event needs while it is matched; kept between events so that nothing is allocated.
  class Scratch {
   public:
    Scratch();
    ~Scratch();
    Scratch(Scratch&&) noexcept;

   private:
    friend class Matcher;
    struct State;
    std::unique_ptr<State> state_;
  };

  // The rules that want the event, each once, in no order.
  void match(const Json& event, Scratch& scratch, std::vector<RuleId>& out) const;
  // The same from JSON text, of which only what some rule looks at is read. Errors: it is not a JSON object.
  Result<void> match_text(std::string_view event, Scratch& scratch, std::vector<RuleId>& out) const;

  struct Size {
    std::size_t rules = 0, clauses = 0, conditions = 0, fields = 0, bytes = 0;  // bytes: an estimate of what the tables hold
  };
  [[nodiscard]] Size size() const;
  // The tables, for people: every field, what it is compared with, and how many rules hang on it.
  [[nodiscard]] std::string describe() const;

 private:
  struct Tables;
  std::unique_ptr<Tables> tables_;
};

}  // namespace snapward::events
