#include <fmt/format.h>

#include "cli/commands.hpp"
#include "cli/node.hpp"

namespace snapward::cli {

namespace {

struct Options : NodeOptions {
  std::string behaviour_file, mocks_file;
  bool no_throttling = false;
};

// What the options' files say.
Result<void> read_files(Options& o) {
  if (!o.behaviour_file.empty()) {
    const auto json = read_json(o.behaviour_file);
    if (!json) return std::unexpected(json.error());
    const auto behaviour = services::ec2::Behaviour::from_json(*json);
    if (!behaviour) return invalid(fmt::format("{}: {}", o.behaviour_file, behaviour.error().message));
    o.cloud.ec2 = *behaviour;
  }
  if (o.no_throttling) o.cloud.ec2.throttling = false;
  if (!o.mocks_file.empty()) {
    const auto json = read_json(o.mocks_file);
    if (!json) return std::unexpected(json.error());
    if (!json->find("StateMachines") || !json->find("MockedResponses"))
      return invalid(fmt::format("{}: a mock configuration has 'StateMachines' and 'MockedResponses'", o.mocks_file));
    o.mocks = *json;
  }
  return {};
}

int serve(Options o) {
  if (const auto good = check_node_options(o); !good) return fail_with(good.error().message);
  if (const auto read = read_files(o); !read) return fail_with(read.error().message);
  return run_node(std::move(o));
}

}  // namespace

void add_serve(CLI::App& app, int& exit_code) {
  auto o = std::make_shared<Options>();
  auto* c = app.add_subcommand("serve", "Run the local cloud with the snapshot workflows deployed");
  add_node_options(*c, *o);
  c->add_flag("--in-memory", o->in_memory, "keep nothing");
  c->add_option("--account", o->account, "account id of everything")->capture_default_str();
  c->add_flag("--no-workflows", o->no_workflows, "a bare local cloud, nothing deployed");
  c->add_option("--time-scale", o->time_scale, "how much faster time runs, e.g. 60")->capture_default_str()->check(CLI::Range(0.001, 1e6));
  c->add_option("--behaviour", o->behaviour_file, "JSON file: how the simulated EC2 behaves and fails (docs/behaviour.md)");
  c->add_flag("--no-throttling", o->no_throttling, "switch EC2's request throttling off");
  c->add_flag("--enforce-iam", o->cloud.enforce_iam, "let services call each other only as roles and resource policies allow");
  c->add_option("--mocks", o->mocks_file, "JSON file: answers given instead of calls, by state machine and test case (docs/testing.md)");
  c->add_option("--mail", o->mail, "mailbox file for e-mail subscriptions [in the data folder]");
  c->footer(
      "Examples:\n  snapward serve --in-memory --time-scale 20\n  snapward serve --tag Backup=yes --retention 14 --data /var/lib/snapward\n"
      "  snapward serve --store postgresql://snapward@db/snapward --host 0.0.0.0 --access-keys keys.json --advertise "
      "http://node-1:4566");
  c->callback([o, &exit_code] { exit_code = serve(*o); });
}

}  // namespace snapward::cli
