// snapward controller: the workflows here, the snapshots in an account at AWS.
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "cli/api.hpp"
#include "cli/commands.hpp"
#include "cli/node.hpp"
#include "controller/feed.hpp"

namespace snapward::cli {

namespace {

struct Options : NodeOptions {
  std::string profile, endpoint;
  bool remove = false;
};

struct Caller {
  std::string account, arn, credentials;
};

// Whose credentials these are. Waits for AWS as long as that is only out of reach.
Task<std::expected<Caller, std::string>> who_calls(engine::Loop& loop, aws::Identity& identity, cloud::Cloud& account, std::string region) {
  Duration pause = std::chrono::seconds(1);
  for (;;) {
    const cloud::Reply reply = co_await account.call({"sts", region, "GetCallerIdentity", Json(Json::Object{})});
    if (reply) co_return Caller{std::string((*reply)["Account"].string_or()), std::string((*reply)["Arn"].string_or()), identity.source()};
    const cloud::Error& error = reply.error();
    if (const auto kind = cloud::kind_of(error); kind != cloud::Kind::unavailable && kind != cloud::Kind::throttled)
      co_return std::unexpected(error.code == aws::kNoCredentials
                                    ? error.message
                                    : fmt::format("AWS does not know the caller: {}: {}", error.code, error.message));
    spdlog::warn("AWS cannot be asked who calls, it is tried again: {}", error.message);
    co_await loop.sleep(pause);
    pause = std::min<Duration>(2 * pause, std::chrono::minutes(1));
  }
}

int remove(const Options& o) {
  for (const std::string& region : {o.settings.primary_region, o.settings.dr_region}) {
    if (region.empty()) continue;
    const auto removed =
        with_cloud(*o.controls, [&](engine::Loop&, aws::Identity&, cloud::Cloud& account) { return controller::remove(account, region); });
    if (!removed) return fail_with(fmt::format("{}: {}", region, said(removed.error())));
    fmt::print("{}: the rule {} and the queue {} are removed; snapshots, copies, their tags and the topic stay\n", region,
               controller::kRule, controller::kQueue);
  }
  return 0;
}

int control(Options o) {
  if (o.settings.tag.empty() && !o.remove)
    return fail_with("say which volumes are to be managed: --tag KEY, --tag KEY=VALUE, or --tag none for all of the account's");
  o.controls = caller_at_aws(o.profile, o.settings.primary_region);
  if (!o.endpoint.empty()) o.controls->endpoint = o.endpoint;
  if (const auto good = check_node_options(o); !good) return fail_with(good.error().message);
  const auto caller = with_cloud(*o.controls, [&](engine::Loop& loop, aws::Identity& identity, cloud::Cloud& account) {
    return who_calls(loop, identity, account, o.settings.primary_region);
  });
  if (!caller) return fail_with(caller.error());
  spdlog::info("{} by {}", caller->arn, caller->credentials);
  o.account = caller->account;
  return o.remove ? remove(o) : run_node(std::move(o));
}

}  // namespace

void add_controller(CLI::App& app, int& exit_code) {
  auto o = std::make_shared<Options>();
  o->data = "snapward-controller";
  o->settings.tag = "";  // a real account's volumes are not managed unless somebody says which
  auto* c = app.add_subcommand("controller", "Run the snapshot workflows here over the snapshots of an AWS account");
  add_node_options(*c, *o);
  c->add_option("--profile", o->profile, "profile whose credentials are used [where the AWS SDKs look]");
  c->add_option("--endpoint", o->endpoint, "in place of AWS, for all services [AWS_ENDPOINT_URL]");
  c->add_flag("--adopt", o->adopt, "take into care, copy and prune to the retention, snapshots from before the first start too");
  c->add_flag("--remove", o->remove, "take away what a controller makes in the account, the queues and their rules, and end");
  c->footer(
      "Examples:\n  snapward controller --tag Backup=yes --primary-region eu-west-1 --dr-region eu-central-1\n"
      "  snapward controller --profile backup --data /var/lib/snapward-controller --retention 14\n"
      "  snapward controller --profile backup --remove\n\nWhat the credentials must allow: docs/controller.md");
  c->callback([o, &exit_code] { exit_code = control(*o); });
}

}  // namespace snapward::cli
