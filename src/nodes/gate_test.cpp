// The door of a node: to its own Front, to the owner's, or to nobody.
#include "nodes/gate.hpp"

#include <gtest/gtest.h>

#include <condition_variable>
#include <map>
#include <set>

#include "nodes/peers.hpp"
#include "nodes/shards.hpp"

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
  out.headers.add("Host", "snapward:4566");
  out.headers.add("Content-Length", std::to_string(body.size()));
  out.headers.add("Connection", "keep-alive");
  out.headers.add("X-Amz-Target", "AWSStepFunctions.ListStateMachines");
  return out;
}

// A node that owns nothing of a state in one piece.
Gate::Directory owned_by(std::function<std::string()> owner) {
  return {.shards = {std::string(kWhole)},
          .held = [](const auto&) { return false; },
          .owner = [owner = std::move(owner)](const auto&) { return owner(); },
          .epoch = [](const auto&) { return 7; },
          .secret = "secret"};
}

TEST(GateTest, HandsOnToTheOwnerAndBack) {
  Other other([](const wire::HttpRequest& r) {
    wire::HttpResponse response{.status = 418, .headers = {}, .body = "for " + r.target + ' ' + r.body};
    response.headers.add("x-amzn-RequestId", "id");
    return response;
  });
  std::string owner = other.url();
  Gate gate(owned_by([&owner] { return owner; }));
  for (int i = 0; i < 3; ++i) {
    const auto answer = ask(gate, request("/a?b=c", "body"));
    EXPECT_EQ(answer.status, 418);
    EXPECT_EQ(answer.body, "for /a?b=c body");
    EXPECT_EQ(answer.headers.get("x-amzn-requestid"), "id");
  }
  ASSERT_EQ(other.requests.size(), 3U);
  EXPECT_EQ(other.requests[0].headers.get("host"), "snapward:4566") << "it is signed";
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
  Gate gate(owned_by([&other] { return other.url(); }));
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
  Gate gate(owned_by([url] { return url; }));
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

TEST(GateTest, EachRequestGoesToTheOwnerOfItsRegion) {
  Other west([](const wire::HttpRequest&) { return wire::HttpResponse{.status = 200, .headers = {}, .body = "west"}; });
  Other east([](const wire::HttpRequest&) { return wire::HttpResponse{.status = 200, .headers = {}, .body = "east"}; });
  Gate::Directory directory = owned_by({});
  directory.shards.assign(kShards.begin(), kShards.end());
  directory.owner = [&](const std::string& shard) { return shard == "us-west" ? west.url() : shard == "us-east" ? east.url() : ""; };
  Gate gate(std::move(directory));
  const auto scoped = [](const std::string& scope) {
    auto out = request("/");
    out.headers.add("Authorization",
                    "AWS4-HMAC-SHA256 Credential=key/20260101/" + scope + "/aws4_request, SignedHeaders=host, Signature=0");
    return out;
  };
  EXPECT_EQ(ask(gate, scoped("us-west-2/ec2")).body, "west");
  EXPECT_EQ(ask(gate, scoped("us-east-2/ec2")).body, "east");
  EXPECT_EQ(ask(gate, scoped("us-west-2/s3")).body, "east") << "buckets are of no region";
  EXPECT_EQ(ask(gate, scoped("us-west-2/iam")).body, "east");
  EXPECT_EQ(ask(gate, scoped("eu-west-1/ec2")).status, 503) << "nobody owns it";
  EXPECT_EQ(ask(gate, request("/")).body, "east") << "unsigned: the default region";

  auto get = request("/readyz");
  get.method = "GET";
  EXPECT_EQ(ask(gate, get).status, 503);
  get.target = "/healthz";
  EXPECT_EQ(ask(gate, get).status, 200);
  get.target = "/metrics";
  EXPECT_NE(ask(gate, get).body.find("snapward_owner{shard=\"us-west\"} 0\n"), std::string::npos);
  EXPECT_NE(ask(gate, get).body.find("snapward_epoch{shard=\"eu\"} 7\n"), std::string::npos);
}

TEST(GateTest, CallsOfOtherNodesNeedTheSecretAndAnOwner) {
  Gate gate(owned_by([] { return std::string(); }));
  const PeerCall call{.token = {"us-east", 1, 0}, .call = {"ec2", "us-west-2", "DescribeVolumes", Json::object({})}};
  EXPECT_EQ(ask(gate, call_request(call, "guess")).status, 403);
  EXPECT_EQ(ask(gate, call_request(call, "")).status, 403);
  EXPECT_EQ(ask(gate, call_request(call, "secret")).status, 503);
  auto broken = call_request(call, "secret");
  broken.body = "{";
  EXPECT_EQ(ask(gate, broken).status, 403);
}

TEST(PeersTest, ACallAndItsReplyArriveAsTheyWere) {
  const std::string bytes("\xff\0\x80 zip", 8), marked =
                                                    "\x01"
                                                    "base64:AAAA";
  const PeerCall peer{.token = {"us-west", 7, 2},
                      .call = {"lambda",
                               "eu-west-1",
                               "Invoke",
                               Json::object({{"Payload", bytes}, {"List", Json::array({marked, 1.5, true, Json()})}}),
                               {.service = "events.amazonaws.com", .role = "arn:role", .source = "arn:rule"}}};
  const auto back = call_of(call_request(peer, "s"), "s");
  ASSERT_TRUE(back) << back.error();
  EXPECT_EQ(back->token.shard, "us-west");
  EXPECT_EQ(back->token.epoch, 7);
  EXPECT_EQ(back->token.losses, 2);
  EXPECT_EQ(back->call.service, "lambda");
  EXPECT_EQ(back->call.region, "eu-west-1");
  EXPECT_EQ(back->call.operation, "Invoke");
  EXPECT_EQ(back->call.input, peer.call.input);
  EXPECT_EQ(back->call.caller.service, "events.amazonaws.com");
  EXPECT_EQ(back->call.caller.role, "arn:role");
  EXPECT_EQ(back->call.caller.source, "arn:rule");

  const auto reply = reply_of(reply_response(Json::object({{"Body", bytes}})));
  ASSERT_TRUE(reply && *reply);
  EXPECT_EQ((**reply)["Body"].string_or(), bytes);
  const auto refused = reply_of(reply_response(std::unexpected(cloud::Error{"NoSuchKey", "not there", 404, Json::object({{"Key", "k"}})})));
  ASSERT_TRUE(refused && !*refused);
  EXPECT_EQ(refused->error().code, "NoSuchKey");
  EXPECT_EQ(refused->error().status, 404);
  EXPECT_EQ(refused->error().fields["Key"].string_or(), "k");
  EXPECT_FALSE(reply_of(wire::HttpResponse{.status = 500, .headers = {}, .body = "gone"}));
  EXPECT_FALSE(reply_of(wire::HttpResponse{.status = 200, .headers = {}, .body = "{}"}));
}

struct Life {
  SystemClock clock{1.0, Instant{}};
  SystemEntropy entropy;
  std::unique_ptr<store::Store> store = store::open_memory();
  engine::Loop loop{clock, entropy};
  engine::Ledger ledger{*store, loop, engine::Ledger::Mode::inline_commits};
};

// What was sent before a shard changed hands, or before a call was lost, and arrives afterwards.
TEST(PeersTest, AnOlderCallIsRefusedOnceANewerWasHeardOf) {
  Life life;
  {
    Callers callers(life.ledger);
    EXPECT_TRUE(callers.admit({"us-west", 3, 0}));
    EXPECT_TRUE(callers.admit({"us-west", 3, 0})) << "as often as it likes";
    EXPECT_TRUE(callers.admit({"us-west", 3, 1}));
    EXPECT_FALSE(callers.admit({"us-west", 3, 0}));
    EXPECT_TRUE(callers.admit({"eu", 1, 0})) << "each for itself";
    EXPECT_TRUE(callers.admit({"us-west", 4, 0}));
    EXPECT_FALSE(callers.admit({"us-west", 3, 9}));
    life.loop.settle();
  }
  Callers after_restart(life.ledger);
  EXPECT_FALSE(after_restart.admit({"us-west", 3, 9}));
  EXPECT_TRUE(after_restart.admit({"us-west", 4, 0}));
}

TEST(PeersTest, AfterACallWithoutAnAnswerTheNextSaySo) {
  Life life;
  int asked = 0;
  std::vector<std::int64_t> losses;
  Other other([&](const wire::HttpRequest& r) {
    losses.push_back(call_of(r, "s")->token.losses);
    switch (++asked) {
      case 1:
        return wire::HttpResponse{.status = 500, .headers = {}, .body = "lost"};
      case 2:
        return wire::HttpResponse{.status = 503, .headers = {}, .body = ""};  // nobody owns it: not performed
      default:
        return reply_response(Json::object({{"n", std::int64_t{asked}}}));
    }
  });
  Elsewhere elsewhere(life.loop, life.ledger,
                      {.owner = [&](const auto&) { return other.url(); }, .shard = "us-west", .epoch = 1, .secret = "s"});
  std::vector<cloud::Reply> replies;
  const auto ask_it = [&] {
    life.loop.spawn(elsewhere.call({"ec2", "us-east-2", "CopySnapshot", Json::object({})}), [&](cloud::Reply r) {
      replies.push_back(std::move(r));
      life.loop.stop();
    });
    life.loop.run();
  };
  ask_it();
  ask_it();
  ASSERT_EQ(replies.size(), 2U);
  EXPECT_EQ(replies[0].error().code, "InternalFailure");
  ASSERT_TRUE(replies[1]);
  EXPECT_EQ((*replies[1])["n"].integer_or(0), 3);
  EXPECT_EQ(losses, (std::vector<std::int64_t>{0, 1, 1}));
}

// One that arrives after a call that says of another's loss: refused, hence not performed, hence sent again.
TEST(PeersTest, WhatWasOvertakenIsSentAgain) {
  Life life;
  std::vector<std::string> performed;
  Other other([&](const wire::HttpRequest& r) {
    const auto peer = call_of(r, "s");
    if (peer->call.operation == "Lost") return wire::HttpResponse{.status = 500, .headers = {}, .body = "lost"};
    if (peer->token.losses == 0) return reply_response(Callers::refusal());
    performed.push_back(peer->call.operation);
    return reply_response(Json::object({}));
  });
  Elsewhere elsewhere(life.loop, life.ledger,
                      {.owner = [&](const auto&) { return other.url(); }, .shard = "us-west", .epoch = 1, .secret = "s"});
  std::map<std::string, bool> good;
  const auto send = [&](const std::string& operation) {
    life.loop.spawn(elsewhere.call({"ec2", "us-east-2", operation, Json::object({})}), [&, operation](const cloud::Reply& r) {
      good[operation] = r.has_value();
      if (good.size() == 2) life.loop.stop();
    });
  };
  send("Lost");  // both are under way before either is answered
  send("Overtaken");
  life.loop.run();
  EXPECT_FALSE(good["Lost"]);
  EXPECT_TRUE(good["Overtaken"]);
  EXPECT_EQ(performed, std::vector<std::string>{"Overtaken"});
}

TEST(ShardsTest, EveryRegionHasOne) {
  std::set<std::string_view> used;
  for (const services::Region& region : services::kRegions) {
    const auto shard = shard_of("ec2", region.name);
    EXPECT_TRUE(std::ranges::count(kShards, shard)) << region.name;
    used.insert(shard);
  }
  EXPECT_EQ(used.size(), kShards.size());
  EXPECT_EQ(shard_of("ec2", "ca-central-1"), "us-west");
  EXPECT_EQ(shard_of("ec2", "me-south-1"), "eu");
  EXPECT_EQ(shard_of("iam", "ap-south-1"), "us-east");
}

TEST(GateTest, MetricsOfSeveralStandTogether) {
  const std::string one = "# HELP a A.\n# TYPE a gauge\na{shard=\"x\"} 1\n# HELP b B.\n# TYPE b counter\nb 2\n";
  const std::string two = "# HELP a A.\n# TYPE a gauge\na{shard=\"y\"} 3\n";
  EXPECT_EQ(merge_metrics({"", one, two}),
            "# HELP a A.\n# TYPE a gauge\na{shard=\"x\"} 1\na{shard=\"y\"} 3\n# HELP b B.\n# TYPE b counter\nb 2\n");
  EXPECT_EQ(merge_metrics({one}), one);
}

}  // namespace
}  // namespace snapward::nodes
