#include "diagrams/visits.hpp"

#include <algorithm>
#include <cmath>

namespace snapward::diagrams {

namespace {

// Puts events together to visits. Events name their predecessors: the chain back from an event leads to the state it belongs to.
class Collector {
 public:
  void add(const Json& event) {
    id_ = event["id"].integer_or(0);
    previous_ = event["previousEventId"].integer_or(0);
    type_ = event["type"].string_or();
    at_ = time_of(event);
    depth_ = depths_.contains(previous_) ? depths_[previous_] : 0;
    if (type_.ends_with("StateEntered"))
      enter(event);
    else
      go_on(event);
    depths_[id_] = depth_;
  }
  std::vector<Visit> take() { return std::move(visits_); }

 private:
  void enter(const Json& event) {
    Visit visit;
    visit.name = event["stateEnteredEventDetails"]["name"].string_or();
    visit.type = type_.substr(0, type_.size() - std::string_view("StateEntered").size());
    visit.entered = id_;
    visit.from = at_;
    visit.depth = depth_;
    if (visit.type == "Fail") visit.status = Status::failed, visit.to = at_;
    visit_of_[id_] = visits_.size();
    visits_.push_back(std::move(visit));
  }
  void go_on(const Json& event) {
    Visit* visit = belongs_to(event);
    if (type_.ends_with("StateExited")) visit = exit(event["stateExitedEventDetails"]["name"].string_or(), visit);
    for (const std::string_view kind : {"Map", "Parallel"})
      if (type_.starts_with(kind) && !type_.ends_with("StateExited")) visit = container(kind, visit);
    if (type_ == "MapStateStarted" || type_ == "ParallelStateStarted") ++depth_;
    const bool whole = type_.starts_with("MapState") || type_.starts_with("ParallelState");
    if (whole && (type_.ends_with("Succeeded") || type_.ends_with("Failed") || type_.ends_with("Aborted")))
      depth_ = std::max(0, depth_ - 1);
    if (!visit) return;
    visit_of_[id_] = static_cast<std::size_t>(visit - visits_.data());
    if (!type_.starts_with("Execution"))
      count(event, *visit);
    else if (type_ == "ExecutionFailed" && visit->status == Status::running)
      visit->status = Status::failed, visit->to = at_;  // by what has no event of its own, a path that leads nowhere
  }
  Visit* belongs_to(const Json& event) {
    // Names its state, and at AWS not always its predecessor (recorded, 2025).
    if (const Json& failed = event["evaluationFailedEventDetails"]; failed.find("state"))
      for (auto v = visits_.rbegin(); v != visits_.rend(); ++v)
        if (v->name == failed["state"].string_or() && v->exited == 0) return &*v;
    const auto known = visit_of_.find(previous_);
    return known == visit_of_.end() ? nullptr : &visits_[known->second];
  }
  // The Map or Parallel that an event of its iterations or branches is about, which follows an event of a state inside.
  Visit* container(std::string_view kind, Visit* otherwise) {
    for (auto v = visits_.rbegin(); v != visits_.rend(); ++v)
      if (v->type == kind && v->exited == 0 && v->status != Status::aborted) return &*v;
    return otherwise;
  }
  Visit* exit(std::string_view name, Visit* otherwise) {  // by name: branches end in any order
    for (auto v = visits_.rbegin(); v != visits_.rend(); ++v) {
      if (v->name != name || v->exited != 0) continue;
      v->exited = id_;
      v->to = at_;
      v->status = v->status == Status::failed ? Status::caught : Status::done;
      depth_ = v->depth;
      return &*v;
    }
    return otherwise;
  }
  void count(const Json& event, Visit& visit) const {
    if (type_.ends_with("Scheduled")) ++visit.attempts;
    if (type_ == "MapIterationStarted") ++visit.iterations;
    if (type_ == "MapIterationFailed") ++visit.iterations_failed;
    if (type_.ends_with("Failed") || type_.ends_with("TimedOut")) {
      ++visit.failures;
      visit.status = Status::failed;
      visit.to = at_;
      for (const auto& [key, details] : event.as_object())
        if (details.is_object() && details.find("error")) {
          visit.error = details["error"].string_or();
          visit.cause = details["cause"].string_or();
        }
    } else if (type_.ends_with("Aborted")) {
      visit.status = Status::aborted;
      visit.to = at_;
    } else if (type_.ends_with("Scheduled") || type_.ends_with("Succeeded")) {
      if (visit.exited == 0) visit.status = Status::running;  // a retry goes well, or is under way
    }
  }

  std::vector<Visit> visits_;
  std::map<std::int64_t, std::size_t> visit_of_;  // event id → visit
  std::map<std::int64_t, int> depths_;            // event id → nesting after it
  std::int64_t id_ = 0, previous_ = 0;
  std::string_view type_;
  Instant at_;
  int depth_ = 0;
};

// The end of an execution ends what has no end of its own.
void end_with(std::vector<Visit>& visits, const Json& last) {
  const std::string_view type = last["type"].string_or();
  if (!type.starts_with("Execution") || type == "ExecutionStarted" || type == "ExecutionRedriven") return;
  for (Visit& visit : visits)
    if (visit.status == Status::running) visit.status = Status::aborted, visit.to = time_of(last);
}

}  // namespace

std::vector<Visit> visits_of(std::vector<Json> events) {
  std::ranges::sort(events, {}, [](const Json& e) { return e["id"].integer_or(0); });
  Collector collector;
  for (const Json& event : events) collector.add(event);
  std::vector<Visit> visits = collector.take();
  if (!events.empty()) end_with(visits, events.back());
  return visits;
}

ProgressByState progress_of(const std::vector<Visit>& visits) {
  ProgressByState out;
  for (const Visit& visit : visits) {
    Progress& progress = out[visit.name];
    ++progress.visits;
    progress.status = std::max(progress.status, visit.status);
  }
  return out;
}

Result<std::vector<Json>> events_in(std::string_view text) {
  const auto json = Json::parse(text);
  if (!json) return std::unexpected(json.error());
  const Json& list = json->is_array() ? *json : (*json)["events"];
  if (!list.is_array()) return invalid("it has no 'events': the answer of get-execution-history is expected");
  for (const Json& event : list.as_array())
    if (!event["id"].is_number() || !event["type"].is_string()) return invalid("its events have no 'id' and 'type'");
  return list.as_array();
}

Instant time_of(const Json& event) {
  const Json& at = event["timestamp"];
  if (at.is_number()) return Instant(Duration(std::llround(at.as_double() * 1000)));
  return parse_iso(at.string_or()).value_or(Instant{});
}

}  // namespace snapward::diagrams
