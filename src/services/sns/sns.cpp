#include "services/sns/sns.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/line.hpp"
#include "base/text.hpp"
#include "services/sns/filter.hpp"
#include "services/sns/message.hpp"

namespace snapward::services::sns {

namespace {

constexpr const char* kActions[] = {"GetTopicAttributes", "SetTopicAttributes",       "AddPermission", "RemovePermission", "DeleteTopic",
                                    "Subscribe",          "ListSubscriptionsByTopic", "Publish"};
constexpr const char* kDeliveryPolicy =
    R"({"http":{"defaultHealthyRetryPolicy":{"minDelayTarget":20,"maxDelayTarget":20,"numRetries":3,"numMaxDelayRetries":0,)"
    R"("numNoDelayRetries":0,"numMinDelayRetries":0,"backoffFunction":"linear"},"disableSubscriptionOverrides":false,)"
    R"("defaultRequestPolicy":{"headerContentType":"text/plain; charset=UTF-8"}}})";

bool is_topic_attribute(std::string_view name) {
  static const std::set<std::string_view> kNames = {"DeliveryPolicy",   "DisplayName",   "KmsMasterKeyId", "Policy",
                                                    "SignatureVersion", "TracingConfig", "ArchivePolicy"};
  return kNames.contains(name) || name.ends_with("FeedbackRoleArn") || name.ends_with("FeedbackSampleRate");
}

bool is_name(std::string_view name) {
  return !name.empty() && name.size() <= 256 &&
         std::ranges::all_of(name, [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_'; });
}

// What every topic has until it is given another: the account may do all.
Json default_policy(const std::string& topic, const std::string& account) {
  Json::Array actions;
  for (const char* action : kActions) actions.emplace_back(fmt::format("SNS:{}", action));
  return Json::object(
      {{"Version", "2008-10-17"},
       {"Id", "__default_policy_ID"},
       {"Statement",
        Json::array({Json::object({{"Sid", "__default_statement_ID"},
                                   {"Effect", "Allow"},
                                   {"Principal", Json::object({{"AWS", "*"}})},
                                   {"Action", std::move(actions)},
                                   {"Resource", topic},
                                   {"Condition", Json::object({{"StringEquals", Json::object({{"AWS:SourceOwner", account}})}})}})})}});
}

}  // namespace

Json Sns::Subscription::to_row() const {
  return Json::object({{"arn", arn},
                       {"topic", topic},
                       {"protocol", protocol},
                       {"endpoint", endpoint},
                       {"token", token},
                       {"confirmed", confirmed},
                       {"attributes", attributes}});
}
Json Sns::Topic::to_row() const {
  return Json::object({{"arn", arn}, {"name", name}, {"region", region}, {"attributes", attributes}, {"tags", tags}});
}
Json Sns::Delivery::to_row() const {
  return Json::object({{"id", id},
                       {"subscription", subscription},
                       {"type", type},
                       {"message_id", message_id},
                       {"message", message},
                       {"subject", subject},
                       {"attributes", attributes},
                       {"published", published.time_since_epoch().count()},
                       {"attempts", attempts}});
}

Sns::Sns(Environment& env, Outbound& outbound) : Service("sns", env), outbound_(outbound) {
  on("CreateTopic", [this](const Call& c) { return create_topic(c); });
  on("DeleteTopic", [this](const Call& c) { return delete_topic(c); });
  on("ListTopics", [this](const Call& c) { return list_topics(c); });
  on("GetTopicAttributes", [this](const Call& c) { return topic_attributes(c); });
  on("SetTopicAttributes", [this](const Call& c) { return set_topic_attributes(c); });
  on("Subscribe", [this](const Call& c) { return subscribe(c); });
  on("ConfirmSubscription", [this](const Call& c) { return confirm(c); });
  on("Unsubscribe", [this](const Call& c) { return unsubscribe(c); });
  on("ListSubscriptions", [this](const Call& c) { return list_subscriptions(c); });
  on("ListSubscriptionsByTopic", [this](const Call& c) { return list_subscriptions(c); });
  on("GetSubscriptionAttributes", [this](const Call& c) { return subscription_attributes(c); });
  on("SetSubscriptionAttributes", [this](const Call& c) { return set_subscription_attributes(c); });
  on("Publish", [this](const Call& c) { return publish(c); });
  on("PublishBatch", [this](const Call& c) { return publish_batch(c); });
  on("AddPermission", [this](const Call& c) { return permissions(c); });
  on("RemovePermission", [this](const Call& c) { return permissions(c); });
  on("GetSigningCertificate", [this](const Call& c) { return certificate(c); });  // not an API: the server's own path
  on("TagResource", [this](const Call& c) { return tags(c); });
  on("UntagResource", [this](const Call& c) { return tags(c); });
  on("ListTagsForResource", [this](const Call& c) { return tags(c); });
}

Json Sns::resource_policy(const std::string& arn) const {
  const auto topic = topics_.find(arn);
  return topic == topics_.end() ? Json() : Json::parse(topic->second.attributes["Policy"].string_or()).value_or(Json());
}

void Sns::restore() {
  each_row("topics", [&](const std::string& arn, const Json& r) {
    topics_[arn] = {.arn = arn,
                    .name = std::string(r["name"].string_or()),
                    .region = std::string(r["region"].string_or()),
                    .attributes = r["attributes"],
                    .tags = r["tags"]};
  });
  each_row("subscriptions", [&](const std::string& arn, const Json& r) {
    subscriptions_[arn] = {.arn = arn,
                           .topic = std::string(r["topic"].string_or()),
                           .protocol = std::string(r["protocol"].string_or()),
                           .endpoint = std::string(r["endpoint"].string_or()),
                           .token = std::string(r["token"].string_or()),
                           .confirmed = r["confirmed"].bool_or(false),
                           .attributes = r["attributes"]};
  });
  each_row("signing", [&](const std::string&, const Json& r) { signer_ = Signer::from_row(r); });
  each_row("deliveries", [&](const std::string& id, const Json& r) {
    deliveries_[id] = {.id = id,
                       .subscription = std::string(r["subscription"].string_or()),
                       .type = std::string(r["type"].string_or()),
                       .message_id = std::string(r["message_id"].string_or()),
                       .message = std::string(r["message"].string_or()),
                       .subject = std::string(r["subject"].string_or()),
                       .attributes = r["attributes"],
                       .published = Instant(Duration(r["published"].integer_or(0))),
                       .attempts = r["attempts"].integer_or(0)};
    env_.loop.defer([this, id] { attempt(id); });
  });
}

std::expected<Sns::Topic*, cloud::Error> Sns::find_topic(const Call& call, const char* parameter) {
  const std::string_view arn = call.input[parameter].string_or();
  const auto parsed = arn_in(arn, parameter);
  if (!parsed) return std::unexpected(parsed.error());
  if (parsed->region != call.region) return invalid_parameter(parameter);
  const auto found = topics_.find(arn);
  if (found == topics_.end()) return cloud::error("NotFound", "Topic does not exist", 404);
  return &found->second;
}

std::expected<Sns::Subscription*, cloud::Error> Sns::find_subscription(const Call& call) {
  const auto found = subscriptions_.find(call.input["SubscriptionArn"].string_or());
  if (found == subscriptions_.end()) return cloud::error("NotFound", "Subscription does not exist", 404);
  return &found->second;
}

Reply Sns::create_topic(const Call& call) {
  const std::string name(call.input["Name"].string_or());
  const bool fifo = call.input["Attributes"]["FifoTopic"].string_or() == "true";
  if (fifo && name.ends_with(".fifo") && is_name(name.substr(0, name.size() - 5)))
    return invalid_parameter("FIFO topics are not supported by Snapward's local cloud");
  if (fifo || !is_name(name)) return invalid_parameter("Topic Name");
  Json::Object attributes;
  if (call.input["Attributes"].is_object())
    for (const auto& [attribute, value] : call.input["Attributes"].as_object()) {
      if (attribute == "FifoTopic") continue;  // false: what it is without
      if (!is_topic_attribute(attribute)) return invalid_parameter("Attributes Reason: Unknown attribute " + attribute);
      attributes.set(attribute, value);
    }
  const std::string arn = fmt::format("arn:aws:sns:{}:{}:{}", call.region, env_.account, name);
  auto [entry, fresh] = topics_.try_emplace(arn);
  Topic& topic = entry->second;
  if (!fresh) {
    for (const auto& [attribute, value] : attributes)
      if (topic.attributes[attribute] != value)
        return invalid_parameter("Attributes Reason: Topic already exists with different attributes");
    for (const Json& tag : call.input["Tags"].items())
      if (std::ranges::find(topic.tags.items(), tag) == topic.tags.items().end())
        return invalid_parameter("Tags Reason: Topic already exists with different tags");
    return Json::object({{"TopicArn", arn}});
  }
  topic = {.arn = arn, .name = name, .region = call.region, .attributes = Json(std::move(attributes))};
  if (call.input.find("Tags")) topic.tags = call.input["Tags"];
  save("topics", arn, topic.to_row());
  return Json::object({{"TopicArn", arn}});
}

Reply Sns::delete_topic(const Call& call) {
  const std::string arn(call.input["TopicArn"].string_or());
  if (const auto topic = find_topic(call); !topic && topic.error().code != "NotFound") return std::unexpected(topic.error());
  topics_.erase(arn);
  drop("topics", arn);
  std::erase_if(subscriptions_, [&](const auto& entry) {
    if (entry.second.topic != arn) return false;
    drop("subscriptions", entry.first);
    return true;
  });
  return Json(Json::Object{});
}

Reply Sns::list_topics(const Call& call) {
  const auto from = page_position(call.input["NextToken"].string_or());
  if (call.input.find("NextToken") && !from) return invalid_parameter("NextToken");
  Json::Array out;
  for (auto topic = topics_.lower_bound(from.value_or("")); topic != topics_.end(); ++topic) {
    if (topic->second.region != call.region) continue;
    if (out.size() == 100) return Json::object({{"Topics", std::move(out)}, {"NextToken", page_token(topic->first)}});
    out.push_back(Json::object({{"TopicArn", topic->first}}));
  }
  return Json::object({{"Topics", std::move(out)}});
}

Reply Sns::topic_attributes(const Call& call) {
  const auto topic = find_topic(call);
  if (!topic) return std::unexpected(topic.error());
  std::int64_t confirmed = 0, pending = 0;
  for (const auto& [arn, s] : subscriptions_)
    if (s.topic == (*topic)->arn) ++(s.confirmed ? confirmed : pending);
  Json::Object out = (*topic)->attributes.as_object();
  out.set("TopicArn", (*topic)->arn)
      .set("Owner", env_.account)
      .set("SubscriptionsConfirmed", std::to_string(confirmed))
      .set("SubscriptionsPending", std::to_string(pending))
      .set("SubscriptionsDeleted", "0");
  if (!out.find("DisplayName")) out.set("DisplayName", "");
  if (!out.find("Policy")) out.set("Policy", default_policy((*topic)->arn, env_.account).dump());
  if (!out.find("EffectiveDeliveryPolicy")) out.set("EffectiveDeliveryPolicy", kDeliveryPolicy);
  return Json::object({{"Attributes", std::move(out)}});
}

Reply Sns::set_topic_attributes(const Call& call) {
  const auto topic = find_topic(call);
  if (!topic) return std::unexpected(topic.error());
  const std::string name(call.input["AttributeName"].string_or());
  if (!is_topic_attribute(name)) return invalid_parameter("AttributeName");
  Json::Object attributes = (*topic)->attributes.as_object();
  attributes.set(name, call.input["AttributeValue"].string_or());
  (*topic)->attributes = Json(std::move(attributes));
  save("topics", (*topic)->arn, (*topic)->to_row());
  return Json(Json::Object{});
}

Reply Sns::permissions(const Call& call) {
  const auto found = find_topic(call);
  if (!found) return std::unexpected(found.error());
  Topic& topic = **found;
  const Json policy = Json::parse(topic.attributes["Policy"].string_or()).value_or(default_policy(topic.arn, env_.account));
  const std::string_view label = call.input["Label"].string_or();
  Json::Array statements;
  for (const Json& statement : policy["Statement"].items())
    if (statement["Sid"].string_or() != label)
      statements.push_back(statement);
    else if (call.operation == "AddPermission")
      return invalid_parameter("Statement already exists");
  if (call.operation == "AddPermission") {
    Json::Array actions, principals;
    for (const Json& action : call.input["ActionName"].items()) {
      if (std::ranges::find(kActions, action.string_or()) == std::end(kActions))
        return invalid_parameter("Policy statement action out of service scope!");
      actions.emplace_back(fmt::format("SNS:{}", action.string_or()));
    }
    for (const Json& account : call.input["AWSAccountId"].items())
      principals.emplace_back(fmt::format("arn:aws:iam::{}:root", account.string_or()));
    const auto one_or_all = [](Json::Array list) { return list.size() == 1 ? list[0] : Json(std::move(list)); };
    statements.push_back(Json::object({{"Sid", label},
                                       {"Effect", "Allow"},
                                       {"Principal", Json::object({{"AWS", one_or_all(std::move(principals))}})},
                                       {"Action", one_or_all(std::move(actions))},
                                       {"Resource", topic.arn}}));
  }
  Json::Object changed = policy.as_object(), attributes = topic.attributes.as_object();
  changed.set("Statement", std::move(statements));
  attributes.set("Policy", Json(std::move(changed)).dump());
  topic.attributes = Json(std::move(attributes));
  save("topics", topic.arn, topic.to_row());
  return Json(Json::Object{});
}

namespace {

using Fits = std::expected<void, cloud::Error>;

// Whether a subscription can have the endpoint, by its protocol.
Fits check_endpoint(const std::string& protocol, const std::string& endpoint) {
  if (has_control(endpoint) || endpoint.contains(' ')) return invalid_parameter("Endpoint");
  const auto arn = Arn::parse(endpoint);
  if (protocol == "sqs") return arn && arn->service == "sqs" ? Fits() : invalid_parameter("SQS endpoint ARN");
  if (protocol == "lambda") return arn && arn->service == "lambda" ? Fits() : invalid_parameter("Lambda endpoint ARN");
  if (protocol == "sms")
    return is_phone_number(endpoint) ? Fits() : Fits(cloud::error("InvalidParameter", "Invalid SMS endpoint: " + endpoint));
  if (protocol == "email" || protocol == "email-json")
    return endpoint.find('@') != std::string::npos ? Fits() : invalid_parameter("Endpoint");
  if (protocol == "http" || protocol == "https") return endpoint.starts_with(protocol + "://") ? Fits() : invalid_parameter("Endpoint");
  return invalid_parameter("Amazon SNS's protocol '" + protocol + "' is not supported by Snapward's local cloud");
}

// A subscription's attributes with some changed; errors are what AWS says behind "Invalid parameter: ".
std::expected<Json, std::string> changed(const Json& attributes, const Json& changes) {
  Json::Object out = attributes.as_object();
  for (const auto& [name, value] : changes.as_object()) {
    std::string text(value.string_or());
    if (name == "RawMessageDelivery") {
      text = lower(text);
      if (text != "true" && text != "false")
        return std::unexpected(fmt::format("RawMessageDelivery: Invalid value [{}]. Must be true or false.", value.string_or()));
    } else if (name == "FilterPolicyScope") {
      if (text != kByBody && text != kByAttributes)
        return std::unexpected(
            fmt::format("FilterPolicyScope: Invalid value [{}]. Please use either MessageBody or MessageAttributes", text));
    } else if (name == "RedrivePolicy" && !text.empty()) {
      const auto policy = read_json(text);
      if (!policy) return std::unexpected("RedrivePolicy: failed to parse JSON. " + policy.error());
      if (!Arn::parse((*policy)["deadLetterTargetArn"].string_or()))
        return std::unexpected("RedrivePolicy: deadLetterTargetArn is an invalid arn");
    } else if (name != "RedrivePolicy" && name != "FilterPolicy" && name != "DeliveryPolicy" && name != "SubscriptionRoleArn" &&
               name != "ReplayPolicy") {
      return std::unexpected("AttributeName");
    }
    if (text.empty())
      out.erase(name);
    else
      out.set(name, text);
  }
  Json result(std::move(out));
  if (auto fits = check_filter(result["FilterPolicy"].string_or(), result["FilterPolicyScope"].string_or(kByAttributes)); !fits)
    return std::unexpected(fits.error());
  return result;
}

}  // namespace

Reply Sns::subscribe(const Call& call) {
  const auto topic = find_topic(call);
  if (!topic) return std::unexpected(topic.error());
  const std::string protocol(call.input["Protocol"].string_or()), endpoint(call.input["Endpoint"].string_or());
  if (auto fits = check_endpoint(protocol, endpoint); !fits) return std::unexpected(fits.error());
  const Json given = call.input["Attributes"].is_object() ? call.input["Attributes"] : Json(Json::Object{});
  auto attributes = changed(Json(Json::Object{}), given);
  if (!attributes) return invalid_parameter("Attributes Reason: " + attributes.error());
  const auto answer = [&](const Subscription& s) {
    return Json::object(
        {{"SubscriptionArn", s.confirmed || call.input["ReturnSubscriptionArn"].bool_or(false) ? s.arn : "pending confirmation"}});
  };
  for (const auto& [arn, s] : subscriptions_) {
    if (s.topic != (*topic)->arn || s.protocol != protocol || s.endpoint != endpoint) continue;
    for (const auto& [name, value] : given.as_object()) {
      const std::string_view usual = name == "RawMessageDelivery" ? "false" : name == "FilterPolicyScope" ? kByAttributes : "";
      if (s.attributes[name].string_or(usual) != (*attributes)[name].string_or(usual))
        return invalid_parameter("Attributes Reason: Subscription already exists with different attributes");
    }
    return answer(s);
  }
  Subscription s;
  s.arn = (*topic)->arn + ':' + env_.loop.entropy().uuid();
  s.topic = (*topic)->arn;
  s.protocol = protocol;
  s.endpoint = endpoint;
  s.token = env_.loop.entropy().hex(64);
  s.attributes = *std::move(attributes);
  s.confirmed = protocol == "sqs" || protocol == "lambda" || protocol == "sms";  // the others are asked first
  const std::string arn = s.arn;
  store(subscriptions_[arn] = std::move(s));
  const Subscription& added = subscriptions_.at(arn);
  if (!added.confirmed)
    send(
        {.id = {},
         .subscription = arn,
         .type = "SubscriptionConfirmation",
         .message_id = env_.loop.entropy().uuid(),
         .message = fmt::format(
             "You have chosen to subscribe to the topic {}.\nTo confirm the subscription, visit the SubscribeURL included in this message.",
             added.topic),
         .subject = {},
         .attributes = {},
         .published = env_.loop.now(),
         .attempts = 0});
  return answer(added);
}

Reply Sns::confirm(const Call& call) {
  for (auto& [arn, s] : subscriptions_)
    if (s.topic == call.input["TopicArn"].string_or() && s.token == call.input["Token"].string_or()) {
      s.confirmed = true;
      store(s);
      return Json::object({{"SubscriptionArn", arn}});
    }
  return invalid_parameter("Token");
}

Reply Sns::unsubscribe(const Call& call) {
  const std::string arn(call.input["SubscriptionArn"].string_or());
  if (const auto parsed = arn_in(arn, "SubscriptionArn"); !parsed) return std::unexpected(parsed.error());
  subscriptions_.erase(arn);
  drop("subscriptions", arn);
  return Json(Json::Object{});
}

Reply Sns::list_subscriptions(const Call& call) {
  const Json* topic = call.input.find("TopicArn");
  if (topic)
    if (const auto found = find_topic(call); !found) return std::unexpected(found.error());
  const auto from = page_position(call.input["NextToken"].string_or());
  if (call.input.find("NextToken") && !from) return invalid_parameter("NextToken");
  Json::Array out;
  for (auto s = subscriptions_.lower_bound(from.value_or("")); s != subscriptions_.end(); ++s) {
    if (topic ? s->second.topic != topic->string_or() : Arn::parse(s->second.topic)->region != call.region) continue;
    if (out.size() == 100) return Json::object({{"Subscriptions", std::move(out)}, {"NextToken", page_token(s->first)}});
    out.push_back(Json::object({{"SubscriptionArn", s->second.confirmed ? s->first : "PendingConfirmation"},
                                {"Owner", env_.account},
                                {"Protocol", s->second.protocol},
                                {"Endpoint", s->second.endpoint},
                                {"TopicArn", s->second.topic}}));
  }
  return Json::object({{"Subscriptions", std::move(out)}});
}

Reply Sns::subscription_attributes(const Call& call) {
  const auto s = find_subscription(call);
  if (!s) return std::unexpected(s.error());
  Json::Object out = (*s)->attributes.as_object();
  out.set("SubscriptionArn", (*s)->arn)
      .set("TopicArn", (*s)->topic)
      .set("Protocol", (*s)->protocol)
      .set("Endpoint", (*s)->endpoint)
      .set("Owner", env_.account);
  out.set("PendingConfirmation", (*s)->confirmed ? "false" : "true")
      .set("ConfirmationWasAuthenticated", (*s)->confirmed ? "true" : "false");
  // Everybody who calls is one user of the account.
  out.set("SubscriptionPrincipal", fmt::format("arn:aws:iam::{}:user/snapward", env_.account));
  if (!out.find("RawMessageDelivery")) out.set("RawMessageDelivery", "false");
  if (!out.find("FilterPolicy"))
    out.erase("FilterPolicyScope");
  else if (!out.find("FilterPolicyScope"))
    out.set("FilterPolicyScope", kByAttributes);
  return Json::object({{"Attributes", std::move(out)}});
}

Reply Sns::set_subscription_attributes(const Call& call) {
  const auto s = find_subscription(call);
  if (!s) return std::unexpected(s.error());
  const std::string name(call.input["AttributeName"].string_or());
  auto attributes = changed((*s)->attributes, Json::object({{name, call.input["AttributeValue"].string_or()}}));
  if (!attributes) return invalid_parameter(attributes.error());
  (*s)->attributes = *std::move(attributes);
  store(**s);
  return Json(Json::Object{});
}

Reply Sns::tags(const Call& call) {
  const auto found = topics_.find(call.input["ResourceArn"].string_or());
  if (found == topics_.end()) return cloud::error("ResourceNotFound", "Resource does not exist", 404);
  Topic& topic = found->second;
  if (call.operation == "ListTagsForResource") return Json::object({{"Tags", topic.tags}});
  topic.tags =
      call.operation == "TagResource" ? merge_tags(topic.tags, call.input["Tags"]) : remove_tags(topic.tags, call.input["TagKeys"]);
  save("topics", topic.arn, topic.to_row());
  return Json(Json::Object{});
}

}  // namespace snapward::services::sns
