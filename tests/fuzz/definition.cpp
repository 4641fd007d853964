// Any bytes as a state machine: compiling must not crash; what compiles must run to a stop (a task answered, timers fired) and not hang.
#include <deque>

#include "asl/execution.hpp"

using namespace snapward;

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  const auto compiled = asl::compile_text({reinterpret_cast<const char*>(data), size});
  if (!compiled.machine) return 0;
  const Json input = Json::object({{"a", 1}, {"l", Json::array({1, 2})}});
  asl::Execution execution(compiled.machine, {.arn = "arn",
                                              .name = "n",
                                              .role_arn = "r",
                                              .machine_arn = "m",
                                              .machine_name = "M",
                                              .region = "r",
                                              .input = input,
                                              .input_text = input.dump(),
                                              .started = {}});
  std::deque<asl::Input> inputs{{.kind = asl::Input::Kind::started, .at = {}, .seed = 1, .id = 0, .value = {}, .error = {}, .cause = {}}};
  for (int i = 0; i < 50 && !inputs.empty(); ++i) {
    const asl::Input next = inputs.front();
    inputs.pop_front();
    for (const auto& command : execution.step(next).commands) {
      if (command.kind == asl::Command::Kind::invoke_task)
        inputs.push_back({.kind = i % 2 ? asl::Input::Kind::task_succeeded : asl::Input::Kind::task_failed,
                          .at = {},
                          .seed = 2,
                          .id = command.id,
                          .value = input,
                          .error = "E",
                          .cause = "c"});
      if (command.kind == asl::Command::Kind::start_timer)
        inputs.push_back(
            {.kind = asl::Input::Kind::timer_fired, .at = {}, .seed = 3, .id = command.id, .value = {}, .error = {}, .cause = {}});
    }
  }
  return 0;
}
