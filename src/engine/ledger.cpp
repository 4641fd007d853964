#include "engine/ledger.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "base/crash_point.hpp"
#include "store/overlay.hpp"

namespace snapward::engine {

namespace {
constexpr Duration kRetryCommit = std::chrono::seconds(1);

double seconds_since(std::chrono::steady_clock::time_point begun) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
}

// Going on without a row that is there would be a wrong answer, or a wrong deletion.
[[noreturn]] void stop_unreadable(const Error& error) {
  spdlog::critical("the state cannot be read, and nothing is done without it: {}", error.message);
  spdlog::shutdown();
  std::_Exit(1);
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
  if (!gathering_.writes.empty() && !abandoned_)
    if (const auto outcome = store_.commit(gathering_.list()); !outcome)
      spdlog::error("the last commit failed: {}", outcome.error().message);
}

void Ledger::put(std::string table, std::string key, std::string value) {
  gathering_.writes.insert_or_assign({std::move(table), std::move(key)}, std::make_shared<const std::string>(std::move(value)));
}
void Ledger::erase(std::string table, std::string key) { gathering_.writes.insert_or_assign({std::move(table), std::move(key)}, nullptr); }

std::optional<std::string> Ledger::get(std::string_view table, std::string_view key) {
  const Key k{table, key};
  for (const Group* group : {&gathering_, &flying_})
    if (const auto found = group->writes.find(k); found != group->writes.end())
      return found->second ? std::optional(*found->second) : std::nullopt;
  auto row = store_.get(table, key);
  if (!row) stop_unreadable(row.error());
  return *std::move(row);
}

std::vector<store::Row> Ledger::scan(std::string_view table, store::Range range) {
  store::NewerRows pending;
  for (const Group* group : {&flying_, &gathering_})
    for (auto at = group->writes.lower_bound(Key{table, range.from}); at != group->writes.end() && at->first.first == table; ++at) {
      if (!range.to.empty() && at->first.second >= range.to) break;
      pending.insert_or_assign(at->first.second, at->second);
    }
  auto rows = store_.scan(table, store::widened(range, pending));
  if (!rows) stop_unreadable(rows.error());
  return store::lay_over(*std::move(rows), pending, range);
}

void Ledger::after_commit(Loop::Work work) { gathering_.waiting.push_back(std::move(work)); }

void Ledger::flush() {
  if (in_flight_ || abandoned_ || gathering_.empty()) return;
  if (!gathering_.writes.empty()) crash_point("decided");
  if (mode_ == Mode::background_commits && !gathering_.writes.empty()) {
    flying_ = std::exchange(gathering_, {});
    in_flight_ = true;
    {
      const std::lock_guard lock(mutex_);
      job_ = flying_.list();
    }
    wake_.notify_one();
    return;
  }
  flying_ = std::exchange(gathering_, {});
  in_flight_ = true;
  finished(flying_.writes.empty() ? Result<void>() : commit(flying_.list()));
}

void Ledger::Latencies::add(double seconds) {
  const auto bound = std::lower_bound(kBounds.begin(), kBounds.end(), seconds);
  ++counts[static_cast<std::size_t>(bound - kBounds.begin())];
  sum += seconds;
}

// On the loop's thread.
Result<void> Ledger::commit(const std::vector<store::Write>& writes) {
  const auto begun = std::chrono::steady_clock::now();
  auto outcome = store_.commit(writes);
  latencies_.add(seconds_since(begun));
  return outcome;
}

void Ledger::finished(const Result<void>& outcome) {
  if (abandoned_) return;
  if (!outcome && outcome.error().code == ErrorCode::fenced) {
    abandoned_ = true;
    healthy_ = false;
    spdlog::warn("{}", outcome.error().message);
    if (on_fenced_) on_fenced_();
    return;
  }
  if (!outcome) {
    if (healthy_) spdlog::error("state cannot be saved, holding everything back until it can: {}", outcome.error().message);
    healthy_ = false;
    loop_.after(kRetryCommit, [this] { finished(commit(flying_.list())); });
    return;
  }
  if (!healthy_) spdlog::info("state is saved again");
  healthy_ = true;
  if (!flying_.writes.empty()) {
    ++commits_;
    crash_point("committed");
  }
  in_flight_ = false;
  auto waiting = std::exchange(flying_, {}).waiting;
  for (auto& work : waiting) loop_.defer(std::move(work));
}

void Ledger::commit_in_background() {
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return closing_ || job_; });
    if (!job_) return;
    const auto writes = *std::exchange(job_, std::nullopt);
    lock.unlock();
    const auto begun = std::chrono::steady_clock::now();
    const auto outcome = store_.commit(writes);
    loop_.post([this, outcome, seconds = seconds_since(begun)] {
      latencies_.add(seconds);
      finished(outcome);
    });
    lock.lock();
  }
}

}  // namespace snapward::engine
