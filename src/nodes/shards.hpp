// Shards: the parts that the state of a cloud is split into in PostgreSQL, so that several nodes work on it. A shard is a group of
// regions: what happens within a region stays within a process, as it stays within a region at AWS, and what reaches from one region to
// another (a copy, an event for another region's bus) is a call between processes.
#pragma once
#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "services/regions.hpp"

namespace snapward::nodes {

inline constexpr std::array<std::string_view, 4> kShards{"us-east", "us-west", "eu", "ap"};
inline constexpr std::string_view kWhole = "all";  // the one shard of a state that is in one piece

// us-east: us-east-*, and what belongs to no region. us-west: the rest of the Americas. eu: Europe, the Middle East, Africa. ap: Asia,
// Australia.
constexpr std::string_view shard_of(std::string_view service, std::string_view region) {
  const std::string_view home = services::home_of(service, region);
  if (home.starts_with("us-east-")) return "us-east";
  for (const char* part : {"us-", "ca-", "mx-", "sa-"})
    if (home.starts_with(part)) return "us-west";
  return home.starts_with("ap-") ? "ap" : "eu";
}

inline std::int64_t number_of(std::string_view shard) {
  const auto found = std::ranges::find(kShards, shard);
  return found == kShards.end() ? 0 : found - kShards.begin();
}

}  // namespace snapward::nodes
