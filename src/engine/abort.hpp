// Ends an execution as ABORTED without its interpreter: by the rows alone. For an execution that nobody can wait for: a server that is
// still replaying it, or an operator whose server does not run (`snapward executions stop --data`).
//
// What the execution had started (executions of a distributed Map, .sync jobs) is left alone, and it cannot be redriven, because where
// it stood is known to the interpreter only.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "base/json.hpp"
#include "base/time.hpp"
#include "store/store.hpp"

namespace snapward::engine {

struct Abort {
  Json record;                       // as Executions::find() gives it from now on
  std::vector<store::Write> writes;  // to be committed together
};
using Scan = std::function<Result<std::vector<store::Row>>(std::string_view table, const store::Range& range)>;

// `at` is when it ends; it is moved up to the time of the last event. Errors: not_found, conflict (it does not run), and those of `scan`.
Result<Abort> abort_of(const Scan& scan, const std::string& arn, Instant at, const std::string& error, const std::string& cause);

// The same on a store that no server has open. Returns the record.
Result<Json> abort_execution(store::Store& store, const std::string& arn, Instant at, const std::string& error, const std::string& cause);

}  // namespace snapward::engine
