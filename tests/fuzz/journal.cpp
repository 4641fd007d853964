// Any bytes as a file of the journal and as a packed value of a row: both are read from a disk that may give back anything. Reading must
// not crash, and nothing without the salt is a record.
#include "store/journal.hpp"

#include <cstdlib>
#include <string>

#include "store/packing.hpp"

using namespace snapward;
using store::Journal;

namespace {

constexpr std::size_t kHeader = 512;  // of a file

// Values as the store packs them come back; whatever else comes back or does not.
void unpack(const std::string& bytes) {
  store::Unpacker unpacker;
  (void)unpacker.unpack(bytes);
  store::Packer packer;
  if (unpacker.unpack(std::string(packer.pack(bytes))) != bytes) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size), file = std::string(kHeader, '\0') + bytes;
  unpack(bytes);
  (void)Journal::groups_in(bytes, std::nullopt, 0);
  const auto keyed = Journal::groups_in(file, Journal::Salt{0x5eed}, 0);
  if (!keyed || !keyed->empty()) std::abort();  // these bytes know nothing of the salt
  return 0;
}
