// Many fleets, each from a seed, with everything going wrong; a seed that breaks an invariant is named, and breaks it again.
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <thread>

#include "cli/commands.hpp"
#include "world/simulation.hpp"

namespace snapward::cli {

namespace {

struct Options {
  std::uint64_t first = 1, seeds = 50, executions = 0;
  unsigned jobs = 0;
  bool as_json = false, twice = false;
  std::string trace;
};

struct Tally {
  std::size_t seeds = 0, executions = 0, workflows = 0, crashes = 0, copies = 0, deletions = 0;
  std::vector<Json> broken;
};

world::Simulation::Outcome live(std::uint64_t seed, const std::string& trace) {
  world::Simulation simulation(world::Scenario::drawn(seed));
  if (!trace.empty())
    simulation.set_trace([&](const std::string& line) {
      if (line.find(trace) != std::string::npos || line.find("process dies") != std::string::npos) fmt::print("{:.600}\n", line);
    });
  if (!simulation.set_the_scene()) return {};
  simulation.live_all_days();
  simulation.come_to_rest();
  return simulation.outcome();
}

std::vector<std::string> breaches(const world::Simulation::Outcome& outcome) {
  std::vector<std::string> out;
  if (outcome.verdicts.empty()) out.emplace_back("the scene could not be set");
  for (const auto& v : outcome.verdicts)
    for (const std::string& b : v.breaches) out.push_back(fmt::format("invariant {} ({}): {}", v.invariant, v.name, b));
  return out;
}

int simulate(const Options& o) {
  const auto begun = std::chrono::steady_clock::now();
  const bool progress = isatty(2) != 0;
  std::atomic<std::uint64_t> next = o.first;
  std::atomic<bool> enough = false;
  std::mutex mutex;  // guards tally and what is printed
  Tally tally;
  const auto work = [&] {
    while (!enough) {
      const std::uint64_t seed = next++;
      if (o.executions == 0 && seed >= o.first + o.seeds) return;
      const auto outcome = live(seed, o.trace);
      auto found = breaches(outcome);
      if (o.twice && live(seed, "").digest != outcome.digest) found.emplace_back("the same seed gave another run");
      const std::lock_guard lock(mutex);
      ++tally.seeds;
      for (const auto& [status, n] : outcome.executions) tally.executions += n;
      tally.workflows += outcome.workflows;
      tally.crashes += outcome.crashes;
      tally.copies += outcome.copies;
      tally.deletions += outcome.deletions;
      if (o.executions && tally.executions >= o.executions) enough = true;
      if (!found.empty()) {
        Json::Array list;
        for (const std::string& b : found) list.emplace_back(b);
        tally.broken.push_back(Json::object({{"seed", seed}, {"breaches", std::move(list)}}));
        if (!o.as_json) {
          fmt::print("{}seed {} of snapward {} ({}) breaks {}:\n", progress ? "\r\x1b[K" : "", seed, SNAPWARD_VERSION, commit(),
                     found.size() == 1 ? "an invariant" : fmt::format("{} times", found.size()));
          for (std::size_t i = 0; i < found.size() && i < 8; ++i) fmt::print("  {}\n", found[i]);
          fmt::print("  again: snapward simulate --seed {}\n", seed);
          std::fflush(stdout);
        }
      }
      if (progress && !o.as_json)
        fmt::print(stderr, "\r\x1b[K{} seeds, {} executions, {} process deaths", tally.seeds, tally.executions, tally.crashes);
    }
  };
  std::vector<std::thread> workers;
  for (unsigned i = 0; i < (o.jobs ? o.jobs : std::max(1U, std::thread::hardware_concurrency())); ++i) workers.emplace_back(work);
  for (std::thread& worker : workers) worker.join();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  if (o.as_json) {
    fmt::print("{}\n", Json::object({{"version", SNAPWARD_VERSION},
                                     {"commit", commit()},
                                     {"seeds", tally.seeds},
                                     {"executions", tally.executions},
                                     {"workflowExecutions", tally.workflows},
                                     {"processDeaths", tally.crashes},
                                     {"copies", tally.copies},
                                     {"deletions", tally.deletions},
                                     {"seconds", seconds},
                                     {"broken", Json::Array(tally.broken)}})
                           .pretty());
  } else {
    fmt::print("{}{} seeds, {} executions ({} of snapshots and copies), {} process deaths, {} copies, {} deletions in {:.1f} s: {}\n",
               progress ? "\r\x1b[K" : "", tally.seeds, tally.executions, tally.workflows, tally.crashes, tally.copies, tally.deletions,
               seconds, tally.broken.empty() ? "every invariant held" : fmt::format("{} seeds broke an invariant", tally.broken.size()));
  }
  return tally.broken.empty() ? 0 : 1;
}

}  // namespace

void add_simulate(CLI::App& app, int& exit_code) {
  auto o = std::make_shared<Options>();
  auto* c =
      app.add_subcommand("simulate", "Fleets on virtual time, each from a seed, with faults and process deaths; checks the invariants");
  c->add_option("--from", o->first, "first seed")->capture_default_str();
  c->add_option("--seeds", o->seeds, "how many")->capture_default_str();
  c->add_option_function<std::uint64_t>(
      "--seed", [o](const std::uint64_t& seed) { o->first = seed, o->seeds = 1; }, "this one alone: replays it exactly");
  c->add_option("--executions", o->executions, "as many seeds as give so many executions");
  c->add_option("--jobs", o->jobs, "seeds at a time [one a core]");
  c->add_option("--trace", o->trace, "print every call whose line holds this text, such as a snapshot's id");
  c->add_flag("--twice", o->twice, "live through each seed twice and compare every call");
  c->add_flag("--json", o->as_json, "the result for programs");
  c->footer(
      "Exit code 0: every invariant held (docs/simulation.md names them).\n"
      "Examples:\n  snapward simulate --seeds 200\n  snapward simulate --seed 4711\n  snapward simulate --executions 1000000");
  c->callback([o, &exit_code] {
    spdlog::set_level(spdlog::level::off);  // dying processes complain
    exit_code = simulate(*o);
  });
}

}  // namespace snapward::cli
