// A target's Input, InputPath or InputTransformer and an event, split at the first NUL: what the check accepts is delivered, as a text.
#include "events/transform.hpp"

using namespace snapward;

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  const std::string_view all(reinterpret_cast<const char*>(data), size);
  const std::size_t split = all.find('\0');
  const auto target = Json::parse(all.substr(0, split));
  if (!target || !target->is_object() || !events::check_target_input(*target)) return 0;
  static const Json kEvent =
      *Json::parse(R"({"source":"aws.ec2","time":"t","detail":{"event":"createSnapshot","n":[1,{"m":"a\"b\\"}],"e":{}}})");
  const events::RuleContext rule{.rule_arn = "arn:r", .rule_name = "r", .ingested = {}};
  (void)events::target_input(*target, kEvent, rule);
  if (split != std::string_view::npos)
    if (const auto event = Json::parse(all.substr(split + 1))) (void)events::target_input(*target, *event, rule);
  return 0;
}
