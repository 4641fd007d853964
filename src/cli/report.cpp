// snapward report: how well the volumes of an account, or of the local cloud, are protected.
#include "snapshots/report.hpp"

#include <fmt/color.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "cli/api.hpp"
#include "cli/commands.hpp"
#include "cli/node.hpp"
#include "cloud/retry.hpp"

namespace snapward::cli {

namespace {

constexpr int kNotGood = 2;  // the exit code: asked and answered, and the answer is no

struct Options {
  std::string endpoint = "http://127.0.0.1:4566", profile, tiers_file, rpo = "24h", dr_rpo = "24h";
  double min_miles = 0;
  bool at_aws = false, as_json = false;
  snapshots::Settings settings;
};

void show(const snapshots::Report& report) {
  const bool color = isatty(STDOUT_FILENO) != 0;
  const auto paint = [color](const std::string& text, fmt::color c) { return color ? fmt::format(fmt::fg(c), "{}", text) : text; };
  const auto ago = [&](const std::optional<Instant>& at) { return at ? human(report.at - *at) : "never"; };
  const bool copies = !report.dr.empty();
  std::string where = report.primary;
  if (copies) where += fmt::format(" → {}{}", report.dr, report.miles ? fmt::format(", about {:.0f} miles", *report.miles) : "");
  fmt::print("{}, at {}\n\n", where, iso_seconds(report.at));
  for (const std::string& finding : report.findings) fmt::print("  {} {}\n", paint("✗", fmt::color::red), finding);
  std::size_t name = 4, tier = 4;
  for (const auto& p : report.volumes) name = std::max(name, p.name.size()), tier = std::max(tier, p.tier.size());
  if (report.volumes.empty()) {
    fmt::print("  no volumes are managed\n");
  } else {
    fmt::print("    {:<21}  {:<{}}  {:<{}}  {:>8}  {:>10}  {:>9}", "volume", "name", name, "tier", tier, "GiB", "newest", "snapshots");
    fmt::print("{}\n", copies ? fmt::format("  {:>10}  {:>6}", "copied", "copies") : "");
  }
  std::size_t bad = 0;
  for (const auto& p : report.volumes) {
    bad += !p.findings.empty();
    fmt::print("  {} {:<21}  {:<{}}  {:<{}}  {:>8}  {:>10}  {:>9}",
               p.findings.empty() ? paint(p.gone ? "-" : "✓", fmt::color::green) : paint("✗", fmt::color::red), p.volume, p.name, name,
               p.tier, tier, p.gone ? "gone" : std::to_string(p.size_gib), ago(p.newest), p.snapshots);
    fmt::print("{}\n", copies ? fmt::format("  {:>10}  {:>6}", ago(p.newest_copied), p.copies) : "");
    for (const std::string& finding : p.findings) fmt::print("      {}\n", finding);
  }
  if (!report.volumes.empty())
    fmt::print("\n{} of {} volumes are protected as they should be.\n", report.volumes.size() - bad, report.volumes.size());
}

int report(const Options& o) {
  std::vector<snapshots::Tier> tiers;
  if (!o.tiers_file.empty()) {
    const auto json = read_json(o.tiers_file);
    if (!json) return fail_with(json.error().message);
    auto read = snapshots::Tier::list_from_json(*json);
    if (!read) return fail_with(fmt::format("{}: {}", o.tiers_file, read.error().message));
    tiers = *std::move(read);
  }
  const auto rpo = snapshots::span_from(o.rpo), dr_rpo = snapshots::span_from(o.dr_rpo);
  if (!rpo) return fail_with("--rpo: " + rpo.error().message);
  if (!dr_rpo) return fail_with("--dr-rpo: " + dr_rpo.error().message);
  const aws::Identity::Options who =
      o.at_aws || !o.profile.empty() ? caller_at_aws(o.profile, o.settings.primary_region) : caller_here(o.endpoint);
  const auto inventory =
      with_cloud(who, [&](engine::Loop&, aws::Identity&, cloud::Cloud& cloud) { return snapshots::take_inventory(cloud, o.settings); });
  if (!inventory) return fail_with(said(inventory.error()));
  const auto now = std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now());
  const auto result =
      snapshots::assess(*inventory, o.settings, tiers, {.name = "", .tag = "none", .rpo = *rpo, .dr_rpo = *dr_rpo}, o.min_miles, now);
  if (o.as_json)
    fmt::print("{}\n", result.to_json().pretty());
  else
    show(result);
  return result.good() ? 0 : kNotGood;
}

}  // namespace

void add_report(CLI::App& app, int& exit_code) {
  auto o = std::make_shared<Options>();
  auto* c = app.add_subcommand("report", "How well volumes are protected: the age of what could be restored, here and in the DR region");
  c->add_option("--endpoint", o->endpoint, "where the API is")->capture_default_str();
  c->add_flag("--aws", o->at_aws, "ask AWS itself, with the credentials that the AWS SDKs would use");
  c->add_option("--profile", o->profile, "the same, with those of a profile");
  c->add_option("--tag", o->settings.tag, "volumes to look at: none (all), a tag key, or key=value")->capture_default_str();
  c->add_option("--primary-region", o->settings.primary_region, "region of the volumes")->capture_default_str();
  c->add_option("--dr-region", o->settings.dr_region, "region of the copies; \"\" looks for none")->capture_default_str();
  c->add_option("--rpo", o->rpo, "how much of a volume may be lost: 90s, 15m, 4h, 7d")->capture_default_str();
  c->add_option("--dr-rpo", o->dr_rpo, "and how much when its region is lost")->capture_default_str();
  c->add_option("--tiers", o->tiers_file, "JSON file: objectives by the volumes' tags (docs/report.md)");
  c->add_option("--min-miles", o->min_miles, "how far apart the two regions must be")->check(CLI::Range(0.0, 12'500.0));
  c->add_flag("--json", o->as_json, "answer for programs");
  c->footer(
      "Exit codes: 0 all is as it should be, 2 something is not, 1 it could not be asked.\n"
      "Examples:\n  snapward report --rpo 4h --dr-rpo 12h\n  snapward report --aws --tag Backup=yes --tiers tiers.json --min-miles 500\n"
      "  snapward report --profile backup --json | jq '.volumes[] | select(.good | not)'");
  c->callback([o, &exit_code] { exit_code = report(*o); });
}

}  // namespace snapward::cli
