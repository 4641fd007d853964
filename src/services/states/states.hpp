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
    bool changed = false;  // since it was created: only then does it show a revision
    Json tags = Json(Json::Array{}), logging, tracing;
    std::int64_t versions = 0;  // numbers given out so far; never twice
    std::shared_ptr<const asl::Machine> compiled;
    [[nodiscard]] Json to_row() const;
    [[nodiscard]] bool express() const { return type == "EXPRESS"; }
  };
  // A version: what a machine was when it was published. Immutable.
  struct Version {
    std::string arn, machine, revision, role_arn, description, definition;
    std::int64_t number = 0;
    Instant created;
    Json logging, tracing;
  };
  struct Alias {
    std::string arn, machine, name, description;
    Json routing;  // [{stateMachineVersionArn, weight}]
    Instant created, updated;
  };
  struct Activity {
    std::string arn, name, region;
    Instant created;
    Json tags = Json(Json::Array{});
  };
  // What a machine, version or alias ARN names, ready to start.
  struct Target {
    Machine* machine = nullptr;
    const Version* version = nullptr;
    const Alias* alias = nullptr;
    std::string test_case;  // "…#case": of the mocks
  };

  void register_machines();
  void register_executions();
  void register_versions();
  void register_activities();
  void register_map_runs();

  [[nodiscard]] std::expected<void, cloud::Error> check_role(std::string_view arn) const;
  Reply create(const Call&);
  Reply update(const Call&);
  Reply describe(const Call&);
  Reply describe_for_execution(const Call&);
  Reply list(const Call&);
  Reply remove(const Call&);
  static Reply validate(const Call&);
  Reply start(const Call&);
  Task<Reply> start_sync(Call);
  Reply stop(const Call&);
  Reply redrive(const Call&);
  Reply describe_execution(const Call&);
  Reply list_executions(const Call&);
  Reply history(const Call&);
  Task<Reply> about_a_token(Call call, Reply (States::*answer)(const Call&));
  Reply task_success(const Call&);
  Reply task_failure(const Call&);
  Reply task_heartbeat(const Call&);
  Json* tags_of(const std::string& arn, std::function<void()>& save);
  std::expected<Json*, cloud::Error> tagged(const Call&, std::function<void()>& save);
  Reply tag(const Call&);
  Reply untag(const Call&);
  Reply list_tags(const Call&);
  Task<Reply> test_state(Call);

  Reply publish(const Call&);
  Reply list_versions(const Call&);
  Reply remove_version(const Call&);
  Reply create_alias(const Call&);
  Reply update_alias(const Call&);
  Reply describe_alias(const Call&);
  Reply list_aliases(const Call&);
  Reply remove_alias(const Call&);

  Reply describe_map_run(const Call&);
  Reply list_map_runs(const Call&);
  Reply update_map_run(const Call&);

  std::expected<Machine*, cloud::Error> find(const std::string& arn);
  std::expected<Json, cloud::Error> find_execution(const std::string& arn);
  std::expected<Target, cloud::Error> target(const std::string& arn);
  const Version& publish_version(Machine& machine, const std::string& description);
  std::expected<Json, cloud::Error> check_routing(const Json& routing, std::string& machine);
  std::expected<engine::MachineVersion, cloud::Error> runnable(const Target& target);
  void store(const Machine& machine);
  void store(const Alias& alias);
  void store(const Activity& activity);
  std::shared_ptr<const asl::Machine> definition(const std::string& arn, const std::string& revision);
  void announce(const std::string& region, const Json& record);
  void log(const asl::ExecutionInfo& execution, std::int64_t redrives, const std::vector<asl::HistoryEvent>& events);  // logging.cpp
  std::expected<void, cloud::Error> check_logging(const Json& logging);

  engine::Executions& executions_;
  std::map<std::string, Machine, std::less<>> machines_;  // by ARN
  std::map<std::string, Version, std::less<>> versions_;
  std::map<std::string, Alias, std::less<>> aliases_;
  std::map<std::string, Activity, std::less<>> activities_;
};

bool is_name(std::string_view name);     // of a machine, an execution, an activity
Json without_data(const Json& details);  // a history event's, without inputs, outputs and parameters
std::unexpected<cloud::Error> bad_input(std::string message);
std::unexpected<cloud::Error> invalid_arn(std::string_view arn);  // it names nothing, or something of another kind

std::expected<Json, cloud::Error> execution_input(std::string_view text);

// What a request for a page asks for: at most `limit` things, from the one on that the last page's token named.
struct PageRequest {
  std::size_t limit = 100;
  std::string from;
};
std::expected<PageRequest, cloud::Error> page_request(const Json& input, std::size_t longest_token = 1024);

}  // namespace snapward::services::states
