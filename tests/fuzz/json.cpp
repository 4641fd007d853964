// Any bytes: Json::parse must not crash, what it accepts must read back as itself, and its two readers must agree.
#include <cstdlib>

#include "base/json_reading.hpp"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  const std::string_view given(reinterpret_cast<const char*>(data), size);
  const auto quick = snapward::reading::quick(given);
  const auto json = snapward::reading::careful(given);
  if (quick && (!json || quick->dump() != json->dump())) abort();
  if (!json) return 0;
  const std::string text = json->dump();
  const auto again = snapward::Json::parse(text);
  if (!again || again->dump() != text) abort();
  return 0;
}
