// Peers: how the nodes of one cloud pass each other Calls. A POST of JSON to kCallPath on the port that clients use, with the secret that
// only those have who can read the database.
#pragma once
#include <functional>
#include <memory>
#include <string>

#include "cloud/cloud.hpp"
#include "engine/ledger.hpp"
#include "engine/loop.hpp"
#include "net/client.hpp"

namespace snapward::nodes {

inline constexpr const char* kCallPath = "/_snapward/call";

wire::HttpRequest call_request(const cloud::Call& call, const std::string& secret);
// The Call that a request carries; an error says what is wrong with it. Strings of a Call may hold any bytes.
std::expected<cloud::Call, std::string> call_of(const wire::HttpRequest& request, const std::string& secret);
wire::HttpResponse reply_response(const cloud::Reply& reply);
std::expected<cloud::Reply, std::string> reply_of(const wire::HttpResponse& response);

// The regions that live in other processes, as a Cloud. A call leaves once all that was written before it is durable: what it does there
// cannot be for nothing here. Where nobody owns the region at the moment it waits for a while; when an answer does not come it is unknown
// whether the call was performed (InternalFailure).
//
// Owned by a LocalCloud, on its loop.
class Elsewhere final : public cloud::Cloud {
 public:
  struct Road {
    std::function<std::string(const cloud::Call&)> owner;  // the URL of the node that owns the call's region; empty: nobody does
    std::string secret;
    std::chrono::milliseconds patience = std::chrono::seconds(10);  // real time, with a region that nobody owns
  };
  Elsewhere(engine::Loop& loop, engine::Ledger& ledger, Road road);
  Task<cloud::Reply> call(cloud::Call call) override;

 private:
  engine::Loop& loop_;
  engine::Ledger& ledger_;
  Road road_;
  std::unique_ptr<net::Client> client_;  // last: nothing comes back after it
};

}  // namespace snapward::nodes
