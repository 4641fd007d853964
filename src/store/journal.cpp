#include "store/journal.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cassert>
#include <cstring>

#include "base/crash_point.hpp"

namespace snapward::store {

namespace {

struct Header {
  std::uint32_t magic, length;  // of what follows
  std::uint64_t number, checksum;
};
constexpr std::uint32_t kMagic = 0x4a57'4e53;  // "SNWJ"
constexpr std::uint32_t kErased = 0xffff'ffff;
constexpr std::size_t kLargest = std::size_t{1} << 31;

std::uint64_t checksum(std::uint64_t number, std::string_view body) { return XXH3_64bits_withSeed(body.data(), body.size(), number); }

std::string path_of(const std::string& folder, std::size_t which) { return fmt::format("{}/journal-{}", folder, which); }

void put(std::string& out, std::uint32_t n) { out.append(reinterpret_cast<const char*>(&n), sizeof n); }

// Takes the record at the beginning of `text`; nothing when none stands there.
struct Taken {
  std::uint64_t number;
  std::string_view body;
};
std::optional<Taken> take(std::string_view text) {
  Header header{};
  if (text.size() < sizeof header) return std::nullopt;
  std::memcpy(&header, text.data(), sizeof header);
  if (header.magic != kMagic || header.length > text.size() - sizeof header) return std::nullopt;
  const std::string_view body = text.substr(sizeof header, header.length);
  if (checksum(header.number, body) != header.checksum) return std::nullopt;
  return Taken{header.number, body};
}

// Nothing: the bytes are none of ours, although their checksum holds.
std::optional<std::vector<Write>> writes_of(std::string_view packed) {
  const auto unpacked = looks_packed(packed) ? Unpacker().unpack(packed) : std::nullopt;
  if (!unpacked) return std::nullopt;
  std::string_view body = *unpacked;
  bool whole = true;
  const auto bytes = [&](std::size_t n) {
    whole = whole && n <= body.size();
    const std::string_view out = whole ? body.substr(0, n) : std::string_view();
    body.remove_prefix(out.size());
    return std::string(out);
  };
  const auto number = [&] {
    std::uint32_t n = 0;
    if (const std::string four = bytes(sizeof n); whole) std::memcpy(&n, four.data(), sizeof n);
    return n;
  };
  std::vector<Write> out;
  while (whole && !body.empty()) {
    const std::uint32_t table = number(), key = number(), value = number();
    std::string in_table = bytes(table), row_key = bytes(key);
    if (value == kErased)
      out.emplace_back(std::move(in_table), std::move(row_key), std::nullopt);
    else
      out.emplace_back(std::move(in_table), std::move(row_key), bytes(value));
  }
  if (!whole) return std::nullopt;
  return out;
}

// A file's content; of one that is not there, nothing.
class Mapped {
 public:
  Mapped() = default;
  // False: it is there and cannot be read; errno tells why.
  [[nodiscard]] bool open(const std::string& path) {
    const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) return errno == ENOENT;
    struct stat status{};
    bool good = fstat(descriptor, &status) == 0;
    if (good && status.st_size > 0) {
      size_ = static_cast<std::size_t>(status.st_size);
      bytes_ = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, descriptor, 0);
      good = bytes_ != MAP_FAILED;
      if (!good) bytes_ = nullptr;
    }
    const int problem = errno;
    ::close(descriptor);
    errno = problem;
    return good;
  }
  Mapped(const Mapped&) = delete;
  Mapped& operator=(const Mapped&) = delete;
  ~Mapped() {
    if (bytes_) ::munmap(bytes_, size_);
  }
  [[nodiscard]] std::string_view text() const { return bytes_ ? std::string_view(static_cast<const char*>(bytes_), size_) : ""; }

 private:
  void* bytes_ = nullptr;
  std::size_t size_ = 0;
};

std::unexpected<Error> problem(const std::string& path, std::string_view what) {
  return fail(ErrorCode::unavailable, fmt::format("cannot {} '{}': {}; {}", what, path, strerror(errno),
                                                  errno == ENOSPC ? "the disk is full: free some space, work goes on by itself"
                                                                  : "check the disk and its permissions"));
}

Result<void> write_at(int descriptor, const std::string& path, std::string_view bytes, std::size_t at) {
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(descriptor, bytes.data(), bytes.size(), static_cast<off_t>(at));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return problem(path, "write");
    bytes.remove_prefix(static_cast<std::size_t>(written));
    at += static_cast<std::size_t>(written);
  }
  return {};
}

}  // namespace

Result<std::vector<Journal::Group>> Journal::read(const std::string& folder, std::uint64_t after) {
  std::vector<Group> out;
  for (std::size_t which = 0; which < 2; ++which) {
    Mapped content;
    if (!content.open(path_of(folder, which))) return problem(path_of(folder, which), "read");
    std::string_view left = content.text();
    std::uint64_t last = 0;
    for (auto record = take(left); record && (last == 0 || record->number == last + 1); record = take(left)) {
      last = record->number;
      if (last > after) {
        auto writes = writes_of(record->body);
        if (!writes) return fail(ErrorCode::corrupt, fmt::format("group {} of the journal in '{}' cannot be read", last, folder));
        out.push_back({last, *std::move(writes)});
      }
      left.remove_prefix(sizeof(Header) + record->body.size());
    }
    // Behind the end stand older groups only, or the one that was being written; a newer one means that the file is damaged before it.
    const std::string_view magic(reinterpret_cast<const char*>(&kMagic), sizeof kMagic);
    for (std::size_t at = left.find(magic); at != std::string_view::npos; at = left.find(magic, at + 1))
      if (const auto record = take(left.substr(at)); record && record->number > std::max(last, after))
        if (auto writes = writes_of(record->body)) out.push_back({record->number, *std::move(writes)});
  }
  std::ranges::sort(out, {}, &Group::number);
  for (std::size_t i = 0; i < out.size(); ++i)
    if (out[i].number != after + 1 + i)
      return fail(ErrorCode::corrupt, fmt::format("the journal in '{}' is damaged: group {} is missing, and later ones are there; restore "
                                                  "the state from a backup",
                                                  folder, after + 1 + i));
  return out;
}

void Journal::remove(const std::string& folder) {
  for (std::size_t which = 0; which < 2; ++which) ::unlink(path_of(folder, which).c_str());
}

Journal::~Journal() {
  for (const File& file : files_)
    if (file.descriptor >= 0) ::close(file.descriptor);
}

Result<void> Journal::open(const std::string& folder, std::uint64_t next) {
  next_ = next;
  const std::string zeros(std::size_t{1} << 20, '\0');
  bool made = false;
  for (std::size_t which = 0; which < 2; ++which) {
    File& file = files_[which];
    file.path = path_of(folder, which);
    file.descriptor = ::open(file.path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (file.descriptor < 0) return problem(file.path, "open");
    struct stat status{};
    if (fstat(file.descriptor, &status) != 0) return problem(file.path, "read");
    for (auto size = static_cast<std::size_t>(status.st_size); size < kFileSize;) {
      const std::size_t part = std::min(zeros.size(), kFileSize - size);
      if (auto written = write_at(file.descriptor, file.path, std::string_view(zeros).substr(0, part), size); !written) return written;
      size += part;
      made = true;
    }
    if (made && ::fsync(file.descriptor) != 0) return problem(file.path, "write");
  }
  if (!made) return {};
  // So that the files are found after a power cut, too.
  const int directory = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool synced = directory >= 0 && ::fsync(directory) == 0;
  if (directory >= 0) ::close(directory);
  if (!synced) return problem(folder, "write");
  return {};
}

Result<void> Journal::append(const std::vector<Write>& writes) {
  body_.clear();
  for (const Write& w : writes) {
    put(body_, static_cast<std::uint32_t>(w.table.size()));
    put(body_, static_cast<std::uint32_t>(w.key.size()));
    put(body_, w.value ? static_cast<std::uint32_t>(w.value->size()) : kErased);
    body_ += w.table;
    body_ += w.key;
    if (w.value) body_ += *w.value;
  }
  if (body_.size() > kLargest) return fail(ErrorCode::invalid, "a group of writes is larger than 2 GiB");
  const std::string_view packed = packer_.pack_fast(body_);
  const Header header{
      .magic = kMagic, .length = static_cast<std::uint32_t>(packed.size()), .number = next_, .checksum = checksum(next_, packed)};
  record_.assign(reinterpret_cast<const char*>(&header), sizeof header).append(packed);
  File& file = files_[current_];
  if (auto written = write_at(file.descriptor, file.path, record_, at_); !written) return written;
  crash_point("committing");
  if (::fdatasync(file.descriptor) != 0) return problem(file.path, "write");
  at_ += record_.size();
  file.last = next_++;
  return {};
}

void Journal::turn() {
  current_ = 1 - current_;
  at_ = 0;
}

}  // namespace snapward::store
