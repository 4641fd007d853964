#include "events/schedule.hpp"

#include <date/tz.h>
#include <gtest/gtest.h>

#include "base/entropy.hpp"

namespace snapward::events {
namespace {

std::string due(const char* expression, const char* zone, const char* from, int count = 3) {
  const auto s = Schedule::parse(expression, zone);
  if (!s) return s.error().message;
  std::string out;
  Instant at = *parse_iso(from);
  for (int i = 0; i < count; ++i) {
    const auto next = s->next(at, *parse_iso(from));
    if (!next) return out + "end";
    out += iso_seconds(*next) + ' ';
    at = *next;
  }
  return out;
}

TEST(Schedule, KeepsTheLocalTimeOfItsZone) {
  EXPECT_EQ(due("cron(0 9 * * ? *)", "Europe/Berlin", "2026-03-27T12:00:00Z"),
            "2026-03-28T08:00:00Z 2026-03-29T07:00:00Z 2026-03-30T07:00:00Z ");
  EXPECT_EQ(due("at(2026-07-01T09:00:00)", "America/New_York", "2026-03-27T12:00:00Z"), "2026-07-01T13:00:00Z end");
  EXPECT_EQ(due("at(2026-07-01T09:00:00)", "", "2026-03-27T12:00:00Z"), "2026-07-01T09:00:00Z end");
}

TEST(Schedule, SkipsTheHourThatIsLeftOutAndTakesTheDoubledOneOnce) {
  // Berlin, 29 March 2026: 02:30 does not exist. 25 October: it comes twice, first at 00:30 UTC.
  EXPECT_EQ(due("cron(30 2 * * ? *)", "Europe/Berlin", "2026-03-27T12:00:00Z"),
            "2026-03-28T01:30:00Z 2026-03-30T00:30:00Z 2026-03-31T00:30:00Z ");
  EXPECT_EQ(due("cron(30 2 * * ? *)", "Europe/Berlin", "2026-10-24T12:00:00Z", 2), "2026-10-25T00:30:00Z 2026-10-26T01:30:00Z ");
  EXPECT_EQ(due("at(2026-03-29T02:30:00)", "Europe/Berlin", "2026-03-27T12:00:00Z"), "end");
}

// The guide of Scheduler lists the plural only, deployed templates have both.
TEST(Schedule, SchedulerTakesUnitsInSingularAndPlural) {
  for (const char* good : {"rate(5 minute)", "rate(1 minutes)", "rate(1 hours)", "rate(1 hour)", "rate(2 day)", "rate(1 days)"})
    EXPECT_TRUE(Schedule::parse(good, "")) << good;
  for (const char* bad : {" rate(10 minutes)", "rate(10 minutess)", "rate(10 years)", "rate(10)", "rate()", "rate( 10 minutes )",
                          "rate(-10 minutes)", "rate(foo minutes)", "rate(1 minutes) ", "at(2021-12-31T23:59:59Z)"})
    EXPECT_FALSE(Schedule::parse(bad, "")) << bad;
}

TEST(Schedule, SaysWhatIsWrong) {
  EXPECT_EQ(due("cron(0 9 * * ? *)", "Mars/Base", "2026-01-01T00:00:00Z"), "Invalid ScheduleExpressionTimezone: Mars/Base.");
  for (const char* bad : {"at(2026-02-30T00:00:00)", "at(2026-01-01)", "at(2026-01-01T00:00:00Z)", "every day", "rate(0 minutes)"})
    EXPECT_EQ(due(bad, "", "2026-01-01T00:00:00Z"), "Invalid Schedule Expression " + std::string(bad) + ".");
  EXPECT_FALSE(Schedule::parse("at(2026-01-01T00:00:00)")) << "rules have no at()";
}

// A cron field as text and as what it means, each made without the other.
struct Part {
  std::string text;
  std::vector<bool> means;
};
Part random_part(SeededEntropy& e, int low, int high) {
  const auto pick = [&] { return low + static_cast<int>(e.below(static_cast<std::uint64_t>(high - low + 1))); };
  Part out{"", std::vector<bool>(static_cast<std::size_t>(high) + 1, false)};
  const auto set = [&](int n) { out.means[static_cast<std::size_t>(n)] = true; };
  switch (e.below(4)) {
    case 0:
      out.text = "*";
      for (int n = low; n <= high; ++n) set(n);
      break;
    case 1: {
      const int a = pick(), b = pick();
      out.text = std::to_string(a) + ',' + std::to_string(b);
      set(a);
      set(b);
      break;
    }
    case 2: {
      const int a = pick(), b = pick();  // may go round: 20-2
      out.text = std::to_string(a) + '-' + std::to_string(b);
      for (int n = a;; n = n == high ? low : n + 1) {
        set(n);
        if (n == b) break;
      }
      break;
    }
    default: {
      const int a = pick(), every = 1 + static_cast<int>(e.below(9));
      out.text = std::to_string(a) + '/' + std::to_string(every);
      for (int n = a; n <= high; n += every) set(n);
    }
  }
  return out;
}

// cron against a calendar walked minute by minute.
TEST(Schedule, AgreesWithAWalkThroughTheCalendar) {
  SeededEntropy e(3);
  int found_some = 0;
  for (int i = 0; i < 150; ++i) {
    const bool by_weekday = e.chance(0.5);
    const Part minute = random_part(e, 0, 59), hour = random_part(e, 0, 23), month = random_part(e, 1, 12),
               day = by_weekday ? random_part(e, 1, 7) : random_part(e, 1, 31);
    const std::string expression = "cron(" + minute.text + ' ' + hour.text + ' ' + (by_weekday ? "?" : day.text) + ' ' + month.text + ' ' +
                                   (by_weekday ? day.text : "?") + " *)";
    const auto s = Schedule::parse(expression);
    ASSERT_TRUE(s) << expression;
    const Instant from = *parse_iso("2027-12-20T10:11:12Z") + std::chrono::hours(e.below(3000));
    const auto found = s->next(from, from);
    std::optional<Instant> walked;
    Instant at = std::chrono::floor<std::chrono::minutes>(from) + std::chrono::minutes(1);
    for (const Instant end = at + std::chrono::days(40); at < end && !walked; at += std::chrono::minutes(1)) {
      const auto date = std::chrono::floor<std::chrono::days>(at);
      const std::chrono::year_month_day ymd{date};
      const auto of_day = std::chrono::duration_cast<std::chrono::minutes>(at - date).count();
      const unsigned d = by_weekday ? std::chrono::weekday{date}.c_encoding() + 1 : static_cast<unsigned>(ymd.day());
      if (minute.means[static_cast<std::size_t>(of_day % 60)] && hour.means[static_cast<std::size_t>(of_day / 60)] &&
          month.means[static_cast<unsigned>(ymd.month())] && day.means[d])
        walked = at;
    }
    if (walked) {
      ++found_some;
      EXPECT_EQ(found, walked) << expression;
    } else {
      EXPECT_TRUE(!found || *found >= at) << expression;
    }
  }
  EXPECT_GT(found_some, 60);
}

}  // namespace
}  // namespace snapward::events
