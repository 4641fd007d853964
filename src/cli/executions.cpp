// snapward executions: what ran, read through the API of any endpoint or from a file. A history of hundreds of events becomes a line a
// state, or a picture of the machine.
#include <fmt/color.h>
#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>

#include "base/arn.hpp"
#include "base/time.hpp"
#include "cli/api.hpp"
#include "cli/commands.hpp"
#include "diagrams/graph.hpp"
#include "diagrams/layout.hpp"
#include "diagrams/visits.hpp"
#include "engine/abort.hpp"
#include "store/store.hpp"

namespace snapward::cli {

namespace {

using diagrams::Visit;

struct Options {
  std::string endpoint = "http://127.0.0.1:4566", region = "us-west-2", arn, status, file, definition, data = "snapward-data", error, cause;
  std::size_t limit = 20;
  bool as_json = false, events = false, graph = false, mermaid = false, svg = false;
};

// An execution as it is shown.
struct Subject {
  Json description;  // of DescribeExecution; from a file, what its events say of that
  std::vector<Json> events;
};

template <class T>
using Read = std::expected<T, std::string>;  // or a sentence that says why not

Read<std::string> content(const std::string& path) {
  if (path == "-") return std::string(std::istreambuf_iterator<char>(std::cin), {});
  std::ifstream in(path);
  if (!in) return std::unexpected(fmt::format("the file '{}' cannot be read", path));
  return std::string(std::istreambuf_iterator<char>(in), {});
}

Read<std::vector<Json>> fetch_events(Api& api, const Options& o, const std::string& region) {
  std::vector<Json> events;
  Json::Object in{{"executionArn", o.arn}, {"maxResults", 1000}};
  for (;;) {
    const auto page = api.call(region, "GetExecutionHistory", in);
    if (!page) return std::unexpected(page.error());
    for (const Json& e : (*page)["events"].items()) events.push_back(e);
    if (!page->find("nextToken")) return events;
    in.set("nextToken", (*page)["nextToken"]);
  }
}
Read<Subject> fetch(Api& api, const Options& o, const std::string& region) {
  auto description = api.call(region, "DescribeExecution", Json::object({{"executionArn", o.arn}}));
  if (!description) return std::unexpected(description.error());
  auto events = fetch_events(api, o, region);
  if (!events) return std::unexpected(events.error());
  return Subject{*std::move(description), *std::move(events)};
}

// The members of DescribeExecution that a history's first and last event have.
Json description_of(const std::vector<Json>& events, const std::string& name) {
  Json::Object out{{"name", name}, {"status", "RUNNING"}};
  for (const Json& e : events) {
    const std::string_view type = e["type"].string_or();
    if (!type.starts_with("Execution")) continue;
    if (type == "ExecutionStarted") {
      out.set("startDate", iso_millis(diagrams::time_of(e))).set("input", e["executionStartedEventDetails"]["input"]);
      continue;
    }
    for (const char* member : {"output", "error", "cause", "stopDate"}) out.erase(member);
    static const std::map<std::string_view, const char*> kStatus = {{"ExecutionSucceeded", "SUCCEEDED"},
                                                                    {"ExecutionFailed", "FAILED"},
                                                                    {"ExecutionAborted", "ABORTED"},
                                                                    {"ExecutionTimedOut", "TIMED_OUT"}};
    const auto status = kStatus.find(type);
    out.set("status", status == kStatus.end() ? "RUNNING" : status->second);
    if (status == kStatus.end()) continue;
    out.set("stopDate", iso_millis(diagrams::time_of(e)));
    for (const auto& [key, details] : e.as_object())
      for (const char* member : {"output", "error", "cause"})
        if (details.is_object() && details.find(member)) out.set(member, details[member]);
  }
  return Json(std::move(out));
}
Read<Subject> read_file(const std::string& path) {
  const auto text = content(path);
  if (!text) return std::unexpected(text.error());
  auto events = diagrams::events_in(*text);
  if (!events) return std::unexpected(fmt::format("{} is not a history: {}", path, events.error().message));
  std::ranges::sort(*events, {}, [](const Json& e) { return e["id"].integer_or(0); });
  Json description = description_of(*events, path);
  return Subject{std::move(description), *std::move(events)};
}

std::string short_text(std::string_view text, std::size_t most) { return diagrams::clipped(text, most); }
std::string span(Instant from, Instant to) {
  const auto ms = (to - from).count();
  return ms < 1000 ? fmt::format("{} ms", ms) : human(to - from);
}
bool colors() { return isatty(STDOUT_FILENO) != 0; }
std::string paint(const std::string& text, fmt::color color) { return colors() ? fmt::format(fmt::fg(color), "{}", text) : text; }

void print_json(const Subject& subject, const std::vector<Visit>& visits) {
  Json::Array list;
  for (const Visit& v : visits) {
    Json::Object one{{"state", v.name},  {"type", v.type},         {"result", diagrams::name_of(v.status)}, {"entered", iso_millis(v.from)},
                     {"depth", v.depth}, {"firstEvent", v.entered}};
    if (v.exited) one.set("lastEvent", v.exited).set("exited", iso_millis(v.to));
    if (v.attempts) one.set("attempts", v.attempts);
    if (v.iterations) one.set("iterations", v.iterations).set("iterationsFailed", v.iterations_failed);
    if (!v.error.empty()) one.set("error", v.error).set("cause", v.cause);
    list.emplace_back(std::move(one));
  }
  Json::Object out = subject.description.as_object();
  out.set("states", std::move(list)).set("events", subject.events.size());
  fmt::print("{}\n", Json(std::move(out)).pretty());
}

void print_description(const Subject& subject) {
  const Json& d = subject.description;
  const std::string status(d["status"].string_or());
  const Instant from = parse_iso(d["startDate"].string_or()).value_or(Instant{});
  const auto to = parse_iso(d["stopDate"].string_or());
  fmt::print("{}  {}\n", d["name"].string_or(),
             paint(status, status == "SUCCEEDED" ? fmt::color::green
                           : status == "RUNNING" ? fmt::color::deep_sky_blue
                                                 : fmt::color::red));
  if (d.find("stateMachineArn")) fmt::print("  machine  {}\n", d["stateMachineArn"].string_or());
  fmt::print("  started  {}{}\n  events   {}\n  input    {}\n", d["startDate"].string_or(),
             to ? fmt::format(", took {}", span(from, *to)) : "", subject.events.size(), short_text(d["input"].string_or(), 100));
  if (d.find("output")) fmt::print("  output   {}\n", short_text(d["output"].string_or(), 100));
  if (d.find("error")) fmt::print("  error    {}\n", paint(std::string(d["error"].string_or()), fmt::color::red));
  if (d.find("cause")) fmt::print("  cause    {}\n", short_text(d["cause"].string_or(), 300));
  fmt::print("\n");
}

void print_events(const Subject& subject) {
  const Instant from = parse_iso(subject.description["startDate"].string_or()).value_or(Instant{});
  for (const Json& e : subject.events)
    fmt::print("  {:>5} ←{:<5} {:>9}  {}\n", e["id"].integer_or(0), e["previousEventId"].integer_or(0),
               "+" + span(from, diagrams::time_of(e)), e["type"].string_or());
}

void print_states(const Subject& subject, const std::vector<Visit>& visits) {
  const Instant from = parse_iso(subject.description["startDate"].string_or()).value_or(Instant{});
  std::size_t width = 10;
  for (const Visit& v : visits) width = std::max(width, v.name.size() + static_cast<std::size_t>(v.depth) * 2);
  for (const Visit& v : visits) {
    std::string notes;
    if (v.attempts > 1) notes += fmt::format("  {} attempts", v.attempts);
    if (v.iterations)
      notes += fmt::format("  {} items{}", v.iterations, v.iterations_failed ? fmt::format(", {} failed", v.iterations_failed) : "");
    if (!v.error.empty()) notes += "  " + paint(v.error, fmt::color::red) + (v.cause.empty() ? "" : ": " + short_text(v.cause, 80));
    const bool over = v.to != Instant{};
    fmt::print("  {} {:<{}}  {:<8} {:>8}  {:>8}{}\n", diagrams::mark_of(v.status),
               std::string(static_cast<std::size_t>(v.depth) * 2, ' ') + v.name, width, v.type, "+" + span(from, v.from),
               over ? span(v.from, v.to) : "", notes);
  }
}

// The definition from a file, or what the execution ran by, from where it ran.
Read<Json> definition_of(const Options& o) {
  std::string text;
  if (!o.definition.empty()) {
    const auto file = content(o.definition);
    if (!file) return std::unexpected(file.error());
    text = *file;
  } else if (!o.arn.empty()) {
    Api api(o.endpoint, "states");
    const auto machine = api.call(Arn::parse(o.arn)->region, "DescribeStateMachineForExecution", Json::object({{"executionArn", o.arn}}));
    if (!machine) return std::unexpected(machine.error());
    text = (*machine)["definition"].string_or();
  } else {
    return std::unexpected("a history does not hold its machine's definition: name its file with --definition");
  }
  auto definition = Json::parse(text);
  if (!definition) return std::unexpected(fmt::format("the definition is not JSON: {}", definition.error().message));
  return *std::move(definition);
}

int fail_with(const std::string& message) {
  fmt::print(stderr, "snapward: {}\n", message);
  return 1;
}

int draw(const Options& o, const std::vector<Visit>& visits, const Subject* subject = nullptr) {
  const auto definition = definition_of(o);
  if (!definition) return fail_with(definition.error());
  const diagrams::Graph graph = diagrams::graph_of(*definition);
  if (graph.states.empty()) return fail_with("the definition has no states");
  const auto progress = diagrams::progress_of(visits);
  if (subject) print_description(*subject);
  fmt::print("{}", o.svg       ? diagrams::to_svg(graph, progress)
                   : o.mermaid ? diagrams::to_mermaid(graph, progress)
                               : diagrams::to_text(graph, progress, colors()));
  return 0;
}

Read<Subject> find_subject(const Options& o) {
  if (!o.file.empty()) return read_file(o.file);
  const auto arn = Arn::parse(o.arn);
  if (!arn || !arn->resource_id("execution"))
    return std::unexpected(fmt::format(
        "'{}' is not the ARN of an execution; 'snapward executions list MACHINE_ARN' shows them, --file reads a history", o.arn));
  Api api(o.endpoint, "states");
  return fetch(api, o, arn->region);
}

int show(const Options& o) {
  const bool drawing = o.graph || o.mermaid || o.svg;
  if (drawing && o.arn.empty() && o.file.empty() && !o.definition.empty()) return draw(o, {});  // a machine, without an execution
  const auto subject = find_subject(o);
  if (!subject) return fail_with(subject.error());
  const auto visits = diagrams::visits_of(subject->events);
  if (drawing) return draw(o, visits, o.graph ? &*subject : nullptr);
  if (o.as_json) return print_json(*subject, visits), 0;
  print_description(*subject);
  if (o.events)
    print_events(*subject);
  else
    print_states(*subject, visits);
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
  auto* shows = command->add_subcommand("show", "One execution, a line a state, or a picture of its machine");
  common(shows);
  auto* arn = shows->add_option("arn", o->arn, "the execution's ARN");
  shows->add_option("--file", o->file, "instead: a history, the answer of 'aws stepfunctions get-execution-history'; -: standard input")
      ->excludes(arn);
  shows->add_flag("--events", o->events, "every event of the history");
  auto* graph = shows->add_flag("--graph", o->graph, "the machine, with what became of each state");
  auto* mermaid = shows->add_flag("--mermaid", o->mermaid, "the same for Mermaid, which Markdown shows")->excludes(graph);
  shows->add_flag("--svg", o->svg, "the same as SVG")->excludes(graph)->excludes(mermaid);
  shows->add_option("--definition", o->definition, "the machine's definition for --graph, --mermaid, --svg [what the execution ran by]");
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
      "  snapward executions show arn:aws:states:us-west-2:000000000000:execution:snapward-primary:…\n"
      "  aws stepfunctions get-execution-history --execution-arn ARN > history.json\n"
      "  snapward executions show --file history.json\n"
      "  snapward executions show --file history.json --definition machine.asl.json --graph\n"
      "  snapward executions show --definition machine.asl.json --svg > machine.svg");
}

}  // namespace snapward::cli
