// SNS: topics, subscriptions (http, https, sqs, lambda, email), confirmation, delivery with retries.
// A publication is durable with its deliveries before any of them leaves; one that fails is tried again, also after a restart.
// Source: SNS API Reference; SNS Developer Guide, "Message delivery retries", "HTTP/HTTPS headers".
#pragma once
#include <map>
#include <string>

#include "services/outbound.hpp"
#include "services/service.hpp"

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
  Reply tags(const Call&);

  std::expected<Topic*, cloud::Error> find_topic(const Call&, std::string_view arn);
  std::expected<Subscription*, cloud::Error> find_subscription(const Call&);
  void store(const Subscription& s) { save("subscriptions", s.arn, s.to_row()); }
  [[nodiscard]] Json envelope(const Delivery& d, const Subscription& s) const;
  [[nodiscard]] static bool wanted(const Subscription& s, const Json& attributes);
  void send(Delivery d);
  void attempt(const std::string& id);
  Task<void> deliver(Delivery d);
  void settle(Delivery d, const std::string& failure);

  Outbound& outbound_;
  std::map<std::string, Topic, std::less<>> topics_;
  std::map<std::string, Subscription, std::less<>> subscriptions_;
  std::map<std::string, Delivery, std::less<>> deliveries_;
};

}  // namespace snapward::services::sns
