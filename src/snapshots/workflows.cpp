#include "snapshots/workflows.hpp"

#include <fmt/format.h>

extern "C" {
extern const char snapward_workflow_primary[], snapward_workflow_primary_end[];
extern const char snapward_workflow_dr[], snapward_workflow_dr_end[];
extern const char snapward_workflow_reconcile[], snapward_workflow_reconcile_end[];
}

namespace snapward::snapshots {

namespace {

constexpr const char* kMachine = "SnapshotManagement";
constexpr const char* kReconciler = "SnapshotReconcile";
constexpr const char* kTopic = "SnapshotMgmtTopic";
constexpr const char* kRule = "EBS_Snapshot_Mgmt";
constexpr const char* kRole = "SnapshotManagementRole";

using Answer = std::expected<Json, cloud::Error>;

Task<Answer> put_machine(cloud::Cloud& cloud, std::string region, std::string arn, std::string name, std::string role,
                         std::string definition) {
  Json create = Json::object({{"name", name}, {"definition", definition}, {"roleArn", role}});
  Answer made = co_await cloud.call({"states", region, "CreateStateMachine", std::move(create)});
  if (made || made.error().code != "StateMachineAlreadyExists") co_return made;
  Json update = Json::object({{"stateMachineArn", arn}, {"definition", definition}, {"roleArn", role}});
  co_return co_await cloud.call({"states", region, "UpdateStateMachine", std::move(update)});
}

Task<Answer> put_rule(cloud::Cloud& cloud, std::string region, Json rule, std::string machine, std::string role) {
  const std::string name(rule["Name"].string_or());
  Answer made = co_await cloud.call({"events", region, "PutRule", std::move(rule)});
  if (!made) co_return made;
  Json targets = Json::object(
      {{"Rule", name}, {"Targets", Json::array({Json::object({{"Id", "StateMachine"}, {"Arn", machine}, {"RoleArn", role}})})}});
  co_return co_await cloud.call({"events", region, "PutTargets", std::move(targets)});
}

Task<std::expected<DeployedRegion, cloud::Error>> deploy_region(cloud::Cloud& cloud, std::string account, Settings settings, bool primary) {
  const std::string region = primary ? settings.primary_region : settings.dr_region;
  DeployedRegion out{.region = region,
                     .topic_arn = {},
                     .machine_arn = fmt::format("arn:aws:states:{}:{}:stateMachine:{}", region, account, kMachine),
                     .reconcile_arn = fmt::format("arn:aws:states:{}:{}:stateMachine:{}", region, account, kReconciler)};
  const std::string role = fmt::format("arn:aws:iam::{}:role/{}", account, kRole);
  Json topic_request = Json::object({{"Name", kTopic}});
  const Answer topic = co_await cloud.call({"sns", region, "CreateTopic", std::move(topic_request)});
  if (!topic) co_return std::unexpected(topic.error());
  out.topic_arn = (*topic)["TopicArn"].string_or();

  std::map<std::string, std::string, std::less<>> values{
      {"TagKeyValue", settings.tag},
      {"DRRegion", settings.dr_region},
      {"Retention", std::to_string(primary ? settings.retention : settings.dr_retention)},
      {"TopicArn", out.topic_arn},
      {"Region", region},
      {"Side", primary ? "primary" : "dr"},
      {"ManageSince", settings.since},
      {"StateMachineArn", out.machine_arn}};
  for (const auto& [placeholder, function] :
       {std::pair{"TagSnapshotFunctionArn", "snapward-tag-snapshot"}, std::pair{"CopySnapshotFunctionArn", "snapward-copy-snapshot"},
        std::pair{"CheckCopyFunctionArn", "snapward-check-copy"}, std::pair{"PruneSnapshotsFunctionArn", "snapward-prune-snapshots"},
        std::pair{"TagCopyFunctionArn", "snapward-tag-copy"}, std::pair{"NotifyFunctionArn", "snapward-notify"},
        std::pair{"ReconcileFunctionArn", "snapward-reconcile"}})
    values[placeholder] = fmt::format("arn:aws:lambda:{}:{}:function:{}", region, account, function);

  std::string definition = substitute(workflow_text(primary ? "primary" : "dr"), values);
  const Answer machine = co_await put_machine(cloud, region, out.machine_arn, kMachine, role, std::move(definition));
  if (!machine) co_return std::unexpected(machine.error());
  definition = substitute(workflow_text("reconcile"), values);
  const Answer reconciler = co_await put_machine(cloud, region, out.reconcile_arn, kReconciler, role, std::move(definition));
  if (!reconciler) co_return std::unexpected(reconciler.error());

  Json rule = Json::object({{"Name", kRule},
                            {"EventPattern", over_pattern(primary ? kSnapshotOver : kCopyOver)},
                            {"State", "ENABLED"},
                            {"Description", "Starts snapshot management when a snapshot or a copy is over"}});
  const Answer put = co_await put_rule(cloud, region, std::move(rule), out.machine_arn, role);
  if (!put) co_return std::unexpected(put.error());
  Json hourly = Json::object({{"Name", kReconcileRule},
                              {"ScheduleExpression", "rate(1 hour)"},
                              {"State", "ENABLED"},
                              {"Description", "Finds snapshots that no event announced"}});
  const Answer scheduled = co_await put_rule(cloud, region, std::move(hourly), out.reconcile_arn, role);
  if (!scheduled) co_return std::unexpected(scheduled.error());
  co_return out;
}

}  // namespace

std::string_view workflow_text(std::string_view name) {
  const auto between = [](const char* from, const char* to) { return std::string_view(from, static_cast<std::size_t>(to - from)); };
  if (name == "primary") return between(snapward_workflow_primary, snapward_workflow_primary_end);
  if (name == "dr") return between(snapward_workflow_dr, snapward_workflow_dr_end);
  if (name == "reconcile") return between(snapward_workflow_reconcile, snapward_workflow_reconcile_end);
  return {};
}

std::string over_pattern(std::string_view event) {
  return Json::object({{"source", Json::array({"aws.ec2"})},
                       {"detail-type", Json::array({"EBS Snapshot Notification"})},
                       {"detail", Json::object({{"event", Json::array({event})}})}})
      .dump();
}

std::string substitute(std::string_view text, const std::map<std::string, std::string, std::less<>>& values) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const std::size_t close = text.substr(i).starts_with("${") ? text.find('}', i) : std::string_view::npos;
    const auto value = close == std::string_view::npos ? values.end() : values.find(text.substr(i + 2, close - i - 2));
    if (value == values.end()) {
      out.push_back(text[i]);
    } else {
      out += value->second;
      i = close;
    }
  }
  return out;
}

Task<std::expected<Deployment, cloud::Error>> deploy(cloud::Cloud& cloud, std::string account, Settings settings) {
  const std::string trust =
      R"({"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":["states.amazonaws.com","events.amazonaws.com"]},"Action":"sts:AssumeRole"}]})";
  Json role = Json::object({{"RoleName", kRole},
                            {"AssumeRolePolicyDocument", trust},
                            {"Description", "Lets rules start the snapshot workflows, and these call their tasks"}});
  const Answer made = co_await cloud.call({"iam", settings.primary_region, "CreateRole", std::move(role)});
  if (!made && made.error().code != "EntityAlreadyExists") co_return std::unexpected(made.error());
  // No more than the workflows do: rules start them, they call their own functions.
  const auto allow = [](const char* action, std::string resource) {
    return Json::object({{"Effect", "Allow"}, {"Action", action}, {"Resource", std::move(resource)}});
  };
  const Json may = Json::object(
      {{"Version", "2012-10-17"},
       {"Statement",
        Json::array({allow("lambda:InvokeFunction", fmt::format("arn:aws:lambda:*:{}:function:snapward-*", account)),
                     allow("states:StartExecution", fmt::format("arn:aws:states:*:{}:stateMachine:{}", account, kMachine)),
                     allow("states:StartExecution", fmt::format("arn:aws:states:*:{}:stateMachine:{}", account, kReconciler))})}});
  Json policy = Json::object({{"RoleName", kRole}, {"PolicyName", "workflows"}, {"PolicyDocument", may.dump()}});
  const Answer granted = co_await cloud.call({"iam", settings.primary_region, "PutRolePolicy", std::move(policy)});
  if (!granted) co_return std::unexpected(granted.error());
  Deployment out;
  auto primary = co_await deploy_region(cloud, account, settings, true);
  if (!primary) co_return std::unexpected(primary.error());
  out.primary = *std::move(primary);
  if (!settings.dr_region.empty()) {
    auto dr = co_await deploy_region(cloud, account, settings, false);
    if (!dr) co_return std::unexpected(dr.error());
    out.dr = *std::move(dr);
  }
  co_return out;
}

}  // namespace snapward::snapshots
