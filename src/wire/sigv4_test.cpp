// The published examples of Signature Version 4 (AWS General Reference, "Signature Version 4 test suite"; IAM User Guide; S3 API
// Reference for the presigned URL): same key, date and scope, and the signatures AWS printed.
#include "wire/sigv4.hpp"

#include <gtest/gtest.h>

namespace snapward::wire {
namespace {

const Credentials kSuite{.access_key = "AKIDEXAMPLE", .secret_key = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", .session_token = {}};
const Instant kSuiteTime = *parse_iso("2015-08-30T12:36:00Z");

std::string signature(HttpRequest request, const std::string& service = "service") {
  sign(request, kSuite, {.region = "us-east-1", .service = service, .at = kSuiteTime});
  const std::string_view header = request.headers.get("authorization");
  return std::string(header.substr(header.find("Signature=") + 10));
}

HttpRequest get(std::string target) {
  HttpRequest request;
  request.method = "GET";
  request.target = std::move(target);
  request.headers.add("Host", "example.amazonaws.com");
  return request;
}

TEST(SigV4, PublishedVectors) {
  EXPECT_EQ(signature(get("/")), "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");  // get-vanilla
  EXPECT_EQ(signature(get("/?Param2=value2&Param1=value1")),
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500");  // get-vanilla-query-order-key-case
  HttpRequest post = get("/");
  post.method = "POST";
  EXPECT_EQ(signature(post), "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b");  // post-vanilla
  HttpRequest form = post;
  form.headers.add("Content-Type", "application/x-www-form-urlencoded");
  form.body = "Param1=value1";
  EXPECT_EQ(signature(form), "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a");  // post-x-www-form-urlencoded
  HttpRequest trimmed = get("/");
  trimmed.headers.add("My-Header1", " value1");
  trimmed.headers.add("My-Header2", " \"a   b   c\"");
  EXPECT_EQ(signature(trimmed), "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736");  // get-header-value-trim
}

TEST(SigV4, TheListUsersExample) {
  HttpRequest request = get("/?Action=ListUsers&Version=2010-05-08");
  request.headers.list.clear();
  request.headers.add("Content-Type", "application/x-www-form-urlencoded; charset=utf-8");
  request.headers.add("Host", "iam.amazonaws.com");
  EXPECT_EQ(signature(request, "iam"), "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7");
}

TEST(SigV4, ThePresignedS3Example) {
  HttpRequest request;
  request.method = "GET";
  request.target = "/test.txt";
  request.headers.add("Host", "examplebucket.s3.amazonaws.com");
  const Credentials key{
      .access_key = "AKIAIOSFODNN7EXAMPLE", .secret_key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", .session_token = {}};
  const Instant at = *parse_iso("2013-05-24T00:00:00Z");
  presign(request, key, {.region = "us-east-1", .service = "s3", .at = at}, std::chrono::seconds(86400));
  EXPECT_TRUE(request.target.ends_with("X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"))
      << request.target;
  EXPECT_EQ(verify(request, key.secret_key, at + std::chrono::hours(23)).verdict, Verdict::valid);
  EXPECT_EQ(verify(request, key.secret_key, at + std::chrono::hours(25)).verdict, Verdict::expired);
}

TEST(SigV4, VerifiesWhatItSigned) {
  HttpRequest request = get("/a%20b/../c/?x=1&x=0&y");
  request.method = "POST";
  request.body = "hello";
  sign(request, kSuite, {.region = "eu-west-1", .service = "sqs", .at = kSuiteTime});
  EXPECT_EQ(verify(request, kSuite.secret_key, kSuiteTime).verdict, Verdict::valid);
  EXPECT_EQ(verify(request, "another secret", kSuiteTime).verdict, Verdict::mismatch);
  EXPECT_EQ(verify(request, kSuite.secret_key, kSuiteTime + std::chrono::minutes(16)).verdict, Verdict::expired);
  HttpRequest changed = request;
  changed.body = "hullo";
  EXPECT_EQ(verify(changed, kSuite.secret_key, kSuiteTime).verdict, Verdict::mismatch);
  changed = request;
  changed.target = "/a%20b/../c/?x=1&x=0&z";
  EXPECT_EQ(verify(changed, kSuite.secret_key, kSuiteTime).verdict, Verdict::mismatch);
  const auto scope = scope_of(request);
  ASSERT_TRUE(scope);
  EXPECT_EQ(scope->region, "eu-west-1");
  EXPECT_EQ(scope->service, "sqs");
}

TEST(SigV4, HeadersThatMustBeSignedAre) {
  HttpRequest request = get("/");
  sign(request, kSuite, {.region = "us-east-1", .service = "sqs", .at = kSuiteTime});
  request.headers.add("X-Amz-Target", "AmazonSQS.DeleteQueue");
  const Verification v = verify(request, kSuite.secret_key, kSuiteTime);
  EXPECT_EQ(v.verdict, Verdict::not_signed);
  EXPECT_EQ(v.what, "x-amz-target");
  HttpRequest without_host;
  sign(without_host, kSuite, {.region = "us-east-1", .service = "sqs", .at = kSuiteTime});
  EXPECT_EQ(verify(without_host, kSuite.secret_key, kSuiteTime).what, "host");
  EXPECT_EQ(verify(get("/"), kSuite.secret_key, kSuiteTime).verdict, Verdict::malformed);
}

TEST(SigV4, OnlyS3TakesABodyThatIsNotSigned) {
  for (const std::string payload : {"UNSIGNED-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"}) {
    HttpRequest request = get("/");
    request.headers.add("X-Amz-Content-Sha256", payload);
    sign(request, kSuite, {.region = "us-east-1", .service = "dynamodb", .at = kSuiteTime});
    EXPECT_EQ(verify(request, kSuite.secret_key, kSuiteTime).verdict, Verdict::other_body) << payload;
    HttpRequest object = get("/");
    object.headers.add("X-Amz-Content-Sha256", payload);
    sign(object, kSuite, {.region = "us-east-1", .service = "s3", .at = kSuiteTime});
    EXPECT_EQ(verify(object, kSuite.secret_key, kSuiteTime).verdict, Verdict::valid) << payload;
  }
}

TEST(SigV4, MalformedHeadersAreNoSignature) {
  for (const char* header : {"", "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256 Credential=a/b/c", "Bearer x",
                             "AWS4-HMAC-SHA256 Credential=a/20150830/r/s/aws5_request, SignedHeaders=host, Signature=0"}) {
    HttpRequest request = get("/");
    request.headers.add("Authorization", header);
    EXPECT_FALSE(scope_of(request)) << header;
    EXPECT_EQ(verify(request, "x", kSuiteTime).verdict, Verdict::malformed) << header;
  }
}

}  // namespace
}  // namespace snapward::wire
