#include <fmt/chrono.h>

#include "base/crash_point.hpp"
#include "base/utf8.hpp"
#include "engine/integrations.hpp"
#include "engine/live.hpp"

namespace snapward::engine {

namespace {
// RFC 9110's date: "Tue, 15 Nov 1994 08:12:31 GMT".
std::string http_date(Instant at) { return fmt::format("{:%a, %d %b %Y %H:%M:%S} GMT", std::chrono::floor<std::chrono::seconds>(at)); }
}  // namespace

void Executions::answered(const std::string& arn, std::int64_t task, std::expected<Json, asl::Failure> outcome, bool submitted) {
  const auto found = live_.find(arn);
  if (found == live_.end() || !found->second->tasks.contains(task)) return;
  if (outcome) outcome = readable(*outcome);  // an object's or a page's bytes may be anything; what is journaled is JSON
  if (submitted && outcome) return feed(arn, asl::Input::about(asl::Input::Kind::task_submitted, task, *std::move(outcome)));
  tokens_.erase(found->second->tasks.at(task).token);
  found->second->tasks.erase(task);
  if (outcome)
    feed(arn, asl::Input::about(asl::Input::Kind::task_succeeded, task, *std::move(outcome)));
  else
    feed(arn, asl::Input::failure(asl::Input::Kind::task_failed, task, utf8_of(outcome.error().error), utf8_of(outcome.error().cause)));
}

// Tasks are done in the name of the machine's role, or of the one that Credentials name.
cloud::Caller Executions::caller_of(const asl::ExecutionInfo& info) {
  return {.service = "states.amazonaws.com", .role = info.role_arn, .source = info.machine_arn};
}

void Executions::invoke(const std::string& arn, std::int64_t task) {
  Live& live = *live_.at(arn);
  const asl::Command command = live.tasks.at(task);
  if (answer_from_mocks(live, task, command)) return;
  if (command.resource->kind == asl::Resource::Kind::activity) return offer(arn, task, command);
  if (task < 0 && command.resource->action == "putObject") return write_results(live, task, command);
  const asl::ExecutionInfo& info = live.execution.info();
  const TaskContext context{.region = info.region,
                            .request_id = loop_.entropy().uuid(),
                            .date = http_date(loop_.now()),
                            .machine = info.machine_arn,
                            .execution = info.arn};
  auto call = call_for(*command.resource, command.parameters, context);
  if (!call) return answered(arn, task, std::unexpected(call.error()), false);
  call->caller = caller_of(live.execution.info());
  if (!command.role_arn.empty()) call->caller.role = command.role_arn;
  // `machine` keeps the resource alive whatever happens to the execution meanwhile.
  loop_.spawn(cloud_.call(*std::move(call)),
              [this, arn, task, machine = live.machine, resource = command.resource, context](const cloud::Reply& reply) {
                crash_point("performed");
                const auto pattern = resource->pattern;
                answered(arn, task, outcome_of(*resource, reply, context), pattern != asl::Resource::Pattern::request_response);
                if (reply && pattern == asl::Resource::Pattern::sync) watch(std::string((*reply)["executionArn"].string_or()), arn, task);
              });
}

// Step Functions' own .sync: the task is over when the execution it started is.
void Executions::watch(const std::string& child, const std::string& waiter, std::int64_t task) {
  if (live_.contains(child) || asleep_.contains(child)) {
    waiting_for_end_.emplace(child, std::pair(waiter, task));
    return;
  }
  if (const auto record = find(child)) sync_over(waiter, task, *record);
}

void Executions::sync_over(const std::string& waiter, std::int64_t task, const Json& record) {
  const auto found = live_.find(waiter);
  if (found == live_.end()) return;
  const auto command = found->second->tasks.find(task);
  if (command != found->second->tasks.end()) answered(waiter, task, sync_outcome(*command->second.resource, record), false);
}

void Executions::offer(const std::string& arn, std::int64_t task, const asl::Command& command) {
  const std::string& activity = command.resource->arn;
  if (activity_known_ && !activity_known_(activity))
    return answered(arn, task, std::unexpected(asl::Failure{asl::errors::kRuntime, fmt::format("Activity Does Not Exist: '{}'", activity)}),
                    false);
  Offered offered{arn, task, command.token, command.parameters.dump()};
  auto& waiting = pollers_[activity];
  if (waiting.empty()) {
    offered_[activity].push_back(std::move(offered));
    return;
  }
  const Poller poller = std::move(waiting.front());
  waiting.pop_front();
  feed(arn, asl::Input::about(asl::Input::Kind::task_started, task, Json(poller.worker)));
  poller.answer.set(Json::object({{"taskToken", offered.token}, {"input", offered.input}}));
}

Task<std::optional<Json>> Executions::poll_activity(std::string arn, std::string worker) {
  constexpr std::chrono::seconds kLongPoll{60};
  auto& waiting = offered_[arn];
  while (!waiting.empty()) {
    const Offered next = std::move(waiting.front());
    waiting.pop_front();
    const auto live = live_.find(next.execution);
    if (live == live_.end() || !live->second->tasks.contains(next.task)) continue;  // timed out or stopped meanwhile
    feed(next.execution, asl::Input::about(asl::Input::Kind::task_started, next.task, Json(worker)));
    co_return Json::object({{"taskToken", next.token}, {"input", next.input}});
  }
  Poller poller{++poller_ids_, worker, {}};
  pollers_[arn].push_back(poller);
  const auto timer = loop_.after(kLongPoll, [this, arn, id = poller.id] {
    auto& list = pollers_[arn];
    const auto found = std::find_if(list.begin(), list.end(), [id](const Poller& p) { return p.id == id; });
    if (found == list.end()) return;
    const auto answer = found->answer;
    list.erase(found);
    answer.set(std::nullopt);
  });
  auto task = co_await poller.answer;
  loop_.cancel(timer);
  co_return task;
}

bool Executions::answer_from_mocks(Live& live, std::int64_t task, const asl::Command& command) {
  if (live.test_case.empty()) return false;
  const std::string machine = live.execution.info().machine_name.substr(0, live.execution.info().machine_name.find('/'));
  const Json& responses =
      mocks_["MockedResponses"][mocks_["StateMachines"][machine]["TestCases"][live.test_case][command.state].string_or()];
  if (!responses.is_object()) return false;
  const std::int64_t attempt = live.mocked[command.state]++;
  for (const auto& [range, response] : responses.as_object()) {
    const std::size_t dash = range.find('-');
    const std::int64_t first = std::strtoll(range.c_str(), nullptr, 10);
    const std::int64_t last = dash == std::string::npos ? first : std::strtoll(range.c_str() + dash + 1, nullptr, 10);
    if (attempt < first || attempt > last) continue;
    if (const Json* value = response.find("Return"))
      answered(live.arn(), task, *value, false);
    else
      answered(live.arn(), task,
               std::unexpected(
                   asl::Failure{std::string(response["Throw"]["Error"].string_or()), std::string(response["Throw"]["Cause"].string_or())}),
               false);
    return true;
  }
  answered(live.arn(), task,
           std::unexpected(asl::Failure{asl::errors::kRuntime,
                                        fmt::format("The mocks of state '{}' have no response for attempt {}", command.state, attempt)}),
           false);
  return true;
}

// The execution and task that wait with a token; they wait no more.
std::optional<std::pair<std::string, std::int64_t>> Executions::claim(const std::string& token) {
  const auto found = tokens_.find(token);
  if (found == tokens_.end()) return std::nullopt;
  auto claimed = std::move(found->second);
  tokens_.erase(found);
  live_.at(claimed.first)->tasks.erase(claimed.second);
  return claimed;
}

bool Executions::task_succeeded(const std::string& token, const Json& output) {
  const auto waiting = claim(token);
  if (waiting) feed(waiting->first, asl::Input::about(asl::Input::Kind::task_succeeded, waiting->second, output));
  return waiting.has_value();
}

bool Executions::task_failed(const std::string& token, const std::string& error, const std::string& cause) {
  const auto waiting = claim(token);
  if (waiting) feed(waiting->first, asl::Input::failure(asl::Input::Kind::task_failed, waiting->second, error, cause));
  return waiting.has_value();
}

bool Executions::task_heartbeat(const std::string& token) {
  const auto found = tokens_.find(token);
  if (found == tokens_.end()) return false;
  feed(found->second.first, asl::Input::about(asl::Input::Kind::task_heartbeat, found->second.second));
  return true;
}

}  // namespace snapward::engine
