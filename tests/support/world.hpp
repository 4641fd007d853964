// A whole world on virtual time for tests: the local cloud, the engine, the tasks.
#pragma once
#include <gtest/gtest.h>

#include "world/world.hpp"

namespace snapward::support {

// Keeps what leaves; answers HTTP with `status`, or never.
class Outbox final : public services::Outbound {
 public:
  Task<std::expected<wire::HttpResponse, std::string>> http(std::string url, wire::HttpRequest request) override {
    requests.emplace_back(std::move(url), std::move(request));
    if (!answers) {
      const Future<bool> never;
      co_await never;
    }
    if (status == 0) co_return std::unexpected(std::string("no connection"));
    wire::HttpResponse response;
    response.status = status;
    co_return response;
  }
  void mail(const std::string& to, const std::string& subject, const std::string& body) override {
    mails.push_back(to + " | " + subject + " | " + body);
  }
  int status = 200;
  bool answers = true;
  std::vector<std::pair<std::string, wire::HttpRequest>> requests;
  std::vector<std::string> mails;
};

class TestWorld {
 public:
  static constexpr const char* kPrimary = "us-west-2";
  static constexpr const char* kDr = "us-east-2";

  explicit TestWorld(services::ec2::Behaviour behaviour = calm(), std::uint64_t seed = 1) : entropy(seed), behaviour_(behaviour) {
    start();
  }

  static services::ec2::Behaviour calm() {
    services::ec2::Behaviour b;
    b.throttling = false;
    return b;
  }

  // Puts a new process on the old state: what a restart after a crash finds.
  void restart() {
    world.reset();
    start();
  }

  // Inputs are Json or its text.
  static Json read(Json input) { return input; }
  static Json read(const std::string& text) {
    auto json = Json::parse(text);
    EXPECT_TRUE(json) << text;
    return json.value_or(Json());
  }
  static Json read(const char* text) { return read(std::string(text)); }

  // From now on services call each other only as roles and resource policies let them.
  void enforce_iam() {
    enforce_iam_ = true;
    restart();
  }

  // A call that runs at once.
  template <class Input>
  cloud::Reply call(const std::string& service, const std::string& operation, const Input& in, const std::string& region = kPrimary) {
    Json input = read(in);
    std::optional<cloud::Reply> reply;
    world->loop.spawn(world->cloud.call({service, region, operation, std::move(input)}), [&](cloud::Reply r) { reply = std::move(r); });
    world->loop.settle();
    EXPECT_TRUE(reply) << operation << " did not answer at once";
    return reply ? *std::move(reply) : cloud::error("Test", "no answer");
  }
  // The answer, or a failed test.
  template <class Input>
  Json must(const std::string& service, const std::string& operation, const Input& input, const std::string& region = kPrimary) {
    auto reply = call(service, operation, input, region);
    EXPECT_TRUE(reply) << operation << ": " << (reply ? "" : reply.error().code + ": " + reply.error().message);
    return reply.value_or(Json());
  }
  // "Code: message" of a refused call.
  std::string refusal(const std::string& service, const std::string& operation, const std::string& input,
                      const std::string& region = kPrimary) {
    const auto reply = call(service, operation, input, region);
    return reply ? "accepted" : reply.error().code + ": " + reply.error().message;
  }

  void advance(Duration span) { world->loop.advance_to(clock, clock.now() + span); }

  snapshots::Deployment deploy(snapshots::Settings settings) {
    std::optional<std::expected<snapshots::Deployment, cloud::Error>> out;
    world->loop.spawn(snapshots::deploy(world->cloud, world->cloud.account(), settings), [&](auto d) { out = std::move(d); });
    world->loop.settle();
    EXPECT_TRUE(out && *out);
    return out && *out ? **out : snapshots::Deployment{};
  }

  std::string volume(const std::string& tag = "", int size = 10) {
    const std::string tags =
        tag.empty() ? "" : R"(,"TagSpecifications":[{"ResourceType":"volume","Tags":[{"Key":")" + tag + R"(","Value":"yes"}]}])";
    return std::string(
        must("ec2", "CreateVolume", R"({"AvailabilityZone":"us-west-2a","Size":)" + std::to_string(size) + tags + "}")["VolumeId"]
            .string_or());
  }
  std::string snapshot(const std::string& volume) {
    return std::string(must("ec2", "CreateSnapshot", R"({"VolumeId":")" + volume + "\"}")["SnapshotId"].string_or());
  }
  std::vector<cloud::Snapshot> snapshots(const std::string& region) { return world->cloud.ec2().inspect(region); }
  std::optional<cloud::Snapshot> find(const std::string& region, const std::string& id) {
    for (auto& s : snapshots(region))
      if (s.id == id) return s;
    return std::nullopt;
  }
  std::size_t completed(const std::string& region) {
    std::size_t n = 0;
    for (const auto& s : snapshots(region)) n += s.completed();
    return n;
  }
  std::vector<Json> executions(const std::string& machine_arn, const std::string& status = "") {
    return world->cloud.executions().list(machine_arn, status, 10'000, "").items;
  }

  VirtualClock clock{*parse_iso("2026-01-01T00:00:00Z")};
  SeededEntropy entropy;
  Outbox outbox;
  std::unique_ptr<store::Store> store = store::open_memory();
  std::unique_ptr<world::World> world;

 private:
  void start() {
    world = std::make_unique<world::World>(
        clock, entropy, *store, engine::Ledger::Mode::inline_commits, outbox,
        services::LocalCloudOptions{
            .account = "123456789012", .base_url = "http://127.0.0.1:4566", .ec2 = behaviour_, .enforce_iam = enforce_iam_});
  }
  services::ec2::Behaviour behaviour_;
  bool enforce_iam_ = false;
};

}  // namespace snapward::support
