#include "store/journal.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <iterator>

#include "base/crash_point.hpp"
#include "base/private_file.hpp"

namespace snapward::store {

namespace {

// The first sector of a file. A disk writes a sector whole or not at all.
constexpr std::size_t kSector = 512;
struct FileHeader {
  std::uint32_t magic, format;
  std::uint64_t salt, checksum;  // of what stands before it
};
constexpr std::uint32_t kFileMagic = 0x4657'4e53;  // "SNWF"
constexpr std::uint32_t kFormat = 1;

struct Header {
  std::uint32_t mark, length;  // of what follows
  std::uint64_t number, checksum;
};
constexpr std::uint32_t kMagic = 0x4a57'4e53;  // "SNWJ"
constexpr std::uint32_t kErased = 0xffff'ffff;
constexpr std::size_t kLargest = std::size_t{1} << 31;

// Without a salt (before layout 6) every record began with the same four bytes. With one, nobody who does not know it can write bytes that
// begin as a record does, so a search for records costs no checksums of what clients wrote.
std::uint32_t mark(std::optional<Journal::Salt> salt) {
  return salt ? static_cast<std::uint32_t>(XXH3_64bits_withSeed(&kMagic, sizeof kMagic, *salt)) : kMagic;
}
std::uint64_t checksum(std::optional<Journal::Salt> salt, std::uint64_t number, std::string_view body) {
  const std::uint64_t seed = salt ? XXH3_64bits_withSeed(&number, sizeof number, *salt) : number;
  return XXH3_64bits_withSeed(body.data(), body.size(), seed);
}

std::string file_header(Journal::Salt salt) {
  FileHeader header{.magic = kFileMagic, .format = kFormat, .salt = salt, .checksum = 0};
  header.checksum = XXH3_64bits(&header, offsetof(FileHeader, checksum));
  std::string out(kSector, '\0');
  std::memcpy(out.data(), &header, sizeof header);
  return out;
}
// Nothing: there is no header, or it does not check.
std::optional<Journal::Salt> salt_of(std::string_view content) {
  FileHeader header{};
  if (content.size() < kSector) return std::nullopt;
  std::memcpy(&header, content.data(), sizeof header);
  if (header.magic != kFileMagic || header.format != kFormat) return std::nullopt;
  if (header.checksum != XXH3_64bits(&header, offsetof(FileHeader, checksum))) return std::nullopt;
  return header.salt;
}

std::string path_of(const std::string& folder, std::size_t which) { return fmt::format("{}/journal-{}", folder, which); }

void put(std::string& out, std::uint32_t n) { out.append(reinterpret_cast<const char*>(&n), sizeof n); }

// Takes the record at the beginning of `text`; nothing when none stands there.
struct Taken {
  std::uint64_t number;
  std::string_view body;
};
std::optional<Taken> take(std::string_view text, std::optional<Journal::Salt> salt, std::uint32_t mark) {
  Header header{};
  if (text.size() < sizeof header) return std::nullopt;
  std::memcpy(&header, text.data(), sizeof header);
  if (header.mark != mark || header.length > text.size() - sizeof header) return std::nullopt;
  const std::string_view body = text.substr(sizeof header, header.length);
  if (checksum(salt, header.number, body) != header.checksum) return std::nullopt;
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

// A file's content; of one that is missing, nothing.
class Mapped {
 public:
  Mapped() = default;
  // False: it is there and cannot be read; errno tells why.
  [[nodiscard]] bool open(const std::string& path) {
    const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) return errno == ENOENT;
    missing_ = false;
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
  [[nodiscard]] bool missing() const { return missing_; }
  [[nodiscard]] std::string_view text() const { return bytes_ ? std::string_view(static_cast<const char*>(bytes_), size_) : ""; }

 private:
  bool missing_ = true;
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

std::unexpected<Error> damaged(const std::string& folder, std::string_view what) {
  return fail(ErrorCode::corrupt, fmt::format("the journal in '{}' is damaged: {}; restore the state from a backup", folder, what));
}

Result<std::vector<Journal::Group>> in_order(const std::string& folder, std::vector<Journal::Group> groups, std::uint64_t after) {
  std::ranges::sort(groups, {}, &Journal::Group::number);
  for (std::size_t i = 0; i < groups.size(); ++i)
    if (groups[i].number != after + 1 + i)
      return damaged(folder, fmt::format("group {} is missing, and later ones are there", after + 1 + i));
  return groups;
}

void append_to(std::vector<Journal::Group>& all, std::vector<Journal::Group> more) {
  all.insert(all.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
}

// Opens a file of the journal, or makes it, as one that only its user may read.
Result<int> open_file(const std::string& path, int flags) {
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CLOEXEC | flags, kPrivateFile);
  if (descriptor < 0) return problem(path, "open");
  return descriptor;
}

// A whole file with a header; what stands behind that stays.
Result<void> make_file(int descriptor, const std::string& path, Journal::Salt salt) {
  if (::fchmod(descriptor, kPrivateFile) != 0) return problem(path, "protect");
  struct stat status{};
  if (fstat(descriptor, &status) != 0) return problem(path, "read");
  const std::string zeros(std::size_t{1} << 20, '\0');
  for (auto size = static_cast<std::size_t>(status.st_size); size < Journal::kFileSize;) {
    const std::size_t part = std::min(zeros.size(), Journal::kFileSize - size);
    if (auto written = write_at(descriptor, path, std::string_view(zeros).substr(0, part), size); !written) return written;
    size += part;
  }
  if (auto written = write_at(descriptor, path, file_header(salt), 0); !written) return written;
  crash_point("keying");
  if (::fsync(descriptor) != 0) return problem(path, "write");
  return {};
}

}  // namespace

Journal::Salt Journal::fresh_salt() {
  Salt salt = 0;
  if (::getentropy(&salt, sizeof salt) != 0) std::abort();  // never fails for so few bytes
  return salt;
}

Result<std::vector<Journal::Group>> Journal::groups_in(std::string_view content, std::optional<Salt> salt, std::uint64_t after) {
  std::vector<Group> out;
  const std::uint32_t begins = mark(salt);
  std::string_view left = salt ? content.substr(std::min(kSector, content.size())) : content;
  std::uint64_t last = 0;
  for (auto record = take(left, salt, begins); record && (last == 0 || record->number == last + 1); record = take(left, salt, begins)) {
    last = record->number;
    if (last > after) {
      auto writes = writes_of(record->body);
      if (!writes) return fail(ErrorCode::corrupt, fmt::format("group {} cannot be read", last));
      out.push_back({last, *std::move(writes)});
    }
    left.remove_prefix(sizeof(Header) + record->body.size());
  }
  // Behind the end stands, of this turn, at most the record that was being written; a newer one means that the file is damaged before it.
  // Without a salt, records of the turn before stand there too, with older numbers.
  const std::string_view first_bytes(reinterpret_cast<const char*>(&begins), sizeof begins);
  for (std::size_t at = left.find(first_bytes); at != std::string_view::npos; at = left.find(first_bytes, at + 1))
    if (const auto record = take(left.substr(at), salt, begins); record && record->number > std::max(last, after))
      if (auto writes = writes_of(record->body)) out.push_back({record->number, *std::move(writes)});
  return out;
}

Result<std::vector<Journal::Group>> Journal::read(const std::string& folder, const Keys& keys, std::uint64_t after) {
  std::vector<Group> out;
  for (std::size_t which = 0; which < 2; ++which) {
    Mapped content;
    if (!content.open(path_of(folder, which))) return problem(path_of(folder, which), "read");
    if (content.missing()) return damaged(folder, fmt::format("journal-{} is missing", which));
    if (content.text().size() < kFileSize) return damaged(folder, fmt::format("journal-{} is shorter than {} MiB", which, kFileSize >> 20));
    const auto salt = salt_of(content.text());
    if (!salt) return damaged(folder, fmt::format("journal-{} has no readable header", which));
    const Key& key = keys.files[which];
    if (*salt != key.salt && *salt != key.former)
      return damaged(folder, fmt::format("journal-{} belongs to another data folder, or to another time of this one", which));
    if (*salt != key.salt) continue;
    auto groups = groups_in(content.text(), *salt, after);
    if (!groups) return damaged(folder, fmt::format("in journal-{}, {}", which, groups.error().message));
    // A server at work may have begun to write over what was just read.
    if (salt_of(content.text()) != salt) return damaged(folder, fmt::format("journal-{} is being written", which));
    append_to(out, *std::move(groups));
  }
  return in_order(folder, std::move(out), after);
}

Result<std::vector<Journal::Group>> Journal::read_unsalted(const std::string& folder, std::uint64_t after) {
  if (auto refused = refuse_files(folder, Which::salted); !refused) return std::unexpected(refused.error());
  std::vector<Group> out;
  for (std::size_t which = 0; which < 2; ++which) {
    Mapped content;
    if (!content.open(path_of(folder, which))) return problem(path_of(folder, which), "read");
    auto groups = groups_in(content.text(), std::nullopt, after);
    if (!groups) return damaged(folder, fmt::format("in journal-{}, {}", which, groups.error().message));
    append_to(out, *std::move(groups));
  }
  return in_order(folder, std::move(out), after);
}

Result<void> Journal::refuse_files(const std::string& folder, Which which_files) {
  for (std::size_t which = 0; which < 2; ++which) {
    Mapped content;
    if (!content.open(path_of(folder, which))) return problem(path_of(folder, which), "read");
    if (content.missing() || (which_files == Which::salted && !salt_of(content.text()))) continue;
    return fail(
        ErrorCode::corrupt,
        fmt::format("journal-{} in '{}' is not of the database there: its snapward.db is missing, or was replaced; put back the one "
                    "that belongs to it, or restore a backup into an empty folder",
                    which, folder));
  }
  return {};
}

Result<void> Journal::make(const std::string& folder, const std::array<Salt, 2>& salts) {
  for (std::size_t which = 0; which < 2; ++which) {
    const std::string path = path_of(folder, which);
    const auto descriptor = open_file(path, O_CREAT);
    if (!descriptor) return std::unexpected(descriptor.error());
    auto made = make_file(*descriptor, path, salts[which]);
    ::close(*descriptor);
    if (!made) return made;
  }
  // So that the files are found after a power cut, too.
  const int directory = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool synced = directory >= 0 && ::fsync(directory) == 0;
  if (directory >= 0) ::close(directory);
  if (!synced) return problem(folder, "write");
  return {};
}

void Journal::remove(const std::string& folder) {
  for (std::size_t which = 0; which < 2; ++which) ::unlink(path_of(folder, which).c_str());
}

Journal::~Journal() {
  for (const File& file : files_)
    if (file.descriptor >= 0) ::close(file.descriptor);
}

Result<void> Journal::open(const std::string& folder, std::uint64_t next, Salt salt) {
  next_ = next;
  salt_ = salt;
  for (std::size_t which = 0; which < 2; ++which) {
    File& file = files_[which];
    file.path = path_of(folder, which);
    const auto descriptor = open_file(file.path, 0);
    if (!descriptor) return std::unexpected(descriptor.error());
    file.descriptor = *descriptor;
  }
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
  const Header header{.mark = mark(salt_),
                      .length = static_cast<std::uint32_t>(packed.size()),
                      .number = next_,
                      .checksum = checksum(salt_, next_, packed)};
  // The first record of a turn brings the header. Of a crash between the sectors of the two, there is nothing to be taken up: the header
  // says that the turn has not begun, or there is no whole record behind it.
  record_ = at_ == 0 ? file_header(salt_) : "";
  record_.append(reinterpret_cast<const char*>(&header), sizeof header).append(packed);
  const File& file = files_[current_];
  if (auto written = write_at(file.descriptor, file.path, record_, at_); !written) return written;
  crash_point("committing");
  if (::fdatasync(file.descriptor) != 0) return problem(file.path, "write");
  at_ += record_.size();
  ++next_;
  return {};
}

void Journal::turn(Salt salt) {
  current_ = 1 - current_;
  at_ = 0;
  salt_ = salt;
}

}  // namespace snapward::store
