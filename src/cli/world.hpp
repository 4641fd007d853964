// World: the engine, the local cloud and the snapshot tasks put together on one loop. The server, the demonstration and the tests
// differ only in what they put in: the clock, the entropy, the store, the way out.
#pragma once
#include "base/entropy.hpp"
#include "base/time.hpp"
#include "cloud/retry.hpp"
#include "engine/ledger.hpp"
#include "engine/loop.hpp"
#include "services/local_cloud.hpp"
#include "snapshots/tasks.hpp"
#include "snapshots/workflows.hpp"

namespace snapward::cli {

struct World {
  World(const Clock& clock, Entropy& entropy, store::Store& store, engine::Ledger::Mode mode, services::Outbound& outbound,
        services::LocalCloudOptions options);

  engine::Loop loop;
  engine::Ledger ledger;
  services::LocalCloud cloud;
  cloud::Retrying retrying;  // what the tasks call through
  snapshots::Tasks tasks;
};

}  // namespace snapward::cli
