#include "engine/live.hpp"

namespace snapward::engine {

// An item of a distributed Map.
void Executions::start_child(Live& live, const asl::Command& command) {
  const auto& info = live.execution.info();
  // "arn:aws:states:R:A:mapRun:MACHINE/LABEL:UUID"
  const std::vector<std::string> parts = split(command.map_run, ':');
  const std::string label = parts.size() > 6 ? parts[6] : "";
  const std::string arn = fmt::format("arn:aws:states:{}:{}:{}:{}:{}", info.region, parts[4],
                                      command.machine->express ? "express" : "execution", label, command.name);
  Parent parent{live.arn(), command.id, command.state, command.map_run};
  if (const auto known = find(arn)) {  // after a restart: it may be over, or still go on; or it is to go on again
    if ((*known)["status"].string_or() == "RUNNING") return;
    const Json* begun = known->find("redriveDate") ? known->find("redriveDate") : known->find("startDate");
    if (command.again && begun->string_or() < live.redriven_at && resume(*known, parent)) return;
    loop_.defer([this, parent = std::move(parent), record = *known] { child_over(parent, record); });
    return;
  }
  const MachineVersion version{.arn = fmt::format("arn:aws:states:{}:{}:stateMachine:{}", info.region, parts[4], label),
                               .name = label,
                               .role_arn = info.role_arn,
                               .region = info.region,
                               .revision = live.revision,
                               .machine = command.machine,
                               .express = command.machine->express,
                               .test_case = live.test_case};
  Live& child = begin(version, arn, command.name, command.parameters.dump(), command.parameters, std::move(parent));
  child.aside = child.aside || live.aside;
  if (!child.express || !live.express) ledger_.put(kByMachine, by_machine_key(command.map_run, loop_.now(), command.name), arn);
  feed(arn, asl::Input::about(asl::Input::Kind::started, 0));
}

void Executions::child_over(const Parent& parent, const Json& record) {
  const auto found = live_.find(parent.arn);
  if (found == live_.end() || found->second->tasks.erase(parent.task) == 0) return;
  const Json shown = Json::object({{"ExecutionArn", record["executionArn"]},
                                   {"Input", record["input"]},
                                   {"InputDetails", Json::object({{"Included", true}})},
                                   {"Name", record["name"]},
                                   {"Output", record["output"]},
                                   {"OutputDetails", Json::object({{"Included", true}})},
                                   {"Error", record["error"]},
                                   {"Cause", record["cause"]},
                                   {"StartDate", record["startDate"]},
                                   {"StateMachineArn", record["stateMachineArn"]},
                                   {"Status", record["status"]},
                                   {"StopDate", record["stopDate"]}});
  const bool good = record["status"].string_or() == "SUCCEEDED";
  const auto output = Json::parse(record["output"].string_or("null"));
  asl::Input input = good ? asl::Input::about(asl::Input::Kind::task_succeeded, parent.task)
                          : asl::Input::failure(asl::Input::Kind::task_failed, parent.task, std::string(record["error"].string_or()),
                                                std::string(record["cause"].string_or()));
  input.value = Json::object({{"output", output.value_or(Json())}, {"execution", shown}});
  feed(parent.arn, std::move(input));
}

void Executions::note_run(Live& live, const asl::Command& command) {
  const auto known = find_map_run(command.map_run);
  Json::Object run = known ? known->as_object()
                           : Json::Object{{"mapRunArn", command.map_run},
                                          {"executionArn", live.arn()},
                                          {"stateMachineArn", live.execution.info().machine_arn},
                                          {"startDate", iso_millis(loop_.now())}};
  if (!known) ledger_.put(kMapRunsByExecution, numbered(live.arn(), live.execution.events()), command.map_run);
  for (const auto& [key, value] : command.parameters.as_object()) run.set(key, value);
  run.erase("stopDate");
  if (run.find("status")->string_or() != "RUNNING") run.set("stopDate", iso_millis(loop_.now()));
  ledger_.put(kMapRuns, command.map_run, Json(std::move(run)).dump());
}

// Stops the child that a command started.
void Executions::cancel(const asl::Command& command) {
  const std::vector<std::string> parts = split(command.map_run, ':');
  if (parts.size() < 7) return;
  stop(fmt::format("arn:aws:states:{}:{}:{}:{}:{}", parts[3], parts[4], command.machine->express ? "express" : "execution", parts[6],
                   command.name),
       "", "");
}

std::optional<Json> Executions::find_map_run(const std::string& arn) {
  const auto row = ledger_.get(kMapRuns, arn);
  if (!row) return std::nullopt;
  auto json = Json::parse(*row);
  return json ? std::optional(*std::move(json)) : std::nullopt;
}

std::vector<Json> Executions::map_runs(const std::string& execution) {
  std::vector<Json> out;
  for (const auto& row : ledger_.scan(kMapRunsByExecution, store::Range::prefix(execution + "\n")))
    if (auto run = find_map_run(row.value)) out.push_back(*std::move(run));
  return out;
}

void Executions::update_map_run(const std::string& arn, const Json& limits) {
  const auto run = find_map_run(arn);
  if (!run) return;
  Json::Object updated = run->as_object();
  for (const auto& [key, value] : limits.as_object()) updated.set(key, value);
  ledger_.put(kMapRuns, arn, Json(std::move(updated)).dump());
  feed(std::string((*run)["executionArn"].string_or()), asl::Input::about(asl::Input::Kind::map_run_updated, 0, limits));
}

void Executions::write_results(Live& live, std::int64_t task, const asl::Command& command) {
  loop_.spawn(
      put_results(live.execution.info().region, command.parameters, caller_of(live.execution.info())),
      [this, arn = live.arn(), task](std::expected<Json, asl::Failure> outcome) { answered(arn, task, std::move(outcome), false); });
}

// SUCCEEDED_0.json and FAILED_0.json, and the manifest that names them (Developer Guide, "ResultWriter").
Task<std::expected<Json, asl::Failure>> Executions::put_results(std::string region, Json wanted, cloud::Caller caller) {
  const std::string bucket(wanted["Bucket"].string_or()), run(wanted["MapRunArn"].string_or());
  std::string prefix(wanted["Prefix"].string_or());
  if (!prefix.empty() && !prefix.ends_with('/')) prefix += '/';
  prefix += run.substr(run.rfind(':') + 1) + '/';
  const bool lines = wanted["Lines"].bool_or(false);
  Json::Object files{{"FAILED", Json::Array{}}, {"PENDING", Json::Array{}}, {"SUCCEEDED", Json::Array{}}};
  const auto put = [&](const std::string& key, const std::string& body) {
    return cloud_.call({"s3", region, "PutObject",
                        Json::object({{"Bucket", bucket}, {"Key", key}, {"Body", body}, {"ContentType", "application/json"}}), caller});
  };
  const auto failed = [](const cloud::Error& e) { return std::unexpected(asl::Failure{asl::errors::kResultWriterFailed, e.message}); };
  for (const char* status : {"SUCCEEDED", "FAILED"}) {
    Json::Array entries;
    for (const Json& execution : wanted["Executions"].items()) {
      if ((execution["Status"].string_or() == "SUCCEEDED") != (std::string_view(status) == "SUCCEEDED")) continue;
      if (wanted["Transformation"].string_or() == "NONE") {
        entries.push_back(execution);
        continue;
      }
      auto output = Json::parse(execution["Output"].string_or("null"));
      if (wanted["Transformation"].string_or() == "FLATTEN" && output && output->is_array())
        entries.insert(entries.end(), output->as_array().begin(), output->as_array().end());
      else
        entries.push_back(output.value_or(Json()));
    }
    if (entries.empty()) continue;
    std::string body;
    if (lines)
      for (const Json& entry : entries) body += entry.dump() + '\n';
    else
      body = Json(std::move(entries)).dump();
    const std::string key = fmt::format("{}{}_0.{}", prefix, status, lines ? "jsonl" : "json");
    const auto reply = co_await put(key, body);
    if (!reply) co_return failed(reply.error());
    files.set(status, Json::array({Json::object({{"Key", key}, {"Size", body.size()}})}));
  }
  const std::string manifest = prefix + "manifest.json";
  const auto reply =
      co_await put(manifest, Json::object({{"DestinationBucket", bucket}, {"MapRunArn", run}, {"ResultFiles", std::move(files)}}).dump());
  if (!reply) co_return failed(reply.error());
  co_return Json::object({{"MapRunArn", run}, {"ResultWriterDetails", Json::object({{"Bucket", bucket}, {"Key", manifest}})}});
}

}  // namespace snapward::engine
