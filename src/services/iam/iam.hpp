// IAM: roles and their policies. They are kept and shown; who calls whom by them is judged with --enforce-iam (services/permissions.hpp).
// Clients themselves are trusted.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "services/iam/policy.hpp"
#include "services/service.hpp"

namespace snapward::services::iam {

class Iam final : public Service {
 public:
  explicit Iam(Environment& env);
  void restore() override;

  // Whether a service may take the role, and what the role's policies say.
  [[nodiscard]] bool trusts(const std::string& role_arn, const std::string& service) const;
  [[nodiscard]] Verdict allows(const std::string& role_arn, const Request& request) const;

 private:
  struct Role {
    Json json;  // as GetRole gives it
    std::map<std::string, std::string> policies;
    Json attached = Json(Json::Array{});
  };
  struct Policy {
    Json json;                                                  // as GetPolicy gives it
    std::vector<std::pair<std::string, std::string>> versions;  // id → document, oldest first; the last made default is named in json
  };
  void register_policies();
  [[nodiscard]] const Role* by_arn(const std::string& arn) const;
  std::expected<Role*, cloud::Error> find(const Call&);
  std::expected<Policy*, cloud::Error> find_policy(const Call&);
  void store(const std::string& name, const Role& role);
  void store_policy(const Policy& policy);

  std::map<std::string, Role, std::less<>> roles_;
  std::map<std::string, Policy, std::less<>> policies_;  // customer managed, by ARN
};

}  // namespace snapward::services::iam
