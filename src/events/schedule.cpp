#include "events/schedule.hpp"

#include <date/tz.h>
#include <fmt/format.h>

#include <charconv>

#include "base/text.hpp"

namespace snapward::events {

namespace {

using std::chrono::day;
using std::chrono::days;
using std::chrono::month;
using std::chrono::sys_days;
using std::chrono::weekday;
using std::chrono::year;
using std::chrono::year_month_day;
using std::chrono::year_month_day_last;

std::optional<int> number(std::string_view text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

constexpr std::string_view kMonths[] = {"JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"};
constexpr std::string_view kWeekdays[] = {"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"};

std::optional<int> named(std::string_view text, std::span<const std::string_view> names) {
  for (std::size_t i = 0; i < names.size(); ++i)
    if (iequals(text, names[i])) return static_cast<int>(i) + 1;
  return number(text);
}

// "1,5-7,0/15,*" into bits. Ranges that wrap (20-2) go through the end.
template <std::size_t N>
bool field(std::string_view text, int low, int high, std::span<const std::string_view> names, std::bitset<N>& out) {
  for (const std::string& part : split(text, ',')) {
    std::string_view range = part;
    int step = 1;
    bool stepped = false;
    if (const std::size_t slash = range.find('/'); slash != std::string_view::npos) {
      const auto s = number(range.substr(slash + 1));
      if (!s || *s < 1) return false;
      step = *s;
      stepped = true;
      range = range.substr(0, slash);
    }
    int from = low, to = high;
    if (range != "*") {
      const std::size_t dash = range.find('-');
      const auto first = named(range.substr(0, dash), names);
      if (!first) return false;
      from = to = *first;
      if (dash != std::string_view::npos) {
        const auto last = named(range.substr(dash + 1), names);
        if (!last) return false;
        to = *last;
      } else if (stepped) {
        to = high;
      }
    }
    if (from < low || from > high || to < low || to > high) return false;
    const int span = to >= from ? to - from : to - from + (high - low + 1);
    for (int i = 0; i <= span; i += step) {
      const int at = low + (from - low + i) % (high - low + 1);
      out.set(static_cast<std::size_t>(at));
    }
  }
  return true;
}

}  // namespace

class CronParser {
 public:
  static bool parse(std::string_view inside, Schedule& s) {
    std::vector<std::string> f;
    for (std::string& part : split(inside, ' '))
      if (!part.empty()) f.push_back(std::move(part));
    if (f.size() != 6) return false;
    s.kind_ = Schedule::Kind::cron;
    if (!field(f[0], 0, 59, {}, s.minutes_) || !field(f[1], 0, 23, {}, s.hours_) || !field(f[3], 1, 12, kMonths, s.months_) ||
        !field(f[5], 1970, 2199, {}, s.years_))
      return false;
    // Exactly one of the two day fields is '?'.
    if ((f[2] == "?") == (f[4] == "?")) return false;
    s.by_weekday_ = f[2] == "?";
    return s.by_weekday_ ? weekdays(f[4], s) : month_days(f[2], s);
  }

 private:
  static bool month_days(const std::string& text, Schedule& s) {
    if (text == "L") return s.last_day_ = true;
    if (text == "LW") return s.nearest_weekday_ = 32, true;
    if (text.starts_with("L-")) {
      const auto offset = number(std::string_view(text).substr(2));
      if (!offset || *offset > 30) return false;
      s.last_offset_ = *offset;
      return s.last_day_ = true;
    }
    if (text.ends_with('W')) {
      const auto d = number(std::string_view(text).substr(0, text.size() - 1));
      if (!d || *d < 1 || *d > 31) return false;
      return s.nearest_weekday_ = *d, true;
    }
    return field(text, 1, 31, {}, s.days_);
  }
  static bool weekdays(const std::string& text, Schedule& s) {
    if (text == "L") return s.weekdays_.set(7), true;  // Saturday, the week's last
    if (text.size() > 1 && text.ends_with('L')) {
      const auto d = named(std::string_view(text).substr(0, text.size() - 1), kWeekdays);
      if (!d || *d < 1 || *d > 7) return false;
      return s.last_weekday_ = *d, true;
    }
    if (const std::size_t hash = text.find('#'); hash != std::string::npos) {
      const auto d = named(std::string_view(text).substr(0, hash), kWeekdays);
      const auto n = number(std::string_view(text).substr(hash + 1));
      if (!d || !n || *d < 1 || *d > 7 || *n < 1 || *n > 5) return false;
      s.nth_weekday_ = *d;
      return s.nth_ = *n, true;
    }
    return field(text, 1, 7, kWeekdays, s.weekdays_);
  }
};

namespace {

// "5 minutes" as a duration.
std::optional<Duration> rate(std::string_view text, bool strict_plural) {
  const auto parts = split(text, ' ');
  if (parts.size() != 2) return std::nullopt;
  const auto n = number(parts[0]);
  if (!n || *n < 1) return std::nullopt;
  const auto is = [&](std::string_view unit) {
    const bool plural = parts[1].size() == unit.size() + 1 && parts[1].ends_with('s');
    return std::string_view(parts[1]).substr(0, unit.size()) == unit && (plural || parts[1] == unit) &&
           (!strict_plural || plural == (*n != 1));
  };
  if (is("minute")) return std::chrono::minutes(*n);
  if (is("hour")) return std::chrono::hours(*n);
  if (is("day")) return std::chrono::hours(24 * static_cast<std::int64_t>(*n));
  return std::nullopt;
}

// What stands inside "name(…)".
std::optional<std::string_view> inside(std::string_view text, std::string_view name) {
  if (!text.starts_with(name) || !text.substr(name.size()).starts_with('(') || !text.ends_with(')')) return std::nullopt;
  return text.substr(name.size() + 1, text.size() - name.size() - 2);
}

// Rules take a comma behind a field: "0/5, 9-18, ?, *, MON-FRI, *" (confirmed by AWS, 2021 and 2023).
std::string without_commas_between(std::string_view fields) {
  std::string out;
  for (const std::string& field : split(fields, ' '))
    out += (out.empty() ? "" : " ") + (field.size() > 1 && field.ends_with(',') ? field.substr(0, field.size() - 1) : field);
  return out;
}

}  // namespace

std::optional<Schedule> Schedule::recurring(std::string_view text, Dialect dialect) {
  const bool rule = dialect == Dialect::rule;
  Schedule s;
  if (const auto every = inside(text, "rate")) {
    const auto duration = rate(*every, rule);
    if (!duration) return std::nullopt;
    s.every_ = *duration;
    return s;
  }
  const auto fields = inside(text, "cron");
  if (!fields || !CronParser::parse(rule ? without_commas_between(*fields) : std::string(*fields), s)) return std::nullopt;
  return s;
}

Result<Schedule> Schedule::parse(std::string_view text) {
  if (auto s = recurring(text, Dialect::rule)) return *std::move(s);
  return invalid("Parameter ScheduleExpression is not valid.");
}

bool Schedule::day_fits(year_month_day date) const {
  const unsigned d = static_cast<unsigned>(date.day());
  const unsigned last = static_cast<unsigned>(year_month_day_last{date.year(), std::chrono::month_day_last{date.month()}}.day());
  const int dow = static_cast<int>(weekday{sys_days{date}}.c_encoding()) + 1;
  if (by_weekday_) {
    if (last_weekday_) return dow == last_weekday_ && d + 7 > last;
    if (nth_weekday_) return dow == nth_weekday_ && static_cast<int>((d - 1) / 7 + 1) == nth_;
    return weekdays_.test(static_cast<std::size_t>(dow));
  }
  if (last_day_) return static_cast<int>(d) == static_cast<int>(last) - last_offset_;
  if (nearest_weekday_) {
    int target = nearest_weekday_ == 32 ? static_cast<int>(last) : nearest_weekday_;
    if (target > static_cast<int>(last)) return false;
    const auto wd = weekday{sys_days{year_month_day{date.year(), date.month(), day(static_cast<unsigned>(target))}}}.c_encoding();
    if (wd == 6) target += nearest_weekday_ == 32 || target > 1 ? -1 : 2;  // Saturday: Friday, or Monday when the month starts there
    if (wd == 0) target += nearest_weekday_ == 32 ? -2 : target < static_cast<int>(last) ? 1 : -2;
    return static_cast<int>(d) == target;
  }
  return days_.test(d);
}

Result<Schedule> Schedule::parse(std::string_view text, const std::string& zone) {
  Schedule s;
  if (const auto time = inside(text, "at")) {
    const auto at = parse_iso(std::string(*time) + 'Z');
    if (!at || time->size() != 19) return invalid(fmt::format("Invalid Schedule Expression {}.", text));
    s.kind_ = Kind::at;
    s.at_ = *at;
  } else {
    auto parsed = recurring(text, Dialect::scheduler);
    if (!parsed) return invalid(fmt::format("Invalid Schedule Expression {}.", text));
    s = *std::move(parsed);
  }
  if (zone.empty() || zone == "UTC") return s;
  try {
    s.zone_ = date::locate_zone(zone);
  } catch (const std::exception&) {
    return invalid(fmt::format("Invalid ScheduleExpressionTimezone: {}.", zone));
  }
  return s;
}

namespace {
// The first instant at which clocks in the zone show `local`; nothing when they never do.
std::optional<Instant> instant_of(Instant local, const date::time_zone* zone) {
  if (!zone) return local;
  const date::local_time<Duration> shown{local.time_since_epoch()};
  const date::local_info info = zone->get_info(shown);
  if (info.result == date::local_info::nonexistent) return std::nullopt;
  return local - std::chrono::duration_cast<Duration>(info.first.offset);
}
}  // namespace

std::optional<Instant> Schedule::next(Instant after, Instant origin) const {
  if (kind_ == Kind::rate) {
    if (after < origin) return origin + every_;
    const auto periods = (after - origin) / every_ + 1;
    return origin + every_ * periods;
  }
  if (kind_ == Kind::at) {
    const auto at = instant_of(at_, zone_);
    return at && *at > after ? at : std::nullopt;
  }
  if (!zone_) return next_local(after);
  Instant local(zone_->to_local(date::sys_time<Duration>(after.time_since_epoch())).time_since_epoch());
  for (;;) {
    const auto candidate = next_local(local);
    if (!candidate) return std::nullopt;
    const auto at = instant_of(*candidate, zone_);
    if (at && *at > after) return at;
    local = *candidate;
  }
}

std::optional<Instant> Schedule::next_local(Instant after) const {
  const auto minute = std::chrono::floor<std::chrono::minutes>(after) + std::chrono::minutes(1);
  auto date = std::chrono::floor<days>(minute);
  auto start = std::chrono::duration_cast<std::chrono::minutes>(minute - date).count();
  for (int guard = 0; guard < 366 * 230; ++guard, date += days(1), start = 0) {
    const year_month_day ymd{date};
    const int y = static_cast<int>(ymd.year());
    if (y > 2199) return std::nullopt;
    if (y < 1970 || !years_.test(static_cast<std::size_t>(y))) {
      date = sys_days{year_month_day{year(y + 1), month(1), day(1)}} - days(1);
      continue;
    }
    if (!months_.test(static_cast<unsigned>(ymd.month())) || !day_fits(ymd)) continue;
    for (auto m = start; m < 1440; ++m)
      if (hours_.test(static_cast<std::size_t>(m / 60)) && minutes_.test(static_cast<std::size_t>(m % 60)))
        return Instant(date) + std::chrono::minutes(m);
  }
  return std::nullopt;
}

}  // namespace snapward::events
