// snapward events: try a pattern, ask when a schedule is due, put an event, watch a bus.
#include <fmt/format.h>

#include <csignal>
#include <fstream>
#include <iostream>
#include <iterator>

#include "base/arn.hpp"
#include "base/entropy.hpp"
#include "cli/api.hpp"
#include "cli/commands.hpp"
#include "events/matcher.hpp"
#include "events/schedule.hpp"

namespace snapward::cli {

namespace {

struct Options {
  std::string endpoint = "http://127.0.0.1:4566", region = "us-west-2", bus = "default", pattern, expression, zone, from,
              source = "snapward.cli", type, detail = "{}";
  std::vector<std::string> files;
  int count = 5;
  bool as_json = false, tables = false;
};

int fail_with(const std::string& message) {
  fmt::print(stderr, "snapward: {}\n", message);
  return 1;
}
std::optional<std::string> content(const std::string& path) {
  if (path == "-") return std::string(std::istreambuf_iterator<char>(std::cin), {});
  std::ifstream in(path);
  if (!in) return std::nullopt;
  return std::string(std::istreambuf_iterator<char>(in), {});
}

// Events in a file: one JSON document (an event, or a list of them), or one event a line.
std::expected<std::vector<std::string>, std::string> events_of(const std::string& path) {
  const auto text = content(path);
  if (!text) return std::unexpected(fmt::format("the file '{}' cannot be read", path));
  if (const auto whole = Json::parse(*text)) {
    if (!whole->is_array()) return std::vector{*text};
    std::vector<std::string> out;
    for (const Json& event : whole->as_array()) out.push_back(event.dump());
    return out;
  }
  std::vector<std::string> out;
  std::size_t line = 0;
  for (const std::string& row : split(*text, '\n')) {
    ++line;
    if (trim(row).empty()) continue;
    if (const auto event = Json::parse(row); !event)
      return std::unexpected(fmt::format("{}, line {}: {}", path, line, event.error().message));
    out.push_back(row);
  }
  return out;
}

int test(const Options& o) {
  const auto text = o.pattern.starts_with('{') ? std::optional(o.pattern) : content(o.pattern);
  if (!text) return fail_with(fmt::format("the pattern file '{}' cannot be read", o.pattern));
  const auto pattern = events::Pattern::parse(*text);
  if (!pattern) return fail_with("Event pattern is not valid. Reason: " + pattern.error().message);
  events::Matcher matcher;
  matcher.add(0, *pattern);
  if (o.tables) fmt::print("{}", matcher.describe());
  events::Matcher::Scratch scratch;
  std::size_t matched = 0, all = 0;
  Json::Array report;
  for (const std::string& file : o.files) {
    const auto list = events_of(file);
    if (!list) return fail_with(list.error());
    for (const std::string& event : *list) {
      std::vector<events::Matcher::RuleId> out;
      if (const auto good = matcher.match_text(event, scratch, out); !good)
        return fail_with(fmt::format("{}: {}", file, good.error().message));
      const Json json = *Json::parse(event);
      ++all;
      matched += out.size();
      if (o.as_json)
        report.push_back(Json::object({{"file", file}, {"id", json["id"]}, {"matches", !out.empty()}}));
      else
        fmt::print("{}  {}  {}  {}\n", out.empty() ? "no match" : "match   ", json["source"].string_or("-"),
                   json["detail-type"].string_or("-"), json["id"].string_or("-"));
    }
  }
  if (o.as_json)
    fmt::print("{}\n", Json(std::move(report)).pretty());
  else
    fmt::print("{} of {} events match\n", matched, all);
  return matched > 0 ? 0 : 2;
}

int next(const Options& o) {
  const auto schedule = events::Schedule::parse(o.expression, o.zone);
  if (!schedule) return fail_with(schedule.error().message);
  Instant at = std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now());
  if (!o.from.empty()) {
    const auto from = parse_iso(o.from);
    if (!from) return fail_with(fmt::format("'{}' is not a time like 2026-03-01T00:00:00Z", o.from));
    at = *from;
  }
  const Instant origin = at;
  Json::Array out;
  for (int i = 0; i < o.count; ++i) {
    const auto due = schedule->next(at, origin);
    if (!due) break;
    if (o.as_json)
      out.emplace_back(iso_seconds(*due));
    else
      fmt::print("{}  in {}\n", iso_seconds(*due), human(*due - origin));
    at = *due;
  }
  if (o.as_json) fmt::print("{}\n", Json(std::move(out)).pretty());
  if (!o.as_json && at == origin) fmt::print("never again\n");
  return 0;
}

int put(const Options& o) {
  Api api(o.endpoint, "events");
  const Json entry = Json::object({{"Source", o.source}, {"DetailType", o.type}, {"Detail", o.detail}, {"EventBusName", o.bus}});
  const auto reply = api.call(o.region, "PutEvents", Json::object({{"Entries", Json::array({entry})}}));
  if (!reply) return fail_with(reply.error());
  const Json& one = (*reply)["Entries"].items().at(0);
  if (one.find("ErrorCode")) return fail_with(fmt::format("{}: {}", one["ErrorCode"].string_or(), one["ErrorMessage"].string_or()));
  fmt::print("{}\n", one["EventId"].string_or());
  return 0;
}

volatile std::sig_atomic_t interrupted = 0;

// A rule and a queue of its own, for as long as one watches.
int tail(const Options& o) {
  Api events(o.endpoint, "events"), queues(o.endpoint, "sqs");
  SystemEntropy entropy;
  const std::string name = "snapward-tail-" + entropy.hex(10);
  const auto pattern = o.pattern.empty()            ? std::optional<std::string>(R"({"source":[{"prefix":""}]})")
                       : o.pattern.starts_with('{') ? std::optional(o.pattern)
                                                    : content(o.pattern);
  if (!pattern) return fail_with(fmt::format("the pattern file '{}' cannot be read", o.pattern));
  const auto queue = queues.call(o.region, "CreateQueue", Json::object({{"QueueName", name}}));
  if (!queue) return fail_with(queue.error());
  const Json url = (*queue)["QueueUrl"];
  const auto attributes =
      queues.call(o.region, "GetQueueAttributes", Json::object({{"QueueUrl", url}, {"AttributeNames", Json::array({"QueueArn"})}}));
  const auto clean = [&] {
    (void)events.call(o.region, "RemoveTargets", Json::object({{"Rule", name}, {"EventBusName", o.bus}, {"Ids", Json::array({"1"})}}));
    (void)events.call(o.region, "DeleteRule", Json::object({{"Name", name}, {"EventBusName", o.bus}}));
    (void)queues.call(o.region, "DeleteQueue", Json::object({{"QueueUrl", url}}));
  };
  const auto rule = events.call(o.region, "PutRule", Json::object({{"Name", name}, {"EventBusName", o.bus}, {"EventPattern", *pattern}}));
  const auto target =
      !attributes || !rule
          ? std::expected<Json, std::string>(Json())
          : events.call(
                o.region, "PutTargets",
                Json::object({{"Rule", name},
                              {"EventBusName", o.bus},
                              {"Targets", Json::array({Json::object({{"Id", "1"}, {"Arn", (*attributes)["Attributes"]["QueueArn"]}})})}}));
  for (const auto* step : {&attributes, &rule, &target})
    if (!*step) {
      clean();
      return fail_with(step->error());
    }
  struct sigaction action{};
  action.sa_handler = [](int) { interrupted = 1; };
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  fmt::print(stderr, "watching bus {} in {}; Ctrl-C ends\n", o.bus, o.region);
  int shown = 0;
  std::string trouble;
  while (!interrupted && (o.count == 0 || shown < o.count)) {
    const auto got =
        queues.call(o.region, "ReceiveMessage", Json::object({{"QueueUrl", url}, {"MaxNumberOfMessages", 10}, {"WaitTimeSeconds", 1}}));
    if (!got) {
      trouble = got.error();
      break;
    }
    for (const Json& message : (*got)["Messages"].items()) {
      if (o.count != 0 && shown == o.count) break;
      ++shown;
      const auto event = Json::parse(message["Body"].string_or());
      if (o.as_json || !event)
        fmt::print("{}\n", message["Body"].string_or());
      else
        fmt::print("{}  {}  {}  {}\n", (*event)["time"].string_or(), (*event)["source"].string_or(), (*event)["detail-type"].string_or(),
                   (*event)["detail"].dump());
      std::fflush(stdout);
      (void)queues.call(o.region, "DeleteMessage", Json::object({{"QueueUrl", url}, {"ReceiptHandle", message["ReceiptHandle"]}}));
    }
  }
  clean();
  return trouble.empty() ? 0 : fail_with(trouble);
}

}  // namespace

void add_events(CLI::App& app, int& exit_code) {
  auto o = std::make_shared<Options>();
  auto* command = app.add_subcommand("events", "Try patterns and schedules, put events, watch a bus");
  command->require_subcommand(1);
  auto* tests = command->add_subcommand("test", "Which events a pattern matches; exit code 0 when any does, 2 when none");
  tests->add_option("pattern", o->pattern, "the pattern, or a file that holds it")->required();
  tests->add_option("events", o->files, "files of events: JSON, or one a line; - is standard input")->required();
  tests->add_flag("--tables", o->tables, "show what the pattern was compiled into");
  tests->add_flag("--json", o->as_json, "answer for programs");
  tests->callback([o, &exit_code] { exit_code = test(*o); });
  auto* nexts = command->add_subcommand("next", "When a rate(), cron() or at() expression is due");
  nexts->add_option("expression", o->expression, "e.g. 'cron(0 3 ? * MON-FRI *)'")->required();
  nexts->add_option("--zone", o->zone, "IANA time zone [UTC]");
  nexts->add_option("--count", o->count, "how many times")->capture_default_str()->check(CLI::Range(1, 10'000));
  nexts->add_option("--from", o->from, "count from this time [now]");
  nexts->add_flag("--json", o->as_json, "answer for programs");
  nexts->callback([o, &exit_code] { exit_code = next(*o); });
  const auto remote = [o](CLI::App* c) {
    c->add_option("--endpoint", o->endpoint, "where the API is")->capture_default_str();
    c->add_option("--region", o->region, "region of the bus")->capture_default_str();
    c->add_option("--bus", o->bus, "the bus")->capture_default_str();
  };
  auto* puts = command->add_subcommand("put", "Put one event; prints its id");
  remote(puts);
  puts->add_option("detail-type", o->type, "e.g. 'Order Placed'")->required();
  puts->add_option("detail", o->detail, "a JSON object")->capture_default_str();
  puts->add_option("--source", o->source, "the event's source")->capture_default_str();
  puts->callback([o, &exit_code] { exit_code = put(*o); });
  auto* tails = command->add_subcommand("tail", "Watch a bus live");
  remote(tails);
  auto limit = std::make_shared<int>(0);
  tails->add_option("--pattern", o->pattern, "only what this pattern, or the one in this file, matches");
  tails->add_option("--count", *limit, "end after so many events; 0 goes on")->capture_default_str();
  tails->add_flag("--json", o->as_json, "whole events, one a line");
  tails->callback([o, limit, &exit_code] {
    o->count = *limit;
    exit_code = tail(*o);
  });
  command->footer(
      "Examples:\n  snapward events test '{\"source\":[\"aws.ec2\"]}' events.jsonl\n  snapward events next 'cron(30 2 * * ? *)' --zone "
      "Europe/Berlin\n"
      "  snapward events put 'Order Placed' '{\"id\":7}' --source shop\n  snapward events tail --region us-east-2 --pattern "
      "'{\"source\":[\"aws.ec2\"]}'");
}

}  // namespace snapward::cli
