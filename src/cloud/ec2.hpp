// Typed EC2 over the Cloud port: what the snapshot domain needs, with pagination done and answers parsed.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/task.hpp"
#include "base/time.hpp"
#include "cloud/cloud.hpp"

namespace snapward::cloud {

using Tags = std::map<std::string, std::string, std::less<>>;

struct Snapshot {
  std::string id, volume_id, state, state_message, description, owner_id;
  Instant started;
  std::int64_t size_gib = 0;
  bool encrypted = false;
  Tags tags;

  [[nodiscard]] bool completed() const { return state == "completed"; }
  [[nodiscard]] std::string tag(std::string_view key) const;  // "" when absent
  static Snapshot from_json(const Json& json);
};

struct Filter {
  std::string name;
  std::vector<std::string> values;
};

template <class T>
using Answer = std::expected<T, Error>;

Tags tags_of(const Json& list);  // [{Key, Value}, …]
Json tag_list(const Tags& tags);
Json tag_specifications(std::string_view resource_type, const Tags& tags);

struct Volume {
  std::string id;
  std::int64_t size_gib = 0;
  Instant created;
  Tags tags;
};

// All volumes of a region, over all pages.
Task<Answer<std::vector<Volume>>> describe_volumes(Cloud& cloud, std::string region);
// Own snapshots that meet the filters, over all pages. Never "all that exists": public snapshots are other people's.
Task<Answer<std::vector<Snapshot>>> describe_snapshots(Cloud& cloud, std::string region, std::vector<Filter> filters);
// One snapshot by id, or nothing when there is none.
Task<Answer<std::optional<Snapshot>>> find_snapshot(Cloud& cloud, std::string region, std::string id);
// The tags of a volume, or nothing when it is gone.
Task<Answer<std::optional<Tags>>> volume_tags(Cloud& cloud, std::string region, std::string id);
Task<Answer<Json>> create_tags(Cloud& cloud, std::string region, std::string id, Tags tags);

}  // namespace snapward::cloud
