// Front: the wire in front of a cloud. It finds out from a request which service, region and operation it means (the SigV4 scope, the
// target, the Action: all regions share one port), checks the signature, decodes, calls the cloud on the loop, waits until what was
// done is durable, and encodes the answer.
//
// Threads: handle() runs on the server's thread; the encoding function it answers with too. Only the call itself is on the loop.
#pragma once
#include <atomic>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "cloud/cloud.hpp"
#include "engine/ledger.hpp"
#include "engine/loop.hpp"
#include "wire/http.hpp"

namespace snapward::services {

struct FrontOptions {
  std::string default_region = "us-east-1";        // of requests that are not signed
  std::map<std::string, std::string> secret_keys;  // access key → secret; empty: any key is accepted, unchecked
  std::function<std::string()> metrics = {};       // what GET /metrics answers; asked on the loop
};

// Which service and region a request means; an empty service where it names none.
struct Place {
  std::string service, region;
};
Place place_of(const wire::HttpRequest& request, const std::string& default_region = FrontOptions().default_region);

class Front {
 public:
  using Answer = std::function<wire::HttpResponse()>;
  using Respond = std::function<void(Answer)>;

  Front(engine::Loop& loop, engine::Ledger& ledger, cloud::Cloud& cloud, FrontOptions options)
      : loop_(loop), ledger_(ledger), cloud_(cloud), options_(std::move(options)) {}
  void handle(const wire::HttpRequest& request, Respond respond);
  // A call that has been decoded; `done` hears of it when it is durable, on any thread. `refused` is asked first, on the loop.
  void perform(cloud::Call call, std::function<void(const cloud::Reply&)> done, std::function<std::optional<cloud::Reply>()> refused = {});
  // From now on /readyz says no: the process is about to stop. From any thread.
  void say_draining() { draining_ = true; }
  // What a request gets that could not be read: nothing is known of its service, so it is worded as the JSON services do.
  static wire::HttpResponse refusal(int status, const std::string& message);

 private:
  engine::Loop& loop_;
  engine::Ledger& ledger_;
  cloud::Cloud& cloud_;
  FrontOptions options_;
  std::atomic<bool> draining_ = false;
};

}  // namespace snapward::services
