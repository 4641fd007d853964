// EventBridge Scheduler: schedules in groups, each of which calls a target once or again and again. What was due while the process was
// down is made good, once. Calls that fail are tried again with back-off, then go to the schedule's dead-letter queue.
// Targets: Lambda, SQS, SNS, Step Functions, an event bus (EventBridgeParameters), and any operation of a service of this cloud
// ("arn:aws:scheduler:::aws-sdk:sqs:sendMessage"). Source: EventBridge Scheduler API Reference and User Guide.
#pragma once
#include <map>
#include <optional>
#include <string>

#include "events/schedule.hpp"
#include "services/service.hpp"

namespace snapward::services::scheduler {

class Scheduler final : public Service {
 public:
  explicit Scheduler(Environment& env);
  void restore() override;

 private:
  struct Schedule {
    std::string region, group, name;
    Json definition;    // as CreateSchedule was given it
    std::string token;  // the ClientToken of that call
    Instant created, modified, last_due;
    std::optional<snapward::events::Schedule> times;
    std::optional<engine::Loop::TimerId> timer;
  };
  struct Group {
    Instant created;
    Json tags = Json(Json::Array{});
    std::string token;
  };
  struct Invocation {
    std::string id, schedule_arn;
    std::string region;
    Json target;
    Instant scheduled, first;
    std::int64_t attempts = 0;
  };
  using Key = std::tuple<std::string, std::string, std::string>;  // region, group, name

  Reply create(const Call&);
  Reply update(const Call&);
  Reply list(const Call&);
  std::expected<Schedule*, cloud::Error> find(const Call&);
  std::expected<void, cloud::Error> check(const Call&, Schedule& schedule) const;
  [[nodiscard]] std::string arn(const Schedule&) const;
  [[nodiscard]] std::string group_arn(const std::string& region, const std::string& name) const;
  [[nodiscard]] Json describe(const Schedule&) const;
  [[nodiscard]] Json group_json(const std::string& region, const std::string& name) const;
  void store(const Schedule&);
  void store_group(const std::string& region, const std::string& name);
  void remove(const Key& key);
  void arm(Schedule&);
  void fire(const Key& key, Instant due);
  static cloud::Caller caller_of(const Invocation& i);
  void attempt(Invocation);
  void store(const Invocation&);
  void failed(Invocation, const cloud::Error&);
  [[nodiscard]] std::expected<Call, cloud::Error> call_for(const Invocation&) const;

  std::map<Key, Schedule> schedules_;
  std::map<std::pair<std::string, std::string>, Group> groups_;  // region, name; "default" is always there
};

}  // namespace snapward::services::scheduler
