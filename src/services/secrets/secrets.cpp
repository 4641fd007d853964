#include "services/secrets/secrets.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/arn.hpp"
#include "base/text.hpp"

namespace snapward::services::secrets {

namespace {

constexpr const char* kCurrent = "AWSCURRENT";
constexpr const char* kPrevious = "AWSPREVIOUS";
constexpr std::size_t kMaxVersions = 100, kMaxSecretBytes = 65'536;

std::unexpected<cloud::Error> not_found(std::string what = "Secrets Manager can't find the specified secret.") {
  return cloud::error("ResourceNotFoundException", std::move(what));
}
std::unexpected<cloud::Error> bad_request(std::string message) { return cloud::error("InvalidRequestException", std::move(message)); }
std::unexpected<cloud::Error> bad_parameter(std::string message) { return cloud::error("InvalidParameterException", std::move(message)); }

bool has_stage(const std::vector<std::string>& stages, std::string_view stage) {
  return std::find(stages.begin(), stages.end(), stage) != stages.end();
}
Json list_of(const std::vector<std::string>& texts) {
  Json::Array out;
  for (const std::string& text : texts) out.emplace_back(text);
  return Json(std::move(out));
}

// The value a call brings; null when it brings none. Bytes that may be no text are kept as base64.
std::expected<Json, cloud::Error> value_of(const Json& input) {
  const Json* text = input.find("SecretString");
  const Json* bytes = input.find("SecretBinary");
  if (text && bytes) return bad_parameter("You can't specify both a binary secret value and a string secret value in the same secret.");
  if (!text && !bytes) return Json();
  if ((text ? text : bytes)->string_or().size() > kMaxSecretBytes)
    return cloud::error("ValidationException", "The secret value is longer than 65536 bytes.");
  return text ? Json::object({{"SecretString", *text}}) : Json::object({{"SecretBinary", base64_encode(bytes->string_or())}});
}

}  // namespace

Json Secrets::Secret::to_row() const {
  Json::Array kept;
  for (const Version& v : versions)
    kept.push_back(
        Json::object({{"id", v.id}, {"value", v.value}, {"stages", list_of(v.stages)}, {"created", v.created.time_since_epoch().count()}}));
  Json::Object out{{"arn", arn},
                   {"name", name},
                   {"region", region},
                   {"tags", tags},
                   {"policy", policy},
                   {"description", description},
                   {"kmsKey", kms_key},
                   {"versions", std::move(kept)},
                   {"created", created.time_since_epoch().count()},
                   {"changed", changed.time_since_epoch().count()}};
  if (deleted) out.set("deleted", deleted->time_since_epoch().count()).set("gone", gone->time_since_epoch().count());
  return Json(std::move(out));
}

Secrets::Secret Secrets::Secret::from_row(const Json& row) {
  const auto at = [](const Json& millis) { return Instant(Duration(millis.integer_or(0))); };
  Secret out{.arn = std::string(row["arn"].string_or()),
             .name = std::string(row["name"].string_or()),
             .region = std::string(row["region"].string_or()),
             .description = row["description"],
             .kms_key = row["kmsKey"],
             .policy = row["policy"],
             .tags = row["tags"],
             .versions = {},
             .created = at(row["created"]),
             .changed = at(row["changed"]),
             .deleted = {},
             .gone = {}};
  for (const Json& v : row["versions"].items()) {
    Version version{.id = std::string(v["id"].string_or()), .value = v["value"], .stages = {}, .created = at(v["created"])};
    for (const Json& stage : v["stages"].items()) version.stages.emplace_back(stage.string_or());
    out.versions.push_back(std::move(version));
  }
  if (row.find("deleted")) out.deleted = at(row["deleted"]), out.gone = at(row["gone"]);
  return out;
}

void Secrets::restore() {
  each_row("secrets", [&](const std::string&, const Json& row) {
    Secret secret = Secret::from_row(row);
    secrets_[{secret.region, secret.name}] = std::move(secret);
  });
}
void Secrets::store(const Secret& secret) { save("secrets", secret.region + '/' + secret.name, secret.to_row()); }

void Secrets::expire() {
  std::erase_if(secrets_, [this](const auto& entry) {
    const bool over = entry.second.gone && *entry.second.gone <= env_.loop.now();
    if (over) drop("secrets", entry.second.region + '/' + entry.second.name);
    return over;
  });
}

Json Secrets::resource_policy(const std::string& arn) const {
  for (const auto& [key, secret] : secrets_)
    if (arn.size() == secret.arn.size() && arn.starts_with(secret.arn.substr(0, secret.arn.size() - 6)))  // its end may not be known
      return Json::parse(secret.policy.string_or()).value_or(Json());
  return {};
}

Secrets::Found Secrets::find(const Call& call) {
  expire();
  const std::string id(call.input["SecretId"].string_or());
  if (const auto named = secrets_.find({call.region, id}); named != secrets_.end()) return &named->second;
  for (auto& [key, secret] : secrets_)
    if (key.first == call.region && (secret.arn == id || secret.arn.substr(0, secret.arn.size() - 7) == id)) return &secret;
  return not_found();
}

Secrets::Found Secrets::alive(const Call& call) {
  const Found found = find(call);
  if (found && (*found)->deleted) return bad_request("You can't perform this operation on the secret because it was marked for deletion.");
  return found;
}

std::expected<std::string, cloud::Error> Secrets::put(Secret& secret, const Json& input, std::vector<std::string> stages) {
  auto value = value_of(input);
  if (!value) return std::unexpected(value.error());
  if (value->is_null()) return bad_parameter("You must provide either SecretString or SecretBinary.");
  const std::string id(input["ClientRequestToken"].is_null() ? env_.loop.entropy().uuid() : input["ClientRequestToken"].string_or());
  for (const Version& v : secret.versions) {
    if (v.id != id) continue;
    if (v.value == *value) return id;  // asked for twice
    return cloud::error("ResourceExistsException",
                        fmt::format("You can't use ClientRequestToken {} because that value is already in use for a version of secret {}.",
                                    id, secret.arn));
  }
  if (stages.empty()) stages.emplace_back(kCurrent);
  for (Version& v : secret.versions) {
    const bool was_current = has_stage(v.stages, kCurrent) && has_stage(stages, kCurrent);
    std::erase_if(v.stages, [&](const std::string& s) { return has_stage(stages, s) || (has_stage(stages, kCurrent) && s == kPrevious); });
    if (was_current) v.stages.emplace_back(kPrevious);
  }
  secret.versions.push_back({.id = id, .value = *std::move(value), .stages = std::move(stages), .created = env_.loop.now()});
  // What no label names is deprecated, and goes when there are too many.
  while (secret.versions.size() > kMaxVersions) {
    const auto oldest = std::find_if(secret.versions.begin(), secret.versions.end(), [](const Version& v) { return v.stages.empty(); });
    if (oldest == secret.versions.end())
      return cloud::error("LimitExceededException", "The secret has too many versions with staging labels.");
    secret.versions.erase(oldest);
  }
  secret.changed = env_.loop.now();
  return id;
}

// As DescribeSecret ("VersionIdsToStages") and ListSecrets ("SecretVersionsToStages") show it.
Json Secrets::shown(const Secret& secret, const char* stages) {
  Json::Object out{{"ARN", secret.arn},
                   {"Name", secret.name},
                   {"LastChangedDate", iso_millis(secret.changed)},
                   {"CreatedDate", iso_millis(secret.created)}};
  if (!secret.description.is_null()) out.set("Description", secret.description);
  if (!secret.kms_key.is_null()) out.set("KmsKeyId", secret.kms_key);
  if (secret.deleted) out.set("DeletedDate", iso_millis(*secret.deleted));
  if (!secret.tags.items().empty()) out.set("Tags", secret.tags);
  Json::Object versions;
  for (const Version& v : secret.versions)
    if (!v.stages.empty()) versions.set(v.id, list_of(v.stages));
  if (!versions.empty()) out.set(stages, std::move(versions));
  return Json(std::move(out));
}

Reply Secrets::create(const Call& call) {
  expire();
  const Json& in = call.input;
  const std::string name(in["Name"].string_or());
  const auto allowed = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || std::string_view("/_+=.@!-").find(c) != std::string_view::npos;
  };
  if (name.empty() || name.size() > 512 || !std::all_of(name.begin(), name.end(), allowed))
    return cloud::error("ValidationException",
                        "Invalid name. Must be a valid name containing alphanumeric characters, or any of the following: -/_+=.@!");
  if (const auto known = secrets_.find({call.region, name}); known != secrets_.end()) {
    if (known->second.deleted)
      return bad_request("You can't create this secret because a secret with this name is already scheduled for deletion.");
    // The same call made again finds what it made.
    const auto same = value_of(in);
    for (const Version& v : known->second.versions)
      if (same && !in["ClientRequestToken"].is_null() && v.id == in["ClientRequestToken"].string_or() && v.value == *same)
        return Json::object({{"ARN", known->second.arn}, {"Name", name}, {"VersionId", v.id}});
    return cloud::error("ResourceExistsException", fmt::format("The operation failed because the secret {} already exists.", name));
  }
  Secret secret{
      .arn = fmt::format("arn:aws:secretsmanager:{}:{}:secret:{}-{}", call.region, env_.account, name, env_.loop.entropy().hex(6)),
      .name = name,
      .region = call.region,
      .description = in["Description"],
      .kms_key = in["KmsKeyId"],
      .policy = {},
      .tags = merge_tags(Json(Json::Array{}), in["Tags"]),
      .versions = {},
      .created = env_.loop.now(),
      .changed = env_.loop.now(),
      .deleted = {},
      .gone = {}};
  Json::Object out{{"ARN", secret.arn}, {"Name", name}};
  if (in.find("SecretString") || in.find("SecretBinary")) {
    const auto version = put(secret, in, {});
    if (!version) return std::unexpected(version.error());
    out.set("VersionId", *version);
  }
  store(secret);
  secrets_[{call.region, name}] = std::move(secret);
  return Json(std::move(out));
}

Reply Secrets::value(const Call& call) {
  const Found secret = alive(call);
  if (!secret) return std::unexpected(secret.error());
  const std::string_view id = call.input["VersionId"].string_or(), stage = call.input["VersionStage"].string_or(id.empty() ? kCurrent : "");
  for (const Version& v : (*secret)->versions) {
    if ((!id.empty() && v.id != id) || (!stage.empty() && !has_stage(v.stages, stage))) continue;
    Json::Object out{{"ARN", (*secret)->arn},
                     {"Name", (*secret)->name},
                     {"VersionId", v.id},
                     {"VersionStages", list_of(v.stages)},
                     {"CreatedDate", iso_millis(v.created)}};
    if (v.value.find("SecretString"))
      out.set("SecretString", v.value["SecretString"]);
    else
      out.set("SecretBinary", base64_decode(v.value["SecretBinary"].string_or()).value_or(""));
    return Json(std::move(out));
  }
  return not_found(id.empty() ? fmt::format("Secrets Manager can't find the specified secret value for staging label: {}", stage)
                              : fmt::format("Secrets Manager can't find the specified secret value for VersionId: {}", id));
}

Reply Secrets::list(const Call& call) {
  expire();
  const std::size_t most = static_cast<std::size_t>(std::clamp<std::int64_t>(call.input["MaxResults"].integer_or(100), 1, 100));
  std::string from;
  if (const Json* token = call.input.find("NextToken")) {
    const auto position = page_position(token->string_or());
    if (!position) return cloud::error("InvalidNextTokenException", "The NextToken value is invalid.");
    from = *position;
  }
  // A filter's values are prefixes, any of them; "!" before one refuses it.
  const auto passes = [&](const Secret& s) {
    for (const Json& filter : call.input["Filters"].items()) {
      const std::string_view key = filter["Key"].string_or();
      const auto holds = [&](std::string_view wanted) {
        const auto begins = [&](std::string_view text) { return lower(text).starts_with(lower(wanted)); };
        if (key == "name" || key == "all") return begins(s.name);
        if (key == "description") return begins(s.description.string_or());
        const auto& tags = s.tags.items();
        const char* side = key == "tag-key" ? "Key" : "Value";
        return std::any_of(tags.begin(), tags.end(), [&](const Json& tag) { return tag[side].string_or().starts_with(wanted); });
      };
      const auto& values = filter["Values"].items();
      if (!std::any_of(values.begin(), values.end(), [&](const Json& v) {
            const std::string_view text = v.string_or();
            return text.starts_with('!') ? !holds(text.substr(1)) : holds(text);
          }))
        return false;
    }
    return true;
  };
  Json::Array out;
  std::string next;
  for (auto s = secrets_.lower_bound({call.region, from}); s != secrets_.end() && s->first.first == call.region; ++s) {
    if ((s->second.deleted && !call.input["IncludePlannedDeletion"].bool_or(false)) || !passes(s->second)) continue;
    if (out.size() == most) {
      next = page_token(s->first.second);
      break;
    }
    out.push_back(shown(s->second, "SecretVersionsToStages"));
  }
  Json::Object reply{{"SecretList", std::move(out)}};
  reply.set_if(!next.empty(), "NextToken", next);
  return Json(std::move(reply));
}

Reply Secrets::remove(const Call& call) {
  const bool now = call.input["ForceDeleteWithoutRecovery"].bool_or(false);
  const Json* window = call.input.find("RecoveryWindowInDays");
  if (now && window) return bad_parameter("You can't use ForceDeleteWithoutRecovery in conjunction with RecoveryWindowInDays.");
  const std::int64_t days = window ? window->integer_or(0) : 30;
  if (days < 7 || days > 30) return bad_parameter("The RecoveryWindowInDays value must be between 7 and 30 days (inclusive).");
  const Found secret = find(call);
  if (!secret) return std::unexpected(secret.error());
  Secret& s = **secret;
  if (s.deleted && !now)
    return bad_request("You can't perform this operation on the secret because it was already scheduled for deletion.");
  s.deleted = env_.loop.now();
  s.gone = now ? *s.deleted : *s.deleted + std::chrono::hours(24 * days);
  const Json out = Json::object({{"ARN", s.arn}, {"Name", s.name}, {"DeletionDate", iso_millis(*s.gone)}});
  store(s);
  expire();
  return out;
}

Reply Secrets::move_stage(const Call& call) {
  const Found secret = alive(call);
  if (!secret) return std::unexpected(secret.error());
  const std::string stage(call.input["VersionStage"].string_or()), to(call.input["MoveToVersionId"].string_or()),
      from(call.input["RemoveFromVersionId"].string_or());
  Version *holder = nullptr, *taker = nullptr;
  for (Version& v : (*secret)->versions) {
    if (has_stage(v.stages, stage)) holder = &v;
    if (v.id == to) taker = &v;
  }
  if (!to.empty() && !taker) return not_found(fmt::format("Secrets Manager can't find the specified secret value for VersionId: {}", to));
  if (holder && holder != taker && holder->id != from)
    return bad_parameter(fmt::format(
        "The parameter RemoveFromVersionId can't be empty. Staging label {} is currently attached to version {}, so you must explicitly "
        "reference that version in RemoveFromVersionId.",
        stage, holder->id));
  if (holder && !taker && stage == kCurrent)
    return bad_parameter("You can only move staging label AWSCURRENT to a different secret version. It can't be removed.");
  if (holder && holder != taker) {
    std::erase(holder->stages, stage);
    if (stage == kCurrent) {
      for (Version& v : (*secret)->versions) std::erase(v.stages, kPrevious);
      holder->stages.emplace_back(kPrevious);
    }
  }
  if (taker && !has_stage(taker->stages, stage)) taker->stages.push_back(stage);
  store(**secret);
  return Json::object({{"ARN", (*secret)->arn}, {"Name", (*secret)->name}});
}

Reply Secrets::password(const Call& call) {
  const Json& in = call.input;
  const auto length = static_cast<std::size_t>(in["PasswordLength"].integer_or(32));
  if (length < 1 || length > 4096) return bad_parameter("PasswordLength must be from 1 to 4096.");
  std::vector<std::string> kinds;
  const auto kind = [&](const char* flag, const char* characters) {
    if (in[flag].bool_or(false)) return;
    std::string kept;
    for (const char c : std::string_view(characters))
      if (in["ExcludeCharacters"].string_or().find(c) == std::string_view::npos) kept += c;
    if (!kept.empty()) kinds.push_back(std::move(kept));
  };
  kind("ExcludeLowercase", "abcdefghijklmnopqrstuvwxyz");
  kind("ExcludeUppercase", "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
  kind("ExcludeNumbers", "0123456789");
  kind("ExcludePunctuation", "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~");
  std::string all;
  for (const std::string& one : kinds) all += one;
  if (in["IncludeSpace"].bool_or(false)) all += ' ';
  if (all.empty()) return bad_parameter("The parameters exclude all characters.");
  const bool each = in["RequireEachIncludedType"].bool_or(true);
  if (each && kinds.size() > length) return bad_parameter("PasswordLength is too small for the required character types.");
  Entropy& chance = env_.loop.entropy();
  std::string out;
  if (each)
    for (const std::string& one : kinds) out += one[chance.below(one.size())];
  while (out.size() < length) out += all[chance.below(all.size())];
  for (std::size_t i = out.size(); i > 1; --i) std::swap(out[i - 1], out[chance.below(i)]);
  return Json::object({{"RandomPassword", out}});
}

Secrets::Secrets(Environment& env) : Service("secretsmanager", env) {
  on("CreateSecret", [this](const Call& c) { return create(c); });
  on("GetSecretValue", [this](const Call& c) { return value(c); });
  on("ListSecrets", [this](const Call& c) { return list(c); });
  on("DeleteSecret", [this](const Call& c) { return remove(c); });
  on("UpdateSecretVersionStage", [this](const Call& c) { return move_stage(c); });
  on("GetRandomPassword", [this](const Call& c) { return password(c); });
  on("DescribeSecret", [this](const Call& c) -> Reply {
    const Found secret = find(c);
    if (!secret) return std::unexpected(secret.error());
    return shown(**secret, "VersionIdsToStages");
  });
  on("PutSecretValue", [this](const Call& c) -> Reply {
    const Found secret = alive(c);
    if (!secret) return std::unexpected(secret.error());
    std::vector<std::string> stages;
    for (const Json& stage : c.input["VersionStages"].items()) stages.emplace_back(stage.string_or());
    const auto version = put(**secret, c.input, std::move(stages));
    if (!version) return std::unexpected(version.error());
    store(**secret);
    Json attached;
    for (const Version& v : (*secret)->versions)
      if (v.id == *version) attached = list_of(v.stages);
    return Json::object({{"ARN", (*secret)->arn}, {"Name", (*secret)->name}, {"VersionId", *version}, {"VersionStages", attached}});
  });
  on("UpdateSecret", [this](const Call& c) -> Reply {
    const Found secret = alive(c);
    if (!secret) return std::unexpected(secret.error());
    Json::Object out{{"ARN", (*secret)->arn}, {"Name", (*secret)->name}};
    if (c.input.find("SecretString") || c.input.find("SecretBinary")) {
      const auto version = put(**secret, c.input, {});
      if (!version) return std::unexpected(version.error());
      out.set("VersionId", *version);
    }
    if (const Json* text = c.input.find("Description")) (*secret)->description = *text;
    if (const Json* key = c.input.find("KmsKeyId")) (*secret)->kms_key = *key;
    (*secret)->changed = env_.loop.now();
    store(**secret);
    return Json(std::move(out));
  });
  on("RestoreSecret", [this](const Call& c) -> Reply {
    const Found secret = find(c);
    if (!secret) return std::unexpected(secret.error());
    (*secret)->deleted.reset();
    (*secret)->gone.reset();
    store(**secret);
    return Json::object({{"ARN", (*secret)->arn}, {"Name", (*secret)->name}});
  });
  on("ListSecretVersionIds", [this](const Call& c) -> Reply {
    const Found secret = find(c);
    if (!secret) return std::unexpected(secret.error());
    Json::Array versions;
    for (const Version& v : (*secret)->versions)
      if (!v.stages.empty() || c.input["IncludeDeprecated"].bool_or(false))
        versions.push_back(
            Json::object({{"VersionId", v.id}, {"VersionStages", list_of(v.stages)}, {"CreatedDate", iso_millis(v.created)}}));
    return Json::object({{"ARN", (*secret)->arn}, {"Name", (*secret)->name}, {"Versions", std::move(versions)}});
  });
  const auto change = [this](const Call& c, const auto& what) -> Reply {
    const Found secret = alive(c);
    if (!secret) return std::unexpected(secret.error());
    what(**secret);
    store(**secret);
    return Json::object({{"ARN", (*secret)->arn}, {"Name", (*secret)->name}});
  };
  on("TagResource", [change](const Call& c) { return change(c, [&](Secret& s) { s.tags = merge_tags(s.tags, c.input["Tags"]); }); });
  on("UntagResource", [change](const Call& c) { return change(c, [&](Secret& s) { s.tags = remove_tags(s.tags, c.input["TagKeys"]); }); });
  on("PutResourcePolicy", [change](const Call& c) -> Reply {
    if (!Json::parse(c.input["ResourcePolicy"].string_or()))
      return cloud::error("MalformedPolicyDocumentException", "This resource policy contains invalid Json");
    return change(c, [&](Secret& s) { s.policy = c.input["ResourcePolicy"]; });
  });
  on("DeleteResourcePolicy", [change](const Call& c) { return change(c, [](Secret& s) { s.policy = Json(); }); });
  on("GetResourcePolicy", [this](const Call& c) -> Reply {
    const Found secret = find(c);
    if (!secret) return std::unexpected(secret.error());
    Json::Object out{{"ARN", (*secret)->arn}, {"Name", (*secret)->name}};
    if (!(*secret)->policy.is_null()) out.set("ResourcePolicy", (*secret)->policy);
    return Json(std::move(out));
  });
}

}  // namespace snapward::services::secrets
