#include "nodes/peers.hpp"

#include <fmt/format.h>

#include "base/utf8.hpp"
#include "engine/unreadable.hpp"
#include "wire/sigv4.hpp"

namespace snapward::nodes {

namespace {

constexpr const char* kSecret = "x-snapward-secret";
constexpr const char* kTable = "callers";
constexpr const char* kRefused = "snapward:OlderCall";

std::string text(const Json& value) { return std::string(value.string_or()); }

}  // namespace

wire::HttpRequest call_request(const PeerCall& peer, const std::string& secret) {
  const cloud::Call& call = peer.call;
  wire::HttpRequest out;
  out.target = kCallPath;
  out.headers.add(kSecret, secret);
  out.headers.add("Content-Type", "application/json");
  out.body = dump_bytes(Json::object({{"service", call.service},
                                      {"region", call.region},
                                      {"operation", call.operation},
                                      {"input", call.input},
                                      {"caller", Json::array({call.caller.service, call.caller.role, call.caller.source})},
                                      {"shard", peer.token.shard},
                                      {"epoch", peer.token.epoch},
                                      {"losses", peer.token.losses}}));
  return out;
}

std::expected<PeerCall, std::string> call_of(const wire::HttpRequest& request, const std::string& secret) {
  if (secret.empty() || !wire::same_secret(request.headers.get(kSecret), secret))
    return std::unexpected("this is for nodes of the same cloud");
  const auto json = parse_bytes(request.body);
  if (!json) return std::unexpected(json.error().message);
  const Json& caller = (*json)["caller"];
  if (!(*json)["service"].is_string() || !(*json)["operation"].is_string() || caller.items().size() != 3 || !(*json)["shard"].is_string())
    return std::unexpected("a call has a service, a region, an operation, an input, a caller and a token");
  return PeerCall{.token = {text((*json)["shard"]), (*json)["epoch"].integer_or(0), (*json)["losses"].integer_or(0)},
                  .call = {text((*json)["service"]),
                           text((*json)["region"]),
                           text((*json)["operation"]),
                           (*json)["input"],
                           {text(caller.items()[0]), text(caller.items()[1]), text(caller.items()[2])}}};
}

wire::HttpResponse reply_response(const cloud::Reply& reply) {
  wire::HttpResponse out;
  out.headers.add("Content-Type", "application/json");
  if (reply)
    out.body = dump_bytes(Json::object({{"reply", *reply}}));
  else
    out.body = dump_bytes(Json::object({{"code", reply.error().code},
                                        {"message", reply.error().message},
                                        {"status", std::int64_t{reply.error().status}},
                                        {"fields", reply.error().fields}}));
  return out;
}

std::expected<cloud::Reply, std::string> reply_of(const wire::HttpResponse& response) {
  if (response.status != 200) return std::unexpected(fmt::format("HTTP status {}: {}", response.status, response.body));
  const auto json = parse_bytes(response.body);
  if (!json) return std::unexpected(json.error().message);
  if (const Json* reply = json->find("reply")) return cloud::Reply(*reply);
  if (!json->find("code")) return std::unexpected("no reply is in it");
  return cloud::Reply(std::unexpected(cloud::Error{text((*json)["code"]), text((*json)["message"]),
                                                   static_cast<int>((*json)["status"].integer_or(500)), (*json)["fields"]}));
}

Callers::Callers(engine::Ledger& ledger) : ledger_(ledger) {
  for (const auto& row : ledger.scan(kTable, {})) {
    const Json newest = engine::value_of_row(Json::parse(row.value), kTable, row.key);
    newest_[row.key] = {newest["epoch"].integer_or(0), newest["losses"].integer_or(0)};
  }
}

bool Callers::admit(const Token& token) {
  auto& newest = newest_[token.shard];
  const std::pair given(token.epoch, token.losses);
  if (given < newest) return false;
  if (given == newest) return true;
  newest = given;
  ledger_.put(kTable, token.shard, Json::object({{"epoch", token.epoch}, {"losses", token.losses}}).dump());
  return true;
}

cloud::Reply Callers::refusal() { return cloud::error(kRefused, "A later call of this shard has been heard of.", 409); }
bool Callers::is_refusal(const cloud::Reply& reply) { return !reply && reply.error().code == kRefused; }

Elsewhere::Elsewhere(engine::Loop& loop, engine::Ledger& ledger, Road road)
    : loop_(loop),
      ledger_(ledger),
      road_(std::move(road)),
      client_(net::Client::create({.longest = kLongestAnswer, .keep = net::Client::Keep::always})) {}

Task<cloud::Reply> Elsewhere::call(cloud::Call call) {
  const Future<bool> durable;
  ledger_.after_commit([durable] { durable.set(true); });
  co_await durable;
  const auto until = std::chrono::steady_clock::now() + road_.patience;
  for (;;) {
    if (std::string owner = road_.owner(call); !owner.empty()) {
      using Outcome = std::expected<wire::HttpResponse, std::string>;
      const Future<Outcome> answer;
      const std::int64_t losses = losses_;
      const PeerCall peer{.token = {road_.shard, road_.epoch, losses}, .call = call};
      client_->send(owner, call_request(peer, road_.secret),
                    [this, answer](Outcome outcome) { loop_.post([answer, outcome = std::move(outcome)] { answer.set(outcome); }); });
      const Outcome outcome = co_await answer;
      // 503: no owner of it was there, so nothing was done.
      if (!outcome || outcome->status != 503) {
        auto reply = outcome ? reply_of(*outcome) : std::unexpected(outcome.error());
        // One that another of ours has overtaken, after one was lost, was not performed.
        if (reply && Callers::is_refusal(*reply) && losses < losses_) continue;
        if (reply) co_return *std::move(reply);
        losses_ = std::max(losses_, losses + 1);  // should it arrive yet
        co_return cloud::error("InternalFailure", fmt::format("The region {} did not answer: {}", call.region, reply.error()), 500);
      }
    }
    if (std::chrono::steady_clock::now() > until)
      co_return cloud::error("ServiceUnavailable", fmt::format("Nobody owns the region {} at the moment.", call.region), 503);
    co_await loop_.sleep(std::chrono::seconds(1));
  }
}

}  // namespace snapward::nodes
