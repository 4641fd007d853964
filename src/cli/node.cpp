#include "cli/node.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <mutex>
#include <thread>

#include "aws/aws_cloud.hpp"
#include "base/descriptors.hpp"
#include "base/line.hpp"
#include "base/log.hpp"
#include "base/private_file.hpp"
#include "base/thread_name.hpp"
#include "controller/controller.hpp"
#include "net/client.hpp"
#include "net/server.hpp"
#include "nodes/gate.hpp"
#include "nodes/peers.hpp"
#include "nodes/shards.hpp"
#include "runtimes/processes.hpp"
#include "services/regions.hpp"
#include "snapshots/distance.hpp"
#include "store/leases.hpp"
#include "store/postgres.hpp"
#include "world/world.hpp"

namespace snapward::cli {

namespace {

// The account at AWS that a controller's world acts on.
class Account {
 public:
  explicit Account(aws::Identity::Options who) : who_(std::move(who)) {}
  std::unique_ptr<cloud::Cloud> cloud(engine::Loop& loop) {
    if (!identity_) identity_ = std::make_unique<aws::Identity>(loop, who_);
    return std::make_unique<aws::AwsCloud>(
        loop, *client_, aws::AwsCloud::Options{.endpoint = who_.endpoint, .credentials = [this] { return identity_->get(); }});
  }
  // All but the engine's own services are there.
  services::Part part() {
    return {.name = {},
            .here = [](std::string_view service, std::string_view) { return controller::is_here(service); },
            .elsewhere = [this](engine::Loop& loop, engine::Ledger&) { return cloud(loop); }};
  }

 private:
  aws::Identity::Options who_;
  std::unique_ptr<net::Client> client_ = net::Client::create({.longest = std::chrono::seconds(60), .keep = net::Client::Keep::briefly});
  std::unique_ptr<aws::Identity> identity_;  // of the world's loop
};

// HTTP by net::Client; mail into a mailbox file (mbox), one for all.
class NetOutbound final : public services::Outbound {
 public:
  NetOutbound(engine::Loop*& loop, std::string mailbox) : loop_(loop), mailbox_(std::move(mailbox)) {}
  Task<std::expected<wire::HttpResponse, std::string>> http(std::string url, wire::HttpRequest request) override {
    co_return co_await net::ask(*loop_, *client_, std::move(url), std::move(request));
  }
  void mail(const std::string& to, const std::string& subject, const std::string& body) override {
    std::ofstream out(mailbox_, std::ios::app);
    out << "From snapward " << iso_seconds(loop_->now()) << "\nTo: " << escape_control(to) << "\nSubject: " << escape_control(subject)
        << "\n\n";
    // A line of the text that looks like the beginning of a mail is marked, as mbox readers expect.
    for (const std::string& line : split(body, '\n')) out << (line.starts_with("From ") ? ">" : "") << line << '\n';
    out << '\n';
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

Result<std::unique_ptr<store::Store>> open_store(const NodeOptions& o) {
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
  explicit Node(NodeOptions options) : o_(std::move(options)) {}
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
  [[nodiscard]] Result<void> take_place(store::Store& store);

  NodeOptions o_;
  std::chrono::steady_clock::time_point begun_ = std::chrono::steady_clock::now();
  sigset_t signals_{};
  store::Database database_;
  std::unique_ptr<store::Leases> leases_;  // null: alone
  std::unique_ptr<nodes::Gate> gate_;
  std::unique_ptr<net::Server> server_;
  std::string base_url_;

  struct Tenure {
    world::World* world;
    edge::Front* front;
  };
  std::mutex mutex_;  // guards these
  std::map<std::string, Tenure> tenures_;
  bool stopping_ = false;
  int exit_code_ = 0;
};

Result<void> Node::listen() {
  constexpr std::size_t kMostConnections = 4096;
  const std::size_t connections = std::min(kMostConnections, descriptors_for_connections(raise_descriptor_limit()));
  auto listening = net::Server::listen(
      {.address = o_.host,
       .port = o_.port,
       .most_connections = connections,
       .most_from_one_address = std::min(connections, o_.connections_per_address),
       .refusal = edge::Front::refusal},
      [this](wire::HttpRequest request, net::Server::Respond respond) { gate_->handle(std::move(request), std::move(respond)); });
  if (!listening) return std::unexpected(listening.error());
  server_ = *std::move(listening);
  base_url_ =
      !o_.advertise.empty() ? o_.advertise : fmt::format("http://{}:{}", o_.host == "0.0.0.0" ? "127.0.0.1" : o_.host, server_->port());
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
  gate_ = std::make_unique<nodes::Gate>(o_.origins);
  std::thread waiter([this] { stop_when_told(); });
  live(std::string(nodes::kWhole), **store, 0);
  server_->stop();
  kill(getpid(), SIGTERM);  // for the waiter, should it still wait
  waiter.join();
  gate_.reset();
  return exit_code_;
}

int Node::run_with_others() {
  // Roles are one for all regions, and every call would have to ask for them; a controller asks the account for everything else.
  const std::vector<std::string> whole{std::string(nodes::kWhole)};
  const bool one_piece = o_.cloud.enforce_iam || o_.controls;
  auto prepared =
      store::prepare_postgres(o_.store, one_piece ? whole : std::vector<std::string>(nodes::kShards.begin(), nodes::kShards.end()));
  if (!prepared) return fail_with(prepared.error().message);
  database_ = *std::move(prepared);
  if (one_piece && database_.shards != whole)
    return fail_with(fmt::format("{} needs a state in one piece, and this one is split into shards; start it with a database of its own",
                                 o_.controls ? "a controller" : "--enforce-iam"));
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
                                                               .secret = database_.secret},
                                        o_.origins);
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
  if (!s.since.empty()) fmt::print("  snapshots from before {} are left alone (--adopt takes them into care)\n", s.since);
  if (o_.controls)
    fmt::print("  acts on the account {} at {}\n", o_.account, o_.controls->endpoint.empty() ? "AWS" : o_.controls->endpoint);
  if (o_.no_workflows)
    fmt::print("  no snapshot workflows are deployed (--no-workflows)\n");
  else
    fmt::print("  snapshot workflows in {} (keep {}){}, volumes: {}\n", s.primary_region, s.retention,
               s.dr_region.empty() ? "" : fmt::format(" and {} (keep {})", s.dr_region, s.dr_retention),
               s.tag == "none" ? "all" : "tagged " + s.tag);
  fmt::print("  state: {}\n  try: aws --endpoint-url {} {}\n", o_.in_memory ? "in memory, gone at the end" : "kept in " + o_.data + "/",
             base_url_, o_.controls ? "stepfunctions list-state-machines --region " + s.primary_region : "ec2 describe-regions");
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

// Where regions are apart, the other one may not be owned yet; where the account is at AWS, that may not be reached.
Task<std::expected<void, cloud::Error>> Node::deploy(world::World& world) const {
  for (;;) {
    const auto deployed = co_await snapshots::deploy(world.cloud, o_.account, o_.settings);
    if (deployed) co_return std::expected<void, cloud::Error>();
    if (const auto kind = cloud::kind_of(deployed.error()); kind != cloud::Kind::unavailable && kind != cloud::Kind::throttled)
      co_return std::unexpected(deployed.error());
    spdlog::info("the workflows are not deployed yet: {}", deployed.error().message);
    co_await world.loop.sleep(std::chrono::seconds(1));
  }
}

// A state belongs to one place: what a controller began must not go on at the local cloud, nor the other way round.
constexpr const char* kPlaceTable = "place";
Result<void> Node::take_place(store::Store& store) {
  const auto row = store.get(kPlaceTable, "account");
  if (!row) return std::unexpected(row.error());
  const std::string controls = o_.controls ? o_.account : "", is = row->value_or("");
  if (is == controls) {
    if (!o_.controls || o_.adopt) return {};
    const auto since = store.get(kPlaceTable, "since");
    if (!since) return std::unexpected(since.error());
    o_.settings.since = since->value_or("");
    return {};
  }
  if (!is.empty() && controls.empty())
    return invalid(fmt::format("this state is a controller's, of the account {}; 'snapward controller' goes on with it", is));
  if (!is.empty())
    return invalid(fmt::format("this state is a controller's of the account {}, and the credentials are of {}", is, controls));
  const auto clock = store.get(kClockTable, "now");
  if (!clock) return std::unexpected(clock.error());
  if (*clock) return invalid("this state is a local cloud's; a controller needs one of its own (--data or --store)");
  // What people had before the controller is theirs.
  const auto text = [](std::string s) { return std::make_shared<const std::string>(std::move(s)); };
  const std::string first = iso_seconds(SystemClock().now());
  if (!o_.adopt) o_.settings.since = first;
  return store.commit({{kPlaceTable, "account", text(controls)}, {kPlaceTable, "since", text(first)}});
}

// From reading a shard to letting it go: until the node is told to stop, or another owns the shard.
void Node::live(const std::string& shard, store::Store& store, std::int64_t epoch) {
  if (const auto place = take_place(store); !place) {
    const std::lock_guard lock(mutex_);
    exit_code_ = fail_with(place.error().message);
    return;
  }
  const Instant reached = last_time(store);
  if (o_.time_scale == 1.0) say_when_clock_is_behind(reached);
  const SystemClock clock(o_.time_scale, reached);
  SystemEntropy entropy;
  engine::Loop* world_loop = nullptr;
  const std::string mailbox = !o_.mail.empty() ? o_.mail : o_.in_memory || leases_ ? "snapward-mail.mbox" : o_.data + "/mail.mbox";
  auto outbound = std::make_unique<NetOutbound>(world_loop, mailbox);
  const auto mode = o_.in_memory ? engine::Ledger::Mode::inline_commits : engine::Ledger::Mode::background_commits;
  services::LocalCloudOptions cloud_options = o_.cloud;
  cloud_options.account = o_.account;
  cloud_options.base_url = base_url_;
  cloud_options.stepper = true;
  cloud_options.sealing_key = edge::sealing_key(o_.front.secret_keys);
  if (!in_one_piece()) cloud_options.part = part(shard, epoch);
  std::optional<Account> account;
  if (o_.controls) cloud_options.part = account.emplace(*o_.controls).part();
  world::World world(clock, entropy, store, mode, *outbound, std::move(cloud_options));
  world_loop = &world.loop;
  // What answers from other threads goes before the loop it answers to.
  const auto silence = [&](void*) { outbound.reset(), account.reset(); };
  const std::unique_ptr<void, decltype(silence)> at_the_end(&world, silence);
  world.cloud.executions().set_mocks(o_.mocks);
  world.cloud.executions().keep_for(std::chrono::hours(24 * o_.keep_days));
  world.ledger.on_fenced([&world] { world.loop.stop(); });
  edge::FrontOptions front_options = o_.front;
  runtimes::Processes::Options functions{.endpoint = base_url_, .time_scale = o_.time_scale};
  if (!front_options.secret_keys.empty()) functions.sessions.emplace(edge::sealing_key(front_options.secret_keys));
  runtimes::Processes processes(world.loop, std::move(functions), [&world](const auto&... line) { world.cloud.log_function(line...); });
  world.cloud.lambda().set_runtimes(processes);
  const auto at_aws = account ? account->cloud(world.loop) : nullptr;
  std::optional<controller::Controller> controller;
  if (account) controller.emplace(world.loop, world.ledger, *at_aws, world.cloud, o_.settings);
  front_options.metrics = [&] { return world.cloud.metrics() + (controller ? controller->metrics() : ""); };
  edge::Front front(world.loop, world.ledger, controller ? controller->door() : world.cloud, std::move(front_options));
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
  // Deploying calls other shards, and they this one, or an account that may be far away for a while.
  const bool opens_first = !in_one_piece() || o_.controls;
  const bool deploys = !o_.no_workflows && (in_one_piece() || nodes::shard_of("states", o_.settings.primary_region) == shard);
  world.loop.post([&] {
    keep_time(world, o_.time_scale);
    if (!deploys || opens_first) open();
    if (!deploys) return;
    world.loop.spawn(deploy(world), [&](const auto& deployed) {
      if (!deployed) {
        const std::lock_guard lock(mutex_);
        exit_code_ = fail_with(fmt::format("the workflows could not be deployed: {}", deployed.error().message));
        world.loop.stop();
        return;
      }
      if (!opens_first) open();
      if (controller) controller->start();
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
}

}  // namespace

int fail_with(const std::string& message) {
  fmt::print(stderr, "snapward: {}\n", message);
  return 1;
}

Result<Json> read_json(const std::string& path) {
  const auto text = read_file(path);
  if (!text) return std::unexpected(text.error());
  auto json = Json::parse(*text);
  if (!json) return invalid(fmt::format("{}: {}", path, json.error().message));
  return json;
}

void add_node_options(CLI::App& command, NodeOptions& o) {
  auto* c = &command;
  c->add_option("--host", o.host, "address to listen on")->capture_default_str();
  c->add_option("--port", o.port, "port to listen on; 0 takes a free one")->capture_default_str();
  c->add_option("--data", o.data, "folder that keeps the state")->capture_default_str();
  c->add_option("--store", o.store, "postgresql://USER@HOST:PORT/DATABASE: keep the state there, for several nodes (docs/nodes.md)");
  c->add_option("--advertise", o.advertise, "URL that clients and the other nodes reach this one at [its address and port]");
  c->add_option("--lease-seconds", o.lease_seconds, "how long a node that says nothing still owns a state in PostgreSQL")
      ->capture_default_str()
      ->check(CLI::Range(1.0, 300.0));
  c->add_option("--tag", o.settings.tag, "volumes to manage: none (all), a tag key, or key=value")->capture_default_str();
  c->add_option("--primary-region", o.settings.primary_region, "region of the volumes")->capture_default_str();
  c->add_option("--dr-region", o.settings.dr_region, "region of the copies; \"\" makes none")->capture_default_str();
  c->add_option("--min-miles", o.min_miles, "refuse a DR region that is nearer to the primary one")->check(CLI::Range(0.0, 12'500.0));
  c->add_option("--retention", o.settings.retention, "snapshots kept for each volume")
      ->capture_default_str()
      ->check(CLI::Range(1, 100'000));
  c->add_option("--dr-retention", o.settings.dr_retention, "copies kept for each volume")
      ->capture_default_str()
      ->check(CLI::Range(1, 100'000));
  c->add_option("--access-keys", o.keys_file, "JSON file {access key: secret}: check signatures with these, refuse others");
  c->add_flag("--allow-anonymous", o.allow_anonymous, "without --access-keys, listen on an address that other machines reach");
  c->add_flag("--anonymous-metrics", o.front.anonymous_metrics, "with --access-keys, GET /metrics needs no signature");
  c->add_option("--allow-host", o.origins.allow_hosts, "a name that clients reach this server by, or *.DOMAIN; may be given again");
  c->add_option("--allow-origin", o.origins.allow_origins, "an origin whose pages may call this server in browsers; may be given again");
  c->add_option("--connections-per-address", o.connections_per_address, "connections that one address may have open; more are closed")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  c->add_option("--keep-executions", o.keep_days, "days that executions and their histories are kept after their end")
      ->capture_default_str()
      ->check(CLI::Range(1, 36500));
  c->add_option("--drain-seconds", o.drain_seconds, "how long requests under way are waited for when told to stop")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 600.0));
  c->add_option("--log-format", o.log_format, "text, or json: an object a line")
      ->capture_default_str()
      ->check(CLI::IsMember({"text", "json"}));
  c->add_option("--log-level", o.log_level, "trace, debug, info, warn, error")->capture_default_str();
}

Result<void> check_node_options(NodeOptions& o) {
  spdlog::set_level(spdlog::level::from_str(o.log_level));
  if (o.log_format == "json") log::write_json();
  if (!o.store.empty() && o.in_memory) return invalid("--store and --in-memory are two places for the state; choose one");
  if (!o.store.empty() && !o.store.starts_with("postgresql://") && !o.store.starts_with("postgres://"))
    return invalid(fmt::format("--store '{}' is not a postgresql:// URL; a folder is given with --data", o.store));
  if (!o.store.empty() && (o.host == "0.0.0.0" || o.host == "::") && o.advertise.empty())
    return invalid(fmt::format(
        "--host {} is no address that the other nodes can reach this one at; say which with --advertise http://HOST:PORT", o.host));
  for (const std::string& region : {o.settings.primary_region, o.settings.dr_region})
    if (!region.empty() && !services::is_region(region)) return invalid(fmt::format("'{}' is not an AWS region", region));
  if (o.settings.primary_region == o.settings.dr_region) return invalid("the DR region must differ from the primary region");
  if (const auto miles = snapshots::miles_between(o.settings.primary_region, o.settings.dr_region); miles && *miles < o.min_miles)
    return invalid(fmt::format("{} and {} are about {:.0f} miles apart; --min-miles asks for {:.0f}", o.settings.primary_region,
                               o.settings.dr_region, *miles, o.min_miles));
  if (!o.keys_file.empty()) {
    const auto text = read_file(o.keys_file);
    if (!text) return std::unexpected(text.error());
    auto keys = edge::parse_keys(*text, o.keys_file);
    if (!keys) return std::unexpected(keys.error());
    o.front.secret_keys = *std::move(keys);
  }
  if (o.front.secret_keys.empty() && !o.allow_anonymous && !edge::is_loopback(o.host))
    return invalid(
        fmt::format("--host {} is reachable from other machines, and without keys everybody there could run code here: give "
                    "--access-keys FILE, or --allow-anonymous if that is meant",
                    o.host));
  o.origins.listens_on = o.host;
  o.origins.advertise = o.advertise;
  return {};
}

int run_node(NodeOptions options) {
  umask(kPrivateMask);
  return Node(std::move(options)).run();
}

}  // namespace snapward::cli
