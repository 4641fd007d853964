#include "snapshots/report.hpp"

#include <gtest/gtest.h>

#include "snapshots/distance.hpp"

namespace snapward::snapshots {
namespace {

using namespace std::chrono_literals;

TEST(Distance, IsAGreatCircleBetweenCities) {
  EXPECT_NEAR(*miles_between("us-west-2", "us-east-2"), 1884, 10);
  EXPECT_NEAR(*miles_between("eu-west-1", "us-east-2"), 3570, 15);
  EXPECT_NEAR(*miles_between("us-east-1", "us-east-2"), 301, 5);
  EXPECT_NEAR(*miles_between("us-west-1", "us-west-2"), 598, 5);
  EXPECT_NEAR(*miles_between("ap-southeast-2", "sa-east-1"), *miles_between("sa-east-1", "ap-southeast-2"), 1e-9);
  EXPECT_EQ(*miles_between("us-east-1", "us-east-1"), 0);
  EXPECT_FALSE(miles_between("us-east-1", "us-moon-1"));
}

TEST(Span, IsANumberAndAUnit) {
  EXPECT_EQ(*span_from("90s"), 90s);
  EXPECT_EQ(*span_from("7d"), 168h);
  for (const char* bad : {"", "7", "d", "7w", "-1h", "0m", "1.5h", "1h ", "99999999d"}) EXPECT_FALSE(span_from(bad)) << bad;
}

TEST(Tiers, AreReadOrRefused) {
  const auto read = [](const char* text) { return Tier::list_from_json(*Json::parse(text)); };
  const auto tiers = read(R"({"tiers":[{"name":"gold","tag":"Tier=gold","rpo":"1h","drRpo":"4h"},{"name":"rest","tag":"none"}]})");
  ASSERT_TRUE(tiers);
  EXPECT_EQ((*tiers)[0].dr_rpo, 4h);
  EXPECT_EQ((*tiers)[1].rpo, 24h);
  EXPECT_EQ(read("{}").error().message, "a file of tiers has a list 'tiers'");
  EXPECT_EQ(read(R"({"tiers":[{"name":"x","rto":"1h"}]})").error().message, "a tier has 'name', 'tag', 'rpo' and 'drRpo', not 'rto'");
  EXPECT_EQ(read(R"({"tiers":[{"name":"x","rpo":"soon"}]})").error().message,
            "'rpo' of a tier: 'soon' is no span of time; '90s', '15m', '4h' and '7d' are");
  EXPECT_FALSE(read(R"({"tiers":[{"tag":"x"}]})"));
  EXPECT_FALSE(read(R"({"tiers":["gold"]})"));
}

struct ReportTest : testing::Test {
  Instant now = *parse_iso("2026-03-01T12:00:00Z");
  Settings settings;
  Inventory inventory;
  std::vector<Tier> tiers;
  Tier others{.name = ""};
  double min_miles = 0;

  void volume(const std::string& id, cloud::Tags tags = {}, Duration age = 24h * 30) {
    inventory.volumes.push_back({.id = id, .size_gib = 8, .created = now - age, .tags = std::move(tags)});
  }
  cloud::Snapshot& snapshot(const std::string& id, const std::string& volume, Duration age, bool dealt_with = true) {
    cloud::Snapshot s;
    s.id = id;
    s.volume_id = volume;
    s.state = "completed";
    s.started = now - age;
    if (dealt_with)
      s.tags = {{tags::kName, "x"}, {tags::kVolume, volume}, {tags::kCopy, "us-east-2/copy-of-" + id}, {tags::kCopyState, "completed"}};
    return inventory.snapshots.emplace_back(std::move(s));
  }
  cloud::Snapshot& copy(const std::string& of, const std::string& volume, Duration age) {
    cloud::Snapshot s;
    s.id = "copy-of-" + of;
    s.volume_id = "vol-ffffffff";
    s.state = "completed";
    s.description = of + "**" + volume + "**us-west-2";
    s.started = now;
    s.tags = {{tags::kSource, "us-west-2/" + of}, {tags::kTaken, iso_millis(now - age)}};
    return inventory.copies.emplace_back(std::move(s));
  }
  Report report() { return assess(inventory, settings, tiers, others, min_miles, now); }
  // The findings of the only volume.
  std::vector<std::string> findings() {
    const Report r = report();
    EXPECT_EQ(r.volumes.size(), 1U);
    return r.volumes.empty() ? std::vector<std::string>{"no volume"} : r.volumes[0].findings;
  }
};

TEST_F(ReportTest, AllIsWell) {
  volume("vol-1", {{"Name", "db"}});
  snapshot("snap-1", "vol-1", 2h);
  copy("snap-1", "vol-1", 2h);
  const Report r = report();
  EXPECT_TRUE(r.good());
  EXPECT_EQ(r.volumes[0].name, "db");
  EXPECT_EQ(r.volumes[0].exposed, 2h);
  EXPECT_EQ(r.volumes[0].dr_exposed, 2h);
  const Json json = r.to_json();
  EXPECT_EQ(json["volumes"].items()[0]["exposedSeconds"].as_integer(), 7200);
  EXPECT_EQ(json["miles"].as_integer(), 1884);
  EXPECT_EQ(json["good"].as_bool(), true);
}

TEST_F(ReportTest, ObjectivesThatAreMissed) {
  volume("vol-1");
  EXPECT_EQ(findings(),
            (std::vector<std::string>{"it has no completed snapshot; 1d may be lost", "nothing of it is in us-east-2; 1d may be lost"}));
  snapshot("snap-1", "vol-1", 30h);
  copy("snap-1", "vol-1", 30h);
  EXPECT_EQ(findings(), (std::vector<std::string>{"its newest snapshot is 1d 06h old; 1d may be lost",
                                                  "what is in us-east-2 is 1d 06h old; 1d may be lost"}));
  others.rpo = others.dr_rpo = 36h;
  EXPECT_TRUE(report().good());
}

TEST_F(ReportTest, ANewVolumeHasTimeForItsFirstSnapshot) {
  volume("vol-1", {}, 23h);
  EXPECT_TRUE(report().good());
  settings.dr_region = "";
  inventory.volumes[0].created = now - 25h;
  EXPECT_EQ(findings().size(), 1U);
}

TEST_F(ReportTest, OnlyCompleteOnesCount) {
  volume("vol-1");
  snapshot("snap-1", "vol-1", 20h);
  copy("snap-1", "vol-1", 20h);
  snapshot("snap-2", "vol-1", 1h).state = "error";
  snapshot("snap-3", "vol-1", 1h).state = "pending";
  copy("snap-3", "vol-1", 1h).state = "pending";
  EXPECT_EQ(report().volumes[0].exposed, 20h);
  EXPECT_EQ(report().volumes[0].dr_exposed, 20h);
  EXPECT_EQ(findings(), std::vector<std::string>{"1 snapshot is in state error"});
}

// Nobody's word is taken for a copy.
TEST_F(ReportTest, ACopyThatIsGoneIsMissed) {
  volume("vol-1");
  snapshot("snap-1", "vol-1", 20h);
  snapshot("snap-2", "vol-1", 1h);
  copy("snap-1", "vol-1", 20h);
  EXPECT_EQ(findings(), std::vector<std::string>{"the copy us-east-2/copy-of-snap-2 of snap-2 was confirmed and is not there any more"});
  // An older one that was pruned in its turn is not.
  copy("snap-2", "vol-1", 1h);
  inventory.copies.erase(inventory.copies.begin());
  EXPECT_TRUE(report().good());
}

TEST_F(ReportTest, WhatWasNotDealtWithAndWhatCouldNotBeCopied) {
  volume("vol-1");
  snapshot("snap-1", "vol-1", 20h);
  copy("snap-1", "vol-1", 20h);
  snapshot("snap-2", "vol-1", 3h, false);
  snapshot("snap-3", "vol-1", 1h, false);  // its event may be on the way
  snapshot("snap-4", "vol-1", 5h).tags[tags::kCopyState] = "failed";
  EXPECT_EQ(findings(), (std::vector<std::string>{"1 completed snapshot was not dealt with", "1 snapshot could not be copied"}));
}

TEST_F(ReportTest, WhatWasThereBeforeIsLeftAlone) {
  volume("vol-1");
  snapshot("snap-1", "vol-1", 20h);
  copy("snap-1", "vol-1", 20h);
  snapshot("snap-0", "vol-1", 500h, false);
  EXPECT_TRUE(report().good());
  EXPECT_EQ(report().volumes[0].snapshots, 2U);  // and could be restored
}

TEST_F(ReportTest, LooksAtWhatIsManaged) {
  settings.tag = "Backup=yes";
  tiers = {{.name = "gold", .tag = "Tier=gold", .rpo = 1h, .dr_rpo = 48h}};
  volume("vol-1", {{"Backup", "yes"}});
  volume("vol-2", {{"Backup", "no"}});
  volume("vol-3", {{"Backup", "yes"}, {"Tier", "gold"}});
  for (const char* v : {"1", "2", "3"}) {
    snapshot("snap-" + std::string(v), "vol-" + std::string(v), 2h, std::string(v) != "2");
    copy("snap-" + std::string(v), "vol-" + std::string(v), 2h);
  }
  copy("snap-9", "vol-9", 500h);
  snapshot("snap-9", "vol-9", 500h);  // its volume is gone, and it was managed
  snapshot("snap-8", "vol-8", 500h, false);
  auto& image = snapshot("snap-7", "vol-1", 1h, false);
  image.description = "Created by CreateImage(i-1) for ami-1";
  const Report r = report();
  ASSERT_EQ(r.volumes.size(), 3U);
  EXPECT_EQ(r.volumes[0].volume, "vol-3");  // those with findings come first
  EXPECT_EQ(r.volumes[0].tier, "gold");
  EXPECT_EQ(r.volumes[0].findings, std::vector<std::string>{"its newest snapshot is 2h 00m old; 1h may be lost"});
  EXPECT_EQ(r.volumes[1].volume, "vol-1");
  EXPECT_EQ(r.volumes[1].newest, now - 2h);  // an image's snapshot is not ours
  EXPECT_TRUE(r.volumes[2].gone);
  EXPECT_EQ(r.volumes[2].snapshots, 1U);
}

TEST_F(ReportTest, ACloudsClockMayBeAhead) {
  volume("vol-1", {}, -5h);
  snapshot("snap-1", "vol-1", -6h);
  copy("snap-1", "vol-1", -6h);
  EXPECT_EQ(report().at, now + 6h);
  EXPECT_EQ(report().volumes[0].exposed, 0h);
}

TEST_F(ReportTest, RegionsThatAreTooNear) {
  settings.primary_region = "us-east-1";
  min_miles = 500;
  EXPECT_EQ(report().findings, std::vector<std::string>{"us-east-1 and us-east-2 are about 301 miles apart; 500 are asked for"});
  EXPECT_FALSE(report().good());
  min_miles = 300;
  EXPECT_TRUE(report().good());
}

}  // namespace
}  // namespace snapward::snapshots
