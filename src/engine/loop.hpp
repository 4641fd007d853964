// Loop: the one thread on which the engine and the local cloud live (design, contract 5). Everything that waits goes through its
// timers, everything random through its Entropy.
//
// With a SystemClock, run() serves until stop(), and may be called again. With a VirtualClock, advance_to() runs everything up to an
// instant, jumping from timer to timer: a year in seconds, and the same every time.
//
// Threads: post() and stop() may be called from any; everything else only from the loop's own.
#pragma once
#include <array>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include "base/entropy.hpp"
#include "base/task.hpp"
#include "base/time.hpp"

namespace snapward::engine {

class Loop {
 public:
  using Work = std::function<void()>;
  using TimerId = std::pair<Instant, std::uint64_t>;  // second is never 0

  Loop(const Clock& clock, Entropy& entropy) : clock_(clock), entropy_(entropy) {}
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  [[nodiscard]] Instant now() const { return clock_.now(); }
  [[nodiscard]] Entropy& entropy() const { return entropy_; }

  void post(Work work);   // from any thread: later, in order
  void defer(Work work);  // from the loop: later in this turn, in order
  TimerId at(Instant when, Work work);
  TimerId after(Duration delay, Work work) { return at(now() + delay, std::move(work)); }
  void cancel(TimerId id) { timers_.erase(id); }
  Task<void> sleep(Duration delay);

  // Runs a task on its own; `done` hears of its end. What is unfinished when the loop goes is dropped.
  template <class T, class Done>
  void spawn(Task<T> task, Done done) {
    tasks_.spawn(std::move(task), std::move(done));
  }
  void spawn(Task<void> task) { tasks_.spawn(std::move(task)); }

  // Called at the end of every turn, when all that was ready has run: where commits are made.
  void set_turn_end(Work work) { turn_end_ = std::move(work); }

  void run();
  void stop();

  // Names what runs now (an execution's ARN; or "ec2" and "DescribeVolumes"): a turn that takes longer than kLongTurn is logged with the
  // piece of work that took longest. In run() only; on a VirtualClock time says nothing about work.
  static constexpr std::chrono::milliseconds kLongTurn{50};
  void doing(std::string_view what, std::string_view more = {});
  [[nodiscard]] std::uint64_t long_turns() const { return watch_.long_turns; }

  // Virtual time only. One turn, or one jump to the next timer; false when nothing is left up to `until` and the clock stands there.
  bool step(VirtualClock& clock, Instant until);
  // Virtual time only. Runs all that is due up to `until` and leaves the clock there.
  void advance_to(VirtualClock& clock, Instant until);
  // Runs what is ready now, without moving time.
  void settle();
  [[nodiscard]] bool has_timers() const { return !timers_.empty(); }
  [[nodiscard]] Instant next_timer() const { return timers_.begin()->first.first; }

 private:
  using Steady = std::chrono::steady_clock;
  // What took how long in this turn, in real time.
  struct Watch {
    bool on = false;
    Steady::time_point since;      // the piece that runs now began
    std::array<char, 200> what{};  // its name, and its length
    std::size_t length = 0;
    Steady::duration longest{};
    std::string longest_what;
    std::uint64_t long_turns = 0;
    void begin(Steady::time_point now);
    void next(Steady::time_point now, std::string_view name, std::string_view more);
    void end(Steady::time_point began, Steady::time_point now);
  };

  bool turn();  // whether anything ran

  const Clock& clock_;
  Entropy& entropy_;
  std::deque<Work> ready_;
  std::map<TimerId, Work> timers_;
  std::uint64_t timer_ids_ = 0;
  Work turn_end_;
  Watch watch_;

  std::mutex mutex_;  // guards the three below
  std::condition_variable wake_;
  std::deque<Work> posted_;
  bool stopping_ = false;

  TaskScope tasks_;  // last: tasks go before what they wait on
};

}  // namespace snapward::engine
