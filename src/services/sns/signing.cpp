#include "services/sns/signing.hpp"

#include <fmt/format.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <cassert>
#include <vector>

#include "base/text.hpp"

namespace snapward::services::sns {

namespace {

constexpr std::string_view kPrefix = "/SimpleNotificationService-", kSuffix = ".pem";
constexpr std::size_t kDigestDigits = 32;
constexpr int kKeyBits = 2048;

template <class T, void (*Free)(T*)>
struct Freed {
  void operator()(T* it) const { Free(it); }
};
using Key = std::unique_ptr<EVP_PKEY, Freed<EVP_PKEY, EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Freed<X509, X509_free>>;
using DigestContext = std::unique_ptr<EVP_MD_CTX, Freed<EVP_MD_CTX, EVP_MD_CTX_free>>;
using Memory = std::unique_ptr<BIO, Freed<BIO, BIO_free_all>>;

std::string text_of(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return {data, static_cast<std::size_t>(size)};
}

Certificate self_signed(EVP_PKEY* key, Instant now) {
  constexpr long kTenYears = 10L * 365 * 24 * 3600;
  Certificate certificate(X509_new());
  const auto from = std::chrono::floor<std::chrono::seconds>(now).time_since_epoch().count();
  X509_set_version(certificate.get(), X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), 1);
  ASN1_TIME_set(X509_getm_notBefore(certificate.get()), from);
  ASN1_TIME_set(X509_getm_notAfter(certificate.get()), from + kTenYears);
  X509_NAME* name = X509_get_subject_name(certificate.get());
  const std::string host = "sns.amazonaws.com";
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>(host.data()), static_cast<int>(host.size()),
                             -1, 0);
  X509_set_issuer_name(certificate.get(), name);
  X509_set_pubkey(certificate.get(), key);
  [[maybe_unused]] const int size = X509_sign(certificate.get(), key, EVP_sha256());
  assert(size > 0);
  return certificate;
}

}  // namespace

std::string text_to_sign(const Json& envelope) {
  std::string out;
  for (const char* name : {"Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"})
    if (const Json* value = envelope.find(name); value && value->is_string()) out += fmt::format("{}\n{}\n", name, value->as_string());
  return out;
}

Signer::Signer(std::string key, std::string certificate)
    : key_(std::move(key)), certificate_(std::move(certificate)), digest_(hex_encode(sha256(certificate_)).substr(0, kDigestDigits)) {
  const Memory pem(BIO_new_mem_buf(key_.data(), static_cast<int>(key_.size())));
  parsed_ = std::shared_ptr<void>(PEM_read_bio_PrivateKey(pem.get(), nullptr, nullptr, nullptr),
                                  [](void* it) { EVP_PKEY_free(static_cast<EVP_PKEY*>(it)); });
}

Signer Signer::generate(Instant now) {
  const Key key(EVP_RSA_gen(kKeyBits));
  assert(key);
  const Certificate certificate = self_signed(key.get(), now);
  const Memory key_pem(BIO_new(BIO_s_mem())), certificate_pem(BIO_new(BIO_s_mem()));
  PEM_write_bio_PrivateKey(key_pem.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  PEM_write_bio_X509(certificate_pem.get(), certificate.get());
  return {text_of(key_pem.get()), text_of(certificate_pem.get())};
}

std::optional<Signer> Signer::from_row(const Json& row) {
  Signer signer{std::string(row["key"].string_or()), std::string(row["certificate"].string_or())};
  if (!signer.parsed_ || signer.certificate_.empty()) return std::nullopt;
  return signer;
}

Json Signer::to_row() const { return Json::object({{"key", key_}, {"certificate", certificate_}}); }

std::string Signer::sign(const std::string& text, std::string_view version) const {
  if (last_.text == text && last_.version == version) return last_.signature;
  const DigestContext context(EVP_MD_CTX_new());
  EVP_DigestSignInit(context.get(), nullptr, version == "2" ? EVP_sha256() : EVP_sha1(), nullptr, static_cast<EVP_PKEY*>(parsed_.get()));
  std::vector<unsigned char> signature(kKeyBits / 8);
  std::size_t size = signature.size();
  [[maybe_unused]] const int done =
      EVP_DigestSign(context.get(), signature.data(), &size, reinterpret_cast<const unsigned char*>(text.data()), text.size());
  assert(done == 1);
  last_ = {text, std::string(version), base64_encode({reinterpret_cast<const char*>(signature.data()), size})};
  return last_.signature;
}

std::string Signer::certificate_path(std::string_view region) const {
  return fmt::format("{}{}{}{}", kPrefix, hex_encode(region), digest_, kSuffix);
}

bool is_certificate_path(std::string_view path) { return path.starts_with(kPrefix) && path.ends_with(kSuffix); }

std::string region_of_certificate(std::string_view path) {
  if (!is_certificate_path(path)) return {};
  path.remove_prefix(kPrefix.size());
  path.remove_suffix(kSuffix.size());
  if (path.size() <= kDigestDigits) return {};
  std::string region;
  const std::string_view digits = path.substr(0, path.size() - kDigestDigits);
  for (std::size_t i = 0; i + 1 < digits.size(); i += 2) {
    const auto digit = [](char c) { return c >= 'a' ? c - 'a' + 10 : c - '0'; };
    region.push_back(static_cast<char>(digit(digits[i]) * 16 + digit(digits[i + 1])));
  }
  return region;
}

}  // namespace snapward::services::sns
