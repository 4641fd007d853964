// Gate: the door of a node. A request goes in to the Front of the shard that its region belongs to while this node owns that; while
// another does, it is handed on to that one, and its answer back. Nobody's: 503, which every AWS client tries again.
//
// An answer leaves only while the node still owns the shard: one that slept through the end of its lease says nothing more of it.
// Calls of other nodes (peers.hpp) come in here too. What asks about the node, /healthz, /readyz and /metrics, is answered for all of its
// shards together.
// Before anything else it refuses what comes from another site's page in a browser, or for a name that is not this server's (origin.hpp).
// Threads: handle() on the server's, open() and close() from any; answers come from any.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "edge/front.hpp"
#include "edge/origin.hpp"
#include "net/client.hpp"
#include "net/server.hpp"
#include "nodes/peers.hpp"

namespace snapward::nodes {

class Gate {
 public:
  // Who owns what; a node alone has one shard, kWhole, and always owns it.
  struct Directory {
    std::vector<std::string> shards;
    std::function<bool(const std::string& shard)> held;
    std::function<std::string(const std::string& shard)> owner;  // its URL, or empty
    std::function<std::int64_t(const std::string& shard)> epoch;
    std::string secret;  // of calls between nodes
  };
  explicit Gate(edge::OriginOptions origins = {});  // of a node alone
  explicit Gate(Directory directory, edge::OriginOptions origins = {});

  void handle(wire::HttpRequest request, net::Server::Respond respond);
  // `callers` belongs to the front's loop.
  void open(const std::string& shard, edge::Front& front, Callers& callers);
  void close(const std::string& shard);  // no request is in its Front when it returns

 private:
  using Respond = net::Server::Respond;
  [[nodiscard]] std::string shard_for(std::string_view service, std::string_view region) const;
  void admit(wire::HttpRequest request, Respond respond);  // one that no browser was made to send
  void let_in(edge::Front& front, const std::string& shard, wire::HttpRequest request, Respond respond);
  void hand_on(const std::string& shard, wire::HttpRequest request, Respond respond);
  void perform(const wire::HttpRequest& request, const Respond& respond);  // a call of another node
  void about_node(const wire::HttpRequest& request, Respond respond);
  [[nodiscard]] std::string ownership() const;  // as metrics

  Directory directory_;
  edge::Origins origins_;
  std::unique_ptr<net::Client> client_;  // null for a node alone
  std::mutex mutex_;                     // guards fronts_
  struct Opened {
    edge::Front* front;
    Callers* callers;
  };
  std::map<std::string, Opened> fronts_;
};

// Metrics of several, each in Prometheus's text format, as one: a family's lines stand together.
std::string merge_metrics(const std::vector<std::string>& texts);

}  // namespace snapward::nodes
