#include "services/sts/sts.hpp"

#include <fmt/format.h>

#include "base/arn.hpp"

namespace snapward::services::sts {

Json Sts::credentials(const std::string& principal, std::chrono::seconds lifetime) {
  const Instant until = env_.loop.now() + lifetime;
  const wire::Credentials c = sessions_.issue("ASIA" + upper(env_.loop.entropy().hex(16)), principal, until);
  return Json::object({{"AccessKeyId", c.access_key},
                       {"SecretAccessKey", c.secret_key},
                       {"SessionToken", c.session_token},
                       {"Expiration", iso_millis(until)}});
}

Sts::Sts(Environment& env, wire::Sessions sessions) : Service("sts", env), sessions_(std::move(sessions)) {
  on("GetCallerIdentity", [this](const Call&) -> Reply {
    return Json::object({{"UserId", env_.account}, {"Account", env_.account}, {"Arn", fmt::format("arn:aws:iam::{}:root", env_.account)}});
  });
  on("AssumeRole", [this](const Call& call) -> Reply {
    const auto role = Arn::parse(call.input["RoleArn"].string_or());
    if (!role || !role->resource_id("role"))
      return cloud::error("ValidationError", fmt::format("{} is invalid", call.input["RoleArn"].string_or()));
    const std::int64_t seconds = call.input["DurationSeconds"].integer_or(3600);
    if (seconds < 900 || seconds > 43'200)
      return cloud::error("ValidationError", fmt::format("1 validation error detected: Value '{}' at 'durationSeconds' failed to satisfy "
                                                         "constraint: Member must have value {} than or equal to {}",
                                                         seconds, seconds < 900 ? "greater" : "less", seconds < 900 ? 900 : 43'200));
    std::string name = *role->resource_id("role");
    name = name.substr(name.rfind('/') == std::string::npos ? 0 : name.rfind('/') + 1);
    const std::string session(call.input["RoleSessionName"].string_or());
    const std::string arn = fmt::format("arn:aws:sts::{}:assumed-role/{}/{}", env_.account, name, session);
    Json given = credentials(arn, std::chrono::seconds(seconds));
    return Json::object(
        {{"Credentials", std::move(given)},
         {"AssumedRoleUser",
          Json::object({{"AssumedRoleId", fmt::format("AROA{}:{}", env_.loop.entropy().hex(16), session)}, {"Arn", arn}})}});
  });
  on("GetSessionToken", [this](const Call& call) -> Reply {
    const std::int64_t seconds = call.input["DurationSeconds"].integer_or(43'200);
    if (seconds < 900 || seconds > 129'600)
      return cloud::error("ValidationError", fmt::format("1 validation error detected: Value '{}' at 'durationSeconds' failed to satisfy "
                                                         "constraint: Member must have value {} than or equal to {}",
                                                         seconds, seconds < 900 ? "greater" : "less", seconds < 900 ? 900 : 129'600));
    return Json::object({{"Credentials", credentials(fmt::format("arn:aws:iam::{}:root", env_.account), std::chrono::seconds(seconds))}});
  });
}

}  // namespace snapward::services::sts
