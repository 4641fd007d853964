#include <fmt/format.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <thread>

#include "base/log.hpp"
#include "cli/commands.hpp"
#include "net/client.hpp"
#include "net/server.hpp"
#include "runtimes/processes.hpp"
#include "services/front.hpp"
#include "services/regions.hpp"
#include "world/world.hpp"

namespace snapward::cli {

namespace {

struct Options {
  std::string host = "127.0.0.1", data = "snapward-data", behaviour_file, keys_file, mocks_file, mail, log_level = "info",
              account = "000000000000";
  std::uint16_t port = 4566;
  bool in_memory = false, no_workflows = false, no_throttling = false;
  double time_scale = 1.0, drain_seconds = 5;
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

int serve(const Options& o) {
  const auto begun = std::chrono::steady_clock::now();
  spdlog::set_level(spdlog::level::from_str(o.log_level));
  if (o.log_format == "json") log::write_json();
  services::LocalCloudOptions cloud_options{.account = o.account, .base_url = {}, .ec2 = {}};
  if (!o.behaviour_file.empty()) {
    const auto text = read_file(o.behaviour_file);
    if (!text) return fail_with(text.error().message);
    const auto json = Json::parse(*text);
    const auto behaviour =
        json ? services::ec2::Behaviour::from_json(*json) : Result<services::ec2::Behaviour>(std::unexpected(json.error()));
    if (!behaviour) return fail_with(fmt::format("{}: {}", o.behaviour_file, behaviour.error().message));
    cloud_options.ec2 = *behaviour;
  }
  if (o.no_throttling) cloud_options.ec2.throttling = false;
  Json mocks;
  if (!o.mocks_file.empty()) {
    const auto text = read_file(o.mocks_file);
    if (!text) return fail_with(text.error().message);
    const auto json = Json::parse(*text);
    if (!json || !json->find("StateMachines") || !json->find("MockedResponses"))
      return fail_with(fmt::format("{}: {}", o.mocks_file,
                                   json ? "a mock configuration has 'StateMachines' and 'MockedResponses'" : json.error().message));
    mocks = *json;
  }
  services::FrontOptions front_options;
  if (!o.keys_file.empty()) {
    auto keys = read_keys(o.keys_file);
    if (!keys) return fail_with(keys.error().message);
    front_options.secret_keys = *std::move(keys);
  }
  for (const std::string& region : {o.settings.primary_region, o.settings.dr_region})
    if (!region.empty() && !services::is_region(region)) return fail_with(fmt::format("'{}' is not an AWS region", region));
  if (o.settings.primary_region == o.settings.dr_region) return fail_with("the DR region must differ from the primary region");

  std::unique_ptr<store::Store> store;
  if (o.in_memory) {
    store = store::open_memory();
  } else {
    std::error_code error;
    std::filesystem::create_directories(o.data, error);
    if (error) return fail_with(fmt::format("the data folder '{}' cannot be made: {}", o.data, error.message()));
    auto opened = store::open_sqlite(o.data);
    if (!opened) return fail_with(opened.error().message);
    store = *std::move(opened);
  }

  // Signals are for the waiting thread below alone.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  const Instant reached = last_time(*store);
  if (o.time_scale == 1.0) say_when_clock_is_behind(reached);
  const SystemClock clock(o.time_scale, reached);
  SystemEntropy entropy;
  engine::Loop* loop = nullptr;
  const std::string mailbox = !o.mail.empty() ? o.mail : o.in_memory ? "snapward-mail.mbox" : o.data + "/mail.mbox";
  services::Front* front = nullptr;
  auto listening = net::Server::listen(
      {.address = o.host, .port = o.port, .refusal = services::Front::refusal},
      [&front](wire::HttpRequest request, net::Server::Respond respond) { front->handle(request, std::move(respond)); });
  if (!listening) return fail_with(listening.error().message);
  net::Server& server = **listening;
  cloud_options.base_url = fmt::format("http://{}:{}", o.host == "0.0.0.0" ? "127.0.0.1" : o.host, server.port());
  const std::string base_url = cloud_options.base_url;

  std::unique_ptr<NetOutbound> outbound = std::make_unique<NetOutbound>(loop, mailbox);
  const auto mode = o.in_memory ? engine::Ledger::Mode::inline_commits : engine::Ledger::Mode::background_commits;
  world::World world(clock, entropy, *store, mode, *outbound, std::move(cloud_options));
  loop = &world.loop;
  world.cloud.executions().set_mocks(std::move(mocks));
  world.cloud.executions().keep_for(std::chrono::hours(24 * o.keep_days));
  runtimes::Processes::Options functions{.endpoint = base_url, .time_scale = o.time_scale};
  if (!front_options.secret_keys.empty()) std::tie(functions.access_key, functions.secret_key) = *front_options.secret_keys.begin();
  runtimes::Processes processes(world.loop, std::move(functions), [&world](const auto&... line) { world.cloud.log_function(line...); });
  world.cloud.lambda().set_runtimes(processes);
  front_options.metrics = [&world] { return world.cloud.metrics(); };
  services::Front the_front(world.loop, world.ledger, world.cloud, std::move(front_options));
  front = &the_front;

  std::atomic<int> exit_code{0};
  const auto ready = [&] {
    server.start();
    fmt::print("Snapward {} is ready on {} after {} ms\n", SNAPWARD_VERSION, base_url,
               std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begun).count());
    if (o.no_workflows)
      fmt::print("  no snapshot workflows are deployed (--no-workflows)\n");
    else
      fmt::print("  snapshot workflows in {} (keep {}){}, volumes: {}\n", o.settings.primary_region, o.settings.retention,
                 o.settings.dr_region.empty() ? "" : fmt::format(" and {} (keep {})", o.settings.dr_region, o.settings.dr_retention),
                 o.settings.tag == "none" ? "all" : "tagged " + o.settings.tag);
    fmt::print("  state: {}\n  try: aws --endpoint-url {} ec2 describe-regions\n",
               o.in_memory ? "in memory, gone at the end" : "kept in " + o.data + "/", base_url);
    std::fflush(stdout);
  };
  world.loop.post([&] {
    keep_time(world, o.time_scale);
    if (o.no_workflows) return ready();
    world.loop.spawn(snapshots::deploy(world.cloud, o.account, o.settings), [&](const auto& deployed) {
      if (deployed) return ready();
      exit_code = fail_with(fmt::format("the workflows could not be deployed: {}", deployed.error().message));
      world.loop.stop();
    });
  });
  std::thread waiter([&] {
    int signal = 0;
    sigwait(&signals, &signal);
    the_front.say_draining();
    if (const int left = server.drain(std::chrono::milliseconds(static_cast<std::int64_t>(o.drain_seconds * 1000))); left > 0)
      spdlog::warn("{} requests were still unanswered after {} s; they are given up", left, o.drain_seconds);
    world.loop.stop();
  });
  world.loop.run();
  server.stop();
  outbound.reset();
  kill(getpid(), SIGTERM);  // for the waiter, should it still wait
  waiter.join();
  fmt::print("Snapward has stopped.\n");
  return exit_code;
}

}  // namespace

void add_serve(CLI::App& app, int& exit_code) {
  auto o = std::make_shared<Options>();
  auto* c = app.add_subcommand("serve", "Run the local cloud with the snapshot workflows deployed");
  c->add_option("--host", o->host, "address to listen on")->capture_default_str();
  c->add_option("--port", o->port, "port to listen on; 0 takes a free one")->capture_default_str();
  c->add_option("--data", o->data, "folder that keeps the state")->capture_default_str();
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
      "Examples:\n  snapward serve --in-memory --time-scale 20\n  snapward serve --tag Backup=yes --retention 14 --data /var/lib/snapward");
  c->callback([o, &exit_code] { exit_code = serve(*o); });
}

}  // namespace snapward::cli
