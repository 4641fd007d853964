#include <fmt/format.h>

#include <algorithm>

#include "asl/interpreter.hpp"

namespace snapward::asl {

void Execution::Interpreter::parallel(Frame& frame) {
  const State& s = *frame.state;
  Json input = frame.data;
  if (s.parameters) {
    auto rendered = render(frame, *s.parameters, frame.data);
    if (!rendered) return fail(frame, rendered.error());
    input = *std::move(rendered);
  }
  show(s.language == Language::jsonata ? "afterArguments" : "afterParameters", input);
  emit(frame, "ParallelStateStarted", "", {});
  if (probe_) return wait_for_mock(frame);
  begin_children(frame, s.branches.size());
  frame.next_item = s.branches.size();
  for (std::size_t i = 0; i < s.branches.size(); ++i) {
    if (settled(frame, i)) continue;
    Frame& c = child(frame, i, *s.branches[i]);
    if (const Json* at = part(frame, i).find("at"))
      resume_at(c, *at);
    else
      place(c, s.branches[i]->start_at, input);
  }
  for (std::size_t i = s.branches.size(); i-- > 0;)
    if (frame.children[i]) ready_.push_front(frame.children[i].get());
}

void Execution::Interpreter::wait_for_mock(Frame& frame) {
  frame.task = --internal_ids_;
  tasks_[frame.task] = &frame;
  frame.phase = Frame::Phase::none;
  command(Command::Kind::invoke_task, frame.task).state = frame.state->name;
}

void Execution::Interpreter::map(Frame& frame) {
  const State& s = *frame.state;
  frame.items.clear();
  if (!map_concurrency(frame) || (!s.reader && !map_items(frame))) return;
  emit(frame, "MapStateStarted", "mapStateStartedEventDetails", Json::object({{"length", frame.items.size()}}));
  if (!map_tolerance(frame)) return;
  if (probe_) return s.reader ? read_items(frame) : probe_map(frame);
  if (s.processor) return begin_run(frame);
  begin_children(frame, frame.items.size());
  if (frame.items.empty()) return children_done(frame);
  more_items(frame);
}

bool Execution::Interpreter::map_concurrency(Frame& frame) {
  const State& s = *frame.state;
  frame.concurrency = 0;
  if (!s.max_concurrency) return show("maxConcurrency", Json(0)), true;
  const auto n = number(frame, *s.max_concurrency, true);
  if (!n) return fail(frame, n.error()), false;
  if (*n < 0)
    return fail(frame, {errors::kRuntime, fmt::format("Expected non-negative integer for MaxConcurrency, got '{}' instead.", *n)}), false;
  frame.concurrency = static_cast<std::int64_t>(*n);
  show("maxConcurrency", Json(frame.concurrency));
  return true;
}

bool Execution::Interpreter::map_items(Frame& frame) {
  const State& s = *frame.state;
  Json items = frame.data;
  if (s.items) {
    auto found = s.items->find(scope(frame, frame.data));
    if (!found) return fail(frame, found.error()), false;
    if (!*found) {
      auto path = Expression::parse(s.items->text());
      return fail(frame, no_such_path(frame, *path, frame.data)), false;
    }
    items = **std::move(found);
  }
  if (s.language == Language::jsonpath) show("afterItemsPath", items);
  if (items.is_array()) return frame.items = items.as_array(), true;
  if (s.items && s.items->is_jsonata())
    fail(frame, wrong_type(*s.items, "array", items));
  else if (s.language == Language::jsonata)
    fail(frame, {errors::kQueryEvaluationError, fmt::format("Map state input must be an array but was: {}", type_name(items)), "Items"});
  else
    fail(frame, {errors::kRuntime, fmt::format("Reference path \"{}\" must point to array.", s.items ? s.items->text() : "$")});
  return false;
}

bool Execution::Interpreter::map_tolerance(Frame& frame) {
  const State& s = *frame.state;
  frame.tolerated_count = 0;
  frame.tolerated_percentage = 0;
  if (s.tolerated_count) {
    const auto n = number(frame, *s.tolerated_count, true);
    if (!n) return fail(frame, n.error()), false;
    if (*n < 0) return fail(frame, {errors::kRuntime, "ToleratedFailureCount cannot be negative."}), false;
    frame.tolerated_count = static_cast<std::int64_t>(*n);
    show("toleratedFailureCount", Json(frame.tolerated_count));
  }
  if (s.tolerated_percentage) {
    const auto n = number(frame, *s.tolerated_percentage, false);
    if (!n) return fail(frame, n.error()), false;
    if (*n < 0 || *n > 100) return fail(frame, {errors::kRuntime, "ToleratedFailurePercentage must be between 0 and 100."}), false;
    frame.tolerated_percentage = *n;
    show("toleratedFailurePercentage", Json(frame.tolerated_percentage));
  }
  return true;
}

void Execution::Interpreter::probe_map(Frame& frame) {
  const State& s = *frame.state;
  if (s.parameters) {
    Json::Array selected;
    for (std::size_t i = 0; i < frame.items.size(); ++i) {
      frame.item = Json::object({{"Index", i}, {"Value", frame.items[i]}});
      auto rendered = render(frame, *s.parameters, frame.data);
      if (!rendered) return fail(frame, rendered.error());
      selected.push_back(*std::move(rendered));
    }
    frame.item = Json();
    show("afterItemSelector", Json(std::move(selected)));
  }
  wait_for_mock(frame);
}

void Execution::Interpreter::begin_children(Frame& frame, std::size_t count) {
  frame.children.clear();
  frame.children.resize(count);
  frame.results.assign(count, Json());
  frame.next_item = frame.finished = frame.failed = 0;
}

const Json& Execution::Interpreter::part(const Frame& frame, std::size_t i) {
  static const Json kNew;
  return i < frame.resume.items().size() ? frame.resume.items()[i] : kNew;
}

bool Execution::Interpreter::settled(Frame& frame, std::size_t i) {
  const Json* result = part(frame, i).find("result");
  if (!result) return false;
  frame.results[i] = *result;
  ++frame.finished;
  return true;
}

Frame& Execution::Interpreter::child(Frame& parent, std::size_t index, const Graph& graph) {
  auto frame = std::make_unique<Frame>();
  frame->parent = &parent;
  frame->index = index;
  frame->graph = &graph;
  frame->variables = parent.variables;
  frame->last_event = parent.last_event;
  return *(parent.children[index] = std::move(frame));
}

void Execution::Interpreter::more_items(Frame& frame) {
  constexpr std::int64_t kMostAtOnce = 40;  // Developer Guide, "Map state processing modes"
  const State& s = *frame.state;
  const std::int64_t limit = frame.concurrency == 0 ? kMostAtOnce : std::min(frame.concurrency, kMostAtOnce);
  const std::size_t first = frame.next_item;
  while (frame.next_item < frame.items.size() && static_cast<std::int64_t>(frame.next_item - frame.finished) < limit) {
    const std::size_t i = frame.next_item++;
    if (settled(frame, i)) continue;
    Frame& c = child(frame, i, *s.branches[0]);
    c.item = Json::object({{"Index", i}, {"Value", frame.items[i]}});
    c.starting = true;
    if (const Json* at = part(frame, i).find("at")) {
      resume_at(c, *at);
      continue;
    }
    Json input = frame.items[i];
    if (s.parameters) {
      c.input = frame.input;  // what an ItemSelector's $states.input is
      auto rendered = render(c, *s.parameters, frame.data);
      if (!rendered) {
        drop_children(frame, nullptr);
        return fail(frame, rendered.error());
      }
      input = *std::move(rendered);
    }
    place(c, s.branches[0]->start_at, std::move(input));
  }
  for (std::size_t i = frame.next_item; i-- > first;)
    if (frame.children[i]) ready_.push_front(frame.children[i].get());
  if (frame.finished == frame.items.size()) children_done(frame);
}

Json Execution::Interpreter::iteration(const Frame& c) { return Json::object({{"name", c.parent->state->name}, {"index", c.index}}); }

void Execution::Interpreter::child_succeeded(Frame& c, Json output) {
  Frame& parent = *c.parent;
  std::int64_t last = c.last_event;
  if (parent.state->type == StateType::map)
    last = emit_aside(c, "MapIterationSucceeded", "mapIterationSucceededEventDetails", iteration(c));
  parent.results[c.index] = std::move(output);
  child_finished(c, last);
}

// The next item follows what the child did last; the end of them all follows `last`, the event that says how the child ended.
void Execution::Interpreter::child_finished(Frame& c, std::int64_t last) {
  Frame& parent = *c.parent;
  ++parent.finished;
  const bool all = parent.finished == parent.children.size();
  parent.last_event = all ? last : c.last_event;
  discarded_.push_back(std::move(parent.children[c.index]));
  if (all) return children_done(parent);
  if (parent.state->type == StateType::map && parent.next_item < parent.items.size()) more_items(parent);
}

void Execution::Interpreter::children_done(Frame& frame) {
  const bool is_map = frame.state->type == StateType::map;
  emit_aside(frame, is_map ? "MapStateSucceeded" : "ParallelStateSucceeded", "", {});
  Json::Array results = std::move(frame.results);
  frame.children.clear();
  frame.items.clear();
  select_and_complete(frame, Json(std::move(results)));
}

bool Execution::Interpreter::tolerates(const Frame& map) {
  const double percentage = 100.0 * static_cast<double>(map.failed) / static_cast<double>(std::max<std::size_t>(1, map.results.size()));
  return (map.tolerated_count > 0 && static_cast<std::int64_t>(map.failed) <= map.tolerated_count) ||
         (map.tolerated_percentage > 0 && percentage <= map.tolerated_percentage);
}

void Execution::Interpreter::child_failed(Frame& c, const Failure& failure) {
  Frame& parent = *c.parent;
  const State& s = *parent.state;
  if (s.type == StateType::map) {
    const std::int64_t last = emit_aside(c, "MapIterationFailed", "mapIterationFailedEventDetails", iteration(c));
    ++parent.failed;
    if (tolerates(parent)) {
      parent.results[c.index] = Json(failure_fields(failure));
      return child_finished(c, last);
    }
  }
  parent.last_event = c.last_event;
  drop_children(parent, &c);
  handle(parent, failure);
}

void Execution::Interpreter::drop_children(Frame& parent, const Frame* but) {
  parent.left = inside(parent);
  parent.resume = Json();
  for (auto& c : parent.children) {
    if (!c) continue;
    if (c.get() != but) {
      abandon(*c, true);
      if (parent.state->type == StateType::map && !c->starting)
        emit(*c, "MapIterationAborted", "mapIterationAbortedEventDetails", iteration(*c));
      parent.last_event = c->last_event;
    }
    std::replace(ready_.begin(), ready_.end(), c.get(), static_cast<Frame*>(nullptr));
    discarded_.push_back(std::move(c));
  }
  parent.children.clear();
  parent.items.clear();
  parent.results.clear();
}

void Execution::Interpreter::abandon(Frame& frame, bool tell) {
  const bool waited = frame.task || frame.timer;
  const std::int64_t task = frame.task;
  stop_waiting(frame);
  if (task) command(Command::Kind::cancel_task, task);
  stop_run(frame, "ABORTED");
  bool inside = false;
  for (auto& c : frame.children)
    if (c) {
      inside = true;
      abandon(*c, tell);
      if (tell && frame.state->type == StateType::map && !c->starting)
        emit(*c, "MapIterationAborted", "mapIterationAbortedEventDetails", iteration(*c));
      frame.last_event = c->last_event;
      std::replace(ready_.begin(), ready_.end(), c.get(), static_cast<Frame*>(nullptr));
    }
  if (!tell || !(waited || inside)) return;
  switch (frame.state->type) {
    case StateType::task:
      emit(frame, "TaskStateAborted", "", {});
      break;
    case StateType::wait:
      emit(frame, "WaitStateAborted", "", {});
      break;
    case StateType::parallel:
      emit(frame, "ParallelStateAborted", "", {});
      break;
    case StateType::map:
      emit(frame, "MapStateAborted", "", {});
      break;
    default:
      break;
  }
}

}  // namespace snapward::asl
