// SNS: topics, subscriptions (http, https, sqs, lambda, email, sms), confirmation, filters, signed delivery with retries. Text messages
// go to the log.
// A publication is durable with its deliveries before any of them leaves; one that fails is tried again, also after a restart.
// sns.cpp has topics and subscriptions, publishing.cpp what happens to a message.
// Source: SNS API Reference; SNS Developer Guide, "Message delivery retries", "HTTP/HTTPS headers".
#pragma once
#include <map>
#include <optional>
#include <string>

#include "services/outbound.hpp"
#include "services/service.hpp"
#include "services/sns/signing.hpp"

namespace snapward::services::sns {

class Sns final : public Service {
 public:
  Sns(Environment& env, Outbound& outbound);
  void restore() override;
  void metrics(Metrics& m) const override;
  [[nodiscard]] Json resource_policy(const std::string& arn) const override;

 private:
  struct Subscription {
    std::string arn, topic, protocol, endpoint, token;
    bool confirmed = false;
    Json attributes = Json(Json::Object{});
    [[nodiscard]] Json to_row() const;
  };
  struct Topic {
    std::string arn, name, region;
    Json attributes = Json(Json::Object{}), tags = Json(Json::Array{});
    [[nodiscard]] Json to_row() const;
  };
  struct Delivery {
    std::string id, subscription, type, message_id, message, subject;
    Json attributes;
    Instant published;
    std::int64_t attempts = 0;
    [[nodiscard]] Json to_row() const;
  };

  Reply create_topic(const Call&);
  Reply delete_topic(const Call&);
  Reply list_topics(const Call&);
  Reply topic_attributes(const Call&);
  Reply set_topic_attributes(const Call&);
  Reply subscribe(const Call&);
  Reply confirm(const Call&);
  Reply unsubscribe(const Call&);
  Reply list_subscriptions(const Call&);
  Reply subscription_attributes(const Call&);
  Reply set_subscription_attributes(const Call&);
  Reply publish(const Call&);
  Reply publish_batch(const Call&);
  Reply permissions(const Call&);
  Reply certificate(const Call&);
  Reply tags(const Call&);

  // How a delivery failed; an empty `why`: it did not.
  struct Failed {
    std::string why;
    bool for_good = false;  // trying again would not help
  };

  // The topic that a parameter names, of the region that was called.
  std::expected<Topic*, cloud::Error> find_topic(const Call&, const char* parameter = "TopicArn");
  std::expected<Subscription*, cloud::Error> find_subscription(const Call&);
  void store(const Subscription& s) { save("subscriptions", s.arn, s.to_row()); }
  // Begins the deliveries of a message that has been checked; its id.
  std::string publish_to(const Topic& topic, const Json& message);
  static void text_message(std::string_view number, std::string_view message);
  // Made when first needed.
  const Signer& signer();
  void sign(Json::Object& envelope, const Subscription& s);
  Json envelope(const Delivery& d, const Subscription& s);
  void send(Delivery d);
  void attempt(const std::string& id);
  Task<void> deliver(Delivery d);
  std::expected<Json, std::string> queued(const Delivery& d, const Subscription& s, const Arn& queue);
  Task<Failed> to_queue(const Delivery& d, const Subscription& s);
  Task<Failed> to_function(const Delivery& d, const Subscription& s);
  Task<Failed> to_http(const Delivery& d, const Subscription& s);
  void to_mailbox(const Delivery& d, const Subscription& s);
  void settle(Delivery d, const Failed& failed);
  void to_dead_letters(const Delivery& d, const Subscription& s);

  Outbound& outbound_;
  std::map<std::string, Topic, std::less<>> topics_;
  std::map<std::string, Subscription, std::less<>> subscriptions_;
  std::map<std::string, Delivery, std::less<>> deliveries_;
  std::optional<Signer> signer_;
};

}  // namespace snapward::services::sns
