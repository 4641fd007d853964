// snapward executions: what ran, read through the API of any endpoint. A history of hundreds of events becomes a line a state.
#include <fmt/color.h>
#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>

#include "base/arn.hpp"
#include "base/time.hpp"
#include "cli/api.hpp"
#include "cli/commands.hpp"
#include "engine/abort.hpp"
#include "store/store.hpp"

namespace snapward::cli {

namespace {

struct Options {
  std::string endpoint = "http://127.0.0.1:4566", region = "us-west-2", arn, status, data = "snapward-data", error, cause;
  std::size_t limit = 20;
  bool as_json = false, events = false;
};

// One visit of a state, put together from its events.
struct Visit {
  std::string name, type, result = "running", error, cause;
  std::int64_t entered = 0, exited = 0;  // event ids
  Instant from, to;
  int depth = 0, attempts = 0, failures = 0;
  std::size_t iterations = 0, iterations_failed = 0;
};

std::string_view without(std::string_view text, std::string_view suffix) { return text.substr(0, text.size() - suffix.size()); }

// Events name their predecessors: the chain back from an event leads to the state it belongs to.
std::vector<Visit> collapse(const std::vector<Json>& events) {
  std::vector<Visit> visits;
  std::map<std::int64_t, std::size_t> visit_of;  // event id → visit
  std::map<std::int64_t, int> depth_of;          // event id → nesting after it
  for (const Json& e : events) {
    const std::int64_t id = e["id"].integer_or(0), previous = e["previousEventId"].integer_or(0);
    const std::string_view type = e["type"].string_or();
    const Instant at = parse_iso(e["timestamp"].string_or()).value_or(Instant{});
    int depth = depth_of.contains(previous) ? depth_of[previous] : 0;
    if (type.ends_with("StateEntered")) {
      Visit v;
      v.name = e["stateEnteredEventDetails"]["name"].string_or();
      v.type = without(type, "StateEntered");
      v.entered = id;
      v.from = at;
      v.depth = depth;
      visit_of[id] = visits.size();
      visits.push_back(std::move(v));
      depth_of[id] = depth;
      continue;
    }
    const auto known = visit_of.find(previous);
    std::size_t index = known == visit_of.end() ? std::string::npos : known->second;
    if (type.ends_with("StateExited")) {  // by name: branches end in any order
      const std::string_view name = e["stateExitedEventDetails"]["name"].string_or();
      for (std::size_t v = visits.size(); v-- > 0;)
        if (visits[v].name == name && visits[v].exited == 0) {
          index = v;
          visits[v].exited = id;
          visits[v].to = at;
          visits[v].result = visits[v].failures > 0 && visits[v].result == "failed" ? "caught" : "done";
          depth = visits[v].depth;
          break;
        }
    }
    if (type == "MapStateStarted" || type == "ParallelStateStarted" || type == "MapRunStarted") depth += type == "MapRunStarted" ? 0 : 1;
    if (type == "MapStateSucceeded" || type == "ParallelStateSucceeded" || type == "MapStateFailed" || type == "ParallelStateFailed" ||
        type == "MapStateAborted" || type == "ParallelStateAborted")
      depth = std::max(0, depth - 1);
    if (index != std::string::npos) {
      Visit& v = visits[index];
      if (type.ends_with("Scheduled")) ++v.attempts;
      if (type == "MapIterationStarted") ++v.iterations;
      if (type == "MapIterationFailed") ++v.iterations_failed;
      const bool failed = type.ends_with("Failed") || type.ends_with("TimedOut");
      if (failed && !type.starts_with("Execution")) {
        ++v.failures;
        v.result = "failed";
        for (const auto& [key, details] : e.as_object())
          if (details.is_object() && details.find("error")) {
            v.error = details["error"].string_or();
            v.cause = details["cause"].string_or();
          }
        v.to = at;
      }
      if (type.ends_with("Aborted") && !type.starts_with("Execution")) v.result = "aborted", v.to = at;
      visit_of[id] = index;
    }
    depth_of[id] = depth;
  }
  return visits;
}

std::string mark(const Visit& v) {
  return v.result == "done" ? "✓" : v.result == "failed" ? "✗" : v.result == "caught" ? "!" : v.result == "aborted" ? "-" : "…";
}
std::string short_text(std::string_view text, std::size_t most) {
  std::string out(text.substr(0, most));
  std::replace(out.begin(), out.end(), '\n', ' ');
  return text.size() > most ? out + "…" : out;
}
std::string span(Instant from, Instant to) {
  const auto ms = (to - from).count();
  return ms < 1000 ? fmt::format("{} ms", ms) : human(to - from);
}

int show(const Options& o) {
  const auto arn = Arn::parse(o.arn);
  if (!arn || !arn->resource_id("execution")) {
    fmt::print(stderr, "snapward: '{}' is not the ARN of an execution; 'snapward executions list MACHINE_ARN' shows them\n", o.arn);
    return 1;
  }
  Api api(o.endpoint, "states");
  const auto fail = [](const std::string& message) {
    fmt::print(stderr, "snapward: {}\n", message);
    return 1;
  };
  const auto described = api.call(arn->region, "DescribeExecution", Json::object({{"executionArn", o.arn}}));
  if (!described) return fail(described.error());
  const Json& d = *described;
  std::vector<Json> events;
  for (Json token;;) {
    Json::Object in{{"executionArn", o.arn}, {"maxResults", 1000}};
    if (!token.is_null()) in.set("nextToken", token);
    const auto page = api.call(arn->region, "GetExecutionHistory", Json(std::move(in)));
    if (!page) return fail(page.error());
    for (const Json& e : (*page)["events"].items()) events.push_back(e);
    token = (*page)["nextToken"];
    if (token.is_null()) break;
  }
  const auto visits = collapse(events);
  if (o.as_json) {
    Json::Array list;
    for (const Visit& v : visits) {
      Json::Object one{{"state", v.name},  {"type", v.type},         {"result", v.result}, {"entered", iso_millis(v.from)},
                       {"depth", v.depth}, {"firstEvent", v.entered}};
      if (v.exited) one.set("lastEvent", v.exited).set("exited", iso_millis(v.to));
      if (v.attempts) one.set("attempts", v.attempts);
      if (v.iterations) one.set("iterations", v.iterations).set("iterationsFailed", v.iterations_failed);
      if (!v.error.empty()) one.set("error", v.error).set("cause", v.cause);
      list.emplace_back(std::move(one));
    }
    Json::Object out = d.as_object();
    out.set("states", std::move(list)).set("events", events.size());
    fmt::print("{}\n", Json(std::move(out)).pretty());
    return 0;
  }
  const bool color = isatty(STDOUT_FILENO) != 0;
  const auto paint = [color](const std::string& text, fmt::color c) { return color ? fmt::format(fmt::fg(c), "{}", text) : text; };
  const std::string status(d["status"].string_or());
  const Instant from = parse_iso(d["startDate"].string_or()).value_or(Instant{});
  const auto to = parse_iso(d["stopDate"].string_or());
  fmt::print("{}  {}\n", d["name"].string_or(),
             paint(status, status == "SUCCEEDED" ? fmt::color::green
                           : status == "RUNNING" ? fmt::color::deep_sky_blue
                                                 : fmt::color::red));
  fmt::print("  machine  {}\n  started  {}{}\n  events   {}\n  input    {}\n", d["stateMachineArn"].string_or(), d["startDate"].string_or(),
             to ? fmt::format(", took {}", span(from, *to)) : "", events.size(), short_text(d["input"].string_or(), 100));
  if (d.find("output")) fmt::print("  output   {}\n", short_text(d["output"].string_or(), 100));
  if (d.find("error")) fmt::print("  error    {}\n", paint(std::string(d["error"].string_or()), fmt::color::red));
  if (d.find("cause")) fmt::print("  cause    {}\n", short_text(d["cause"].string_or(), 300));
  fmt::print("\n");
  if (o.events) {
    for (const Json& e : events)
      fmt::print("  {:>5} ←{:<5} {:>9}  {}\n", e["id"].integer_or(0), e["previousEventId"].integer_or(0),
                 "+" + span(from, parse_iso(e["timestamp"].string_or()).value_or(from)), e["type"].string_or());
    return 0;
  }
  std::size_t width = 10;
  for (const Visit& v : visits) width = std::max(width, v.name.size() + static_cast<std::size_t>(v.depth) * 2);
  for (const Visit& v : visits) {
    std::string notes;
    if (v.attempts > 1) notes += fmt::format("  {} attempts", v.attempts);
    if (v.iterations)
      notes += fmt::format("  {} items{}", v.iterations, v.iterations_failed ? fmt::format(", {} failed", v.iterations_failed) : "");
    if (!v.error.empty()) notes += "  " + paint(v.error, fmt::color::red) + (v.cause.empty() ? "" : ": " + short_text(v.cause, 80));
    const bool over = v.to != Instant{};
    fmt::print("  {} {:<{}}  {:<8} {:>8}  {:>8}{}\n", mark(v), std::string(static_cast<std::size_t>(v.depth) * 2, ' ') + v.name, width,
               v.type, "+" + span(from, v.from), over ? span(v.from, v.to) : "", notes);
  }
  return 0;
}

// On the folder itself: for an execution that keeps its server from working.
int stop(const Options& o) {
  if (!std::filesystem::exists(o.data + "/snapward.db"))
    return fmt::print(stderr, "snapward: there is no state in '{}'; name its folder with --data\n", o.data), 1;
  auto store = store::open_sqlite(o.data);
  if (!store) return fmt::print(stderr, "snapward: {}\n", store.error().message), 1;
  const auto record = engine::abort_execution(**store, o.arn, SystemClock().now(), o.error, o.cause);
  if (!record) return fmt::print(stderr, "snapward: {}\n", record.error().message), 1;
  if (o.as_json) return fmt::print("{}\n", record->pretty()), 0;
  fmt::print("{} is {} since {}. What it had started goes on; it cannot be redriven.\n", o.arn, (*record)["status"].string_or(),
             (*record)["stopDate"].string_or());
  return 0;
}

int list(const Options& o) {
  const auto arn = Arn::parse(o.arn);
  const std::string region = arn ? arn->region : o.region;
  Api api(o.endpoint, "states");
  if (o.arn.empty()) {
    const auto machines = api.call(region, "ListStateMachines", Json(Json::Object{}));
    if (!machines) return fmt::print(stderr, "snapward: {}\n", machines.error()), 1;
    if (o.as_json) return fmt::print("{}\n", (*machines)["stateMachines"].pretty()), 0;
    for (const Json& m : (*machines)["stateMachines"].items())
      fmt::print("{:<10} {}\n", m["type"].string_or(), m["stateMachineArn"].string_or());
    return 0;
  }
  const bool run = arn && arn->resource_id("mapRun");
  Json::Object in{{run ? "mapRunArn" : "stateMachineArn", o.arn}, {"maxResults", std::min<std::size_t>(o.limit, 1000)}};
  if (!o.status.empty()) in.set("statusFilter", o.status);
  const auto page = api.call(region, "ListExecutions", Json(std::move(in)));
  if (!page) return fmt::print(stderr, "snapward: {}\n", page.error()), 1;
  if (o.as_json) return fmt::print("{}\n", (*page)["executions"].pretty()), 0;
  for (const Json& e : (*page)["executions"].items())
    fmt::print("{:<10} {}  {}\n", e["status"].string_or(), e["startDate"].string_or(), e["executionArn"].string_or());
  return 0;
}

}  // namespace

void add_executions(CLI::App& app, int& exit_code) {
  auto o = std::make_shared<Options>();
  auto* command = app.add_subcommand("executions", "Look at state machines and what they did");
  command->require_subcommand(1);
  const auto common = [o](CLI::App* c) {
    c->add_option("--endpoint", o->endpoint, "where the API is")->capture_default_str();
    c->add_flag("--json", o->as_json, "answer for programs");
  };
  auto* shows = command->add_subcommand("show", "One execution, a line a state");
  common(shows);
  shows->add_option("arn", o->arn, "the execution's ARN")->required();
  shows->add_flag("--events", o->events, "every event of the history instead");
  shows->callback([o, &exit_code] { exit_code = show(*o); });
  auto* stops =
      command->add_subcommand("stop", "End an execution in the data folder of a server that does not run, as StopExecution would");
  stops->add_option("arn", o->arn, "the execution's ARN")->required();
  stops->add_option("--data", o->data, "folder that keeps the state")->capture_default_str();
  stops->add_option("--error", o->error, "an error code for the history");
  stops->add_option("--cause", o->cause, "a cause for the history");
  stops->add_flag("--json", o->as_json, "the execution's record, for programs");
  stops->footer("Example: snapward executions stop --data /var/lib/snapward arn:aws:states:us-west-2:000000000000:execution:Loop:run-1");
  stops->callback([o, &exit_code] { exit_code = stop(*o); });
  auto* lists = command->add_subcommand("list", "The executions of a machine or a map run, newest first; without an ARN, the machines");
  common(lists);
  lists->add_option("arn", o->arn, "a state machine's or a map run's ARN");
  lists->add_option("--region", o->region, "region of the machines")->capture_default_str();
  lists->add_option("--status", o->status, "only these")->check(CLI::IsMember({"RUNNING", "SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"}));
  lists->add_option("--limit", o->limit, "how many")->capture_default_str();
  lists->callback([o, &exit_code] { exit_code = list(*o); });
  command->footer(
      "Marks: ✓ done, ✗ failed, ! failed and caught, - cut short, … still running.\n"
      "Examples:\n  snapward executions list\n  snapward executions list "
      "arn:aws:states:us-west-2:000000000000:stateMachine:snapward-primary --status FAILED\n"
      "  snapward executions show arn:aws:states:us-west-2:000000000000:execution:snapward-primary:…");
}

}  // namespace snapward::cli
