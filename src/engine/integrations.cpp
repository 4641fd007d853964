#include "engine/integrations.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/crc.hpp>
#include <map>
#include <set>

#include "base/arn.hpp"
#include "base/text.hpp"
#include "base/time.hpp"
#include "wire/conform.hpp"
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
  if (resource.type == "aws-sdk:dynamodb") return "DynamoDb";  // as the SDK for Java 2 spells it; the SDK 1 below
  if (resource.type == "dynamodb") return "DynamoDB";
  if (resource.type == "aws-sdk:secretsmanager") return "SecretsManager";
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

std::string to_base64(std::string_view bytes) { return base64_encode(bytes); }
std::string from_base64(std::string_view text) { return base64_decode(text).value_or(std::string(text)); }

// Bytes are base64 in a state machine's JSON, but for those that are the whole body of a request or an answer: they are text.
Json with_blobs(const Json& value, const wire::Shape& shape, std::string (*change)(std::string_view)) {
  if (shape.type == wire::ShapeType::blob && value.is_string()) return Json(change(value.as_string()));
  if (shape.type == wire::ShapeType::list && value.is_array()) {
    Json::Array out;
    for (const Json& item : value.as_array()) out.push_back(with_blobs(item, *shape.item.shape, change));
    return Json(std::move(out));
  }
  Json::Object out;
  bool changed = false;
  const auto member = [&](const std::string& name, const Json& item, const wire::Shape& of) {
    Json next = with_blobs(item, of, change);
    if (next.identical(item)) return;
    if (!changed) out = value.as_object();
    changed = true;
    out.set(name, std::move(next));
  };
  if (shape.type == wire::ShapeType::map && value.is_object())
    for (const auto& [key, item] : value.as_object()) member(key, item, *shape.value.shape);
  if (shape.type == wire::ShapeType::structure && value.is_object())
    for (const wire::Member& m : shape.members)
      if (const Json* item = value.find(m.name); item && m.name != shape.payload) member(m.name, *item, *m.ref.shape);
  return changed ? Json(std::move(out)) : value;
}

// What the integration calls, by its API model; null for functions and for what has no model here.
const wire::Operation* operation_of(const asl::Resource& resource) {
  if (resource.kind != asl::Resource::Kind::service) return nullptr;
  const wire::Service* model =
      wire::find_service(resource.type.starts_with("aws-sdk:") ? service_of(resource.type.substr(8)) : resource.type);
  return model ? model->find(action_of(resource)) : nullptr;
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
    if (const Json* payload = input.find("Payload")) input.set("Payload", payload->dump());
  } else if (resource.type == "sns" && input.find("Message")) {
    input.set("Message", as_text(*input.find("Message")));
  } else if (resource.type == "http" && operation == "Invoke") {
    return cloud::Call{"events", context.region, "InvokeHttp", parameters};
  } else if (resource.type.find(':') != std::string::npos) {
    return std::unexpected(unknown(resource, "This integration is not supported by this version of Snapward"));
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
  // Nobody has checked these yet: off the wire, the codecs would have.
  const wire::Shape* shape = model->find(operation)->input;
  if (shape) {
    if (const Json* body = input.find(shape->payload)) input.set(shape->payload, as_text(*body));  // a body may be written as JSON
    if (const auto problem = wire::nonconforming(*shape, Json(input), {})) {
      const std::string_view wanted = problem->wanted;  // "a string" is "a STRING" here
      const std::size_t blank = wanted.find(' ');
      return std::unexpected(
          asl::Failure{asl::errors::kRuntime,
                       fmt::format("The Parameters '{}' could not be used to start the Task: [The value for the field '{}' must be {} {}]",
                                   parameters.dump(), problem->field, wanted.substr(0, blank), upper(wanted.substr(blank + 1)))});
    }
  }
  const Json given(std::move(input));
  return cloud::Call{service, context.region, operation, shape ? with_blobs(given, *shape, from_base64) : given};
}

namespace {

// Members named as the SDK for Java names them: Step Functions' own API writes camel case.
Json pascal(const Json& value) {
  if (value.is_array()) {
    Json::Array out;
    for (const Json& item : value.as_array()) out.push_back(pascal(item));
    return Json(std::move(out));
  }
  if (!value.is_object()) return value;
  Json::Object out;
  for (const auto& [key, item] : value.as_object()) out.set(capitalised(key), pascal(item));
  return Json(std::move(out));
}

Json sorted(const Json& object) {
  std::map<std::string, Json> members;
  for (const auto& [key, value] : object.as_object()) members[key] = value;
  Json::Object out;
  for (auto& [key, value] : members) out.set(key, std::move(value));
  return Json(std::move(out));
}

using HeaderList = std::vector<std::pair<std::string, std::string>>;

// What optimized integrations say of the HTTP exchange (SDK for Java 1, "SdkHttpMetadata").
Json with_metadata(const Json& reply, const std::string& content_type, const TaskContext& context, const HeaderList& more = {}) {
  const std::string length = std::to_string(reply.dump().size());
  HeaderList headers = {
      {"Content-Length", length}, {"Content-Type", content_type}, {"Date", context.date}, {"x-amzn-RequestId", context.request_id}};
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

std::expected<Json, asl::Failure> outcome_of(const asl::Resource& resource, const cloud::Reply& answer, const TaskContext& context) {
  if (!answer) return std::unexpected(failure_of(resource, answer.error(), context));
  const wire::Operation* operation = operation_of(resource);
  const Json read = operation && operation->output ? with_blobs(*answer, *operation->output, to_base64) : *answer;
  const Json* reply = &read;
  const bool direct = resource.kind == asl::Resource::Kind::lambda;
  if (resource.type.starts_with("aws-sdk:")) return service_of(resource.type.substr(8)) == "states" ? pascal(*reply) : *reply;
  if (resource.type == "s3" || resource.type == "http") return *reply;
  if (!direct && resource.type == "states") return with_metadata(pascal(*reply), "application/x-amz-json-1.0", context);
  if (!direct && resource.type == "events") {
    if (reply->find("FailedEntryCount") && (*reply)["FailedEntryCount"].integer_or(0) > 0)
      return std::unexpected(asl::Failure{"EventBridge.FailedEntry", reply->dump()});
    return with_metadata(*reply, "application/x-amz-json-1.1", context);
  }
  if (resource.type == "dynamodb") {
    boost::crc_32_type crc;
    const std::string body = reply->dump();
    crc.process_bytes(body.data(), body.size());
    return with_metadata(*reply, "application/x-amz-json-1.0", context,
                         {{"Connection", "keep-alive"}, {"Server", "Server"}, {"x-amz-crc32", std::to_string(crc.checksum())}});
  }
  if (!direct && resource.type != "lambda")
    return with_metadata(*reply, resource.type == "sqs" ? "application/x-amz-json-1.0" : "text/xml", context);

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
  // Developer Guide, "Invoke an AWS Lambda function with Step Functions"
  const std::string executed((*reply)["ExecutedVersion"].string_or("$LATEST"));
  HeaderList headers = {{"Connection", "keep-alive"},
                        {"X-Amz-Executed-Version", executed},
                        {"x-amzn-Remapped-Content-Length", "0"},
                        {"X-Amzn-Trace-Id", trace_of(context.request_id)}};
  Json::Object out{{"ExecutedVersion", executed}};
  if (const Json* log = reply->find("LogResult")) {
    headers.emplace_back("X-Amz-Log-Result", log->string_or());
    out.set("LogResult", *log);
  }
  out.set("Payload", *parsed).set("StatusCode", (*reply)["StatusCode"].integer_or(200));
  return with_metadata(Json(std::move(out)), "application/json", context, headers);
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
  out.set("RedriveCount", record["redriveCount"].integer_or(0));
  out.set("RedriveStatus", good ? "NOT_REDRIVABLE" : "REDRIVABLE");
  if (good) out.set("RedriveStatusReason", "Execution is SUCCEEDED and cannot be redriven");
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
        if (std::none_of(members.begin(), members.end(), [&](const wire::Member& m) { return capitalised(m.name) == parameter; }))
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
      resource.pattern != asl::Resource::Pattern::request_response)
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
