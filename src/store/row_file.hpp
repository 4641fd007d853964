// RowFile: the rows of a data folder in SQLite, `snapward.db`, and the number of the last group of writes taken into them. What was
// applied is whole after any crash, but on stable storage only once settled: until then the journal has it too. One thread applies and
// settles; one other may read at the same time. Private to store/.
//
// Corrupt, of apply() and settle(): the file is damaged, or a flush failed. The kernel may say yes to the next flush although it has
// dropped what it could not write, so there must be none: the process is to end. Opening starts from what is really on the disk.
#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "store/journal.hpp"
#include "store/packing.hpp"
#include "store/store.hpp"

struct sqlite3;
struct sqlite3_stmt;

namespace snapward::store {

class RowFile {
 public:
  // Made when missing; one of a layout before 3 is written anew.
  Result<void> open(const std::string& path);

  // As it was found; 0: new. Until set_journal_keys().
  [[nodiscard]] std::int64_t layout() const { return layout_; }

  // Applies what the folder's journal has and the rows have not. Changes nothing in the journal. Corrupt: the journal is damaged, or is not
  // the one that belongs to these rows. When it fails so, the rows may have a part of it; that does no harm.
  Result<void> take_up_journal(const std::string& folder);
  // Keys of the journal's files; nothing: these rows have no journal yet. They are new, a backup's, or of a layout before 6.
  Result<std::optional<Journal::Keys>> journal_keys();
  // Behind all that was applied, in the same order for good. From then on the file has the newest layout.
  Result<void> set_journal_keys(const Journal::Keys& keys);
  Result<void> forget_journal_keys();  // for a copy that is to have a journal of its own

  struct Change {
    std::string_view table, key;
    Bytes value;  // null: the row is erased
  };
  // Views of the writes, which must outlive them.
  static std::vector<Change> changes(const std::vector<Write>& writes);

  // All or nothing; afterwards applied() is `through`.
  Result<void> apply(const std::vector<Change>& changes, std::uint64_t through);
  [[nodiscard]] std::uint64_t applied() const { return applied_; }
  // What was applied is on stable storage when this returns. Wanted too when SQLite's log is long: it is moved into the file then.
  Result<void> settle();
  // At opening: nothing rests on SQLite's log of the process before, whose flush may have failed. Its rows are written into the file.
  Result<void> empty_log();
  [[nodiscard]] bool log_is_long() const { return log_pages_ > 8192; }  // 64 MiB

  Result<std::optional<std::string>> get(std::string_view table, std::string_view key);
  Result<std::vector<Row>> scan(std::string_view table, const Range& range);

 private:
  struct CloseDb {
    void operator()(sqlite3* db) const;
  };
  struct FinalizeStatement {
    void operator()(sqlite3_stmt* statement) const;
  };
  using Db = std::unique_ptr<sqlite3, CloseDb>;
  using Statement = std::unique_ptr<sqlite3_stmt, FinalizeStatement>;
  struct Use;

  std::unexpected<Error> error(const Db& db, std::string_view what) const;
  std::unexpected<Error> flush_failed(const std::string& path, std::string_view why) const;
  [[nodiscard]] std::unexpected<Error> damaged(std::string_view table, std::string_view key) const;
  Result<void> connect(Db& db);
  Result<void> execute(const char* sql);
  Result<std::int64_t> number(const char* query);
  Result<void> take_over(std::int64_t layout);
  Result<void> pack_look_alikes();
  Result<std::vector<Journal::Group>> behind(const std::string& folder);
  Result<void> prepare_writer();
  Result<void> prepare_reader();
  using Prepared = std::tuple<Db*, Statement*, const char*>;
  Result<void> prepare(std::initializer_list<Prepared> all);
  void shrink();

  std::string path_;
  std::int64_t layout_ = 0;
  std::uint64_t applied_ = 0;
  int log_pages_ = 0;
  Packer packer_;       // of the applying thread
  Unpacker unpacker_;   // of the reading one
  Db writer_, reader_;  // before the statements: those go first
  Statement put_, erase_, through_, get_, up_, up_open_, down_, down_open_;
};

}  // namespace snapward::store
