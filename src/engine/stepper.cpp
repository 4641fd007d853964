#include "engine/stepper.hpp"

#include <sys/resource.h>
#include <unistd.h>

#include "base/thread_name.hpp"

namespace snapward::engine {

Stepper::Stepper(Loop& loop) : loop_(loop), thread_([this] { work(); }) {}

Stepper::~Stepper() {
  interrupted_ = true;
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void Stepper::run(asl::Execution& execution, asl::Input input, Done done) {
  execution.interrupt_on(&interrupted_);
  {
    const std::lock_guard lock(mutex_);
    jobs_.push_back({&execution, std::move(input), std::move(done)});
  }
  wake_.notify_one();
}

void Stepper::work() {
  name_this_thread("stepper");
  // Requests and all other executions go first.
  setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), 10);
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return closing_ || !jobs_.empty(); });
    if (closing_) return;
    Job job = std::move(jobs_.front());
    jobs_.pop_front();
    lock.unlock();
    asl::Step step = job.execution->step(job.input);
    // An interrupted step has failed expressions in it that did not fail: nobody may see it.
    if (!interrupted_)
      loop_.post([done = std::move(job.done), step = std::make_shared<asl::Step>(std::move(step))] { done(std::move(*step)); });
    lock.lock();
  }
}

}  // namespace snapward::engine
