// A pattern and an event, split at the first NUL: compiling and matching must not crash or hang.
#include "events/pattern.hpp"

using namespace snapward;

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  const std::string_view all(reinterpret_cast<const char*>(data), size);
  const std::size_t split = all.find('\0');
  const auto pattern = events::Pattern::parse(all.substr(0, split));
  if (!pattern) return 0;
  static const Json kEvent = *Json::parse(R"({"source":"aws.ec2","detail":{"event":"createSnapshot","n":[1,{"m":2}]}})");
  (void)pattern->matches(kEvent);
  if (split != std::string_view::npos)
    if (const auto event = Json::parse(all.substr(split + 1))) (void)pattern->matches(*event);
  return 0;
}
