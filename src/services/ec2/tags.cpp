#include <fmt/format.h>

#include "base/text.hpp"
#include "services/ec2/ec2.hpp"

namespace snapward::services::ec2 {

namespace {
constexpr std::size_t kMaxTags = 50;  // of a resource's user
}

void Ec2::register_tags() {
  on("CreateTags", [this](const Call& c) { return create_tags(c); });
  on("DeleteTags", [this](const Call& c) { return delete_tags(c); });
  on("DescribeTags", [this](const Call& c) { return describe_tags(c); });
}

Ec2::Check Ec2::check_tags(const Json& tags) const {
  if (tags.items().size() > kMaxTags)
    return cloud::error("TagLimitExceeded", "The maximum number of Tags for a resource has been reached.");
  for (const Json& tag : tags.items()) {
    const std::string_view key = tag["Key"].string_or(), value = tag["Value"].string_or();
    if (key.empty() || utf8_length(key) > 127)
      return cloud::error("InvalidParameterValue",
                          fmt::format("Tag key exceeds the maximum length of 127 characters or is empty: '{}'", key));
    if (utf8_length(value) > 255) return cloud::error("InvalidParameterValue", "Tag value exceeds the maximum length of 255 characters");
    if (lower(key).starts_with("aws:"))
      return cloud::error("InvalidParameterValue", fmt::format("Tag keys starting with 'aws:' are reserved for internal use: '{}'", key));
  }
  return {};
}

std::expected<Json, cloud::Error> Ec2::specified_tags(const Call& call, std::string_view resource_type) const {
  Json out = Json(Json::Array{});
  for (const Json& spec : call.input["TagSpecifications"].items()) {
    if (spec["ResourceType"].string_or() != resource_type) {
      const bool allowed = call.operation == "RunInstances" || call.operation == "CreateImage" || call.operation == "CreateSnapshots";
      if (allowed) continue;
      return cloud::error("InvalidParameterValue",
                          fmt::format("'{}' is not a valid taggable resource type for this operation.", spec["ResourceType"].string_or()));
    }
    if (auto fine = check_tags(spec["Tags"]); !fine) return std::unexpected(fine.error());
    out = merge_tags(out, spec["Tags"]);
  }
  return out;
}

Json* Ec2::tags_of(const std::string& region, const std::string& id, std::string& table) {
  const auto in = [&](auto& map, const char* name) -> Json* {
    const auto found = map.find(id);
    if (found == map.end() || found->second.region != region) return nullptr;
    table = name;
    return &found->second.tags;
  };
  if (id.starts_with("vol-")) return in(volumes_, "volumes");
  if (id.starts_with("snap-")) return in(snapshots_, "snapshots");
  if (id.starts_with("ami-")) return in(images_, "images");
  return in(instances_, "instances");
}

Reply Ec2::create_tags(const Call& call) {
  if (auto fine = check_tags(call.input["Tags"]); !fine) return std::unexpected(fine.error());
  std::string table;
  for (const Json& id : call.input["Resources"].items()) {
    const std::string text(id.string_or());
    Json* tags = tags_of(call.region, text, table);
    if (!tags) {
      if (text.starts_with("snap-"))
        return cloud::error("InvalidSnapshot.NotFound", fmt::format("The snapshot '{}' does not exist.", text));
      if (text.starts_with("vol-")) return cloud::error("InvalidVolume.NotFound", fmt::format("The volume '{}' does not exist.", text));
      return cloud::error("InvalidID", fmt::format("The ID '{}' is not valid", text));
    }
    if (merge_tags(*tags, call.input["Tags"]).items().size() > kMaxTags)
      return cloud::error("TagLimitExceeded", "The maximum number of Tags for a resource has been reached.");
  }
  for (const Json& id : call.input["Resources"].items()) {
    Json* tags = tags_of(call.region, std::string(id.string_or()), table);
    *tags = merge_tags(*tags, call.input["Tags"]);
    const std::string key(id.string_or());
    if (table == "volumes") save(table, key, volumes_.at(key).to_row());
    if (table == "snapshots") store(snapshots_.at(key));
    if (table == "images") save(table, key, images_.at(key).to_row());
    if (table == "instances") save(table, key, instances_.at(key).to_row());
  }
  return Json(Json::Object{});
}

Reply Ec2::delete_tags(const Call& call) {
  std::string table;
  for (const Json& id : call.input["Resources"].items()) {
    const std::string key(id.string_or());
    Json* tags = tags_of(call.region, key, table);
    if (!tags) continue;
    Json::Array left;
    for (const Json& tag : tags->items()) {
      bool goes = !call.input.find("Tags");  // no tags named: all of them
      for (const Json& wanted : call.input["Tags"].items())
        goes = goes || (wanted["Key"] == tag["Key"] && (!wanted.find("Value") || wanted["Value"] == tag["Value"]));
      if (!goes) left.push_back(tag);
    }
    *tags = Json(std::move(left));
    if (table == "volumes") save(table, key, volumes_.at(key).to_row());
    if (table == "snapshots") store(snapshots_.at(key));
    if (table == "images") save(table, key, images_.at(key).to_row());
    if (table == "instances") save(table, key, instances_.at(key).to_row());
  }
  return Json(Json::Object{});
}

Reply Ec2::describe_tags(const Call& call) {
  Json::Array out;
  cloud::Error problem;
  const auto list = [&](const auto& map, const char* type) {
    for (const auto& [id, resource] : map) {
      if (resource.region != call.region) continue;
      for (const Json& tag : resource.tags.items()) {
        const auto pass = passes(call.input["Filters"], Json(Json::Array{}),
                                 [&, &key = id](const std::string& name) -> std::optional<std::vector<std::string>> {
                                   if (name == "resource-id") return std::vector{key};
                                   if (name == "resource-type") return std::vector{std::string(type)};
                                   if (name == "key") return std::vector{std::string(tag["Key"].string_or())};
                                   if (name == "value") return std::vector{std::string(tag["Value"].string_or())};
                                   return std::nullopt;
                                 });
        if (!pass)
          problem = pass.error();
        else if (*pass)
          out.push_back(Json::object({{"Key", tag["Key"]}, {"Value", tag["Value"]}, {"ResourceId", id}, {"ResourceType", type}}));
      }
    }
  };
  list(volumes_, "volume");
  list(snapshots_, "snapshot");
  list(images_, "image");
  list(instances_, "instance");
  if (!problem.code.empty()) return std::unexpected(problem);
  return Json::object({{"Tags", std::move(out)}});
}

}  // namespace snapward::services::ec2
