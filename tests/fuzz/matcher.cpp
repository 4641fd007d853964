// The compiled matcher against each pattern asked by itself, on worlds grown from the input: same answers, whatever comes and goes.
// MATCHER_PAIRS in the environment ends the run after so many (rule, event) pairs: 10^7 make the report of docs/matching.md.
#include "events/matcher.hpp"

#include <cstdio>
#include <cstdlib>

#include "support/random_events.hpp"

using namespace snapward;

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  std::uint64_t seed = 0xcbf29ce484222325ULL;
  for (std::size_t i = 0; i < size; ++i) seed = (seed ^ data[i]) * 0x100000001b3ULL;
  SeededEntropy entropy(seed);
  events::Matcher matcher;
  events::Matcher::Scratch scratch;
  std::vector<std::optional<events::Pattern>> rules(20);
  static std::uint64_t pairs = 0, matched = 0;
  for (int round = 0; round < 30; ++round) {
    const auto slot = static_cast<events::Matcher::RuleId>(entropy.below(rules.size()));
    if (entropy.chance(0.2)) {
      matcher.remove(slot);
      rules[slot].reset();
    } else if (auto pattern = events::Pattern::parse(support::random_pattern(entropy).dump())) {
      matcher.add(slot, *pattern);
      rules[slot] = *std::move(pattern);
    }
    const Json event = support::random_event(entropy);
    std::vector<events::Matcher::RuleId> found, read;
    matcher.match(event, scratch, found);
    if (!matcher.match_text(event.dump(), scratch, read)) __builtin_trap();
    std::vector<bool> one(rules.size()), other(rules.size());
    for (const auto r : found) one[r] = true;
    for (const auto r : read) other[r] = true;
    for (std::size_t r = 0; r < rules.size(); ++r, ++pairs) {
      const bool wanted = rules[r] && rules[r]->matches(event);
      matched += wanted;
      if (wanted != one[r] || wanted != other[r]) {
        std::fprintf(stderr, "event %s\n", event.dump().c_str());
        __builtin_trap();
      }
    }
  }
  static const char* const limit = std::getenv("MATCHER_PAIRS");
  if (limit && pairs > std::strtoull(limit, nullptr, 10)) {
    std::printf("%llu pairs, %llu matches, no difference\n", static_cast<unsigned long long>(pairs),
                static_cast<unsigned long long>(matched));
    std::fflush(stdout);
    std::_Exit(0);
  }
  return 0;
}
