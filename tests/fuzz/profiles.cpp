// Any bytes as an AWS configuration file: reading must not crash, and what was read must read the same when it is written down again.
#include <cstdlib>

#include "aws/identity.hpp"

using namespace snapward;

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  const aws::Profiles all = aws::read_profiles({reinterpret_cast<const char*>(data), size});
  if (all.contains("")) return 0;  // what has no name cannot be written
  std::string text;
  for (const auto& [name, settings] : all) {
    text += "[profile " + name + "]\n";
    for (const auto& [key, value] : settings) text += key + "=" + value + "\n";
  }
  if (aws::read_profiles(text) != all) std::abort();
  return 0;
}
