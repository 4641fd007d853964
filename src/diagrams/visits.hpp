// Visits: an execution's history, put together state by state. Pure. The events are GetExecutionHistory's: from any endpoint, or from a
// file that `aws stepfunctions get-execution-history` wrote.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/json.hpp"
#include "base/result.hpp"
#include "base/time.hpp"
#include "diagrams/status.hpp"

namespace snapward::diagrams {

// One visit of a state, put together from its events.
struct Visit {
  std::string name, type, error, cause;
  Status status = Status::running;
  std::int64_t entered = 0, exited = 0;  // event ids; 0: not yet
  Instant from, to;                      // to: the epoch while it runs
  int depth = 0, attempts = 0, failures = 0;
  std::size_t iterations = 0, iterations_failed = 0;
};

// In the order in which they were entered. Events may come in either order.
std::vector<Visit> visits_of(std::vector<Json> events);

// All visits of one state together: the last of the statuses above that any visit has.
struct Progress {
  Status status = Status::not_reached;
  std::size_t visits = 0;
};
using ProgressByState = std::map<std::string, Progress, std::less<>>;
ProgressByState progress_of(const std::vector<Visit>& visits);

// The events in the text of a file: {"events": […]} or the list itself.
Result<std::vector<Json>> events_in(std::string_view text);
// An event's time: text as the AWS CLI writes it, or seconds since 1970 as the API sends them.
Instant time_of(const Json& event);

}  // namespace snapward::diagrams
