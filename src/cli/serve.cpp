#include <fmt/format.h>
#include <fmt/ranges.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <mutex>
#include <thread>

#include "base/log.hpp"
#include "base/thread_name.hpp"
#include "cli/commands.hpp"
#include "net/client.hpp"
#include "net/server.hpp"
#include "nodes/gate.hpp"
#include "nodes/peers.hpp"
#include "nodes/shards.hpp"
#include "runtimes/processes.hpp"
#include "services/front.hpp"
#include "services/regions.hpp"
#include "store/leases.hpp"
#include "store/postgres.hpp"
#include "world/world.hpp"

namespace snapward::cli {

namespace {

struct Options {
  std::string host = "127.0.0.1", data = "snapward-data", store, advertise, behaviour_file, keys_file, mocks_file, mail, log_level = "info",
              account = "000000000000";
  std::uint16_t port = 4566;
  bool in_memory = false, no_workflows = false, no_throttling = false, enforce_iam = false;
  double time_scale = 1.0, drain_seconds = 5, lease_seconds = 5;
  int keep_days = 90;
  std::string log_format = "text";
  snapshots::Settings settings;
};

// HTTP by net::Client; mail into a mailbox file (mbox), one for all.
class NetOutbound final : public services::Outbound {
 public:
  NetOutbound(engine::Loop*& loop, std::string mailbox) : loop_(loop), mailbox_(std::move(mailbox)) {}
  Task<std::expected<wire::HttpResponse, std::string>> http(std::string url, wire::HttpRequest request) override {
    Future<std::expected<wire::HttpResponse, std::string>> answer;
    client_->send(url, std::move(request),
                  [this, answer](auto outcome) { loop_->post([answer, outcome = std::move(outcome)] { answer.set(outcome); }); });
    co_return co_await answer;
  }
  void mail(const std::string& to, const std::string& subject, const std::string& body) override {
    std::ofstream out(mailbox_, std::ios::app);
    out << "From snapward " << iso_seconds(loop_->now()) << "\nTo: " << to << "\nSubject: " << subject << "\n\n" << body << "\n\n";
    if (!out) spdlog::error("mail to {} could not be written to '{}'", to, mailbox_);
  }

 private:
  engine::Loop*& loop_;  // the world's, made after this
  std::string mailbox_;
  std::unique_ptr<net::Client> client_ = net::Client::create();
};

Result<std::string> read_file(const std::string& path) {
  std::ifstream in(path);
  if (!in) return invalid(fmt::format("the file '{}' cannot be read", path));
  return std::string(std::istreambuf_iterator<char>(in), {});
}

Result<std::map<std::string, std::string>> read_keys(const std::string& path) {
  const auto text = read_file(path);
  if (!text) return std::unexpected(text.error());
  const auto json = Json::parse(*text);
  if (!json || !json->is_object()) return invalid(fmt::format("'{}' must hold a JSON object of access keys and their secrets", path));
  std::map<std::string, std::string> out;
  for (const auto& [key, secret] : json->as_object()) out[key] = secret.string_or();
  return out;
}

int fail_with(const std::string& message) {
  fmt::print(stderr, "snapward: {}\n", message);
  return 1;
}

// How far time has come in this state. A new process must not set it back, whatever the machine's clock says: histories and timers
// hold times. Scaled time runs fast, so it is written ahead: a process that is killed has not seen more than what is kept.
constexpr const char* kClockTable = "clock";
Instant last_time(store::Store& store) {
  const auto row = store.get(kClockTable, "now");
  const auto at = row && *row ? parse_iso(**row) : std::nullopt;
  return at.value_or(Instant{});
}
void keep_time(world::World& world, double scale) {
  const bool scaled = scale != 1.0;
  const Duration every = scaled ? Duration(static_cast<std::int64_t>(500 * scale)) : Duration(std::chrono::seconds(30));
  world.ledger.put(kClockTable, "now", iso_millis(world.loop.now() + (scaled ? 2 * every : Duration(0))));
  world.loop.after(every, [&world, scale] { keep_time(world, scale); });
}
void say_when_clock_is_behind(Instant last) {
  const auto behind = last - std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now());
  if (behind > std::chrono::minutes(1))
    spdlog::warn("the machine's clock stands {} before the time that this state has reached, {}; time goes on from there", human(behind),
                 iso_seconds(last));
}

// What the options' files say.
struct Setup {
  services::LocalCloudOptions cloud;
  services::FrontOptions front;
  Json mocks;
};

Result<Json> read_json(const std::string& path) {
  const auto text = read_file(path);
  if (!text) return std::unexpected(text.error());
  auto json = Json::parse(*text);
  if (!json) return invalid(fmt::format("{}: {}", path, json.error().message));
  return json;
}

Result<Setup> read_setup(const Options& o) {
  Setup setup;
  setup.cloud.account = o.account;
  setup.cloud.enforce_iam = o.enforce_iam;
  if (!o.behaviour_file.empty()) {
    const auto json = read_json(o.behaviour_file);
    if (!json) return std::unexpected(json.error());
    const auto behaviour = services::ec2::Behaviour::from_json(*json);
    if (!behaviour) return invalid(fmt::format("{}: {}", o.behaviour_file, behaviour.error().message));
    setup.cloud.ec2 = *behaviour;
  }
  if (o.no_throttling) setup.cloud.ec2.throttling = false;
  if (!o.mocks_file.empty()) {
    const auto json = read_json(o.mocks_file);
    if (!json) return std::unexpected(json.error());
    if (!json->find("StateMachines") || !json->find("MockedResponses"))
      return invalid(fmt::format("{}: a mock configuration has 'StateMachines' and 'MockedResponses'", o.mocks_file));
    setup.mocks = *json;
  }
  if (!o.keys_file.empty()) {
    auto keys = read_keys(o.keys_file);
    if (!keys) return std::unexpected(keys.error());
    setup.front.secret_keys = *std::move(keys);
  }
  for (const std::string& region : {o.settings.primary_region, o.settings.dr_region})
    if (!region.empty() && !services::is_region(region)) return invalid(fmt::format("'{}' is not an AWS region", region));
  if (o.settings.primary_region == o.settings.dr_region) return invalid("the DR region must differ from the primary region");
  return setup;
}

Result<std::unique_ptr<store::Store>> open_store(const Options& o) {
  if (o.in_memory) return store::open_memory();
  std::error_code error;
  std::filesystem::create_directories(o.data, error);
  if (error) return invalid(fmt::format("the data folder '{}' cannot be made: {}", o.data, error.message()));
  return store::open_sqlite(o.data);
}

// A node: its door, and, for each shard of the state that it owns, the world behind it, with a thread of its own. A node on a folder or in
// memory owns its state from beginning to end, in one piece; those on a database own its shards between them, and hand requests on to
// each other.
class Node {
 public:
  Node(const Options& options, Setup setup) : o_(options), setup_(std::move(setup)) {}
  int run();

 private:
  Result<void> listen();
  int run_alone();
  int run_with_others();
  void keep(const std::string& shard);  // owns it again and again, until the node is told to stop
  void live(const std::string& shard, store::Store& store, std::int64_t epoch);
  void leave(const std::string& shard);
  void announce(const std::string& shard, std::int64_t epoch) const;
  Task<std::expected<void, cloud::Error>> deploy(world::World& world) const;
  void stop_when_told();
  [[nodiscard]] bool in_one_piece() const { return !leases_ || database_.shards.size() == 1; }
  [[nodiscard]] services::Part part(const std::string& shard, std::int64_t epoch) const;

  const Options& o_;
  Setup setup_;
  std::chrono::steady_clock::time_point begun_ = std::chrono::steady_clock::now();
  sigset_t signals_{};
  store::Database database_;
  std::unique_ptr<store::Leases> leases_;  // null: alone
  std::unique_ptr<nodes::Gate> gate_;
  std::unique_ptr<net::Server> server_;
  std::string base_url_;

  struct Tenure {
    world::World* world;
    services::Front* front;
  };
  std::mutex mutex_;  // guards these
  std::map<std::string, Tenure> tenures_;
  bool stopping_ = false;
  int exit_code_ = 0;
};

Result<void> Node::listen() {
  auto listening = net::Server::listen(
      {.address = o_.host, .port = o_.port, .refusal = services::Front::refusal},
      [this](wire::HttpRequest request, net::Server::Respond respond) { gate_->handle(std::move(request), std::move(respond)); });
  if (!listening) return std::unexpected(listening.error());
  server_ = *std::move(listening);
  base_url_ =
      !o_.advertise.empty() ? o_.advertise : fmt::format("http://{}:{}", o_.host == "0.0.0.0" ? "127.0.0.1" : o_.host, server_->port());
  setup_.cloud.base_url = base_url_;
  return {};
}

int Node::run() {
  // Signals are for the waiting thread alone; every thread made from here on leaves them to it.
  sigemptyset(&signals_);
  sigaddset(&signals_, SIGINT);
  sigaddset(&signals_, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
  const int code = o_.store.empty() ? run_alone() : run_with_others();
  if (code == 0) fmt::print("Snapward has stopped.\n");
  return code;
}

int Node::run_alone() {
  auto store = open_store(o_);
  if (!store) return fail_with(store.error().message);
  if (const auto listening = listen(); !listening) return fail_with(listening.error().message);
  gate_ = std::make_unique<nodes::Gate>();
  std::thread waiter([this] { stop_when_told(); });
  live(std::string(nodes::kWhole), **store, 0);
  server_->stop();
  kill(getpid(), SIGTERM);  // for the waiter, should it still wait
  waiter.join();
  gate_.reset();
  return exit_code_;
}

int Node::run_with_others() {
  // Roles are one for all regions, and every call would have to ask for them.
  const std::vector<std::string> whole{std::string(nodes::kWhole)};
  auto prepared =
      store::prepare_postgres(o_.store, o_.enforce_iam ? whole : std::vector<std::string>(nodes::kShards.begin(), nodes::kShards.end()));
  if (!prepared) return fail_with(prepared.error().message);
  database_ = *std::move(prepared);
  if (o_.enforce_iam && database_.shards != whole)
    return fail_with("--enforce-iam needs a state in one piece, and this one is split into shards; start it with a database of its own");
  if (const auto listening = listen(); !listening) return fail_with(listening.error().message);
  SystemEntropy entropy;
  leases_ = std::make_unique<store::Leases>(
      store::Leases::Options{.url = o_.store,
                             .node = entropy.uuid(),
                             .address = base_url_,
                             .shards = database_.shards,
                             .span = std::chrono::milliseconds(static_cast<std::int64_t>(o_.lease_seconds * 1000))});
  gate_ = std::make_unique<nodes::Gate>(nodes::Gate::Directory{.shards = database_.shards,
                                                               .held = [this](const auto& shard) { return leases_->held(shard); },
                                                               .owner = [this](const auto& shard) { return leases_->owner(shard); },
                                                               .epoch = [this](const auto& shard) { return leases_->epoch(shard); },
                                                               .secret = database_.secret});
  server_->start();
  fmt::print("Snapward {} listens on {} and takes its share of the state: {}\n", SNAPWARD_VERSION, base_url_,
             fmt::join(database_.shards, ", "));
  std::fflush(stdout);
  std::thread waiter([this] { stop_when_told(); });
  std::vector<std::thread> keepers;
  for (const std::string& shard : database_.shards) keepers.emplace_back([this, shard] { keep(shard); });
  for (std::thread& keeper : keepers) keeper.join();
  server_->stop();
  kill(getpid(), SIGTERM);
  waiter.join();
  leases_->stop();
  gate_.reset();
  return exit_code_;
}

void Node::keep(const std::string& shard) {
  name_this_thread("loop-" + shard);
  while (const auto epoch = leases_->acquire(shard, [this, shard] { leave(shard); })) {
    auto opened = store::open_postgres(o_.store, shard, *epoch);
    if (opened) {
      live(shard, **opened, *epoch);
    } else if (opened.error().code == ErrorCode::unsupported) {
      const std::lock_guard lock(mutex_);
      exit_code_ = fail_with(opened.error().message);
    } else {
      spdlog::error("the shard {} cannot be opened: {}", shard, opened.error().message);
    }
    opened = nullptr;
    leases_->release(shard);
    const std::lock_guard lock(mutex_);
    if (!stopping_ && exit_code_ == 0) continue;
    leases_->close();
    for (const auto& [other, tenure] : tenures_) tenure.world->loop.stop();
    return;
  }
}

// Another node has the shard, or is to have it: then what has been let in is answered first.
void Node::leave(const std::string& shard) {
  if (leases_->held(shard)) gate_->close(shard);
  const std::lock_guard lock(mutex_);
  const auto tenure = tenures_.find(shard);
  if (tenure == tenures_.end()) return;
  world::World& world = *tenure->second.world;
  if (!leases_->held(shard)) return world.loop.stop();
  world.loop.post([&world] { world.ledger.after_commit([&world] { world.loop.stop(); }); });
}

void Node::stop_when_told() {
  name_this_thread("signals");
  int signal = 0;
  sigwait(&signals_, &signal);
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    for (const auto& [shard, tenure] : tenures_) tenure.front->say_draining();
  }
  if (const int left = server_->drain(std::chrono::milliseconds(static_cast<std::int64_t>(o_.drain_seconds * 1000))); left > 0)
    spdlog::warn("{} requests were still unanswered after {} s; they are given up", left, o_.drain_seconds);
  if (leases_) leases_->close();
  const std::lock_guard lock(mutex_);
  for (const auto& [shard, tenure] : tenures_) tenure.world->loop.stop();
}

void Node::announce(const std::string& shard, std::int64_t epoch) const {
  if (leases_) {
    fmt::print("Snapward {} owns the shard {} (epoch {})\n", SNAPWARD_VERSION, shard, epoch);
    std::fflush(stdout);
    return;
  }
  fmt::print("Snapward {} is ready on {} after {} ms\n", SNAPWARD_VERSION, base_url_,
             std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begun_).count());
  const auto& s = o_.settings;
  if (o_.no_workflows)
    fmt::print("  no snapshot workflows are deployed (--no-workflows)\n");
  else
    fmt::print("  snapshot workflows in {} (keep {}){}, volumes: {}\n", s.primary_region, s.retention,
               s.dr_region.empty() ? "" : fmt::format(" and {} (keep {})", s.dr_region, s.dr_retention),
               s.tag == "none" ? "all" : "tagged " + s.tag);
  fmt::print("  state: {}\n  try: aws --endpoint-url {} ec2 describe-regions\n",
             o_.in_memory ? "in memory, gone at the end" : "kept in " + o_.data + "/", base_url_);
  std::fflush(stdout);
}

services::Part Node::part(const std::string& shard, std::int64_t epoch) const {
  const auto owner = [this](const cloud::Call& call) { return leases_->owner(std::string(nodes::shard_of(call.service, call.region))); };
  return {.name = shard,
          .number = nodes::number_of(shard),
          .here = [shard](std::string_view service, std::string_view region) { return nodes::shard_of(service, region) == shard; },
          .elsewhere = [this, owner, shard, epoch](engine::Loop& loop, engine::Ledger& ledger) -> std::unique_ptr<cloud::Cloud> {
            return std::make_unique<nodes::Elsewhere>(
                loop, ledger, nodes::Elsewhere::Road{.owner = owner, .shard = shard, .epoch = epoch, .secret = database_.secret});
          }};
}

// Where regions are apart, the other one may not be owned yet.
Task<std::expected<void, cloud::Error>> Node::deploy(world::World& world) const {
  for (;;) {
    const auto deployed = co_await snapshots::deploy(world.cloud, o_.account, o_.settings);
    if (deployed) co_return std::expected<void, cloud::Error>();
    if (in_one_piece() || cloud::kind_of(deployed.error()) != cloud::Kind::unavailable) co_return std::unexpected(deployed.error());
    spdlog::info("the workflows are not deployed yet: {}", deployed.error().message);
    co_await world.loop.sleep(std::chrono::seconds(1));
  }
}

// From reading a shard to letting it go: until the node is told to stop, or another owns the shard.
void Node::live(const std::string& shard, store::Store& store, std::int64_t epoch) {
  const Instant reached = last_time(store);
  if (o_.time_scale == 1.0) say_when_clock_is_behind(reached);
  const SystemClock clock(o_.time_scale, reached);
  SystemEntropy entropy;
  engine::Loop* world_loop = nullptr;
  const std::string mailbox = !o_.mail.empty() ? o_.mail : o_.in_memory || leases_ ? "snapward-mail.mbox" : o_.data + "/mail.mbox";
  auto outbound = std::make_unique<NetOutbound>(world_loop, mailbox);
  const auto mode = o_.in_memory ? engine::Ledger::Mode::inline_commits : engine::Ledger::Mode::background_commits;
  services::LocalCloudOptions cloud_options = setup_.cloud;
  if (!in_one_piece()) cloud_options.part = part(shard, epoch);
  world::World world(clock, entropy, store, mode, *outbound, std::move(cloud_options));
  world_loop = &world.loop;
  world.cloud.executions().set_mocks(setup_.mocks);
  world.cloud.executions().keep_for(std::chrono::hours(24 * o_.keep_days));
  world.ledger.on_fenced([&world] { world.loop.stop(); });
  services::FrontOptions front_options = setup_.front;
  runtimes::Processes::Options functions{.endpoint = base_url_, .time_scale = o_.time_scale};
  if (!front_options.secret_keys.empty()) std::tie(functions.access_key, functions.secret_key) = *front_options.secret_keys.begin();
  runtimes::Processes processes(world.loop, std::move(functions), [&world](const auto&... line) { world.cloud.log_function(line...); });
  world.cloud.lambda().set_runtimes(processes);
  front_options.metrics = [&world] { return world.cloud.metrics(); };
  services::Front front(world.loop, world.ledger, world.cloud, std::move(front_options));
  nodes::Callers callers(world.ledger);
  {
    const std::lock_guard lock(mutex_);
    if (stopping_ || (leases_ && (!leases_->held(shard) || leases_->leaving(shard)))) return world.ledger.abandon();
    tenures_[shard] = {&world, &front};
  }
  const auto open = [&] {
    gate_->open(shard, front, callers);
    if (!leases_) server_->start();
    announce(shard, epoch);
  };
  const bool deploys = !o_.no_workflows && (in_one_piece() || nodes::shard_of("states", o_.settings.primary_region) == shard);
  world.loop.post([&] {
    keep_time(world, o_.time_scale);
    // Deploying calls other shards, and they this one.
    if (!deploys || !in_one_piece()) open();
    if (!deploys) return;
    world.loop.spawn(deploy(world), [&](const auto& deployed) {
      if (!deployed) {
        const std::lock_guard lock(mutex_);
        exit_code_ = fail_with(fmt::format("the workflows could not be deployed: {}", deployed.error().message));
        world.loop.stop();
      } else if (in_one_piece()) {
        open();
      }
    });
  });
  world.loop.run();
  gate_->close(shard);
  {
    const std::lock_guard lock(mutex_);
    tenures_.erase(shard);
  }
  if (!leases_)
    server_->stop();
  else if (!leases_->held(shard))
    world.ledger.abandon();
  outbound.reset();
}

int serve(const Options& o) {
  spdlog::set_level(spdlog::level::from_str(o.log_level));
  if (o.log_format == "json") log::write_json();
  if (!o.store.empty() && o.in_memory) return fail_with("--store and --in-memory are two places for the state; choose one");
  if (!o.store.empty() && !o.store.starts_with("postgresql://") && !o.store.starts_with("postgres://"))
    return fail_with(fmt::format("--store '{}' is not a postgresql:// URL; a folder is given with --data", o.store));
  if (!o.store.empty() && (o.host == "0.0.0.0" || o.host == "::") && o.advertise.empty())
    return fail_with(fmt::format(
        "--host {} is no address that the other nodes can reach this one at; say which with --advertise http://HOST:PORT", o.host));
  auto setup = read_setup(o);
  if (!setup) return fail_with(setup.error().message);
  return Node(o, *std::move(setup)).run();
}

}  // namespace

void add_serve(CLI::App& app, int& exit_code) {
  auto o = std::make_shared<Options>();
  auto* c = app.add_subcommand("serve", "Run the local cloud with the snapshot workflows deployed");
  c->add_option("--host", o->host, "address to listen on")->capture_default_str();
  c->add_option("--port", o->port, "port to listen on; 0 takes a free one")->capture_default_str();
  c->add_option("--data", o->data, "folder that keeps the state")->capture_default_str();
  c->add_option("--store", o->store, "postgresql://USER@HOST:PORT/DATABASE: keep the state there, for several nodes (docs/nodes.md)");
  c->add_option("--advertise", o->advertise, "URL that clients and the other nodes reach this one at [its address and port]");
  c->add_option("--lease-seconds", o->lease_seconds, "how long a node that says nothing still owns a state in PostgreSQL")
      ->capture_default_str()
      ->check(CLI::Range(1.0, 300.0));
  c->add_flag("--in-memory", o->in_memory, "keep nothing");
  c->add_option("--account", o->account, "account id of everything")->capture_default_str();
  c->add_option("--tag", o->settings.tag, "volumes to manage: none (all), a tag key, or key=value")->capture_default_str();
  c->add_option("--primary-region", o->settings.primary_region, "region of the volumes")->capture_default_str();
  c->add_option("--dr-region", o->settings.dr_region, "region of the copies; \"\" makes none")->capture_default_str();
  c->add_option("--retention", o->settings.retention, "snapshots kept for each volume")
      ->capture_default_str()
      ->check(CLI::Range(1, 100'000));
  c->add_option("--dr-retention", o->settings.dr_retention, "copies kept for each volume")
      ->capture_default_str()
      ->check(CLI::Range(1, 100'000));
  c->add_flag("--no-workflows", o->no_workflows, "a bare local cloud, nothing deployed");
  c->add_option("--time-scale", o->time_scale, "how much faster time runs, e.g. 60")->capture_default_str()->check(CLI::Range(0.001, 1e6));
  c->add_option("--behaviour", o->behaviour_file, "JSON file: how the simulated EC2 behaves and fails (docs/behaviour.md)");
  c->add_flag("--no-throttling", o->no_throttling, "switch EC2's request throttling off");
  c->add_flag("--enforce-iam", o->enforce_iam, "let services call each other only as roles and resource policies allow");
  c->add_option("--mocks", o->mocks_file, "JSON file: answers given instead of calls, by state machine and test case (docs/testing.md)");
  c->add_option("--access-keys", o->keys_file, "JSON file {access key: secret}: check signatures with these, refuse others");
  c->add_option("--mail", o->mail, "mailbox file for e-mail subscriptions [in the data folder]");
  c->add_option("--keep-executions", o->keep_days, "days that executions and their histories are kept after their end")
      ->capture_default_str()
      ->check(CLI::Range(1, 36500));
  c->add_option("--drain-seconds", o->drain_seconds, "how long requests under way are waited for when told to stop")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 600.0));
  c->add_option("--log-format", o->log_format, "text, or json: an object a line")
      ->capture_default_str()
      ->check(CLI::IsMember({"text", "json"}));
  c->add_option("--log-level", o->log_level, "trace, debug, info, warn, error")->capture_default_str();
  c->footer(
      "Examples:\n  snapward serve --in-memory --time-scale 20\n  snapward serve --tag Backup=yes --retention 14 --data /var/lib/snapward\n"
      "  snapward serve --store postgresql://snapward@db/snapward --host 0.0.0.0 --advertise http://node-1:4566");
  c->callback([o, &exit_code] { exit_code = serve(*o); });
}

}  // namespace snapward::cli
