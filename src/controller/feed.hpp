// Feed: the events of one region of an AWS account, brought to this process. EventBridge puts them into a queue (a rule and a queue that
// prepare() makes), the feed takes them from there onto the region's bus here, as they are, id and all.
//
// A message leaves the queue only when what its event began is durable; a crash before that brings it again, and the event's id keeps
// it from beginning anything twice. What EventBridge put there is kept for 14 days: that long a controller may be away.
// What fails is tried again, later and later, up to a minute apart; what is no event is said and dropped.
// Threads: the loop's.
// Source: EventBridge User Guide, "Amazon SQS queues as targets" (the queue's policy); SQS API Reference, ReceiveMessage.
#pragma once
#include <cstdint>
#include <expected>
#include <string>

#include "cloud/cloud.hpp"
#include "engine/ledger.hpp"
#include "engine/loop.hpp"

namespace snapward::controller {

inline constexpr const char* kQueue = "snapward-events";
inline constexpr const char* kRule = "Snapward_Controller";  // on the account's default bus

class Feed {
 public:
  // `pattern` says which events are wanted. `account` is AWS, `here` the cloud whose buses get them.
  Feed(engine::Loop& loop, engine::Ledger& ledger, cloud::Cloud& account, cloud::Cloud& here, std::string region, std::string pattern)
      : loop_(loop), ledger_(ledger), account_(account), here_(here), region_(std::move(region)), pattern_(std::move(pattern)) {}
  Feed(const Feed&) = delete;
  Feed& operator=(const Feed&) = delete;

  Task<void> run();  // for ever

  struct Counts {
    std::uint64_t events = 0, dropped = 0, failures = 0;  // failures: of calls
  };
  [[nodiscard]] const std::string& region() const { return region_; }
  [[nodiscard]] const Counts& counts() const { return counts_; }
  [[nodiscard]] bool well() const { return well_; }  // the queue answered when it was last asked

 private:
  using Url = std::expected<std::string, cloud::Error>;
  Task<void> take(Json message);
  Task<void> failed(cloud::Error error);

  engine::Loop& loop_;
  engine::Ledger& ledger_;
  cloud::Cloud& account_;
  cloud::Cloud& here_;
  std::string region_, pattern_;
  Counts counts_;
  bool well_ = false;
  Duration pause_{0};  // before the next try
};

// Makes the queue and the rule that fills it, or finds them made; the queue's URL.
Task<std::expected<std::string, cloud::Error>> prepare(cloud::Cloud& account, std::string region, std::string pattern);
// Takes them away again, and what the queue still holds. Nothing where there is nothing.
Task<std::expected<void, cloud::Error>> remove(cloud::Cloud& account, std::string region);

}  // namespace snapward::controller
