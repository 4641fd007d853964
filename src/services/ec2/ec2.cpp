#include "services/ec2/ec2.hpp"

#include <fmt/format.h>

#include "services/regions.hpp"

namespace snapward::services::ec2 {

namespace {

// Capacity and refill per second of an operation's bucket (EC2 Developer Guide, "Request token bucket sizes and refill rates").
struct Rate {
  double capacity, refill;
};
Rate rate_of(const Call& call) {
  const std::string& op = call.operation;
  for (const char* known : {"CreateSnapshot", "CreateSnapshots", "DeleteSnapshot", "CreateVolume", "DeleteVolume", "DeregisterImage",
                            "ModifySnapshotAttribute"})
    if (op == known) return {100, 5};
  if (op == "CreateTags" || op == "DeleteTags") return {100, 10};
  if (op.starts_with("Describe") || op.starts_with("List") || op.starts_with("Get")) {
    const bool plain =
        !call.input.find("Filters") && !call.input.find("MaxResults") && !call.input.find("SnapshotIds") && !call.input.find("VolumeIds");
    if (plain && (op == "DescribeSnapshots" || op == "DescribeVolumes" || op == "DescribeInstances")) return {50, 10};
    return {100, 20};
  }
  return {50, 5};
}

}  // namespace

Result<Behaviour> Behaviour::from_json(const Json& json) {
  if (!json.is_object()) return invalid("the faults must be a JSON object");
  Behaviour b;
  for (const auto& [name, value] : json.as_object()) {
    const std::pair<const char*, double*> fractions[] = {
        {"used_fraction", &b.used_fraction}, {"daily_change", &b.daily_change}, {"fail_throttle", &b.fail_throttle},
        {"fail_call", &b.fail_call},         {"lose_reply", &b.lose_reply},     {"fail_snapshot", &b.fail_snapshot},
        {"fail_copy", &b.fail_copy},         {"drop_event", &b.drop_event},     {"duplicate_event", &b.duplicate_event},
        {"delay_event", &b.delay_event}};
    const std::pair<const char*, std::int64_t*> counts[] = {
        {"mib_per_second", &b.mib_per_second}, {"copy_limit", &b.copy_limit}, {"pending_per_volume", &b.pending_per_volume}};
    const std::pair<const char*, Duration*> spans[] = {{"snapshot_overhead_seconds", &b.snapshot_overhead},
                                                       {"copy_overhead_seconds", &b.copy_overhead},
                                                       {"max_event_delay_seconds", &b.max_event_delay}};
    bool known = name == "throttling";
    if (known) b.throttling = value.bool_or(true);
    if (name == "denied") {
      known = true;
      if (!value.is_array()) return invalid("'denied' must be a list of operations, such as [\"CopySnapshot\"]");
      for (const Json& operation : value.as_array()) b.denied.emplace(operation.string_or());
    }
    for (const auto& [field, target] : fractions)
      if (name == field) {
        known = true;
        if (!value.is_number() || value.as_double() < 0 || value.as_double() > 1)
          return invalid(fmt::format("'{}' must be a number from 0 to 1", name));
        *target = value.as_double();
      }
    for (const auto& [field, target] : counts)
      if (name == field) {
        known = true;
        if (value.integer_or(0) < 1) return invalid(fmt::format("'{}' must be a positive integer", name));
        *target = value.integer_or(1);
      }
    for (const auto& [field, target] : spans)
      if (name == field) {
        known = true;
        if (!value.is_number() || value.as_double() < 0) return invalid(fmt::format("'{}' must be a number of seconds", name));
        *target = Duration(static_cast<std::int64_t>(value.as_double() * 1000));
      }
    if (!known) return invalid(fmt::format("'{}' is not a behaviour of the simulated EC2", name));
  }
  return b;
}

Ec2::Ec2(Environment& env, Behaviour behaviour, std::int64_t part) : Service("ec2", env), behaviour_(behaviour), content_ids_(part << 48) {
  register_volumes();
  register_snapshots();
  register_images();
  register_tags();
  on("DescribeRegions", [](const Call& call) -> Reply {
    Json::Array out;
    for (const Region& r : kRegions) {
      const auto& names = call.input["RegionNames"].items();
      if (!names.empty() && std::find(names.begin(), names.end(), Json(r.name)) == names.end()) continue;
      const auto pass = passes(call.input["Filters"], {}, [&](const std::string& name) -> std::optional<std::vector<std::string>> {
        if (name == "region-name") return std::vector{std::string(r.name)};
        if (name == "endpoint") return std::vector{fmt::format("ec2.{}.amazonaws.com", r.name)};
        if (name == "opt-in-status") return std::vector{std::string(r.opt_in ? "opted-in" : "opt-in-not-required")};
        return std::nullopt;
      });
      if (!pass) return std::unexpected(pass.error());
      if (*pass)
        out.push_back(Json::object({{"RegionName", r.name},
                                    {"Endpoint", fmt::format("ec2.{}.amazonaws.com", r.name)},
                                    {"OptInStatus", r.opt_in ? "opted-in" : "opt-in-not-required"}}));
    }
    for (const Json& name : call.input["RegionNames"].items())
      if (!is_region(name.string_or()))
        return cloud::error("InvalidParameterValue", fmt::format("Invalid region names: {}", name.string_or()));
    return Json::object({{"Regions", std::move(out)}});
  });
  on("DescribeAvailabilityZones", [](const Call& call) -> Reply {
    Json::Array out;
    for (const char zone : {'a', 'b', 'c'})
      out.push_back(Json::object({{"ZoneName", call.region + zone},
                                  {"ZoneId", fmt::format("{}-az{}", call.region, zone - 'a' + 1)},
                                  {"RegionName", call.region},
                                  {"State", "available"},
                                  {"ZoneType", "availability-zone"},
                                  {"OptInStatus", "opt-in-not-required"}}));
    return Json::object({{"AvailabilityZones", std::move(out)}});
  });
}

Ec2::Check Ec2::throttle(const Call& call) {
  const auto refuse = [&] {
    ++throttled_[call.operation];
    return cloud::error("RequestLimitExceeded", "Request limit exceeded.", 503);
  };
  if (env_.loop.entropy().chance(behaviour_.fail_throttle)) return refuse();
  if (!behaviour_.throttling) return {};
  const Rate rate = rate_of(call);
  const std::string key = call.region + '/' + call.operation + (rate.capacity == 50 && rate.refill == 10 ? "/plain" : "");
  if (!take_token(key, rate.capacity, rate.refill)) return refuse();
  return {};
}

bool Ec2::take_token(const std::string& name, double capacity, double refill_per_second) {
  const Instant now = env_.loop.now();
  auto [bucket, fresh] = buckets_.try_emplace(name, Bucket{capacity, now});
  Bucket& b = bucket->second;
  b.tokens = std::min(capacity, b.tokens + static_cast<double>((now - b.at).count()) / 1000.0 * refill_per_second);
  b.at = now;
  if (b.tokens < 1) return false;
  b.tokens -= 1;
  return true;
}

Task<Reply> Ec2::handle(Call call) {
  if (call.operation == kReadSnapshot) co_return co_await Service::handle(std::move(call));
  if (auto allowed = throttle(call); !allowed) co_return std::unexpected(allowed.error());
  const auto internal = [] { return cloud::error("InternalError", "An internal error has occurred", 500); };
  if (env_.loop.entropy().chance(behaviour_.fail_call)) co_return internal();
  if (behaviour_.denied.contains(call.operation))
    co_return cloud::error("UnauthorizedOperation", "You are not authorized to perform this operation.", 403);
  if (call.input["DryRun"].bool_or(false))
    co_return cloud::error("DryRunOperation", "Request would have succeeded, but DryRun flag is set.", 412);
  Reply reply = co_await Service::handle(std::move(call));
  if (reply && env_.loop.entropy().chance(behaviour_.lose_reply)) co_return internal();
  co_return reply;
}

void Ec2::restore() {
  each_row("volumes", [&](const std::string& id, const Json& row) { volumes_[id] = Volume::from_row(row); });
  each_row("images", [&](const std::string& id, const Json& row) { images_[id] = Image::from_row(row); });
  each_row("instances", [&](const std::string& id, const Json& row) { instances_[id] = Instance::from_row(row); });
  each_row("snapshots", [&](const std::string& id, const Json& row) { snapshots_[id] = Snapshot::from_row(row); });
  each_row("counters", [&](const std::string&, const Json& row) { content_ids_ = row.integer_or(0); });
  each_row("late_events", [&](const std::string& key, const Json& row) {
    deliver_late(key, parse_iso(row["at"].string_or()).value_or(Instant{}), row["event"]);
  });
  for (const auto& [id, s] : snapshots_) schedule(s);
}

namespace {
bool shown(const Snapshot& s, const std::string& region) { return s.region == region && !s.deleted && s.state != "recoverable"; }
cloud::Snapshot as_seen(const Snapshot& s) {
  return {.id = s.id,
          .volume_id = s.volume_id,
          .state = s.state,
          .state_message = s.state_message,
          .description = s.description,
          .owner_id = s.owner,
          .started = s.started,
          .size_gib = s.size_gib,
          .encrypted = s.encrypted,
          .tags = cloud::tags_of(s.tags)};
}
}  // namespace

std::vector<cloud::Snapshot> Ec2::inspect(const std::string& region) const {
  std::vector<cloud::Snapshot> out;
  for (const auto& [id, s] : snapshots_)
    if (shown(s, region)) out.push_back(as_seen(s));
  return out;
}
std::optional<cloud::Snapshot> Ec2::inspect(const std::string& region, const std::string& id) const {
  const auto found = snapshots_.find(id);
  return found == snapshots_.end() || !shown(found->second, region) ? std::nullopt : std::optional(as_seen(found->second));
}

std::map<std::string, std::int64_t> Ec2::owned_bytes(const std::string& region) const {
  std::map<std::string, std::vector<const Snapshot*>> lineages;
  for (const auto& [id, s] : snapshots_)
    if (s.region == region && s.state == "completed") lineages[s.lineage].push_back(&s);
  std::map<std::string, std::int64_t> out;
  for (auto& [lineage, chain] : lineages) {
    std::sort(chain.begin(), chain.end(),
              [](const Snapshot* a, const Snapshot* b) { return std::pair(a->started, a->id) < std::pair(b->started, b->id); });
    const BlockMap nothing;
    for (std::size_t i = 0; i < chain.size(); ++i)
      out[chain[i]->id] = chain[i]->content->changed_since(i ? *chain[i - 1]->content : nothing) * kBlockBytes;
  }
  return out;
}

}  // namespace snapward::services::ec2
