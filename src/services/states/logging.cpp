// A state machine's logs in CloudWatch Logs. Source: Step Functions Developer Guide, "Using CloudWatch Logs to log execution history".
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/arn.hpp"
#include "base/text.hpp"
#include "services/states/states.hpp"

namespace snapward::services::states {

namespace {

// What is logged at level ERROR, and what of it at level FATAL.
constexpr std::array<std::string_view, 25> kErrors = {"ActivityFailed",
                                                      "ActivityScheduleFailed",
                                                      "ActivityTimedOut",
                                                      "EvaluationFailed",
                                                      "ExecutionAborted",
                                                      "ExecutionFailed",
                                                      "ExecutionTimedOut",
                                                      "FailStateEntered",
                                                      "LambdaFunctionFailed",
                                                      "LambdaFunctionScheduleFailed",
                                                      "LambdaFunctionStartFailed",
                                                      "LambdaFunctionTimedOut",
                                                      "MapIterationAborted",
                                                      "MapIterationFailed",
                                                      "MapRunAborted",
                                                      "MapRunFailed",
                                                      "MapStateAborted",
                                                      "MapStateFailed",
                                                      "ParallelStateAborted",
                                                      "ParallelStateFailed",
                                                      "TaskFailed",
                                                      "TaskStartFailed",
                                                      "TaskStateAborted",
                                                      "TaskSubmitFailed",
                                                      "TaskTimedOut"};
constexpr std::array<std::string_view, 3> kFatal = {"ExecutionAborted", "ExecutionFailed", "ExecutionTimedOut"};

bool is_logged(std::string_view level, std::string_view type) {
  if (level == "ALL") return true;
  if (level == "ERROR") return std::ranges::find(kErrors, type) != kErrors.end();
  return level == "FATAL" && std::ranges::find(kFatal, type) != kFatal.end();
}

Arn group_of(const Json& logging) {
  const auto& destinations = logging["destinations"].items();
  const auto arn = destinations.empty() ? std::nullopt : Arn::parse(destinations[0]["cloudWatchLogsLogGroup"]["logGroupArn"].string_or());
  return arn.value_or(Arn{});
}

}  // namespace

std::expected<void, cloud::Error> States::check_logging(const Json& logging) {
  if (!logging.is_object()) return {};
  const std::string_view level = logging["level"].string_or("OFF");
  if (level != "OFF" && level != "ALL" && level != "ERROR" && level != "FATAL")
    return bad_input(fmt::format(
        "1 validation error detected: Value '{}' at 'loggingConfiguration.level' failed to satisfy constraint: Member must satisfy "
        "enum value set: [ALL, ERROR, FATAL, OFF]",
        level));
  const auto& destinations = logging["destinations"].items();
  if (destinations.size() > 1 || (level != "OFF" && destinations.empty()))
    return cloud::error("InvalidLoggingConfiguration", "Invalid Logging Configuration: Must specify exactly one Log Destination.");
  if (destinations.empty()) return {};
  const Arn group = group_of(logging);
  if (log_group_name(group).empty())
    return cloud::error("InvalidLoggingConfiguration",
                        "Invalid Logging Configuration: Log Destination is not a CloudWatch Logs log group.");
  // As AWS does, to see that it may: a stream of its own, with one line.
  if (!env_.log(group.region, log_group_name(group), "log_stream_created_by_aws_to_validate_log_delivery_subscriptions",
                "Permissions are set correctly to allow AWS CloudWatch Logs to write into your logs while creating a subscription."))
    return cloud::error("InvalidLoggingConfiguration", "Invalid Logging Configuration: Log Destination not found.");
  return {};
}

Json without_data(const Json& details) {
  Json::Object out;
  for (const auto& [field, item] : details.as_object())
    if (field != "input" && field != "output" && field != "parameters" && field != "inputDetails" && field != "outputDetails")
      out.set(field, item);
  return Json(std::move(out));
}

void States::log(const asl::ExecutionInfo& execution, std::int64_t redrives, const std::vector<asl::HistoryEvent>& events) {
  const auto machine = machines_.find(execution.machine_arn);
  if (machine == machines_.end()) return;
  const auto version = execution.version_arn.empty() ? versions_.end() : versions_.find(execution.version_arn);
  const Json& logging = version != versions_.end() ? version->second.logging : machine->second.logging;
  const std::string_view level = logging["level"].string_or("OFF");
  if (std::ranges::none_of(events, [level](const asl::HistoryEvent& e) { return is_logged(level, e.type); })) return;
  const Arn destination = group_of(logging);
  const std::string group = log_group_name(destination);
  const bool data = logging["includeExecutionData"].bool_or(false);
  // "states/NAME/2026-11-24-16-05/1a2b3c4d"
  std::string minute = iso_millis(execution.started).substr(0, 16);
  std::ranges::replace_if(minute, [](char c) { return c == 'T' || c == ':'; }, '-');
  const std::string stream = fmt::format("states/{}/{}/{}", execution.machine_name, minute, hex_encode(sha256(execution.arn)).substr(0, 8));
  const auto stored = Json::parse(asl::stored_events(events));
  for (const Json& event : asl::api_events(*stored)) {
    if (!is_logged(level, event["type"].string_or())) continue;
    Json details = Json(Json::Object{});
    for (const auto& [key, value] : event.as_object())
      if (value.is_object()) details = data ? value : without_data(value);
    const auto at = parse_iso(event["timestamp"].string_or());
    const Json line = Json::object({{"id", std::to_string(event["id"].integer_or(0))},
                                    {"type", event["type"]},
                                    {"details", std::move(details)},
                                    {"redrive_count", std::to_string(redrives)},
                                    {"previous_event_id", std::to_string(event["previousEventId"].integer_or(0))},
                                    {"event_timestamp", std::to_string(at.value_or(execution.started).time_since_epoch().count())},
                                    {"execution_arn", execution.arn}});
    env_.log(destination.region, group, stream, line.dump());
  }
}

}  // namespace snapward::services::states
