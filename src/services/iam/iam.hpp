// IAM, enough to hold roles and their policies. Nothing is enforced: the local cloud trusts its clients.
#pragma once
#include <map>
#include <string>

#include "services/service.hpp"

namespace snapward::services::iam {

class Iam final : public Service {
 public:
  explicit Iam(Environment& env);
  void restore() override;

 private:
  struct Role {
    Json json;  // as GetRole gives it
    std::map<std::string, std::string> policies;
    Json attached = Json(Json::Array{});
  };
  std::expected<Role*, cloud::Error> find(const Call&);
  void store(const std::string& name, const Role& role);

  std::map<std::string, Role, std::less<>> roles_;
};

}  // namespace snapward::services::iam
