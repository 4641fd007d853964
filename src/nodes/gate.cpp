#include "nodes/gate.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>

#include "nodes/peers.hpp"
#include "nodes/shards.hpp"
#include "services/service.hpp"

namespace snapward::nodes {

namespace {

// Its value is the nodes' secret: the node that has let the request in has judged its Host and Origin, by the names that are its own.
constexpr const char* kHandedOn = "x-snapward-handed-on";

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

Gate::Gate(edge::OriginOptions origins)
    : directory_{.shards = {std::string(kWhole)},
                 .held = [](const auto&) { return true; },
                 .owner = [](const auto&) { return std::string(); },
                 .epoch = [](const auto&) { return std::int64_t{0}; },
                 .secret = {}},
      origins_(std::move(origins)) {}
Gate::Gate(Directory directory, edge::OriginOptions origins)
    : directory_(std::move(directory)),
      origins_(std::move(origins)),
      client_(net::Client::create({.longest = kLongestAnswer, .keep = net::Client::Keep::always})) {}

void Gate::open(const std::string& shard, edge::Front& front, Callers& callers) {
  const std::lock_guard lock(mutex_);
  fronts_[shard] = {&front, &callers};
}
void Gate::close(const std::string& shard) {
  const std::lock_guard lock(mutex_);
  fronts_.erase(shard);
}

std::string Gate::shard_for(std::string_view service, std::string_view region) const {
  return directory_.shards.size() == 1 ? directory_.shards.front() : std::string(shard_of(service, region));
}

void Gate::handle(wire::HttpRequest request, Respond respond) {
  const std::string* handed_on = request.headers.find(kHandedOn);
  if (handed_on && !directory_.secret.empty() && wire::same_secret(*handed_on, directory_.secret))
    return admit(std::move(request), std::move(respond));
  if (const auto sentence = origins_.refusal(request))
    return respond([response = edge::forbidden(request, *sentence)] { return response; });
  const std::string origin = origins_.allowed_origin(request);
  if (origin.empty()) return admit(std::move(request), std::move(respond));
  if (edge::is_preflight(request)) return respond([response = edge::preflight_answer(request, origin)] { return response; });
  admit(std::move(request), [origin, respond = std::move(respond)](net::Server::Answer answer) {
    respond([origin, answer = std::move(answer)] {
      wire::HttpResponse response = answer();
      edge::allow_reading(response, origin);
      return response;
    });
  });
}

void Gate::admit(wire::HttpRequest request, Respond respond) {
  const std::string_view path = request.path();
  if ((request.method == "GET" || request.method == "HEAD") && (path == "/healthz" || path == "/readyz" || path == "/metrics"))
    return about_node(request, std::move(respond));
  if (client_ && path == kCallPath) return perform(request, respond);
  std::string shard = directory_.shards.front();
  if (directory_.shards.size() > 1) {
    const edge::Destination to = edge::destination_of(request);
    shard = shard_for(to.service ? to.service->name : "", to.region);
  }
  {
    const std::lock_guard lock(mutex_);
    if (const auto front = fronts_.find(shard); front != fronts_.end() && directory_.held(shard))
      return let_in(*front->second.front, shard, std::move(request), std::move(respond));
  }
  hand_on(shard, std::move(request), std::move(respond));
}

void Gate::let_in(edge::Front& front, const std::string& shard, wire::HttpRequest request, Respond respond) {
  if (!client_) return front.handle(std::move(request), std::move(respond));
  front.handle(std::move(request), [this, shard, respond = std::move(respond)](net::Server::Answer answer) {
    if (directory_.held(shard)) return respond(std::move(answer));
    respond(nobody);
  });
}

void Gate::hand_on(const std::string& shard, wire::HttpRequest request, Respond respond) {
  const std::string owner = client_ ? directory_.owner(shard) : "";
  if (owner.empty() || request.headers.find(kHandedOn)) return respond(nobody);  // never in a circle
  drop_hops(request.headers);
  request.headers.add(kHandedOn, directory_.secret);
  client_->send(owner, std::move(request), [owner, respond = std::move(respond)](auto outcome) {
    if (!outcome) {
      spdlog::debug("a request could not be handed on to {}: {}", owner, outcome.error());
      return respond(nobody);
    }
    drop_hops(outcome->headers);
    respond([response = *std::move(outcome)] { return response; });
  });
}

void Gate::perform(const wire::HttpRequest& request, const Respond& respond) {
  auto peer = call_of(request, directory_.secret);
  if (!peer) return respond([why = peer.error()] { return text(403, why + "\n"); });
  const std::string shard = shard_for(peer->call.service, peer->call.region);
  const std::lock_guard lock(mutex_);
  const auto front = fronts_.find(shard);
  if (front == fronts_.end() || !directory_.held(shard)) return respond(nobody);
  front->second.front->perform(
      std::move(peer->call),
      [this, shard, respond](const cloud::Reply& reply) {
        // What it did may be durable all the same, so this must not look like a call that was not let in.
        if (!directory_.held(shard)) return respond([] { return text(500, "the node has lost the region\n"); });
        respond([reply] { return reply_response(reply); });
      },
      [callers = front->second.callers, token = peer->token]() -> std::optional<cloud::Reply> {
        if (callers->admit(token)) return std::nullopt;
        return Callers::refusal();
      });
}

void Gate::about_node(const wire::HttpRequest& request, Respond respond) {
  const bool metrics = request.path() == "/metrics", ready = request.path() == "/readyz";
  struct Gathered {
    std::mutex mutex;
    std::size_t awaited = 0;
    std::vector<wire::HttpResponse> answers;
  };
  const auto gathered = std::make_shared<Gathered>();
  const std::string owned = client_ ? ownership() : "";
  const std::lock_guard lock(mutex_);
  // Owned by this node and open, or by another.
  const bool all_owned = std::ranges::all_of(directory_.shards, [this](const std::string& shard) {
    return directory_.held(shard) ? fronts_.contains(shard) : !directory_.owner(shard).empty();
  });
  const auto finish = [metrics, ready, all_owned, owned, gathered, respond = std::move(respond)] {
    respond([=] {
      for (const wire::HttpResponse& answer : gathered->answers)
        if (answer.status != 200) return answer;
      if (!metrics) return ready && !all_owned ? text(503, "a part of the state has no owner\n") : text(200, "ok\n");
      std::vector<std::string> texts{owned};
      for (const wire::HttpResponse& answer : gathered->answers) texts.push_back(answer.body);
      return text(200, merge_metrics(texts));
    });
  };
  std::vector<edge::Front*> asked;  // one whose shard is lost may be waiting for the database
  for (const auto& [shard, opened] : fronts_)
    if (directory_.held(shard)) asked.push_back(opened.front);
  gathered->awaited = asked.size();
  if (asked.empty()) return finish();
  for (edge::Front* front : asked)
    front->handle(request, [gathered, finish](const net::Server::Answer& answer) {
      wire::HttpResponse response = answer();
      {
        const std::lock_guard gathering(gathered->mutex);
        gathered->answers.push_back(std::move(response));
        if (--gathered->awaited > 0) return;
      }
      finish();
    });
}

std::string Gate::ownership() const {
  services::Metrics m;
  for (const std::string& shard : directory_.shards) {
    m.gauge("snapward_owner", "1 where this node owns the shard of the state, 0 where another or nobody does.",
            directory_.held(shard) ? 1 : 0, {{"shard", shard}});
    m.gauge("snapward_epoch", "How often the shard has changed its owner.", static_cast<double>(directory_.epoch(shard)),
            {{"shard", shard}});
  }
  return m.text();
}

std::string merge_metrics(const std::vector<std::string>& texts) {
  std::vector<std::pair<std::string, std::string>> families;  // "# HELP … # TYPE …" and the lines
  for (const std::string& all : texts)
    for (std::size_t at = 0; at < all.size();) {
      const std::size_t type = all.find('\n', at) + 1, lines = all.find('\n', type) + 1;
      const std::size_t end = std::min(all.find("# HELP ", lines), all.size());
      const std::string head = all.substr(at, lines - at);
      auto family = std::ranges::find(families, head, &std::pair<std::string, std::string>::first);
      if (family == families.end()) family = families.emplace(families.end(), head, "");
      family->second += all.substr(lines, end - lines);
      at = end;
    }
  std::string out;
  for (const auto& [head, lines] : families) out += head + lines;
  return out;
}

}  // namespace snapward::nodes
