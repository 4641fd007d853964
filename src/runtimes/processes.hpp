// Processes: functions that users uploaded, run as processes of this machine. A process is one of Lambda's execution environments: it
// asks for events and answers them over Lambda's Runtime API, which each has to itself on a port of the loopback. Python and Node.js
// functions run under a small loop of ours (python.py, node.mjs); provided.* ones bring their own `bootstrap`.
//
// Nothing is shut in: a function may do what the user may who runs the server (docs/services.md says so).
// Functions run in real time, so timeouts of functions are real too, whatever the loop's time scale.
// Threads: owned by main, used on the loop's, whose last turn it outlives; each process has a thread here that reads what it writes,
// and one that serves it.
// Source: Lambda Developer Guide, "Using the Lambda runtime API", "Building a custom runtime", "Lambda execution environment lifecycle".
#pragma once
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "engine/loop.hpp"
#include "net/server.hpp"
#include "services/lambda/runtimes.hpp"
#include "wire/sessions.hpp"

namespace snapward::runtimes {

class Processes final : public services::lambda::Runtimes {
 public:
  struct Options {
    std::string endpoint;  // what functions call AWS at: AWS_ENDPOINT_URL
    // Where signatures are checked: what gives each process temporary credentials of its own. No function sees the keys of the server.
    std::optional<wire::Sessions> sessions = {};
    double time_scale = 1.0;   // of the loop's clock
    std::size_t at_most = 32;  // processes; more invocations wait
    Duration keep_idle = std::chrono::minutes(5);
  };
  // Hears a line that a function wrote: the function's log group and stream.
  using Log = std::function<void(const std::string& region, const std::string& group, const std::string& stream, const std::string& line)>;

  Processes(engine::Loop& loop, Options options, Log log);
  ~Processes() override;  // kills what runs, removes its folder; that of a server that was killed, the next one removes

  std::optional<std::string> refusal(const std::string& runtime) override;
  Task<services::lambda::Outcome> invoke(services::lambda::RunnableVersion version, services::lambda::Invocation invocation) override;
  void forget(const std::string& arn) override;

 private:
  struct Environment;
  struct Waiting {
    services::lambda::RunnableVersion version;
    services::lambda::Invocation invocation;
    Future<services::lambda::Outcome> answer;
  };

  [[nodiscard]] Duration scaled(Duration real) const;
  void assign(Waiting waiting);
  void end_those_with_old_credentials();
  Result<std::string> code_folder(const services::lambda::RunnableVersion& version);
  Result<void> launch(Environment& e);
  void deliver(Environment& e);
  void heard(const std::string& id, const wire::HttpRequest& request, const net::Server::Respond& respond);
  void exited(const std::string& id, const std::string& how);
  void finish(Environment& e, services::lambda::Outcome outcome);  // of the invocation that it is at
  void end(const std::string& id);                                 // kills the process
  void next();                                                     // of those that wait
  void write(Environment& e, const std::string& line);

  engine::Loop& loop_;
  Options options_;
  Log log_;
  std::string folder_;                                                // bootstraps, and code by digest
  int lock_ = -1;                                                     // on the folder: this process lives
  std::map<std::string, std::unique_ptr<Environment>> environments_;  // by id
  std::deque<Waiting> waiting_;
  std::uint64_t ids_ = 0;
};

}  // namespace snapward::runtimes
