#include <fmt/format.h>

#include "services/ec2/ec2.hpp"

namespace snapward::services::ec2 {

void Ec2::register_volumes() {
  on("CreateVolume", [this](const Call& c) { return create_volume(c); });
  on("DeleteVolume", [this](const Call& c) { return delete_volume(c); });
  on("DescribeVolumes", [this](const Call& c) { return describe_volumes(c); });
  on("AttachVolume", [this](const Call& c) { return attach_volume(c); });
  on("DetachVolume", [this](const Call& c) { return detach_volume(c); });
  on("RunInstances", [this](const Call& c) { return run_instances(c); });
  on("TerminateInstances", [this](const Call& c) { return terminate_instances(c); });
  on("DescribeInstances", [this](const Call& c) { return describe_instances(c); });
}

std::expected<Volume*, cloud::Error> Ec2::find_volume(const std::string& region, const std::string& id) {
  if (!id.starts_with("vol-"))
    return cloud::error("InvalidVolumeID.Malformed", fmt::format("Invalid id: \"{}\" (expecting \"vol-...\")", id));
  const auto found = volumes_.find(id);
  if (found == volumes_.end() || found->second.region != region)
    return cloud::error("InvalidVolume.NotFound", fmt::format("The volume '{}' does not exist.", id));
  return &found->second;
}

Json Ec2::volume_json(const Volume& v) const {
  Json::Array attachments;
  for (const auto& a : v.attachments)
    attachments.push_back(Json::object({{"AttachTime", iso_millis(a.at)},
                                        {"Device", a.device},
                                        {"InstanceId", a.instance_id},
                                        {"State", "attached"},
                                        {"VolumeId", v.id},
                                        {"DeleteOnTermination", a.delete_on_termination}}));
  Json::Object out{{"VolumeId", v.id},
                   {"AvailabilityZone", v.zone},
                   {"CreateTime", iso_millis(v.created)},
                   {"Encrypted", v.encrypted},
                   {"Size", v.size_gib},
                   {"SnapshotId", v.snapshot_id},
                   {"State", v.attachments.empty() ? "available" : "in-use"},
                   {"VolumeType", v.type},
                   {"Attachments", std::move(attachments)},
                   {"MultiAttachEnabled", false}};
  if (v.type != "st1" && v.type != "sc1" && v.type != "standard") out.set("Iops", v.iops);
  if (v.type == "gp3") out.set("Throughput", v.throughput);
  if (!v.kms_key_id.empty()) out.set("KmsKeyId", v.kms_key_id);
  if (!v.tags.items().empty()) out.set("Tags", v.tags);
  return out;
}

Volume& Ec2::add_volume(Volume v) {
  v.id = "vol-0" + env_.loop.entropy().hex(16);
  v.created = v.last_write = env_.loop.now();
  if (v.lineage.empty()) v.lineage = "dek-" + env_.loop.entropy().hex(16);
  if (v.snapshot_id.empty()) {
    auto content = std::make_shared<BlockMap>();
    content->write(0, static_cast<std::int64_t>(static_cast<double>(v.size_gib * kBlocksPerGib) * behaviour_.used_fraction),
                   ++content_ids_);
    v.content = std::move(content);
    save("counters", "content", content_ids_);
  }
  Volume& added = volumes_[v.id] = std::move(v);
  save("volumes", added.id, added.to_row());
  return added;
}

Reply Ec2::create_volume(const Call& call) {
  const Json& in = call.input;
  Volume v;
  v.region = call.region;
  v.zone = in["AvailabilityZone"].string_or();
  if (v.zone.size() != call.region.size() + 1 || !v.zone.starts_with(call.region) || v.zone.back() < 'a' || v.zone.back() > 'f')
    return cloud::error("InvalidParameterValue", fmt::format("Invalid availability zone: [{}]", v.zone));
  v.type = in["VolumeType"].string_or("gp2");
  struct Limits {
    const char* type;
    std::int64_t least, most;
  };
  const Limits* limits = nullptr;
  static constexpr Limits kLimits[] = {{"gp2", 1, 16384},   {"gp3", 1, 16384},   {"io1", 4, 16384},    {"io2", 4, 65536},
                                       {"st1", 125, 16384}, {"sc1", 125, 16384}, {"standard", 1, 1024}};
  for (const Limits& l : kLimits)
    if (v.type == l.type) limits = &l;
  if (!limits) return cloud::error("InvalidParameterValue", fmt::format("Value ({}) for parameter volumeType is invalid.", v.type));
  v.size_gib = in["Size"].integer_or(0);
  v.encrypted = in["Encrypted"].bool_or(false) || in.find("KmsKeyId");
  v.kms_key_id = in["KmsKeyId"].string_or();
  if (const Json* from = in.find("SnapshotId")) {
    const auto source = find_snapshot(call.region, std::string(from->string_or()));
    if (!source) return std::unexpected(source.error());
    if ((*source)->state != "completed")
      return cloud::error("IncorrectState", fmt::format("Snapshot '{}' is not in the completed state.", (*source)->id));
    v.snapshot_id = (*source)->id;
    v.content = (*source)->content;
    if (v.size_gib == 0) v.size_gib = (*source)->size_gib;
    if (v.size_gib < (*source)->size_gib)
      return cloud::error("InvalidParameterValue", fmt::format("The volume size is invalid for EBS volumes: snapshot '{}' has {} GiB.",
                                                               v.snapshot_id, (*source)->size_gib));
    v.encrypted = v.encrypted || (*source)->encrypted;
  } else if (v.size_gib == 0) {
    return cloud::error("MissingParameter", "The request must contain the parameter size/snapshot");
  }
  if (v.size_gib < limits->least || v.size_gib > limits->most)
    return cloud::error("InvalidParameterValue", fmt::format("Volume of {}GiB is {} for volume type {}; {} is {}GiB.", v.size_gib,
                                                             v.size_gib < limits->least ? "too small" : "too large", v.type,
                                                             v.size_gib < limits->least ? "minimum" : "maximum",
                                                             v.size_gib < limits->least ? limits->least : limits->most));
  if (v.encrypted && v.kms_key_id.empty()) v.kms_key_id = fmt::format("arn:aws:kms:{}:{}:alias/aws/ebs", call.region, env_.account);
  const bool provisioned = v.type == "io1" || v.type == "io2";
  if (provisioned && !in.find("Iops"))
    return cloud::error("MissingParameter", fmt::format("The parameter iops must be specified for {} volumes.", v.type));
  for (const auto& [member, name, taken] :
       {std::tuple{"Iops", "iops", provisioned || v.type == "gp3"}, std::tuple{"Throughput", "throughput", v.type == "gp3"}})
    if (!taken && in.find(member))
      return cloud::error("InvalidParameterCombination", fmt::format("The parameter {} is not supported for {} volumes.", name, v.type));
  v.iops = in["Iops"].integer_or(v.type == "gp2" ? std::clamp<std::int64_t>(v.size_gib * 3, 100, 16000) : 3000);
  v.throughput = in["Throughput"].integer_or(125);
  auto tags = specified_tags(call, "volume");
  if (!tags) return std::unexpected(tags.error());
  v.tags = *std::move(tags);
  // Made at once, but as at AWS the answer still says that it is being made.
  Json::Object made = volume_json(add_volume(std::move(v))).as_object();
  made.set("State", "creating");
  return Json(std::move(made));
}

Reply Ec2::delete_volume(const Call& call) {
  const auto v = find_volume(call.region, std::string(call.input["VolumeId"].string_or()));
  if (!v) return std::unexpected(v.error());
  if (!(*v)->attachments.empty())
    return cloud::error("VolumeInUse", fmt::format("Volume {} is currently attached to {}", (*v)->id, (*v)->attachments[0].instance_id));
  drop("volumes", (*v)->id);
  volumes_.erase((*v)->id);
  return Json(Json::Object{});
}

Reply Ec2::describe_volumes(const Call& call) {
  const Json& in = call.input;
  for (const Json& id : in["VolumeIds"].items())
    if (const auto v = find_volume(call.region, std::string(id.string_or())); !v) return std::unexpected(v.error());
  std::vector<std::string> ids;
  for (const auto& [id, v] : volumes_) {
    const auto& wanted = in["VolumeIds"].items();
    if (v.region != call.region || (!wanted.empty() && std::find(wanted.begin(), wanted.end(), Json(id)) == wanted.end())) continue;
    const auto pass = passes(in["Filters"], v.tags, [&, &vol = v](const std::string& name) -> std::optional<std::vector<std::string>> {
      const auto one = [](std::string value) { return std::vector{std::move(value)}; };
      if (name == "volume-id") return one(vol.id);
      if (name == "availability-zone") return one(vol.zone);
      if (name == "status") return one(vol.attachments.empty() ? "available" : "in-use");
      if (name == "encrypted") return one(vol.encrypted ? "true" : "false");
      if (name == "size") return one(std::to_string(vol.size_gib));
      if (name == "snapshot-id") return one(vol.snapshot_id);
      if (name == "volume-type") return one(vol.type);
      if (name == "create-time") return one(iso_millis(vol.created));
      if (name == "attachment.instance-id" || name == "attachment.device" || name == "attachment.status") {
        std::vector<std::string> out;
        for (const auto& a : vol.attachments)
          out.push_back(name == "attachment.instance-id" ? a.instance_id : name == "attachment.device" ? a.device : "attached");
        return out;
      }
      return std::nullopt;
    });
    if (!pass) return std::unexpected(pass.error());
    if (*pass) ids.push_back(id);
  }
  const auto page = paginate(in, ids, 5, 1000);
  if (!page) return std::unexpected(page.error());
  Json::Array out;
  for (std::size_t i = page->from; i < page->to; ++i) out.push_back(volume_json(volumes_.at(ids[i])));
  Json::Object reply{{"Volumes", std::move(out)}};
  reply.set_if(!page->next_token.empty(), "NextToken", page->next_token);
  return Json(std::move(reply));
}

// A few runs of blocks at random places, in proportion to the time gone by: enough for sizes and costs to be those of a used volume.
void Ec2::churn(Volume& v) {
  const double days = static_cast<double>((env_.loop.now() - v.last_write).count()) / 86'400'000.0;
  const std::int64_t total = v.size_gib * kBlocksPerGib;
  const auto changed = static_cast<std::int64_t>(static_cast<double>(total) * std::min(1.0, behaviour_.daily_change * days));
  v.last_write = env_.loop.now();
  if (changed < 1) return;
  auto content = std::make_shared<BlockMap>(*v.content);
  constexpr std::int64_t kRuns = 4;
  for (std::int64_t i = 0; i < kRuns; ++i) {
    const std::int64_t count = std::max<std::int64_t>(1, changed / kRuns);
    content->write(
        static_cast<std::int64_t>(env_.loop.entropy().below(static_cast<std::uint64_t>(std::max<std::int64_t>(1, total - count)))), count,
        ++content_ids_);
  }
  v.content = std::move(content);
  save("counters", "content", content_ids_);
  save("volumes", v.id, v.to_row());
}

Reply Ec2::attach_volume(const Call& call) {
  const auto v = find_volume(call.region, std::string(call.input["VolumeId"].string_or()));
  if (!v) return std::unexpected(v.error());
  const std::string instance(call.input["InstanceId"].string_or());
  const auto i = instances_.find(instance);
  if (i == instances_.end() || i->second.region != call.region || i->second.state == "terminated")
    return cloud::error("InvalidInstanceID.NotFound", fmt::format("The instance ID '{}' does not exist", instance));
  if (!(*v)->attachments.empty()) return cloud::error("VolumeInUse", fmt::format("{} is already attached to an instance", (*v)->id));
  if ((*v)->zone != i->second.zone)
    return cloud::error("InvalidVolume.ZoneMismatch",
                        fmt::format("The volume '{}' is not in the same availability zone as instance '{}'", (*v)->id, instance));
  (*v)->attachments.push_back({instance, std::string(call.input["Device"].string_or()), env_.loop.now(), false});
  save("volumes", (*v)->id, (*v)->to_row());
  return Json::object({{"AttachTime", iso_millis(env_.loop.now())},
                       {"Device", call.input["Device"]},
                       {"InstanceId", instance},
                       {"State", "attached"},
                       {"VolumeId", (*v)->id}});
}

Reply Ec2::detach_volume(const Call& call) {
  const auto v = find_volume(call.region, std::string(call.input["VolumeId"].string_or()));
  if (!v) return std::unexpected(v.error());
  if ((*v)->attachments.empty()) return cloud::error("IncorrectState", fmt::format("Volume '{}' is in the 'available' state.", (*v)->id));
  const Attachment gone = (*v)->attachments[0];
  (*v)->attachments.clear();
  save("volumes", (*v)->id, (*v)->to_row());
  return Json::object({{"AttachTime", iso_millis(gone.at)},
                       {"Device", gone.device},
                       {"InstanceId", gone.instance_id},
                       {"State", "detached"},
                       {"VolumeId", (*v)->id}});
}

Json Ec2::instance_json(const Instance& i) const {
  Json::Array mappings;
  for (const auto& [id, v] : volumes_)
    for (const auto& a : v.attachments)
      if (a.instance_id == i.id)
        mappings.push_back(Json::object({{"DeviceName", a.device},
                                         {"Ebs", Json::object({{"AttachTime", iso_millis(a.at)},
                                                               {"DeleteOnTermination", a.delete_on_termination},
                                                               {"Status", "attached"},
                                                               {"VolumeId", id}})}}));
  Json::Object out{{"InstanceId", i.id},
                   {"ImageId", i.image_id},
                   {"InstanceType", i.type},
                   {"LaunchTime", iso_millis(i.launched)},
                   {"RootDeviceName", i.root_device},
                   {"RootDeviceType", "ebs"},
                   {"State", Json::object({{"Code", i.state == "terminated" ? 48 : 16}, {"Name", i.state}})},
                   {"Placement", Json::object({{"AvailabilityZone", i.zone}})},
                   {"BlockDeviceMappings", std::move(mappings)}};
  if (!i.tags.items().empty()) out.set("Tags", i.tags);
  return out;
}

// Instances exist so that volumes are attached to something (CreateSnapshots takes an instance); nothing runs on them.
Reply Ec2::run_instances(const Call& call) {
  const Json& in = call.input;
  auto instance_tags = specified_tags(call, "instance");
  auto volume_tags = specified_tags(call, "volume");
  if (!instance_tags) return std::unexpected(instance_tags.error());
  if (!volume_tags) return std::unexpected(volume_tags.error());
  const std::int64_t count = in["MaxCount"].integer_or(1);
  if (count < 1 || count > 100)
    return cloud::error("InvalidParameterValue", fmt::format("Value ({}) for parameter maxCount is invalid.", count));
  Json::Array out;
  for (std::int64_t n = 0; n < count; ++n) {
    Instance i;
    i.id = "i-0" + env_.loop.entropy().hex(16);
    i.region = call.region;
    i.zone = in["Placement"]["AvailabilityZone"].string_or(call.region + "a");
    i.image_id = in["ImageId"].string_or("ami-00000000000000000");
    i.type = in["InstanceType"].string_or("m1.small");
    i.launched = env_.loop.now();
    i.tags = *instance_tags;
    Json::Array mappings = in["BlockDeviceMappings"].items();
    if (std::none_of(mappings.begin(), mappings.end(), [&](const Json& m) { return m["DeviceName"].string_or() == i.root_device; }))
      mappings.insert(mappings.begin(), Json::object({{"DeviceName", i.root_device}, {"Ebs", Json::object({{"VolumeSize", 8}})}}));
    instances_[i.id] = i;
    for (const Json& m : mappings) {
      Volume v;
      v.region = call.region;
      v.zone = i.zone;
      v.type = m["Ebs"]["VolumeType"].string_or("gp3");
      v.size_gib = m["Ebs"]["VolumeSize"].integer_or(8);
      v.encrypted = m["Ebs"]["Encrypted"].bool_or(false);
      v.tags = *volume_tags;
      v.attachments.push_back(
          {i.id, std::string(m["DeviceName"].string_or()), env_.loop.now(), m["Ebs"]["DeleteOnTermination"].bool_or(true)});
      add_volume(std::move(v));
    }
    save("instances", i.id, i.to_row());
    out.push_back(instance_json(i));
  }
  return Json::object({{"Instances", std::move(out)}, {"OwnerId", env_.account}, {"ReservationId", "r-0" + env_.loop.entropy().hex(16)}});
}

Reply Ec2::terminate_instances(const Call& call) {
  Json::Array out;
  for (const Json& wanted : call.input["InstanceIds"].items()) {
    const auto i = instances_.find(wanted.string_or());
    if (i == instances_.end() || i->second.region != call.region)
      return cloud::error("InvalidInstanceID.NotFound", fmt::format("The instance ID '{}' does not exist", wanted.string_or()));
    out.push_back(Json::object({{"InstanceId", i->first},
                                {"PreviousState", Json::object({{"Code", 16}, {"Name", i->second.state}})},
                                {"CurrentState", Json::object({{"Code", 48}, {"Name", "terminated"}})}}));
    i->second.state = "terminated";
    save("instances", i->first, i->second.to_row());
    for (auto v = volumes_.begin(); v != volumes_.end();) {
      auto& attached = v->second.attachments;
      const auto a = std::find_if(attached.begin(), attached.end(), [&](const Attachment& x) { return x.instance_id == i->first; });
      if (a == attached.end()) {
        ++v;
        continue;
      }
      const bool goes = a->delete_on_termination;
      attached.erase(a);
      if (goes) {
        drop("volumes", v->first);
        v = volumes_.erase(v);
      } else {
        save("volumes", v->first, v->second.to_row());
        ++v;
      }
    }
  }
  return Json::object({{"TerminatingInstances", std::move(out)}});
}

Reply Ec2::describe_instances(const Call& call) {
  Json::Array out;
  const auto& wanted = call.input["InstanceIds"].items();
  for (const auto& [id, i] : instances_) {
    if (i.region != call.region || (!wanted.empty() && std::find(wanted.begin(), wanted.end(), Json(id)) == wanted.end())) continue;
    const auto pass =
        passes(call.input["Filters"], i.tags, [&, &instance = i](const std::string& name) -> std::optional<std::vector<std::string>> {
          if (name == "instance-id") return std::vector{instance.id};
          if (name == "instance-state-name") return std::vector{instance.state};
          if (name == "availability-zone") return std::vector{instance.zone};
          if (name == "instance-type") return std::vector{instance.type};
          return std::nullopt;
        });
    if (!pass) return std::unexpected(pass.error());
    if (*pass)
      out.push_back(Json::object(
          {{"ReservationId", "r-" + id.substr(2)}, {"OwnerId", env_.account}, {"Instances", Json::array({instance_json(i)})}}));
  }
  for (const Json& id : wanted)
    if (!instances_.contains(id.string_or()))
      return cloud::error("InvalidInstanceID.NotFound", fmt::format("The instance ID '{}' does not exist", id.string_or()));
  return Json::object({{"Reservations", std::move(out)}});
}

}  // namespace snapward::services::ec2
