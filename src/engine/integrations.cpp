#include "engine/integrations.hpp"

#include <fmt/format.h>

#include "base/arn.hpp"
#include "wire/model.hpp"

namespace snapward::engine {

namespace {

std::string capitalised(std::string s) {
  if (!s.empty() && s[0] >= 'a' && s[0] <= 'z') s[0] = static_cast<char>(s[0] - 32);
  return s;
}

// aws-sdk:* names services as the Java SDK does; Calls by signing name.
std::string service_of(const std::string& sdk_name) {
  if (sdk_name == "sfn") return "states";
  if (sdk_name == "eventbridge") return "events";
  if (sdk_name == "cloudwatchlogs") return "logs";
  return sdk_name;
}

// "Ec2" of "ec2", "Sfn" of "sfn": how error names begin.
std::string error_prefix(const asl::Resource& resource) {
  if (resource.type.starts_with("aws-sdk:")) return capitalised(resource.type.substr(8));
  if (resource.type == "sns" || resource.type == "sqs") return resource.type == "sns" ? "SNS" : "SQS";
  if (resource.type == "states") return "StepFunctions";
  if (resource.type == "events") return "EventBridge";
  return capitalised(resource.type);
}

std::string action_of(const asl::Resource& resource) {
  const std::string& action = resource.action;
  return capitalised(action.substr(0, action.find('.')));
}

asl::Failure unknown(const asl::Resource& resource, const std::string& what) {
  return {asl::errors::kRuntime, fmt::format("{} (resource {})", what, resource.arn)};
}

// A structured value where the API takes JSON text: dumped. Text stays as it is.
Json as_text(const Json& value) { return value.is_string() ? value : Json(value.dump()); }

}  // namespace

std::expected<cloud::Call, asl::Failure> call_for(const asl::Resource& resource, const Json& parameters, const TaskContext& context) {
  if (resource.kind == asl::Resource::Kind::lambda) {
    const auto arn = Arn::parse(resource.arn);
    return cloud::Call{"lambda", arn->region.empty() ? context.region : arn->region, "Invoke",
                       Json::object({{"FunctionName", resource.arn}, {"Payload", parameters.dump()}})};
  }
  if (!parameters.is_object()) return std::unexpected(unknown(resource, "The parameters of a service integration must be an object"));
  Json::Object input = parameters.as_object();
  std::string service = resource.type;
  const std::string operation = action_of(resource);
  if (resource.type.starts_with("aws-sdk:")) {
    service = service_of(resource.type.substr(8));
  } else if (resource.type == "lambda") {
    input.set("Payload", parameters["Payload"].dump());
  } else if (resource.type == "sns" && input.find("Message")) {
    input.set("Message", as_text(*input.find("Message")));
  } else if (resource.type == "sqs" && input.find("MessageBody")) {
    input.set("MessageBody", as_text(*input.find("MessageBody")));
  } else if (resource.type == "events") {
    Json::Array entries;
    for (const Json& entry : parameters["Entries"].items()) {
      Json::Object e = entry.is_object() ? entry.as_object() : Json::Object{};
      if (const Json* detail = e.find("Detail")) e.set("Detail", as_text(*detail));
      entries.emplace_back(std::move(e));
    }
    input.set("Entries", std::move(entries));
  }
  const wire::Service* model = wire::find_service(service);
  if (!model || !model->find(operation))
    return std::unexpected(unknown(resource, fmt::format("No operation {} of service {} is known", operation, service)));
  // Optimized integrations and the SDK's write members in Pascal case, the Step Functions API in camel case.
  if (service == "states") {
    Json::Object camel;
    for (const auto& [key, value] : input) {
      std::string name = key;
      if (!name.empty() && name[0] >= 'A' && name[0] <= 'Z') name[0] = static_cast<char>(name[0] + 32);
      camel.set(std::move(name), key == "Input" ? as_text(value) : value);
    }
    input = std::move(camel);
  }
  return cloud::Call{service, context.region, operation, Json(std::move(input))};
}

std::expected<Json, asl::Failure> outcome_of(const asl::Resource& resource, const cloud::Reply& reply, const TaskContext& context) {
  if (!reply) {
    const auto& e = reply.error();
    if (resource.kind == asl::Resource::Kind::lambda || resource.type == "lambda") {
      std::string name = "Lambda." + e.code;
      if (e.status >= 500) name = "Lambda.ServiceException";
      return std::unexpected(
          asl::Failure{name, fmt::format("{} (Service: AWSLambda; Status Code: {}; Error Code: {}; Request ID: {}; Proxy: null)", e.message,
                                         e.status, e.code, context.request_id)});
    }
    const std::string prefix = error_prefix(resource);
    // EC2 models no exceptions of its own: the SDK has one for all.
    const std::string name =
        prefix == "Ec2" ? "Ec2.Ec2Exception" : fmt::format("{}.{}{}", prefix, e.code, e.code.ends_with("Exception") ? "" : "Exception");
    return std::unexpected(asl::Failure{
        name, fmt::format("{} (Service: {}, Status Code: {}, Request ID: {})", e.message, prefix, e.status, context.request_id)});
  }
  const bool direct = resource.kind == asl::Resource::Kind::lambda;
  if (!direct && resource.type != "lambda") return *reply;

  // A function's own failure: the error is what it threw, the cause all that it said.
  const std::string_view payload = (*reply)["Payload"].string_or("null");
  const auto parsed = Json::parse(payload);
  if (reply->find("FunctionError")) {
    const std::string error(parsed && parsed->is_object() ? (*parsed)["errorType"].string_or("Lambda.Unknown") : "Lambda.Unknown");
    return std::unexpected(asl::Failure{error, std::string(payload)});
  }
  if (!parsed)
    return std::unexpected(
        asl::Failure{asl::errors::kRuntime, "The function returned something that is not JSON: " + parsed.error().message});
  if (direct) return *parsed;
  Json::Object out{{"ExecutedVersion", (*reply)["ExecutedVersion"].string_or("$LATEST")},
                   {"Payload", *parsed},
                   {"StatusCode", (*reply)["StatusCode"].integer_or(200)}};
  return Json(std::move(out));
}

}  // namespace snapward::engine
