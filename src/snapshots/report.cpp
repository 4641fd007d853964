#include "snapshots/report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>

#include "snapshots/distance.hpp"
#include "snapshots/retention.hpp"
#include "snapshots/selection.hpp"
#include "snapshots/tasks.hpp"

namespace snapward::snapshots {

namespace {

constexpr Duration kDealtWithin = std::chrono::hours(2);  // the reconciler looks once an hour

// "1h", as an objective is given.
std::string shown(Duration span) {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(span).count();
  for (const auto& [size, unit] : {std::pair{86'400, 'd'}, {3'600, 'h'}, {60, 'm'}})
    if (seconds >= size && seconds % size == 0) return fmt::format("{}{}", seconds / size, unit);
  return fmt::format("{}s", seconds);
}

struct Gathered {
  const cloud::Volume* volume = nullptr;
  std::vector<const cloud::Snapshot*> snapshots, copies;
};

Instant taken_of(const cloud::Snapshot& copy) { return parse_iso(copy.tag(tags::kTaken)).value_or(copy.started); }

std::string plural(std::size_t n, const char* one, const char* many) { return fmt::format("{} {}", n, n == 1 ? one : many); }

// What is wrong with the snapshots themselves.
void look_at_snapshots(const Gathered& g, const Settings& settings, Instant managed_since, Instant now, Protection& p) {
  std::size_t in_error = 0, undealt = 0, uncopied = 0;
  const cloud::Snapshot* confirmed = nullptr;
  for (const cloud::Snapshot* s : g.snapshots) {
    in_error += s->state == "error";
    if (!s->completed()) continue;
    ++p.snapshots;
    p.newest = std::max(p.newest.value_or(s->started), s->started);
    undealt += s->tag(tags::kName).empty() && s->started > managed_since && now - s->started > kDealtWithin;
    if (settings.dr_region.empty()) continue;
    const CopyState state = candidate_of(*s, true).copy;
    uncopied += state == CopyState::failed;
    if (state == CopyState::confirmed && (!confirmed || s->started > confirmed->started)) confirmed = s;
  }
  for (const cloud::Snapshot* c : g.copies) {
    if (!c->completed()) continue;
    ++p.copies;
    p.newest_copied = std::max(p.newest_copied.value_or(taken_of(*c)), taken_of(*c));
  }
  if (in_error) p.findings.push_back(fmt::format("{} in state error", plural(in_error, "snapshot is", "snapshots are")));
  if (undealt)
    p.findings.push_back(fmt::format("{} not dealt with", plural(undealt, "completed snapshot was", "completed snapshots were")));
  if (uncopied) p.findings.push_back(fmt::format("{} not be copied", plural(uncopied, "snapshot could", "snapshots could")));
  if (confirmed && (!p.newest_copied || *p.newest_copied < confirmed->started))
    p.findings.push_back(
        fmt::format("the copy {} of {} was confirmed and is not there any more", confirmed->tag(tags::kCopy), confirmed->id));
}

void compare(const Tier& tier, const Settings& settings, Instant made, Instant now, Protection& p) {
  p.tier = tier.name;
  p.exposed = now - p.newest.value_or(made);
  if (p.exposed > tier.rpo)
    p.findings.push_back(p.newest ? fmt::format("its newest snapshot is {} old; {} may be lost", human(p.exposed), shown(tier.rpo))
                                  : fmt::format("it has no completed snapshot; {} may be lost", shown(tier.rpo)));
  if (settings.dr_region.empty()) return;
  p.dr_exposed = now - p.newest_copied.value_or(made);
  if (p.dr_exposed > tier.dr_rpo)
    p.findings.push_back(p.newest_copied ? fmt::format("what is in {} is {} old; {} may be lost", settings.dr_region, human(p.dr_exposed),
                                                       shown(tier.dr_rpo))
                                         : fmt::format("nothing of it is in {}; {} may be lost", settings.dr_region, shown(tier.dr_rpo)));
}

}  // namespace

Result<Duration> span_from(std::string_view text) {
  std::int64_t n = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
  const std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
  const std::int64_t seconds = unit == "s" ? 1 : unit == "m" ? 60 : unit == "h" ? 3'600 : unit == "d" ? 86'400 : 0;
  if (error != std::errc() || n < 1 || n > 1'000'000 || seconds == 0)
    return invalid(fmt::format("'{}' is no span of time; '90s', '15m', '4h' and '7d' are", text));
  return std::chrono::seconds(n * seconds);
}

Result<std::vector<Tier>> Tier::list_from_json(const Json& json) {
  const Json& list = json["tiers"];
  if (!list.is_array()) return invalid("a file of tiers has a list 'tiers'");
  std::vector<Tier> out;
  for (const Json& one : list.items()) {
    Tier tier;
    if (!one.is_object()) return invalid("each of 'tiers' is an object");
    for (const auto& [key, value] : one.as_object()) {
      const std::string text(value.string_or());
      if (key == "name") {
        tier.name = text;
      } else if (key == "tag") {
        tier.tag = text;
      } else if (key == "rpo" || key == "drRpo") {
        const auto span = span_from(text);
        if (!span) return invalid(fmt::format("'{}' of a tier: {}", key, span.error().message));
        (key == "rpo" ? tier.rpo : tier.dr_rpo) = *span;
      } else {
        return invalid(fmt::format("a tier has 'name', 'tag', 'rpo' and 'drRpo', not '{}'", key));
      }
    }
    if (tier.name.empty() || tier.tag.empty()) return invalid("a tier needs a 'name' and a 'tag'");
    out.push_back(std::move(tier));
  }
  return out;
}

Task<cloud::Answer<Inventory>> take_inventory(cloud::Cloud& cloud, Settings settings) {
  Inventory out;
  auto volumes = co_await cloud::describe_volumes(cloud, settings.primary_region);
  if (!volumes) co_return std::unexpected(volumes.error());
  out.volumes = *std::move(volumes);
  auto snapshots = co_await cloud::describe_snapshots(cloud, settings.primary_region, {});
  if (!snapshots) co_return std::unexpected(snapshots.error());
  out.snapshots = *std::move(snapshots);
  if (settings.dr_region.empty()) co_return out;
  auto copies = co_await cloud::describe_snapshots(cloud, settings.dr_region, {});
  if (!copies) co_return std::unexpected(copies.error());
  out.copies = *std::move(copies);
  co_return out;
}

Report assess(const Inventory& inventory, const Settings& settings, const std::vector<Tier>& tiers, const Tier& others, double min_miles,
              Instant now) {
  // What was taken was taken before: a cloud's clock may be ahead of ours, or run faster.
  for (const cloud::Volume& v : inventory.volumes) now = std::max(now, v.created);
  for (const cloud::Snapshot& s : inventory.snapshots) now = std::max(now, s.started);
  Report out{.at = now, .primary = settings.primary_region, .dr = settings.dr_region, .miles = {}, .volumes = {}, .findings = {}};
  if (!out.dr.empty()) out.miles = miles_between(out.primary, out.dr);
  if (min_miles > 0 && out.miles && *out.miles < min_miles)
    out.findings.push_back(
        fmt::format("{} and {} are about {:.0f} miles apart; {:.0f} are asked for", out.primary, out.dr, *out.miles, min_miles));

  std::map<std::string, Gathered> by_volume;
  for (const cloud::Volume& v : inventory.volumes)
    if (carries(v.tags, settings.tag)) by_volume[v.id].volume = &v;
  std::map<std::string, const cloud::Volume*> known;
  for (const cloud::Volume& v : inventory.volumes) known[v.id] = &v;
  for (const cloud::Snapshot& s : inventory.snapshots) {
    if (CopyOrigin::parse(s.description)) continue;  // a copy of another region's
    const auto volume = known.find(s.volume_id);
    const bool ours = !s.tag(tags::kName).empty() ||
                      select(settings, s, volume == known.end() ? std::nullopt : std::optional(volume->second->tags)).selected;
    if (ours && (volume == known.end() || by_volume.contains(s.volume_id))) by_volume[s.volume_id].snapshots.push_back(&s);
  }
  for (const cloud::Snapshot& c : inventory.copies) {
    const auto origin = CopyOrigin::parse(c.description);
    if (!origin || origin->region != settings.primary_region || c.tag(tags::kSource).empty()) continue;
    if (!known.contains(origin->volume_id) || by_volume.contains(origin->volume_id)) by_volume[origin->volume_id].copies.push_back(&c);
  }

  // What people had before anything was managed is theirs.
  Instant managed_since = now;
  for (const cloud::Snapshot& s : inventory.snapshots)
    if (!s.tag(tags::kName).empty() && !CopyOrigin::parse(s.description)) managed_since = std::min(managed_since, s.started);

  for (const auto& [id, g] : by_volume) {
    Protection p;
    p.volume = id;
    p.gone = !g.volume;
    look_at_snapshots(g, settings, managed_since, now, p);
    if (g.volume) {
      const auto name = g.volume->tags.find("Name");
      if (name != g.volume->tags.end()) p.name = name->second;
      p.size_gib = g.volume->size_gib;
      const auto tier = std::ranges::find_if(tiers, [&](const Tier& t) { return carries(g.volume->tags, t.tag); });
      compare(tier == tiers.end() ? others : *tier, settings, g.volume->created, now, p);
    }
    out.volumes.push_back(std::move(p));
  }
  std::ranges::sort(out.volumes, {}, [](const Protection& p) { return std::pair(p.findings.empty(), p.volume); });
  return out;
}

bool Report::good() const {
  return findings.empty() && std::ranges::all_of(volumes, [](const Protection& p) { return p.findings.empty(); });
}

Json Report::to_json() const {
  const auto texts = [](const std::vector<std::string>& list) { return Json(Json::Array(list.begin(), list.end())); };
  const auto time = [](const std::optional<Instant>& at) { return at ? Json(iso_seconds(*at)) : Json(); };
  Json::Array list;
  for (const Protection& p : volumes) {
    Json::Object one{{"volume", p.volume},
                     {"name", p.name},
                     {"tier", p.tier},
                     {"gone", p.gone},
                     {"good", p.findings.empty()},
                     {"sizeGiB", p.size_gib},
                     {"snapshots", p.snapshots},
                     {"copies", p.copies},
                     {"newest", time(p.newest)},
                     {"newestCopied", time(p.newest_copied)}};
    if (!p.gone) one.set("exposedSeconds", p.exposed.count() / 1000);
    if (!p.gone && !dr.empty()) one.set("drExposedSeconds", p.dr_exposed.count() / 1000);
    one.set("findings", texts(p.findings));
    list.emplace_back(std::move(one));
  }
  Json::Object out{{"at", iso_seconds(at)}, {"good", good()}, {"primaryRegion", primary}, {"drRegion", dr}};
  if (miles) out.set("miles", std::llround(*miles));
  out.set("findings", texts(findings)).set("volumes", std::move(list));
  return out;
}

}  // namespace snapward::snapshots
