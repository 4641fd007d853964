#include "engine/ledger.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <iterator>
#include <ranges>

#include "base/crash_point.hpp"
#include "base/thread_name.hpp"
#include "engine/unreadable.hpp"
#include "store/overlay.hpp"

namespace snapward::engine {

namespace {
constexpr auto kRetryCommit = std::chrono::seconds(1);
// Groups handed over at a time: one that is committed, and one that follows at once.
constexpr std::size_t kInBackground = 2;

double seconds_since(std::chrono::steady_clock::time_point begun) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
}
}  // namespace

std::vector<store::Write> Ledger::Group::list() const {
  std::vector<store::Write> out;
  out.reserve(writes.size());
  for (const auto& [key, value] : writes) out.push_back({key.first, key.second, value});
  return out;
}

Ledger::Ledger(store::Store& store, Loop& loop, Mode mode) : store_(store), loop_(loop), mode_(mode) {
  loop_.set_turn_end([this] { flush(); });
  if (mode_ == Mode::background_commits) committer_ = std::thread([this] { commit_in_background(); });
}

Ledger::~Ledger() {
  loop_.set_turn_end({});
  if (committer_.joinable()) {
    {
      const std::lock_guard lock(mutex_);
      closing_ = true;
    }
    wake_.notify_one();
    committer_.join();
  }
  // Nothing may stand behind a group that is missing.
  const bool all_before = mode_ == Mode::background_commits ? jobs_.empty() : flying_.empty();
  if (gathering_.writes.empty() || abandoned_ || !all_before) return;
  if (const auto outcome = store_.commit(gathering_.list()); !outcome) spdlog::error("the last commit failed: {}", outcome.error().message);
}

void Ledger::put(std::string table, std::string key, std::string value) {
  gathering_.writes.insert_or_assign({std::move(table), std::move(key)}, std::make_shared<const std::string>(std::move(value)));
}
void Ledger::erase(std::string table, std::string key) { gathering_.writes.insert_or_assign({std::move(table), std::move(key)}, nullptr); }

std::optional<std::string> Ledger::get(std::string_view table, std::string_view key) {
  const Key k{table, key};
  std::optional<std::optional<std::string>> pending;
  const auto look = [&](const Group& group) {
    if (const auto found = group.writes.find(k); !pending && found != group.writes.end())
      pending = found->second ? std::optional(*found->second) : std::nullopt;
  };
  look(gathering_);
  for (const Group& group : flying_ | std::views::reverse) look(group);
  if (pending) return *std::move(pending);
  auto row = store_.get(table, key);
  if (!row) stop_unreadable(row.error());
  return *std::move(row);
}

std::vector<store::Row> Ledger::scan(std::string_view table, store::Range range) {
  store::NewerRows pending;
  const auto take = [&](const Group& group) {
    for (auto at = group.writes.lower_bound(Key{table, range.from}); at != group.writes.end() && at->first.first == table; ++at) {
      if (!range.to.empty() && at->first.second >= range.to) break;
      pending.insert_or_assign(at->first.second, at->second);
    }
  };
  for (const Group& group : flying_) take(group);
  take(gathering_);
  auto rows = store_.scan(table, store::widened(range, pending));
  if (!rows) stop_unreadable(rows.error());
  return store::lay_over(*std::move(rows), pending, range);
}

void Ledger::after_commit(Loop::Work work) { gathering_.waiting.push_back(std::move(work)); }
void Ledger::answer_after_commit(Loop::Work answer) {
  (mode_ == Mode::background_commits ? gathering_.answers : gathering_.waiting).push_back(std::move(answer));
}

std::size_t Ledger::waiting() const {
  std::size_t out = gathering_.waiting.size() + gathering_.answers.size();
  for (const Group& group : flying_) out += group.waiting.size() + group.answers.size();
  return out;
}

void Ledger::flush() {
  if (abandoned_) return;
  if (gathering_.writes.empty()) {
    // What waits for nothing new waits for what is under way.
    auto waiting = std::exchange(gathering_.waiting, {});
    std::ranges::move(std::exchange(gathering_.answers, {}), std::back_inserter(waiting));
    if (flying_.empty()) return let_out(std::move(waiting));
    std::ranges::move(waiting, std::back_inserter(flying_.back().waiting));
    return;
  }
  if (flying_.size() >= (mode_ == Mode::background_commits ? kInBackground : 1)) return;
  crash_point("decided");
  flying_.push_back(std::exchange(gathering_, {}));
  if (mode_ == Mode::inline_commits) return commit_inline();
  {
    const std::lock_guard lock(mutex_);
    jobs_.push_back(&flying_.back());
  }
  wake_.notify_one();
}

void Ledger::Latencies::add(double seconds) {
  const auto bound = std::lower_bound(kBounds.begin(), kBounds.end(), seconds);
  ++counts[static_cast<std::size_t>(bound - kBounds.begin())];
  sum += seconds;
}

void Ledger::let_out(std::vector<Loop::Work> waiting) {
  for (auto& work : waiting) loop_.defer(std::move(work));
}

// The oldest group is durable.
void Ledger::committed(double seconds) {
  if (abandoned_) return;
  latencies_.add(seconds);
  if (!std::exchange(healthy_, true)) spdlog::info("state is saved again");
  ++commits_;
  crash_point("committed");
  auto waiting = std::move(flying_.front().waiting);
  flying_.pop_front();
  let_out(std::move(waiting));
}

void Ledger::commit_failed(const Error& error) {
  if (abandoned_) return;
  if (error.code == ErrorCode::fenced) {
    abandoned_ = true;
    healthy_ = false;
    spdlog::warn("{}", error.message);
    if (on_fenced_) on_fenced_();
    return;
  }
  if (std::exchange(healthy_, false)) spdlog::error("state cannot be saved, holding everything back until it can: {}", error.message);
}

void Ledger::commit_inline() {
  const auto begun = std::chrono::steady_clock::now();
  const auto outcome = store_.commit(flying_.front().list());
  if (outcome) return committed(seconds_since(begun));
  commit_failed(outcome.error());
  if (!abandoned_) loop_.after(kRetryCommit, [this] { commit_inline(); });
}

void Ledger::commit_in_background() {
  name_this_thread("committer");
  for (;;) {
    const Group* group = nullptr;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return closing_ || !jobs_.empty(); });
      if (jobs_.empty()) return;
      group = jobs_.front();
    }
    const std::vector<store::Write> writes = group->list();
    for (;;) {
      const auto begun = std::chrono::steady_clock::now();
      const auto outcome = store_.commit(writes);
      if (outcome) {
        {
          const std::lock_guard lock(mutex_);
          jobs_.pop_front();
        }
        for (const Loop::Work& answer : group->answers) answer();
        loop_.post([this, seconds = seconds_since(begun)] { committed(seconds); });
        break;
      }
      loop_.post([this, error = outcome.error()] { commit_failed(error); });
      if (outcome.error().code == ErrorCode::fenced || closed_within(kRetryCommit)) return;
    }
  }
}

bool Ledger::closed_within(std::chrono::milliseconds time) {
  std::unique_lock lock(mutex_);
  return wake_.wait_for(lock, time, [this] { return closing_; });
}

}  // namespace snapward::engine
