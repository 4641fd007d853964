#include "engine/loop.hpp"

namespace snapward::engine {

namespace {
// Work run in one turn before the turn's commit is made: enough to make a group of commits, few enough to keep answers quick.
constexpr int kMaxWorkPerTurn = 512;
}  // namespace

void Loop::post(Work work) {
  {
    const std::lock_guard lock(mutex_);
    posted_.push_back(std::move(work));
  }
  wake_.notify_one();
}

void Loop::defer(Work work) { ready_.push_back(std::move(work)); }

Loop::TimerId Loop::at(Instant when, Work work) {
  const TimerId id{when, ++timer_ids_};
  timers_.emplace(id, std::move(work));
  return id;
}

Task<void> Loop::sleep(Duration delay) {
  Future<bool> woken;
  after(delay, [woken] { woken.set(true); });
  co_await woken;
}

bool Loop::turn() {
  {
    const std::lock_guard lock(mutex_);
    while (!posted_.empty()) {
      ready_.push_back(std::move(posted_.front()));
      posted_.pop_front();
    }
  }
  const Instant now = clock_.now();
  while (!timers_.empty() && timers_.begin()->first.first <= now) {
    ready_.push_back(std::move(timers_.begin()->second));
    timers_.erase(timers_.begin());
  }
  const bool any = !ready_.empty();
  for (int i = 0; i < kMaxWorkPerTurn && !ready_.empty(); ++i) {
    const Work work = std::move(ready_.front());
    ready_.pop_front();
    work();
  }
  if (turn_end_) turn_end_();
  return any || !ready_.empty();
}

void Loop::run() {
  for (;;) {
    while (turn()) {
      const std::lock_guard lock(mutex_);
      if (std::exchange(stopping_, false)) return;
    }
    std::unique_lock lock(mutex_);
    const auto awake = [this] { return stopping_ || !posted_.empty(); };
    if (timers_.empty()) {
      wake_.wait(lock, awake);
    } else {
      const auto wait = clock_.real(timers_.begin()->first.first - clock_.now());
      wake_.wait_for(lock, std::max(wait, std::chrono::microseconds(0)), awake);
    }
    if (std::exchange(stopping_, false)) return;
  }
}

void Loop::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
}

void Loop::settle() {
  while (turn()) {
  }
}

bool Loop::step(VirtualClock& clock, Instant until) {
  if (turn()) return true;
  const bool due = has_timers() && next_timer() <= until;
  const Instant next = due ? next_timer() : until;
  if (next > clock.now()) clock.set(next);
  return due;
}

void Loop::advance_to(VirtualClock& clock, Instant until) {
  while (step(clock, until)) {
  }
}

}  // namespace snapward::engine
