// Runtimes: where functions that users uploaded run, behind a plain interface: processes of this machine, or a script in tests.
// Used on the loop's thread; a Task ends there too.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/json.hpp"
#include "base/result.hpp"
#include "base/task.hpp"
#include "base/time.hpp"

namespace snapward::services::lambda {

// A version of a function, as it is run. Two with the same `revision` are the same: code, configuration and all.
struct RunnableVersion {
  std::string arn;  // without qualifier
  std::string name, version, revision, region;
  std::string runtime, handler;
  std::vector<std::pair<std::string, std::string>> variables;
  Duration timeout{3000};
  std::int64_t memory_mb = 128;
  std::function<std::string()> code;  // the archive's bytes, when they are needed
};

struct Invocation {
  std::string request_id;
  std::string invoked_arn;
  std::string event;  // JSON text
  std::string client_context;
};

struct Outcome {
  std::string payload;  // JSON text as the function gave it; of a failure {"errorType", "errorMessage", …}
  bool failed = false;
  std::string log;  // what it wrote meanwhile, the last 4 KiB
};

class Runtimes {
 public:
  virtual ~Runtimes() = default;
  // Why this machine cannot run functions of this runtime, or nothing.
  virtual std::optional<std::string> refusal(const std::string& runtime) = 0;
  virtual Task<Outcome> invoke(RunnableVersion version, Invocation invocation) = 0;
  virtual void forget(const std::string& arn) = 0;  // its code or configuration changed, or it was deleted
};

}  // namespace snapward::services::lambda
