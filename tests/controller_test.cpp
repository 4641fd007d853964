// The controller over an account: one world is AWS, as bad as it is told to be, another runs the workflows and reaches it by calls alone.
// On virtual time, on one thread.
#include "controller/controller.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "snapshots/audit.hpp"
#include "support/world.hpp"
#include "world/network.hpp"
#include "world/simulation.hpp"

namespace snapward {
namespace {

constexpr const char* kPrimary = "us-west-2";
constexpr const char* kDr = "us-east-2";

class Pair {
 public:
  explicit Pair(snapshots::Settings settings, std::uint64_t seed = 1, services::ec2::Behaviour behaviour = support::TestWorld::calm())
      : settings_(std::move(settings)), account_(behaviour, seed), entropy_(seed + 1), chance_(seed + 2) {
    start();
  }

  support::TestWorld& account() { return account_; }
  world::World& controller() { return *world_; }
  controller::Controller& beside() { return *controller_; }
  world::NetworkFaults faults = {};
  bool unreachable = false;  // the account, for the controller
  double crash = 0;          // of each turn, that its commit is the controller's last
  bool doomed = false;       // its next commit fails, and it dies
  std::size_t crashes = 0;
  bool reconcile = true;  // from the next start on

  // What a process leaves behind when it dies is its store, and calls that are under way.
  void stop() {
    for (const auto& flight : flights_) flight->loop = nullptr;
    flights_.clear();
    world_.reset();
    controller_.reset();
    store_.revive();
  }
  void start() {
    services::Part part{.name = {},
                        .here = [](std::string_view service, std::string_view) { return controller::is_here(service); },
                        .elsewhere = [this](engine::Loop& loop, engine::Ledger&) { return std::make_unique<Bridge>(*this, loop); }};
    const auto road = [this](engine::Loop& loop, cloud::Cloud& inner) {
      const auto peek = [this](const std::string& region, const std::string& id) {
        return account_.world->cloud.ec2().inspect(region, id);
      };
      return std::make_unique<world::Network>(loop, inner, faults, chance_, peek);
    };
    world_ = std::make_unique<world::World>(
        account_.clock, entropy_, store_, engine::Ledger::Mode::inline_commits, outbox_,
        services::LocalCloudOptions{
            .account = "123456789012", .base_url = "http://127.0.0.1:4567", .ec2 = {}, .enforce_iam = false, .part = std::move(part)},
        road);
    bridge_ = std::make_unique<Bridge>(*this, world_->loop);
    controller_ = std::make_unique<controller::Controller>(world_->loop, world_->ledger, *bridge_, world_->cloud, settings_);
    world_->loop.spawn(deploy());
  }

  void advance(Duration span) {
    const Instant until = account_.clock.now() + span;
    for (;;) {
      while (account_.world->loop.step(account_.clock, now()) || (world_ && controller_turn())) {
      }
      Instant next = until;
      for (const auto* loop : {&account_.world->loop, world_ ? &world_->loop : nullptr})
        if (loop && loop->has_timers()) next = std::min(next, loop->next_timer());
      if (away_until_) next = std::min(next, *away_until_);
      if (next >= until && now() == until) return;
      account_.clock.set(std::max(next, now()));
      if (away_until_ && now() >= *away_until_) {
        away_until_.reset();
        start();
      }
    }
  }
  [[nodiscard]] Instant now() const { return account_.clock.now(); }

  // Asks the controller's own cloud, or through its door.
  cloud::Reply ask(cloud::Cloud& cloud, const std::string& service, const std::string& operation, const std::string& input,
                   const std::string& region = kPrimary) {
    std::optional<cloud::Reply> reply;
    world_->loop.spawn(cloud.call({service, region, operation, support::TestWorld::read(input)}),
                       [&](cloud::Reply r) { reply = std::move(r); });
    advance(Duration(0));
    return reply ? *std::move(reply) : cloud::error("Test", "no answer");
  }
  static std::string machine(const std::string& region) {
    return fmt::format("arn:aws:states:{}:123456789012:stateMachine:SnapshotManagement", region);
  }
  std::vector<Json> executions(const std::string& region, const std::string& status = "") {
    return world_->cloud.executions().list(machine(region), status, 100'000, "").items;
  }
  std::string queue(const std::string& region) {
    return std::string(
        account_.must("sqs", "GetQueueUrl", fmt::format(R"({{"QueueName":"{}"}})", controller::kQueue), region)["QueueUrl"].string_or());
  }
  // What is in a region's queue, taken or not.
  std::int64_t queued(const std::string& region) {
    const Json counts = account_.must(
        "sqs", "GetQueueAttributes",
        fmt::format(R"({{"QueueUrl":"{}","AttributeNames":["ApproximateNumberOfMessages","ApproximateNumberOfMessagesNotVisible"]}})",
                    queue(region)),
        region)["Attributes"];
    return std::stoll(std::string(counts["ApproximateNumberOfMessages"].string_or("0"))) +
           std::stoll(std::string(counts["ApproximateNumberOfMessagesNotVisible"].string_or("0")));
  }
  double figure(const std::string& line) {
    const std::string all = controller_->metrics();
    const auto at = all.find("\n" + line + ' ');
    return at == std::string::npos ? -1 : std::stod(all.substr(at + line.size() + 2));
  }

 private:
  struct Flight {
    engine::Loop* loop;
    Future<cloud::Reply> answer;
  };
  class Bridge final : public cloud::Cloud {
   public:
    Bridge(Pair& pair, engine::Loop& loop) : pair_(pair), loop_(loop) {}
    Task<cloud::Reply> call(cloud::Call call) override {
      if (pair_.unreachable) {
        co_await loop_.sleep(std::chrono::seconds(1));
        co_return cloud::error("EndpointUnreachable", "no connection", 503);
      }
      const auto flight = std::make_shared<Flight>(Flight{&loop_, {}});
      pair_.flights_.insert(flight);
      world::World& account = *pair_.account_.world;
      account.loop.post([&pair = pair_, &account, flight, call = std::move(call)]() mutable {
        account.loop.spawn(account.cloud.call(std::move(call)), [&pair, &account, flight](const cloud::Reply& r) {
          account.ledger.after_commit([&pair, flight, r] {
            pair.flights_.erase(flight);
            if (flight->loop) flight->loop->post([answer = flight->answer, r] { answer.set(r); });
          });
        });
      });
      co_return co_await flight->answer;
    }

   private:
    Pair& pair_;
    engine::Loop& loop_;
  };

  bool controller_turn() {
    const bool last = crash > 0 && chance_.chance(crash);
    using Doom = world::MortalStore::Doom;
    if (last) store_.doom(chance_.chance(0.5) ? Doom::before_commit : Doom::after_commit);
    if (doomed) store_.doom(Doom::before_commit);
    const bool more = world_->loop.step(account_.clock, now());
    if (store_.dead()) {
      ++crashes;
      doomed = false;
      stop();
      // Longer than EC2 takes to show what was asked for (docs/simulation.md).
      away_until_ = now() + faults.settles + Duration(static_cast<std::int64_t>(chance_.below(600'000)));
    }
    store_.doom(Doom::none);
    return more;
  }
  Task<void> deploy() {
    for (;;) {
      const auto deployed = co_await snapshots::deploy(world_->cloud, "123456789012", settings_);
      if (deployed) break;
      co_await world_->loop.sleep(std::chrono::seconds(1));
    }
    if (!reconcile)
      for (const char* region : {kPrimary, kDr}) {
        Json rule = Json::object({{"Name", snapshots::kReconcileRule}});
        const cloud::Reply off = co_await world_->cloud.call({"events", region, "DisableRule", std::move(rule)});
        EXPECT_TRUE(off);
      }
    controller_->start();
  }

  snapshots::Settings settings_;
  support::TestWorld account_;
  SeededEntropy entropy_, chance_;
  support::Outbox outbox_;
  world::MortalStore store_{store::open_memory()};
  std::set<std::shared_ptr<Flight>> flights_;
  std::unique_ptr<Bridge> bridge_;
  std::unique_ptr<controller::Controller> controller_;
  std::unique_ptr<world::World> world_;
  std::optional<Instant> away_until_;
};

struct ControllerTest : testing::Test {
  static snapshots::Settings settings() {
    snapshots::Settings s;
    s.retention = 2;
    s.dr_retention = 1;
    return s;
  }
  std::string event(const std::string& id, const std::string& snapshot, const std::string& volume) {
    return fmt::format(
        R"({{"version":"0","id":"{}","detail-type":"EBS Snapshot Notification","source":"aws.ec2","account":"123456789012",)"
        R"("time":"2026-01-01T00:00:00Z","region":"us-west-2","resources":[],"detail":{{"event":"createSnapshot",)"
        R"("result":"succeeded","cause":"","request-id":"","snapshot_id":"arn:aws:ec2::us-west-2:snapshot/{}",)"
        R"("source":"arn:aws:ec2::us-west-2:volume/{}","startTime":"2026-01-01T00:00:00Z","endTime":"2026-01-01T00:00:00Z"}}}})",
        id, snapshot, volume);
  }
  void send(Pair& pair, const std::string& body, const std::string& region = kPrimary) {
    const Json message = Json::object({{"QueueUrl", pair.queue(region)}, {"MessageBody", body}});
    pair.account().must("sqs", "SendMessage", message, region);
  }
};

TEST_F(ControllerTest, ManagesTheSnapshotsOfAnAccount) {
  Pair pair(settings());
  pair.advance(std::chrono::seconds(5));
  const std::string volume = pair.account().volume();
  std::string last;
  for (int i = 0; i < 3; ++i) {
    last = pair.account().snapshot(volume);
    pair.advance(std::chrono::hours(1));
  }
  EXPECT_EQ(pair.account().completed(kPrimary), 2U);
  EXPECT_EQ(pair.account().completed(kDr), 1U);
  EXPECT_EQ(pair.account().find(kPrimary, last)->tag(snapshots::tags::kCopyState), "completed");
  EXPECT_EQ(pair.executions(kPrimary, "SUCCEEDED").size(), 3U);
  EXPECT_EQ(pair.executions(kDr, "SUCCEEDED").size(), 3U);
  EXPECT_EQ(pair.queued(kPrimary) + pair.queued(kDr), 0);  // what was dealt with has left the queues
  EXPECT_EQ(pair.figure(R"(snapward_feed_events_total{region="us-west-2"})"), 3);
  EXPECT_EQ(pair.figure(R"(snapward_feed_well{region="us-west-2"})"), 1);
  // Nothing of the account is kept here, and no machine there.
  EXPECT_TRUE(pair.controller().cloud.ec2().inspect(kPrimary).empty());
  EXPECT_TRUE(pair.account().must("states", "ListStateMachines", "{}")["stateMachines"].items().empty());
}

TEST_F(ControllerTest, OnlyTheRuleMayFillTheQueue) {
  Pair pair(settings());
  pair.advance(std::chrono::seconds(5));
  const Json rule = pair.account().must("events", "DescribeRule", R"({"Name":"Snapward_Controller"})");
  const Json attributes = pair.account().must(
      "sqs", "GetQueueAttributes", fmt::format(R"({{"QueueUrl":"{}","AttributeNames":["All"]}})", pair.queue(kPrimary)))["Attributes"];
  const auto policy = Json::parse(attributes["Policy"].string_or());
  ASSERT_TRUE(policy);
  const Json& statement = (*policy)["Statement"].items()[0];
  EXPECT_EQ(statement["Principal"]["Service"].string_or(), "events.amazonaws.com");
  EXPECT_EQ(statement["Action"].string_or(), "sqs:SendMessage");
  EXPECT_EQ(statement["Resource"].string_or(), attributes["QueueArn"].string_or());
  EXPECT_EQ(statement["Condition"]["ArnEquals"]["aws:SourceArn"].string_or(), rule["Arn"].string_or());
  EXPECT_EQ(attributes["MessageRetentionPeriod"].string_or(), "1209600");
}

TEST_F(ControllerTest, AnEventThatComesTwiceBeginsOnce) {
  Pair pair(settings());
  pair.advance(std::chrono::seconds(5));
  const std::string volume = pair.account().volume();
  services::ec2::Behaviour& behaviour = pair.account().world->cloud.ec2().behaviour();
  behaviour.drop_event = 1;
  const std::string snapshot = pair.account().snapshot(volume);
  pair.advance(std::chrono::minutes(5));
  behaviour.drop_event = 0;
  for (int i = 0; i < 3; ++i) send(pair, event("e-1", snapshot, volume));
  pair.advance(std::chrono::minutes(30));
  send(pair, event("e-1", snapshot, volume));
  pair.stop();
  pair.start();
  send(pair, event("e-1", snapshot, volume));
  pair.advance(std::chrono::minutes(30));
  EXPECT_EQ(pair.executions(kPrimary).size(), 1U);
  EXPECT_EQ(pair.account().snapshots(kDr).size(), 1U);
  EXPECT_EQ(pair.queued(kPrimary), 0);
}

TEST_F(ControllerTest, WhatIsNoEventIsDroppedAndStopsNothing) {
  Pair pair(settings());
  pair.advance(std::chrono::seconds(5));
  for (const char* body : {"not json", "[]", "{}", R"({"id":"","source":"aws.ec2"})", R"({"id":7,"source":"x"})"}) send(pair, body);
  send(pair, R"({"id":"foreign","source":"aws.s3","detail-type":"x","detail":{}})");  // an event, and nobody's here
  pair.account().snapshot(pair.account().volume());
  pair.advance(std::chrono::minutes(30));
  EXPECT_EQ(pair.figure(R"(snapward_feed_dropped_total{region="us-west-2"})"), 5);
  EXPECT_EQ(pair.executions(kPrimary, "SUCCEEDED").size(), 1U);
  EXPECT_EQ(pair.queued(kPrimary), 0);
}

// A message leaves the queue when what it began is saved, not before.
TEST_F(ControllerTest, ACrashBeforeTheCommitBringsTheEventAgain) {
  Pair pair(settings());
  pair.reconcile = false;
  pair.stop();
  pair.start();
  pair.advance(std::chrono::seconds(5));
  auto& account = pair.account().world->cloud;
  std::size_t taken = 0;
  account.set_witness([&](const cloud::Call& call, const cloud::Reply& reply) {
    if (call.operation != "ReceiveMessage" || !reply || (*reply)["Messages"].is_null() || taken++ > 0) return;
    pair.doomed = true;  // the turn that hears of it is the last, and not saved
  });
  pair.advance(std::chrono::minutes(1));  // past the poll that was under way
  pair.account().snapshot(pair.account().volume());
  pair.advance(std::chrono::hours(2));
  account.set_witness({});
  EXPECT_EQ(pair.crashes, 1U);
  EXPECT_GE(taken, 2U);
  EXPECT_EQ(pair.executions(kPrimary, "SUCCEEDED").size(), 1U);
  EXPECT_EQ(pair.account().completed(kDr), 1U);
}

TEST_F(ControllerTest, WhatHappenedWhileItWasAwayIsDone) {
  Pair pair(settings());
  pair.advance(std::chrono::seconds(5));
  pair.stop();
  std::vector<std::string> volumes;
  for (int i = 0; i < 4; ++i) volumes.push_back(pair.account().volume());
  for (int day = 0; day < 10; ++day) {
    for (const auto& volume : volumes) pair.account().snapshot(volume);
    pair.advance(std::chrono::hours(24));
  }
  EXPECT_EQ(pair.queued(kPrimary), 40);
  pair.start();
  pair.advance(std::chrono::hours(12));
  EXPECT_EQ(pair.account().completed(kPrimary), 8U);
  EXPECT_EQ(pair.account().completed(kDr), 4U);
  EXPECT_GE(pair.executions(kPrimary, "SUCCEEDED").size(), 40U);  // the reconciler looked too
  // What went by the retention before its copy's turn is no error.
  EXPECT_TRUE(pair.executions(kPrimary, "FAILED").empty());
  EXPECT_TRUE(pair.executions(kDr, "FAILED").empty());
  EXPECT_EQ(pair.queued(kPrimary) + pair.queued(kDr), 0);
}

TEST_F(ControllerTest, WaitsForAnAccountThatCannotBeReached) {
  Pair pair(settings());
  pair.advance(std::chrono::seconds(5));
  pair.unreachable = true;
  pair.account().snapshot(pair.account().volume());
  pair.advance(std::chrono::hours(3));
  EXPECT_EQ(pair.figure(R"(snapward_feed_well{region="us-west-2"})"), 0);
  const double failures = pair.figure(R"(snapward_feed_failures_total{region="us-west-2"})");
  EXPECT_GT(failures, 150);  // a minute apart
  EXPECT_LT(failures, 200);
  pair.unreachable = false;
  pair.advance(std::chrono::minutes(30));
  EXPECT_EQ(pair.figure(R"(snapward_feed_well{region="us-west-2"})"), 1);
  EXPECT_EQ(pair.executions(kPrimary, "SUCCEEDED").size(), 1U);
}

TEST_F(ControllerTest, AQueueThatIsGoneIsMadeAgain) {
  Pair pair(settings());
  pair.advance(std::chrono::seconds(5));
  pair.account().must("sqs", "DeleteQueue", fmt::format(R"({{"QueueUrl":"{}"}})", pair.queue(kPrimary)));
  pair.advance(std::chrono::minutes(5));
  pair.account().snapshot(pair.account().volume());
  pair.advance(std::chrono::minutes(30));
  EXPECT_EQ(pair.executions(kPrimary, "SUCCEEDED").size(), 1U);
}

TEST_F(ControllerTest, EventsThatNeverCameAreMadeGood) {
  Pair pair(settings());
  pair.advance(std::chrono::seconds(5));
  pair.account().world->cloud.ec2().behaviour().drop_event = 1;
  const std::string snapshot = pair.account().snapshot(pair.account().volume());
  pair.advance(std::chrono::hours(4));
  EXPECT_EQ(pair.account().find(kPrimary, snapshot)->tag(snapshots::tags::kCopyState), "completed");
  ASSERT_EQ(pair.account().snapshots(kDr).size(), 1U);
  EXPECT_FALSE(pair.account().snapshots(kDr)[0].tag(snapshots::tags::kVolume).empty());
}

// Somebody's snapshots from before are somebody's.
TEST_F(ControllerTest, WhatWasThereBeforeIsLeftAlone) {
  for (const bool adopt : {false, true}) {
    snapshots::Settings s = settings();
    if (!adopt) s.since = "2026-01-10T00:00:00Z";
    Pair pair(s);
    pair.advance(std::chrono::seconds(5));
    pair.stop();
    const std::string volume = pair.account().volume();
    std::set<std::string> before;
    for (int day = 0; day < 5; ++day) {
      before.insert(pair.account().snapshot(volume));
      pair.advance(std::chrono::hours(24));
    }
    pair.account().must("sqs", "PurgeQueue", fmt::format(R"({{"QueueUrl":"{}"}})", pair.queue(kPrimary)));  // no event of them is left
    pair.advance(std::chrono::hours(24 * 5));
    pair.start();
    pair.advance(std::chrono::hours(5));
    const std::string fresh = pair.account().snapshot(volume);
    pair.advance(std::chrono::hours(5));
    std::set<std::string> untouched;
    for (const auto& snapshot : pair.account().snapshots(kPrimary))
      if (before.contains(snapshot.id) && snapshot.tags.empty()) untouched.insert(snapshot.id);
    EXPECT_EQ(untouched, adopt ? std::set<std::string>{} : before);
    EXPECT_EQ(pair.account().find(kPrimary, fresh)->tag(snapshots::tags::kCopyState), "completed");
    EXPECT_EQ(pair.account().completed(kPrimary), adopt ? 2U : 6U);
  }
}

TEST_F(ControllerTest, ItsDoorShowsAndStartsAndChangesNothing) {
  Pair pair(settings());
  pair.advance(std::chrono::seconds(5));
  cloud::Cloud& door = pair.beside().door();
  const auto code = [&](const char* service, const char* operation, const std::string& input) {
    const auto reply = pair.ask(door, service, operation, input);
    return reply ? "" : reply.error().code;
  };
  const std::string machine = Pair::machine(kPrimary);
  EXPECT_EQ(code("states", "ListStateMachines", "{}"), "");
  EXPECT_EQ(code("states", "DescribeStateMachine", fmt::format(R"({{"stateMachineArn":"{}"}})", machine)), "");
  EXPECT_EQ(code("states", "StartExecution", fmt::format(R"({{"stateMachineArn":"{}","name":"by-hand"}})", machine)), "");
  EXPECT_EQ(code("events", "ListRules", "{}"), "");
  EXPECT_EQ(code("sts", "GetCallerIdentity", "{}"), "");
  EXPECT_EQ(code("states", "UpdateStateMachine", fmt::format(R"({{"stateMachineArn":"{}","definition":"{{}}"}})", machine)),
            "AccessDeniedException");
  EXPECT_EQ(code("states", "GetActivityTask", R"({"activityArn":"a"})"), "AccessDeniedException");
  EXPECT_EQ(code("states", "TestState", "{}"), "AccessDeniedException");
  EXPECT_EQ(code("events", "PutEvents", "{}"), "AccessDeniedException");
  EXPECT_EQ(code("events", services::events::kReceiveEvent, "{}"), "AccessDeniedException");
  EXPECT_EQ(code("lambda", "Invoke", R"({"FunctionName":"snapward-prune-snapshots"})"), "AccessDeniedException");
  EXPECT_EQ(code("ec2", "DescribeSnapshots", "{}"), "UnauthorizedOperation");
  EXPECT_EQ(code("ec2", "DeleteSnapshot", R"({"SnapshotId":"snap-1"})"), "UnauthorizedOperation");
  EXPECT_EQ(code("sns", "Publish", "{}"), "AuthorizationError");
}

TEST_F(ControllerTest, TakesAwayWhatItMade) {
  Pair pair(settings());
  pair.advance(std::chrono::seconds(5));
  pair.stop();
  for (int i = 0; i < 2; ++i) {  // the second time there is nothing
    std::optional<std::expected<void, cloud::Error>> removed;
    auto& account = *pair.account().world;
    account.loop.spawn(controller::remove(account.cloud, kPrimary), [&](auto r) { removed = std::move(r); });
    account.loop.settle();
    ASSERT_TRUE(removed);
    EXPECT_TRUE(*removed) << removed->error().message;
  }
  EXPECT_TRUE(pair.account().must("events", "ListRules", "{}")["Rules"].items().empty());
  EXPECT_EQ(pair.account().refusal("sqs", "GetQueueUrl", R"({"QueueName":"snapward-events"})").substr(0, 41),
            "AWS.SimpleQueueService.NonExistentQueue: ");
  EXPECT_EQ(pair.account().must("sqs", "ListQueues", "{}", kDr)["QueueUrls"].items().size(), 1U);
}

// Weeks in which all goes wrong, and the invariants of the workflows watched at the account. Without the reconciler, nothing may be lost
// that came to a queue.
class ControllerInTrouble : public testing::TestWithParam<std::uint64_t> {};
TEST_P(ControllerInTrouble, HoldsWhatTheWorkflowsHold) {
  const std::uint64_t seed = GetParam();
  const world::Scenario drawn = world::Scenario::drawn(seed);
  snapshots::Settings settings = drawn.settings;
  settings.tag = "none";
  settings.dr_region = kDr;
  Pair pair(settings, seed);
  pair.advance(std::chrono::seconds(5));
  auto& account = *pair.account().world;
  snapshots::Audit audit(
      settings, [&](const std::string& region) { return account.cloud.ec2().inspect(region); },
      [](const cloud::Snapshot& s) { return s.description.find("**") == std::string::npos; });
  account.cloud.set_witness([&](const cloud::Call& c, const cloud::Reply& r) { audit.witness(c, r); });
  std::vector<std::string> volumes;
  for (int i = 0; i < 3; ++i) volumes.push_back(pair.account().volume());
  pair.reconcile = drawn.reconcile;
  pair.stop();
  pair.start();
  account.cloud.ec2().behaviour() = drawn.cloud;
  pair.faults = drawn.network;
  pair.crash = drawn.crash;
  for (int night = 0; night < 6; ++night) {
    for (const auto& volume : volumes) {
      const std::string input = fmt::format(R"({{"VolumeId":"{}"}})", volume);
      (void)pair.account().call("ec2", "CreateSnapshot", input);  // refused or not, that is that
    }
    pair.advance(std::chrono::hours(24));
  }
  account.cloud.ec2().behaviour() = {};
  pair.faults = {};
  pair.crash = 0;
  pair.advance(std::chrono::hours(30));
  std::vector<std::string> failed;
  for (const char* region : {kPrimary, kDr}) {
    EXPECT_TRUE(pair.executions(region, "RUNNING").empty());
    for (const Json& e : pair.executions(region, "FAILED"))
      failed.push_back(fmt::format("{} {} {}", e["error"].string_or(), e["cause"].string_or(), e["input"].string_or()));
  }
  account.cloud.set_witness({});
  EXPECT_GT(audit.copies(), 0U);
  for (const auto& verdict : audit.verdicts(failed))
    EXPECT_TRUE(verdict.breaches.empty()) << "seed " << seed << ", " << verdict.name << ": " << verdict.breaches.front();
  EXPECT_EQ(pair.queued(kPrimary) + pair.queued(kDr), 0);
}
INSTANTIATE_TEST_SUITE_P(Seeds, ControllerInTrouble, testing::Range<std::uint64_t>(1, 13));

}  // namespace
}  // namespace snapward
