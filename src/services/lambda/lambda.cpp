#include "services/lambda/lambda.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "base/arn.hpp"
#include "base/text.hpp"
#include "base/utf8.hpp"

namespace snapward::services::lambda {

namespace {
constexpr std::int64_t kRetries = 2;                       // of an asynchronous invocation
constexpr std::size_t kMostSynchronous = 6 * 1024 * 1024;  // bytes of an event
constexpr std::size_t kMostAsynchronous = 1024 * 1024;
}  // namespace

std::string Lambda::arn(const std::string& region, const std::string& name) const {
  return fmt::format("arn:aws:lambda:{}:{}:function:{}", region, env_.account, name);
}

Lambda::Named Lambda::named(const Json& input) {
  std::string given(input["FunctionName"].string_or());
  if (given.starts_with("arn:")) {
    const auto arn = Arn::parse(given);
    given = arn ? arn->resource_id("function").value_or("") : "";
  } else if (const std::size_t at = given.find(":function:"); at != std::string::npos) {
    given.erase(0, at + 10);  // a partial ARN: account:function:name
  }
  const std::size_t colon = given.find(':');
  Named out{.name = given.substr(0, colon), .qualifier = colon == std::string::npos ? "" : given.substr(colon + 1)};
  if (out.qualifier.empty()) out.qualifier = input["Qualifier"].string_or();
  return out;
}

std::unexpected<cloud::Error> Lambda::not_found(const std::string& region, const Named& function) const {
  return cloud::error(
      "ResourceNotFoundException",
      fmt::format("Function not found: {}{}{}", arn(region, function.name), function.qualifier.empty() ? "" : ":", function.qualifier),
      404);
}

Json Lambda::built_in(const std::string& region, const std::string& name) const {
  return Json::object({{"FunctionName", name},
                       {"FunctionArn", arn(region, name)},
                       {"Runtime", "provided.al2023"},
                       {"Handler", "bootstrap"},
                       {"Timeout", 60},
                       {"MemorySize", 128},
                       {"Version", "$LATEST"},
                       {"State", "Active"},
                       {"PackageType", "Zip"},
                       {"Description", "A task of Snapward, built into this server"},
                       {"Architectures", Json::array({"x86_64"})}});
}

Lambda::Lambda(Environment& env) : Service("lambda", env) {
  on_async("Invoke", [this](Call call) { return invoke(std::move(call)); });
  register_management();
}

Task<Reply> Lambda::invoke(Call call) {
  const Named function = named(call.input);
  const auto known = configuration(call.region, function);
  // What is to be run is a version, and named as one (recorded by AWS, 2025).
  if (!known && known.error().code == "ResourceNotFoundException" && function.qualifier.empty())
    co_return not_found(call.region, {function.name, "$LATEST"});
  if (!known) co_return std::unexpected(known.error());
  std::string text(call.input["Payload"].string_or());
  if (text.empty()) text = "{}";
  const auto event = Json::parse(text);
  if (!event) co_return cloud::error("InvalidRequestContentException", "Could not parse request body into json: " + event.error().message);
  const std::string type(call.input["InvocationType"].string_or("RequestResponse"));
  if (type == "DryRun") co_return Json::object({{"StatusCode", 204}});
  const std::size_t most = type == "Event" ? kMostAsynchronous : kMostSynchronous;
  if (text.size() > most)
    co_return cloud::error("RequestTooLargeException",
                           fmt::format("{} byte payload is too large for the {} invocation type (limit {} bytes)", text.size(), type, most),
                           413);
  if (!runtimes_ && !built_in_.contains(function.name))
    co_return cloud::error("ServiceException", "This server runs no uploaded functions.", 500);
  const std::string request_id = env_.loop.entropy().uuid();
  if (type == "Event") {
    const Pending accepted{
        .id = request_id, .name = function.name, .qualifier = function.qualifier, .region = call.region, .event = *event};
    keep(accepted);
    env_.ledger.after_commit([this, accepted] { run_later(accepted); });
    co_return Json::object({{"StatusCode", 202}});
  }
  const std::string context = base64_decode(call.input["ClientContext"].string_or()).value_or("");
  const Outcome outcome = co_await run(call.region, function, std::move(text), request_id, context);
  Json::Object reply;
  reply.set("StatusCode", 200).set("ExecutedVersion", (*known)["Version"]).set("Payload", outcome.payload);
  if (outcome.failed) reply.set("FunctionError", "Unhandled");
  if (call.input["LogType"].string_or() == "Tail") reply.set("LogResult", base64_encode(outcome.log));
  co_return Json(std::move(reply));
}

Task<Outcome> Lambda::run(std::string region, Named function, std::string event, std::string request_id, std::string client_context) {
  if (const auto found = built_in_.find(function.name); found != built_in_.end()) {
    const auto given = Json::parse(event);
    auto outcome = co_await found->second(given ? *given : Json(), {.region = region, .request_id = request_id});
    if (outcome) co_return Outcome{.payload = outcome->dump(), .failed = false, .log = {}};
    const Json error = Json::object({{"errorMessage", outcome.error().message}, {"errorType", outcome.error().type}});
    co_return Outcome{.payload = error.dump(), .failed = true, .log = {}};
  }
  const auto known = configuration(region, function);
  if (!known || !runtimes_) co_return Outcome{.payload = R"({"errorType":"Function.Unavailable"})", .failed = true, .log = {}};
  const Json& c = *known;
  RunnableVersion version{.arn = arn(region, function.name),
                          .name = function.name,
                          .version = std::string(c["Version"].string_or()),
                          .revision = std::string(c["RevisionId"].string_or()),
                          .region = region,
                          .runtime = std::string(c["Runtime"].string_or()),
                          .handler = std::string(c["Handler"].string_or()),
                          .variables = {},
                          .timeout = std::chrono::seconds(c["Timeout"].integer_or(3)),
                          .memory_mb = c["MemorySize"].integer_or(128),
                          .code = [this, key = region + '/' + std::string(c["CodeSha256"].string_or())] {
                            return env_.ledger.get("lambda.code", key).value_or("");
                          }};
  if (c["Environment"]["Variables"].is_object())
    for (const auto& [name, value] : c["Environment"]["Variables"].as_object()) version.variables.emplace_back(name, value.string_or());
  Invocation invocation{.request_id = request_id,
                        .invoked_arn = version.arn + (function.qualifier.empty() ? "" : ":" + function.qualifier),
                        .event = std::move(event),
                        .client_context = std::move(client_context)};
  co_return co_await runtimes_->invoke(std::move(version), std::move(invocation));
}

void Lambda::keep(const Pending& p) {
  save("invocations", p.id,
       Json::object({{"name", p.name}, {"qualifier", p.qualifier}, {"region", p.region}, {"event", p.event}, {"attempts", p.attempts}}));
}

// Developer Guide, "How Lambda handles errors and retries with asynchronous invocation": again after one minute, then after two.
void Lambda::run_later(Pending p) {
  const Named function{p.name, p.qualifier};
  if (!configuration(p.region, function)) return drop("invocations", p.id);
  auto outcome = run(p.region, function, p.event.dump(), p.id, "");
  env_.loop.spawn(std::move(outcome), [this, p = std::move(p)](const Outcome& result) mutable {
    if (!result.failed) return drop("invocations", p.id);
    spdlog::warn("function {}: {}", p.name, result.payload);
    if (++p.attempts > kRetries) {
      to_dead_letters(p, result);
      return drop("invocations", p.id);
    }
    keep(p);
    const auto wait = std::chrono::minutes(p.attempts);
    env_.loop.after(wait, [this, p = std::move(p)] { run_later(p); });
  });
}

// Developer Guide, "Dead-letter queues": the event, with what went wrong as attributes.
void Lambda::to_dead_letters(const Pending& p, const Outcome& last) {
  constexpr std::size_t kMostOfMessage = 1024;
  const auto known = configuration(p.region, {p.name, p.qualifier});
  const auto target = known ? Arn::parse((*known)["DeadLetterConfig"]["TargetArn"].string_or()) : std::nullopt;
  if (!target) return;
  const auto error = Json::parse(last.payload);
  const std::string message(error ? (*error)["errorMessage"].string_or(last.payload) : std::string_view(last.payload));
  const auto attribute = [](const char* type, const std::string& value) {
    return Json::object({{"DataType", type}, {"StringValue", value.empty() ? " " : value}});
  };
  Json attributes = Json::object({{"RequestID", attribute("String", p.id)},
                                  {"ErrorCode", attribute("Number", "200")},
                                  {"ErrorMessage", attribute("String", utf8_of(message.substr(0, kMostOfMessage)))}});
  const bool queue = target->service == "sqs";
  Json input = queue
                   ? Json::object({{"QueueUrl", fmt::format("{}/{}/{}", env_.base_url, target->account, target->resource)},
                                   {"MessageBody", p.event.dump()},
                                   {"MessageAttributes", std::move(attributes)}})
                   : Json::object({{"TopicArn", target->str()}, {"Message", p.event.dump()}, {"MessageAttributes", std::move(attributes)}});
  const cloud::Caller itself{
      .service = "lambda.amazonaws.com", .role = std::string((*known)["Role"].string_or()), .source = arn(p.region, p.name)};
  env_.loop.spawn(env_.cloud->call({target->service, target->region, queue ? "SendMessage" : "Publish", std::move(input), itself}),
                  [](const Reply& reply) {
                    if (!reply) spdlog::warn("a dead letter could not be sent: {}", reply.error().message);
                  });
}

void Lambda::restore() {
  each_row("functions", [&](const std::string&, const Json& row) {
    Uploaded f = Uploaded::from_row(row);
    uploaded_[{f.region, f.name}] = std::move(f);
  });
  each_row("invocations", [&](const std::string& id, const Json& row) {
    const Pending p{.id = id,
                    .name = std::string(row["name"].string_or()),
                    .qualifier = std::string(row["qualifier"].string_or()),
                    .region = std::string(row["region"].string_or()),
                    .event = row["event"],
                    .attempts = row["attempts"].integer_or(0)};
    env_.loop.defer([this, p] { run_later(p); });
  });
}

}  // namespace snapward::services::lambda
