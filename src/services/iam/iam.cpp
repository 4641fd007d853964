#include "services/iam/iam.hpp"

#include <fmt/format.h>

#include "base/text.hpp"

namespace snapward::services::iam {

std::expected<Iam::Role*, cloud::Error> Iam::find(const Call& call) {
  const auto found = roles_.find(call.input["RoleName"].string_or());
  if (found == roles_.end())
    return cloud::error("NoSuchEntity", fmt::format("The role with name {} cannot be found.", call.input["RoleName"].string_or()), 404);
  return &found->second;
}

void Iam::store(const std::string& name, const Role& role) {
  Json::Object policies;
  for (const auto& [policy, document] : role.policies) policies.set(policy, document);
  save("roles", name, Json::object({{"json", role.json}, {"policies", std::move(policies)}, {"attached", role.attached}}));
}

void Iam::restore() {
  each_row("roles", [&](const std::string& name, const Json& row) {
    Role role{.json = row["json"], .policies = {}, .attached = row["attached"]};
    for (const auto& [policy, document] : row["policies"].as_object()) role.policies[policy] = document.string_or();
    roles_[name] = std::move(role);
  });
}

Iam::Iam(Environment& env) : Service("iam", env) {
  on("CreateRole", [this](const Call& call) -> Reply {
    const std::string name(call.input["RoleName"].string_or());
    if (name.empty() || name.size() > 64) return cloud::error("ValidationError", "The specified value for roleName is invalid.");
    if (roles_.contains(name)) return cloud::error("EntityAlreadyExists", fmt::format("Role with name {} already exists.", name), 409);
    if (!Json::parse(call.input["AssumeRolePolicyDocument"].string_or()))
      return cloud::error("MalformedPolicyDocument", "This policy contains invalid Json");
    const std::string path(call.input["Path"].string_or("/"));
    Json::Object json{{"Path", path},
                      {"RoleName", name},
                      {"RoleId", "AROA" + env_.loop.entropy().hex(16)},
                      {"Arn", fmt::format("arn:aws:iam::{}:role{}{}", env_.account, path, name)},
                      {"CreateDate", iso_millis(env_.loop.now())},
                      {"AssumeRolePolicyDocument", percent_encode(call.input["AssumeRolePolicyDocument"].string_or())},
                      {"MaxSessionDuration", 3600}};
    for (const char* field : {"Description", "Tags"})
      if (const Json* value = call.input.find(field)) json.set(field, *value);
    Role& role = roles_[name];
    role.json = Json(std::move(json));
    store(name, role);
    return Json::object({{"Role", role.json}});
  });
  on("GetRole", [this](const Call& call) -> Reply {
    const auto role = find(call);
    if (!role) return std::unexpected(role.error());
    return Json::object({{"Role", (*role)->json}});
  });
  on("ListRoles", [this](const Call& call) -> Reply {
    Json::Array out;
    for (const auto& [name, role] : roles_)
      if (role.json["Path"].string_or().starts_with(call.input["PathPrefix"].string_or("/"))) out.push_back(role.json);
    return Json::object({{"Roles", std::move(out)}, {"IsTruncated", false}});
  });
  on("DeleteRole", [this](const Call& call) -> Reply {
    const auto role = find(call);
    if (!role) return std::unexpected(role.error());
    if (!(*role)->policies.empty()) return cloud::error("DeleteConflict", "Cannot delete entity, must delete policies first.", 409);
    if (!(*role)->attached.items().empty())
      return cloud::error("DeleteConflict", "Cannot delete entity, must detach all policies first.", 409);
    const std::string name(call.input["RoleName"].string_or());
    drop("roles", name);
    roles_.erase(name);
    return Json(Json::Object{});
  });
  on("UpdateAssumeRolePolicy", [this](const Call& call) -> Reply {
    const auto role = find(call);
    if (!role) return std::unexpected(role.error());
    Json::Object json = (*role)->json.as_object();
    json.set("AssumeRolePolicyDocument", percent_encode(call.input["PolicyDocument"].string_or()));
    (*role)->json = Json(std::move(json));
    store(std::string(call.input["RoleName"].string_or()), **role);
    return Json(Json::Object{});
  });
  on("PutRolePolicy", [this](const Call& call) -> Reply {
    const auto role = find(call);
    if (!role) return std::unexpected(role.error());
    if (!Json::parse(call.input["PolicyDocument"].string_or()))
      return cloud::error("MalformedPolicyDocument", "The policy failed legacy parsing");
    (*role)->policies[std::string(call.input["PolicyName"].string_or())] = call.input["PolicyDocument"].string_or();
    store(std::string(call.input["RoleName"].string_or()), **role);
    return Json(Json::Object{});
  });
  on("GetRolePolicy", [this](const Call& call) -> Reply {
    const auto role = find(call);
    if (!role) return std::unexpected(role.error());
    const auto policy = (*role)->policies.find(std::string(call.input["PolicyName"].string_or()));
    if (policy == (*role)->policies.end())
      return cloud::error("NoSuchEntity",
                          fmt::format("The role policy with name {} cannot be found.", call.input["PolicyName"].string_or()), 404);
    return Json::object(
        {{"RoleName", call.input["RoleName"]}, {"PolicyName", policy->first}, {"PolicyDocument", percent_encode(policy->second)}});
  });
  on("DeleteRolePolicy", [this](const Call& call) -> Reply {
    const auto role = find(call);
    if (!role) return std::unexpected(role.error());
    if ((*role)->policies.erase(std::string(call.input["PolicyName"].string_or())) == 0)
      return cloud::error("NoSuchEntity",
                          fmt::format("The role policy with name {} cannot be found.", call.input["PolicyName"].string_or()), 404);
    store(std::string(call.input["RoleName"].string_or()), **role);
    return Json(Json::Object{});
  });
  on("ListRolePolicies", [this](const Call& call) -> Reply {
    const auto role = find(call);
    if (!role) return std::unexpected(role.error());
    Json::Array out;
    for (const auto& [name, document] : (*role)->policies) out.push_back(Json(name));
    return Json::object({{"PolicyNames", std::move(out)}, {"IsTruncated", false}});
  });
  on("AttachRolePolicy", [this](const Call& call) -> Reply {
    const auto role = find(call);
    if (!role) return std::unexpected(role.error());
    const std::string arn(call.input["PolicyArn"].string_or());
    (*role)->attached =
        merge_tags((*role)->attached, Json::array({Json::object({{"PolicyArn", arn}, {"PolicyName", arn.substr(arn.rfind('/') + 1)}})}),
                   "PolicyArn", "PolicyName");
    store(std::string(call.input["RoleName"].string_or()), **role);
    return Json(Json::Object{});
  });
  on("DetachRolePolicy", [this](const Call& call) -> Reply {
    const auto role = find(call);
    if (!role) return std::unexpected(role.error());
    (*role)->attached = remove_tags((*role)->attached, Json::array({call.input["PolicyArn"]}), "PolicyArn");
    store(std::string(call.input["RoleName"].string_or()), **role);
    return Json(Json::Object{});
  });
  on("ListAttachedRolePolicies", [this](const Call& call) -> Reply {
    const auto role = find(call);
    if (!role) return std::unexpected(role.error());
    return Json::object({{"AttachedPolicies", (*role)->attached}, {"IsTruncated", false}});
  });
}

}  // namespace snapward::services::iam
