#include "asl/execution.hpp"

#include "asl/interpreter.hpp"

namespace snapward::asl {

Execution::Execution(std::shared_ptr<const Machine> machine, ExecutionInfo info)
    : impl_(std::make_unique<Interpreter>(std::move(machine), std::move(info))) {}
Execution::~Execution() = default;
Execution::Execution(Execution&&) noexcept = default;
Execution& Execution::operator=(Execution&&) noexcept = default;
Step Execution::step(const Input& input) { return impl_->step(input); }
void Execution::probe(Probe* probe) { impl_->probe_ = probe; }
void Execution::interrupt_on(const std::atomic<bool>* flag) { impl_->interrupted_ = flag; }
Json Execution::failure_point() const { return impl_->failure_point(); }
const ExecutionInfo& Execution::info() const { return impl_->info_; }
Status Execution::status() const { return impl_->status_; }
Instant Execution::stopped() const { return impl_->stopped_; }
const std::string& Execution::output_text() const { return impl_->output_text_; }
const Failure& Execution::failure() const { return impl_->failure_; }
std::int64_t Execution::events() const { return impl_->events_; }
std::vector<Execution::Waiting> Execution::waiting_for() const {
  std::vector<Waiting> out;
  impl_->waiting(impl_->top_, out);
  return out;
}

const char* status_name(Status status) {
  switch (status) {
    case Status::running:
      return "RUNNING";
    case Status::succeeded:
      return "SUCCEEDED";
    case Status::failed:
      return "FAILED";
    case Status::timed_out:
      return "TIMED_OUT";
    case Status::aborted:
      return "ABORTED";
  }
  return "";
}

namespace {
constexpr const char* kInputNames[] = {"started", "task_submitted", "task_succeeded", "task_failed",     "task_heartbeat", "timer_fired",
                                       "aborted", "task_started",   "redriven",       "map_run_updated", "resumed"};
}

Input Input::about(Kind kind, std::int64_t id, Json value) {
  Input out;
  out.kind = kind;
  out.id = id;
  out.value = std::move(value);
  return out;
}
Input Input::failure(Kind kind, std::int64_t id, std::string error, std::string cause) {
  Input out = about(kind, id);
  out.error = std::move(error);
  out.cause = std::move(cause);
  return out;
}

Json Input::to_json() const {
  Json::Object out;
  out.set("kind", kInputNames[static_cast<int>(kind)])
      .set("at", at.time_since_epoch().count())
      .set("seed", static_cast<std::int64_t>(seed));
  if (id) out.set("id", id);
  if (!value.is_null()) out.set("value", value);
  if (!error.empty()) out.set("error", error);
  if (!cause.empty()) out.set("cause", cause);
  if (budget) out.set("budget", budget);
  return out;
}

Input Input::from_json(const Json& json) {
  Input out;
  for (int i = 0; i < static_cast<int>(std::size(kInputNames)); ++i)
    if (json["kind"].string_or() == kInputNames[i]) out.kind = static_cast<Kind>(i);
  out.at = Instant(Duration(json["at"].integer_or(0)));
  out.seed = static_cast<std::uint64_t>(json["seed"].integer_or(0));
  out.id = json["id"].integer_or(0);
  out.value = json["value"];
  out.error = json["error"].string_or();
  out.cause = json["cause"].string_or();
  out.budget = json["budget"].integer_or(0);
  return out;
}

}  // namespace snapward::asl
