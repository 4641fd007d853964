// Simulation: a fleet of volumes, its snapshot workflows and everything that can go wrong, lived through on virtual time on one thread.
// One seed is one run, to the byte: a failure found once is found again.
//
// What goes wrong: the cloud's own troubles (services::ec2::Behaviour: throttles, failing snapshots and copies, events lost, doubled,
// late), the road's (NetworkFaults), and the process's: it dies at a commit, before or after the commit is durable, is away for a while,
// and a new one goes on from what was saved.
//
// What must hold is checked by snapshots::Audit at every call (invariants 1 to 8), and here:
//   9  saved first   nothing leaves the process that its saved state does not call for
//   10 whole         no history has a gap or a double, no acknowledged execution is lost, and at rest none is left running
#pragma once
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "snapshots/audit.hpp"
#include "world/network.hpp"
#include "world/world.hpp"

namespace snapward::world {

// Everything that a run depends on.
struct Scenario {
  std::uint64_t seed = 2017;
  int days = 14, volumes = 6;  // managed ones; one more stands by that nobody asked for
  int snapshots_by_hand = 0;   // a day, at any time, of any volume
  int pins = 0;                // snapshots that come to be used by an image or locked
  snapshots::Settings settings;
  services::ec2::Behaviour cloud;
  NetworkFaults network;
  Duration sleep_after = std::chrono::minutes(5);  // executions that wait longer leave the memory
  double crash = 0;                                // of each turn of the loop, that its commit is the process's last
  bool reconcile = true;                           // false: only events bring work, so no accepted one may be lost

  // Drawn from a seed: calm ones, wild ones, and everything between.
  static Scenario drawn(std::uint64_t seed);
};

// A store that can be told to die.
class MortalStore final : public store::Store {
 public:
  enum class Doom { none, before_commit, after_commit };
  explicit MortalStore(std::unique_ptr<store::Store> inner) : inner_(std::move(inner)) {}
  void doom(Doom doom) { doom_ = doom; }
  [[nodiscard]] bool dead() const { return dead_; }
  void revive() { dead_ = false, doom_ = Doom::none; }

  Result<void> commit(const std::vector<store::Write>& writes) override;
  Result<std::optional<std::string>> get(std::string_view table, std::string_view key) override { return inner_->get(table, key); }
  Result<std::vector<store::Row>> scan(std::string_view table, const store::Range& range) override { return inner_->scan(table, range); }

 private:
  std::unique_ptr<store::Store> inner_;
  Doom doom_ = Doom::none;
  bool dead_ = false;
};

class Simulation {
 public:
  explicit Simulation(Scenario scenario);
  ~Simulation();

  bool set_the_scene();      // false: it could not be (said on stderr)
  void live(Duration span);  // with everything that goes wrong
  void live_all_days();
  void come_to_rest();  // no more snapshots, no more trouble; what is under way ends

  struct Outcome {
    std::vector<snapshots::Audit::Verdict> verdicts;
    std::map<std::string, std::size_t> executions;  // by status
    std::size_t workflows = 0;                      // of these, those of a snapshot or a copy (the others reconciled)
    std::vector<std::string> failures;              // "error cause input" of each FAILED one
    std::size_t copies = 0, deletions = 0, notifications = 0, crashes = 0;
    std::uint64_t digest = 0;  // of every call made and its outcome: the same for the same seed
    [[nodiscard]] bool held() const;
  };
  Outcome outcome();  // once at rest

  // Told of every call and its answer, and of process deaths, as one line each.
  void set_trace(std::function<void(const std::string& line)> trace) { trace_ = std::move(trace); }

  // A call that must succeed, as the scene's own; tried again while throttled.
  Json call(const std::string& service, const std::string& region, const std::string& operation, const Json& input);

  [[nodiscard]] World& world() { return *world_; }
  [[nodiscard]] Instant now() const { return clock_.now(); }
  [[nodiscard]] const Scenario& scenario() const { return scenario_; }
  [[nodiscard]] const snapshots::Audit& audit() const { return *audit_; }
  [[nodiscard]] const std::map<std::string, std::string>& volumes() const { return names_; }  // id → name
  [[nodiscard]] const std::string& stranger() const { return stranger_; }
  [[nodiscard]] const std::string& queue_url() const { return queue_url_; }  // where operators are told
  [[nodiscard]] bool managed(const std::string& volume) const { return names_.contains(volume) && volume != stranger_; }
  [[nodiscard]] std::vector<cloud::Snapshot> inspect(const std::string& region) { return world_->cloud.ec2().inspect(region); }

 private:
  class Outbox;
  [[nodiscard]] std::vector<const snapshots::DeployedRegion*> places() const;
  void begin();  // a process, on what is saved
  void restart();
  void live_until(Instant until);
  void add_volume(int number);
  void by_hand(const std::string& operation, Json input);
  void snapshot_one();
  void pin_one();
  void witness(const cloud::Call& call, const cloud::Reply& reply);
  void check_history(const Json& execution);
  void breach(int invariant, std::string what);
  void set_rule(const std::string& region, const std::string& name, bool enabled);

  Scenario scenario_;
  VirtualClock clock_;
  SeededEntropy entropy_;  // the world's
  SeededEntropy chance_;   // of what goes wrong
  MortalStore store_;
  services::ec2::Behaviour behaviour_;  // now
  NetworkFaults faults_;                // now
  std::unique_ptr<Outbox> outbox_;
  std::unique_ptr<World> world_;
  snapshots::Deployment deployment_;
  std::unique_ptr<snapshots::Audit> audit_;
  std::map<std::string, std::string> names_;
  std::string stranger_, queue_url_;
  std::vector<std::string> nightly_;    // rules
  std::set<std::string> acknowledged_;  // executions
  std::vector<std::string> broken_[2];  // invariants 9 and 10
  std::function<void(const std::string& line)> trace_;
  bool doomed_ = false;  // what this turn does never happened
  std::size_t crashes_ = 0, mails_ = 0, histories_ = 0;
  std::uint64_t digest_ = 0xcbf29ce484222325ULL;
};

}  // namespace snapward::world
