// Where credentials are found, against a server that is a container's agent, an instance's metadata, and STS.
#include "aws/identity.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/entropy.hpp"
#include "net/server.hpp"
#include "wire/protocol.hpp"

namespace snapward::aws {
namespace {

TEST(Profiles, AreSectionsOfSettings) {
  const Profiles all = read_profiles(
      "# a file\n[default]\naws_access_key_id = AKID ; mine\nAWS_SECRET_ACCESS_KEY=se#cret\r\n\n[profile "
      "backup]\nrole_arn=arn:aws:iam::1:role/r\n"
      "s3 =\n  max_concurrent_requests = 20\nsource_profile = default\n[ sso-session x ]\nbroken line\n= 1\n[unclosed\nkey=value");
  EXPECT_EQ(all.at("default").at("aws_access_key_id"), "AKID");
  EXPECT_EQ(all.at("default").at("aws_secret_access_key"), "se#cret");
  EXPECT_EQ(all.at("backup").at("source_profile"), "default");
  EXPECT_FALSE(all.at("backup").contains("max_concurrent_requests"));
  EXPECT_EQ(all.at("unclosed").at("key"), "value");
  EXPECT_TRUE(read_profiles("aws_access_key_id = nobody's").empty());
}

struct IdentityTest : testing::Test {
  VirtualClock clock{*parse_iso("2026-01-01T00:00:00Z")};
  SystemEntropy entropy;
  engine::Loop loop{clock, entropy};
  std::map<std::string, std::string> environment{{"AWS_EC2_METADATA_DISABLED", "true"}};
  std::filesystem::path folder = std::filesystem::temp_directory_path() / ("snapward-identity-" + entropy.hex(8));
  std::vector<wire::HttpRequest> asked;      // read when nothing is under way
  std::map<std::string, std::string> pages;  // target → body; others are 404
  std::string sts_answer;
  std::unique_ptr<net::Server> server =
      *net::Server::listen({.address = "127.0.0.1", .port = 0}, [this](wire::HttpRequest request, const net::Server::Respond& respond) {
        asked.push_back(request);
        wire::HttpResponse response;
        if (const auto page = pages.find(request.target); page != pages.end())
          response.body = page->second;
        else if (request.method == "POST" && !sts_answer.empty())
          response.body = sts_answer;
        else
          response.status = 404;
        respond([response] { return response; });
      });
  std::string url = "http://127.0.0.1:" + std::to_string(server->port());
  std::unique_ptr<Identity> identity;

  IdentityTest() {
    std::filesystem::create_directories(folder / ".aws");
    environment["HOME"] = folder.string();
    server->start();
  }
  ~IdentityTest() override {
    identity.reset();
    std::filesystem::remove_all(folder);
  }
  std::string write(const std::string& name, const std::string& text) {
    std::ofstream(folder / name) << text;
    return (folder / name).string();
  }
  static std::string keys(const std::string& key, const std::string& until) {
    return R"({"Code":"Success","AccessKeyId":")" + key + R"(","SecretAccessKey":"secret","Token":"token","Expiration":")" + until + "\"}";
  }
  static std::string sts(const std::string& operation, const std::string& key) {
    return "<" + operation + "Response><" + operation + "Result><Credentials><AccessKeyId>" + key +
           "</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken><Expiration>2026-01-01T01:00:00Z</Expiration>"
           "</Credentials></" +
           operation + "Result></" + operation + "Response>";
  }
  Result<wire::Credentials> get(const std::string& profile = "") {
    if (!identity)
      identity = std::make_unique<Identity>(
          loop, Identity::Options{.profile = profile, .endpoint = url, .region = "us-west-2", .variable = [this](const char* name) {
                                    const auto at = environment.find(name);
                                    return at == environment.end() ? std::string() : at->second;
                                  }});
    std::optional<Result<wire::Credentials>> out;
    loop.post([&] {
      loop.spawn(identity->get(), [&](Result<wire::Credentials> found) {
        out = std::move(found);
        loop.stop();
      });
    });
    loop.run();
    return *std::move(out);
  }
  std::string key(const std::string& profile = "") {
    const auto found = get(profile);
    return found ? found->access_key : found.error().message;
  }
  std::string sent(std::size_t which, const std::string& parameter) {
    for (const auto& [name, value] : wire::parse_query(asked.at(which).body))
      if (name == parameter) return value;
    return "";
  }
};

TEST_F(IdentityTest, TheEnvironmentComesFirst) {
  environment["AWS_ACCESS_KEY_ID"] = "ENV", environment["AWS_SECRET_ACCESS_KEY"] = "s", environment["AWS_SESSION_TOKEN"] = "t";
  environment["AWS_PROFILE"] = "other";
  write(".aws/credentials", "[other]\naws_access_key_id=OTHER\naws_secret_access_key=s\n");
  EXPECT_EQ(get()->session_token, "t");
  EXPECT_EQ(identity->source(), "the environment's keys");
  identity.reset();
  EXPECT_EQ(key("other"), "OTHER");  // unless somebody named a profile here
  EXPECT_EQ(identity->source(), "the profile 'other'");
}

TEST_F(IdentityTest, ReadsProfilesOfBothFiles) {
  write(".aws/config", "[default]\nregion=eu-west-1\n[profile a]\naws_access_key_id=CONFIG\naws_secret_access_key=s\n");
  write(".aws/credentials", "[a]\naws_access_key_id=CREDENTIALS\n");
  EXPECT_EQ(key("a"), "CREDENTIALS");
  identity.reset();
  environment["AWS_PROFILE"] = "missing";
  EXPECT_EQ(key(), "there is no profile 'missing' in '" + (folder / ".aws/credentials").string() + "' or '" +
                       (folder / ".aws/config").string() + "'");
  identity.reset();
  environment["AWS_PROFILE"] = "";
  EXPECT_NE(key().find("no credentials for AWS"), std::string::npos);  // a default profile without keys is none
}

TEST_F(IdentityTest, SaysWhichProfilesItDoesNotRead) {
  write(".aws/config",
        "[profile s]\nsso_session=x\n[profile m]\nmfa_serial=arn\nrole_arn=r\n[profile l]\nrole_arn=r\nsource_profile=l\n[profile "
        "n]\nrole_arn=r\n");
  EXPECT_NE(key("s").find("has 'sso_session', which Snapward does not read"), std::string::npos);
  identity.reset();
  EXPECT_NE(key("m").find("mfa_serial"), std::string::npos);
  identity.reset();
  EXPECT_NE(key("l").find("from itself"), std::string::npos);
  identity.reset();
  EXPECT_NE(key("n").find("neither source_profile nor credential_source"), std::string::npos);
}

TEST_F(IdentityTest, TakesARoleWithTheKeysOfAnotherProfile) {
  write(".aws/config",
        "[profile "
        "r]\nrole_arn=arn:aws:iam::1:role/backup\nsource_profile=keys\nexternal_id=ex\nrole_session_name=me\nduration_seconds=900\n");
  write(".aws/credentials", "[keys]\naws_access_key_id=SOURCE\naws_secret_access_key=source-secret\n");
  sts_answer = sts("AssumeRole", "ROLE");
  EXPECT_EQ(key("r"), "ROLE");
  ASSERT_EQ(asked.size(), 1U);
  EXPECT_EQ(wire::verify(asked[0], "source-secret", clock.now()).verdict, wire::Verdict::valid);
  EXPECT_EQ(sent(0, "RoleArn") + sent(0, "ExternalId") + sent(0, "RoleSessionName") + sent(0, "DurationSeconds"),
            "arn:aws:iam::1:role/backupexme900");
}

TEST_F(IdentityTest, TakesTheRoleOfAWebIdentity) {
  environment["AWS_WEB_IDENTITY_TOKEN_FILE"] = write("token", "header.claims.signature\n");
  environment["AWS_ROLE_ARN"] = "arn:aws:iam::1:role/pod";
  sts_answer = sts("AssumeRoleWithWebIdentity", "POD");
  EXPECT_EQ(key(), "POD");
  EXPECT_EQ(sent(0, "WebIdentityToken"), "header.claims.signature");
  EXPECT_TRUE(asked[0].headers.get("Authorization").empty());
}

TEST_F(IdentityTest, AsksTheContainersAgent) {
  environment["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = url + "/v1/credentials?id=1";
  environment["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] = write("agent", "Bearer x\n");
  pages["/v1/credentials?id=1"] = keys("TASK", "2026-01-01T06:00:00Z");
  EXPECT_EQ(key(), "TASK");
  EXPECT_EQ(asked[0].headers.get("Authorization"), "Bearer x");
  identity.reset();
  environment["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = "http://example.com/keys";
  EXPECT_EQ(key(), "AWS_CONTAINER_CREDENTIALS_FULL_URI: credentials are not asked of example.com without TLS");
}

TEST_F(IdentityTest, AsksTheInstanceAndAgainBeforeTheyEnd) {
  environment.erase("AWS_EC2_METADATA_DISABLED");
  environment["AWS_EC2_METADATA_SERVICE_ENDPOINT"] = url + "/";
  const std::string roles = "/latest/meta-data/iam/security-credentials/";
  pages = {{"/latest/api/token", "imds-token"}, {roles, "backup-role\n"}, {roles + "backup-role", keys("FIRST", "2026-01-01T06:00:00Z")}};
  EXPECT_EQ(key(), "FIRST");
  EXPECT_EQ(identity->source(), "the instance's role 'backup-role'");
  ASSERT_EQ(asked.size(), 3U);
  EXPECT_EQ(asked[0].method, "PUT");
  EXPECT_EQ(asked[2].headers.get("X-aws-ec2-metadata-token"), "imds-token");

  pages[roles + "backup-role"] = keys("SECOND", "2026-01-01T12:00:00Z");
  clock.set(*parse_iso("2026-01-01T05:54:00Z"));
  EXPECT_EQ(key(), "FIRST");
  EXPECT_EQ(asked.size(), 3U);
  clock.set(*parse_iso("2026-01-01T05:56:00Z"));
  EXPECT_EQ(key(), "SECOND");

  // Those that are still good serve on while there are no others.
  pages.clear();
  clock.set(*parse_iso("2026-01-01T11:58:00Z"));
  EXPECT_EQ(key(), "SECOND");
  clock.set(*parse_iso("2026-01-01T12:00:00Z"));
  EXPECT_NE(key().find("no credentials for AWS"), std::string::npos);
}

TEST_F(IdentityTest, ManyWhoAskAtOnceAskOnce) {
  environment["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = url + "/keys";
  pages["/keys"] = keys("TASK", "2026-01-01T06:00:00Z");
  identity = std::make_unique<Identity>(loop, Identity::Options{.variable = [this](const char* name) { return environment[name]; }});
  int answers = 0;
  loop.post([&] {
    for (int i = 0; i < 5; ++i)
      loop.spawn(identity->get(), [&](const Result<wire::Credentials>& found) {
        EXPECT_EQ(found->access_key, "TASK");
        if (++answers == 5) loop.stop();
      });
  });
  loop.run();
  EXPECT_EQ(asked.size(), 1U);
}

}  // namespace
}  // namespace snapward::aws
