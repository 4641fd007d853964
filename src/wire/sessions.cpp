#include "wire/sessions.hpp"

#include <fmt/format.h>

#include "base/text.hpp"

namespace snapward::wire {

namespace {
constexpr std::size_t kSeal = 32, kSecret = 40;  // bytes of HMAC-SHA256; characters of a secret access key, as at AWS
}

std::string Sessions::secret_of(std::string_view claims) const {
  return base64_encode(hmac_sha256(key_, fmt::format("secret\n{}", claims))).substr(0, kSecret);
}

Credentials Sessions::issue(const std::string& access_key, const std::string& principal, Instant until) const {
  const std::string claims = fmt::format("{}\n{}\n{}", access_key, iso_millis(until), principal);
  return {.access_key = access_key,
          .secret_key = secret_of(claims),
          .session_token = base64_encode(hmac_sha256(key_, "token\n" + claims) + claims)};
}

std::optional<Sessions::Opened> Sessions::open(std::string_view token, std::string_view access_key) const {
  const auto bytes = base64_decode(token);
  if (!bytes || bytes->size() <= kSeal) return std::nullopt;
  const std::string claims = bytes->substr(kSeal);
  if (!same_secret(hmac_sha256(key_, "token\n" + claims), std::string_view(*bytes).substr(0, kSeal))) return std::nullopt;
  const auto fields = split(claims, '\n');
  const auto until = fields.size() == 3 ? parse_iso(fields[1]) : std::nullopt;
  if (!until || fields[0] != access_key) return std::nullopt;
  return Opened{.secret_key = secret_of(claims), .principal = fields[2], .until = *until};
}

}  // namespace snapward::wire
