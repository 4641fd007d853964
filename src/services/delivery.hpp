// What becomes of a delivery that failed, alike for EventBridge's rules and Scheduler's schedules: when to try again, and the letter to
// the target's dead-letter queue when there is no more trying. The services keep the deliveries themselves, as rows of their own.
// Source: EventBridge User Guide, "How EventBridge retries delivering events" and "Using dead-letter queues".
#pragma once
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "services/service.hpp"

namespace snapward::services {

constexpr std::int64_t kMaxDeliveryRetries = 185;
constexpr std::int64_t kMaxDeliveryAgeSeconds = 86'400;

struct NextAttempt {
  std::optional<Duration> delay;  // absent: give up
  const char* exhausted = "";     // which limit of the RetryPolicy was reached, as EXHAUSTED_RETRY_CONDITION names it
};

// `target` with its RetryPolicy; `attempts` made again so far; `first` when the first was made. Errors that no repetition mends
// (no such resource, no permission, bad input) are given up at once. The delay doubles from one second to ten minutes, with jitter.
NextAttempt next_attempt(Environment& env, const Json& target, const cloud::Error& error, std::int64_t attempts, Instant first);

// Sends `body` to the queue of the target's DeadLetterConfig, if it has one, with `attributes` as strings. A letter that cannot be
// queued is logged.
void send_dead_letter(Environment& env, const Json& target, const std::string& body,
                      std::vector<std::pair<std::string, std::string>> attributes, cloud::Caller caller);

}  // namespace snapward::services
