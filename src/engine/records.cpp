#include "engine/live.hpp"

namespace snapward::engine {

namespace {
constexpr std::size_t kForgottenAtOnce = 200;  // executions a turn: what clients wait for meanwhile
constexpr Duration kSweepEvery = std::chrono::hours(1);
// A page of a history holds at most about so much text: AWS's pages end early too when events are large.
constexpr std::size_t kHistoryPage = std::size_t{4} << 20;
constexpr std::size_t kChunksAtOnce = 32;

// The text in an event's details: input, output, …
std::size_t text_in(const Json& value) {
  if (value.is_string()) return value.as_string().size();
  std::size_t sum = 0;
  if (value.is_object())
    for (const auto& [name, member] : value.as_object()) sum += text_in(member);
  return sum;
}
}  // namespace

std::optional<Json> Executions::find(const std::string& arn) {
  if (const auto live = live_.find(arn); live != live_.end()) return live->second->record();
  const auto row = ledger_.get(kExecutions, arn);
  if (!row) return std::nullopt;
  auto json = Json::parse(*row);
  if (!json) return std::nullopt;
  return *std::move(json);
}

Executions::Page Executions::list(const std::string& machine_arn, const std::string& status, std::size_t limit, const std::string& from,
                                  const std::string& through) {
  Page page;
  store::Range range = store::Range::prefix(machine_arn + "\n");
  if (!from.empty()) range.from = from;
  const std::size_t step = status.empty() && through.empty() ? limit + 1 : 1000;
  range.limit = step;
  for (;;) {
    const auto rows = ledger_.scan(kByMachine, range);
    for (const auto& row : rows) {
      // Rows of before 0.2 hold no ARN: it follows from the name.
      auto record = find(row.value.empty() ? arn_of(machine_arn, row.key.substr(row.key.rfind('\n') + 1)) : row.value);
      if (!record || (!status.empty() && (*record)["status"].string_or() != status)) continue;
      if (!through.empty() && (*record)["stateMachineVersionArn"].string_or() != through &&
          (*record)["stateMachineAliasArn"].string_or() != through)
        continue;
      if (page.items.size() == limit) {
        page.next = row.key;
        return page;
      }
      page.items.push_back(*std::move(record));
    }
    if (rows.size() < step) return page;
    range.from = rows.back().key + '\0';
  }
}

Executions::Page Executions::history(const std::string& arn, bool newest_first, std::size_t limit, const std::string& from) {
  Page page;
  store::Range range = store::Range::prefix(arn + "\n");
  range.newest_first = newest_first;
  // Chunks are keyed by their first event; `from` is an event id.
  const std::int64_t first = from.empty() ? 0 : std::strtoll(from.c_str(), nullptr, 10);
  if (first > 0 && newest_first) range.to = numbered(arn, first + 1);
  if (first > 0 && !newest_first) {
    const auto before = ledger_.scan(kExecutions, {.from = range.from, .to = numbered(arn, first + 1), .limit = 1, .newest_first = true});
    if (!before.empty()) range.from = before[0].key;
  }
  range.limit = std::min(limit + 1, kChunksAtOnce);  // a chunk holds at least one event
  std::size_t text = 0;
  for (;;) {
    const auto rows = ledger_.scan(kExecutions, range);
    for (const auto& row : rows) {
      const auto chunk = Json::parse(row.value);
      if (!chunk) continue;
      std::vector<Json> events = asl::api_events(*chunk);
      if (newest_first) std::reverse(events.begin(), events.end());
      for (const Json& event : events) {
        const std::int64_t id = event["id"].integer_or(0);
        if (first > 0 && (newest_first ? id > first : id < first)) continue;
        if (page.items.size() == limit || text > kHistoryPage) {
          page.next = std::to_string(id);
          return page;
        }
        text += text_in(event);
        page.items.push_back(event);
      }
    }
    if (rows.size() < range.limit) return page;
    if (newest_first)
      range.to = rows.back().key;
    else
      range.from = rows.back().key + '\0';
  }
}

void Executions::keep_for(Duration span) {
  keep_ = span;
  loop_.after(kSweepEvery, [this] { sweep({}, {}); });
}

// The listing is by machine and newest first: of each machine, what began before the limit stands together at the end.
void Executions::sweep(std::string machine, std::string from) {
  const Instant before = loop_.now() - keep_;
  std::size_t seen = 0;
  while (seen < kForgottenAtOnce) {
    if (from.empty()) {  // the next machine
      const auto next = ledger_.scan(kByMachine, {.from = machine.empty() ? "" : machine + "\n\xff", .to = "", .limit = 1});
      if (next.empty()) return void(loop_.after(kSweepEvery, [this] { sweep({}, {}); }));
      machine = next[0].key.substr(0, next[0].key.find('\n'));
      from = by_machine_key(machine, before, "");
    }
    const auto rows = ledger_.scan(kByMachine, {.from = from, .to = machine + "\n\xff", .limit = kForgottenAtOnce - seen});
    for (const auto& row : rows)
      if (forget(row.value.empty() ? arn_of(machine, row.key.substr(row.key.rfind('\n') + 1)) : row.value, before))
        ledger_.erase(kByMachine, row.key);
    seen += rows.size() + 1;
    from = rows.empty() ? std::string() : rows.back().key + '\0';
  }
  ledger_.after_commit([this, machine, from] { sweep(machine, from); });
}

// Whether it was over before then, and is gone now.
bool Executions::forget(const std::string& arn, Instant before) {
  if (live_.contains(arn) || asleep_.contains(arn)) return false;
  const auto record = find(arn);
  if (record) {
    const auto stopped = parse_iso((*record)["stopDate"].string_or());
    if (!stopped || *stopped >= before) return false;
  }
  ledger_.erase(kExecutions, arn);
  ledger_.erase(kFailures, arn);
  for (const auto& row : ledger_.scan(kExecutions, store::Range::prefix(arn + "\n"))) ledger_.erase(kExecutions, row.key);
  for (const auto& row : ledger_.scan(kMapRunsByExecution, store::Range::prefix(arn + "\n"))) {
    ledger_.erase(kMapRuns, row.value);
    ledger_.erase(kMapRunsByExecution, row.key);
  }
  return true;
}

std::vector<asl::Execution::Waiting> Executions::waiting_for(const std::string& arn) {
  const Live* live = awake(arn);
  return live && !live->busy ? live->execution.waiting_for() : std::vector<asl::Execution::Waiting>{};
}

}  // namespace snapward::engine
