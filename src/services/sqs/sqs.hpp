// SQS: standard and FIFO queues with visibility, delay, long polling and dead letters. Messages are durable.
// sqs.cpp has the queues, messages.cpp what happens to messages.
// Source: SQS API Reference; SQS Developer Guide.
#pragma once
#include <deque>
#include <map>
#include <string>
#include <vector>

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
    Json attributes, system_attributes;
    Instant sent, visible, first_received;
    std::int64_t receives = 0;
    std::string handle;                     // of the last receive
    std::string group, deduplication = {};  // of a FIFO queue
    std::string source = {};                // ARN of the queue that a dead letter was in
    [[nodiscard]] Json to_row() const;
    static Message from_row(const Json& row);
  };
  // A message that a FIFO queue has accepted, for five minutes.
  struct Accepted {
    std::string message_id;
    std::int64_t number = 0;
    Instant at;
  };
  struct Queue {
    std::string name, region, url;
    Instant created, modified;
    std::map<std::string, std::string, std::less<>> attributes;
    Json tags = Json(Json::Object{});
    std::map<std::int64_t, Message> messages;  // by arrival
    std::int64_t next = 1;
    std::map<std::string, Accepted> accepted;   // by deduplication id, with the group where that is the scope; FIFO
    std::map<std::string, std::int64_t> turns;  // groups that messages were received of, by when; the longest ago is next; FIFO
    std::int64_t last_turn = 0;
    std::deque<Future<bool>> waiters;  // long polls
    [[nodiscard]] bool fifo() const { return name.ends_with(".fifo"); }
    [[nodiscard]] std::int64_t number(std::string_view attribute, std::int64_t fallback) const;
    [[nodiscard]] std::string_view text(std::string_view attribute) const;  // empty when it has none
    [[nodiscard]] Json to_row() const;
  };

  Reply create_queue(const Call&);
  Reply delete_queue(const Call&);
  Reply get_url(const Call&);
  Reply list_queues(const Call&);
  Reply dead_letter_sources(const Call&);
  Reply get_attributes(const Call&);
  Reply set_attributes(const Call&);
  Reply permissions(const Call&);
  Reply send(const Call&);
  Reply send_batch(const Call&);
  Task<Reply> receive(Call);
  Reply remove(const Call&);
  Reply remove_batch(const Call&);
  Reply change_visibility(const Call&);
  Reply change_visibility_batch(const Call&);
  Reply purge(const Call&);
  Reply tags(const Call&);

  std::expected<Queue*, cloud::Error> find(const Call&);
  std::expected<void, cloud::Error> check_attributes(const Queue& queue, const Json& attributes, bool creating) const;
  std::expected<void, cloud::Error> check_redrive(const Queue& queue, const std::string& policy) const;

  std::expected<Json, cloud::Error> add(Queue& queue, const Json& entry);
  // The deduplication id of an entry for a FIFO queue; errors when it has none.
  std::expected<std::string, cloud::Error> deduplication_of(const Queue& queue, const Json& entry) const;
  void drop_expired(Queue& queue);
  std::vector<std::int64_t> receivable(Queue& queue);
  Json take(Queue& queue, const Json& request);
  // Moves a message that was received too often; false when there is nowhere.
  bool move_to_dead_letters(Queue& queue, std::int64_t number);
  Json receive_one(Queue& queue, std::int64_t number, const Json& request);
  // The message that a receipt handle is of; null when it is gone. Errors when it never was one.
  std::expected<std::int64_t, cloud::Error> number_of(const std::string& handle) const;
  std::expected<void, cloud::Error> erase(Queue& queue, const std::string& handle);
  std::expected<void, cloud::Error> change_visibility(Queue& queue, const Json& entry);
  [[nodiscard]] std::string arn(const Queue& queue) const;
  std::string key(const Queue& queue, std::int64_t number) const;
  void store(const Queue& queue) { save("queues", queue.region + '/' + queue.name, queue.to_row()); }
  void wake(Queue& queue, Instant at);

  std::map<std::pair<std::string, std::string>, Queue> queues_;  // region, name
};

}  // namespace snapward::services::sqs
