// Api: calls of an AWS API from the command line, one at a time. Keys come from AWS_ACCESS_KEY_ID and its like, as for any AWS client.
#pragma once
#include <expected>
#include <memory>
#include <string>

#include "aws/aws_cloud.hpp"
#include "base/entropy.hpp"
#include "base/json.hpp"
#include "engine/loop.hpp"
#include "net/client.hpp"

namespace snapward::cli {

class Api {
 public:
  Api(std::string endpoint, std::string service);
  // The answer, or one sentence that says what went wrong. Waits for it.
  std::expected<Json, std::string> call(const std::string& region, const std::string& operation, const Json& input);

 private:
  std::string service_;
  SystemClock clock_;
  SystemEntropy entropy_;
  engine::Loop loop_{clock_, entropy_};
  std::unique_ptr<net::Client> client_ = net::Client::create();
  aws::AwsCloud cloud_;
};

}  // namespace snapward::cli
