// The wire front over real sockets: our server, our client, our signer.
#include "edge/front.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <future>
#include <thread>

#include "net/client.hpp"
#include "net/server.hpp"
#include "support/world.hpp"
#include "wire/protocol.hpp"
#include "wire/sigv4.hpp"

namespace snapward::edge {
namespace {

class FrontTest : public testing::Test {
 protected:
  void start(FrontOptions options = {}) {
    services::LocalCloudOptions cloud;
    cloud.sealing_key = sealing_key(options.secret_keys);
    world_ = std::make_unique<world::World>(clock_, entropy_, *store_, engine::Ledger::Mode::background_commits, outbox_, std::move(cloud));
    front_ = std::make_unique<Front>(world_->loop, world_->ledger, world_->cloud, std::move(options));
    auto server = net::Server::listen(
        {.address = "127.0.0.1", .port = 0, .refusal = Front::refusal},
        [this](wire::HttpRequest request, net::Server::Respond respond) { front_->handle(std::move(request), std::move(respond)); });
    ASSERT_TRUE(server) << server.error().message;
    server_ = *std::move(server);
    server_->start();
    loop_ = std::thread([this] { world_->loop.run(); });
  }
  void TearDown() override {
    if (!loop_.joinable()) return;
    world_->loop.stop();
    loop_.join();
    server_.reset();
    client_.reset();
    world_.reset();
  }
  wire::HttpResponse send(wire::HttpRequest request) {
    std::promise<std::expected<wire::HttpResponse, std::string>> answer;
    client_->send("http://127.0.0.1:" + std::to_string(server_->port()), std::move(request),
                  [&](auto outcome) { answer.set_value(std::move(outcome)); });
    auto outcome = answer.get_future().get();
    EXPECT_TRUE(outcome) << (outcome ? "" : outcome.error());
    return outcome.value_or(wire::HttpResponse{});
  }
  std::expected<Json, wire::ApiError> call(const std::string& service, const std::string& operation, Json input,
                                           const wire::Credentials& key = {"test", "test", ""}) {
    const auto* model = wire::find_service(service);
    auto request = wire::encode_request(*model, *model->find(operation), input);
    request.headers.add("Host", "127.0.0.1:" + std::to_string(server_->port()));
    wire::sign(request, key,
               {.region = "us-west-2", .service = service, .at = std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now())});
    return wire::decode_reply(*model, *model->find(operation), send(std::move(request)));
  }

  SystemClock clock_;
  SeededEntropy entropy_{3};
  support::Outbox outbox_;
  std::unique_ptr<store::Store> store_ = store::open_memory();
  std::unique_ptr<world::World> world_;
  std::unique_ptr<Front> front_;
  std::unique_ptr<net::Server> server_;
  std::unique_ptr<net::Client> client_ = net::Client::create();
  std::thread loop_;
};

TEST_F(FrontTest, SpeaksEveryProtocolOnOnePort) {
  start();
  const auto volume = call("ec2", "CreateVolume", Json::object({{"AvailabilityZone", "us-west-2a"}, {"Size", 3}}));
  ASSERT_TRUE(volume) << volume.error().message;
  EXPECT_EQ((*volume)["Size"].as_integer(), 3);
  EXPECT_TRUE(call("sns", "CreateTopic", Json::object({{"Name", "t"}})));
  EXPECT_TRUE(call("sqs", "CreateQueue", Json::object({{"QueueName", "q"}})));
  EXPECT_TRUE(call("states", "ListStateMachines", Json(Json::Object{})));
  EXPECT_TRUE(call("events", "ListRules", Json(Json::Object{})));
  EXPECT_TRUE(call("lambda", "ListFunctions", Json(Json::Object{})));
  const auto missing =
      call("states", "DescribeStateMachine", Json::object({{"stateMachineArn", "arn:aws:states:us-west-2:000000000000:stateMachine:no"}}));
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, "StateMachineDoesNotExist");
  const auto unbuilt = call("s3", "ListBuckets", Json(Json::Object{}));
  ASSERT_FALSE(unbuilt);
  EXPECT_EQ(unbuilt.error().status, 501);
}

TEST_F(FrontTest, ManyClientsAtOnce) {
  start();
  std::vector<std::thread> clients;
  std::atomic<int> good{0};
  for (int t = 0; t < 4; ++t)
    clients.emplace_back([&] {
      for (int i = 0; i < 25; ++i) good += call("ec2", "DescribeVolumes", Json::object({{"MaxResults", 5}})).has_value();
    });
  for (auto& c : clients) c.join();
  EXPECT_EQ(good, 100);
}

TEST_F(FrontTest, ChecksSignaturesWhenKeysAreGiven) {
  start({.default_region = "us-east-1", .secret_keys = {{"AKID", "secret"}}});
  const Json nothing = Json(Json::Object{});
  EXPECT_TRUE(call("sts", "GetCallerIdentity", nothing, {"AKID", "secret", ""}));
  EXPECT_EQ(call("states", "ListStateMachines", nothing, {"AKID", "wrong", ""}).error().code, "InvalidSignatureException");
  EXPECT_EQ(call("ec2", "DescribeVolumes", nothing, {"other", "secret", ""}).error().code, "AuthFailure");
  wire::HttpRequest unsigned_call;
  unsigned_call.headers.add("X-Amz-Target", "AWSStepFunctions.ListStateMachines");
  unsigned_call.body = "{}";
  EXPECT_EQ(send(std::move(unsigned_call)).status, 403);
}

TEST_F(FrontTest, CredentialsThatStsHandsOutSign) {
  start({.secret_keys = {{"AKID", "secret"}}});
  const auto given = call("sts", "AssumeRole", Json::object({{"RoleArn", "arn:aws:iam::000000000000:role/r"}, {"RoleSessionName", "s"}}),
                          {"AKID", "secret", ""});
  ASSERT_TRUE(given) << given.error().message;
  const Json& c = (*given)["Credentials"];
  const auto text = [&](const char* name) { return std::string(c[name].string_or()); };
  const wire::Credentials session{text("AccessKeyId"), text("SecretAccessKey"), text("SessionToken")};
  EXPECT_TRUE(call("ec2", "DescribeVolumes", Json(Json::Object{}), session));
  EXPECT_EQ(call("sts", "GetSessionToken", Json(Json::Object{}), session).error().code, "AccessDenied") << "it would never end";
  EXPECT_EQ(
      call("sts", "AssumeRole",
           Json::object({{"RoleArn", "arn:aws:iam::000000000000:role/r"}, {"RoleSessionName", "s"}, {"DurationSeconds", 7200}}), session)
          .error()
          .code,
      "ValidationError");
  EXPECT_EQ(call("ec2", "DescribeVolumes", Json(Json::Object{}), {session.access_key, session.secret_key, "other"}).error().code,
            "AuthFailure");
}

TEST_F(FrontTest, WithKeysPagesNeedASignatureToo) {
  start({.secret_keys = {{"AKID", "secret"}}, .metrics = [] { return std::string("figures"); }});
  const auto get = [&](const std::string& target) { return send({.method = "GET", .target = target, .headers = {}, .body = {}}).status; };
  EXPECT_EQ(get("/healthz"), 200);
  EXPECT_EQ(get("/readyz"), 200);
  for (const char* target : {"/", "/metrics", "/bucket/key", "/2015-03-31/functions/", "/nothing"}) EXPECT_EQ(get(target), 403) << target;
  EXPECT_NE(get("/?Action=ConfirmSubscription&TopicArn=arn:aws:sns:us-east-1:000000000000:t&Token=x"), 403) << "a link";
  EXPECT_EQ(get("/?Action=ConfirmSubscription&Action=DeleteTopic&TopicArn=arn:aws:sns:us-east-1:000000000000:t"), 403);
}

// What a request gets at once, without the loop: a refusal. Nothing when it was let in.
class Refusals : public testing::Test {
 protected:
  std::optional<wire::HttpResponse> refusal(wire::HttpRequest request) {
    std::optional<wire::HttpResponse> out;
    front_.handle(std::move(request), [&](const Front::Answer& answer) { out = answer(); });
    return out;
  }
  void expect_refused(const wire::HttpRequest& request, const std::string& what) {
    const auto response = refusal(request);
    ASSERT_TRUE(response) << what << " was performed";
    EXPECT_TRUE(response->status == 400 || response->status == 401 || response->status == 403) << what << ": " << response->status;
    static constexpr std::array kCodes{"MissingAuthenticationToken",
                                       "SignatureDoesNotMatch",
                                       "InvalidSignatureException",
                                       "RequestExpired",
                                       "AccessDenied",
                                       "AuthFailure"};
    const std::string said = response->body + std::string(response->headers.get("x-amzn-errortype"));
    EXPECT_TRUE(std::ranges::any_of(kCodes, [&](const char* code) { return said.contains(code); })) << what << ": " << said;
  }

  VirtualClock clock_{*parse_iso("2026-01-01T00:00:00Z")};
  SeededEntropy entropy_{3};
  support::Outbox outbox_;
  std::unique_ptr<store::Store> store_ = store::open_memory();
  world::World world_{clock_, entropy_, *store_, engine::Ledger::Mode::inline_commits, outbox_, services::LocalCloudOptions{}};
  Front front_{world_.loop, world_.ledger, world_.cloud, {.secret_keys = {{"AKID", "secret"}}, .now = [this] { return clock_.now(); }}};
};

TEST_F(Refusals, EveryOperationOfEveryServiceNeedsAValidSignature) {
  int operations = 0;
  for (const std::string& name : wire::service_names()) {
    const auto* service = wire::find_service(name);
    for (const auto& [operation, model] : service->operations) {
      ++operations;
      const std::string what = name + ':' + operation;
      auto request = wire::encode_request(*service, model, Json(Json::Object{}));
      request.headers.add("Host", "localhost:4566");
      const wire::SigningContext here{.region = "us-east-1", .service = name, .at = clock_.now()};
      expect_refused(request, what + " unsigned");
      auto post = request;
      post.method = "POST";
      expect_refused(post, what + " as unsigned POST");
      auto get = request;
      get.method = "GET";
      if (get.target == "/" && !get.headers.find("x-amz-target")) get.target += '?' + get.body;
      const bool link = name == "sns" && (operation == "ConfirmSubscription" || operation == "Unsubscribe");
      if (!link) expect_refused(get, what + " as unsigned GET");
      auto wrong = request;
      wire::sign(wrong, {.access_key = "AKID", .secret_key = "wrong", .session_token = {}}, here);
      expect_refused(wrong, what + " with a wrong signature");
      auto expired = get;
      wire::presign(expired, {.access_key = "AKID", .secret_key = "secret", .session_token = {}},
                    {.region = "us-east-1", .service = name, .at = clock_.now() - std::chrono::hours(2)}, std::chrono::seconds(60));
      expect_refused(expired, what + " presigned and expired");
    }
  }
  EXPECT_GT(operations, 300);
}

TEST_F(FrontTest, NonsenseIsRefusedNotAnswered) {
  start();
  wire::HttpRequest nothing;
  nothing.method = "GET";
  EXPECT_EQ(send(nothing).status, 400);
  nothing.target = "/healthz";
  EXPECT_EQ(send(nothing).body, "ok\n");
  wire::HttpRequest target;
  target.headers.add("X-Amz-Target", "Nobody.DoIt");
  EXPECT_EQ(send(target).status, 400);
  wire::HttpRequest large;
  large.body = std::string(9 * 1024 * 1024, 'x');
  std::promise<int> status;
  client_->send("http://127.0.0.1:" + std::to_string(server_->port()), std::move(large),
                [&](const auto& outcome) { status.set_value(outcome ? outcome->status : 0); });
  const int got = status.get_future().get();
  EXPECT_TRUE(got == 413 || got == 0) << got;  // refused while it is still being sent: the client may not see why
}

TEST_F(FrontTest, AServerOnATakenPortSaysSo) {
  start();
  const auto second =
      net::Server::listen({.address = "127.0.0.1", .port = server_->port()}, [](wire::HttpRequest, const net::Server::Respond&) {});
  ASSERT_FALSE(second);
  EXPECT_NE(second.error().message.find("choose another port with --port"), std::string::npos);
}

}  // namespace
}  // namespace snapward::edge
