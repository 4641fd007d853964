#include "store/backup.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sqlite3.h>
#include <unistd.h>

#include <filesystem>
#include <memory>

#include "base/private_file.hpp"
#include "store/journal.hpp"
#include "store/row_file.hpp"

namespace snapward::store {

namespace fs = std::filesystem;

namespace {

struct CloseDb {
  void operator()(sqlite3* db) const { sqlite3_close_v2(db); }
};
using Db = std::unique_ptr<sqlite3, CloseDb>;

Result<Db> open(const std::string& path, int flags) {
  sqlite3* raw = nullptr;
  const int rc = sqlite3_open_v2(path.c_str(), &raw, flags, nullptr);
  Db db(raw);
  if (rc != SQLITE_OK) return fail(ErrorCode::unavailable, fmt::format("cannot open '{}': {}", path, sqlite3_errmsg(raw)));
  sqlite3_busy_timeout(raw, 5000);
  return db;
}

// The first column of a statement's first row.
Result<std::string> ask(sqlite3* db, const std::string& path, const char* sql) {
  sqlite3_stmt* raw = nullptr;
  std::string out;
  int rc = sqlite3_prepare_v2(db, sql, -1, &raw, nullptr);
  if (rc == SQLITE_OK) rc = sqlite3_step(raw);
  if (rc == SQLITE_ROW)
    if (const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(raw, 0))) out = text;
  sqlite3_finalize(raw);
  if (rc == SQLITE_ROW || rc == SQLITE_DONE) return out;
  return fail(rc == SQLITE_NOTADB || rc == SQLITE_CORRUPT ? ErrorCode::corrupt : ErrorCode::unavailable,
              fmt::format("'{}': {}", path, sqlite3_errmsg(db)));
}

// A file that nobody writes, as SQLite's URI that says so: then it makes no log and no shared memory beside it.
std::string at_rest(const std::string& path) {
  std::string out = "file:";
  for (const char c : path) out += c == '%' || c == '?' || c == '#' ? fmt::format("%{:02x}", static_cast<unsigned>(c)) : std::string(1, c);
  return out + "?immutable=1";
}

// That a file is a whole store, and what is in it.
Result<BackupInfo> check(const std::string& path) {
  const auto db = open(at_rest(path), SQLITE_OPEN_READONLY | SQLITE_OPEN_URI);
  if (!db) return std::unexpected(db.error());
  const auto whole = ask(db->get(), path, "PRAGMA integrity_check(1)");
  if (!whole) return std::unexpected(whole.error());
  if (*whole != "ok") return fail(ErrorCode::corrupt, fmt::format("'{}' is damaged: {}", path, *whole));
  const auto rows = ask(db->get(), path, "SELECT count(*) FROM rows");
  if (!rows) return fail(ErrorCode::corrupt, fmt::format("'{}' is no backup of snapward's", path));
  return BackupInfo{.rows = std::stoll(*rows), .bytes = fs::file_size(path)};
}

Result<void> sync(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const bool good = fd >= 0 && fsync(fd) == 0;
  const int problem = errno;
  if (fd >= 0) close(fd);
  if (good) return {};
  return fail(ErrorCode::unavailable, fmt::format("'{}' cannot be written to the disk: {}", path, strerror(problem)));
}

// From `partial` to `path`, for good.
Result<void> settle(const std::string& partial, const std::string& path) {
  if (auto synced = sync(partial); !synced) return synced;
  std::error_code error;
  fs::rename(partial, path, error);
  if (error) return fail(ErrorCode::unavailable, fmt::format("'{}' cannot be made: {}", path, error.message()));
  const std::string parent = fs::absolute(path).parent_path();
  return sync(parent);
}

// The rows as they stand in the table, and on top what is in the journal only. The copy has no journal, and no keys of one.
Result<void> copy_of(sqlite3* db, const std::string& source, const char* copy, const std::string& folder, const std::string& to) {
  if (const auto copied = ask(db, source, copy); !copied) return std::unexpected(copied.error());
  RowFile rows;
  if (auto opened = rows.open(to); !opened) return opened;
  if (auto taken = rows.take_up_journal(folder); !taken) return taken;
  if (auto forgotten = rows.forget_journal_keys(); !forgotten) return forgotten;
  return rows.settle();
}

void remove_partial(const std::string& partial) {
  for (const char* part : {"", "-wal", "-shm", "-journal"}) {
    std::error_code ignored;
    fs::remove(partial + part, ignored);
  }
}

// An empty file that only its user may read, to be filled.
Result<void> make_partial(const std::string& partial) {
  remove_partial(partial);
  const int made = ::open(partial.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, kPrivateFile);
  if (made < 0) return fail(ErrorCode::unavailable, fmt::format("'{}' cannot be made: {}", partial, strerror(errno)));
  close(made);
  return {};
}

}  // namespace

Result<BackupInfo> back_up(const std::string& folder, const std::string& file) {
  const std::string source = folder + "/snapward.db", partial = file + ".partial";
  if (!fs::exists(source)) return fail(ErrorCode::not_found, fmt::format("there is no state in '{}'; name its folder with --data", folder));
  if (fs::exists(file)) return fail(ErrorCode::conflict, fmt::format("'{}' is there already; name another file", file));
  const auto db = open(source, SQLITE_OPEN_READWRITE);  // a WAL is only read with its shared memory
  if (!db) return std::unexpected(db.error());
  const std::string quoted = [&] {
    std::string out;
    for (const char c : partial) out += c == '\'' ? "''" : std::string(1, c);
    return out;
  }();
  for (int tries = 5;; --tries) {
    if (auto made = make_partial(partial); !made) return std::unexpected(made.error());
    auto copied = copy_of(db->get(), source, fmt::format("VACUUM INTO '{}'", quoted).c_str(), folder, partial);
    if (copied) break;
    remove_partial(partial);
    // A server at work may have gone on in the journal between the copy of the rows and this look at it.
    if (copied.error().code != ErrorCode::corrupt || tries == 1) return std::unexpected(copied.error());
  }
  const auto info = check(partial);
  if (!info) remove_partial(partial);
  if (!info) return info;
  if (const auto settled = settle(partial, file); !settled) return std::unexpected(settled.error());
  return info;
}

Result<BackupInfo> restore(const std::string& file, const std::string& folder) {
  const std::string target = folder + "/snapward.db", partial = target + ".partial";
  if (!fs::exists(file)) return fail(ErrorCode::not_found, fmt::format("there is no file '{}'", file));
  if (fs::exists(target))
    return fail(ErrorCode::conflict, fmt::format("'{}' holds state already; move it away, or name another folder with --data", folder));
  const auto info = check(file);
  if (!info) return info;
  std::error_code error;
  fs::create_directories(folder, error);
  if (auto made = make_partial(partial); !made) return std::unexpected(made.error());
  fs::copy_file(file, partial, fs::copy_options::overwrite_existing, error);
  make_private(partial);  // copy_file gives it the rights of the backup
  if (error) return fail(ErrorCode::unavailable, fmt::format("the backup cannot be copied to '{}': {}", folder, error.message()));
  Journal::remove(folder);  // of a state that was moved away
  if (const auto settled = settle(partial, target); !settled) return std::unexpected(settled.error());
  return info;
}

}  // namespace snapward::store
