#include "engine/loop.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>

namespace snapward::engine {

namespace {
// Work run in one turn before the turn's commit is made: enough to make a group of commits, few enough to keep answers quick.
constexpr int kMaxWorkPerTurn = 512;
// …unless they take longer than this: then the commit is made, and what waits outside is looked at, first.
constexpr std::chrono::milliseconds kMaxTurn{20};
}  // namespace

void Loop::Watch::begin(Steady::time_point now) {
  since = now;
  length = 0;
  longest = {};
}

void Loop::Watch::next(Steady::time_point now, std::string_view name, std::string_view more) {
  if (now - since > longest) {
    longest = now - since;
    longest_what.assign(what.data(), length);
  }
  since = now;
  length = 0;
  const auto write = [this](std::string_view text) {
    text = text.substr(0, what.size() - length);
    std::copy_n(text.data(), text.size(), what.data() + length);
    length += text.size();
  };
  write(name);
  if (more.empty()) return;
  write(":");
  write(more);
}

void Loop::Watch::end(Steady::time_point began, Steady::time_point now) {
  next(now, "", "");
  if (now - began < kLongTurn) return;
  ++long_turns;
  const auto ms = [](Steady::duration d) { return std::chrono::duration_cast<std::chrono::milliseconds>(d).count(); };
  spdlog::warn("a turn of the loop took {} ms; its longest piece of work took {} ms: {}", ms(now - began), ms(longest),
               longest_what.empty() ? "unnamed" : longest_what);
}

void Loop::doing(std::string_view what, std::string_view more) {
  if (watch_.on) watch_.next(Steady::now(), what, more);
}

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
  const auto began = watch_.on && any ? Steady::now() : Steady::time_point();
  if (watch_.on) watch_.begin(began);
  for (int i = 0; i < kMaxWorkPerTurn && !ready_.empty(); ++i) {
    const Work work = std::move(ready_.front());
    ready_.pop_front();
    work();
    if (!watch_.on) continue;
    const auto at = Steady::now();
    watch_.next(at, "", "");
    if (at - began > kMaxTurn) break;
  }
  if (watch_.on && any) doing("the end of the turn");
  if (turn_end_) turn_end_();
  if (watch_.on && any) watch_.end(began, Steady::now());
  return any || !ready_.empty();
}

void Loop::run() {
  watch_.on = true;
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
