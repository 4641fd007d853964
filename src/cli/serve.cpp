#include <fmt/format.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <mutex>
#include <thread>

#include "base/log.hpp"
#include "cli/commands.hpp"
#include "net/client.hpp"
#include "net/server.hpp"
#include "nodes/gate.hpp"
#include "runtimes/processes.hpp"
#include "services/front.hpp"
#include "services/regions.hpp"
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

// A node: its door, and, while it owns the state, the world behind it. A node on a folder or in memory owns its state from beginning to
// end; of those on a database one does at a time, and the others hand requests on to it.
class Node {
 public:
  Node(const Options& options, Setup setup) : o_(options), setup_(std::move(setup)) {}
  int run();

 private:
  Result<void> listen();
  void live(store::Store& store, std::int64_t epoch);
  void announce(std::int64_t epoch) const;
  void stop_when_told();

  const Options& o_;
  Setup setup_;
  std::chrono::steady_clock::time_point begun_ = std::chrono::steady_clock::now();
  sigset_t signals_{};
  std::unique_ptr<store::Lease> lease_;  // null: alone
  std::unique_ptr<nodes::Gate> gate_;
  std::unique_ptr<net::Server> server_;
  std::string base_url_;
  int exit_code_ = 0;

  std::mutex mutex_;  // guards these
  engine::Loop* loop_ = nullptr;
  services::Front* front_ = nullptr;
  bool stopping_ = false;
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

  std::unique_ptr<store::Store> store;
  if (o_.store.empty()) {
    auto opened = open_store(o_);
    if (!opened) return fail_with(opened.error().message);
    store = *std::move(opened);
  } else if (const auto prepared = store::prepare_postgres(o_.store); !prepared) {
    return fail_with(prepared.error().message);
  }
  if (const auto listening = listen(); !listening) return fail_with(listening.error().message);
  if (store) {
    gate_ = std::make_unique<nodes::Gate>();
  } else {
    SystemEntropy entropy;
    lease_ = std::make_unique<store::Lease>(
        store::Lease::Options{.url = o_.store,
                              .node = entropy.uuid(),
                              .address = base_url_,
                              .span = std::chrono::milliseconds(static_cast<std::int64_t>(o_.lease_seconds * 1000))});
    gate_ = std::make_unique<nodes::Gate>(
        nodes::Gate::Ownership{.held = [this] { return lease_->held(); }, .owner = [this] { return lease_->owner(); }});
    server_->start();
    fmt::print("Snapward {} listens on {} and will own the state when no other node does\n", SNAPWARD_VERSION, base_url_);
    std::fflush(stdout);
  }
  std::thread waiter([this] { stop_when_told(); });
  if (store) {
    live(*store, 0);
  } else {
    const auto lost = [this] {
      const std::lock_guard lock(mutex_);
      if (loop_) loop_->stop();
    };
    while (const auto epoch = lease_->acquire(lost)) {
      begun_ = std::chrono::steady_clock::now();
      auto opened = store::open_postgres(o_.store, *epoch);
      if (opened)
        live(**opened, *epoch);
      else if (opened.error().code == ErrorCode::unsupported)
        exit_code_ = fail_with(opened.error().message);
      else
        spdlog::error("the state cannot be opened: {}", opened.error().message);
      lease_->release();
      const std::lock_guard lock(mutex_);
      if (stopping_ || exit_code_ != 0) break;
    }
  }
  server_->stop();
  kill(getpid(), SIGTERM);  // for the waiter, should it still wait
  waiter.join();
  if (lease_) lease_->stop();
  gate_.reset();
  fmt::print("Snapward has stopped.\n");
  return exit_code_;
}

void Node::stop_when_told() {
  int signal = 0;
  sigwait(&signals_, &signal);
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    if (front_) front_->say_draining();
  }
  if (const int left = server_->drain(std::chrono::milliseconds(static_cast<std::int64_t>(o_.drain_seconds * 1000))); left > 0)
    spdlog::warn("{} requests were still unanswered after {} s; they are given up", left, o_.drain_seconds);
  {
    const std::lock_guard lock(mutex_);
    if (loop_) return loop_->stop();
  }
  if (lease_) lease_->stop();
}

void Node::announce(std::int64_t epoch) const {
  fmt::print("Snapward {} is ready on {} after {} ms\n", SNAPWARD_VERSION, base_url_,
             std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begun_).count());
  const auto& s = o_.settings;
  if (o_.no_workflows)
    fmt::print("  no snapshot workflows are deployed (--no-workflows)\n");
  else
    fmt::print("  snapshot workflows in {} (keep {}){}, volumes: {}\n", s.primary_region, s.retention,
               s.dr_region.empty() ? "" : fmt::format(" and {} (keep {})", s.dr_region, s.dr_retention),
               s.tag == "none" ? "all" : "tagged " + s.tag);
  const std::string where = lease_         ? fmt::format("in PostgreSQL, owned by this node (epoch {})", epoch)
                            : o_.in_memory ? "in memory, gone at the end"
                                           : "kept in " + o_.data + "/";
  fmt::print("  state: {}\n  try: aws --endpoint-url {} ec2 describe-regions\n", where, base_url_);
  std::fflush(stdout);
}

// From reading the state to letting it go: until the node is told to stop, or another owns the state.
void Node::live(store::Store& store, std::int64_t epoch) {
  const Instant reached = last_time(store);
  if (o_.time_scale == 1.0) say_when_clock_is_behind(reached);
  const SystemClock clock(o_.time_scale, reached);
  SystemEntropy entropy;
  engine::Loop* world_loop = nullptr;
  const std::string mailbox = !o_.mail.empty() ? o_.mail : o_.in_memory || lease_ ? "snapward-mail.mbox" : o_.data + "/mail.mbox";
  auto outbound = std::make_unique<NetOutbound>(world_loop, mailbox);
  const auto mode = o_.in_memory ? engine::Ledger::Mode::inline_commits : engine::Ledger::Mode::background_commits;
  world::World world(clock, entropy, store, mode, *outbound, setup_.cloud);
  world_loop = &world.loop;
  world.cloud.executions().set_mocks(setup_.mocks);
  world.cloud.executions().keep_for(std::chrono::hours(24 * o_.keep_days));
  world.ledger.on_fenced([&world] { world.loop.stop(); });
  services::FrontOptions front_options = setup_.front;
  runtimes::Processes::Options functions{.endpoint = base_url_, .time_scale = o_.time_scale};
  if (!front_options.secret_keys.empty()) std::tie(functions.access_key, functions.secret_key) = *front_options.secret_keys.begin();
  runtimes::Processes processes(world.loop, std::move(functions), [&world](const auto&... line) { world.cloud.log_function(line...); });
  world.cloud.lambda().set_runtimes(processes);
  front_options.metrics = [this, &world, epoch] {
    const std::string owner = "# HELP snapward_owner 1 on the node that owns the state.\n# TYPE snapward_owner gauge\nsnapward_owner 1\n";
    return world.cloud.metrics() + (lease_ ? fmt::format("{}# HELP snapward_epoch How often the state has changed its owner.\n# TYPE "
                                                         "snapward_epoch gauge\nsnapward_epoch {}\n",
                                                         owner, epoch)
                                           : "");
  };
  services::Front front(world.loop, world.ledger, world.cloud, std::move(front_options));
  {
    const std::lock_guard lock(mutex_);
    if (stopping_ || (lease_ && !lease_->held())) return world.ledger.abandon();
    loop_ = &world.loop;
    front_ = &front;
  }
  const auto ready = [&] {
    gate_->open(front);
    if (!lease_) server_->start();
    announce(epoch);
  };
  world.loop.post([&] {
    keep_time(world, o_.time_scale);
    if (o_.no_workflows) return ready();
    world.loop.spawn(snapshots::deploy(world.cloud, o_.account, o_.settings), [&](const auto& deployed) {
      if (deployed) return ready();
      exit_code_ = fail_with(fmt::format("the workflows could not be deployed: {}", deployed.error().message));
      world.loop.stop();
    });
  });
  world.loop.run();
  gate_->close();
  {
    const std::lock_guard lock(mutex_);
    loop_ = nullptr;
    front_ = nullptr;
  }
  if (!lease_)
    server_->stop();
  else if (!lease_->held())
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
