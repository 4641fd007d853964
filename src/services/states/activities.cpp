// Activities and Map Runs. Source: Step Functions API Reference.
#include <fmt/format.h>

#include "base/arn.hpp"
#include "base/text.hpp"
#include "services/states/states.hpp"

namespace snapward::services::states {

namespace {
std::unexpected<cloud::Error> no_activity(std::string_view arn) {
  const auto parsed = Arn::parse(arn);
  if (!parsed || !parsed->resource_id("activity")) return invalid_arn(arn);
  return cloud::error("ActivityDoesNotExist", fmt::format("Activity Does Not Exist: '{}'", arn));
}
}  // namespace

void States::store(const Activity& a) {
  save("activities", a.arn,
       Json::object({{"name", a.name}, {"region", a.region}, {"created", a.created.time_since_epoch().count()}, {"tags", a.tags}}));
}

void States::register_activities() {
  on("CreateActivity", [this](const Call& call) -> Reply {
    const std::string name(call.input["name"].string_or());
    if (!is_name(name)) return cloud::error("InvalidName", fmt::format("Invalid Name: '{}'", name));
    const std::string arn = fmt::format("arn:aws:states:{}:{}:activity:{}", call.region, env_.account, name);
    auto& a = activities_[arn];
    if (a.arn.empty()) {  // creating it again is the same activity
      a = {.arn = arn,
           .name = name,
           .region = call.region,
           .created = env_.loop.now(),
           .tags = merge_tags(Json(Json::Array{}), call.input["tags"], "key", "value")};
      store(a);
    }
    return Json::object({{"activityArn", arn}, {"creationDate", iso_millis(a.created)}});
  });
  on("DescribeActivity", [this](const Call& call) -> Reply {
    const auto a = activities_.find(call.input["activityArn"].string_or());
    if (a == activities_.end()) return no_activity(call.input["activityArn"].string_or());
    return Json::object({{"activityArn", a->first}, {"name", a->second.name}, {"creationDate", iso_millis(a->second.created)}});
  });
  on("ListActivities", [this](const Call& call) -> Reply {
    const auto page = page_request(call.input);
    if (!page) return std::unexpected(page.error());
    Json::Array out;
    for (auto a = activities_.lower_bound(page->from); a != activities_.end(); ++a) {
      if (a->second.region != call.region) continue;
      if (out.size() == page->limit) return Json::object({{"activities", std::move(out)}, {"nextToken", page_token(a->first)}});
      out.push_back(Json::object({{"activityArn", a->first}, {"name", a->second.name}, {"creationDate", iso_millis(a->second.created)}}));
    }
    return Json::object({{"activities", std::move(out)}});
  });
  on("DeleteActivity", [this](const Call& call) -> Reply {
    const std::string arn(call.input["activityArn"].string_or());
    if (!activities_.contains(arn)) {
      const auto why = no_activity(arn);
      if (why.error().code == "InvalidArn") return why;
      return Json(Json::Object{});
    }
    activities_.erase(arn);
    drop("activities", arn);
    return Json(Json::Object{});
  });
  on_async("GetActivityTask", [this](Call call) -> Task<Reply> {
    const std::string arn(call.input["activityArn"].string_or());
    if (const std::string_view worker = call.input["workerName"].string_or(); utf8_length(worker) > 80)
      co_return bad_input(
          fmt::format("1 validation error detected: Value '{}' at 'workerName' failed to satisfy constraint: Member must "
                      "have length less than or equal to 80",
                      worker));
    if (!activities_.contains(arn)) co_return no_activity(arn);
    const auto task = co_await executions_.poll_activity(arn, std::string(call.input["workerName"].string_or()));
    co_return task.value_or(Json(Json::Object{}));
  });
}

void States::register_map_runs() {
  on("DescribeMapRun", [this](const Call& c) { return describe_map_run(c); });
  on("ListMapRuns", [this](const Call& c) { return list_map_runs(c); });
  on("UpdateMapRun", [this](const Call& c) { return update_map_run(c); });
}

Reply States::describe_map_run(const Call& call) {
  const std::string arn(call.input["mapRunArn"].string_or());
  if (!Arn::parse(arn)) return invalid_arn(arn);
  const auto run = executions_.find_map_run(arn);
  if (!run) return cloud::error("ResourceNotFound", fmt::format("Resource not found: '{}'", arn));
  // Counted from the children: of executions, and of the items each of them holds.
  const std::int64_t total = (*run)["total"].integer_or(0), items = (*run)["items"].integer_or(0);
  struct Counts {
    std::map<std::string, std::int64_t, std::less<>> by_status;
    std::int64_t seen = 0;
  } executions, held;
  for (std::string from;;) {
    const auto page = executions_.list(arn, "", 1000, from);
    for (const Json& child : page.items) {
      std::int64_t n = 1;
      if (items != total)
        if (const auto input = Json::parse(child["input"].string_or())) n = static_cast<std::int64_t>((*input)["Items"].items().size());
      const std::string status(child["status"].string_or());
      executions.by_status[status] += 1;
      held.by_status[status] += n;
      executions.seen += 1;
      held.seen += n;
    }
    if (page.next.empty()) break;
    from = page.next;
  }
  const bool written = (*run)["resultsWritten"].bool_or(false);
  const auto counts = [written](Counts& c, std::int64_t all) {
    return Json::object({{"pending", all - c.seen},
                         {"running", c.by_status["RUNNING"]},
                         {"succeeded", c.by_status["SUCCEEDED"]},
                         {"failed", c.by_status["FAILED"]},
                         {"timedOut", c.by_status["TIMED_OUT"]},
                         {"aborted", c.by_status["ABORTED"]},
                         {"total", all},
                         {"resultsWritten", written ? c.seen : 0},
                         {"failuresNotRedrivable", 0},
                         {"pendingRedrive", 0}});
  };
  Json::Object out{{"mapRunArn", arn},
                   {"executionArn", (*run)["executionArn"]},
                   {"status", (*run)["status"]},
                   {"startDate", (*run)["startDate"]},
                   {"maxConcurrency", (*run)["maxConcurrency"]},
                   {"toleratedFailurePercentage", (*run)["toleratedFailurePercentage"]},
                   {"toleratedFailureCount", (*run)["toleratedFailureCount"]},
                   {"itemCounts", counts(held, items)},
                   {"executionCounts", counts(executions, total)},
                   {"redriveCount", (*run)["redriveCount"].integer_or(0)}};
  for (const char* date : {"stopDate", "redriveDate"})
    if (const Json* value = run->find(date)) out.set(date, *value);
  return Json(std::move(out));
}

Reply States::list_map_runs(const Call& call) {
  const auto page = page_request(call.input);
  if (!page) return std::unexpected(page.error());
  const std::string arn(call.input["executionArn"].string_or());
  if (const auto record = find_execution(arn); !record) return std::unexpected(record.error());
  Json::Array out;
  bool reached = page->from.empty();
  for (const Json& run : executions_.map_runs(arn)) {
    const std::string name(run["mapRunArn"].string_or());
    reached = reached || name == page->from;
    if (!reached) continue;
    if (out.size() == page->limit) return Json::object({{"mapRuns", std::move(out)}, {"nextToken", page_token(name)}});
    Json::Object one;
    for (const char* field : {"executionArn", "mapRunArn", "stateMachineArn", "startDate", "stopDate"})
      if (const Json* value = run.find(field)) one.set(field, *value);
    // "arn:…:mapRun:MACHINE/LABEL:ID": the run's machine has its label
    const std::size_t label = name.find('/');
    one.set("stateMachineArn", fmt::format("{}{}", run["stateMachineArn"].string_or(), name.substr(label, name.rfind(':') - label)));
    out.emplace_back(std::move(one));
  }
  return Json::object({{"mapRuns", std::move(out)}});
}

Reply States::update_map_run(const Call& call) {
  const std::string arn(call.input["mapRunArn"].string_or());
  if (!Arn::parse(arn)) return invalid_arn(arn);
  if (!executions_.find_map_run(arn)) return cloud::error("ResourceNotFound", fmt::format("Resource not found: '{}'", arn));
  Json::Object limits{{"mapRunArn", arn}};
  for (const char* field : {"maxConcurrency", "toleratedFailureCount", "toleratedFailurePercentage"})
    if (const Json* value = call.input.find(field)) {
      if (value->as_double() < 0 || (std::string_view(field) == "toleratedFailurePercentage" && value->as_double() > 100))
        return bad_input(
            fmt::format("1 validation error detected: Value '{}' at '{}' failed to satisfy constraint: Member must have value {}",
                        value->dump(), field, value->as_double() < 0 ? "greater than or equal to 0" : "less than or equal to 100"));
      limits.set(field, *value);
    }
  if (limits.size() == 1)
    return bad_input("At least one of maxConcurrency, toleratedFailureCount or toleratedFailurePercentage must be specified");
  executions_.update_map_run(arn, Json(std::move(limits)));
  return Json(Json::Object{});
}

}  // namespace snapward::services::states
