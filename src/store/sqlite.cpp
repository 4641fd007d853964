// SQLite behind Store. One writing and one reading connection to a database in WAL mode with synchronous=FULL: a commit is on stable
// storage when it returns, and readers never wait for it.
#include <fcntl.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sqlite3.h>
#include <sys/file.h>
#include <unistd.h>

#include <mutex>

#include "base/crash_point.hpp"
#include "store/packing.hpp"
#include "store/store.hpp"

namespace snapward::store {

namespace {

// 2: values are packed. 3: a table with an index beside it. Keys come in any order; with the values in the index's own tree each put
// split pages of values, now those are appended one after the other and only small entries go to scattered places.
constexpr int kVersion = 3;
constexpr const char* kTable =
    "CREATE TABLE IF NOT EXISTS rows (tbl BLOB NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL, PRIMARY KEY (tbl, key))";

// Free pages are given back when they are a quarter of the file, and at least so many; some after each commit.
constexpr std::int64_t kFewFreePages = 2048, kCommitsBetweenLooks = 64;

struct CloseDb {
  void operator()(sqlite3* db) const { sqlite3_close_v2(db); }
};
struct FinalizeStatement {
  void operator()(sqlite3_stmt* s) const { sqlite3_finalize(s); }
};
using Db = std::unique_ptr<sqlite3, CloseDb>;
using Statement = std::unique_ptr<sqlite3_stmt, FinalizeStatement>;

// Resets a statement when its use ends, so that it holds no lock.
struct Use {
  sqlite3_stmt* s;
  explicit Use(const Statement& statement) : s(statement.get()) {}
  Use(const Use&) = delete;
  Use& operator=(const Use&) = delete;
  ~Use() {
    sqlite3_reset(s);
    sqlite3_clear_bindings(s);
  }
  void bind(int at, std::string_view bytes) const {
    // An empty value is a value, not NULL.
    sqlite3_bind_blob(s, at, bytes.empty() ? "" : bytes.data(), static_cast<int>(bytes.size()), SQLITE_STATIC);
  }
  // Valid until the next step.
  [[nodiscard]] std::string_view bytes(int at) const {
    const auto* bytes = static_cast<const char*>(sqlite3_column_blob(s, at));
    return {bytes ? bytes : "", static_cast<std::size_t>(sqlite3_column_bytes(s, at))};
  }
};

class SqliteStore final : public Store {
 public:
  ~SqliteStore() override {
    if (lock_ >= 0) close(lock_);
  }

  Result<void> open(const std::string& folder) {
    const std::string lock_file = folder + "/lock";
    lock_ = ::open(lock_file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (lock_ < 0) return fail(ErrorCode::unavailable, fmt::format("cannot write in the data folder '{}': {}", folder, strerror(errno)));
    if (flock(lock_, LOCK_EX | LOCK_NB) != 0)
      return fail(ErrorCode::unavailable,
                  fmt::format("the data folder '{}' is in use by another snapward; stop it, or choose another with --data", folder));
    path_ = folder + "/snapward.db";
    if (auto opened = connect(writer_); !opened) return opened;
    const auto layout = version();
    if (!layout) return std::unexpected(layout.error());
    if (*layout > kVersion)
      return fail(ErrorCode::unavailable, fmt::format("'{}' was written by a newer snapward (layout {}, this one knows {}); use that one",
                                                      path_, *layout, kVersion));
    // Both hold for a new file, and for an old one when it is written anew.
    if (auto made = execute("PRAGMA page_size=8192; PRAGMA auto_vacuum=INCREMENTAL"); !made) return made;
    if (*layout > 0 && *layout < kVersion)
      if (auto taken = take_over(*layout); !taken) return taken;
    // A long log, because moving it into the file costs as much as writing it: 64 MiB.
    if (auto made = execute("PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=8192; PRAGMA synchronous=FULL; PRAGMA cache_size=-65536");
        !made)
      return made;
    if (auto made = execute(kTable); !made) return made;
    if (*layout == 0)
      if (auto made = execute(fmt::format("PRAGMA user_version={}", kVersion).c_str()); !made) return made;
    if (auto opened = connect(reader_); !opened) return opened;
    if (auto prepared = prepare_writer(); !prepared) return prepared;
    return prepare_reader();
  }

  Result<void> commit(const std::vector<Write>& writes) override {
    if (auto begun = execute("BEGIN IMMEDIATE"); !begun) return begun;
    for (const Write& w : writes) {
      const Use use(w.value ? put_ : erase_);
      use.bind(1, w.table);
      use.bind(2, w.key);
      if (w.value) use.bind(3, packer_.pack(*w.value));
      if (sqlite3_step(use.s) != SQLITE_DONE) {
        auto problem = error(writer_, "cannot write");
        sqlite3_exec(writer_.get(), "ROLLBACK", nullptr, nullptr, nullptr);
        return problem;
      }
    }
    crash_point("committing");
    auto done = execute("COMMIT");
    if (!done) sqlite3_exec(writer_.get(), "ROLLBACK", nullptr, nullptr, nullptr);
    if (done) shrink();
    return done;
  }

  Result<std::optional<std::string>> get(std::string_view table, std::string_view key) override {
    const Use use(get_);
    use.bind(1, table);
    use.bind(2, key);
    const int rc = sqlite3_step(use.s);
    if (rc == SQLITE_ROW) {
      auto value = unpacker_.unpack(use.bytes(0));
      if (!value) return damaged(table, key);
      return std::optional(*std::move(value));
    }
    if (rc == SQLITE_DONE) return std::optional<std::string>();
    return error(reader_, "cannot read");
  }

  Result<std::vector<Row>> scan(std::string_view table, const Range& range) override {
    const Use use(range.newest_first ? (range.to.empty() ? down_open_ : down_) : (range.to.empty() ? up_open_ : up_));
    use.bind(1, table);
    use.bind(2, range.from);
    if (!range.to.empty()) use.bind(3, range.to);
    std::vector<Row> out;
    while (out.size() < range.limit) {
      const int rc = sqlite3_step(use.s);
      if (rc == SQLITE_DONE) break;
      if (rc != SQLITE_ROW) return error(reader_, "cannot read");
      auto value = unpacker_.unpack(use.bytes(1));
      if (!value) return damaged(table, use.bytes(0));
      out.push_back({std::string(use.bytes(0)), *std::move(value)});
    }
    return out;
  }

 private:
  std::unexpected<Error> error(const Db& db, std::string_view what) const {
    const int code = sqlite3_errcode(db.get()) & 0xFF;
    const bool corrupt = code == SQLITE_CORRUPT || code == SQLITE_NOTADB;
    const char* advice = corrupt               ? "the file is damaged: restore it from a backup"
                         : code == SQLITE_FULL ? "the disk is full: free some space, work goes on by itself"
                                               : "check the disk and its permissions";
    return fail(corrupt ? ErrorCode::corrupt : ErrorCode::unavailable,
                fmt::format("{} '{}': {}; {}", what, path_, sqlite3_errmsg(db.get()), advice));
  }

  Result<void> connect(Db& db) {
    sqlite3* raw = nullptr;
    const int rc = sqlite3_open_v2(path_.c_str(), &raw, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr);
    db.reset(raw);
    if (rc != SQLITE_OK) return error(db, "cannot open");
    sqlite3_busy_timeout(raw, 5000);
    return {};
  }

  Result<std::int64_t> number(const char* pragma) {
    sqlite3_stmt* raw = nullptr;
    if (sqlite3_prepare_v2(writer_.get(), pragma, -1, &raw, nullptr) != SQLITE_OK) return error(writer_, "cannot read");
    const Statement statement(raw);
    if (sqlite3_step(raw) != SQLITE_ROW) return error(writer_, "cannot read");
    return sqlite3_column_int64(raw, 0);
  }
  // The layout's version stands in the file; 0: a new one.
  Result<std::int64_t> version() { return number("PRAGMA user_version"); }

  // Writes an older file anew. Killed on the way, it is done again: the version changes last.
  Result<void> take_over(std::int64_t layout) {
    spdlog::info("'{}' has an older layout: it is written anew, which needs its size in free space and takes as long as copying it", path_);
    if (auto ready = execute("PRAGMA journal_mode=DELETE"); !ready) return ready;
    if (layout == 1)
      if (auto packed = pack_look_alikes(); !packed) return packed;
    const std::string move = fmt::format(
        "BEGIN IMMEDIATE; ALTER TABLE rows RENAME TO former; {}; INSERT INTO rows SELECT * FROM former; DROP TABLE former; COMMIT", kTable);
    if (auto moved = execute(move.c_str()); !moved) {
      sqlite3_exec(writer_.get(), "ROLLBACK", nullptr, nullptr, nullptr);
      return moved;
    }
    return execute(fmt::format("VACUUM; PRAGMA user_version={}", kVersion).c_str());
  }

  // So that a file that was large once need not stay so. A failure here fails nothing: it is tried again.
  void shrink() {
    if (!shrinking_ && ++commits_ % kCommitsBetweenLooks != 0) return;
    const auto free = number("PRAGMA freelist_count"), all = number("PRAGMA page_count");
    shrinking_ = free && all && *free > kFewFreePages && *free > *all / 4;
    if (shrinking_) sqlite3_exec(writer_.get(), "PRAGMA incremental_vacuum(256)", nullptr, nullptr, nullptr);
  }

  // Layout 1 kept every value as it was: those that begin as packed ones do are packed now.
  Result<void> pack_look_alikes() {
    sqlite3_stmt* raw = nullptr;
    if (sqlite3_prepare_v2(writer_.get(), "SELECT tbl, key, value FROM rows WHERE substr(value, 1, 4) = x'28B52FFD'", -1, &raw, nullptr) !=
        SQLITE_OK)
      return error(writer_, "cannot read");
    const Statement statement(raw);
    std::vector<Write> writes;
    for (const Use use(statement); sqlite3_step(raw) == SQLITE_ROW;)
      writes.emplace_back(std::string(use.bytes(0)), std::string(use.bytes(1)), std::string(use.bytes(2)));
    if (writes.empty()) return {};
    if (auto prepared = prepare_writer(); !prepared) return prepared;
    return commit(writes);
  }

  std::unexpected<Error> damaged(std::string_view table, std::string_view key) const {
    return fail(ErrorCode::corrupt,
                fmt::format("cannot read '{}': the row '{}' of {} is damaged; restore the file from a backup", path_, key, table));
  }

  Result<void> execute(const char* sql) {
    if (sqlite3_exec(writer_.get(), sql, nullptr, nullptr, nullptr) != SQLITE_OK) return error(writer_, "cannot write");
    return {};
  }

  using Prepared = std::tuple<Db*, Statement*, const char*>;
  Result<void> prepare_writer() {
    return prepare({{&writer_, &put_, "INSERT INTO rows VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET value = excluded.value"},
                    {&writer_, &erase_, "DELETE FROM rows WHERE tbl = ?1 AND key = ?2"}});
  }
  Result<void> prepare_reader() {
    return prepare({
        {&reader_, &get_, "SELECT value FROM rows WHERE tbl = ?1 AND key = ?2"},
        {&reader_, &up_, "SELECT key, value FROM rows WHERE tbl = ?1 AND key >= ?2 AND key < ?3 ORDER BY key"},
        {&reader_, &up_open_, "SELECT key, value FROM rows WHERE tbl = ?1 AND key >= ?2 ORDER BY key"},
        {&reader_, &down_, "SELECT key, value FROM rows WHERE tbl = ?1 AND key >= ?2 AND key < ?3 ORDER BY key DESC"},
        {&reader_, &down_open_, "SELECT key, value FROM rows WHERE tbl = ?1 AND key >= ?2 ORDER BY key DESC"},
    });
  }
  Result<void> prepare(std::initializer_list<Prepared> all) {
    for (const auto& [db, statement, sql] : all) {
      sqlite3_stmt* raw = nullptr;
      if (sqlite3_prepare_v3(db->get(), sql, -1, SQLITE_PREPARE_PERSISTENT, &raw, nullptr) != SQLITE_OK)
        return error(*db, "cannot prepare");
      statement->reset(raw);
    }
    return {};
  }

  std::string path_;
  std::int64_t commits_ = 0;
  bool shrinking_ = false;
  Packer packer_;      // of the committing thread
  Unpacker unpacker_;  // of the reading one
  int lock_ = -1;
  Db writer_, reader_;  // before the statements: those go first
  Statement put_, erase_, get_, up_, up_open_, down_, down_open_;
};

}  // namespace

Result<std::unique_ptr<Store>> open_sqlite(const std::string& folder) {
  auto store = std::make_unique<SqliteStore>();
  if (auto opened = store->open(folder); !opened) return std::unexpected(opened.error());
  return std::unique_ptr<Store>(std::move(store));
}

}  // namespace snapward::store
