// Peers: how the nodes of one cloud pass each other Calls. A POST of JSON to kCallPath on the port that clients use, with the secret that
// only those have who can read the database.
//
// A call may be under way for long: a cable that was pulled is put back, and what a node had sent arrives after the node was given up, its
// shard was taken over and the call was made again. So each call has a Token, and who has heard of a newer one refuses an older (fencing).
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "cloud/cloud.hpp"
#include "engine/ledger.hpp"
#include "engine/loop.hpp"
#include "net/client.hpp"

namespace snapward::nodes {

inline constexpr const char* kCallPath = "/_snapward/call";
// Of another node. The longest any takes is GetActivityTask's minute.
inline constexpr auto kLongestAnswer = std::chrono::seconds(75);

// Which life of a shard made a call, and how often in that life a call had ended without an answer before.
struct Token {
  std::string shard;
  std::int64_t epoch = 0, losses = 0;
};
struct PeerCall {
  Token token;
  cloud::Call call;
};

wire::HttpRequest call_request(const PeerCall& call, const std::string& secret);
// The call that a request carries; an error says what is wrong with it. Strings of a Call may hold any bytes.
std::expected<PeerCall, std::string> call_of(const wire::HttpRequest& request, const std::string& secret);
wire::HttpResponse reply_response(const cloud::Reply& reply);
std::expected<cloud::Reply, std::string> reply_of(const wire::HttpResponse& response);

// What a shard has heard of its callers: the newest token of each, kept with its state. On the shard's loop.
class Callers {
 public:
  explicit Callers(engine::Ledger& ledger);
  // Whether a call with this token may be performed; if so, no older one may from now on.
  bool admit(const Token& token);
  static cloud::Reply refusal();
  static bool is_refusal(const cloud::Reply& reply);

 private:
  engine::Ledger& ledger_;
  std::map<std::string, std::pair<std::int64_t, std::int64_t>> newest_;
};

// The regions that live in other processes, as a Cloud. A call leaves once all that was written before it is durable: what it does there
// cannot be for nothing here. Where nobody owns the region at the moment it waits for a while; when an answer does not come it is unknown
// whether the call was performed (InternalFailure).
//
// Owned by a LocalCloud, on its loop.
class Elsewhere final : public cloud::Cloud {
 public:
  struct Road {
    std::function<std::string(const cloud::Call&)> owner;  // the URL of the node that owns the call's region; empty: nobody does
    std::string shard;                                     // the caller's, and its epoch
    std::int64_t epoch = 0;
    std::string secret;
    std::chrono::milliseconds patience = std::chrono::seconds(10);  // real time, with a region that nobody owns
  };
  Elsewhere(engine::Loop& loop, engine::Ledger& ledger, Road road);
  Task<cloud::Reply> call(cloud::Call call) override;

 private:
  engine::Loop& loop_;
  engine::Ledger& ledger_;
  Road road_;
  std::int64_t losses_ = 0;
  std::unique_ptr<net::Client> client_;  // last: nothing comes back after it
};

}  // namespace snapward::nodes
