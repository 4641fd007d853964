// Leases on the shards of a state in PostgreSQL: which node owns which. For nodes that share a state (store/postgres.hpp).
//
// Each node takes what nobody owns and renews what it has three times within a lease's span; the epoch of a lease grows with each owner.
// Nodes tell each other by a row that they are alive, and share evenly: the one with the most lets one go when another has two less, and
// a free one is for the node with the fewest. Time is the database's; an owner counts from before it asked, on a clock that goes on while
// the machine sleeps, and stops a tenth sooner. Changes are announced with NOTIFY.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/time.hpp"

namespace snapward::store {

class Leases {
 public:
  struct Options {
    std::string url;
    std::string node;     // unique to the process
    std::string address;  // where the others reach it: "http://10.0.0.1:4566"
    std::vector<std::string> shards;
    std::chrono::milliseconds span{5000};
  };
  explicit Leases(Options options);
  ~Leases();  // as stop()
  Leases(const Leases&) = delete;
  Leases& operator=(const Leases&) = delete;

  // Waits until this node owns the shard, and gives the epoch; nothing after close(). `leave` is called on the leases' own thread when
  // the shard is to be let go to another node by release(), while held() still says yes, and when it is lost. Not after release().
  std::optional<std::int64_t> acquire(const std::string& shard, std::function<void()> leave);
  // Whether it owns the shard now, by its own clock. From any thread, as what follows.
  [[nodiscard]] bool held(const std::string& shard) const;
  // Whether it is to let go a shard that it owns.
  [[nodiscard]] bool leaving(const std::string& shard) const;
  // Where the owner is reached, as last heard; empty: nobody owns it.
  [[nodiscard]] std::string owner(const std::string& shard) const;
  [[nodiscard]] std::int64_t epoch(const std::string& shard) const;  // the last one heard of
  void release(const std::string& shard);                            // the next one need not wait
  void close();                                                      // acquires nothing more; what is owned stays so
  void stop();

 private:
  struct Shard {
    bool wanted = false, owned = false, leaving = false, releasing = false;
    std::int64_t epoch = 0;
    std::int64_t until = 0;  // nanoseconds of the boot clock
    std::string owner;
    std::function<void()> leave;
  };
  struct Link;
  struct Seen;
  void run();
  bool let_go(Link& link);                                            // of what is being released; whether there was any
  bool beat(Link& link);                                              // says that it lives, and renews what it has
  std::optional<std::vector<Seen>> look(Link& link);                  // all leases, and the nodes that live
  std::chrono::milliseconds act(Link& link, std::vector<Seen> seen);  // takes, or hands over; how long nothing more can come
  bool take(Link& link, const std::string& shard);
  void give_up_overdue();
  void wait_for_news(Link& link, std::chrono::milliseconds at_most);
  void wake() const;

  Options options_;
  int wake_ = -1;  // an eventfd
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool closed_ = false, stopping_ = false;
  std::map<std::string, Shard> shards_;
  std::thread thread_;
};

}  // namespace snapward::store
