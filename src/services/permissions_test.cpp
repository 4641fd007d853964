// With --enforce-iam: who may call whom, as roles and resource policies say.
#include "services/permissions.hpp"

#include <fmt/format.h>

#include "services/iam/policy.hpp"
#include "support/world.hpp"

namespace snapward::services {
namespace {

using iam::PolicyOf;
using iam::Verdict;
using support::TestWorld;

Verdict of_role(const std::string& statements, const std::string& action, const std::string& resource) {
  return iam::judge(*Json::parse(R"x({"Statement":)x" + statements + "}"), PolicyOf::identity,
                    {.service = "events.amazonaws.com",
                     .role = "arn:aws:iam::1:role/r",
                     .action = action,
                     .resource = resource,
                     .context = {{"aws:sourcearn", "arn:aws:events:us-west-2:1:rule/nightly"}, {"aws:sourceaccount", "1"}}});
}

TEST(Policy, AllowsWhatItNamesAndADenyDecides) {
  const char* some = R"x([{"Effect":"Allow","Action":"sqs:Send*","Resource":"arn:aws:sqs:*:1:a*"},
    {"Effect":"Deny","Action":["sqs:SendMessage"],"Resource":["arn:aws:sqs:*:1:ab"]}])x";
  EXPECT_EQ(of_role(some, "sqs:sendmessage", "arn:aws:sqs:us-west-2:1:ac"), Verdict::allowed);  // actions in any case
  EXPECT_EQ(of_role(some, "sqs:SendMessage", "arn:aws:sqs:us-west-2:1:ab"), Verdict::denied);
  EXPECT_EQ(of_role(some, "sqs:SendMessage", "arn:aws:sqs:us-west-2:1:b"), Verdict::silent);
  EXPECT_EQ(of_role(some, "sns:Publish", "arn:aws:sns:us-west-2:1:a"), Verdict::silent);
  const char* all_but = R"x({"Effect":"Allow","NotAction":"iam:*","NotResource":"arn:aws:s3:::secret/*"})x";
  EXPECT_EQ(of_role(all_but, "s3:GetObject", "arn:aws:s3:::open/k"), Verdict::allowed);
  EXPECT_EQ(of_role(all_but, "s3:GetObject", "arn:aws:s3:::secret/k"), Verdict::silent);
  EXPECT_EQ(of_role(all_but, "iam:CreateRole", ""), Verdict::silent);
  EXPECT_EQ(of_role(R"x({"Effect":"Allow","Action":"*"})x", "sns:Publish", "t"), Verdict::silent);  // without a Resource it says nothing
}

TEST(Policy, ConditionsNarrow) {
  const auto with = [](const std::string& effect, const std::string& condition) {
    return of_role(R"x({"Effect":")x" + effect + R"x(","Action":"*","Resource":"*","Condition":)x" + condition + "}", "sns:Publish", "t");
  };
  EXPECT_EQ(with("Allow", R"x({"ArnLike":{"aws:SourceArn":"arn:aws:events:*:1:rule/night*"}})x"), Verdict::allowed);
  EXPECT_EQ(with("Allow", R"x({"ArnEquals":{"AWS:sourceARN":["x","arn:aws:events:us-west-2:1:rule/nightly"]}})x"), Verdict::allowed);
  EXPECT_EQ(with("Allow", R"x({"StringEquals":{"aws:SourceAccount":"2"}})x"), Verdict::silent);
  EXPECT_EQ(with("Allow", R"x({"StringNotEquals":{"aws:SourceAccount":"2"}})x"), Verdict::allowed);
  EXPECT_EQ(with("Allow", R"x({"StringEquals":{"aws:PrincipalOrgID":"o-1"}})x"), Verdict::silent);  // nothing to compare
  EXPECT_EQ(with("Allow", R"x({"StringEqualsIfExists":{"aws:PrincipalOrgID":"o-1"}})x"), Verdict::allowed);
  EXPECT_EQ(with("Allow", R"x({"Null":{"aws:PrincipalOrgID":"true"}})x"), Verdict::allowed);
  EXPECT_EQ(with("Allow", R"x({"NumericLessThan":{"aws:SourceAccount":"2"}})x"), Verdict::allowed);
  EXPECT_EQ(with("Allow", R"x({"StringEquals":{"aws:SourceAccount":"1"},"StringLike":{"aws:SourceArn":"no*"}})x"), Verdict::silent);  // all
  // What is not understood admits nobody.
  EXPECT_EQ(with("Allow", R"x({"DateFuture":{"aws:SourceAccount":"1"}})x"), Verdict::silent);
  EXPECT_EQ(with("Deny", R"x({"DateFuture":{"aws:SourceAccount":"1"}})x"), Verdict::denied);
}

TEST(Policy, AResourceNamesWhoItIsFor) {
  const auto admits = [](const std::string& principal, const std::string& service, const std::string& role) {
    return iam::judge(*Json::parse(R"x({"Statement":[{"Effect":"Allow","Principal":)x" + principal +
                                   R"x(,"Action":"sqs:SendMessage","Resource":"q"}]})x"),
                      PolicyOf::resource,
                      {.service = service, .role = role, .action = "sqs:SendMessage", .resource = "q"}) == Verdict::allowed;
  };
  EXPECT_TRUE(admits(R"x({"Service":["sns.amazonaws.com","events.amazonaws.com"]})x", "events.amazonaws.com", ""));
  EXPECT_FALSE(admits(R"x({"Service":"sns.amazonaws.com"})x", "events.amazonaws.com", ""));
  EXPECT_FALSE(admits(R"x({"Service":"events.amazonaws.com"})x", "events.amazonaws.com", "arn:aws:iam::1:role/r"));  // it came as the role
  EXPECT_TRUE(admits(R"x({"AWS":"arn:aws:iam::1:role/r"})x", "events.amazonaws.com", "arn:aws:iam::1:role/r"));
  EXPECT_FALSE(
      admits(R"x({"AWS":"arn:aws:iam::1:root"})x", "events.amazonaws.com", "arn:aws:iam::1:role/r"));  // hands it to the role's own
  EXPECT_TRUE(admits(R"x("*")x", "sns.amazonaws.com", ""));
  const auto barred = [](const char* role) {
    return iam::judge(
               *Json::parse(
                   R"x({"Statement":{"Effect":"Deny","NotPrincipal":{"AWS":"arn:aws:iam::1:role/r"},"Action":"*","Resource":"*"}})x"),
               PolicyOf::resource, {.service = "", .role = role, .action = "sqs:SendMessage", .resource = "q"}) == Verdict::denied;
  };
  EXPECT_FALSE(barred("arn:aws:iam::1:role/r"));
  EXPECT_TRUE(barred("arn:aws:iam::1:role/another"));
}

TEST(Permissions, EveryBusOfACallIsJudged) {
  const Call call{"events", "us-west-2", "PutEvents", *Json::parse(R"x({"Entries":[{},{"EventBusName":"b"}]})x")};
  const auto needs = needs_of(call, "1");
  ASSERT_EQ(needs.size(), 2U);
  EXPECT_EQ(needs[0].resource, "arn:aws:events:us-west-2:1:event-bus/default");
  EXPECT_EQ(needs[1].resource, "arn:aws:events:us-west-2:1:event-bus/b");
}

class Enforced : public ::testing::Test {
 protected:
  TestWorld w;
  static constexpr const char* kQueue = "http://127.0.0.1:4566/123456789012/q";
  static constexpr const char* kQueueArn = "arn:aws:sqs:us-west-2:123456789012:q";

  Enforced() { w.enforce_iam(); }
  void role(const std::string& name, const std::string& trusted) {
    w.must("iam", "CreateRole",
           Json::object(
               {{"RoleName", name},
                {"AssumeRolePolicyDocument",
                 R"x({"Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"Service":")x" + trusted + R"x("}}]})x"}}));
  }
  void grant(const std::string& name, const std::string& action, const std::string& resource) {
    w.must("iam", "PutRolePolicy",
           Json::object({{"RoleName", name},
                         {"PolicyName", "p"},
                         {"PolicyDocument",
                          fmt::format(R"x({{"Statement":[{{"Effect":"Allow","Action":"{}","Resource":"{}"}}]}})x", action, resource)}}));
  }
  void rule(const std::string& target) {
    w.must("events", "PutRule", R"x({"Name":"r","EventPattern":"{\"source\":[\"me\"]}"})x");
    w.must("events", "PutTargets", R"x({"Rule":"r","Targets":[)x" + target + "]}");
  }
  void event() {
    w.must("events", "PutEvents", R"x({"Entries":[{"Source":"me","DetailType":"t","Detail":"{}"}]})x");
    w.world->loop.settle();
  }
  std::size_t messages(const std::string& url = kQueue) {
    return w.must("sqs", "ReceiveMessage", Json::object({{"QueueUrl", url}, {"VisibilityTimeout", 0}}))["Messages"].items().size();
  }
};

TEST_F(Enforced, ARuleReachesAQueueThatAdmitsIt) {
  w.must("sqs", "CreateQueue", R"x({"QueueName":"q"})x");
  w.must(
      "sqs", "CreateQueue",
      R"x({"QueueName":"dead","Attributes":{"Policy":"{\"Statement\":[{\"Effect\":\"Allow\",\"Principal\":{\"Service\":\"events.amazonaws.com\"},\"Action\":\"sqs:SendMessage\",\"Resource\":\"*\"}]}"}})x");
  rule(R"x({"Id":"1","Arn":"arn:aws:sqs:us-west-2:123456789012:q","DeadLetterConfig":{"Arn":"arn:aws:sqs:us-west-2:123456789012:dead"}})x");
  event();
  EXPECT_EQ(messages(), 0U);
  const Json letter =
      w.must("sqs", "ReceiveMessage", R"x({"QueueUrl":"http://127.0.0.1:4566/123456789012/dead","MessageAttributeNames":["All"]})x");
  ASSERT_EQ(letter["Messages"].items().size(), 1U);
  EXPECT_EQ(letter["Messages"].items()[0]["MessageAttributes"]["ERROR_CODE"]["StringValue"].string_or(), "NO_PERMISSIONS");
  const auto admit = [&](const char* source) {
    w.must(
        "sqs", "SetQueueAttributes",
        Json::object(
            {{"QueueUrl", kQueue},
             {"Attributes",
              Json::object(
                  {{"Policy",
                    fmt::format(
                        R"x({{"Statement":[{{"Effect":"Allow","Principal":{{"Service":"events.amazonaws.com"}},"Action":"sqs:SendMessage","Resource":"{}","Condition":{{"ArnEquals":{{"aws:SourceArn":"{}"}}}}}}]}})x",
                        kQueueArn, source)}})}}));
  };
  admit("arn:aws:events:us-west-2:123456789012:rule/another");
  event();
  EXPECT_EQ(messages(), 0U);
  admit("arn:aws:events:us-west-2:123456789012:rule/r");
  event();
  EXPECT_EQ(messages(), 1U);
}

TEST_F(Enforced, ARoleMustTrustTheServiceAndAllowTheCall) {
  role("machine", "states.amazonaws.com");
  const std::string refused = w.refusal(
      "states", "CreateStateMachine",
      R"x({"name":"N","definition":"{\"StartAt\":\"A\",\"States\":{\"A\":{\"Type\":\"Succeed\"}}}","roleArn":"arn:aws:iam::123456789012:role/nobody"})x");
  EXPECT_TRUE(refused.starts_with("AccessDeniedException: Neither the global service principal states.amazonaws.com")) << refused;
  w.must("sqs", "CreateQueue", R"x({"QueueName":"q"})x");
  const std::string machine(
      w.must(
           "states", "CreateStateMachine",
           R"x({"name":"M","definition":"{\"StartAt\":\"A\",\"States\":{\"A\":{\"Type\":\"Task\",\"Resource\":\"arn:aws:states:::sqs:sendMessage\",\"Parameters\":{\"QueueUrl\":\"http://127.0.0.1:4566/123456789012/q\",\"MessageBody\":\"m\"},\"End\":true}}}","roleArn":"arn:aws:iam::123456789012:role/machine"})x")
          ["stateMachineArn"]
              .string_or());
  const auto run = [&](const char* name) {
    const Json started = w.must("states", "StartExecution", Json::object({{"stateMachineArn", machine}, {"name", name}}));
    w.world->loop.settle();
    return w.must("states", "DescribeExecution", Json::object({{"executionArn", started["executionArn"]}}));
  };
  const Json denied = run("denied");
  EXPECT_EQ(denied["status"].string_or(), "FAILED");
  EXPECT_NE(denied["cause"].string_or().find("assumed-role/machine/snapward is not authorized to perform: sqs:SendMessage on resource: " +
                                             std::string(kQueueArn)),
            std::string_view::npos)
      << denied["cause"].string_or();
  grant("machine", "sqs:*", kQueueArn);
  EXPECT_EQ(run("granted")["status"].string_or(), "SUCCEEDED");

  // A rule that starts the machine.
  role("starter", "events.amazonaws.com");
  w.must("events", "PutRule", R"x({"Name":"r","EventPattern":"{\"source\":[\"me\"]}"})x");
  const auto target = [&](const char* name) {
    return R"x({"Rule":"r","Targets":[{"Id":"1","Arn":")x" + machine + R"x(","RoleArn":"arn:aws:iam::123456789012:role/)x" + name +
           R"x("}]})x";
  };
  EXPECT_EQ(
      w.refusal("events", "PutTargets", target("machine")),
      "ValidationException: Provided role 'arn:aws:iam::123456789012:role/machine' cannot be assumed by principal 'events.amazonaws.com'.");
  w.must("events", "PutTargets", target("starter"));
  event();
  EXPECT_EQ(w.executions(machine).size(), 2U);
  w.must("iam", "AttachRolePolicy", R"x({"RoleName":"starter","PolicyArn":"arn:aws:iam::aws:policy/AWSStepFunctionsFullAccess"})x");
  event();
  EXPECT_EQ(w.executions(machine).size(), 3U);
}

TEST_F(Enforced, ATopicReachesAQueueThatAdmitsIt) {
  w.must("sqs", "CreateQueue", R"x({"QueueName":"q"})x");
  const std::string topic(w.must("sns", "CreateTopic", R"x({"Name":"t"})x")["TopicArn"].string_or());
  w.must("sns", "Subscribe", Json::object({{"TopicArn", topic}, {"Protocol", "sqs"}, {"Endpoint", kQueueArn}}));
  w.must(
      "sqs", "SetQueueAttributes",
      Json::object(
          {{"QueueUrl", kQueue},
           {"Attributes",
            Json::object(
                {{"Policy",
                  R"x({"Statement":[{"Effect":"Allow","Principal":{"Service":"sns.amazonaws.com"},"Action":"sqs:SendMessage","Resource":"*","Condition":{"ArnLike":{"aws:SourceArn":"*:t"}}}]})x"}})}}));
  w.must("sns", "Publish", Json::object({{"TopicArn", topic}, {"Message", "m"}}));
  w.world->loop.settle();
  EXPECT_EQ(messages(), 1U);
}

// The role that comes with the workflows is enough for them.
TEST_F(Enforced, TheWorkflowsRun) {
  const auto deployed = w.deploy({});
  const std::string volume = w.volume();
  w.snapshot(volume);
  w.advance(std::chrono::hours(3));
  EXPECT_EQ(w.completed("us-west-2"), 1U);
  EXPECT_EQ(w.completed("us-east-2"), 1U);
  for (const std::string& machine : {deployed.primary.machine_arn, deployed.primary.reconcile_arn, deployed.dr.machine_arn}) {
    EXPECT_FALSE(w.executions(machine, "SUCCEEDED").empty()) << machine;
    EXPECT_TRUE(w.executions(machine, "FAILED").empty()) << machine;
  }
}

}  // namespace
}  // namespace snapward::services
