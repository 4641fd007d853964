// EventBridge Scheduler, archives and replays, on virtual time.
#include "support/world.hpp"

namespace snapward::services {
namespace {

using support::TestWorld;

class SchedulerTest : public ::testing::Test {
 protected:
  TestWorld w;

  std::string queue(const std::string& name) {
    w.must("sqs", "CreateQueue", Json::object({{"QueueName", name}}));
    return "arn:aws:sqs:us-west-2:" + w.world->cloud.account() + ":" + name;
  }
  std::vector<std::string> drain(const std::string& name) {
    std::vector<std::string> out;
    const Json url = w.must("sqs", "GetQueueUrl", Json::object({{"QueueName", name}}))["QueueUrl"];
    for (;;) {
      const Json got =
          w.must("sqs", "ReceiveMessage",
                 Json::object({{"QueueUrl", url}, {"MaxNumberOfMessages", 10}, {"MessageAttributeNames", Json::array({"All"})}}));
      if (got["Messages"].items().empty()) return out;
      for (const Json& m : got["Messages"].items()) {
        out.emplace_back(m["Body"].string_or());
        w.must("sqs", "DeleteMessage", Json::object({{"QueueUrl", url}, {"ReceiptHandle", m["ReceiptHandle"]}}));
      }
    }
  }
  static Json target(const std::string& arn, const std::string& input = "hello") {
    return Json::object({{"Arn", arn}, {"RoleArn", "arn:aws:iam::000000000000:role/r"}, {"Input", input}});
  }
  Json schedule(const std::string& name, const std::string& expression, Json to, const std::string& more = "{}") {
    Json::Object in{{"Name", name},
                    {"ScheduleExpression", expression},
                    {"FlexibleTimeWindow", Json::object({{"Mode", "OFF"}})},
                    {"Target", std::move(to)}};
    for (const auto& [key, value] : Json::parse(more)->as_object()) in.set(key, value);
    return Json(std::move(in));
  }
};

// PutEvents answers 200 and names what it did not take: that was lost without a word.
TEST_F(SchedulerTest, WhatABusDoesNotTakeIsADeadLetter) {
  queue("dead");
  Json::Object to = target("arn:aws:events:us-west-2:" + w.world->cloud.account() + ":event-bus/default", "no object").as_object();
  to.set("EventBridgeParameters", Json::object({{"DetailType", "t"}, {"Source", "s"}}))
      .set("RetryPolicy", Json::object({{"MaximumRetryAttempts", 0}}))
      .set("DeadLetterConfig", Json::object({{"Arn", "arn:aws:sqs:us-west-2:" + w.world->cloud.account() + ":dead"}}));
  w.must("scheduler", "CreateSchedule", schedule("odd", "rate(5 minutes)", Json(std::move(to))));
  w.advance(std::chrono::minutes(6));
  EXPECT_EQ(drain("dead"), std::vector<std::string>{"no object"});
}

TEST_F(SchedulerTest, CallsItsTargetAgainAndAgain) {
  const std::string q = queue("q");
  w.must("scheduler", "CreateSchedule",
         schedule("often", "rate(5 minutes)", target(q, "at <aws.scheduler.scheduled-time>, try <aws.scheduler.attempt-number>")));
  w.advance(std::chrono::minutes(11));
  auto got = drain("q");
  ASSERT_EQ(got.size(), 2U);
  EXPECT_TRUE(got[0].ends_with(", try 1")) << got[0];
  w.restart();
  w.advance(std::chrono::minutes(5));
  EXPECT_EQ(drain("q").size(), 1U);
  w.must("scheduler", "UpdateSchedule", schedule("often", "rate(5 minutes)", target(q), R"({"State":"DISABLED"})"));
  w.advance(std::chrono::hours(1));
  EXPECT_EQ(drain("q").size(), 0U);
  EXPECT_EQ(w.must("scheduler", "GetSchedule", R"({"Name":"often"})")["State"].string_or(), "DISABLED");
}

TEST_F(SchedulerTest, OnceAndThenGone) {
  const std::string q = queue("q");
  const std::string at = "at(" + iso_seconds(w.clock.now() + std::chrono::hours(2)).substr(0, 19) + ")";
  w.must("scheduler", "CreateSchedule", schedule("once", at, target(q), R"({"ActionAfterCompletion":"DELETE"})"));
  w.advance(std::chrono::hours(1));
  EXPECT_EQ(drain("q").size(), 0U);
  w.advance(std::chrono::hours(2));
  EXPECT_EQ(drain("q").size(), 1U);
  EXPECT_TRUE(w.refusal("scheduler", "GetSchedule", R"({"Name":"once"})").starts_with("ResourceNotFoundException"));
}

TEST_F(SchedulerTest, UniversalTargetsAndGroups) {
  queue("q");
  w.must("scheduler", "CreateScheduleGroup", R"({"Name":"team","Tags":[{"Key":"k","Value":"v"}]})");
  w.must("scheduler", "CreateSchedule",
         schedule("u", "rate(1 hour)",
                  target("arn:aws:scheduler:::aws-sdk:sqs:sendMessage", R"({"QueueUrl":"http://x/1/q","MessageBody":"universal"})"),
                  R"({"GroupName":"team"})"));
  w.advance(std::chrono::minutes(61));
  EXPECT_EQ(drain("q"), std::vector<std::string>{"universal"});
  EXPECT_EQ(w.must("scheduler", "ListSchedules", R"({"GroupName":"team"})")["Schedules"].items().size(), 1U);
  w.must("scheduler", "DeleteScheduleGroup", R"({"Name":"team"})");
  EXPECT_EQ(w.must("scheduler", "ListSchedules", "{}")["Schedules"].items().size(), 0U);
  const auto refused = [&](Json in) { return w.refusal("scheduler", "CreateSchedule", in.dump()); };
  EXPECT_TRUE(refused(schedule("a", "rate(1 hourss)", target("arn:aws:sqs:us-west-2:1:q")))
                  .starts_with("ValidationException: Invalid Schedule Expression rate(1 hourss)."));
  EXPECT_TRUE(refused(schedule("a", "rate(1 hour)", target("arn:aws:sqs:us-west-2:1:q"), R"({"ScheduleExpressionTimezone":"Mars/Base"})"))
                  .starts_with("ValidationException"));
  EXPECT_TRUE(refused(schedule("a", "rate(1 hour)", target("arn:aws:scheduler:::aws-sdk:sqs:dance"))).starts_with("ValidationException"));
  EXPECT_TRUE(refused(schedule("a", "rate(1 hour)", target("arn:aws:sqs:us-west-2:1:q"), R"({"GroupName":"none"})"))
                  .starts_with("ResourceNotFoundException"));
}

TEST_F(SchedulerTest, WhatFailsForGoodIsADeadLetter) {
  const std::string dead = queue("dead");
  Json::Object to = target("arn:aws:sqs:us-west-2:" + w.world->cloud.account() + ":nowhere").as_object();
  to.set("DeadLetterConfig", Json::object({{"Arn", dead}}));
  w.must("scheduler", "CreateSchedule", schedule("s", "rate(1 hour)", Json(std::move(to))));
  w.advance(std::chrono::minutes(61));
  EXPECT_EQ(drain("dead"), std::vector<std::string>{"hello"});
}

TEST_F(SchedulerTest, ArchivedEventsComeAgain) {
  const std::string q = queue("q");
  const std::string bus = "arn:aws:events:us-west-2:" + w.world->cloud.account() + ":event-bus/default";
  w.must("events", "PutRule", R"({"Name":"all","EventPattern":"{\"source\":[\"shop\"]}"})");
  w.must("events", "PutTargets", Json::object({{"Rule", "all"}, {"Targets", Json::array({Json::object({{"Id", "1"}, {"Arn", q}})})}}));
  w.must("events", "CreateArchive",
         Json::object({{"ArchiveName", "kept"},
                       {"EventSourceArn", bus},
                       {"RetentionDays", 2},
                       {"EventPattern", R"({"detail":{"n":[{"numeric":["<",150]}]}})"}}));
  const Instant begun = w.clock.now();
  for (int n = 0; n < 200; ++n) {
    w.must("events", "PutEvents",
           Json::object({{"Entries", Json::array({Json::object(
                                         {{"Source", "shop"}, {"DetailType", "t"}, {"Detail", "{\"n\":" + std::to_string(n) + "}"}})})}}));
    w.advance(std::chrono::seconds(1));
  }
  EXPECT_EQ(drain("q").size(), 200U);
  EXPECT_EQ(w.must("events", "DescribeArchive", R"({"ArchiveName":"kept"})")["EventCount"].integer_or(0), 150);
  const std::string archive = "arn:aws:events:us-west-2:" + w.world->cloud.account() + ":archive/kept";
  const Json ask = Json::object({{"ReplayName", "r"},
                                 {"EventSourceArn", archive},
                                 {"EventStartTime", iso_millis(begun)},
                                 {"EventEndTime", iso_millis(begun + std::chrono::seconds(140))},
                                 {"Destination", Json::object({{"Arn", bus}})}});
  w.must("events", "StartReplay", ask);
  w.restart();  // it goes on
  w.advance(std::chrono::seconds(2));
  const auto again = drain("q");
  ASSERT_EQ(again.size(), 140U);
  EXPECT_EQ((*Json::parse(again[0]))["replay-name"].string_or(), "r");
  EXPECT_EQ(w.must("events", "DescribeReplay", R"({"ReplayName":"r"})")["State"].string_or(), "COMPLETED");
  EXPECT_EQ(w.must("events", "DescribeArchive", R"({"ArchiveName":"kept"})")["EventCount"].integer_or(0), 150)
      << "what is replayed is not archived again";
  EXPECT_TRUE(w.refusal("events", "StartReplay", ask.dump()).starts_with("ResourceAlreadyExistsException"));
  w.advance(std::chrono::days(4));
  EXPECT_EQ(w.must("events", "DescribeArchive", R"({"ArchiveName":"kept"})")["EventCount"].integer_or(0), 0) << "retention";
}

TEST_F(SchedulerTest, ADestinationIsCalledNoMoreOftenThanItAllows) {
  const Json connection =
      w.must("events", "CreateConnection",
             R"({"Name":"c","AuthorizationType":"BASIC","AuthParameters":{"BasicAuthParameters":{"Username":"u","Password":"p"}}})");
  const Json destination = w.must("events", "CreateApiDestination",
                                  Json::object({{"Name", "slow"},
                                                {"ConnectionArn", connection["ConnectionArn"]},
                                                {"InvocationEndpoint", "https://slow.example/"},
                                                {"HttpMethod", "POST"},
                                                {"InvocationRateLimitPerSecond", 2}}));
  w.must("events", "PutRule", R"({"Name":"r","EventPattern":"{\"source\":[\"shop\"]}"})");
  w.must(
      "events", "PutTargets",
      Json::object({{"Rule", "r"},
                    {"Targets", Json::array({Json::object(
                                    {{"Id", "1"}, {"Arn", destination["ApiDestinationArn"]}, {"RoleArn", "arn:aws:iam::1:role/r"}})})}}));
  for (int i = 0; i < 5; ++i) w.must("events", "PutEvents", R"({"Entries":[{"Source":"shop","DetailType":"t","Detail":"{}"}]})");
  w.world->loop.settle();
  EXPECT_EQ(w.outbox.requests.size(), 2U);
  w.advance(std::chrono::seconds(1));
  EXPECT_EQ(w.outbox.requests.size(), 4U);
  w.advance(std::chrono::seconds(1));
  EXPECT_EQ(w.outbox.requests.size(), 5U);
  w.advance(std::chrono::seconds(10));
  w.must("events", "PutEvents", R"({"Entries":[{"Source":"shop","DetailType":"t","Detail":"{}"}]})");
  w.world->loop.settle();
  EXPECT_EQ(w.outbox.requests.size(), 6U) << "after a pause at once";
}

TEST_F(SchedulerTest, DestinationsAreCalledWithTheirConnections) {
  const Json connection = w.must(
      "events", "CreateConnection",
      R"({"Name":"bank","AuthorizationType":"API_KEY","AuthParameters":{"ApiKeyAuthParameters":{"ApiKeyName":"X-Key","ApiKeyValue":"secret"},
    "InvocationHttpParameters":{"HeaderParameters":[{"Key":"X-Team","Value":"t"}],"QueryStringParameters":[{"Key":"v","Value":"2","IsValueSecret":true}]}}})");
  EXPECT_EQ(w.must("events", "DescribeConnection", R"({"Name":"bank"})").dump().find("secret\""), std::string::npos)
      << "secrets are not shown";
  const Json destination = w.must("events", "CreateApiDestination",
                                  Json::object({{"Name", "pay"},
                                                {"ConnectionArn", connection["ConnectionArn"]},
                                                {"InvocationEndpoint", "https://bank.example/pay/*"},
                                                {"HttpMethod", "POST"}}));
  w.must("events", "PutRule", R"({"Name":"r","EventPattern":"{\"source\":[\"shop\"]}"})");
  w.must(
      "events", "PutTargets",
      Json::object({{"Rule", "r"},
                    {"Targets", Json::array({Json::object({{"Id", "1"},
                                                           {"Arn", destination["ApiDestinationArn"]},
                                                           {"RoleArn", "arn:aws:iam::1:role/r"},
                                                           {"InputPath", "$.detail"},
                                                           {"HttpParameters", *Json::parse(R"({"PathParameterValues":["a b"]})")}})})}}));
  w.restart();
  w.must("events", "PutEvents", R"({"Entries":[{"Source":"shop","DetailType":"t","Detail":"{\"n\":7}"}]})");
  w.world->loop.settle();
  ASSERT_EQ(w.outbox.requests.size(), 1U);
  EXPECT_EQ(w.outbox.requests[0].first, "https://bank.example/pay/a%20b?v=2");
  EXPECT_EQ(w.outbox.requests[0].second.headers.get("X-Key"), "secret");
  EXPECT_EQ(w.outbox.requests[0].second.headers.get("X-Team"), "t");
  EXPECT_EQ(w.outbox.requests[0].second.body, R"({"n":7})");
  // A busy endpoint is asked again.
  w.outbox.status = 503;
  w.must("events", "PutEvents", R"({"Entries":[{"Source":"shop","DetailType":"t","Detail":"{\"n\":8}"}]})");
  w.advance(std::chrono::seconds(5));
  w.outbox.status = 200;
  w.advance(std::chrono::minutes(1));
  const std::size_t tried = w.outbox.requests.size();
  EXPECT_GT(tried, 3U);
  w.advance(std::chrono::minutes(30));
  EXPECT_EQ(w.outbox.requests.size(), tried) << "delivered, and not again";
  // A delivery under way when the process dies is made again, once.
  w.outbox.answers = false;
  w.must("events", "PutEvents", R"({"Entries":[{"Source":"shop","DetailType":"t","Detail":"{\"n\":9}"}]})");
  w.world->loop.settle();
  ASSERT_EQ(w.outbox.requests.size(), tried + 1);
  w.outbox.answers = true;
  w.restart();
  w.world->loop.settle();
  ASSERT_EQ(w.outbox.requests.size(), tried + 2);
  EXPECT_EQ(w.outbox.requests.back().second.body, R"({"n":9})");
  w.restart();
  w.world->loop.settle();
  EXPECT_EQ(w.outbox.requests.size(), tried + 2);
  // The same connection serves a state machine's HTTP task.
  const std::string machine(
      w.must(
           "states", "CreateStateMachine",
           Json::object(
               {{"name", "M"},
                {"roleArn", "arn:aws:iam::1:role/r"},
                {"definition",
                 R"({"StartAt":"A","States":{"A":{"Type":"Task","Resource":"arn:aws:states:::http:invoke","Parameters":{"ApiEndpoint":"https://bank.example/ask","Method":"GET","Authentication":{"ConnectionArn":")" +
                     std::string(connection["ConnectionArn"].string_or()) +
                     R"("},"QueryParameters":{"q":"x y"}},"ResultSelector":{"code.$":"$.StatusCode"},"End":true}}})"}}))["stateMachineArn"]
          .string_or());
  const auto run = [&] {
    const Json e = w.must("states", "StartExecution", Json::object({{"stateMachineArn", machine}}));
    w.world->loop.settle();
    return w.must("states", "DescribeExecution", Json::object({{"executionArn", e["executionArn"]}}));
  };
  EXPECT_EQ(run()["output"].string_or(), R"({"code":200})");
  EXPECT_EQ(w.outbox.requests.back().first, "https://bank.example/ask?q=x%20y&v=2");
  w.outbox.status = 404;
  EXPECT_EQ(run()["error"].string_or(), "States.Http.StatusCode.404");
}

TEST_F(SchedulerTest, BusesHavePolicies) {
  w.must("events", "PutPermission", R"({"Action":"events:PutEvents","Principal":"111122223333","StatementId":"one"})");
  w.restart();
  const Json policy = *Json::parse(w.must("events", "DescribeEventBus", "{}")["Policy"].string_or());
  EXPECT_EQ(policy["Statement"].items().size(), 1U);
  EXPECT_TRUE(w.refusal("events", "PutPermission", R"({"Action":"events:Dance","Principal":"*","StatementId":"two"})")
                  .starts_with("ValidationException"));
  w.must("events", "RemovePermission", R"({"StatementId":"one"})");
  EXPECT_TRUE(w.must("events", "DescribeEventBus", "{}")["Policy"].is_null());
  EXPECT_TRUE(w.refusal("events", "RemovePermission", R"({"StatementId":"one"})").starts_with("ResourceNotFoundException"));
}

TEST_F(SchedulerTest, CreateScheduleAgain_WithItsClientToken_IsAnsweredAsBefore) {
  const std::string q = queue("q");
  const Json ask = schedule("s", "rate(1 hours)", target(q), R"({"ClientToken":"t1"})");
  EXPECT_EQ(w.must("scheduler", "CreateSchedule", ask), w.must("scheduler", "CreateSchedule", ask));
  w.restart();
  EXPECT_EQ(w.must("scheduler", "CreateSchedule", ask)["ScheduleArn"].string_or().substr(0, 17), "arn:aws:scheduler");
  for (const Json& other : {schedule("s", "rate(2 hours)", target(q), R"({"ClientToken":"t1"})"),
                            schedule("s", "rate(1 hours)", target(q), R"({"ClientToken":"t2"})")})
    EXPECT_EQ(w.refusal("scheduler", "CreateSchedule", other.dump()), "ConflictException: Schedule s already exists.");
  const char* group = R"({"Name":"team","ClientToken":"t1"})";
  EXPECT_EQ(w.must("scheduler", "CreateScheduleGroup", group), w.must("scheduler", "CreateScheduleGroup", group));
  EXPECT_EQ(w.refusal("scheduler", "CreateScheduleGroup", R"({"Name":"team","ClientToken":"t2"})"),
            "ConflictException: Schedule group team already exists.");
}

TEST_F(SchedulerTest, UniversalTargetsThatOnlyReadAreRefused) {
  const auto refused = [&](const char* arn) {
    return w.refusal("scheduler", "CreateSchedule", schedule("a", "rate(1 hour)", target(arn)).dump());
  };
  for (const char* action :
       {"sqs:receiveMessage", "sfn:describeExecution", "ec2:getConsoleOutput", "dynamodb:batchGetItem", "s3:listBuckets"})
    EXPECT_TRUE(refused(("arn:aws:scheduler:::aws-sdk:" + std::string(action)).c_str())
                    .ends_with("only reads and is not a supported action for a target."))
        << action;
  EXPECT_EQ(refused("arn:aws:scheduler:::aws-sdk:glue:startJobRun"), "ValidationException: glue is not a supported service for a target.");
}

TEST_F(SchedulerTest, ListsOfScheduleGroupsHavePages) {
  for (const char* name : {"a", "b", "e"}) w.must("scheduler", "CreateScheduleGroup", Json::object({{"Name", name}}));
  const Json first = w.must("scheduler", "ListScheduleGroups", R"({"MaxResults":3})");
  EXPECT_EQ(first["ScheduleGroups"].items()[2]["Name"].string_or(), "default");
  const Json last = w.must("scheduler", "ListScheduleGroups", Json::object({{"MaxResults", 3}, {"NextToken", first["NextToken"]}}));
  ASSERT_EQ(last["ScheduleGroups"].items().size(), 1U);
  EXPECT_EQ(last["ScheduleGroups"].items()[0]["Name"].string_or(), "e");
  EXPECT_TRUE(last["NextToken"].is_null());
}

TEST_F(SchedulerTest, CancelReplay_BeforeItBegins_DeliversNothing) {
  const std::string bus = "arn:aws:events:us-west-2:" + w.world->cloud.account() + ":event-bus/default";
  w.must("events", "CreateArchive", Json::object({{"ArchiveName", "kept"}, {"EventSourceArn", bus}}));
  const auto ask = [&](const char* name, const std::string& source, const std::string& destination) {
    return Json::object({{"ReplayName", name},
                         {"EventSourceArn", "arn:aws:events:us-west-2:" + w.world->cloud.account() + ":archive/" + source},
                         {"EventStartTime", iso_millis(w.clock.now())},
                         {"EventEndTime", iso_millis(w.clock.now() + std::chrono::seconds(1))},
                         {"Destination", Json::object({{"Arn", destination}})}});
  };
  const auto state = [&] { return std::string(w.must("events", "DescribeReplay", R"({"ReplayName":"r"})")["State"].string_or()); };
  EXPECT_EQ(w.must("events", "StartReplay", ask("r", "kept", bus))["State"].string_or(), "STARTING");
  EXPECT_EQ(w.must("events", "CancelReplay", R"({"ReplayName":"r"})")["State"].string_or(), "CANCELLING");
  EXPECT_EQ(state(), "CANCELLING");
  w.restart();
  w.advance(std::chrono::seconds(2));
  EXPECT_EQ(state(), "CANCELLED");
  EXPECT_TRUE(w.refusal("events", "CancelReplay", R"({"ReplayName":"r"})").starts_with("IllegalStatusException"));
  EXPECT_EQ(w.refusal("events", "StartReplay", ask("s", "none", bus).dump()),
            "ValidationException: Parameter EventSourceArn is not valid. Reason: Archive none does not exist.");
  EXPECT_EQ(w.refusal("events", "StartReplay", ask("s", "kept", bus + "2").dump()),
            "ResourceNotFoundException: Event bus default2 does not exist.");
  EXPECT_EQ(w.refusal("events", "ListReplays", R"({"NamePrefix":"r","State":"CANCELLED"})"),
            "ValidationException: At most one filter is allowed for ListReplays. Use either : State, EventSourceArn, or NamePrefix.");
}

TEST_F(SchedulerTest, AnArchiveShowsItsManagedRule) {
  const std::string bus = "arn:aws:events:us-west-2:" + w.world->cloud.account() + ":event-bus/default";
  w.must("events", "CreateArchive",
         Json::object({{"ArchiveName", "kept"}, {"EventSourceArn", bus}, {"EventPattern", R"({"source":["shop"]})"}}));
  w.must("events", "PutRule", R"({"Name":"A","EventPattern":"{\"source\":[\"shop\"]}"})");
  const Json rules = w.must("events", "ListRules", R"({"Limit":2})")["Rules"];
  ASSERT_EQ(rules.items().size(), 2U);
  EXPECT_EQ(rules.items()[1]["Name"].string_or(), "Events-Archive-kept");
  EXPECT_EQ(rules.items()[1]["ManagedBy"].string_or(), "prod.vhs.events.aws.internal");
  EXPECT_EQ(rules.items()[1]["EventPattern"].string_or(), R"({"source":["shop"],"replay-name":[{"exists":false}]})");
  EXPECT_EQ(w.must("events", "ListTargetsByRule", R"({"Rule":"Events-Archive-kept"})")["Targets"].items().size(), 1U);
  for (const char* operation : {"DisableRule", "DeleteRule"})
    EXPECT_TRUE(w.refusal("events", operation, R"({"Name":"Events-Archive-kept"})").starts_with("ManagedRuleException")) << operation;
  w.must("events", "DeleteArchive", R"({"ArchiveName":"kept"})");
  EXPECT_TRUE(w.refusal("events", "DescribeRule", R"({"Name":"Events-Archive-kept"})").starts_with("ResourceNotFoundException"));
}

TEST_F(SchedulerTest, ConnectionsKeepTheirCredentialsInASecret) {
  w.must("events", "CreateConnection",
         R"({"Name":"c","AuthorizationType":"BASIC","AuthParameters":{"BasicAuthParameters":{"Username":"u","Password":"p"}}})");
  const std::string arn(w.must("events", "DescribeConnection", R"({"Name":"c"})")["SecretArn"].string_or());
  const auto secret = [&] {
    return std::string(w.must("secretsmanager", "GetSecretValue", Json::object({{"SecretId", arn}}))["SecretString"].string_or());
  };
  EXPECT_NE(arn.find(":secret:events!connection/c/"), std::string::npos) << arn;
  EXPECT_EQ(secret(), R"({"username":"u","password":"p"})");
  w.must("events", "UpdateConnection",
         R"({"Name":"c","AuthorizationType":"API_KEY","AuthParameters":{"ApiKeyAuthParameters":{"ApiKeyName":"k","ApiKeyValue":"v"}}})");
  EXPECT_EQ(secret(), R"({"api_key_name":"k","api_key_value":"v"})");
  w.must("events", "DeleteConnection", R"({"Name":"c"})");
  EXPECT_TRUE(
      w.refusal("secretsmanager", "DescribeSecret", Json::object({{"SecretId", arn}}).dump()).starts_with("ResourceNotFoundException"));
}

TEST_F(SchedulerTest, AnOAuthConnectionIsAuthorizedAfterAWhile) {
  const Json made = w.must(
      "events", "CreateConnection",
      R"({"Name":"c","AuthorizationType":"OAUTH_CLIENT_CREDENTIALS","AuthParameters":{"OAuthParameters":{"AuthorizationEndpoint":"https://bank.example/token",
    "HttpMethod":"POST","ClientParameters":{"ClientID":"i","ClientSecret":"s"}}}})");
  EXPECT_EQ(made["ConnectionState"].string_or(), "AUTHORIZING");
  const auto destination = [&](const char* operation) {
    return std::string(w.must("events", operation,
                              Json::object({{"Name", "d"},
                                            {"ConnectionArn", made["ConnectionArn"]},
                                            {"InvocationEndpoint", "https://bank.example/"},
                                            {"HttpMethod", "POST"}}))["ApiDestinationState"]
                           .string_or());
  };
  EXPECT_EQ(destination("CreateApiDestination"), "INACTIVE");
  w.restart();
  w.advance(std::chrono::seconds(3));
  ASSERT_EQ(w.outbox.requests.size(), 1U);
  EXPECT_EQ(w.outbox.requests[0].first, "https://bank.example/token");
  // The endpoint's answer was no token.
  EXPECT_EQ(w.must("events", "DescribeConnection", R"({"Name":"c"})")["ConnectionState"].string_or(), "DEAUTHORIZED");
  EXPECT_EQ(w.must("events", "DescribeApiDestination", R"({"Name":"d"})")["ApiDestinationState"].string_or(), "INACTIVE");
}

TEST_F(SchedulerTest, RequestsAreCheckedAgainstTheirConstraints) {
  const auto refused = [&](const char* operation, const char* in) { return w.refusal("events", operation, in); };
  const std::string one = "ValidationException: 1 validation error detected: Value ";
  EXPECT_EQ(refused("PutRule", R"({"Name":"r","State":"BOGUS","EventPattern":"{\"source\":[\"a\"]}"})"),
            one +
                "'BOGUS' at 'state' failed to satisfy constraint: Member must satisfy enum value set: [ENABLED, DISABLED, "
                "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS]");
  EXPECT_EQ(refused("DescribeArchive", Json::object({{"ArchiveName", std::string(49, 'a')}}).dump().c_str()),
            one + "'" + std::string(49, 'a') +
                "' at 'archiveName' failed to satisfy constraint: Member must have length less than or equal to 48");
  EXPECT_EQ(refused("ListRules", R"({"Limit":101})"),
            one + "'101' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 100");
  EXPECT_EQ(refused("PutTargets", R"({"Rule":"r","Targets":[{"Id":"a b","Arn":"arn:aws:sqs:us-west-2:1:q"}]})"),
            one +
                "'a b' at 'targets.1.member.id' failed to satisfy constraint: Member must satisfy regular expression pattern: "
                "[\\.\\-_A-Za-z0-9]+");
  EXPECT_EQ(
      refused("CreateApiDestination", R"({"Name":"d","ConnectionArn":"x","HttpMethod":"DANCE","InvocationEndpoint":"https://a.example"})"),
      "ValidationException: 2 validation errors detected: Value 'x' at 'connectionArn' failed to satisfy constraint: Member must satisfy "
      "regular expression pattern: "
      "^arn:aws([a-z]|\\-)*:events:([a-z]|\\d|\\-)*:([0-9]{12})?:connection\\/[\\.\\-_A-Za-z0-9]+\\/[\\-A-Za-z0-9]+$; Value 'DANCE' at "
      "'httpMethod' failed to satisfy constraint: Member must satisfy enum value set: [HEAD, POST, PATCH, DELETE, PUT, GET, OPTIONS]");
}

TEST_F(SchedulerTest, BusesHaveTagsTimesAndPages) {
  const std::string arn(
      w.must("events", "CreateEventBus", R"({"Name":"orders","Description":"of shops","Tags":[{"Key":"k","Value":"v"}]})")["EventBusArn"]
          .string_or());
  const Instant made = w.clock.now();
  w.advance(std::chrono::hours(1));
  w.must("events", "UpdateEventBus", R"({"Name":"orders","Description":"of all"})");
  w.restart();
  const Json bus = w.must("events", "DescribeEventBus", R"({"Name":"orders"})");
  EXPECT_EQ(bus["Description"].string_or(), "of all");
  EXPECT_EQ(bus["CreationTime"].string_or(), iso_millis(made));
  EXPECT_EQ(bus["LastModifiedTime"].string_or(), iso_millis(made + std::chrono::hours(1)));
  w.must("events", "TagResource",
         Json::object({{"ResourceARN", arn}, {"Tags", Json::array({Json::object({{"Key", "l"}, {"Value", "w"}})})}}));
  EXPECT_EQ(w.must("events", "ListTagsForResource", Json::object({{"ResourceARN", arn}}))["Tags"].items().size(), 2U);
  EXPECT_EQ(w.refusal("events", "ListTagsForResource", Json::object({{"ResourceARN", arn + "2"}}).dump()),
            "ResourceNotFoundException: Event bus orders2 does not exist.");
  EXPECT_EQ(w.refusal("events", "UntagResource", R"({"ResourceARN":"arn:aws:events:us-west-2:1:rule/r","TagKeys":["k"]})"),
            "ResourceNotFoundException: Rule r does not exist on EventBus default.");
  const Json first = w.must("events", "ListEventBuses", R"({"Limit":1})");
  EXPECT_EQ(first["EventBuses"].items()[0]["Name"].string_or(), "default");
  const Json second = w.must("events", "ListEventBuses", Json::object({{"Limit", 1}, {"NextToken", first["NextToken"]}}));
  EXPECT_EQ(second["EventBuses"].items()[0]["Name"].string_or(), "orders");
  EXPECT_TRUE(second["NextToken"].is_null());
}

TEST_F(SchedulerTest, ListsOfTargetsAndOfRulesByTargetHavePages) {
  const std::string q = queue("q");
  for (const char* rule : {"a", "b", "c"}) {
    w.must("events", "PutRule", Json::object({{"Name", rule}, {"EventPattern", R"({"source":["shop"]})"}}));
    w.must("events", "PutTargets",
           Json::object({{"Rule", rule},
                         {"Targets", Json::array({Json::object({{"Id", "2"}, {"Arn", q}}), Json::object({{"Id", "1"}, {"Arn", q}})})}}));
  }
  const auto pages = [&](const char* operation, const char* member, Json::Object in) {
    std::string out;
    for (;;) {
      const Json page = w.must("events", operation, Json(in));
      for (const Json& item : page[member].items()) out += std::string(item.is_string() ? item.string_or() : item["Id"].string_or()) + ' ';
      if (!page.find("NextToken")) return out;
      out += "| ";
      in.set("NextToken", page["NextToken"]);
    }
  };
  EXPECT_EQ(pages("ListTargetsByRule", "Targets", {{"Rule", "a"}, {"Limit", 1}}), "2 | 1 ");
  EXPECT_EQ(pages("ListRuleNamesByTarget", "RuleNames", {{"TargetArn", q}, {"Limit", 2}}), "a b | c ");
}

TEST_F(SchedulerTest, ListsOfArchivesHavePages) {
  const std::string bus = "arn:aws:events:us-west-2:" + w.world->cloud.account() + ":event-bus/default";
  for (int i = 0; i < 7; ++i)
    w.must("events", "CreateArchive", Json::object({{"ArchiveName", "a" + std::to_string(i)}, {"EventSourceArn", bus}}));
  w.must("events", "CreateArchive", Json::object({{"ArchiveName", "other"}, {"EventSourceArn", bus}}));
  std::string names;
  Json::Object in{{"Limit", 3}, {"NamePrefix", "a"}};
  for (int pages = 1;; ++pages) {
    const Json page = w.must("events", "ListArchives", Json(in));
    for (const Json& a : page["Archives"].items()) names += std::string(a["ArchiveName"].string_or()) + ' ';
    if (!page.find("NextToken")) {
      EXPECT_EQ(pages, 3);
      break;
    }
    in.set("NextToken", page["NextToken"]);
  }
  EXPECT_EQ(names, "a0 a1 a2 a3 a4 a5 a6 ");
  EXPECT_EQ(w.refusal("events", "ListReplays", R"({"NextToken":"made up"})"), "ValidationException: Parameter NextToken is not valid.");
}

}  // namespace
}  // namespace snapward::services
