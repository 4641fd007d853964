#include "cli/world.hpp"

namespace snapward::cli {

World::World(const Clock& clock, Entropy& entropy, store::Store& store, engine::Ledger::Mode mode, services::Outbound& outbound,
             services::LocalCloudOptions options)
    : loop(clock, entropy),
      ledger(store, loop, mode),
      cloud(loop, ledger, outbound, std::move(options)),
      retrying(
          cloud, [this](Duration delay) { return loop.sleep(delay); }, entropy),
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

}  // namespace snapward::cli
