// The article's story on accelerated time: a small fleet, a nightly schedule, everything that goes wrong, and the proof at the end.
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>

#include "cli/commands.hpp"
#include "cli/world.hpp"
#include "snapshots/audit.hpp"
#include "snapshots/retention.hpp"

namespace snapward::cli {

namespace {

struct Options {
  std::uint64_t seed = 2017;
  int days = 14, volumes = 6;
  bool as_json = false, calm = false;
};

class QuietOutbound final : public services::Outbound {
 public:
  Task<std::expected<wire::HttpResponse, std::string>> http(std::string, wire::HttpRequest) override { co_return wire::HttpResponse{}; }
  void mail(const std::string&, const std::string&, const std::string&) override { ++mails; }
  std::size_t mails = 0;
};

constexpr double kGib = 1024.0 * 1024.0 * 1024.0;
constexpr double kLostReplies = 0.02;
constexpr double kUsdPerGibMonth = 0.05;  // standard snapshot storage, us-east-1

class Demo {
 public:
  explicit Demo(const Options& o)
      : o_(o),
        clock_(*parse_iso("2026-01-01T00:00:00Z")),
        entropy_(o.seed),
        store_(store::open_memory()),
        world_(clock_, entropy_, *store_, engine::Ledger::Mode::inline_commits, outbound_, {}) {
    settings_.tag = "Backup";
    settings_.retention = 7;
    settings_.dr_retention = 1;
  }

  int run() {
    const auto begun = std::chrono::steady_clock::now();
    if (!set_the_scene()) return 1;
    for (int day = 1; day <= o_.days; ++day) {
      if (day == 3) pin_one();
      world_.loop.advance_to(clock_, start_ + std::chrono::hours(24 * day));
      progress(day);
    }
    // No more snapshots: let what is under way come to rest, with the reconciler's help.
    for (const std::string& rule : nightly_) call("events", settings_.primary_region, "DisableRule", Json::object({{"Name", rule}}));
    world_.cloud.ec2().behaviour() = {};
    world_.loop.advance_to(clock_, clock_.now() + std::chrono::hours(30));
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
    return report(seconds);
  }

 private:
  // A call that must succeed, on the virtual loop.
  Json call(const std::string& service, const std::string& region, const std::string& operation, const Json& input) {
    std::optional<cloud::Reply> reply;
    for (int i = 0; i < 50; ++i) {  // the scene is set through the same throttled door
      reply.reset();
      world_.loop.spawn(world_.cloud.call({service, region, operation, input}), [&](cloud::Reply r) { reply = std::move(r); });
      world_.loop.settle();
      if (reply && *reply) return **std::move(reply);
      world_.loop.advance_to(clock_, clock_.now() + std::chrono::seconds(1));
    }
    fmt::print(stderr, "demo: {}:{} failed: {}\n", service, operation, reply ? reply->error().message : "no answer");
    return {};
  }

  bool set_the_scene() {
    start_ = clock_.now();
    auto& ec2 = world_.cloud.ec2();
    audit_ = std::make_unique<snapshots::Audit>(
        settings_, [this](const std::string& region) { return inspect(region); },
        [this](const cloud::Snapshot& s) {
          return managed_.contains(s.volume_id) && !s.description.starts_with("Created by CreateImage(");
        });
    bool deployed = false;
    world_.loop.spawn(snapshots::deploy(world_.cloud, world_.cloud.account(), settings_), [&](const auto& d) {
      deployed = d.has_value();
      if (d) deployment_ = *d;
    });
    world_.loop.settle();
    if (!deployed) return false;

    const Json queue = call("sqs", settings_.primary_region, "CreateQueue", Json::object({{"QueueName", "operators"}}));
    queue_url_ = queue["QueueUrl"].string_or();
    for (const auto* place : {&deployment_.primary, &deployment_.dr}) {
      call("sns", place->region, "Subscribe",
           Json::object({{"TopicArn", place->topic_arn},
                         {"Protocol", "sqs"},
                         {"Endpoint", fmt::format("arn:aws:sqs:{}:{}:operators", settings_.primary_region, world_.cloud.account())}}));
    }
    Json::Array targets;
    for (int i = 0; i <= o_.volumes; ++i) {
      const bool stranger = i == o_.volumes;  // one volume that nobody asked us to manage
      Json::Array tags{Json::object({{"Key", "Name"}, {"Value", stranger ? "scratch" : fmt::format("data-{}", i + 1)}})};
      if (!stranger) tags.push_back(Json::object({{"Key", "Backup"}, {"Value", "yes"}}));
      const Json volume =
          call("ec2", settings_.primary_region, "CreateVolume",
               Json::object({{"AvailabilityZone", settings_.primary_region + "a"},
                             {"Size", 20 + 30 * i},
                             {"VolumeType", "gp3"},
                             {"TagSpecifications", Json::array({Json::object({{"ResourceType", "volume"}, {"Tags", std::move(tags)}})})}}));
      const std::string id(volume["VolumeId"].string_or());
      names_[id] = stranger ? "scratch" : fmt::format("data-{}", i + 1);
      if (stranger)
        stranger_ = id;
      else
        managed_.insert(id);
    }
    // Five targets a rule, as at AWS: further volumes get a rule of their own.
    int n = 0;
    for (const auto& [id, name] : names_) {
      if (n % 5 == 0) {
        nightly_.push_back(fmt::format("Nightly-{}", n / 5 + 1));
        call("events", settings_.primary_region, "PutRule",
             Json::object({{"Name", nightly_.back()},
                           {"ScheduleExpression", fmt::format("cron({} 3 * * ? *)", n / 5 % 12 * 5)},
                           {"Description", "The built-in CreateSnapshot target, once a night"}}));
      }
      const std::string& rule = nightly_.back();
      call("events", settings_.primary_region, "PutTargets",
           Json::object({{"Rule", rule},
                         {"Targets", Json::array({Json::object({{"Id", name},
                                                                {"Arn", fmt::format("arn:aws:events:{}:{}:target/create-snapshot",
                                                                                    settings_.primary_region, world_.cloud.account())},
                                                                {"Input", Json(id).dump()}})})}}));
      ++n;
    }
    world_.cloud.set_witness([this](const cloud::Call& c, const cloud::Reply& r) { audit_->witness(c, r); });
    if (!o_.calm) {
      auto& b = ec2.behaviour();
      b.fail_throttle = 0.10;
      b.lose_reply = kLostReplies;
      b.fail_copy = 0.08;
      b.fail_snapshot = 0.02;
      b.drop_event = 0.05;
      b.duplicate_event = 0.10;
      b.delay_event = 0.10;
      b.copy_limit = 3;  // few at a time, so that they queue
    }
    return true;
  }

  // An image takes one of the snapshots: it can then not be deleted.
  void pin_one() {
    for (const auto& s : inspect(settings_.primary_region))
      if (managed_.contains(s.volume_id) && s.completed()) {
        world_.cloud.ec2().behaviour().lose_reply = 0;  // the scene itself is not to stumble
        const Json image = call(
            "ec2", settings_.primary_region, "RegisterImage",
            Json::object({{"Name", "golden"},
                          {"RootDeviceName", "/dev/xvda"},
                          {"BlockDeviceMappings",
                           Json::array({Json::object({{"DeviceName", "/dev/xvda"}, {"Ebs", Json::object({{"SnapshotId", s.id}})}})})}}));
        pinned_ = s.id;
        image_ = image["ImageId"].string_or();
        world_.cloud.ec2().behaviour().lose_reply = o_.calm ? 0 : kLostReplies;
        return;
      }
  }

  std::vector<cloud::Snapshot> inspect(const std::string& region) { return world_.cloud.ec2().inspect(region); }

  void progress(int day) {
    if (o_.as_json) return;
    std::size_t primary = 0, dr = 0;
    for (const auto& s : inspect(settings_.primary_region)) primary += s.completed();
    for (const auto& s : inspect(settings_.dr_region)) dr += s.completed();
    fmt::print("day {:>3}  {}  primary {:>3}  DR {:>3}  copies made {:>4}  deleted {:>4}  notifications {:>3}  executions running {:>3}\n",
               day, iso_seconds(clock_.now()), primary, dr, audit_->copies(), audit_->deletions(), audit_->notifications(),
               world_.cloud.executions().running());
    std::fflush(stdout);
  }

  int report(double seconds) {
    std::vector<std::string> failed;
    std::map<std::string, std::size_t> by_status;
    for (const auto* place : {&deployment_.primary, &deployment_.dr})
      for (const std::string& machine : {place->machine_arn, place->reconcile_arn}) {
        const auto page = world_.cloud.executions().list(machine, "", 1'000'000, "");
        for (const Json& e : page.items) {
          ++by_status[std::string(e["status"].string_or())];
          if (e["status"].string_or() == "FAILED")
            failed.push_back(fmt::format("{} {} {}", e["error"].string_or(), e["cause"].string_or(), e["input"].string_or()));
        }
      }
    world_.cloud.set_witness({});
    const auto verdicts = audit_->verdicts(failed);
    bool held = true;
    for (const auto& v : verdicts) held = held && v.breaches.empty();
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    const auto owned = world_.cloud.ec2().owned_bytes(settings_.primary_region);
    const auto owned_dr = world_.cloud.ec2().owned_bytes(settings_.dr_region);
    double bytes = 0, dr_bytes = 0;
    for (const auto& [id, b] : owned) bytes += static_cast<double>(b);
    for (const auto& [id, b] : owned_dr) dr_bytes += static_cast<double>(b);

    if (o_.as_json) {
      Json::Array list;
      for (const auto& v : verdicts) {
        Json::Array breaches;
        for (const auto& b : v.breaches) breaches.emplace_back(b);
        list.push_back(Json::object({{"invariant", v.invariant},
                                     {"name", v.name},
                                     {"held", v.breaches.empty()},
                                     {"finding", v.finding},
                                     {"breaches", std::move(breaches)}}));
      }
      Json::Object statuses;
      for (const auto& [status, n] : by_status) statuses.set(status, n);
      fmt::print("{}\n", Json::object({{"seed", o_.seed},
                                       {"days", o_.days},
                                       {"seconds", seconds},
                                       {"peakMemoryKiB", usage.ru_maxrss},
                                       {"executions", std::move(statuses)},
                                       {"copies", audit_->copies()},
                                       {"deletions", audit_->deletions()},
                                       {"notifications", audit_->notifications()},
                                       {"invariantsHeld", held},
                                       {"invariants", std::move(list)}})
                             .pretty());
      return held ? 0 : 1;
    }

    fmt::print("\nWhat is kept, and why\n");
    const std::vector<cloud::Snapshot> dr = inspect(settings_.dr_region);
    std::map<std::string, std::string> by_name;
    for (const auto& [volume, name] : names_) by_name[name] = volume;
    for (const auto& [name, volume] : by_name) {
      std::vector<snapshots::Candidate> candidates;
      std::size_t others = 0;
      for (const auto& s : inspect(settings_.primary_region)) {
        if (s.volume_id != volume) continue;
        if (s.tag(snapshots::tags::kName).empty()) {
          ++others;
          continue;
        }
        candidates.push_back(snapshots::candidate_of(s, true));
      }
      if (volume == stranger_) {
        fmt::print("  {:<8} {}  {} snapshots, not ours: its volume does not carry the tag {}\n", name, volume, others, settings_.tag);
        continue;
      }
      fmt::print("  {:<8} {}\n", name, volume);
      for (const auto& d : snapshots::retain(candidates, settings_.retention)) {
        const auto c = std::find_if(candidates.begin(), candidates.end(), [&](const auto& x) { return x.id == d.id; });
        const char* copy = c->copy == snapshots::CopyState::confirmed     ? "copy confirmed"
                           : c->copy == snapshots::CopyState::failed      ? "copy FAILED"
                           : c->copy == snapshots::CopyState::in_progress ? "being copied"
                                                                          : "no copy";
        const std::string why = d.keep ? d.reason : d.id == pinned_ ? "past retention, but in use by " + image_ : d.reason;
        fmt::print("    {}  {}  {:>6.2f} GiB  {:<14}  {}\n", d.id, iso_seconds(c->taken),
                   owned.contains(d.id) ? static_cast<double>(owned.at(d.id)) / kGib : 0.0, copy, why);
      }
      for (const auto& s : dr)
        if (s.tag(snapshots::tags::kVolume) == volume && s.completed())
          fmt::print("    {}  {}  {}  in {}: copy of {}\n", s.id,
                     iso_seconds(parse_iso(s.tag(snapshots::tags::kTaken)).value_or(s.started)), "         ", settings_.dr_region,
                     s.tag(snapshots::tags::kSource));
    }
    fmt::print("\nWhat it costs: primary {:.1f} GiB, DR {:.1f} GiB of changed blocks, about {:.2f} USD a month at {:.2f} USD/GiB\n",
               bytes / kGib, dr_bytes / kGib, (bytes + dr_bytes) / kGib * kUsdPerGibMonth, kUsdPerGibMonth);
    std::string statuses;
    for (const auto& [status, n] : by_status) statuses += fmt::format("{}{} {}", statuses.empty() ? "" : ", ", n, status);
    fmt::print("Executions: {}. Notifications sent: {}; waiting in the operators' queue: {}.\n", statuses, audit_->notifications(),
               queue_length());
    std::map<std::string, std::size_t> by_error;
    for (const std::string& f : failed) ++by_error[f.substr(0, f.find(' '))];
    for (const auto& [error, n] : by_error) fmt::print("  {:>4} FAILED with {}\n", n, error);
    fmt::print("\nThe eight invariants\n");
    const bool color = isatty(1) != 0;
    for (const auto& v : verdicts) {
      const bool ok = v.breaches.empty();
      fmt::print("  {}{}{}  {}. {}: {}\n", color ? (ok ? "\x1b[32m" : "\x1b[31m") : "", ok ? "held  " : "BROKEN", color ? "\x1b[0m" : "",
                 v.invariant, v.name, v.finding);
      for (std::size_t i = 0; i < v.breaches.size() && i < 10; ++i) fmt::print("            {}\n", v.breaches[i]);
    }
    fmt::print("\n{} days in {:.2f} s, {} MiB at most; seed {} replays this run exactly.\n", o_.days, seconds, usage.ru_maxrss / 1024,
               o_.seed);
    return held ? 0 : 1;
  }

  std::string queue_length() {
    const Json a = call("sqs", settings_.primary_region, "GetQueueAttributes",
                        Json::object({{"QueueUrl", queue_url_}, {"AttributeNames", Json::array({"All"})}}));
    return std::string(a["Attributes"]["ApproximateNumberOfMessages"].string_or("?"));
  }

  Options o_;
  VirtualClock clock_;
  SeededEntropy entropy_;
  std::unique_ptr<store::Store> store_;
  QuietOutbound outbound_;
  World world_;
  snapshots::Settings settings_;
  snapshots::Deployment deployment_;
  std::unique_ptr<snapshots::Audit> audit_;
  Instant start_;
  std::map<std::string, std::string> names_;  // volume → name
  std::set<std::string> managed_;
  std::string stranger_, queue_url_, pinned_, image_;
  std::vector<std::string> nightly_;  // rules
};

}  // namespace

void add_demo(CLI::App& app, int& exit_code) {
  auto o = std::make_shared<Options>();
  auto* c =
      app.add_subcommand("demo", "Two weeks of a small fleet on accelerated time, with failures, and the proof that nothing good was lost");
  c->add_option("--days", o->days, "days to live through")->capture_default_str()->check(CLI::Range(1, 3650));
  c->add_option("--volumes", o->volumes, "managed volumes")->capture_default_str()->check(CLI::Range(1, 200));
  c->add_option("--seed", o->seed, "another seed, another run; the same seed, the same run")->capture_default_str();
  c->add_flag("--calm", o->calm, "nothing goes wrong");
  c->add_flag("--json", o->as_json, "the result for programs");
  c->footer("Exit code 0: all eight invariants held. Example: snapward demo --days 60 --seed 7");
  c->callback([o, &exit_code] {
    spdlog::set_level(spdlog::level::err);
    exit_code = Demo(*o).run();
  });
}

}  // namespace snapward::cli
