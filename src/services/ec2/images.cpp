// Images, because they pin the snapshots they were made of, even when disabled.
#include <fmt/format.h>

#include "services/ec2/ec2.hpp"

namespace snapward::services::ec2 {

void Ec2::register_images() {
  on("RegisterImage", [this](const Call& c) { return register_image(c); });
  on("CreateImage", [this](const Call& c) { return create_image(c); });
  on("DeregisterImage", [this](const Call& c) { return deregister_image(c); });
  on("DisableImage", [this](const Call& c) { return disable_image(c); });
  on("EnableImage", [this](const Call& c) { return disable_image(c); });
  on("DescribeImages", [this](const Call& c) { return describe_images(c); });
}

const Image* Ec2::image_using(const std::string& snapshot_id) const {
  for (const auto& [id, image] : images_)
    if (std::find(image.snapshot_ids.begin(), image.snapshot_ids.end(), snapshot_id) != image.snapshot_ids.end()) return &image;
  return nullptr;
}

Reply Ec2::register_image(const Call& call) {
  Image image;
  image.region = call.region;
  image.name = call.input["Name"].string_or();
  image.description = call.input["Description"].string_or();
  image.root_device = call.input["RootDeviceName"].string_or("/dev/xvda");
  for (const auto& [id, other] : images_)
    if (other.region == call.region && other.name == image.name)
      return cloud::error("InvalidAMIName.Duplicate", fmt::format("AMI name {} is already in use by AMI {}", image.name, id));
  for (const Json& m : call.input["BlockDeviceMappings"].items())
    if (const Json* id = m["Ebs"].find("SnapshotId")) {
      const auto s = find_snapshot(call.region, std::string(id->string_or()));
      if (!s) return std::unexpected(s.error());
      image.snapshot_ids.push_back((*s)->id);
    }
  image.mappings = call.input["BlockDeviceMappings"];
  auto tags = specified_tags(call, "image");
  if (!tags) return std::unexpected(tags.error());
  image.tags = *std::move(tags);
  image.id = "ami-0" + env_.loop.entropy().hex(16);
  image.created = env_.loop.now();
  save("images", image.id, image.to_row());
  images_[image.id] = image;
  return Json::object({{"ImageId", image.id}});
}

// An image of an instance: a snapshot of each of its volumes, pinned.
Reply Ec2::create_image(const Call& call) {
  const std::string instance(call.input["InstanceId"].string_or());
  const auto i = instances_.find(instance);
  if (i == instances_.end() || i->second.region != call.region)
    return cloud::error("InvalidInstanceID.NotFound", fmt::format("The instance ID '{}' does not exist", instance));
  Image image;
  image.id = "ami-0" + env_.loop.entropy().hex(16);
  image.region = call.region;
  image.name = call.input["Name"].string_or();
  image.description = call.input["Description"].string_or();
  image.created = env_.loop.now();
  image.root_device = i->second.root_device;
  Json::Array mappings;
  for (auto& [id, v] : volumes_)
    for (const auto& a : v.attachments) {
      if (a.instance_id != instance) continue;
      auto s = snapshot_of(v, fmt::format("Created by CreateImage({}) for {}", instance, image.id), Json(Json::Array{}));
      if (!s) return std::unexpected(s.error());
      image.snapshot_ids.push_back((*s)->id);
      mappings.push_back(
          Json::object({{"DeviceName", a.device},
                        {"Ebs", Json::object({{"SnapshotId", (*s)->id}, {"VolumeSize", v.size_gib}, {"VolumeType", v.type}})}}));
    }
  image.mappings = Json(std::move(mappings));
  save("images", image.id, image.to_row());
  images_[image.id] = image;
  return Json::object({{"ImageId", image.id}});
}

Reply Ec2::deregister_image(const Call& call) {
  const std::string id(call.input["ImageId"].string_or());
  const auto image = images_.find(id);
  if (image == images_.end() || image->second.region != call.region)
    return cloud::error("InvalidAMIID.NotFound", fmt::format("The image id '[{}]' does not exist", id));
  drop("images", id);
  images_.erase(image);
  return Json(Json::Object{});
}

Reply Ec2::disable_image(const Call& call) {
  const std::string id(call.input["ImageId"].string_or());
  const auto image = images_.find(id);
  if (image == images_.end() || image->second.region != call.region)
    return cloud::error("InvalidAMIID.NotFound", fmt::format("The image id '[{}]' does not exist", id));
  image->second.state = call.operation == "DisableImage" ? "disabled" : "available";
  save("images", id, image->second.to_row());
  return Json::object({{"Return", true}});
}

Reply Ec2::describe_images(const Call& call) {
  Json::Array out;
  const auto& wanted = call.input["ImageIds"].items();
  for (const Json& id : wanted)
    if (!images_.contains(id.string_or()))
      return cloud::error("InvalidAMIID.NotFound", fmt::format("The image id '[{}]' does not exist", id.string_or()));
  for (const auto& [id, image] : images_) {
    // An image is pending while a snapshot of it is.
    const auto pending = [this](const std::string& s) { return snapshots_.contains(s) && snapshots_.at(s).state == "pending"; };
    const bool made = std::none_of(image.snapshot_ids.begin(), image.snapshot_ids.end(), pending);
    const std::string state = made ? image.state : "pending";
    if (image.region != call.region || (!wanted.empty() && std::find(wanted.begin(), wanted.end(), Json(id)) == wanted.end())) continue;
    const auto pass =
        passes(call.input["Filters"], image.tags, [&, &i = image](const std::string& name) -> std::optional<std::vector<std::string>> {
          if (name == "image-id") return std::vector{i.id};
          if (name == "name") return std::vector{i.name};
          if (name == "state") return std::vector{state};
          if (name == "block-device-mapping.snapshot-id") return i.snapshot_ids;
          return std::nullopt;
        });
    if (!pass) return std::unexpected(pass.error());
    if (!*pass) continue;
    Json::Object json{{"ImageId", id},
                      {"Name", image.name},
                      {"Description", image.description},
                      {"State", state},
                      {"OwnerId", env_.account},
                      {"Public", false},
                      {"CreationDate", iso_millis(image.created)},
                      {"RootDeviceName", image.root_device},
                      {"RootDeviceType", "ebs"},
                      {"BlockDeviceMappings", image.mappings}};
    if (!image.tags.items().empty()) json.set("Tags", image.tags);
    out.emplace_back(std::move(json));
  }
  return Json::object({{"Images", std::move(out)}});
}

}  // namespace snapward::services::ec2
