#include <commit.hpp>  // written at build time (cmake/commit.cmake)

#include "cli/commands.hpp"

namespace snapward::cli {
const char* commit() { return SNAPWARD_COMMIT; }
}  // namespace snapward::cli
