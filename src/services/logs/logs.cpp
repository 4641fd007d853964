#include "services/logs/logs.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/arn.hpp"
#include "base/text.hpp"
#include "engine/unreadable.hpp"
#include "services/logs/filter.hpp"

namespace snapward::services::logs {

namespace {

// CloudWatch Logs quotas; PutLogEvents.
constexpr std::size_t kMostEvents = 10'000, kMostBatchBytes = 1'048'576, kEventOverhead = 26;
constexpr std::int64_t kDay = 86'400'000;
constexpr std::size_t kMostExpired = 2'000;  // events forgotten in one turn
constexpr const char* kEvents = "logs.events";

std::unexpected<cloud::Error> bad(const std::string& what) { return cloud::error("InvalidParameterException", what); }
std::unexpected<cloud::Error> exists(const char* what) {
  return cloud::error("ResourceAlreadyExistsException", fmt::format("The specified {} already exists", what));
}
std::unexpected<cloud::Error> missing(const char* what) {
  return cloud::error("ResourceNotFoundException", fmt::format("The specified {} does not exist.", what));
}

std::string stream_prefix(const std::string& region, const std::string& group, const std::string& stream) {
  return region + '\1' + group + '\1' + stream + '\1';
}
// Keys sort by time, then as they came.
std::string event_key(std::int64_t timestamp, std::int64_t number) { return fmt::format("{:015}\1{:012}", timestamp, number); }

bool well_named(std::string_view name, std::string_view also) {
  return !name.empty() && name.size() <= 512 && std::ranges::all_of(name, [also](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || also.find(c) != std::string_view::npos;
  });
}

const std::set<std::int64_t> kRetentions = {1,   3,   5,   7,   14,   30,   60,   90,   120,  150,  180,
                                            365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653};

// "name", or the name in a log group's ARN, with or without ":*".
std::string name_in(std::string_view given) {
  const auto parsed = Arn::parse(given);
  return parsed ? log_group_name(*parsed) : std::string(given);
}

}  // namespace

Json Logs::Stream::to_row() const {
  return Json::object({{"created", created}, {"first", first}, {"last", last}, {"ingested", ingested}, {"next", next}});
}
Json Logs::Group::to_row() const {
  return Json::object({{"created", created}, {"bytes", bytes}, {"retention", retention_days}, {"tags", tags}, {"class", kind}});
}

std::string Logs::arn(const Group& g) const { return fmt::format("arn:aws:logs:{}:{}:log-group:{}", g.region, env_.account, g.name); }

Logs::Logs(Environment& env) : Service("logs", env) {
  on("CreateLogGroup", [this](const Call& c) { return create_group(c); });
  on("DeleteLogGroup", [this](const Call& c) { return delete_group(c); });
  on("DescribeLogGroups", [this](const Call& c) { return describe_groups(c); });
  on("CreateLogStream", [this](const Call& c) { return create_stream(c); });
  on("DeleteLogStream", [this](const Call& c) { return delete_stream(c); });
  on("DescribeLogStreams", [this](const Call& c) { return describe_streams(c); });
  on("PutLogEvents", [this](const Call& c) { return put_events(c); });
  on("GetLogEvents", [this](const Call& c) { return get_events(c); });
  on("FilterLogEvents", [this](const Call& c) { return filter_events(c); });
  on("PutRetentionPolicy", [this](const Call& c) { return set_retention(c); });
  on("DeleteRetentionPolicy", [this](const Call& c) { return set_retention(c); });
  on("PutResourcePolicy", [this](const Call& c) -> Reply {
    const std::string name(c.input["policyName"].string_or());
    if (!Json::parse(c.input["policyDocument"].string_or())) return bad("Invalid policy document");
    const Json policy = Json::object({{"policyName", name}, {"policyDocument", c.input["policyDocument"]}, {"lastUpdatedTime", now()}});
    policies_[{c.region, name}] = policy;
    save("policies", c.region + '\1' + name, policy);
    return Json::object({{"resourcePolicy", policy}});
  });
  on("DescribeResourcePolicies", [this](const Call& c) -> Reply {
    Json::Array out;
    for (const auto& [key, policy] : policies_)
      if (key.first == c.region) out.push_back(policy);
    return Json::object({{"resourcePolicies", std::move(out)}});
  });
  on("DeleteResourcePolicy", [this](const Call& c) -> Reply {
    const std::string name(c.input["policyName"].string_or());
    if (policies_.erase({c.region, name}) == 0)
      return cloud::error("ResourceNotFoundException", fmt::format("Policy with name [{}] does not exist", name));
    drop("policies", c.region + '\1' + name);
    return Json(Json::Object{});
  });
  register_tags();
  env_.loop.after(std::chrono::hours(1), [this] { expire(); });
}

void Logs::register_tags() {
  const auto tagged = [this](const Call& c) -> std::expected<Group*, cloud::Error> {
    const std::string_view given = c.input.find("resourceArn") ? c.input["resourceArn"].string_or() : c.input["logGroupName"].string_or();
    const auto found = groups_.find({c.region, name_in(given)});
    if (found == groups_.end()) return missing("log group");
    return &found->second;
  };
  const auto list = [tagged](const Call& c) -> Reply {
    const auto g = tagged(c);
    if (!g) return std::unexpected(g.error());
    return Json::object({{"tags", (*g)->tags}});
  };
  const auto add = [this, tagged](const Call& c) -> Reply {
    const auto g = tagged(c);
    if (!g) return std::unexpected(g.error());
    (*g)->tags = merge_tag_map((*g)->tags, c.input["tags"]);
    store(**g);
    return Json(Json::Object{});
  };
  const auto remove = [this, tagged](const Call& c) -> Reply {
    const auto g = tagged(c);
    if (!g) return std::unexpected(g.error());
    (*g)->tags = remove_tag_keys((*g)->tags, c.input[c.operation == "UntagLogGroup" ? "tags" : "tagKeys"]);
    store(**g);
    return Json(Json::Object{});
  };
  on("ListTagsForResource", list);
  on("ListTagsLogGroup", list);
  on("TagResource", add);
  on("TagLogGroup", add);
  on("UntagResource", remove);
  on("UntagLogGroup", remove);
}

void Logs::restore() {
  each_row("groups", [&](const std::string& key, const Json& r) {
    const std::size_t mark = key.find('\1');
    Group& g = groups_[{key.substr(0, mark), key.substr(mark + 1)}];
    g.region = key.substr(0, mark);
    g.name = key.substr(mark + 1);
    g.created = r["created"].integer_or(0);
    g.bytes = r["bytes"].integer_or(0);
    g.retention_days = r["retention"].integer_or(0);
    g.tags = r["tags"];
    g.kind = r["class"].string_or();
  });
  each_row("streams", [&](const std::string& key, const Json& r) {
    const auto parts = split(key, '\1');
    const auto group = parts.size() == 3 ? groups_.find({parts[0], parts[1]}) : groups_.end();
    if (group == groups_.end()) return;
    group->second.streams[parts[2]] = {.created = r["created"].integer_or(0),
                                       .first = r["first"].integer_or(0),
                                       .last = r["last"].integer_or(0),
                                       .ingested = r["ingested"].integer_or(0),
                                       .next = r["next"].integer_or(0)};
  });
  each_row("policies",
           [&](const std::string& key, const Json& r) { policies_[{key.substr(0, key.find('\1')), key.substr(key.find('\1') + 1)}] = r; });
}

std::expected<Logs::Group*, cloud::Error> Logs::group_of(const Call& call) {
  const std::string_view name =
      call.input.find("logGroupName") ? call.input["logGroupName"].string_or() : call.input["logGroupIdentifier"].string_or();
  const auto found = groups_.find({call.region, name_in(name)});
  if (found == groups_.end()) return missing("log group");
  return &found->second;
}

std::expected<std::pair<Logs::Group*, Logs::Stream*>, cloud::Error> Logs::stream_of(const Call& call) {
  const auto g = group_of(call);
  if (!g) return std::unexpected(g.error());
  const auto found = (*g)->streams.find(std::string(call.input["logStreamName"].string_or()));
  if (found == (*g)->streams.end()) return missing("log stream");
  return std::pair(*g, &found->second);
}

Reply Logs::create_group(const Call& call) {
  const std::string name(call.input["logGroupName"].string_or());
  if (!well_named(name, "_-/.#"))
    return bad(
        fmt::format("1 validation error detected: Value '{}' at 'logGroupName' failed to satisfy constraint: Member must satisfy regular "
                    "expression pattern: [\\.\\-_/#A-Za-z0-9]+",
                    name));
  if (groups_.contains({call.region, name})) return exists("log group");
  Group& g = groups_[{call.region, name}];
  g.name = name;
  g.region = call.region;
  g.created = now();
  if (call.input["tags"].is_object()) g.tags = call.input["tags"];
  if (call.input.find("logGroupClass")) g.kind = call.input["logGroupClass"].string_or();
  store(g);
  return Json(Json::Object{});
}

std::size_t Logs::erase_events(Group& g, const store::Range& range) {
  const auto rows = env_.ledger.scan(kEvents, range);
  for (const auto& row : rows) {
    const Json event = engine::value_of_row(Json::parse(row.value), kEvents, row.key);
    g.bytes -= static_cast<std::int64_t>(event["message"].string_or().size() + kEventOverhead);
    env_.ledger.erase(kEvents, row.key);
  }
  return rows.size();
}

Reply Logs::delete_group(const Call& call) {
  const auto g = group_of(call);
  if (!g) return std::unexpected(g.error());
  const std::string prefix = (*g)->region + '\1' + (*g)->name;
  for (const auto& [name, stream] : (*g)->streams) drop("streams", prefix + '\1' + name);
  erase_events(**g, store::Range::prefix(prefix + '\1'));
  drop("groups", prefix);
  groups_.erase({(*g)->region, (*g)->name});
  return Json(Json::Object{});
}

Reply Logs::describe_groups(const Call& call) {
  const std::string prefix(call.input["logGroupNamePrefix"].string_or());
  const std::string_view pattern = call.input["logGroupNamePattern"].string_or();
  if (!prefix.empty() && !pattern.empty()) return bad("LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.");
  const std::int64_t limit = std::clamp<std::int64_t>(call.input["limit"].integer_or(50), 1, 50);
  const auto from = page_position(call.input["nextToken"].string_or());
  Json::Array out;
  std::string next;
  for (const auto& [key, g] : groups_) {
    if (key.first != call.region || !g.name.starts_with(prefix) || g.name.find(pattern) == std::string::npos || (from && g.name < *from))
      continue;
    if (static_cast<std::int64_t>(out.size()) == limit) {
      next = page_token(g.name);
      break;
    }
    Json::Object shown{{"logGroupName", g.name}, {"creationTime", g.created}};
    shown.set_if(g.retention_days > 0, "retentionInDays", g.retention_days);
    shown.set("metricFilterCount", 0)
        .set("arn", arn(g) + ":*")
        .set("storedBytes", g.bytes)
        .set("logGroupClass", g.kind)
        .set("logGroupArn", arn(g));
    out.emplace_back(std::move(shown));
  }
  Json::Object reply;
  reply.set("logGroups", std::move(out)).set_if(!next.empty(), "nextToken", next);
  return Json(std::move(reply));
}

Reply Logs::create_stream(const Call& call) {
  const auto g = group_of(call);
  if (!g) return std::unexpected(g.error());
  const std::string name(call.input["logStreamName"].string_or());
  if (name.empty() || name.size() > 512 || name.find_first_of(":*\1") != std::string::npos)
    return bad(
        fmt::format("1 validation error detected: Value '{}' at 'logStreamName' failed to satisfy constraint: Member must satisfy regular "
                    "expression pattern: [^:*]*",
                    name));
  if ((*g)->streams.contains(name)) return exists("log stream");
  Stream& s = (*g)->streams[name];
  s.created = now();
  store(**g, name, s);
  return Json(Json::Object{});
}

Reply Logs::delete_stream(const Call& call) {
  const auto found = stream_of(call);
  if (!found) return std::unexpected(found.error());
  const auto& [g, s] = *found;
  const std::string name(call.input["logStreamName"].string_or());
  erase_events(*g, store::Range::prefix(stream_prefix(g->region, g->name, name)));
  drop("streams", g->region + '\1' + g->name + '\1' + name);
  g->streams.erase(name);
  store(*g);
  return Json(Json::Object{});
}

Reply Logs::describe_streams(const Call& call) {
  const auto g = group_of(call);
  if (!g) return std::unexpected(g.error());
  const std::string prefix(call.input["logStreamNamePrefix"].string_or());
  const bool by_time = call.input["orderBy"].string_or("LogStreamName") == "LastEventTime";
  if (by_time && !prefix.empty()) return bad("Cannot order by LastEventTime with a logStreamNamePrefix.");
  std::vector<std::pair<std::string, const Stream*>> streams;
  for (const auto& [name, s] : (*g)->streams)
    if (name.starts_with(prefix)) streams.emplace_back(name, &s);
  if (by_time) std::ranges::sort(streams, {}, [](const auto& s) { return std::pair(s.second->last, s.first); });
  if (call.input["descending"].bool_or(false)) std::ranges::reverse(streams);
  const auto skip = page_position(call.input["nextToken"].string_or());
  const std::size_t from = skip ? static_cast<std::size_t>(std::strtoull(skip->c_str(), nullptr, 10)) : 0;
  const auto limit = static_cast<std::size_t>(std::clamp<std::int64_t>(call.input["limit"].integer_or(50), 1, 50));
  Json::Array out;
  for (std::size_t i = from; i < streams.size() && out.size() < limit; ++i) {
    const auto& [name, s] = streams[i];
    Json::Object shown{{"logStreamName", name}, {"creationTime", s->created}};
    if (s->next > 0) shown.set("firstEventTimestamp", s->first).set("lastEventTimestamp", s->last).set("lastIngestionTime", s->ingested);
    shown.set("arn", fmt::format("{}:log-stream:{}", arn(**g), name)).set("storedBytes", 0);
    out.emplace_back(std::move(shown));
  }
  Json::Object reply;
  const std::size_t end = from + out.size();
  reply.set("logStreams", std::move(out)).set_if(end < streams.size(), "nextToken", page_token(std::to_string(end)));
  return Json(std::move(reply));
}

void Logs::append(Group& g, const std::string& stream_name, Stream& s, std::int64_t timestamp, const std::string& message) {
  s.first = s.next == 0 ? timestamp : std::min(s.first, timestamp);
  s.last = std::max(s.last, timestamp);
  s.ingested = now();
  g.bytes += static_cast<std::int64_t>(message.size() + kEventOverhead);
  env_.ledger.put(kEvents, stream_prefix(g.region, g.name, stream_name) + event_key(timestamp, s.next++),
                  Json::object({{"timestamp", timestamp}, {"message", message}, {"ingestionTime", s.ingested}}).dump());
}

bool Logs::write(const std::string& region, const std::string& group, const std::string& stream, const std::string& message) {
  const auto found = groups_.find({region, group});
  if (found == groups_.end()) return false;
  Group& g = found->second;
  Stream& s = g.streams[stream];
  if (s.created == 0) s.created = now();
  append(g, stream, s, now(), message);
  store(g, stream, s);
  store(g);
  return true;
}

void Logs::ensure_group(const std::string& region, const std::string& name) {
  Group& g = groups_[{region, name}];
  if (!g.name.empty()) return;
  g.name = name;
  g.region = region;
  g.created = now();
  store(g);
}

Reply Logs::put_events(const Call& call) {
  const auto found = stream_of(call);
  if (!found) return std::unexpected(found.error());
  const auto& [g, s] = *found;
  const auto& events = call.input["logEvents"].items();
  if (events.empty())
    return bad(
        "1 validation error detected: Value '[]' at 'logEvents' failed to satisfy constraint: Member must have length greater than or "
        "equal to 1");
  if (events.size() > kMostEvents) return bad(fmt::format("Log event batch exceeds the maximum of {} events", kMostEvents));
  std::size_t bytes = 0;
  std::int64_t before = 0;
  for (const Json& e : events) {
    bytes += e["message"].string_or().size() + kEventOverhead;
    if (e["message"].string_or().empty())
      return bad(
          "1 validation error detected: Value '' at 'logEvents.1.member.message' failed to satisfy constraint: Member must have length "
          "greater than or equal to 1");
    const std::int64_t at = e["timestamp"].integer_or(0);
    if (at < before) return bad("Log events in a single PutLogEvents request must be in chronological order.");
    before = at;
  }
  if (bytes > kMostBatchBytes) return bad(fmt::format("Upload too large: {} bytes exceeds limit of {}", bytes, kMostBatchBytes));
  // Neither more than two hours ahead, nor older than fourteen days or than the retention.
  const std::int64_t oldest = now() - 14 * kDay, newest = now() + 2 * 3'600'000;
  const std::int64_t kept = g->retention_days > 0 ? now() - g->retention_days * kDay : 0;
  const std::string stream(call.input["logStreamName"].string_or());
  std::int64_t too_old = -1, expired = -1, too_new = -1;
  for (std::size_t i = 0; i < events.size(); ++i) {
    const std::int64_t at = events[i]["timestamp"].integer_or(0);
    const auto index = static_cast<std::int64_t>(i);
    if (at > newest) {
      if (too_new < 0) too_new = index;
    } else if (at < oldest) {
      too_old = index + 1;
    } else if (at < kept) {
      expired = index + 1;
    } else {
      append(*g, stream, *s, at, std::string(events[i]["message"].string_or()));
    }
  }
  store(*g, stream, *s);
  store(*g);
  Json::Object reply, rejected;
  rejected.set_if(too_new >= 0, "tooNewLogEventStartIndex", too_new).set_if(too_old >= 0, "tooOldLogEventEndIndex", too_old);
  rejected.set_if(expired >= 0, "expiredLogEventEndIndex", expired);
  reply.set("nextSequenceToken", fmt::format("{:056}", s->next));
  if (!rejected.empty()) reply.set("rejectedLogEventsInfo", std::move(rejected));
  return Json(std::move(reply));
}

// Tokens are "f/" or "b/" and a key in the stream: what comes after it, or before.
Reply Logs::get_events(const Call& call) {
  const auto found = stream_of(call);
  if (!found) return std::unexpected(found.error());
  const std::string prefix = stream_prefix(found->first->region, found->first->name, std::string(call.input["logStreamName"].string_or()));
  const std::int64_t limit = std::clamp<std::int64_t>(call.input["limit"].integer_or(10'000), 1, 10'000);
  store::Range range = store::Range::prefix(prefix);
  const std::int64_t start = call.input["startTime"].integer_or(0), end = call.input["endTime"].integer_or(-1);
  if (start > 0) range.from = prefix + event_key(start, 0);
  if (end >= 0) range.to = prefix + event_key(end, 0);
  const std::string_view token = call.input["nextToken"].string_or();
  bool forward = call.input["startFromHead"].bool_or(false);
  std::string from;
  if (!token.empty()) {
    const auto position = page_position(token.substr(std::min<std::size_t>(2, token.size())));
    if (!position || (!token.starts_with("f/") && !token.starts_with("b/"))) return bad("The specified nextToken is invalid.");
    forward = token.starts_with("f/");
    from = *position;
    if (forward)
      range.from = std::max(range.from, prefix + from + '\0');
    else
      range.to = prefix + from;
  }
  range.limit = static_cast<std::size_t>(limit);
  range.newest_first = !forward;
  auto rows = env_.ledger.scan(kEvents, range);
  if (!forward) std::ranges::reverse(rows);
  Json::Array events;
  for (const auto& row : rows) events.push_back(engine::value_of_row(Json::parse(row.value), kEvents, row.key));
  const auto position = [&](const std::string& fallback, const store::Row* row) {
    return page_token(row ? row->key.substr(prefix.size()) : fallback);
  };
  const std::string head = from.empty() ? event_key(0, 0) : from;
  return Json::object({{"events", std::move(events)},
                       {"nextForwardToken", "f/" + position(head, rows.empty() ? nullptr : &rows.back())},
                       {"nextBackwardToken", "b/" + position(head, rows.empty() ? nullptr : &rows.front())}});
}

Reply Logs::filter_events(const Call& call) {
  const auto g = group_of(call);
  if (!g) return std::unexpected(g.error());
  const auto filter = Filter::parse(call.input["filterPattern"].string_or());
  if (!filter) return bad("Invalid filter pattern: " + filter.error() + '.');
  const std::string prefix(call.input["logStreamNamePrefix"].string_or());
  std::set<std::string_view> named;
  for (const Json& name : call.input["logStreamNames"].items()) {
    if (!(*g)->streams.contains(std::string(name.string_or()))) return missing("log stream");
    named.insert(name.string_or());
  }
  const std::int64_t start = call.input["startTime"].integer_or(0), end = call.input["endTime"].integer_or(-1);
  const std::int64_t limit = std::clamp<std::int64_t>(call.input["limit"].integer_or(10'000), 1, 10'000);
  const auto from = page_position(call.input["nextToken"].string_or());
  struct Found {
    std::string key;  // as a position: the event's own, then its stream
    Json event;
  };
  std::vector<Found> found;
  for (const auto& [name, s] : (*g)->streams) {
    if (!name.starts_with(prefix) || (!named.empty() && !named.contains(name))) continue;
    const std::string keys = stream_prefix((*g)->region, (*g)->name, name);
    store::Range range = store::Range::prefix(keys);
    if (start > 0) range.from = keys + event_key(start, 0);
    if (end >= 0) range.to = keys + event_key(end + 1, 0);
    for (const auto& row : env_.ledger.scan(kEvents, range)) {
      std::string key = row.key.substr(keys.size()) + '\1' + name;
      const Json event = engine::value_of_row(Json::parse(row.value), kEvents, row.key);
      if ((from && key < *from) || !filter->matches(event["message"].string_or())) continue;
      Json::Object shown{{"logStreamName", name}};
      for (const auto& [field, value] : event.as_object()) shown.set(field, value);
      shown.set("eventId", hex_encode(sha256(row.key)).substr(0, 56));
      found.push_back({std::move(key), Json(std::move(shown))});
    }
  }
  std::ranges::sort(found, {}, &Found::key);
  Json::Array events;
  std::string next;
  for (Found& f : found) {
    if (static_cast<std::int64_t>(events.size()) == limit) {
      next = page_token(f.key);
      break;
    }
    events.push_back(std::move(f.event));
  }
  Json::Object reply;
  reply.set("events", std::move(events)).set("searchedLogStreams", Json::Array{}).set_if(!next.empty(), "nextToken", next);
  return Json(std::move(reply));
}

Reply Logs::set_retention(const Call& call) {
  const auto g = group_of(call);
  if (!g) return std::unexpected(g.error());
  const std::int64_t days = call.operation == "DeleteRetentionPolicy" ? 0 : call.input["retentionInDays"].integer_or(0);
  if (call.operation == "PutRetentionPolicy" && !kRetentions.contains(days))
    return bad(
        fmt::format("1 validation error detected: Value '{}' at 'retentionInDays' failed to satisfy constraint: Member must satisfy enum "
                    "value set: [{}]",
                    days, fmt::join(kRetentions, ", ")));
  (*g)->retention_days = days;
  store(**g);
  return Json(Json::Object{});
}

void Logs::expire() {
  std::size_t left = kMostExpired;
  for (auto& [key, g] : groups_) {
    if (g.retention_days == 0) continue;
    const std::int64_t oldest = now() - g.retention_days * kDay, bytes = g.bytes;
    for (const auto& [name, s] : g.streams) {
      if (left == 0 || s.next == 0 || s.first >= oldest) continue;
      const std::string prefix = stream_prefix(g.region, g.name, name);
      left -= erase_events(g, {.from = prefix, .to = prefix + event_key(oldest, 0), .limit = left});
    }
    if (g.bytes != bytes) store(g);
  }
  env_.loop.after(left == 0 ? Duration(std::chrono::seconds(1)) : Duration(std::chrono::hours(1)), [this] { expire(); });
}

}  // namespace snapward::services::logs
