// Layout: the positions of a machine's states on a page and the routes of the lines between them. States stand in layers from top to
// bottom; lines go down, except those that return to an earlier state; branches and item processors are boxes inside their state's box. The
// same definition always gives the same picture. Lengths are in the units of the Metrics: characters for text, pixels for SVG.
//
// After Sugiyama, Tagawa, Toda, "Methods for visual understanding of hierarchical system structures" (1981): break cycles, rank, order by
// barycentres; places within a layer by isotonic regression (pool adjacent violators). Labels are items of the layers like states.
#pragma once
#include <string>
#include <vector>

#include "diagrams/graph.hpp"
#include "diagrams/visits.hpp"

namespace snapward::diagrams {

struct Metrics {
  int glyph = 1;    // width of a character
  int line = 1;     // height of a line of text
  int border = 1;   // above and below the text in a box
  int padding = 2;  // beside it
  int gap = 2;      // between neighbours in a layer
  int track = 1;    // between horizontal lines
};

struct Point {
  int x = 0, y = 0;
};
struct Box {
  enum class Kind { start, state, scope, label } kind = Kind::state;
  int x = 0, y = 0, width = 0, height = 0;
  std::string text, caption;  // of a state: name, type; of a label: what it says
  Progress progress;
  bool ends = false;
};
// From the border of one box to the border of another, horizontally and vertically.
struct Line {
  std::vector<Point> points;
  bool arrow = true;  // at its end, the last point; a line that ends at a label has none
  bool on_error = false;
};
struct Picture {
  int width = 0, height = 0;
  std::vector<Box> boxes;  // a box stands behind those within it
  std::vector<Line> lines;
};

Picture lay_out(const Graph& graph, const ProgressByState& progress, const Metrics& metrics);

// How a picture or a graph is written.
std::string to_text(const Graph& graph, const ProgressByState& progress, bool colors);
std::string to_svg(const Graph& graph, const ProgressByState& progress);
std::string to_mermaid(const Graph& graph, const ProgressByState& progress);

}  // namespace snapward::diagrams
