#include "cloud/ec2.hpp"

namespace snapward::cloud {

std::string Snapshot::tag(std::string_view key) const {
  const auto found = tags.find(key);
  return found == tags.end() ? std::string() : found->second;
}

Tags tags_of(const Json& list) {
  Tags out;
  for (const Json& tag : list.items()) out.insert_or_assign(std::string(tag["Key"].string_or()), std::string(tag["Value"].string_or()));
  return out;
}

Json tag_list(const Tags& tags) {
  Json::Array out;
  for (const auto& [key, value] : tags) out.push_back(Json::object({{"Key", key}, {"Value", value}}));
  return out;
}

Json tag_specifications(std::string_view resource_type, const Tags& tags) {
  return Json::array({Json::object({{"ResourceType", resource_type}, {"Tags", tag_list(tags)}})});
}

Snapshot Snapshot::from_json(const Json& json) {
  Snapshot s;
  s.id = json["SnapshotId"].string_or();
  s.volume_id = json["VolumeId"].string_or();
  s.state = json["State"].string_or();
  s.state_message = json["StateMessage"].string_or();
  s.description = json["Description"].string_or();
  s.owner_id = json["OwnerId"].string_or();
  s.started = parse_iso(json["StartTime"].string_or()).value_or(Instant{});
  s.size_gib = json["VolumeSize"].integer_or(0);
  s.encrypted = json["Encrypted"].bool_or(false);
  s.tags = tags_of(json["Tags"]);
  return s;
}

Task<Answer<std::vector<Volume>>> describe_volumes(Cloud& cloud, std::string region) {
  std::vector<Volume> out;
  std::string token;
  do {
    Json::Object input{{"MaxResults", 500}};
    if (!token.empty()) input.set("NextToken", token);
    const Reply reply = co_await cloud.call({"ec2", region, "DescribeVolumes", std::move(input)});
    if (!reply) co_return std::unexpected(reply.error());
    for (const Json& v : (*reply)["Volumes"].items())
      out.push_back({.id = std::string(v["VolumeId"].string_or()),
                     .size_gib = v["Size"].integer_or(0),
                     .created = parse_iso(v["CreateTime"].string_or()).value_or(Instant{}),
                     .tags = tags_of(v["Tags"])});
    token = (*reply)["NextToken"].string_or();
  } while (!token.empty());
  co_return out;
}

Task<Answer<std::vector<Snapshot>>> describe_snapshots(Cloud& cloud, std::string region, std::vector<Filter> filters) {
  Json::Array wire;
  for (const Filter& f : filters) {
    Json::Array values;
    for (const std::string& v : f.values) values.emplace_back(v);
    wire.push_back(Json::object({{"Name", f.name}, {"Values", std::move(values)}}));
  }
  std::vector<Snapshot> out;
  std::string token;
  do {
    Json::Object input{{"OwnerIds", Json::array({"self"})}, {"MaxResults", 1000}};
    if (!wire.empty()) input.set("Filters", wire);
    if (!token.empty()) input.set("NextToken", token);
    const Reply reply = co_await cloud.call({"ec2", region, "DescribeSnapshots", std::move(input)});
    if (!reply) co_return std::unexpected(reply.error());
    for (const Json& s : (*reply)["Snapshots"].items()) out.push_back(Snapshot::from_json(s));
    token = (*reply)["NextToken"].string_or();
  } while (!token.empty());
  co_return out;
}

Task<Answer<std::optional<Snapshot>>> find_snapshot(Cloud& cloud, std::string region, std::string id) {
  Json input = Json::object({{"SnapshotIds", Json::array({id})}});
  const Reply reply = co_await cloud.call({"ec2", region, "DescribeSnapshots", std::move(input)});
  if (!reply) {
    if (kind_of(reply.error()) == Kind::not_found) co_return std::optional<Snapshot>();
    co_return std::unexpected(reply.error());
  }
  const auto& found = (*reply)["Snapshots"].items();
  co_return found.empty() ? std::optional<Snapshot>() : std::optional(Snapshot::from_json(found[0]));
}

Task<Answer<std::optional<Tags>>> volume_tags(Cloud& cloud, std::string region, std::string id) {
  Json input = Json::object({{"VolumeIds", Json::array({id})}});
  const Reply reply = co_await cloud.call({"ec2", region, "DescribeVolumes", std::move(input)});
  if (!reply) {
    if (kind_of(reply.error()) == Kind::not_found) co_return std::optional<Tags>();
    co_return std::unexpected(reply.error());
  }
  const auto& found = (*reply)["Volumes"].items();
  co_return found.empty() ? std::optional<Tags>() : std::optional(tags_of(found[0]["Tags"]));
}

Task<Answer<Json>> create_tags(Cloud& cloud, std::string region, std::string id, Tags tags) {
  Json input = Json::object({{"Resources", Json::array({id})}, {"Tags", tag_list(tags)}});
  co_return co_await cloud.call({"ec2", region, "CreateTags", std::move(input)});
}

}  // namespace snapward::cloud
