// What the API model of EventBridge says of the members of a request: lengths, values, forms. Source: EventBridge API Reference, "Actions"
// and "Data Types". Pure.
#pragma once
#include <optional>

#include "cloud/cloud.hpp"

namespace snapward::services::events {

// What the members of this request break, all of it in one ValidationException, in the order of the model. Operations that are not of
// the API are let be.
std::optional<cloud::Error> breach_of_constraints(const cloud::Call& call);

// "{n} validation error(s) detected: a; b"
cloud::Error validation_error(const std::vector<std::string>& problems);

}  // namespace snapward::services::events
