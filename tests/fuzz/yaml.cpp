// Any bytes as a definition in YAML: what is read is JSON that reads back as itself, and each of its values has a place.
#include "asl/yaml.hpp"

#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  const auto out = snapward::asl::read_yaml({reinterpret_cast<const char*>(data), size});
  if (!out || !out->json.dumps_within(1U << 20)) return 0;
  const std::string text = out->json.dump();
  const auto again = snapward::Json::parse(text);
  if (!again || again->dump() != text) abort();
  if (!out->places.contains("")) abort();
  return 0;
}
