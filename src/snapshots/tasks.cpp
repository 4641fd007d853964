#include "snapshots/tasks.hpp"

#include <fmt/format.h>

#include "base/arn.hpp"
#include "base/text.hpp"
#include "cloud/ec2.hpp"
#include "snapshots/retention.hpp"
#include "snapshots/selection.hpp"
#include "snapshots/settings.hpp"

namespace snapward::snapshots {

namespace {

// A copy that failed is tried again this often within this time; then people must look (a key that is not accessible stays so).
constexpr std::size_t kMaxCopyAttempts = 3;
constexpr Duration kCopyAttemptsWithin = std::chrono::hours(6);
// EC2 may not show a copy yet when one looks for it at once; within this time one goes by what one did oneself. The workflow waits as
// long before it looks again after an answer was lost.
constexpr Duration kCopySettles = std::chrono::seconds(15);
// An announced snapshot that EC2 does not show for this long is gone.
constexpr Duration kVisibleAfter = std::chrono::minutes(1);
// A snapshot this old that nothing has dealt with was not announced, or its workflow died.
constexpr Duration kReconcileAfter = std::chrono::minutes(30);
// Decisions listed in a task's output: enough for people, small against the 256 KiB of a state.
constexpr std::size_t kMaxListed = 100;

std::unexpected<TaskError> failure(const cloud::Error& e) {
  switch (cloud::kind_of(e)) {
    case cloud::Kind::throttled:
      return std::unexpected(TaskError{"Snapward.Throttled", e.message});
    case cloud::Kind::limit:
      return std::unexpected(TaskError{"Snapward.CopyLimitReached", e.message});
    case cloud::Kind::unavailable:
      return std::unexpected(TaskError{"Snapward.Unavailable", e.message});
    default:
      return std::unexpected(TaskError{e.code, e.message});
  }
}
std::unexpected<TaskError> bad_input(std::string message) {
  return std::unexpected(TaskError{"Snapward.InvalidInput", std::move(message)});
}

struct Announcement {  // what an "EBS Snapshot Notification" says
  std::string event, region, snapshot_id, source, started;
  Instant at;  // when it was said
  bool failed = false;
};

// Whether a copy was begun is not known, and EC2 must be given time to show it.
std::unexpected<TaskError> unsettled(const CopyOrigin& origin) {
  return std::unexpected(
      TaskError{"Snapward.CopyUnsettled",
                fmt::format("The answer to the copy of {} was lost; it is looked for once EC2 would show it", origin.snapshot_id)});
}

std::expected<Announcement, TaskError> read_event(const Json& event) {
  const Json& detail = event["detail"];
  const auto snapshot = EbsArn::parse(detail["snapshot_id"].string_or(), "snapshot");
  if (!snapshot) return bad_input(fmt::format("event.detail.snapshot_id is not a snapshot ARN: {}", detail["snapshot_id"].dump()));
  return Announcement{.event = std::string(detail["event"].string_or()),
                      .region = std::string(event["region"].string_or(snapshot->region)),
                      .snapshot_id = snapshot->id,
                      .source = std::string(detail["source"].string_or()),
                      .started = std::string(detail["startTime"].string_or()),
                      .at = parse_iso(event["time"].string_or()).value_or(Instant{}),
                      .failed = detail["result"].string_or() != "succeeded"};
}

Json not_selected(const Announcement& a, const std::string& reason) {
  return Json::object({{"selected", false}, {"failed", false}, {"reason", reason}, {"snapshotId", a.snapshot_id}, {"region", a.region}});
}

// Announced, but not to be seen: EC2 may show a snapshot later than EBS tells of its end. Only after a while it is really gone.
TaskResult gone(const Announcement& a, Instant now) {
  if (now - a.at >= kVisibleAfter) return not_selected(a, "it does not exist any more");
  return std::unexpected(TaskError{"Snapward.Unavailable", fmt::format("{} was announced, and EC2 does not show it yet", a.snapshot_id)});
}

// Failed for us: the event said so, or the snapshot itself does. Marked, so that the reconciler need not bring it up again.
Task<TaskResult> failed_snapshot(cloud::Cloud& cloud, Announcement a, cloud::Snapshot s, std::string volume) {
  const auto marked = co_await cloud::create_tags(cloud, a.region, s.id, {{tags::kReported, "yes"}});
  if (!marked && cloud::kind_of(marked.error()) != cloud::Kind::not_found) co_return failure(marked.error());
  co_return Json::object({{"selected", true},
                          {"failed", true},
                          {"reason", s.state_message.empty() ? "the snapshot ended in state " + s.state : s.state_message},
                          {"snapshotId", a.snapshot_id},
                          {"volumeId", volume},
                          {"region", a.region}});
}

// What we manage of a volume in a region.
Task<cloud::Answer<std::vector<cloud::Snapshot>>> managed_of(cloud::Cloud& cloud, std::string region, std::string volume) {
  co_return co_await cloud::describe_snapshots(cloud, region,
                                               {{"tag-key", {tags::kName}}, {std::string("tag:") + tags::kVolume, {volume}}});
}

// The source of a copy is gone before it was copied. With as many newer ones as are kept, that is retention's doing and no loss.
Task<TaskResult> copy_of_gone(cloud::Cloud& cloud, Settings settings, CopyOrigin origin, std::optional<Instant> taken) {
  const auto managed = co_await managed_of(cloud, origin.region, origin.volume_id);
  if (!managed) co_return failure(managed.error());
  const auto newer = std::ranges::count_if(*managed, [&](const auto& s) { return s.completed() && taken && s.started > *taken; });
  if (newer < settings.retention)
    co_return std::unexpected(TaskError{"Snapward.CopyFailed", fmt::format("The snapshot {} does not exist any more", origin.snapshot_id)});
  co_return Json::object({{"superseded", true}, {"drRegion", settings.dr_region}, {"made", false}});
}

}  // namespace

std::string CopyOrigin::description() const { return snapshot_id + "**" + volume_id + "**" + region; }

std::optional<CopyOrigin> CopyOrigin::parse(std::string_view text) {
  const std::size_t first = text.find("**");
  const std::size_t second = first == std::string_view::npos ? first : text.find("**", first + 2);
  if (second == std::string_view::npos) return std::nullopt;
  CopyOrigin origin{.snapshot_id = std::string(text.substr(0, first)),
                    .volume_id = std::string(text.substr(first + 2, second - first - 2)),
                    .region = std::string(text.substr(second + 2))};
  if (!origin.snapshot_id.starts_with("snap-") || !origin.volume_id.starts_with("vol-") || origin.region.empty()) return std::nullopt;
  return origin;
}

std::map<std::string, Tasks::Function> Tasks::functions() {
  return {
      {"snapward-tag-snapshot", [this](Json in) { return tag_snapshot(std::move(in)); }},
      {"snapward-copy-snapshot", [this](Json in) { return copy_snapshot(std::move(in)); }},
      {"snapward-check-copy", [this](Json in) { return check_copy(std::move(in)); }},
      {"snapward-prune-snapshots", [this](Json in) { return prune(std::move(in)); }},
      {"snapward-tag-copy", [this](Json in) { return tag_copy(std::move(in)); }},
      {"snapward-notify", [this](Json in) { return notify(std::move(in)); }},
      {"snapward-reconcile", [this](Json in) { return reconcile(std::move(in)); }},
  };
}

Task<TaskResult> Tasks::tag_snapshot(Json input) {
  const auto settings = Settings::from_json(input["settings"]);
  if (!settings) co_return bad_input(settings.error().message);
  const auto a = read_event(input["event"]);
  if (!a) co_return std::unexpected(a.error());
  const auto snapshot = co_await cloud::find_snapshot(cloud_, a->region, a->snapshot_id);
  if (!snapshot) co_return failure(snapshot.error());
  if (!*snapshot) co_return gone(*a, clock_.now());
  const cloud::Snapshot& s = **snapshot;

  const auto volume = co_await cloud::volume_tags(cloud_, a->region, s.volume_id);
  if (!volume) co_return failure(volume.error());
  const Selection selection = select(*settings, s, *volume);
  if (!selection.selected) co_return not_selected(*a, selection.reason);
  if (a->failed || s.state == "error") co_return co_await failed_snapshot(cloud_, *a, s, s.volume_id);
  // Not over yet (an event ahead of its time): not to be counted. Its own event, or the reconciler, brings it back.
  if (!s.completed()) co_return not_selected(*a, "it is in state " + s.state);

  cloud::Tags wanted{{tags::kName, fmt::format("{}_{}", s.volume_id, iso_seconds(s.started))}, {tags::kVolume, s.volume_id}};
  if (s.tag(tags::kName).empty() || s.tag(tags::kVolume) != s.volume_id) {
    const auto tagged = co_await cloud::create_tags(cloud_, a->region, s.id, std::move(wanted));
    if (!tagged) co_return failure(tagged.error());
  }
  co_return Json::object({{"selected", true},
                          {"failed", false},
                          {"copy", !settings->dr_region.empty() && settings->dr_region != a->region},
                          {"reason", selection.reason},
                          {"snapshotId", s.id},
                          {"volumeId", s.volume_id},
                          {"region", a->region},
                          {"startTime", iso_millis(s.started)}});
}

// Copies of one source take turns.
Task<TaskResult> Tasks::copy_snapshot(Json input) {
  const std::string source(input["snapshot"]["snapshotId"].string_or());
  auto [turn, free] = turns_.try_emplace(source);
  if (!free) {
    const Future<bool> mine;
    turn->second.push_back(mine);
    co_await mine;
  }
  TaskResult result = co_await copy_alone(std::move(input));
  auto& waiting = turns_.at(source);
  if (waiting.empty()) {
    turns_.erase(source);
  } else {
    const Future<bool> next = waiting.front();
    waiting.erase(waiting.begin());
    next.set(true);
  }
  co_return result;
}

Task<TaskResult> Tasks::copy_alone(Json input) {
  const auto settings = Settings::from_json(input["settings"]);
  if (!settings) co_return bad_input(settings.error().message);
  const Json& in = input["snapshot"];
  const CopyOrigin origin{.snapshot_id = std::string(in["snapshotId"].string_or()),
                          .volume_id = std::string(in["volumeId"].string_or()),
                          .region = std::string(in["region"].string_or())};
  const std::string to = settings->dr_region;
  if (to.empty() || to == origin.region)
    co_return bad_input(fmt::format("settings.drRegion '{}' must name a region other than the snapshot's", to));

  const auto source = co_await cloud::find_snapshot(cloud_, origin.region, origin.snapshot_id);
  if (!source) co_return failure(source.error());
  if (!*source) co_return co_await copy_of_gone(cloud_, *settings, origin, parse_iso(in["startTime"].string_or()));

  // Confirmed once is done for good: the copy may since have been pruned in the DR region, and a late event must not bring it back.
  const std::string marked_copy = (*source)->tag(tags::kCopy);
  if ((*source)->tag(tags::kCopyState) == "completed" && marked_copy.starts_with(to + '/'))
    co_return Json::object({{"superseded", false}, {"copyId", marked_copy.substr(to.size() + 1)}, {"drRegion", to}, {"made", false}});

  // Look before acting: CopySnapshot takes no client token, so the tag given at creation is the key. A look too soon sees nothing.
  const std::string key = origin.region + '/' + origin.snapshot_id;
  std::erase_if(asked_, [now = clock_.now()](const auto& entry) { return now - entry.second.at >= kCopySettles; });
  std::string just_asked_for;
  if (const auto asked = asked_.find(key + '>' + to); asked != asked_.end()) {
    if (asked->second.copy_id.empty()) co_return unsettled(origin);
    just_asked_for = asked->second.copy_id;
  }
  const auto known = co_await cloud::describe_snapshots(cloud_, to, {{std::string("tag:") + tags::kSource, {key}}});
  if (!known) co_return failure(known.error());
  std::size_t failures = 0;
  std::string message;
  std::string copy_id;
  for (const cloud::Snapshot& copy : *known) {
    if (copy.state != "error") {
      copy_id = copy.id;
    } else if (clock_.now() - copy.started < kCopyAttemptsWithin) {
      ++failures;
      message = copy.state_message;
    }
    if (copy.id == just_asked_for) just_asked_for.clear();  // it is seen already
  }
  if (copy_id.empty()) copy_id = just_asked_for;
  const bool made = copy_id.empty();
  if (made) {
    if (failures >= kMaxCopyAttempts) {
      const auto marked = co_await cloud::create_tags(cloud_, origin.region, origin.snapshot_id, {{tags::kCopyState, "failed"}});
      if (!marked) co_return failure(marked.error());
      co_return std::unexpected(
          TaskError{"Snapward.CopyFailed", fmt::format("Copying {} to {} failed {} times: {}", origin.snapshot_id, to, failures, message)});
    }
    Json request =
        Json::object({{"SourceRegion", origin.region},
                      {"SourceSnapshotId", origin.snapshot_id},
                      {"Description", origin.description()},
                      {"TagSpecifications",
                       cloud::tag_specifications("snapshot", {{tags::kSource, key}, {tags::kTaken, iso_millis((*source)->started)}})}});
    const auto reply = co_await cloud_.call({"ec2", to, "CopySnapshot", std::move(request)});
    const bool unknown = !reply && cloud::kind_of(reply.error()) == cloud::Kind::unavailable;
    if (reply || unknown) asked_[key + '>' + to] = {clock_.now(), unknown ? "" : std::string((*reply)["SnapshotId"].string_or())};
    if (unknown) co_return unsettled(origin);
    if (!reply) co_return failure(reply.error());
    copy_id = (*reply)["SnapshotId"].string_or();
  }
  // From now on the source is known to be in the making of a copy, and is not pruned.
  if ((*source)->tag(tags::kCopy) != to + '/' + copy_id || (*source)->tag(tags::kCopyState) == "failed") {
    const auto tagged = co_await cloud::create_tags(cloud_, origin.region, origin.snapshot_id,
                                                    {{tags::kCopy, to + '/' + copy_id}, {tags::kCopyState, "in-progress"}});
    if (!tagged) co_return failure(tagged.error());
  }
  co_return Json::object({{"superseded", false}, {"copyId", copy_id}, {"drRegion", to}, {"made", made}});
}

Task<TaskResult> Tasks::check_copy(Json input) {
  const Json& from = input["snapshot"];
  const std::string to(input["copy"]["drRegion"].string_or()), id(input["copy"]["copyId"].string_or());
  const auto copy = co_await cloud::find_snapshot(cloud_, to, id);
  if (!copy) co_return failure(copy.error());
  std::string state = *copy ? (*copy)->state : "missing";
  const std::string source_region(from["region"].string_or()), source_id(from["snapshotId"].string_or());
  if (state == "missing") {
    // Gone already: pruned in the DR region, which only ever deletes completed ones. The mark on the source says whether it was seen.
    const auto source = co_await cloud::find_snapshot(cloud_, source_region, source_id);
    if (!source) co_return failure(source.error());
    if (*source && (*source)->tag(tags::kCopyState) == "completed") state = "completed";
  }
  if (state == "completed" || state == "error") {
    const auto marked =
        co_await cloud::create_tags(cloud_, source_region, source_id, {{tags::kCopyState, state == "completed" ? "completed" : "failed"}});
    // The source may have been deleted by its owner while the copy ran; the copy stands all the same.
    if (!marked && cloud::kind_of(marked.error()) != cloud::Kind::not_found) co_return failure(marked.error());
  }
  co_return Json::object({{"state", state}, {"message", *copy ? (*copy)->state_message : std::string()}});
}

Task<TaskResult> Tasks::prune(Json input) {
  const auto settings = Settings::from_json(input["settings"]);
  if (!settings) co_return bad_input(settings.error().message);
  const std::string volume(input["volumeId"].string_or()), region(input["region"].string_or());
  if (volume.empty() || region.empty()) co_return bad_input("volumeId and region are required");
  const bool needs_copy = input["copies"].bool_or(false) && !settings->dr_region.empty();

  const auto found = co_await managed_of(cloud_, region, volume);
  if (!found) co_return failure(found.error());
  std::vector<Candidate> candidates;
  for (const cloud::Snapshot& s : *found) candidates.push_back(candidate_of(s, needs_copy));
  const auto plan = retain(std::move(candidates), settings->retention);

  Json::Array deleted, undeletable, decisions;
  std::int64_t kept = 0;
  std::optional<cloud::Error> again;  // something worth another try; the rest goes on first
  for (const Decision& d : plan) {
    if (decisions.size() < kMaxListed) decisions.push_back(Json::object({{"id", d.id}, {"keep", d.keep}, {"reason", d.reason}}));
    if (d.keep) {
      ++kept;
      continue;
    }
    Json request = Json::object({{"SnapshotId", d.id}});
    const auto reply = co_await cloud_.call({"ec2", region, "DeleteSnapshot", std::move(request)});
    if (reply || cloud::kind_of(reply.error()) == cloud::Kind::not_found) {
      deleted.emplace_back(d.id);
      continue;
    }
    const auto kind = cloud::kind_of(reply.error());
    if (kind == cloud::Kind::throttled || kind == cloud::Kind::unavailable)
      again = reply.error();
    else
      undeletable.push_back(Json::object({{"id", d.id}, {"reason", reply.error().message}}));
  }
  if (again) co_return failure(*again);
  co_return Json::object({{"volumeId", volume},
                          {"region", region},
                          {"kept", kept},
                          {"deleted", std::move(deleted)},
                          {"undeletable", std::move(undeletable)},
                          {"decisions", std::move(decisions)}});
}

Task<TaskResult> Tasks::tag_copy(Json input) {
  const auto a = read_event(input["event"]);
  if (!a) co_return std::unexpected(a.error());
  const auto snapshot = co_await cloud::find_snapshot(cloud_, a->region, a->snapshot_id);
  if (!snapshot) co_return failure(snapshot.error());
  if (!*snapshot) co_return gone(*a, clock_.now());
  const cloud::Snapshot& s = **snapshot;
  const auto origin = CopyOrigin::parse(s.description);
  if (!origin || s.tag(tags::kSource) != origin->region + '/' + origin->snapshot_id) co_return not_selected(*a, "it is not a copy of ours");
  if (a->failed || s.state == "error") co_return co_await failed_snapshot(cloud_, *a, s, origin->volume_id);
  if (!s.completed()) co_return not_selected(*a, "it is in state " + s.state);
  if (s.tag(tags::kVolume).empty()) {
    const auto taken = parse_iso(s.tag(tags::kTaken)).value_or(s.started);
    cloud::Tags wanted{{tags::kName, fmt::format("{}_{}", origin->volume_id, iso_seconds(taken))},
                       {tags::kVolume, origin->volume_id},
                       {tags::kRegion, origin->region}};
    const auto tagged = co_await cloud::create_tags(cloud_, a->region, s.id, std::move(wanted));
    if (!tagged) co_return failure(tagged.error());
  }
  // Before anything here is pruned, the source learns that its copy is complete: confirmed even if this copy goes soon.
  const auto marked = co_await cloud::create_tags(cloud_, origin->region, origin->snapshot_id,
                                                  {{tags::kCopyState, "completed"}, {tags::kCopy, a->region + '/' + s.id}});
  if (!marked && cloud::kind_of(marked.error()) != cloud::Kind::not_found) co_return failure(marked.error());
  co_return Json::object({{"selected", true},
                          {"failed", false},
                          {"reason", "a copy of ours"},
                          {"snapshotId", s.id},
                          {"volumeId", origin->volume_id},
                          {"region", a->region}});
}

Task<TaskResult> Tasks::notify(Json input) {
  const auto settings = Settings::from_json(input["settings"]);
  if (!settings) co_return bad_input(settings.error().message);
  if (settings->topic_arn.empty()) co_return Json::object({{"messageId", nullptr}});
  const auto arn = Arn::parse(settings->topic_arn);
  if (!arn) co_return bad_input(fmt::format("settings.topicArn is not an ARN: {}", settings->topic_arn));
  const Json& detail = input["event"]["detail"];
  const Json& error = input["error"];
  const auto snapshot = EbsArn::parse(detail["snapshot_id"].string_or(), "snapshot");
  // The source of a copy is a snapshot, of a snapshot a volume: each is named for what it is.
  const auto volume = EbsArn::parse(detail["source"].string_or(), "volume");
  const auto source = EbsArn::parse(detail["source"].string_or(), "snapshot");
  std::string message = "Snapshot management met an error.\n\n";
  const auto line = [&](std::string_view name, std::string_view value) {
    if (!value.empty()) message += fmt::format("{:<11}{}\n", name, value);
  };
  line("Error:", error["Error"].string_or());
  line("Cause:", error["Cause"].string_or());
  line("Region:", input["event"]["region"].string_or());
  if (snapshot) line("Snapshot:", snapshot->id);
  if (volume) line("Volume:", volume->id);
  if (source) line("Copied of:", source->id + " in " + source->region);
  if (const Json* known = input.find("volumeId")) line("Volume:", known->string_or());
  line("Execution:", input["execution"].string_or());
  Json request = Json::object({{"TopicArn", settings->topic_arn}, {"Subject", "Snapshot Management Error"}, {"Message", message}});
  const auto reply = co_await cloud_.call({"sns", arn->region, "Publish", std::move(request)});
  if (!reply) co_return failure(reply.error());
  co_return Json::object({{"messageId", (*reply)["MessageId"]}});
}

// Makes good what events did not bring: starts the workflow for each snapshot that nothing has dealt with, completed or failed.
Task<TaskResult> Tasks::reconcile(Json input) {
  const auto settings = Settings::from_json(input["settings"]);
  if (!settings) co_return bad_input(settings.error().message);
  const std::string region(input["region"].string_or()), machine(input["stateMachineArn"].string_or());
  const std::string since_text(input["since"].string_or());
  const auto since = since_text.empty() ? Instant{} : parse_iso(since_text);
  if (!since) co_return bad_input(fmt::format("since must be a time as 2026-01-31T00:00:00Z, not '{}'", since_text));
  const bool copies = input["side"].string_or() == "dr";  // the DR side looks at copies, the primary side at the rest
  const auto all = co_await cloud::describe_snapshots(cloud_, region, {{"status", {"completed", "error"}}});
  if (!all) co_return failure(all.error());
  Json::Array started;
  const Instant now = clock_.now();
  std::map<std::string, std::optional<cloud::Tags>> volumes;  // asked once each
  for (const cloud::Snapshot& s : *all) {
    const auto origin = CopyOrigin::parse(s.description);
    const bool ours = origin && !s.tag(tags::kSource).empty();
    if (ours != copies || now - s.started < kReconcileAfter) continue;
    const std::string state = s.tag(tags::kCopyState);
    const bool failed = s.state == "error";
    const bool dealt_with = failed   ? !s.tag(tags::kReported).empty()
                            : copies ? !s.tag(tags::kVolume).empty()
                                     : !s.tag(tags::kName).empty() && (settings->dr_region.empty() || state == "completed");
    if (dealt_with) continue;
    // What people had before is theirs: it would be copied, and pruned to the retention.
    if (!copies && s.started < *since && s.tag(tags::kName).empty()) continue;
    if (!copies && s.tag(tags::kName).empty()) {
      auto known = volumes.find(s.volume_id);
      if (known == volumes.end()) {
        const auto volume = co_await cloud::volume_tags(cloud_, region, s.volume_id);
        if (!volume) co_return failure(volume.error());
        known = volumes.emplace(s.volume_id, *volume).first;
      }
      if (!select(*settings, s, known->second).selected) continue;
    }
    // The event it should have been; once an hour at most, once a day when its copy fails again and again.
    Json event = Json::object(
        {{"version", "0"},
         {"detail-type", "EBS Snapshot Notification"},
         {"source", "snapward.reconcile"},
         {"region", region},
         {"time", iso_seconds(now)},
         {"detail", Json::object({{"event", copies ? "copySnapshot" : "createSnapshot"},
                                  {"result", failed ? "failed" : "succeeded"},
                                  {"cause", s.state_message},
                                  {"snapshot_id", fmt::format("arn:aws:ec2::{}:snapshot/{}", region, s.id)},
                                  {"source", copies ? fmt::format("arn:aws:ec2::{}:snapshot/{}", origin->region, origin->snapshot_id)
                                                    : fmt::format("arn:aws:ec2::{}:volume/{}", region, s.volume_id)},
                                  {"startTime", iso_seconds(s.started)},
                                  {"endTime", iso_seconds(now)}})}});
    const std::string stamp = iso_seconds(now).substr(0, state == "failed" ? 10 : 13);
    Json request =
        Json::object({{"stateMachineArn", machine}, {"name", fmt::format("reconcile-{}-{}", s.id, stamp)}, {"input", event.dump()}});
    const auto reply = co_await cloud_.call({"states", region, "StartExecution", std::move(request)});
    if (!reply && reply.error().code != "ExecutionAlreadyExists") co_return failure(reply.error());
    if (reply && started.size() < kMaxListed) started.emplace_back(s.id);
  }
  co_return Json::object({{"started", std::move(started)}});
}

}  // namespace snapward::snapshots
