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
#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <thread>

#include "base/private_file.hpp"
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
    const std::string lock_file = folder + "/lock", rows_file = folder + "/snapward.db";
    lock_ = ::open(lock_file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, kPrivateFile);
    if (lock_ < 0) return fail(ErrorCode::unavailable, fmt::format("cannot write in the data folder '{}': {}", folder, strerror(errno)));
    if (flock(lock_, LOCK_EX | LOCK_NB) != 0)
      return fail(ErrorCode::unavailable,
                  fmt::format("the data folder '{}' is in use by another snapward; stop it, or choose another with --data", folder));
    // Before a database is made where one was lost.
    if (!std::filesystem::exists(rows_file))
      if (auto refused = Journal::refuse_files(folder, Journal::Which::salted); !refused) return refused;
    if (auto opened = rows_.open(rows_file); !opened) return opened;
    if (auto taken = rows_.take_up_journal(folder); !taken) return taken;
    if (auto emptied = rows_.empty_log(); !emptied) return emptied;
    if (auto settled = rows_.settle(); !settled) return settled;
    last_ = applied_ = rows_.applied();
    if (auto begun = begin_journal(folder); !begun) return begun;
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

  // All that the journal's files hold is in the table for good. Both get a new key, and are made if they are not there. Each step is on
  // stable storage before the next: a crash between them leaves files whose content does not count, or headers that the keys know.
  Result<void> begin_journal(const std::string& folder) {
    const auto known = rows_.journal_keys();
    if (!known) return std::unexpected(known.error());
    keys_ = known->value_or(Journal::Keys{.files = {Journal::Key{Journal::fresh_salt(), 0}, {Journal::fresh_salt(), 0}}, .made = false});
    if (rows_.layout() > 0 && !known->has_value())  // before layout 6, others could read them
      for (const char* part : {"", "/lock", "/mail.mbox"}) make_private(folder + part);
    if (!keys_.made)
      if (auto kept = keep_keys(); !kept) return kept;
    // The headers once more, so that the disk has what reading showed: a process before this one may have had a flush that failed.
    if (auto made = Journal::make(folder, {keys_.files[0].salt, keys_.files[1].salt}); !made) return made;
    keys_.made = true;
    for (Journal::Key& key : keys_.files) key = {.salt = Journal::fresh_salt(), .former = key.salt};
    if (auto kept = keep_keys(); !kept) return kept;
    // Into the file itself: the database without its log and its journal is then recognized, and refused.
    if (auto emptied = rows_.empty_log(); !emptied) return emptied;
    next_salt_ = keys_.files[1].salt;
    return journal_.open(folder, last_ + 1, keys_.files[0].salt);
  }
  Result<void> keep_keys() {
    if (auto set = rows_.set_journal_keys(keys_); !set) return set;
    return rows_.settle();
  }

  // Before a group is appended: when the journal's file has had its share, goes on in the other one, once all that stands there is in the
  // table for good and the file has a new key. Waits as well while too much is on its way into the table.
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
    if (auto waited = wait_until([this] { return next_salt_.has_value(); }); !waited) return waited;
    journal_.turn(*std::exchange(next_salt_, std::nullopt));
    resting_ = 1 - resting_;
    wake_.notify_one();  // the file just filled is to be moved, and to get a new key, while this one fills
    return {};
  }

  void apply_groups() {
    name_this_thread("applier");
    // Nobody waits for this thread, as long as there is room: those who answer go first.
    setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), 10);
    std::unique_lock lock(mutex_);
    for (;;) {
      wake_.wait(lock, [this] { return closing_ || applied_ < last_ || !next_salt_; });
      if (!closing_ && next_salt_) wake_.wait_for(lock, kMoment, [this] { return closing_ || gathered_ >= kEnough || !next_salt_; });
      // Each row once, as its last write has it. Keys stay where they are: only this thread erases them.
      const std::uint64_t through = last_;
      const bool renew = !next_salt_;  // all groups of the resting file are among these
      const std::size_t resting = resting_;
      std::vector<RowFile::Change> changes;
      changes.reserve(newer_.size());
      for (const auto& [key, newer] : newer_) changes.push_back({key.first, key.second, newer.value});
      gathered_ = 0;
      lock.unlock();
      bool good = applied_ == through || attempt([&] { return rows_.apply(changes, through); });
      if (good && renew)
        good = renew_key(resting);
      else if (good && rows_.log_is_long())
        good = attempt([this] { return rows_.settle(); });
      lock.lock();
      if (!good) return;  // closing: what could not be applied stays in the journal
      std::erase_if(newer_, [&](const auto& entry) { return entry.second.group <= through; });
      applied_ = through;
      if (renew) next_salt_ = keys_.files[resting].salt;
      room_.notify_all();
      if (closing_ && applied_ == last_) return;
    }
  }

  // Of a file whose groups have all been applied. False: the store is closing, and nobody may use the key.
  bool renew_key(std::size_t file) {
    keys_.files[file] = {.salt = Journal::fresh_salt(), .former = keys_.files[file].salt};
    return attempt([this] { return keep_keys(); });
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
  RowFile rows_;          // applied to by the applier, read by the reading thread
  Journal::Keys keys_{};  // as the table has them; of the applier
  Journal journal_;       // of the committing thread

  std::mutex mutex_;  // guards what follows
  std::condition_variable wake_, room_;
  std::map<Key, Newer> newer_;              // not in the table yet
  std::size_t gathered_ = 0;                // bytes of values since the applier took what there was
  std::uint64_t last_ = 0;                  // the newest group in the journal;
  std::uint64_t applied_ = 0;               // groups up to this one are in the table
  std::size_t resting_ = 1;                 // the file of the journal that is not in use,
  std::optional<Journal::Salt> next_salt_;  // its next salt, once the file's groups are in the table for good
  std::string trouble_;                     // why applying fails, while it does
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
