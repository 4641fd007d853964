// Lambda's functions over the Cloud port; what runs them is a script.
#include <gtest/gtest.h>

#include "base/text.hpp"
#include "support/world.hpp"

namespace snapward::services::lambda {
namespace {

using support::TestWorld;

struct Script final : Runtimes {
  std::optional<std::string> refusal(const std::string& runtime) override {
    return runtime == "ruby3.2" ? std::optional<std::string>("No ruby here") : std::nullopt;
  }
  Task<Outcome> invoke(RunnableVersion version, Invocation invocation) override {
    const std::string code = version.code();
    ran.push_back(version.version + ' ' + version.handler + ' ' + code + ' ' + invocation.event);
    if (invocation.event == "{\"fail\":true}")
      co_return Outcome{.payload = R"({"errorType":"Oh","errorMessage":"no"})", .failed = true, .log = {}};
    co_return Outcome{.payload = invocation.event, .failed = false, .log = "a line\n"};
  }
  void forget(const std::string& arn) override { forgotten.push_back(arn); }
  std::vector<std::string> ran, forgotten;
};

struct LambdaFunctions : testing::Test {
  TestWorld w;
  Script script;
  LambdaFunctions() { w.world->cloud.lambda().set_runtimes(script); }

  Json create(const std::string& name, const std::string& code = "PKcode") {
    return w.must("lambda", "CreateFunction",
                  Json::object({{"FunctionName", name},
                                {"Runtime", "python3.12"},
                                {"Role", "arn:aws:iam::123456789012:role/r"},
                                {"Handler", "app.handler"},
                                {"Code", Json::object({{"ZipFile", code}})}}));
  }
};

TEST_F(LambdaFunctions, AreMadeRunChangedAndDeleted) {
  const Json made = create("f");
  EXPECT_EQ(made["State"].string_or(), "Pending");
  EXPECT_EQ(made["CodeSize"].integer_or(0), 6);
  EXPECT_EQ(made["CodeSha256"].string_or(), base64_encode(sha256("PKcode")));
  EXPECT_EQ(w.must("lambda", "GetFunction", R"({"FunctionName":"f"})")["Configuration"]["State"].string_or(), "Active");
  EXPECT_TRUE(
      w.refusal("lambda", "CreateFunction",
                R"({"FunctionName":"f","Runtime":"python3.12","Handler":"h","Role":"arn:aws:iam::1:role/r","Code":{"ZipFile":"PK"}})")
          .starts_with("ResourceConflictException: Function already exist: f"));
  const Json answer = w.must("lambda", "Invoke", R"({"FunctionName":"f","Payload":"{\"a\":1}","LogType":"Tail"})");
  EXPECT_EQ(answer["Payload"].string_or(), R"({"a":1})");
  EXPECT_EQ(answer["LogResult"].string_or(), base64_encode("a line\n"));
  const Json failed = w.must("lambda", "Invoke", R"({"FunctionName":"f","Payload":"{\"fail\":true}"})");
  EXPECT_EQ(failed["FunctionError"].string_or(), "Unhandled");

  w.must("lambda", "UpdateFunctionCode", R"({"FunctionName":"f","ZipFile":"PKnew"})");
  w.must("lambda", "UpdateFunctionConfiguration", R"({"FunctionName":"f","Handler":"app.other","Timeout":30})");
  EXPECT_EQ(script.forgotten.size(), 3U);
  w.must("lambda", "Invoke", R"({"FunctionName":"f"})");
  EXPECT_EQ(script.ran.back(), "$LATEST app.other PKnew {}");
  w.restart();
  w.world->cloud.lambda().set_runtimes(script);
  w.must("lambda", "Invoke", R"({"FunctionName":"arn:aws:lambda:us-west-2:123456789012:function:f","Payload":"7"})");
  EXPECT_EQ(script.ran.back(), "$LATEST app.other PKnew 7");
  w.must("lambda", "DeleteFunction", R"({"FunctionName":"f"})");
  EXPECT_EQ(w.refusal("lambda", "Invoke", R"({"FunctionName":"f"})"),
            "ResourceNotFoundException: Function not found: arn:aws:lambda:us-west-2:123456789012:function:f:$LATEST");
}

TEST_F(LambdaFunctions, VersionsKeepWhatTheyWere) {
  create("f", "PK1");
  const Json first = w.must("lambda", "PublishVersion", R"({"FunctionName":"f"})");
  EXPECT_EQ(first["Version"].string_or(), "1");
  EXPECT_EQ(w.must("lambda", "PublishVersion", R"({"FunctionName":"f"})")["Version"].string_or(), "1") << "nothing has changed";
  w.must("lambda", "UpdateFunctionCode", R"({"FunctionName":"f","ZipFile":"PK2","Publish":true})");
  w.must("lambda", "CreateAlias", R"({"FunctionName":"f","Name":"live","FunctionVersion":"1"})");
  w.must("lambda", "Invoke", R"({"FunctionName":"f:live","Payload":"0"})");
  EXPECT_EQ(script.ran.back(), "1 app.handler PK1 0");
  w.must("lambda", "UpdateAlias", R"({"FunctionName":"f","Name":"live","FunctionVersion":"2"})");
  EXPECT_EQ(w.must("lambda", "Invoke", R"({"FunctionName":"f","Qualifier":"live","Payload":"0"})")["ExecutedVersion"].string_or(), "2");
  EXPECT_TRUE(w.refusal("lambda", "DeleteFunction", R"({"FunctionName":"f","Qualifier":"2"})").starts_with("ResourceConflictException"));
  w.must("lambda", "DeleteFunction", R"({"FunctionName":"f","Qualifier":"1"})");
  EXPECT_EQ(w.must("lambda", "ListVersionsByFunction", R"({"FunctionName":"f"})")["Versions"].items().size(), 2U);
  EXPECT_TRUE(w.refusal("lambda", "Invoke", R"({"FunctionName":"f:1"})").starts_with("ResourceNotFoundException: Function not found"));
}

// Code is kept once, for as long as a function or a version has it.
TEST_F(LambdaFunctions, CodeGoesWithItsLastUser) {
  const auto kept = [&] { return w.world->ledger.scan("lambda.code", {}).size(); };
  create("f", "PK1");
  create("g", "PK1");
  w.must("lambda", "PublishVersion", R"({"FunctionName":"f"})");
  EXPECT_EQ(kept(), 1U);
  w.must("lambda", "UpdateFunctionCode", R"({"FunctionName":"f","ZipFile":"PK2","DryRun":true})");
  EXPECT_EQ(kept(), 1U);
  w.must("lambda", "UpdateFunctionCode", R"({"FunctionName":"f","ZipFile":"PK2"})");
  w.must("lambda", "UpdateFunctionCode", R"({"FunctionName":"f","ZipFile":"PK3"})");
  EXPECT_EQ(kept(), 2U) << "PK1 of g and of f's version, PK3 of f";
  w.must("lambda", "DeleteFunction", R"({"FunctionName":"g"})");
  EXPECT_EQ(kept(), 2U);
  w.must("lambda", "DeleteFunction", R"({"FunctionName":"f","Qualifier":"1"})");
  EXPECT_EQ(kept(), 1U);
  w.must("lambda", "DeleteFunction", R"({"FunctionName":"f"})");
  EXPECT_EQ(kept(), 0U);
}

// The event of an asynchronous invocation was lost when its last try failed.
TEST_F(LambdaFunctions, AsynchronousInvocation_FailedForGood_GoesToDeadLetterQueue) {
  w.must("sqs", "CreateQueue", R"({"QueueName":"letters"})");
  create("f");
  w.must("lambda", "UpdateFunctionConfiguration",
         R"({"FunctionName":"f","DeadLetterConfig":{"TargetArn":"arn:aws:sqs:us-west-2:123456789012:letters"}})");
  w.must("lambda", "Invoke", R"({"FunctionName":"f","InvocationType":"Event","Payload":"{\"fail\":true}"})");
  w.advance(std::chrono::minutes(10));
  const Json got = w.must("sqs", "ReceiveMessage", R"({"QueueUrl":"letters","MessageAttributeNames":["All"]})");
  ASSERT_EQ(got["Messages"].items().size(), 1U);
  const Json& letter = got["Messages"].items()[0];
  EXPECT_EQ(letter["Body"].string_or(), R"({"fail":true})");
  EXPECT_EQ(letter["MessageAttributes"]["ErrorMessage"]["StringValue"].string_or(), "no");
  EXPECT_EQ(letter["MessageAttributes"]["ErrorCode"]["StringValue"].string_or(), "200");
  EXPECT_TRUE(letter["MessageAttributes"].find("RequestID"));
}

TEST_F(LambdaFunctions, WhatIsWrongIsSaid) {
  const auto refused = [&](const std::string& more) {
    return w.refusal("lambda", "CreateFunction", R"({"FunctionName":"g","Handler":"h","Role":"arn:aws:iam::1:role/r",)" + more + "}");
  };
  EXPECT_EQ(refused(R"("Runtime":"ruby3.2","Code":{"ZipFile":"PK"})"), "InvalidParameterValueException: No ruby here.");
  EXPECT_EQ(refused(R"("Runtime":"python3.12","Code":{"ZipFile":"text"})"),
            "InvalidParameterValueException: Could not unzip uploaded file. Please check your file, then try to upload again.");
  EXPECT_TRUE(refused(R"("Runtime":"python3.12","Timeout":901,"Code":{"ZipFile":"PK"})")
                  .starts_with("ValidationException: 1 validation error detected: Value '901' at 'timeout'"));
  EXPECT_TRUE(refused(R"("Runtime":"python3.12","Code":{"ZipFile":"PK"},"Environment":{"Variables":{"AWS_REGION":"x"}})")
                  .ends_with("Reserved keys used in this request: AWS_REGION"));
  EXPECT_TRUE(refused(R"("Code":{"ImageUri":"x"})").starts_with("NotImplemented"));
  create("f");
  EXPECT_TRUE(w.refusal("lambda", "Invoke", R"({"FunctionName":"f","Payload":"nonsense"})").starts_with("InvalidRequestContentException"));
  w.must(
      "lambda", "AddPermission",
      R"({"FunctionName":"f","StatementId":"s","Action":"lambda:InvokeFunction","Principal":"events.amazonaws.com","SourceArn":"arn:aws:events:us-west-2:1:rule/r"})");
  EXPECT_NE(w.must("lambda", "GetPolicy", R"({"FunctionName":"f"})")["Policy"].string_or().find(
                R"("Principal":{"Service":"events.amazonaws.com"})"),
            std::string::npos);
  EXPECT_TRUE(
      w.refusal("lambda", "RemovePermission", R"({"FunctionName":"f","StatementId":"t"})").starts_with("ResourceNotFoundException"));
}

}  // namespace
}  // namespace snapward::services::lambda
