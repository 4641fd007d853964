// Secrets Manager: secrets with their versions and staging labels, deletion with a recovery window, resource policies, random passwords.
// Source: AWS Secrets Manager API Reference.
//
// Not here: rotation, replication to other regions; KmsKeyId is kept and shown, nothing is encrypted with it.
// Tables: secretsmanager.secrets (region/name → secret). What is due for deletion goes when it is next looked at.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "services/service.hpp"

namespace snapward::services::secrets {

class Secrets final : public Service {
 public:
  explicit Secrets(Environment& env);
  void restore() override;
  [[nodiscard]] Json resource_policy(const std::string& arn) const override;

 private:
  struct Version {
    std::string id;
    Json value;  // {"SecretString": text} or {"SecretBinary": base64}
    std::vector<std::string> stages;
    Instant created;
  };
  struct Secret {
    std::string arn, name, region;
    Json description, kms_key, policy;  // null: none
    Json tags = Json(Json::Array{});
    std::vector<Version> versions;  // oldest first
    Instant created, changed;
    std::optional<Instant> deleted, gone;  // when deletion was asked for, and when it is done
    [[nodiscard]] Json to_row() const;
    static Secret from_row(const Json& row);
  };
  using Found = std::expected<Secret*, cloud::Error>;
  Found find(const Call& call);   // by name, ARN, or an ARN without its last six characters
  Found alive(const Call& call);  // and not marked for deletion
  void store(const Secret& secret);
  void expire();
  // Adds a version, or finds the one that was added with this token; what it answers with is its id.
  std::expected<std::string, cloud::Error> put(Secret& secret, const Json& input, std::vector<std::string> stages);
  static Json shown(const Secret& secret, const char* stages);

  Reply create(const Call& call);
  Reply value(const Call& call);
  Reply list(const Call& call);
  Reply remove(const Call& call);
  Reply move_stage(const Call& call);
  Reply password(const Call& call);

  std::map<std::pair<std::string, std::string>, Secret> secrets_;  // region, name
};

}  // namespace snapward::services::secrets
