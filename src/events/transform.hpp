// What a target is given: the whole event, a part of it (InputPath), a constant (Input) or a text made from it (InputTransformer).
// Source: Amazon EventBridge User Guide, "Amazon EventBridge input transformation".
#pragma once
#include <optional>
#include <string>

#include "base/json.hpp"
#include "base/time.hpp"

namespace snapward::events {

struct RuleContext {
  std::string rule_arn, rule_name;
  Instant ingested;
};

// Checks a target's Input, InputPath and InputTransformer as PutTargets does; the error is for its caller.
Result<void> check_target_input(const Json& target);

// The text delivered for this event, or nothing when an InputTransformer makes no JSON of it: AWS then delivers nothing (recorded,
// 2024). `target` has passed check_target_input.
std::optional<std::string> target_input(const Json& target, const Json& event, const RuleContext& rule);

}  // namespace snapward::events
