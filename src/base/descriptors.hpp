// How many files and connections the process may have open.
#pragma once
#include <cstddef>

namespace snapward {

// Raises the limit as far as the process may; the limit from now on. Once, before threads.
std::size_t raise_descriptor_limit();

// Of so many descriptors, those for connections: the rest, a quarter and at most 256, is for files, functions and calls to others.
constexpr std::size_t descriptors_for_connections(std::size_t limit) { return limit - (limit / 4 < 256 ? limit / 4 : 256); }

}  // namespace snapward
