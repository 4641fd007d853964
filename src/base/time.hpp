// Time as values. Instants are UTC milliseconds, which is the finest grain that Step Functions histories and EBS events show.
#pragma once
#include <atomic>
#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace snapward {

using Duration = std::chrono::milliseconds;
using Instant = std::chrono::sys_time<Duration>;

std::string iso_millis(Instant at);                       // 2026-01-01T03:00:00.000Z
std::string iso_seconds(Instant at);                      // 2026-01-01T03:00:00Z, as events carry it
std::optional<Instant> parse_iso(std::string_view text);  // RFC 3339 with 'T' and 'Z' or ±hh:mm; fractions beyond ms are cut
std::string human(Duration span);                         // 1h 02m 03s

// Reads the time. Everything that needs "now" is handed one; nothing else asks the system (design, contract 5).
class Clock {
 public:
  virtual ~Clock() = default;
  [[nodiscard]] virtual Instant now() const = 0;
  // How long a span of this clock takes on the wall.
  [[nodiscard]] virtual std::chrono::microseconds real(Duration span) const { return span; }
};

// The machine's clock, optionally running faster (with scale 60 a minute passes in a second) or ahead (beginning at a later time, for a
// state that has seen that time already: time never goes back in one data folder). It follows the machine's clock forward, and never
// back: when that is set back, this one goes on. Any thread may read it.
class SystemClock final : public Clock {
 public:
  explicit SystemClock(double scale = 1.0, Instant not_before = {});
  [[nodiscard]] Instant now() const override;
  [[nodiscard]] std::chrono::microseconds real(Duration span) const override;

 private:
  double scale_;
  std::chrono::steady_clock::time_point steady_start_;
  mutable std::atomic<std::int64_t> start_;  // ms since 1970 at steady_start_
};

// A clock that moves only when told to.
class VirtualClock final : public Clock {
 public:
  explicit VirtualClock(Instant start) : now_(start) {}
  [[nodiscard]] Instant now() const override { return now_; }
  void set(Instant at) { now_ = at; }

 private:
  Instant now_;
};

}  // namespace snapward
