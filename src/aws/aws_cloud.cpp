#include "aws/aws_cloud.hpp"

#include <fmt/format.h>

#include "wire/protocol.hpp"

namespace snapward::aws {

namespace {

constexpr auto kPresignedFor = std::chrono::hours(1);  // as the SDKs

bool is_global(const std::string& service) { return service == "iam"; }

// Where a service that is one for all regions is signed for.
std::string signing_region(const std::string& service, const std::string& region) {
  if (!is_global(service)) return region;
  return region.starts_with("cn-") ? "cn-north-1" : region.starts_with("us-gov-") ? "us-gov-west-1" : "us-east-1";
}

std::string host_of(const net::Url& url) {
  return url.port == (url.scheme == "https" ? "443" : "80") ? url.host : url.host + ':' + url.port;
}

Task<Result<wire::Credentials>> ready(wire::Credentials credentials) { co_return credentials; }

}  // namespace

Credentials fixed(wire::Credentials credentials) {
  return [credentials = std::move(credentials)] { return ready(credentials); };
}

std::string endpoint_of(const std::string& service, const std::string& region) {
  const char* domain = region.starts_with("cn-") ? "amazonaws.com.cn" : "amazonaws.com";
  if (!is_global(service)) return fmt::format("https://{}.{}.{}", service, region, domain);
  if (region.starts_with("cn-")) return fmt::format("https://{}.cn-north-1.{}", service, domain);
  return fmt::format("https://{}{}.{}", service, region.starts_with("us-gov-") ? ".us-gov" : "", domain);
}

std::string AwsCloud::endpoint(const std::string& service, const std::string& region) const {
  return options_.endpoint.empty() ? endpoint_of(service, region) : options_.endpoint;
}

// The same request, as a GET at the source's region: EC2 takes it there to read an encrypted snapshot with the caller's permissions.
std::string AwsCloud::presigned_copy(const wire::Service& ec2, const wire::Operation& operation, const Json& input,
                                     const wire::Credentials& who) const {
  const std::string from(input["SourceRegion"].string_or());
  const std::string at = endpoint("ec2", from);
  wire::HttpRequest request = wire::encode_request(ec2, operation, input);
  request.method = "GET";
  request.target = "/?" + request.body;
  request.body.clear();
  request.headers.list.clear();
  if (const auto url = net::Url::parse(at)) request.headers.add("Host", host_of(*url));
  wire::presign(request, who, {from, "ec2", loop_.now()}, kPresignedFor);
  return at + request.target;
}

Task<cloud::Reply> AwsCloud::call(cloud::Call call) {
  const wire::Service* service = wire::find_service(call.service);
  const wire::Operation* operation = service ? service->find(call.operation) : nullptr;
  if (!operation) co_return cloud::error("InvalidAction", fmt::format("The action {} is not valid for {}.", call.operation, call.service));
  const auto who = co_await options_.credentials();
  if (!who) co_return cloud::error(kNoCredentials, who.error().message, who.error().code == ErrorCode::unavailable ? 503 : 400);
  if (call.service == "ec2" && call.operation == "CopySnapshot" && !call.input.find("PresignedUrl")) {
    Json::Object input = call.input.as_object();
    input.set("DestinationRegion", call.region);
    input.set("PresignedUrl", presigned_copy(*service, *operation, Json(input), *who));
    call.input = std::move(input);
  }
  std::string at = endpoint(call.service, call.region);
  const auto url = net::Url::parse(at);
  if (!url) co_return cloud::error(kNoEndpoint, url.error());
  wire::HttpRequest request = wire::encode_request(*service, *operation, call.input);
  request.headers.add("Host", host_of(*url));
  wire::sign(request, *who, {signing_region(call.service, call.region), call.service, loop_.now()});
  const auto response = co_await net::ask(loop_, client_, at, std::move(request));
  if (!response) co_return cloud::error(kUnreachable, fmt::format("{} cannot be reached: {}", at, response.error()), 503);
  co_return wire::decode_reply(*service, *operation, *response);
}

}  // namespace snapward::aws
