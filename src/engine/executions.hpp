// Executions: durable state-machine executions on the loop.
//
// Each Input is journaled with the history it gave in one commit, and only then are its Commands performed (persist, then perform).
// After a restart, restore() replays the journals: what was answered stays answered, what was not is performed again; a Task's work
// is therefore done at least once, and its journal position (execution ARN and task id) is its idempotency key.
//
// Tables: executions (ARN → record), executions_by_machine (machine, newest first), history (ARN, first event id → events),
// inputs (ARN, number → Input; only while running).
// Owned by main, used on the loop's thread only.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "asl/execution.hpp"
#include "cloud/cloud.hpp"
#include "engine/ledger.hpp"
#include "engine/loop.hpp"

namespace snapward::engine {

// A machine as an execution is started from it: what it runs now, whatever becomes of the machine later.
struct MachineVersion {
  std::string arn, name, role_arn, region;
  std::string revision;  // names the definition in the resolver
  std::shared_ptr<const asl::Machine> machine;
};

class Executions {
 public:
  // Finds a definition again after a restart; null when it is gone.
  using Resolver = std::function<std::shared_ptr<const asl::Machine>(const std::string& machine_arn, const std::string& revision)>;
  // Told of each start and end, with the record (fields of DescribeExecution; see record()).
  using Listener = std::function<void(const std::string& region, const Json& record)>;

  Executions(Loop& loop, Ledger& ledger, cloud::Cloud& cloud);
  ~Executions();

  void set_listener(Listener listener) { listener_ = std::move(listener); }
  void restore(const Resolver& resolver);

  // Starts and persists; the name must be free (find() first). Returns {"executionArn", "startDate"}.
  Json start(const MachineVersion& version, const std::string& name, const std::string& input_text, const Json& input);
  void stop(const std::string& arn, const std::string& error, const std::string& cause);

  // By task token; false when no task waits with it.
  bool task_succeeded(const std::string& token, const Json& output);
  bool task_failed(const std::string& token, const std::string& error, const std::string& cause);
  bool task_heartbeat(const std::string& token);

  // {"executionArn", "stateMachineArn", "name", "status", "startDate", "stopDate"?, "input", "output"?, "error"?, "cause"?, "roleArn",
  // "revision"}
  [[nodiscard]] std::optional<Json> find(const std::string& arn);

  struct Page {
    std::vector<Json> items;
    std::string next;  // empty: the end
  };
  // Newest first. `from` is a Page's next.
  Page list(const std::string& machine_arn, const std::string& status, std::size_t limit, const std::string& from);
  // HistoryEvents as JSON; `from` and next as above.
  Page history(const std::string& arn, bool newest_first, std::size_t limit, const std::string& from);

  [[nodiscard]] std::size_t running() const { return live_.size(); }
  // What each running execution waits for, for people.
  [[nodiscard]] std::vector<asl::Execution::Waiting> waiting_for(const std::string& arn) const;

  static std::string arn_of(const std::string& machine_arn, const std::string& name);

 private:
  struct Live;
  void feed(const std::string& arn, asl::Input input);
  std::optional<std::pair<std::string, std::int64_t>> claim(const std::string& token);
  void apply(Live& live, asl::Step step, const asl::Input* journaled);
  void note(Live& live, const asl::Step& step);
  void invoke(const std::string& arn, std::int64_t task);
  void arm(Live& live, std::int64_t timer, Instant deadline);
  void finish(Live& live);

  Loop& loop_;
  Ledger& ledger_;
  cloud::Cloud& cloud_;
  Listener listener_;
  std::unordered_map<std::string, std::unique_ptr<Live>> live_;
  std::unordered_map<std::string, std::pair<std::string, std::int64_t>> tokens_;  // token → execution, task
};

}  // namespace snapward::engine
