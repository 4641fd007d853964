#include "controller/controller.hpp"

#include "services/service.hpp"
#include "snapshots/workflows.hpp"

namespace snapward::controller {

Controller::Controller(engine::Loop& loop, engine::Ledger& ledger, cloud::Cloud& account, cloud::Cloud& here,
                       const snapshots::Settings& settings)
    : loop_(loop), door_(here) {
  const auto add = [&](const std::string& region, const char* over) {
    feeds_.emplace_back(loop, ledger, account, here, region, snapshots::over_pattern(over));
  };
  add(settings.primary_region, snapshots::kSnapshotOver);
  if (!settings.dr_region.empty()) add(settings.dr_region, snapshots::kCopyOver);
}

void Controller::start() {
  for (Feed& feed : feeds_) loop_.spawn(feed.run());
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
  return m.text();
}

bool is_here(std::string_view service) {
  return service == "states" || service == "events" || service == "lambda" || service == "logs" || service == "iam";
}

}  // namespace snapward::controller
