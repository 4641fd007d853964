#include "services/secrets/secrets.hpp"

#include "support/world.hpp"

namespace snapward::services {
namespace {

using support::TestWorld;

class SecretsTest : public ::testing::Test {
 protected:
  TestWorld w;
  template <class Input>
  Json must(const std::string& operation, const Input& input) {
    return w.must("secretsmanager", operation, input);
  }
  std::string refusal(const std::string& operation, const std::string& input) { return w.refusal("secretsmanager", operation, input); }
  std::string value(const std::string& more = "") {
    return std::string(must("GetSecretValue", R"x({"SecretId":"db")x" + more + "}")["SecretString"].string_or());
  }
};

TEST_F(SecretsTest, ASecretHasVersionsAndOneIsCurrent) {
  const Json made = must("CreateSecret", R"x({"Name":"db","SecretString":"one","Description":"d","Tags":[{"Key":"k","Value":"v"}]})x");
  const std::string arn(made["ARN"].string_or());
  EXPECT_TRUE(arn.starts_with("arn:aws:secretsmanager:us-west-2:123456789012:secret:db-")) << arn;
  EXPECT_EQ(value(), "one");
  const Json second =
      must("PutSecretValue", R"x({"SecretId":"db","SecretString":"two","ClientRequestToken":"token-of-thirty-two-characters-2"})x");
  EXPECT_EQ(second["VersionStages"].dump(), R"x(["AWSCURRENT"])x");
  EXPECT_EQ(must("PutSecretValue",
                 R"x({"SecretId":"db","SecretString":"two","ClientRequestToken":"token-of-thirty-two-characters-2"})x")["VersionId"],
            second["VersionId"]);
  EXPECT_TRUE(
      refusal("PutSecretValue", R"x({"SecretId":"db","SecretString":"other","ClientRequestToken":"token-of-thirty-two-characters-2"})x")
          .starts_with("ResourceExistsException: You can't use ClientRequestToken"));
  w.restart();
  EXPECT_EQ(value(), "two");
  EXPECT_EQ(value(R"x(,"VersionStage":"AWSPREVIOUS")x"), "one");
  EXPECT_EQ(value(R"x(,"VersionId":")x" + std::string(made["VersionId"].string_or()) + '"'), "one");
  // By its ARN, and by the ARN without the characters that were added.
  for (const std::string& id : {arn, arn.substr(0, arn.size() - 7)})
    EXPECT_EQ(must("GetSecretValue", Json::object({{"SecretId", id}}))["SecretString"].string_or(), "two");
  const Json shown = must("DescribeSecret", R"x({"SecretId":"db"})x");
  EXPECT_EQ(shown["VersionIdsToStages"][second["VersionId"].string_or()].dump(), R"x(["AWSCURRENT"])x");
  EXPECT_EQ(shown["Tags"].dump(), R"x([{"Key":"k","Value":"v"}])x");
  // Back to the first.
  must("UpdateSecretVersionStage", Json::object({{"SecretId", "db"},
                                                 {"VersionStage", "AWSCURRENT"},
                                                 {"MoveToVersionId", made["VersionId"]},
                                                 {"RemoveFromVersionId", second["VersionId"]}}));
  EXPECT_EQ(value(), "one");
  EXPECT_EQ(value(R"x(,"VersionStage":"AWSPREVIOUS")x"), "two");
  EXPECT_EQ(refusal("GetSecretValue", R"x({"SecretId":"db","VersionStage":"NONE"})x"),
            "ResourceNotFoundException: Secrets Manager can't find the specified secret value for staging label: NONE");
  EXPECT_EQ(refusal("GetSecretValue", R"x({"SecretId":"dc"})x"),
            "ResourceNotFoundException: Secrets Manager can't find the specified secret.");
  EXPECT_EQ(refusal("CreateSecret", R"x({"Name":"db"})x"),
            "ResourceExistsException: The operation failed because the secret db already exists.");
  EXPECT_TRUE(refusal("CreateSecret", R"x({"Name":"a b"})x").starts_with("ValidationException: Invalid name."));
}

TEST_F(SecretsTest, ADeletedSecretCanBeHadBackForAWhile) {
  must("CreateSecret", R"x({"Name":"db","SecretString":"one"})x");
  must("CreateSecret", R"x({"Name":"other"})x");
  must("DeleteSecret", R"x({"SecretId":"db","RecoveryWindowInDays":7})x");
  EXPECT_EQ(refusal("GetSecretValue", R"x({"SecretId":"db"})x"),
            "InvalidRequestException: You can't perform this operation on the secret because it was marked for deletion.");
  EXPECT_TRUE(refusal("CreateSecret", R"x({"Name":"db"})x").starts_with("InvalidRequestException: You can't create this secret because"));
  EXPECT_EQ(must("ListSecrets", "{}")["SecretList"].items().size(), 1U);
  EXPECT_EQ(must("ListSecrets", R"x({"IncludePlannedDeletion":true})x")["SecretList"].items().size(), 2U);
  must("RestoreSecret", R"x({"SecretId":"db"})x");
  EXPECT_EQ(value(), "one");
  must("DeleteSecret", R"x({"SecretId":"db","RecoveryWindowInDays":7})x");
  w.advance(std::chrono::hours(24 * 7));
  w.restart();
  EXPECT_EQ(refusal("DescribeSecret", R"x({"SecretId":"db"})x"),
            "ResourceNotFoundException: Secrets Manager can't find the specified secret.");
  must("CreateSecret", R"x({"Name":"db","SecretString":"new"})x");
  must("DeleteSecret", R"x({"SecretId":"db","ForceDeleteWithoutRecovery":true})x");
  EXPECT_TRUE(refusal("DescribeSecret", R"x({"SecretId":"db"})x").starts_with("ResourceNotFoundException"));
}

TEST_F(SecretsTest, ListsInPagesAndByFilters) {
  for (const char* name : {"app/a", "app/b", "web/a"})
    must("CreateSecret", Json::object({{"Name", name}, {"Tags", Json::array({Json::object({{"Key", "n"}, {"Value", name}})})}}));
  const Json first = must("ListSecrets", R"x({"MaxResults":2})x");
  EXPECT_EQ(first["SecretList"].items().size(), 2U);
  EXPECT_EQ(must("ListSecrets", Json::object({{"MaxResults", 2}, {"NextToken", first["NextToken"]}}))["SecretList"].items().size(), 1U);
  const auto names = [&](const char* filters) {
    std::string out;
    for (const Json& s : must("ListSecrets", std::string(R"x({"Filters":)x") + filters + "}")["SecretList"].items())
      out += std::string(s["Name"].string_or()) + ' ';
    return out;
  };
  EXPECT_EQ(names(R"x([{"Key":"name","Values":["app"]}])x"), "app/a app/b ");
  EXPECT_EQ(names(R"x([{"Key":"name","Values":["!app"]}])x"), "web/a ");
  EXPECT_EQ(names(R"x([{"Key":"tag-value","Values":["web","app/b"]}])x"), "app/b web/a ");
}

TEST_F(SecretsTest, BytesAndPasswords) {
  const std::string bytes("\x00\xff\x01", 3);
  must("CreateSecret", Json::object({{"Name", "db"}, {"SecretBinary", bytes}}));
  w.restart();
  EXPECT_EQ(must("GetSecretValue", R"x({"SecretId":"db"})x")["SecretBinary"].string_or(), bytes);
  const std::string password(
      must("GetRandomPassword", R"x({"PasswordLength":20,"ExcludePunctuation":true,"ExcludeCharacters":"abc"})x")["RandomPassword"]
          .string_or());
  EXPECT_EQ(password.size(), 20U);
  EXPECT_EQ(password.find_first_of("abc!$-"), std::string::npos);
  EXPECT_NE(password.find_first_of("0123456789"), std::string::npos);
  EXPECT_TRUE(refusal("GetRandomPassword", R"x({"PasswordLength":2})x").starts_with("InvalidParameterException"));
}

// A state machine reads one, and names its errors as the SDK does.
TEST_F(SecretsTest, AStateMachineReadsASecret) {
  must("CreateSecret", R"x({"Name":"db","SecretString":"one"})x");
  const auto run = [&](const char* name, const char* state) {
    const Json machine = w.must(
        "states", "CreateStateMachine",
        Json::object({{"name", name},
                      {"roleArn", "arn:aws:iam::123456789012:role/r"},
                      {"definition", std::string(R"x({"StartAt":"A","States":{"A":{"Type":"Task",)x") + state + R"x(,"End":true}}})x"}}));
    const Json e = w.must("states", "StartExecution", Json::object({{"stateMachineArn", machine["stateMachineArn"]}}));
    w.world->loop.settle();
    return w.must("states", "DescribeExecution", Json::object({{"executionArn", e["executionArn"]}}));
  };
  EXPECT_EQ(
      run("Good",
          R"x("Resource":"arn:aws:states:::aws-sdk:secretsmanager:getSecretValue","Parameters":{"SecretId":"db"},"OutputPath":"$.SecretString")x")
          ["output"]
              .string_or(),
      "\"one\"");
  EXPECT_EQ(
      run("Missing", R"x("Resource":"arn:aws:states:::aws-sdk:secretsmanager:getSecretValue","Parameters":{"SecretId":"dc"})x")["error"]
          .string_or(),
      "SecretsManager.ResourceNotFoundException");
  EXPECT_EQ(run("Wrong", R"x("Resource":"arn:aws:states:::aws-sdk:secretsmanager:createSecret","Parameters":{"Name":"a b"})x")["error"]
                .string_or(),
            "SecretsManager.SecretsManagerException");
}

}  // namespace
}  // namespace snapward::services
