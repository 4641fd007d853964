#include "cloud/retry.hpp"

#include <algorithm>

namespace snapward::cloud {

namespace {
constexpr int kMaxAttempts = 5;
constexpr double kFirstDelayMs = 200, kMaxDelayMs = 5000;

bool harmless_twice(const Call& call) {
  const std::string& op = call.operation;
  for (const char* known : {"CreateTags", "DeleteTags", "DeleteSnapshot", "PutRule", "PutTargets"})
    if (op == known) return true;
  if (op == "StartExecution") return call.input.find("name") != nullptr;  // the name makes it one
  return op.starts_with("Describe") || op.starts_with("List") || op.starts_with("Get");
}
}  // namespace

Task<Reply> Retrying::call(Call call) {
  for (int attempt = 1;; ++attempt) {
    Call once = call;
    Reply reply = co_await inner_.call(std::move(once));
    if (reply || attempt == kMaxAttempts) co_return reply;
    const Kind kind = kind_of(reply.error());
    if (kind != Kind::throttled && !(kind == Kind::unavailable && harmless_twice(call))) co_return reply;
    const double delay = std::min(kMaxDelayMs, kFirstDelayMs * static_cast<double>(1 << attempt)) * entropy_.unit();
    co_await sleep_(Duration(static_cast<std::int64_t>(delay)));
  }
}

}  // namespace snapward::cloud
