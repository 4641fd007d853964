#include "controller/door.hpp"

#include <fmt/format.h>

#include <array>
#include <string_view>

namespace snapward::controller {

bool Door::lets(const cloud::Call& call) {
  const std::string_view operation = call.operation;
  if (call.service == "sts") return operation == "GetCallerIdentity";
  if (call.service != "states" && call.service != "events" && call.service != "logs") return false;
  for (const std::string_view looking : {"List", "Describe", "Get", "Filter", "Validate", "TestEventPattern"})
    if (operation.starts_with(looking) && operation != "GetActivityTask") return true;
  return call.service == "states" && (operation == "StartExecution" || operation == "StopExecution" || operation == "RedriveExecution");
}

Task<cloud::Reply> Door::call(cloud::Call call) {
  if (lets(call)) co_return co_await inside_.call(std::move(call));
  const std::string& s = call.service;
  const char* code = s == "ec2"                              ? "UnauthorizedOperation"
                     : s == "sns"                            ? "AuthorizationError"
                     : s == "iam" || s == "sts" || s == "s3" ? "AccessDenied"
                                                             : "AccessDeniedException";
  co_return cloud::error(
      code,
      fmt::format("{}:{} is not for a controller's port: executions, rules and logs can be looked at here, executions started, "
                  "stopped and redriven; everything else is at AWS.",
                  s, call.operation),
      403);
}

}  // namespace snapward::controller
