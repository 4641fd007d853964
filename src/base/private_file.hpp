// Files of a data folder are for the user who runs the server and nobody else: a state holds secrets, functions and data of its clients.
#pragma once
#include <sys/stat.h>

#include <string>

namespace snapward {

constexpr mode_t kPrivateFile = 0600, kPrivateFolder = 0700;
// For a process whose new files and folders are all private: umask(kPrivateMask).
constexpr mode_t kPrivateMask = 077;

// Takes the rights of others from a file or folder that is there. Errors: none; one that is missing, or another user's, stays as it is.
inline void make_private(const std::string& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) == 0 && (status.st_mode & kPrivateMask) != 0) ::chmod(path.c_str(), status.st_mode & 07700);
}

}  // namespace snapward
