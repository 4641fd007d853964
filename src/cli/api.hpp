// Api: calls of an AWS API from the command line, one at a time. Keys come from AWS_ACCESS_KEY_ID and its like, as for any AWS client.
#pragma once
#include <expected>
#include <memory>
#include <optional>
#include <string>

#include "aws/aws_cloud.hpp"
#include "aws/identity.hpp"
#include "base/entropy.hpp"
#include "base/json.hpp"
#include "cloud/retry.hpp"
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

// Who asks AWS: the profile's credentials, or those that the AWS SDKs would use; AWS_ENDPOINT_URL stands for AWS.
aws::Identity::Options caller_at_aws(const std::string& profile, const std::string& region);
// Who asks a local cloud, which takes any keys.
aws::Identity::Options caller_here(const std::string& endpoint);

// An error as one sentence.
std::string said(const cloud::Error& error);

// Work over the Cloud port of its own: `work(loop, identity, cloud)` is a Task, whose outcome is waited for.
template <class Work>
auto with_cloud(const aws::Identity::Options& who, Work work) {
  SystemClock clock;
  SystemEntropy entropy;
  engine::Loop loop(clock, entropy);
  auto client = net::Client::create({.longest = std::chrono::seconds(60), .keep = net::Client::Keep::briefly});
  auto identity = std::make_unique<aws::Identity>(loop, who);
  aws::AwsCloud far(loop, *client, {.endpoint = who.endpoint, .credentials = [&identity] { return identity->get(); }});
  cloud::Retrying cloud(far, [&loop](Duration delay) { return loop.sleep(delay); }, entropy);
  auto task = work(loop, *identity, cloud);
  std::optional<decltype(task.await_resume())> out;
  loop.post([&] {
    loop.spawn(std::move(task), [&](auto outcome) {
      out = std::move(outcome);
      loop.stop();
    });
  });
  loop.run();
  client.reset();  // before the loop that its answers would come to
  identity.reset();
  return *std::move(out);
}

}  // namespace snapward::cli
