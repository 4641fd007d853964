#include "engine/binding.hpp"

#include <gtest/gtest.h>

namespace snapward::engine {
namespace {

std::string bound(const std::string& service, const std::string& operation, const std::string& parameters, Binding binding = {}) {
  const wire::Operation* known = wire::find_service(service)->find(operation);
  const auto input = bind(*known->input, *Json::parse(parameters), binding);
  return input ? input->dump() : input.error();
}

std::string result(const std::string& service, const std::string& operation, const std::string& reply) {
  return result_of(*wire::find_service(service)->find(operation)->output, *Json::parse(reply)).dump();
}

TEST(Binding, NamesOfParametersArePascalCaseWhateverTheApiHas) {
  EXPECT_EQ(bound("logs", "CreateLogGroup", R"({"LogGroupName":"g"})"), R"({"logGroupName":"g"})");
  EXPECT_EQ(bound("logs", "CreateLogGroup", R"({"logGroupName":"g"})"), "The field \"logGroupName\" is not supported by Step Functions");
  EXPECT_EQ(bound("ec2", "DescribeSnapshots", R"({"Filter":[]})"), "The field \"Filter\" is not supported by Step Functions");
  EXPECT_EQ(bound("s3", "PutObject", R"({"Acl":"private"})"), R"({"ACL":"private"})");
}

TEST(Binding, UnknownNamesAreRefusedAtAnyDepth) {
  EXPECT_EQ(bound("events", "PutTargets", R"({"Targets":[{"Id":"1","SqsParameters":{"messageGroupId":"a"}}]})"),
            "The field \"messageGroupId\" is not supported by Step Functions");
}

TEST(Binding, NullIsAbsent) { EXPECT_EQ(bound("sqs", "SendMessage", R"({"QueueUrl":"u","MessageBody":null})"), R"({"QueueUrl":"u"})"); }

TEST(Binding, TextBecomesABooleanOrANumber) {
  EXPECT_EQ(bound("sqs", "SendMessage", R"({"DelaySeconds":"5"})"), R"({"DelaySeconds":5})");
  EXPECT_EQ(bound("sqs", "SendMessage", R"({"DelaySeconds":"soon"})"), "The value for the field 'DelaySeconds' must be a NUMBER");
  EXPECT_EQ(bound("ec2", "ModifyInstanceAttribute", R"({"DisableApiTermination":{"Value":"true"}})"),
            R"({"DisableApiTermination":{"Value":true}})");
  EXPECT_EQ(bound("ec2", "ModifyInstanceAttribute", R"({"DisableApiTermination":{"Value":"yes"}})"),
            "The value for the field 'Value' must be a BOOLEAN");
}

TEST(Binding, JsonBecomesTextWhereTheApiHasText) {
  EXPECT_EQ(bound("scheduler", "CreateSchedule", R"({"Target":{"Input":{"id":"x"}}})"), R"({"Target":{"Input":"{\"id\":\"x\"}"}})");
  EXPECT_EQ(bound("scheduler", "CreateSchedule", R"({"Target":{"Input":7}})"), "The value for the field 'Input' must be a STRING");
}

TEST(Binding, PayloadOfAFunctionIsJsonOrItsText) {
  EXPECT_EQ(bound("lambda", "Invoke", R"({"Payload":{"a":1}})"), R"({"Payload":"{\"a\":1}"})");
  EXPECT_EQ(bound("lambda", "Invoke", R"({"Payload":"\"a\""})"), R"({"Payload":"\"a\""})");
  EXPECT_EQ(bound("lambda", "Invoke", R"({"Payload":1})"), "The value for the field 'Payload' must be a STRING");
}

TEST(Binding, PlainTextIsAnAttributeValueOfTheOptimizedDynamoDb) {
  const Binding optimized{.attribute_text = true};
  EXPECT_EQ(bound("dynamodb", "PutItem", R"({"Item":{"id":"x","tags":{"L":["a"]},"done":{"BOOL":"false"}}})", optimized),
            R"({"Item":{"id":{"S":"x"},"tags":{"L":[{"S":"a"}]},"done":{"BOOL":false}}})");
  EXPECT_EQ(bound("dynamodb", "PutItem", R"({"Item":{"id":"x"}})"), "The value for the field 'id' must be an OBJECT");
  EXPECT_EQ(bound("dynamodb", "PutItem", R"({"Item":{"n":{"N":5}}})", optimized), "The value for the field 'N' must be a STRING");
  EXPECT_EQ(bound("dynamodb", "PutItem", R"({"Item":{"n":{"S":{"a":1}}}})", optimized), "The value for the field 'S' must be a STRING");
}

TEST(Binding, ResultsArePascalCaseButForTheKeysOfMaps) {
  EXPECT_EQ(result("states", "DescribeExecution", R"({"executionArn":"a","inputDetails":{"included":true}})"),
            R"({"ExecutionArn":"a","InputDetails":{"Included":true}})");
  EXPECT_EQ(result("logs", "ListTagsForResource", R"({"tags":{"owner":"me"}})"), R"({"Tags":{"owner":"me"}})");
}

TEST(Binding, MetadataOfAnObjectIsThereEvenWhenEmpty) {
  EXPECT_EQ(result("s3", "HeadObject", R"({"ETag":"\"e\""})"), R"({"ETag":"\"e\"","Metadata":{}})");
}

}  // namespace
}  // namespace snapward::engine
