// EventBridge, Step Functions, SNS, SQS, STS, IAM and Lambda of the local cloud, over the Cloud port.
#include <gtest/gtest.h>

#include "support/world.hpp"

namespace snapward::services {
namespace {

using support::TestWorld;
using namespace std::chrono_literals;

struct ServicesTest : testing::Test {
  TestWorld w;
  const std::string role = "arn:aws:iam::123456789012:role/r";

  std::string machine(const std::string& name, const std::string& definition) {
    return std::string(w.must("states", "CreateStateMachine",
                              Json::object({{"name", name}, {"definition", definition}, {"roleArn", role}}))["stateMachineArn"]
                           .string_or());
  }
  void queue(const std::string& name, const std::string& attributes = "{}") {
    w.must("sqs", "CreateQueue", R"x({"QueueName":")x" + name + R"x(","Attributes":)x" + attributes + "}");
  }
  std::vector<std::string> drain(const std::string& name) {
    std::vector<std::string> out;
    for (;;) {
      const Json got = w.must("sqs", "ReceiveMessage", R"x({"QueueUrl":"http://x/1/)x" + name + R"x(","MaxNumberOfMessages":10})x");
      if (got["Messages"].items().empty()) return out;
      for (const Json& m : got["Messages"].items()) {
        out.emplace_back(m["Body"].string_or());
        w.must("sqs", "DeleteMessage", Json::object({{"QueueUrl", "http://x/1/" + name}, {"ReceiptHandle", m["ReceiptHandle"]}}));
      }
    }
  }
};

// ── EventBridge ────────────────────────────────────────────────────────────────────────────────────────────────────────────────

TEST_F(ServicesTest, RulesRouteEventsToTheirTargets) {
  queue("q");
  w.must("events", "PutRule", R"x({"Name":"r","EventPattern":"{\"source\":[\"app\"],\"detail\":{\"n\":[{\"numeric\":[\">\",1]}]}}"})x");
  w.must("events", "PutTargets", R"x({"Rule":"r","Targets":[
    {"Id":"whole","Arn":"arn:aws:sqs:us-west-2:1:q"},{"Id":"part","Arn":"arn:aws:sqs:us-west-2:1:q","InputPath":"$.detail"},
    {"Id":"constant","Arn":"arn:aws:sqs:us-west-2:1:q","Input":"{\"fixed\":1}"},
    {"Id":"made","Arn":"arn:aws:sqs:us-west-2:1:q","InputTransformer":{"InputPathsMap":{"n":"$.detail.n","d":"$.detail","no":"$.detail.none"},"InputTemplate":"{\"text\":\"n is <n><no>\",\"d\":<d>,\"rule\":\"<aws.events.rule-name>\"}"}}]})x");
  const Json put =
      w.must("events", "PutEvents",
             R"x({"Entries":[{"Source":"app","DetailType":"t","Detail":"{\"n\":2}"},{"Source":"app","DetailType":"t","Detail":"{\"n\":1}"},
    {"Source":"aws.ec2","DetailType":"t","Detail":"{}"},{"Source":"app","DetailType":"t","Detail":"["},{"Source":"app","DetailType":"t"}]})x");
  EXPECT_EQ(put["FailedEntryCount"].as_integer(), 3);
  EXPECT_EQ(put["Entries"].items()[2]["ErrorCode"].string_or(), "NotAuthorizedForSourceException");
  EXPECT_EQ(put["Entries"].items()[3]["ErrorCode"].string_or(), "MalformedDetail");
  const auto got = drain("q");
  ASSERT_EQ(got.size(), 4U);
  EXPECT_EQ((*Json::parse(got[0]))["id"], put["Entries"].items()[0]["EventId"]);
  EXPECT_EQ(got[1], R"x({"n":2})x");
  EXPECT_EQ(got[2], R"x({"fixed":1})x");
  EXPECT_EQ(got[3], R"x({"text":"n is 2","d":{"n":2},"rule":"r"})x");
}

TEST_F(ServicesTest, RuleApiRefusesWhatIsWrong) {
  EXPECT_EQ(w.refusal("events", "PutRule", R"x({"Name":"r"})x"),
            "ValidationException: Parameter(s) EventPattern or ScheduleExpression must be specified.");
  EXPECT_EQ(w.refusal("events", "PutRule", R"x({"Name":"r","EventPattern":"{\"a\":1}"})x"),
            "InvalidEventPatternException: Event pattern is not valid. Reason: \"a\" must be an object or an array\n"
            " at [Source: (String)\"{\"a\":1}\"; line: 1, column: 7]");
  EXPECT_EQ(w.refusal("events", "PutRule", R"x({"Name":"r","ScheduleExpression":"rate(1 minutes)"})x"),
            "ValidationException: Parameter ScheduleExpression is not valid.");
  EXPECT_EQ(w.refusal("events", "DescribeRule", R"x({"Name":"r"})x"),
            "ResourceNotFoundException: Rule r does not exist on EventBus default.");
  w.must("events", "PutRule", R"x({"Name":"r","ScheduleExpression":"rate(1 hour)"})x");
  EXPECT_EQ(w.refusal("events", "PutTargets", R"x({"Rule":"r","Targets":[{"Id":"1","Arn":"arn:aws:states:us-west-2:1:stateMachine:m"}]})x"),
            "ValidationException: Parameter(s) RoleArn must be specified for target: 1.");
  w.must("events", "PutTargets", R"x({"Rule":"r","Targets":[{"Id":"1","Arn":"arn:aws:sqs:us-west-2:1:q"}]})x");
  EXPECT_EQ(w.refusal("events", "DeleteRule", R"x({"Name":"r"})x"), "ValidationException: Rule can't be deleted since it has targets.");
  EXPECT_EQ(
      w.must(
          "events", "TestEventPattern",
          R"x({"EventPattern":"{\"source\":[\"a\"]}","Event":"{\"id\":\"1\",\"account\":\"1\",\"source\":\"a\",\"time\":\"t\",\"region\":\"r\",\"resources\":[],\"detail-type\":\"d\"}"})x")
          ["Result"],
      Json(true));
}

TEST_F(ServicesTest, SchedulesFireAlsoAfterARestart) {
  queue("q");
  w.must("events", "PutRule", R"x({"Name":"r","ScheduleExpression":"rate(5 minutes)"})x");
  w.must("events", "PutTargets", R"x({"Rule":"r","Targets":[{"Id":"1","Arn":"arn:aws:sqs:us-west-2:1:q"}]})x");
  w.advance(11min);
  EXPECT_EQ(drain("q").size(), 2U);
  w.restart();
  w.advance(10min);
  const auto got = drain("q");
  EXPECT_EQ(got.size(), 2U);
  EXPECT_EQ((*Json::parse(got[0]))["detail-type"].string_or(), "Scheduled Event");
  w.must("events", "DisableRule", R"x({"Name":"r"})x");
  w.advance(1h);
  EXPECT_EQ(drain("q").size(), 0U);
}

TEST_F(ServicesTest, AScheduledRuleMakesSnapshots) {
  const std::string v = w.volume();
  w.must("events", "PutRule", R"x({"Name":"nightly","ScheduleExpression":"cron(0 3 * * ? *)"})x");
  w.must("events", "PutTargets",
         R"x({"Rule":"nightly","Targets":[{"Id":"1","Arn":"arn:aws:events:us-west-2:1:target/create-snapshot","Input":"\")x" + v +
             R"x(\""}]})x");
  w.advance(72h);
  EXPECT_EQ(w.completed(TestWorld::kPrimary), 3U);
}

TEST_F(ServicesTest, DeliveriesThatFailForGoodGoToTheDeadLetterQueue) {
  queue("dead");
  w.must("events", "PutRule", R"x({"Name":"r","EventPattern":"{\"source\":[\"app\"]}"})x");
  w.must(
      "events", "PutTargets",
      R"x({"Rule":"r","Targets":[{"Id":"1","Arn":"arn:aws:sqs:us-west-2:1:nowhere","DeadLetterConfig":{"Arn":"arn:aws:sqs:us-west-2:1:dead"}}]})x");
  w.must("events", "PutEvents", R"x({"Entries":[{"Source":"app","DetailType":"t","Detail":"{}"}]})x");
  const Json got = w.must("sqs", "ReceiveMessage", R"x({"QueueUrl":"http://x/1/dead","MessageAttributeNames":["All"]})x");
  ASSERT_EQ(got["Messages"].items().size(), 1U);
  EXPECT_EQ(got["Messages"].items()[0]["MessageAttributes"]["ERROR_CODE"]["StringValue"].string_or(), "NO_RESOURCE");
}

TEST_F(ServicesTest, TheSameEventStartsOneExecution) {
  const std::string arn = machine("M", R"x({"StartAt":"A","States":{"A":{"Type":"Pass","End":true}}})x");
  w.must("events", "PutRule", R"x({"Name":"r","EventPattern":"{\"source\":[\"aws.ec2\"]}"})x");
  w.must("events", "PutTargets", R"x({"Rule":"r","Targets":[{"Id":"1","Arn":")x" + arn + R"x(","RoleArn":")x" + role + R"x("}]})x");
  services::ec2::Behaviour twice = TestWorld::calm();
  twice.duplicate_event = 1.0;
  w.world->cloud.ec2().behaviour() = twice;
  w.snapshot(w.volume());
  w.advance(1h);
  EXPECT_EQ(w.executions(arn).size(), 1U);
}

// ── Step Functions ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

TEST_F(ServicesTest, MachinesAreMadeUpdatedAndRun) {
  const std::string pass = R"x({"StartAt":"A","States":{"A":{"Type":"Pass","Result":1,"End":true}}})x";
  const std::string arn = machine("M", pass);
  EXPECT_EQ(machine("M", pass), arn);  // the same again is no error
  EXPECT_TRUE(
      w.refusal("states", "CreateStateMachine",
                Json::object({{"name", "M"}, {"definition", R"x({"StartAt":"A","States":{"A":{"Type":"Succeed"}}})x"}, {"roleArn", role}})
                    .dump())
          .starts_with("StateMachineAlreadyExists"));
  EXPECT_TRUE(w.refusal("states", "CreateStateMachine",
                        Json::object({{"name", "N"}, {"definition", R"x({"StartAt":"B","States":{}})x"}, {"roleArn", role}}).dump())
                  .starts_with("InvalidDefinition: Invalid State Machine Definition: "));
  EXPECT_TRUE(w.refusal("states", "CreateStateMachine", Json::object({{"name", "a b"}, {"definition", pass}, {"roleArn", role}}).dump())
                  .starts_with("InvalidName"));
  EXPECT_TRUE(w.refusal("states", "CreateStateMachine",
                        Json::object({{"name", "E"}, {"type", "FAST"}, {"definition", pass}, {"roleArn", role}}).dump())
                  .starts_with("ValidationException"));

  const Json started = w.must("states", "StartExecution", R"x({"stateMachineArn":")x" + arn + R"x(","name":"one","input":"{\"a\": 1}"})x");
  const std::string execution(started["executionArn"].string_or());
  const Json done = w.must("states", "DescribeExecution", R"x({"executionArn":")x" + execution + "\"}");
  EXPECT_EQ(done["status"].string_or(), "SUCCEEDED");
  EXPECT_EQ(done["input"].string_or(), "{\"a\": 1}");
  EXPECT_EQ(done["output"].string_or(), "1");
  EXPECT_TRUE(w.refusal("states", "StartExecution", R"x({"stateMachineArn":")x" + arn + R"x(","name":"one","input":"{}"})x")
                  .starts_with("ExecutionAlreadyExists"));
  EXPECT_TRUE(w.refusal("states", "StartExecution", R"x({"stateMachineArn":")x" + arn + R"x(","input":"{"})x")
                  .starts_with("InvalidExecutionInput"));

  w.must("states", "UpdateStateMachine",
         Json::object(
             {{"stateMachineArn", arn}, {"definition", R"x({"StartAt":"A","States":{"A":{"Type":"Pass","Result":2,"End":true}}})x"}}));
  const Json second = w.must("states", "StartExecution", R"x({"stateMachineArn":")x" + arn + "\"}");
  EXPECT_EQ(w.must("states", "DescribeExecution", Json::object({{"executionArn", second["executionArn"]}}))["output"].string_or(), "2");
  EXPECT_EQ(w.must("states", "ListExecutions", R"x({"stateMachineArn":")x" + arn + R"x(","maxResults":1})x")["executions"].items().size(),
            1U);
  EXPECT_EQ(w.must("states", "ListStateMachines", "{}")["stateMachines"].items().size(), 1U);
  EXPECT_EQ(w.must("states", "ListStateMachines", "{}", TestWorld::kDr)["stateMachines"].items().size(), 0U);
}

TEST_F(ServicesTest, AnExecutionKeepsTheDefinitionItStartedWith) {
  const std::string arn = machine(
      "M", R"x({"StartAt":"W","States":{"W":{"Type":"Wait","Seconds":60,"Next":"A"},"A":{"Type":"Pass","Result":"old","End":true}}})x");
  const Json started = w.must("states", "StartExecution", R"x({"stateMachineArn":")x" + arn + R"x(","name":"e"})x");
  EXPECT_EQ(w.must("states", "StartExecution", R"x({"stateMachineArn":")x" + arn + R"x(","name":"e"})x")["executionArn"],
            started["executionArn"]);  // idempotent while it runs
  w.must("states", "UpdateStateMachine",
         Json::object(
             {{"stateMachineArn", arn}, {"definition", R"x({"StartAt":"A","States":{"A":{"Type":"Pass","Result":"new","End":true}}})x"}}));
  w.restart();
  w.advance(2min);
  EXPECT_EQ(w.must("states", "DescribeExecution", Json::object({{"executionArn", started["executionArn"]}}))["output"].string_or(),
            "\"old\"");
}

TEST_F(ServicesTest, TasksCallTheCloudAndFailAsAwsWordsIt) {
  const std::string v = w.volume();
  const std::string arn = machine(
      "M",
      R"x({"StartAt":"A","States":{"A":{"Type":"Task","Resource":"arn:aws:states:::aws-sdk:ec2:describeVolumes","Parameters":{"VolumeIds.$":"$.ids"},"ResultSelector":{"n.$":"$.Volumes[0].Size"},"End":true}}})x");
  const auto run = [&](const std::string& input) {
    const Json e = w.must("states", "StartExecution", Json::object({{"stateMachineArn", arn}, {"input", input}}));
    return w.must("states", "DescribeExecution", Json::object({{"executionArn", e["executionArn"]}}));
  };
  EXPECT_EQ(run(R"x({"ids":[")x" + v + R"x("]})x")["output"].string_or(), R"x({"n":10})x");
  const Json failed = run(R"x({"ids":["vol-00000000000000001"]})x");
  EXPECT_EQ(failed["status"].string_or(), "FAILED");
  EXPECT_EQ(failed["error"].string_or(), "Ec2.Ec2Exception");
  EXPECT_TRUE(failed["cause"].string_or().starts_with(
      "The volume 'vol-00000000000000001' does not exist. (Service: Ec2, Status Code: 400, Request ID: "));
}

TEST_F(ServicesTest, TokensHandWorkOut) {
  queue("work");
  const std::string arn = machine(
      "M",
      R"x({"StartAt":"A","States":{"A":{"Type":"Task","Resource":"arn:aws:states:::sqs:sendMessage.waitForTaskToken","Parameters":{"QueueUrl":"http://x/1/work","MessageBody":{"t.$":"$$.Task.Token"}},"End":true}}})x");
  const Json e = w.must("states", "StartExecution", Json::object({{"stateMachineArn", arn}}));
  w.restart();  // the token outlives the process
  const auto got = drain("work");
  ASSERT_EQ(got.size(), 1U);
  w.must("states", "SendTaskSuccess", Json::object({{"taskToken", (*Json::parse(got[0]))["t"]}, {"output", "{\"ok\":true}"}}));
  EXPECT_EQ(w.must("states", "DescribeExecution", Json::object({{"executionArn", e["executionArn"]}}))["output"].string_or(),
            R"x({"ok":true})x");
  EXPECT_TRUE(w.refusal("states", "SendTaskSuccess", R"x({"taskToken":"gone","output":"1"})x").starts_with("InvalidToken"));
  EXPECT_TRUE(w.refusal("states", "SendTaskSuccess", Json::object({{"taskToken", std::string(64, 'a')}, {"output", "1"}}).dump())
                  .starts_with("TaskTimedOut"));
  const Json history =
      w.must("states", "GetExecutionHistory", Json::object({{"executionArn", e["executionArn"]}, {"includeExecutionData", false}}));
  EXPECT_EQ(history["events"].items()[4]["type"].string_or(), "TaskSubmitted");
  EXPECT_EQ(history["events"].items()[2]["taskScheduledEventDetails"].find("parameters"), nullptr);
}

TEST_F(ServicesTest, ExecutionsStopAndTellTheBus) {
  queue("q");
  w.must("events", "PutRule", R"x({"Name":"r","EventPattern":"{\"source\":[\"aws.states\"],\"detail\":{\"status\":[\"ABORTED\"]}}"})x");
  w.must("events", "PutTargets", R"x({"Rule":"r","Targets":[{"Id":"1","Arn":"arn:aws:sqs:us-west-2:1:q"}]})x");
  const std::string arn = machine("M", R"x({"StartAt":"W","States":{"W":{"Type":"Wait","Seconds":60,"End":true}}})x");
  const Json e = w.must("states", "StartExecution", Json::object({{"stateMachineArn", arn}}));
  w.must("states", "StopExecution", Json::object({{"executionArn", e["executionArn"]}, {"error", "E"}, {"cause", "C"}}));
  const auto got = drain("q");
  ASSERT_EQ(got.size(), 1U);
  EXPECT_EQ((*Json::parse(got[0]))["detail"]["error"].string_or(), "E");
}

// ── SNS ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

TEST_F(ServicesTest, TopicsTellAllWhoConfirmed) {
  queue("q");
  queue("raw");
  const std::string topic(w.must("sns", "CreateTopic", R"x({"Name":"t"})x")["TopicArn"].string_or());
  const auto subscribe = [&](const std::string& protocol, const std::string& endpoint, const std::string& more = "") {
    return std::string(w.must("sns", "Subscribe",
                              R"x({"TopicArn":")x" + topic + R"x(","Protocol":")x" + protocol + R"x(","Endpoint":")x" + endpoint + "\"" +
                                  more + "}")["SubscriptionArn"]
                           .string_or());
  };
  subscribe("sqs", "arn:aws:sqs:us-west-2:1:q");
  subscribe("sqs", "arn:aws:sqs:us-west-2:1:raw",
            R"x(,"Attributes":{"RawMessageDelivery":"true","FilterPolicy":"{\"kind\":[\"alarm\"]}"})x");
  EXPECT_EQ(subscribe("http", "http://127.0.0.1:1/hook"), "pending confirmation");
  subscribe("email", "ops@example.com");
  ASSERT_EQ(w.outbox.requests.size(), 1U);
  const Json asked = *Json::parse(w.outbox.requests[0].second.body);
  EXPECT_EQ(asked["Type"].string_or(), "SubscriptionConfirmation");
  EXPECT_EQ(w.outbox.requests[0].second.headers.get("x-amz-sns-message-type"), "SubscriptionConfirmation");
  w.must("sns", "ConfirmSubscription", Json::object({{"TopicArn", topic}, {"Token", asked["Token"]}}));
  w.must("sns", "Publish",
         R"x({"TopicArn":")x" + topic +
             R"x(","Subject":"S","Message":"hello","MessageAttributes":{"kind":{"DataType":"String","StringValue":"alarm"}}})x");
  w.must("sns", "Publish", R"x({"TopicArn":")x" + topic + R"x(","Message":"other"})x");
  const auto queued = drain("q");
  ASSERT_EQ(queued.size(), 2U);
  EXPECT_EQ((*Json::parse(queued[0]))["Subject"].string_or(), "S");
  EXPECT_EQ((*Json::parse(queued[0]))["Message"].string_or(), "hello");
  EXPECT_EQ(drain("raw"), std::vector<std::string>{"hello"});
  EXPECT_EQ(w.outbox.requests.size(), 3U);
  EXPECT_EQ(w.outbox.mails.size(), 1U);  // the question only: nobody confirmed
  EXPECT_EQ(w.refusal("sns", "Publish", R"x({"TopicArn":"arn:aws:sns:us-west-2:123456789012:no","Message":"x"})x"),
            "NotFound: Topic does not exist");
}

TEST_F(ServicesTest, HttpDeliveriesAreRetriedAlsoAfterARestart) {
  const std::string topic(w.must("sns", "CreateTopic", R"x({"Name":"t"})x")["TopicArn"].string_or());
  w.must("sns", "Subscribe", R"x({"TopicArn":")x" + topic + R"x(","Protocol":"http","Endpoint":"http://127.0.0.1:1/hook"})x");
  const Json asked = *Json::parse(w.outbox.requests[0].second.body);
  w.must("sns", "ConfirmSubscription", Json::object({{"TopicArn", topic}, {"Token", asked["Token"]}}));
  w.outbox.status = 500;
  w.must("sns", "Publish", R"x({"TopicArn":")x" + topic + R"x(","Message":"x"})x");
  EXPECT_EQ(w.outbox.requests.size(), 2U);
  w.advance(21s);
  EXPECT_EQ(w.outbox.requests.size(), 3U);
  w.restart();
  w.outbox.status = 200;
  w.advance(1min);
  EXPECT_EQ(w.outbox.requests.size(), 4U);
  w.advance(1h);
  EXPECT_EQ(w.outbox.requests.size(), 4U);
}

// ── SQS ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

TEST_F(ServicesTest, MessagesHideComeBackAndDie) {
  queue("dead");
  queue(
      "q",
      R"x({"VisibilityTimeout":"10","RedrivePolicy":"{\"deadLetterTargetArn\":\"arn:aws:sqs:us-west-2:1:dead\",\"maxReceiveCount\":2}"})x");
  w.must("sqs", "SendMessage", R"x({"QueueUrl":"http://x/1/q","MessageBody":"m"})x");
  const auto receive = [&] {
    return w.must("sqs", "ReceiveMessage", R"x({"QueueUrl":"http://x/1/q","AttributeNames":["All"]})x")["Messages"].items();
  };
  EXPECT_EQ(receive().size(), 1U);
  EXPECT_EQ(receive().size(), 0U);
  w.advance(11s);
  w.restart();
  const auto again = receive();
  ASSERT_EQ(again.size(), 1U);
  EXPECT_EQ(again[0]["Attributes"]["ApproximateReceiveCount"].string_or(), "2");
  EXPECT_EQ(again[0]["MD5OfBody"].string_or(), "6f8f57715090da2632453988d9a1501b");
  w.advance(11s);
  EXPECT_EQ(receive().size(), 0U);
  EXPECT_EQ(drain("dead"), std::vector<std::string>{"m"});
}

TEST_F(ServicesTest, LongPollsWaitForAMessage) {
  queue("q");
  std::optional<cloud::Reply> reply;
  const auto poll = [&] {
    w.world->loop.spawn(
        w.world->cloud.call({"sqs", "us-west-2", "ReceiveMessage", *Json::parse(R"x({"QueueUrl":"http://x/1/q","WaitTimeSeconds":20})x")}),
        [&](cloud::Reply r) { reply = std::move(r); });
    w.world->loop.settle();
  };
  poll();
  w.advance(5s);
  EXPECT_FALSE(reply);
  w.must("sqs", "SendMessage", R"x({"QueueUrl":"http://x/1/q","MessageBody":"m","DelaySeconds":3})x");
  EXPECT_FALSE(reply);
  w.advance(3s);
  ASSERT_TRUE(reply);
  EXPECT_EQ((**reply)["Messages"].items().size(), 1U);
  reply.reset();
  poll();
  w.advance(21s);
  ASSERT_TRUE(reply);
  EXPECT_EQ((**reply)["Messages"].items().size(), 0U);
}

TEST_F(ServicesTest, QueueErrors) {
  EXPECT_EQ(w.refusal("sqs", "GetQueueUrl", R"x({"QueueName":"no"})x"),
            "AWS.SimpleQueueService.NonExistentQueue: The specified queue does not exist.");
  EXPECT_TRUE(w.refusal("sqs", "CreateQueue", R"x({"QueueName":"a b"})x").starts_with("InvalidParameterValue"));
  EXPECT_TRUE(
      w.refusal("sqs", "CreateQueue", R"x({"QueueName":"a","Attributes":{"DelaySeconds":"901"}})x").starts_with("InvalidAttributeValue"));
  EXPECT_TRUE(w.refusal("sqs", "CreateQueue", R"x({"QueueName":"a","Attributes":{"Colour":"red"}})x").starts_with("InvalidAttributeName"));
  EXPECT_TRUE(w.refusal("sqs", "GetQueueUrl", R"x({"QueueName":"a"})x")
                  .starts_with("AWS.SimpleQueueService.NonExistentQueue"));  // refused means not made
}

// Going on without it once meant a rule, a queue or a policy less, and a line in the log.
TEST_F(ServicesTest, ARowThatCannotBeReadEndsTheProcess) {
  queue("q");
  const auto rows = w.store->scan("sqs.queues", {});
  ASSERT_TRUE(rows && !rows->empty());
  ASSERT_TRUE(w.store->commit({{"sqs.queues", rows->front().key, rows->front().value.substr(1)}}));
  EXPECT_EXIT(w.restart(), testing::ExitedWithCode(1), "");
}

// What clients send must never become such a row: an event is stored with an envelope around it.
TEST_F(ServicesTest, WhatIsTooDeepToBeReadAgainIsRefused) {
  const auto put = [this](std::size_t depth) {
    const std::string detail = R"({"a":)" + std::string(depth - 1, '[') + std::string(depth - 1, ']') + '}';
    return w.must(
        "events", "PutEvents",
        Json::object(
            {{"Entries", Json::array({Json::object({{"Source", "app"}, {"DetailType", "t"}, {"Detail", detail}})})}}))["FailedEntryCount"];
  };
  EXPECT_EQ(put(500).as_integer(), 0);
  EXPECT_EQ(put(501).as_integer(), 1);
  EXPECT_EQ(put(600).as_integer(), 1);
}

// A message's attribute may be bytes: they are there after a restart.
TEST_F(ServicesTest, BytesOfAMessageSurviveARestart) {
  const std::string url(w.must("sqs", "CreateQueue", R"x({"QueueName":"q"})x")["QueueUrl"].string_or());
  const std::string bytes(
      "\xff\0\x01"
      "base64:",
      10);
  const Json attributes = Json::object({{"b", Json::object({{"DataType", "Binary"}, {"BinaryValue", bytes}})},
                                        {"t", Json::object({{"DataType", "Binary"},
                                                            {"BinaryValue",
                                                             "\x01"
                                                             "base64:text"}})}});
  w.must("sqs", "SendMessage", Json::object({{"QueueUrl", url}, {"MessageBody", "m"}, {"MessageAttributes", attributes}}));
  w.restart();
  const Json got = w.must("sqs", "ReceiveMessage", Json::object({{"QueueUrl", url}, {"MessageAttributeNames", Json::array({"All"})}}));
  ASSERT_EQ(got["Messages"].items().size(), 1U);
  EXPECT_EQ(got["Messages"].items()[0]["MessageAttributes"]["b"]["BinaryValue"].string_or(), bytes);
  EXPECT_EQ(got["Messages"].items()[0]["MessageAttributes"]["t"]["BinaryValue"].string_or(),
            "\x01"
            "base64:text");
}

// ── The rest ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────

TEST_F(ServicesTest, IdentityAndRoles) {
  EXPECT_EQ(w.must("sts", "GetCallerIdentity", "{}")["Account"].string_or(), "123456789012");
  w.must("iam", "CreateRole", R"x({"RoleName":"r","AssumeRolePolicyDocument":"{}"})x");
  EXPECT_TRUE(w.refusal("iam", "CreateRole", R"x({"RoleName":"r","AssumeRolePolicyDocument":"{}"})x").starts_with("EntityAlreadyExists"));
  w.must("iam", "PutRolePolicy", R"x({"RoleName":"r","PolicyName":"p","PolicyDocument":"{}"})x");
  EXPECT_TRUE(w.refusal("iam", "DeleteRole", R"x({"RoleName":"r"})x").starts_with("DeleteConflict"));
  w.restart();
  EXPECT_EQ(w.must("iam", "GetRole", R"x({"RoleName":"r"})x")["Role"]["Arn"].string_or(), "arn:aws:iam::123456789012:role/r");
}

TEST_F(ServicesTest, UnknownThingsAreRefusedClearly) {
  EXPECT_EQ(w.refusal("dlm", "GetLifecyclePolicies", "{}"), "NotImplemented: Snapward's local cloud has no service 'dlm'.");
  EXPECT_EQ(w.refusal("ec2", "DescribeVolumes", "{}", "moon-1"), "UnrecognizedClientException: The region 'moon-1' does not exist.");
  EXPECT_TRUE(w.refusal("lambda", "Invoke", R"x({"FunctionName":"nothing"})x").starts_with("ResourceNotFoundException"));
}

// An asynchronous invocation was in memory alone, and gone with the process.
TEST(LambdaTest, AsynchronousInvocationsOutliveTheProcess) {
  TestWorld w;
  int runs = 0;
  const auto add = [&] {
    w.world->cloud.lambda().add("flaky", [&runs](Json, lambda::InvocationContext) -> Task<std::expected<Json, lambda::FunctionError>> {
      if (++runs < 3) co_return std::unexpected(lambda::FunctionError{"Busy", "later"});
      co_return Json("done");
    });
  };
  add();
  EXPECT_EQ(w.must("lambda", "Invoke", R"x({"FunctionName":"flaky","InvocationType":"Event","Payload":"{}"})x")["StatusCode"].integer_or(0),
            202);
  EXPECT_EQ(runs, 1);
  w.restart();
  add();
  w.advance(std::chrono::seconds(1));
  EXPECT_EQ(runs, 2) << "again after the restart";
  w.advance(std::chrono::minutes(10));
  EXPECT_EQ(runs, 3) << "and, having failed, until it succeeds";
}

TEST(S3, ListsInPagesAndWithoutWhatXmlCannotHold) {
  TestWorld w;
  w.must("s3", "CreateBucket", R"x({"Bucket":"bucket"})x");
  for (const char* key : {"a b", "d/x", "d/y", "k\x01", "z+"})
    w.must("s3", "PutObject", Json::object({{"Bucket", "bucket"}, {"Key", key}, {"Body", "1"}}));
  std::string listed;
  for (Json token, page; page.is_null() || page["IsTruncated"].bool_or(false); token = page["NextContinuationToken"]) {
    Json::Object in{{"Bucket", "bucket"}, {"Delimiter", "/"}, {"MaxKeys", 2}, {"EncodingType", "url"}};
    in.set_if(token.is_string(), "ContinuationToken", token);
    page = w.must("s3", "ListObjectsV2", Json(std::move(in)));
    EXPECT_EQ(page["EncodingType"].string_or(), "url");
    for (const Json& object : page["Contents"].items()) listed += std::string(object["Key"].string_or()) + ' ';
    for (const Json& group : page["CommonPrefixes"].items()) listed += std::string(group["Prefix"].string_or()) + ' ';
  }
  EXPECT_EQ(listed, "a%20b d/ k%01 z%2B ");
  EXPECT_EQ(w.must("s3", "ListObjects", R"x({"Bucket":"bucket","Prefix":"d/","Marker":"d/x"})x")["Contents"].items().size(), 1U);
  EXPECT_TRUE(w.refusal("s3", "ListObjects", R"x({"Bucket":"bucket","EncodingType":"x"})x").starts_with("InvalidArgument"));
}

}  // namespace
}  // namespace snapward::services
