// The simulator lives through seeds (docs/simulation.md), and what it once found stays found.
#include "world/simulation.hpp"

#include <gtest/gtest.h>
#include <spdlog/spdlog.h>

#include <fstream>

#include "support/world.hpp"

namespace snapward::world {
namespace {

Simulation::Outcome live(std::uint64_t seed) {
  Simulation simulation(Scenario::drawn(seed));
  EXPECT_TRUE(simulation.set_the_scene());
  simulation.live_all_days();
  simulation.come_to_rest();
  return simulation.outcome();
}

struct SimulationTest : testing::Test {
  SimulationTest() { spdlog::set_level(spdlog::level::off); }  // dying processes complain
  ~SimulationTest() override { spdlog::set_level(spdlog::level::info); }
};

TEST_F(SimulationTest, PastSeedsHold) {
  std::ifstream in(SNAPWARD_SOURCE_DIR "/tests/simulation/seeds.txt");
  std::size_t lived = 0, crashes = 0;
  for (std::string line; std::getline(in, line);) {
    if (line.empty() || line[0] == '#') continue;
    const auto outcome = live(std::stoull(line));
    for (const auto& v : outcome.verdicts)
      for (const std::string& b : v.breaches) ADD_FAILURE() << "seed " << line << ": invariant " << v.invariant << ": " << b;
    ++lived;
    crashes += outcome.crashes;
  }
  EXPECT_GE(lived, 4U);
  EXPECT_GT(crashes, 0U);
}

TEST_F(SimulationTest, OneSeedIsOneRun) {
  EXPECT_EQ(live(4).digest, live(4).digest);
  EXPECT_NE(live(4).digest, live(5).digest);
}

// ── What it found ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

using support::TestWorld;

// A late event was kept in memory alone: a process that died meanwhile never told it.
TEST_F(SimulationTest, LateEventsOutliveTheProcess) {
  auto behaviour = TestWorld::calm();
  behaviour.delay_event = 1;
  TestWorld w(behaviour);
  snapshots::Settings settings;
  settings.dr_region = "";
  const auto deployment = w.deploy(settings);
  w.must("events", "DisableRule", R"({"Name":"EBS_Snapshot_Reconcile"})");
  w.snapshot(w.volume());
  w.advance(std::chrono::seconds(10));  // completed; the event is under way
  EXPECT_EQ(w.completed(TestWorld::kPrimary), 1U);
  EXPECT_TRUE(w.executions(deployment.primary.machine_arn).empty());
  w.restart();
  w.advance(std::chrono::minutes(11));
  EXPECT_EQ(w.executions(deployment.primary.machine_arn, "SUCCEEDED").size(), 1U);
}

// A snapshot that was announced, but that EC2 did not show yet, was taken for gone.
TEST_F(SimulationTest, WhatIsAnnouncedIsWaitedFor) {
  TestWorld w;
  snapshots::Settings settings;
  settings.dr_region = "";
  const auto deployment = w.deploy(settings);
  const auto announce = [&](const std::string& name) {
    const std::string event =
        R"({"time":")" + iso_seconds(w.clock.now()) +
        R"(","region":"us-west-2","detail":{"event":"createSnapshot","result":"succeeded","snapshot_id":"arn:aws:ec2::us-west-2:snapshot/snap-0123456789abcdef0"}})";
    w.must("states", "StartExecution",
           Json::object({{"stateMachineArn", deployment.primary.machine_arn}, {"name", name}, {"input", event}}));
  };
  announce("early");
  w.advance(std::chrono::seconds(20));
  EXPECT_EQ(w.executions(deployment.primary.machine_arn, "RUNNING").size(), 1U) << "it is looked for again";
  w.advance(std::chrono::minutes(10));
  EXPECT_EQ(w.executions(deployment.primary.machine_arn, "SUCCEEDED").size(), 1U) << "it is gone indeed";
}

// The answer to CopySnapshot was lost, and EC2 did not show the copy when one looked for it a second later: a second copy was made.
TEST_F(SimulationTest, ALostAnswerMakesNoSecondCopy) {
  Scenario s;
  s.volumes = 1;
  s.days = 3;
  s.settings.tag = "Backup";
  s.network.lose_reply = 0.4;
  s.network.stale = 1;
  Simulation simulation(s);
  ASSERT_TRUE(simulation.set_the_scene());
  simulation.live_all_days();
  simulation.come_to_rest();
  const auto outcome = simulation.outcome();
  for (const auto& v : outcome.verdicts)
    for (const std::string& b : v.breaches) ADD_FAILURE() << v.invariant << ": " << b;
  EXPECT_GE(outcome.copies, 3U);
}

}  // namespace
}  // namespace snapward::world
