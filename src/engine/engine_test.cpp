#include <gtest/gtest.h>

#include <filesystem>
#include <future>
#include <thread>

#include "engine/abort.hpp"
#include "engine/executions.hpp"
#include "engine/ledger.hpp"
#include "engine/loop.hpp"

namespace snapward::engine {
namespace {

TEST(Loop, RunsTimersInOrderOnVirtualTime) {
  VirtualClock clock{Instant{}};
  SeededEntropy entropy(1);
  Loop loop(clock, entropy);
  std::string seen;
  loop.after(std::chrono::hours(2), [&] { seen += 'c'; });
  loop.after(std::chrono::hours(1), [&] {
    seen += 'a';
    loop.after(std::chrono::minutes(30), [&] { seen += 'b'; });
  });
  const auto cancelled = loop.after(std::chrono::minutes(1), [&] { seen += 'x'; });
  loop.cancel(cancelled);
  loop.advance_to(clock, Instant{} + std::chrono::minutes(119));
  EXPECT_EQ(seen, "ab");
  loop.advance_to(clock, Instant{} + std::chrono::hours(3));
  EXPECT_EQ(seen, "abc");
}

// A store whose commits can be made to fail.
class FlakyStore final : public store::Store {
 public:
  Result<void> commit(const std::vector<store::Write>& writes) override {
    const std::lock_guard lock(mutex);
    if (failures > 0) {
      --failures;
      return fail(ErrorCode::unavailable, "no room");
    }
    ++commits;
    return inner->commit(writes);
  }
  Result<std::optional<std::string>> get(std::string_view table, std::string_view key) override {
    const std::lock_guard lock(mutex);
    return inner->get(table, key);
  }
  Result<std::vector<store::Row>> scan(std::string_view table, const store::Range& range) override {
    const std::lock_guard lock(mutex);
    return inner->scan(table, range);
  }
  std::mutex mutex;
  std::unique_ptr<store::Store> inner = store::open_memory();
  int failures = 0, commits = 0;
};

TEST(Ledger, ReadsItsOwnWritesAndCommitsThemTogether) {
  VirtualClock clock{Instant{}};
  SeededEntropy entropy(1);
  Loop loop(clock, entropy);
  FlakyStore store;
  Ledger ledger(store, loop, Ledger::Mode::inline_commits);
  bool durable = false;
  loop.post([&] {
    ledger.put("t", "a", "1");
    ledger.put("t", "c", "3");
    ledger.after_commit([&] { durable = true; });
    ledger.put("t", "b", "2");
    ledger.erase("t", "c");
    EXPECT_EQ(ledger.get("t", "a"), "1");
    EXPECT_EQ(ledger.get("t", "c"), std::nullopt);
    EXPECT_EQ(ledger.scan("t", {}).size(), 2U);
    EXPECT_FALSE(durable);
    EXPECT_EQ(store.commits, 0);
  });
  loop.settle();
  EXPECT_TRUE(durable);
  EXPECT_EQ(store.commits, 1);
  EXPECT_EQ(*store.get("t", "b"), "2");
}

TEST(Ledger, HoldsEverythingBackUntilACommitSucceeds) {
  VirtualClock clock{Instant{}};
  SeededEntropy entropy(1);
  Loop loop(clock, entropy);
  FlakyStore store;
  Ledger ledger(store, loop, Ledger::Mode::inline_commits);
  store.failures = 3;
  int done = 0;
  loop.post([&] {
    ledger.put("t", "a", "1");
    ledger.after_commit([&] { ++done; });
  });
  loop.settle();
  loop.post([&] {
    ledger.put("t", "b", "2");
    ledger.after_commit([&] { ++done; });
    EXPECT_EQ(ledger.get("t", "a"), "1");
  });
  loop.settle();
  EXPECT_EQ(done, 0);
  EXPECT_FALSE(ledger.healthy());
  loop.advance_to(clock, Instant{} + std::chrono::seconds(5));
  EXPECT_EQ(done, 2);
  EXPECT_TRUE(ledger.healthy());
  EXPECT_EQ(*store.get("t", "b"), "2");
}

TEST(Ledger, ScansMergePendingWritesWithinTheLimit) {
  VirtualClock clock{Instant{}};
  SeededEntropy entropy(1);
  Loop loop(clock, entropy);
  FlakyStore store;
  for (const char* key : {"a", "c", "e", "g"}) ASSERT_TRUE(store.inner->commit({{"t", key, "old"}}));
  Ledger ledger(store, loop, Ledger::Mode::inline_commits);
  loop.post([&] {
    ledger.erase("t", "a");
    ledger.put("t", "b", "new");
    ledger.put("t", "e", "new");
    std::string keys;
    for (const auto& row : ledger.scan("t", {.from = "", .to = "", .limit = 3})) keys += row.key + row.value + ' ';
    EXPECT_EQ(keys, "bnew cold enew ");
    keys.clear();
    for (const auto& row : ledger.scan("t", {.from = "", .to = "g", .limit = 2, .newest_first = true})) keys += row.key + row.value + ' ';
    EXPECT_EQ(keys, "enew cold ");
  });
  loop.settle();
}

// With threads: what waits for durability runs after the commit, on the loop, in order.
TEST(Ledger, CommitsInTheBackground) {
  std::string folder = std::filesystem::temp_directory_path() / "snapward-ledger-XXXXXX";
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  auto store = store::open_sqlite(folder);
  ASSERT_TRUE(store);
  const SystemClock clock;
  SeededEntropy entropy(1);
  Loop loop(clock, entropy);
  constexpr int kWriters = 4, kEach = 200;
  std::vector<int> order;
  {
    Ledger ledger(**store, loop, Ledger::Mode::background_commits);
    std::vector<std::thread> writers;
    for (int w = 0; w < kWriters; ++w)
      writers.emplace_back([&, w] {
        for (int i = 0; i < kEach; ++i)
          loop.post([&, w, i] {
            ledger.put("t", std::to_string(w * kEach + i), "x");
            ledger.after_commit([&, n = static_cast<int>(order.size())] {
              order.push_back(n);
              if (order.size() == kWriters * kEach) loop.stop();
            });
          });
      });
    loop.run();
    for (auto& writer : writers) writer.join();
    EXPECT_LT(ledger.commits(), static_cast<std::uint64_t>(kWriters * kEach));  // they went in groups
  }
  EXPECT_EQ(order.size(), static_cast<std::size_t>(kWriters * kEach));
  EXPECT_EQ((*store)->scan("t", {})->size(), static_cast<std::size_t>(kWriters * kEach));
  store->reset();
  std::filesystem::remove_all(folder);
}

// Whoever fails to save one group saves none behind it, however the process ends.
TEST(Ledger, SavesNothingBehindAGroupThatIsNotSaved) {
  const SystemClock clock;
  SeededEntropy entropy(1);
  Loop loop(clock, entropy);
  FlakyStore store;
  {
    Ledger ledger(store, loop, Ledger::Mode::background_commits);
    store.failures = 1'000'000;
    for (const char* key : {"a", "b", "c"}) {
      loop.post([&] {
        ledger.put("t", key, "1");
        ledger.after_commit([] { ADD_FAILURE() << "let out although nothing is saved"; });
      });
      loop.settle();
    }
    loop.post([&] { EXPECT_EQ(ledger.waiting(), 3U); });
    for (int i = 0; i < 500 && ledger.healthy(); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      loop.settle();
    }
    EXPECT_FALSE(ledger.healthy());
    loop.post([&] { EXPECT_EQ(ledger.scan("t", {}).size(), 3U); });
    loop.settle();
  }
  EXPECT_EQ(store.inner->scan("t", {})->size(), 0U);
}

// An answer does not wait for the loop, which may be at something long; with nothing to save before it, it leaves with the turn.
TEST(Ledger, AnAnswerLeavesWhenItsWritesAreSaved) {
  const SystemClock clock;
  SeededEntropy entropy(1);
  Loop loop(clock, entropy);
  FlakyStore store;
  Ledger ledger(store, loop, Ledger::Mode::background_commits);
  std::atomic<bool> saved = false, idle_answered = false;
  std::promise<std::thread::id> answered;
  loop.post([&] { ledger.answer_after_commit([&] { idle_answered = true; }); });
  loop.settle();
  EXPECT_TRUE(idle_answered);
  loop.post([&] {
    ledger.put("t", "a", "1");
    ledger.answer_after_commit([&] {
      saved = store.get("t", "a")->has_value();
      answered.set_value(std::this_thread::get_id());
    });
    ledger.after_commit([&] { loop.stop(); });
  });
  loop.settle();
  auto answer = answered.get_future();
  ASSERT_EQ(answer.wait_for(std::chrono::seconds(60)), std::future_status::ready);  // and no turn of the loop
  EXPECT_NE(answer.get(), std::this_thread::get_id());
  EXPECT_TRUE(saved);
  loop.run();
  EXPECT_EQ(ledger.commits(), 1U);
  EXPECT_EQ(ledger.waiting(), 0U);
}

TEST(Ledger, SavesInOrderOnceItCanInTheBackground) {
  const SystemClock clock;
  SeededEntropy entropy(1);
  Loop loop(clock, entropy);
  FlakyStore store;
  store.failures = 1;
  Ledger ledger(store, loop, Ledger::Mode::background_commits);
  std::vector<int> order;
  for (int i = 0; i < 5; ++i) {
    loop.post([&, i] {
      ledger.put("t", "same", std::to_string(i));
      ledger.after_commit([&, i] {
        order.push_back(i);
        if (order.size() == 5) loop.stop();
      });
    });
    loop.settle();
  }
  loop.post([&] { EXPECT_EQ(ledger.get("t", "same"), "4"); });
  loop.run();
  EXPECT_EQ(order, (std::vector{0, 1, 2, 3, 4}));
  EXPECT_TRUE(ledger.healthy());
  EXPECT_EQ(store.inner->get("t", "same")->value_or(""), "4");
}

// A cloud that answers when told to.
class ScriptedCloud final : public cloud::Cloud {
 public:
  Task<cloud::Reply> call(cloud::Call call) override {
    calls.push_back(call);
    if (hold) co_return co_await answers.emplace_back();
    co_return Json::object({{"StatusCode", 200}, {"Payload", "{\"ok\":true}"}});
  }
  std::vector<cloud::Call> calls;
  std::deque<Future<cloud::Reply>> answers;
  bool hold = false;
};

struct EngineFixture : testing::Test {
  void start() {
    world.reset();
    world = std::make_unique<World>(*this);
    world->executions.restore([this](const std::string&, const std::string&) { return machine; });
  }
  struct World {
    explicit World(EngineFixture& f)
        : loop(f.clock, f.entropy), ledger(*f.store, loop, Ledger::Mode::inline_commits), executions(loop, ledger, f.cloud) {}
    Loop loop;
    Ledger ledger;
    Executions executions;
  };
  std::string begin(const std::string& input = "{}", const std::string& name = "e") {
    const Json record = world->executions.start({.arn = "arn:aws:states:us-west-2:1:stateMachine:M",
                                                 .name = "M",
                                                 .role_arn = "r",
                                                 .region = "us-west-2",
                                                 .revision = "1",
                                                 .machine = machine},
                                                name, input, *Json::parse(input));
    world->loop.settle();
    return std::string(record["executionArn"].string_or());
  }
  std::string status(const std::string& arn) { return std::string((*world->executions.find(arn))["status"].string_or()); }

  VirtualClock clock{*parse_iso("2026-01-01T00:00:00Z")};
  SeededEntropy entropy{5};
  ScriptedCloud cloud;
  std::unique_ptr<store::Store> store = store::open_memory();
  std::shared_ptr<const asl::Machine> machine =
      asl::compile_text(
          R"({"StartAt":"T","States":{"T":{"Type":"Task","Resource":"arn:aws:lambda:us-west-2:1:function:f","ResultPath":"$.r","Next":"W"},
      "W":{"Type":"Wait","Seconds":60,"Next":"U"},"U":{"Type":"Task","Resource":"arn:aws:lambda:us-west-2:1:function:g","End":true}}})")
          .machine;
  std::unique_ptr<World> world;
};

TEST_F(EngineFixture, RunsToTheEnd) {
  start();
  const std::string arn = begin();
  EXPECT_EQ(status(arn), "RUNNING");
  world->loop.advance_to(clock, clock.now() + std::chrono::seconds(61));
  EXPECT_EQ(status(arn), "SUCCEEDED");
  EXPECT_EQ(cloud.calls.size(), 2U);
  EXPECT_EQ(world->executions.running(), 0U);
  const auto history = world->executions.history(arn, false, 1000, "");
  EXPECT_EQ(history.items.size(), 14U);
  EXPECT_EQ(store->scan("inputs", {})->size(), 0U);  // journals of finished executions go
}

TEST_F(EngineFixture, GoesOnAfterARestartAtEveryPoint) {
  // The same story, interrupted after each second: nothing is lost, and no answered task is asked again.
  for (int crash_at = 0; crash_at < 64; crash_at += 7) {
    SCOPED_TRACE(crash_at);
    store = store::open_memory();
    cloud.calls.clear();
    start();
    const std::string arn = begin();
    world->loop.advance_to(clock, clock.now() + std::chrono::seconds(crash_at));
    start();
    world->loop.advance_to(clock, clock.now() + std::chrono::seconds(100));
    EXPECT_EQ(status(arn), "SUCCEEDED");
    EXPECT_EQ(cloud.calls.size(), 2U);
    const auto history = world->executions.history(arn, false, 1000, "");
    ASSERT_EQ(history.items.size(), 14U);
    for (std::size_t i = 0; i < history.items.size(); ++i) EXPECT_EQ(history.items[i]["id"].as_integer(), static_cast<std::int64_t>(i + 1));
  }
}

TEST_F(EngineFixture, AnUnansweredTaskIsAskedAgainAfterARestart) {
  start();
  cloud.hold = true;
  const std::string arn = begin();
  EXPECT_EQ(cloud.calls.size(), 1U);
  start();
  world->loop.settle();
  EXPECT_EQ(cloud.calls.size(), 2U);
  EXPECT_EQ(cloud.calls[0].input, cloud.calls[1].input);
  cloud.answers.back().set(Json::object({{"StatusCode", 200}, {"Payload", "1"}}));
  world->loop.settle();
  EXPECT_EQ(world->executions.waiting_for(arn).front().what, "timer");
}

// Persist, then perform: while the commit has not happened, nothing is asked of the cloud.
TEST(Executions, ACommandIsPerformedOnlyOnceItIsDurable) {
  VirtualClock clock{*parse_iso("2026-01-01T00:00:00Z")};
  SeededEntropy entropy(1);
  Loop loop(clock, entropy);
  FlakyStore store;
  Ledger ledger(store, loop, Ledger::Mode::inline_commits);
  ScriptedCloud cloud;
  Executions executions(loop, ledger, cloud);
  const auto machine =
      asl::compile_text(R"({"StartAt":"T","States":{"T":{"Type":"Task","Resource":"arn:aws:lambda:us-west-2:1:function:f","End":true}}})")
          .machine;
  store.failures = 2;
  executions.start({.arn = "arn:aws:states:us-west-2:1:stateMachine:M",
                    .name = "M",
                    .role_arn = "r",
                    .region = "us-west-2",
                    .revision = "1",
                    .machine = machine},
                   "e", "{}", Json(Json::Object{}));
  loop.settle();
  EXPECT_TRUE(cloud.calls.empty());
  loop.advance_to(clock, clock.now() + std::chrono::seconds(3));
  EXPECT_EQ(cloud.calls.size(), 1U);
}

TEST_F(EngineFixture, SleepsThroughLongWaits) {
  // The same story with every wait slept through, also over restarts: the same history.
  std::string plain;
  for (const bool sleeps : {false, true}) {
    for (int crash_at = 0; crash_at < 64; crash_at += 9) {
      SCOPED_TRACE(crash_at);
      store = store::open_memory();
      cloud.calls.clear();
      start();
      if (sleeps) world->executions.set_sleep_after(Duration(0));
      const std::string arn = begin();
      world->loop.advance_to(clock, clock.now() + std::chrono::seconds(crash_at));
      EXPECT_EQ(store->scan("asleep", {})->size(), sleeps && crash_at < 60 ? 1U : 0U);
      EXPECT_EQ(world->executions.running(), crash_at < 60 ? 1U : 0U);
      EXPECT_EQ(status(arn), crash_at < 60 ? "RUNNING" : "SUCCEEDED");
      start();
      world->loop.advance_to(clock, clock.now() + std::chrono::seconds(100));
      EXPECT_EQ(status(arn), "SUCCEEDED");
      EXPECT_EQ(cloud.calls.size(), 2U);
      EXPECT_EQ(store->scan("asleep", {})->size(), 0U);
      std::string types;
      for (const Json& event : world->executions.history(arn, false, 1000, "").items) types += std::string(event["type"].string_or()) + ' ';
      if (plain.empty()) plain = types;
      EXPECT_EQ(types, plain);
    }
  }
}

TEST_F(EngineFixture, ASleeperCanBeStoppedAndAskedWhatItWaitsFor) {
  start();
  world->executions.set_sleep_after(Duration(0));
  const std::string arn = begin();
  world->loop.advance_to(clock, clock.now() + std::chrono::seconds(5));
  ASSERT_EQ(store->scan("asleep", {})->size(), 1U);
  start();
  EXPECT_EQ(world->executions.waiting_for(arn).front().what, "timer");
  world->executions.stop(arn, "Enough", "said somebody");
  world->loop.settle();
  EXPECT_EQ(status(arn), "ABORTED");
  EXPECT_EQ(store->scan("inputs", {})->size() + store->scan("asleep", {})->size(), 0U);
}

TEST_F(EngineFixture, ForgetsWhatEndedLongAgo) {
  start();
  const auto stays = [&] {
    const auto rows = *store->scan("executions", {});
    return std::count_if(rows.begin(), rows.end(), [](const store::Row& row) { return row.key.find('\n') == std::string::npos; });
  };
  for (int i = 0; i < 450; ++i) begin("{}", std::to_string(i));
  world->loop.advance_to(clock, clock.now() + std::chrono::minutes(5));
  const std::string late = begin("{}", "late");
  ASSERT_EQ(stays(), 451);
  world->executions.keep_for(std::chrono::hours(48));
  world->loop.advance_to(clock, clock.now() + std::chrono::hours(40));
  EXPECT_EQ(stays(), 451);
  const std::string running = begin("{}", "running");
  clock.set(clock.now() + std::chrono::hours(9));  // its timer has not fired yet
  world->loop.advance_to(clock, clock.now() + std::chrono::seconds(1));
  EXPECT_EQ(stays(), 1);
  EXPECT_EQ(store->scan("executions_by_machine", {})->size(), 1U);
  const auto rows = store->scan("executions", {});
  for (const auto& row : *rows) EXPECT_TRUE(row.key.starts_with(running)) << row.key;
  EXPECT_FALSE(world->executions.find(late));
}

TEST_F(EngineFixture, HistoriesOfAnOlderLayoutAreFound) {
  start();
  const std::string arn = begin();
  world->loop.settle();
  const auto before = world->executions.history(arn, false, 100, "").items;
  ASSERT_GT(before.size(), 2U);
  std::vector<store::Write> older;
  for (const auto& row : *store->scan("executions", store::Range::prefix(arn + "\n"))) {
    older.emplace_back("executions", row.key, std::nullopt);
    older.emplace_back("history", row.key, row.value);
  }
  ASSERT_TRUE(store->commit(older));
  start();
  world->loop.settle();
  EXPECT_EQ(world->executions.history(arn, false, 100, "").items, before);
  EXPECT_TRUE(store->scan("history", {})->empty());
}

TEST_F(EngineFixture, PagesOfHistoryAndLists) {
  start();
  const std::string arn = begin();
  world->loop.advance_to(clock, clock.now() + std::chrono::seconds(61));
  std::string ids, token;
  do {
    auto page = world->executions.history(arn, true, 4, token);
    for (const Json& e : page.items) ids += e["id"].dump() + ' ';
    token = page.next;
  } while (!token.empty());
  EXPECT_EQ(ids, "14 13 12 11 10 9 8 7 6 5 4 3 2 1 ");
  ids.clear();
  do {
    auto page = world->executions.history(arn, false, 4, token);
    for (const Json& e : page.items) ids += e["id"].dump() + ' ';
    token = page.next;
  } while (!token.empty());
  EXPECT_EQ(ids, "1 2 3 4 5 6 7 8 9 10 11 12 13 14 ");
  EXPECT_EQ(world->executions.list("arn:aws:states:us-west-2:1:stateMachine:M", "SUCCEEDED", 10, "").items.size(), 1U);
  EXPECT_EQ(world->executions.list("arn:aws:states:us-west-2:1:stateMachine:M", "FAILED", 10, "").items.size(), 0U);
  EXPECT_EQ(world->executions.list("arn:aws:states:us-west-2:1:stateMachine:N", "", 10, "").items.size(), 0U);
}

// A machine of `states` Pass states in a row.
std::shared_ptr<const asl::Machine> chain(int states) {
  Json::Object all;
  for (int i = 1; i <= states; ++i) {
    Json::Object state{{"Type", "Pass"}};
    if (i < states)
      state.set("Next", "S" + std::to_string(i + 1));
    else
      state.set("End", true);
    all.set("S" + std::to_string(i), std::move(state));
  }
  return asl::compile(Json::object({{"StartAt", "S1"}, {"States", std::move(all)}})).machine;
}

// An endless loop of states once held the loop for as long as its history had room.
TEST_F(EngineFixture, AChainOfStatesLetsOthersHaveTheirTurn) {
  machine = chain(300);
  start();
  int turns_of_others = 0;
  std::function<void()> other = [&] {
    ++turns_of_others;
    if (world->executions.running() > 0) world->loop.post(other);
  };
  world->loop.post(other);
  const std::string arn = begin();
  EXPECT_EQ(status(arn), "SUCCEEDED");
  EXPECT_GT(turns_of_others, 3);
  EXPECT_EQ(world->executions.history(arn, false, 1000, "").items.size(), 602U);
}

TEST_F(EngineFixture, AChainInterruptedBetweenTwoStepsGoesOnAfterARestart) {
  machine = chain(300);
  const auto types = [&](const std::string& arn) {
    std::string out;
    for (const Json& e : world->executions.history(arn, false, 1000, "").items)
      out += e["id"].dump() + std::string(e["type"].string_or()) + ' ';
    return out;
  };
  start();
  const std::string whole = types(begin());
  for (int turns = 1; turns < 6; ++turns) {
    SCOPED_TRACE(turns);
    store = store::open_memory();
    start();
    world->executions.start({.arn = "arn:aws:states:us-west-2:1:stateMachine:M",
                             .name = "M",
                             .role_arn = "r",
                             .region = "us-west-2",
                             .revision = "1",
                             .machine = machine},
                            "e", "{}", Json(Json::Object{}));
    for (int i = 0; i < turns; ++i) world->loop.step(clock, clock.now());
    start();
    world->loop.settle();
    const std::string arn = "arn:aws:states:us-west-2:1:execution:M:e";
    EXPECT_EQ(status(arn), "SUCCEEDED");
    EXPECT_EQ(types(arn), whole);
  }
}

// Journals of before there was a budget have Inputs without one: they are stepped through in one go, as they were then.
TEST_F(EngineFixture, AJournalWithoutBudgetsIsReplayedInOneGo) {
  asl::Input started = asl::Input::about(asl::Input::Kind::started, 0);
  started.at = clock.now();
  EXPECT_EQ(started.to_json().find("budget"), nullptr);
  asl::ExecutionInfo info;
  info.input = Json(Json::Object{});
  info.input_text = "{}";
  asl::Execution execution(chain(300), info);
  const asl::Step step = execution.step(asl::Input::from_json(started.to_json()));
  EXPECT_FALSE(step.more);
  EXPECT_EQ(execution.status(), asl::Status::succeeded);
}

TEST_F(EngineFixture, ABudgetIsKeptInTheJournal) {
  asl::Input started = asl::Input::about(asl::Input::Kind::started, 0);
  started.budget = 7;
  EXPECT_EQ(asl::Input::from_json(started.to_json()).budget, 7);
}

TEST(Machine, SaysWhichDefinitionsMayComputeForLong) {
  const auto computes_long = [](const std::string& expression) {
    const auto compiled = asl::compile_text(R"({"QueryLanguage":"JSONata","StartAt":"P","States":{"P":{"Type":"Pass","Output":"{% )" +
                                            expression + R"( %}","End":true}}})");
    EXPECT_TRUE(compiled.machine) << expression;
    return compiled.machine && compiled.machine->computes_long;
  };
  for (const char* quick : {"$states.input", "$states.input.a.b", "$states.input.items[0].id", "$count($states.input.items) > 3", "1 + 2",
                            "$states.input.a & '-' & $states.context.Execution.Name", "{'a': $states.input.a, 'b': [1, $now()]}",
                            "$exists($states.input.x) ? $states.input.x : 'none'", "($x := $states.input.a; $x + 1)"})
    EXPECT_FALSE(computes_long(quick)) << quick;
  for (const char* slow : {"$map($states.input, function($v) { $v })", "[1..100000]", "$states.input.items[price > 3]",
                           "$states.input.items.($states.input.items)", "($f := function($n) { $f($n + 1) }; $f(1))",
                           "$states.input^(price)", "$states.input.**.id", "$sort($states.input)", "$distinct($states.input)"})
    EXPECT_TRUE(computes_long(slow)) << slow;
  std::string many;
  for (int i = 0; i < 100; ++i) many += (i ? " + " : "") + std::string("$count($states.input)");
  EXPECT_TRUE(computes_long(many));
}

// A world in real time, with its loop on a thread of its own.
struct LiveWorld {
  explicit LiveWorld(store::Store& store, std::shared_ptr<const asl::Machine> m)
      : machine(std::move(m)), ledger(store, loop, Ledger::Mode::background_commits), executions(loop, ledger, cloud) {
    executions.use_stepper();
    loop.post([this] { executions.restore([this](const std::string&, const std::string&) { return machine; }); });
    thread = std::thread([this] { loop.run(); });
  }
  ~LiveWorld() {
    loop.stop();
    thread.join();
  }
  template <class F>
  auto on_loop(F work) {
    std::promise<decltype(work())> promise;
    auto result = promise.get_future();
    loop.post([&] { promise.set_value(work()); });
    return result.get();
  }
  // The loop answers, and what it wrote is durable.
  void commit() {
    std::promise<void> done;
    loop.post([&] { ledger.after_commit([&] { done.set_value(); }); });
    done.get_future().get();
  }
  std::string begin() {
    return on_loop([this] {
      const Json begun = executions.start({.arn = "arn:aws:states:us-west-2:1:stateMachine:M",
                                           .name = "M",
                                           .role_arn = "r",
                                           .region = "us-west-2",
                                           .revision = "1",
                                           .machine = machine},
                                          "e", "{}", Json(Json::Object{}));
      return std::string(begun["executionArn"].string_or());
    });
  }
  Json find(const std::string& arn) {
    return on_loop([&] { return executions.find(arn).value_or(Json()); });
  }
  std::string wait_for_end(const std::string& arn) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (std::chrono::steady_clock::now() < until) {
      if (const Json record = find(arn); record["status"].string_or() != "RUNNING") return std::string(record["status"].string_or());
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return "still RUNNING";
  }

  SystemClock clock;
  SystemEntropy entropy;
  Loop loop{clock, entropy};
  std::shared_ptr<const asl::Machine> machine;
  ScriptedCloud cloud;
  Ledger ledger;
  Executions executions;
  std::thread thread;
};

std::shared_ptr<const asl::Machine> computing(const char* expression, int rounds) {
  Json::Object all;
  for (int i = 1; i <= rounds; ++i) {
    Json::Object state{{"Type", "Pass"}, {"Output", std::string("{% ") + expression + " %}"}};
    if (i < rounds)
      state.set("Next", "S" + std::to_string(i + 1));
    else
      state.set("End", true);
    all.set("S" + std::to_string(i), std::move(state));
  }
  return asl::compile(Json::object({{"QueryLanguage", "JSONata"}, {"StartAt", "S1"}, {"States", std::move(all)}})).machine;
}

// Endless recursion, which only the limit of an evaluation ends: some tenths of a second for every state.
constexpr const char* kLong = "($f := function($n) { $n > 0 ? $f($n - 1) : 7 }; $f(150000))";

TEST(Stepper, ALongExpressionDelaysNoOtherWork) {
  const auto store = store::open_memory();
  LiveWorld world(*store, computing(kLong, 3));
  const std::string arn = world.begin();
  int answered = 0;
  while (world.find(arn)["status"].string_or() == "RUNNING") ++answered;
  EXPECT_GT(answered, 20);  // each a round through the loop while the expressions were computed
  EXPECT_EQ(world.find(arn)["output"].string_or(), "7");
  EXPECT_EQ(world.on_loop([&] { return world.executions.history(arn, false, 100, "").items.size(); }), 8U);
}

TEST(Stepper, WhatWasAcknowledgedIsDoneAfterARestart) {
  const auto store = store::open_memory();
  std::string arn;
  {
    LiveWorld world(*store, computing(kLong, 12));
    arn = world.begin();
    world.commit();
    EXPECT_EQ(world.find(arn)["status"].string_or(), "RUNNING");
  }  // ends at once, in the middle of an expression
  LiveWorld world(*store, computing(kLong, 12));
  EXPECT_EQ(world.wait_for_end(arn), "SUCCEEDED");
  const auto events = world.on_loop([&] { return world.executions.history(arn, false, 1000, "").items; });
  ASSERT_EQ(events.size(), 26U);
  for (std::size_t i = 0; i < events.size(); ++i) EXPECT_EQ(events[i]["id"].as_integer(), static_cast<std::int64_t>(i + 1));
}

TEST(Stepper, AnExecutionThatIsBeingReplayedCanBeStopped) {
  const auto store = store::open_memory();
  std::string arn;
  {
    LiveWorld world(*store, computing(kLong, 400));
    arn = world.begin();
    world.commit();
  }
  LiveWorld world(*store, computing(kLong, 400));
  world.on_loop([&] {
    world.executions.stop(arn, "Enough", "said somebody");
    return true;
  });
  EXPECT_EQ(world.find(arn)["status"].string_or(), "ABORTED");
  world.commit();
  EXPECT_EQ(store->scan("inputs", {})->size(), 0U);
  const auto events = world.on_loop([&] { return world.executions.history(arn, false, 1000, "").items; });
  EXPECT_EQ(events.back()["type"].string_or(), "ExecutionAborted");
}

TEST(Abort, EndsARunningExecutionByItsRowsAlone) {
  const auto store = store::open_memory();
  std::string arn;
  {
    LiveWorld world(*store, computing(kLong, 400));
    arn = world.begin();
    world.commit();
  }
  const auto record = abort_execution(*store, arn, SystemClock().now(), "Enough", "said somebody");
  ASSERT_TRUE(record);
  EXPECT_EQ((*record)["status"].string_or(), "ABORTED");
  EXPECT_EQ(abort_execution(*store, arn, SystemClock().now(), "", "").error().code, ErrorCode::conflict);
  EXPECT_EQ(abort_execution(*store, arn + "x", SystemClock().now(), "", "").error().code, ErrorCode::not_found);
  LiveWorld world(*store, computing(kLong, 400));
  EXPECT_EQ(world.find(arn)["cause"].string_or(), "said somebody");
  EXPECT_EQ(world.on_loop([&] { return world.executions.running(); }), 0U);
}

}  // namespace
}  // namespace snapward::engine
