#include "aws/identity.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <array>
#include <cstdlib>
#include <fstream>
#include <iterator>

#include "aws/aws_cloud.hpp"
#include "base/text.hpp"
#include "wire/protocol.hpp"

namespace snapward::aws {

namespace {

constexpr auto kRenewBefore = std::chrono::minutes(5);  // as the SDKs
constexpr int kMostRoles = 5;                           // a role for a role for a role

std::optional<std::string> file(const std::string& path) {
  std::ifstream in(path);
  if (!in) return std::nullopt;
  return std::string(std::istreambuf_iterator<char>(in), {});
}

// {"AccessKeyId", "SecretAccessKey", "Token" or "SessionToken", "Expiration"}
std::optional<wire::Credentials> credentials_of(const Json& json) {
  const Json& token = json.find("SessionToken") ? json["SessionToken"] : json["Token"];
  wire::Credentials out{std::string(json["AccessKeyId"].string_or()), std::string(json["SecretAccessKey"].string_or()),
                        std::string(token.string_or())};
  if (out.access_key.empty() || out.secret_key.empty()) return std::nullopt;
  return out;
}

// Tokens go in the clear only to where the machine itself answers.
bool may_be_plain(const std::string& host) {
  return host == "localhost" || host.starts_with("127.") || host == "::1" || host == "169.254.170.2" || host == "169.254.170.23" ||
         host == "fd00:ec2::23";
}

}  // namespace

Profiles read_profiles(std::string_view text) {
  Profiles out;
  std::map<std::string, std::string, std::less<>>* section = nullptr;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    const std::string_view raw = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    const bool nested = raw.starts_with(' ') || raw.starts_with('\t');
    std::string_view line = trim(raw);
    if (line.empty() || line.front() == '#' || line.front() == ';' || nested) continue;
    if (line.front() == '[') {
      const std::size_t close = line.find(']');
      std::string_view name = trim(line.substr(1, close == std::string_view::npos ? close : close - 1));
      if (name.starts_with("profile ")) name = trim(name.substr(8));
      section = &out[std::string(name)];
      continue;
    }
    const std::size_t equals = line.find('=');
    if (equals == std::string_view::npos || !section) continue;
    std::string_view value = trim(line.substr(equals + 1));
    if (const std::size_t comment = std::min(value.find(" #"), value.find(" ;")); comment != std::string_view::npos)
      value = trim(value.substr(0, comment));
    section->insert_or_assign(lower(trim(line.substr(0, equals))), std::string(value));
  }
  return out;
}

std::string Identity::environment_variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

Identity::Identity(engine::Loop& loop, Options options)
    : loop_(loop),
      options_(std::move(options)),
      near_(net::Client::create({.longest = std::chrono::seconds(2)})),
      far_(net::Client::create({.longest = std::chrono::seconds(30)})) {}

std::string Identity::sts() const { return options_.endpoint.empty() ? endpoint_of("sts", options_.region) : options_.endpoint; }

Task<Result<wire::Credentials>> Identity::get() {
  const auto good_until = [this](Duration before) {
    return !found_.credentials.access_key.empty() && (!found_.until || loop_.now() < *found_.until - before);
  };
  while (!good_until(kRenewBefore)) {
    if (waiting_) {
      const Future<bool> mine = waiting_->emplace_back();
      co_await mine;
      if (good_until(Duration(0))) break;
      continue;
    }
    waiting_.emplace();
    Answer found = co_await look();
    const auto others = *std::exchange(waiting_, std::nullopt);
    if (found) found_ = *std::move(found);
    for (const Future<bool>& other : others) loop_.defer([other] { other.set(true); });
    if (found) break;
    if (!good_until(Duration(0))) co_return std::unexpected(found.error());
    spdlog::warn("the credentials cannot be renewed, they end at {}: {}", iso_seconds(*found_.until), found.error().message);
    break;
  }
  co_return found_.credentials;
}

Task<Identity::Answer> Identity::look() {
  const auto variable = [this](const char* name) { return options_.variable(name); };
  if (options_.profile.empty()) {
    wire::Credentials keys{variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY"), variable("AWS_SESSION_TOKEN")};
    if (!keys.access_key.empty() && !keys.secret_key.empty()) co_return Found{std::move(keys), std::nullopt, "the environment's keys"};
    if (const std::string token = variable("AWS_WEB_IDENTITY_TOKEN_FILE"); !token.empty() && !variable("AWS_ROLE_ARN").empty()) {
      Role role{variable("AWS_ROLE_ARN"), variable("AWS_ROLE_SESSION_NAME"), {}, {}};
      co_return co_await by_token(std::move(role), token, "a web identity's role");
    }
  }
  const std::string named = !options_.profile.empty() ? options_.profile : variable("AWS_PROFILE");
  Answer profile = co_await of_profile(named.empty() ? "default" : named, 0);
  // A profile that somebody named, or one that is there and wrong, is not passed over.
  if (profile || !named.empty() || profile.error().code != ErrorCode::not_found) co_return profile;
  if (!variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI").empty() || !variable("AWS_CONTAINER_CREDENTIALS_FULL_URI").empty())
    co_return co_await of_container();
  if (iequals(variable("AWS_EC2_METADATA_DISABLED"), "true"))
    co_return invalid(
        "no credentials for AWS: neither AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are set nor is there a profile, a web identity or a "
        "container's role");
  Answer instance = co_await of_instance();
  if (instance) co_return instance;
  co_return fail(instance.error().code,
                 fmt::format("no credentials for AWS: neither AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are set nor is there a profile, "
                             "a web identity or a container's role, and the instance has none: {}",
                             instance.error().message));
}

Task<Identity::Answer> Identity::of_profile(std::string name, int depth) {
  const std::string home = options_.variable("HOME");
  const auto path = [&](const char* variable, const char* usual) {
    const std::string told = options_.variable(variable);
    return told.empty() ? home + usual : told;
  };
  const std::string credentials_path = path("AWS_SHARED_CREDENTIALS_FILE", "/.aws/credentials");
  const std::string config_path = path("AWS_CONFIG_FILE", "/.aws/config");
  Profiles all = read_profiles(file(config_path).value_or(""));
  for (auto& [section, settings] : read_profiles(file(credentials_path).value_or("")))
    for (auto& [key, value] : settings) all[section].insert_or_assign(key, value);
  const auto at = all.find(name);
  if (at == all.end())
    co_return fail(ErrorCode::not_found, fmt::format("there is no profile '{}' in '{}' or '{}'", name, credentials_path, config_path));
  const auto setting = [&at](std::string_view key) {
    const auto found = at->second.find(key);
    return found == at->second.end() ? std::string() : found->second;
  };
  const std::string source = fmt::format("the profile '{}'", name);
  for (const char* key : {"credential_process", "sso_session", "sso_start_url", "mfa_serial"})
    if (!setting(key).empty())
      co_return invalid(
          fmt::format("{} has '{}', which Snapward does not read; 'eval \"$(aws configure export-credentials --profile {} --format env)\"' "
                      "gives it keys that last as long as the session, a role for its machine some that are renewed",
                      source, key, name));
  if (const std::string role_arn = setting("role_arn"); !role_arn.empty()) {
    if (depth >= kMostRoles) co_return invalid(fmt::format("{} takes its credentials from itself, by its source_profile", source));
    Role role{role_arn, setting("role_session_name"), setting("external_id"), setting("duration_seconds")};
    if (const std::string token = setting("web_identity_token_file"); !token.empty())
      co_return co_await by_token(std::move(role), token, source);
    Answer caller = invalid(fmt::format("{} has a role_arn, and neither source_profile nor credential_source", source));
    const std::string from = setting("source_profile"), kind = setting("credential_source");
    if (!from.empty() && from == name && !setting("aws_access_key_id").empty())
      caller = Found{{setting("aws_access_key_id"), setting("aws_secret_access_key"), setting("aws_session_token")}, std::nullopt, source};
    else if (!from.empty())
      caller = co_await of_profile(from, depth + 1);
    else if (kind == "Ec2InstanceMetadata")
      caller = co_await of_instance();
    else if (kind == "EcsContainer")
      caller = co_await of_container();
    else if (kind == "Environment")
      caller = Found{
          {options_.variable("AWS_ACCESS_KEY_ID"), options_.variable("AWS_SECRET_ACCESS_KEY"), options_.variable("AWS_SESSION_TOKEN")},
          std::nullopt,
          source};
    if (!caller) co_return caller;
    co_return co_await as_role(std::move(role), *std::move(caller), source);
  }
  wire::Credentials keys{setting("aws_access_key_id"), setting("aws_secret_access_key"), setting("aws_session_token")};
  // A section may be there for its region alone.
  if (keys.access_key.empty() || keys.secret_key.empty())
    co_return fail(ErrorCode::not_found, fmt::format("{} has no aws_access_key_id and aws_secret_access_key", source));
  co_return Found{std::move(keys), std::nullopt, source};
}

Task<Identity::Answer> Identity::as_role(Role role, Found caller, std::string source) {
  Json::Object input;
  input.set("RoleArn", role.arn);
  input.set("RoleSessionName", role.session.empty() ? "snapward" : role.session);
  if (!role.external_id.empty()) input.set("ExternalId", role.external_id);
  if (const auto seconds = Json::parse(role.seconds); seconds && seconds->as_integer()) input.set("DurationSeconds", *seconds);
  AwsCloud cloud(loop_, *far_, {.endpoint = options_.endpoint, .credentials = fixed(caller.credentials)});
  const cloud::Reply reply = co_await cloud.call({"sts", options_.region, "AssumeRole", Json(std::move(input))});
  if (!reply) {
    const bool unsure =
        cloud::kind_of(reply.error()) == cloud::Kind::unavailable || cloud::kind_of(reply.error()) == cloud::Kind::throttled;
    co_return fail(unsure ? ErrorCode::unavailable : ErrorCode::invalid,
                   fmt::format("{}: the role {} cannot be taken: {}", source, role.arn, reply.error().message));
  }
  const auto keys = credentials_of((*reply)["Credentials"]);
  if (!keys) co_return invalid(fmt::format("{}: STS gave no credentials for the role {}", source, role.arn));
  co_return Found{*keys, parse_iso((*reply)["Credentials"]["Expiration"].string_or()), source};
}

// AssumeRoleWithWebIdentity is not signed: the token is what counts.
Task<Identity::Answer> Identity::by_token(Role role, std::string token_file, std::string source) {
  const auto token = file(token_file);
  if (!token) co_return invalid(fmt::format("{}: the web identity's token '{}' cannot be read", source, token_file));
  const wire::Service& service = *wire::find_service("sts");
  const wire::Operation& operation = *service.find("AssumeRoleWithWebIdentity");
  wire::HttpRequest request = wire::encode_request(service, operation,
                                                   Json::object({{"RoleArn", role.arn},
                                                                 {"RoleSessionName", role.session.empty() ? "snapward" : role.session},
                                                                 {"WebIdentityToken", std::string(trim(*token))}}));
  const auto response = co_await net::ask(loop_, *far_, sts(), std::move(request));
  if (!response) co_return fail(ErrorCode::unavailable, fmt::format("{}: STS cannot be reached: {}", source, response.error()));
  const auto reply = wire::decode_reply(service, operation, *response);
  if (!reply) co_return invalid(fmt::format("{}: the role {} cannot be taken: {}", source, role.arn, reply.error().message));
  const auto keys = credentials_of((*reply)["Credentials"]);
  if (!keys) co_return invalid(fmt::format("{}: STS gave no credentials for the role {}", source, role.arn));
  co_return Found{*keys, parse_iso((*reply)["Credentials"]["Expiration"].string_or()), source};
}

Task<Result<std::string>> Identity::metadata(std::string url, std::string method, std::string header, std::string value) {
  wire::HttpRequest request{.method = std::move(method), .target = "/", .headers = {}, .body = {}};
  if (!value.empty()) request.headers.add(std::move(header), std::move(value));
  const auto response = co_await net::ask(loop_, *near_, url, std::move(request));
  if (!response) co_return fail(ErrorCode::unavailable, response.error());
  if (response->status != 200)
    co_return fail(response->status >= 500 ? ErrorCode::unavailable : ErrorCode::invalid,
                   fmt::format("{} answers with HTTP status {}", url, response->status));
  co_return response->body;
}

Task<Identity::Answer> Identity::of_container() {
  const std::string relative = options_.variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
  const std::string url = relative.empty() ? options_.variable("AWS_CONTAINER_CREDENTIALS_FULL_URI") : "http://169.254.170.2" + relative;
  const auto parsed = net::Url::parse(url);
  if (!parsed) co_return invalid(fmt::format("AWS_CONTAINER_CREDENTIALS_FULL_URI: {}", parsed.error()));
  if (parsed->scheme == "http" && !may_be_plain(parsed->host))
    co_return invalid(fmt::format("AWS_CONTAINER_CREDENTIALS_FULL_URI: credentials are not asked of {} without TLS", parsed->host));
  std::string token = options_.variable("AWS_CONTAINER_AUTHORIZATION_TOKEN");
  if (const std::string path = options_.variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"); !path.empty()) {
    const auto text = file(path);
    if (!text) co_return invalid(fmt::format("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: '{}' cannot be read", path));
    token = trim(*text);
  }
  const auto text = co_await metadata(url, "GET", "Authorization", std::move(token));
  if (!text) co_return fail(text.error().code, fmt::format("the container's credentials: {}", text.error().message));
  const auto json = Json::parse(*text);
  const auto keys = json ? credentials_of(*json) : std::nullopt;
  if (!keys) co_return invalid(fmt::format("the container's credentials: {} answers with none", url));
  co_return Found{*keys, parse_iso((*json)["Expiration"].string_or()), "the container's role"};
}

Task<Identity::Answer> Identity::of_instance() {
  std::string base = options_.variable("AWS_EC2_METADATA_SERVICE_ENDPOINT");
  if (base.empty()) base = "http://169.254.169.254";
  if (base.ends_with('/')) base.pop_back();
  const auto token = co_await metadata(base + "/latest/api/token", "PUT", "X-aws-ec2-metadata-token-ttl-seconds", "21600");
  if (!token) co_return std::unexpected(token.error());
  const std::string roles = base + "/latest/meta-data/iam/security-credentials/";
  const auto names = co_await metadata(roles, "GET", "X-aws-ec2-metadata-token", *token);
  if (!names) co_return std::unexpected(names.error());
  const std::string role(trim(names->substr(0, names->find('\n'))));
  const auto text = co_await metadata(roles + role, "GET", "X-aws-ec2-metadata-token", *token);
  if (!text) co_return std::unexpected(text.error());
  const auto json = Json::parse(*text);
  const auto keys = json ? credentials_of(*json) : std::nullopt;
  if (!keys) co_return invalid(fmt::format("the instance's role '{}' has no credentials", role));
  co_return Found{*keys, parse_iso((*json)["Expiration"].string_or()), fmt::format("the instance's role '{}'", role)};
}

}  // namespace snapward::aws
