// Settings: what a person asks for, with the article's parameters and defaults.
#pragma once
#include <cstdint>
#include <string>

#include "base/json.hpp"
#include "base/result.hpp"

namespace snapward::snapshots {

struct Settings {
  std::string tag = "none";  // volumes to manage: "none" (all), "Key" or "Key=Value"
  std::string primary_region = "us-west-2";
  std::string dr_region = "us-east-2";  // empty: no copies
  std::int64_t retention = 7;           // snapshots kept for each volume in the primary region, [1, 100000]
  std::int64_t dr_retention = 1;        // and in the DR region
  std::string topic_arn;                // where errors are told; empty: nowhere
  std::string since;                    // ISO 8601: snapshots from before are not looked for and taken into care; empty: all are

  // From a task's "settings": {"tag", "drRegion", "retention", "topicArn"}; numbers may be text, as templates substitute them.
  static Result<Settings> from_json(const Json& json);
};

// Tags that we read and write. The first three are the article's.
namespace tags {
inline constexpr const char* kName = "AutomatedSnapName";  // marks a snapshot as ours: <volume>_<start time>
inline constexpr const char* kVolume = "OriginalVolumeId";
inline constexpr const char* kRegion = "OriginalRegion";          // on copies
inline constexpr const char* kSource = "snapward:source";         // on copies: <region>/<snapshot>, given at creation: the idempotency key
inline constexpr const char* kTaken = "snapward:taken";           // on copies: when the source was taken, since copies finish in any order
inline constexpr const char* kCopy = "snapward:copy";             // on sources: <region>/<snapshot> of the copy
inline constexpr const char* kCopyState = "snapward:copy-state";  // on sources: completed (confirmed) or failed
inline constexpr const char* kReported = "snapward:reported";     // on snapshots in error: they were told of
}  // namespace tags

}  // namespace snapward::snapshots
