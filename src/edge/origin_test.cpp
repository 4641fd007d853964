#include "edge/origin.hpp"

#include <gtest/gtest.h>

namespace snapward::edge {
namespace {

using Fields = std::vector<std::pair<std::string, std::string>>;

wire::HttpRequest request(const Fields& headers, const std::string& target = "/?Action=DeleteVolume&VolumeId=vol-1",
                          const std::string& method = "GET") {
  wire::HttpRequest out{.method = method, .target = target, .headers = {}, .body = {}};
  out.headers.list = headers;
  return out;
}
bool passes(const Origins& origins, const Fields& headers, const std::string& target = "/?Action=DeleteVolume&VolumeId=vol-1") {
  return !origins.refusal(request(headers, target));
}

TEST(OriginTest, NamesThatAttackersCanResolveToThisMachineAreNotOurs) {
  const Origins origins({.listens_on = "127.0.0.1",
                         .advertise = "https://snapward.example.com:443/",
                         .allow_hosts = {"Cloud.Internal", "*.apps.internal"},
                         .allow_origins = {}});
  for (const char* host : {"127.0.0.1:4566", "127.8.9.10", "[::1]:4566", "localhost", "LOCALHOST:80", "localhost.", "bucket.localhost:4566",
                           "snapward:4566", "my_container", "snapward.example.com", "cloud.internal", "a.b.apps.internal:1"})
    EXPECT_TRUE(passes(origins, {{"Host", host}})) << host;
  for (const char* host :
       {"evil.example", "evil.example:4566", "localhost.evil.example", "127.0.0.1.evil.example", "192.0.2.7", "10.0.0.1", "[2001:db8::1]",
        "", "apps.internal", "xsnapward.example.com", "a@127.0.0.1", "127.0.0.1:80:80", "[::1", "[evil]", "localhost/evil.example"})
    EXPECT_FALSE(passes(origins, {{"Host", host}})) << host;
  EXPECT_TRUE(passes(origins, {})) << "HTTP/1.0 has no Host, and no browser speaks it";
}

// What Chromium sends for an image of a page elsewhere that has <meta name=referrer content=no-referrer>, to a name that is no loopback's.
TEST(OriginTest, ABrowserThatSaysNothingOfThePageCallsNoOperation) {
  const Origins origins({.listens_on = "0.0.0.0", .advertise = {}, .allow_hosts = {}, .allow_origins = {}});
  const Fields browser{{"Host", "snapward:4566"}, {"User-Agent", "Mozilla/5.0 (X11; Linux x86_64) Chrome/156.0.0.0"}};
  EXPECT_FALSE(passes(origins, browser));
  EXPECT_FALSE(passes(origins, browser, "/?Action=CreateTopic&Name=t&X-Amz-Credential=a/20260101/us-east-1/sns/aws4_request"));
  EXPECT_TRUE(passes(origins, browser, "/healthz"));
  EXPECT_TRUE(passes(origins, browser, "/?Action=ConfirmSubscription&TopicArn=arn:aws:sns:us-east-1:000000000000:t&Token=x"));
  EXPECT_TRUE(passes(origins, {{"Host", "snapward:4566"}, {"User-Agent", "aws-cli/2.9.19 Python/3.11.2"}}));
}

TEST(OriginTest, OnAllAddressesThoseOfThisMachineAreOurs) {
  const Origins one({.listens_on = "192.0.2.7", .advertise = {}, .allow_hosts = {}, .allow_origins = {}});
  EXPECT_TRUE(passes(one, {{"Host", "192.0.2.7:4566"}}));
  const Origins all({.listens_on = "0.0.0.0", .advertise = {}, .allow_hosts = {}, .allow_origins = {}});
  EXPECT_TRUE(passes(all, {{"Host", "127.0.0.1"}}));
  EXPECT_FALSE(passes(all, {{"Host", "192.0.2.7"}})) << "an address for documentation, no machine's";
}

TEST(OriginTest, PagesOfOtherSitesCallNothing) {
  const Origins origins;
  const std::string host = "127.0.0.1:4566";
  for (const Fields& foreign : {Fields{{"Origin", "https://evil.example"}}, Fields{{"Origin", "null"}}, Fields{{"Origin", ""}},
                                Fields{{"Origin", "http://localhost:3000"}}, Fields{{"Origin", "http://127.0.0.1:4567"}},
                                Fields{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Mode", "no-cors"}},
                                Fields{{"Sec-Fetch-Site", "same-site"}, {"Sec-Fetch-Mode", "no-cors"}},
                                Fields{{"Origin", "http://127.0.0.1:4566.evil.example"}}, Fields{{"Referer", "https://evil.example/a"}}}) {
    Fields headers = foreign;
    headers.emplace_back("Host", host);
    EXPECT_FALSE(passes(origins, headers)) << foreign.front().first << ": " << foreign.front().second;
    EXPECT_FALSE(passes(origins, headers, "/healthz")) << foreign.front().first << ": " << foreign.front().second;
  }
  EXPECT_TRUE(passes(origins, {{"Host", host}, {"Origin", "http://127.0.0.1:4566"}, {"Sec-Fetch-Site", "same-origin"}}));
  EXPECT_TRUE(passes(origins, {{"Host", host}, {"Sec-Fetch-Site", "same-origin"}, {"Sec-Fetch-Mode", "cors"}}));
  EXPECT_TRUE(passes(origins, {{"Host", host}})) << "an SDK";
}

TEST(OriginTest, ANavigationReachesPagesAndLinksNeverOperations) {
  const Origins origins;
  for (const char* site : {"cross-site", "none", "same-origin"}) {
    const Fields navigation{{"Host", "localhost:4566"}, {"Sec-Fetch-Site", site}, {"Sec-Fetch-Mode", "navigate"}};
    for (const char* page : {"/", "/healthz", "/metrics", "/?Action=ConfirmSubscription&Token=t&TopicArn=a"})
      EXPECT_TRUE(passes(origins, navigation, page)) << site << ' ' << page;
    for (const char* operation :
         {"/?Action=DeleteVolume", "/?Action=Publish", "/2015-03-31/functions?X-Amz-Credential=a/20260101/us-east-1/lambda/aws4_request",
          "/?Action=Unsubscribe&X-Amz-Credential=a/20260101/us-east-1/sns/aws4_request"})
      EXPECT_FALSE(passes(origins, navigation, operation)) << site << ' ' << operation;
  }
  EXPECT_TRUE(
      origins.refusal(request({{"Host", "localhost"}, {"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Mode", "navigate"}}, "/", "POST")));
}

TEST(OriginTest, AnAllowedOriginMayCallAndRead) {
  const Origins origins({.listens_on = "127.0.0.1", .advertise = {}, .allow_hosts = {}, .allow_origins = {"https://Console.example.com/"}});
  const Fields headers{{"Host", "localhost"}, {"Origin", "https://console.example.com"}, {"Sec-Fetch-Site", "cross-site"}};
  EXPECT_TRUE(passes(origins, headers));
  EXPECT_FALSE(passes(origins, {{"Host", "localhost"}, {"Origin", "https://other.example.com"}}));
  EXPECT_EQ(origins.allowed_origin(request(headers)), "https://console.example.com");
  wire::HttpRequest preflight = request(headers, "/", "OPTIONS");
  EXPECT_FALSE(is_preflight(preflight));
  preflight.headers.add("Access-Control-Request-Method", "POST");
  preflight.headers.add("Access-Control-Request-Headers", "x-amz-target");
  ASSERT_TRUE(is_preflight(preflight));
  const auto answer = preflight_answer(preflight, "https://console.example.com");
  EXPECT_EQ(answer.headers.get("Access-Control-Allow-Origin"), "https://console.example.com");
  EXPECT_EQ(answer.headers.get("Access-Control-Allow-Headers"), "x-amz-target");
}

TEST(OriginTest, ARefusalIsWordedAsTheServiceWouldWordIt) {
  EXPECT_NE(forbidden(request({}), "No.").body.find("<Code>AccessDenied</Code><Message>No.</Message>"), std::string::npos);
  EXPECT_EQ(forbidden(request({}, "/nothing"), "No.").body, "No.\n");
  EXPECT_EQ(forbidden(request({}), "No.").status, 403);
}

}  // namespace
}  // namespace snapward::edge
