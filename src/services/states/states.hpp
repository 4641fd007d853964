// Step Functions: the API over engine::Executions. Definitions are kept by revision, so a running execution keeps the one it started
// with. Source: Step Functions API Reference.
#pragma once
#include <map>
#include <memory>
#include <string>

#include "engine/executions.hpp"
#include "services/service.hpp"

namespace snapward::services::states {

class States final : public Service {
 public:
  States(Environment& env, engine::Executions& executions);
  void restore() override;

 private:
  struct Machine {
    std::string arn, name, region, role_arn, definition, type = "STANDARD", revision;
    Instant created, updated;
    Json tags = Json(Json::Array{}), logging, tracing;
    std::shared_ptr<const asl::Machine> compiled;
    [[nodiscard]] Json to_row() const;
  };

  Reply create(const Call&);
  Reply update(const Call&);
  Reply describe(const Call&);
  Reply describe_for_execution(const Call&);
  Reply list(const Call&);
  Reply remove(const Call&);
  static Reply validate(const Call&);
  Reply start(const Call&);
  Reply stop(const Call&);
  Reply describe_execution(const Call&);
  Reply list_executions(const Call&);
  Reply history(const Call&);
  Reply task_success(const Call&);
  Reply task_failure(const Call&);
  Reply task_heartbeat(const Call&);
  Reply tag(const Call&);
  Reply untag(const Call&);
  Reply list_tags(const Call&);

  std::expected<Machine*, cloud::Error> find(const std::string& arn);
  void store(const Machine& machine);
  std::shared_ptr<const asl::Machine> definition(const std::string& arn, const std::string& revision);
  void announce(const std::string& region, const Json& record);

  engine::Executions& executions_;
  std::map<std::string, Machine, std::less<>> machines_;  // by ARN
};

}  // namespace snapward::services::states
