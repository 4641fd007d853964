// Selection: is a snapshot ours to manage? With a tag filter, its volume must carry the tag. Without one, everything is, but for what
// other tools made: images, Data Lifecycle Manager and AWS Backup look after their own.
#pragma once
#include <optional>
#include <string>

#include "cloud/ec2.hpp"
#include "snapshots/settings.hpp"

namespace snapward::snapshots {

struct Selection {
  bool selected = false;
  std::string reason;
};

// volume: the tags of the snapshot's volume, or nothing when the volume is gone (then the snapshot's own tags decide).
Selection select(const Settings& settings, const cloud::Snapshot& snapshot, const std::optional<cloud::Tags>& volume);

}  // namespace snapward::snapshots
