#include "services/permissions.hpp"

#include <fmt/format.h>

#include "base/arn.hpp"
#include "base/text.hpp"
#include "services/iam/policy.hpp"

namespace snapward::services {

namespace {

std::string object_arn(const Json& input) {
  return fmt::format("arn:aws:s3:::{}{}{}", input["Bucket"].string_or(), input.find("Key") ? "/" : "", input["Key"].string_or());
}

// As the service that is called words it.
cloud::Error refusal(const Call& call, const Need& need, const std::string& account) {
  const bool role = !call.caller.role.empty();
  const std::string name = call.caller.role.substr(call.caller.role.rfind('/') + 1);
  const std::string who = role ? fmt::format("arn:aws:sts::{}:assumed-role/{}/snapward", account, name) : call.caller.service;
  const std::string text =
      fmt::format("User: {} is not authorized to perform: {} on resource: {} because no {} policy allows the {} action", who, need.action,
                  need.resource.empty() ? "*" : need.resource, role ? "identity-based" : "resource-based", need.action);
  if (call.service == "sns") return {"AuthorizationError", text, 403, {}};
  if (call.service == "ec2") return {"UnauthorizedOperation", "You are not authorized to perform this operation. " + text, 403, {}};
  return {call.service == "sqs" || call.service == "s3" ? "AccessDenied" : "AccessDeniedException", text, 403, {}};
}

}  // namespace

std::vector<Need> needs_of(const Call& call, const std::string& account) {
  const Json& in = call.input;
  const auto text = [&](const char* member) { return std::string(in[member].string_or()); };
  const auto arn = [&](const char* service, const std::string& resource) {
    return fmt::format("arn:aws:{}:{}:{}:{}", service, call.region, account, resource);
  };
  if (call.service == "sqs") {
    const std::string url = text("QueueUrl");  // http://HOST/ACCOUNT/NAME
    return {
        {call.operation == "SendMessageBatch" ? "sqs:SendMessage" : "sqs:" + call.operation, arn("sqs", url.substr(url.rfind('/') + 1))}};
  }
  if (call.service == "sns") return {{"sns:" + call.operation, in.find("TopicArn") ? text("TopicArn") : text("TargetArn")}};
  if (call.service == "lambda") {
    const std::string name = text("FunctionName");
    return {{call.operation == "Invoke" ? "lambda:InvokeFunction" : "lambda:" + call.operation,
             name.starts_with("arn:") || name.empty() ? name : arn("lambda", "function:" + name)}};
  }
  if (call.service == "states") {
    if (call.operation == "InvokeHttp") return {{"states:InvokeHTTPEndpoint", call.caller.source}};
    return {{"states:" + call.operation, in.find("stateMachineArn") ? text("stateMachineArn") : text("executionArn")}};
  }
  if (call.service == "events" && call.operation == "InvokeHttp") return {{"states:InvokeHTTPEndpoint", call.caller.source}};
  if (call.service == "events" && call.operation == "InvokeApiDestination") return {{"events:InvokeApiDestination", text("Arn")}};
  if (call.service == "events" && call.operation == "PutEvents") {
    std::vector<Need> out;
    for (const Json& entry : in["Entries"].items()) {
      const std::string name(entry["EventBusName"].string_or("default"));
      out.push_back({"events:PutEvents", name.starts_with("arn:") ? name : arn("events", "event-bus/" + name)});
    }
    return out;
  }
  if (call.service == "s3") return {{call.operation == "ListObjectsV2" ? "s3:ListBucket" : "s3:" + call.operation, object_arn(in)}};
  if (call.service == "secretsmanager") {
    const std::string id = text("SecretId");
    return {{"secretsmanager:" + call.operation, id.starts_with("arn:") ? id
                                                 : id.empty()           ? ""
                                                                        : arn("secretsmanager", "secret:" + id + "-??????")}};
  }
  if (call.service == "dynamodb")
    return {{"dynamodb:" + call.operation, in.find("TableName") ? arn("dynamodb", "table/" + text("TableName")) : ""}};
  return {{fmt::format("{}:{}", call.service, call.operation), ""}};
}

std::expected<void, cloud::Error> permitted(const iam::Iam& iam, const Call& call, const std::string& account,
                                            const std::function<Json(const Need&)>& policy) {
  const bool trusted = call.caller.role.empty() || iam.trusts(call.caller.role, call.caller.service);
  for (const Need& need : needs_of(call, account)) {
    if (!trusted) return std::unexpected(refusal(call, need, account));
    const iam::Request request{.service = call.caller.service,
                               .role = call.caller.role,
                               .action = need.action,
                               .resource = need.resource,
                               .context = {{"aws:sourcearn", call.caller.source}, {"aws:sourceaccount", account}}};
    iam::Verdict verdict = iam::judge(policy(need), iam::PolicyOf::resource, request);
    if (!call.caller.role.empty()) verdict = iam::together(verdict, iam.allows(call.caller.role, request));
    if (verdict != iam::Verdict::allowed) return std::unexpected(refusal(call, need, account));
  }
  return {};
}

}  // namespace snapward::services
