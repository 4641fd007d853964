#include "services/lambda/lambda.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "base/arn.hpp"
#include "base/text.hpp"

namespace snapward::services::lambda {

namespace {
// "name", "arn:…:function:name", "arn:…:function:name:qualifier" → name
std::string function_name(std::string_view given) {
  if (!given.starts_with("arn:")) return std::string(given.substr(0, given.find(':')));
  const auto arn = Arn::parse(given);
  const std::string rest = arn ? arn->resource_id("function").value_or("") : "";
  return rest.substr(0, rest.find(':'));
}
constexpr std::int64_t kRetries = 2;  // of an asynchronous invocation

std::unexpected<cloud::Error> no_function(const std::string& arn) {
  return cloud::error("ResourceNotFoundException", "Function not found: " + arn, 404);
}
}  // namespace

std::string Lambda::arn(const std::string& region, const std::string& name) const {
  return fmt::format("arn:aws:lambda:{}:{}:function:{}", region, env_.account, name);
}

Json Lambda::configuration(const std::string& region, const std::string& name) const {
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
  on("GetFunction", [this](const Call& call) -> Reply {
    const std::string name = function_name(call.input["FunctionName"].string_or());
    if (!functions_.contains(name)) return no_function(arn(call.region, name));
    return Json::object({{"Configuration", configuration(call.region, name)}});
  });
  on("GetFunctionConfiguration", [this](const Call& call) -> Reply {
    const std::string name = function_name(call.input["FunctionName"].string_or());
    if (!functions_.contains(name)) return no_function(arn(call.region, name));
    return configuration(call.region, name);
  });
  on("ListFunctions", [this](const Call& call) -> Reply {
    Json::Array out;
    for (const auto& [name, function] : functions_) out.push_back(configuration(call.region, name));
    return Json::object({{"Functions", std::move(out)}});
  });
}

Task<Reply> Lambda::invoke(Call call) {
  const std::string name = function_name(call.input["FunctionName"].string_or());
  const auto found = functions_.find(name);
  if (found == functions_.end()) co_return no_function(arn(call.region, name));
  const auto event = Json::parse(call.input["Payload"].string_or("{}"));
  if (!event) co_return cloud::error("InvalidRequestContentException", "Could not parse request body into json: " + event.error().message);
  const std::string type(call.input["InvocationType"].string_or("RequestResponse"));
  if (type == "DryRun") co_return Json::object({{"StatusCode", 204}});
  InvocationContext context{.region = call.region, .request_id = env_.loop.entropy().uuid()};
  if (type == "Event") {
    const Pending accepted{.id = context.request_id, .name = name, .region = call.region, .event = *event};
    keep(accepted);
    env_.ledger.after_commit([this, accepted] { run(accepted); });
    co_return Json::object({{"StatusCode", 202}});
  }
  const auto outcome = co_await found->second(*event, context);
  if (outcome) co_return Json::object({{"StatusCode", 200}, {"ExecutedVersion", "$LATEST"}, {"Payload", outcome->dump()}});
  const Json error = Json::object({{"errorMessage", outcome.error().message}, {"errorType", outcome.error().type}});
  co_return Json::object({{"StatusCode", 200}, {"FunctionError", "Unhandled"}, {"ExecutedVersion", "$LATEST"}, {"Payload", error.dump()}});
}

void Lambda::keep(const Pending& p) {
  save("invocations", p.id, Json::object({{"name", p.name}, {"region", p.region}, {"event", p.event}, {"attempts", p.attempts}}));
}

// Developer Guide, "How Lambda handles errors and retries with asynchronous invocation": again after one minute, then after two.
void Lambda::run(Pending p) {
  const auto function = functions_.find(p.name);
  if (function == functions_.end()) return drop("invocations", p.id);
  auto outcome = function->second(p.event, {.region = p.region, .request_id = p.id});
  env_.loop.spawn(std::move(outcome), [this, p = std::move(p)](const auto& result) mutable {
    if (result) return drop("invocations", p.id);
    spdlog::warn("function {}: {}: {}", p.name, result.error().type, result.error().message);
    if (++p.attempts > kRetries) return drop("invocations", p.id);
    keep(p);
    const auto wait = std::chrono::minutes(p.attempts);
    env_.loop.after(wait, [this, p = std::move(p)] { run(p); });
  });
}

void Lambda::restore() {
  each_row("invocations", [&](const std::string& id, const Json& row) {
    const Pending p{.id = id,
                    .name = std::string(row["name"].string_or()),
                    .region = std::string(row["region"].string_or()),
                    .event = row["event"],
                    .attempts = row["attempts"].integer_or(0)};
    env_.loop.defer([this, p] { run(p); });
  });
}

}  // namespace snapward::services::lambda
