// CloudWatch Logs over the Cloud port, and who writes there.
#include <gtest/gtest.h>

#include "services/logs/filter.hpp"
#include "support/world.hpp"

namespace snapward::services::logs {
namespace {

using support::TestWorld;
using namespace std::chrono_literals;

TEST(LogFilter, Terms) {
  const auto matches = [](const char* pattern, const char* message) {
    const auto filter = Filter::parse(pattern);
    EXPECT_TRUE(filter) << pattern;
    return filter && filter->matches(message);
  };
  EXPECT_TRUE(matches("", "anything"));
  EXPECT_TRUE(matches("ERROR disk", "an ERROR on disk 3"));
  EXPECT_FALSE(matches("ERROR disk", "an ERROR on tape"));
  EXPECT_TRUE(matches("?disk ?tape", "on tape"));
  EXPECT_FALSE(matches("ERROR -tape", "ERROR on tape"));
  EXPECT_TRUE(matches(R"("on \"tape\"")", R"(ERROR on "tape")"));
  EXPECT_FALSE(Filter::parse("{ $.a = 1 }"));
  EXPECT_FALSE(Filter::parse("\"open"));
}

struct LogsTest : testing::Test {
  TestWorld w;
  std::string at(std::int64_t offset_ms) { return std::to_string(w.clock.now().time_since_epoch().count() + offset_ms); }
  std::vector<std::string> lines(const std::string& request, const char* operation = "FilterLogEvents") {
    std::vector<std::string> out;
    const Json reply = w.must("logs", operation, request);
    for (const Json& e : reply["events"].items()) out.emplace_back(e["message"].string_or());
    return out;
  }
};

TEST_F(LogsTest, EventsAreKeptInOrderAndFound) {
  w.must("logs", "CreateLogGroup", R"({"logGroupName":"/g","tags":{"k":"v"}})");
  EXPECT_EQ(w.refusal("logs", "CreateLogGroup", R"({"logGroupName":"/g"})"),
            "ResourceAlreadyExistsException: The specified log group already exists");
  w.must("logs", "CreateLogStream", R"({"logGroupName":"/g","logStreamName":"s"})");
  const std::string to = R"({"logGroupName":"/g","logStreamName":"s")";
  const Json put =
      w.must("logs", "PutLogEvents",
             to + R"(,"logEvents":[{"timestamp":1000,"message":"ancient"},{"timestamp":)" + at(0) + R"(,"message":"one"},{"timestamp":)" +
                 at(5) + R"(,"message":"two ERROR"},{"timestamp":)" + at(8'000'000) + R"(,"message":"of the future"}]})");
  EXPECT_EQ(put["rejectedLogEventsInfo"]["tooOldLogEventEndIndex"].integer_or(0), 1);
  EXPECT_EQ(put["rejectedLogEventsInfo"]["tooNewLogEventStartIndex"].integer_or(0), 3);
  w.must("logs", "PutLogEvents", to + R"(,"logEvents":[{"timestamp":)" + at(2) + R"(,"message":"between"}]})");
  EXPECT_TRUE(w.refusal("logs", "PutLogEvents", to + R"(,"logEvents":[{"timestamp":5,"message":"a"},{"timestamp":4,"message":"b"}]})")
                  .find("chronological") != std::string::npos);
  w.restart();
  EXPECT_EQ(lines(to + "}", "GetLogEvents"), (std::vector<std::string>{"one", "between", "two ERROR"}));
  EXPECT_EQ(lines(to + R"(,"limit":1})", "GetLogEvents"), std::vector<std::string>{"two ERROR"});
  // Pages: forward to the end, where the token stays the same.
  Json page = w.must("logs", "GetLogEvents", to + R"(,"limit":2,"startFromHead":true})");
  EXPECT_EQ(page["events"].items().size(), 2U);
  page = w.must("logs", "GetLogEvents", to + R"(,"nextToken":")" + std::string(page["nextForwardToken"].string_or()) + "\"}");
  EXPECT_EQ(page["events"].items().size(), 1U);
  const std::string token(page["nextForwardToken"].string_or());
  page = w.must("logs", "GetLogEvents", to + R"(,"nextToken":")" + token + "\"}");
  EXPECT_TRUE(page["events"].items().empty());
  EXPECT_EQ(page["nextForwardToken"].string_or(), token);
  EXPECT_EQ(lines(R"({"logGroupName":"/g","filterPattern":"ERROR"})"), std::vector<std::string>{"two ERROR"});
  EXPECT_EQ(w.must("logs", "ListTagsForResource", R"({"resourceArn":"arn:aws:logs:us-west-2:123456789012:log-group:/g"})")["tags"]["k"]
                .string_or(),
            "v");
  w.must("logs", "DeleteLogGroup", R"({"logGroupName":"/g"})");
  w.must("logs", "CreateLogGroup", R"({"logGroupName":"/g"})");
  EXPECT_TRUE(lines(R"({"logGroupName":"/g"})").empty());
}

TEST_F(LogsTest, RetentionForgets) {
  w.must("logs", "CreateLogGroup", R"({"logGroupName":"/g"})");
  w.must("logs", "CreateLogStream", R"({"logGroupName":"/g","logStreamName":"s"})");
  EXPECT_TRUE(
      w.refusal("logs", "PutRetentionPolicy", R"({"logGroupName":"/g","retentionInDays":2})").starts_with("InvalidParameterException"));
  w.must("logs", "PutRetentionPolicy", R"({"logGroupName":"/g","retentionInDays":1})");
  w.must("logs", "PutLogEvents",
         R"({"logGroupName":"/g","logStreamName":"s","logEvents":[{"timestamp":)" + at(0) + R"(,"message":"old"}]})");
  w.advance(20h);
  w.must("logs", "PutLogEvents",
         R"({"logGroupName":"/g","logStreamName":"s","logEvents":[{"timestamp":)" + at(0) + R"(,"message":"new"}]})");
  w.advance(6h);
  EXPECT_EQ(lines(R"({"logGroupName":"/g"})"), std::vector<std::string>{"new"});
  EXPECT_EQ(w.must("logs", "DescribeLogGroups", "{}")["logGroups"].items()[0]["storedBytes"].integer_or(0), 3 + 26);
}

TEST_F(LogsTest, ExecutionsLogByLevel) {
  w.must("logs", "CreateLogGroup", R"({"logGroupName":"/m"})");
  const auto machine = [&](const std::string& name, const std::string& level, bool data) {
    const Json made = w.must(
        "states", "CreateStateMachine",
        R"({"name":")" + name +
            R"(","roleArn":"arn:aws:iam::1:role/r","definition":"{\"StartAt\":\"P\",\"States\":{\"P\":{\"Type\":\"Pass\",\"Next\":\"F\"},\"F\":{\"Type\":\"Fail\",\"Error\":\"E\"}}}",)" +
            R"("loggingConfiguration":{"level":")" + level + R"(","includeExecutionData":)" + (data ? "true" : "false") +
            R"(,"destinations":[{"cloudWatchLogsLogGroup":{"logGroupArn":"arn:aws:logs:us-west-2:123456789012:log-group:/m:*"}}]}})");
    w.must("states", "StartExecution",
           Json::object({{"stateMachineArn", made["stateMachineArn"]}, {"name", "x"}, {"input", R"({"a":1})"}}));
    std::vector<std::string> types;
    for (const std::string& line : lines(R"({"logGroupName":"/m","filterPattern":"\":)" + name + R"(:x\""})"))
      types.emplace_back((*Json::parse(line))["type"].string_or());
    return types;
  };
  EXPECT_EQ(machine("all", "ALL", true),
            (std::vector<std::string>{"ExecutionStarted", "PassStateEntered", "PassStateExited", "FailStateEntered", "ExecutionFailed"}));
  EXPECT_EQ(machine("error", "ERROR", false), (std::vector<std::string>{"FailStateEntered", "ExecutionFailed"}));
  EXPECT_EQ(machine("fatal", "FATAL", false), std::vector<std::string>{"ExecutionFailed"});
  EXPECT_TRUE(machine("off", "OFF", false).empty());
  EXPECT_TRUE(
      w.refusal(
           "states", "CreateStateMachine",
           R"({"name":"nowhere","roleArn":"arn:aws:iam::1:role/r","definition":"{\"StartAt\":\"P\",\"States\":{\"P\":{\"Type\":\"Pass\",\"End\":true}}}",)"
           R"("loggingConfiguration":{"level":"ALL","destinations":[{"cloudWatchLogsLogGroup":{"logGroupArn":"arn:aws:logs:us-west-2:123456789012:log-group:/gone:*"}}]}})")
          .starts_with("InvalidLoggingConfiguration: Invalid Logging Configuration: Log Destination not found."));
  const auto all = lines(R"({"logGroupName":"/m","filterPattern":"\":all:x\""})");
  const Json first = *Json::parse(all[0]);
  EXPECT_EQ(first["details"]["input"].string_or(), R"({"a":1})");
  EXPECT_EQ(first["previous_event_id"].string_or(), "0");
  EXPECT_EQ(first["execution_arn"].string_or(), "arn:aws:states:us-west-2:123456789012:execution:all:x");
  const auto error = lines(R"({"logGroupName":"/m","filterPattern":"\":error:x\""})");
  EXPECT_EQ((*Json::parse(error[0]))["details"].dump(), R"({"name":"F"})");
}

TEST_F(LogsTest, RulesWriteToLogGroups) {
  w.must("logs", "CreateLogGroup", R"({"logGroupName":"/aws/events/x"})");
  w.must("events", "PutRule", R"({"Name":"r","EventPattern":"{\"source\":[\"app\"]}"})");
  w.must("events", "PutTargets", R"({"Rule":"r","Targets":[{"Id":"1","Arn":"arn:aws:logs:us-west-2:123456789012:log-group:/aws/events/x"},
    {"Id":"2","Arn":"arn:aws:logs:us-west-2:123456789012:log-group:/aws/events/x","InputTransformer":{"InputPathsMap":{"t":"$.time"},"InputTemplate":"{\"timestamp\":<t>,\"message\":\"short\"}"}}]})");
  w.must("events", "PutEvents", R"({"Entries":[{"Source":"app","DetailType":"t","Detail":"{\"n\":2}"}]})");
  auto got = lines(R"({"logGroupName":"/aws/events/x"})");
  std::ranges::sort(got);
  ASSERT_EQ(got.size(), 2U);
  EXPECT_EQ(got[0], "short");
  EXPECT_EQ((*Json::parse(got[1]))["detail"]["n"].integer_or(0), 2);
}

}  // namespace
}  // namespace snapward::services::logs
