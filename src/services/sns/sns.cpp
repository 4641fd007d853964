#include "services/sns/sns.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "base/arn.hpp"
#include "base/crash_point.hpp"
#include "base/text.hpp"
#include "events/pattern.hpp"

namespace snapward::services::sns {

namespace {
constexpr std::size_t kMaxMessage = 262'144;
// The default policy of HTTP/S endpoints: 3 retries, 20 seconds apart (SNS Developer Guide, "Creating an HTTP/S delivery policy").
constexpr std::int64_t kMaxRetries = 3;
constexpr Duration kRetryDelay = std::chrono::seconds(20);

std::unexpected<cloud::Error> invalid_parameter(const std::string& what) {
  return cloud::error("InvalidParameter", "Invalid parameter: " + what);
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

std::expected<Sns::Topic*, cloud::Error> Sns::find_topic(const Call& call, std::string_view arn) {
  const auto parsed = Arn::parse(arn);
  if (!parsed || parsed->service != "sns") return invalid_parameter("TopicArn");
  const auto found = topics_.find(arn);
  if (found == topics_.end() || found->second.region != call.region) return cloud::error("NotFound", "Topic does not exist", 404);
  return &found->second;
}

std::expected<Sns::Subscription*, cloud::Error> Sns::find_subscription(const Call& call) {
  const auto found = subscriptions_.find(call.input["SubscriptionArn"].string_or());
  if (found == subscriptions_.end()) return cloud::error("NotFound", "Subscription does not exist", 404);
  return &found->second;
}

Reply Sns::create_topic(const Call& call) {
  const std::string name(call.input["Name"].string_or());
  const bool fits = !name.empty() && name.size() <= 256 && std::all_of(name.begin(), name.end(), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_';
  });
  if (name.ends_with(".fifo") || call.input["Attributes"]["FifoTopic"].string_or() == "true")
    return invalid_parameter("FIFO topics are not supported by Snapward's local cloud");
  if (!fits) return invalid_parameter("Topic Name");
  const std::string arn = fmt::format("arn:aws:sns:{}:{}:{}", call.region, env_.account, name);
  auto [topic, fresh] = topics_.try_emplace(arn);
  if (fresh) {
    topic->second.arn = arn;
    topic->second.name = name;
    topic->second.region = call.region;
    if (call.input.find("Attributes")) topic->second.attributes = call.input["Attributes"];
    if (call.input.find("Tags")) topic->second.tags = call.input["Tags"];
    save("topics", arn, topic->second.to_row());
  }
  return Json::object({{"TopicArn", arn}});
}

Reply Sns::delete_topic(const Call& call) {
  const std::string arn(call.input["TopicArn"].string_or());
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
  const auto topic = find_topic(call, call.input["TopicArn"].string_or());
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
  return Json::object({{"Attributes", std::move(out)}});
}

Reply Sns::set_topic_attributes(const Call& call) {
  const auto topic = find_topic(call, call.input["TopicArn"].string_or());
  if (!topic) return std::unexpected(topic.error());
  Json::Object attributes = (*topic)->attributes.as_object();
  attributes.set(std::string(call.input["AttributeName"].string_or()), call.input["AttributeValue"].string_or());
  (*topic)->attributes = Json(std::move(attributes));
  save("topics", (*topic)->arn, (*topic)->to_row());
  return Json(Json::Object{});
}

Reply Sns::subscribe(const Call& call) {
  const auto topic = find_topic(call, call.input["TopicArn"].string_or());
  if (!topic) return std::unexpected(topic.error());
  const std::string protocol(call.input["Protocol"].string_or()), endpoint(call.input["Endpoint"].string_or());
  const bool http = protocol == "http" || protocol == "https", email = protocol == "email" || protocol == "email-json";
  if (!http && !email && protocol != "sqs" && protocol != "lambda")
    return invalid_parameter("Amazon SNS's protocol '" + protocol + "' is not supported by Snapward's local cloud");
  if (endpoint.empty() || (http && !endpoint.starts_with(protocol + "://")) || (email && endpoint.find('@') == std::string::npos) ||
      ((protocol == "sqs" || protocol == "lambda") && !Arn::parse(endpoint)))
    return invalid_parameter("Endpoint");
  for (const auto& [arn, s] : subscriptions_)
    if (s.topic == (*topic)->arn && s.protocol == protocol && s.endpoint == endpoint)
      return Json::object(
          {{"SubscriptionArn", s.confirmed || call.input["ReturnSubscriptionArn"].bool_or(false) ? arn : "pending confirmation"}});
  Subscription s;
  s.arn = (*topic)->arn + ':' + env_.loop.entropy().uuid();
  s.topic = (*topic)->arn;
  s.protocol = protocol;
  s.endpoint = endpoint;
  s.token = env_.loop.entropy().hex(64);
  s.confirmed = !http && !email;  // queues and functions of the same account need no asking
  if (call.input.find("Attributes")) {
    s.attributes = call.input["Attributes"];
    if (const Json* policy = s.attributes.find("FilterPolicy"); policy && !policy->string_or().empty())
      if (const auto parsed = snapward::events::Pattern::parse(policy->string_or()); !parsed)
        return invalid_parameter("FilterPolicy: " + parsed.error().message);
  }
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
  return Json::object(
      {{"SubscriptionArn", added.confirmed || call.input["ReturnSubscriptionArn"].bool_or(false) ? arn : "pending confirmation"}});
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
  if (!Arn::parse(arn)) return invalid_parameter("SubscriptionArn");
  subscriptions_.erase(arn);
  drop("subscriptions", arn);
  return Json(Json::Object{});
}

Reply Sns::list_subscriptions(const Call& call) {
  const Json* topic = call.input.find("TopicArn");
  if (topic)
    if (const auto found = find_topic(call, topic->string_or()); !found) return std::unexpected(found.error());
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
  if (!out.find("RawMessageDelivery")) out.set("RawMessageDelivery", "false");
  return Json::object({{"Attributes", std::move(out)}});
}

Reply Sns::set_subscription_attributes(const Call& call) {
  const auto s = find_subscription(call);
  if (!s) return std::unexpected(s.error());
  const std::string name(call.input["AttributeName"].string_or()), value(call.input["AttributeValue"].string_or());
  if (name == "FilterPolicy" && !value.empty())
    if (const auto parsed = snapward::events::Pattern::parse(value); !parsed)
      return invalid_parameter("FilterPolicy: " + parsed.error().message);
  Json::Object attributes = (*s)->attributes.as_object();
  attributes.set(name, value);
  (*s)->attributes = Json(std::move(attributes));
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

// ── Publishing ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────

// A filter policy over message attributes is a flat event pattern over {name: value}.
bool Sns::wanted(const Subscription& s, const Json& attributes) {
  const std::string_view policy = s.attributes["FilterPolicy"].string_or();
  if (policy.empty()) return true;
  const auto pattern = snapward::events::Pattern::parse(policy);
  if (!pattern) return true;
  Json::Object event;
  if (attributes.is_object())
    for (const auto& [name, attribute] : attributes.as_object()) {
      const std::string_view type = attribute["DataType"].string_or(), text = attribute["StringValue"].string_or();
      auto parsed = type == "Number" || type == "String.Array" ? Json::parse(text) : Result<Json>(Json(text));
      event.set(name, parsed ? *std::move(parsed) : Json(text));
    }
  return pattern->matches(Json(std::move(event)));
}

Reply Sns::publish(const Call& call) {
  const Json& in = call.input;
  const std::string target(in.find("TopicArn") ? in["TopicArn"].string_or() : in["TargetArn"].string_or());
  const auto topic = find_topic(call, target);
  if (!topic) return std::unexpected(topic.error());
  const std::string message(in["Message"].string_or()), subject(in["Subject"].string_or());
  if (message.empty()) return invalid_parameter("Empty message");
  if (message.size() > kMaxMessage) return invalid_parameter("Message too long");
  if (in.find("Subject") && (subject.empty() || subject.size() > 100 || subject.find('\n') != std::string::npos))
    return invalid_parameter("Subject");
  const bool structured = in["MessageStructure"].string_or() == "json";
  Json by_protocol;
  if (structured) {
    const auto parsed = Json::parse(message);
    if (!parsed || !(*parsed)["default"].is_string()) return invalid_parameter("Message Structure - No default entry in JSON message body");
    by_protocol = *parsed;
  }
  const std::string message_id = env_.loop.entropy().uuid();
  for (const auto& [arn, s] : subscriptions_) {
    if (s.topic != (*topic)->arn || !s.confirmed || !wanted(s, in["MessageAttributes"])) continue;
    std::string text = message;
    if (structured) text = by_protocol[s.protocol].string_or(by_protocol["default"].string_or());
    send({.id = {},
          .subscription = arn,
          .type = "Notification",
          .message_id = message_id,
          .message = std::move(text),
          .subject = subject,
          .attributes = in["MessageAttributes"],
          .published = env_.loop.now(),
          .attempts = 0});
  }
  return Json::object({{"MessageId", message_id}});
}

void Sns::send(Delivery d) {
  d.id = env_.loop.entropy().uuid();
  save("deliveries", d.id, d.to_row());
  const std::string id = d.id;
  deliveries_[id] = std::move(d);
  env_.ledger.after_commit([this, id] { attempt(id); });
}

void Sns::attempt(const std::string& id) {
  const auto found = deliveries_.find(id);
  if (found != deliveries_.end()) env_.loop.spawn(deliver(found->second));
}

Json Sns::envelope(const Delivery& d, const Subscription& s) const {
  Json::Object out{{"Type", d.type}, {"MessageId", d.message_id}};
  if (d.type == "SubscriptionConfirmation") out.set("Token", s.token);
  out.set("TopicArn", s.topic);
  if (!d.subject.empty()) out.set("Subject", d.subject);
  out.set("Message", d.message);
  if (d.type == "SubscriptionConfirmation")
    out.set("SubscribeURL",
            fmt::format("{}/?Action=ConfirmSubscription&TopicArn={}&Token={}", env_.base_url, percent_encode(s.topic), s.token));
  out.set("Timestamp", iso_millis(d.published));
  if (d.type == "Notification")
    out.set("UnsubscribeURL", fmt::format("{}/?Action=Unsubscribe&SubscriptionArn={}", env_.base_url, percent_encode(s.arn)));
  if (d.attributes.is_object() && !d.attributes.as_object().empty()) {
    Json::Object attributes;
    for (const auto& [name, a] : d.attributes.as_object())
      attributes.set(
          name, Json::object({{"Type", a["DataType"]},
                              {"Value", a.find("BinaryValue") ? Json(base64_encode(a["BinaryValue"].string_or())) : a["StringValue"]}}));
    out.set("MessageAttributes", std::move(attributes));
  }
  return out;
}

Task<void> Sns::deliver(Delivery d) {
  const auto found = subscriptions_.find(d.subscription);
  if (found == subscriptions_.end()) {  // unsubscribed meanwhile
    deliveries_.erase(d.id);
    drop("deliveries", d.id);
    co_return;
  }
  crash_point("delivering");
  const Subscription s = found->second;
  const bool raw = s.attributes["RawMessageDelivery"].string_or() == "true" && d.type == "Notification";
  const Json json = envelope(d, s);
  const cloud::Caller itself{.service = "sns.amazonaws.com", .role = {}, .source = s.topic};
  std::string failure;
  if (s.protocol == "sqs") {
    const auto queue = Arn::parse(s.endpoint);
    Json::Object input{{"QueueUrl", fmt::format("{}/{}/{}", env_.base_url, queue->account, queue->resource)},
                       {"MessageBody", raw ? d.message : json.dump()}};
    if (raw && d.attributes.is_object()) input.set("MessageAttributes", d.attributes);
    Call call{"sqs", queue->region, "SendMessage", std::move(input), itself};
    const Reply reply = co_await env_.cloud->call(std::move(call));
    if (!reply) failure = reply.error().message;
  } else if (s.protocol == "lambda") {
    Json event = Json::object(
        {{"Records", Json::array({Json::object(
                         {{"EventSource", "aws:sns"}, {"EventVersion", "1.0"}, {"EventSubscriptionArn", s.arn}, {"Sns", json}})})}});
    Call call{"lambda", Arn::parse(s.topic)->region, "Invoke",
              Json::object({{"FunctionName", s.endpoint}, {"InvocationType", "Event"}, {"Payload", event.dump()}}), itself};
    const Reply reply = co_await env_.cloud->call(std::move(call));
    if (!reply) failure = reply.error().message;
  } else if (s.protocol == "email" || s.protocol == "email-json") {
    std::string body = d.message;
    if (d.type == "SubscriptionConfirmation") body += "\n\n" + std::string(json["SubscribeURL"].string_or());
    outbound_.mail(s.endpoint, d.subject.empty() ? "AWS Notification Message" : d.subject, s.protocol == "email-json" ? json.dump() : body);
  } else {
    wire::HttpRequest request;
    request.headers.add("Content-Type", "text/plain; charset=UTF-8");
    request.headers.add("User-Agent", "Amazon Simple Notification Service Agent");
    request.headers.add("x-amz-sns-message-type", d.type);
    request.headers.add("x-amz-sns-message-id", d.message_id);
    request.headers.add("x-amz-sns-topic-arn", s.topic);
    if (d.type == "Notification") request.headers.add("x-amz-sns-subscription-arn", s.arn);
    if (raw) request.headers.add("x-amz-sns-rawdelivery", "true");
    request.body = raw ? d.message : json.dump();
    std::string url = s.endpoint;
    const auto response = co_await outbound_.http(std::move(url), std::move(request));
    if (!response)
      failure = response.error();
    else if (response->status < 200 || response->status > 299)
      failure = fmt::format("the endpoint answered with HTTP status {}", response->status);
  }
  crash_point("delivered");
  settle(std::move(d), failure);
}

void Sns::metrics(Metrics& m) const {
  m.gauge("snapward_notifications_waiting", "Notifications accepted and not yet delivered.", static_cast<double>(deliveries_.size()));
}

void Sns::settle(Delivery d, const std::string& failure) {
  if (failure.empty() || d.attempts >= kMaxRetries) {
    if (!failure.empty())
      spdlog::warn("notification {} could not be delivered to {} after {} attempts: {}", d.message_id, d.subscription, d.attempts + 1,
                   failure);
    deliveries_.erase(d.id);
    drop("deliveries", d.id);
    const auto s = subscriptions_.find(d.subscription);
    if (failure.empty() || s == subscriptions_.end()) return;
    const auto policy = Json::parse(s->second.attributes["RedrivePolicy"].string_or("{}"));
    const auto queue = policy ? Arn::parse((*policy)["deadLetterTargetArn"].string_or()) : std::nullopt;
    if (!queue) return;
    env_.loop.spawn(env_.cloud->call({"sqs",
                                      queue->region,
                                      "SendMessage",
                                      Json::object({{"QueueUrl", fmt::format("{}/{}/{}", env_.base_url, queue->account, queue->resource)},
                                                    {"MessageBody", envelope(d, s->second).dump()}}),
                                      {.service = "sns.amazonaws.com", .role = {}, .source = s->second.topic}}),
                    [](const Reply& reply) {
                      if (!reply) spdlog::warn("a dead letter could not be queued: {}", reply.error().message);
                    });
    return;
  }
  ++d.attempts;
  save("deliveries", d.id, d.to_row());
  const std::string id = d.id;
  deliveries_[id] = std::move(d);
  env_.loop.after(kRetryDelay, [this, id] { attempt(id); });
}

}  // namespace snapward::services::sns
