// The article's story on accelerated time: a small fleet, a nightly schedule, everything that goes wrong, and the proof at the end.
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>

#include "cli/commands.hpp"
#include "snapshots/retention.hpp"
#include "world/simulation.hpp"

namespace snapward::cli {

namespace {

struct Options {
  std::uint64_t seed = 2017;
  int days = 14, volumes = 6;
  bool as_json = false, calm = false;
};

constexpr double kGib = 1024.0 * 1024.0 * 1024.0;
constexpr double kUsdPerGibMonth = 0.05;  // standard snapshot storage, us-east-1

class Demo {
 public:
  explicit Demo(const Options& o) : o_(o), simulation_(scenario(o)), settings_(simulation_.scenario().settings) {}

  int run() {
    const auto begun = std::chrono::steady_clock::now();
    if (!simulation_.set_the_scene()) return 1;
    for (int day = 1; day <= o_.days; ++day) {
      if (day == 3) pin_one();
      simulation_.live(std::chrono::hours(24));
      progress(day);
    }
    simulation_.come_to_rest();
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
    return report(seconds);
  }

 private:
  static world::Scenario scenario(const Options& o) {
    world::Scenario s;
    s.seed = o.seed;
    s.days = o.days;
    s.volumes = o.volumes;
    s.settings.tag = "Backup";
    s.settings.retention = 7;
    s.settings.dr_retention = 1;
    if (o.calm) return s;
    s.network.lose_reply = 0.02;
    s.cloud.fail_throttle = 0.10;
    s.cloud.fail_copy = 0.08;
    s.cloud.fail_snapshot = 0.02;
    s.cloud.drop_event = 0.05;
    s.cloud.duplicate_event = 0.10;
    s.cloud.delay_event = 0.10;
    s.cloud.copy_limit = 3;  // few at a time, so that they queue
    return s;
  }

  // An image takes one of the snapshots: it can then not be deleted.
  void pin_one() {
    for (const auto& s : inspect(settings_.primary_region))
      if (simulation_.managed(s.volume_id) && s.completed()) {
        const Json image = simulation_.call(
            "ec2", settings_.primary_region, "RegisterImage",
            Json::object({{"Name", "golden"},
                          {"RootDeviceName", "/dev/xvda"},
                          {"BlockDeviceMappings",
                           Json::array({Json::object({{"DeviceName", "/dev/xvda"}, {"Ebs", Json::object({{"SnapshotId", s.id}})}})})}}));
        pinned_ = s.id;
        image_ = image["ImageId"].string_or();
        return;
      }
  }

  std::vector<cloud::Snapshot> inspect(const std::string& region) { return simulation_.inspect(region); }

  void progress(int day) {
    if (o_.as_json) return;
    const auto& audit = simulation_.audit();
    std::size_t primary = 0, dr = 0;
    for (const auto& s : inspect(settings_.primary_region)) primary += s.completed();
    for (const auto& s : inspect(settings_.dr_region)) dr += s.completed();
    fmt::print("day {:>3}  {}  primary {:>3}  DR {:>3}  copies made {:>4}  deleted {:>4}  notifications {:>3}  executions running {:>3}\n",
               day, iso_seconds(simulation_.now()), primary, dr, audit.copies(), audit.deletions(), audit.notifications(),
               simulation_.world().cloud.executions().running());
    std::fflush(stdout);
  }

  int report(double seconds) {
    const world::Simulation::Outcome outcome = simulation_.outcome();
    const bool held = outcome.held();
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    const auto owned = simulation_.world().cloud.ec2().owned_bytes(settings_.primary_region);
    const auto owned_dr = simulation_.world().cloud.ec2().owned_bytes(settings_.dr_region);
    double bytes = 0, dr_bytes = 0;
    for (const auto& [id, b] : owned) bytes += static_cast<double>(b);
    for (const auto& [id, b] : owned_dr) dr_bytes += static_cast<double>(b);

    if (o_.as_json) {
      Json::Array list;
      for (const auto& v : outcome.verdicts) {
        Json::Array breaches;
        for (const auto& b : v.breaches) breaches.emplace_back(b);
        list.push_back(Json::object({{"invariant", v.invariant},
                                     {"name", v.name},
                                     {"held", v.breaches.empty()},
                                     {"finding", v.finding},
                                     {"breaches", std::move(breaches)}}));
      }
      Json::Object statuses;
      for (const auto& [status, n] : outcome.executions) statuses.set(status, n);
      fmt::print("{}\n", Json::object({{"seed", o_.seed},
                                       {"days", o_.days},
                                       {"seconds", seconds},
                                       {"peakMemoryKiB", usage.ru_maxrss},
                                       {"executions", std::move(statuses)},
                                       {"copies", outcome.copies},
                                       {"deletions", outcome.deletions},
                                       {"notifications", outcome.notifications},
                                       {"invariantsHeld", held},
                                       {"invariants", std::move(list)}})
                             .pretty());
      return held ? 0 : 1;
    }

    fmt::print("\nWhat is kept, and why\n");
    const std::vector<cloud::Snapshot> dr = inspect(settings_.dr_region);
    std::map<std::string, std::string> by_name;
    for (const auto& [volume, name] : simulation_.volumes()) by_name[name] = volume;
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
      if (volume == simulation_.stranger()) {
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
    for (const auto& [status, n] : outcome.executions) statuses += fmt::format("{}{} {}", statuses.empty() ? "" : ", ", n, status);
    fmt::print("Executions: {}. Notifications sent: {}; waiting in the operators' queue: {}.\n", statuses, outcome.notifications,
               queue_length());
    std::map<std::string, std::size_t> by_error;
    for (const std::string& f : outcome.failures) ++by_error[f.substr(0, f.find(' '))];
    for (const auto& [error, n] : by_error) fmt::print("  {:>4} FAILED with {}\n", n, error);
    fmt::print("\nThe invariants\n");
    const bool color = isatty(1) != 0;
    for (const auto& v : outcome.verdicts) {
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
    const Json a = simulation_.call("sqs", settings_.primary_region, "GetQueueAttributes",
                                    Json::object({{"QueueUrl", simulation_.queue_url()}, {"AttributeNames", Json::array({"All"})}}));
    return std::string(a["Attributes"]["ApproximateNumberOfMessages"].string_or("?"));
  }

  Options o_;
  world::Simulation simulation_;
  const snapshots::Settings& settings_;
  std::string pinned_, image_;
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
  c->footer("Exit code 0: all invariants held. Example: snapward demo --days 60 --seed 7");
  c->callback([o, &exit_code] {
    spdlog::set_level(spdlog::level::err);
    exit_code = Demo(*o).run();
  });
}

}  // namespace snapward::cli
