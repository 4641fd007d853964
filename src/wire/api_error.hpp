// ApiError: an error as an AWS API says it, in either direction.
#pragma once
#include <string>

#include "base/json.hpp"

namespace snapward::wire {

struct ApiError {
  std::string code;     // "InvalidSnapshot.NotFound", "ExecutionAlreadyExists": what SDKs branch on
  std::string message;  // AWS's wording
  int status = 400;     // HTTP
  Json fields;          // further members of a modelled error shape ({"resourceName": …}), or null
};

}  // namespace snapward::wire
