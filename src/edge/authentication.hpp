// Authentication: who signed a request, and whether that is so. With keys, everything needs a valid signature (SigV4, in the header or in
// the URL) but what the table of exceptions names; without keys, everything passes unchecked.
//
// Threads: const after construction; any thread. Time is an argument.
// Source of codes and texts: the "Common Errors" of each API reference, S3's "Error responses", and what AWS's services answer.
#pragma once
#include <expected>
#include <map>
#include <string>

#include "base/result.hpp"
#include "edge/destination.hpp"
#include "wire/api_error.hpp"
#include "wire/sessions.hpp"

namespace snapward::edge {

using SecretKeys = std::map<std::string, std::string>;  // access key → secret

// The keys of a file: a JSON object of access keys and their secrets, all of them texts and none empty. `name` is for the message.
Result<SecretKeys> parse_keys(const std::string& text, const std::string& name);
// What temporary credentials of a server with these keys are sealed with. Who changes the keys ends all sessions.
std::string sealing_key(const SecretKeys& keys);

// What may be asked without a signature. Everything else is refused: /metrics, pages and unknown paths too.
//   GET /healthz, GET /readyz               load balancers and service managers cannot sign
//   GET /SimpleNotificationService-….pem    a subscriber fetches the certificate to check a notification with; it is public by nature
//   GET ?Action=ConfirmSubscription, GET ?Action=Unsubscribe (sns)
//                                           links in mails and notifications; the token, or the subscription's id, is what proves
bool is_anonymous_page(const wire::HttpRequest& request);
bool is_anonymous_link(const wire::Service& service, std::string_view operation, const wire::HttpRequest& request);

class Authentication {
 public:
  explicit Authentication(SecretKeys keys) : keys_(std::move(keys)), sessions_(sealing_key(keys_)) {}

  struct Now {
    Instant real;   // what signatures are dated by
    Instant cloud;  // what temporary credentials end by: the cloud's own time, which may run faster
  };
  [[nodiscard]] bool required() const { return !keys_.empty(); }
  // Checks the signature, and that the body is the one that was signed. A body in pieces (S3 only) is put together in place, also where no
  // keys are required. The error is worded as the service does.
  std::expected<void, wire::ApiError> check(wire::HttpRequest& request, const Destination& to, const Now& now) const;

 private:
  // The secret that belongs to the request's access key, or the refusal.
  [[nodiscard]] std::expected<std::string, wire::ApiError> secret_for(const wire::HttpRequest& request, const Destination& to,
                                                                      Instant now) const;
  SecretKeys keys_;
  wire::Sessions sessions_;
};

}  // namespace snapward::edge
