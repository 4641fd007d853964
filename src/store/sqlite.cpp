// The Store of one data folder. A commit goes into the journal and is durable there; a thread of the store's own takes what has gathered
// into the table of rows, many groups at a time. Reads see both.
#include <fcntl.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <thread>

#include "base/thread_name.hpp"
#include "store/journal.hpp"
#include "store/overlay.hpp"
#include "store/row_file.hpp"
#include "store/store.hpp"

namespace snapward::store {

namespace {

using Key = std::pair<std::string, std::string>;  // table, key

// Applied together: what comes within a moment, or so many bytes.
constexpr auto kMoment = std::chrono::milliseconds(250);
constexpr std::size_t kEnough = std::size_t{16} << 20;
// What is on its way into the table is in memory: no more than about so much.
constexpr std::size_t kMost = std::size_t{128} << 20;
constexpr auto kBetweenTries = std::chrono::seconds(1);
// How long a commit waits for room in the journal before it says why there is none.
constexpr auto kPatience = std::chrono::seconds(10);

class SqliteStore final : public Store {
 public:
  ~SqliteStore() override {
    if (applier_.joinable()) {
      {
        const std::lock_guard lock(mutex_);
        closing_ = true;
      }
      wake_.notify_one();
      applier_.join();
    }
    if (lock_ >= 0) close(lock_);
  }

  Result<void> open(const std::string& folder) {
    const std::string lock_file = folder + "/lock";
    lock_ = ::open(lock_file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (lock_ < 0) return fail(ErrorCode::unavailable, fmt::format("cannot write in the data folder '{}': {}", folder, strerror(errno)));
    if (flock(lock_, LOCK_EX | LOCK_NB) != 0)
      return fail(ErrorCode::unavailable,
                  fmt::format("the data folder '{}' is in use by another snapward; stop it, or choose another with --data", folder));
    if (auto opened = rows_.open(folder + "/snapward.db"); !opened) return opened;
    const auto left = Journal::read(folder, rows_.applied());
    if (!left) return std::unexpected(left.error());
    for (const Journal::Group& group : *left)
      if (auto applied = rows_.apply(RowFile::changes(group.writes), group.number); !applied) return applied;
    if (auto emptied = rows_.empty_log(); !emptied) return emptied;
    if (auto settled = rows_.settle(); !settled) return settled;
    last_ = applied_ = settled_ = rows_.applied();
    if (auto opened = journal_.open(folder, last_ + 1); !opened) return opened;
    applier_ = std::thread([this] { apply_groups(); });
    return {};
  }

  Result<void> commit(const std::vector<Write>& writes) override {
    if (auto room = make_room(); !room) return room;
    const std::uint64_t number = journal_.next();
    if (auto kept = journal_.append(writes); !kept) return kept;
    const std::lock_guard lock(mutex_);
    for (const Write& w : writes) {
      newer_.insert_or_assign(Key{w.table, w.key}, Newer{w.value, number});
      gathered_ += w.value ? w.value->size() : 0;
    }
    const bool first = last_ == applied_;
    last_ = number;
    if (first || gathered_ >= kEnough) wake_.notify_one();
    return {};
  }

  Result<std::optional<std::string>> get(std::string_view table, std::string_view key) override {
    {
      const std::lock_guard lock(mutex_);
      if (const auto found = newer_.find(Key{table, key}); found != newer_.end())
        return found->second.value ? std::optional(*found->second.value) : std::nullopt;
    }
    return rows_.get(table, key);
  }

  Result<std::vector<Row>> scan(std::string_view table, const Range& range) override {
    NewerRows newer;
    {
      const std::lock_guard lock(mutex_);
      for (auto at = newer_.lower_bound(Key{table, range.from}); at != newer_.end() && at->first.first == table; ++at) {
        if (!range.to.empty() && at->first.second >= range.to) break;
        newer.emplace_hint(newer.end(), at->first.second, at->second.value);
      }
    }
    auto rows = rows_.scan(table, widened(range, newer));
    if (!rows) return rows;
    return lay_over(*std::move(rows), newer, range);
  }

 private:
  struct Newer {
    Bytes value;  // null: erased
    std::uint64_t group;
  };

  // Before a group is appended: when the journal's file has had its share, goes on in the other one, once all that stands there is in the
  // table for good. Waits as well while too much is on its way into the table.
  Result<void> make_room() {
    std::unique_lock lock(mutex_);
    const auto wait_until = [&](auto&& ready) -> Result<void> {
      wake_.notify_one();
      if (room_.wait_for(lock, kPatience, ready)) return {};
      return fail(ErrorCode::unavailable, trouble_.empty() ? "moving the journal into the table of rows takes long" : trouble_);
    };
    if (gathered_ > kMost)
      if (auto waited = wait_until([this] { return gathered_ <= kMost; }); !waited) return waited;
    if (!journal_.full()) return {};
    wanted_ = std::max(wanted_, journal_.last_of_other());
    if (auto waited = wait_until([this] { return settled_ >= journal_.last_of_other(); }); !waited) return waited;
    journal_.turn();
    wanted_ = std::max(wanted_, journal_.last_of_other());  // the file just filled is to be moved while this one fills
    wake_.notify_one();
    return {};
  }

  void apply_groups() {
    name_this_thread("applier");
    // Nobody waits for this thread, as long as there is room: those who answer go first.
    setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), 10);
    std::unique_lock lock(mutex_);
    for (;;) {
      wake_.wait(lock, [this] { return closing_ || applied_ < last_ || settled_ < wanted_; });
      if (!closing_ && settled_ >= wanted_)
        wake_.wait_for(lock, kMoment, [this] { return closing_ || gathered_ >= kEnough || settled_ < wanted_; });
      // Each row once, as its last write has it. Keys stay where they are: only this thread erases them.
      const std::uint64_t through = last_;
      bool settle = settled_ < wanted_;
      std::vector<RowFile::Change> changes;
      changes.reserve(newer_.size());
      for (const auto& [key, newer] : newer_) changes.push_back({key.first, key.second, newer.value});
      gathered_ = 0;
      lock.unlock();
      bool good = applied_ == through || attempt([&] { return rows_.apply(changes, through); });
      if (good && (settle || rows_.log_is_long())) {
        settle = true;
        good = attempt([this] { return rows_.settle(); });
      }
      lock.lock();
      if (!good) return;  // closing: what could not be applied stays in the journal
      std::erase_if(newer_, [&](const auto& entry) { return entry.second.group <= through; });
      applied_ = through;
      if (settle) settled_ = through;
      room_.notify_all();
      if (closing_ && applied_ == last_) return;
    }
  }

  // The journal has what the table may have lost, but only as long as nothing is written over it.
  [[noreturn]] static void stop(const Error& error) {
    spdlog::critical("{}", error.message);
    spdlog::shutdown();
    std::_Exit(1);
  }

  // Until it succeeds; false: the store is closing.
  bool attempt(const std::function<Result<void>()>& work) {
    for (;;) {
      const auto done = work();
      if (!done && done.error().code == ErrorCode::corrupt) stop(done.error());
      std::unique_lock lock(mutex_);
      if (done) {
        if (!std::exchange(trouble_, {}).empty()) spdlog::info("the journal is moved into the table of rows again");
        return true;
      }
      if (trouble_.empty())
        spdlog::error("the journal cannot be moved into the table of rows, it is tried again: {}", done.error().message);
      trouble_ = done.error().message;
      if (wake_.wait_for(lock, kBetweenTries, [this] { return closing_; })) return false;
    }
  }

  int lock_ = -1;
  RowFile rows_;     // applied to by the applier, read by the reading thread
  Journal journal_;  // of the committing thread

  std::mutex mutex_;  // guards what follows
  std::condition_variable wake_, room_;
  std::map<Key, Newer> newer_;  // not in the table yet
  std::size_t gathered_ = 0;    // bytes of values since the applier took what there was
  std::uint64_t last_ = 0;      // the newest group in the journal;
  std::uint64_t applied_ = 0;   // groups up to this one are in the table,
  std::uint64_t settled_ = 0;   // up to this one for good,
  std::uint64_t wanted_ = 0;    // and are to be so up to this one
  std::string trouble_;         // why applying fails, while it does
  bool closing_ = false;
  std::thread applier_;
};

}  // namespace

Result<std::unique_ptr<Store>> open_sqlite(const std::string& folder) {
  auto store = std::make_unique<SqliteStore>();
  if (auto opened = store->open(folder); !opened) return std::unexpected(opened.error());
  return std::unique_ptr<Store>(std::move(store));
}

}  // namespace snapward::store
