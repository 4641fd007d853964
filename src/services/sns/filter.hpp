// Filter policies of subscriptions: which messages a subscriber wants, by message attributes or by the message's body.
// Source: SNS Developer Guide, "Amazon SNS subscription filter policies"; error texts as recorded by AWS (2023-2025).
#pragma once
#include <expected>
#include <string>
#include <string_view>

#include "base/json.hpp"

namespace snapward::services::sns {

constexpr const char* kByAttributes = "MessageAttributes";  // the default FilterPolicyScope
constexpr const char* kByBody = "MessageBody";

// An attribute that is JSON text. The error is the parser's, as SNS shows it.
std::expected<Json, std::string> read_json(std::string_view text);

// Why a FilterPolicy cannot be used with this scope, as AWS says it behind "Invalid parameter: "; nothing when it can.
std::expected<void, std::string> check_filter(std::string_view policy, std::string_view scope);

// Whether the policy wants a message. An empty policy wants all; with kByBody a body that is not a JSON object is not wanted.
bool wants(std::string_view policy, std::string_view scope, const Json& attributes, std::string_view body);

}  // namespace snapward::services::sns
