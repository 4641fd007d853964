#include "services/local_cloud.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/utf8.hpp"
#include "services/dynamodb/dynamodb.hpp"
#include "services/iam/iam.hpp"
#include "services/permissions.hpp"
#include "services/rbin/rbin.hpp"
#include "services/regions.hpp"
#include "services/s3/s3.hpp"
#include "services/scheduler/scheduler.hpp"
#include "services/secrets/secrets.hpp"
#include "services/sns/sns.hpp"
#include "services/sqs/sqs.hpp"
#include "services/sts/sts.hpp"
#include "wire/model.hpp"

namespace snapward::services {

LocalCloud::LocalCloud(engine::Loop& loop, engine::Ledger& ledger, Outbound& outbound, LocalCloudOptions options)
    : env_{.loop = loop,
           .ledger = ledger,
           .account = std::move(options.account),
           .base_url = std::move(options.base_url),
           .cloud = this,
           .publish = {},
           .log = {},
           .permitted = {},
           .trusts = {}},
      executions_(std::make_unique<engine::Executions>(loop, ledger, *this)) {
  const auto add = [this](auto service) {
    auto* raw = service.get();
    services_[raw->name()] = std::move(service);
    return raw;
  };
  if (options.part) {
    env_.here = options.part->here;
    if (!options.part->name.empty()) labels_ = {{"shard", options.part->name}};
    elsewhere_ = options.part->elsewhere(loop, ledger);
  }
  if (options.stepper) executions_->use_stepper();
  ec2_ = add(std::make_unique<ec2::Ec2>(env_, options.ec2, options.part ? options.part->number : 0));
  events_ = add(std::make_unique<events::Events>(env_, outbound));
  lambda_ = add(std::make_unique<lambda::Lambda>(env_));
  logs_ = add(std::make_unique<logs::Logs>(env_));
  add(std::make_unique<states::States>(env_, *executions_));
  add(std::make_unique<sns::Sns>(env_, outbound));
  add(std::make_unique<sqs::Sqs>(env_));
  add(std::make_unique<sts::Sts>(env_, wire::Sessions(options.sealing_key)));
  const auto* iam = add(std::make_unique<iam::Iam>(env_));
  add(std::make_unique<s3::S3>(env_));
  add(std::make_unique<dynamodb::DynamoDb>(env_));
  add(std::make_unique<scheduler::Scheduler>(env_));
  add(std::make_unique<secrets::Secrets>(env_));
  const auto* bin = add(std::make_unique<rbin::Rbin>(env_));
  ec2_->recycle_bin = [bin](const std::string& region, const Json& tags) { return bin->keeps(region, tags); };
  env_.publish = [this](const std::string& region, const Json& event) { events_->publish(region, event); };
  env_.log = [this](const auto&... line) { return logs_->write(line...); };
  if (options.enforce_iam) {
    env_.trusts = [iam](const std::string& role, const std::string& service) { return iam->trusts(role, service); };
    env_.permitted = [this, iam](const Call& call) {
      return services::permitted(*iam, call, env_.account, [&](const Need& need) {
        const auto service = services_.find(call.service);
        return service == services_.end() ? Json() : service->second->resource_policy(need.resource);
      });
    };
  }
}

LocalCloud::~LocalCloud() = default;

void LocalCloud::restore() {
  for (const auto& [name, service] : services_) service->restore();
}

void LocalCloud::log_function(const std::string& region, const std::string& group, const std::string& stream, const std::string& line) {
  logs_->ensure_group(region, group);
  logs_->write(region, group, stream, utf8_of(line));
}

std::string LocalCloud::metrics() const {
  Metrics m(labels_);
  const auto& counts = executions_->counts();
  m.gauge("snapward_executions_running", "Executions that have not ended, children of Map Runs among them.",
          static_cast<double>(executions_->running()));
  m.counter("snapward_executions_started_total", "Executions started since the process began.", static_cast<double>(counts.started));
  for (const auto& [status, n] : counts.ended)
    m.counter("snapward_executions_ended_total", "Executions ended since the process began, by status.", static_cast<double>(n),
              {{"status", status}});
  m.counter("snapward_loop_long_turns_total", "Turns of the loop that took 50 ms or more: nothing else was answered meanwhile.",
            static_cast<double>(env_.loop.long_turns()));
  m.counter("snapward_commits_total", "Groups of writes made durable.", static_cast<double>(env_.ledger.commits()));
  m.histogram("snapward_commit_seconds", "What making a group durable took.", env_.ledger.latencies());
  m.gauge("snapward_commit_waiting", "Answers and commands that wait until what they say is durable.",
          static_cast<double>(env_.ledger.waiting()));
  m.gauge("snapward_state_saved", "1 while what is accepted can be saved, 0 while it is held back.", env_.ledger.healthy() ? 1 : 0);
  for (const auto& [name, service] : services_) service->metrics(m);
  return m.text();
}

namespace {

// What an operation requires and was not given, as the services say it whose requests are validated by their model.
std::optional<cloud::Error> missing_member(const Call& call) {
  if (call.service != "states" && call.service != "events" && call.service != "dynamodb") return std::nullopt;
  const wire::Service* model = wire::find_service(call.service);
  const wire::Operation* operation = model ? model->find(call.operation) : nullptr;
  if (!operation || !operation->input) return std::nullopt;
  std::vector<std::string> problems;
  for (const wire::Member& m : operation->input->members) {
    if (!m.required || !call.input[m.name].is_null()) continue;
    std::string shown = m.name;
    shown[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(shown[0])));
    problems.push_back(fmt::format("Value null at '{}' failed to satisfy constraint: Member must not be null", shown));
  }
  if (problems.empty()) return std::nullopt;
  return cloud::error("ValidationException", fmt::format("{} validation error{} detected: {}", problems.size(),
                                                         problems.size() > 1 ? "s" : "", fmt::join(problems, "; ")))
      .error();
}

}  // namespace

Task<Reply> LocalCloud::call(Call call) {
  env_.loop.doing(call.service, call.operation);
  const auto service = services_.find(call.service);
  if (service == services_.end())
    co_return cloud::error("NotImplemented", fmt::format("Snapward's local cloud has no service '{}'.", call.service), 501);
  if (!is_region(call.region))
    co_return cloud::error("UnrecognizedClientException", fmt::format("The region '{}' does not exist.", call.region), 400);
  if (auto missing = missing_member(call); missing) co_return std::unexpected(*std::move(missing));
  if (elsewhere_ && !env_.here(call.service, call.region)) co_return co_await elsewhere_->call(std::move(call));
  if (env_.permitted && !call.caller.service.empty())
    if (auto may = env_.permitted(call); !may) co_return std::unexpected(std::move(may.error()));
  if (!witness_) co_return co_await service->second->handle(std::move(call));
  const Call seen = call;
  Reply reply = co_await service->second->handle(std::move(call));
  witness_(seen, reply);
  co_return reply;
}

}  // namespace snapward::services
