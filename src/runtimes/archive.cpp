#include "runtimes/archive.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <zip.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <vector>

namespace snapward::runtimes {

namespace {
constexpr zip_uint64_t kMostBytes = 250ULL << 20U;
constexpr const char* kTooLarge = "Unzipped size must be smaller than 262144000 bytes";

struct CloseArchive {
  void operator()(zip_t* archive) const { zip_discard(archive); }
};
struct CloseFile {
  void operator()(zip_file_t* file) const { zip_fclose(file); }
};

bool stays_inside(const std::filesystem::path& name) {
  if (name.empty() || name.is_absolute()) return false;
  for (const auto& part : name)
    if (part == "..") return false;
  return true;
}
}  // namespace

Result<void> unpack(std::string_view zip, const std::string& folder) {
  zip_error_t error;
  zip_error_init(&error);
  zip_source_t* source = zip_source_buffer_create(zip.data(), zip.size(), 0, &error);
  const std::unique_ptr<zip_t, CloseArchive> archive(source ? zip_open_from_source(source, ZIP_RDONLY, &error) : nullptr);
  if (!archive) {
    if (source) zip_source_free(source);
    std::string why = zip_error_strerror(&error);
    zip_error_fini(&error);
    return invalid("the code is not a zip archive: " + why);
  }
  zip_uint64_t total = 0, said = 0;
  const zip_int64_t entries = zip_get_num_entries(archive.get(), 0);
  // By what the archive says of itself, before anything is written; while it is, by what is there.
  for (zip_int64_t i = 0; i < entries && said <= kMostBytes; ++i)
    if (zip_stat_t stat; zip_stat_index(archive.get(), static_cast<zip_uint64_t>(i), 0, &stat) == 0)
      said += std::min<zip_uint64_t>(stat.size, kMostBytes + 1);
  if (said > kMostBytes) return invalid(kTooLarge);
  std::vector<char> buffer(64 * 1024);
  for (zip_int64_t i = 0; i < entries; ++i) {
    zip_stat_t stat;
    if (zip_stat_index(archive.get(), static_cast<zip_uint64_t>(i), 0, &stat) != 0 || !stat.name)
      return invalid(fmt::format("entry {} of the archive cannot be read", i));
    const std::string name = stat.name;
    if (!stays_inside(name)) return invalid(fmt::format("the archive's entry '{}' would lie outside of its folder", name));
    zip_uint8_t system = 0;
    zip_uint32_t attributes = 0;
    zip_file_get_external_attributes(archive.get(), static_cast<zip_uint64_t>(i), 0, &system, &attributes);
    const mode_t mode = system == ZIP_OPSYS_UNIX ? attributes >> 16U : 0;
    if (S_ISLNK(mode)) return invalid(fmt::format("the archive's entry '{}' is a link", name));
    const std::filesystem::path path = std::filesystem::path(folder) / name;
    std::error_code failed;
    if (name.ends_with('/')) {
      std::filesystem::create_directories(path, failed);
      continue;
    }
    std::filesystem::create_directories(path.parent_path(), failed);
    const std::unique_ptr<zip_file_t, CloseFile> file(zip_fopen_index(archive.get(), static_cast<zip_uint64_t>(i), 0));
    std::ofstream out(path, std::ios::binary);
    if (!file || !out)
      return fail(ErrorCode::unavailable, fmt::format("the archive's entry '{}' cannot be unpacked to {}", name, path.string()));
    for (;;) {
      const zip_int64_t got = zip_fread(file.get(), buffer.data(), buffer.size());
      if (got < 0) return invalid(fmt::format("the archive's entry '{}' is damaged", name));
      if (got == 0) break;
      total += static_cast<zip_uint64_t>(got);
      if (total > kMostBytes) return invalid(kTooLarge);
      out.write(buffer.data(), got);
    }
    out.close();
    if (!out) return fail(ErrorCode::unavailable, fmt::format("{} cannot be written", path.string()));
    if ((mode & 0111U) != 0) chmod(path.c_str(), 0755);
  }
  return {};
}

}  // namespace snapward::runtimes
