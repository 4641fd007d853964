#include <gtest/gtest.h>

#include "services/ec2/blocks.hpp"
#include "support/world.hpp"

namespace snapward::services::ec2 {
namespace {

using support::TestWorld;
using namespace std::chrono_literals;

TEST(BlockMap, OverwritesSplitAndJoin) {
  BlockMap map;
  map.write(0, 100, 1);
  map.write(10, 20, 2);
  EXPECT_EQ(map.blocks(), 100);
  BlockMap older;
  older.write(0, 100, 1);
  EXPECT_EQ(map.changed_since(older), 20);
  EXPECT_EQ(older.changed_since(map), 20);
  map.write(5, 200, 3);
  EXPECT_EQ(map.blocks(), 205);
  EXPECT_EQ(map.changed_since(older), 200);
  EXPECT_EQ(BlockMap::from_json(map.to_json()).changed_since(map), 0);
}

// The worked example of the EC2 User Guide: 10 GiB, then 4 GiB changed, then 2 GiB added.
TEST(BlockMap, TheGuidesExampleOfTenFourAndTwo) {
  BlockMap a, b, c;
  a.write(0, 10 * kBlocksPerGib, 1);
  b = a;
  b.write(0, 4 * kBlocksPerGib, 2);
  c = b;
  c.write(10 * kBlocksPerGib, 2 * kBlocksPerGib, 3);
  EXPECT_EQ(a.blocks(), 10 * kBlocksPerGib);
  EXPECT_EQ(b.changed_since(a), 4 * kBlocksPerGib);
  EXPECT_EQ(c.changed_since(b), 2 * kBlocksPerGib);
  // Deleting the first: the second pays for the 6 GiB they shared.
  EXPECT_EQ(b.changed_since(BlockMap{}), 10 * kBlocksPerGib);
}

struct Ec2Test : testing::Test {
  TestWorld w;
  std::string state(const std::string& id, const std::string& region = TestWorld::kPrimary) {
    const auto s = w.find(region, id);
    return s ? s->state : "gone";
  }
  std::string copy(const std::string& source, const std::string& more = "") {
    return std::string(w.must("ec2", "CopySnapshot", R"x({"SourceRegion":"us-west-2","SourceSnapshotId":")x" + source + "\"" + more + "}",
                              TestWorld::kDr)["SnapshotId"]
                           .string_or());
  }
};

TEST_F(Ec2Test, ASnapshotIsPendingThenCompleted) {
  const std::string v = w.volume();
  const std::string s = w.snapshot(v);
  EXPECT_EQ(state(s), "pending");
  w.advance(1s);
  const Json pending = w.must("ec2", "DescribeSnapshots", R"x({"SnapshotIds":[")x" + s + "\"]}")["Snapshots"].items()[0];
  EXPECT_NE(pending["Progress"].string_or(), "0%");
  EXPECT_EQ(pending.find("CompletionTime"), nullptr);
  w.advance(1min);
  const Json done = w.must("ec2", "DescribeSnapshots", R"x({"SnapshotIds":[")x" + s + "\"]}")["Snapshots"].items()[0];
  EXPECT_EQ(done["State"].string_or(), "completed");
  EXPECT_EQ(done["Progress"].string_or(), "100%");
  EXPECT_EQ(done["FullSnapshotSizeInBytes"].as_integer(), 6LL * 1024 * 1024 * 1024);  // six tenths of 10 GiB are used
}

TEST_F(Ec2Test, TheSecondSnapshotMovesOnlyWhatChanged) {
  const std::string v = w.volume("", 100);
  const std::string first = w.snapshot(v);
  w.advance(24h);
  const std::string second = w.snapshot(v);
  w.advance(1h);
  const auto owned = w.world->cloud.ec2().owned_bytes(TestWorld::kPrimary);
  EXPECT_EQ(owned.at(first), 60LL << 30);
  EXPECT_LE(owned.at(second), 3LL << 30);
  EXPECT_GE(owned.at(second), 1LL << 30);
  w.must("ec2", "DeleteSnapshot", R"x({"SnapshotId":")x" + first + "\"}");
  EXPECT_GE(w.world->cloud.ec2().owned_bytes(TestWorld::kPrimary).at(second), 60LL << 30);
}

TEST_F(Ec2Test, ErrorsAreAwsErrors) {
  const std::string v = w.volume();
  EXPECT_EQ(w.refusal("ec2", "DescribeSnapshots", R"x({"SnapshotIds":["snap-00000000000000001"]})x"),
            "InvalidSnapshot.NotFound: The snapshot 'snap-00000000000000001' does not exist.");
  EXPECT_EQ(w.refusal("ec2", "DeleteSnapshot", R"x({"SnapshotId":"nonsense"})x"),
            "InvalidSnapshotID.Malformed: Invalid id: \"nonsense\" (expecting \"snap-...\")");
  EXPECT_EQ(w.refusal("ec2", "CreateSnapshot", R"x({"VolumeId":"vol-00000000000000001"})x"),
            "InvalidVolume.NotFound: The volume 'vol-00000000000000001' does not exist.");
  EXPECT_EQ(w.refusal("ec2", "CreateSnapshot", R"x({"VolumeId":")x" + v + R"x("})x", TestWorld::kDr),
            "InvalidVolume.NotFound: The volume '" + v + "' does not exist.");
  EXPECT_EQ(w.refusal("ec2", "CreateVolume", R"x({"AvailabilityZone":"us-east-2a","Size":1})x"),
            "InvalidParameterValue: Invalid availability zone: [us-east-2a]");
  EXPECT_EQ(w.refusal("ec2", "CreateVolume", R"x({"AvailabilityZone":"us-west-2a","Size":10,"VolumeType":"io1"})x"),
            "MissingParameter: The parameter iops must be specified for io1 volumes.");
  EXPECT_EQ(w.refusal("ec2", "CreateVolume", R"x({"AvailabilityZone":"us-west-2a","Size":10,"VolumeType":"gp2","Iops":100})x"),
            "InvalidParameterCombination: The parameter iops is not supported for gp2 volumes.");
  EXPECT_EQ(w.refusal("ec2", "CreateVolume", R"x({"AvailabilityZone":"us-west-2a"})x"),
            "MissingParameter: The request must contain the parameter size/snapshot");
  EXPECT_EQ(w.refusal("ec2", "CreateTags", R"x({"Resources":[")x" + v + R"x("],"Tags":[{"Key":"aws:x","Value":"1"}]})x"),
            "InvalidParameterValue: Tag keys starting with 'aws:' are reserved for internal use: 'aws:x'");
  EXPECT_EQ(w.refusal("ec2", "DescribeSnapshots", R"x({"Filters":[{"Name":"colour","Values":["red"]}]})x"),
            "accepted");  // nothing to filter yet
  w.snapshot(v);
  EXPECT_EQ(w.refusal("ec2", "DescribeSnapshots", R"x({"Filters":[{"Name":"colour","Values":["red"]}]})x"),
            "InvalidParameterValue: The filter 'colour' is invalid");
  EXPECT_EQ(w.refusal("ec2", "DescribeSnapshots", R"x({"NextToken":"???"})x"), "InvalidNextToken: The token is invalid.");
  EXPECT_EQ(w.refusal("ec2", "DescribeSnapshots", R"x({"MaxResults":1})x"),
            "InvalidParameterValue: Value ( 1 ) for parameter maxResults is invalid. Expecting a value greater than or equal to 5.");
  const auto dry = w.call("ec2", "CreateSnapshot", R"x({"VolumeId":")x" + v + R"x(","DryRun":true})x");
  ASSERT_FALSE(dry);
  EXPECT_EQ(dry.error().code, "DryRunOperation");
  EXPECT_EQ(dry.error().status, 412);
  const auto unbuilt = w.call("ec2", "CreateVpc", "{}");
  ASSERT_FALSE(unbuilt);
  EXPECT_EQ(unbuilt.error().status, 501);
}

TEST_F(Ec2Test, FiltersPagesAndWildcards) {
  const std::string v = w.volume(), other = w.volume();
  for (int i = 0; i < 5; ++i) {
    w.must("ec2", "CreateSnapshot",
           R"x({"VolumeId":")x" + v + R"x(","Description":"nightly )x" + std::to_string(i) +
               R"x(","TagSpecifications":[{"ResourceType":"snapshot","Tags":[{"Key":"n","Value":")x" + std::to_string(i) + R"x("}]}]})x");
    w.advance(1min);
  }
  w.snapshot(other);
  w.advance(1min);
  const auto count = [&](const std::string& filters) {
    return w.must("ec2", "DescribeSnapshots", R"x({"OwnerIds":["self"],"Filters":)x" + filters + "}")["Snapshots"].items().size();
  };
  EXPECT_EQ(count(R"x([{"Name":"volume-id","Values":[")x" + v + R"x("]}])x"), 5U);
  EXPECT_EQ(count(R"x([{"Name":"description","Values":["nightly ?"]}])x"), 5U);
  EXPECT_EQ(count(R"x([{"Name":"tag:n","Values":["1","2"]}])x"), 2U);
  EXPECT_EQ(count(R"x([{"Name":"tag-key","Values":["n"]},{"Name":"tag:n","Values":["4"]}])x"), 1U);
  EXPECT_EQ(count(R"x([{"Name":"status","Values":["pending"]}])x"), 0U);
  EXPECT_EQ(count(R"x([{"Name":"progress","Values":["100%"]}])x"), 6U);
  std::set<std::string> seen;
  std::string token;
  int pages = 0;
  do {
    const Json page =
        w.must("ec2", "DescribeSnapshots", R"x({"MaxResults":5)x" + (token.empty() ? "" : R"x(,"NextToken":")x" + token + '"') + "}");
    for (const Json& s : page["Snapshots"].items()) seen.emplace(s["SnapshotId"].string_or());
    token = page["NextToken"].string_or();
    ++pages;
  } while (!token.empty());
  EXPECT_EQ(pages, 2);
  EXPECT_EQ(seen.size(), 6U);
  EXPECT_EQ(w.must("ec2", "DescribeSnapshots", R"x({"OwnerIds":["amazon"]})x")["Snapshots"].items().size(), 0U);
}

TEST_F(Ec2Test, ACopyIsANewSnapshotWithAnArbitraryVolumeAndNoTags) {
  const std::string s = w.snapshot(w.volume());
  EXPECT_EQ(w.refusal("ec2", "CopySnapshot", R"x({"SourceRegion":"us-west-2","SourceSnapshotId":")x" + s + R"x("})x", TestWorld::kDr),
            "IncorrectState: The snapshot '" + s + "' is not in the completed state; it is pending.");
  w.advance(1min);
  w.must("ec2", "CreateTags", R"x({"Resources":[")x" + s + R"x("],"Tags":[{"Key":"Name","Value":"x"}]})x");
  const std::string c = copy(s);
  EXPECT_NE(c, s);
  w.advance(1min);
  const auto found = w.find(TestWorld::kDr, c);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->state, "completed");
  EXPECT_EQ(found->volume_id, "vol-ffffffff");
  EXPECT_TRUE(found->tags.empty());
  EXPECT_EQ(
      w.refusal("ec2", "CopySnapshot", R"x({"SourceRegion":"us-west-2","SourceSnapshotId":"snap-00000000000000009"})x", TestWorld::kDr),
      "InvalidSnapshot.NotFound: The snapshot 'snap-00000000000000009' does not exist.");
}

TEST_F(Ec2Test, ACopyComesFromARegionThatExists) {
  EXPECT_TRUE(
      w.refusal("ec2", "CopySnapshot", R"x({"SourceRegion":"moon-1","SourceSnapshotId":"snap-1"})x").starts_with("InvalidRegion: "));
}

TEST_F(Ec2Test, TwentyCopiesAtATimeAndNoMore) {
  std::vector<std::string> sources;
  for (int i = 0; i < 21; ++i) sources.push_back(w.snapshot(w.volume()));
  w.advance(1min);
  for (int i = 0; i < 20; ++i) copy(sources[static_cast<std::size_t>(i)]);
  EXPECT_EQ(
      w.refusal("ec2", "CopySnapshot", R"x({"SourceRegion":"us-west-2","SourceSnapshotId":")x" + sources[20] + R"x("})x", TestWorld::kDr),
      "ResourceLimitExceeded: Too many snapshot copies in progress. The limit is 20 for this destination region.");
  w.advance(1min);
  copy(sources[20]);
}

TEST_F(Ec2Test, AKeyOfAnotherRegionFailsTheCopyLate) {
  const std::string s = w.snapshot(w.volume());
  w.advance(1min);
  const std::string c = copy(s, R"x(,"Encrypted":true,"KmsKeyId":"arn:aws:kms:us-west-2:123456789012:key/k")x");
  EXPECT_EQ(state(c, TestWorld::kDr), "pending");
  w.advance(1min);
  EXPECT_EQ(state(c, TestWorld::kDr), "error");
  EXPECT_EQ(w.find(TestWorld::kDr, c)->state_message, "Given key ID is not accessible");
}

TEST_F(Ec2Test, FivePendingSnapshotsOfAVolume) {
  const std::string v = w.volume();
  for (int i = 0; i < 5; ++i) w.snapshot(v);
  EXPECT_TRUE(w.refusal("ec2", "CreateSnapshot", R"x({"VolumeId":")x" + v + "\"}").starts_with("ConcurrentSnapshotLimitExceeded: "));
}

TEST_F(Ec2Test, ImagesPinTheirSnapshotsEvenWhenDisabled) {
  const std::string s = w.snapshot(w.volume());
  w.advance(1min);
  const std::string ami(
      w.must("ec2", "RegisterImage",
             R"x({"Name":"a","BlockDeviceMappings":[{"DeviceName":"/dev/xvda","Ebs":{"SnapshotId":")x" + s + R"x("}}]})x")["ImageId"]
          .string_or());
  EXPECT_EQ(w.refusal("ec2", "DeleteSnapshot", R"x({"SnapshotId":")x" + s + "\"}"),
            "InvalidSnapshot.InUse: The snapshot " + s + " is currently in use by " + ami);
  w.must("ec2", "DisableImage", R"x({"ImageId":")x" + ami + "\"}");
  EXPECT_TRUE(w.refusal("ec2", "DeleteSnapshot", R"x({"SnapshotId":")x" + s + "\"}").starts_with("InvalidSnapshot.InUse"));
  w.must("ec2", "DeregisterImage", R"x({"ImageId":")x" + ami + "\"}");
  w.must("ec2", "DeleteSnapshot", R"x({"SnapshotId":")x" + s + "\"}");
  EXPECT_EQ(state(s), "gone");
}

TEST_F(Ec2Test, WhatIsDeniedIsUnauthorized) {
  w.world->cloud.ec2().behaviour().denied = {"CreateSnapshot"};
  const std::string v = w.volume();
  for (const char* dry : {"false", "true"}) {
    const auto reply = w.call("ec2", "CreateSnapshot", R"x({"VolumeId":")x" + v + R"x(","DryRun":)x" + dry + "}");
    ASSERT_FALSE(reply);
    EXPECT_EQ(reply.error().code, "UnauthorizedOperation");
    EXPECT_EQ(reply.error().status, 403);
  }
  EXPECT_EQ(w.refusal("ec2", "DescribeSnapshots", R"x({"MaxResults":0})x"),
            "InvalidMaxResults: The specified value for MaxResults is not valid.");
}

TEST_F(Ec2Test, SnapshotsOfAwsBackupAreNotDeletedByEc2) {
  const std::string s(w.must("ec2", "CreateSnapshot",
                             R"x({"VolumeId":")x" + w.volume() +
                                 R"x(","Description":"This snapshot is created by the AWS Backup service."})x")["SnapshotId"]
                          .string_or());
  w.advance(1min);
  EXPECT_TRUE(w.refusal("ec2", "DeleteSnapshot", R"x({"SnapshotId":")x" + s + "\"}")
                  .starts_with("InvalidParameterValue: This snapshot is managed by the AWS Backup service"));
}

TEST_F(Ec2Test, LocksHold) {
  const std::string s = w.snapshot(w.volume());
  w.advance(1min);
  w.must("ec2", "LockSnapshot", R"x({"SnapshotId":")x" + s + R"x(","LockMode":"compliance","LockDuration":2,"CoolOffPeriod":1})x");
  EXPECT_TRUE(w.refusal("ec2", "DeleteSnapshot", R"x({"SnapshotId":")x" + s + "\"}").starts_with("SnapshotLocked: "));
  EXPECT_EQ(w.must("ec2", "DescribeLockedSnapshots", "{}")["Snapshots"].items()[0]["LockState"].string_or(), "compliance-cooloff");
  w.advance(2h);
  EXPECT_TRUE(w.refusal("ec2", "UnlockSnapshot", R"x({"SnapshotId":")x" + s + "\"}").starts_with("IncorrectState: "));
  w.advance(48h);
  w.must("ec2", "DeleteSnapshot", R"x({"SnapshotId":")x" + s + "\"}");
}

TEST_F(Ec2Test, TheRecycleBinGivesBack) {
  w.must("rbin", "CreateRule",
         R"x({"ResourceType":"EBS_SNAPSHOT","RetentionPeriod":{"RetentionPeriodValue":7,"RetentionPeriodUnit":"DAYS"}})x");
  const std::string v = w.volume(), kept = w.snapshot(v), lost = w.snapshot(v);
  w.advance(1min);
  for (const auto& id : {kept, lost}) w.must("ec2", "DeleteSnapshot", R"x({"SnapshotId":")x" + id + "\"}");
  EXPECT_TRUE(w.refusal("ec2", "DescribeSnapshots", R"x({"SnapshotIds":[")x" + kept + "\"]}").starts_with("InvalidSnapshot.NotFound"));
  EXPECT_EQ(w.must("ec2", "ListSnapshotsInRecycleBin", "{}")["Snapshots"].items().size(), 2U);
  w.must("ec2", "RestoreSnapshotFromRecycleBin", R"x({"SnapshotId":")x" + kept + "\"}");
  w.advance(std::chrono::hours(24 * 8));
  EXPECT_EQ(state(kept), "completed");
  EXPECT_EQ(w.must("ec2", "ListSnapshotsInRecycleBin", "{}")["Snapshots"].items().size(), 0U);
}

TEST_F(Ec2Test, DeletingAPendingSnapshotLetsItCompleteFirst) {
  const std::string s = w.snapshot(w.volume());
  w.must("ec2", "DeleteSnapshot", R"x({"SnapshotId":")x" + s + "\"}");
  EXPECT_TRUE(w.refusal("ec2", "DescribeSnapshots", R"x({"SnapshotIds":[")x" + s + "\"]}").starts_with("InvalidSnapshot.NotFound"));
  w.advance(1min);
  EXPECT_EQ(state(s), "gone");
}

TEST_F(Ec2Test, InstancesAreSnapshottedTogether) {
  const Json run = w.must("ec2", "RunInstances",
                          R"x({"MinCount":1,"MaxCount":1,"BlockDeviceMappings":[{"DeviceName":"/dev/sdf","Ebs":{"VolumeSize":20}}]})x");
  const std::string instance(run["Instances"].items()[0]["InstanceId"].string_or());
  const Json both = w.must("ec2", "CreateSnapshots", R"x({"InstanceSpecification":{"InstanceId":")x" + instance + "\"}}");
  EXPECT_EQ(both["Snapshots"].items().size(), 2U);
  w.advance(1min);
  const Json data =
      w.must("ec2", "CreateSnapshots", R"x({"InstanceSpecification":{"InstanceId":")x" + instance + R"x(","ExcludeBootVolume":true}})x");
  EXPECT_EQ(data["Snapshots"].items().size(), 1U);
}

TEST(Behaviour, IsReadAndChecked) {
  const auto read = [](const char* text) { return Behaviour::from_json(*Json::parse(text)); };
  const auto good = read(R"x({"throttling":false,"fail_copy":0.25,"copy_limit":3,"copy_overhead_seconds":1.5})x");
  ASSERT_TRUE(good);
  EXPECT_FALSE(good->throttling);
  EXPECT_EQ(good->fail_copy, 0.25);
  EXPECT_EQ(good->copy_limit, 3);
  EXPECT_EQ(good->copy_overhead, 1500ms);
  for (const char* bad : {"[]", R"x({"colour":1})x", R"x({"fail_copy":2})x", R"x({"fail_copy":"a"})x", R"x({"copy_limit":0})x",
                          R"x({"denied":1})x", R"x({"max_event_delay_seconds":-1})x"}) {
    const auto refused = read(bad);
    ASSERT_FALSE(refused) << bad;
    EXPECT_FALSE(refused.error().message.empty());
  }
}

TEST(Ec2Throttling, BucketsEmptyAndRefill) {
  services::ec2::Behaviour b;
  TestWorld w(b);
  int accepted = 0;
  for (int i = 0; i < 200; ++i) accepted += w.call("ec2", "DescribeSnapshots", "{}").has_value();
  EXPECT_EQ(accepted, 50);  // unfiltered and unpaginated: 50, refilled by 10 a second
  const auto refused = w.call("ec2", "DescribeSnapshots", "{}");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, "RequestLimitExceeded");
  EXPECT_EQ(refused.error().status, 503);
  w.advance(1s);
  accepted = 0;
  for (int i = 0; i < 200; ++i) accepted += w.call("ec2", "DescribeSnapshots", "{}").has_value();
  EXPECT_EQ(accepted, 10);
}

TEST(Ec2Throttling, OneVolumeIsNotSnapshottedAllTheTime) {
  TestWorld w{services::ec2::Behaviour{}};
  const std::string v = w.volume();
  for (int i = 0; i < 5; ++i) {
    w.snapshot(v);
    w.advance(1s);
  }
  w.advance(5s);
  EXPECT_TRUE(w.refusal("ec2", "CreateSnapshot", R"x({"VolumeId":")x" + v + "\"}")
                  .starts_with("SnapshotCreationPerVolumeRateExceeded: The maximum per volume"));
  w.advance(15s);
  w.snapshot(v);
}

TEST_F(Ec2Test, EventsAreAsDocumented) {
  w.must("sqs", "CreateQueue", R"x({"QueueName":"q"})x");
  w.must("events", "PutRule", R"x({"Name":"all","EventPattern":"{\"source\":[\"aws.ec2\"]}"})x");
  w.must("events", "PutTargets", R"x({"Rule":"all","Targets":[{"Id":"1","Arn":"arn:aws:sqs:us-west-2:123456789012:q"}]})x");
  const std::string v = w.volume();
  const std::string s = w.snapshot(v);
  w.advance(1min);
  const Json got = w.must("sqs", "ReceiveMessage", R"x({"QueueUrl":"http://x/123456789012/q"})x");
  ASSERT_EQ(got["Messages"].items().size(), 1U);
  const Json event = *Json::parse(got["Messages"].items()[0]["Body"].string_or());
  EXPECT_EQ(event["detail-type"].string_or(), "EBS Snapshot Notification");
  EXPECT_EQ(event["region"].string_or(), "us-west-2");
  EXPECT_EQ(event["account"].string_or(), "123456789012");
  EXPECT_EQ(event["resources"].items()[0].string_or(), "arn:aws:ec2::us-west-2:snapshot/" + s);
  EXPECT_EQ(
      event["detail"].dump(),
      R"x({"event":"createSnapshot","result":"succeeded","cause":"","request-id":"","snapshot_id":"arn:aws:ec2::us-west-2:snapshot/)x" + s +
          R"x(","source":"arn:aws:ec2::us-west-2:volume/)x" + v +
          R"x(","startTime":"2026-01-01T00:00:00Z","endTime":"2026-01-01T00:00:03Z"})x");
}

TEST_F(Ec2Test, EverythingSurvivesARestart) {
  const std::string v = w.volume("Backup", 50);
  const std::string first = w.snapshot(v);
  w.advance(1min);
  const std::string second = w.snapshot(v);  // pending when we go down
  const auto before = w.world->cloud.ec2().owned_bytes(TestWorld::kPrimary);
  w.restart();
  EXPECT_EQ(state(first), "completed");
  EXPECT_EQ(state(second), "pending");
  EXPECT_EQ(w.world->cloud.ec2().owned_bytes(TestWorld::kPrimary), before);
  w.advance(1min);
  EXPECT_EQ(state(second), "completed");
  EXPECT_EQ(w.must("ec2", "DescribeVolumes", "{}")["Volumes"].items()[0]["Tags"].dump(), R"x([{"Key":"Backup","Value":"yes"}])x");
}

}  // namespace
}  // namespace snapward::services::ec2
