// Failure: how a state fails, in Amazon States Language terms.
#pragma once
#include <string>

namespace snapward::asl {

struct Failure {
  std::string error;  // "States.Timeout", "Ec2.Ec2Exception", a user's own
  std::string cause;  // text for people
  // The field whose JSONata expression failed ("Output/total"): shown by an EvaluationFailed event. Empty for all other failures.
  std::string location = {};
  // A task's heartbeat stayed away: shown as States.Timeout, as AWS records it; also caught by States.HeartbeatTimeout.
  bool heartbeat = false;
};

namespace errors {
inline constexpr const char* kAll = "States.ALL";
inline constexpr const char* kTimeout = "States.Timeout";
inline constexpr const char* kHeartbeatTimeout = "States.HeartbeatTimeout";
inline constexpr const char* kTaskFailed = "States.TaskFailed";
inline constexpr const char* kRuntime = "States.Runtime";
inline constexpr const char* kDataLimitExceeded = "States.DataLimitExceeded";
inline constexpr const char* kNoChoiceMatched = "States.NoChoiceMatched";
inline constexpr const char* kResultPathMatchFailure = "States.ResultPathMatchFailure";
inline constexpr const char* kQueryEvaluationError = "States.QueryEvaluationError";
inline constexpr const char* kItemReaderFailed = "States.ItemReaderFailed";
inline constexpr const char* kResultWriterFailed = "States.ResultWriterFailed";
inline constexpr const char* kExceedToleratedFailureThreshold = "States.ExceedToleratedFailureThreshold";
inline constexpr const char* kIntrinsicFailure = "States.IntrinsicFailure";
}  // namespace errors

}  // namespace snapward::asl
