// Loop: the one thread on which the engine and the local cloud live (design, contract 5). Everything that waits goes through its
// timers, everything random through its Entropy.
//
// With a SystemClock, run() serves until stop(), and may be called again. With a VirtualClock, advance_to() runs everything up to an
// instant, jumping from timer to timer: a year in seconds, and the same every time.
//
// Threads: post() and stop() may be called from any; everything else only from the loop's own.
#pragma once
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
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

  // Virtual time only. One turn, or one jump to the next timer; false when nothing is left up to `until` and the clock stands there.
  bool step(VirtualClock& clock, Instant until);
  // Virtual time only. Runs all that is due up to `until` and leaves the clock there.
  void advance_to(VirtualClock& clock, Instant until);
  // Runs what is ready now, without moving time.
  void settle();
  [[nodiscard]] bool has_timers() const { return !timers_.empty(); }
  [[nodiscard]] Instant next_timer() const { return timers_.begin()->first.first; }

 private:
  bool turn();  // whether anything ran

  const Clock& clock_;
  Entropy& entropy_;
  std::deque<Work> ready_;
  std::map<TimerId, Work> timers_;
  std::uint64_t timer_ids_ = 0;
  Work turn_end_;

  std::mutex mutex_;  // guards the three below
  std::condition_variable wake_;
  std::deque<Work> posted_;
  bool stopping_ = false;

  TaskScope tasks_;  // last: tasks go before what they wait on
};

}  // namespace snapward::engine
