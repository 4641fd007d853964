#include "cli/commands.hpp"
#include "commit.hpp"  // written at build time (cmake/commit.cmake)

namespace snapward::cli {
const char* commit() { return SNAPWARD_COMMIT; }
}  // namespace snapward::cli
