// The door of a node: to its own Front, to the owner's, or to nobody.
#include "nodes/gate.hpp"

#include <gtest/gtest.h>

#include <condition_variable>

namespace snapward::nodes {
namespace {

// Another node, as far as this one sees it: an HTTP server that counts its connections' requests.
struct Other {
  explicit Other(std::function<wire::HttpResponse(const wire::HttpRequest&)> answer) {
    auto listening =
        net::Server::listen({.address = "127.0.0.1", .port = 0}, [this, answer](wire::HttpRequest request, net::Server::Respond respond) {
          requests.push_back(request);
          respond([response = answer(request)] { return response; });
        });
    server = *std::move(listening);
    server->start();
  }
  ~Other() { server->stop(); }
  [[nodiscard]] std::string url() const { return "http://127.0.0.1:" + std::to_string(server->port()); }
  std::vector<wire::HttpRequest> requests;
  std::unique_ptr<net::Server> server;
};

wire::HttpResponse ask(Gate& gate, wire::HttpRequest request) {
  std::mutex mutex;
  std::condition_variable told;
  std::optional<wire::HttpResponse> out;
  gate.handle(std::move(request), [&](const net::Server::Answer& answer) {
    const std::lock_guard lock(mutex);
    out = answer();
    told.notify_one();
  });
  std::unique_lock lock(mutex);
  EXPECT_TRUE(told.wait_for(lock, std::chrono::seconds(10), [&] { return out.has_value(); }));
  return out.value_or(wire::HttpResponse{});
}

wire::HttpRequest request(const std::string& target, const std::string& body = "") {
  wire::HttpRequest out{.method = "POST", .target = target, .headers = {}, .body = body};
  out.headers.add("Host", "snapward.example:4566");
  out.headers.add("Content-Length", std::to_string(body.size()));
  out.headers.add("Connection", "keep-alive");
  out.headers.add("X-Amz-Target", "AWSStepFunctions.ListStateMachines");
  return out;
}

TEST(GateTest, HandsOnToTheOwnerAndBack) {
  Other other([](const wire::HttpRequest& r) {
    wire::HttpResponse response{.status = 418, .headers = {}, .body = "for " + r.target + ' ' + r.body};
    response.headers.add("x-amzn-RequestId", "id");
    return response;
  });
  std::string owner = other.url();
  Gate gate({.held = [] { return false; }, .owner = [&owner] { return owner; }});
  for (int i = 0; i < 3; ++i) {
    const auto answer = ask(gate, request("/a?b=c", "body"));
    EXPECT_EQ(answer.status, 418);
    EXPECT_EQ(answer.body, "for /a?b=c body");
    EXPECT_EQ(answer.headers.get("x-amzn-requestid"), "id");
  }
  ASSERT_EQ(other.requests.size(), 3U);
  EXPECT_EQ(other.requests[0].headers.get("host"), "snapward.example:4566") << "it is signed";
  EXPECT_EQ(other.requests[0].headers.get("x-amz-target"), "AWSStepFunctions.ListStateMachines");
  EXPECT_EQ(other.requests[0].headers.get("content-length"), "4");

  owner.clear();
  EXPECT_EQ(ask(gate, request("/")).status, 503);
  owner = "http://127.0.0.1:1";
  const auto unreachable = ask(gate, request("/"));
  EXPECT_EQ(unreachable.status, 503);
  EXPECT_TRUE(unreachable.body.empty()) << "clients of every protocol take that for passing trouble";
}

TEST(GateTest, NothingGoesInACircle) {
  Other other([](const wire::HttpRequest&) { return wire::HttpResponse{}; });
  Gate gate({.held = [] { return false; }, .owner = [&other] { return other.url(); }});
  auto handed_on = request("/");
  handed_on.headers.add("x-snapward-handed-on", "1");
  EXPECT_EQ(ask(gate, handed_on).status, 503);
  EXPECT_TRUE(other.requests.empty());
}

TEST(GateTest, AConnectionThatWasClosedIsMadeAnew) {
  auto other =
      std::make_unique<Other>([](const wire::HttpRequest&) { return wire::HttpResponse{.status = 200, .headers = {}, .body = "first"}; });
  const std::uint16_t port = other->server->port();
  const std::string url = other->url();
  Gate gate({.held = [] { return false; }, .owner = [url] { return url; }});
  EXPECT_EQ(ask(gate, request("/")).body, "first");
  other.reset();
  auto again =
      net::Server::listen({.address = "127.0.0.1", .port = port}, [](const wire::HttpRequest&, const net::Server::Respond& respond) {
        respond([] { return wire::HttpResponse{.status = 200, .headers = {}, .body = "second"}; });
      });
  ASSERT_TRUE(again) << again.error().message;
  (*again)->start();
  EXPECT_EQ(ask(gate, request("/")).body, "second");
  (*again)->stop();
}

}  // namespace
}  // namespace snapward::nodes
