#include "edge/front.hpp"

#include <fmt/format.h>

#include "base/crash_point.hpp"
#include "services/sns/signing.hpp"
#include "wire/protocol.hpp"

namespace snapward::edge {

namespace {

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

// Temporary credentials must not prolong themselves: AWS refuses GetSessionToken to them, and limits roles that they assume to an hour.
std::optional<wire::ApiError> renews_a_session(const wire::DecodedCall& call, const wire::HttpRequest& request) {
  if (wire::session_token_of(request).empty()) return std::nullopt;
  if (call.operation->name == "GetSessionToken")
    return wire::ApiError{"AccessDenied", "Cannot call GetSessionToken with session credentials", 403, {}};
  if (call.operation->name == "AssumeRole" && call.input["DurationSeconds"].integer_or(0) > 3600)
    return wire::ApiError{
        "ValidationError", "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.", 400, {}};
  return std::nullopt;
}

}  // namespace

wire::HttpResponse Front::refusal(int status, const std::string& message) {
  const wire::ApiError error{status == 413 ? "RequestEntityTooLargeException" : "SerializationException", message, status, {}};
  return wire::encode_error(nullptr, wire::Protocol::json, error, request_id());
}

Front::Front(engine::Loop& loop, engine::Ledger& ledger, cloud::Cloud& cloud, FrontOptions options)
    : loop_(loop), ledger_(ledger), cloud_(cloud), options_(std::move(options)), authentication_(options_.secret_keys) {
  // Not the loop's: clients sign in real time, and a machine's clock that was wrong for a moment is right again.
  if (!options_.now) options_.now = [] { return std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now()); };
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

void Front::answer_health(bool ready, Respond respond) {
  loop_.post([this, respond = std::move(respond), ready] {
    if (ready && draining_) return respond([] { return text(503, "stopping\n"); });
    const bool well = ledger_.healthy();
    respond([well] { return text(well ? 200 : 503, well ? "ok\n" : "state cannot be saved; see the log\n"); });
  });
}

void Front::answer_metrics(Respond respond) {
  loop_.post([this, respond = std::move(respond)] {
    respond([body = options_.metrics()] {
      wire::HttpResponse response = text(200, body);
      response.headers.list[0].second = "text/plain; version=0.0.4; charset=utf-8";
      return response;
    });
  });
}

void Front::handle(wire::HttpRequest request, Respond respond) {
  const bool get = request.method == "GET" || request.method == "HEAD";
  if (get && (request.path() == "/healthz" || request.path() == "/readyz"))
    return answer_health(request.path() == "/readyz", std::move(respond));

  const std::string id = request_id();
  const Destination to = destination_of(request, options_.default_region);
  const wire::Protocol protocol = to.service ? wire::protocol_of(*to.service, request) : wire::Protocol::rest_json;
  const auto refuse = [&](wire::ApiError error) {
    respond([service = to.service, protocol, error = std::move(error), id] { return wire::encode_error(service, protocol, error, id); });
  };
  const bool metrics = get && request.path() == "/metrics" && options_.metrics;
  const bool link = to.service && !to.scope && is_anonymous_link(*to.service, action_of(request), request);
  if (!link && !is_anonymous_page(request) && !(metrics && options_.anonymous_metrics)) {
    if (auto passed = authentication_.check(request, to, {.real = options_.now(), .cloud = loop_.now()}); !passed)
      return refuse(passed.error());
  }

  if (metrics) return answer_metrics(std::move(respond));
  if (get && services::sns::is_certificate_path(request.path()))
    return perform({"sns", to.region, "GetSigningCertificate", Json::object({{"Path", request.path()}})}, [respond = std::move(respond)](
                                                                                                              const cloud::Reply& reply) {
      respond([reply] { return reply ? text(200, std::string((*reply)["Certificate"].string_or())) : text(404, "not found\n"); });
    });
  if (!to.service)
    return respond([scope = to.scope, id] {
      if (!scope)
        return text(
            400, "This is Snapward's local cloud. Point an AWS client at it: aws --endpoint-url http://HOST:PORT ec2 describe-regions\n");
      const wire::ApiError error{"UnknownService", fmt::format("Snapward's local cloud has no service '{}'.", scope->service), 501, {}};
      return wire::encode_error(nullptr, wire::Protocol::rest_json, error, id);
    });

  auto decoded = wire::decode_request(*to.service, request);
  if (!decoded) return refuse(decoded.error());
  if (auto renewing = renews_a_session(*decoded, request)) return refuse(*std::move(renewing));
  // What was let in for its link must be what the link says, however the request is read.
  if (link && !is_anonymous_link(*to.service, decoded->operation->name, request)) return refuse({"AccessDenied", "Access Denied", 403, {}});
  perform({to.service->name, to.region, decoded->operation->name, std::move(decoded->input)},
          [service = to.service, protocol, operation = decoded->operation, respond = std::move(respond), id](const cloud::Reply& reply) {
            respond([=] {
              return reply ? wire::encode_reply(*service, protocol, *operation, *reply, id)
                           : wire::encode_error(service, protocol, reply.error(), id);
            });
          });
}

}  // namespace snapward::edge
