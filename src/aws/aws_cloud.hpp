// AwsCloud: the Cloud port over HTTPS, at AWS itself or at whatever answers as AWS does.
//
// Calls are encoded and answers decoded by the API models, and signed with SigV4. Nothing is tried again here: put cloud::Retrying in
// front. What SDKs add for people it adds too: CopySnapshot gets its PresignedUrl, without which EC2 refuses to copy what is encrypted.
//
// Threads: the loop's, as any Cloud; the answer comes over the client's thread back to the loop. `client` should have as much patience as
// the slowest call needs (its Options::longest).
// Errors: what the service said; kUnreachable without an answer (cloud::Kind::unavailable: it may have acted); kNoEndpoint for an endpoint
// that is no URL; kNoCredentials, which is unavailable when it was the place they come from. All three are sentences.
// Source: AWS General Reference, "Service endpoints"; EC2 API Reference, CopySnapshot.
#pragma once
#include <functional>
#include <string>

#include "base/result.hpp"
#include "cloud/cloud.hpp"
#include "engine/loop.hpp"
#include "net/client.hpp"
#include "wire/model.hpp"
#include "wire/sigv4.hpp"

namespace snapward::aws {

inline constexpr const char* kUnreachable = "EndpointUnreachable";
inline constexpr const char* kNoEndpoint = "InvalidEndpoint";
inline constexpr const char* kNoCredentials = "NoCredentials";

// Asked for each call.
using Credentials = std::function<Task<Result<wire::Credentials>>()>;
Credentials fixed(wire::Credentials credentials);

// "https://ec2.us-west-2.amazonaws.com"; services that are one for all regions have one endpoint.
std::string endpoint_of(const std::string& service, const std::string& region);

class AwsCloud final : public cloud::Cloud {
 public:
  struct Options {
    std::string endpoint;  // for every service and region, as AWS_ENDPOINT_URL; empty: AWS's own
    Credentials credentials;
  };
  AwsCloud(engine::Loop& loop, net::Client& client, Options options) : loop_(loop), client_(client), options_(std::move(options)) {}
  Task<cloud::Reply> call(cloud::Call call) override;

 private:
  [[nodiscard]] std::string endpoint(const std::string& service, const std::string& region) const;
  [[nodiscard]] std::string presigned_copy(const wire::Service& ec2, const wire::Operation& operation, const Json& input,
                                           const wire::Credentials& who) const;

  engine::Loop& loop_;
  net::Client& client_;
  Options options_;
};

}  // namespace snapward::aws
