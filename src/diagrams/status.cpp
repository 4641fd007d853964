#include "diagrams/status.hpp"

#include <array>
#include <cstddef>

namespace snapward::diagrams {

const char* name_of(Status status) {
  static constexpr std::array kNames{"not reached", "done", "caught", "aborted", "failed", "running"};
  return kNames.at(static_cast<std::size_t>(status));
}
const char* mark_of(Status status) {
  static constexpr std::array kMarks{"", "✓", "!", "-", "✗", "…"};
  return kMarks.at(static_cast<std::size_t>(status));
}

Colors colors_of(Status status) {
  static constexpr std::array<Colors, 6> kColors{{{"#ffffff", "#8a94a3"},
                                                  {"#e3f5e6", "#2e8b47"},
                                                  {"#fff3d6", "#c98a00"},
                                                  {"#eceef1", "#7d8590"},
                                                  {"#fde4e4", "#d1343b"},
                                                  {"#e1effc", "#1f74c4"}}};
  return kColors.at(static_cast<std::size_t>(status));
}

}  // namespace snapward::diagrams
