#include "store/packing.hpp"

#include <zstd.h>

#include <cassert>

extern const char snapward_dictionary[], snapward_dictionary_end[];

namespace snapward::store {

namespace {
constexpr std::size_t kWorthPacking = 100;
constexpr int kLevel = 1;       // higher levels win a few per cent
constexpr int kFastLevel = -1;  // what is packed together resembles itself: the fastest level packs it well
constexpr std::string_view kMagic{"\x28\xB5\x2F\xFD", 4};
constexpr std::size_t kLargest = std::size_t{1} << 31;

// Made ready once, for the process; read by all threads.
std::string_view dictionary() { return {snapward_dictionary, static_cast<std::size_t>(snapward_dictionary_end - snapward_dictionary)}; }
const ZSTD_CDict* for_packing(int level) {
  static const ZSTD_CDict* const kept = ZSTD_createCDict(dictionary().data(), dictionary().size(), kLevel);
  static const ZSTD_CDict* const fast = ZSTD_createCDict(dictionary().data(), dictionary().size(), kFastLevel);
  return level == kLevel ? kept : fast;
}
const ZSTD_DDict* for_unpacking() {
  static const ZSTD_DDict* const made = ZSTD_createDDict(dictionary().data(), dictionary().size());
  return made;
}
}  // namespace

bool looks_packed(std::string_view value) { return value.starts_with(kMagic); }

void Packer::Free::operator()(ZSTD_CCtx_s* context) const { ZSTD_freeCCtx(context); }
void Unpacker::Free::operator()(ZSTD_DCtx_s* context) const { ZSTD_freeDCtx(context); }

Packer::Packer() : context_(ZSTD_createCCtx()) {}
Unpacker::Unpacker() : context_(ZSTD_createDCtx()) {}

std::string_view Packer::frame(std::string_view value, int level) {
  if (const std::size_t most = ZSTD_compressBound(value.size()); buffer_.size() < most) buffer_.resize(most);
  const std::size_t size =
      ZSTD_compress_usingCDict(context_.get(), buffer_.data(), buffer_.size(), value.data(), value.size(), for_packing(level));
  assert(!ZSTD_isError(size));
  return std::string_view(buffer_).substr(0, size);
}

std::string_view Packer::pack(std::string_view value) {
  const bool must = looks_packed(value);
  if (value.size() < kWorthPacking && !must) return value;
  const std::string_view packed = frame(value, kLevel);
  return packed.size() < value.size() || must ? packed : value;
}

std::string_view Packer::pack_fast(std::string_view value) { return frame(value, kFastLevel); }

std::optional<std::string> Unpacker::unpack(std::string_view kept) {
  if (!looks_packed(kept)) return std::string(kept);
  const unsigned long long size = ZSTD_getFrameContentSize(kept.data(), kept.size());
  if (size == ZSTD_CONTENTSIZE_ERROR || size == ZSTD_CONTENTSIZE_UNKNOWN || size > kLargest) return std::nullopt;
  std::string out(size, '\0');
  // A frame of another dictionary than ours is an error to zstd.
  const bool plain = ZSTD_getDictID_fromFrame(kept.data(), kept.size()) == 0;
  const std::size_t got =
      plain ? ZSTD_decompressDCtx(context_.get(), out.data(), out.size(), kept.data(), kept.size())
            : ZSTD_decompress_usingDDict(context_.get(), out.data(), out.size(), kept.data(), kept.size(), for_unpacking());
  if (ZSTD_isError(got) || got != size) return std::nullopt;
  return out;
}

}  // namespace snapward::store
