// Any bytes as a JSONata expression, evaluated: no crash, no hang, bounded memory.
#include "query/jsonata.hpp"

using namespace snapward;

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  static const Json kData = *Json::parse(R"({"a":{"b":[1,2,{"c":"x"}]},"n":5,"s":"some text 12","l":[3,1,2],"t":"2026-01-02T03:04:05Z"})");
  static const std::map<std::string, Json, std::less<>> kVariables{{"v", kData}};
  const auto expression = query::Jsonata::parse(std::string_view(reinterpret_cast<const char*>(data), size));
  if (!expression) return 0;
  (void)expression->variables();
  for (const bool step_functions : {false, true}) {
    SeededEntropy entropy(1);
    query::Jsonata::Environment environment{
        .variables = &kVariables, .states = &kData, .entropy = &entropy, .now = Instant{}, .step_functions = step_functions};
    environment.limits = {.depth = 100, .steps = 20'000, .list_items = 20'000, .live_items = 50'000};
    if (const auto out = expression->evaluate(&kData, environment); out && *out) {
      if (!Json::parse((*out)->dump())) __builtin_trap();  // what comes out can be written and read again
    }
  }
  return 0;
}
