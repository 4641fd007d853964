// Journal: groups of writes, each on stable storage before it is answered for, on their way into the table of rows. Two files of a
// fixed size, `journal-0` and `journal-1` in the data folder, are filled in turn; a flush of a file that does not grow is the fastest
// one there is. Private to store/.
//
// A record: magic, length, number of the group, checksum; then, packed, each write as table, key and value with their lengths. Numbers
// go up by one. A file ends where a record does not check, or has an older number: what stands behind is left over from the turn before.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "store/packing.hpp"
#include "store/store.hpp"

namespace snapward::store {

class Journal {
 public:
  struct Group {
    std::uint64_t number;
    std::vector<Write> writes;
  };
  // The groups behind number `after` that a folder's files hold, in order. Corrupt: one of them is missing although later ones are there.
  // Also of a journal that another process is writing.
  static Result<std::vector<Group>> read(const std::string& folder, std::uint64_t after);

  static void remove(const std::string& folder);

  Journal() = default;
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;
  ~Journal();

  // For writing; the first group gets the number `next`. Whatever the files hold is in the table of rows for good.
  Result<void> open(const std::string& folder, std::uint64_t next);

  // One thread appends. The group has the number next(), and is on stable storage when this returns; when it fails, the same group can be
  // appended again.
  Result<void> append(const std::vector<Write>& writes);
  [[nodiscard]] std::uint64_t next() const { return next_; }

  // The file in use has had its share. Turning to the other one gives up what stands there, groups up to last_of_other().
  [[nodiscard]] bool full() const { return at_ >= kFileSize - kReserve; }
  [[nodiscard]] std::uint64_t last_of_other() const { return files_[1 - current_].last; }
  void turn();

 private:
  static constexpr std::size_t kFileSize = std::size_t{16} << 20, kReserve = std::size_t{1} << 20;
  struct File {
    int descriptor = -1;
    std::string path;
    std::uint64_t last = 0;  // the newest group in it
  };
  std::array<File, 2> files_;
  std::size_t current_ = 0, at_ = 0;
  std::uint64_t next_ = 1;
  Packer packer_;
  std::string body_, record_;
};

}  // namespace snapward::store
