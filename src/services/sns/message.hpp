// What SNS checks of a request's parts; errors are worded as AWS words them (recorded 2023-2025).
#pragma once
#include <expected>
#include <string>
#include <string_view>

#include "base/arn.hpp"
#include "base/json.hpp"
#include "cloud/cloud.hpp"

namespace snapward::services::sns {

std::unexpected<cloud::Error> invalid_parameter(const std::string& what);

// The SNS resource that `text` names; `parameter` is what errors call it.
std::expected<Arn, cloud::Error> arn_in(std::string_view text, std::string_view parameter);

bool is_phone_number(std::string_view text);  // "+15551234567": E.164, single dashes allowed

// MessageAttributes of a message. `path`: where they are in the request ("messageAttributes").
std::expected<void, cloud::Error> check_attributes(const Json& attributes, std::string_view path);

// Bytes of a message that count against SNS's limit: its text and its attributes' names, types and values.
std::size_t size_of_message(std::string_view message, const Json& attributes);

}  // namespace snapward::services::sns
