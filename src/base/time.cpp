#include "base/time.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace snapward {

namespace {
using std::chrono::days;
using std::chrono::floor;
using std::chrono::hh_mm_ss;
using std::chrono::year_month_day;

std::string iso(Instant at, bool with_millis) {
  const auto day = floor<days>(at);
  const year_month_day date{day};
  const hh_mm_ss<Duration> clock{at - day};
  std::string text = "0000-00-00T00:00:00.000Z";
  const auto put = [&text](std::size_t end, std::int64_t value) {  // its digits, the last one before `end`
    for (; value > 0; value /= 10) text[--end] = static_cast<char>('0' + value % 10);
  };
  put(4, static_cast<int>(date.year()));
  put(7, static_cast<unsigned>(date.month()));
  put(10, static_cast<unsigned>(date.day()));
  put(13, clock.hours().count());
  put(16, clock.minutes().count());
  put(19, clock.seconds().count());
  if (with_millis)
    put(23, clock.subseconds().count());
  else
    text.replace(19, 4, "");
  return text;
}

// Reads exactly `width` digits at `at`, or -1.
int digits(std::string_view text, std::size_t at, std::size_t width) {
  if (at + width > text.size()) return -1;
  int value = 0;
  for (std::size_t i = at; i < at + width; ++i) {
    if (text[i] < '0' || text[i] > '9') return -1;
    value = value * 10 + (text[i] - '0');
  }
  return value;
}
}  // namespace

std::string iso_millis(Instant at) { return iso(at, true); }
std::string iso_seconds(Instant at) { return iso(at, false); }

std::optional<Instant> parse_iso(std::string_view text) {
  const int year = digits(text, 0, 4), month = digits(text, 5, 2), day = digits(text, 8, 2);
  const int hour = digits(text, 11, 2), minute = digits(text, 14, 2), second = digits(text, 17, 2);
  if (year < 0 || month < 0 || day < 0 || hour < 0 || minute < 0 || second < 0) return std::nullopt;
  if (text[4] != '-' || text[7] != '-' || text[10] != 'T' || text[13] != ':' || text[16] != ':') return std::nullopt;
  const year_month_day date{std::chrono::year(year), std::chrono::month(static_cast<unsigned>(month)),
                            std::chrono::day(static_cast<unsigned>(day))};
  if (!date.ok() || hour > 23 || minute > 59 || second > 59) return std::nullopt;
  std::size_t at = 19;
  int millis = 0;
  if (at < text.size() && text[at] == '.') {
    const std::size_t first = ++at;
    int scale = 100;
    for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at, scale /= 10) millis += (text[at] - '0') * scale;
    if (at == first) return std::nullopt;
  }
  int offset_minutes = 0;
  if (at < text.size() && text[at] == 'Z') {
    ++at;
  } else if (at < text.size() && (text[at] == '+' || text[at] == '-')) {
    const int h = digits(text, at + 1, 2), m = digits(text, at + 4, 2);
    if (h < 0 || m < 0 || h > 23 || m > 59 || text[at + 3] != ':') return std::nullopt;
    offset_minutes = (h * 60 + m) * (text[at] == '-' ? -1 : 1);
    at += 6;
  } else {
    return std::nullopt;
  }
  if (at != text.size()) return std::nullopt;
  return std::chrono::sys_days{date} + std::chrono::hours(hour) + std::chrono::minutes(minute - offset_minutes) +
         std::chrono::seconds(second) + Duration(millis);
}

std::string human(Duration span) {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(span).count();
  if (seconds >= 86400) return fmt::format("{}d {:02}h", seconds / 86400, seconds / 3600 % 24);
  if (seconds >= 3600) return fmt::format("{}h {:02}m", seconds / 3600, seconds / 60 % 60);
  if (seconds >= 60) return fmt::format("{}m {:02}s", seconds / 60, seconds % 60);
  return fmt::format("{}.{:03}s", seconds, span.count() % 1000);
}

namespace {
constexpr Duration kFollow{500};  // the machine's clock this far ahead was set, or the machine slept: follow it

Instant real_now() { return std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now()); }
}  // namespace

SystemClock::SystemClock(double scale, Instant not_before)
    : scale_(scale), steady_start_(std::chrono::steady_clock::now()), start_(std::max(real_now(), not_before).time_since_epoch().count()) {}

Instant SystemClock::now() const {
  const auto elapsed = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - steady_start_).count() * scale_;
  std::int64_t start = start_.load(std::memory_order_relaxed);
  if (scale_ == 1.0) {
    const std::int64_t ahead = real_now().time_since_epoch().count() - start - static_cast<std::int64_t>(elapsed);
    if (ahead > kFollow.count()) {
      start_.compare_exchange_strong(start, start + ahead, std::memory_order_relaxed);
      start = start_.load(std::memory_order_relaxed);
    }
  }
  return Instant(Duration(start + static_cast<std::int64_t>(elapsed)));
}

std::chrono::microseconds SystemClock::real(Duration span) const {
  return std::chrono::microseconds(static_cast<std::int64_t>(static_cast<double>(std::chrono::microseconds(span).count()) / scale_));
}

}  // namespace snapward
