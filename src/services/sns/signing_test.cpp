#include "services/sns/signing.hpp"

#include <gtest/gtest.h>
#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "base/text.hpp"

namespace snapward::services::sns {
namespace {

// As a subscriber would, with nothing but the certificate.
bool verifies(const std::string& certificate, const std::string& text, const std::string& signature, const EVP_MD* digest) {
  BIO* pem = BIO_new_mem_buf(certificate.data(), static_cast<int>(certificate.size()));
  X509* read = PEM_read_bio_X509(pem, nullptr, nullptr, nullptr);
  const std::string bytes = base64_decode(signature).value_or("");
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  EVP_DigestVerifyInit(context, nullptr, digest, nullptr, X509_get0_pubkey(read));
  const int good = EVP_DigestVerify(context, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(),
                                    reinterpret_cast<const unsigned char*>(text.data()), text.size());
  EVP_MD_CTX_free(context);
  X509_free(read);
  BIO_free(pem);
  return good == 1;
}

Signer signer(std::uint64_t seed = 1) {
  SeededEntropy entropy(seed);
  return Signer::generate(entropy, Instant(std::chrono::milliseconds(1'700'000'000'000)));
}

TEST(SnsSigning, SubscribersVerifyBothVersionsWithTheCertificate) {
  const Signer s = signer();
  EXPECT_TRUE(verifies(s.certificate(), "text", s.sign("text", "1"), EVP_sha1()));
  EXPECT_TRUE(verifies(s.certificate(), "text", s.sign("text", "2"), EVP_sha256()));
  EXPECT_FALSE(verifies(s.certificate(), "other", s.sign("text", "2"), EVP_sha256()));
  EXPECT_FALSE(verifies(signer(2).certificate(), "text", s.sign("text", "2"), EVP_sha256()));
}

TEST(SnsSigning, KeyIsTheSameAfterARestart) {
  const Signer s = signer();
  const auto again = Signer::from_row(s.to_row());
  ASSERT_TRUE(again);
  EXPECT_EQ(again->sign("text", "1"), s.sign("text", "1"));
  EXPECT_EQ(again->certificate_path("us-west-2"), s.certificate_path("us-west-2"));
  EXPECT_FALSE(Signer::from_row(Json::object({{"key", "none"}, {"certificate", "none"}})));
}

TEST(SnsSigning, OneSeedGivesOneKey) { EXPECT_EQ(signer().certificate(), signer().certificate()); }

TEST(SnsSigning, TextToSignHasTheMembersInOrder) {
  const Json envelope = *Json::parse(R"({"Type":"Notification","MessageId":"i","TopicArn":"t","Subject":"s","Message":"m",
      "Timestamp":"2026-01-01T00:00:00.000Z","UnsubscribeURL":"u","SignatureVersion":"1"})");
  EXPECT_EQ(text_to_sign(envelope),
            "Message\nm\nMessageId\ni\nSubject\ns\nTimestamp\n2026-01-01T00:00:00.000Z\nTopicArn\nt\nType\nNotification\n");
}

TEST(SnsSigning, CertificatePathNamesItsRegion) {
  const std::string path = signer().certificate_path("eu-central-1");
  EXPECT_TRUE(is_certificate_path(path));
  EXPECT_EQ(region_of_certificate(path), "eu-central-1");
  EXPECT_EQ(region_of_certificate("/SimpleNotificationService-abc.pem"), "");
  EXPECT_FALSE(is_certificate_path("/SimpleNotificationService-abc"));
}

}  // namespace
}  // namespace snapward::services::sns
