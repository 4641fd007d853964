#include "wire/sigv4.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace snapward::wire {

namespace {

using Pairs = std::vector<std::pair<std::string, std::string>>;

std::optional<Instant> parse_amz_date(std::string_view t) {
  if (t.size() != 16) return std::nullopt;
  return parse_iso(
      fmt::format("{}-{}-{}T{}:{}:{}Z", t.substr(0, 4), t.substr(4, 2), t.substr(6, 2), t.substr(9, 2), t.substr(11, 2), t.substr(13, 2)));
}

std::string canonical_path(std::string_view path, bool s3) {
  if (path.empty()) return "/";
  if (s3) return percent_encode(percent_decode(path), true);
  std::vector<std::string> kept;  // RFC 3986 dot segments and repeated slashes go
  for (const std::string& part : split(path, '/')) {
    if (part.empty() || part == ".") continue;
    if (part == "..") {
      if (!kept.empty()) kept.pop_back();
    } else {
      kept.push_back(part);
    }
  }
  const bool slash = path.ends_with('/') && !kept.empty();
  return percent_encode("/" + join(kept, "/") + (slash ? "/" : ""), true);
}

std::string canonical_query(std::string_view query, std::string_view leave_out) {
  Pairs pairs;
  for (const std::string& pair : split(query, '&')) {
    if (pair.empty()) continue;
    const std::size_t equals = pair.find('=');
    std::string name = percent_decode(std::string_view(pair).substr(0, equals));
    if (name == leave_out) continue;
    pairs.emplace_back(percent_encode(name),
                       equals == std::string::npos ? "" : percent_encode(percent_decode(std::string_view(pair).substr(equals + 1))));
  }
  std::sort(pairs.begin(), pairs.end());
  std::string out;
  for (const auto& [name, value] : pairs) out += (out.empty() ? "" : "&") + name + '=' + value;
  return out;
}

std::string collapse(std::string_view value) {
  std::string out;
  for (const char c : trim(value))
    if (c != ' ' || out.empty() || out.back() != ' ') out.push_back(c);
  return out;
}

struct Signing {
  std::string date, region, service;
  [[nodiscard]] std::string scope() const { return date.substr(0, 8) + '/' + region + '/' + service + "/aws4_request"; }
};

std::string signing_key(const std::string& secret, const Signing& s) {
  std::string key = hmac_sha256("AWS4" + secret, s.date.substr(0, 8));
  for (const std::string& part : {s.region, s.service, std::string("aws4_request")}) key = hmac_sha256(key, part);
  return key;
}

std::string signature(const HttpRequest& request, const std::string& secret, const Signing& s,
                      const std::vector<std::string>& signed_headers, std::string_view payload_hash, bool presigned) {
  std::string canonical = request.method + '\n' + canonical_path(request.path(), s.service == "s3") + '\n' +
                          canonical_query(request.query(), presigned ? "X-Amz-Signature" : "") + '\n';
  for (const std::string& name : signed_headers) {
    std::string values;
    for (const auto& [key, value] : request.headers.list)
      if (iequals(key, name)) values += (values.empty() ? "" : ",") + collapse(value);
    canonical += name + ':' + values + '\n';
  }
  canonical += '\n' + join(signed_headers, ";") + '\n' + std::string(payload_hash);
  const std::string to_sign = "AWS4-HMAC-SHA256\n" + s.date + '\n' + s.scope() + '\n' + hex_encode(sha256(canonical));
  return hex_encode(hmac_sha256(signing_key(secret, s), to_sign));
}

// "Credential=…, SignedHeaders=…, Signature=…"
std::string_view field(std::string_view header, std::string_view name) {
  const std::size_t at = header.find(std::string(name) + '=');
  if (at == std::string_view::npos) return {};
  header.remove_prefix(at + name.size() + 1);
  return trim(header.substr(0, header.find(',')));
}

std::optional<std::string> query_value(const HttpRequest& request, std::string_view name) {
  for (const auto& [key, value] : parse_query(request.query()))
    if (key == name) return value;
  return std::nullopt;
}

std::optional<SignatureScope> parse_credential(std::string_view credential) {
  const auto parts = split(credential, '/');
  if (parts.size() < 5 || parts.back() != "aws4_request") return std::nullopt;
  const std::size_t n = parts.size();
  return SignatureScope{
      .access_key = join({parts.begin(), parts.end() - 4}, "/"), .date = parts[n - 4], .region = parts[n - 3], .service = parts[n - 2]};
}

std::string payload_hash(const HttpRequest& request) {
  const std::string_view declared = request.headers.get("x-amz-content-sha256");
  return declared.empty() ? hex_encode(sha256(request.body)) : std::string(declared);
}

// What a request says of its signature, wherever it stands.
struct Claim {
  SignatureScope scope;
  bool presigned = false;
  std::string date, names, signature;
  std::int64_t lifetime_seconds = 15 * 60;
};
std::optional<Claim> claim_of(const HttpRequest& request) {
  auto scope = scope_of(request);
  if (!scope) return std::nullopt;
  const std::string_view authorization = request.headers.get("authorization");
  Claim claim{.scope = *std::move(scope), .presigned = authorization.empty(), .date = {}, .names = {}, .signature = {}};
  if (claim.presigned) {
    claim.date = query_value(request, "X-Amz-Date").value_or("");
    claim.names = query_value(request, "X-Amz-SignedHeaders").value_or("");
    claim.signature = query_value(request, "X-Amz-Signature").value_or("");
    const std::string expires = query_value(request, "X-Amz-Expires").value_or("");
    const auto [end, error] = std::from_chars(expires.data(), expires.data() + expires.size(), claim.lifetime_seconds);
    if (error != std::errc() || end != expires.data() + expires.size()) return std::nullopt;
    if (claim.lifetime_seconds < 0 || claim.lifetime_seconds > 604'800) return std::nullopt;  // seven days, as at AWS
  } else {
    claim.date = request.headers.get("x-amz-date");
    claim.names = field(authorization, "SignedHeaders");
    claim.signature = field(authorization, "Signature");
  }
  if (claim.names.empty() || claim.signature.empty() || !claim.date.starts_with(claim.scope.date)) return std::nullopt;
  return claim;
}

// The first header that must be signed and is not; empty when all are.
std::string unsigned_header(const HttpRequest& request, const std::vector<std::string>& signed_names) {
  const auto is_signed = [&](std::string_view name) {
    return std::ranges::any_of(signed_names, [&](const std::string& s) { return iequals(s, name); });
  };
  if (!is_signed("host")) return "host";
  for (const auto& header : request.headers.list)
    if (header.first.size() > 6 && iequals(std::string_view(header.first).substr(0, 6), "x-amz-") && !is_signed(header.first))
      return lower(header.first);
  return {};
}

// What the body counts as in the signature; nothing when it is not the one that was declared.
std::optional<std::string> counted_payload(const HttpRequest& request, const Claim& claim) {
  const bool s3 = claim.scope.service == "s3";
  if (s3 && claim.presigned) return "UNSIGNED-PAYLOAD";
  const std::string_view declared = request.headers.get("x-amz-content-sha256");
  if (s3 && (declared == "UNSIGNED-PAYLOAD" || declared.starts_with("STREAMING-"))) return std::string(declared);
  std::string hash = hex_encode(sha256(request.body));
  if (!declared.empty() && declared != hash) return std::nullopt;
  return hash;
}

}  // namespace
std::string amz_date(Instant at) {
  std::string text = iso_seconds(at);  // 2026-01-01T03:00:00Z → 20260101T030000Z
  std::erase_if(text, [](char c) { return c == '-' || c == ':'; });
  return text;
}

bool same_secret(std::string_view a, std::string_view b) {  // constant time
  unsigned char difference = a.size() == b.size() ? 0 : 1;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) difference |= static_cast<unsigned char>(a[i] ^ b[i]);
  return difference == 0;
}

std::optional<SignatureScope> scope_of(const HttpRequest& request) {
  const std::string_view authorization = request.headers.get("authorization");
  if (authorization.starts_with("AWS4-HMAC-SHA256")) return parse_credential(field(authorization, "Credential"));
  if (!authorization.empty()) return std::nullopt;
  if (const auto credential = query_value(request, "X-Amz-Credential")) return parse_credential(*credential);
  return std::nullopt;
}

void sign(HttpRequest& request, const Credentials& credentials, const SigningContext& context) {
  if (!request.headers.find("x-amz-date")) request.headers.add("X-Amz-Date", amz_date(context.at));
  if (!credentials.session_token.empty()) request.headers.add("X-Amz-Security-Token", credentials.session_token);
  const Signing s{.date = std::string(request.headers.get("x-amz-date")), .region = context.region, .service = context.service};
  std::vector<std::string> names;
  for (const auto& header : request.headers.list) names.push_back(lower(header.first));
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  const std::string mark = signature(request, credentials.secret_key, s, names, payload_hash(request), false);
  request.headers.add("Authorization", fmt::format("AWS4-HMAC-SHA256 Credential={}/{}, SignedHeaders={}, Signature={}",
                                                   credentials.access_key, s.scope(), join(names, ";"), mark));
}

void presign(HttpRequest& request, const Credentials& credentials, const SigningContext& context, std::chrono::seconds lifetime) {
  const Signing s{.date = amz_date(context.at), .region = context.region, .service = context.service};
  std::string query =
      fmt::format("X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={}&X-Amz-Date={}&X-Amz-Expires={}&X-Amz-SignedHeaders=host",
                  percent_encode(credentials.access_key + '/' + s.scope()), s.date, lifetime.count());
  if (!credentials.session_token.empty()) query += "&X-Amz-Security-Token=" + percent_encode(credentials.session_token);
  request.target += (request.query().empty() ? "?" : "&") + query;
  const std::string hash = s.service == "s3" ? "UNSIGNED-PAYLOAD" : hex_encode(sha256(request.body));
  request.target += "&X-Amz-Signature=" + signature(request, credentials.secret_key, s, {"host"}, hash, true);
}

Verification verify(const HttpRequest& request, const std::string& secret_key, Instant now) {
  const auto claim = claim_of(request);
  const auto at = claim ? parse_amz_date(claim->date) : std::nullopt;
  if (!at) return {};
  const auto verdict = [&](Verdict v, std::string what = {}) {
    return Verification{.verdict = v, .what = std::move(what), .date = claim->date, .presigned = claim->presigned};
  };
  const auto names = split(claim->names, ';');
  if (std::string name = unsigned_header(request, names); !name.empty()) return verdict(Verdict::not_signed, std::move(name));
  if (*at - now > std::chrono::minutes(15)) return verdict(Verdict::early);
  if (now - *at > std::chrono::seconds(claim->lifetime_seconds)) return verdict(Verdict::expired);
  const auto payload = counted_payload(request, *claim);
  if (!payload) return verdict(Verdict::other_body);
  const Signing s{.date = claim->date, .region = claim->scope.region, .service = claim->scope.service};
  const std::string expected = signature(request, secret_key, s, names, *payload, claim->presigned);
  return verdict(same_secret(expected, claim->signature) ? Verdict::valid : Verdict::mismatch);
}

std::string session_token_of(const HttpRequest& request) {
  if (const std::string* token = request.headers.find("x-amz-security-token")) return *token;
  return query_value(request, "X-Amz-Security-Token").value_or("");
}

std::optional<SigningSeed> seed_of(const HttpRequest& request, const std::string& secret_key) {
  const auto claim = claim_of(request);
  if (!claim) return std::nullopt;
  const Signing s{.date = claim->date, .region = claim->scope.region, .service = claim->scope.service};
  return SigningSeed{.key = signing_key(secret_key, s), .date = claim->date, .scope = s.scope(), .signature = claim->signature};
}

}  // namespace snapward::wire
