#include "services/sns/signing.hpp"

#include <fmt/format.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
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

using Number = std::unique_ptr<BIGNUM, Freed<BIGNUM, BN_clear_free>>;
using NumberContext = std::unique_ptr<BN_CTX, Freed<BN_CTX, BN_CTX_free>>;
using Builder = std::unique_ptr<OSSL_PARAM_BLD, Freed<OSSL_PARAM_BLD, OSSL_PARAM_BLD_free>>;
using Parameters = std::unique_ptr<OSSL_PARAM, Freed<OSSL_PARAM, OSSL_PARAM_free>>;
using KeyContext = std::unique_ptr<EVP_PKEY_CTX, Freed<EVP_PKEY_CTX, EVP_PKEY_CTX_free>>;

constexpr unsigned long kExponent = RSA_F4;

// A prime of half the key's bits that an RSA key can be made of: the first one from a random number on.
Number prime(Entropy& entropy, BN_CTX* context) {
  BIGNUM* read = nullptr;
  BN_hex2bn(&read, entropy.hex(kKeyBits / 8).c_str());
  Number p(read);
  for (int top = 1; top <= 2; ++top) BN_set_bit(p.get(), kKeyBits / 2 - top);  // so that the product has all the key's bits
  BN_set_bit(p.get(), 0);
  while (BN_mod_word(p.get(), kExponent) == 1 || BN_check_prime(p.get(), context, nullptr) != 1) BN_add_word(p.get(), 2);
  return p;
}

// The library's own generation would draw from the system; all that is random comes from the Entropy, so that a simulation repeats.
Key rsa_key(Entropy& entropy) {
  const NumberContext context(BN_CTX_secure_new());
  const Number p = prime(entropy, context.get()), q = prime(entropy, context.get());
  const Number n(BN_new()), d(BN_new()), e(BN_new()), p1(BN_dup(p.get())), q1(BN_dup(q.get())), phi(BN_new());
  BN_sub_word(p1.get(), 1);
  BN_sub_word(q1.get(), 1);
  BN_set_word(e.get(), kExponent);
  BN_mul(n.get(), p.get(), q.get(), context.get());
  BN_mul(phi.get(), p1.get(), q1.get(), context.get());
  BN_mod_inverse(d.get(), e.get(), phi.get(), context.get());
  const Number d_p(BN_new()), d_q(BN_new()), q_inverse(BN_new());
  BN_mod(d_p.get(), d.get(), p1.get(), context.get());
  BN_mod(d_q.get(), d.get(), q1.get(), context.get());
  BN_mod_inverse(q_inverse.get(), q.get(), p.get(), context.get());
  const Builder builder(OSSL_PARAM_BLD_new());
  const std::pair<const char*, const Number*> members[] = {
      {OSSL_PKEY_PARAM_RSA_N, &n},           {OSSL_PKEY_PARAM_RSA_E, &e},
      {OSSL_PKEY_PARAM_RSA_D, &d},           {OSSL_PKEY_PARAM_RSA_FACTOR1, &p},
      {OSSL_PKEY_PARAM_RSA_FACTOR2, &q},     {OSSL_PKEY_PARAM_RSA_EXPONENT1, &d_p},
      {OSSL_PKEY_PARAM_RSA_EXPONENT2, &d_q}, {OSSL_PKEY_PARAM_RSA_COEFFICIENT1, &q_inverse}};
  for (const auto& [name, number] : members) OSSL_PARAM_BLD_push_BN(builder.get(), name, number->get());
  const Parameters parameters(OSSL_PARAM_BLD_to_param(builder.get()));
  const KeyContext from(EVP_PKEY_CTX_new_from_name(nullptr, "RSA", nullptr));
  EVP_PKEY* key = nullptr;
  EVP_PKEY_fromdata_init(from.get());
  EVP_PKEY_fromdata(from.get(), &key, EVP_PKEY_KEYPAIR, parameters.get());
  return Key(key);
}

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

Signer Signer::generate(Entropy& entropy, Instant now) {
  const Key key = rsa_key(entropy);
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
