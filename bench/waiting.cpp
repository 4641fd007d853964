// So many executions that wait: what they cost in memory and on disk, and how long a new process takes to go on with them.
// usage: snapward_waiting FOLDER [EXECUTIONS 1000000]       FOLDER must be empty; it keeps the state
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>

#include "world/world.hpp"

namespace {

using namespace snapward;

double resident_gib() {
  std::ifstream in("/proc/self/statm");
  double size = 0, resident = 0;
  in >> size >> resident;
  return resident * static_cast<double>(sysconf(_SC_PAGESIZE)) / 1073741824.0;
}

class Nowhere final : public services::Outbound {
 public:
  Task<std::expected<wire::HttpResponse, std::string>> http(std::string, wire::HttpRequest) override { co_return wire::HttpResponse{}; }
  void mail(const std::string&, const std::string&, const std::string&) override {}
};

int fail(const std::string& message) {
  fmt::print(stderr, "snapward_waiting: {}\n", message);
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return fail("usage: snapward_waiting FOLDER [EXECUTIONS]");
  spdlog::set_level(spdlog::level::warn);
  const std::string folder = argv[1];
  const long wanted = argc > 2 ? std::atol(argv[2]) : 1'000'000;
  const SystemClock clock;
  SystemEntropy entropy;
  Nowhere outbound;
  const auto seconds_since = [](auto begun) { return std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count(); };
  const double before = resident_gib();
  if (const pid_t child = fork(); child == 0) {
    auto store = store::open_sqlite(folder);
    if (!store) _exit(fail(store.error().message));
    const auto begun = std::chrono::steady_clock::now();
    world::World world(clock, entropy, **store, engine::Ledger::Mode::inline_commits, outbound, {});
    const std::string definition = R"({"StartAt":"W","States":{"W":{"Type":"Wait","Seconds":1000000,"End":true}}})";
    std::string machine;
    const auto call = [&](const char* operation, Json input, auto done) {
      world.loop.spawn(world.cloud.call({"states", "us-west-2", operation, std::move(input)}), done);
    };
    call("CreateStateMachine",
         Json::object({{"name", "waits"}, {"definition", definition}, {"roleArn", "arn:aws:iam::000000000000:role/r"}}),
         [&](const cloud::Reply& r) { machine = r ? (*r)["stateMachineArn"].string_or() : ""; });
    world.loop.settle();
    for (long i = 0; i < wanted; ++i) {
      call("StartExecution",
           Json::object({{"stateMachineArn", machine},
                         {"name", fmt::format("waiting-{:08}", i)},
                         {"input", R"({"volume":"vol-049df61146c4d7901","n":1})"}}),
           [](const cloud::Reply&) {});
      if (i % 2000 == 1999) world.loop.settle();
    }
    world.loop.settle();
    fmt::print("{} executions wait after {:.1f} s; {:.2f} GiB resident ({:.0f} bytes each)\n", world.cloud.executions().running(),
               seconds_since(begun), resident_gib(), (resident_gib() - before) * 1073741824.0 / static_cast<double>(wanted));
    std::fflush(stdout);
    _exit(0);  // as a crash: nothing is closed
  } else {
    int status = 0;
    waitpid(child, &status, 0);
    if (status != 0) return 1;
  }
  const auto begun = std::chrono::steady_clock::now();
  auto store = store::open_sqlite(folder);
  if (!store) return fail(store.error().message);
  world::World world(clock, entropy, **store, engine::Ledger::Mode::inline_commits, outbound, {});
  std::uintmax_t disk = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) disk += entry.file_size();
  fmt::print("a new process goes on with {} after {:.1f} s; {:.2f} GiB resident; {:.2f} GiB on disk\n", world.cloud.executions().running(),
             seconds_since(begun), resident_gib(), static_cast<double>(disk) / 1073741824.0);
}
