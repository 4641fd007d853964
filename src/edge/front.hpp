// Front: the wire in front of a cloud. It finds out from a request which service, region and operation it means (destination.hpp), checks
// the signature (authentication.hpp), decodes, calls the cloud on the loop, waits until what was done is durable, and encodes the answer.
//
// Threads: handle() runs on the server's thread; the encoding function it answers with too. Only the call itself is on the loop.
#pragma once
#include <atomic>
#include <functional>
#include <optional>
#include <string>

#include "cloud/cloud.hpp"
#include "edge/authentication.hpp"
#include "engine/ledger.hpp"
#include "engine/loop.hpp"
#include "wire/http.hpp"

namespace snapward::edge {

struct FrontOptions {
  std::string default_region = kDefaultRegion;  // of requests that are not signed
  SecretKeys secret_keys = {};                  // empty: any key is accepted, unchecked
  bool anonymous_metrics = false;               // GET /metrics needs no signature, also where keys are given
  std::function<std::string()> metrics = {};    // what GET /metrics answers; asked on the loop
  std::function<Instant()> now = {};            // what signatures are dated by; from any thread. Unset: the machine's clock
};

class Front {
 public:
  using Answer = std::function<wire::HttpResponse()>;
  using Respond = std::function<void(Answer)>;

  Front(engine::Loop& loop, engine::Ledger& ledger, cloud::Cloud& cloud, FrontOptions options);
  void handle(wire::HttpRequest request, Respond respond);
  // A call that has been decoded; `done` hears of it when it is durable, on any thread. `refused` is asked first, on the loop.
  void perform(cloud::Call call, std::function<void(const cloud::Reply&)> done, std::function<std::optional<cloud::Reply>()> refused = {});
  // From now on /readyz says no: the process is about to stop. From any thread.
  void say_draining() { draining_ = true; }
  // What a request gets that could not be read: nothing is known of its service, so it is worded as the JSON services do.
  static wire::HttpResponse refusal(int status, const std::string& message);

 private:
  void answer_health(bool ready, Respond respond);
  void answer_metrics(Respond respond);

  engine::Loop& loop_;
  engine::Ledger& ledger_;
  cloud::Cloud& cloud_;
  FrontOptions options_;
  Authentication authentication_;
  std::atomic<bool> draining_ = false;
};

}  // namespace snapward::edge
