// Any bytes: Json::parse must not crash, and what it accepts must read back as itself.
#include "base/json.hpp"

#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  const auto json = snapward::Json::parse({reinterpret_cast<const char*>(data), size});
  if (!json) return 0;
  const std::string text = json->dump();
  const auto again = snapward::Json::parse(text);
  if (!again || again->dump() != text) abort();
  return 0;
}
