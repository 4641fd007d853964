// Retention: which snapshots of one volume stay and which go, each with its reason. Pure: same snapshots, same plan, whatever the order.
//
// Guarantees (each a test):
//   only completed snapshots count; a pending one or one in error neither pushes out a good one nor is deleted
//   a snapshot without a confirmed copy stays while no newer one is without (one that is being copied does not count as without)
//   a snapshot that is being copied stays until the copy is over
//   what is not ours never enters: the caller passes only snapshots that carry our tag
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "base/time.hpp"
#include "cloud/ec2.hpp"

namespace snapward::snapshots {

enum class CopyState {
  not_needed,  // no DR region, or this is the DR region
  none,        // no copy is known
  in_progress,
  confirmed,  // seen completed
  failed,
};

struct Candidate {
  std::string id;
  std::string state;  // as EC2 says: pending, completed, error
  Instant taken;
  CopyState copy = CopyState::not_needed;
};

struct Decision {
  std::string id;
  bool keep = true;
  std::string reason;  // one clause, for people: "one of the 7 newest"
};

// Newest first. retention >= 1.
std::vector<Decision> retain(std::vector<Candidate> candidates, std::int64_t retention);

// As a candidate of the primary (needs_copy) or the DR region.
Candidate candidate_of(const cloud::Snapshot& snapshot, bool needs_copy);

}  // namespace snapward::snapshots
