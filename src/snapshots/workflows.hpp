// Workflows: the state machines of workflows/*.asl.json, which are data, and their deployment to a cloud: topic, role, machine and rule
// in each region, by the Cloud port. Deploying again changes only what differs.
#pragma once
#include <expected>
#include <map>
#include <string>
#include <string_view>

#include "base/task.hpp"
#include "cloud/cloud.hpp"
#include "snapshots/settings.hpp"

namespace snapward::snapshots {

// The text of a built-in workflow: "primary", "dr", "reconcile".
std::string_view workflow_text(std::string_view name);

// ${Name} replaced by its value, as SAM's DefinitionSubstitutions do; unknown names stay.
std::string substitute(std::string_view text, const std::map<std::string, std::string, std::less<>>& values);

// The events that start a workflow: a snapshot, or a copy, is over. All results, not only good ones: a failure is told too.
inline constexpr const char* kSnapshotOver = "createSnapshot";
inline constexpr const char* kCopyOver = "copySnapshot";
std::string over_pattern(std::string_view event);

inline constexpr const char* kReconcileRule = "EBS_Snapshot_Reconcile";  // the hourly one, in each region

struct DeployedRegion {
  std::string region, topic_arn, machine_arn, reconcile_arn;
};
struct Deployment {
  DeployedRegion primary, dr;
};

Task<std::expected<Deployment, cloud::Error>> deploy(cloud::Cloud& cloud, std::string account, Settings settings);

}  // namespace snapward::snapshots
