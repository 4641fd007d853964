// Service: one AWS service of the local cloud, JSON in, JSON out. Each lives in a folder of its own and registers what it answers;
// everything it does not answer is refused with a clear error, never with a wrong success.
//
// All of it runs on the loop. State is kept in memory and written through to the ledger, row by row, in the same turn.
#pragma once
#include <functional>
#include <map>
#include <string>

#include "base/arn.hpp"
#include "cloud/cloud.hpp"
#include "engine/ledger.hpp"
#include "engine/loop.hpp"

namespace snapward::services {

using cloud::Call;
using cloud::Reply;

// Figures for operators, written in Prometheus's text format.
class Metrics {
 public:
  using Labels = std::vector<std::pair<std::string, std::string>>;
  explicit Metrics(Labels everywhere = {}) : everywhere_(std::move(everywhere)) {}  // on every value

  // labels: {{"region", "us-west-2"}}. The help of a name is written once, with its first value.
  void gauge(const std::string& name, const std::string& help, double value, const Labels& labels = {}) {
    add(name, help, "gauge", value, labels);
  }
  void counter(const std::string& name, const std::string& help, double value, const Labels& labels = {}) {
    add(name, help, "counter", value, labels);
  }
  void histogram(const std::string& name, const std::string& help, const engine::Ledger::Latencies& values);
  [[nodiscard]] std::string text() const;

 private:
  struct Family {
    std::string help, type, lines;
  };
  void add(const std::string& name, const std::string& help, const char* type, double value, const Labels& labels);
  [[nodiscard]] std::string shown(const Labels& labels) const;  // {region="us-west-2"}
  Labels everywhere_;
  std::map<std::string, Family> families_;
};

// What every service is given.
struct Environment {
  engine::Loop& loop;
  engine::Ledger& ledger;
  std::string account;
  std::string base_url;           // "http://127.0.0.1:4566": what queue URLs begin with
  cloud::Cloud* cloud = nullptr;  // the local cloud itself, for services that call others
  // Puts an AWS service's own event on its region's default bus.
  std::function<void(const std::string& region, Json event)> publish;
  // Writes a line of an AWS service's own into a log group; false when there is no such group.
  std::function<bool(const std::string& region, const std::string& group, const std::string& stream, const std::string& line)> log;
  // Whether a service's region lives in this process; where the regions of one cloud are apart, calls to others leave it.
  std::function<bool(std::string_view service, std::string_view region)> here = [](auto, auto) { return true; };
  // With --enforce-iam: whether the caller of this call may make it, and whether a service may take a role. Unset: everybody may.
  std::function<std::expected<void, cloud::Error>(const Call& call)> permitted = {};
  std::function<bool(const std::string& role_arn, const std::string& service)> trusts = {};
};

class Service {
 public:
  Service(std::string name, Environment& env) : env_(env), name_(std::move(name)) {}
  virtual ~Service() = default;
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  [[nodiscard]] const std::string& name() const { return name_; }
  virtual Task<Reply> handle(Call call);
  virtual void restore() {}                // reads its rows after a restart
  virtual void metrics(Metrics&) const {}  // what it has to tell operators
  // The policy of one of its resources; null when that has none.
  [[nodiscard]] virtual Json resource_policy(const std::string& /*arn*/) const { return {}; }

 protected:
  using Sync = std::function<Reply(const Call&)>;
  using Async = std::function<Task<Reply>(Call)>;
  void on(std::string operation, Sync handler) { sync_[std::move(operation)] = std::move(handler); }
  void on_async(std::string operation, Async handler) { async_[std::move(operation)] = std::move(handler); }

  // Rows of this service: table "ec2.snapshots" is save("snapshots", …).
  void save(const std::string& table, const std::string& key, const Json& value);  // its texts may be bytes
  void drop(const std::string& table, const std::string& key) { env_.ledger.erase(name_ + '.' + table, key); }
  // Ends the process if one of them cannot be read (engine/unreadable.hpp).
  void each_row(const std::string& table, const std::function<void(const std::string& key, const Json& value)>& use);

  Environment& env_;

 private:
  std::string name_;
  std::map<std::string, Sync, std::less<>> sync_;
  std::map<std::string, Async, std::less<>> async_;
};

// A token that hides where the next page begins, and back; nothing when it is not one of ours.
std::string page_token(const std::string& position);
std::optional<std::string> page_position(std::string_view token);

// The log group an ARN names, with or without ":*" at its end; empty when it names none.
std::string log_group_name(const Arn& arn);

// Tags as Lambda and CloudWatch Logs keep them: {key: value}, with keys added or replaced, or removed.
Json merge_tag_map(const Json& tags, const Json& added);
Json remove_tag_keys(const Json& tags, const Json& keys);

// Tags as most services keep them: [{Key, Value}] with keys replaced, or removed.
Json merge_tags(const Json& tags, const Json& added, const char* key = "Key", const char* value = "Value");
Json remove_tags(const Json& tags, const Json& keys, const char* key = "Key");

}  // namespace snapward::services
