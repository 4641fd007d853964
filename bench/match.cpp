// From JSON text to the list of rules that match, on files of rules and events (docs/matching.md says what they look like).
// usage: snapward_match RULES.jsonl EVENTS.jsonl [N,N,…]      rules: {"pattern": {…}} a line; the first N of them are used
#include <fmt/format.h>

#include <chrono>
#include <fstream>

#include "base/text.hpp"
#include "events/matcher.hpp"

using namespace snapward;
using Clock = std::chrono::steady_clock;

namespace {
std::vector<std::string> lines(const char* path) {
  std::ifstream in(path);
  std::vector<std::string> out;
  for (std::string line; std::getline(in, line);) out.push_back(line);
  return out;
}
double seconds(Clock::time_point from) { return std::chrono::duration<double>(Clock::now() - from).count(); }
}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    fmt::print(stderr, "usage: snapward_match RULES.jsonl EVENTS.jsonl [N,N,…]\n");
    return 2;
  }
  const auto rules = lines(argv[1]), events = lines(argv[2]);
  std::size_t bytes = 0;
  for (const auto& event : events) bytes += event.size();
  fmt::print("{:>7} {:>12} {:>12} {:>10} {:>10} {:>12} {:>14} {:>12}\n", "rules", "events/s", "with parse*", "MB/s", "matches",
             "bytes/rule", "add us/rule", "one add us");
  for (const std::string& count : split(argc > 3 ? argv[3] : "1,100,1000,10000", ',')) {
    const auto n = std::min<std::size_t>(rules.size(), std::strtoul(count.c_str(), nullptr, 10));
    events::Matcher matcher;
    std::vector<events::Pattern> patterns;
    for (std::size_t i = 0; i < n; ++i) {
      const auto rule = Json::parse(rules[i]);
      auto pattern = events::Pattern::parse((*rule)["pattern"].dump());
      if (!pattern) return fmt::print(stderr, "rule {}: {}\n", i, pattern.error().message), 1;
      patterns.push_back(*std::move(pattern));
    }
    const auto begun = Clock::now();
    for (std::size_t i = 0; i < n; ++i) matcher.add(static_cast<events::Matcher::RuleId>(i), patterns[i]);
    const double adding = seconds(begun);
    events::Matcher::Scratch scratch;
    std::vector<events::Matcher::RuleId> out;
    std::size_t matches = 0;
    for (const auto& event : events) {  // once for the total, and to warm up
      out.clear();
      if (!matcher.match_text(event, scratch, out)) return fmt::print(stderr, "an event cannot be read\n"), 1;
      matches += out.size();
    }
    // The best of five passes over the events, each at least a third of a second.
    const auto rate = [&](auto&& one) {
      double best = 0;
      for (int pass = 0; pass < 5; ++pass) {
        std::size_t done = 0;
        const auto from = Clock::now();
        do
          for (const auto& event : events) one(event), ++done;
        while (seconds(from) < 0.33);
        best = std::max(best, static_cast<double>(done) / seconds(from));
      }
      return best;
    };
    const double text = rate([&](const std::string& event) {
      out.clear();
      (void)matcher.match_text(event, scratch, out);
    });
    const double parsed = rate([&](const std::string& event) {
      out.clear();
      matcher.match(*Json::parse(event), scratch, out);
    });
    const auto last = static_cast<events::Matcher::RuleId>(n - 1);
    const auto again = Clock::now();
    for (int i = 0; i < 200; ++i) {
      matcher.remove(last);
      matcher.add(last, patterns[last]);
    }
    const double one = seconds(again) / 400;
    fmt::print("{:>7} {:>12.0f} {:>12.0f} {:>10.0f} {:>10} {:>12} {:>14.2f} {:>12.2f}\n", n, text, parsed,
               text * static_cast<double>(bytes) / static_cast<double>(events.size()) / 1e6, matches, matcher.size().bytes / n,
               adding / static_cast<double>(n) * 1e6, one * 1e6);
  }
  fmt::print("* the whole event parsed into a value first, as the server has it\n");
  return 0;
}
