// A cloud in two parts, as two nodes on one database are: the regions of one live in one world, those of the other in another, and all
// that reaches across is calls. On virtual time, on one thread.
#include <gtest/gtest.h>

#include "nodes/shards.hpp"
#include "support/world.hpp"

namespace snapward {
namespace {

class Parts {
 public:
  static constexpr const char* kWest = "us-west-2";
  static constexpr const char* kEast = "us-east-2";

  explicit Parts(std::uint64_t seed) : parts_{Part("us-west", seed), Part("us-east", seed + 1)} {
    for (Part& p : parts_) start(p);
  }

  // From now on calls to the other part are lost on the way.
  bool cut = false;
  // Calls leave, and neither arrive nor come back.
  bool hang = false;

  world::World& of(const std::string& region, const std::string& service = "ec2") {
    return *parts_[nodes::shard_of(service, region) == "us-west" ? 0 : 1].world;
  }
  // Asks the part that a client's request would come to.
  Json must(const std::string& service, const std::string& operation, const std::string& input, const std::string& region) {
    std::optional<cloud::Reply> reply;
    world::World& world = of(region, service);
    world.loop.spawn(world.cloud.call({service, region, operation, support::TestWorld::read(input)}),
                     [&](cloud::Reply r) { reply = std::move(r); });
    advance(Duration(0));
    EXPECT_TRUE(reply && *reply) << operation << (reply ? ": " + reply->error().message : "");
    return reply && *reply ? **reply : Json();
  }
  void advance(Duration span) {
    const Instant until = clock_.now() + span;
    for (;;) {
      while (parts_[0].world->loop.step(clock_, clock_.now()) || parts_[1].world->loop.step(clock_, clock_.now())) {
      }
      Instant next = until;
      for (const Part& p : parts_)
        if (p.world->loop.has_timers()) next = std::min(next, p.world->loop.next_timer());
      if (next >= until && clock_.now() == until) return;
      clock_.set(std::max(next, clock_.now()));
    }
  }
  // Its process dies, and another goes on from what was saved.
  void restart(const std::string& shard) {
    Part& p = parts_[shard == "us-west" ? 0 : 1];
    for (const auto& flight : flights_)
      if (flight->from == shard) flight->loop = nullptr;
    p.world.reset();
    for (const auto& flight : flights_)
      if (flight->to == shard) land(*flight, cloud::error("InternalFailure", "no answer came", 500));
    flights_.clear();
    start(p);
  }
  std::vector<cloud::Snapshot> snapshots(const std::string& region) { return of(region).cloud.ec2().inspect(region); }
  [[nodiscard]] Instant now() const { return clock_.now(); }

 private:
  struct Part {
    Part(std::string shard, std::uint64_t seed) : name(std::move(shard)), entropy(seed) {}
    std::string name;
    SeededEntropy entropy;
    support::Outbox outbox;
    std::unique_ptr<store::Store> store = store::open_memory();
    std::unique_ptr<world::World> world;
  };

  // A call under way. Its caller hears nothing when that has died, and of trouble when the other has.
  struct Flight {
    std::string from, to;
    engine::Loop* loop;
    Future<cloud::Reply> answer;
  };

  class Bridge final : public cloud::Cloud {
   public:
    Bridge(Parts& parts, std::string name, engine::Loop& loop, engine::Ledger& ledger)
        : parts_(parts), name_(std::move(name)), loop_(loop), ledger_(ledger) {}
    Task<cloud::Reply> call(cloud::Call call) override {
      const Future<bool> durable;
      ledger_.after_commit([durable] { durable.set(true); });
      co_await durable;
      if (parts_.cut) co_return cloud::error("ServiceUnavailable", "cut off", 503);
      const auto flight = std::make_shared<Flight>(
          Flight{.from = name_, .to = std::string(nodes::shard_of(call.service, call.region)), .loop = &loop_, .answer = {}});
      parts_.flights_.push_back(flight);
      world::World& other = parts_.of(call.region, call.service);
      if (!parts_.hang)
        other.loop.post([&other, flight, call = std::move(call)]() mutable {
          other.loop.spawn(other.cloud.call(std::move(call)),
                           [&other, flight](const cloud::Reply& r) { other.ledger.after_commit([flight, r] { land(*flight, r); }); });
        });
      co_return co_await flight->answer;
    }

   private:
    Parts& parts_;
    std::string name_;
    engine::Loop& loop_;
    engine::Ledger& ledger_;
  };

  static void land(Flight& flight, const cloud::Reply& reply) {
    if (engine::Loop* loop = std::exchange(flight.loop, nullptr)) loop->post([answer = flight.answer, reply] { answer.set(reply); });
  }

  void start(Part& p) {
    services::Part part{
        .name = p.name,
        .number = nodes::number_of(p.name),
        .here = [name = p.name](std::string_view service, std::string_view region) { return nodes::shard_of(service, region) == name; },
        .elsewhere = [this, name = p.name](engine::Loop& loop,
                                           engine::Ledger& ledger) { return std::make_unique<Bridge>(*this, name, loop, ledger); }};
    p.world = std::make_unique<world::World>(clock_, p.entropy, *p.store, engine::Ledger::Mode::inline_commits, p.outbox,
                                             services::LocalCloudOptions{.account = "123456789012",
                                                                         .base_url = "http://127.0.0.1:4566",
                                                                         .ec2 = support::TestWorld::calm(),
                                                                         .enforce_iam = false,
                                                                         .part = std::move(part)});
  }

  VirtualClock clock_{*parse_iso("2026-01-01T00:00:00Z")};
  std::vector<std::shared_ptr<Flight>> flights_;
  std::array<Part, 2> parts_;
};

struct ApartTest : testing::Test {
  void deploy(int dr_retention) {
    snapshots::Settings settings;
    settings.retention = 1000;
    settings.dr_retention = dr_retention;
    std::optional<bool> deployed;
    world::World& west = parts->of(Parts::kWest);
    west.loop.spawn(snapshots::deploy(west.cloud, west.cloud.account(), settings), [&](const auto& d) { deployed = d.has_value(); });
    parts->advance(Duration(0));
    ASSERT_EQ(deployed, true);
  }
  std::string volume() {
    return std::string(
        parts->must("ec2", "CreateVolume", R"({"AvailabilityZone":"us-west-2a","Size":10})", Parts::kWest)["VolumeId"].string_or());
  }
  void snapshot(const std::string& volume) { parts->must("ec2", "CreateSnapshot", R"({"VolumeId":")" + volume + "\"}", Parts::kWest); }
  std::size_t executions(const std::string& region, const std::string& status) {
    const std::string arn = "arn:aws:states:" + region + ":123456789012:stateMachine:SnapshotManagement";
    const Json machines = parts->must("states", "ListStateMachines", "{}", region);
    std::size_t n = 0;
    for (const Json& m : machines["stateMachines"].items())
      if (m["name"].string_or().find("econcil") == std::string::npos)
        n += parts->of(region).cloud.executions().list(std::string(m["stateMachineArn"].string_or()), status, 1000, "").items.size();
    return n;
  }
  std::unique_ptr<Parts> parts = std::make_unique<Parts>(1);
};

// The article's whole way, its two regions in two processes.
TEST_F(ApartTest, SnapshotsAreTaggedCopiedAndPrunedAcrossThem) {
  deploy(2);
  const std::string v = volume();
  for (int day = 0; day < 3; ++day) {
    snapshot(v);
    parts->advance(std::chrono::hours(24));
  }
  const auto copies = parts->snapshots(Parts::kEast);
  EXPECT_EQ(parts->snapshots(Parts::kWest).size(), 3U);
  ASSERT_EQ(copies.size(), 2U) << "the retention there";
  for (const auto& copy : copies) {
    EXPECT_EQ(copy.state, "completed");
    EXPECT_TRUE(copy.tags.contains("OriginalRegion") || copy.tags.contains("snapward:source")) << "tagged by the machine there";
  }
  EXPECT_EQ(executions(Parts::kWest, "SUCCEEDED"), 3U);
  EXPECT_EQ(executions(Parts::kEast, "SUCCEEDED"), 3U);
  EXPECT_TRUE(parts->of(Parts::kWest).cloud.ec2().inspect(Parts::kEast).empty()) << "nothing of the other part is here";
  // Only what changed since the copy before crossed over: the content came with the snapshot.
  std::vector<std::int64_t> bytes;
  for (const auto& [id, paid] : parts->of(Parts::kEast).cloud.ec2().owned_bytes(Parts::kEast)) bytes.push_back(paid);
  EXPECT_LT(*std::ranges::min_element(bytes) * 10, *std::ranges::max_element(bytes));
}

TEST_F(ApartTest, ARegionThatIsAwayIsCopiedToWhenItIsBack) {
  deploy(2);
  const std::string v = volume();
  parts->cut = true;
  snapshot(v);
  parts->advance(std::chrono::minutes(3));
  EXPECT_TRUE(parts->snapshots(Parts::kEast).empty());
  parts->cut = false;
  parts->restart("us-east");
  parts->advance(std::chrono::hours(3));
  EXPECT_EQ(parts->snapshots(Parts::kEast).size(), 1U);
}

// Either process dies at any time, again and again: each snapshot ends with exactly one copy.
TEST_F(ApartTest, NothingIsLostOrDoneTwiceWhateverDies) {
  SeededEntropy chance(7);
  for (int round = 0; round < 8; ++round) {
    parts = std::make_unique<Parts>(chance.below(1U << 30));
    deploy(1000);
    const std::string v = volume();
    std::size_t made = 0;
    for (int i = 0; i < 60; ++i) {
      if (i % 4 == 0) {
        snapshot(v);
        ++made;
      }
      parts->advance(Duration(static_cast<std::int64_t>(chance.below(6000))));
      if (chance.chance(0.5)) parts->restart(chance.chance(0.5) ? "us-west" : "us-east");
    }
    parts->advance(std::chrono::hours(6));
    std::map<std::string, int> copies;
    for (const auto& s : parts->snapshots(Parts::kEast)) {
      EXPECT_EQ(s.state, "completed");
      if (const auto source = s.tags.find("snapward:source"); source != s.tags.end()) ++copies[source->second];
    }
    EXPECT_EQ(parts->snapshots(Parts::kWest).size(), made);
    EXPECT_EQ(copies.size(), made) << "round " << round;
    for (const auto& [source, n] : copies) EXPECT_EQ(n, 1) << source << " in round " << round;
    EXPECT_EQ(executions(Parts::kWest, "RUNNING") + executions(Parts::kEast, "RUNNING"), 0U);
  }
}

TEST_F(ApartTest, AnEventForAnotherRegionsBusArrivesAsItIs) {
  parts->must("sqs", "CreateQueue", R"({"QueueName":"q"})", Parts::kEast);
  parts->must("events", "PutRule", R"({"Name":"all","EventPattern":"{\"source\":[\"aws.ec2\"]}"})", Parts::kEast);
  parts->must("events", "PutTargets", R"({"Rule":"all","Targets":[{"Id":"1","Arn":"arn:aws:sqs:us-east-2:123456789012:q"}]})",
              Parts::kEast);
  parts->must("events", "PutRule", R"({"Name":"over","EventPattern":"{\"source\":[\"aws.ec2\"]}"})", Parts::kWest);
  parts->must("events", "PutTargets",
              R"({"Rule":"over","Targets":[{"Id":"1","Arn":"arn:aws:events:us-east-2:123456789012:event-bus/default"}]})", Parts::kWest);
  snapshot(volume());
  parts->advance(std::chrono::minutes(1));
  const Json got =
      parts->must("sqs", "ReceiveMessage", R"({"QueueUrl":"http://127.0.0.1:4566/123456789012/q","MaxNumberOfMessages":10})", Parts::kEast);
  ASSERT_EQ(got["Messages"].items().size(), 1U);
  const auto event = Json::parse(got["Messages"].items()[0]["Body"].string_or());
  ASSERT_TRUE(event);
  EXPECT_EQ((*event)["source"].string_or(), "aws.ec2");
  EXPECT_EQ((*event)["region"].string_or(), "us-west-2");
  EXPECT_EQ((*event)["detail"]["event"].string_or(), "createSnapshot");
}

// The process dies while the call is under way.
TEST_F(ApartTest, WhatWasAcceptedForTheOtherPartOutlivesARestart) {
  parts->must("sqs", "CreateQueue", R"({"QueueName":"q"})", Parts::kEast);
  parts->must("events", "PutRule", R"({"Name":"r","EventPattern":"{\"source\":[\"my.app\"]}"})", Parts::kWest);
  parts->must("events", "PutTargets", R"({"Rule":"r","Targets":[{"Id":"1","Arn":"arn:aws:sqs:us-east-2:123456789012:q"}]})", Parts::kWest);
  parts->must(
      "scheduler", "CreateSchedule",
      R"x({"Name":"s","ScheduleExpression":"at(2026-01-01T00:00:30)","FlexibleTimeWindow":{"Mode":"OFF"},)x"
      R"x("Target":{"Arn":"arn:aws:sqs:us-east-2:123456789012:q","RoleArn":"arn:aws:iam::123456789012:role/r","Input":"scheduled"}})x",
      Parts::kWest);
  parts->hang = true;
  parts->must("events", "PutEvents", R"({"Entries":[{"Source":"my.app","DetailType":"t","Detail":"{}"}]})", Parts::kWest);
  parts->advance(std::chrono::seconds(31));
  parts->restart("us-west");
  parts->hang = false;
  parts->advance(std::chrono::minutes(15));
  const Json got =
      parts->must("sqs", "ReceiveMessage", R"({"QueueUrl":"http://127.0.0.1:4566/123456789012/q","MaxNumberOfMessages":10})", Parts::kEast);
  EXPECT_EQ(got["Messages"].items().size(), 2U) << got.dump();
}

TEST_F(ApartTest, NamesOfNoRegionAreTheSameFromEverywhere) {
  world::World& west = parts->of(Parts::kWest);
  const auto from_west = [&](const std::string& service, const std::string& operation, Json input) {
    std::optional<cloud::Reply> reply;
    west.loop.spawn(west.cloud.call({service, Parts::kWest, operation, std::move(input)}), [&](cloud::Reply r) { reply = std::move(r); });
    parts->advance(Duration(0));
    return reply.value_or(cloud::error("Test", "no answer"));
  };
  ASSERT_TRUE(from_west("s3", "CreateBucket", Json::object({{"Bucket", "one"}})));
  EXPECT_EQ(parts->must("s3", "ListBuckets", "{}", Parts::kEast)["Buckets"].items().size(), 1U);
  const std::string bytes("\xff\x00\x80", 3);
  ASSERT_TRUE(from_west("s3", "PutObject", Json::object({{"Bucket", "one"}, {"Key", "k"}, {"Body", bytes}})));
  const auto object = from_west("s3", "GetObject", Json::object({{"Bucket", "one"}, {"Key", "k"}}));
  ASSERT_TRUE(object);
  EXPECT_EQ((*object)["Body"].string_or(), bytes);
  ASSERT_TRUE(from_west("iam", "CreateRole", Json::object({{"RoleName", "r"}, {"AssumeRolePolicyDocument", "{}"}})));
  EXPECT_EQ(parts->must("iam", "GetRole", R"({"RoleName":"r"})", Parts::kEast)["Role"]["RoleName"].string_or(), "r");
}

}  // namespace
}  // namespace snapward
