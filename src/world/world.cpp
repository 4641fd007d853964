#include "world/world.hpp"

namespace snapward::world {

World::World(const Clock& clock, Entropy& entropy, store::Store& store, engine::Ledger::Mode mode, services::Outbound& outbound,
             services::LocalCloudOptions options, const Road& make_road)
    : loop(clock, entropy),
      ledger(store, loop, mode),
      cloud(loop, ledger, outbound, std::move(options)),
      road(make_road ? make_road(loop, cloud) : nullptr),
      retrying(
          road ? *road : static_cast<cloud::Cloud&>(cloud), [this](Duration delay) { return loop.sleep(delay); }, entropy),
      tasks(retrying, clock) {
  using services::lambda::FunctionError;
  for (auto& [name, function] : tasks.functions())
    cloud.lambda().add(name, [function](Json event, services::lambda::InvocationContext) -> Task<std::expected<Json, FunctionError>> {
      snapshots::TaskResult result = co_await function(std::move(event));
      if (!result) co_return std::unexpected(FunctionError{result.error().type, result.error().message});
      co_return *std::move(result);
    });
  cloud.restore();
}

}  // namespace snapward::world
