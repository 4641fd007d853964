// Any bytes as an expression, a path, a schedule: no crash, no hang.
#include "asl/expression.hpp"

#include "events/schedule.hpp"

using namespace snapward;

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  static const Json kData = *Json::parse(R"({"a":{"b":[1,2,{"c":"x"}]},"n":5,"s":"text"})");
  if (const auto expression = asl::Expression::parse(text)) {
    const std::function<Json()> context = [] { return kData; };
    const asl::Variables variables{{"v", kData}};
    SeededEntropy entropy(1);
    (void)expression->find({kData, context, variables, entropy, Instant{}});
  }
  if (const auto schedule = events::Schedule::parse(text)) (void)schedule->next(Instant(std::chrono::hours(490'000)), Instant{});
  return 0;
}
