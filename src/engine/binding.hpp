// Between the JSON of a state machine and an API's requests and replies, as Step Functions binds them with the SDK for Java: members have
// Pascal case whatever the API model says, bytes are base64 text, and some values are converted. Pure.
// Source: Step Functions Developer Guide, "Passing parameters to a service API" and "AWS SDK service integrations"; errors and
// conversions that the guide leaves out as AWS's users report them.
#pragma once
#include <expected>
#include <string>

#include "base/json.hpp"
#include "wire/model.hpp"

namespace snapward::engine {

struct Binding {
  // A text stands for the DynamoDB attribute value {"S": text}: the SDK for Java 1, which the optimized integration uses, has a
  // constructor for it.
  bool attribute_text = false;
};

// The API input that `parameters` mean. Members that are null are left out. Converted are: text of a boolean or a number where the API
// has one, and a JSON object or array to its text where the API has text.
// The error is one of Step Functions' sentences: "The value for the field 'Input' must be a STRING".
std::expected<Json, std::string> bind(const wire::Shape& input, const Json& parameters, Binding binding = {});

// The result that `reply` means to a state machine.
Json result_of(const wire::Shape& output, const Json& reply);

// "logGroupName" → "LogGroupName".
std::string pascal_case(std::string name);

}  // namespace snapward::engine
