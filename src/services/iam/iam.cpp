#include "services/iam/iam.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <array>

#include "base/text.hpp"

namespace snapward::services::iam {

std::expected<Iam::Role*, cloud::Error> Iam::find(const Call& call) {
  const auto found = roles_.find(call.input["RoleName"].string_or());
  if (found == roles_.end())
    return cloud::error("NoSuchEntity", fmt::format("The role with name {} cannot be found.", call.input["RoleName"].string_or()), 404);
  return &found->second;
}

namespace {

// Of AWS's own policies the ones that workflows attach, by what they allow. All are for every resource.
constexpr std::array<std::pair<std::string_view, std::string_view>, 15> kManaged{{
    {"AdministratorAccess", "*"},
    {"PowerUserAccess", "*"},
    {"AmazonSQSFullAccess", "sqs:*"},
    {"AmazonSNSFullAccess", "sns:*"},
    {"AmazonEC2FullAccess", "ec2:*"},
    {"AmazonEC2ReadOnlyAccess", "ec2:Describe*"},
    {"AmazonEventBridgeFullAccess", "events:*"},
    {"AmazonEventBridgeSchedulerFullAccess", "scheduler:*"},
    {"AWSStepFunctionsFullAccess", "states:*"},
    {"AWSLambda_FullAccess", "lambda:*"},
    {"service-role/AWSLambdaRole", "lambda:InvokeFunction"},
    {"AmazonS3FullAccess", "s3:*"},
    {"AmazonS3ReadOnlyAccess", "s3:Get*"},
    {"AmazonDynamoDBFullAccess", "dynamodb:*"},
    {"CloudWatchLogsFullAccess", "logs:*"},
}};
constexpr std::string_view kOfAws = "arn:aws:iam::aws:policy/";

Verdict judge_text(std::string_view text, PolicyOf of, const Request& request) {
  const auto document = Json::parse(text);
  return document ? judge(*document, of, request) : Verdict::silent;
}

}  // namespace

const Iam::Role* Iam::by_arn(const std::string& arn) const {
  const auto found = roles_.find(arn.substr(arn.rfind('/') + 1));
  return found != roles_.end() && found->second.json["Arn"].string_or() == arn ? &found->second : nullptr;
}

bool Iam::trusts(const std::string& role_arn, const std::string& service) const {
  const Role* role = by_arn(role_arn);
  return role &&
         judge_text(percent_decode(role->json["AssumeRolePolicyDocument"].string_or()), PolicyOf::resource,
                    {.service = service, .role = {}, .action = "sts:AssumeRole", .resource = {}, .context = {}}) == Verdict::allowed;
}

Verdict Iam::allows(const std::string& role_arn, const Request& request) const {
  const Role* role = by_arn(role_arn);
  if (!role) return Verdict::silent;
  Verdict out = Verdict::silent;
  for (const auto& [name, document] : role->policies) out = together(out, judge_text(document, PolicyOf::identity, request));
  for (const Json& attached : role->attached.items()) {
    const std::string arn(attached["PolicyArn"].string_or());
    if (const auto own = policies_.find(arn); own != policies_.end()) {
      for (const auto& [id, document] : own->second.versions)
        if (id == own->second.json["DefaultVersionId"].string_or()) out = together(out, judge_text(document, PolicyOf::identity, request));
      continue;
    }
    const std::string_view name = arn.starts_with(kOfAws) ? std::string_view(arn).substr(kOfAws.size()) : std::string_view();
    const auto* known = std::find_if(kManaged.begin(), kManaged.end(), [&](const auto& managed) { return managed.first == name; });
    if (known == kManaged.end()) {
      spdlog::warn("what {} allows is not known here: it grants {} nothing", arn, role_arn);
      continue;
    }
    const Json document = Json::object({{"Statement", Json::object({{"Effect", "Allow"}, {"Action", known->second}, {"Resource", "*"}})}});
    out = together(out, judge(document, PolicyOf::identity, request));
  }
  return out;
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
  each_row("policies", [&](const std::string& arn, const Json& row) {
    Policy policy{.json = row["json"], .versions = {}};
    for (const Json& version : row["versions"].items())
      policy.versions.emplace_back(version["id"].string_or(), version["document"].string_or());
    policies_[arn] = std::move(policy);
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
    // AWS's own policies (arn:aws:iam::aws:policy/…) are taken by name; the account's must be there.
    if (!arn.starts_with("arn:aws:iam::aws:policy/") && !policies_.contains(arn))
      return cloud::error("NoSuchEntity", fmt::format("Policy {} does not exist or is not attachable.", arn), 404);
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
  on("ListInstanceProfilesForRole", [this](const Call& call) -> Reply {
    const auto role = find(call);
    if (!role) return std::unexpected(role.error());
    return Json::object({{"InstanceProfiles", Json::Array{}}, {"IsTruncated", false}});
  });
  const auto retag = [this](const Call& call, const auto& change) -> Reply {
    const auto role = find(call);
    if (!role) return std::unexpected(role.error());
    Json::Object json = (*role)->json.as_object();
    json.set("Tags", change((*role)->json["Tags"]));
    (*role)->json = Json(std::move(json));
    store(std::string(call.input["RoleName"].string_or()), **role);
    return Json(Json::Object{});
  };
  on("TagRole", [retag](const Call& call) { return retag(call, [&](const Json& tags) { return merge_tags(tags, call.input["Tags"]); }); });
  on("UntagRole",
     [retag](const Call& call) { return retag(call, [&](const Json& tags) { return remove_tags(tags, call.input["TagKeys"]); }); });
  on("ListRoleTags", [this](const Call& call) -> Reply {
    const auto role = find(call);
    if (!role) return std::unexpected(role.error());
    return Json::object({{"Tags", Json((*role)->json["Tags"].items())}, {"IsTruncated", false}});
  });
  register_policies();
}

// ── Customer managed policies ──────────────────────────────────────────────────────────────────────────────────────────────────

std::expected<Iam::Policy*, cloud::Error> Iam::find_policy(const Call& call) {
  const auto found = policies_.find(call.input["PolicyArn"].string_or());
  if (found == policies_.end())
    return cloud::error("NoSuchEntity", fmt::format("Policy {} was not found.", call.input["PolicyArn"].string_or()), 404);
  return &found->second;
}

void Iam::store_policy(const Policy& policy) {
  Json::Array versions;
  for (const auto& [id, document] : policy.versions) versions.push_back(Json::object({{"id", id}, {"document", document}}));
  save("policies", std::string(policy.json["Arn"].string_or()), Json::object({{"json", policy.json}, {"versions", std::move(versions)}}));
}

void Iam::register_policies() {
  const auto attachments = [this](std::string_view arn) {
    std::int64_t n = 0;
    for (const auto& [name, role] : roles_)
      for (const Json& attached : role.attached.items()) n += attached["PolicyArn"].string_or() == arn;
    return n;
  };
  const auto shown = [attachments](const Policy& policy) {
    Json::Object out = policy.json.as_object();
    out.set("AttachmentCount", attachments(policy.json["Arn"].string_or()));
    return Json(std::move(out));
  };
  const auto version = [](const Policy& policy, const std::string& id, const std::string* document) {
    Json::Object out{{"VersionId", id},
                     {"IsDefaultVersion", policy.json["DefaultVersionId"].string_or() == id},
                     {"CreateDate", policy.json["CreateDate"]}};
    if (document) out.set("Document", percent_encode(*document));
    return Json(std::move(out));
  };
  on("CreatePolicy", [this, shown](const Call& call) -> Reply {
    const std::string name(call.input["PolicyName"].string_or()), path(call.input["Path"].string_or("/")),
        document(call.input["PolicyDocument"].string_or());
    if (name.empty() || name.size() > 128) return cloud::error("ValidationError", "The specified value for policyName is invalid.");
    if (!Json::parse(document)) return cloud::error("MalformedPolicyDocument", "Syntax errors in policy.");
    const std::string arn = fmt::format("arn:aws:iam::{}:policy{}{}", env_.account, path, name);
    if (policies_.contains(arn))
      return cloud::error("EntityAlreadyExists", fmt::format("A policy called {} already exists. Duplicate names are not allowed.", name),
                          409);
    Json::Object json{{"PolicyName", name},
                      {"PolicyId", "ANPA" + env_.loop.entropy().hex(16)},
                      {"Arn", arn},
                      {"Path", path},
                      {"DefaultVersionId", "v1"},
                      {"PermissionsBoundaryUsageCount", 0},
                      {"IsAttachable", true},
                      {"CreateDate", iso_millis(env_.loop.now())},
                      {"UpdateDate", iso_millis(env_.loop.now())}};
    for (const char* field : {"Description", "Tags"})
      if (const Json* value = call.input.find(field)) json.set(field, *value);
    Policy& policy = policies_[arn] = {.json = Json(std::move(json)), .versions = {{"v1", document}}};
    store_policy(policy);
    return Json::object({{"Policy", shown(policy)}});
  });
  on("GetPolicy", [this, shown](const Call& call) -> Reply {
    const auto policy = find_policy(call);
    if (!policy) return std::unexpected(policy.error());
    return Json::object({{"Policy", shown(**policy)}});
  });
  on("ListPolicies", [this, shown](const Call& call) -> Reply {
    Json::Array out;
    for (const auto& [arn, policy] : policies_)
      if (policy.json["Path"].string_or().starts_with(call.input["PathPrefix"].string_or("/"))) out.push_back(shown(policy));
    return Json::object({{"Policies", std::move(out)}, {"IsTruncated", false}});
  });
  on("DeletePolicy", [this, attachments](const Call& call) -> Reply {
    const auto policy = find_policy(call);
    if (!policy) return std::unexpected(policy.error());
    const std::string arn(call.input["PolicyArn"].string_or());
    if (attachments(arn) > 0) return cloud::error("DeleteConflict", "Cannot delete a policy attached to entities.", 409);
    if ((*policy)->versions.size() > 1)
      return cloud::error("DeleteConflict",
                          "This policy has more than one version. Before you delete a policy, you must delete the policy's versions.", 409);
    drop("policies", arn);
    policies_.erase(arn);
    return Json(Json::Object{});
  });
  on("CreatePolicyVersion", [this, version](const Call& call) -> Reply {
    const auto policy = find_policy(call);
    if (!policy) return std::unexpected(policy.error());
    Policy& p = **policy;
    if (p.versions.size() == 5)
      return cloud::error(
          "LimitExceeded",
          "A managed policy can have up to 5 versions. Before you create a new version, you must delete an existing version.", 409);
    const std::string document(call.input["PolicyDocument"].string_or());
    if (!Json::parse(document)) return cloud::error("MalformedPolicyDocument", "Syntax errors in policy.");
    const std::string id = fmt::format("v{}", std::strtol(p.versions.back().first.c_str() + 1, nullptr, 10) + 1);
    p.versions.emplace_back(id, document);
    Json::Object json = p.json.as_object();
    if (call.input["SetAsDefault"].bool_or(false)) json.set("DefaultVersionId", id);
    json.set("UpdateDate", iso_millis(env_.loop.now()));
    p.json = Json(std::move(json));
    store_policy(p);
    return Json::object({{"PolicyVersion", version(p, id, nullptr)}});
  });
  on("GetPolicyVersion", [this, version](const Call& call) -> Reply {
    const auto policy = find_policy(call);
    if (!policy) return std::unexpected(policy.error());
    for (const auto& [id, document] : (*policy)->versions)
      if (id == call.input["VersionId"].string_or()) return Json::object({{"PolicyVersion", version(**policy, id, &document)}});
    return cloud::error("NoSuchEntity",
                        fmt::format("Policy {} version {} does not exist or is not attachable.", call.input["PolicyArn"].string_or(),
                                    call.input["VersionId"].string_or()),
                        404);
  });
  on("ListPolicyVersions", [this, version](const Call& call) -> Reply {
    const auto policy = find_policy(call);
    if (!policy) return std::unexpected(policy.error());
    Json::Array out;
    for (auto v = (*policy)->versions.rbegin(); v != (*policy)->versions.rend(); ++v) out.push_back(version(**policy, v->first, nullptr));
    return Json::object({{"Versions", std::move(out)}, {"IsTruncated", false}});
  });
  on("DeletePolicyVersion", [this](const Call& call) -> Reply {
    const auto policy = find_policy(call);
    if (!policy) return std::unexpected(policy.error());
    const std::string_view id = call.input["VersionId"].string_or();
    if ((*policy)->json["DefaultVersionId"].string_or() == id)
      return cloud::error("DeleteConflict", "Cannot delete the default version of a policy.", 409);
    if (std::erase_if((*policy)->versions, [&](const auto& v) { return v.first == id; }) == 0)
      return cloud::error("NoSuchEntity",
                          fmt::format("Policy {} version {} does not exist or is not attachable.", call.input["PolicyArn"].string_or(), id),
                          404);
    store_policy(**policy);
    return Json(Json::Object{});
  });
}

}  // namespace snapward::services::iam
