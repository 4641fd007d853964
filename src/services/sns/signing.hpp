// Signatures of notifications, so that subscribers can check that a message came from this server: RSA, with SHA-1 (version 1) or SHA-256
// (version 2), and the X.509 certificate to check them with.
// Source: SNS Developer Guide, "Verifying the signatures of Amazon SNS messages".
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/entropy.hpp"
#include "base/json.hpp"
#include "base/time.hpp"

namespace snapward::services::sns {

// What is signed of an envelope: its members as SNS sends them ("Message", "MessageId", …), in the guide's order.
std::string text_to_sign(const Json& envelope);

class Signer {
 public:
  // A new 2048-bit key and a certificate for sns.amazonaws.com, valid for ten years from `now`. Takes about a tenth of a second.
  static Signer generate(Entropy& entropy, Instant now);
  // As to_row() wrote it; nothing when that is not a key and a certificate.
  static std::optional<Signer> from_row(const Json& row);
  [[nodiscard]] Json to_row() const;

  // In base64. `version` is a topic's SignatureVersion: "2", else 1. Remembers the last one: all subscribers of a topic get the same.
  [[nodiscard]] std::string sign(const std::string& text, std::string_view version) const;
  [[nodiscard]] const std::string& certificate() const { return certificate_; }
  // The certificate's path on the server: "/SimpleNotificationService-<hex>.pem". The hex begins with the region, so that a node of
  // several knows whose it is.
  [[nodiscard]] std::string certificate_path(std::string_view region) const;

 private:
  Signer(std::string key, std::string certificate);

  struct Remembered {
    std::string text, version, signature;
  };
  std::string key_, certificate_, digest_;  // PEM, PEM, hex
  std::shared_ptr<void> parsed_;            // the key as the library has it
  mutable Remembered last_;
};

// Whether a request's path may be a certificate's, and the region that it names; empty when it names none.
bool is_certificate_path(std::string_view path);
std::string region_of_certificate(std::string_view path);

}  // namespace snapward::services::sns
