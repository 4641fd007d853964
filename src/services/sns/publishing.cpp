// Publishing and delivery.
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <set>

#include "base/crash_point.hpp"
#include "base/text.hpp"
#include "services/sns/filter.hpp"
#include "services/sns/message.hpp"
#include "services/sns/sns.hpp"

namespace snapward::services::sns {

namespace {

constexpr std::size_t kMaxMessage = 262'144;
constexpr std::size_t kMostEntries = 10, kLongestId = 80;
constexpr std::size_t kMostRawAttributes = 10;  // more make a raw delivery to a queue fail (SNS Developer Guide, "raw message delivery")
// The default policy of HTTP/S endpoints: 3 retries, 20 seconds apart (SNS Developer Guide, "Creating an HTTP/S delivery policy").
constexpr std::int64_t kMaxRetries = 3;
constexpr Duration kRetryDelay = std::chrono::seconds(20);

std::unexpected<cloud::Error> too_long() { return invalid_parameter("Message too long"); }

// The texts of a message by protocol, when MessageStructure is json; null otherwise.
std::expected<Json, cloud::Error> texts_by_protocol(const Json& message) {
  if (message["MessageStructure"].string_or() != "json") return Json();
  const auto parsed = Json::parse(message["Message"].string_or());
  if (!parsed || !(*parsed)["default"].is_string()) return invalid_parameter("Message Structure - No default entry in JSON message body");
  return *parsed;
}

std::expected<void, cloud::Error> check_message(const Json& message, std::string_view attributes_path) {
  const std::string_view text = message["Message"].string_or(), subject = message["Subject"].string_or();
  if (text.empty()) return invalid_parameter("Empty message");
  if (auto good = check_attributes(message["MessageAttributes"], attributes_path); !good) return good;
  if (message.find("Subject") && (subject.empty() || subject.size() > 100 || subject.contains('\n'))) return invalid_parameter("Subject");
  if (const auto texts = texts_by_protocol(message); !texts) return std::unexpected(texts.error());
  return {};
}

// What is wrong with a batch as a whole.
std::expected<void, cloud::Error> check_batch(const Json::Array& entries) {
  if (entries.empty()) return cloud::error("EmptyBatchRequest", "The batch request doesn't contain any entries.");
  if (entries.size() > kMostEntries)
    return cloud::error("TooManyEntriesInBatchRequest", "The batch request contains more entries than permissible.");
  std::set<std::string_view> ids;
  std::size_t size = 0;
  for (const Json& entry : entries) {
    const std::string_view id = entry["Id"].string_or();
    if (id.size() > kLongestId)
      return cloud::error("InvalidBatchEntryId", fmt::format("The Id of a batch entry in the batch request is too long: {}", id));
    if (!std::ranges::all_of(id, [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_'; }))
      return cloud::error("InvalidBatchEntryId",
                          fmt::format("The Id of a batch entry in the batch request contains an impermissible character: {}", id));
    if (!ids.insert(id).second)
      return cloud::error("BatchEntryIdsNotDistinct", "Two or more batch entries in the request have the same Id.");
    size += size_of_message(entry["Message"].string_or(), entry["MessageAttributes"]);
  }
  if (size > kMaxMessage) return cloud::error("BatchRequestTooLong", "The length of all the messages put together is more than the limit.");
  return {};
}

// Errors that no repetition mends: the queue or the function is gone, or does not let SNS in (SNS Developer Guide, "dead-letter queues").
bool is_client_side(const cloud::Error& error) {
  const cloud::Kind kind = cloud::kind_of(error);
  return kind == cloud::Kind::not_found || kind == cloud::Kind::denied || kind == cloud::Kind::invalid;
}

}  // namespace

Reply Sns::publish(const Call& call) {
  const Json& in = call.input;
  if (const Json* phone = in.find("PhoneNumber")) {
    if (!is_phone_number(phone->string_or()))
      return invalid_parameter(fmt::format("PhoneNumber Reason: {} is not valid to publish to", phone->string_or()));
    if (in["Message"].string_or().empty()) return invalid_parameter("Empty message");
    text_message(phone->string_or(), in["Message"].string_or());
    return Json::object({{"MessageId", env_.loop.entropy().uuid()}});
  }
  const char* parameter = in.find("TopicArn") ? "TopicArn" : "TargetArn";
  if (const auto target = arn_in(in[parameter].string_or(), parameter); target && target->resource.starts_with("endpoint/"))
    return invalid_parameter("TargetArn Reason: No endpoint found for the target arn specified");
  const auto topic = find_topic(call, parameter);
  if (!topic) return std::unexpected(topic.error());
  if (auto good = check_message(in, "messageAttributes"); !good) return std::unexpected(good.error());
  if (size_of_message(in["Message"].string_or(), in["MessageAttributes"]) > kMaxMessage) return too_long();
  return Json::object({{"MessageId", publish_to(**topic, in)}});
}

Reply Sns::publish_batch(const Call& call) {
  const auto topic = find_topic(call);
  if (!topic) return std::unexpected(topic.error());
  const auto& entries = call.input["PublishBatchRequestEntries"].items();
  if (auto good = check_batch(entries); !good) return std::unexpected(good.error());
  for (std::size_t i = 0; i < entries.size(); ++i)
    if (auto good = check_message(entries[i], fmt::format("publishBatchRequestEntries.{}.member.messageAttributes", i + 1)); !good)
      return std::unexpected(good.error());
  Json::Array published;
  for (const Json& entry : entries) published.push_back(Json::object({{"Id", entry["Id"]}, {"MessageId", publish_to(**topic, entry)}}));
  return Json::object({{"Successful", std::move(published)}, {"Failed", Json::Array{}}});
}

std::string Sns::publish_to(const Topic& topic, const Json& message) {
  const Json texts = *texts_by_protocol(message);
  const std::string message_id = env_.loop.entropy().uuid(), body(message["Message"].string_or());
  for (const auto& [arn, s] : subscriptions_) {
    if (s.topic != topic.arn || !s.confirmed) continue;
    std::string text = body;
    if (texts.is_object()) text = texts[s.protocol].string_or(texts["default"].string_or());
    if (!wants(s.attributes["FilterPolicy"].string_or(), s.attributes["FilterPolicyScope"].string_or(kByAttributes),
               message["MessageAttributes"], text))
      continue;
    send({.id = {},
          .subscription = arn,
          .type = "Notification",
          .message_id = message_id,
          .message = std::move(text),
          .subject = std::string(message["Subject"].string_or()),
          .attributes = message["MessageAttributes"],
          .published = env_.loop.now(),
          .attempts = 0});
  }
  return message_id;
}

// There is no telephone here: the text is in the log.
void Sns::text_message(std::string_view number, std::string_view message) {
  spdlog::info("text message to {}: {}", number, Json(message).dump());
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

const Signer& Sns::signer() {
  if (!signer_) {
    signer_ = Signer::generate(env_.loop.entropy(), env_.loop.now());
    save("signing", "key", signer_->to_row());
  }
  return *signer_;
}

Reply Sns::certificate(const Call& call) {
  if (!signer_ || signer_->certificate_path(call.region) != call.input["Path"].string_or())
    return cloud::error("NotFound", "There is no such certificate", 404);
  return Json::object({{"Certificate", signer_->certificate()}});
}

Json Sns::envelope(const Delivery& d, const Subscription& s) {
  Json::Object out{{"Type", d.type}, {"MessageId", d.message_id}};
  if (d.type == "SubscriptionConfirmation") out.set("Token", s.token);
  out.set("TopicArn", s.topic);
  if (!d.subject.empty()) out.set("Subject", d.subject);
  out.set("Message", d.message);
  if (d.type == "SubscriptionConfirmation")
    out.set("SubscribeURL", fmt::format("{}/?Action=ConfirmSubscription&TopicArn={}&Token={}", env_.base_url, s.topic, s.token));
  out.set("Timestamp", iso_millis(d.published));
  sign(out, s);
  if (d.type == "Notification") out.set("UnsubscribeURL", fmt::format("{}/?Action=Unsubscribe&SubscriptionArn={}", env_.base_url, s.arn));
  if (d.attributes.is_object() && !d.attributes.as_object().empty()) {
    Json::Object attributes;
    for (const auto& [name, a] : d.attributes.as_object())
      attributes.set(
          name, Json::object({{"Type", a["DataType"]},
                              {"Value", a.find("BinaryValue") ? Json(base64_encode(a["BinaryValue"].string_or())) : a["StringValue"]}}));
    out.set("MessageAttributes", std::move(attributes));
  }
  return Json(std::move(out));
}

void Sns::sign(Json::Object& envelope, const Subscription& s) {
  const auto topic = topics_.find(s.topic);
  const std::string version = topic != topics_.end() && topic->second.attributes["SignatureVersion"].string_or() == "2" ? "2" : "1";
  // Functions are told version 1 whatever it is (recorded by AWS, 2023).
  envelope.set("SignatureVersion", s.protocol == "lambda" ? "1" : version);
  envelope.set("Signature", signer().sign(text_to_sign(Json(envelope)), version));
  envelope.set("SigningCertURL", env_.base_url + signer().certificate_path(Arn::parse(s.topic)->region));
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
  Failed failed;
  if (s.protocol == "sqs")
    failed = co_await to_queue(d, s);
  else if (s.protocol == "lambda")
    failed = co_await to_function(d, s);
  else if (s.protocol == "sms")
    text_message(s.endpoint, d.message);
  else if (s.protocol == "email" || s.protocol == "email-json")
    to_mailbox(d, s);
  else
    failed = co_await to_http(d, s);
  crash_point("delivered");
  settle(std::move(d), failed);
}

namespace {
bool is_raw(const Json& attributes, std::string_view type) {
  return type == "Notification" && attributes["RawMessageDelivery"].string_or() == "true";
}
}  // namespace

// The message that a queue gets: the subscriber's, or a dead-letter queue for it.
std::expected<Json, std::string> Sns::queued(const Delivery& d, const Subscription& s, const Arn& queue) {
  const bool raw = is_raw(s.attributes, d.type);
  Json::Object input{{"QueueUrl", fmt::format("{}/{}/{}", env_.base_url, queue.account, queue.resource)},
                     {"MessageBody", raw ? d.message : envelope(d, s).dump()}};
  if (raw && d.attributes.is_object()) {
    if (d.attributes.as_object().size() > kMostRawAttributes)
      return std::unexpected("more than ten message attributes do not fit a raw delivery to a queue");
    input.set("MessageAttributes", d.attributes);
  }
  return Json(std::move(input));
}

Task<Sns::Failed> Sns::to_queue(const Delivery& d, const Subscription& s) {
  const auto queue = Arn::parse(s.endpoint);
  auto input = queued(d, s, *queue);
  if (!input) co_return Failed{.why = input.error(), .for_good = true};
  Call call{"sqs", queue->region, "SendMessage", *std::move(input), {.service = "sns.amazonaws.com", .role = {}, .source = s.topic}};
  const Reply reply = co_await env_.cloud->call(std::move(call));
  co_return reply ? Failed{} : Failed{.why = reply.error().message, .for_good = is_client_side(reply.error())};
}

Task<Sns::Failed> Sns::to_function(const Delivery& d, const Subscription& s) {
  Json::Object message;  // named a little otherwise than elsewhere
  const Json json = envelope(d, s);
  for (const auto& [name, value] : json.as_object())
    message.set(name.ends_with("URL") ? name.substr(0, name.size() - 3) + "Url" : name, value);
  if (!message.find("Subject")) message.set("Subject", nullptr);
  if (!message.find("MessageAttributes")) message.set("MessageAttributes", Json::Object{});
  const Json event = Json::object(
      {{"Records",
        Json::array({Json::object(
            {{"EventSource", "aws:sns"}, {"EventVersion", "1.0"}, {"EventSubscriptionArn", s.arn}, {"Sns", std::move(message)}})})}});
  Call call{"lambda",
            Arn::parse(s.topic)->region,
            "Invoke",
            Json::object({{"FunctionName", s.endpoint}, {"InvocationType", "Event"}, {"Payload", event.dump()}}),
            {.service = "sns.amazonaws.com", .role = {}, .source = s.topic}};
  const Reply reply = co_await env_.cloud->call(std::move(call));
  co_return reply ? Failed{} : Failed{.why = reply.error().message, .for_good = is_client_side(reply.error())};
}

void Sns::to_mailbox(const Delivery& d, const Subscription& s) {
  std::string body = d.message;
  if (s.protocol == "email-json")
    body = envelope(d, s).dump();
  else if (d.type == "SubscriptionConfirmation")
    body += "\n\n" + std::string(envelope(d, s)["SubscribeURL"].string_or());
  outbound_.mail(s.endpoint, d.subject.empty() ? "AWS Notification Message" : d.subject, body);
}

Task<Sns::Failed> Sns::to_http(const Delivery& d, const Subscription& s) {
  const bool raw = is_raw(s.attributes, d.type);
  wire::HttpRequest request;
  request.headers.add("Content-Type", "text/plain; charset=UTF-8");
  request.headers.add("User-Agent", "Amazon Simple Notification Service Agent");
  request.headers.add("x-amz-sns-message-type", d.type);
  request.headers.add("x-amz-sns-message-id", d.message_id);
  request.headers.add("x-amz-sns-topic-arn", s.topic);
  if (d.type == "Notification") request.headers.add("x-amz-sns-subscription-arn", s.arn);
  if (raw) request.headers.add("x-amz-sns-rawdelivery", "true");
  request.body = raw ? d.message : envelope(d, s).dump();
  std::string url = s.endpoint;
  const auto response = co_await outbound_.http(std::move(url), std::move(request));
  if (!response) co_return Failed{.why = response.error()};
  if (response->status < 200 || response->status > 299)
    co_return Failed{.why = fmt::format("the endpoint answered with HTTP status {}", response->status)};
  co_return Failed{};
}

void Sns::metrics(Metrics& m) const {
  m.gauge("snapward_notifications_waiting", "Notifications accepted and not yet delivered.", static_cast<double>(deliveries_.size()));
}

void Sns::settle(Delivery d, const Failed& failed) {
  if (!failed.why.empty() && !failed.for_good && d.attempts < kMaxRetries) {
    ++d.attempts;
    save("deliveries", d.id, d.to_row());
    const std::string id = d.id;
    deliveries_[id] = std::move(d);
    env_.loop.after(kRetryDelay, [this, id] { attempt(id); });
    return;
  }
  deliveries_.erase(d.id);
  drop("deliveries", d.id);
  if (failed.why.empty()) return;
  spdlog::warn("notification {} could not be delivered to {} after {} attempts: {}", d.message_id, d.subscription, d.attempts + 1,
               failed.why);
  if (const auto s = subscriptions_.find(d.subscription); s != subscriptions_.end()) to_dead_letters(d, s->second);
}

void Sns::to_dead_letters(const Delivery& d, const Subscription& s) {
  const auto policy = Json::parse(s.attributes["RedrivePolicy"].string_or("{}"));
  const auto queue = policy ? Arn::parse((*policy)["deadLetterTargetArn"].string_or()) : std::nullopt;
  if (!queue) return;
  auto input = queued(d, s, *queue);
  if (!input) return;
  env_.loop.spawn(
      env_.cloud->call(
          {"sqs", queue->region, "SendMessage", *std::move(input), {.service = "sns.amazonaws.com", .role = {}, .source = s.topic}}),
      [](const Reply& reply) {
        if (!reply) spdlog::warn("a dead letter could not be queued: {}", reply.error().message);
      });
}

}  // namespace snapward::services::sns
