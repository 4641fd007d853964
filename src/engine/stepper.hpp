// Stepper: performs steps of executions on a thread of its own, so that an expression that computes for a long time delays its own
// execution and no other. A step is pure (asl/execution.hpp), so it may run on any thread.
//
// Threads: everything but the step itself is called, and `done` runs, on the loop. From run() until `done` the Execution belongs to the
// step: the loop must neither use nor destroy it.
// Destruction interrupts the step that runs, drops those that wait (their `done` is never called), and returns within milliseconds.
#pragma once
#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

#include "asl/execution.hpp"
#include "engine/loop.hpp"

namespace snapward::engine {

class Stepper {
 public:
  using Done = std::function<void(asl::Step step)>;

  explicit Stepper(Loop& loop);
  ~Stepper();
  Stepper(const Stepper&) = delete;
  Stepper& operator=(const Stepper&) = delete;

  // Steps run one at a time, in the order of these calls.
  void run(asl::Execution& execution, asl::Input input, Done done);

 private:
  struct Job {
    asl::Execution* execution;
    asl::Input input;
    Done done;
  };
  void work();

  Loop& loop_;
  std::atomic<bool> interrupted_ = false;
  std::mutex mutex_;  // guards jobs_ and closing_
  std::condition_variable wake_;
  std::deque<Job> jobs_;
  bool closing_ = false;
  std::thread thread_;
};

}  // namespace snapward::engine
