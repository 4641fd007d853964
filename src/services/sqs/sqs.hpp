// SQS: standard queues with visibility, delay, long polling and dead letters. Messages are durable.
// Source: SQS API Reference; SQS Developer Guide.
#pragma once
#include <deque>
#include <map>
#include <string>

#include "services/service.hpp"

namespace snapward::services::sqs {

class Sqs final : public Service {
 public:
  explicit Sqs(Environment& env);
  void restore() override;
  [[nodiscard]] Json resource_policy(const std::string& arn) const override;

 private:
  struct Message {
    std::string id, body;
    Json attributes;
    Instant sent, visible, first_received;
    std::int64_t receives = 0;
    std::string handle;  // of the last receive
    [[nodiscard]] Json to_row() const;
  };
  struct Queue {
    std::string name, region, url;
    Instant created;
    std::map<std::string, std::string, std::less<>> attributes;
    Json tags = Json(Json::Object{});
    std::map<std::int64_t, Message> messages;  // by arrival
    std::int64_t next = 1;
    std::deque<Future<bool>> waiters;  // long polls
    [[nodiscard]] std::int64_t number(std::string_view attribute, std::int64_t fallback) const;
    [[nodiscard]] Json to_row() const;
  };

  Reply create_queue(const Call&);
  Reply delete_queue(const Call&);
  Reply get_url(const Call&);
  Reply list_queues(const Call&);
  Reply get_attributes(const Call&);
  Reply set_attributes(const Call&);
  Reply send(const Call&);
  Reply send_batch(const Call&);
  Task<Reply> receive(Call);
  Reply remove(const Call&);
  Reply remove_batch(const Call&);
  Reply change_visibility(const Call&);
  Reply purge(const Call&);
  Reply tags(const Call&);

  std::expected<Queue*, cloud::Error> find(const Call&);
  std::expected<Json, cloud::Error> add(Queue& queue, const Json& entry);
  Json take(Queue& queue, const Json& request);
  std::expected<void, cloud::Error> erase(Queue& queue, const std::string& handle);
  [[nodiscard]] std::string arn(const Queue& queue) const;
  std::string key(const Queue& queue, std::int64_t number) const;
  void store(const Queue& queue) { save("queues", queue.region + '/' + queue.name, queue.to_row()); }
  void wake(Queue& queue, Instant at);

  std::map<std::pair<std::string, std::string>, Queue> queues_;  // region, name
};

}  // namespace snapward::services::sqs
