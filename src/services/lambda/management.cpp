// Lambda's management of functions: code, configuration, versions, aliases, policies, tags.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>

#include "base/arn.hpp"
#include "base/text.hpp"
#include "services/lambda/lambda.hpp"

namespace snapward::services::lambda {

namespace {

constexpr const char* kLatest = "$LATEST";
constexpr std::size_t kMostZipped = 50ULL << 20U;
// Developer Guide, "Defined runtime environment variables"
constexpr std::array<std::string_view, 18> kReserved = {"_HANDLER",
                                                        "_X_AMZN_TRACE_ID",
                                                        "AWS_DEFAULT_REGION",
                                                        "AWS_REGION",
                                                        "AWS_EXECUTION_ENV",
                                                        "AWS_LAMBDA_FUNCTION_NAME",
                                                        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
                                                        "AWS_LAMBDA_FUNCTION_VERSION",
                                                        "AWS_LAMBDA_INITIALIZATION_TYPE",
                                                        "AWS_LAMBDA_LOG_GROUP_NAME",
                                                        "AWS_LAMBDA_LOG_STREAM_NAME",
                                                        "AWS_ACCESS_KEY",
                                                        "AWS_ACCESS_KEY_ID",
                                                        "AWS_SECRET_ACCESS_KEY",
                                                        "AWS_SESSION_TOKEN",
                                                        "AWS_LAMBDA_RUNTIME_API",
                                                        "LAMBDA_TASK_ROOT",
                                                        "LAMBDA_RUNTIME_DIR"};
constexpr std::size_t kMostVariables = 4096;  // bytes

std::unexpected<cloud::Error> wrong_value(const std::string& what) { return cloud::error("InvalidParameterValueException", what); }

bool is_number(const std::string& s) { return !s.empty() && s.find_first_not_of("0123456789") == std::string::npos && s.size() < 18; }

// "2026-11-24T16:02:41.123+0000"
std::string modified(Instant at) {
  std::string text = iso_millis(at);
  if (text.ends_with('Z')) text.replace(text.size() - 1, 1, "+0000");
  return text;
}

}  // namespace

Json Lambda::Uploaded::to_row() const {
  Json::Object numbered, named_aliases, policy;
  for (const auto& [number, c] : versions) numbered.set(std::to_string(number), c);
  for (const auto& [alias, c] : aliases) named_aliases.set(alias, c);
  for (const auto& [id, statement] : statements) policy.set(id, statement);
  return Json::object({{"name", name},
                       {"region", region},
                       {"latest", latest},
                       {"versions", std::move(numbered)},
                       {"nextVersion", next_version},
                       {"published", published},
                       {"aliases", std::move(named_aliases)},
                       {"tags", tags},
                       {"statements", std::move(policy)}});
}
Lambda::Uploaded Lambda::Uploaded::from_row(const Json& row) {
  Uploaded f;
  f.name = row["name"].string_or();
  f.region = row["region"].string_or();
  f.latest = row["latest"];
  for (const auto& [number, c] : row["versions"].as_object()) f.versions[std::stoll(number)] = c;
  f.next_version = row["nextVersion"].integer_or(1);
  f.published = row["published"].string_or();
  for (const auto& [alias, c] : row["aliases"].as_object()) f.aliases[alias] = c;
  f.tags = row["tags"];
  for (const auto& [id, statement] : row["statements"].as_object()) f.statements[id] = statement;
  return f;
}

Json Lambda::policy_of(const Uploaded& f) {
  Json::Array statements;
  for (const auto& [id, statement] : f.statements) statements.push_back(statement);
  return Json::object({{"Version", "2012-10-17"}, {"Id", "default"}, {"Statement", std::move(statements)}});
}

Json Lambda::resource_policy(const std::string& arn) const {
  const auto parsed = Arn::parse(arn);
  const auto found = parsed ? uploaded_.find({parsed->region, named(Json::object({{"FunctionName", arn}})).name}) : uploaded_.end();
  return found == uploaded_.end() ? Json() : policy_of(found->second);
}

void Lambda::register_management() {
  on_async("CreateFunction", [this](Call c) { return create(std::move(c)); });
  on_async("UpdateFunctionCode", [this](Call c) { return update_code(std::move(c)); });
  on("UpdateFunctionConfiguration", [this](const Call& c) { return update_configuration(c); });
  on("DeleteFunction", [this](const Call& c) { return remove(c); });
  on("GetFunctionConfiguration", [this](const Call& c) -> Reply { return configuration(c.region, named(c.input)); });
  on("GetFunction", [this](const Call& c) -> Reply {
    const Named function = named(c.input);
    const auto known = configuration(c.region, function);
    if (!known) return std::unexpected(known.error());
    Json::Object out;
    out.set("Configuration", *known);
    if (const auto f = uploaded_.find({c.region, function.name}); f != uploaded_.end()) {
      out.set("Code", Json::object({{"RepositoryType", "S3"}}));
      out.set_if(!f->second.tags.as_object().empty(), "Tags", f->second.tags);
    }
    return Json(std::move(out));
  });
  on("ListFunctions", [this](const Call& c) -> Reply {
    std::map<std::string, Json> all;
    for (const auto& [name, function] : built_in_) all[name] = built_in(c.region, name);
    for (const auto& [key, f] : uploaded_) {
      if (key.first != c.region) continue;
      all[f.name] = f.latest;
      if (c.input["FunctionVersion"].string_or() == "ALL")
        for (const auto& [number, version] : f.versions) all[f.name + ':' + std::to_string(number)] = version;
    }
    const auto from = page_position(c.input["Marker"].string_or());
    const std::int64_t max = std::clamp<std::int64_t>(c.input["MaxItems"].integer_or(50), 1, 50);
    Json::Array out;
    std::string next;
    for (const auto& [name, function] : all) {
      if (from && name < *from) continue;
      if (static_cast<std::int64_t>(out.size()) == max) {
        next = page_token(name);
        break;
      }
      out.push_back(function);
    }
    Json::Object reply;
    reply.set("Functions", std::move(out)).set_if(!next.empty(), "NextMarker", next);
    return Json(std::move(reply));
  });
  on("PublishVersion", [this](const Call& c) -> Reply {
    const auto f = uploaded(c);
    if (!f) return std::unexpected(f.error());
    const std::string_view digest = c.input["CodeSha256"].string_or();
    if (!digest.empty() && digest != (*f)->latest["CodeSha256"].string_or())
      return wrong_value(fmt::format(
          "CodeSHA256 ({}) is different from current CodeSHA256 in $LATEST ({}). Please try again with the CodeSHA256 in $LATEST.", digest,
          (*f)->latest["CodeSha256"].string_or()));
    return publish(**f, c.input);
  });
  on("ListVersionsByFunction", [this](const Call& c) -> Reply {
    const auto f = uploaded(c);
    if (!f) return std::unexpected(f.error());
    Json::Object first = (*f)->latest.as_object();
    first.set("FunctionArn", arn(c.region, (*f)->name) + ":$LATEST");
    Json::Array out{Json(std::move(first))};
    for (const auto& [number, version] : (*f)->versions) out.push_back(version);
    return Json::object({{"Versions", std::move(out)}});
  });
  on("CreateAlias", [this](const Call& c) { return put_alias(c, true); });
  on("UpdateAlias", [this](const Call& c) { return put_alias(c, false); });
  const auto alias_of = [this](const Call& c) -> Reply {
    const auto f = uploaded(c);
    if (!f) return std::unexpected(f.error());
    const auto found = (*f)->aliases.find(std::string(c.input["Name"].string_or()));
    if (found != (*f)->aliases.end()) return found->second;
    return cloud::error("ResourceNotFoundException",
                        fmt::format("Cannot find alias arn: {}:{}", arn(c.region, (*f)->name), c.input["Name"].string_or()), 404);
  };
  on("GetAlias", alias_of);
  on("DeleteAlias", [this](const Call& c) -> Reply {
    const auto f = uploaded(c);
    if (!f) return std::unexpected(f.error());
    (*f)->aliases.erase(std::string(c.input["Name"].string_or()));
    store(**f);
    return Json(Json::Object{});
  });
  on("ListAliases", [this](const Call& c) -> Reply {
    const auto f = uploaded(c);
    if (!f) return std::unexpected(f.error());
    Json::Array out;
    for (const auto& [name, alias] : (*f)->aliases) out.push_back(alias);
    return Json::object({{"Aliases", std::move(out)}});
  });
  on("AddPermission", [this](const Call& c) { return add_permission(c); });
  on("RemovePermission", [this](const Call& c) -> Reply {
    const auto f = uploaded(c);
    if (!f) return std::unexpected(f.error());
    if ((*f)->statements.erase(std::string(c.input["StatementId"].string_or())) == 0)
      return cloud::error("ResourceNotFoundException",
                          fmt::format("Statement {} is not found in resource policy.", c.input["StatementId"].string_or()), 404);
    store(**f);
    return Json(Json::Object{});
  });
  on("GetPolicy", [this](const Call& c) -> Reply {
    const auto f = uploaded(c);
    if (!f) return std::unexpected(f.error());
    if ((*f)->statements.empty()) return cloud::error("ResourceNotFoundException", "The resource you requested does not exist.", 404);
    return Json::object({{"Policy", policy_of(**f).dump()}, {"RevisionId", (*f)->latest["RevisionId"]}});
  });
  const auto tagged = [this](const Call& c) {
    Json::Object asked = c.input.as_object();
    asked.set("FunctionName", c.input["Resource"]);
    return uploaded({c.service, c.region, c.operation, Json(std::move(asked))});
  };
  on("ListTags", [tagged](const Call& c) -> Reply {
    const auto f = tagged(c);
    if (!f) return std::unexpected(f.error());
    return Json::object({{"Tags", (*f)->tags}});
  });
  on("TagResource", [this, tagged](const Call& c) -> Reply {
    const auto f = tagged(c);
    if (!f) return std::unexpected(f.error());
    (*f)->tags = merge_tag_map((*f)->tags, c.input["Tags"]);
    store(**f);
    return Json(Json::Object{});
  });
  on("UntagResource", [this, tagged](const Call& c) -> Reply {
    const auto f = tagged(c);
    if (!f) return std::unexpected(f.error());
    (*f)->tags = remove_tag_keys((*f)->tags, c.input["TagKeys"]);
    store(**f);
    return Json(Json::Object{});
  });
  on("GetAccountSettings", [this](const Call& c) -> Reply {
    std::int64_t count = 0, bytes = 0;
    for (const auto& [key, f] : uploaded_) {
      if (key.first != c.region) continue;
      ++count;
      bytes += f.latest["CodeSize"].integer_or(0);
    }
    return Json::object({{"AccountLimit", Json::object({{"TotalCodeSize", 80'530'636'800},
                                                        {"CodeSizeUnzipped", 262'144'000},
                                                        {"CodeSizeZipped", 52'428'800},
                                                        {"ConcurrentExecutions", 1000},
                                                        {"UnreservedConcurrentExecutions", 1000}})},
                         {"AccountUsage", Json::object({{"TotalCodeSize", bytes}, {"FunctionCount", count}})}});
  });
}

std::expected<Lambda::Uploaded*, cloud::Error> Lambda::uploaded(const Call& call) {
  const Named function = named(call.input);
  const auto found = uploaded_.find({call.region, function.name});
  if (found != uploaded_.end()) return &found->second;
  if (built_in_.contains(function.name))
    return cloud::error("InvalidParameterValueException", fmt::format("The function {} is built into this server.", function.name));
  return not_found(call.region, {function.name, ""});
}

std::expected<Json, cloud::Error> Lambda::configuration(const std::string& region, const Named& function) {
  if (built_in_.contains(function.name)) return built_in(region, function.name);
  const auto found = uploaded_.find({region, function.name});
  if (found == uploaded_.end()) return not_found(region, function);
  const Uploaded& f = found->second;
  std::string qualifier = function.qualifier;
  if (const auto alias = f.aliases.find(qualifier); alias != f.aliases.end()) qualifier = alias->second["FunctionVersion"].string_or();
  if (qualifier.empty() || qualifier == kLatest) {
    if (function.qualifier.empty()) return f.latest;
    Json::Object latest = f.latest.as_object();
    latest.set("FunctionArn", arn(region, f.name) + ':' + function.qualifier);
    return Json(std::move(latest));
  }
  const auto version = is_number(qualifier) ? f.versions.find(std::stoll(qualifier)) : f.versions.end();
  if (version == f.versions.end()) return not_found(region, function);
  Json::Object out = version->second.as_object();
  out.set("FunctionArn", arn(region, f.name) + ':' + function.qualifier);
  return Json(std::move(out));
}

// The zip file of a Code member, uploaded or in S3.
Task<std::expected<std::string, cloud::Error>> Lambda::archive(std::string region, Json code) {
  std::string zip(code["ZipFile"].string_or());
  if (code.find("S3Bucket")) {
    Json get = Json::object({{"Bucket", code["S3Bucket"]}, {"Key", code["S3Key"]}});
    const Reply object = co_await env_.cloud->call({"s3", region, "GetObject", std::move(get)});
    if (!object)
      co_return wrong_value(fmt::format("Error occurred while GetObject. S3 Error Code: {}. S3 Error Message: {}", object.error().code,
                                        object.error().message));
    zip = (*object)["Body"].string_or();
  } else if (code.find("ImageUri")) {
    co_return cloud::error("NotImplemented", "Snapward's local cloud does not run container images.", 501);
  }
  if (zip.size() > kMostZipped)
    co_return cloud::error("RequestEntityTooLargeException", fmt::format("Zipped size must be smaller than {} bytes", kMostZipped), 413);
  if (!zip.starts_with("PK"))
    co_return wrong_value(zip.empty() ? "Please provide a source for function code."
                                      : "Could not unzip uploaded file. Please check your file, then try to upload again.");
  co_return zip;
}

std::expected<void, cloud::Error> Lambda::set_configuration(Json::Object& configuration, const Json& input) {
  const auto out_of_range = [](const char* field, std::int64_t value, const char* member, const char* bound) {
    return cloud::error(
        "ValidationException",
        fmt::format(
            "1 validation error detected: Value '{}' at '{}' failed to satisfy constraint: Member must have value {} than or equal to {}",
            value, field, member, bound));
  };
  if (const Json* runtime = input.find("Runtime")) {
    if (const auto refusal = runtimes_ ? runtimes_->refusal(std::string(runtime->string_or())) : std::nullopt)
      return wrong_value(*refusal + '.');
    configuration.set("Runtime", *runtime);
  }
  if (const Json* timeout = input.find("Timeout")) {
    const std::int64_t seconds = timeout->integer_or(3);
    if (seconds < 1) return out_of_range("timeout", seconds, "greater", "1");
    if (seconds > 900) return out_of_range("timeout", seconds, "less", "900");
    configuration.set("Timeout", seconds);
  }
  if (const Json* memory = input.find("MemorySize")) {
    const std::int64_t mb = memory->integer_or(128);
    if (mb < 128) return out_of_range("memorySize", mb, "greater", "128");
    if (mb > 10240) return out_of_range("memorySize", mb, "less", "10240");
    configuration.set("MemorySize", mb);
  }
  if (const Json* environment = input.find("Environment")) {
    if (environment->dump().size() > kMostVariables + 16)
      return wrong_value(
          "Lambda was unable to configure your environment variables because the environment variables you have provided exceeded the 4KB "
          "limit.");
    const Json* variables = environment->find("Variables");
    std::string reserved;
    if (variables && variables->is_object())
      for (const auto& [name, value] : variables->as_object())
        if (std::ranges::find(kReserved, name) != kReserved.end()) reserved += (reserved.empty() ? "" : ", ") + name;
    if (!reserved.empty())
      return wrong_value(fmt::format(
          "Lambda was unable to configure your environment variables because the environment variables you have provided contains reserved "
          "keys that are currently not supported for modification. Reserved keys used in this request: {}",
          reserved));
    if (!variables || variables->as_object().empty())
      configuration.erase("Environment");
    else
      configuration.set("Environment", Json::object({{"Variables", *variables}}));
  }
  for (const char* plain : {"Handler", "Role", "Description", "DeadLetterConfig", "EphemeralStorage", "KMSKeyArn"})
    if (const Json* value = input.find(plain)) configuration.set(plain, *value);
  if (const Json* tracing = input.find("TracingConfig")) configuration.set("TracingConfig", *tracing);
  return {};
}

void Lambda::set_code(Json::Object& configuration, const std::string& zip) {
  configuration.set("CodeSize", zip.size()).set("CodeSha256", base64_encode(sha256(zip)));
}
void Lambda::keep_code(const std::string& region, const std::string& zip) {
  env_.ledger.put("lambda.code", region + '/' + base64_encode(sha256(zip)), zip);
}
void Lambda::drop_code(const std::string& region, const std::string& digest) {
  const auto is_of = [&](const Json& configuration) { return configuration["CodeSha256"].string_or() == digest; };
  for (const auto& [key, f] : uploaded_)
    if (key.first == region && (is_of(f.latest) || std::ranges::any_of(f.versions, [&](const auto& v) { return is_of(v.second); }))) return;
  env_.ledger.erase("lambda.code", region + '/' + digest);
}

void Lambda::changed(Uploaded& f, Json::Object configuration) {
  configuration.set("LastModified", modified(env_.loop.now())).set("RevisionId", env_.loop.entropy().uuid());
  f.latest = Json(std::move(configuration));
  if (runtimes_) runtimes_->forget(arn(f.region, f.name));
  store(f);
}

Task<Reply> Lambda::create(Call call) {
  const Named function = named(call.input);
  const Json& input = call.input;
  const auto zip = co_await archive(call.region, input["Code"]);
  if (!zip) co_return std::unexpected(zip.error());
  if (function.name.empty() || function.name.size() > 64 ||
      function.name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != std::string::npos)
    co_return cloud::error(
        "ValidationException",
        fmt::format("1 validation error detected: Value '{}' at 'functionName' failed to satisfy constraint: Member must satisfy "
                    "regular expression pattern: [a-zA-Z0-9-_]+",
                    input["FunctionName"].string_or()));
  if (uploaded_.contains({call.region, function.name}) || built_in_.contains(function.name))
    co_return cloud::error("ResourceConflictException", "Function already exist: " + function.name, 409);
  const auto role = Arn::parse(input["Role"].string_or());
  if (!role || role->service != "iam")
    co_return cloud::error(
        "ValidationException",
        fmt::format("1 validation error detected: Value '{}' at 'role' failed to satisfy constraint: Member must satisfy regular "
                    "expression pattern: arn:(aws[a-zA-Z-]*)?:iam::\\d{{12}}:role/?[a-zA-Z_0-9+=,.@\\-_/]+",
                    input["Role"].string_or()));
  if (!input.find("Runtime") || !input.find("Handler"))
    co_return wrong_value("Runtime and Handler are mandatory parameters for functions created with deployment packages.");
  Json::Object c;
  c.set("FunctionName", function.name)
      .set("FunctionArn", arn(call.region, function.name))
      .set("Runtime", "")
      .set("Role", "")
      .set("Handler", "");
  c.set("CodeSize", 0).set("Description", "").set("Timeout", 3).set("MemorySize", 128).set("LastModified", "").set("CodeSha256", "");
  c.set("Version", kLatest).set("TracingConfig", Json::object({{"Mode", "PassThrough"}})).set("RevisionId", "");
  c.set("PackageType", "Zip").set("Architectures", input.find("Architectures") ? input["Architectures"] : Json::array({"x86_64"}));
  c.set("EphemeralStorage", Json::object({{"Size", 512}}));
  c.set("SnapStart", Json::object({{"ApplyOn", "None"}, {"OptimizationStatus", "Off"}}));
  c.set("LoggingConfig", Json::object({{"LogFormat", "Text"}, {"LogGroup", "/aws/lambda/" + function.name}}));
  c.set("State", "Active").set("LastUpdateStatus", "Successful");
  if (const auto set = set_configuration(c, input); !set) co_return std::unexpected(set.error());
  set_code(c, *zip);
  keep_code(call.region, *zip);
  Uploaded& f = uploaded_[{call.region, function.name}];
  f.name = function.name;
  f.region = call.region;
  if (input["Tags"].is_object()) f.tags = input["Tags"];
  changed(f, std::move(c));
  if (input["Publish"].bool_or(false)) co_return publish(f, input);
  // It is ready at once; the answer speaks of the moment before, as Lambda's does.
  Json::Object reply = f.latest.as_object();
  reply.set("State", "Pending").set("StateReason", "The function is being created.").set("StateReasonCode", "Creating");
  reply.erase("LastUpdateStatus");
  co_return Json(std::move(reply));
}

Task<Reply> Lambda::update_code(Call call) {
  if (const auto there = uploaded(call); !there) co_return std::unexpected(there.error());
  const auto zip = co_await archive(call.region, call.input);
  if (!zip) co_return std::unexpected(zip.error());
  const auto f = uploaded(call);
  if (!f) co_return std::unexpected(f.error());
  if (const std::string_view revision = call.input["RevisionId"].string_or();
      !revision.empty() && revision != (*f)->latest["RevisionId"].string_or())
    co_return cloud::error("PreconditionFailedException",
                           "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve "
                           "the latest Revision Id",
                           412);
  Json::Object c = (*f)->latest.as_object();
  const std::string old((*f)->latest["CodeSha256"].string_or());
  set_code(c, *zip);
  if (call.input.find("Architectures")) c.set("Architectures", call.input["Architectures"]);
  if (call.input["DryRun"].bool_or(false)) co_return Json(std::move(c));
  keep_code(call.region, *zip);
  changed(**f, std::move(c));
  drop_code(call.region, old);
  if (call.input["Publish"].bool_or(false)) co_return publish(**f, call.input);
  co_return (*f)->latest;
}

Reply Lambda::update_configuration(const Call& call) {
  const auto f = uploaded(call);
  if (!f) return std::unexpected(f.error());
  Json::Object c = (*f)->latest.as_object();
  if (const auto set = set_configuration(c, call.input); !set) return std::unexpected(set.error());
  changed(**f, std::move(c));
  return (*f)->latest;
}

Json Lambda::publish(Uploaded& f, const Json& input) {
  // Nothing changed since the last version: that one is the answer.
  if (!f.versions.empty() && f.latest["RevisionId"].string_or() == f.published) return f.versions.rbegin()->second;
  const std::string number = std::to_string(f.next_version);
  Json::Object version = f.latest.as_object();
  version.set("Version", number).set("FunctionArn", arn(f.region, f.name) + ':' + number);
  f.published = f.latest["RevisionId"].string_or();
  version.set("RevisionId", env_.loop.entropy().uuid());
  if (input.find("Description")) version.set("Description", input["Description"]);
  const Json& kept = f.versions[f.next_version++] = Json(std::move(version));
  store(f);
  return kept;
}

Reply Lambda::remove(const Call& call) {
  const auto f = uploaded(call);
  if (!f) return std::unexpected(f.error());
  const Named function = named(call.input);
  if (!function.qualifier.empty()) {
    if (!is_number(function.qualifier)) return wrong_value("$LATEST version cannot be deleted without deleting the function.");
    for (const auto& [name, alias] : (*f)->aliases)
      if (alias["FunctionVersion"].string_or() == function.qualifier)
        return cloud::error("ResourceConflictException",
                            fmt::format("Cannot delete a published version that is referenced by alias: {}", name), 409);
    const auto version = (*f)->versions.find(std::stoll(function.qualifier));
    if (version == (*f)->versions.end()) return Json(Json::Object{});
    const std::string digest(version->second["CodeSha256"].string_or());
    (*f)->versions.erase(version);
    store(**f);
    drop_code(call.region, digest);
    return Json(Json::Object{});
  }
  if (runtimes_) runtimes_->forget(arn(call.region, function.name));
  std::set<std::string> digests{std::string((*f)->latest["CodeSha256"].string_or())};
  for (const auto& [number, version] : (*f)->versions) digests.emplace(version["CodeSha256"].string_or());
  drop("functions", call.region + '/' + function.name);
  uploaded_.erase({call.region, function.name});
  for (const auto& digest : digests) drop_code(call.region, digest);
  return Json(Json::Object{});
}

Reply Lambda::put_alias(const Call& call, bool fresh) {
  const auto f = uploaded(call);
  if (!f) return std::unexpected(f.error());
  const std::string name(call.input["Name"].string_or());
  const auto found = (*f)->aliases.find(name);
  const std::string alias_arn = arn(call.region, (*f)->name) + ':' + name;
  if (fresh && found != (*f)->aliases.end()) return cloud::error("ResourceConflictException", "Alias already exists: " + alias_arn, 409);
  if (!fresh && found == (*f)->aliases.end()) return cloud::error("ResourceNotFoundException", "Cannot find alias arn: " + alias_arn, 404);
  Json::Object alias = fresh ? Json::Object{} : found->second.as_object();
  if (fresh) alias.set("AliasArn", alias_arn).set("Name", name).set("FunctionVersion", "").set("Description", "");
  if (const Json* version = call.input.find("FunctionVersion")) {
    const std::string number(version->string_or());
    if (number != kLatest && !(is_number(number) && (*f)->versions.contains(std::stoll(number))))
      return cloud::error("ResourceNotFoundException", fmt::format("Function not found: {}:{}", arn(call.region, (*f)->name), number), 404);
    alias.set("FunctionVersion", number);
  }
  if (const Json* description = call.input.find("Description")) alias.set("Description", *description);
  if (const Json* routing = call.input.find("RoutingConfig");
      routing && routing->find("AdditionalVersionWeights") && !(*routing)["AdditionalVersionWeights"].as_object().empty())
    return cloud::error("NotImplemented", "Snapward's local cloud does not route an alias of a function to several versions.", 501);
  alias.set("RevisionId", env_.loop.entropy().uuid());
  const Json& kept = (*f)->aliases[name] = Json(std::move(alias));
  store(**f);
  return kept;
}

Reply Lambda::add_permission(const Call& call) {
  const auto f = uploaded(call);
  if (!f) return std::unexpected(f.error());
  const Json& input = call.input;
  const std::string id(input["StatementId"].string_or()), principal(input["Principal"].string_or());
  if ((*f)->statements.contains(id))
    return cloud::error(
        "ResourceConflictException",
        fmt::format("The statement id ({}) provided already exists. Please provide a new statement id, or remove the existing statement.",
                    id),
        409);
  const bool service = principal.find(".amazonaws.com") != std::string::npos;
  Json::Object statement;
  statement.set("Sid", id).set("Effect", "Allow");
  statement.set("Principal", principal == "*"
                                 ? Json("*")
                                 : Json::object({{service ? "Service" : "AWS",
                                                  is_number(principal) ? Json("arn:aws:iam::" + principal + ":root") : Json(principal)}}));
  statement.set("Action", input["Action"]).set("Resource", arn(call.region, (*f)->name));
  Json::Object condition;
  if (input.find("SourceAccount")) condition.set("StringEquals", Json::object({{"AWS:SourceAccount", input["SourceAccount"]}}));
  if (input.find("SourceArn")) condition.set("ArnLike", Json::object({{"AWS:SourceArn", input["SourceArn"]}}));
  if (!condition.empty()) statement.set("Condition", std::move(condition));
  const Json& kept = (*f)->statements[id] = Json(std::move(statement));
  store(**f);
  return Json::object({{"Statement", kept.dump()}});
}

}  // namespace snapward::services::lambda
