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

enum class Verdict { valid, mismatch, malformed, expired };
// Checks a request against the secret of the key it names. Dates may be 15 minutes off, as at AWS.
Verdict verify(const HttpRequest& request, const std::string& secret_key, Instant now);

}  // namespace snapward::wire
