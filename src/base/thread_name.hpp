// Names for threads, as `top -H`, debuggers and profilers show them: 15 bytes at most, the rest is cut.
#pragma once
#include <pthread.h>

#include <string>
#include <string_view>

namespace snapward {

inline void name_this_thread(std::string_view name) { pthread_setname_np(pthread_self(), std::string(name.substr(0, 15)).c_str()); }

}  // namespace snapward
