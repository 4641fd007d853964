#include "services/ec2/resources.hpp"

namespace snapward::services::ec2 {

namespace {
Json millis(Instant at) { return at.time_since_epoch().count(); }
Instant instant(const Json& json) { return Instant(Duration(json.integer_or(0))); }
std::string text(const Json& json) { return std::string(json.string_or()); }
}  // namespace

Json Volume::to_row() const {
  Json::Array attached;
  for (const auto& a : attachments)
    attached.push_back(
        Json::object({{"instance", a.instance_id}, {"device", a.device}, {"at", millis(a.at)}, {"delete", a.delete_on_termination}}));
  return Json::object({{"id", id},
                       {"region", region},
                       {"zone", zone},
                       {"type", type},
                       {"snapshot", snapshot_id},
                       {"kms", kms_key_id},
                       {"size", size_gib},
                       {"iops", iops},
                       {"throughput", throughput},
                       {"encrypted", encrypted},
                       {"created", millis(created)},
                       {"last_write", millis(last_write)},
                       {"attachments", std::move(attached)},
                       {"tags", tags},
                       {"content", content->to_json()},
                       {"lineage", lineage},
                       {"extra", extra}});
}

Volume Volume::from_row(const Json& r) {
  Volume v;
  v.id = text(r["id"]);
  v.region = text(r["region"]);
  v.zone = text(r["zone"]);
  v.type = text(r["type"]);
  v.snapshot_id = text(r["snapshot"]);
  v.kms_key_id = text(r["kms"]);
  v.size_gib = r["size"].integer_or(0);
  v.iops = r["iops"].integer_or(0);
  v.throughput = r["throughput"].integer_or(0);
  v.encrypted = r["encrypted"].bool_or(false);
  v.created = instant(r["created"]);
  v.last_write = instant(r["last_write"]);
  for (const Json& a : r["attachments"].items())
    v.attachments.push_back({text(a["instance"]), text(a["device"]), instant(a["at"]), a["delete"].bool_or(false)});
  v.tags = r["tags"];
  v.content = std::make_shared<BlockMap>(BlockMap::from_json(r["content"]));
  v.lineage = text(r["lineage"]);
  v.extra = r["extra"];
  return v;
}

Json Snapshot::to_row() const {
  Json::Object out{{"id", id},
                   {"region", region},
                   {"volume", volume_id},
                   {"description", description},
                   {"state", state},
                   {"message", state_message},
                   {"kms", kms_key_id},
                   {"owner", owner},
                   {"size", size_gib},
                   {"encrypted", encrypted},
                   {"started", millis(started)},
                   {"completes", millis(completes)},
                   {"completed", millis(completed)},
                   {"tags", tags},
                   {"content", content->to_json()},
                   {"lineage", lineage},
                   {"transferred", transferred_blocks},
                   {"source_region", source_region},
                   {"source", source_id},
                   {"incremental", incremental},
                   {"failure", failure},
                   {"deleted", deleted},
                   {"batch", batch},
                   {"bin_entered", millis(bin_entered)},
                   {"bin_exits", millis(bin_exits)}};
  if (!lock.mode.empty())
    out.set("lock", Json::object({{"mode", lock.mode},
                                  {"created", millis(lock.created)},
                                  {"cool_off_ends", millis(lock.cool_off_ends)},
                                  {"expires", millis(lock.expires)},
                                  {"days", lock.duration_days},
                                  {"hours", lock.cool_off_hours}}));
  return out;
}

Snapshot Snapshot::from_row(const Json& r) {
  Snapshot s;
  s.id = text(r["id"]);
  s.region = text(r["region"]);
  s.volume_id = text(r["volume"]);
  s.description = text(r["description"]);
  s.state = text(r["state"]);
  s.state_message = text(r["message"]);
  s.kms_key_id = text(r["kms"]);
  s.owner = text(r["owner"]);
  s.size_gib = r["size"].integer_or(0);
  s.encrypted = r["encrypted"].bool_or(false);
  s.started = instant(r["started"]);
  s.completes = instant(r["completes"]);
  s.completed = instant(r["completed"]);
  s.tags = r["tags"];
  s.content = std::make_shared<BlockMap>(BlockMap::from_json(r["content"]));
  s.lineage = text(r["lineage"]);
  s.transferred_blocks = r["transferred"].integer_or(0);
  s.source_region = text(r["source_region"]);
  s.source_id = text(r["source"]);
  s.incremental = r["incremental"].bool_or(false);
  s.failure = text(r["failure"]);
  s.deleted = r["deleted"].bool_or(false);
  s.batch = text(r["batch"]);
  s.bin_entered = instant(r["bin_entered"]);
  s.bin_exits = instant(r["bin_exits"]);
  if (const Json* lock = r.find("lock"))
    s.lock = {text((*lock)["mode"]),       instant((*lock)["created"]),   instant((*lock)["cool_off_ends"]),
              instant((*lock)["expires"]), (*lock)["days"].integer_or(0), (*lock)["hours"].integer_or(0)};
  return s;
}

Json Image::to_row() const {
  Json::Array snapshots;
  for (const auto& s : snapshot_ids) snapshots.emplace_back(s);
  return Json::object({{"id", id},
                       {"region", region},
                       {"name", name},
                       {"description", description},
                       {"state", state},
                       {"created", millis(created)},
                       {"snapshots", std::move(snapshots)},
                       {"mappings", mappings},
                       {"tags", tags},
                       {"root", root_device}});
}

Image Image::from_row(const Json& r) {
  Image i;
  i.id = text(r["id"]);
  i.region = text(r["region"]);
  i.name = text(r["name"]);
  i.description = text(r["description"]);
  i.state = text(r["state"]);
  i.created = instant(r["created"]);
  for (const Json& s : r["snapshots"].items()) i.snapshot_ids.push_back(text(s));
  i.mappings = r["mappings"];
  i.tags = r["tags"];
  i.root_device = text(r["root"]);
  return i;
}

Json Instance::to_row() const {
  return Json::object({{"id", id},
                       {"region", region},
                       {"zone", zone},
                       {"image", image_id},
                       {"type", type},
                       {"state", state},
                       {"launched", millis(launched)},
                       {"tags", tags},
                       {"root", root_device}});
}

Instance Instance::from_row(const Json& r) {
  Instance i;
  i.id = text(r["id"]);
  i.region = text(r["region"]);
  i.zone = text(r["zone"]);
  i.image_id = text(r["image"]);
  i.type = text(r["type"]);
  i.state = text(r["state"]);
  i.launched = instant(r["launched"]);
  i.tags = r["tags"];
  i.root_device = text(r["root"]);
  return i;
}

}  // namespace snapward::services::ec2
