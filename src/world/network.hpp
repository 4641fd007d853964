// Network: the road between the snapshot tasks and a cloud, as bad as it is told to be. It lets a simulation meet what a process far from
// the cloud meets: time that passes on the way (so that a crash falls into the middle of a task), refusals, lost answers, reads that do
// not yet show what was just written, and regions that do not answer.
//
// Owned by a World through its Road; used on the loop. What happened to it ends with the process: a restart must take longer than reads
// take to settle, or a new process knows less than the old one (the real EC2 names no bound; see docs/simulation.md).
#pragma once
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cloud/ec2.hpp"
#include "engine/loop.hpp"

namespace snapward::world {

struct Outage {
  std::string region;
  Instant from, to;  // [from, to)
};

// Probabilities in [0, 1], of each call.
struct NetworkFaults {
  Duration max_latency{0};  // each way
  double throttle = 0;      // RequestLimitExceeded, nothing done
  double fail = 0;          // InternalError, nothing done
  double lose_reply = 0;    // done, but the caller gets InternalError
  double stale = 0;         // a DescribeSnapshots shows nothing of what was written within `settles`
  Duration settles = std::chrono::seconds(5);
  std::vector<Outage> outages;
};

class Network final : public cloud::Cloud {
 public:
  // A snapshot as it is now, past every fault: what a read that lags behind will still show.
  using Peek = std::function<std::optional<cloud::Snapshot>(const std::string& region, const std::string& id)>;

  // All of them outlive it.
  Network(engine::Loop& loop, cloud::Cloud& inner, const NetworkFaults& faults, Entropy& chance, Peek peek)
      : loop_(loop), inner_(inner), faults_(faults), chance_(chance), peek_(std::move(peek)) {}
  Task<cloud::Reply> call(cloud::Call call) override;

 private:
  struct Written {
    Instant at;
    std::string region, snapshot;
    std::optional<cloud::Tags> before;  // its tags until then; none: it was not there
  };
  [[nodiscard]] bool out(const std::string& region) const;
  Task<void> travel();
  void note(Written written);
  cloud::Reply aged(const cloud::Call& call, Json reply) const;

  engine::Loop& loop_;
  cloud::Cloud& inner_;
  const NetworkFaults& faults_;
  Entropy& chance_;
  Peek peek_;
  std::deque<Written> written_;
};

}  // namespace snapward::world
