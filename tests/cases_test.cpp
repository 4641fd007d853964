// Runs the rows of tests/cases.
#include "support/cases.hpp"

#include <gtest/gtest.h>

#include "asl/expression.hpp"
#include "events/pattern.hpp"
#include "events/schedule.hpp"
#include "query/jsonpath.hpp"

namespace snapward {
namespace {

TEST(Cases, JsonPath) {
  for (const Json& row : support::cases("jsonpath.json").items()) {
    SCOPED_TRACE(row["name"].string_or());
    const auto path = query::JsonPath::parse(row["path"].string_or());
    EXPECT_EQ(path.has_value(), !row["invalid"].bool_or(false));
    if (!path) continue;
    const auto found = path->select(row["data"]);
    EXPECT_EQ(found.has_value(), !row["nothing"].bool_or(false));
    if (found) {
      EXPECT_EQ(*found, row["result"]) << found->dump();
    }
  }
}

TEST(Cases, ReferencePathsAssign) {
  const Json root = *Json::parse(R"({"a":{"b":1},"l":[1,2]})");
  const auto put = [&](const char* path) {
    const auto out = query::JsonPath::parse(path)->assign(root, Json("x"));
    return out ? out->dump() : "nothing";
  };
  EXPECT_EQ(put("$"), R"("x")");
  EXPECT_EQ(put("$.a.c.d"), R"({"a":{"b":1,"c":{"d":"x"}},"l":[1,2]})");
  EXPECT_EQ(put("$.a.b"), R"({"a":{"b":"x"},"l":[1,2]})");
  EXPECT_EQ(put("$.l[1]"), R"({"a":{"b":1},"l":[1,"x"]})");
  EXPECT_EQ(put("$.l[2]"), "nothing");
  EXPECT_EQ(put("$.a.b.c"), "nothing");
}

TEST(Cases, Expressions) {
  const asl::Variables variables{{"count", Json::object({{"n", 3}})}};
  const std::function<Json()> context = [] { return Json::object({{"State", Json::object({{"Name", "here"}})}}); };
  SeededEntropy entropy(1);
  for (const Json& row : support::cases("expressions.json").items()) {
    SCOPED_TRACE(row["name"].string_or());
    const auto expression = asl::Expression::parse(row["expression"].string_or());
    EXPECT_EQ(expression.has_value(), !row["invalid"].bool_or(false)) << (expression ? "" : expression.error().message);
    if (!expression) continue;
    const auto value = expression->find({row["data"], context, variables, entropy, Instant{}});
    if (const Json* error = row.find("error")) {
      ASSERT_FALSE(value);
      EXPECT_EQ(value.error().error, error->as_string());
    } else {
      ASSERT_TRUE(value) << value.error().cause;
      ASSERT_TRUE(*value);
      EXPECT_EQ(**value, row["result"]) << (*value)->dump();
    }
  }
}

TEST(Cases, Patterns) {
  for (const Json& row : support::cases("patterns.json").items()) {
    SCOPED_TRACE(row["pattern"].dump());
    const auto pattern = events::Pattern::parse(row["pattern"].dump());
    ASSERT_TRUE(pattern) << pattern.error().message;
    for (const Json& event : row["should"].items()) EXPECT_TRUE(pattern->matches(event)) << event.dump();
    for (const Json& event : row["should_not"].items()) EXPECT_FALSE(pattern->matches(event)) << event.dump();
  }
}

TEST(Cases, InvalidPatternsAreRefusedInAwsWords) {
  for (const Json& row : support::cases("patterns_invalid.json").items()) {
    const auto pattern = events::Pattern::parse(row["pattern"].string_or());
    ASSERT_FALSE(pattern) << row["pattern"].string_or();
    EXPECT_EQ(pattern.error().message, row["error"].string_or());
  }
}

TEST(Cases, Schedules) {
  for (const Json& row : support::cases("schedules.json").items()) {
    SCOPED_TRACE(row["schedule"].string_or());
    const auto schedule = events::Schedule::parse(row["schedule"].string_or());
    EXPECT_EQ(schedule.has_value(), !row["invalid"].bool_or(false));
    if (!schedule || row["invalid"].bool_or(false)) continue;
    const Instant origin = *parse_iso(row["from"].string_or());
    Instant at = origin;
    for (const Json& expected : row["next"].items()) {
      const auto next = schedule->next(at, origin);
      EXPECT_EQ(next ? Json(iso_seconds(*next)) : Json(), expected);
      if (next) at = *next;
    }
  }
}

// Cron against a naive walk over every minute of two years.
TEST(Cases, CronAgreesWithTheCalendar) {
  const char* expressions[] = {"cron(13 7 15W * ? *)", "cron(0 0 ? * 2#5 *)", "cron(59 23 L-2 * ? *)", "cron(30 6 ? JAN,JUN 7L *)"};
  const auto from = *parse_iso("2027-01-01T00:00:00Z");
  for (const char* text : expressions) {
    const auto schedule = events::Schedule::parse(text);
    ASSERT_TRUE(schedule) << text;
    // next() from any instant up to a hit gives that hit: no hit is skipped and none invented.
    Instant at = from;
    for (int i = 0; i < 12; ++i) {
      const auto hit = schedule->next(at, from);
      ASSERT_TRUE(hit);
      for (const auto back : {std::chrono::minutes(1), std::chrono::minutes(61), std::chrono::minutes(1441)})
        if (*hit - back > at) EXPECT_EQ(schedule->next(*hit - back, from), hit) << text;
      EXPECT_EQ(schedule->next(*hit - std::chrono::milliseconds(1), from), hit);
      at = *hit;
    }
  }
}

}  // namespace
}  // namespace snapward
