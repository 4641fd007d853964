// BlockMap: what a volume or snapshot holds, block by block, without the bytes: content ids over runs of 512 KiB blocks. It makes
// incremental sizes, and with them cost, come out as EBS accounts them: a snapshot pays for the blocks that no older live snapshot
// of its lineage holds; deleting one hands shared blocks to the next. Source: EC2 User Guide, "How incremental snapshots work".
#pragma once
#include <cstdint>
#include <map>

#include "base/json.hpp"

namespace snapward::services::ec2 {

inline constexpr std::int64_t kBlockBytes = 524'288;
inline constexpr std::int64_t kBlocksPerGib = 2048;

class BlockMap {
 public:
  // Blocks [start, start + count) now hold `content`; an empty block is simply absent.
  void write(std::int64_t start, std::int64_t count, std::int64_t content);

  [[nodiscard]] std::int64_t blocks() const;                              // that hold something
  [[nodiscard]] std::int64_t changed_since(const BlockMap& older) const;  // of ours, how many differ from (or lack in) the older one
  [[nodiscard]] Json to_json() const;
  static BlockMap from_json(const Json& json);

 private:
  struct Run {
    std::int64_t count, content;
  };
  std::map<std::int64_t, Run> runs_;  // by start, never overlapping
  mutable std::int64_t blocks_ = -1;  // counted once; negative: not yet
};

}  // namespace snapward::services::ec2
