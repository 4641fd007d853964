// Function: one execution environment's end of Lambda's Runtime API. It asks for an event, answers it with a task, and asks again, until
// the API is gone.
//
// A task's error becomes the function's ({"errorType", "errorMessage"}), whose type is the error's name in a state machine. What has no
// answer because the process ended is Lambda's to tell.
// Threads: the loop's. `client` must wait for an event as long as one takes to come, which is for ever.
// Source: Lambda Developer Guide, "Using the Lambda runtime API for custom runtimes".
#pragma once
#include <expected>
#include <string>

#include "engine/loop.hpp"
#include "net/client.hpp"
#include "snapshots/tasks.hpp"

namespace snapward::lambda {

class Function {
 public:
  // `api` is AWS_LAMBDA_RUNTIME_API: host and port.
  Function(engine::Loop& loop, net::Client& client, const std::string& api, snapshots::Tasks::Function task)
      : loop_(loop), client_(client), api_("http://" + api + "/2018-06-01/runtime/"), task_(std::move(task)) {}

  // Why there is nothing more to do, as a sentence.
  Task<std::string> run();
  // Instead of run(): the function cannot work at all.
  Task<std::string> refuse(std::string type, std::string message);

 private:
  using Response = std::expected<wire::HttpResponse, std::string>;
  Task<Response> ask(std::string method, std::string path, std::string body, std::string error_type = {});

  engine::Loop& loop_;
  net::Client& client_;
  std::string api_;
  snapshots::Tasks::Function task_;
};

}  // namespace snapward::lambda
