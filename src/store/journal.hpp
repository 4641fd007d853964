// Journal: groups of writes, each on stable storage before it is answered for, on their way into the table of rows. Two files of a
// fixed size, `journal-0` and `journal-1` in the data folder, are filled in turn; a flush of a file that does not grow is the fastest
// one there is. Private to store/.
//
// A file begins with a header in a sector of its own: magic, format, the salt of this turn, checksum. The salt is 64 random bits, drawn
// anew for each turn of each file and kept in the table of rows (RowFile) as well, never shown to clients. A record: mark, length, number
// of the group, checksum; then, packed, each write as table, key and value with their lengths. Mark and checksum depend on the salt, so
// bytes of a client that stand in a value are never taken for a record, nor are records of an earlier turn. Numbers go up by one. A file
// ends where a record does not check.
//
// Before layout 6 there was no header and no salt: such files are read once, by read_unsalted(), and made anew.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "store/packing.hpp"
#include "store/store.hpp"

namespace snapward::store {

class Journal {
 public:
  using Salt = std::uint64_t;
  static Salt fresh_salt();  // from the operating system

  // What the table of rows knows of a file. Its header holds `salt`: its records count; or `former`: the new turn has not begun, and all
  // that stands in the file is in the table for good. Any other header is damage.
  struct Key {
    Salt salt, former;
  };
  struct Keys {
    std::array<Key, 2> files;
    bool made;  // the files have been made; without, nothing in them counts
  };

  struct Group {
    std::uint64_t number;
    std::vector<Write> writes;
  };
  // The groups behind number `after` that a folder's files hold, in order. Corrupt: a file is missing, short, damaged, or not the one that
  // the keys are for, or a group is missing although later ones are there. Also of a journal that another process is writing: corrupt
  // then means that it went on meanwhile; try again with newer keys.
  static Result<std::vector<Group>> read(const std::string& folder, const Keys& keys, std::uint64_t after);
  static Result<std::vector<Group>> read_unsalted(const std::string& folder, std::uint64_t after);

  // The same of one file's content, in any order and maybe with gaps; without a salt, of a file of before layout 6. For tests.
  static Result<std::vector<Group>> groups_in(std::string_view content, std::optional<Salt> salt, std::uint64_t after);

  // Corrupt if one of the files is there: of a folder without keys, whose database was lost or replaced. `salted`: if it has a header.
  enum class Which : std::uint8_t { any, salted };
  static Result<void> refuse_files(const std::string& folder, Which which);

  // Makes the files, or what is missing of them, with headers that hold these salts. Repeatable. On stable storage when it returns.
  static Result<void> make(const std::string& folder, const std::array<Salt, 2>& salts);
  static void remove(const std::string& folder);

  Journal() = default;
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;
  ~Journal();

  // For writing; the first group gets the number `next`. The files have been made; whatever they hold is in the table of rows for good,
  // and the table has `salt` for the first file, for good.
  Result<void> open(const std::string& folder, std::uint64_t next, Salt salt);

  // One thread appends. The group has the number next(), and is on stable storage when this returns; when it fails, the same group can be
  // appended again.
  Result<void> append(const std::vector<Write>& writes);
  [[nodiscard]] std::uint64_t next() const { return next_; }

  // The file in use has had its share. Turning to the other one gives up what stands there: it must be in the table for good, and the
  // table must have `salt` for that file, for good. The header is written with the first record.
  [[nodiscard]] bool full() const { return at_ >= kFileSize - kReserve; }
  void turn(Salt salt);

  static constexpr std::size_t kFileSize = std::size_t{16} << 20;

 private:
  static constexpr std::size_t kReserve = std::size_t{1} << 20;
  struct File {
    int descriptor = -1;
    std::string path;
  };
  std::array<File, 2> files_;
  std::size_t current_ = 0, at_ = 0;  // at_ 0: the header is not written yet
  Salt salt_ = 0;                     // of the current file
  std::uint64_t next_ = 1;
  Packer packer_;
  std::string body_, record_;
};

}  // namespace snapward::store
