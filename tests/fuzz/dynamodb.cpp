// DynamoDB's expressions: any text as each kind; what an update gives must be an item again.
#include <cstdlib>

#include "services/dynamodb/expression.hpp"
#include "services/dynamodb/value.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace snapward;
  using namespace snapward::services;
  const std::string text(reinterpret_cast<const char*>(data), size);
  static const Json item = *Json::parse(
      R"({"id":{"S":"1"},"n":{"N":"1.5"},"l":{"L":[{"S":"x"},{"N":"2"}]},"m":{"M":{"k":{"S":"v"}}},"s":{"SS":["a","b"]},"t":{"BOOL":true}})");
  static const Json input = *Json::parse(
      R"({"ExpressionAttributeNames":{"#a":"n","#b":"l"},"ExpressionAttributeValues":{":v":{"N":"1"},":s":{"S":"v"},":t":{"SS":["b"]},":l":{"L":[]}}})");
  auto with = *dynamodb::Substitutes::from(input);
  (void)dynamodb::holds("FilterExpression", text, with, item);
  (void)dynamodb::project(text, with, item);
  (void)dynamodb::key_condition(text, with, "id", "n");
  if (const auto updated = dynamodb::update(text, with, item, {"id"}))
    for (const auto& [name, value] : updated->item.as_object())
      if (!dynamodb::checked(value)) std::abort();
  if (const auto number = dynamodb::number(text))
    if (dynamodb::number(*number) != *number) std::abort();  // canonical is canonical
  return 0;
}
