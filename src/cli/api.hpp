// Api: calls of an AWS API from the command line, one at a time. Keys come from AWS_ACCESS_KEY_ID and its like, as for any AWS client.
#pragma once
#include <expected>
#include <memory>
#include <string>

#include "base/json.hpp"
#include "net/client.hpp"

namespace snapward::cli {

class Api {
 public:
  Api(std::string endpoint, std::string service) : endpoint_(std::move(endpoint)), service_(std::move(service)) {}
  // The answer, or one sentence that says what went wrong.
  std::expected<Json, std::string> call(const std::string& region, const std::string& operation, const Json& input);

 private:
  std::string endpoint_, service_;
  std::unique_ptr<net::Client> client_ = net::Client::create();
};

}  // namespace snapward::cli
