// Gate: the door of a node. While the node owns the state, requests go in to its Front; while another does, they are handed on to that
// one, and its answer back. Nobody's: 503, which every AWS client tries again.
//
// An answer leaves only while the node still owns the state: one that slept through the end of its lease says nothing more of it.
// Threads: handle() on the server's, open() and close() from any; answers come from any.
#pragma once
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "net/client.hpp"
#include "net/server.hpp"
#include "services/front.hpp"

namespace snapward::nodes {

class Gate {
 public:
  // Who owns the state; a node alone always does.
  struct Ownership {
    std::function<bool()> held;
    std::function<std::string()> owner;  // its URL, or empty
  };
  Gate();  // of a node alone
  explicit Gate(Ownership ownership);

  void handle(wire::HttpRequest request, net::Server::Respond respond);
  void open(services::Front& front);
  void close();  // no request is in the Front when it returns

 private:
  void hand_on(wire::HttpRequest request, net::Server::Respond respond);

  Ownership ownership_;
  std::unique_ptr<net::Client> client_;  // null for a node alone
  std::mutex mutex_;                     // guards front_
  services::Front* front_ = nullptr;
};

}  // namespace snapward::nodes
