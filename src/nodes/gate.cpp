#include "nodes/gate.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>

namespace snapward::nodes {

namespace {

constexpr const char* kHandedOn = "x-snapward-handed-on";
// The longest any answer takes is GetActivityTask's minute.
constexpr auto kLongestAnswer = std::chrono::seconds(75);

// Clients of every protocol take an empty 503 for trouble that passes, and try again.
wire::HttpResponse nobody() {
  wire::HttpResponse response{.status = 503, .headers = {}, .body = {}};
  response.headers.add("Retry-After", "1");
  return response;
}

wire::HttpResponse text(int status, std::string body) {
  wire::HttpResponse response{.status = status, .headers = {}, .body = std::move(body)};
  response.headers.add("Content-Type", "text/plain; version=0.0.4; charset=utf-8");
  return response;
}

// Of one connection, not of the message (RFC 9110, 7.6.1).
void drop_hops(wire::Headers& headers) {
  std::erase_if(headers.list, [](const auto& header) {
    return std::ranges::any_of(std::array{"connection", "keep-alive", "transfer-encoding", "content-length", "expect", "server"},
                               [&](const char* name) { return iequals(header.first, name); });
  });
}

}  // namespace

Gate::Gate() : Gate(Ownership{.held = [] { return true; }, .owner = [] { return std::string(); }}) { client_.reset(); }
Gate::Gate(Ownership ownership)
    : ownership_(std::move(ownership)), client_(net::Client::create({.longest = kLongestAnswer, .keep_connections = true})) {}

void Gate::open(services::Front& front) {
  const std::lock_guard lock(mutex_);
  front_ = &front;
}
void Gate::close() {
  const std::lock_guard lock(mutex_);
  front_ = nullptr;
}

void Gate::handle(wire::HttpRequest request, net::Server::Respond respond) {
  const std::lock_guard lock(mutex_);
  if (front_ && ownership_.held()) {
    if (!client_) return front_->handle(request, std::move(respond));
    return front_->handle(request, [held = ownership_.held, respond = std::move(respond)](net::Server::Answer answer) {
      if (held()) return respond(std::move(answer));
      respond(nobody);
    });
  }
  const std::string_view path = request.path();
  if (request.method == "GET" && (path == "/healthz" || path == "/readyz")) {
    const bool well = path == "/healthz" || !ownership_.owner().empty();
    return respond([well] { return text(well ? 200 : 503, well ? "ok\n" : "no node owns the state\n"); });
  }
  if (request.method == "GET" && path == "/metrics")
    return respond([] {
      return text(200, "# HELP snapward_owner 1 on the node that owns the state.\n# TYPE snapward_owner gauge\nsnapward_owner 0\n");
    });
  hand_on(std::move(request), std::move(respond));
}

void Gate::hand_on(wire::HttpRequest request, net::Server::Respond respond) {
  const std::string owner = client_ ? ownership_.owner() : "";
  if (owner.empty() || request.headers.find(kHandedOn)) return respond(nobody);  // never in a circle
  drop_hops(request.headers);
  request.headers.add(kHandedOn, "1");
  client_->send(owner, std::move(request), [owner, respond = std::move(respond)](auto outcome) {
    if (!outcome) {
      spdlog::debug("a request could not be handed on to {}: {}", owner, outcome.error());
      return respond(nobody);
    }
    drop_hops(outcome->headers);
    respond([response = *std::move(outcome)] { return response; });
  });
}

}  // namespace snapward::nodes
