#include "controller/controller.hpp"

#include <spdlog/spdlog.h>

#include "services/service.hpp"
#include "snapshots/workflows.hpp"

namespace snapward::controller {

namespace {
constexpr Duration kLookEvery = std::chrono::minutes(5);
}

Controller::Controller(engine::Loop& loop, engine::Ledger& ledger, cloud::Cloud& account, cloud::Cloud& here,
                       const snapshots::Settings& settings)
    : loop_(loop),
      account_(
          account, [&loop](Duration delay) { return loop.sleep(delay); }, loop.entropy()),
      settings_(settings),
      door_(here) {
  const auto add = [&](const std::string& region, const char* over) {
    feeds_.emplace_back(loop, ledger, account, here, region, snapshots::over_pattern(over));
  };
  add(settings.primary_region, snapshots::kSnapshotOver);
  if (!settings.dr_region.empty()) add(settings.dr_region, snapshots::kCopyOver);
}

void Controller::start() {
  for (Feed& feed : feeds_) loop_.spawn(feed.run());
  loop_.spawn(look());
}

Task<void> Controller::look() {
  for (;;) {
    const auto inventory = co_await snapshots::take_inventory(account_, settings_);
    if (inventory)
      seen_ = snapshots::assess(*inventory, settings_, {}, {}, 0, loop_.now());
    else
      spdlog::warn("what is in the account cannot be looked at, its figures are old: {}: {}", inventory.error().code,
                   inventory.error().message);
    co_await loop_.sleep(kLookEvery);
  }
}

void Controller::describe_volumes(services::Metrics& m) const {
  const Duration since = loop_.now() - seen_->at;
  const auto seconds = [&](Duration then) { return static_cast<double>((then + since).count()) / 1000.0; };
  for (const snapshots::Protection& p : seen_->volumes) {
    if (p.gone) continue;
    const services::Metrics::Labels volume{{"region", seen_->primary}, {"volume", p.volume}};
    m.gauge("snapward_volume_unprotected_seconds", "Since the newest completed snapshot of a volume was taken: what its loss would lose.",
            seconds(p.exposed), volume);
    if (!seen_->dr.empty())
      m.gauge("snapward_volume_uncopied_seconds",
              "Since the newest snapshot was taken that has a complete copy in the DR region: what the loss of its region would lose.",
              seconds(p.dr_exposed), volume);
  }
  m.gauge("snapward_looked_seconds", "Since the account was last looked at.", static_cast<double>(since.count()) / 1000.0);
}

std::string Controller::metrics() const {
  services::Metrics m;
  for (const Feed& feed : feeds_) {
    const services::Metrics::Labels region{{"region", feed.region()}};
    const Feed::Counts& counts = feed.counts();
    m.gauge("snapward_feed_well", "1 while the region's queue answers, 0 when the last call to it failed.", feed.well() ? 1 : 0, region);
    m.counter("snapward_feed_events_total", "Events that came from the region's queue since the process began.",
              static_cast<double>(counts.events), region);
    m.counter("snapward_feed_dropped_total", "Messages in the queue that were no events.", static_cast<double>(counts.dropped), region);
    m.counter("snapward_feed_failures_total", "Calls to the region's queue that failed.", static_cast<double>(counts.failures), region);
  }
  if (seen_) describe_volumes(m);
  return m.text();
}

bool is_here(std::string_view service) {
  return service == "states" || service == "events" || service == "lambda" || service == "logs" || service == "iam";
}

}  // namespace snapward::controller
