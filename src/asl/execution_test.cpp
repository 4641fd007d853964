// The interpreter by its own words, Inputs and Commands: what tests/transcripts cannot say.
#include "asl/execution.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>

namespace snapward::asl {
namespace {

const Instant kStart = *parse_iso("2026-01-01T00:00:00Z");

// Runs a machine on virtual time: answers each InvokeTask with the next outcome of its script, fires each timer when nothing else is left.
class Transcript {
 public:
  explicit Transcript(const std::string& definition, const std::string& input = "{}", std::optional<Input> first = {}) {
    auto compiled = compile_text(definition);
    EXPECT_TRUE(compiled.machine) << describe(compiled.diagnostics);
    if (!compiled.machine) return;
    info_.arn = "arn:aws:states:us-west-2:1:execution:M:e";
    info_.name = "e";
    info_.machine_arn = "arn:aws:states:us-west-2:1:stateMachine:M";
    info_.machine_name = "M";
    info_.region = "us-west-2";
    info_.input_text = input;
    info_.input = *Json::parse(input);
    info_.started = kStart;
    execution = std::make_unique<Execution>(compiled.machine, info_);
    if (!first) first = Input::about(Input::Kind::started, 0);
    first->at = kStart;
    first->seed = 1;
    feed(*first);
  }

  void feed(Input input) {
    inputs.push_back(input);
    now_ = input.at;
    Step step = execution->step(input);
    for (auto& event : step.history) history.push_back(event);
    for (auto& command : step.commands) {
      if (command.kind == Command::Kind::invoke_task) tasks.push_back(command);
      if (command.kind == Command::Kind::start_child) children.push_back(command);
      if (command.kind == Command::Kind::cancel_task) std::erase_if(tasks, [&](const Command& t) { return t.id == command.id; });
      if (command.kind == Command::Kind::start_timer) timers[command.id] = command.deadline;
      if (command.kind == Command::Kind::cancel_timer) timers.erase(command.id);
      if (command.kind == Command::Kind::finish) ++finishes;
    }
  }
  void succeed(const std::string& value) {
    answer({.kind = Input::Kind::task_succeeded, .at = now_, .seed = 2, .id = 0, .value = *Json::parse(value), .error = {}, .cause = {}});
  }
  void fail(const std::string& error, const std::string& cause = "because") {
    answer({.kind = Input::Kind::task_failed, .at = now_, .seed = 3, .id = 0, .value = {}, .error = error, .cause = cause});
  }
  // Fires the earliest timer; gives how long it took.
  Duration wait() {
    EXPECT_FALSE(timers.empty());
    auto first = timers.begin();
    for (auto t = timers.begin(); t != timers.end(); ++t)
      if (t->second < first->second) first = t;
    const Duration span = first->second - now_;
    const std::int64_t id = first->first;
    const Instant at = first->second;
    timers.erase(first);
    feed({.kind = Input::Kind::timer_fired, .at = at, .seed = 4, .id = id, .value = {}, .error = {}, .cause = {}});
    return span;
  }
  // "PassStateEntered PassStateExited …", each with its id's predecessor where it is not the one before.
  [[nodiscard]] std::string transcript() const {
    std::string out;
    for (const auto& e : history) {
      out += (out.empty() ? "" : " ") + std::string(e.type);
      if (e.previous != e.id - 1) out += "<" + std::to_string(e.previous);
    }
    return out;
  }
  [[nodiscard]] std::string output() const { return execution->output_text(); }

  std::unique_ptr<Execution> execution;
  std::vector<HistoryEvent> history;
  std::vector<Input> inputs;
  std::deque<Command> tasks;
  std::vector<Command> children;
  std::map<std::int64_t, Instant> timers;
  int finishes = 0;
  ExecutionInfo info_;

 private:
  void answer(Input input) {
    ASSERT_FALSE(tasks.empty());
    input.id = tasks.front().id;
    tasks.pop_front();
    feed(std::move(input));
  }
  Instant now_;
};

constexpr const char* kTask =
    R"x({"StartAt":"T","States":{"T":{"Type":"Task","Resource":"arn:aws:lambda:us-west-2:1:function:f","TimeoutSeconds":60,"ResultPath":"$.r","End":true}}})x";

TEST(Execution, TaskTimesOut) {
  Transcript run(kTask);
  EXPECT_EQ(run.wait(), std::chrono::seconds(60));
  EXPECT_EQ(run.execution->status(), Status::failed);
  EXPECT_EQ(run.execution->failure().error, "States.Timeout");
  EXPECT_TRUE(run.transcript().ends_with("LambdaFunctionTimedOut ExecutionFailed"));
  EXPECT_TRUE(run.tasks.empty());  // cancelled
}

TEST(Execution, ALateAnswerChangesNothing) {
  Transcript run(kTask);
  const auto task = run.tasks.front();
  run.wait();
  const auto before = run.history.size();
  run.feed({.kind = Input::Kind::task_succeeded, .at = kStart, .seed = 0, .id = task.id, .value = 1, .error = {}, .cause = {}});
  run.feed({.kind = Input::Kind::started, .at = kStart, .seed = 0, .id = 0, .value = {}, .error = {}, .cause = {}});
  EXPECT_EQ(run.history.size(), before);
}

TEST(Execution, RetriesWithBackOffThenCatches) {
  Transcript run(R"x({"StartAt":"T","States":{"T":{"Type":"Task","Resource":"arn:aws:states:::aws-sdk:ec2:describeVolumes",
    "Retry":[{"ErrorEquals":["Throttled"],"IntervalSeconds":2,"BackoffRate":3,"MaxAttempts":3,"MaxDelaySeconds":7}],
    "Catch":[{"ErrorEquals":["States.ALL"],"ResultPath":"$.e","Next":"C"}],"End":true},"C":{"Type":"Pass","End":true}}})x",
                 R"x({"a":1})x");
  run.fail("Throttled");
  EXPECT_EQ(run.wait(), std::chrono::seconds(2));
  run.fail("Throttled");
  EXPECT_EQ(run.wait(), std::chrono::seconds(6));
  run.fail("Throttled");
  EXPECT_EQ(run.wait(), std::chrono::seconds(7));
  run.fail("Throttled", "enough");
  EXPECT_EQ(run.output(), R"x({"a":1,"e":{"Error":"Throttled","Cause":"enough"}})x");
  EXPECT_EQ(run.transcript(),
            "ExecutionStarted TaskStateEntered<0 TaskScheduled TaskStarted TaskFailed TaskScheduled TaskStarted TaskFailed TaskScheduled "
            "TaskStarted TaskFailed "
            "TaskScheduled TaskStarted TaskFailed TaskStateExited PassStateEntered PassStateExited ExecutionSucceeded");
}

// The documentation says that States.ALL does not catch States.DataLimitExceeded; what AWS recorded says that it does.
TEST(Execution, StatesAllCatchesAllButRuntime) {
  const std::string definition =
      R"x({"StartAt":"T","States":{"T":{"Type":"Task","Resource":"arn:aws:states:::sns:publish","Catch":[{"ErrorEquals":["States.ALL"],"Next":"C"}],"End":true},"C":{"Type":"Pass","End":true}}})x";
  Transcript run(definition);
  run.fail("States.Runtime");
  EXPECT_EQ(run.execution->status(), Status::failed);
  Transcript large(definition);
  large.succeed('"' + std::string(kMaxPayloadBytes, 'x') + '"');
  EXPECT_EQ((*Json::parse(large.output()))["Error"].string_or(), "States.DataLimitExceeded");
  Transcript fits(definition);
  fits.succeed('"' + std::string(kMaxPayloadBytes - 2, 'x') + '"');
  EXPECT_EQ(fits.execution->status(), Status::succeeded);
}

TEST(Execution, MapRunsItemsWithinItsLimit) {
  Transcript run(
      R"x({"StartAt":"M","States":{"M":{"Type":"Map","ItemsPath":"$.l","MaxConcurrency":2,"ItemSelector":{"i.$":"$$.Map.Item.Index","v.$":"$$.Map.Item.Value"},
    "ItemProcessor":{"StartAt":"T","States":{"T":{"Type":"Task","Resource":"arn:aws:states:::sns:publish","End":true}}},"End":true}}})x",
      R"x({"l":["a","b","c"]})x");
  EXPECT_EQ(run.tasks.size(), 2U);
  EXPECT_EQ(run.tasks[1].parameters.dump(), R"x({"i":1,"v":"b"})x");
  run.succeed("1");
  EXPECT_EQ(run.tasks.size(), 2U);
  run.succeed("2");
  run.succeed("3");
  EXPECT_EQ(run.output(), "[1,2,3]");
}

TEST(Execution, AFailingItemFailsTheMapAndAbortsTheRest) {
  Transcript run(
      R"x({"StartAt":"M","States":{"M":{"Type":"Map","ItemProcessor":{"StartAt":"T","States":{"T":{"Type":"Task","Resource":"arn:aws:states:::sns:publish","End":true}}},"End":true}}})x",
      "[1,2]");
  run.fail("E");
  EXPECT_TRUE(run.transcript().find("MapIterationFailed TaskStateAborted<11 MapIterationAborted") != std::string::npos) << run.transcript();
  EXPECT_TRUE(run.transcript().ends_with("MapStateFailed ExecutionFailed")) << run.transcript();
  EXPECT_TRUE(run.tasks.empty());
}

TEST(Execution, AThousandItemsDoNotGrowTheStack) {
  std::string items = "[0";
  for (int i = 1; i < 1000; ++i) items += "," + std::to_string(i);
  Transcript run(
      R"x({"StartAt":"M","States":{"M":{"Type":"Map","ItemProcessor":{"StartAt":"P","States":{"P":{"Type":"Pass","End":true}}},"End":true}}})x",
      items + "]");
  EXPECT_EQ(run.output(), items + "]");
  EXPECT_EQ(run.history.size(), 4U + 4 * 1000 + 2);
}

TEST(Execution, ALoopEndsAtTheHistoryLimit) {
  Transcript run(
      R"x({"StartAt":"A","States":{"A":{"Type":"Pass","Next":"C"},"C":{"Type":"Choice","Choices":[{"Variable":"$","IsNull":true,"Next":"S"}],"Default":"A"},"S":{"Type":"Succeed"}}})x");
  EXPECT_EQ(run.execution->status(), Status::failed);
  EXPECT_LE(run.execution->events(), kMaxHistoryEvents);
  EXPECT_EQ(run.execution->failure().cause, "The execution reached the maximum number of history events (25000).");
}

TEST(Execution, WaitsForATokenWithHeartbeats) {
  Transcript run(
      R"x({"StartAt":"T","States":{"T":{"Type":"Task","Resource":"arn:aws:states:::sqs:sendMessage.waitForTaskToken","HeartbeatSeconds":10,"Parameters":{"QueueUrl":"q","MessageBody":{"token.$":"$$.Task.Token"}},"End":true}}})x");
  const auto task = run.tasks.front();
  EXPECT_EQ(task.parameters["MessageBody"]["token"].as_string(), task.token);
  run.feed({.kind = Input::Kind::task_submitted,
            .at = kStart,
            .seed = 0,
            .id = task.id,
            .value = Json::object({{"MessageId", "m"}}),
            .error = {},
            .cause = {}});
  run.feed({.kind = Input::Kind::task_heartbeat,
            .at = kStart + std::chrono::seconds(8),
            .seed = 0,
            .id = task.id,
            .value = {},
            .error = {},
            .cause = {}});
  EXPECT_EQ(run.wait(), std::chrono::seconds(10));
  EXPECT_EQ(run.execution->failure().error, "States.Timeout");  // recorded by AWS so; a Catch of States.HeartbeatTimeout takes it too
}

// The contract that recovery rests on: the same Inputs, through their journal form, give the same bytes.
TEST(Execution, ReplayGivesTheSameHistory) {
  const char* definition =
      R"x({"StartAt":"A","States":{"A":{"Type":"Pass","Parameters":{"id.$":"States.UUID()","r.$":"States.MathRandom(1, 1000000)"},"ResultPath":"$.a","Next":"T"},
    "T":{"Type":"Task","Resource":"arn:aws:states:::sns:publish","ResultPath":"$.t","Retry":[{"ErrorEquals":["States.ALL"],"JitterStrategy":"FULL"}],"Next":"W"},"W":{"Type":"Wait","Seconds":3,"End":true}}})x";
  Transcript run(definition);
  run.fail("E");
  run.wait();
  run.succeed("{}");
  run.wait();
  ASSERT_EQ(run.execution->status(), Status::succeeded);
  Execution again(compile_text(definition).machine, run.info_);
  std::vector<HistoryEvent> history;
  for (const Input& input : run.inputs)
    for (auto& event : again.step(Input::from_json(*Json::parse(input.to_json().dump()))).history) history.push_back(event);
  ASSERT_EQ(history.size(), run.history.size());
  EXPECT_EQ(stored_events(history), stored_events(run.history));
}

TEST(History, StoredEventsReadBackAsTheApiShowsThem) {
  Transcript run(R"x({"StartAt":"A","States":{"A":{"Type":"Pass","Result":{"n":"é"},"Next":"B"},"B":{"Type":"Pass","End":true}}})x", "{ }");
  const auto events = api_events(*Json::parse(stored_events(run.history)));
  ASSERT_EQ(events.size(), 6U);
  EXPECT_EQ(
      events[0].dump(),
      R"x({"timestamp":"2026-01-01T00:00:00.000Z","type":"ExecutionStarted","id":1,"previousEventId":0,"executionStartedEventDetails":{"input":"{ }","inputDetails":{"truncated":false},"roleArn":""}})x");
  EXPECT_EQ(events[2]["stateExitedEventDetails"].dump(), R"x({"name":"A","output":"{\"n\":\"é\"}","outputDetails":{"truncated":false}})x");
  EXPECT_EQ(events[3]["stateEnteredEventDetails"]["input"].as_string(), R"x({"n":"é"})x");
  EXPECT_EQ(events[5]["executionSucceededEventDetails"].dump(), R"x({"output":"{\"n\":\"é\"}","outputDetails":{"truncated":false}})x");
}

// Written once, whatever way values go through the states; read back as they were.
TEST(History, AValueThatIsPassedOnIsWrittenOnce) {
  Transcript run(R"x({"StartAt":"A","States":{
    "A":{"Type":"Pass","Result":{"list":["a long enough text to be a node of its own"]},"ResultPath":"$.a","Next":"B"},
    "B":{"Type":"Pass","Result":7,"ResultPath":"$.n","Next":"C"},
    "C":{"Type":"Pass","Result":[8],"ResultPath":"$.a","Next":"P"},
    "P":{"Type":"Parallel","ResultPath":"$.p","Next":"M","Branches":[
      {"StartAt":"P1","States":{"P1":{"Type":"Pass","Result":{"x":1},"End":true}}},
      {"StartAt":"P2","States":{"P2":{"Type":"Pass","InputPath":"$.big","End":true}}}]},
    "M":{"Type":"Pass","Parameters":{"n.$":"$.n","big.$":"$.big"},"Next":"N"},
    "N":{"Type":"Pass","ResultPath":"$","Result":null,"Next":"O"},
    "O":{"Type":"Pass","End":true}}})x",
                 R"x({"big":{"of":"the input, which is longer than what is set"},"n":1})x");
  const std::string stored = stored_events(run.history);
  std::size_t times = 0;
  for (std::size_t at = stored.find("which is longer"); at != std::string::npos; at = stored.find("which is longer", at + 1)) ++times;
  // The input, that part of it alone, in the branches' results, and in a new object.
  EXPECT_EQ(times, 4U) << stored;
  for (const char* how : {"ValueSame\":true", "ValueOf\":", "ValueOver\":{\"of\":3,\"set\":{\"n\":7}}"})
    EXPECT_NE(stored.find(how), std::string::npos) << how;
  const auto events = api_events(*Json::parse(stored));
  ASSERT_EQ(events.size(), run.history.size());
  for (std::size_t i = 0; i < events.size(); ++i) {
    const HistoryEvent& was = run.history[i];
    if (!*was.details) continue;
    Json::Object details;
    for (const auto& [key, value] : was.body.as_object()) {
      const bool data = key.ends_with("Value");
      details.set(data ? key.substr(0, key.size() - 5) : key, data ? Json(value.dump()) : value);
      if (data) details.set(key.substr(0, key.size() - 5) + "Details", Json::object({{"truncated", false}}));
    }
    EXPECT_EQ(events[i][was.details].dump(), Json(details).dump()) << i;
  }
}

// As it was written before values were given by reference.
TEST(History, ReadsWhatOlderVersionsWrote) {
  const auto events = api_events(*Json::parse(
      R"x([{"id":1,"stateEnteredEventDetails":{"name":"A","inputValue":{"a":1}}},{"id":2,"stateExitedEventDetails":{"name":"A","outputValueSame":true}}])x"));
  EXPECT_EQ(events[1]["stateExitedEventDetails"]["output"].string_or(), R"x({"a":1})x");
}

// ── JSONata ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

std::string jsonata(const std::string& states) { return R"x({"QueryLanguage":"JSONata","StartAt":"A","States":{)x" + states + "}}"; }

TEST(Jsonata, RunawayExpressionsEndWithAnError) {
  for (const char* expression :
       {"($f := function($n){1 + $f($n)}; $f(1))", "$reduce([1..800000], function($a,$i){[$a,$a]})", "$count([1..873783])"}) {
    Transcript run(jsonata(R"x("A":{"Type":"Pass","Output":"{% )x" + std::string(expression) + R"x( %}","End":true})x"));
    EXPECT_EQ(run.execution->failure().error, "States.QueryEvaluationError") << expression;
  }
  Transcript most(jsonata(R"x("A":{"Type":"Pass","Output":"{% $count([1..873782]) %}","End":true})x"));
  EXPECT_EQ(most.output(), "873782");
}

TEST(DistributedMap, EachItemIsAnExecution) {
  Transcript run(
      R"x({"StartAt":"M","States":{"M":{"Type":"Map","MaxConcurrency":2,"ToleratedFailureCount":1,"ItemBatcher":{"MaxItemsPerBatch":2,"BatchInput":{"k":1}},
    "ItemProcessor":{"ProcessorConfig":{"Mode":"DISTRIBUTED","ExecutionType":"STANDARD"},"StartAt":"P","States":{"P":{"Type":"Succeed"}}},"End":true}}})x",
      "[1,2,3,4,5]");
  EXPECT_EQ(run.transcript(), "ExecutionStarted MapStateEntered<0 MapStateStarted MapRunStarted");
  ASSERT_EQ(run.children.size(), 2U);
  EXPECT_EQ(run.children[0].parameters.dump(), R"x({"BatchInput":{"k":1},"Items":[1,2]})x");
  const auto answer = [&](std::size_t child, Input::Kind kind, const char* value) {
    Input input = Input::about(kind, run.children[child].id, *Json::parse(value));
    input.at = kStart;
    run.feed(input);
  };
  answer(0, Input::Kind::task_succeeded, R"x({"output":"a"})x");
  ASSERT_EQ(run.children.size(), 3U);
  answer(1, Input::Kind::task_failed, "{}");
  answer(2, Input::Kind::task_succeeded, R"x({"output":"c"})x");
  EXPECT_EQ(run.output(), R"x(["a",{},"c"])x");
  EXPECT_TRUE(run.transcript().ends_with("MapRunSucceeded MapStateSucceeded MapStateExited<5 ExecutionSucceeded")) << run.transcript();
}

TEST(DistributedMap, ReadsItsItemsFromADocument) {
  const auto with = [](const std::string& config, const std::string& body) {
    Transcript run(
        R"x({"StartAt":"M","States":{"M":{"Type":"Map","ItemReader":{"Resource":"arn:aws:states:::s3:getObject","ReaderConfig":)x" +
        config +
        R"x(,"Parameters":{"Bucket":"b","Key":"k"}},"ItemProcessor":{"ProcessorConfig":{"Mode":"DISTRIBUTED","ExecutionType":"STANDARD"},"StartAt":"P","States":{"P":{"Type":"Succeed"}}},"End":true}}})x");
    Input input = Input::about(Input::Kind::task_succeeded, run.tasks.at(0).id, Json::object({{"Body", body}}));
    input.at = kStart;
    run.feed(input);
    std::string out;
    for (const Command& child : run.children) out += child.parameters.dump() + ' ';
    return run.execution->status() == Status::failed ? run.execution->failure().error + ": " + run.execution->failure().cause : out;
  };
  EXPECT_EQ(with(R"x({"InputType":"CSV","CSVHeaderLocation":"FIRST_ROW"})x", "a,b\r\n1,\"x, \"\"y\"\"\"\n2,\n"),
            R"x({"a":"1","b":"x, \"y\""} {"a":"2","b":""} )x");
  EXPECT_EQ(with(R"x({"InputType":"JSON","MaxItems":2})x", "[1,[2],3]"), "1 [2] ");
  EXPECT_EQ(with(R"x({"InputType":"JSONL"})x", "{\"a\":1}\n\n2"), R"x({"a":1} 2 )x");
  EXPECT_TRUE(with(R"x({"InputType":"JSON"})x", "{}").starts_with("States.ItemReaderFailed")) << with(R"x({"InputType":"JSON"})x", "{}");
}

// What RedriveExecution feeds to a new Execution.
Input redrive_of(const Transcript& failed) {
  Json::Object point = failed.execution->failure_point().as_object();
  point.set("redriveCount", 1);
  return Input::about(Input::Kind::redriven, 0, Json(std::move(point)));
}

TEST(Redrive, OfAMapRunsOnlyTheItemsThatDidNotSucceed) {
  const char* definition = R"x({"StartAt":"M","States":{"M":{"Type":"Map","MaxConcurrency":2,"End":true,
    "ItemProcessor":{"StartAt":"T","States":{"T":{"Type":"Task","Resource":"arn:aws:states:::sns:publish","End":true}}}}}})x";
  Transcript first(definition, "[1,2,3,4]");
  first.succeed("10");
  first.fail("E");  // the second, while the third runs
  EXPECT_EQ(first.execution->status(), Status::failed);
  Transcript second(definition, "[1,2,3,4]", redrive_of(first));
  ASSERT_EQ(second.tasks.size(), 2U);
  second.fail("E");  // and again
  Transcript third(definition, "[1,2,3,4]", redrive_of(second));
  ASSERT_EQ(third.tasks.size(), 2U);
  third.succeed("20");
  third.succeed("30");
  third.succeed("40");
  EXPECT_EQ(third.output(), "[10,20,30,40]");
}

TEST(Redrive, OfADistributedMapRedrivesItsRun) {
  const auto definition = [](const char* type) {
    return std::string(
               R"x({"StartAt":"M","States":{"M":{"Type":"Map","MaxConcurrency":2,"ItemSelector":{"i.$":"$$.Map.Item.Value"},"ItemProcessor":{"ProcessorConfig":{"Mode":"DISTRIBUTED","ExecutionType":")x") +
           type + R"x("},"StartAt":"P","States":{"P":{"Type":"Succeed"}}},"End":true}}})x";
  };
  for (const char* type : {"STANDARD", "EXPRESS"}) {
    const auto answer = [](Transcript& run, std::size_t child, bool good) {
      Input input = Input::about(good ? Input::Kind::task_succeeded : Input::Kind::task_failed, run.children[child].id,
                                 Json::object({{"output", run.children[child].parameters["i"]}}));
      input.at = kStart;
      run.feed(input);
    };
    Transcript first(definition(type), "[1,2,3]");
    answer(first, 0, true);
    answer(first, 1, false);  // while the third runs
    EXPECT_EQ(first.execution->failure().error, "States.ExceedToleratedFailureThreshold");
    Transcript second(definition(type), "[1,2,3]", redrive_of(first));
    EXPECT_EQ(second.transcript(), "ExecutionRedriven MapStateEntered MapStateStarted MapRunRedriven");
    EXPECT_EQ(second.history[3].body["mapRunArn"], first.history[3].body["mapRunArn"]);
    ASSERT_EQ(second.children.size(), 2U);
    const bool standard = std::string_view(type) == "STANDARD";  // goes on as the execution it was; an Express one is begun anew
    EXPECT_EQ(second.children[0].again, standard);
    EXPECT_EQ(second.children[0].name == first.children[1].name, standard);
    EXPECT_EQ(second.children[0].parameters.dump(), R"x({"i":2})x");
    answer(second, 0, true);
    answer(second, 1, true);
    EXPECT_EQ(second.output(), "[1,2,3]");
  }
}

}  // namespace
}  // namespace snapward::asl
