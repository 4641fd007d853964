// The client of AWS, against a server that is asked as AWS is.
#include "aws/aws_cloud.hpp"

#include <gtest/gtest.h>

#include "base/entropy.hpp"
#include "net/server.hpp"
#include "wire/protocol.hpp"

namespace snapward::aws {
namespace {

TEST(AwsCloud, KnowsWhereServicesAre) {
  EXPECT_EQ(endpoint_of("ec2", "us-west-2"), "https://ec2.us-west-2.amazonaws.com");
  EXPECT_EQ(endpoint_of("states", "cn-north-1"), "https://states.cn-north-1.amazonaws.com.cn");
  EXPECT_EQ(endpoint_of("sns", "us-gov-west-1"), "https://sns.us-gov-west-1.amazonaws.com");
  EXPECT_EQ(endpoint_of("iam", "eu-west-1"), "https://iam.amazonaws.com");
  EXPECT_EQ(endpoint_of("iam", "cn-northwest-1"), "https://iam.cn-north-1.amazonaws.com.cn");
  EXPECT_EQ(endpoint_of("iam", "us-gov-east-1"), "https://iam.us-gov.amazonaws.com");
}

struct AwsCloudTest : testing::Test {
  SystemClock clock;
  SystemEntropy entropy;
  engine::Loop loop{clock, entropy};
  std::vector<wire::HttpRequest> asked;  // read when the call is over
  wire::HttpResponse answer;
  std::unique_ptr<net::Server> server =
      *net::Server::listen({.address = "127.0.0.1", .port = 0}, [this](wire::HttpRequest request, const net::Server::Respond& respond) {
        asked.push_back(std::move(request));
        respond([answer = answer] { return answer; });
      });
  std::unique_ptr<net::Client> client = net::Client::create({.longest = std::chrono::seconds(10)});
  AwsCloud cloud{
      loop, *client, {.endpoint = "http://127.0.0.1:" + std::to_string(server->port()), .credentials = fixed({"AKID", "secret", "token"})}};

  AwsCloudTest() { server->start(); }
  cloud::Reply call(cloud::Call c) {
    std::optional<cloud::Reply> out;
    loop.post([&] {
      loop.spawn(cloud.call(std::move(c)), [&](cloud::Reply reply) {
        out = std::move(reply);
        loop.stop();
      });
    });
    loop.run();
    return *std::move(out);
  }
};

TEST_F(AwsCloudTest, SignsWhatItAsksAndReadsWhatItIsTold) {
  answer.body =
      R"(<DescribeSnapshotsResponse><snapshotSet><item><snapshotId>snap-1</snapshotId><volumeSize>8</volumeSize></item></snapshotSet></DescribeSnapshotsResponse>)";
  const auto reply = call({"ec2", "us-west-2", "DescribeSnapshots", Json::object({{"OwnerIds", Json::array({"self"})}})});
  ASSERT_TRUE(reply) << reply.error().message;
  EXPECT_EQ((*reply)["Snapshots"].items()[0]["VolumeSize"].as_integer(), 8);
  ASSERT_EQ(asked.size(), 1U);
  EXPECT_EQ(wire::verify(asked[0], "secret", clock.now()).verdict, wire::Verdict::valid);
  EXPECT_EQ(wire::scope_of(asked[0])->region, "us-west-2");
  EXPECT_EQ(asked[0].headers.get("X-Amz-Security-Token"), "token");
  EXPECT_NE(asked[0].body.find("Owner.1=self"), std::string::npos) << asked[0].body;
}

// EC2 copies what is encrypted only with a request at the source's region that the caller signed for it.
TEST_F(AwsCloudTest, ACopyBringsItsPresignedUrl) {
  answer.body = "<CopySnapshotResponse><snapshotId>snap-2</snapshotId></CopySnapshotResponse>";
  const auto reply = call(
      {"ec2", "us-east-2", "CopySnapshot",
       Json::object({{"SourceRegion", "us-west-2"}, {"SourceSnapshotId", "snap-1"}, {"Description", "a b&c**d"}, {"Encrypted", true}})});
  ASSERT_TRUE(reply) << reply.error().message;
  EXPECT_EQ((*reply)["SnapshotId"].string_or(), "snap-2");
  const auto sent = wire::decode_request(*wire::find_service("ec2"), asked[0]);
  ASSERT_TRUE(sent);
  EXPECT_EQ(sent->input["DestinationRegion"].string_or(), "us-east-2");
  const std::string presigned(sent->input["PresignedUrl"].string_or());
  const auto url = net::Url::parse(presigned);
  ASSERT_TRUE(url) << presigned;
  wire::HttpRequest there{.method = "GET", .target = url->target, .headers = {}, .body = {}};
  there.headers.add("Host", url->host + ':' + url->port);
  EXPECT_EQ(wire::scope_of(there)->region, "us-west-2");
  EXPECT_EQ(wire::verify(there, "secret", clock.now()).verdict, wire::Verdict::valid) << presigned;
  std::map<std::string, std::string> asks;
  for (const auto& [name, value] : wire::parse_query(there.query())) asks[name] = value;
  EXPECT_EQ(asks["Action"], "CopySnapshot");
  EXPECT_EQ(asks["SourceSnapshotId"], "snap-1");
  EXPECT_EQ(asks["DestinationRegion"], "us-east-2");
  EXPECT_EQ(asks["Description"], "a b&c**d");
  EXPECT_EQ(asks["X-Amz-Expires"], "3600");
  EXPECT_EQ(asks.count("PresignedUrl"), 0U);
}

TEST_F(AwsCloudTest, ErrorsAreTheServices) {
  answer = {.status = 400,
            .headers = {},
            .body =
                "<Response><Errors><Error><Code>ResourceLimitExceeded</Code><Message>Too many snapshot copies in "
                "progress.</Message></Error></Errors>"
                "<RequestID>r</RequestID></Response>"};
  auto reply = call({"ec2", "us-west-2", "DescribeVolumes", Json::object({})});
  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().code, "ResourceLimitExceeded");
  EXPECT_EQ(cloud::kind_of(reply.error()), cloud::Kind::limit);
  reply = call({"ec2", "us-west-2", "MakeCoffee", Json::object({})});
  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().code, "InvalidAction");
  server.reset();
  reply = call({"ec2", "us-west-2", "DescribeVolumes", Json::object({})});
  ASSERT_FALSE(reply);
  EXPECT_EQ(cloud::kind_of(reply.error()), cloud::Kind::unavailable);
  EXPECT_NE(reply.error().message.find(" cannot be reached: 127.0.0.1:"), std::string::npos) << reply.error().message;
}

}  // namespace
}  // namespace snapward::aws
