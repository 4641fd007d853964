#include "engine/abort.hpp"

#include "asl/history.hpp"
#include "engine/live.hpp"

namespace snapward::engine {

namespace {

Result<std::optional<Json>> row(const Scan& scan, std::string_view table, const std::string& key) {
  const auto rows = scan(table, {.from = key, .to = key + '\0', .limit = 1});
  if (!rows) return std::unexpected(rows.error());
  if (rows->empty()) return std::optional<Json>();
  auto json = Json::parse(rows->front().value);
  if (!json) return std::unexpected(json.error());
  return std::optional(*std::move(json));
}

struct LastEvent {
  std::int64_t id = 0;
  Instant at;
};
Result<LastEvent> last_event(const Scan& scan, const std::string& arn) {
  store::Range newest = store::Range::prefix(arn + "\n");
  newest.limit = 1;
  newest.newest_first = true;
  const auto rows = scan(kExecutions, newest);
  if (!rows) return std::unexpected(rows.error());
  LastEvent out;
  for (const auto& r : *rows) {
    const auto chunk = Json::parse(r.value);
    if (!chunk) return std::unexpected(chunk.error());
    for (const Json& event : asl::api_events(*chunk)) {
      out.id = event["id"].integer_or(0);
      out.at = parse_iso(event["timestamp"].string_or()).value_or(Instant{});
    }
  }
  return out;
}

store::Write put(const char* table, std::string key, std::string value) { return {table, std::move(key), std::move(value)}; }

}  // namespace

Result<Abort> abort_of(const Scan& scan, const std::string& arn, Instant at, const std::string& error, const std::string& cause) {
  const auto known = row(scan, kExecutions, arn);
  if (!known) return std::unexpected(known.error());
  if (!*known) return fail(ErrorCode::not_found, fmt::format("there is no execution '{}'", arn));
  if ((**known)["status"].string_or() != "RUNNING")
    return fail(ErrorCode::conflict, fmt::format("'{}' does not run: it is {}", arn, (**known)["status"].string_or()));
  const auto last = last_event(scan, arn);
  if (!last) return std::unexpected(last.error());
  at = std::max(at, last->at);

  Abort out;
  Json::Object details, record = (*known)->as_object();
  record.set("status", "ABORTED").set("stopDate", iso_millis(at));
  for (const auto& [name, text] : {std::pair("error", &error), std::pair("cause", &cause)})
    if (!text->empty()) {
      details.set(name, *text);
      record.set(name, *text);
    }
  const asl::HistoryEvent event{.id = last->id + 1,
                                .previous = last->id,
                                .at = at,
                                .type = "ExecutionAborted",
                                .details = "executionAbortedEventDetails",
                                .body = Json(std::move(details))};
  out.writes.push_back(put(kExecutions, numbered(arn, event.id), asl::stored_events({event})));
  out.record = Json(std::move(record));
  out.writes.push_back(put(kExecutions, arn, out.record.dump()));
  out.writes.emplace_back(kAsleep, arn, std::nullopt);

  const auto inputs = scan(kInputs, store::Range::prefix(arn + "\n"));
  if (!inputs) return std::unexpected(inputs.error());
  for (const auto& input : *inputs) out.writes.emplace_back(kInputs, input.key, std::nullopt);
  const auto runs = scan(kMapRunsByExecution, store::Range::prefix(arn + "\n"));
  if (!runs) return std::unexpected(runs.error());
  for (const auto& named : *runs) {
    const auto run = row(scan, kMapRuns, named.value);
    if (!run) return std::unexpected(run.error());
    if (!*run || (**run)["status"].string_or() != "RUNNING") continue;
    Json::Object ended = (*run)->as_object();
    ended.set("status", "ABORTED").set("stopDate", iso_millis(at));
    out.writes.push_back(put(kMapRuns, named.value, Json(std::move(ended)).dump()));
  }
  return out;
}

Result<Json> abort_execution(store::Store& store, const std::string& arn, Instant at, const std::string& error, const std::string& cause) {
  const auto scan = [&store](std::string_view table, const store::Range& range) { return store.scan(table, range); };
  auto abort = abort_of(scan, arn, at, error, cause);
  if (!abort) return std::unexpected(abort.error());
  if (const auto kept = store.commit(abort->writes); !kept) return std::unexpected(kept.error());
  return std::move(abort->record);
}

}  // namespace snapward::engine
