// Selection: is a snapshot ours to manage? With a tag filter, its volume must carry the tag. Without one, everything is, but for what
// other tools made: images, Data Lifecycle Manager and AWS Backup look after their own.
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "cloud/ec2.hpp"
#include "snapshots/settings.hpp"

namespace snapward::snapshots {

struct Selection {
  bool selected = false;
  std::string reason;
};

// Whether tags meet a filter as settings have it: "none" (everything does), "Key" or "Key=Value".
bool carries(const cloud::Tags& tags, std::string_view filter);

// volume: the tags of the snapshot's volume, or nothing when the volume is gone (then the snapshot's own tags decide).
Selection select(const Settings& settings, const cloud::Snapshot& snapshot, const std::optional<cloud::Tags>& volume);

}  // namespace snapward::snapshots
