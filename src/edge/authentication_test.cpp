#include "edge/authentication.hpp"

#include <gtest/gtest.h>

#include "wire/protocol.hpp"

namespace snapward::edge {
namespace {

const SecretKeys kKeys{{"AKID", "secret"}};
const Instant kNow = *parse_iso("2026-01-01T12:00:00Z");
const wire::Credentials kRight{.access_key = "AKID", .secret_key = "secret", .session_token = {}};

wire::HttpRequest unsigned_request(const std::string& service, const std::string& operation) {
  const auto* model = wire::find_service(service);
  auto request = wire::encode_request(*model, *model->find(operation), Json(Json::Object{}));
  request.headers.add("Host", "localhost:4566");
  return request;
}
wire::HttpRequest signed_request(const std::string& service, const std::string& operation, const wire::Credentials& by = kRight,
                                 Instant at = kNow) {
  auto request = unsigned_request(service, operation);
  wire::sign(request, by, {.region = "us-east-1", .service = service, .at = at});
  return request;
}

// "code status" of the refusal, or "passed".
std::string outcome(wire::HttpRequest request, Instant cloud = kNow, const SecretKeys& keys = kKeys) {
  const auto checked = Authentication(keys).check(request, destination_of(request), {.real = kNow, .cloud = cloud});
  return checked ? "passed" : checked.error().code + ' ' + std::to_string(checked.error().status);
}

TEST(AuthenticationTest, EachServiceRefusesInItsOwnWords) {
  struct Row {
    const char *service, *operation, *missing, *unknown, *wrong, *expired;
  };
  for (const Row& row : {
           Row{"ec2", "DescribeVolumes", "MissingAuthenticationToken 403", "AuthFailure 401", "SignatureDoesNotMatch 403",
               "RequestExpired 400"},
           Row{"sns", "ListTopics", "MissingAuthenticationToken 403", "InvalidClientTokenId 403", "SignatureDoesNotMatch 403",
               "SignatureDoesNotMatch 403"},
           Row{"states", "ListStateMachines", "MissingAuthenticationTokenException 403", "UnrecognizedClientException 403",
               "InvalidSignatureException 403", "InvalidSignatureException 403"},
           Row{"dynamodb", "ListTables", "MissingAuthenticationTokenException 400", "UnrecognizedClientException 400",
               "InvalidSignatureException 400", "InvalidSignatureException 400"},
           Row{"lambda", "ListFunctions", "MissingAuthenticationTokenException 403", "UnrecognizedClientException 403",
               "InvalidSignatureException 403", "InvalidSignatureException 403"},
           Row{"s3", "ListBuckets", "", "InvalidAccessKeyId 403", "SignatureDoesNotMatch 403", "RequestTimeTooSkewed 403"},
       }) {
    if (*row.missing) EXPECT_EQ(outcome(unsigned_request(row.service, row.operation)), row.missing) << row.service;
    EXPECT_EQ(outcome(signed_request(row.service, row.operation, {"other", "secret", ""})), row.unknown) << row.service;
    EXPECT_EQ(outcome(signed_request(row.service, row.operation, {"AKID", "wrong", ""})), row.wrong) << row.service;
    EXPECT_EQ(outcome(signed_request(row.service, row.operation, kRight, kNow - std::chrono::minutes(16))), row.expired) << row.service;
    EXPECT_EQ(outcome(signed_request(row.service, row.operation, kRight, kNow + std::chrono::minutes(16))), row.expired) << row.service;
    EXPECT_EQ(outcome(signed_request(row.service, row.operation)), "passed") << row.service;
  }
}

TEST(AuthenticationTest, OtherSchemesAreNoSignature) {
  for (const char* header :
       {"AWS AKID:c2lnbmF0dXJl", "Basic QUtJRDpzZWNyZXQ=", "Bearer secret", "AWS4-ECDSA-P256-SHA256 Credential=AKID/x", ""}) {
    auto request = unsigned_request("ec2", "DescribeVolumes");
    request.headers.add("Authorization", header);
    EXPECT_NE(outcome(request), "passed") << header;
  }
}

TEST(AuthenticationTest, SessionTokensAreOnesThatWereIssuedAndEnd) {
  const wire::Sessions sessions(sealing_key(kKeys));
  const wire::Credentials session = sessions.issue("ASIAX", "arn:aws:sts::000000000000:assumed-role/r/s", kNow + std::chrono::hours(1));
  EXPECT_EQ(outcome(signed_request("states", "ListStateMachines", session)), "passed");
  EXPECT_EQ(outcome(signed_request("states", "ListStateMachines", session), kNow + std::chrono::hours(1)), "ExpiredTokenException 403");
  EXPECT_EQ(outcome(signed_request("ec2", "DescribeVolumes", {"AKID", "secret", "made up"})), "AuthFailure 401");
  EXPECT_EQ(outcome(signed_request("s3", "ListBuckets", {"AKID", "secret", session.session_token})), "InvalidToken 400");
  EXPECT_EQ(outcome(signed_request("sns", "ListTopics", {"ASIAX", session.secret_key, ""})), "InvalidClientTokenId 403");
  const wire::Sessions elsewhere(sealing_key({{"AKID", "another secret"}}));
  const auto foreign = elsewhere.issue("ASIAX", "arn:aws:iam::000000000000:root", kNow + std::chrono::hours(1));
  EXPECT_EQ(outcome(signed_request("states", "ListStateMachines", foreign)), "UnrecognizedClientException 403");
}

TEST(AuthenticationTest, ABodyInPiecesIsForS3Only) {
  auto table = unsigned_request("dynamodb", "PutItem");
  table.headers.add("X-Amz-Content-Sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER");
  wire::sign(table, kRight, {.region = "us-east-1", .service = "dynamodb", .at = kNow});
  EXPECT_EQ(outcome(table), "InvalidSignatureException 400");
  wire::HttpRequest object{.method = "PUT", .target = "/bucket/key", .headers = {}, .body = "3\r\nabc\r\n0\r\n\r\n"};
  object.headers.add("Host", "localhost");
  object.headers.add("X-Amz-Content-Sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER");
  object.headers.add("X-Amz-Decoded-Content-Length", "3");
  wire::sign(object, kRight, {.region = "us-east-1", .service = "s3", .at = kNow});
  for (const SecretKeys& keys : {kKeys, SecretKeys{}}) {
    auto request = object;
    const auto checked = Authentication(keys).check(request, destination_of(request), {.real = kNow, .cloud = kNow});
    EXPECT_TRUE(checked) << (checked ? "" : checked.error().code);
    EXPECT_EQ(request.body, "abc");
  }
}

TEST(AuthenticationTest, AKeysFileThatProtectsNothingIsAnError) {
  for (const char* text :
       {"", "{}", "[]", "null", "\"K\"", R"({"K":null})", R"({"K":""})", R"({"K":1})", R"({"":"s"})", R"({"K":"s","L":""})"})
    EXPECT_FALSE(parse_keys(text, "keys.json")) << text;
  EXPECT_EQ(parse_keys(R"({"K":"s"})", "keys.json").value_or(SecretKeys{}), (SecretKeys{{"K", "s"}}));
}

}  // namespace
}  // namespace snapward::edge
