#include "services/sns/message.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace snapward::services::sns {

namespace {

std::unexpected<cloud::Error> bad_attribute(std::string message) { return cloud::error("ParameterValueInvalid", std::move(message)); }

std::expected<void, cloud::Error> check_name(std::string_view name) {
  if (name.size() > 256) return bad_attribute("Length of message attribute name must be less than 256 bytes.");
  for (const char c : name)
    if (!std::isalnum(static_cast<unsigned char>(c)) && c != '-' && c != '_' && c != '.')
      return bad_attribute(
          fmt::format("Invalid non-alphanumeric character '#x{:X}' was found in the message attribute name. Can only include "
                      "alphanumeric characters, hyphens, underscores, or dots.",
                      static_cast<unsigned char>(c)));
  if (name.starts_with('.')) return bad_attribute("Invalid message attribute name starting with character '.' was found.");
  if (name.ends_with('.')) return bad_attribute("Invalid message attribute name ending with character '.' was found.");
  if (name.contains("..")) return bad_attribute("Message attribute name can not have successive '.' character.");
  return {};
}

std::expected<void, cloud::Error> check_value(const std::string& name, const Json& attribute) {
  const std::string_view type = attribute["DataType"].string_or(), basic = type.substr(0, type.find('.'));
  if ((basic != "String" && basic != "Number" && basic != "Binary") || type.size() == basic.size() + 1)
    return bad_attribute(
        fmt::format("The message attribute '{}' has an invalid message attribute type, the set of supported type prefixes is Binary, "
                    "Number, and String.",
                    name));
  const bool binary = basic == "Binary";
  if (attribute.find(binary ? "StringValue" : "BinaryValue"))
    return bad_attribute(
        fmt::format("The message attribute '{}' with type '{}' must use field '{}'.", name, type, binary ? "Binary" : "String"));
  if (attribute[binary ? "BinaryValue" : "StringValue"].string_or().empty())
    return bad_attribute(fmt::format(
        "The message attribute '{}' must contain non-empty message attribute value for message attribute type '{}'.", name, type));
  return {};
}

}  // namespace

std::unexpected<cloud::Error> invalid_parameter(const std::string& what) {
  return cloud::error("InvalidParameter", "Invalid parameter: " + what);
}

std::expected<Arn, cloud::Error> arn_in(std::string_view text, std::string_view parameter) {
  constexpr std::ptrdiff_t kElements = 6;
  const auto elements = std::ranges::count(text, ':') + 1;
  if (elements < kElements)
    return invalid_parameter(fmt::format("{} Reason: An ARN must have at least {} elements, not {}", parameter, kElements, elements));
  const auto parsed = Arn::parse(text);
  if (!parsed || parsed->service != "sns") return invalid_parameter(std::string(parameter));
  return *parsed;
}

bool is_phone_number(std::string_view text) {
  if (!text.starts_with('+') || text.size() < 2 || text.size() > 20 || text.contains("--") || text.ends_with('-')) return false;
  return std::ranges::all_of(text.substr(1), [](char c) { return std::isdigit(static_cast<unsigned char>(c)) || c == '-'; });
}

std::expected<void, cloud::Error> check_attributes(const Json& attributes, std::string_view path) {
  if (!attributes.is_object()) return {};
  for (const auto& [name, attribute] : attributes.as_object()) {
    if (attribute["DataType"].is_null())
      return cloud::error("ValidationError",
                          fmt::format("1 validation error detected: Value null at '{}.{}.member.dataType' failed to satisfy "
                                      "constraint: Member must not be null",
                                      path, name));
    if (auto good = check_name(name); !good) return good;
    if (auto good = check_value(name, attribute); !good) return good;
  }
  return {};
}

std::size_t size_of_message(std::string_view message, const Json& attributes) {
  std::size_t size = message.size();
  if (attributes.is_object())
    for (const auto& [name, attribute] : attributes.as_object())
      size += name.size() + attribute["DataType"].string_or().size() + attribute["StringValue"].string_or().size() +
              attribute["BinaryValue"].string_or().size();
  return size;
}

}  // namespace snapward::services::sns
