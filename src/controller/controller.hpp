// Controller: what a world has beside it when its workflows act on an account at AWS: a feed of each region's events, the door that its
// port shows, a look at what is there every five minutes, and the figures of all that. The world's tasks reach the account by themselves
// (services::Part).
//
// Threads: the loop's, which does not run any more when this goes.
#pragma once
#include <list>
#include <optional>
#include <string>

#include "cloud/retry.hpp"
#include "controller/door.hpp"
#include "controller/feed.hpp"
#include "services/service.hpp"
#include "snapshots/report.hpp"
#include "snapshots/settings.hpp"

namespace snapward::controller {

class Controller {
 public:
  // `account` is AWS, `here` the local cloud of the world.
  Controller(engine::Loop& loop, engine::Ledger& ledger, cloud::Cloud& account, cloud::Cloud& here, const snapshots::Settings& settings);
  void start();  // the feeds and the looks; when the workflows are deployed
  cloud::Cloud& door() { return door_; }
  [[nodiscard]] std::string metrics() const;  // as Prometheus reads them

 private:
  Task<void> look();  // again and again
  void describe_volumes(services::Metrics& m) const;

  engine::Loop& loop_;
  cloud::Retrying account_;
  snapshots::Settings settings_;
  Door door_;
  std::list<Feed> feeds_;
  std::optional<snapshots::Report> seen_;
};

// Services that live in a controller; all others are the account's.
bool is_here(std::string_view service);

}  // namespace snapward::controller
