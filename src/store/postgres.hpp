// PostgreSQL behind Store, for several nodes on one state, and the lease that says which of them owns it.
//
// One node owns the state at a time: it holds the lease, whose epoch grows with each owner. Every commit checks in its own transaction
// that the epoch is still the committer's, and taking the lease waits for commits under way: whoever lost it, however late it wakes up,
// writes nothing more (fencing; Kleppmann, "How to do distributed locking", 2016). Time is the database's; the owner counts from
// before it asked, and stops sooner. A change of owner is announced with NOTIFY.
// Schema: snapward.rows (tbl, key, value), snapward.leases, snapward.layout.
#pragma once
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "base/time.hpp"
#include "store/store.hpp"

namespace snapward::store {

// Makes or brings up to date the tables at "postgresql://user@host:port/database". Errors: unavailable; a layout from the future is one.
Result<void> prepare_postgres(const std::string& url);

// The state, for the owner of this epoch. A commit of another's state fails as `fenced`. Reads wait for a database that is away, for a
// minute.
Result<std::unique_ptr<Store>> open_postgres(const std::string& url, std::int64_t epoch);

class Lease {
 public:
  struct Options {
    std::string url;
    std::string node;     // unique to the process
    std::string address;  // where the others reach it: "http://10.0.0.1:4566"
    std::chrono::milliseconds span{5000};
  };
  explicit Lease(Options options);
  ~Lease();  // as stop()
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;

  // Waits until this node owns the state, and gives the epoch; nothing after stop(). `lost` is called once, on the lease's thread, when it
  // does no more; not after release().
  std::optional<std::int64_t> acquire(const std::function<void()>& lost);
  // Whether it owns the state now, by its own clock. From any thread.
  [[nodiscard]] bool held() const;
  // Where the owner is reached, as last heard; empty: nobody owns it. From any thread.
  [[nodiscard]] std::string owner() const;
  [[nodiscard]] std::int64_t epoch() const;  // the last one heard of
  void release();                            // the next one need not wait
  void stop();

 private:
  struct Link;
  void run();
  bool try_to_take(Link& link);
  bool renew(Link& link);
  std::chrono::milliseconds look(Link& link);  // who has it, and for how long still
  void give_up();
  void wait_for_news(Link& link, std::chrono::milliseconds at_most);

  Options options_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool wanted_ = false, owned_ = false, stopping_ = false, releasing_ = false;
  std::int64_t epoch_ = 0;
  std::int64_t until_ = 0;  // nanoseconds of the boot clock
  std::string owner_;
  std::function<void()> lost_;
  std::thread thread_;
};

}  // namespace snapward::store
