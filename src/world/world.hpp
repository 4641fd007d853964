// World: the engine, the local cloud and the snapshot tasks put together on one loop. The server, the demonstration, the simulator and
// the tests differ only in what they put in: the clock, the entropy, the store, the way out, the road between the tasks and the cloud.
#pragma once
#include "base/entropy.hpp"
#include "base/time.hpp"
#include "cloud/retry.hpp"
#include "engine/ledger.hpp"
#include "engine/loop.hpp"
#include "services/local_cloud.hpp"
#include "snapshots/tasks.hpp"
#include "snapshots/workflows.hpp"

namespace snapward::world {

struct World {
  // What the tasks' calls pass through on their way to the cloud; none: straight to it.
  using Road = std::function<std::unique_ptr<cloud::Cloud>(engine::Loop&, cloud::Cloud&)>;

  World(const Clock& clock, Entropy& entropy, store::Store& store, engine::Ledger::Mode mode, services::Outbound& outbound,
        services::LocalCloudOptions options, const Road& road = {});

  engine::Loop loop;
  engine::Ledger ledger;
  services::LocalCloud cloud;
  std::unique_ptr<cloud::Cloud> road;  // or null
  cloud::Retrying retrying;            // what the tasks call through
  snapshots::Tasks tasks;
};

}  // namespace snapward::world
