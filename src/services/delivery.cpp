#include "services/delivery.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cmath>

#include "base/arn.hpp"

namespace snapward::services {

NextAttempt next_attempt(Environment& env, const Json& target, const cloud::Error& error, std::int64_t attempts, Instant first) {
  const cloud::Kind kind = cloud::kind_of(error);
  if (kind == cloud::Kind::not_found || kind == cloud::Kind::denied || kind == cloud::Kind::invalid) return {};
  const Json& policy = target["RetryPolicy"];
  if (attempts >= policy["MaximumRetryAttempts"].integer_or(kMaxDeliveryRetries)) return {.delay = {}, .exhausted = "MaximumRetryAttempts"};
  const double seconds = std::min(600.0, std::pow(2.0, static_cast<double>(attempts))) * (0.5 + 0.5 * env.loop.entropy().unit());
  const Duration delay(static_cast<std::int64_t>(seconds * 1000));
  const std::chrono::seconds age(policy["MaximumEventAgeInSeconds"].integer_or(kMaxDeliveryAgeSeconds));
  if (env.loop.now() + delay - first > age) return {.delay = {}, .exhausted = "MaximumEventAgeInSeconds"};
  return {.delay = delay};
}

void send_dead_letter(Environment& env, const Json& target, const std::string& body,
                      std::vector<std::pair<std::string, std::string>> attributes, cloud::Caller caller) {
  const auto queue = Arn::parse(target["DeadLetterConfig"]["Arn"].string_or());
  if (!queue || queue->service != "sqs") return;
  Json::Object kept;
  for (auto& [name, value] : attributes)
    kept.set(std::move(name), Json::object({{"DataType", "String"}, {"StringValue", std::move(value)}}));
  env.loop.spawn(env.cloud->call({"sqs", queue->region, "SendMessage",
                                  Json::object({{"QueueUrl", fmt::format("{}/{}/{}", env.base_url, queue->account, queue->resource)},
                                                {"MessageBody", body},
                                                {"MessageAttributes", std::move(kept)}}),
                                  std::move(caller)}),
                 [](const cloud::Reply& reply) {
                   if (!reply) spdlog::warn("a dead letter could not be queued: {}", reply.error().message);
                 });
}

}  // namespace snapward::services
