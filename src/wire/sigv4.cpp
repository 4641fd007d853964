#include "wire/sigv4.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace snapward::wire {

namespace {

using Pairs = std::vector<std::pair<std::string, std::string>>;

std::string amz_date(Instant at) {
  std::string text = iso_seconds(at);  // 2026-01-01T03:00:00Z → 20260101T030000Z
  std::erase_if(text, [](char c) { return c == '-' || c == ':'; });
  return text;
}
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
  std::string key = hmac_sha256("AWS4" + secret, s.date.substr(0, 8));
  for (const std::string& part : {s.region, s.service, std::string("aws4_request")}) key = hmac_sha256(key, part);
  return hex_encode(hmac_sha256(key, to_sign));
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

bool same_secret(std::string_view a, std::string_view b) {  // constant time
  unsigned char difference = a.size() == b.size() ? 0 : 1;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) difference |= static_cast<unsigned char>(a[i] ^ b[i]);
  return difference == 0;
}

}  // namespace

std::optional<SignatureScope> scope_of(const HttpRequest& request) {
  const std::string_view authorization = request.headers.get("authorization");
  if (authorization.starts_with("AWS4-HMAC-SHA256")) return parse_credential(field(authorization, "Credential"));
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

Verdict verify(const HttpRequest& request, const std::string& secret_key, Instant now) {
  const auto scope = scope_of(request);
  if (!scope) return Verdict::malformed;
  const std::string_view authorization = request.headers.get("authorization");
  const bool presigned = !authorization.starts_with("AWS4-HMAC-SHA256");
  std::string date, names, given;
  std::chrono::seconds lifetime = std::chrono::minutes(15);
  if (presigned) {
    date = query_value(request, "X-Amz-Date").value_or("");
    names = query_value(request, "X-Amz-SignedHeaders").value_or("");
    given = query_value(request, "X-Amz-Signature").value_or("");
    const std::string expires = query_value(request, "X-Amz-Expires").value_or("");
    std::int64_t seconds = -1;
    std::from_chars(expires.data(), expires.data() + expires.size(), seconds);
    if (seconds < 0 || seconds > 604800) return Verdict::malformed;
    lifetime = std::chrono::seconds(seconds);
  } else {
    date = request.headers.get("x-amz-date");
    names = field(authorization, "SignedHeaders");
    given = field(authorization, "Signature");
  }
  const auto at = parse_amz_date(date);
  if (!at || names.empty() || given.empty() || !date.starts_with(scope->date)) return Verdict::malformed;
  if (*at - now > std::chrono::minutes(15) || now - *at > lifetime) return Verdict::expired;
  std::string hash = payload_hash(request);
  if (presigned) {
    hash = scope->service == "s3" ? "UNSIGNED-PAYLOAD" : hex_encode(sha256(request.body));
  } else if (hash != "UNSIGNED-PAYLOAD" && !hash.starts_with("STREAMING-") && hash != hex_encode(sha256(request.body))) {
    return Verdict::mismatch;
  }
  const Signing s{.date = date, .region = scope->region, .service = scope->service};
  return same_secret(signature(request, secret_key, s, split(names, ';'), hash, presigned), given) ? Verdict::valid : Verdict::mismatch;
}

}  // namespace snapward::wire
