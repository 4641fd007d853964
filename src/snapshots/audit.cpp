#include "snapshots/audit.hpp"

#include <fmt/format.h>

#include "snapshots/retention.hpp"
#include "snapshots/tasks.hpp"

namespace snapward::snapshots {

void Audit::refresh(const std::string& region) {
  auto& known = known_[region];
  known.clear();
  for (cloud::Snapshot& s : inspect_(region)) {
    const bool ours = region == settings_.dr_region ? !s.tag(tags::kSource).empty() : ours_(s);
    if (s.state == "error" && ours) errors_[s.id] = region;
    if (s.completed() && region == settings_.dr_region) copied_.insert(s.tag(tags::kSource));
    const std::string id = s.id;
    known[id] = std::move(s);
  }
}

bool Audit::foreign(const std::string& region, const std::string& id) const {
  const auto r = known_.find(region);
  if (r == known_.end()) return false;
  const auto s = r->second.find(id);
  if (s == r->second.end()) return false;
  return region == settings_.dr_region ? s->second.tag(tags::kSource).empty() : !ours_(s->second);
}

void Audit::witness(const cloud::Call& call, const cloud::Reply& reply) {
  if (call.service == "sns" && call.operation == "Publish" && reply) told_.emplace_back(call.input["Message"].string_or());
  if (call.service != "ec2" || call.operation.starts_with("Describe")) return;
  if (call.operation == "DeleteSnapshot") {
    const std::string id(call.input["SnapshotId"].string_or());
    if (foreign(call.region, id)) breach(7, fmt::format("{} in {} is not ours, and its deletion was asked for", id, call.region));
    if (reply)
      deleted(call.region, id);
    else if (cloud::kind_of(reply.error()) == cloud::Kind::in_use)
      undeletable_.insert(id), ++refused_deletions_;
  }
  if (call.operation == "CreateTags")
    for (const Json& id : call.input["Resources"].items()) {
      ++touched_;
      if (foreign(call.region, std::string(id.string_or())))
        breach(7, fmt::format("{} in {} is not ours, and was tagged", id.string_or(), call.region));
    }
  if (call.operation == "CreateTags" && reply) confirmed(call);
  if (call.operation == "CopySnapshot") {
    const std::string id(call.input["SourceSnapshotId"].string_or()), from(call.input["SourceRegion"].string_or());
    if (foreign(from, id)) breach(7, fmt::format("{} in {} is not ours, and was copied", id, from));
    copies_ += reply ? 1 : 0;
    refresh(call.region);
    std::size_t good = 0;
    for (const auto& [other, s] : known_[call.region]) good += s.tag(tags::kSource) == from + '/' + id && s.state != "error" ? 1 : 0;
    if (good > 1) breach(3, fmt::format("{} in {} has {} copies at once", id, from, good));
  }
  refresh(settings_.primary_region);
  if (!settings_.dr_region.empty()) refresh(settings_.dr_region);
}

// Somebody says that a copy is complete: it must have been seen so.
void Audit::confirmed(const cloud::Call& call) {
  const cloud::Tags given = cloud::tags_of(call.input["Tags"]);
  const auto state = given.find(tags::kCopyState);
  if (state == given.end() || state->second != "completed") return;
  refresh(settings_.dr_region);
  for (const Json& id : call.input["Resources"].items())
    if (const std::string source = fmt::format("{}/{}", call.region, id.string_or()); !copied_.contains(source))
      breach(4, fmt::format("{} counts as copied, but no complete copy of it was ever there", source));
}

// known_ still shows the world before.
void Audit::deleted(const std::string& region, const std::string& id) {
  ++deletions_;
  const auto gone = known_[region].find(id);
  if (gone == known_[region].end()) return;
  const bool dr = region == settings_.dr_region;
  const Candidate c = candidate_of(gone->second, !dr && !settings_.dr_region.empty());
  const std::string volume = gone->second.tag(tags::kVolume);
  std::int64_t newer_completed = 0;
  bool newer_unconfirmed = false;
  for (const auto& [other_id, other] : known_[region]) {
    if (other_id == id || other.tag(tags::kVolume) != volume || !other.completed()) continue;
    const Candidate o = candidate_of(other, !dr && !settings_.dr_region.empty());
    if (std::pair(o.taken, o.id) < std::pair(c.taken, c.id)) continue;
    ++newer_completed;
    newer_unconfirmed = newer_unconfirmed || o.copy != CopyState::confirmed;
  }
  const std::int64_t retention = dr ? settings_.dr_retention : settings_.retention;
  if (newer_completed < retention)
    breach(1, fmt::format("{} in {} was deleted with only {} newer completed snapshots of {}; {} are to be kept", id, region,
                          newer_completed, volume, retention));
  if (!dr && !settings_.dr_region.empty() && c.copy != CopyState::confirmed && !newer_unconfirmed)
    breach(2, fmt::format("{} was deleted as the newest snapshot of {} without a confirmed copy", id, volume));
  // Confirmed by a tag is checked against the world: the copy must be there and completed, or have been pruned in its turn.
  if (!dr && c.copy == CopyState::confirmed)
    for (const auto& [other_id, other] : known_[settings_.dr_region])
      if (other.tag(tags::kSource) == region + '/' + id && other.state == "pending")
        breach(2, fmt::format("{} counts as copied, but its copy {} is pending", id, other_id));
}

std::vector<Audit::Verdict> Audit::verdicts(const std::vector<std::string>& failed_executions) {
  refresh(settings_.primary_region);
  if (!settings_.dr_region.empty()) refresh(settings_.dr_region);
  std::size_t managed = 0, confirmed = 0, given_up = 0;
  std::map<std::string, std::int64_t> kept;
  const auto told_of = [&](const std::string& id) {
    return std::any_of(told_.begin(), told_.end(), [&](const std::string& m) { return m.find(id) != std::string::npos; });
  };
  for (const auto& [id, s] : known_[settings_.primary_region]) {
    if (!ours_(s) || !s.completed()) continue;
    ++managed;
    if (s.tag(tags::kName).empty()) breach(8, fmt::format("{} of {} is completed and was never dealt with", id, s.volume_id));
    if (!undeletable_.contains(id)) ++kept[s.volume_id];
    if (settings_.dr_region.empty()) continue;
    const CopyState state = candidate_of(s, true).copy;
    if (state == CopyState::confirmed) {
      ++confirmed;
    } else if (state == CopyState::failed && told_of(id)) {
      ++given_up;
    } else {
      breach(4, fmt::format("{} of {} has no confirmed copy, and nobody was told", id, s.volume_id));
    }
  }
  // Retention is met again once all is at rest; one more may stay for want of a confirmed copy.
  for (const auto& [volume, count] : kept)
    if (count > settings_.retention + 1)
      breach(5, fmt::format("{} has {} snapshots that could be deleted; {} are to be kept", volume, count, settings_.retention));
  std::size_t failures_told = 0;
  for (const auto& [id, region] : errors_) {
    if (!told_of(id)) breach(6, fmt::format("{} in {} ended in error and nobody was told", id, region));
    failures_told += told_of(id) ? 1 : 0;
    const bool red = std::any_of(failed_executions.begin(), failed_executions.end(),
                                 [&](const std::string& cause) { return cause.find(id) != std::string::npos; });
    if (!red) breach(6, fmt::format("{} in {} ended in error and no execution FAILED for it", id, region));
  }
  const auto verdict = [&](int n, std::string name, std::string finding) {
    return Verdict{n, std::move(name), std::move(finding), breaches_[n]};
  };
  return {
      verdict(1, "retention counts only completed snapshots",
              fmt::format("{} deletions, each with enough newer completed ones left", deletions_)),
      verdict(2, "no copy, no deletion", "the newest snapshot without a confirmed copy always stayed"),
      verdict(3, "nothing twice", fmt::format("{} copies made, never two at once of one source", copies_)),
      verdict(4, "no copy dropped",
              fmt::format("{} managed snapshots: {} with a confirmed copy, {} reported as not copyable", managed, confirmed, given_up)),
      verdict(5, "one undeletable snapshot stops nothing",
              fmt::format("{} refused deletions of {} snapshots; the others were pruned", refused_deletions_, undeletable_.size())),
      verdict(6, "errors are told and visible",
              fmt::format("{} snapshots or copies in error, {} told, {} executions red", errors_.size(), failures_told,
                          failed_executions.size())),
      verdict(7, "what is not ours is not touched",
              fmt::format("{} taggings, {} copies and {} deletions, all of ours", touched_, copies_, deletions_)),
      verdict(8, "lost events are made good", fmt::format("{} completed snapshots of ours, all dealt with", managed)),
  };
}

}  // namespace snapward::snapshots
