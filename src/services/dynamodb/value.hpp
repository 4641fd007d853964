// DynamoDB's attribute values ({"S": …}, {"N": …}, {"M": {…}} …): checked, put in order, calculated with.
// Source: DynamoDB API Reference, "AttributeValue"; Developer Guide, "Naming rules and data types".
#pragma once
#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include "base/json.hpp"

namespace snapward::services::dynamodb {

// "S", "N", "B", "BOOL", "NULL", "M", "L", "SS", "NS", "BS"; empty when the value is none.
std::string_view type_of(const Json& value);

// The value in its canonical form (numbers without superfluous zeros, sets without an order that matters), or what is wrong with it.
std::expected<Json, std::string> checked(const Json& value);

// Text that sorts as the values of one type do (S and B by bytes, N by number).
std::string sort_key(const Json& value);

// Below, at or above zero; nothing when the types cannot be compared.
std::optional<int> compare(const Json& a, const Json& b);

std::expected<std::string, std::string> number(std::string_view text);  // canonical, 38 digits
std::expected<std::string, std::string> sum(std::string_view a, std::string_view b, bool subtract);

// Binary values as base64 and back: rows are JSON text.
Json to_row(const Json& item);
Json from_row(const Json& row);

// Whether an item may be stored that an update has put together: each value of it may be good by itself, and it nests too deep.
std::expected<void, std::string> checked_depth(const Json& item);

std::size_t size_of(const Json& item);  // in bytes, roughly as DynamoDB counts

}  // namespace snapward::services::dynamodb
