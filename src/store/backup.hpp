// Backups of a SQLite store: one file with everything that was committed when the backup began. A server may be at work on the folder.
#pragma once
#include <cstdint>
#include <string>

#include "base/result.hpp"

namespace snapward::store {

struct BackupInfo {
  std::int64_t rows = 0;
  std::uintmax_t bytes = 0;  // of the backup's file
};

// Writes `file`, which must not exist; it appears whole and checked, or not at all. Errors: not_found (no state in the folder),
// conflict (the file is there), unavailable (disk), corrupt (the state is damaged).
Result<BackupInfo> back_up(const std::string& folder, const std::string& file);

// Puts a backup into a folder that holds no state yet, checking it first. Errors: not_found, corrupt (not a backup, or damaged),
// conflict (the folder holds state), unavailable.
Result<BackupInfo> restore(const std::string& file, const std::string& folder);

}  // namespace snapward::store
