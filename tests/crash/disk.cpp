// A disk that can lose its power: a library to be preloaded into the server. It keeps, in a folder beside the data folder, what has been
// flushed and nothing else, so that a campaign can say what a disk may hold after a power cut (power.py): that, and whatever part of
// the rest it likes.
//
//   SNAPWARD_DISK=DATA:KEPT       files directly in the folder DATA are watched; KEPT/data has their flushed content, and
//                                 KEPT/names a file for each name that is in the flushed folder
//   SNAPWARD_DISK_FAILS=END:N     the Nth flush of the file whose name ends with END fails as a broken disk does: with EIO, and what it
//                                 was to flush is never flushed
//
// Files that are written through a mapping are not known here; the server has none that matter.
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <set>
#include <string>

namespace {

namespace fs = std::filesystem;
constexpr off_t kPage = 4096;

template <class Function>
Function* real(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

struct Disk {
  std::mutex mutex;
  std::string data, kept;
  std::string failing;
  long fails_in = 0;
  std::map<int, std::string> files;                  // open ones: the name in the folder; "" is the folder itself
  std::map<std::string, std::set<off_t>> unflushed;  // by name: pages

  Disk() {
    const char* where = std::getenv("SNAPWARD_DISK");
    if (!where) return;
    const std::string both = where;
    data = both.substr(0, both.find(':'));
    kept = both.substr(both.find(':') + 1);
    if (const char* fails = std::getenv("SNAPWARD_DISK_FAILS")) {
      const std::string text = fails;
      failing = text.substr(0, text.rfind(':'));
      fails_in = std::strtol(text.c_str() + text.rfind(':') + 1, nullptr, 10);
    }
  }

  void opened(int descriptor, const char* path, int flags) {
    if (descriptor < 0 || data.empty()) return;
    const std::string name = path;
    const std::lock_guard lock(mutex);
    files.erase(descriptor);
    if (name == data || name == data + "/") {
      files[descriptor] = "";
    } else if (name.starts_with(data + "/") && !name.ends_with("-shm") && !name.ends_with("/lock")) {
      files[descriptor] = name.substr(data.size() + 1);
      if (flags & O_TRUNC) unflushed[files[descriptor]].insert(0);
    }
  }

  void closed(int descriptor) {
    const std::lock_guard lock(mutex);
    files.erase(descriptor);
  }

  void written(int descriptor, off_t from, ssize_t size) {
    if (size <= 0) return;
    const std::lock_guard lock(mutex);
    const auto file = files.find(descriptor);
    if (file == files.end() || file->second.empty()) return;
    for (off_t page = from / kPage; page <= (from + size - 1) / kPage; ++page) unflushed[file->second].insert(page);
  }

  int flush(int descriptor, int (*flushed)(int)) {
    std::string name;
    std::set<off_t> pages;
    {
      const std::lock_guard lock(mutex);
      const auto file = files.find(descriptor);
      if (file == files.end()) return flushed(descriptor);
      name = file->second;
      if (!failing.empty() && name.ends_with(failing) && --fails_in == 0) {
        unflushed.erase(name);
        errno = EIO;
        return -1;
      }
      pages.swap(unflushed[name]);
    }
    const int result = flushed(descriptor);
    const std::lock_guard lock(mutex);
    if (name.empty())
      keep_names();
    else
      keep_pages(name, pages);
    return result;
  }

  void keep_names() const {
    std::set<std::string> now;
    for (const auto& entry : fs::directory_iterator(data)) now.insert(entry.path().filename());
    for (const auto& entry : fs::directory_iterator(kept + "/names"))
      if (!now.contains(entry.path().filename())) fs::remove(entry.path());
    for (const std::string& name : now) std::ofstream(kept + "/names/" + name);
  }

  void keep_pages(const std::string& name, const std::set<off_t>& pages) const {
    static auto* const open_file = real<int(const char*, int, ...)>("open");
    static auto* const write_at = real<ssize_t(int, const void*, size_t, off_t)>("pwrite");
    static auto* const cut = real<int(int, off_t)>("ftruncate");
    static auto* const close_file = real<int(int)>("close");
    // SQLite's locks are the process's, and gone when any descriptor of the file is closed: a backup at work would take the log away.
    static int database = -1;
    const bool locked = name == "snapward.db";
    const int from = locked && database >= 0 ? database : open_file((data + "/" + name).c_str(), O_RDONLY | O_CLOEXEC);
    if (locked) database = from;
    const int to = open_file((kept + "/data/" + name).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    struct stat status{};
    if (from >= 0 && to >= 0 && fstat(from, &status) == 0 && cut(to, status.st_size) == 0) {
      char bytes[kPage];
      for (const off_t page : pages)
        if (const ssize_t n = pread(from, bytes, sizeof bytes, page * kPage); n > 0)
          if (write_at(to, bytes, static_cast<size_t>(n), page * kPage) != n) std::abort();
    }
    if (from >= 0 && !locked) close_file(from);
    if (to >= 0) close_file(to);
  }
};

Disk& disk() {
  static auto* const made = new Disk;
  return *made;
}

}  // namespace

extern "C" {

int open(const char* path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  const int mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, int) : 0;
  va_end(more);
  static auto* const next = real<int(const char*, int, ...)>("open");
  const int descriptor = next(path, flags, mode);
  disk().opened(descriptor, path, flags);
  return descriptor;
}
int open64(const char* path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  const int mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, int) : 0;
  va_end(more);
  return open(path, flags | O_LARGEFILE, mode);
}
int close(int descriptor) {
  static auto* const next = real<int(int)>("close");
  disk().closed(descriptor);
  return next(descriptor);
}
ssize_t write(int descriptor, const void* bytes, size_t size) {
  static auto* const next = real<ssize_t(int, const void*, size_t)>("write");
  const ssize_t written = next(descriptor, bytes, size);
  if (written > 0 && !disk().data.empty()) {
    const off_t end = lseek(descriptor, 0, SEEK_CUR);
    if (end >= written) disk().written(descriptor, end - written, written);
  }
  return written;
}
ssize_t pwrite(int descriptor, const void* bytes, size_t size, off_t at) {
  static auto* const next = real<ssize_t(int, const void*, size_t, off_t)>("pwrite");
  const ssize_t written = next(descriptor, bytes, size, at);
  disk().written(descriptor, at, written);
  return written;
}
ssize_t pwrite64(int descriptor, const void* bytes, size_t size, off_t at) { return pwrite(descriptor, bytes, size, at); }
int ftruncate(int descriptor, off_t size) {
  static auto* const next = real<int(int, off_t)>("ftruncate");
  const int result = next(descriptor, size);
  if (result == 0) disk().written(descriptor, std::max<off_t>(size - 1, 0), 1);
  return result;
}
int ftruncate64(int descriptor, off_t size) { return ftruncate(descriptor, size); }
int fsync(int descriptor) {
  static auto* const next = real<int(int)>("fsync");
  return disk().flush(descriptor, next);
}
int fdatasync(int descriptor) {
  static auto* const next = real<int(int)>("fdatasync");
  return disk().flush(descriptor, next);
}

}  // extern "C"
