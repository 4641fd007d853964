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
    env_.loop.spawn(found->second(*event, context), [name](const auto& outcome) {
      if (!outcome) spdlog::warn("function {}: {}: {}", name, outcome.error().type, outcome.error().message);
    });
    co_return Json::object({{"StatusCode", 202}});
  }
  const auto outcome = co_await found->second(*event, context);
  if (outcome) co_return Json::object({{"StatusCode", 200}, {"ExecutedVersion", "$LATEST"}, {"Payload", outcome->dump()}});
  const Json error = Json::object({{"errorMessage", outcome.error().message}, {"errorType", outcome.error().type}});
  co_return Json::object({{"StatusCode", 200}, {"FunctionError", "Unhandled"}, {"ExecutedVersion", "$LATEST"}, {"Payload", error.dump()}});
}

}  // namespace snapward::services::lambda
