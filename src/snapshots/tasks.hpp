// Tasks: the steps of the snapshot workflows, as coroutines over the Cloud port. The same code answers as built-in functions of the
// local cloud and as Lambda functions on AWS. Each may be repeated at any time, by a retry or after a crash: it looks before it acts.
//
//   name                       input beside "settings"              output
//   snapward-tag-snapshot      event (createSnapshot)               selected, failed, reason, snapshotId, volumeId, region, startTime
//   snapward-copy-snapshot     snapshot (the above)                 superseded, copyId, drRegion, made; superseded: it went by the
//                                                                   retention before it could be copied, newer ones are there
//   snapward-check-copy        snapshot, copy                       state (pending, completed, error, missing), message
//   snapward-prune-snapshots   volumeId, region, copies             kept, deleted[], undeletable[{id, reason}], decisions[]
//   snapward-tag-copy          event (copySnapshot)                 as tag-snapshot; volumeId is the original one
//   snapward-notify            event, error, execution              messageId
//   snapward-reconcile         region, stateMachineArn, side, since started[]
//
// Errors (errorType): Snapward.Throttled, Snapward.CopyLimitReached and Snapward.Unavailable are worth retrying;
// Snapward.CopyFailed, Snapward.InvalidInput and AWS's own codes are not.
#pragma once
#include <expected>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/task.hpp"
#include "base/time.hpp"
#include "cloud/cloud.hpp"

namespace snapward::snapshots {

struct TaskError {
  std::string type;
  std::string message;
};
using TaskResult = std::expected<Json, TaskError>;

// Tasks of one process. Copies of one source take turns, so that two executions of one event cannot both find nothing and copy twice.
class Tasks {
 public:
  Tasks(cloud::Cloud& cloud, const Clock& clock) : cloud_(cloud), clock_(clock) {}

  using Function = std::function<Task<TaskResult>(Json input)>;
  // All of them by function name; they refer to this object.
  std::map<std::string, Function> functions();

 private:
  Task<TaskResult> tag_snapshot(Json input);
  Task<TaskResult> copy_snapshot(Json input);
  Task<TaskResult> copy_alone(Json input);
  Task<TaskResult> check_copy(Json input);
  Task<TaskResult> prune(Json input);
  Task<TaskResult> tag_copy(Json input);
  Task<TaskResult> notify(Json input);
  Task<TaskResult> reconcile(Json input);

  cloud::Cloud& cloud_;
  const Clock& clock_;
  struct Asked {
    Instant at;
    std::string copy_id;  // empty: the answer was lost
  };
  std::map<std::string, Asked> asked_;                      // "region/snapshot>DR region" → the latest CopySnapshot
  std::map<std::string, std::vector<Future<bool>>> turns_;  // source snapshot → those who wait; present while one copies
};

// "snap-1**vol-1**us-west-2", the article's description of a copy.
struct CopyOrigin {
  std::string snapshot_id, volume_id, region;
  [[nodiscard]] std::string description() const;
  static std::optional<CopyOrigin> parse(std::string_view description);
};

}  // namespace snapward::snapshots
