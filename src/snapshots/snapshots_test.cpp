#include <gtest/gtest.h>

#include "snapshots/audit.hpp"
#include "snapshots/retention.hpp"
#include "snapshots/selection.hpp"
#include "snapshots/tasks.hpp"
#include "snapshots/workflows.hpp"

namespace snapward::snapshots {
namespace {

Candidate taken(int day, const std::string& state = "completed", CopyState copy = CopyState::confirmed) {
  return {.id = "snap-" + std::to_string(day), .state = state, .taken = Instant{} + std::chrono::hours(24 * day), .copy = copy};
}
// "+snap-3 -snap-1", newest first.
std::string plan(std::vector<Candidate> candidates, std::int64_t retention) {
  std::string out;
  for (const auto& d : retain(std::move(candidates), retention)) {
    EXPECT_FALSE(d.reason.empty());
    out += (out.empty() ? "" : " ") + std::string(d.keep ? "+" : "-") + d.id;
  }
  return out;
}

TEST(Retention, KeepsTheNewest) {
  EXPECT_EQ(plan({taken(1), taken(3), taken(2)}, 2), "+snap-3 +snap-2 -snap-1");
  EXPECT_EQ(plan({}, 1), "");
  EXPECT_EQ(plan({taken(1)}, 5), "+snap-1");
}

TEST(Retention, OnlyCompletedSnapshotsCount) {
  EXPECT_EQ(plan({taken(5, "error"), taken(4, "pending"), taken(3), taken(2, "error"), taken(1)}, 1),
            "+snap-5 +snap-4 +snap-3 +snap-2 -snap-1");
}

TEST(Retention, TheNewestWithoutAConfirmedCopyStays) {
  EXPECT_EQ(plan({taken(4), taken(3, "completed", CopyState::none), taken(2, "completed", CopyState::failed), taken(1)}, 1),
            "+snap-4 +snap-3 -snap-2 -snap-1");
  EXPECT_EQ(plan({taken(4, "completed", CopyState::none), taken(3, "completed", CopyState::none)}, 1), "+snap-4 -snap-3");
}

TEST(Retention, WhatIsBeingCopiedStays) {
  EXPECT_EQ(plan({taken(3), taken(2, "completed", CopyState::in_progress), taken(1, "completed", CopyState::in_progress)}, 1),
            "+snap-3 +snap-2 +snap-1");
}

// What reads as being copied may be confirmed by now: an older one whose copy failed was deleted on the strength of it (simulator, seed
// 1070).
TEST(Retention, WhatIsBeingCopiedShieldsNoOther) {
  EXPECT_EQ(plan({taken(3), taken(2, "completed", CopyState::in_progress), taken(1, "completed", CopyState::failed)}, 2),
            "+snap-3 +snap-2 +snap-1");
}

TEST(Retention, TheOrderOfTheInputDoesNotMatter) {
  std::vector<Candidate> all;
  for (int i = 0; i < 8; ++i) all.push_back(taken(i, i % 3 ? "completed" : "error", i % 2 ? CopyState::none : CopyState::confirmed));
  const std::string expected = plan(all, 2);
  for (int round = 0; round < 50; ++round) {
    std::rotate(all.begin(), all.begin() + 3, all.end());
    std::swap(all[0], all[static_cast<std::size_t>(round) % 8]);
    EXPECT_EQ(plan(all, 2), expected);
  }
}

// A copy that finished late holds older data, whatever its own start time says.
TEST(Retention, CopiesAreOrderedByWhenTheirSourceWasTaken) {
  cloud::Snapshot late{.id = "snap-old-data",
                       .volume_id = {},
                       .state = "completed",
                       .state_message = {},
                       .description = {},
                       .owner_id = {},
                       .started = Instant{} + std::chrono::hours(50),
                       .tags = {{tags::kTaken, "1970-01-01T10:00:00.000Z"}}};
  cloud::Snapshot early{.id = "snap-new-data",
                        .volume_id = {},
                        .state = "completed",
                        .state_message = {},
                        .description = {},
                        .owner_id = {},
                        .started = Instant{} + std::chrono::hours(40),
                        .tags = {{tags::kTaken, "1970-01-02T10:00:00.000Z"}}};
  EXPECT_EQ(plan({candidate_of(late, false), candidate_of(early, false)}, 1), "+snap-new-data -snap-old-data");
}

TEST(Selection, ByTagOfTheVolumeAndNeverOthers) {
  Settings s;
  cloud::Snapshot snapshot;
  const cloud::Tags yes{{"Backup", "yes"}}, no{{"Backup", "no"}};
  EXPECT_TRUE(select(s, snapshot, no).selected);
  s.tag = "Backup";
  EXPECT_TRUE(select(s, snapshot, no).selected);
  EXPECT_FALSE(select(s, snapshot, cloud::Tags{}).selected);
  s.tag = "Backup=yes";
  EXPECT_TRUE(select(s, snapshot, yes).selected);
  EXPECT_FALSE(select(s, snapshot, no).selected);
  EXPECT_FALSE(select(s, snapshot, std::nullopt).selected);
  snapshot.tags = yes;
  EXPECT_TRUE(select(s, snapshot, std::nullopt).selected);  // its volume is gone: its own tag decides
  for (const char* key : {"aws:backup:source-resource", "aws:dlm:lifecycle-policy-id", "dlm:managed"}) {
    cloud::Snapshot other;
    other.tags = {{key, "x"}};
    EXPECT_FALSE(select(s, other, yes).selected) << key;
  }
  cloud::Snapshot image;
  image.description = "Created by CreateImage(i-1) for ami-1";
  EXPECT_EQ(select(s, image, yes).reason, "it was made for an image");
}

TEST(Tasks, OriginsTravelInDescriptions) {
  const CopyOrigin origin{.snapshot_id = "snap-1", .volume_id = "vol-2", .region = "us-west-2"};
  EXPECT_EQ(origin.description(), "snap-1**vol-2**us-west-2");
  EXPECT_EQ(CopyOrigin::parse("snap-1**vol-2**us-west-2")->volume_id, "vol-2");
  for (const char* bad : {"", "snap-1", "snap-1**vol-2", "x**vol-2**r", "snap-1**vol-2**"}) EXPECT_FALSE(CopyOrigin::parse(bad)) << bad;
}

TEST(Settings, AreChecked) {
  EXPECT_EQ(Settings::from_json(*Json::parse(R"({"retention":"3","tag":"A"})"))->retention, 3);
  for (const char* bad : {R"({"retention":0})", R"({"retention":"x"})", R"({"retention":1.5})", R"({"tag":""})"})
    EXPECT_FALSE(Settings::from_json(*Json::parse(bad))) << bad;
}

TEST(Workflows, SubstitutesWhatItKnows) {
  EXPECT_EQ(substitute("a ${x} ${y} ${", {{"x", "1"}}), "a 1 ${y} ${");
  for (const char* name : {"primary", "dr", "reconcile"}) EXPECT_TRUE(Json::parse(workflow_text(name))) << name;
}

// The audit must bite: each invariant's breach, done by hand, is found.
struct AuditTest : testing::Test {
  AuditTest() {
    settings.retention = 2;
    audit = std::make_unique<Audit>(
        settings, [this](const std::string& region) { return world[region]; },
        [](const cloud::Snapshot& s) { return s.volume_id == "vol-1"; });
    for (int i = 1; i <= 3; ++i)
      add("us-west-2", "snap-" + std::to_string(i), i,
          {{tags::kName, "n"}, {tags::kVolume, "vol-1"}, {tags::kCopyState, "completed"}, {tags::kCopy, "us-east-2/c"}});
    act("CreateTags", "us-west-2", R"({"Resources":[]})");
  }
  void add(const std::string& region, const std::string& id, int day, cloud::Tags with, const std::string& state = "completed",
           const std::string& volume = "vol-1") {
    world[region].push_back({.id = id,
                             .volume_id = volume,
                             .state = state,
                             .state_message = {},
                             .description = {},
                             .owner_id = {},
                             .started = Instant{} + std::chrono::hours(24 * day),
                             .tags = std::move(with)});
  }
  void act(const std::string& operation, const std::string& region, const std::string& input) {
    audit->witness({"ec2", region, operation, *Json::parse(input)}, Json(Json::Object{}));
  }
  void remove(const std::string& id) {
    std::erase_if(world["us-west-2"], [&](const auto& s) { return s.id == id; });
    act("DeleteSnapshot", "us-west-2", R"({"SnapshotId":")" + id + "\"}");
  }
  std::string broken() {
    std::string out;
    for (const auto& v : audit->verdicts({}))
      if (!v.breaches.empty()) out += std::to_string(v.invariant);
    return out;
  }
  Settings settings;
  std::map<std::string, std::vector<cloud::Snapshot>> world;
  std::unique_ptr<Audit> audit;
};

TEST_F(AuditTest, HoldsWhenAllIsWell) {
  remove("snap-1");
  EXPECT_EQ(broken(), "");
}
TEST_F(AuditTest, FindsADeletionWithTooFewLeft) {
  remove("snap-2");
  EXPECT_EQ(broken(), "1");
}
TEST_F(AuditTest, FindsADeletionWithoutACopy) {
  world["us-west-2"][0].tags.erase(tags::kCopyState);
  act("CreateTags", "us-west-2", R"({"Resources":[]})");
  remove("snap-1");
  EXPECT_EQ(broken(), "2");
}
TEST_F(AuditTest, FindsASecondCopy) {
  for (const char* id : {"c", "d"}) add("us-east-2", id, 4, {{tags::kSource, "us-west-2/snap-3"}});
  act("CopySnapshot", "us-east-2", R"({"SourceRegion":"us-west-2","SourceSnapshotId":"snap-3"})");
  EXPECT_EQ(broken(), "3");
}
TEST_F(AuditTest, FindsADroppedCopyAndAnUndealtSnapshot) {
  remove("snap-1");
  add("us-west-2", "snap-4", 4, {});
  EXPECT_EQ(broken(), "48");
}
TEST_F(AuditTest, FindsAStoppedPrune) {
  for (int i = 4; i < 6; ++i)
    add("us-west-2", "snap-" + std::to_string(i), i,
        {{tags::kName, "n"}, {tags::kVolume, "vol-1"}, {tags::kCopyState, "completed"}, {tags::kCopy, "us-east-2/c"}});
  EXPECT_EQ(broken(), "5");
}
TEST_F(AuditTest, FindsAnUntoldFailure) {
  add("us-east-2", "bad", 4, {{tags::kSource, "us-west-2/snap-3"}}, "error");
  EXPECT_EQ(broken(), "6");
}
TEST_F(AuditTest, FindsATouchedStranger) {
  add("us-west-2", "snap-x", 4, {}, "completed", "vol-other");
  act("CreateTags", "us-west-2", R"({"Resources":[]})");
  act("CreateTags", "us-west-2", R"({"Resources":["snap-x"]})");
  EXPECT_EQ(broken(), "7");
}

}  // namespace
}  // namespace snapward::snapshots
