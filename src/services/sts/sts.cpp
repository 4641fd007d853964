#include "services/sts/sts.hpp"

#include <fmt/format.h>

#include "base/arn.hpp"

namespace snapward::services::sts {

Sts::Sts(Environment& env) : Service("sts", env) {
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
                                                         "constraint: Member must have value less than or equal to 43200",
                                                         seconds));
    std::string name = *role->resource_id("role");
    name = name.substr(name.rfind('/') == std::string::npos ? 0 : name.rfind('/') + 1);
    Entropy& e = env_.loop.entropy();
    const std::string session(call.input["RoleSessionName"].string_or());
    return Json::object(
        {{"Credentials", Json::object({{"AccessKeyId", "ASIA" + e.hex(16)},
                                       {"SecretAccessKey", e.hex(40)},
                                       {"SessionToken", e.hex(64)},
                                       {"Expiration", iso_millis(env_.loop.now() + std::chrono::seconds(seconds))}})},
         {"AssumedRoleUser", Json::object({{"AssumedRoleId", fmt::format("AROA{}:{}", e.hex(16), session)},
                                           {"Arn", fmt::format("arn:aws:sts::{}:assumed-role/{}/{}", env_.account, name, session)}})}});
  });
}

}  // namespace snapward::services::sts
