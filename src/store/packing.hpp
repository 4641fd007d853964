// Packing: how values are kept on disk. Histories and records are JSON that resembles the JSON of all the others: zstd, with a dictionary
// of what they have in common (dictionary.zdict, docs/adr/0011), makes a tenth of them, and less to write is what a commit's time is made
// of. Small values stay as they are; a packed one is a zstd frame that names its dictionary, or none as those of before layout 5, and
// begins with zstd's magic number, which no other kept value does (a value that does by itself is packed, whatever its size). A Packer, or
// an Unpacker, belongs to one thread at a time.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <string_view>

struct ZSTD_CCtx_s;
struct ZSTD_DCtx_s;

namespace snapward::store {

class Packer {
 public:
  Packer();
  // The bytes to keep: of `value` itself or of a buffer that lives until the next call.
  std::string_view pack(std::string_view value);
  // A frame whatever it saves, in less time: for what is not kept long. In the same buffer.
  std::string_view pack_fast(std::string_view value);

 private:
  struct Free {
    void operator()(ZSTD_CCtx_s* context) const;
  };
  std::string_view frame(std::string_view value, int level);
  std::unique_ptr<ZSTD_CCtx_s, Free> context_;
  std::string buffer_;
};

class Unpacker {
 public:
  Unpacker();
  // Nothing: the bytes are damaged.
  std::optional<std::string> unpack(std::string_view kept);

 private:
  struct Free {
    void operator()(ZSTD_DCtx_s* context) const;
  };
  std::unique_ptr<ZSTD_DCtx_s, Free> context_;
};

// Whether a value kept as it is would be taken for a packed one.
bool looks_packed(std::string_view value);

}  // namespace snapward::store
