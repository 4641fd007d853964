#include "store/row_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sqlite3.h>
#include <unistd.h>

#include <filesystem>

#include "base/crash_point.hpp"
#include "base/private_file.hpp"

namespace snapward::store {

namespace {

// 2: values are packed. 3: a table with an index beside it. Keys come in any order; with the values in the index's own tree each put
// split pages of values, now those are appended one after the other and only small entries go to scattered places. 4: what is new
// stands in the journal first. 5: histories refer to values they have written before (asl/history.hpp). 6: the journal is keyed, and this
// file has its keys (docs/adr/0017).
constexpr int kVersion = 6, kSameTable = 3, kKeyed = 6;
constexpr const char* kTable =
    "CREATE TABLE IF NOT EXISTS rows (tbl BLOB NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL, PRIMARY KEY (tbl, key))";
constexpr const char* kProgress =
    "CREATE TABLE IF NOT EXISTS progress (id INTEGER PRIMARY KEY CHECK (id = 0), applied INTEGER NOT NULL);"
    "INSERT OR IGNORE INTO progress VALUES (0, 0)";
constexpr const char* kJournal =
    "CREATE TABLE IF NOT EXISTS journal (file INTEGER PRIMARY KEY, salt INTEGER NOT NULL, former INTEGER NOT NULL, made INTEGER NOT NULL)";

// Free pages are given back when they are a quarter of the file, and at least so many; so many after each application.
constexpr std::int64_t kFewFreePages = 2048, kGivenBack = 4096;

// The same bytes once more, so that the disk has what reading shows: a process before this one may have had a flush that failed.
Result<void> write_again(const std::string& path) {
  const int file = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (file < 0 && errno == ENOENT) return {};
  bool good = file >= 0;
  std::string bytes(std::size_t{1} << 20, '\0');
  for (off_t at = 0; good;) {
    const ssize_t n = ::pread(file, bytes.data(), bytes.size(), at);
    if (n == 0) break;
    good = n > 0 && ::pwrite(file, bytes.data(), static_cast<std::size_t>(n), at) == n;
    at += n;
  }
  good = good && ::fsync(file) == 0;
  const int problem = errno;
  if (file >= 0) ::close(file);
  if (good) return {};
  return fail(ErrorCode::unavailable, fmt::format("cannot write '{}': {}; check the disk and its permissions", path, strerror(problem)));
}

// SQLite gives its log and its shared memory the rights of the file. It must find the file there: what it makes, others may read.
Result<void> make_private_file(const std::string& path) {
  const int made = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, kPrivateFile);
  if (made < 0 && errno != EEXIST)
    return fail(ErrorCode::unavailable, fmt::format("cannot make '{}': {}; check the disk and its permissions", path, strerror(errno)));
  if (made >= 0) ::close(made);
  for (const char* part : {"", "-wal", "-shm"}) make_private(path + part);
  return {};
}

}  // namespace

void RowFile::CloseDb::operator()(sqlite3* db) const { sqlite3_close_v2(db); }
void RowFile::FinalizeStatement::operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }

// Resets a statement when its use ends, so that it holds no lock.
struct RowFile::Use {
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

Result<void> RowFile::open(const std::string& path) {
  path_ = path;
  if (auto made = make_private_file(path); !made) return made;
  if (auto written = write_again(path + "-wal"); !written) return written;
  if (auto opened = connect(writer_); !opened) return opened;
  const auto layout = number("PRAGMA user_version");  // 0: a new file
  if (!layout) return std::unexpected(layout.error());
  if (*layout > kVersion)
    return fail(ErrorCode::unavailable,
                fmt::format("'{}' was written by a newer snapward (layout {}, this one knows {}); use that one", path_, *layout, kVersion));
  // Both hold for a new file, and for an old one when it is written anew.
  if (auto made = execute("PRAGMA page_size=8192; PRAGMA auto_vacuum=INCREMENTAL"); !made) return made;
  if (*layout > 0 && *layout < kSameTable)
    if (auto taken = take_over(*layout); !taken) return taken;
  // SQLite flushes when it is settled, not before: until then the journal has what is new.
  if (auto made = execute("PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-65536");
      !made)
    return made;
  if (auto made = execute(kTable); !made) return made;
  if (auto made = execute(kProgress); !made) return made;
  if (auto made = execute(kJournal); !made) return made;
  layout_ = *layout;
  sqlite3_wal_hook(
      writer_.get(),
      [](void* self, sqlite3*, const char*, int pages) {
        static_cast<RowFile*>(self)->log_pages_ = pages;
        return SQLITE_OK;
      },
      this);
  const auto applied = number("SELECT applied FROM progress");
  if (!applied) return std::unexpected(applied.error());
  applied_ = static_cast<std::uint64_t>(*applied);
  if (auto opened = connect(reader_); !opened) return opened;
  if (auto prepared = prepare_writer(); !prepared) return prepared;
  return prepare_reader();
}

std::vector<RowFile::Change> RowFile::changes(const std::vector<Write>& writes) {
  std::vector<Change> out;
  out.reserve(writes.size());
  for (const Write& w : writes) out.push_back({w.table, w.key, w.value});
  return out;
}

Result<void> RowFile::apply(const std::vector<Change>& changes, std::uint64_t through) {
  const auto undo = [&](std::unexpected<Error> problem) {
    sqlite3_exec(writer_.get(), "ROLLBACK", nullptr, nullptr, nullptr);
    return problem;
  };
  if (auto begun = execute("BEGIN IMMEDIATE"); !begun) return begun;
  for (const Change& c : changes) {
    const Use use(c.value ? put_ : erase_);
    use.bind(1, c.table);
    use.bind(2, c.key);
    if (c.value) use.bind(3, packer_.pack(*c.value));
    if (sqlite3_step(use.s) != SQLITE_DONE) return undo(error(writer_, "cannot write"));
  }
  {
    const Use use(through_);
    sqlite3_bind_int64(use.s, 1, static_cast<std::int64_t>(through));
    if (sqlite3_step(use.s) != SQLITE_DONE) return undo(error(writer_, "cannot write"));
  }
  crash_point("applying");
  if (auto done = execute("COMMIT"); !done) return undo(std::unexpected(done.error()));
  applied_ = through;
  shrink();
  return {};
}

// A log that has been flushed is as good as the file: SQLite reads both. Moving it into the file can wait for readers, so nobody waits for
// that: a long backup holds no commit up.
Result<void> RowFile::settle() {
  if (log_is_long()) {
    int in_log = 0, moved = 0;
    const int rc = sqlite3_wal_checkpoint_v2(writer_.get(), nullptr, SQLITE_CHECKPOINT_PASSIVE, &in_log, &moved);
    if (rc != SQLITE_OK && rc != SQLITE_BUSY) return error(writer_, "cannot write");
    if (rc == SQLITE_OK && in_log == moved) log_pages_ = 0;
  }
  // The log, and that it is there: SQLite made it in the folder when it was first needed.
  const std::string log = path_ + "-wal", folder = std::filesystem::absolute(path_).parent_path();
  for (const std::string& path : {log, folder}) {
    const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor < 0 && errno == ENOENT) continue;
    // Nothing was asked of the disk, so nothing is lost: it is tried again.
    if (descriptor < 0) return fail(ErrorCode::unavailable, fmt::format("cannot open '{}' to flush it: {}", path, strerror(errno)));
    const bool good = ::fsync(descriptor) == 0;
    const int problem = errno;
    ::close(descriptor);
    if (!good) return flush_failed(path, strerror(problem));
  }
  return {};
}

Result<void> RowFile::empty_log() {
  // A backup that reads from the log is not waited for: what it reads stays where it is.
  const int rc = sqlite3_wal_checkpoint_v2(writer_.get(), nullptr, SQLITE_CHECKPOINT_TRUNCATE, nullptr, nullptr);
  if (rc != SQLITE_OK && rc != SQLITE_BUSY) return error(writer_, "cannot write");
  log_pages_ = 0;
  return {};
}

Result<std::optional<std::string>> RowFile::get(std::string_view table, std::string_view key) {
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

Result<std::vector<Row>> RowFile::scan(std::string_view table, const Range& range) {
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

// Nor may SQLite move its log into the file and drop it when it is closed: of the log, the disk may have the beginning only.
std::unexpected<Error> RowFile::flush_failed(const std::string& path, std::string_view why) const {
  for (const Db* db : {&writer_, &reader_})
    if (*db) sqlite3_db_config(db->get(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  return fail(ErrorCode::corrupt,
              fmt::format("a flush of '{}' failed ({}), so what the disk has of it is unknown; check the disk and start "
                          "again: nothing acknowledged is lost",
                          path, why));
}

std::unexpected<Error> RowFile::error(const Db& db, std::string_view what) const {
  const int exactly = sqlite3_extended_errcode(db.get()), code = exactly & 0xFF;
  if (exactly == SQLITE_IOERR_FSYNC || exactly == SQLITE_IOERR_DIR_FSYNC) return flush_failed(path_, sqlite3_errmsg(db.get()));
  const bool corrupt = code == SQLITE_CORRUPT || code == SQLITE_NOTADB;
  const char* advice = corrupt               ? "the file is damaged: restore it from a backup"
                       : code == SQLITE_FULL ? "the disk is full: free some space, work goes on by itself"
                                             : "check the disk and its permissions";
  return fail(corrupt ? ErrorCode::corrupt : ErrorCode::unavailable,
              fmt::format("{} '{}': {}; {}", what, path_, sqlite3_errmsg(db.get()), advice));
}

Result<void> RowFile::connect(Db& db) {
  sqlite3* raw = nullptr;
  const int rc = sqlite3_open_v2(path_.c_str(), &raw, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr);
  db.reset(raw);
  if (rc != SQLITE_OK) return error(db, "cannot open");
  sqlite3_busy_timeout(raw, 5000);
  return {};
}

Result<std::int64_t> RowFile::number(const char* query) {
  sqlite3_stmt* raw = nullptr;
  if (sqlite3_prepare_v2(writer_.get(), query, -1, &raw, nullptr) != SQLITE_OK) return error(writer_, "cannot read");
  const Statement statement(raw);
  if (sqlite3_step(raw) != SQLITE_ROW) return error(writer_, "cannot read");
  return sqlite3_column_int64(raw, 0);
}
// Writes an older file anew. Killed on the way, it is done again: the version changes last.
Result<void> RowFile::take_over(std::int64_t layout) {
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
  return execute(fmt::format("VACUUM; PRAGMA user_version={}", kSameTable).c_str());
}

Result<std::optional<Journal::Keys>> RowFile::journal_keys() {
  Statement all;
  if (auto prepared = prepare({{&writer_, &all, "SELECT salt, former, made FROM journal ORDER BY file"}}); !prepared)
    return std::unexpected(prepared.error());
  Journal::Keys keys{.files = {}, .made = true};
  const Use use(all);
  std::size_t known = 0;
  int step = sqlite3_step(use.s);
  for (; step == SQLITE_ROW && known < keys.files.size(); step = sqlite3_step(use.s)) {
    keys.files[known++] = {.salt = static_cast<Journal::Salt>(sqlite3_column_int64(use.s, 0)),
                           .former = static_cast<Journal::Salt>(sqlite3_column_int64(use.s, 1))};
    keys.made = keys.made && sqlite3_column_int(use.s, 2) != 0;
  }
  if (step != SQLITE_DONE) return error(writer_, "cannot read");
  if (known == 0) return std::nullopt;
  if (known < keys.files.size())
    return fail(ErrorCode::corrupt, fmt::format("'{}' lacks a key of the journal; restore it from a backup", path_));
  return keys;
}

Result<void> RowFile::set_journal_keys(const Journal::Keys& keys) {
  crash_point("keying");
  std::string sql = "BEGIN IMMEDIATE; DELETE FROM journal;";
  for (std::size_t file = 0; file < keys.files.size(); ++file)
    sql += fmt::format(" INSERT INTO journal VALUES ({}, {}, {}, {});", file, static_cast<std::int64_t>(keys.files[file].salt),
                       static_cast<std::int64_t>(keys.files[file].former), keys.made ? 1 : 0);
  sql += fmt::format(" PRAGMA user_version={}; COMMIT", kVersion);
  if (auto set = execute(sql.c_str()); !set) {
    sqlite3_exec(writer_.get(), "ROLLBACK", nullptr, nullptr, nullptr);
    return set;
  }
  layout_ = kVersion;
  crash_point("keying");
  return {};
}

Result<void> RowFile::forget_journal_keys() { return execute("DELETE FROM journal"); }

Result<std::vector<Journal::Group>> RowFile::behind(const std::string& folder) {
  const auto keys = journal_keys();
  if (!keys) return std::unexpected(keys.error());
  if (*keys && (*keys)->made) return Journal::read(folder, **keys, applied_);
  if (layout_ < kKeyed) return Journal::read_unsalted(folder, applied_);
  // With keys, the files were being made when the process ended: nothing of them counts.
  if (!*keys)
    if (auto refused = Journal::refuse_files(folder, Journal::Which::any); !refused) return std::unexpected(refused.error());
  return std::vector<Journal::Group>();
}

Result<void> RowFile::take_up_journal(const std::string& folder) {
  const auto groups = behind(folder);
  if (!groups) return std::unexpected(groups.error());
  for (const Journal::Group& group : *groups)
    if (auto applied = apply(changes(group.writes), group.number); !applied) return applied;
  return {};
}

// So that a file that was large once need not stay so. A failure here fails nothing: it is tried again.
void RowFile::shrink() {
  const auto free = number("PRAGMA freelist_count"), all = number("PRAGMA page_count");
  if (free && all && *free > kFewFreePages && *free > *all / 4)
    sqlite3_exec(writer_.get(), fmt::format("PRAGMA incremental_vacuum({})", kGivenBack).c_str(), nullptr, nullptr, nullptr);
}

// Layout 1 kept every value as it was: those that begin as packed ones do are packed now, and it is layout 2.
Result<void> RowFile::pack_look_alikes() {
  Statement all, set;
  if (auto prepared = prepare({{&writer_, &all, "SELECT tbl, key, value FROM rows WHERE substr(value, 1, 4) = x'28B52FFD'"},
                               {&writer_, &set, "UPDATE rows SET value = ?3 WHERE tbl = ?1 AND key = ?2"}});
      !prepared)
    return prepared;
  std::vector<Write> writes;
  for (const Use use(all); sqlite3_step(use.s) == SQLITE_ROW;)
    writes.emplace_back(std::string(use.bytes(0)), std::string(use.bytes(1)), std::string(use.bytes(2)));
  if (auto begun = execute("BEGIN IMMEDIATE"); !begun) return begun;
  Packer packer;
  for (const Write& w : writes) {
    const Use use(set);
    use.bind(1, w.table);
    use.bind(2, w.key);
    use.bind(3, packer.pack(*w.value));
    if (sqlite3_step(use.s) != SQLITE_DONE) return error(writer_, "cannot write");
  }
  return execute("PRAGMA user_version=2; COMMIT");
}

std::unexpected<Error> RowFile::damaged(std::string_view table, std::string_view key) const {
  return fail(ErrorCode::corrupt,
              fmt::format("cannot read '{}': the row '{}' of {} is damaged; restore the file from a backup", path_, key, table));
}

Result<void> RowFile::execute(const char* sql) {
  if (sqlite3_exec(writer_.get(), sql, nullptr, nullptr, nullptr) != SQLITE_OK) return error(writer_, "cannot write");
  return {};
}

Result<void> RowFile::prepare_writer() {
  return prepare({{&writer_, &put_, "INSERT INTO rows VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET value = excluded.value"},
                  {&writer_, &erase_, "DELETE FROM rows WHERE tbl = ?1 AND key = ?2"},
                  {&writer_, &through_, "UPDATE progress SET applied = ?1"}});
}
Result<void> RowFile::prepare_reader() {
  return prepare({
      {&reader_, &get_, "SELECT value FROM rows WHERE tbl = ?1 AND key = ?2"},
      {&reader_, &up_, "SELECT key, value FROM rows WHERE tbl = ?1 AND key >= ?2 AND key < ?3 ORDER BY key"},
      {&reader_, &up_open_, "SELECT key, value FROM rows WHERE tbl = ?1 AND key >= ?2 ORDER BY key"},
      {&reader_, &down_, "SELECT key, value FROM rows WHERE tbl = ?1 AND key >= ?2 AND key < ?3 ORDER BY key DESC"},
      {&reader_, &down_open_, "SELECT key, value FROM rows WHERE tbl = ?1 AND key >= ?2 ORDER BY key DESC"},
  });
}
Result<void> RowFile::prepare(std::initializer_list<Prepared> all) {
  for (const auto& [db, statement, sql] : all) {
    sqlite3_stmt* raw = nullptr;
    if (sqlite3_prepare_v3(db->get(), sql, -1, SQLITE_PREPARE_PERSISTENT, &raw, nullptr) != SQLITE_OK) return error(*db, "cannot prepare");
    statement->reset(raw);
  }
  return {};
}

}  // namespace snapward::store
