// Cloud: the port through which everything reaches a cloud (design, contract 3). One function, JSON both ways, shaped as the AWS
// API model says (conventions of wire/protocol.hpp: ISO timestamps, raw blobs).
//
// Implementations: services::LocalCloud (in this process), the AWS client (over HTTPS), scripts in tests.
// call() belongs to the loop's thread; its Task ends when the answer is there. A Call may be repeated by its caller: AWS's own rules
// say which operations are safe to repeat (CreateSnapshot and CopySnapshot are not: see snapshots/tasks.hpp).
#pragma once
#include <expected>
#include <string>

#include "base/json.hpp"
#include "base/task.hpp"
#include "wire/api_error.hpp"

namespace snapward::cloud {

// On whose behalf one service calls another.
struct Caller {
  std::string service = {};  // "events.amazonaws.com"; empty: a client's own call
  std::string role = {};     // the ARN of the role it takes; empty: it comes as itself, and what it calls must admit it
  std::string source = {};   // the ARN of the rule, topic or state machine that made it call (aws:SourceArn)
};

struct Call {
  std::string service;    // its signing name: "ec2", "states"
  std::string region;     // "us-west-2"
  std::string operation;  // "CopySnapshot"
  Json input;
  Caller caller = {};
};

using Error = wire::ApiError;
using Reply = std::expected<Json, Error>;

inline std::unexpected<Error> error(std::string code, std::string message, int status = 400) {
  return std::unexpected(Error{std::move(code), std::move(message), status, {}});
}

class Cloud {
 public:
  virtual ~Cloud() = default;
  virtual Task<Reply> call(Call call) = 0;
};

// What callers branch on.
enum class Kind {
  throttled,    // wait and try again: RequestLimitExceeded, Throttling…
  limit,        // too much at a time; room comes back: ResourceLimitExceeded (copies), pending-snapshot limits
  not_found,    // the thing is not there (or not there yet)
  in_use,       // it cannot be changed or deleted: InvalidSnapshot.InUse, locked, managed by AWS Backup
  denied,       // permissions
  unavailable,  // the cloud's own trouble (5xx, no answer): unknown whether it acted
  invalid,      // the request is wrong; trying again will not help
};
Kind kind_of(const Error& error);

}  // namespace snapward::cloud
