// Status: the outcome of a state in one execution, and its name, mark and colors.
#pragma once

namespace snapward::diagrams {

enum class Status { not_reached, done, caught, aborted, failed, running };
const char* name_of(Status status);  // "done"; not_reached: "not reached"
const char* mark_of(Status status);  // "✓"; not_reached: ""
struct Colors {
  const char *fill, *stroke;  // "#e3f5e6"
};
Colors colors_of(Status status);

}  // namespace snapward::diagrams
