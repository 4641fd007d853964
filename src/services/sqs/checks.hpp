// What SQS checks of a request's parts; errors are worded as AWS words them (recorded 2023-2026).
#pragma once
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

#include "base/json.hpp"
#include "cloud/cloud.hpp"

namespace snapward::services::sqs {

constexpr std::int64_t kMaxBytes = 1'048'576;  // of a message, and of a batch

std::unexpected<cloud::Error> invalid_value(std::string_view value, std::string_view parameter, std::string_view reason);

// The Ids and the number of a batch's entries. `operation` is named in what an empty batch is told: "SendMessageBatch".
std::expected<void, cloud::Error> check_batch(const Json& entries, std::string_view operation);

// The body, attributes and ids of a message.
std::expected<void, cloud::Error> check_message(const Json& message, std::int64_t max_bytes);

// Bytes that count against the limit: the body and the attributes' names, types and values.
std::int64_t size_of_message(const Json& message);

// A queue attribute's value: in range, when it is a number. Names are checked by the caller.
std::expected<void, cloud::Error> check_number(std::string_view name, std::string_view value, std::int64_t least, std::int64_t most);

}  // namespace snapward::services::sqs
