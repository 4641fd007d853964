#include "base/descriptors.hpp"

#include <sys/resource.h>

namespace snapward {

std::size_t raise_descriptor_limit() {
  constexpr std::size_t kAlways = 256;  // what any system gives
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return kAlways;
  const rlim_t before = limit.rlim_cur;
  limit.rlim_cur = limit.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &limit) != 0) return before;
  return limit.rlim_cur;
}

}  // namespace snapward
