#include "events/matcher.hpp"

#include <gtest/gtest.h>

#include <set>

#include "base/entropy.hpp"
#include "support/cases.hpp"
#include "support/random_events.hpp"

namespace snapward::events {
namespace {

std::set<Matcher::RuleId> by_text(const Matcher& m, const std::string& event) {
  Matcher::Scratch scratch;
  std::vector<Matcher::RuleId> out;
  EXPECT_TRUE(m.match_text(event, scratch, out)) << event;
  EXPECT_EQ(std::set(out.begin(), out.end()).size(), out.size()) << "a rule twice";
  return {out.begin(), out.end()};
}
std::set<Matcher::RuleId> by_json(const Matcher& m, const std::string& event) {
  Matcher::Scratch scratch;
  std::vector<Matcher::RuleId> out;
  m.match(*Json::parse(event), scratch, out);
  return {out.begin(), out.end()};
}

// The rows that hold for patterns hold for the tables made of them.
TEST(Matcher, AnswersTheRowsOfPatterns) {
  for (const Json& row : support::cases("patterns.json").items()) {
    SCOPED_TRACE(row.dump());
    const auto pattern = Pattern::parse(row["pattern"].dump());
    ASSERT_TRUE(pattern);
    Matcher m;
    m.add(3, *pattern);
    for (const auto& [events, wanted] : {std::pair("should", 1U), std::pair("should_not", 0U)})
      for (const Json& event : row[events].items()) {
        EXPECT_EQ(by_json(m, event.dump()).size(), wanted) << event.dump();
        EXPECT_EQ(by_text(m, event.dump()).size(), wanted) << event.dump();
      }
  }
}

// Many rules at once, coming and going, against each pattern asked by itself.
TEST(Matcher, AgreesWithEachPatternAlone) {
  SeededEntropy entropy(7);
  Matcher m;
  Matcher::Scratch scratch;
  std::vector<std::optional<Pattern>> rules(60);
  int matches = 0, pairs = 0;
  for (int round = 0; round < 1500; ++round) {
    const auto slot = static_cast<Matcher::RuleId>(entropy.below(rules.size()));
    if (entropy.chance(0.2)) {
      m.remove(slot);
      rules[slot].reset();
    } else if (auto pattern = Pattern::parse(support::random_pattern(entropy).dump())) {
      m.add(slot, *pattern);
      rules[slot] = *std::move(pattern);
    }
    for (int e = 0; e < 4; ++e) {
      const Json event = support::random_event(entropy);
      std::set<Matcher::RuleId> wanted;
      for (std::size_t r = 0; r < rules.size(); ++r)
        if (rules[r] && rules[r]->matches(event)) wanted.insert(static_cast<Matcher::RuleId>(r));
      std::vector<Matcher::RuleId> found, read;
      m.match(event, scratch, found);
      ASSERT_TRUE(m.match_text(event.dump(), scratch, read));
      ASSERT_EQ(std::set(found.begin(), found.end()), wanted) << event.dump();  // the same by value and by text
      ASSERT_EQ(std::set(read.begin(), read.end()), wanted) << event.dump();
      matches += static_cast<int>(wanted.size());
      pairs += static_cast<int>(rules.size());
    }
  }
  EXPECT_GT(matches, pairs / 50) << "the random patterns hardly ever match: the test shows little";
  for (std::size_t r = 0; r < rules.size(); ++r) m.remove(static_cast<Matcher::RuleId>(r));
  EXPECT_EQ(m.size().rules, 0U);
  EXPECT_EQ(m.size().conditions, 0U) << "what no rule needs is let go";
}

TEST(Matcher, ReadsTextAsJsonMeansIt) {
  Matcher m;
  m.add(1, *Pattern::parse(R"({"a":{"b":["x"]}})"));
  m.add(2, *Pattern::parse(R"({"n":[1e2]})"));
  m.add(3, *Pattern::parse(R"({"é":[{"suffix":"ü"}]})"));
  EXPECT_EQ(by_text(m, R"({"a":{"b":"y"},"a":{"b":"x"}})").size(), 1U) << "the last of a key's values counts";
  EXPECT_EQ(by_text(m, R"({"a":{"b":"x"},"a":{"b":"y"}})").size(), 0U);
  EXPECT_EQ(by_text(m, R"({"a":{"b":"x"},"a":{}})").size(), 0U);
  EXPECT_EQ(by_text(m, "{\"\\u0061\":{\"b\":\"\\u0078\"}}").size(), 1U);
  EXPECT_EQ(by_text(m, R"({"n":100.0})").size(), 1U);
  EXPECT_EQ(by_text(m, R"({"é":"aü"})").size(), 1U);
  EXPECT_EQ(by_text(m, R"({"a":[{"b":"y"},{"b":"x"}]})").size(), 1U);
  Matcher::Scratch scratch;
  std::vector<Matcher::RuleId> out;
  for (const char* bad : {"", "[1]", "{\"a\":", "nonsense"}) EXPECT_FALSE(m.match_text(bad, scratch, out)) << bad;
}

TEST(Matcher, OneObjectOfAnArrayMustMeetItAll) {
  Matcher m;
  m.add(1, *Pattern::parse(R"({"people":{"first":["Anna"],"last":["Jones"]}})"));
  EXPECT_EQ(by_text(m, R"({"people":[{"first":"Anna","last":"Smith"},{"first":"Bob","last":"Jones"}]})").size(), 0U);
  EXPECT_EQ(by_text(m, R"({"people":[{"first":"Bob","last":"Jones"},{"first":"Anna","last":"Jones"}]})").size(), 1U);
}

TEST(Matcher, ShowsItsTables) {
  Matcher m;
  m.add(1, *Pattern::parse(R"({"source":["aws.ec2"],"detail":{"id":[{"prefix":"snap-"}]}})"));
  const std::string shown = m.describe();
  EXPECT_NE(shown.find("1 rules, 1 clauses, 2 conditions on 2 fields"), std::string::npos) << shown;
  EXPECT_NE(shown.find("detail.id"), std::string::npos);
}

}  // namespace
}  // namespace snapward::events
