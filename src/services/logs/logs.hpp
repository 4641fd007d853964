// CloudWatch Logs: groups, streams and their events, searched by terms. What other services log (executions, functions, rules with a log
// group as their target) is written in the same turn, hence in the same commit, as what it tells of.
// Events stay in the store and are read from there. Source: CloudWatch Logs API Reference.
#pragma once
#include <map>
#include <string>
#include <utility>

#include "services/service.hpp"

namespace snapward::services::logs {

class Logs final : public Service {
 public:
  explicit Logs(Environment& env);
  void restore() override;

  // A line of a service's own; the stream is made when it is not there. False: no such group.
  bool write(const std::string& region, const std::string& group, const std::string& stream, const std::string& message);
  void ensure_group(const std::string& region, const std::string& name);

 private:
  struct Stream {
    std::int64_t created = 0, first = 0, last = 0, ingested = 0;  // epoch milliseconds; 0: none yet
    std::int64_t next = 0;                                        // number of the next event
    [[nodiscard]] Json to_row() const;
  };
  struct Group {
    std::string name, region;
    std::int64_t created = 0, bytes = 0;
    std::int64_t retention_days = 0;  // 0: for ever
    Json tags = Json(Json::Object{});
    std::string kind = "STANDARD";
    std::map<std::string, Stream> streams;
    [[nodiscard]] Json to_row() const;
  };

  Reply create_group(const Call& call);
  Reply delete_group(const Call& call);
  Reply describe_groups(const Call& call);
  Reply create_stream(const Call& call);
  Reply delete_stream(const Call& call);
  Reply describe_streams(const Call& call);
  Reply put_events(const Call& call);
  Reply get_events(const Call& call);
  Reply filter_events(const Call& call);
  Reply set_retention(const Call& call);
  void register_tags();

  std::expected<Group*, cloud::Error> group_of(const Call& call);
  std::expected<std::pair<Group*, Stream*>, cloud::Error> stream_of(const Call& call);
  [[nodiscard]] std::string arn(const Group& g) const;
  [[nodiscard]] std::int64_t now() const { return env_.loop.now().time_since_epoch().count(); }
  void append(Group& g, const std::string& stream_name, Stream& s, std::int64_t timestamp, const std::string& message);
  void store(const Group& g) { save("groups", g.region + '\1' + g.name, g.to_row()); }
  void store(const Group& g, const std::string& name, const Stream& s) {
    save("streams", g.region + '\1' + g.name + '\1' + name, s.to_row());
  }
  // Up to so many; how many it were.
  std::size_t erase_events(Group& g, const store::Range& range);
  void expire();  // by retention, once an hour

  std::map<std::pair<std::string, std::string>, Group> groups_;   // region, name
  std::map<std::pair<std::string, std::string>, Json> policies_;  // region, name
};

}  // namespace snapward::services::logs
