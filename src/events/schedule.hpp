// Schedules: rate(5 minutes), cron(minute hour day-of-month month day-of-week year) and, for EventBridge Scheduler,
// at(2026-03-01T09:00:00). Rules' are in UTC; Scheduler's in any IANA zone. A local time that a change of the clocks leaves out is skipped,
// one that comes twice is due once, the first time. Source: Amazon EventBridge User Guide, "Cron expressions", "Rate expressions";
// EventBridge Scheduler User Guide, "Schedule types".
#pragma once
#include <bitset>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.hpp"
#include "base/time.hpp"

namespace date {
class time_zone;
}

namespace snapward::events {

class Schedule {
 public:
  // A rule's: rate(1 minute) but rate(5 minutes). The error is the one PutRule answers: "Parameter ScheduleExpression is not valid."
  static Result<Schedule> parse(std::string_view text);
  // As EventBridge Scheduler reads it: at() too, units of rate() in singular or plural, in the zone named ("Europe/Berlin"; "" is UTC).
  // Errors are one sentence each.
  static Result<Schedule> parse(std::string_view text, const std::string& zone);

  // The first time after `after` that the schedule is due. rate() counts from `origin` (when its rule was made or enabled);
  // cron() looks at the calendar alone. Nothing when no time is left (a past year).
  [[nodiscard]] std::optional<Instant> next(Instant after, Instant origin) const;

 private:
  friend class CronParser;
  enum class Dialect { rule, scheduler };
  static std::optional<Schedule> recurring(std::string_view text, Dialect dialect);

  enum class Kind { rate, cron, at } kind_ = Kind::rate;
  Duration every_{0};
  Instant at_;                             // local
  const date::time_zone* zone_ = nullptr;  // null: UTC; zones live as long as the program

  std::bitset<60> minutes_;
  std::bitset<24> hours_;
  std::bitset<32> days_;     // 1-31
  std::bitset<13> months_;   // 1-12
  std::bitset<8> weekdays_;  // 1 = Sunday
  std::bitset<2200> years_;
  bool by_weekday_ = false;        // which of the two day fields counts; the other is '?' (or '*')
  bool last_day_ = false;          // L
  int last_offset_ = 0;            // L-3
  int nearest_weekday_ = 0;        // 15W; 32 for LW
  int last_weekday_ = 0;           // 6L: the last Friday
  int nth_weekday_ = 0, nth_ = 0;  // 3#2: the second Tuesday

  [[nodiscard]] bool day_fits(std::chrono::year_month_day date) const;
  [[nodiscard]] std::optional<Instant> next_local(Instant after) const;  // of cron, in the zone's own time
};

}  // namespace snapward::events
