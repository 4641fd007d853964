#include <fmt/format.h>

#include "asl/interpreter.hpp"
#include "asl/items.hpp"
#include "base/text.hpp"

namespace snapward::asl {

void Execution::Interpreter::ask(Frame& frame, Frame::Phase phase, const Resource& resource, Json parameters) {
  frame.phase = phase;
  frame.task = --internal_ids_;
  tasks_[frame.task] = &frame;
  Command& c = command(Command::Kind::invoke_task, frame.task);
  c.resource = &resource;
  c.state = frame.state->name;
  c.parameters = std::move(parameters);
}

void Execution::Interpreter::read_items(Frame& frame) {
  const ItemReader& reader = *frame.state->reader;
  Json parameters = Json(Json::Object{});
  if (reader.parameters) {
    auto rendered = render(frame, *reader.parameters, frame.data);
    if (!rendered) return run_failed(frame, worded(frame, rendered.error()));
    parameters = *std::move(rendered);
  }
  show("afterItemReaderArguments", parameters);
  ask(frame, Frame::Phase::reading, reader.resource, std::move(parameters));
}

void Execution::Interpreter::internal_answer(Frame& frame, const Input& input) {
  const bool good = input.kind == Input::Kind::task_succeeded;
  if (!good && input.kind != Input::Kind::task_failed) return;
  tasks_.erase(input.id);
  if (input.id == frame.task) {
    frame.task = 0;
    const Frame::Phase phase = std::exchange(frame.phase, Frame::Phase::none);
    if (phase == Frame::Phase::reading) return items_read(frame, input);
    if (phase == Frame::Phase::writing) return results_written(frame, input);
    if (!good) return handle(frame, {input.error, input.cause});  // a mock
    return select_and_complete(frame, input.value);
  }
  child_answered(frame, input);
}

void Execution::Interpreter::items_read(Frame& frame, const Input& input) {
  const ItemReader& reader = *frame.state->reader;
  if (input.kind == Input::Kind::task_failed) return run_failed(frame, {errors::kItemReaderFailed, input.cause});
  auto items = read_item_list(reader, input.value);
  if (!items) return run_failed(frame, items.error());
  if (reader.max_items) {
    const auto n = number(frame, *reader.max_items, true);
    if (!n) return run_failed(frame, worded(frame, n.error()));
    if (*n < 0) return run_failed(frame, {errors::kItemReaderFailed, "field MaxItems must be positive"});
    if (*n > 0 && static_cast<double>(items->size()) > *n) items->resize(static_cast<std::size_t>(*n));  // 0: no limit
  }
  frame.items = *std::move(items);
  show("afterItemReader", Json(frame.items));
  if (probe_) return probe_map(frame);
  start_run(frame);
}

void Execution::Interpreter::tell_run(const Frame& frame, Json changes) {
  Command& c = command(Command::Kind::map_run, 0);
  c.map_run = frame.map_run;
  c.parameters = std::move(changes);
}

void Execution::Interpreter::begin_run(Frame& frame) {
  const State& s = *frame.state;
  frame.inputs.clear();
  frame.names.clear();
  frame.outcomes.clear();
  frame.next_item = frame.finished = frame.failed = 0;
  frame.phase = Frame::Phase::running;
  const Json resume = std::exchange(frame.resume, Json());
  if (frame.map_run = resume["mapRun"].string_or(); frame.map_run.empty()) {
    // A run without a Label is labelled by the service: the same for a state of a machine, and like no name a person gives.
    std::string label = s.label;
    if (label.empty()) {
      const std::string digest = hex_encode(sha256(info_.machine_arn + '\n' + s.name));
      label = fmt::format("{}-{}-{}-{}-{}", digest.substr(0, 8), digest.substr(8, 4), digest.substr(12, 4), digest.substr(16, 4),
                          digest.substr(20, 12));
    }
    frame.map_run =
        fmt::format("arn:aws:states:{}:{}:mapRun:{}/{}:{}", info_.region, account(), info_.machine_name, label, entropy_.uuid());
    frame.run_redrives = 0;
    emit(frame, "MapRunStarted", "mapRunStartedEventDetails", Json::object({{"mapRunArn", frame.map_run}}));
    tell_run(frame, Json::object({{"status", "RUNNING"},
                                  {"total", 0},
                                  {"items", 0},
                                  {"maxConcurrency", frame.concurrency},
                                  {"toleratedFailureCount", frame.tolerated_count},
                                  {"toleratedFailurePercentage", frame.tolerated_percentage}}));
  } else {
    frame.run_redrives = resume["redrives"].integer_or(0) + 1;
    emit(frame, "MapRunRedriven", "mapRunRedrivenEventDetails",
         Json::object({{"mapRunArn", frame.map_run}, {"redriveCount", frame.run_redrives}}));
    tell_run(frame, Json::object({{"status", "RUNNING"}, {"redriveCount", frame.run_redrives}, {"redriveDate", iso_millis(now_)}}));
    frame.inputs = resume["inputs"].items();
  }
  if (frame.inputs.empty()) return s.reader ? read_items(frame) : start_run(frame);
  // What succeeded before the redrive is kept; the rest runs again, each as the execution it was.
  frame.results.assign(frame.inputs.size(), Json());
  frame.done.assign(frame.inputs.size(), false);
  frame.names.resize(frame.inputs.size());
  for (std::size_t i = 0; i < frame.inputs.size() && i < resume["parts"].items().size(); ++i) {
    const Json& part = resume["parts"].items()[i];
    frame.names[i] = part["name"].string_or();
    if (const Json* result = part.find("result")) {
      frame.results[i] = *result;
      frame.done[i] = true;
      ++frame.finished;
    }
  }
  frame.outcomes = resume["outcomes"].items();
  if (frame.finished == frame.inputs.size()) return run_done(frame);
  more_children(frame);
}

// With the items known.
void Execution::Interpreter::start_run(Frame& frame) {
  if (!child_inputs(frame)) return;
  frame.phase = Frame::Phase::running;
  frame.results.assign(frame.inputs.size(), Json());
  frame.done.assign(frame.inputs.size(), false);
  frame.names.assign(frame.inputs.size(), {});
  tell_run(frame, Json::object({{"total", frame.inputs.size()}, {"items", frame.items.size()}}));
  if (frame.inputs.empty()) return run_done(frame);
  more_children(frame);
}

bool Execution::Interpreter::child_inputs(Frame& frame) {
  const State& s = *frame.state;
  std::vector<Json> inputs;
  inputs.reserve(frame.items.size());
  for (std::size_t i = 0; i < frame.items.size(); ++i) {
    if (!s.parameters) {
      inputs.push_back(frame.items[i]);
      continue;
    }
    frame.item = Json::object({{"Index", i}, {"Value", frame.items[i]}});
    auto rendered = render(frame, *s.parameters, frame.data);
    frame.item = Json();
    if (!rendered) return run_failed(frame, worded(frame, rendered.error())), false;
    inputs.push_back(*std::move(rendered));
  }
  if (s.batcher) {
    auto batches = batch(frame, *s.batcher, std::move(inputs));
    if (!batches) return run_failed(frame, worded(frame, batches.error())), false;
    inputs = *std::move(batches);
  }
  frame.inputs = std::move(inputs);
  return true;
}

Json Execution::Interpreter::run_point(const Frame& frame) {
  Json::Array parts;
  for (std::size_t i = 0; i < frame.inputs.size(); ++i) {
    Json::Object part;
    if (!frame.names[i].empty()) part.set("name", frame.names[i]);
    if (frame.done[i]) part.set("result", frame.results[i]);
    parts.emplace_back(std::move(part));
  }
  Json::Array outcomes;
  for (const Json& outcome : frame.outcomes)
    if (outcome["Status"].string_or() == "SUCCEEDED") outcomes.push_back(outcome);
  return Json::object({{"mapRun", frame.map_run},
                       {"redrives", frame.run_redrives},
                       {"inputs", Json(Json::Array(frame.inputs))},
                       {"parts", std::move(parts)},
                       {"outcomes", std::move(outcomes)}});
}

void Execution::Interpreter::run_failed(Frame& frame, const Failure& failure) {
  if (probe_) return handle(frame, failure);
  frame.left = run_point(frame);
  stop_run(frame, "FAILED");
  emit(frame, "MapRunFailed", "mapRunFailedEventDetails", failure_fields(failure));
  frame.items.clear();
  frame.results.clear();
  handle(frame, failure);
}

Outcome<std::vector<Json>> Execution::Interpreter::batch(Frame& frame, const ItemBatcher& batcher, std::vector<Json> items) {
  double most = 0, bytes = 0;
  for (const auto& [t, target] : {std::pair{&batcher.max_items, &most}, std::pair{&batcher.max_bytes, &bytes}}) {
    if (!*t) continue;
    const auto n = number(frame, **t, true);
    if (!n) return std::unexpected(n.error());
    if (*n < 0)
      return std::unexpected(
          Failure{errors::kRuntime, fmt::format("Expected non-negative integer for {}, got '{}' instead.", (*t)->field(), *n)});
    *target = *n;
  }
  std::optional<Json> shared;
  if (batcher.input) {
    auto rendered = render(frame, *batcher.input, frame.data);
    if (!rendered) return std::unexpected(rendered.error());
    shared = *std::move(rendered);
  }
  if (bytes == 0) bytes = static_cast<double>(kMaxPayloadBytes);
  std::vector<Json> out;
  Json::Array now;
  std::size_t size = 0;
  const std::size_t fixed = 20 + (shared ? shared->dump().size() + 15 : 0);
  const auto close = [&] {
    if (now.empty()) return;
    Json::Object input;
    if (shared) input.set("BatchInput", *shared);
    input.set("Items", std::exchange(now, {}));
    out.emplace_back(std::move(input));
    size = 0;
  };
  for (Json& item : items) {
    const std::size_t one = item.dump().size() + 1;
    if (!now.empty() && ((most > 0 && static_cast<double>(now.size()) >= most) || static_cast<double>(fixed + size + one) > bytes)) close();
    size += one;
    now.push_back(std::move(item));
  }
  close();
  return out;
}

void Execution::Interpreter::more_children(Frame& frame) {
  constexpr std::size_t kMaxChildren = 10'000;
  const State& s = *frame.state;
  const std::size_t limit =
      frame.concurrency == 0 ? kMaxChildren : std::min<std::size_t>(kMaxChildren, static_cast<std::size_t>(frame.concurrency));
  while (frame.next_item < frame.inputs.size() && frame.running_items.size() < limit) {
    const std::size_t i = frame.next_item++;
    if (frame.done[i]) continue;
    const std::int64_t id = --internal_ids_;
    tasks_[id] = &frame;
    frame.running_items[id] = i;
    Command& c = command(Command::Kind::start_child, id);
    c.state = s.name;
    c.machine = s.processor;
    c.again = !frame.names[i].empty() && !s.processor->express;
    if (!c.again) frame.names[i] = entropy_.uuid();
    c.name = frame.names[i];
    c.map_run = frame.map_run;
    c.parameters = frame.inputs[i];
  }
}

void Execution::Interpreter::child_answered(Frame& frame, const Input& input) {
  const auto found = frame.running_items.find(input.id);
  if (found == frame.running_items.end()) return;
  const std::size_t index = found->second;
  frame.running_items.erase(found);
  ++frame.finished;
  if (frame.state->writer && frame.state->writer->resource) frame.outcomes.push_back(input.value["execution"]);
  if (input.kind == Input::Kind::task_succeeded) {
    frame.results[index] = input.value["output"];
    frame.done[index] = true;
  } else {
    ++frame.failed;
    frame.results[index] = Json(failure_fields({input.error, input.cause}));
    if (!tolerates(frame))
      return run_failed(frame, {errors::kExceedToleratedFailureThreshold, "The specified tolerated failure threshold was exceeded"});
  }
  if (frame.finished == frame.results.size()) return run_done(frame);
  more_children(frame);
}

void Execution::Interpreter::stop_run(Frame& frame, const char* status) {
  if (frame.map_run.empty()) return;
  for (const auto& [id, item] : frame.running_items) {
    tasks_.erase(id);
    command(Command::Kind::cancel_task, id);
  }
  frame.running_items.clear();
  frame.inputs.clear();
  tell_run(frame, Json::object({{"status", status}}));
  frame.map_run.clear();
  frame.phase = Frame::Phase::none;
}

void Execution::Interpreter::run_done(Frame& frame) {
  const auto& writer = frame.state->writer;
  const std::string run = frame.map_run;
  if (writer && writer->resource) {
    Json parameters = Json(Json::Object{});
    if (writer->parameters) {
      auto rendered = render(frame, *writer->parameters, frame.data);
      if (!rendered) return run_failed(frame, worded(frame, rendered.error()));
      parameters = *std::move(rendered);
    }
    // {"bucket", "prefix", "mapRunArn", "executions"}: the engine lays the files out.
    return ask(frame, Frame::Phase::writing, *writer->resource,
               Json::object({{"Bucket", parameters["Bucket"]},
                             {"Prefix", parameters["Prefix"]},
                             {"MapRunArn", run},
                             {"Lines", writer->lines},
                             {"Transformation", writer->flatten   ? "FLATTEN"
                                                : writer->compact ? "COMPACT"
                                                                  : "NONE"},
                             {"Executions", frame.outcomes}}));
  }
  Json::Array results = std::move(frame.results);
  if (writer && writer->flatten) {
    Json::Array flat;
    for (const Json& result : results) {
      if (result.is_array())
        flat.insert(flat.end(), result.as_array().begin(), result.as_array().end());
      else
        flat.push_back(result);
    }
    results = std::move(flat);
  }
  run_succeeded(frame, Json(std::move(results)));
}

void Execution::Interpreter::results_written(Frame& frame, const Input& input) {
  if (input.kind == Input::Kind::task_failed) return run_failed(frame, {errors::kResultWriterFailed, input.cause});
  tell_run(frame, Json::object({{"resultsWritten", true}}));
  run_succeeded(frame, input.value);
}

void Execution::Interpreter::run_succeeded(Frame& frame, const Json& result) {
  stop_run(frame, "SUCCEEDED");
  emit(frame, "MapRunSucceeded", "", {});
  emit_aside(frame, "MapStateSucceeded", "", {});
  frame.items.clear();
  frame.results.clear();
  select_and_complete(frame, result);
}

void Execution::Interpreter::update_map_run(Frame& frame, const Json& limits) {
  for (auto& c : frame.children)
    if (c) update_map_run(*c, limits);
  if (frame.map_run.empty() || frame.map_run != limits["mapRunArn"].string_or()) return;
  frame.concurrency = limits["maxConcurrency"].integer_or(frame.concurrency);
  frame.tolerated_count = limits["toleratedFailureCount"].integer_or(frame.tolerated_count);
  if (limits["toleratedFailurePercentage"].is_number()) frame.tolerated_percentage = limits["toleratedFailurePercentage"].as_double();
  if (frame.phase == Frame::Phase::running) more_children(frame);
}

}  // namespace snapward::asl
