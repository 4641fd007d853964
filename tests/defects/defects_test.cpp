// The defects of the article's published code, one test each: the same story is told to the original design, which must show the
// defect (else the test proves nothing), and to ours, which must not.
#include <gtest/gtest.h>

#include "defects/original.hpp"
#include "snapshots/settings.hpp"

namespace snapward::defects {
namespace {

using support::TestWorld;
using namespace std::chrono_literals;

// One world with either design deployed, and what was told by SNS.
struct Story {
  explicit Story(bool original, OriginalSettings s = {}, services::ec2::Behaviour behaviour = TestWorld::calm()) : w(behaviour) {
    for (const char* region : {TestWorld::kPrimary, TestWorld::kDr}) w.must("sqs", "CreateQueue", R"({"QueueName":"told"})", region);
    if (original) {
      machines = deploy_original(w, s);
    } else {
      snapshots::Settings settings;
      settings.tag = s.tag_key;
      settings.retention = s.retention;
      settings.dr_retention = s.dr_retention;
      const auto d = w.deploy(settings);
      machines = {.primary = d.primary.machine_arn, .dr = d.dr.machine_arn, .topic = d.primary.topic_arn, .dr_topic = d.dr.topic_arn};
    }
    for (const auto& [topic, region] : {std::pair{machines.topic, TestWorld::kPrimary}, std::pair{machines.dr_topic, TestWorld::kDr}})
      w.must("sns", "Subscribe",
             Json::object({{"TopicArn", topic},
                           {"Protocol", "sqs"},
                           {"Endpoint", std::string("arn:aws:sqs:") + region + ":123456789012:told"},
                           {"Attributes", Json::object({{"RawMessageDelivery", "true"}})}}),
             region);
  }
  std::vector<std::string> told(const std::string& region) {
    std::vector<std::string> out;
    for (;;) {
      const Json got = w.must("sqs", "ReceiveMessage", R"({"QueueUrl":"http://x/123456789012/told","MaxNumberOfMessages":10})", region);
      if (got["Messages"].items().empty()) return out;
      for (const Json& m : got["Messages"].items()) out.emplace_back(m["Body"].string_or());
    }
  }
  // A snapshot, given time to be dealt with.
  std::string take(const std::string& volume, Duration time = std::chrono::minutes(10)) {
    const std::string id = w.snapshot(volume);
    w.advance(time);
    return id;
  }
  std::vector<std::string> good_copies() {
    std::vector<std::string> out;
    for (const auto& s : w.snapshots(TestWorld::kDr))
      if (s.completed()) out.push_back(s.description.substr(0, s.description.find("**")));
    return out;
  }
  services::ec2::Behaviour& ec2() { return w.world->cloud.ec2().behaviour(); }
  TestWorld w;
  Machines machines;
};

TEST(Defects, AFailedCopyPushesOutTheGoodOne) {
  for (const bool original : {true, false}) {
    Story s(original);
    const std::string v = s.w.volume(), good = s.take(v);
    ASSERT_EQ(s.good_copies(), std::vector<std::string>{good});
    s.ec2().fail_copy = 1;
    s.take(v);
    EXPECT_EQ(s.good_copies().size(), original ? 0U : 1U) << (original ? "original" : "ours");
  }
}

TEST(Defects, AFailedSnapshotPushesOutAGoodOne) {
  for (const bool original : {true, false}) {
    Story s(original, {.retention = 1});
    const std::string v = s.w.volume(), good = s.take(v);
    s.ec2().fail_snapshot = 1;
    s.take(v);
    EXPECT_EQ(s.w.find(TestWorld::kPrimary, good).has_value(), !original) << (original ? "original" : "ours");
    if (!original) EXPECT_EQ(s.told(TestWorld::kPrimary).size(), 1U);  // and it is told
  }
}

TEST(Defects, TheCopyLimitDropsCopies) {
  for (const bool original : {true, false}) {
    Story s(original);
    s.ec2().copy_limit = 2;
    s.ec2().copy_overhead = 5min;
    for (int i = 0; i < 8; ++i) s.w.snapshot(s.w.volume());
    s.w.advance(6h);
    if (original)
      EXPECT_EQ(s.good_copies().size(), 2U);
    else
      EXPECT_EQ(s.good_copies().size(), 8U);
  }
}

TEST(Defects, AcceptedIsTakenForCopied) {
  for (const bool original : {true, false}) {
    Story s(original);
    s.ec2().fail_copy = 1;
    s.take(s.w.volume(), 50min);  // before the reconciler looks
    const auto runs = s.w.executions(s.machines.primary);
    ASSERT_EQ(runs.size(), 1U);
    EXPECT_EQ(runs[0]["status"].string_or(), original ? "SUCCEEDED" : "FAILED");
    EXPECT_EQ(s.told(TestWorld::kPrimary).empty(), original);
    if (!original) EXPECT_EQ(runs[0]["error"].string_or(), "Snapward.CopyFailed");
  }
}

TEST(Defects, ExcludedVolumesAreTaggedAllTheSame) {
  for (const bool original : {true, false}) {
    Story s(original, {.tag_key = "Backup"});
    const std::string excluded = s.take(s.w.volume()), managed = s.take(s.w.volume("Backup"));
    EXPECT_EQ(s.w.find(TestWorld::kPrimary, excluded)->tag("AutomatedSnapName").empty(), !original);
    EXPECT_FALSE(s.w.find(TestWorld::kPrimary, managed)->tag("AutomatedSnapName").empty());
  }
}

TEST(Defects, ManySnapshotsOverflowTheState) {
  for (const bool original : {true, false}) {
    Story s(original, {.retention = 900, .dr_retention = 900});
    const std::string v = s.w.volume();
    for (const char* region : {TestWorld::kPrimary, TestWorld::kDr})
      s.w.must("events", "DisableRule", original ? R"({"Name":"original"})" : R"({"Name":"EBS_Snapshot_Mgmt"})", region);
    const std::string specification = R"(,"Description":")" + std::string(200, 'd') +
                                      R"(","TagSpecifications":[{"ResourceType":"snapshot","Tags":[{"Key":"OriginalVolumeId","Value":")" +
                                      v +
                                      R"("},{"Key":"AutomatedSnapName","Value":"n"},{"Key":"snapward:copy-state","Value":"completed"}]}])";
    for (int i = 0; i < 450; ++i) {
      s.w.must("ec2", "CreateSnapshot", R"({"VolumeId":")" + v + "\"" + specification + "}");
      s.w.advance(5s);
    }
    for (const char* region : {TestWorld::kPrimary, TestWorld::kDr})
      s.w.must("events", "EnableRule", original ? R"({"Name":"original"})" : R"({"Name":"EBS_Snapshot_Mgmt"})", region);
    s.take(v);
    const auto runs = s.w.executions(s.machines.primary);
    ASSERT_EQ(runs.size(), 1U);
    if (original) {
      EXPECT_FALSE(s.told(TestWorld::kPrimary).empty());  // States.DataLimitExceeded, for nothing but the number of snapshots
    } else {
      EXPECT_EQ(runs[0]["status"].string_or(), "SUCCEEDED");
    }
  }
}

TEST(Defects, OneUndeletableSnapshotHidesWhatBecameOfTheOthers) {
  for (const bool original : {true, false}) {
    Story s(original, {.retention = 1});
    const std::string v = s.w.volume();
    s.ec2().copy_overhead = 1s;
    for (const char* region : {TestWorld::kPrimary})
      s.w.must("events", "DisableRule", original ? R"({"Name":"original"})" : R"({"Name":"EBS_Snapshot_Mgmt"})", region);
    std::vector<std::string> old;
    for (int i = 0; i < 3; ++i) {
      old.push_back(std::string(
          s.w.must(
                 "ec2", "CreateSnapshot",
                 R"({"VolumeId":")" + v +
                     R"(","TagSpecifications":[{"ResourceType":"snapshot","Tags":[{"Key":"OriginalVolumeId","Value":")" + v +
                     R"("},{"Key":"AutomatedSnapName","Value":"n"},{"Key":"snapward:copy-state","Value":"completed"},{"Key":"snapward:copy","Value":"us-east-2/snap-1"}]}]})")
              ["SnapshotId"]
                  .string_or()));
      s.w.advance(1min);
    }
    s.w.must("ec2", "RegisterImage",
             R"({"Name":"a","BlockDeviceMappings":[{"DeviceName":"/dev/xvda","Ebs":{"SnapshotId":")" + old[1] + R"("}}]})");
    s.w.must("events", "EnableRule", original ? R"({"Name":"original"})" : R"({"Name":"EBS_Snapshot_Mgmt"})");
    s.take(v);
    const auto runs = s.w.executions(s.machines.primary);
    ASSERT_EQ(runs.size(), 1U);
    const auto output = Json::parse(runs[0]["output"].string_or());
    const bool named = output && output->dump().find("\"deleted\":[\"" + old[2] + "\",\"" + old[0] + "\"]") != std::string::npos;
    EXPECT_EQ(named, !original) << runs[0].dump();
    EXPECT_FALSE(s.w.find(TestWorld::kPrimary, old[0]));
    EXPECT_TRUE(s.w.find(TestWorld::kPrimary, old[1]));
    const auto told = s.told(TestWorld::kPrimary);
    ASSERT_EQ(told.size(), 1U);
    EXPECT_NE(told[0].find(old[1]), std::string::npos);
  }
}

TEST(Defects, ASnapshotIsDeletedWhileItIsCopied) {
  for (const bool original : {true, false}) {
    Story s(original, {.retention = 1});
    s.ec2().copy_overhead = 2h;
    const std::string v = s.w.volume(), first = s.take(v, 5min);
    const auto copy_state = [&] {
      for (const auto& c : s.w.snapshots(TestWorld::kDr))
        if (c.description.starts_with(first)) return c.state;
      return std::string("none");
    };
    s.take(v, 10min);
    ASSERT_EQ(copy_state(), "pending");
    EXPECT_EQ(s.w.find(TestWorld::kPrimary, first).has_value(), !original);
    s.w.advance(12h);
    if (!original) EXPECT_FALSE(s.w.find(TestWorld::kPrimary, first));  // once its copy is confirmed it may go
  }
}

TEST(Defects, ARepeatedEventMakesASecondCopy) {
  for (const bool original : {true, false}) {
    Story s(original, {.dr_retention = 10});
    const std::string v = s.w.volume(), id = s.take(v);
    const Json first = *Json::parse(s.w.executions(s.machines.primary)[0]["input"].string_or());
    for (int i = 0; i < 3; ++i) {
      s.w.must("states", "StartExecution", Json::object({{"stateMachineArn", s.machines.primary}, {"input", first.dump()}}));
      if (i == 1) s.w.advance(10min);  // two at once, one late
    }
    s.w.advance(1h);
    EXPECT_EQ(s.good_copies().size(), original ? 4U : 1U);
  }
}

TEST(Defects, TheCopyStateTimesOutBeforeItsFunction) {
  for (const bool original : {true, false}) {
    Story s(original);
    // The function takes 12 seconds: longer than the original's state waits, shorter than its own limit of 15.
    auto& lambda = s.w.world->cloud.lambda();
    auto& world = *s.w.world;
    if (original) {
      lambda.add("original-copy",
                 [&world](Json e, services::lambda::InvocationContext) -> Task<std::expected<Json, services::lambda::FunctionError>> {
                   Json request = Json::object({{"SourceRegion", "us-west-2"},
                                                {"SourceSnapshotId", std::string(e["detail"]["snapshot_id"].string_or().substr(32))},
                                                {"Description", "snap-1**vol-1**us-west-2"}});
                   co_await world.cloud.call({"ec2", "us-east-2", "CopySnapshot", std::move(request)});
                   co_await world.loop.sleep(12s);
                   co_return Json("Success");
                 });
    } else {
      lambda.add("snapward-copy-snapshot",
                 [&world, copy = world.tasks.functions().at("snapward-copy-snapshot")](
                     Json e, services::lambda::InvocationContext) -> Task<std::expected<Json, services::lambda::FunctionError>> {
                   auto done = co_await copy(std::move(e));
                   co_await world.loop.sleep(12s);
                   if (!done) co_return std::unexpected(services::lambda::FunctionError{done.error().type, done.error().message});
                   co_return *done;
                 });
    }
    s.take(s.w.volume(), 30min);
    const Json history =
        s.w.must("states", "GetExecutionHistory",
                 Json::object({{"executionArn", s.w.executions(s.machines.primary)[0]["executionArn"]}, {"maxResults", 1000}}));
    EXPECT_EQ(history.dump().find("LambdaFunctionTimedOut") != std::string::npos, original);
    EXPECT_EQ(s.w.snapshots(TestWorld::kDr).size(), 1U);  // made all the same, while the original says it failed
  }
}

TEST(Defects, TheRetentionStandsInTwoPlaces) {
  {
    Story s(true, {.retention = 1, .retention_in_function = 5});
    const std::string v = s.w.volume();
    s.take(v);
    s.take(v);
    const auto told = s.told(TestWorld::kPrimary);
    ASSERT_EQ(told.size(), 1U);
    EXPECT_NE(told[0].find("You shouldn't be here!"), std::string::npos);
  }
  // Ours has one: changing it in the machine is all there is to change.
  Story s(false, {.retention = 5});
  const std::string v = s.w.volume();
  for (int i = 0; i < 3; ++i) s.take(v);
  EXPECT_EQ(s.w.completed(TestWorld::kPrimary), 3U);
  snapshots::Settings one;
  one.retention = 1;
  s.w.deploy(one);
  s.take(v);
  EXPECT_EQ(s.w.completed(TestWorld::kPrimary), 1U);
  EXPECT_TRUE(s.told(TestWorld::kPrimary).empty());
}

TEST(Defects, NotificationsCallASnapshotAVolume) {
  for (const bool original : {true, false}) {
    Story s(original);
    const std::string v = s.w.volume();
    const std::string id = s.w.snapshot(v);
    if (original) {  // its DR side fails when the copy has been taken away meanwhile
      s.w.advance(4s);
      s.w.world->cloud.lambda().add(
          "original-tag-copy", [](Json, services::lambda::InvocationContext) -> Task<std::expected<Json, services::lambda::FunctionError>> {
            co_return std::unexpected(services::lambda::FunctionError{"Error", "x"});
          });
    } else {
      s.ec2().fail_copy = 1;
    }
    s.w.advance(20min);
    const auto told = s.told(TestWorld::kDr);
    ASSERT_FALSE(told.empty());
    EXPECT_EQ(told[0].find("volumeid: arn:aws:ec2::us-west-2:snapshot/" + id) != std::string::npos, original) << told[0];
    if (!original) {
      EXPECT_NE(told[0].find("Copied of: " + id + " in us-west-2"), std::string::npos) << told[0];
      EXPECT_NE(told[0].find(v), std::string::npos) << told[0];
    }
  }
}

TEST(Defects, SnapshotsOfOtherToolsAreTakenOver) {
  for (const bool original : {true, false}) {
    Story s(original);
    const Json run = s.w.must("ec2", "RunInstances", R"({"MinCount":1,"MaxCount":1})");
    s.w.must("ec2", "CreateImage", Json::object({{"InstanceId", run["Instances"].items()[0]["InstanceId"]}, {"Name", "golden"}}));
    s.w.advance(10min);
    const auto all = s.w.snapshots(TestWorld::kPrimary);
    ASSERT_EQ(all.size(), 1U);
    EXPECT_EQ(all[0].tags.empty(), !original);
    EXPECT_EQ(s.good_copies().empty(), !original);
  }
}

}  // namespace
}  // namespace snapward::defects
