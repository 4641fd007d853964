// Audit: watches a cloud being worked on and says which of the eight invariants of the design held. It trusts nobody's report: it sees
// every call with its answer, and looks at the snapshots that are really there.
//
//   1 counts      only completed snapshots push others out
//   2 unconfirmed the newest snapshot without a confirmed copy is not deleted
//   3 once        no source has two copies that are not in error
//   4 copied      every managed snapshot gets its copy, throttled or not, and counts as copied only when that was complete; what could
//                 not be copied was told
//   5 undeletable one snapshot that cannot be deleted does not stop the others
//   6 told        every failed snapshot or copy of ours was told by SNS, and its execution is not green
//   7 untouched   what was not selected is neither tagged, copied nor deleted
//   8 found       no completed snapshot of ours stays undealt with, announced or not
#pragma once
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "cloud/cloud.hpp"
#include "cloud/ec2.hpp"
#include "snapshots/settings.hpp"

namespace snapward::snapshots {

class Audit {
 public:
  // All snapshots of a region as they are, pending ones and those in error included.
  using Inspect = std::function<std::vector<cloud::Snapshot>(const std::string& region)>;
  // Whether a snapshot in the primary region is ours to manage, by the one who set the scene.
  using Ours = std::function<bool(const cloud::Snapshot&)>;

  Audit(Settings settings, Inspect inspect, Ours ours)
      : settings_(std::move(settings)), inspect_(std::move(inspect)), ours_(std::move(ours)) {}

  void witness(const cloud::Call& call, const cloud::Reply& reply);  // every call, in order

  struct Verdict {
    int invariant;
    std::string name;
    std::string finding;                // what was looked at: "214 deletions, each …"
    std::vector<std::string> breaches;  // empty: it held
  };
  // At the end, when everything has come to rest. `failed_executions` are causes of executions that ended FAILED.
  std::vector<Verdict> verdicts(const std::vector<std::string>& failed_executions);

  [[nodiscard]] std::size_t deletions() const { return deletions_; }
  [[nodiscard]] std::size_t copies() const { return copies_; }
  [[nodiscard]] std::size_t notifications() const { return told_.size(); }

 private:
  void refresh(const std::string& region);
  void confirmed(const cloud::Call& call);
  void deleted(const std::string& region, const std::string& id);
  void breach(int invariant, std::string what) { breaches_[invariant].push_back(std::move(what)); }
  [[nodiscard]] bool foreign(const std::string& region, const std::string& id) const;

  Settings settings_;
  Inspect inspect_;
  Ours ours_;
  std::map<std::string, std::map<std::string, cloud::Snapshot>> known_;  // region → id, as before the call being witnessed
  std::map<int, std::vector<std::string>> breaches_;
  std::size_t deletions_ = 0, copies_ = 0, refused_deletions_ = 0, touched_ = 0;
  std::set<std::string> undeletable_;
  std::set<std::string> copied_;               // sources ("region/id") of which a complete copy was seen
  std::map<std::string, std::string> errors_;  // snapshot of ours seen in error → region
  std::vector<std::string> told_;              // messages published
};

}  // namespace snapward::snapshots
