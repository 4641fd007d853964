// LocalCloud: AWS in this process. It owns the services, routes Calls to them and is itself a Cloud; everything runs on the loop.
#pragma once
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "engine/executions.hpp"
#include "services/ec2/ec2.hpp"
#include "services/events/events.hpp"
#include "services/lambda/lambda.hpp"
#include "services/logs/logs.hpp"
#include "services/outbound.hpp"
#include "services/service.hpp"
#include "services/states/states.hpp"

namespace snapward::services {

// Of a cloud that is in several places, the part that lives in this process: some regions of one whose shards are apart, or, in a
// controller, what is not the account's at AWS.
struct Part {
  std::string name;         // of a shard; empty: it is none
  std::int64_t number = 0;  // no two shards have the same
  std::function<bool(std::string_view service, std::string_view region)> here;
  // The way to the rest. Calls to other shards must be durable here before they leave (persist, then perform).
  std::function<std::unique_ptr<cloud::Cloud>(engine::Loop& loop, engine::Ledger& ledger)> elsewhere;
};

struct LocalCloudOptions {
  std::string account = "000000000000";
  std::string base_url = "http://127.0.0.1:4566";
  ec2::Behaviour ec2;
  // Services call each other only as roles and resource policies let them. Not where regions are apart.
  bool enforce_iam = false;
  std::optional<Part> part = {};  // absent: all of the cloud is here
  std::string sealing_key = {};   // of the temporary credentials that STS hands out (wire/sessions.hpp)
  // Executions that may compute for long do so on a thread of their own (engine::Stepper). Not with a VirtualClock.
  bool stepper = false;
};

class LocalCloud final : public cloud::Cloud {
 public:
  LocalCloud(engine::Loop& loop, engine::Ledger& ledger, Outbound& outbound, LocalCloudOptions options);
  ~LocalCloud() override;

  // Reads back everything after a restart; once, before the first call.
  void restore();

  Task<Reply> call(Call call) override;

  // Sees every call and its answer; for reports and the demonstration's bookkeeping.
  using Witness = std::function<void(const Call& call, const Reply& reply)>;
  void set_witness(Witness witness) { witness_ = std::move(witness); }

  // Figures for operators, as Prometheus reads them. On the loop.
  [[nodiscard]] std::string metrics() const;

  [[nodiscard]] const std::string& account() const { return env_.account; }
  ec2::Ec2& ec2() { return *ec2_; }
  lambda::Lambda& lambda() { return *lambda_; }
  // A line that a function wrote; its group is made with it.
  void log_function(const std::string& region, const std::string& group, const std::string& stream, const std::string& line);
  engine::Executions& executions() { return *executions_; }

 private:
  Environment env_;
  Metrics::Labels labels_;
  std::unique_ptr<cloud::Cloud> elsewhere_;  // or null
  Witness witness_;
  std::unique_ptr<engine::Executions> executions_;
  std::map<std::string, std::unique_ptr<Service>, std::less<>> services_;
  ec2::Ec2* ec2_ = nullptr;  // these are among services_
  events::Events* events_ = nullptr;
  lambda::Lambda* lambda_ = nullptr;
  logs::Logs* logs_ = nullptr;
};

}  // namespace snapward::services
