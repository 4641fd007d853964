// EventBridge: buses, rules, schedules, targets. An accepted event is matched, and every matched target is delivered to in the same
// turn, hence in the same commit: an execution started by a rule is there exactly if its event was accepted. The execution's name is
// made of the event's id, so the same event twice starts one execution.
// What fails is kept (table events.deliveries) and tried again with back-off until the target's retry policy ends it, then goes to its
// dead-letter queue. Sources: EventBridge API Reference; User Guide, "Event retry policy and using dead-letter queues".
#pragma once
#include <map>
#include <optional>
#include <set>
#include <string>

#include "base/arn.hpp"
#include "events/matcher.hpp"
#include "events/pattern.hpp"
#include "events/schedule.hpp"
#include "services/outbound.hpp"
#include "services/service.hpp"

namespace snapward::services::events {

// No operation of AWS's: how a bus is given an event of another region's, as it is, id and source and all.
inline constexpr const char* kReceiveEvent = "snapward:ReceiveEvent";

// "orders" for a bus that is given by name or by ARN; "default" when none is.
std::string bus_name(std::string_view given);
// An id in the form of a UUID that is always the same for the same text.
std::string digest_uuid(std::string_view text);

class Events final : public Service {
 public:
  Events(Environment& env, Outbound& outbound);
  Task<Reply> handle(Call call) override;
  void restore() override;
  void metrics(Metrics& m) const override;

  [[nodiscard]] Json resource_policy(const std::string& arn) const override;

  // An event that a service of this cloud makes, onto its region's default bus.
  void publish(const std::string& region, const Json& event);

 private:
  using Key = std::pair<std::string, std::string>;  // region, name
  struct Rule {
    std::string name, region, bus, pattern_text, schedule_text, state = "ENABLED", description, role_arn, managed_by;
    std::optional<snapward::events::Pattern> pattern;
    std::optional<snapward::events::Schedule> schedule;
    Instant created, last_fired;
    std::optional<engine::Loop::TimerId> timer;
    std::vector<Json> targets;
    Json tags = Json(Json::Array{});
    std::optional<snapward::events::Matcher::RuleId> number;  // in its bus's matcher
    [[nodiscard]] Json to_row() const;
  };
  struct Bus {
    std::string name, region;
    Instant created, modified;
    Json settings = Json(Json::Object{});  // Description and others, as they were given
    Json policy = {};                      // null: none
    Json tags = Json(Json::Array{});
    std::map<std::string, Rule, std::less<>> rules;
    // The patterns of the enabled rules as one. Rules are known to it by number; a number is given again when its rule is gone.
    snapward::events::Matcher matcher = {};
    std::vector<Rule*> numbered = {};
    std::vector<snapward::events::Matcher::RuleId> free_numbers = {};
  };
  struct Archive {
    std::string name, region, bus, description, pattern_text, state = "ENABLED";
    std::optional<snapward::events::Pattern> pattern;
    std::int64_t retention_days = 0, count = 0, bytes = 0;  // 0 days: for ever
    Instant created;
    [[nodiscard]] Json to_row() const;
  };
  struct Replay {
    std::string name, region, archive, bus, description, state = "STARTING", reason;
    Json filter;  // rule ARNs; empty: all rules of the bus
    Instant from, to, started, ended, last;
    [[nodiscard]] Json to_row() const;
  };
  struct Delivery {
    std::string id, region, rule_arn, rule_name;
    Json target;
    Json event;
    Instant first;
    std::int64_t attempts = 0;
    [[nodiscard]] Json to_row() const;
  };

  void register_buses();
  void restore_buses();
  Reply create_event_bus(const Call&);
  Reply update_event_bus(const Call&);
  Reply delete_event_bus(const Call&);
  Reply describe_event_bus(const Call&);
  Reply list_event_buses(const Call&);
  Reply put_rule(const Call&);
  Reply delete_rule(const Call&);
  Reply describe_rule(const Call&);
  Reply list_rules(const Call&);
  Reply set_rule_state(const Call&, const char* state);
  Reply put_targets(const Call&);
  Reply remove_targets(const Call&);
  Reply list_targets(const Call&);
  Reply rule_names_by_target(const Call&);
  Reply put_events(const Call&);
  static Reply test_pattern(const Call&);

  // The tags of a bus or a rule, and how to keep them.
  struct Tagged {
    Json* tags;
    std::function<void()> save;
  };
  std::expected<Tagged, cloud::Error> tagged_by(const Call&);
  Reply with_tags(const Call&, const std::function<Json(const Json&)>& change);

  // Connections and API destinations: rows as the API shows them, with the secrets it does not.
  void register_destinations();
  void restore_destinations();
  Task<Reply> put_connection(Call, bool fresh);
  Task<Reply> delete_connection(Call);
  Task<Reply> keep_secret(std::string region, Json connection);
  void authorize_later(const Key& key);
  Task<std::expected<std::string, cloud::Error>> token_for(Json oauth);
  Reply put_destination(const Call&, bool fresh);
  [[nodiscard]] Json destination_json(const Json& destination) const;
  const Json* connection_by_arn(const std::string& arn) const;
  const Json* destination_by_arn(const std::string& arn) const;
  Instant place_of(const std::string& destination, std::int64_t limit);
  // Sends with what the connection adds. {"StatusCode", "StatusText", "Headers", "ResponseBody"}, whatever the status.
  Task<Reply> send_http(Json connection, std::string method, std::string url, Json headers, Json query, Json body, std::string encoding);
  Task<Reply> invoke_destination(Call);
  Task<Reply> invoke_http(Call);

  // An archive is filled by a rule that AWS manages: shown, and not to be changed.
  [[nodiscard]] Rule managed_rule(const Archive&) const;
  [[nodiscard]] std::optional<Rule> managed_rule(const Bus& bus, const std::string& name) const;
  [[nodiscard]] std::vector<Rule> managed_rules(const Bus& bus) const;
  void register_archives();
  void restore_archives();
  Reply create_archive(const Call&);
  Reply update_archive(const Call&);
  Reply start_replay(const Call&);
  Reply cancel_replay(const Call&);
  void begin_replay(const Key& key);
  void end_cancelled(const Key& key);
  void archive(Bus& bus, const Json& event);
  void continue_replay(const Key& key, const std::string& from);
  void expire(const Key& key);
  [[nodiscard]] Json describe_archive(const Archive&) const;
  [[nodiscard]] Json describe_replay(const Replay&) const;
  void store(const Archive&);
  void store(const Replay&);
  Reply put_permission(const Call&);
  Reply remove_permission(const Call&);
  Reply set_policy(Bus& bus, Json policy);
  void store(const Bus&);

  Bus& default_bus(const std::string& region);
  std::expected<Bus*, cloud::Error> bus_in(const std::string& region, const std::string& name);
  std::expected<Bus*, cloud::Error> find_bus(const Call&, std::string_view name);  // or its ARN
  std::expected<Rule*, cloud::Error> find_rule(const Call&);                       // to be changed: not a managed one
  std::expected<Rule, cloud::Error> find_shown_rule(const Call&);
  // The rules of a bus and those in `managed` whose names are not before `from`, by name.
  static std::vector<const Rule*> rules_of(const Bus& bus, const std::string& from, const std::vector<Rule>& managed);
  [[nodiscard]] Json bus_json(const Bus& bus) const;
  [[nodiscard]] std::string bus_arn(const Bus& bus) const;
  [[nodiscard]] std::string rule_arn(const Rule& rule) const;
  [[nodiscard]] Json rule_json(const Rule& rule) const;
  void store(const Rule& rule);
  // filter: only to the rules with these ARNs; null: to all.
  void dispatch(Bus& bus, const Json& event, const Json* filter = nullptr);
  static void index(Bus& bus, Rule& rule);  // after its pattern or state changed
  static void forget(Bus& bus, Rule& rule);
  void arm(Rule& rule);
  void fire(const std::string& region, const std::string& bus, const std::string& rule);
  void deliver(const Rule& rule, const Json& event);
  static cloud::Caller caller_of(const Delivery& d);
  [[nodiscard]] std::expected<void, cloud::Error> may_reach(const Delivery& d, const Arn& target) const;
  void attempt(Delivery delivery);
  bool log(const Delivery& delivery, const Arn& group, std::string line);
  void failed(Delivery delivery, const cloud::Error& error);
  void bury(const Delivery& delivery, const cloud::Error& error, const char* exhausted);
  [[nodiscard]] std::expected<Call, cloud::Error> call_for(const Delivery& delivery, const std::string& input) const;

  std::map<Key, Bus> buses_;  // region, name
  Outbound& outbound_;
  std::map<Key, Json> connections_, destinations_;  // region, name
  struct Pace {                                     // of calls to a destination
    Instant second;
    std::int64_t calls = 0;
  };
  std::map<std::string, Pace> paces_;  // by the destination's ARN
  std::map<Key, Archive> archives_;    // region, name
  std::map<Key, Replay> replays_;
  snapward::events::Matcher::Scratch scratch_;
  struct {
    std::uint64_t events = 0, matches = 0, delivered = 0, retried = 0, buried = 0;
  } counts_;  // since the process began
};

}  // namespace snapward::services::events
