// Connections and API destinations, and the HTTP calls that rules and Step Functions' HTTP tasks make with them.
// Source: EventBridge User Guide, "API destinations"; Step Functions Developer Guide, "Call HTTPS APIs".
#include <fmt/format.h>

#include "base/arn.hpp"
#include "base/line.hpp"
#include "base/text.hpp"
#include "services/events/events.hpp"
#include "services/events/listing.hpp"

namespace snapward::services::events {

namespace {

std::unexpected<cloud::Error> bad_input(std::string message) { return cloud::error("ValidationException", std::move(message)); }
std::unexpected<cloud::Error> not_found(std::string message) { return cloud::error("ResourceNotFoundException", std::move(message)); }

// AWS asks for the first token of an OAuth connection some seconds after it was made or changed.
constexpr std::chrono::seconds kAuthorizationBegins(2);

// A kind of connection and where its parameters stand.
struct Kind {
  std::string_view type;
  const char* parameters;
};
constexpr Kind kBasic{"BASIC", "BasicAuthParameters"}, kApiKey{"API_KEY", "ApiKeyAuthParameters"},
    kOAuth{"OAUTH_CLIENT_CREDENTIALS", "OAuthParameters"};

const Kind& kind_of(const Json& connection) {
  const std::string_view type = connection["AuthorizationType"].string_or();
  return type == kOAuth.type ? kOAuth : type == kApiKey.type ? kApiKey : kBasic;
}

// What the secret of a connection holds (recorded by AWS, 2024).
std::string secret_text(const Json& connection) {
  const Json& auth = connection["AuthParameters"];
  const Kind& kind = kind_of(connection);
  const Json& given = auth[kind.parameters];
  Json::Object out;
  if (kind.type == kBasic.type) out.set("username", given["Username"]).set("password", given["Password"]);
  if (kind.type == kApiKey.type) out.set("api_key_name", given["ApiKeyName"]).set("api_key_value", given["ApiKeyValue"]);
  if (kind.type == kOAuth.type) {
    out.set("client_id", given["ClientParameters"]["ClientID"])
        .set("client_secret", given["ClientParameters"]["ClientSecret"])
        .set("authorization_endpoint", given["AuthorizationEndpoint"])
        .set("http_method", given["HttpMethod"]);
    if (const Json* http = given.find("OAuthHttpParameters")) out.set("oauth_http_parameters", *http);
  }
  if (const Json* http = auth.find("InvocationHttpParameters")) out.set("invocation_http_parameters", *http);
  return Json(std::move(out)).dump();
}

// A connection as DescribeConnection shows it: without passwords, keys and secret values.
Json without_secrets(const Json& connection) {
  const auto kept = [](const Json& object, std::initializer_list<const char*> fields) {
    Json::Object out;
    for (const char* field : fields)
      if (const Json* value = object.find(field)) out.set(field, *value);
    return Json(std::move(out));
  };
  const auto invocation = [](const Json& parameters) {
    Json::Object out;
    for (const char* kind : {"HeaderParameters", "QueryStringParameters", "BodyParameters"}) {
      if (!parameters.find(kind)) continue;
      Json::Array list;
      for (const Json& p : parameters[kind].items()) {
        Json::Object one{{"Key", p["Key"]}, {"IsValueSecret", p["IsValueSecret"].bool_or(false)}};
        if (!p["IsValueSecret"].bool_or(false)) one.set("Value", p["Value"]);
        list.emplace_back(std::move(one));
      }
      out.set(kind, std::move(list));
    }
    return Json(std::move(out));
  };
  const Json& given = connection["AuthParameters"];
  Json::Object auth;
  if (given.find("BasicAuthParameters")) auth.set("BasicAuthParameters", kept(given["BasicAuthParameters"], {"Username"}));
  if (given.find("ApiKeyAuthParameters")) auth.set("ApiKeyAuthParameters", kept(given["ApiKeyAuthParameters"], {"ApiKeyName"}));
  if (given.find("OAuthParameters")) {
    Json::Object oauth = kept(given["OAuthParameters"], {"AuthorizationEndpoint", "HttpMethod"}).as_object();
    oauth.set("ClientParameters", kept(given["OAuthParameters"]["ClientParameters"], {"ClientID"}));
    if (given["OAuthParameters"].find("OAuthHttpParameters"))
      oauth.set("OAuthHttpParameters", invocation(given["OAuthParameters"]["OAuthHttpParameters"]));
    auth.set("OAuthParameters", std::move(oauth));
  }
  if (given.find("InvocationHttpParameters")) auth.set("InvocationHttpParameters", invocation(given["InvocationHttpParameters"]));
  Json::Object out = connection.as_object();
  out.set("AuthParameters", std::move(auth));
  return Json(std::move(out));
}

std::string form(const Json& object) {
  std::string out;
  if (object.is_object())
    for (const auto& [key, value] : object.as_object())
      out += (out.empty() ? "" : "&") + percent_encode(key) + '=' + percent_encode(value.plain());
  return out;
}

}  // namespace

void Events::restore_destinations() {
  each_row("connections", [&](const std::string& key, const Json& row) {
    const Key named(key.substr(0, key.find('/')), key.substr(key.find('/') + 1));
    connections_[named] = row;
    if (row["ConnectionState"].string_or() == "AUTHORIZING") authorize_later(named);
  });
  each_row("destinations", [&](const std::string& key, const Json& row) {
    destinations_[{key.substr(0, key.find('/')), key.substr(key.find('/') + 1)}] = row;
  });
}

void Events::register_destinations() {
  on_async("CreateConnection", [this](Call c) { return put_connection(std::move(c), true); });
  on_async("UpdateConnection", [this](Call c) { return put_connection(std::move(c), false); });
  on_async("DeleteConnection", [this](Call c) { return delete_connection(std::move(c)); });
  on("CreateApiDestination", [this](const Call& c) { return put_destination(c, true); });
  on("UpdateApiDestination", [this](const Call& c) { return put_destination(c, false); });
  on("DescribeConnection", [this](const Call& call) -> Reply {
    const auto found = connections_.find({call.region, std::string(call.input["Name"].string_or())});
    if (found == connections_.end())
      return not_found(
          fmt::format("Failed to describe the connection(s). Connection '{}' does not exist.", call.input["Name"].string_or()));
    return without_secrets(found->second);
  });
  on("ListConnections", [this](const Call& call) -> Reply {
    return list_named(call, connections_, "Connections", [&](const Json& c) -> std::optional<Json> {
      if (call.input.find("ConnectionState") && call.input["ConnectionState"] != c["ConnectionState"]) return std::nullopt;
      return without_secrets(c);
    });
  });
  on("DescribeApiDestination", [this](const Call& call) -> Reply {
    const auto found = destinations_.find({call.region, std::string(call.input["Name"].string_or())});
    if (found == destinations_.end())
      return not_found(fmt::format("Failed to describe the api-destination(s). An api-destination '{}' does not exist.",
                                   call.input["Name"].string_or()));
    return destination_json(found->second);
  });
  on("ListApiDestinations", [this](const Call& call) -> Reply {
    return list_named(call, destinations_, "ApiDestinations", [&](const Json& d) -> std::optional<Json> {
      if (call.input.find("ConnectionArn") && call.input["ConnectionArn"] != d["ConnectionArn"]) return std::nullopt;
      return destination_json(d);
    });
  });
  on("DeleteApiDestination", [this](const Call& call) -> Reply {
    const std::string name(call.input["Name"].string_or());
    if (!destinations_.erase({call.region, name}))
      return not_found(fmt::format("Failed to delete the api-destination(s). An api-destination '{}' does not exist.", name));
    drop("destinations", call.region + '/' + name);
    return Json(Json::Object{});
  });
  // Not of the API: how deliveries and Step Functions' HTTP tasks reach the world (no request can name them).
  on_async("InvokeApiDestination", [this](Call c) { return invoke_destination(std::move(c)); });
  on_async("InvokeHttp", [this](Call c) { return invoke_http(std::move(c)); });
}

namespace {

// What the operations on a connection answer with.
Json connection_summary(const Json& connection, bool with_authorization) {
  Json::Object out{{"ConnectionArn", connection["ConnectionArn"]},
                   {"ConnectionState", connection["ConnectionState"]},
                   {"CreationTime", connection["CreationTime"]},
                   {"LastModifiedTime", connection["LastModifiedTime"]}};
  out.set_if(with_authorization, "LastAuthorizedTime", connection["LastAuthorizedTime"]);
  return Json(std::move(out));
}

// The constraint of the API on what becomes a header: without it, a line break in a value would begin a header of its own.
std::optional<cloud::Error> unusable_header(const Json& auth) {
  const auto fault = [](const std::string& member, const char* pattern) {
    return bad_input(fmt::format("1 validation error detected: Value at 'authParameters.{}' failed to satisfy constraint: Member must "
                                 "satisfy regular expression pattern: {}",
                                 member, pattern))
        .error();
  };
  constexpr const char* kName = "^[!#$%&'*+-.^_`|~0-9a-zA-Z]+$";
  constexpr const char* kValue = R"(^[ \t]*[^\x00-\x1F\x7F]+([ \t]+[^\x00-\x1F\x7F]+)*[ \t]*$)";
  int number = 0;
  for (const Json& p : auth["InvocationHttpParameters"]["HeaderParameters"].items()) {
    const std::string member = fmt::format("invocationHttpParameters.headerParameters.{}.member.", ++number);
    if (!is_header_name(p["Key"].string_or())) return fault(member + "key", kName);
    if (!is_header_value(p["Value"].string_or())) return fault(member + "value", kValue);
  }
  const Json& key = auth["ApiKeyAuthParameters"];
  if (!is_header_value(key["ApiKeyName"].string_or())) return fault("apiKeyAuthParameters.apiKeyName", kValue);
  if (!is_header_value(key["ApiKeyValue"].string_or())) return fault("apiKeyAuthParameters.apiKeyValue", kValue);
  return std::nullopt;
}

}  // namespace

Task<Reply> Events::put_connection(Call call, bool fresh) {
  const Json& in = call.input;
  const std::string name(in["Name"].string_or());
  const Key key(call.region, name);
  const auto taken = [&] { return cloud::error("ResourceAlreadyExistsException", fmt::format("Connection {} already exists.", name)); };
  const auto known = connections_.find(key);
  if (fresh && known != connections_.end()) co_return taken();
  if (!fresh && known == connections_.end())
    co_return not_found(fmt::format("Failed to describe the connection(s). Connection '{}' does not exist.", name));
  Json::Object c = fresh ? Json::Object{} : known->second.as_object();
  for (const char* field : {"Description", "AuthorizationType", "AuthParameters"})
    if (const Json* value = in.find(field)) c.set(field, *value);
  const Kind& kind = kind_of(Json(c));
  if (!c.find("AuthParameters") || !c.find("AuthParameters")->find(kind.parameters))
    co_return bad_input(fmt::format("AuthParameters.{} is required for authorization type {}.", kind.parameters, kind.type));
  if (auto unusable = unusable_header(*c.find("AuthParameters"))) co_return std::unexpected(*std::move(unusable));
  if (fresh)
    c.set("Name", name)
        .set("ConnectionArn",
             fmt::format("arn:aws:events:{}:{}:connection/{}/{}", call.region, env_.account, name, env_.loop.entropy().uuid()))
        .set("CreationTime", iso_millis(env_.loop.now()));
  c.set("ConnectionState", kind.type == kOAuth.type ? "AUTHORIZING" : "AUTHORIZED")
      .set("LastModifiedTime", iso_millis(env_.loop.now()))
      .set("LastAuthorizedTime", iso_millis(env_.loop.now()));
  const Reply secret = co_await keep_secret(call.region, Json(c));
  if (!secret) co_return secret;
  if (fresh && connections_.contains(key)) co_return taken();  // in the meantime
  c.set("SecretArn", (*secret)["ARN"]);
  const Json& kept = connections_[key] = Json(std::move(c));
  save("connections", key.first + '/' + key.second, kept);
  if (kind.type == kOAuth.type) authorize_later(key);
  co_return connection_summary(kept, !fresh);
}

// A connection keeps what it must not show in a secret of its own, in the same region.
Task<Reply> Events::keep_secret(std::string region, Json connection) {
  const Json* known = connection.find("SecretArn");
  const std::string name = fmt::format("events!connection/{}/{}", connection["Name"].string_or(), env_.loop.entropy().uuid());
  Call call{"secretsmanager", region, known ? "UpdateSecret" : "CreateSecret",
            Json::object({{known ? "SecretId" : "Name", known ? *known : Json(name)},
                          {"ClientRequestToken", env_.loop.entropy().uuid()},
                          {"SecretString", secret_text(connection)}})};
  co_return co_await env_.cloud->call(std::move(call));
}

Task<Reply> Events::delete_connection(Call call) {
  const Key key(call.region, std::string(call.input["Name"].string_or()));
  const auto found = connections_.find(key);
  if (found == connections_.end())
    co_return not_found(fmt::format("Failed to delete the connection(s). Connection '{}' does not exist.", key.second));
  Json::Object gone = found->second.as_object();
  connections_.erase(found);
  drop("connections", key.first + '/' + key.second);
  if (const Json* secret = gone.find("SecretArn"))  // somebody may have deleted it
    co_await env_.cloud->call(
        Call{"secretsmanager", call.region, "DeleteSecret", Json::object({{"SecretId", *secret}, {"ForceDeleteWithoutRecovery", true}})});
  gone.set("ConnectionState", "DELETING");
  co_return connection_summary(Json(std::move(gone)), true);
}

void Events::authorize_later(const Key& key) {
  env_.loop.after(kAuthorizationBegins, [this, key] {
    const auto found = connections_.find(key);
    if (found == connections_.end() || found->second["ConnectionState"].string_or() != "AUTHORIZING") return;
    env_.loop.spawn(
        token_for(found->second["AuthParameters"]["OAuthParameters"]),
        [this, key, asked = found->second](const std::expected<std::string, cloud::Error>& token) {
          const auto now = connections_.find(key);
          if (now == connections_.end() || now->second != asked) return;  // deleted or changed
          Json::Object c = asked.as_object();
          c.set("ConnectionState", token ? "AUTHORIZED" : "DEAUTHORIZED").set("LastAuthorizedTime", iso_millis(env_.loop.now()));
          c.set_if(!token, "StateReason", token ? "" : token.error().message);
          now->second = Json(std::move(c));
          save("connections", key.first + '/' + key.second, now->second);
        });
  });
}

Json Events::destination_json(const Json& destination) const {
  const Json* connection = connection_by_arn(std::string(destination["ConnectionArn"].string_or()));
  const bool authorized = connection && (*connection)["ConnectionState"].string_or() == "AUTHORIZED";
  Json::Object out = destination.as_object();
  out.set("ApiDestinationState", authorized ? "ACTIVE" : "INACTIVE");
  return Json(std::move(out));
}

Reply Events::put_destination(const Call& call, bool fresh) {
  const Json& in = call.input;
  const std::string name(in["Name"].string_or());
  const auto known = destinations_.find({call.region, name});
  if (fresh && known != destinations_.end())
    return cloud::error("ResourceAlreadyExistsException", fmt::format("An api-destination '{}' already exists.", name));
  if (!fresh && known == destinations_.end()) return not_found(fmt::format("An api-destination '{}' does not exist.", name));
  Json::Object d = fresh ? Json::Object{} : known->second.as_object();
  for (const char* field : {"Description", "ConnectionArn", "InvocationEndpoint", "HttpMethod", "InvocationRateLimitPerSecond"})
    if (const Json* value = in.find(field)) d.set(field, *value);
  const std::string endpoint(d.find("InvocationEndpoint") ? d.find("InvocationEndpoint")->string_or() : "");
  if ((!endpoint.starts_with("https://") && !endpoint.starts_with("http://")) || !is_request_target(endpoint))
    return bad_input("Parameter InvocationEndpoint is not valid. Reason: it must be a URL.");
  if (!d.find("ConnectionArn") || !connection_by_arn(std::string(d.find("ConnectionArn")->string_or())))
    return not_found(fmt::format("Connection '{}' does not exist.", in["ConnectionArn"].string_or()));
  if (fresh)
    d.set("Name", name)
        .set("ApiDestinationArn",
             fmt::format("arn:aws:events:{}:{}:api-destination/{}/{}", call.region, env_.account, name, env_.loop.entropy().uuid()))
        .set("CreationTime", iso_millis(env_.loop.now()));
  if (!d.find("InvocationRateLimitPerSecond")) d.set("InvocationRateLimitPerSecond", 300);
  d.set("LastModifiedTime", iso_millis(env_.loop.now()));
  const Json kept(std::move(d));
  destinations_[{call.region, name}] = kept;
  save("destinations", call.region + '/' + name, kept);
  return Json::object({{"ApiDestinationArn", kept["ApiDestinationArn"]},
                       {"ApiDestinationState", destination_json(kept)["ApiDestinationState"]},
                       {"CreationTime", kept["CreationTime"]},
                       {"LastModifiedTime", kept["LastModifiedTime"]}});
}

const Json* Events::connection_by_arn(const std::string& arn) const {
  for (const auto& [key, c] : connections_)
    if (c["ConnectionArn"].string_or() == arn) return &c;
  return nullptr;
}
const Json* Events::destination_by_arn(const std::string& arn) const {
  for (const auto& [key, d] : destinations_)
    if (d["ApiDestinationArn"].string_or() == arn) return &d;
  return nullptr;
}

Task<std::expected<std::string, cloud::Error>> Events::token_for(Json oauth) {
  wire::HttpRequest ask;
  ask.method = oauth["HttpMethod"].string_or("POST");
  ask.headers.add("Content-Type", "application/x-www-form-urlencoded");
  ask.body = form(Json::object({{"grant_type", "client_credentials"},
                                {"client_id", oauth["ClientParameters"]["ClientID"]},
                                {"client_secret", oauth["ClientParameters"]["ClientSecret"]}}));
  const auto granted = co_await outbound_.http(std::string(oauth["AuthorizationEndpoint"].string_or()), std::move(ask));
  const auto token = granted ? Json::parse(granted->body) : Result<Json>(invalid(""));
  if (!token || !token->find("access_token"))
    co_return cloud::error("ConnectionAuthorizationException", "The authorization endpoint gave no access token.", 400);
  co_return std::string((*token)["access_token"].string_or());
}

Task<Reply> Events::send_http(Json connection, std::string method, std::string url, Json headers, Json query, Json body,
                              std::string encoding) {
  const Json& auth = connection["AuthParameters"];
  wire::HttpRequest request;
  request.method = std::move(method);
  if (headers.is_object())
    for (const auto& [key, value] : headers.as_object()) request.headers.add(key, value.plain());
  const Json& extra = auth["InvocationHttpParameters"];
  for (const Json& p : extra["HeaderParameters"].items())
    request.headers.add(std::string(p["Key"].string_or()), std::string(p["Value"].string_or()));
  Json::Object asked = query.is_object() ? query.as_object() : Json::Object{};
  for (const Json& p : extra["QueryStringParameters"].items()) asked.set(std::string(p["Key"].string_or()), p["Value"]);
  if (!asked.empty()) url += (url.find('?') == std::string::npos ? '?' : '&') + form(Json(std::move(asked)));
  if (body.is_object() && !extra["BodyParameters"].items().empty()) {
    Json::Object with = body.as_object();
    for (const Json& p : extra["BodyParameters"].items()) with.set(std::string(p["Key"].string_or()), p["Value"]);
    body = Json(std::move(with));
  }
  if (auth.find("BasicAuthParameters")) {
    const Json& basic = auth["BasicAuthParameters"];
    request.headers.add("Authorization",
                        "Basic " + base64_encode(fmt::format("{}:{}", basic["Username"].string_or(), basic["Password"].string_or())));
  } else if (auth.find("ApiKeyAuthParameters")) {
    request.headers.add(std::string(auth["ApiKeyAuthParameters"]["ApiKeyName"].string_or()),
                        std::string(auth["ApiKeyAuthParameters"]["ApiKeyValue"].string_or()));
  } else if (auth.find("OAuthParameters")) {  // a token for this call
    const auto token = co_await token_for(auth["OAuthParameters"]);
    if (!token) co_return std::unexpected(token.error());
    request.headers.add("Authorization", "Bearer " + *token);
  }
  if (!body.is_null()) {
    const bool as_form = encoding == "URL_ENCODED";
    request.body = as_form ? form(body) : body.plain();
    if (!request.headers.find("Content-Type"))
      request.headers.add("Content-Type", as_form ? "application/x-www-form-urlencoded" : "application/json; charset=utf-8");
  }
  if (!request.headers.find("User-Agent")) request.headers.add("User-Agent", "Amazon/EventBridge/ApiDestinations");
  const auto answer = co_await outbound_.http(std::move(url), std::move(request));
  if (!answer) co_return cloud::error("ConnectionFailed", answer.error(), 503);
  Json::Object shown;
  for (const auto& [name, value] : answer->headers.list) {
    const std::string key = lower(name);
    Json::Array values = shown.find(key) ? shown.find(key)->items() : Json::Array{};
    values.emplace_back(value);
    shown.set(key, std::move(values));
  }
  auto parsed = Json::parse(answer->body);
  static constexpr std::pair<int, const char*> kTexts[] = {{200, "OK"},
                                                           {201, "Created"},
                                                           {202, "Accepted"},
                                                           {204, "No Content"},
                                                           {400, "Bad Request"},
                                                           {401, "Unauthorized"},
                                                           {403, "Forbidden"},
                                                           {404, "Not Found"},
                                                           {409, "Conflict"},
                                                           {429, "Too Many Requests"},
                                                           {500, "Internal Server Error"},
                                                           {502, "Bad Gateway"},
                                                           {503, "Service Unavailable"}};
  const auto* text = std::find_if(std::begin(kTexts), std::end(kTexts), [&](const auto& t) { return t.first == answer->status; });
  co_return Json::object({{"Headers", std::move(shown)},
                          {"ResponseBody", parsed ? *std::move(parsed) : Json(answer->body)},
                          {"StatusCode", answer->status},
                          {"StatusText", text == std::end(kTexts) ? "" : text->second}});
}

// When the next call may go out: no second has more than the destination's limit. Each that is asked for takes a place.
Instant Events::place_of(const std::string& destination, std::int64_t limit) {
  Pace& pace = paces_[destination];
  if (env_.loop.now() >= pace.second + std::chrono::seconds(1)) pace = {.second = env_.loop.now(), .calls = 0};
  if (pace.calls >= std::max<std::int64_t>(1, limit)) pace = {.second = pace.second + std::chrono::seconds(1), .calls = 0};
  ++pace.calls;
  return pace.second;
}

Task<Reply> Events::invoke_destination(Call call) {
  const std::string arn(call.input["Arn"].string_or());
  if (const Json* limited = destination_by_arn(arn)) {
    const Instant place = place_of(arn, (*limited)["InvocationRateLimitPerSecond"].integer_or(300));
    if (place > env_.loop.now()) co_await env_.loop.sleep(place - env_.loop.now());
  }
  const Json* d = destination_by_arn(arn);  // as it is now
  if (!d) co_return not_found(fmt::format("Api destination {} does not exist.", call.input["Arn"].string_or()));
  const Json* c = connection_by_arn(std::string((*d)["ConnectionArn"].string_or()));
  if (!c) co_return not_found(fmt::format("Connection {} does not exist.", (*d)["ConnectionArn"].string_or()));
  const Json& given = call.input["HttpParameters"];
  std::string url((*d)["InvocationEndpoint"].string_or());
  for (const Json& value : given["PathParameterValues"].items())  // each takes the next '*'
    if (const std::size_t star = url.find('*'); star != std::string::npos) url.replace(star, 1, percent_encode(value.string_or()));
  auto body = Json::parse(call.input["Body"].string_or());
  const Json connection = *c;
  const Reply reply = co_await send_http(connection, std::string((*d)["HttpMethod"].string_or("POST")), url, given["HeaderParameters"],
                                         given["QueryStringParameters"], body ? *std::move(body) : call.input["Body"], "");
  if (!reply) co_return reply;
  const std::int64_t status = (*reply)["StatusCode"].integer_or(0);
  if (status >= 200 && status < 300) co_return reply;
  // Too many requests and the other side's trouble are tried again; what it refuses is not.
  const bool again = status == 409 || status == 429 || status >= 500;
  co_return cloud::error(again ? "ThrottlingException" : "ApiDestinationRefused",
                         fmt::format("The endpoint answered {} {}.", status, (*reply)["StatusText"].string_or()), again ? 503 : 400);
}

// Step Functions' http:invoke.
Task<Reply> Events::invoke_http(Call call) {
  const Json& in = call.input;
  const std::string endpoint(in["ApiEndpoint"].string_or());
  const Json& by = in.find("InvocationConfig") ? in["InvocationConfig"] : in["Authentication"];
  const Json* c = connection_by_arn(std::string(by["ConnectionArn"].string_or()));
  if (!endpoint.starts_with("https://") && !endpoint.starts_with("http://"))
    co_return cloud::error("States.Runtime", fmt::format("The ApiEndpoint '{}' is not a URL.", endpoint));
  if (!c)
    co_return cloud::error("Events.ConnectionResource.NotFound",
                           fmt::format("Connection '{}' does not exist.", by["ConnectionArn"].string_or()));
  const Json connection = *c;
  const Reply reply =
      co_await send_http(connection, std::string(in["Method"].string_or("GET")), endpoint, in["Headers"], in["QueryParameters"],
                         in["RequestBody"], std::string(in["Transform"]["RequestBodyEncoding"].string_or()));
  if (!reply)
    co_return cloud::error(
        reply.error().code == "ConnectionAuthorizationException" ? "Events.ConnectionResource.AuthorizationFailed" : "States.Http.Socket",
        reply.error().message);
  const std::int64_t status = (*reply)["StatusCode"].integer_or(0);
  if (status >= 200 && status < 300) co_return reply;
  const Json& body = (*reply)["ResponseBody"];
  co_return cloud::error(fmt::format("States.Http.StatusCode.{}", status), body.plain(), static_cast<int>(status));
}

}  // namespace snapward::services::events
