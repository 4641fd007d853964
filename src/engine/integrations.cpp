#include "engine/integrations.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/crc.hpp>
#include <map>
#include <set>

#include "base/arn.hpp"
#include "base/text.hpp"
#include "base/time.hpp"
#include "engine/binding.hpp"
#include "wire/conform.hpp"
#include "wire/model.hpp"

namespace snapward::engine {

namespace {

// aws-sdk:* names services as the Java SDK does; Calls by signing name.
std::string service_of(const std::string& sdk_name) {
  if (sdk_name == "sfn") return "states";
  if (sdk_name == "eventbridge") return "events";
  if (sdk_name == "cloudwatchlogs") return "logs";
  return sdk_name;
}

// "Ec2" of "ec2", "Sfn" of "sfn": how error names begin.
std::string error_prefix(const asl::Resource& resource) {
  if (resource.type == "aws-sdk:dynamodb") return "DynamoDb";  // as the SDK for Java 2 spells it; the SDK 1 below
  if (resource.type == "dynamodb") return "DynamoDB";
  if (resource.type == "aws-sdk:secretsmanager") return "SecretsManager";
  if (resource.type.starts_with("aws-sdk:")) return pascal_case(resource.type.substr(8));
  if (resource.type == "sns" || resource.type == "sqs") return resource.type == "sns" ? "SNS" : "SQS";
  if (resource.type == "states") return "StepFunctions";
  if (resource.type == "events") return "EventBridge";
  return pascal_case(resource.type);
}

std::string action_of(const asl::Resource& resource) {
  const std::string& action = resource.action;
  return pascal_case(action.substr(0, action.find('.')));
}

asl::Failure unknown(const asl::Resource& resource, const std::string& what) {
  return {asl::errors::kRuntime, fmt::format("{} (resource {})", what, resource.arn)};
}

// What the integration calls, by its API model; null for functions and for what has no model here.
const wire::Operation* operation_of(const asl::Resource& resource) {
  if (resource.kind != asl::Resource::Kind::service) return nullptr;
  const wire::Service* model =
      wire::find_service(resource.type.starts_with("aws-sdk:") ? service_of(resource.type.substr(8)) : resource.type);
  return model ? model->find(action_of(resource)) : nullptr;
}

asl::Failure unusable(const Json& parameters, const std::string& problem) {
  return {asl::errors::kRuntime, fmt::format("The Parameters '{}' could not be used to start the Task: [{}]", parameters.dump(), problem)};
}

// A key that names an expression is looked at again after the parameters are put together: data from the input may hold one.
std::optional<std::string> bad_expression(const Json& value) {
  if (value.is_array())
    for (const Json& item : value.as_array())
      if (auto problem = bad_expression(item)) return problem;
  if (!value.is_object()) return std::nullopt;
  for (const auto& [key, item] : value.as_object()) {
    if (key.ends_with(".$") && (!item.is_string() || !asl::Expression::parse(item.as_string())))
      return fmt::format("The value for the field '{}' must be a valid JSONPath or a valid intrinsic function call", key);
    if (auto problem = bad_expression(item)) return problem;
  }
  return std::nullopt;
}

// The optimized integration adds the ARNs of the machine and of the execution to each entry's Resources (Developer Guide, "EventBridge").
Json with_sender(const Json& request, const TaskContext& context) {
  Json::Array entries;
  for (const Json& entry : request["Entries"].items()) {
    Json::Array resources = entry["Resources"].items();
    resources.emplace_back(context.machine);
    resources.emplace_back(context.execution);
    Json::Object sent = entry.is_object() ? entry.as_object() : Json::Object{};
    sent.set("Resources", std::move(resources));
    entries.emplace_back(std::move(sent));
  }
  Json::Object out = request.as_object();
  out.set("Entries", std::move(entries));
  return Json(std::move(out));
}

}  // namespace

std::expected<cloud::Call, asl::Failure> call_for(const asl::Resource& resource, const Json& parameters, const TaskContext& context) {
  if (resource.kind == asl::Resource::Kind::lambda) {
    const auto arn = Arn::parse(resource.arn);
    return cloud::Call{"lambda", arn->region.empty() ? context.region : arn->region, "Invoke",
                       Json::object({{"FunctionName", resource.arn}, {"Payload", parameters.dump()}})};
  }
  if (!parameters.is_object()) return std::unexpected(unknown(resource, "The parameters of a service integration must be an object"));
  if (const auto problem = bad_expression(parameters)) return std::unexpected(unusable(parameters, *problem));
  const std::string operation = action_of(resource);
  if (resource.type == "http" && operation == "Invoke") return cloud::Call{"events", context.region, "InvokeHttp", parameters};
  const bool sdk = resource.type.starts_with("aws-sdk:");
  if (!sdk && resource.type.find(':') != std::string::npos)
    return std::unexpected(unknown(resource, "This integration is not supported by this version of Snapward"));
  const std::string service = sdk ? service_of(resource.type.substr(8)) : resource.type;
  const wire::Service* model = wire::find_service(service);
  const wire::Operation* known = model ? model->find(operation) : nullptr;
  if (!known) return std::unexpected(unknown(resource, fmt::format("No operation {} of service {} is known", operation, service)));
  if (!known->input) return cloud::Call{service, context.region, operation, Json(Json::Object{})};
  auto input = bind(*known->input, parameters, {.attribute_text = resource.type == "dynamodb"});
  if (!input) return std::unexpected(unusable(parameters, input.error()));
  if (resource.type == "events" && !context.execution.empty()) input = with_sender(*input, context);
  return cloud::Call{service, context.region, operation, *std::move(input)};
}

namespace {

Json sorted(const Json& object) {
  std::map<std::string, Json> members;
  for (const auto& [key, value] : object.as_object()) members[key] = value;
  Json::Object out;
  for (auto& [key, value] : members) out.set(key, std::move(value));
  return Json(std::move(out));
}

using HeaderList = std::vector<std::pair<std::string, std::string>>;

// What optimized integrations say of the HTTP exchange (SDK for Java 1, "SdkHttpMetadata").
// `body`: the size of the answer's body.
Json with_metadata(const Json& reply, std::size_t body, const std::string& content_type, const TaskContext& context,
                   const HeaderList& more) {
  HeaderList headers = {{"Content-Length", std::to_string(body)},
                        {"Content-Type", content_type},
                        {"Date", context.date},
                        {"x-amzn-RequestId", context.request_id}};
  headers.insert(headers.end(), more.begin(), more.end());
  std::ranges::sort(headers, [](const auto& a, const auto& b) { return lower(a.first) < lower(b.first); });
  Json::Object all, single;
  for (const auto& [name, value] : headers) {
    all.set(name, Json::array({value}));
    single.set(name, value);
  }
  Json::Object out = reply.is_object() ? reply.as_object() : Json::Object{};
  out.set("SdkHttpMetadata",
          Json::object({{"AllHttpHeaders", std::move(all)}, {"HttpHeaders", std::move(single)}, {"HttpStatusCode", 200}}));
  out.set("SdkResponseMetadata", Json::object({{"RequestId", context.request_id}}));
  return sorted(Json(std::move(out)));
}

// "root=1-5e989cb6-90039fd8971196666b022b62;sampled=0", the same for the same request.
std::string trace_of(const std::string& request_id) {
  const std::string digest = hex_encode(sha256(request_id));
  return fmt::format("root=1-{}-{};sampled=0", digest.substr(0, 8), digest.substr(8, 24));
}

// Whether the SDK for Java 2 has an exception of its own for a service's error. What its API model does not name has the service's:
// all of EC2's, most of S3's.
bool has_exception(std::string_view prefix, std::string_view code) {
  static const std::set<std::string_view> kS3 = {
      "BucketAlreadyExists",   "BucketAlreadyOwnedByYou",        "InvalidObjectState", "NoSuchBucket", "NoSuchKey", "NoSuchUpload",
      "ObjectNotInActiveTier", "ObjectAlreadyInActiveTierError", "InvalidRequest",     "TooManyParts"};
  if (prefix == "Ec2") return false;
  if (prefix == "S3") return kS3.contains(code);
  if (code == "ValidationException") return prefix == "Sfn" || prefix == "Scheduler" || prefix == "Rbin";
  static const std::set<std::string_view> kOfAll = {"AccessDenied",   "AccessDeniedException", "UnrecognizedClientException",
                                                    "NotImplemented", "InternalFailure",       "ServiceUnavailable"};
  return !kOfAll.contains(code);
}

// Optimized integrations are made with the SDK for Java 1, aws-sdk:* ones with 2: they word errors differently.
asl::Failure failure_of(const asl::Resource& resource, const cloud::Error& e, const TaskContext& context) {
  if (resource.type == "http") return {e.code, e.message};
  const bool lambda = resource.kind == asl::Resource::Kind::lambda || resource.type == "lambda";
  const bool sdk = resource.type.starts_with("aws-sdk:");
  const std::string prefix = lambda ? "Lambda" : error_prefix(resource);
  const auto exception = [&](const std::string& code) { return code.ends_with("Exception") ? code : code + "Exception"; };
  if (sdk) {
    const std::string name = fmt::format("{}.{}", prefix, has_exception(prefix, e.code) ? exception(e.code) : prefix + "Exception");
    const std::string more =
        prefix == "S3" ? ", Extended Request ID: " + base64_encode(sha256(context.request_id) + sha256(context.request_id + '+')) : "";
    return {name,
            fmt::format("{} (Service: {}, Status Code: {}, Request ID: {}{})", e.message, prefix, e.status, context.request_id, more)};
  }
  static const std::map<std::string, std::string> kServices = {{"Lambda", "AWSLambda"},
                                                               {"SNS", "AmazonSNS"},
                                                               {"DynamoDB", "AmazonDynamoDBv2"},
                                                               {"SQS", "AmazonSQS"},
                                                               {"StepFunctions", "AWSStepFunctions"},
                                                               {"EventBridge", "AmazonCloudWatchEvents"}};
  const auto service = kServices.find(prefix);
  std::string name = fmt::format("{}.{}", prefix, exception(e.code));
  if (lambda && e.status >= 500) name = "Lambda.ServiceException";
  if (prefix == "DynamoDB" && e.code == "ValidationException") name = "DynamoDB.AmazonDynamoDBException";
  if (prefix == "SQS")
    name = e.code.find("NonExistentQueue") != std::string::npos || e.code == "QueueDoesNotExist" ? "SQS.QueueDoesNotExistException"
                                                                                                 : "SQS.AmazonSQSException";
  return {name, fmt::format("{} (Service: {}; Status Code: {}; Error Code: {}; Request ID: {}; Proxy: null)", e.message,
                            service == kServices.end() ? prefix : service->second, e.status, e.code, context.request_id)};
}

}  // namespace

namespace {

// What a function gave. A function's own failure: the error is what it threw, the cause all that it said, as compact JSON.
std::expected<Json, asl::Failure> function_outcome(const asl::Resource& resource, const Json& reply, const TaskContext& context) {
  constexpr std::size_t kMostBytes = 256 * 1024;  // of a state's output
  const bool direct = resource.kind == asl::Resource::Kind::lambda;
  const std::string_view payload = reply["Payload"].string_or("null");
  if (payload.size() > kMostBytes)
    return std::unexpected(
        asl::Failure{asl::errors::kDataLimitExceeded,
                     fmt::format("The state/task '{}' returned a result with a size exceeding the maximum number of bytes service limit.",
                                 direct ? resource.arn : resource.type)});
  const auto parsed = Json::parse(payload);
  if (reply.find("FunctionError")) {
    const std::string error(parsed && parsed->is_object() ? (*parsed)["errorType"].string_or("Lambda.Unknown") : "Lambda.Unknown");
    return std::unexpected(asl::Failure{error, parsed ? parsed->dump() : std::string(payload)});
  }
  if (!parsed)
    return std::unexpected(
        asl::Failure{asl::errors::kRuntime, "The function returned something that is not JSON: " + parsed.error().message});
  if (direct) return *parsed;
  // Developer Guide, "Invoke an AWS Lambda function with Step Functions"
  const std::string executed(reply["ExecutedVersion"].string_or("$LATEST"));
  HeaderList headers = {{"Connection", "keep-alive"},
                        {"X-Amz-Executed-Version", executed},
                        {"x-amzn-Remapped-Content-Length", "0"},
                        {"X-Amzn-Trace-Id", trace_of(context.request_id)}};
  Json::Object out{{"ExecutedVersion", executed}};
  if (const Json* log = reply.find("LogResult")) {
    headers.emplace_back("X-Amz-Log-Result", log->string_or());
    out.set("LogResult", *log);
  }
  out.set("Payload", *parsed).set("StatusCode", reply["StatusCode"].integer_or(200));
  return with_metadata(Json(std::move(out)), payload.size(), "application/json", context, headers);
}

// What an optimized integration gives: the reply, and what the SDK for Java 1 knows of the exchange (headers as recorded by AWS,
// 2023-2025).
std::expected<Json, asl::Failure> optimized_outcome(const asl::Resource& resource, const Json& reply, const Json& result,
                                                    const TaskContext& context) {
  const std::string body = reply.dump();
  if (resource.type == "dynamodb") {
    boost::crc_32_type crc;
    crc.process_bytes(body.data(), body.size());
    return with_metadata(result, body.size(), "application/x-amz-json-1.0", context,
                         {{"Connection", "keep-alive"}, {"Server", "Server"}, {"x-amz-crc32", std::to_string(crc.checksum())}});
  }
  if (resource.type == "events") {
    if (reply["FailedEntryCount"].integer_or(0) > 0) return std::unexpected(asl::Failure{"EventBridge.FailedEntry", body});
    return with_metadata(result, body.size(), "application/x-amz-json-1.1", context, {});
  }
  const bool json = resource.type == "sqs" || resource.type == "states";
  return with_metadata(result, body.size(), json ? "application/x-amz-json-1.0" : "text/xml", context, {{"connection", "keep-alive"}});
}

}  // namespace

std::expected<Json, asl::Failure> outcome_of(const asl::Resource& resource, const cloud::Reply& answer, const TaskContext& context) {
  if (!answer) return std::unexpected(failure_of(resource, answer.error(), context));
  if (resource.kind == asl::Resource::Kind::lambda || resource.type == "lambda") return function_outcome(resource, *answer, context);
  if (resource.type == "http") return *answer;
  const wire::Operation* operation = operation_of(resource);
  const Json result = operation && operation->output ? result_of(*operation->output, *answer) : *answer;
  if (resource.type.starts_with("aws-sdk:") || resource.type == "s3") return result;
  return optimized_outcome(resource, *answer, result, context);
}

std::expected<Json, asl::Failure> sync_outcome(const asl::Resource& resource, const Json& record) {
  const bool parsed = resource.action.ends_with(":2");
  const auto millis = [](const Json& at) -> Json {
    const auto instant = parse_iso(at.string_or());
    return instant ? Json(instant->time_since_epoch().count()) : Json();
  };
  const auto text = [parsed](const Json& value) -> Json {
    auto json = parsed ? Json::parse(value.string_or()) : Result<Json>(value);
    return json ? *std::move(json) : value;
  };
  const Json included = Json::object({{"Included", true}});
  const bool good = record["status"].string_or() == "SUCCEEDED";
  Json::Object out;
  if (record.find("cause")) out.set("Cause", record["cause"]);
  if (record.find("error")) out.set("Error", record["error"]);
  out.set("ExecutionArn", record["executionArn"])
      .set("Input", text(record["input"]))
      .set("InputDetails", included)
      .set("Name", record["name"]);
  if (record.find("output")) out.set("Output", text(record["output"])).set("OutputDetails", included);
  out.set("StartDate", millis(record["startDate"]))
      .set("StateMachineArn", record["stateMachineArn"])
      .set("Status", record["status"])
      .set("StopDate", millis(record["stopDate"]));
  if (good) return Json(std::move(out));
  return std::unexpected(asl::Failure{asl::errors::kTaskFailed, Json(std::move(out)).dump()});
}

namespace {

// Whether a service integration is one of Step Functions', where we can tell: of the services that we have.
bool is_integration(const asl::Resource& resource) {
  static const std::map<std::string_view, std::set<std::string_view>> kActions = {
      {"dynamodb", {"getItem", "putItem", "updateItem", "deleteItem"}},
      {"events", {"putEvents", "putEvents.waitForTaskToken"}},
      {"lambda", {"invoke", "invoke.waitForTaskToken"}},
      {"sns", {"publish", "publish.waitForTaskToken"}},
      {"sqs", {"sendMessage", "sendMessage.waitForTaskToken"}},
      {"states", {"startExecution", "startExecution.sync", "startExecution.sync:2", "startExecution.waitForTaskToken"}}};
  if (const auto known = kActions.find(resource.type); known != kActions.end()) return known->second.contains(resource.action);
  const wire::Service* model = resource.type.starts_with("aws-sdk:") ? wire::find_service(service_of(resource.type.substr(8))) : nullptr;
  return !model || operation_of(resource);
}

// Integrations that are none, and fields that a Task's operation does not take, in these states and in those inside of them.
void check_parameters(const Json& states, const std::string& at, std::vector<asl::Diagnostic>& found) {
  static const std::set<std::string_view> kOptimized = {"dynamodb", "events", "lambda", "sns", "sqs", "states"};
  if (!states.is_object()) return;
  for (const auto& [name, state] : states.as_object()) {
    const std::string here = fmt::format("{}/States/{}", at, name);
    const auto& branches = state["Branches"].items();
    for (std::size_t i = 0; i < branches.size(); ++i)
      check_parameters(branches[i]["States"], fmt::format("{}/Branches/{}", here, i), found);
    for (const char* processor : {"ItemProcessor", "Iterator"}) check_parameters(state[processor]["States"], here + '/' + processor, found);
    if (state["Type"].string_or() != "Task") continue;
    const auto resource = asl::Resource::parse(std::string(state["Resource"].string_or()));
    if (!resource || resource->kind != asl::Resource::Kind::service) continue;
    if (!is_integration(*resource)) {
      found.push_back(
          {"SCHEMA_VALIDATION_FAILED",
           fmt::format("The resource provided {} is not recognized. The value is not a valid resource ARN, or the resource is not "
                       "available in this region.",
                       resource->arn),
           here + "/Resource"});
      continue;
    }
    if (!kOptimized.contains(resource->type)) continue;
    const wire::Operation* operation = operation_of(*resource);
    if (!operation || !operation->input) continue;
    for (const char* field : {"Parameters", "Arguments"}) {
      if (!state[field].is_object()) continue;
      for (const auto& [key, value] : state[field].as_object()) {
        const std::string parameter = key.ends_with(".$") ? key.substr(0, key.size() - 2) : key;
        const auto& members = operation->input->members;
        if (std::none_of(members.begin(), members.end(), [&](const wire::Member& m) { return pascal_case(m.name) == parameter; }))
          found.push_back({"SCHEMA_VALIDATION_FAILED", fmt::format("The field '{}' is not supported by Step Functions", parameter),
                           here + '/' + field});
      }
    }
  }
}

}  // namespace

asl::Compiled compile(std::string_view definition, bool express) {
  asl::Compiled out = asl::compile_text(definition, express);
  if (const auto json = Json::parse(definition)) check_parameters((*json)["States"], "", out.diagnostics);
  if (!out.diagnostics.empty()) out.machine = nullptr;
  return out;
}

std::optional<std::string> result_problem(const asl::Resource& resource, const Json& result, bool whole) {
  if (resource.kind == asl::Resource::Kind::lambda || resource.kind == asl::Resource::Kind::activity || resource.type == "http" ||
      resource.type == "apigateway" || resource.pattern != asl::Resource::Pattern::request_response)
    return std::nullopt;
  const wire::Operation* operation = operation_of(resource);
  if (!operation) return fmt::format("No operation {} of service {} is known", action_of(resource), resource.type);
  if (result.is_object() && (result.find("SdkHttpMetadata") || result.find("SdkResponseMetadata"))) {
    Json::Object bare = result.as_object();  // what optimized integrations add
    bare.erase("SdkHttpMetadata");
    bare.erase("SdkResponseMetadata");
    return result_problem(resource, Json(std::move(bare)), whole);
  }
  if (!operation->output) return result.is_object() ? std::nullopt : std::optional<std::string>("Field '$' must be an object");
  if (resource.type == "lambda" && result.is_object() && result.find("Payload")) {
    Json::Object bare = result.as_object();  // what a function answers may be anything
    bare.erase("Payload");
    return result_problem(resource, Json(std::move(bare)), whole);
  }
  const auto problem = wire::nonconforming(*operation->output, result, {.pascal_case = true, .required = whole, .textual_times = true});
  if (!problem) return std::nullopt;
  return *problem->wanted ? fmt::format("Field '{}' must be {}", problem->field, problem->wanted)
                          : fmt::format("Required field '{}' is missing", problem->field);
}

}  // namespace snapward::engine
