#include "snapshots/retention.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>

#include "snapshots/settings.hpp"

namespace snapward::snapshots {

std::vector<Decision> retain(std::vector<Candidate> candidates, std::int64_t retention) {
  assert(retention >= 1);
  std::sort(candidates.begin(), candidates.end(),
            [](const Candidate& a, const Candidate& b) { return std::pair(a.taken, a.id) > std::pair(b.taken, b.id); });
  std::vector<Decision> plan;
  std::int64_t counted = 0;
  bool newest_unconfirmed_seen = false;
  for (const Candidate& c : candidates) {
    if (c.state != "completed") {
      plan.push_back({c.id, true,
                      c.state == "pending" ? "still being made; it does not count yet"
                                           : fmt::format("in state {}; it is no backup and does not count", c.state)});
      continue;
    }
    ++counted;
    // One that is being copied stays for itself and shields no other: what reads as in progress may be confirmed already.
    const bool unconfirmed = c.copy == CopyState::none || c.copy == CopyState::failed;
    const bool newest_unconfirmed = unconfirmed && !std::exchange(newest_unconfirmed_seen, newest_unconfirmed_seen || unconfirmed);
    if (counted <= retention)
      plan.push_back({c.id, true, retention == 1 ? "the newest" : fmt::format("one of the {} newest", retention)});
    else if (c.copy == CopyState::in_progress)
      plan.push_back({c.id, true, "past retention, but being copied to the DR region"});
    else if (newest_unconfirmed)
      plan.push_back({c.id, true, "past retention, but the newest one whose copy is not confirmed"});
    else
      plan.push_back({c.id, false, fmt::format("past retention: {} newer completed ones are kept", retention)});
  }
  return plan;
}

Candidate candidate_of(const cloud::Snapshot& s, bool needs_copy) {
  Candidate c{.id = s.id, .state = s.state, .taken = s.started, .copy = CopyState::not_needed};
  if (const auto taken = parse_iso(s.tag(tags::kTaken))) c.taken = *taken;
  if (needs_copy) {
    const std::string state = s.tag(tags::kCopyState);
    c.copy = state == "completed"         ? CopyState::confirmed
             : state == "failed"          ? CopyState::failed
             : s.tag(tags::kCopy).empty() ? CopyState::none
                                          : CopyState::in_progress;
  }
  return c;
}

}  // namespace snapward::snapshots
