#include "edge/authentication.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "wire/chunked.hpp"
#include "wire/protocol.hpp"

namespace snapward::edge {

namespace {

enum class Reason { missing, incomplete, unknown_key, unknown_token, expired_token, mismatch, expired, early, not_signed, other_body };

// How a service words a refusal. The API references' common errors of the JSON services have the status 403, DynamoDB's have 400.
enum class Dialect { ec2, query, json, dynamodb, s3 };
Dialect dialect_of(const Destination& to, const wire::HttpRequest& request) {
  if (!to.service) return Dialect::json;
  switch (wire::protocol_of(*to.service, request)) {
    case wire::Protocol::ec2:
      return Dialect::ec2;
    case wire::Protocol::query:
      return Dialect::query;
    case wire::Protocol::json:
      return to.service->name == "dynamodb" ? Dialect::dynamodb : Dialect::json;
    case wire::Protocol::rest_json:
      return Dialect::json;
    case wire::Protocol::rest_xml:
      return to.service->name == "s3" ? Dialect::s3 : Dialect::query;
  }
  std::unreachable();
}

struct Wording {
  const char* code;
  int status;
  std::string message;
};

std::string missing_words() { return "Missing Authentication Token"; }
std::string mismatch_words() {
  return "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing "
         "method. "
         "Consult the service documentation for details.";
}
std::string time_words(Reason reason, const wire::Verification& v, Instant now) {
  constexpr auto kSpan = std::chrono::minutes(15);
  const std::string at = wire::amz_date(now);
  return reason == Reason::expired
             ? fmt::format("Signature expired: {} is now earlier than {} ({} - 15 min.)", v.date, wire::amz_date(now - kSpan), at)
             : fmt::format("Signature not yet current: {} is still later than {} ({} + 15 min.)", v.date, wire::amz_date(now + kSpan), at);
}
std::string not_signed_words(const std::string& header) {
  return header == "host" ? "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."
                          : fmt::format("'{}' must be a 'SignedHeader' in the AWS Authorization.", header);
}

Wording ec2_wording(Reason reason, const wire::Verification& v) {
  switch (reason) {
    case Reason::missing:
      return {"MissingAuthenticationToken", 403, "The request must contain a valid AWS access key ID or X.509 certificate"};
    case Reason::incomplete:
      return {"IncompleteSignature", 400, "The request signature does not conform to AWS standards."};
    case Reason::expired:
      return {"RequestExpired", 400, "Request has expired."};
    case Reason::early:
      return {"RequestExpired", 400, "Request is dated in the future."};
    case Reason::expired_token:
      return {"RequestExpired", 400, "Request has expired."};
    case Reason::unknown_key:
    case Reason::unknown_token:
      return {"AuthFailure", 401, "AWS was not able to validate the provided access credentials"};
    case Reason::not_signed:
      return {"SignatureDoesNotMatch", 403, not_signed_words(v.what)};
    case Reason::mismatch:
    case Reason::other_body:
      return {"SignatureDoesNotMatch", 403, mismatch_words()};
  }
  std::unreachable();
}

Wording s3_wording(Reason reason, const wire::Verification& v) {
  switch (reason) {
    case Reason::missing:
      return {"AccessDenied", 403, "Access Denied"};
    case Reason::incomplete:
      return {"AuthorizationHeaderMalformed", 400, "The authorization header is malformed"};
    case Reason::unknown_key:
      return {"InvalidAccessKeyId", 403, "The AWS Access Key Id you provided does not exist in our records."};
    case Reason::unknown_token:
      return {"InvalidToken", 400, "The provided token is malformed or otherwise invalid."};
    case Reason::expired_token:
      return {"ExpiredToken", 400, "The provided token has expired."};
    case Reason::expired:
      if (v.presigned) return {"AccessDenied", 403, "Request has expired"};
      return {"RequestTimeTooSkewed", 403, "The difference between the request time and the current time is too large."};
    case Reason::early:
      if (v.presigned) return {"AccessDenied", 403, "Request is not yet valid"};
      return {"RequestTimeTooSkewed", 403, "The difference between the request time and the current time is too large."};
    case Reason::not_signed:
      return {"AccessDenied", 403, "There were headers present in the request which were not signed"};
    case Reason::mismatch:
      return {"SignatureDoesNotMatch", 403,
              "The request signature we calculated does not match the signature you provided. Check your key and signing method."};
    case Reason::other_body:
      return {"XAmzContentSHA256Mismatch", 400, "The provided 'x-amz-content-sha256' header does not match what was computed."};
  }
  std::unreachable();
}

Wording query_wording(Reason reason, const wire::Verification& v, Instant now) {
  switch (reason) {
    case Reason::missing:
      return {"MissingAuthenticationToken", 403, "Request is missing Authentication Token"};
    case Reason::incomplete:
      return {"IncompleteSignature", 400, "The request signature does not conform to AWS standards."};
    case Reason::unknown_key:
    case Reason::unknown_token:
      return {"InvalidClientTokenId", 403, "The security token included in the request is invalid."};
    case Reason::expired_token:
      return {"ExpiredToken", 403, "The security token included in the request is expired"};
    case Reason::expired:
    case Reason::early:
      return {"SignatureDoesNotMatch", 403, time_words(reason, v, now)};
    case Reason::not_signed:
      return {"SignatureDoesNotMatch", 403, not_signed_words(v.what)};
    case Reason::mismatch:
    case Reason::other_body:
      return {"SignatureDoesNotMatch", 403, mismatch_words()};
  }
  std::unreachable();
}

Wording json_wording(Reason reason, const wire::Verification& v, Instant now, int status) {
  switch (reason) {
    case Reason::missing:
      return {"MissingAuthenticationTokenException", status, missing_words()};
    case Reason::incomplete:
      return {"IncompleteSignatureException", status, "The request signature does not conform to AWS standards."};
    case Reason::unknown_key:
    case Reason::unknown_token:
      return {"UnrecognizedClientException", status, "The security token included in the request is invalid."};
    case Reason::expired_token:
      return {"ExpiredTokenException", status, "The security token included in the request is expired"};
    case Reason::expired:
    case Reason::early:
      return {"InvalidSignatureException", status, time_words(reason, v, now)};
    case Reason::not_signed:
      return {"InvalidSignatureException", status, not_signed_words(v.what)};
    case Reason::mismatch:
    case Reason::other_body:
      return {"InvalidSignatureException", status, mismatch_words()};
  }
  std::unreachable();
}

Wording wording(Dialect dialect, Reason reason, const wire::Verification& v, Instant now) {
  switch (dialect) {
    case Dialect::ec2:
      return ec2_wording(reason, v);
    case Dialect::s3:
      return s3_wording(reason, v);
    case Dialect::query:
      return query_wording(reason, v, now);
    case Dialect::json:
      return json_wording(reason, v, now, 403);
    case Dialect::dynamodb:
      return json_wording(reason, v, now, 400);
  }
  std::unreachable();
}

std::unexpected<wire::ApiError> refused(const wire::HttpRequest& request, const Destination& to, Reason reason,
                                        const wire::Verification& v = {}, Instant now = {}) {
  Wording w = wording(dialect_of(to, request), reason, v, now);
  return std::unexpected(wire::ApiError{w.code, std::move(w.message), w.status, {}});
}

Reason reason_of(wire::Verdict verdict) {
  switch (verdict) {
    case wire::Verdict::other_body:
      return Reason::other_body;
    case wire::Verdict::malformed:
      return Reason::incomplete;
    case wire::Verdict::not_signed:
      return Reason::not_signed;
    case wire::Verdict::expired:
      return Reason::expired;
    case wire::Verdict::early:
      return Reason::early;
    case wire::Verdict::valid:
    case wire::Verdict::mismatch:
      break;
  }
  return Reason::mismatch;
}

}  // namespace

Result<SecretKeys> parse_keys(const std::string& text, const std::string& name) {
  const auto json = Json::parse(text);
  if (!json || !json->is_object() || json->as_object().empty())
    return invalid(
        fmt::format("'{}' must hold a JSON object with at least one access key and its secret, such as {{\"AKIA…\": \"…\"}}", name));
  SecretKeys keys;
  for (const auto& [key, secret] : json->as_object()) {
    if (key.empty()) return invalid(fmt::format("'{}' has an access key that is empty", name));
    if (secret.string_or().empty())
      return invalid(fmt::format("'{}': the secret of the access key '{}' must be a text that is not empty", name, key));
    keys[key] = secret.string_or();
  }
  return keys;
}

std::string sealing_key(const SecretKeys& keys) {
  std::string all;
  for (const auto& [key, secret] : keys) all += fmt::format("{}:{}{}:{}", key.size(), key, secret.size(), secret);
  return hmac_sha256("snapward sessions", all);
}

bool is_anonymous_page(const wire::HttpRequest& request) {
  const std::string_view path = request.path();
  return request.method == "GET" &&
         (path == "/healthz" || path == "/readyz" || (path.starts_with("/SimpleNotificationService-") && path.ends_with(".pem")));
}

bool is_anonymous_link(const wire::Service& service, std::string_view operation, const wire::HttpRequest& request) {
  return request.method == "GET" && service.name == "sns" && (operation == "ConfirmSubscription" || operation == "Unsubscribe");
}

std::expected<std::string, wire::ApiError> Authentication::secret_for(const wire::HttpRequest& request, const Destination& to,
                                                                      Instant now) const {
  const std::string token = wire::session_token_of(request);
  if (token.empty()) {
    const auto key = keys_.find(to.scope->access_key);
    if (key == keys_.end()) return refused(request, to, Reason::unknown_key);
    return key->second;
  }
  auto session = sessions_.open(token, to.scope->access_key);
  if (!session) return refused(request, to, Reason::unknown_token);
  if (session->until <= now) return refused(request, to, Reason::expired_token);
  return std::move(session->secret_key);
}

std::expected<void, wire::ApiError> Authentication::check(wire::HttpRequest& request, const Destination& to, const Now& now) const {
  const bool in_pieces = to.service && to.service->name == "s3" && wire::is_chunked(request);
  if (!required()) return in_pieces ? wire::decode_chunks(request, std::nullopt) : std::expected<void, wire::ApiError>();
  if (!to.scope) return refused(request, to, request.headers.find("authorization") ? Reason::incomplete : Reason::missing);
  const auto secret = secret_for(request, to, now.cloud);
  if (!secret) return std::unexpected(secret.error());
  const wire::Verification v = wire::verify(request, *secret, now.real);
  if (v.verdict != wire::Verdict::valid) return refused(request, to, reason_of(v.verdict), v, now.real);
  return in_pieces ? wire::decode_chunks(request, wire::seed_of(request, *secret)) : std::expected<void, wire::ApiError>();
}

}  // namespace snapward::edge
