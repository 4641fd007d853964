// First figures of the hot paths. Ratios within one run are what counts; see docs/performance.md.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <fstream>
#include <iterator>

#include "asl/execution.hpp"
#include "engine/executions.hpp"
#include "events/pattern.hpp"
#include "query/jsonata.hpp"
#include "wire/protocol.hpp"

namespace snapward {
namespace {

constexpr const char* kEvent =
    R"({"version":"0","id":"08b0efc6-8ab7-55fa-b7ff-5c1c1d46053a","detail-type":"EBS Snapshot Notification","source":"aws.ec2","account":"123456789012","time":"2026-01-01T00:00:07Z","region":"us-west-2","resources":["arn:aws:ec2::us-west-2:snapshot/snap-0bdbba6ee1f9cd7dc"],"detail":{"event":"createSnapshot","result":"succeeded","cause":"","request-id":"","snapshot_id":"arn:aws:ec2::us-west-2:snapshot/snap-0bdbba6ee1f9cd7dc","source":"arn:aws:ec2::us-west-2:volume/vol-00e0a9be356706b2f","startTime":"2025-12-31T23:58:32Z","endTime":"2026-01-01T00:00:07Z"}})";

void json_parse(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(Json::parse(kEvent));
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) * static_cast<std::int64_t>(std::string_view(kEvent).size()));
}
BENCHMARK(json_parse);

void json_dump(benchmark::State& state) {
  const Json event = *Json::parse(kEvent);
  for (auto _ : state) benchmark::DoNotOptimize(event.dump());
}
BENCHMARK(json_dump);

void wire_decode_ec2(benchmark::State& state) {
  wire::HttpRequest request;
  request.body =
      "Action=CreateSnapshot&Version=2016-11-15&VolumeId=vol-00e0a9be356706b2f&Description=nightly&TagSpecification.1.ResourceType="
      "snapshot&TagSpecification.1.Tag.1.Key=Name&TagSpecification.1.Tag.1.Value=data";
  const auto* ec2 = wire::find_service("ec2");
  for (auto _ : state) benchmark::DoNotOptimize(wire::decode_request(*ec2, request));
}
BENCHMARK(wire_decode_ec2);

void wire_decode_states(benchmark::State& state) {
  wire::HttpRequest request;
  request.headers.add("X-Amz-Target", "AWSStepFunctions.StartExecution");
  request.body = Json::object({{"stateMachineArn", "arn:aws:states:us-west-2:123456789012:stateMachine:M"}, {"input", kEvent}}).dump();
  const auto* states = wire::find_service("states");
  for (auto _ : state) benchmark::DoNotOptimize(wire::decode_request(*states, request));
}
BENCHMARK(wire_decode_states);

void event_match(benchmark::State& state) {
  const auto pattern = *events::Pattern::parse(
      R"({"source":["aws.ec2"],"detail-type":["EBS Snapshot Notification"],"detail":{"event":["createSnapshot"],"result":["succeeded"],"snapshot_id":[{"prefix":"arn:aws:ec2::us-west-2:snapshot/snap-0b"}]}})");
  const Json event = *Json::parse(kEvent);
  for (auto _ : state) benchmark::DoNotOptimize(pattern.matches(event));
}
BENCHMARK(event_match);

// The interpreter alone, with its history rendered: `range` Pass states in a row.
void pass_states(benchmark::State& state) {
  std::string definition = R"({"StartAt":"P0","States":{)";
  for (std::int64_t i = 0; i < state.range(0); ++i)
    definition += (i ? "," : "") + std::string("\"P") + std::to_string(i) + "\":{\"Type\":\"Pass\"," +
                  (i + 1 < state.range(0) ? "\"Next\":\"P" + std::to_string(i + 1) + "\"}" : "\"End\":true}");
  const auto machine = asl::compile_text(definition + "}}").machine;
  const Json input = *Json::parse(kEvent);
  for (auto _ : state) {
    asl::Execution execution(machine, {.arn = "arn:aws:states:us-west-2:1:execution:M:e",
                                       .name = "e",
                                       .role_arn = "r",
                                       .machine_arn = "m",
                                       .machine_name = "M",
                                       .region = "us-west-2",
                                       .input = input,
                                       .input_text = kEvent,
                                       .started = {}});
    const auto step =
        execution.step({.kind = asl::Input::Kind::started, .at = {}, .seed = 1, .id = 0, .value = {}, .error = {}, .cause = {}});
    benchmark::DoNotOptimize(asl::stored_events(step.history));
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()));
}
BENCHMARK(pass_states)->Arg(1)->Arg(5);

class NoCloud final : public cloud::Cloud {
 public:
  Task<cloud::Reply> call(cloud::Call) override { co_return Json(Json::Object{}); }
};

// An engine in memory, and its one machine.
struct Engine {
  VirtualClock clock{Instant{}};
  SeededEntropy entropy{1};
  std::unique_ptr<store::Store> store = store::open_memory();
  engine::Loop loop{clock, entropy};
  engine::Ledger ledger{*store, loop, engine::Ledger::Mode::inline_commits};
  NoCloud cloud;
  engine::Executions executions{loop, ledger, cloud};
  void start(const std::shared_ptr<const asl::Machine>& machine, const std::string& name, const std::string& text, const Json& input) {
    executions.start({.arn = "arn:aws:states:us-west-2:1:stateMachine:M",
                      .name = "M",
                      .role_arn = "r",
                      .region = "us-west-2",
                      .revision = "1",
                      .machine = machine},
                     name, text, input);
  }
};

// Whole executions in memory: journal, history and records in the store.
void run_in_memory(benchmark::State& state, const std::string& definition, const std::string& input_text) {
  Engine engine;
  const auto machine = asl::compile_text(definition).machine;
  const auto input = Json::parse(input_text);
  if (!machine || !input) return state.SkipWithError("the machine or its input cannot be read");
  std::int64_t n = 0;
  for (auto _ : state) {
    engine.start(machine, std::to_string(n++), input_text, *input);
    if (n % 64 == 0) engine.loop.settle();
  }
  engine.loop.settle();
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()));
}
void executions_in_memory(benchmark::State& state) {
  run_in_memory(
      state,
      R"({"StartAt":"A","States":{"A":{"Type":"Pass","Next":"B"},"B":{"Type":"Pass","Next":"C"},"C":{"Type":"Pass","Next":"D"},"D":{"Type":"Pass","Next":"E"},"E":{"Type":"Pass","End":true}}})",
      kEvent);
}
BENCHMARK(executions_in_memory)->Iterations(20'000);

// The same of a machine of your own, without tasks: SNAPWARD_BENCH_MACHINE and SNAPWARD_BENCH_INPUT name files.
std::string file_named_by(const char* variable) {
  const char* path = std::getenv(variable);
  std::ifstream in(path ? path : "");
  return {std::istreambuf_iterator<char>(in), {}};
}
void executions_of_your_machine(benchmark::State& state) {
  const std::string definition = file_named_by("SNAPWARD_BENCH_MACHINE"), input = file_named_by("SNAPWARD_BENCH_INPUT");
  if (definition.empty()) return state.SkipWithError("SNAPWARD_BENCH_MACHINE names no machine");
  run_in_memory(state, definition, input.empty() ? "{}" : input);
}
BENCHMARK(executions_of_your_machine)->Iterations(20'000);

// ── JSONata ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

std::string thousand_objects() {
  std::string out = "[";
  for (int i = 0; i < 1000; ++i)
    out += (i ? "," : "") + std::string(R"({"id":"snap-)") + std::to_string(i) + R"(","size":)" + std::to_string(i * 7919 % 1000) +
           R"(,"state":"completed"})";
  return out + "]";
}
// An expression over a document; `from_text` reads the document anew each time, as a task's result arrives.
void jsonata(benchmark::State& state, const char* text, const std::string& document, bool from_text) {
  const auto expression = *query::Jsonata::parse(text);
  const Json parsed = *Json::parse(document);
  SeededEntropy entropy(1);
  for (auto _ : state) {
    const Json data = from_text ? *Json::parse(document) : parsed;
    const Json states = Json::object({{"input", data}});
    query::Jsonata::Environment environment{.states = &states, .entropy = &entropy, .now = {}, .step_functions = true};
    auto out = expression.evaluate(nullptr, environment);
    if (!out || !*out) state.SkipWithError("no result");
    benchmark::DoNotOptimize(out);
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()));
}
void jsonata_path(benchmark::State& state) { jsonata(state, "$states.input.detail.snapshot_id", kEvent, false); }
BENCHMARK(jsonata_path);
void jsonata_count_where(benchmark::State& state) { jsonata(state, "$count($states.input[size > 500])", thousand_objects(), true); }
BENCHMARK(jsonata_count_where);
void jsonata_sort_slice(benchmark::State& state) { jsonata(state, "$states.input^(>size)[[0..9]].id", thousand_objects(), true); }
BENCHMARK(jsonata_sort_slice);
void jsonata_parse_expression(benchmark::State& state) {
  for (auto _ : state)
    benchmark::DoNotOptimize(
        query::Jsonata::parse("$count($states.input.volumes[size > 500 and state = 'in-use'].snapshots.(id & ':' & $string(size)))"));
}
BENCHMARK(jsonata_parse_expression);

// A Map over 1,000 items, Pass inside, in memory with its whole history: `range` 0 inline, 1 distributed (Express children).
void map_thousand(benchmark::State& state) {
  Engine engine;
  const std::string config = state.range(0) ? R"("ProcessorConfig":{"Mode":"DISTRIBUTED","ExecutionType":"EXPRESS"},)" : "";
  const auto machine = asl::compile_text(R"({"StartAt":"M","States":{"M":{"Type":"Map","ItemProcessor":{)" + config +
                                         R"("StartAt":"P","States":{"P":{"Type":"Pass","End":true}}},"End":true}}})")
                           .machine;
  std::string text = "[";
  for (int i = 0; i < 1000; ++i) text += (i ? "," : "") + std::to_string(i);
  const Json input = *Json::parse(text + "]");
  std::int64_t n = 0;
  for (auto _ : state) {
    const std::string name = std::to_string(n++);
    engine.start(machine, name, text + "]", input);
    engine.loop.settle();
    if ((*engine.executions.find("arn:aws:states:us-west-2:1:execution:M:" + name))["status"].string_or() != "SUCCEEDED")
      state.SkipWithError("it did not succeed");
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()));
}
BENCHMARK(map_thousand)->Arg(0)->Arg(1)->Iterations(200);

}  // namespace
}  // namespace snapward
