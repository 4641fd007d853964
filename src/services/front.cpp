#include "services/front.hpp"

#include <fmt/format.h>

#include "base/arn.hpp"
#include "base/crash_point.hpp"
#include "services/sns/signing.hpp"
#include "wire/protocol.hpp"
#include "wire/sigv4.hpp"

namespace snapward::services {

namespace {

struct Destination {
  const wire::Service* service = nullptr;
  std::string region;
};

// Unsigned requests: by target, or by the Action of a link (confirming a subscription needs no signature).
Destination unsigned_destination(const wire::HttpRequest& request, const std::string& default_region) {
  const std::string_view target = request.headers.get("x-amz-target");
  if (!target.empty()) return {wire::find_service_by_target(target.substr(0, target.find('.'))), default_region};
  std::string action, arn;
  for (const auto& [name, value] : wire::parse_query(request.query())) {
    if (name == "Action") action = value;
    if (name == "TopicArn" || name == "SubscriptionArn") arn = value;
  }
  if (request.method == "POST")
    for (const auto& [name, value] : wire::parse_query(request.body))
      if (name == "Action") action = value;
  if (const std::string region = sns::region_of_certificate(request.path()); !region.empty()) return {wire::find_service("sns"), region};
  const auto parsed = Arn::parse(arn);
  for (const char* name : {"sns", "sts", "sqs", "iam", "ec2"})
    if (const auto* service = wire::find_service(name); service && service->find(action))
      return {service, parsed && !parsed->region.empty() ? parsed->region : default_region};
  return {};
}

Destination destination_of(const wire::HttpRequest& request, const std::string& default_region) {
  if (const auto scope = wire::scope_of(request)) return {wire::find_service(scope->service), scope->region};
  return unsigned_destination(request, default_region);
}

std::string request_id() {
  thread_local SystemEntropy entropy;
  return entropy.uuid();
}

wire::HttpResponse text(int status, std::string body) {
  wire::HttpResponse response;
  response.status = status;
  response.headers.add("Content-Type", "text/plain; charset=utf-8");
  response.body = std::move(body);
  return response;
}

}  // namespace

wire::HttpResponse Front::refusal(int status, const std::string& message) {
  const wire::ApiError error{status == 413 ? "RequestEntityTooLargeException" : "SerializationException", message, status, {}};
  return wire::encode_error(nullptr, wire::Protocol::json, error, request_id());
}

Place place_of(const wire::HttpRequest& request, const std::string& default_region) {
  const Destination to = destination_of(request, default_region);
  return {to.service ? to.service->name : "", to.region.empty() ? default_region : to.region};
}

void Front::perform(cloud::Call call, std::function<void(const cloud::Reply&)> done, std::function<std::optional<cloud::Reply>()> refused) {
  loop_.post([this, call = std::move(call), done = std::move(done), refused = std::move(refused)]() mutable {
    if (refused)
      if (const auto refusal = refused()) return done(*refusal);
    loop_.spawn(cloud_.call(std::move(call)), [this, done = std::move(done)](const cloud::Reply& reply) {
      ledger_.answer_after_commit([done, reply] {
        crash_point("answering");
        done(reply);
      });
    });
  });
}

void Front::handle(const wire::HttpRequest& request, Respond respond) {
  const std::string id = request_id();
  if (request.method == "GET" && (request.path() == "/healthz" || request.path() == "/readyz"))
    return loop_.post([this, respond = std::move(respond), ready = request.path() == "/readyz"] {
      if (ready && draining_) return respond([] { return text(503, "stopping\n"); });
      const bool well = ledger_.healthy();
      respond([well] { return text(well ? 200 : 503, well ? "ok\n" : "state cannot be saved; see the log\n"); });
    });

  if (request.method == "GET" && request.path() == "/metrics" && options_.metrics)
    return loop_.post([this, respond = std::move(respond)] {
      respond([body = options_.metrics()] {
        wire::HttpResponse response = text(200, body);
        response.headers.list[0].second = "text/plain; version=0.0.4; charset=utf-8";
        return response;
      });
    });

  const auto scope = wire::scope_of(request);
  const Destination to = destination_of(request, options_.default_region);
  if (request.method == "GET" && sns::is_certificate_path(request.path()))
    return perform({"sns", to.region, "GetSigningCertificate", Json::object({{"Path", request.path()}})}, [respond = std::move(respond)](
                                                                                                              const cloud::Reply& reply) {
      respond([reply] { return reply ? text(200, std::string((*reply)["Certificate"].string_or())) : text(404, "not found\n"); });
    });
  if (!to.service)
    return respond([scope, id] {
      if (!scope)
        return text(
            400, "This is Snapward's local cloud. Point an AWS client at it: aws --endpoint-url http://HOST:PORT ec2 describe-regions\n");
      const wire::ApiError error{"UnknownService", fmt::format("Snapward's local cloud has no service '{}'.", scope->service), 501, {}};
      return wire::encode_error(nullptr, wire::Protocol::rest_json, error, id);
    });
  const wire::Protocol protocol = wire::protocol_of(*to.service, request);
  const auto refuse = [&](wire::ApiError error) {
    respond([service = to.service, protocol, error = std::move(error), id] { return wire::encode_error(service, protocol, error, id); });
  };

  if (!options_.secret_keys.empty() && scope) {
    const bool ec2 = protocol == wire::Protocol::ec2;
    const auto key = options_.secret_keys.find(scope->access_key);
    if (key == options_.secret_keys.end())
      return refuse(
          {ec2 ? "AuthFailure" : "UnrecognizedClientException",
           ec2 ? "AWS was not able to validate the provided access credentials" : "The security token included in the request is invalid.",
           ec2 ? 401 : 403,
           {}});
    const auto now = std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now());
    const auto verdict = wire::verify(request, key->second, now);
    if (verdict == wire::Verdict::expired)
      return refuse({ec2 ? "RequestExpired" : "InvalidSignatureException", "Signature expired or not yet current.", ec2 ? 400 : 403, {}});
    if (verdict != wire::Verdict::valid)
      return refuse({ec2 ? "SignatureDoesNotMatch" : "InvalidSignatureException",
                     "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and "
                     "signing method.",
                     403,
                     {}});
  } else if (!options_.secret_keys.empty() && !scope && request.method != "GET") {
    return refuse({"MissingAuthenticationToken", "Missing Authentication Token", 403, {}});
  }

  auto decoded = wire::decode_request(*to.service, request);
  if (!decoded) return refuse(decoded.error());
  perform({to.service->name, to.region, decoded->operation->name, std::move(decoded->input)},
          [service = to.service, protocol, operation = decoded->operation, respond = std::move(respond), id](const cloud::Reply& reply) {
            respond([=] {
              return reply ? wire::encode_reply(*service, protocol, *operation, *reply, id)
                           : wire::encode_error(service, protocol, reply.error(), id);
            });
          });
}

}  // namespace snapward::services
