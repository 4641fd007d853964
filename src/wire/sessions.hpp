// Sessions: temporary credentials as STS hands them out, made so that the token alone says whose they are and until when. Nothing is
// kept: whoever has the sealing key can recover the secret of a token, and knows a token that it did not issue.
// All functions are const and may run on any thread.
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "base/time.hpp"
#include "wire/sigv4.hpp"

namespace snapward::wire {

class Sessions {
 public:
  // Two processes with the same key accept each other's tokens. Anyone who knows the key can issue credentials.
  explicit Sessions(std::string sealing_key) : key_(std::move(sealing_key)) {}

  // Credentials of `principal` (an ARN) that end at `until`.
  [[nodiscard]] Credentials issue(const std::string& access_key, const std::string& principal, Instant until) const;

  struct Opened {
    std::string secret_key, principal;
    Instant until;
  };
  // Nothing when the token is not one of these, or belongs to another access key. An expired one is opened: `until` says so.
  [[nodiscard]] std::optional<Opened> open(std::string_view token, std::string_view access_key) const;

 private:
  [[nodiscard]] std::string secret_of(std::string_view claims) const;
  std::string key_;
};

}  // namespace snapward::wire
