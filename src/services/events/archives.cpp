// Archives and replays. An archived event is a row, keyed by archive, time and id, so that a replay reads a span of time in order and one
// that was cut off by a restart goes on where it was. Replayed events carry "replay-name" and are not archived again.
// Source: EventBridge User Guide, "Archiving and replaying events".
#include <fmt/format.h>

#include "base/arn.hpp"
#include "engine/unreadable.hpp"
#include "services/events/events.hpp"
#include "services/events/listing.hpp"

namespace snapward::services::events {

using snapward::events::Pattern;

namespace {

constexpr const char* kArchived = "events.archived";
constexpr std::size_t kBatch = 100;  // events of a replay in one turn
constexpr const char* kManager = "prod.vhs.events.aws.internal";
constexpr std::string_view kManagedPrefix = "Events-Archive-";
// AWS takes minutes to begin a replay and to end a cancelled one; until then both states can be seen.
constexpr std::chrono::seconds kReplayBegins(1), kCancelTakes(1);

std::unexpected<cloud::Error> bad_input(std::string message) { return cloud::error("ValidationException", std::move(message)); }
std::unexpected<cloud::Error> not_found(std::string message) { return cloud::error("ResourceNotFoundException", std::move(message)); }

std::string prefix_of(const std::string& region, const std::string& archive) { return region + '/' + archive + '\n'; }
std::string position(Instant at) { return fmt::format("{:016}", at.time_since_epoch().count()); }
Instant instant(const Json& millis) { return Instant(Duration(millis.integer_or(0))); }
std::int64_t millis(Instant at) { return at.time_since_epoch().count(); }

}  // namespace

Json Events::Archive::to_row() const {
  return Json::object({{"name", name},
                       {"region", region},
                       {"bus", bus},
                       {"description", description},
                       {"pattern", pattern_text},
                       {"state", state},
                       {"retention", retention_days},
                       {"count", count},
                       {"bytes", bytes},
                       {"created", millis(created)}});
}
Json Events::Replay::to_row() const {
  return Json::object({{"name", name},
                       {"region", region},
                       {"archive", archive},
                       {"bus", bus},
                       {"description", description},
                       {"state", state},
                       {"reason", reason},
                       {"filter", filter},
                       {"from", millis(from)},
                       {"to", millis(to)},
                       {"started", millis(started)},
                       {"ended", millis(ended)},
                       {"last", millis(last)}});
}
void Events::store(const Archive& a) { save("archives", a.region + '/' + a.name, a.to_row()); }
void Events::store(const Replay& r) { save("replays", r.region + '/' + r.name, r.to_row()); }

void Events::restore_archives() {
  each_row("archives", [&](const std::string&, const Json& r) {
    Archive a{.name = std::string(r["name"].string_or()),
              .region = std::string(r["region"].string_or()),
              .bus = std::string(r["bus"].string_or()),
              .description = std::string(r["description"].string_or()),
              .pattern_text = std::string(r["pattern"].string_or()),
              .state = std::string(r["state"].string_or()),
              .pattern = {},
              .retention_days = r["retention"].integer_or(0),
              .count = r["count"].integer_or(0),
              .bytes = r["bytes"].integer_or(0),
              .created = instant(r["created"])};
    if (!a.pattern_text.empty())
      if (auto p = Pattern::parse(a.pattern_text)) a.pattern = *std::move(p);
    const std::pair key(a.region, a.name);
    archives_[key] = std::move(a);
    expire(key);
  });
  each_row("replays", [&](const std::string&, const Json& r) {
    Replay replay{.name = std::string(r["name"].string_or()),
                  .region = std::string(r["region"].string_or()),
                  .archive = std::string(r["archive"].string_or()),
                  .bus = std::string(r["bus"].string_or()),
                  .description = std::string(r["description"].string_or()),
                  .state = std::string(r["state"].string_or()),
                  .reason = std::string(r["reason"].string_or()),
                  .filter = r["filter"],
                  .from = instant(r["from"]),
                  .to = instant(r["to"]),
                  .started = instant(r["started"]),
                  .ended = instant(r["ended"]),
                  .last = instant(r["last"])};
    const std::pair key(replay.region, replay.name);
    const Replay& kept = replays_[key] = std::move(replay);
    if (kept.state == "STARTING") begin_replay(key);
    if (kept.state == "RUNNING")
      env_.loop.defer([this, key, from = position(std::max(kept.from, kept.last))] { continue_replay(key, from); });
    if (kept.state == "CANCELLING") end_cancelled(key);
  });
}

Json Events::describe_archive(const Archive& a) const {
  Json::Object out{{"ArchiveArn", fmt::format("arn:aws:events:{}:{}:archive/{}", a.region, env_.account, a.name)},
                   {"ArchiveName", a.name},
                   {"EventSourceArn", fmt::format("arn:aws:events:{}:{}:event-bus/{}", a.region, env_.account, a.bus)},
                   {"State", a.state},
                   {"RetentionDays", a.retention_days},
                   {"SizeBytes", a.bytes},
                   {"EventCount", a.count},
                   {"CreationTime", iso_millis(a.created)}};
  out.set_if(!a.description.empty(), "Description", a.description).set_if(!a.pattern_text.empty(), "EventPattern", a.pattern_text);
  return Json(std::move(out));
}
Json Events::describe_replay(const Replay& r) const {
  Json::Object destination{{"Arn", fmt::format("arn:aws:events:{}:{}:event-bus/{}", r.region, env_.account, r.bus)}};
  if (!r.filter.items().empty()) destination.set("FilterArns", r.filter);
  Json::Object out{{"ReplayName", r.name},
                   {"ReplayArn", fmt::format("arn:aws:events:{}:{}:replay/{}", r.region, env_.account, r.name)},
                   {"State", r.state},
                   {"EventSourceArn", fmt::format("arn:aws:events:{}:{}:archive/{}", r.region, env_.account, r.archive)},
                   {"Destination", std::move(destination)},
                   {"EventStartTime", iso_millis(r.from)},
                   {"EventEndTime", iso_millis(r.to)},
                   {"ReplayStartTime", iso_millis(r.started)}};
  out.set_if(!r.description.empty(), "Description", r.description).set_if(!r.reason.empty(), "StateReason", r.reason);
  if (r.last != Instant{}) out.set("EventLastReplayedTime", iso_millis(r.last));
  if (r.ended != Instant{}) out.set("ReplayEndTime", iso_millis(r.ended));
  return Json(std::move(out));
}

// Source: EventBridge User Guide, "Archiving events": the rule's name and that it leaves replayed events out; its manager, target and
// template as reported by users of AWS.
Events::Rule Events::managed_rule(const Archive& a) const {
  Json::Object pattern = Json::parse(a.pattern_text).value_or(Json(Json::Object{})).as_object();
  pattern.set("replay-name", Json::array({Json::object({{"exists", false}})}));
  Rule rule;
  rule.name = std::string(kManagedPrefix) + a.name;
  rule.region = a.region;
  rule.bus = a.bus;
  rule.pattern_text = Json(std::move(pattern)).dump();
  rule.managed_by = kManager;
  rule.created = a.created;
  rule.targets = {Json::object(
      {{"Id", rule.name},
       {"Arn", fmt::format("arn:aws:events:{}:::", a.region)},
       {"InputTransformer",
        Json::object({{"InputPathsMap", Json(Json::Object{})},
                      {"InputTemplate",
                       fmt::format(R"({{"archive-arn": "arn:aws:events:{}:{}:archive/{}:{}", "event": <aws.events.event.json>, )"
                                   R"("ingestion-time": <aws.events.event.ingestion-time>}})",
                                   a.region, env_.account, a.name, digest_uuid(a.region + '/' + a.name + position(a.created)))}})}})};
  return rule;
}

std::optional<Events::Rule> Events::managed_rule(const Bus& bus, const std::string& name) const {
  if (!name.starts_with(kManagedPrefix)) return std::nullopt;
  const auto found = archives_.find({bus.region, name.substr(kManagedPrefix.size())});
  if (found == archives_.end() || found->second.bus != bus.name) return std::nullopt;
  return managed_rule(found->second);
}

std::vector<Events::Rule> Events::managed_rules(const Bus& bus) const {
  std::vector<Rule> out;
  for (const auto& [key, archive] : archives_)
    if (archive.region == bus.region && archive.bus == bus.name) out.push_back(managed_rule(archive));
  return out;
}

void Events::register_archives() {
  on("CreateArchive", [this](const Call& c) { return create_archive(c); });
  on("UpdateArchive", [this](const Call& c) { return update_archive(c); });
  on("StartReplay", [this](const Call& c) { return start_replay(c); });
  on("DescribeArchive", [this](const Call& call) -> Reply {
    const auto a = archives_.find({call.region, std::string(call.input["ArchiveName"].string_or())});
    if (a == archives_.end()) return not_found(fmt::format("Archive {} does not exist.", call.input["ArchiveName"].string_or()));
    return describe_archive(a->second);
  });
  on("ListArchives", [this](const Call& call) -> Reply {
    if (const auto good = check_filters(call); !good) return std::unexpected(good.error());
    return list_named(call, archives_, "Archives", [&](const auto& item) -> std::optional<Json> {
      Json shown = describe_archive(item);
      const bool wanted = (!call.input.find("EventSourceArn") || shown["EventSourceArn"] == call.input["EventSourceArn"]) &&
                          (!call.input.find("State") || call.input["State"].string_or() == item.state);
      return wanted ? std::optional(std::move(shown)) : std::nullopt;
    });
  });
  on("DeleteArchive", [this](const Call& call) -> Reply {
    const auto a = archives_.find({call.region, std::string(call.input["ArchiveName"].string_or())});
    if (a == archives_.end()) return not_found(fmt::format("Archive {} does not exist.", call.input["ArchiveName"].string_or()));
    for (const auto& row : env_.ledger.scan(kArchived, store::Range::prefix(prefix_of(a->second.region, a->second.name))))
      env_.ledger.erase(kArchived, row.key);
    drop("archives", a->second.region + '/' + a->second.name);
    archives_.erase(a);
    return Json(Json::Object{});
  });
  on("DescribeReplay", [this](const Call& call) -> Reply {
    const auto r = replays_.find({call.region, std::string(call.input["ReplayName"].string_or())});
    if (r == replays_.end()) return not_found(fmt::format("Replay {} does not exist.", call.input["ReplayName"].string_or()));
    return describe_replay(r->second);
  });
  on("ListReplays", [this](const Call& call) -> Reply {
    if (const auto good = check_filters(call); !good) return std::unexpected(good.error());
    return list_named(call, replays_, "Replays", [&](const auto& item) -> std::optional<Json> {
      Json shown = describe_replay(item);
      const bool wanted = (!call.input.find("EventSourceArn") || shown["EventSourceArn"] == call.input["EventSourceArn"]) &&
                          (!call.input.find("State") || call.input["State"].string_or() == item.state);
      return wanted ? std::optional(std::move(shown)) : std::nullopt;
    });
  });
  on("CancelReplay", [this](const Call& c) { return cancel_replay(c); });
}

Reply Events::create_archive(const Call& call) {
  const Json& in = call.input;
  const std::string name(in["ArchiveName"].string_or());
  if (archives_.contains({call.region, name}))
    return cloud::error("ResourceAlreadyExistsException", fmt::format("Archive {} already exists.", name));
  const auto source = Arn::parse(in["EventSourceArn"].string_or());
  const auto bus = source ? source->resource_id("event-bus") : std::nullopt;
  if (!bus) return bad_input("Parameter EventSourceArn is not valid. Reason: it must be the ARN of an event bus.");
  if (*bus != "default" && !buses_.contains({call.region, *bus})) return not_found(fmt::format("Event bus {} does not exist.", *bus));
  Archive a{.name = name,
            .region = call.region,
            .bus = *bus,
            .description = std::string(in["Description"].string_or()),
            .pattern_text = std::string(in["EventPattern"].string_or()),
            .state = "ENABLED",
            .pattern = {},
            .retention_days = in["RetentionDays"].integer_or(0),
            .count = 0,
            .bytes = 0,
            .created = env_.loop.now()};
  if (!a.pattern_text.empty()) {
    auto pattern = Pattern::parse(a.pattern_text);
    if (!pattern) return cloud::error("InvalidEventPatternException", "Event pattern is not valid. Reason: " + pattern.error().message);
    a.pattern = *std::move(pattern);
  }
  store(a);
  const std::pair key(call.region, name);
  const Archive& kept = archives_[key] = std::move(a);
  const Json shown = describe_archive(kept);
  expire(key);
  return Json::object({{"ArchiveArn", shown["ArchiveArn"]}, {"State", "ENABLED"}, {"CreationTime", shown["CreationTime"]}});
}

Reply Events::update_archive(const Call& call) {
  const auto a = archives_.find({call.region, std::string(call.input["ArchiveName"].string_or())});
  if (a == archives_.end()) return not_found(fmt::format("Archive {} does not exist.", call.input["ArchiveName"].string_or()));
  if (const Json* text = call.input.find("EventPattern")) {
    auto pattern = Pattern::parse(text->string_or());
    if (!pattern) return cloud::error("InvalidEventPatternException", "Event pattern is not valid. Reason: " + pattern.error().message);
    a->second.pattern = *std::move(pattern);
    a->second.pattern_text = text->string_or();
  }
  if (const Json* text = call.input.find("Description")) a->second.description = text->string_or();
  a->second.retention_days = call.input["RetentionDays"].integer_or(a->second.retention_days);
  store(a->second);
  expire(a->first);
  const Json shown = describe_archive(a->second);
  return Json::object({{"ArchiveArn", shown["ArchiveArn"]}, {"State", shown["State"]}, {"CreationTime", shown["CreationTime"]}});
}

// Keeps an event in every archive of its bus that wants it, in the commit that accepts it.
void Events::archive(Bus& bus, const Json& event) {
  if (archives_.empty() || event.find("replay-name")) return;
  for (auto& [key, a] : archives_) {
    if (key.first != bus.region || a.bus != bus.name || (a.pattern && !a.pattern->matches(event))) continue;
    std::string text = event.dump();
    ++a.count;
    a.bytes += static_cast<std::int64_t>(text.size());
    env_.ledger.put(kArchived,
                    prefix_of(a.region, a.name) + position(parse_iso(event["time"].string_or()).value_or(env_.loop.now())) + '\n' +
                        std::string(event["id"].string_or()),
                    std::move(text));
    store(a);
  }
}

// Lets go of what is older than the archive keeps, once a day.
void Events::expire(const Key& key) {
  const auto found = archives_.find(key);
  if (found == archives_.end() || found->second.retention_days == 0) return;
  Archive& a = found->second;
  const std::string prefix = prefix_of(a.region, a.name);
  for (const auto& row :
       env_.ledger.scan(kArchived, {.from = prefix, .to = prefix + position(env_.loop.now() - std::chrono::days(a.retention_days))})) {
    --a.count;
    a.bytes -= static_cast<std::int64_t>(row.value.size());
    env_.ledger.erase(kArchived, row.key);
  }
  store(a);
  env_.loop.after(std::chrono::days(1), [this, key] { expire(key); });
}

Reply Events::start_replay(const Call& call) {
  const Json& in = call.input;
  const std::string name(in["ReplayName"].string_or());
  if (replays_.contains({call.region, name}))
    return cloud::error("ResourceAlreadyExistsException", fmt::format("Replay {} already exists.", name));
  // What is found first, by recorded answers (2024): the bus, the archive, the times, and only then whether the two belong together.
  const auto destination = Arn::parse(in["Destination"]["Arn"].string_or());
  const auto bus_id = destination ? destination->resource_id("event-bus") : std::nullopt;
  if (!bus_id) return bad_input("Parameter Destination.Arn is not valid. Reason: Must contain an event bus ARN.");
  const auto bus = bus_in(destination->region, *bus_id);
  if (!bus) return std::unexpected(bus.error());
  const auto source = Arn::parse(in["EventSourceArn"].string_or());
  const std::string archive_name = source ? source->resource_id("archive").value_or("") : "";
  const auto a = archives_.find({call.region, archive_name});
  if (a == archives_.end())
    return bad_input(fmt::format("Parameter EventSourceArn is not valid. Reason: Archive {} does not exist.", archive_name));
  const auto from = parse_iso(in["EventStartTime"].string_or()), to = parse_iso(in["EventEndTime"].string_or());
  if (!from || !to || *to <= *from)
    return bad_input("Parameter EventEndTime is not valid. Reason: EventStartTime must be before EventEndTime.");
  if ((*bus)->name != a->second.bus || (*bus)->region != a->second.region)
    return bad_input("Parameter Destination.Arn is not valid. Reason: Cross event bus replay is not permitted.");
  const auto active = std::count_if(replays_.begin(), replays_.end(),
                                    [](const auto& r) { return r.second.state == "STARTING" || r.second.state == "RUNNING"; });
  if (active >= 10) return cloud::error("LimitExceededException", "The requested resource exceeds the maximum number allowed.");
  const std::pair key(call.region, name);
  Replay& r = replays_[key] = {.name = name,
                               .region = call.region,
                               .archive = a->second.name,
                               .bus = a->second.bus,
                               .description = std::string(in["Description"].string_or()),
                               .state = "STARTING",
                               .reason = {},
                               .filter = in["Destination"]["FilterArns"].is_array() ? in["Destination"]["FilterArns"] : Json(Json::Array{}),
                               .from = *from,
                               .to = *to,
                               .started = env_.loop.now(),
                               .ended = {},
                               .last = {}};
  store(r);
  begin_replay(key);
  const Json shown = describe_replay(r);
  return Json::object({{"ReplayArn", shown["ReplayArn"]}, {"State", "STARTING"}, {"ReplayStartTime", shown["ReplayStartTime"]}});
}

void Events::begin_replay(const Key& key) {
  env_.loop.after(kReplayBegins, [this, key] {
    if (const auto r = replays_.find(key); r != replays_.end()) continue_replay(key, position(r->second.from));
  });
}

Reply Events::cancel_replay(const Call& call) {
  const auto found = replays_.find({call.region, std::string(call.input["ReplayName"].string_or())});
  if (found == replays_.end()) return not_found(fmt::format("Replay {} does not exist.", call.input["ReplayName"].string_or()));
  Replay& r = found->second;
  if (r.state != "STARTING" && r.state != "RUNNING")
    return cloud::error("IllegalStatusException", fmt::format("Replay {} is not in a valid state for this operation.", r.name));
  r.state = "CANCELLING";
  store(r);
  end_cancelled(found->first);
  const Json shown = describe_replay(r);
  return Json::object({{"ReplayArn", shown["ReplayArn"]}, {"State", shown["State"]}});
}

void Events::end_cancelled(const Key& key) {
  env_.loop.after(kCancelTakes, [this, key] {
    const auto found = replays_.find(key);
    if (found == replays_.end()) return;
    found->second.state = "CANCELLED";
    found->second.ended = env_.loop.now();
    store(found->second);
  });
}

void Events::continue_replay(const Key& key, const std::string& from) {
  const auto found = replays_.find(key);
  if (found == replays_.end() || (found->second.state != "STARTING" && found->second.state != "RUNNING")) return;
  Replay& r = found->second;
  const std::string prefix = prefix_of(r.region, r.archive);
  const auto bus = buses_.find({r.region, r.bus});
  const auto rows = env_.ledger.scan(kArchived, {.from = prefix + from, .to = prefix + position(r.to), .limit = kBatch});
  r.state = "RUNNING";
  for (const auto& row : rows) {
    const Json event = engine::value_of_row(Json::parse(row.value), kArchived, row.key);
    Json::Object again = event.as_object();
    again.set("replay-name", r.name);
    r.last = parse_iso(event["time"].string_or()).value_or(r.last);
    if (bus != buses_.end()) dispatch(bus->second, Json(std::move(again)), &r.filter);
  }
  if (rows.size() < kBatch) {
    r.state = "COMPLETED";
    r.ended = env_.loop.now();
    store(r);
    return;
  }
  store(r);
  env_.loop.defer([this, key, next = rows.back().key.substr(prefix.size()) + '\0'] { continue_replay(key, next); });
}

}  // namespace snapward::services::events
