#include "world/network.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace snapward::world {

namespace {
std::unexpected<cloud::Error> internal() { return cloud::error("InternalError", "An internal error has occurred", 500); }
}  // namespace

bool Network::out(const std::string& region) const {
  const Instant now = loop_.now();
  return std::any_of(faults_.outages.begin(), faults_.outages.end(),
                     [&](const Outage& o) { return o.region == region && o.from <= now && now < o.to; });
}

Task<void> Network::travel() {
  if (faults_.max_latency > Duration(0))
    co_await loop_.sleep(Duration(static_cast<std::int64_t>(chance_.below(static_cast<std::uint64_t>(faults_.max_latency.count()) + 1))));
}

Task<cloud::Reply> Network::call(cloud::Call call) {
  co_await travel();
  if (out(call.region)) co_return cloud::error("Unavailable", fmt::format("The region {} does not answer", call.region), 503);
  if (chance_.chance(faults_.throttle)) co_return cloud::error("RequestLimitExceeded", "Request limit exceeded.", 503);
  if (chance_.chance(faults_.fail)) co_return internal();
  const cloud::Call asked = call;
  std::vector<Written> tagged;
  if (asked.operation == "CreateTags")
    for (const Json& id : asked.input["Resources"].items())
      if (const auto snapshot = peek_(asked.region, std::string(id.string_or())))
        tagged.push_back({loop_.now(), asked.region, snapshot->id, snapshot->tags});
  cloud::Reply reply = co_await inner_.call(std::move(call));
  if (reply && (asked.operation == "CopySnapshot" || asked.operation == "CreateSnapshot"))
    note({loop_.now(), asked.region, std::string((*reply)["SnapshotId"].string_or()), std::nullopt});
  if (reply)
    for (Written& w : tagged) note(std::move(w));
  if (reply && chance_.chance(faults_.stale)) reply = aged(asked, *std::move(reply));
  const bool lost = reply && chance_.chance(faults_.lose_reply);
  co_await travel();
  if (lost || out(asked.region)) co_return internal();
  co_return reply;
}

void Network::note(Written written) {
  while (!written_.empty() && written.at - written_.front().at >= faults_.settles) written_.pop_front();
  written_.push_back(std::move(written));
}

// The answer as one would have given it that has not heard of the latest writes.
cloud::Reply Network::aged(const cloud::Call& call, Json reply) const {
  if (call.operation != "DescribeSnapshots") return reply;
  const Instant now = loop_.now();
  Json::Array shown;
  for (const Json& snapshot : reply["Snapshots"].items()) {
    const std::string_view id = snapshot["SnapshotId"].string_or();
    // The oldest of its writes that a lagging reader may not have seen.
    const auto unseen = std::find_if(written_.begin(), written_.end(), [&](const Written& w) {
      return w.snapshot == id && w.region == call.region && now - w.at < faults_.settles;
    });
    if (unseen == written_.end()) {
      shown.push_back(snapshot);
    } else if (unseen->before) {
      Json::Object older = snapshot.as_object();
      older.set("Tags", cloud::tag_list(*unseen->before));
      shown.emplace_back(std::move(older));
    } else if (call.input.find("SnapshotIds")) {
      return cloud::error("InvalidSnapshot.NotFound", fmt::format("The snapshot '{}' does not exist.", id));
    }
  }
  Json::Object out = reply.as_object();
  out.set("Snapshots", std::move(shown));
  return Json(std::move(out));
}

}  // namespace snapward::world
