// AWS Signature Version 4: signing and verifying, in the Authorization header and in presigned URLs.
// Source: "Create a signed AWS API request" (IAM User Guide) and its published examples, which sigv4_test.cpp replays.
#pragma once
#include <expected>
#include <optional>
#include <string>

#include "base/time.hpp"
#include "wire/http.hpp"

namespace snapward::wire {

struct Credentials {
  std::string access_key, secret_key, session_token;  // token empty: none
};

// "20260101/us-west-2/ec2/aws4_request" and who signed: where a request is for, readable before any check.
struct SignatureScope {
  std::string access_key, date, region, service;
};

// From the Authorization header or X-Amz-Credential; nothing when the request is unsigned or the scope unreadable.
std::optional<SignatureScope> scope_of(const HttpRequest& request);

struct SigningContext {
  std::string region, service;
  Instant at;
};

// Adds X-Amz-Date (unless there), X-Amz-Security-Token and Authorization. `request` must have its Host header already;
// every header present is signed. S3's path is not encoded a second time.
void sign(HttpRequest& request, const Credentials& credentials, const SigningContext& context);

// Signs into the query string instead, valid for `lifetime`; only Host is signed.
void presign(HttpRequest& request, const Credentials& credentials, const SigningContext& context, std::chrono::seconds lifetime);

enum class Verdict {
  valid,
  mismatch,    // of the signature
  other_body,  // x-amz-content-sha256 is of another body than this one
  malformed,   // a part of the signature is missing or cannot be read
  not_signed,  // a header is there that must be signed: Host and everything that begins with x-amz-
  expired,     // older than 15 minutes, or than a presigned URL's lifetime
  early,       // dated more than 15 minutes ahead
};
// What is known of a signature when it has been checked.
struct Verification {
  Verdict verdict = Verdict::malformed;
  std::string what;  // the header that is not signed
  std::string date;  // 20260101T030000Z
  bool presigned = false;
};
// Checks a request against the secret of the key it names. Only S3 takes UNSIGNED-PAYLOAD and the streaming payloads (chunked.hpp checks
// those); anywhere else the signature is of the body that came.
Verification verify(const HttpRequest& request, const std::string& secret_key, Instant now);

// X-Amz-Security-Token, of the header or of a presigned URL; empty without.
std::string session_token_of(const HttpRequest& request);

// The pieces that the signatures of a chunked body begin with: the key, the date, the scope and the request's own signature.
struct SigningSeed {
  std::string key, date, scope, signature;
};
std::optional<SigningSeed> seed_of(const HttpRequest& request, const std::string& secret_key);

std::string amz_date(Instant at);                          // 20260101T030000Z
bool same_secret(std::string_view a, std::string_view b);  // in constant time

}  // namespace snapward::wire
