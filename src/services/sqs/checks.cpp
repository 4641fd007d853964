#include "services/sqs/checks.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <set>

namespace snapward::services::sqs {

namespace {

using Good = std::expected<void, cloud::Error>;
constexpr std::size_t kMostEntries = 10, kMostAttributes = 10, kLongestId = 80, kLongestName = 256, kLongestGroup = 128;

bool is_word(std::string_view text, std::size_t longest) {
  return !text.empty() && text.size() <= longest &&
         std::ranges::all_of(text, [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_'; });
}

// #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF (SendMessage, API Reference). Surrogates are no UTF-8.
bool is_allowed_text(std::string_view text) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c < 0x20 && c != '\t' && c != '\n' && c != '\r') return false;
    if (c == 0xEF && i + 2 < text.size() && static_cast<unsigned char>(text[i + 1]) == 0xBF &&
        static_cast<unsigned char>(text[i + 2]) >= 0xBE)
      return false;  // #xFFFE and #xFFFF
  }
  return true;
}

Good check_name(std::string_view name) {
  if (name.size() > kLongestName)
    return cloud::error("InvalidParameterValue", "Message (user) attribute name must be shorter than 256 bytes");
  const std::string lowered = [&] {
    std::string out(name);
    std::ranges::transform(out, out.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return out;
  }();
  if (lowered.starts_with("aws.") || lowered.starts_with("amazon."))
    return cloud::error(
        "InvalidParameterValue",
        "You can't use message attribute names beginning with 'AWS.' or 'Amazon.'. These strings are reserved for internal use.");
  const bool fits =
      std::ranges::all_of(name, [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-' || c == '.'; });
  if (name.empty() || !fits || name.starts_with('.') || name.ends_with('.') || name.contains(".."))
    return cloud::error("InvalidParameterValue",
                        "Message (user) attribute name is invalid. It can contain the following characters: A-Z, a-z, 0-9, underscore(_), "
                        "hyphen(-), and period (.). It must not start or end with a period, and not have successive periods.");
  return {};
}

bool is_number(std::string_view text) {
  if (text.starts_with('+')) text.remove_prefix(1);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && end == text.data() + text.size();
}

Good check_attribute(const std::string& name, const Json& attribute) {
  if (auto good = check_name(name); !good) return good;
  const std::string_view type = attribute["DataType"].string_or(), basic = type.substr(0, type.find('.'));
  if (basic != "String" && basic != "Number" && basic != "Binary")
    return cloud::error("InvalidParameterValue",
                        fmt::format("The type of message (user) attribute '{}' is invalid. You must use only the following supported type "
                                    "prefixes: Binary, Number, String.",
                                    name));
  const std::string_view value = attribute[basic == "Binary" ? "BinaryValue" : "StringValue"].string_or();
  if (value.empty())
    return cloud::error("InvalidParameterValue", fmt::format("Message (user) attribute '{}' must contain a non-empty value of type '{}'.",
                                                             name, basic == "Binary" ? "Binary" : "String"));
  if (basic == "Number" && !is_number(value))
    return cloud::error("InvalidParameterValue", fmt::format("Can't cast the value of message (user) attribute '{}' to a number.", name));
  if (basic != "Binary" && !is_allowed_text(value))
    return cloud::error("InvalidParameterValue",
                        fmt::format("Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to "
                                    "#xFFFD | #x10000 to #x10FFFF (message attribute '{}')",
                                    name));
  return {};
}

Good check_id(const Json& message, const char* parameter) {
  const Json* id = message.find(parameter);
  if (!id) return {};
  const std::string_view text = id->string_or();
  const bool fits =
      !text.empty() && text.size() <= kLongestGroup && std::ranges::all_of(text, [](unsigned char c) { return std::isgraph(c); });
  if (fits) return {};
  return invalid_value(text, parameter,
                       fmt::format("{} can only include alphanumeric and punctuation characters. 1 to 128 in length.", parameter));
}

}  // namespace

std::unexpected<cloud::Error> invalid_value(std::string_view value, std::string_view parameter, std::string_view reason) {
  return cloud::error("InvalidParameterValue", fmt::format("Value {} for parameter {} is invalid. Reason: {}", value, parameter, reason));
}

Good check_batch(const Json& entries, std::string_view operation) {
  const auto& list = entries.items();
  if (list.empty())
    return cloud::error("AWS.SimpleQueueService.EmptyBatchRequest",
                        fmt::format("There should be at least one {}RequestEntry in the request.", operation));
  if (list.size() > kMostEntries)
    return cloud::error("AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
                        fmt::format("Maximum number of entries per request are {}. You have sent {}.", kMostEntries, list.size()));
  std::set<std::string_view> ids;
  for (const Json& entry : list) {
    const std::string_view id = entry["Id"].string_or();
    if (!is_word(id, kLongestId))
      return cloud::error(
          "AWS.SimpleQueueService.InvalidBatchEntryId",
          "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 letters long.");
    if (!ids.insert(id).second) return cloud::error("AWS.SimpleQueueService.BatchEntryIdsNotDistinct", fmt::format("Id {} repeated.", id));
  }
  return {};
}

Good check_message(const Json& message, std::int64_t max_bytes) {
  const std::string_view body = message["MessageBody"].string_or();
  if (body.empty()) return cloud::error("MissingParameter", "The request must contain the parameter MessageBody.");
  if (!is_allowed_text(body))
    return cloud::error("InvalidMessageContents",
                        "Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | "
                        "#x10000 to #x10FFFF");
  if (const Json& attributes = message["MessageAttributes"]; attributes.is_object()) {
    if (attributes.as_object().size() > kMostAttributes)
      return cloud::error("InvalidParameterValue", fmt::format("Number of message attributes [{}] exceeds the allowed maximum [{}].",
                                                               attributes.as_object().size(), kMostAttributes));
    for (const auto& [name, attribute] : attributes.as_object())
      if (auto good = check_attribute(name, attribute); !good) return good;
  }
  for (const char* id : {"MessageGroupId", "MessageDeduplicationId"})
    if (auto good = check_id(message, id); !good) return good;
  if (size_of_message(message) > max_bytes)
    return cloud::error("InvalidParameterValue",
                        fmt::format("One or more parameters are invalid. Reason: Message must be shorter than {} bytes.", max_bytes));
  return {};
}

std::int64_t size_of_message(const Json& message) {
  std::size_t size = message["MessageBody"].string_or().size();
  if (message["MessageAttributes"].is_object())
    for (const auto& [name, attribute] : message["MessageAttributes"].as_object())
      size += name.size() + attribute["DataType"].string_or().size() + attribute["StringValue"].string_or().size() +
              attribute["BinaryValue"].string_or().size();
  return static_cast<std::int64_t>(size);
}

Good check_number(std::string_view name, std::string_view value, std::int64_t least, std::int64_t most) {
  std::int64_t n = -1;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), n);
  if (error == std::errc{} && end == value.data() + value.size() && n >= least && n <= most) return {};
  return cloud::error("InvalidAttributeValue", fmt::format("Invalid value for the parameter {}.", name));
}

}  // namespace snapward::services::sqs
