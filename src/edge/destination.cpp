#include "edge/destination.hpp"

#include "base/arn.hpp"
#include "services/sns/signing.hpp"

namespace snapward::edge {

namespace {

// Unsigned requests: by target, or by the Action of a link (confirming a subscription needs no signature).
Destination unsigned_destination(const wire::HttpRequest& request, const std::string& default_region) {
  const std::string_view target = request.headers.get("x-amz-target");
  if (!target.empty()) return {wire::find_service_by_target(target.substr(0, target.find('.'))), default_region, {}};
  std::string action, arn;
  for (const auto& [name, value] : wire::parse_query(request.query())) {
    if (name == "Action") action = value;
    if (name == "TopicArn" || name == "SubscriptionArn") arn = value;
  }
  if (request.method == "POST")
    for (const auto& [name, value] : wire::parse_query(request.body))
      if (name == "Action") action = value;
  if (std::string region = services::sns::region_of_certificate(request.path()); !region.empty())
    return {wire::find_service("sns"), std::move(region), {}};
  const auto parsed = Arn::parse(arn);
  for (const char* name : {"sns", "sts", "sqs", "iam", "ec2"})
    if (const auto* service = wire::find_service(name); service && service->find(action))
      return {service, parsed && !parsed->region.empty() ? parsed->region : default_region, {}};
  return {nullptr, default_region, {}};
}

}  // namespace

Destination destination_of(const wire::HttpRequest& request, const std::string& default_region) {
  auto scope = wire::scope_of(request);
  if (!scope) return unsigned_destination(request, default_region);
  const std::string region = scope->region.empty() ? default_region : scope->region;
  const auto* service = wire::find_service(scope->service);
  return {service, region, std::move(scope)};
}

std::string action_of(const wire::HttpRequest& request) {
  for (auto& [name, value] : wire::parse_query(request.query()))
    if (name == "Action") return std::move(value);
  return {};
}

}  // namespace snapward::edge
