#include <fmt/format.h>

#include "services/ec2/ec2.hpp"
#include "services/regions.hpp"

namespace snapward::services::ec2 {

namespace {

constexpr std::int64_t kMaxPendingPerAccount = 100;
constexpr std::int64_t kMaxSnapshotsPerRegion = 100'000;
// AWS names no figures for the rate of one volume, only the wait after it: 15 seconds.
constexpr double kVolumeBurst = 5, kVolumeRefillPerSecond = 1.0 / 15;

// The region sits in the account's slot in these notifications (EBS User Guide, "Amazon EventBridge events for Amazon EBS").
std::string notification_arn(const std::string& region, const char* kind, const std::string& id) {
  return fmt::format("arn:aws:ec2::{}:{}/{}", region, kind, id);
}

// How AWS Backup describes what it makes; here that is all there is of it.
constexpr std::string_view kBackupDescription = "This snapshot is created by the AWS Backup service";
constexpr const char* kKmsMessage = "Given key ID is not accessible";

}  // namespace

void Ec2::register_snapshots() {
  on("CreateSnapshot", [this](const Call& c) { return create_snapshot(c); });
  on("CreateSnapshots", [this](const Call& c) { return create_snapshots(c); });
  on_async("CopySnapshot", [this](Call c) { return copy_snapshot(std::move(c)); });
  on(kReadSnapshot, [this](const Call& c) -> Reply {
    const auto found = find_snapshot(c.region, std::string(c.input["SnapshotId"].string_or()));
    if (!found) return std::unexpected(found.error());
    return (*found)->to_row();
  });
  on("DeleteSnapshot", [this](const Call& c) { return delete_snapshot(c); });
  on("DescribeSnapshots", [this](const Call& c) { return describe_snapshots(c); });
  on("LockSnapshot", [this](const Call& c) { return lock_snapshot(c); });
  on("UnlockSnapshot", [this](const Call& c) { return unlock_snapshot(c); });
  on("DescribeLockedSnapshots", [this](const Call& c) { return describe_locked_snapshots(c); });
  on("ListSnapshotsInRecycleBin", [this](const Call& c) { return list_bin(c); });
  on("RestoreSnapshotFromRecycleBin", [this](const Call& c) { return restore_from_bin(c); });
}

std::expected<Snapshot*, cloud::Error> Ec2::find_snapshot(const std::string& region, const std::string& id) {
  if (!id.starts_with("snap-"))
    return cloud::error("InvalidSnapshotID.Malformed", fmt::format("Invalid id: \"{}\" (expecting \"snap-...\")", id));
  const auto found = snapshots_.find(id);
  if (found == snapshots_.end() || found->second.region != region || found->second.deleted || found->second.state == "recoverable")
    return cloud::error("InvalidSnapshot.NotFound", fmt::format("The snapshot '{}' does not exist.", id));
  return &found->second;
}

Json Ec2::snapshot_json(const Snapshot& s) const {
  std::int64_t percent = 100;
  if (s.state == "pending") {
    const auto span = (s.completes - s.started).count();
    percent = span > 0 ? std::clamp<std::int64_t>((env_.loop.now() - s.started).count() * 100 / span, 0, 99) : 0;
  } else if (s.state == "error") {
    percent = 0;
  }
  Json::Object out{{"SnapshotId", s.id},
                   {"VolumeId", s.volume_id},
                   {"State", s.state},
                   {"StartTime", iso_millis(s.started)},
                   {"Progress", fmt::format("{}%", percent)},
                   {"OwnerId", s.owner},
                   {"Description", s.description},
                   {"VolumeSize", s.size_gib},
                   {"Encrypted", s.encrypted},
                   {"StorageTier", "standard"}};
  if (s.state == "completed") {
    out.set("CompletionTime", iso_millis(s.completed));
    out.set("FullSnapshotSizeInBytes", s.content->blocks() * kBlockBytes);
  }
  if (s.is_copy()) out.set("TransferType", "standard");
  if (!s.state_message.empty()) out.set("StateMessage", s.state_message);
  if (!s.kms_key_id.empty()) out.set("KmsKeyId", s.kms_key_id).set("DataEncryptionKeyId", s.lineage);
  if (!s.tags.items().empty()) out.set("Tags", s.tags);
  return out;
}

const Snapshot* Ec2::newest_of_lineage(const std::string& region, const std::string& lineage, bool pending_too) const {
  const Snapshot* best = nullptr;
  for (const auto& [id, s] : snapshots_)
    if (s.region == region && s.lineage == lineage && !s.deleted && (s.state == "completed" || (pending_too && s.state == "pending")) &&
        (!best || s.started > best->started))
      best = &s;
  return best;
}

std::expected<Snapshot*, cloud::Error> Ec2::snapshot_of(Volume& volume, const std::string& description, Json tags) {
  std::int64_t pending = 0, pending_here = 0, all = 0;
  for (const auto& [id, s] : snapshots_) {
    all += s.region == volume.region ? 1 : 0;
    if (s.state != "pending" || s.is_copy() || s.region != volume.region) continue;
    ++pending;
    if (s.volume_id == volume.id) ++pending_here;
  }
  const bool cold = volume.type == "st1" || volume.type == "sc1";
  if (pending_here >= (cold ? 1 : behaviour_.pending_per_volume))
    return cloud::error("ConcurrentSnapshotLimitExceeded",
                        fmt::format("Maximum allowed in-progress snapshots for a single volume exceeded: {}.", volume.id));
  if (pending >= kMaxPendingPerAccount) return cloud::error("PendingSnapshotLimitExceeded", "Maximum allowed pending snapshots exceeded.");
  if (all >= kMaxSnapshotsPerRegion) return cloud::error("SnapshotLimitExceeded", "Maximum allowed snapshot limit exceeded.");
  if (behaviour_.throttling && !take_token("volume/" + volume.id, kVolumeBurst, kVolumeRefillPerSecond))
    return cloud::error("SnapshotCreationPerVolumeRateExceeded",
                        "The maximum per volume CreateSnapshot request rate has been exceeded. Use an increasing or variable sleep "
                        "interval between requests.");

  churn(volume);
  Snapshot s;
  s.id = "snap-0" + env_.loop.entropy().hex(16);
  s.region = volume.region;
  s.volume_id = volume.id;
  s.description = description;
  s.owner = env_.account;
  s.size_gib = volume.size_gib;
  s.encrypted = volume.encrypted;
  s.kms_key_id = volume.kms_key_id;
  s.tags = std::move(tags);
  s.content = volume.content;
  s.lineage = volume.lineage;
  s.started = env_.loop.now();
  const Snapshot* before = newest_of_lineage(s.region, s.lineage, true);
  s.incremental = before != nullptr;
  s.transferred_blocks = before ? s.content->changed_since(*before->content) : s.content->blocks();
  Instant begins = s.started;
  if (before && before->state == "pending") begins = std::max(begins, before->completes);  // several of one volume complete in order
  s.completes = begins + behaviour_.snapshot_overhead + Duration(s.transferred_blocks * 500 / behaviour_.mib_per_second);
  if (env_.loop.entropy().chance(behaviour_.fail_snapshot)) s.failure = "Snapshot creation failed due to an internal error";
  Snapshot& added = snapshots_[s.id] = std::move(s);
  store(added);
  schedule(added);
  return &added;
}

Reply Ec2::create_snapshot(const Call& call) {
  const auto v = find_volume(call.region, std::string(call.input["VolumeId"].string_or()));
  if (!v) return std::unexpected(v.error());
  const std::string description(call.input["Description"].string_or());
  if (description.size() > 255) return cloud::error("InvalidParameterValue", "Description is longer than 255 characters.");
  auto tags = specified_tags(call, "snapshot");
  if (!tags) return std::unexpected(tags.error());
  auto s = snapshot_of(**v, description, *std::move(tags));
  if (!s) return std::unexpected(s.error());
  return snapshot_json(**s);
}

Reply Ec2::create_snapshots(const Call& call) {
  const Json& spec = call.input["InstanceSpecification"];
  const std::string instance(spec["InstanceId"].string_or());
  const auto i = instances_.find(instance);
  if (i == instances_.end() || i->second.region != call.region || i->second.state == "terminated")
    return cloud::error("InvalidInstanceID.NotFound", fmt::format("The instance ID '{}' does not exist", instance));
  auto tags = specified_tags(call, "snapshot");
  if (!tags) return std::unexpected(tags.error());
  std::vector<Volume*> chosen;
  for (auto& [id, v] : volumes_)
    for (const auto& a : v.attachments) {
      const auto& excluded = spec["ExcludeDataVolumeIds"].items();
      const bool boot = a.device == i->second.root_device;
      if (a.instance_id != instance || (boot && spec["ExcludeBootVolume"].bool_or(false)) ||
          std::find(excluded.begin(), excluded.end(), Json(id)) != excluded.end())
        continue;
      chosen.push_back(&v);
    }
  if (chosen.empty()) return cloud::error("InvalidParameterCombination", "No volumes are left to snapshot.");
  const std::string batch = env_.loop.entropy().uuid();
  Json::Array out;
  for (Volume* v : chosen) {
    Json own = *tags;
    if (call.input["CopyTagsFromSource"].string_or() == "volume") own = merge_tags(v->tags, own);
    auto s = snapshot_of(*v, std::string(call.input["Description"].string_or()), std::move(own));
    if (!s) return std::unexpected(s.error());
    (*s)->batch = batch;
    store(**s);
    const Json json = snapshot_json(**s);
    out.push_back(json);
  }
  return Json::object({{"Snapshots", std::move(out)}});
}

// The snapshot as it is now; its region may live in another process.
Task<std::expected<Snapshot, cloud::Error>> Ec2::source_of_copy(std::string region, std::string id) {
  if (env_.here(name(), region)) {
    const auto found = find_snapshot(region, id);
    if (!found) co_return std::unexpected(found.error());
    co_return **found;
  }
  const Reply row = co_await env_.cloud->call({name(), region, kReadSnapshot, Json::object({{"SnapshotId", id}})});
  if (!row) co_return std::unexpected(row.error());
  co_return Snapshot::from_row(*row);
}

// Asked of the destination region; the source region is a parameter.
Task<Reply> Ec2::copy_snapshot(Call call) {
  const Json& in = call.input;
  const std::string from(in["SourceRegion"].string_or()), id(in["SourceSnapshotId"].string_or());
  if (!is_region(from))
    co_return cloud::error(
        "InvalidRegion",
        fmt::format("The specified region '{}' is not valid. Specify the source region by its code, for example us-west-2.", from));
  if (const Json* to = in.find("DestinationRegion"); to && to->string_or() != call.region)
    co_return cloud::error(
        "InvalidParameterValue",
        fmt::format("The destination region {} does not match the region {} that the request was sent to.", to->string_or(), call.region));
  const std::expected<Snapshot, cloud::Error> found = co_await source_of_copy(from, id);
  if (!found) co_return std::unexpected(found.error());
  const Snapshot& source = *found;
  if (source.state != "completed")
    co_return cloud::error("IncorrectState", fmt::format("The snapshot '{}' is not in the completed state; it is {}.", id, source.state));
  std::int64_t running = 0;
  for (const auto& [other, s] : snapshots_) running += s.region == call.region && s.is_copy() && s.state == "pending" ? 1 : 0;
  if (running >= behaviour_.copy_limit)
    co_return cloud::error(
        "ResourceLimitExceeded",
        fmt::format("Too many snapshot copies in progress. The limit is {} for this destination region.", behaviour_.copy_limit));
  auto tags = specified_tags(call, "snapshot");
  if (!tags) co_return std::unexpected(tags.error());

  Snapshot s;
  s.id = "snap-0" + env_.loop.entropy().hex(16);
  s.region = call.region;
  s.volume_id = "vol-ffffffff";  // a copy's volume is nobody's: EBS gives it an arbitrary id
  s.description = in["Description"].string_or();
  s.owner = env_.account;
  s.size_gib = source.size_gib;
  s.kms_key_id = in["KmsKeyId"].string_or();
  s.encrypted = source.encrypted || in["Encrypted"].bool_or(false) || !s.kms_key_id.empty();
  if (s.encrypted && s.kms_key_id.empty()) s.kms_key_id = fmt::format("arn:aws:kms:{}:{}:alias/aws/ebs", call.region, env_.account);
  s.tags = *std::move(tags);
  s.content = source.content;
  s.lineage = source.lineage;
  s.source_region = from;
  s.source_id = id;
  s.started = env_.loop.now();
  // Only what the newest copy of this lineage lacks crosses over, and only if it is under the same key.
  const Snapshot* before = newest_of_lineage(call.region, s.lineage, true);
  s.incremental = before && before->kms_key_id == s.kms_key_id && before->encrypted == s.encrypted;
  s.transferred_blocks = s.incremental ? s.content->changed_since(*before->content) : s.content->blocks();
  Instant begins = s.started;
  if (before && before->state == "pending") begins = std::max(begins, before->completes);
  s.completes = begins + behaviour_.copy_overhead + Duration(s.transferred_blocks * 500 / behaviour_.mib_per_second);
  // EBS looks at the key only once it copies: a key of another region fails late, as does any injected failure.
  const bool foreign_key = s.kms_key_id.starts_with("arn:aws:kms:") && !s.kms_key_id.starts_with("arn:aws:kms:" + call.region + ':');
  if (foreign_key || env_.loop.entropy().chance(behaviour_.fail_copy)) s.failure = kKmsMessage;
  const Snapshot& added = snapshots_[s.id] = std::move(s);
  store(added);
  schedule(added);
  Json::Object out{{"SnapshotId", added.id}};
  if (!added.tags.items().empty()) out.set("Tags", added.tags);
  co_return Json(std::move(out));
}

void Ec2::schedule(const Snapshot& s) {
  if (s.state == "pending") env_.loop.at(s.completes, [this, id = s.id] { complete(id); });
  if (s.state == "recoverable")
    env_.loop.at(s.bin_exits, [this, id = s.id] {
      const auto found = snapshots_.find(id);
      if (found != snapshots_.end() && found->second.state == "recoverable" && found->second.bin_exits <= env_.loop.now()) remove(id);
    });
}

void Ec2::complete(const std::string& id) {
  const auto found = snapshots_.find(id);
  if (found == snapshots_.end() || found->second.state != "pending") return;
  Snapshot& s = found->second;
  s.state = s.failure.empty() ? "completed" : "error";
  s.state_message = s.failure;
  s.completed = env_.loop.now();
  store(s);
  announce(s);
  const std::string batch = s.batch;
  if (s.deleted) remove(id);
  if (!batch.empty()) announce_batch(batch);
}

void Ec2::remove(std::string id) {  // NOLINT(performance-unnecessary-value-param): see the header
  snapshots_.erase(id);
  drop("snapshots", id);
}

void Ec2::announce(const Snapshot& s) {
  const bool good = s.state == "completed";
  Json::Object detail{{"event", s.is_copy() ? "copySnapshot" : "createSnapshot"},
                      {"result", good ? "succeeded" : "failed"},
                      {"cause", s.state_message},
                      {"request-id", ""},
                      {"snapshot_id", notification_arn(s.region, "snapshot", s.id)},
                      {"source", s.is_copy() ? notification_arn(s.source_region, "snapshot", s.source_id)
                                             : notification_arn(s.region, "volume", s.volume_id)},
                      {"startTime", iso_seconds(s.started)},
                      {"endTime", iso_seconds(s.completed)}};
  if (s.is_copy()) detail.set("incremental", s.incremental ? "true" : "false").set("transferType", "standard");
  emit(s.region, "EBS Snapshot Notification", Json::array({notification_arn(s.region, "snapshot", s.id)}), std::move(detail));
}

// When the last of a CreateSnapshots is done, one event tells of all.
void Ec2::announce_batch(const std::string& batch) {
  Json::Array arns, list;
  std::string region, bad;
  Instant started = env_.loop.now();
  for (const auto& [id, s] : snapshots_) {
    if (s.batch != batch) continue;
    if (s.state == "pending") return;
    region = s.region;
    started = std::min(started, s.started);
    if (s.state == "error") bad = id;
    arns.push_back(notification_arn(s.region, "snapshot", id));
    list.push_back(Json::object({{"snapshot_id", arns.back()},
                                 {"source", notification_arn(s.region, "volume", s.volume_id)},
                                 {"status", s.state == "error" ? "error" : "completed"}}));
  }
  if (arns.empty()) return;
  emit(region, "EBS Multi-Volume Snapshots Completion Status", arns,
       Json::object({{"event", "createSnapshots"},
                     {"result", bad.empty() ? "succeeded" : "failed"},
                     {"cause", bad.empty() ? "" : fmt::format("Snapshot {} is in status error", bad)},
                     {"request-id", ""},
                     {"startTime", iso_seconds(started)},
                     {"endTime", iso_seconds(env_.loop.now())},
                     {"snapshots", list}}));
}

// EBS delivers its events at best effort; so do we, when told to.
void Ec2::emit(const std::string& region, std::string detail_type, Json resources, Json detail) {
  Entropy& chance = env_.loop.entropy();
  const Json event = Json::object({{"version", "0"},
                                   {"id", chance.uuid()},
                                   {"detail-type", detail_type},
                                   {"source", "aws.ec2"},
                                   {"account", env_.account},
                                   {"time", iso_seconds(env_.loop.now())},
                                   {"region", region},
                                   {"resources", std::move(resources)},
                                   {"detail", std::move(detail)}});
  if (chance.chance(behaviour_.drop_event)) return;
  const int times = chance.chance(behaviour_.duplicate_event) ? 2 : 1;
  for (int i = 0; i < times; ++i) {
    if (i > 0 || chance.chance(behaviour_.delay_event)) {
      const auto longest = static_cast<std::uint64_t>(behaviour_.max_event_delay.count());
      const Instant at = env_.loop.now() + Duration(static_cast<std::int64_t>(chance.below(longest + 1)));
      const std::string key = chance.uuid();
      save("late_events", key, Json::object({{"at", iso_millis(at)}, {"event", event}}));
      deliver_late(key, at, event);
    } else {
      env_.publish(region, event);
    }
  }
}

// Late is not lost: it is kept until it is told.
void Ec2::deliver_late(const std::string& key, Instant at, const Json& event) {
  env_.loop.at(at, [this, key, event] {
    drop("late_events", key);
    env_.publish(std::string(event["region"].string_or()), event);
  });
}

Reply Ec2::delete_snapshot(const Call& call) {
  const auto found = find_snapshot(call.region, std::string(call.input["SnapshotId"].string_or()));
  if (!found) return std::unexpected(found.error());
  Snapshot& s = **found;
  if (const Image* image = image_using(s.id))
    return cloud::error("InvalidSnapshot.InUse", fmt::format("The snapshot {} is currently in use by {}", s.id, image->id));
  if (!s.lock.mode.empty() && (s.lock.expires > env_.loop.now()))
    return cloud::error("SnapshotLocked", fmt::format("The snapshot {} is locked and can't be deleted", s.id));
  if (s.description.starts_with(kBackupDescription))
    return cloud::error("InvalidParameterValue",
                        "This snapshot is managed by the AWS Backup service and cannot be deleted via EC2 APIs. If you wish to delete "
                        "this snapshot, please do so via the Backup console.");
  if (s.state == "pending") {  // completes first, and counts until then
    s.deleted = true;
    store(s);
    return Json(Json::Object{});
  }
  const Duration keep = recycle_bin && s.state == "completed" ? recycle_bin(call.region, s.tags) : Duration(0);
  if (keep > Duration(0)) {
    s.state = "recoverable";
    s.bin_entered = env_.loop.now();
    s.bin_exits = s.bin_entered + keep;
    store(s);
    schedule(s);
  } else {
    remove(s.id);
  }
  return Json(Json::Object{});
}

Reply Ec2::describe_snapshots(const Call& call) {
  const Json& in = call.input;
  const auto& wanted = in["SnapshotIds"].items();
  if (!wanted.empty() && in.find("MaxResults"))
    return cloud::error("InvalidParameterCombination", "The parameter snapshotIds cannot be used with the parameter maxResults");
  for (const Json& id : wanted)
    if (const auto s = find_snapshot(call.region, std::string(id.string_or())); !s) return std::unexpected(s.error());
  const auto& owners = in["OwnerIds"].items();
  const bool own = owners.empty() || std::any_of(owners.begin(), owners.end(),
                                                 [&](const Json& o) { return o.string_or() == "self" || o.string_or() == env_.account; });
  std::vector<std::string> ids;
  for (const auto& [id, s] : snapshots_) {
    if (!own || s.region != call.region || s.deleted || s.state == "recoverable") continue;
    if (!wanted.empty() && std::find(wanted.begin(), wanted.end(), Json(id)) == wanted.end()) continue;
    const auto pass = passes(in["Filters"], s.tags, [&, &snapshot = s](const std::string& name) -> std::optional<std::vector<std::string>> {
      const auto one = [](std::string value) { return std::vector{std::move(value)}; };
      if (name == "snapshot-id") return one(snapshot.id);
      if (name == "volume-id") return one(snapshot.volume_id);
      if (name == "status") return one(snapshot.state);
      if (name == "description") return one(snapshot.description);
      if (name == "owner-id") return one(snapshot.owner);
      if (name == "owner-alias") return std::vector<std::string>{};
      if (name == "encrypted") return one(snapshot.encrypted ? "true" : "false");
      if (name == "volume-size") return one(std::to_string(snapshot.size_gib));
      if (name == "start-time") return one(iso_millis(snapshot.started));
      if (name == "progress") return one(std::string(snapshot_json(snapshot)["Progress"].string_or()));
      if (name == "storage-tier") return one("standard");
      if (name == "transfer-type") return snapshot.is_copy() ? one("standard") : std::vector<std::string>{};
      return std::nullopt;
    });
    if (!pass) return std::unexpected(pass.error());
    if (*pass) ids.push_back(id);
  }
  const auto page = paginate(in, ids, 5, 1000);
  if (!page) return std::unexpected(page.error());
  Json::Array out;
  for (std::size_t i = page->from; i < page->to; ++i) out.push_back(snapshot_json(snapshots_.at(ids[i])));
  Json::Object reply{{"Snapshots", std::move(out)}};
  reply.set_if(!page->next_token.empty(), "NextToken", page->next_token);
  return Json(std::move(reply));
}

// ── Locks ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

Json Ec2::lock_json(const Snapshot& s) const {
  const Instant now = env_.loop.now();
  std::string state = s.lock.mode;
  if (s.lock.expires <= now)
    state = "expired";
  else if (s.lock.mode == "compliance" && s.lock.cool_off_ends > now)
    state = "compliance-cooloff";
  Json::Object out{{"SnapshotId", s.id},
                   {"OwnerId", s.owner},
                   {"LockState", state},
                   {"LockDuration", s.lock.duration_days},
                   {"LockCreatedOn", iso_millis(s.lock.created)},
                   {"LockDurationStartTime", iso_millis(s.lock.created)},
                   {"LockExpiresOn", iso_millis(s.lock.expires)}};
  if (s.lock.cool_off_hours > 0)
    out.set("CoolOffPeriod", s.lock.cool_off_hours).set("CoolOffPeriodExpiresOn", iso_millis(s.lock.cool_off_ends));
  return out;
}

Reply Ec2::lock_snapshot(const Call& call) {
  const auto found = find_snapshot(call.region, std::string(call.input["SnapshotId"].string_or()));
  if (!found) return std::unexpected(found.error());
  Snapshot& s = **found;
  const std::string mode(call.input["LockMode"].string_or());
  if (mode != "governance" && mode != "compliance")
    return cloud::error("InvalidParameterValue", fmt::format("Value ({}) for parameter lockMode is invalid.", mode));
  const Json* days = call.input.find("LockDuration");
  const Json* expires = call.input.find("ExpirationDate");
  if ((days != nullptr) == (expires != nullptr))
    return cloud::error("InvalidParameterCombination", "You must specify either LockDuration or ExpirationDate, but not both.");
  const Instant now = env_.loop.now();
  Lock lock{.mode = mode, .created = now, .cool_off_ends = now, .expires = now, .duration_days = 0, .cool_off_hours = 0};
  if (days) {
    lock.duration_days = days->integer_or(0);
    if (lock.duration_days < 1 || lock.duration_days > 36500)
      return cloud::error("InvalidParameterValue", "LockDuration must be from 1 to 36500 days.");
    lock.expires = now + std::chrono::hours(24 * lock.duration_days);
  } else {
    lock.expires = parse_iso(expires->string_or()).value_or(now);
    if (lock.expires - now < std::chrono::hours(24))
      return cloud::error("InvalidParameterValue", "ExpirationDate must be at least 1 day in the future.");
    lock.duration_days = (lock.expires - now) / std::chrono::hours(24);
  }
  if (const Json* hours = call.input.find("CoolOffPeriod")) {
    if (mode != "compliance") return cloud::error("InvalidParameterCombination", "CoolOffPeriod is only valid for the compliance mode.");
    lock.cool_off_hours = hours->integer_or(0);
    if (lock.cool_off_hours < 1 || lock.cool_off_hours > 72)
      return cloud::error("InvalidParameterValue", "CoolOffPeriod must be from 1 to 72 hours.");
    lock.cool_off_ends = now + std::chrono::hours(lock.cool_off_hours);
  }
  const bool firm = s.lock.mode == "compliance" && s.lock.expires > now && s.lock.cool_off_ends <= now;
  if (firm && (mode != "compliance" || lock.expires < s.lock.expires))
    return cloud::error("IncorrectState", fmt::format("The lock of snapshot {} in compliance mode can only be extended.", s.id));
  s.lock = lock;
  store(s);
  return lock_json(s);
}

Reply Ec2::unlock_snapshot(const Call& call) {
  const auto found = find_snapshot(call.region, std::string(call.input["SnapshotId"].string_or()));
  if (!found) return std::unexpected(found.error());
  Snapshot& s = **found;
  if (s.lock.mode.empty()) return cloud::error("IncorrectState", fmt::format("The snapshot {} is not locked.", s.id));
  if (s.lock.mode == "compliance" && s.lock.cool_off_ends <= env_.loop.now() && s.lock.expires > env_.loop.now())
    return cloud::error("IncorrectState", fmt::format("The snapshot {} is locked in compliance mode and can't be unlocked.", s.id));
  s.lock = {};
  store(s);
  return Json::object({{"SnapshotId", s.id}});
}

Reply Ec2::describe_locked_snapshots(const Call& call) {
  Json::Array out;
  const auto& wanted = call.input["SnapshotIds"].items();
  for (const auto& [id, s] : snapshots_) {
    if (s.region != call.region || s.lock.mode.empty() || s.deleted || s.state == "recoverable") continue;
    if (!wanted.empty() && std::find(wanted.begin(), wanted.end(), Json(id)) == wanted.end()) continue;
    const Json json = lock_json(s);
    const auto pass = passes(call.input["Filters"], s.tags, [&](const std::string& name) -> std::optional<std::vector<std::string>> {
      if (name == "lock-state") return std::vector{std::string(json["LockState"].string_or())};
      return std::nullopt;
    });
    if (!pass) return std::unexpected(pass.error());
    if (*pass) out.push_back(json);
  }
  return Json::object({{"Snapshots", std::move(out)}});
}

// ── Recycle Bin ────────────────────────────────────────────────────────────────────────────────────────────────────────────────

Reply Ec2::list_bin(const Call& call) {
  Json::Array out;
  const auto& wanted = call.input["SnapshotIds"].items();
  for (const auto& [id, s] : snapshots_) {
    if (s.region != call.region || s.state != "recoverable") continue;
    if (!wanted.empty() && std::find(wanted.begin(), wanted.end(), Json(id)) == wanted.end()) continue;
    out.push_back(Json::object({{"SnapshotId", id},
                                {"VolumeId", s.volume_id},
                                {"Description", s.description},
                                {"RecycleBinEnterTime", iso_millis(s.bin_entered)},
                                {"RecycleBinExitTime", iso_millis(s.bin_exits)}}));
  }
  return Json::object({{"Snapshots", std::move(out)}});
}

Reply Ec2::restore_from_bin(const Call& call) {
  const std::string id(call.input["SnapshotId"].string_or());
  const auto found = snapshots_.find(id);
  if (found == snapshots_.end() || found->second.region != call.region || found->second.state != "recoverable")
    return cloud::error("InvalidSnapshot.NotFound", fmt::format("The snapshot '{}' does not exist.", id));
  found->second.state = "completed";
  found->second.bin_entered = found->second.bin_exits = {};
  store(found->second);
  return snapshot_json(found->second);
}

void Ec2::metrics(Metrics& m) const {
  for (const auto& [operation, n] : throttled_)
    m.counter("snapward_throttles_total", "Calls refused with RequestLimitExceeded, by operation.", static_cast<double>(n),
              {{"operation", operation}});
  std::map<std::pair<std::string, std::string>, std::int64_t> by_state;  // region, state
  std::map<std::pair<std::string, std::string>, Instant> newest;         // region, volume → start of its newest completed snapshot
  for (const auto& [id, s] : snapshots_) {
    ++by_state[{s.region, s.state}];
    if (s.state == "completed" && !s.is_copy()) {
      Instant& at = newest[{s.region, s.volume_id}];
      at = std::max(at, s.started);
    }
  }
  for (const auto& [key, n] : by_state)
    m.gauge("snapward_snapshots", "Snapshots, by region and state.", static_cast<double>(n),
            {{"region", key.first}, {"state", key.second}});
  const auto seconds = [](Duration d) { return static_cast<double>(d.count()) / 1000.0; };
  for (const auto& [id, v] : volumes_) {
    const auto found = newest.find({v.region, id});
    // A volume never snapshotted is as old as it is itself: its whole life would be lost.
    const Instant since = found == newest.end() ? v.created : found->second;
    m.gauge("snapward_volume_unprotected_seconds", "Since the newest completed snapshot of a volume was taken: what its loss would lose.",
            seconds(env_.loop.now() - since), {{"region", v.region}, {"volume", id}});
  }
}

}  // namespace snapward::services::ec2
