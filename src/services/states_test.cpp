// Step Functions through its API, on virtual time: what the machines of services_test do not reach.
#include "support/world.hpp"

namespace snapward::services {
namespace {

using support::TestWorld;

class StatesTest : public ::testing::Test {
 protected:
  static constexpr const char* kRole = "arn:aws:iam::000000000000:role/r";
  TestWorld w;

  std::string machine(const std::string& name, const std::string& definition, const std::string& more = "") {
    Json::Object in{{"name", name}, {"definition", definition}, {"roleArn", kRole}};
    if (!more.empty())
      for (const auto& [key, value] : Json::parse(more)->as_object()) in.set(key, value);
    return std::string(w.must("states", "CreateStateMachine", Json(std::move(in)))["stateMachineArn"].string_or());
  }
  Json start(const std::string& arn, const std::string& input = "{}") {
    return w.must("states", "StartExecution", Json::object({{"stateMachineArn", arn}, {"input", input}}));
  }
  Json describe(const Json& started) {
    return w.must("states", "DescribeExecution", Json::object({{"executionArn", started["executionArn"]}}));
  }
  std::string types(const Json& started) {
    std::string out;
    const Json history = w.must("states", "GetExecutionHistory", Json::object({{"executionArn", started["executionArn"]}}));
    for (const Json& e : history["events"].items()) out += std::string(e["type"].string_or()) + ' ';
    return out;
  }
  Json run(const std::string& operation, const Json& input, const char* service = "states") {  // a call that takes (virtual) time
    std::optional<cloud::Reply> reply;
    w.world->loop.spawn(w.world->cloud.call({service, TestWorld::kPrimary, operation, input}),
                        [&](cloud::Reply r) { reply = std::move(r); });
    w.world->loop.settle();
    for (int i = 0; i < 100 && !reply; ++i) w.advance(std::chrono::seconds(1));
    EXPECT_TRUE(reply && *reply) << (reply && !*reply ? (*reply).error().message : "no answer");
    return reply && *reply ? **reply : Json();
  }
};

constexpr const char* kPass = R"x({"StartAt":"A","States":{"A":{"Type":"Pass","Result":1,"End":true}}})x";

TEST_F(StatesTest, ExpressRunsWithoutLeavingATrace) {
  const std::string arn = machine(
      "E",
      R"x({"StartAt":"W","States":{"W":{"Type":"Wait","Seconds":3,"Next":"A"},"A":{"Type":"Pass","Parameters":{"got.$":"$.a"},"End":true}}})x",
      R"x({"type":"EXPRESS"})x");
  const Json done = run("StartSyncExecution", Json::object({{"stateMachineArn", arn}, {"input", R"x({"a":5})x"}, {"name", "x"}}));
  EXPECT_EQ(done["status"].string_or(), "SUCCEEDED");
  EXPECT_EQ(done["output"].string_or(), R"x({"got":5})x");
  EXPECT_TRUE(done["executionArn"].string_or().find(":express:E:x:") != std::string_view::npos);
  EXPECT_EQ(done["billingDetails"]["billedDurationInMilliseconds"].integer_or(0), 3100);
  const Json failed = run("StartSyncExecution", Json::object({{"stateMachineArn", arn}}));
  EXPECT_EQ(failed["status"].string_or(), "FAILED");
  EXPECT_EQ(failed["error"].string_or(), "States.Runtime");
  EXPECT_TRUE(w.refusal("states", "StartSyncExecution", Json::object({{"stateMachineArn", machine("S", kPass)}}).dump())
                  .starts_with("StateMachineTypeNotSupported"));
  EXPECT_TRUE(
      w.refusal("states", "ListExecutions", Json::object({{"stateMachineArn", arn}}).dump()).starts_with("StateMachineTypeNotSupported"));
  EXPECT_TRUE(
      w.refusal(
           "states", "CreateStateMachine",
           Json::object(
               {{"name", "T"},
                {"type", "EXPRESS"},
                {"roleArn", kRole},
                {"definition",
                 R"x({"StartAt":"A","States":{"A":{"Type":"Task","Resource":"arn:aws:states:::sqs:sendMessage.waitForTaskToken","End":true}}})x"}})
               .dump())
          .starts_with("InvalidDefinition"));
}

TEST_F(StatesTest, VersionsAndAliasesChooseWhatRuns) {
  const std::string arn = machine("M", kPass, R"x({"publish":true,"versionDescription":"first"})x");
  EXPECT_EQ(w.must("states", "PublishStateMachineVersion", Json::object({{"stateMachineArn", arn}}))["stateMachineVersionArn"].string_or(),
            arn + ":1");
  w.must("states", "UpdateStateMachine",
         Json::object({{"stateMachineArn", arn},
                       {"publish", true},
                       {"definition", R"x({"StartAt":"A","States":{"A":{"Type":"Pass","Result":2,"End":true}}})x"}}));
  const Json versions = w.must("states", "ListStateMachineVersions", Json::object({{"stateMachineArn", arn}}))["stateMachineVersions"];
  ASSERT_EQ(versions.items().size(), 2U);
  EXPECT_EQ(versions.items()[0]["stateMachineVersionArn"].string_or(), arn + ":2");
  EXPECT_EQ(w.must("states", "DescribeStateMachine", Json::object({{"stateMachineArn", arn + ":1"}}))["description"].string_or(), "first");
  const auto routes = [&](int first, int second) {
    return Json::array({Json::object({{"stateMachineVersionArn", arn + ":1"}, {"weight", first}}),
                        Json::object({{"stateMachineVersionArn", arn + ":2"}, {"weight", second}})});
  };
  EXPECT_TRUE(
      w.refusal("states", "CreateStateMachineAlias", Json::object({{"name", "live"}, {"routingConfiguration", routes(50, 40)}}).dump())
          .starts_with("ValidationException"));
  EXPECT_TRUE(w.refusal("states", "CreateStateMachineAlias", Json::object({{"name", "1"}, {"routingConfiguration", routes(50, 50)}}).dump())
                  .starts_with("ValidationException"));
  w.must("states", "CreateStateMachineAlias", Json::object({{"name", "live"}, {"routingConfiguration", routes(50, 50)}}));
  EXPECT_TRUE(
      w.refusal("states", "CreateStateMachineAlias", Json::object({{"name", "live"}, {"routingConfiguration", routes(100, 0)}}).dump())
          .starts_with("ConflictException"));
  w.restart();
  std::map<std::string, int> outputs;
  for (int i = 0; i < 60; ++i) {
    const Json done = describe(start(arn + ":live"));
    ++outputs[std::string(done["output"].string_or())];
    EXPECT_EQ(done["stateMachineAliasArn"].string_or(), arn + ":live");
  }
  EXPECT_GT(outputs["1"], 10);
  EXPECT_GT(outputs["2"], 10);
  EXPECT_TRUE(w.refusal("states", "DeleteStateMachineVersion", Json::object({{"stateMachineVersionArn", arn + ":1"}}).dump())
                  .starts_with("ConflictException"));
  w.must("states", "DeleteStateMachineAlias", Json::object({{"stateMachineAliasArn", arn + ":live"}}));
  w.must("states", "DeleteStateMachineVersion", Json::object({{"stateMachineVersionArn", arn + ":1"}}));
  w.must("states", "UpdateStateMachine", Json::object({{"stateMachineArn", arn}, {"publish", true}, {"definition", kPass}}));
  EXPECT_EQ(w.must("states", "ListStateMachineVersions", Json::object({{"stateMachineArn", arn}}))["stateMachineVersions"]
                .items()[0]["stateMachineVersionArn"]
                .string_or(),
            arn + ":3");
}

// Word for word.
TEST_F(StatesTest, SaysWhatIsWrongWithARequest) {
  const std::string arn = machine("M", kPass, R"x({"publish":true})x");
  const std::string text = R"x({"name":"M","roleArn":"arn:aws:iam::000000000000:role/other","definition":)x" + Json(kPass).dump() + "}";
  EXPECT_EQ(w.must("states", "CreateStateMachine", text.c_str())["stateMachineArn"].string_or(), arn);  // the role is not compared
  const auto refused = [&](const char* operation, std::string input, const std::string& expected) {
    for (std::size_t at = input.find("ARN"); at != std::string::npos; at = input.find("ARN")) input.replace(at, 3, arn);
    EXPECT_EQ(w.refusal("states", operation, input), expected) << operation << ' ' << input;
  };
  const std::string v1 = arn + ":1";
  const auto alias = [&](const std::string& routes, const std::string& expected) {
    refused("CreateStateMachineAlias", R"x({"name":"a","routingConfiguration":[)x" + routes + "]}", "ValidationException: " + expected);
  };
  const std::string route = R"x({"stateMachineVersionArn":"ARN:1","weight":)x";
  alias(route + "60}," + route + "40}",
        "Routing configuration must contain distinct state machine version ARNs. Received: [" + v1 + ", " + v1 + "]");
  alias(route + "60}", "Sum of routing configuration weights must equal 100. Received: [60]");
  alias(route + "101}",
        "1 validation error detected: Value '101' at 'routingConfiguration.1.member.weight' failed to satisfy constraint: Member must have "
        "value less than or equal to 100");
  alias(R"x({"stateMachineVersionArn":"ARN","weight":100})x",
        "Routing configuration must contain state machine version ARNs. Received: [" + arn + "]");
  const std::string one = "RoutingConfigurationListItem(stateMachineVersionArn=" + v1 + ", weight=1)";
  alias(route + "1}," + route + "1}," + route + "1}",
        "1 validation error detected: Value '[" + one + ", " + one + ", " + one +
            "]' at 'routingConfiguration' failed to satisfy constraint: Member must have length less than or equal to 2");
  w.must("states", "DeleteStateMachineAlias", Json::object({{"stateMachineAliasArn", arn + ":none"}}));  // no mistake
  refused("ListExecutions", R"x({"stateMachineArn":"ARN","statusFilter":"succeeded"})x",
          "ValidationException: 1 validation error detected: Value 'succeeded' at 'statusFilter' failed to satisfy constraint: Member must "
          "satisfy enum value set: [SUCCEEDED, TIMED_OUT, PENDING_REDRIVE, ABORTED, FAILED, RUNNING]");
  const std::string token(1025, 'x');
  refused("ListStateMachines", R"x({"maxResults":1001,"nextToken":")x" + token + "\"}",
          "ValidationException: 2 validation errors detected: Value '1001' at 'maxResults' failed to satisfy constraint: Member must have "
          "value "
          "less than or equal to 1000; Value '" +
              token + "' at 'nextToken' failed to satisfy constraint: Member must have length less than or equal to 1024");
  refused("ListActivities", R"x({"nextToken":"x"})x", "InvalidToken: Invalid Token: 'Invalid token'");
  refused("DescribeExecution", R"x({"executionArn":"ARN"})x",
          "InvalidArn: Invalid Arn: 'Resource type not valid in this context: stateMachine'");
  refused("StopExecution", R"x({"executionArn":"nothing"})x", "InvalidArn: Invalid Arn: 'Invalid ARN prefix: nothing'");
  refused(
      "TagResource", R"x({"resourceArn":"ARN","tags":[{"key":"","value":""}]})x",
      "ValidationException: 1 validation error detected: Value '' at 'tags.1.member.key' failed to satisfy constraint: Member must have "
      "length greater than or equal to 1");
  const std::string unknown =
      R"x({"StartAt":"A","States":{"A":{"Type":"Parallel","End":true,"Branches":[{"StartAt":"B","States":{"B":{"Type":"Task","End":true,
      "Resource":"arn:aws:states:::sqs:sendMessage","Parameters":{"QueueUrl.$":"$.q","MessageBody":"m","Delay":1}}}}]}}})x";
  refused("UpdateStateMachine", R"x({"stateMachineArn":"ARN","definition":)x" + Json(unknown).dump() + "}",
          "InvalidDefinition: Invalid State Machine Definition: 'SCHEMA_VALIDATION_FAILED: The field 'Delay' is not supported by Step "
          "Functions "
          "at /States/A/Branches/0/States/B/Parameters'");
  const std::string no_job =
      R"x({"StartAt":"A","States":{"A":{"Type":"Task","End":true,"Resource":"arn:aws:states:::lambda:invoke.sync"}}})x";
  refused(
      "UpdateStateMachine", R"x({"stateMachineArn":"ARN","definition":)x" + Json(no_job).dump() + "}",
      "InvalidDefinition: Invalid State Machine Definition: 'SCHEMA_VALIDATION_FAILED: The resource provided "
      "arn:aws:states:::lambda:invoke.sync "
      "is not recognized. The value is not a valid resource ARN, or the resource is not available in this region. at /States/A/Resource'");
  refused("StartExecution", R"x({"stateMachineArn":"ARN","input":"{"})x",
          "InvalidExecutionInput: Invalid State Machine Execution Input: 'com.fasterxml.jackson.core.io.JsonEOFException: Unexpected "
          "end-of-input: expected close marker for Object (start marker at [Source: (String)\"{\"; line: 1, column: 1])\n at [Source: "
          "(String)\"{\"; line: 1, column: 2]'");
  refused(
      "UpdateStateMachine", R"x({"stateMachineArn":"ARN","definition":"?"})x",
      "InvalidDefinition: Invalid State Machine Definition: 'INVALID_JSON_DESCRIPTION: Unexpected character ('?' (code 63)): expected a "
      "valid "
      "value (JSON String, Number, Array, Object or token 'null', 'true' or 'false')\n at [Source: (String)\"?\"; line: 1, column: 2]'");
}

TEST_F(StatesTest, WorkersTakeActivities) {
  const std::string activity(w.must("states", "CreateActivity", R"x({"name":"work"})x")["activityArn"].string_or());
  const std::string arn = machine("M", R"x({"StartAt":"A","States":{"A":{"Type":"Task","Resource":")x" + activity + R"x(","End":true}}})x");
  const Json first = start(arn, "5");
  w.restart();  // the task is still there to take
  const Json task = w.must("states", "GetActivityTask", Json::object({{"activityArn", activity}, {"workerName", "me"}}));
  EXPECT_EQ(task["input"].string_or(), "5");
  w.restart();  // and taken it stays
  w.must("states", "SendTaskSuccess", Json::object({{"taskToken", task["taskToken"]}, {"output", "6"}}));
  EXPECT_EQ(describe(first)["output"].string_or(), "6");
  EXPECT_EQ(types(first),
            "ExecutionStarted TaskStateEntered ActivityScheduled ActivityStarted ActivitySucceeded TaskStateExited ExecutionSucceeded ");
  // A worker may wait before there is work, and gets nothing after a minute.
  std::optional<cloud::Reply> reply;
  w.world->loop.spawn(w.world->cloud.call({"states", TestWorld::kPrimary, "GetActivityTask", Json::object({{"activityArn", activity}})}),
                      [&](cloud::Reply r) { reply = std::move(r); });
  w.world->loop.settle();
  EXPECT_FALSE(reply);
  start(arn, "7");
  w.world->loop.settle();
  ASSERT_TRUE(reply && *reply);
  EXPECT_EQ((**reply)["input"].string_or(), "7");
  EXPECT_EQ(run("GetActivityTask", Json::object({{"activityArn", activity}})).dump(), "{}");
  w.must("states", "DeleteActivity", Json::object({{"activityArn", activity}}));
  EXPECT_TRUE(
      w.refusal("states", "DescribeActivity", Json::object({{"activityArn", activity}}).dump()).starts_with("ActivityDoesNotExist"));
  EXPECT_TRUE(w.refusal("states", "CreateActivity", R"x({"name":"a/b"})x").starts_with("InvalidName"));
}

TEST_F(StatesTest, OneMachineWaitsForAnother) {
  const std::string child = machine(
      "Child",
      R"x({"StartAt":"W","States":{"W":{"Type":"Wait","Seconds":9,"Next":"F"},"F":{"Type":"Choice","Choices":[{"Variable":"$.bad","IsPresent":true,"Next":"No"}],"Default":"Yes"},
    "Yes":{"Type":"Succeed"},"No":{"Type":"Fail","Error":"E","Cause":"c"}}})x");
  const std::string parent =
      machine("Parent", R"x({"StartAt":"A","States":{"A":{"Type":"Task","Resource":"arn:aws:states:::states:startExecution.sync:2",
    "Parameters":{"StateMachineArn":")x" +
                            child + R"x(","Input.$":"$"},"ResultSelector":{"out.$":"$.Output"},"End":true}}})x");
  const Json good = start(parent, R"x({"n":1})x"), bad = start(parent, R"x({"bad":1})x");
  w.world->loop.settle();
  w.advance(std::chrono::seconds(3));
  w.restart();  // the wait for the other outlives the process
  w.advance(std::chrono::seconds(10));
  EXPECT_EQ(describe(good)["output"].string_or(), R"x({"out":{"n":1}})x");
  EXPECT_EQ(types(good),
            "ExecutionStarted TaskStateEntered TaskScheduled TaskStarted TaskSubmitted TaskSucceeded TaskStateExited ExecutionSucceeded ");
  const Json failed = describe(bad);
  EXPECT_EQ(failed["error"].string_or(), "States.TaskFailed");
  EXPECT_EQ((*Json::parse(failed["cause"].string_or()))["Error"].string_or(), "E");
  // Stopping the one that waits stops the other.
  const Json stopped = start(parent);
  w.world->loop.settle();
  w.must("states", "StopExecution", Json::object({{"executionArn", stopped["executionArn"]}}));
  w.world->loop.settle();
  EXPECT_EQ(w.must("states", "ListExecutions", Json::object({{"stateMachineArn", child}, {"statusFilter", "ABORTED"}}))["executions"]
                .items()
                .size(),
            1U);
}

TEST_F(StatesTest, AMapRunHasChildrenThatCanBeLookedAt) {
  const std::string arn = machine(
      "M",
      R"x({"StartAt":"M","States":{"M":{"Type":"Map","Label":"items","MaxConcurrency":3,"ItemProcessor":{"ProcessorConfig":{"Mode":"DISTRIBUTED","ExecutionType":"STANDARD"},
    "StartAt":"W","States":{"W":{"Type":"Wait","Seconds":5,"Next":"P"},"P":{"Type":"Pass","Parameters":{"v.$":"$"},"End":true}}},"End":true}}})x");
  const Json e = start(arn, "[1,2,3,4,5,6,7]");
  w.world->loop.settle();
  const Json runs = w.must("states", "ListMapRuns", Json::object({{"executionArn", e["executionArn"]}}))["mapRuns"];
  ASSERT_EQ(runs.items().size(), 1U);
  const Json of = Json::object({{"mapRunArn", runs.items()[0]["mapRunArn"]}});
  EXPECT_TRUE(runs.items()[0]["mapRunArn"].string_or().find(":mapRun:M/items:") != std::string_view::npos);
  EXPECT_EQ(w.must("states", "DescribeMapRun", of)["executionCounts"]["running"].integer_or(0), 3);
  EXPECT_EQ(w.must("states", "DescribeMapRun", of)["itemCounts"]["pending"].integer_or(0), 4);
  w.advance(std::chrono::seconds(2));
  w.restart();  // children go on, and their answers find the Map
  w.must("states", "UpdateMapRun", Json::object({{"mapRunArn", runs.items()[0]["mapRunArn"]}, {"maxConcurrency", 10}}));
  w.world->loop.settle();
  EXPECT_EQ(w.must("states", "DescribeMapRun", of)["executionCounts"]["running"].integer_or(0), 7);
  w.advance(std::chrono::seconds(20));
  EXPECT_EQ(describe(e)["output"].string_or(), R"x([{"v":1},{"v":2},{"v":3},{"v":4},{"v":5},{"v":6},{"v":7}])x");
  EXPECT_EQ(types(e),
            "ExecutionStarted MapStateEntered MapStateStarted MapRunStarted MapRunSucceeded MapStateSucceeded MapStateExited "
            "ExecutionSucceeded ");
  const Json run_now = w.must("states", "DescribeMapRun", of);
  EXPECT_EQ(run_now["status"].string_or(), "SUCCEEDED");
  EXPECT_EQ(run_now["executionCounts"]["succeeded"].integer_or(0), 7);
  const Json children = w.must("states", "ListExecutions", of)["executions"];
  ASSERT_EQ(children.items().size(), 7U);
  EXPECT_EQ(types(children.items()[0]),
            "ExecutionStarted WaitStateEntered WaitStateExited PassStateEntered PassStateExited ExecutionSucceeded ");
}

TEST_F(StatesTest, ARedriveOfAMapRunGoesOnWithItsFailedChildren) {
  const std::string queue(w.must("sqs", "CreateQueue", R"x({"QueueName":"other"})x")["QueueUrl"].string_or());
  const std::string arn = machine(
      "M",
      R"x({"StartAt":"M","States":{"M":{"Type":"Map","Label":"items","ItemProcessor":{"ProcessorConfig":{"Mode":"DISTRIBUTED","ExecutionType":"STANDARD"},
    "StartAt":"C","States":{"C":{"Type":"Choice","Choices":[{"Variable":"$","NumericEquals":2,"Next":"Q"}],"Default":"S"},"S":{"Type":"Succeed"},
    "Q":{"Type":"Task","Resource":"arn:aws:states:::sqs:sendMessage","Parameters":{"QueueUrl":"http://localhost/000000000000/late","MessageBody":"m"},"ResultSelector":{"ok":1},"End":true}}},"End":true}}})x");
  const Json e = start(arn, "[1,2,3]");
  w.world->loop.settle();
  EXPECT_EQ(describe(e)["status"].string_or(), "FAILED");
  const Json of = Json::object(
      {{"mapRunArn",
        w.must("states", "ListMapRuns", Json::object({{"executionArn", e["executionArn"]}}))["mapRuns"].items()[0]["mapRunArn"]}});
  EXPECT_EQ(w.must("states", "DescribeMapRun", of)["status"].string_or(), "FAILED");
  w.must("sqs", "CreateQueue", R"x({"QueueName":"late"})x");
  w.advance(std::chrono::seconds(1));
  w.must("states", "RedriveExecution", Json::object({{"executionArn", e["executionArn"]}}));
  w.restart();  // also in the middle of it
  w.world->loop.settle();
  EXPECT_EQ(describe(e)["output"].string_or(), R"x([1,{"ok":1},3])x");
  EXPECT_TRUE(
      types(e).ends_with("ExecutionRedriven MapStateEntered MapStateStarted MapRunRedriven MapRunSucceeded MapStateSucceeded "
                         "MapStateExited ExecutionSucceeded "))
      << types(e);
  const Json now = w.must("states", "DescribeMapRun", of);
  EXPECT_EQ(now["status"].string_or(), "SUCCEEDED");
  EXPECT_EQ(now["redriveCount"].integer_or(0), 1);
  EXPECT_EQ(now["executionCounts"]["succeeded"].integer_or(0), 3);  // three children, as before
  int redriven = 0;
  for (const Json& child : w.must("states", "ListExecutions", of)["executions"].items())
    if (types(child).find("ExecutionRedriven") != std::string::npos) ++redriven;
  EXPECT_EQ(redriven, 1);
}

TEST_F(StatesTest, AFailedExecutionIsRedriven) {
  const std::string queue(w.must("sqs", "CreateQueue", R"x({"QueueName":"other"})x")["QueueUrl"].string_or());
  const std::string arn = machine(
      "M",
      R"x({"StartAt":"A","States":{"A":{"Type":"Task","Resource":"arn:aws:states:::sqs:sendMessage","Parameters":{"QueueUrl":"http://x/1/late","MessageBody":"m"},"ResultPath":null,"End":true}}})x");
  const Json e = start(arn, "5");
  w.world->loop.settle();
  EXPECT_EQ(describe(e)["status"].string_or(), "FAILED");
  EXPECT_EQ(describe(e)["redriveStatus"].string_or(), "REDRIVABLE");
  w.must("sqs", "CreateQueue", R"x({"QueueName":"late"})x");
  w.restart();
  w.must("states", "RedriveExecution", Json::object({{"executionArn", e["executionArn"]}}));
  w.world->loop.settle();
  const Json done = describe(e);
  EXPECT_EQ(done["status"].string_or(), "SUCCEEDED");
  EXPECT_EQ(done["output"].string_or(), "5");
  EXPECT_EQ(done["redriveCount"].integer_or(0), 1);
  EXPECT_TRUE(
      types(e).ends_with("TaskFailed ExecutionFailed ExecutionRedriven TaskStateEntered TaskScheduled TaskStarted TaskSucceeded "
                         "TaskStateExited ExecutionSucceeded "))
      << types(e);
  EXPECT_TRUE(w.refusal("states", "RedriveExecution", Json::object({{"executionArn", e["executionArn"]}}).dump())
                  .starts_with("ExecutionNotRedrivable"));
}

TEST_F(StatesTest, OneStateIsTestedAlone) {
  const auto test = [&](const std::string& state, const std::string& more = "{}") {
    Json::Object in{{"definition", state}, {"inspectionLevel", "DEBUG"}};
    for (const auto& [key, value] : Json::parse(more)->as_object()) in.set(key, value);
    return w.call("states", "TestState", Json(std::move(in)));
  };
  const Json pass =
      *test(R"x({"Type":"Pass","InputPath":"$.a","Parameters":{"b.$":"$.b"},"ResultPath":"$.r","OutputPath":"$.r","Next":"Elsewhere"})x",
            R"x({"input":"{\"a\":{\"b\":1}}"})x");
  EXPECT_EQ(pass["status"].string_or(), "SUCCEEDED");
  EXPECT_EQ(pass["nextState"].string_or(), "Elsewhere");
  // An error inside of a Map: from which state, and from how many iterations.
  const auto map = [&](const std::string& tolerance, const std::string& configuration) {
    const auto reply =
        test(R"({"Type":"Map","ItemProcessor":{"StartAt":"In","States":{"In":{"Type":"Pass","End":true}}},)" + tolerance +
                 R"("Catch":[{"ErrorEquals":["States.ExceedToleratedFailureThreshold"],"Next":"Many"}],"End":true})",
             R"({"input":"[1,2,3,4]","mock":{"errorOutput":{"error":"Bad","cause":"c"}},"stateConfiguration":{)" + configuration + "}}");
    return reply ? std::string((*reply)["status"].string_or()) + ' ' + std::string((*reply)["error"].string_or()) : reply.error().message;
  };
  EXPECT_EQ(map("", R"("errorCausedByState":"In")"), "FAILED Bad");
  EXPECT_EQ(map("", R"("errorCausedByState":"Out")"), "errorCausedByState 'Out' is not a state inside of the tested state.");
  EXPECT_EQ(map(R"("ToleratedFailureCount":2,)", R"("mapIterationFailureCount":3)"), "CAUGHT_ERROR States.ExceedToleratedFailureThreshold");
  EXPECT_EQ(map(R"("ToleratedFailureCount":2,)", R"("mapIterationFailureCount":2)"), "FAILED Bad");
  EXPECT_EQ(map(R"("ToleratedFailurePercentage":50,)", R"("mapIterationFailureCount":3)"),
            "CAUGHT_ERROR States.ExceedToleratedFailureThreshold");
  EXPECT_EQ(test(R"({"Type":"Pass","End":true})", R"({"stateConfiguration":{"mapIterationFailureCount":1}})").error().message,
            "mapIterationFailureCount can be specified only for Map states.");
  EXPECT_EQ(pass["output"].string_or(), R"x({"b":1})x");
  EXPECT_EQ(pass["inspectionData"]["afterInputPath"].string_or(), R"x({"b":1})x");
  EXPECT_EQ(pass["inspectionData"]["afterResultPath"].string_or(), R"x({"a":{"b":1},"r":{"b":1}})x");
  const std::string task =
      R"x({"Type":"Task","QueryLanguage":"JSONata","Resource":"arn:aws:states:::sqs:sendMessage","Arguments":{"QueueUrl":"q","MessageBody":"{% $v %}"},"Output":"{% $states.result.MessageId %}",
    "Retry":[{"ErrorEquals":["Slow"],"MaxAttempts":2,"IntervalSeconds":3}],"Catch":[{"ErrorEquals":["States.ALL"],"Next":"Oops"}],"End":true})x";
  const Json good = *test(task, R"x({"variables":"{\"v\":\"hello\"}","mock":{"result":"{\"MessageId\":\"7\"}"}})x");
  EXPECT_EQ(good["output"].string_or(), "\"7\"");
  EXPECT_EQ(good["inspectionData"]["afterArguments"].string_or(), R"x({"QueueUrl":"q","MessageBody":"hello"})x");
  const Json slow = *test(
      task,
      R"x({"variables":"{\"v\":1}","mock":{"errorOutput":{"error":"Slow","cause":"c"}},"stateConfiguration":{"retrierRetryCount":1}})x");
  EXPECT_EQ(slow["status"].string_or(), "RETRIABLE");
  EXPECT_EQ(slow["inspectionData"]["errorDetails"]["retryBackoffIntervalSeconds"].integer_or(0), 6);
  const Json caught = *test(task, R"x({"variables":"{\"v\":1}","mock":{"errorOutput":{"error":"Other","cause":"c"}}})x");
  EXPECT_EQ(caught["status"].string_or(), "CAUGHT_ERROR");
  EXPECT_EQ(caught["nextState"].string_or(), "Oops");
  // A mock must look like an answer of the API, unless told otherwise.
  const auto mocked = [&](const std::string& result, const std::string& mode) {
    const Json mock = Json::object({{"result", result}, {"fieldValidationMode", mode}});
    const auto reply = test(task, Json::object({{"variables", R"({"v":1})"}, {"mock", mock}}).dump());
    return reply ? std::string((*reply)["status"].string_or()) : reply.error().message;
  };
  EXPECT_EQ(mocked(R"({"MessageId":"7"})", "STRICT"), "SUCCEEDED");
  EXPECT_EQ(mocked(R"({"MessageId":"7","messageColour":1})", "STRICT"), "SUCCEEDED");  // newer than the model here, perhaps
  EXPECT_EQ(mocked(R"({"MessageId":7})", "PRESENT"), "Mock result schema validation error: Field 'MessageId' must be a string");
  EXPECT_EQ(mocked(R"({"MessageId":7})", "NONE"), "SUCCEEDED");
  EXPECT_EQ(mocked(R"({"MessageId":"7","SdkHttpMetadata":{"HttpStatusCode":200}})", "STRICT"), "SUCCEEDED");
  EXPECT_EQ(mocked(R"({"MessageId":"7"})", "LOOSE"), "The fieldValidationMode 'LOOSE' is not one of [STRICT, PRESENT, NONE].");
  const auto start_execution = [&](const std::string& mode) {
    return test(
        R"x({"Type":"Task","Resource":"arn:aws:states:::aws-sdk:sfn:startExecution","Parameters":{"StateMachineArn":"a"},"End":true})x",
        Json::object({{"mock", Json::object({{"result", R"({"ExecutionArn":"a"})"}, {"fieldValidationMode", mode}})}}).dump());
  };
  EXPECT_TRUE(start_execution("PRESENT"));
  ASSERT_FALSE(start_execution("STRICT"));
  EXPECT_EQ(start_execution("STRICT").error().message, "Mock result schema validation error: Required field 'StartDate' is missing");
  EXPECT_FALSE(test(R"x({"Type":"Parallel","Branches":[{"StartAt":"A","States":{"A":{"Type":"Succeed"}}}],"End":true})x"));
  EXPECT_FALSE(test(task, R"x({"mock":{"result":"1","errorOutput":{}}})x"));
  EXPECT_FALSE(test(R"x({"Type":"Bogus"})x"));
  const Json whole =
      *test(R"x({"StartAt":"A","States":{"A":{"Type":"Pass","Next":"B"},"B":{"Type":"Succeed"}}})x", R"x({"stateName":"B","input":"3"})x");
  EXPECT_EQ(whole["output"].string_or(), "3");
}

// Parameters come from people's JSON: what cannot be of the API's shape fails the task, and nothing else.
TEST_F(StatesTest, ParametersMustFitTheApi) {
  const auto outcome = [&](const std::string& name, const std::string& task) {
    const Json e = start(machine(name, R"({"StartAt":"A","States":{"A":{"Type":"Task","End":true,)" + task + "}}}"));
    w.world->loop.settle();
    const Json record = describe(e);
    return record["status"].string_or() == "FAILED"
               ? std::string(record["error"].string_or()) + ": " + std::string(record["cause"].string_or())
               : std::string(record["output"].string_or());
  };
  const std::string refused = outcome("Odd", R"x("Resource":"arn:aws:states:::aws-sdk:eventbridge:putTargets",
      "Parameters":{"Rule":"r","Targets":[{"Id":"1","Arn":"a","InputTransformer":{"InputTemplate":1}}]})x");
  EXPECT_TRUE(refused.starts_with("States.Runtime: ")) << refused;
  EXPECT_NE(refused.find("could not be used to start the Task: [The value for the field 'InputTemplate' must be a STRING]"),
            std::string::npos)
      << refused;
  // A null is as good as absent (the first round of a loop over pages).
  const std::string first_page =
      outcome("Page", R"x("Resource":"arn:aws:states:::aws-sdk:sqs:listQueues","Parameters":{"NextToken":null,"MaxResults":5})x");
  EXPECT_FALSE(first_page.starts_with("States.Runtime")) << first_page;
  w.must("s3", "CreateBucket", R"({"Bucket":"bucket"})");
  outcome("Put", R"x("Resource":"arn:aws:states:::aws-sdk:s3:putObject","Parameters":{"Bucket":"bucket","Key":"k","Body":{"a":[1]}})x");
  EXPECT_EQ(w.must("s3", "GetObject", R"({"Bucket":"bucket","Key":"k"})")["Body"].string_or(), R"({"a":[1]})");
}

// An object's bytes may be anything; an execution that reads them is journaled and read again as JSON.
TEST_F(StatesTest, BytesThatAreNoTextAreReadAsJavaReadsThem) {
  w.must("s3", "CreateBucket", R"x({"Bucket":"bytes"})x");
  w.must("s3", "PutObject", Json::object({{"Bucket", "bytes"}, {"Key", "k"}, {"Body", std::string("a\xff\xfe\0z", 5)}}));
  const Json e = start(machine("M", R"x({"StartAt":"A","States":{"A":{"Type":"Task","Resource":"arn:aws:states:::aws-sdk:s3:getObject",
      "Parameters":{"Bucket":"bytes","Key":"k"},"ResultSelector":{"body.$":"$.Body"},"Next":"B"},"B":{"Type":"Wait","Seconds":1000,"End":true}}})x"));
  w.world->loop.settle();
  w.restart();
  EXPECT_EQ(describe(e)["status"].string_or(), "RUNNING");
  w.advance(std::chrono::seconds(1001));
  EXPECT_EQ(describe(e)["output"].string_or(), "{\"body\":\"a\xef\xbf\xbd\xef\xbf\xbd\\u0000z\"}");
  EXPECT_EQ(types(e),
            "ExecutionStarted TaskStateEntered TaskScheduled TaskStarted TaskSucceeded TaskStateExited WaitStateEntered WaitStateExited "
            "ExecutionSucceeded ");
}

// Bytes inside of answers and parameters are base64 in a state machine; in the call they are bytes.
TEST_F(StatesTest, BytesOfMembersAreBase64) {
  w.must("dynamodb", "CreateTable", R"x({"TableName":"table","KeySchema":[{"AttributeName":"id","KeyType":"HASH"}],
      "AttributeDefinitions":[{"AttributeName":"id","AttributeType":"S"}],"BillingMode":"PAY_PER_REQUEST"})x");
  const Json e = start(machine("M", R"x({"StartAt":"A","States":{
      "A":{"Type":"Task","Resource":"arn:aws:states:::dynamodb:putItem","ResultPath":null,"Next":"B",
           "Parameters":{"TableName":"table","Item":{"id":{"S":"a"},"b":{"B":"/wA="},"l":{"L":[{"B":"gA=="}]}}}},
      "B":{"Type":"Task","Resource":"arn:aws:states:::aws-sdk:dynamodb:getItem","End":true,"ResultSelector":{"b.$":"$.Item.b.B","l.$":"$.Item.l.L[0].B"},
           "Parameters":{"TableName":"table","Key":{"id":{"S":"a"}}}}}})x"));
  w.world->loop.settle();
  EXPECT_EQ(describe(e)["output"].string_or(), R"({"b":"/wA=","l":"gA=="})");
  const Json item = w.must("dynamodb", "GetItem", R"x({"TableName":"table","Key":{"id":{"S":"a"}}})x")["Item"];
  EXPECT_EQ(item["b"]["B"].string_or(), std::string_view("\xff\0", 2));
}

TEST_F(StatesTest, SaysWhichVariablesAStateReads) {
  const std::string arn = machine(
      "M",
      R"x({"StartAt":"A","States":{"A":{"Type":"Pass","Assign":{"x":1},"Next":"B"},"B":{"Type":"Pass","Parameters":{"a.$":"$x","b.$":"States.Format('{}', $y)"},"Next":"C"},
    "C":{"Type":"Pass","QueryLanguage":"JSONata","Output":"{% $x + $z %}","End":true}}})x");
  EXPECT_EQ(w.must("states", "DescribeStateMachine", Json::object({{"stateMachineArn", arn}}))["variableReferences"].dump(),
            R"x({"B":["x","y"],"C":["x","z"]})x");
}

}  // namespace
}  // namespace snapward::services
