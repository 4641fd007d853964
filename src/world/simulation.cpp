#include "world/simulation.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace snapward::world {

namespace {
constexpr const char* kStart = "2026-01-01T00:00:00Z";
constexpr Duration kLongestAway = std::chrono::minutes(5);  // of a process that died
constexpr Duration kRest = std::chrono::hours(30);          // enough for the last copies, and for the reconciler to look again
constexpr std::size_t kAll = 100'000'000;

void mix(std::uint64_t& digest, std::string_view bytes) {  // FNV-1a
  for (const char c : bytes) digest = (digest ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
}
}  // namespace

// ── Scenarios ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────

Scenario Scenario::drawn(std::uint64_t seed) {
  SeededEntropy draw(seed * 2 + 1);
  const auto up_to = [&](double most) { return draw.chance(0.4) ? 0.0 : draw.unit() * most; };
  const auto between = [&](int low, int high) { return low + static_cast<int>(draw.below(static_cast<std::uint64_t>(high - low + 1))); };
  Scenario s;
  s.seed = seed;
  s.days = between(3, 12);
  s.volumes = between(1, 8);
  s.snapshots_by_hand = between(0, 12);
  s.pins = between(0, 6);
  s.settings.tag = "Backup";
  s.settings.retention = between(1, 8);
  s.settings.dr_retention = between(1, 3);
  if (draw.chance(0.05)) s.settings.dr_region = "";
  s.reconcile = !draw.chance(0.35);
  s.cloud.fail_throttle = up_to(0.15);
  s.cloud.fail_snapshot = up_to(0.05);
  s.cloud.fail_copy = up_to(0.15);
  s.cloud.duplicate_event = up_to(0.3);
  s.cloud.delay_event = up_to(0.3);
  s.cloud.copy_limit = between(1, 6);
  s.cloud.throttling = draw.chance(0.8);
  s.network.max_latency = Duration(between(0, 4) * 100);
  s.network.throttle = up_to(0.1);
  s.network.lose_reply = up_to(0.08);
  s.network.stale = up_to(0.6);
  s.sleep_after = std::chrono::seconds(between(0, 3) * 20);
  s.crash = draw.chance(0.3) ? 0 : draw.unit() * 0.003;
  if (!s.reconcile) return s;
  // What only the reconciler makes good: lost events, and troubles that outlast every retry.
  s.cloud.drop_event = up_to(0.2);
  s.network.fail = up_to(0.1);
  for (int i = between(0, 2); i > 0; --i) {
    const Instant from = *parse_iso(kStart) + std::chrono::minutes(between(60, s.days * 24 * 60));
    s.network.outages.push_back(
        {draw.chance(0.5) ? s.settings.primary_region : s.settings.dr_region, from, from + std::chrono::minutes(between(5, 240))});
  }
  return s;
}

// ── The process and its end ────────────────────────────────────────────────────────────────────────────────────────────────────

Result<void> MortalStore::commit(const std::vector<store::Write>& writes) {
  if (dead_ || doom_ == Doom::before_commit) {
    dead_ = true;
    return fail(ErrorCode::unavailable, "the process has died");
  }
  auto outcome = inner_->commit(writes);
  dead_ = doom_ == Doom::after_commit;
  return outcome;
}

// What leaves the process. A mail must be called for by a delivery that is saved (invariant 9).
class Simulation::Outbox final : public services::Outbound {
 public:
  explicit Outbox(Simulation& simulation) : simulation_(simulation) {}
  Task<std::expected<wire::HttpResponse, std::string>> http(std::string, wire::HttpRequest) override { co_return wire::HttpResponse{}; }
  void mail(const std::string& to, const std::string& subject, const std::string& body) override {
    ++simulation_.mails_;
    last_ = body;
    const auto saved = simulation_.store_.scan("sns.deliveries", {});
    for (const auto& row : saved ? *saved : std::vector<store::Row>{})
      if (const auto delivery = Json::parse(row.value); delivery && body.starts_with((*delivery)["message"].string_or("\n"))) return;
    simulation_.breach(9, fmt::format("the mail '{}' to {} left before it was saved", subject, to));
  }
  [[nodiscard]] const std::string& last() const { return last_; }

 private:
  Simulation& simulation_;
  std::string last_;
};

Simulation::Simulation(Scenario scenario)
    : scenario_(std::move(scenario)),
      clock_(*parse_iso(kStart)),
      entropy_(scenario_.seed),
      chance_(scenario_.seed + 0x5eed),
      store_(store::open_memory()),
      outbox_(std::make_unique<Outbox>(*this)) {
  begin();
}
Simulation::~Simulation() = default;

void Simulation::begin() {
  const auto road = [this](engine::Loop& loop, cloud::Cloud& cloud) {
    const auto peek = [this](const std::string& region, const std::string& id) { return world_->cloud.ec2().inspect(region, id); };
    return std::make_unique<Network>(loop, cloud, faults_, chance_, peek);
  };
  world_ = std::make_unique<World>(
      clock_, entropy_, store_, engine::Ledger::Mode::inline_commits, *outbox_,
      services::LocalCloudOptions{.account = "000000000000", .base_url = "http://127.0.0.1:4566", .ec2 = behaviour_}, road);
  world_->cloud.executions().set_sleep_after(scenario_.sleep_after);
  if (audit_) world_->cloud.set_witness([this](const cloud::Call& c, const cloud::Reply& r) { witness(c, r); });
}

void Simulation::restart() {
  ++crashes_;
  if (trace_) trace_(fmt::format("{} the process dies{}", iso_millis(clock_.now()), doomed_ ? " before its commit" : ""));
  world_.reset();
  store_.revive();
  const Duration away = faults_.settles + Duration(static_cast<std::int64_t>(chance_.below(kLongestAway.count())));
  clock_.set(clock_.now() + away);
  begin();
}

void Simulation::live_until(Instant until) {
  for (;;) {
    const bool last = scenario_.crash > 0 && chance_.chance(scenario_.crash);
    doomed_ = last && chance_.chance(0.5);
    if (last) store_.doom(doomed_ ? MortalStore::Doom::before_commit : MortalStore::Doom::after_commit);
    const bool more = world_->loop.step(clock_, until);
    if (store_.dead()) {
      restart();
    } else if (!more) {
      break;
    }
    store_.doom(MortalStore::Doom::none);
  }
  store_.doom(MortalStore::Doom::none);
  doomed_ = false;
}

// ── The scene ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────

Json Simulation::call(const std::string& service, const std::string& region, const std::string& operation, const Json& input) {
  std::optional<cloud::Reply> reply;
  for (int i = 0; i < 50; ++i) {  // through the same throttled door as everybody
    reply.reset();
    world_->loop.spawn(world_->cloud.call({service, region, operation, input}), [&](cloud::Reply r) { reply = std::move(r); });
    world_->loop.settle();
    if (reply && *reply) return **std::move(reply);
    world_->loop.advance_to(clock_, clock_.now() + std::chrono::seconds(1));
  }
  fmt::print(stderr, "{}:{} failed: {}\n", service, operation, reply ? reply->error().message : "no answer");
  return {};
}

bool Simulation::set_the_scene() {
  const auto& settings = scenario_.settings;
  audit_ = std::make_unique<snapshots::Audit>(
      settings, [this](const std::string& region) { return inspect(region); },
      [this](const cloud::Snapshot& s) { return managed(s.volume_id) && !s.description.starts_with("Created by CreateImage("); });
  bool deployed = false;
  world_->loop.spawn(snapshots::deploy(world_->cloud, world_->cloud.account(), settings), [&](const auto& d) {
    deployed = d.has_value();
    if (d) deployment_ = *d;
  });
  world_->loop.settle();
  if (!deployed) return false;

  queue_url_ = call("sqs", settings.primary_region, "CreateQueue", Json::object({{"QueueName", "operators"}}))["QueueUrl"].string_or();
  const std::string queue = fmt::format("arn:aws:sqs:{}:{}:operators", settings.primary_region, world_->cloud.account());
  for (const auto* place : places()) {
    const auto subscribe = [&](const char* protocol, const std::string& endpoint) {
      call("sns", place->region, "Subscribe",
           Json::object({{"TopicArn", place->topic_arn}, {"Protocol", protocol}, {"Endpoint", endpoint}}));
    };
    subscribe("sqs", queue);
    subscribe("email", "operators@example.com");
    const std::string& asked = outbox_->last();
    const std::size_t token = asked.find("Token=");
    if (token == std::string::npos) return false;
    call("sns", place->region, "ConfirmSubscription",
         Json::object({{"TopicArn", place->topic_arn}, {"Token", asked.substr(token + 6, 64)}}));
  }
  for (int i = 0; i <= scenario_.volumes; ++i) add_volume(i);
  // Five targets a rule, as at AWS: further volumes get a rule of their own.
  int n = 0;
  for (const auto& [id, name] : names_) {
    if (n % 5 == 0) {
      nightly_.push_back(fmt::format("Nightly-{}", n / 5 + 1));
      call("events", settings.primary_region, "PutRule",
           Json::object({{"Name", nightly_.back()},
                         {"ScheduleExpression", fmt::format("cron({} 3 * * ? *)", n / 5 % 12 * 5)},
                         {"Description", "The built-in CreateSnapshot target, once a night"}}));
    }
    const std::string target = fmt::format("arn:aws:events:{}:{}:target/create-snapshot", settings.primary_region, world_->cloud.account());
    call("events", settings.primary_region, "PutTargets",
         Json::object({{"Rule", nightly_.back()},
                       {"Targets", Json::array({Json::object({{"Id", name}, {"Arn", target}, {"Input", Json(id).dump()}})})}}));
    ++n;
  }
  if (!scenario_.reconcile)
    for (const auto* place : places()) set_rule(place->region, snapshots::kReconcileRule, false);
  world_->cloud.set_witness([this](const cloud::Call& c, const cloud::Reply& r) { witness(c, r); });
  behaviour_ = world_->cloud.ec2().behaviour() = scenario_.cloud;
  faults_ = scenario_.network;
  return !nightly_.empty();
}

// Number 0 to volumes-1 are managed; the last one is the stranger.
void Simulation::add_volume(int number) {
  const bool stranger = number == scenario_.volumes;
  const std::string name = stranger ? "scratch" : fmt::format("data-{}", number + 1);
  Json::Array tags{Json::object({{"Key", "Name"}, {"Value", name}})};
  if (!stranger) tags.push_back(Json::object({{"Key", scenario_.settings.tag}, {"Value", "yes"}}));
  const Json volume =
      call("ec2", scenario_.settings.primary_region, "CreateVolume",
           Json::object({{"AvailabilityZone", scenario_.settings.primary_region + "a"},
                         {"Size", 20 + 30 * number},
                         {"VolumeType", "gp3"},
                         {"TagSpecifications", Json::array({Json::object({{"ResourceType", "volume"}, {"Tags", std::move(tags)}})})}}));
  const std::string id(volume["VolumeId"].string_or());
  names_[id] = name;
  if (stranger) stranger_ = id;
}

void Simulation::set_rule(const std::string& region, const std::string& name, bool enabled) {
  call("events", region, enabled ? "EnableRule" : "DisableRule", Json::object({{"Name", name}}));
}

// ── Its life ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────

void Simulation::live(Duration span) { live_until(clock_.now() + span); }

void Simulation::live_all_days() {
  const Instant begin = clock_.now(), end = begin + std::chrono::hours(24 * scenario_.days);
  std::vector<std::pair<Instant, bool>> acts;  // true: a pin
  const auto some_time = [&] {
    return begin + Duration(static_cast<std::int64_t>(chance_.below(static_cast<std::uint64_t>((end - begin).count()))));
  };
  for (int i = 0; i < scenario_.snapshots_by_hand * scenario_.days; ++i) acts.emplace_back(some_time(), false);
  for (int i = 0; i < scenario_.pins; ++i) acts.emplace_back(some_time(), true);
  std::sort(acts.begin(), acts.end());
  for (const auto& [at, pin] : acts) {
    live_until(at);
    if (pin)
      pin_one();
    else
      snapshot_one();
  }
  live_until(end);
}

// What people do. Refused or not, that is that.
void Simulation::by_hand(const std::string& operation, Json input) {
  world_->loop.spawn(world_->cloud.call({"ec2", scenario_.settings.primary_region, operation, std::move(input)}),
                     [](const cloud::Reply&) {});
}
void Simulation::snapshot_one() {
  const auto volume = std::next(names_.begin(), static_cast<std::ptrdiff_t>(chance_.below(names_.size())));
  by_hand("CreateSnapshot", Json::object({{"VolumeId", volume->first}, {"Description", "by hand"}}));
}
// An image takes a snapshot, or somebody locks it: it can then not be deleted.
void Simulation::pin_one() {
  std::vector<std::string> candidates;
  for (const auto& s : inspect(scenario_.settings.primary_region))
    if (managed(s.volume_id) && s.completed()) candidates.push_back(s.id);
  if (candidates.empty()) return;
  const std::string id = candidates[chance_.below(candidates.size())];
  if (chance_.chance(0.5))
    return by_hand("LockSnapshot", Json::object({{"SnapshotId", id}, {"LockMode", "governance"}, {"LockDuration", 60}}));
  const Json device = Json::object({{"DeviceName", "/dev/xvda"}, {"Ebs", Json::object({{"SnapshotId", id}})}});
  by_hand("RegisterImage",
          Json::object({{"Name", "image-of-" + id}, {"RootDeviceName", "/dev/xvda"}, {"BlockDeviceMappings", Json::array({device})}}));
}

void Simulation::come_to_rest() {
  for (const std::string& rule : nightly_) set_rule(scenario_.settings.primary_region, rule, false);
  behaviour_ = world_->cloud.ec2().behaviour() = {};
  faults_ = {};
  scenario_.crash = 0;
  live(kRest);
}

void Simulation::witness(const cloud::Call& call, const cloud::Reply& reply) {
  if (trace_)
    trace_(fmt::format("{} {}{} {}:{} {} → {}", iso_millis(clock_.now()), doomed_ ? "(undone) " : "", call.region, call.service,
                       call.operation, call.input.dump(), reply ? reply->dump() : reply.error().code));
  if (doomed_) return;  // undone with the process
  const bool reads = call.operation.starts_with("Describe");
  mix(digest_, fmt::format("{} {} {} {} {}", clock_.now().time_since_epoch().count(), call.region, call.operation,
                           reply ? "" : reply.error().code, reads ? "" : call.input.dump()));
  if (call.operation == "StartExecution" && reply) acknowledged_.emplace((*reply)["executionArn"].string_or());
  audit_->witness(call, reply);
}

// ── The verdict ────────────────────────────────────────────────────────────────────────────────────────────────────────────────

void Simulation::breach(int invariant, std::string what) { broken_[invariant - 9].push_back(std::move(what)); }

void Simulation::check_history(const Json& execution) {
  const std::string arn(execution["executionArn"].string_or());
  const auto history = world_->cloud.executions().history(arn, false, kAll, "").items;
  ++histories_;
  std::int64_t expected = 0;
  for (const Json& event : history)
    if (event["id"].integer_or(0) != ++expected)
      return breach(10, fmt::format("the history of {} has event {} where {} should stand", arn, event["id"].integer_or(0), expected));
  if (history.empty() || history.front()["type"].string_or() != "ExecutionStarted")
    return breach(10, fmt::format("the history of {} does not begin with ExecutionStarted", arn));
  const std::string_view status = execution["status"].string_or(), last = history.back()["type"].string_or();
  const bool over = (status == "SUCCEEDED" && last == "ExecutionSucceeded") || (status == "FAILED" && last == "ExecutionFailed") ||
                    (status == "TIMED_OUT" && last == "ExecutionTimedOut");
  if (!over) breach(10, fmt::format("{} is {}, and the last event of its history is {}", arn, status, last));
}

std::vector<const snapshots::DeployedRegion*> Simulation::places() const {
  if (scenario_.settings.dr_region.empty()) return {&deployment_.primary};
  return {&deployment_.primary, &deployment_.dr};
}

Simulation::Outcome Simulation::outcome() {
  Outcome out;
  auto& executions = world_->cloud.executions();
  std::set<std::string> listed;
  for (const auto* place : places())
    for (const std::string& machine : {place->machine_arn, place->reconcile_arn})
      for (const Json& e : executions.list(machine, "", kAll, "").items) {
        const std::string status(e["status"].string_or());
        ++out.executions[status];
        out.workflows += machine == place->machine_arn ? 1 : 0;
        if (status == "FAILED")
          out.failures.push_back(fmt::format("{} {} {}", e["error"].string_or(), e["cause"].string_or(), e["input"].string_or()));
        if (!listed.emplace(e["executionArn"].string_or()).second)
          breach(10, fmt::format("{} is listed twice", e["executionArn"].string_or()));
        check_history(e);
      }
  for (const std::string& arn : acknowledged_)
    if (!listed.contains(arn)) breach(10, fmt::format("{} was acknowledged, and is gone", arn));
  world_->cloud.set_witness({});
  out.verdicts = audit_->verdicts(out.failures);
  out.verdicts.push_back({9, "saved first, then done", fmt::format("{} mails, each called for by what was saved", mails_), broken_[0]});
  out.verdicts.push_back(
      {10, "executions are whole",
       fmt::format("{} histories without a gap or a double, {} process deaths, nothing acknowledged lost or left running", histories_,
                   crashes_),
       broken_[1]});
  out.copies = audit_->copies();
  out.deletions = audit_->deletions();
  out.notifications = audit_->notifications();
  out.crashes = crashes_;
  out.digest = digest_;
  return out;
}

bool Simulation::Outcome::held() const {
  return std::all_of(verdicts.begin(), verdicts.end(), [](const auto& v) { return v.breaches.empty(); });
}

}  // namespace snapward::world
