// A graph in characters, for terminals.
#include <fmt/color.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "diagrams/layout.hpp"

namespace snapward::diagrams {

namespace {

enum Side : unsigned { up = 1, down = 2, left = 4, right = 8 };

// A page of characters. Lines are kept as the sides that they leave a cell by, so that where they meet the right corner appears.
class Page {
 public:
  Page(int width, int height) : width_(width), cells_(static_cast<std::size_t>(width) * static_cast<std::size_t>(height)) {}

  void put(int x, int y, std::string_view glyph, Status color) { cell(x, y) = {.glyph = std::string(glyph), .sides = 0, .color = color}; }
  void write(int x, int y, std::string_view text, Status color) {
    for (std::size_t i = 0; i < text.size();) {
      std::size_t end = i + 1;
      while (end < text.size() && (text[end] & 0xC0) == 0x80) ++end;
      put(x++, y, text.substr(i, end - i), color);
      i = end;
    }
  }
  void join(int x, int y, unsigned sides) { cell(x, y).sides |= sides; }
  [[nodiscard]] bool border(int x, int y) const {
    const std::string& glyph = cells_[place(x, y)].glyph;
    return glyph == "─" || glyph == "═";
  }

  [[nodiscard]] std::string text(bool colors) const {
    std::string out;
    for (std::size_t i = 0; i < cells_.size(); i += static_cast<std::size_t>(width_)) {
      std::string line;
      for (std::size_t x = 0; x < static_cast<std::size_t>(width_); ++x) append(line, cells_[i + x], colors);
      out.append(line, 0, line.find_last_not_of(' ') + 1).append("\n");
    }
    return out;
  }

 private:
  struct Cell {
    std::string glyph;
    unsigned sides = 0;
    Status color = Status::not_reached;
  };
  [[nodiscard]] std::size_t place(int x, int y) const {
    return static_cast<std::size_t>(y) * static_cast<std::size_t>(width_) + static_cast<std::size_t>(x);
  }
  Cell& cell(int x, int y) { return cells_[place(x, y)]; }

  static void append(std::string& out, const Cell& cell, bool colors) {
    static constexpr std::array kLines{" ", "│", "│", "│", "─", "╯", "╮", "┤", "─", "╰", "╭", "├", "─", "┴", "┬", "┼"};
    const std::string_view glyph = cell.glyph.empty() ? std::string_view(kLines.at(cell.sides)) : std::string_view(cell.glyph);
    static constexpr std::array kColors{fmt::terminal_color::white,        fmt::terminal_color::green, fmt::terminal_color::yellow,
                                        fmt::terminal_color::bright_black, fmt::terminal_color::red,   fmt::terminal_color::cyan};
    if (colors && cell.color != Status::not_reached && glyph != " ")
      out += fmt::format(fmt::fg(kColors.at(static_cast<std::size_t>(cell.color))), "{}", glyph);
    else
      out += glyph;
  }

  int width_;
  std::vector<Cell> cells_;
};

void draw_state(Page& page, const Box& box) {
  const Status color = box.progress.status;
  const int right_edge = box.x + box.width - 1, bottom = box.y + box.height - 1;
  for (int x = box.x + 1; x < right_edge; ++x) page.put(x, box.y, "─", color), page.put(x, bottom, box.ends ? "═" : "─", color);
  for (int y = box.y + 1; y < bottom; ++y) page.put(box.x, y, "│", color), page.put(right_edge, y, "│", color);
  page.put(box.x, box.y, "╭", color), page.put(right_edge, box.y, "╮", color);
  page.put(box.x, bottom, box.ends ? "╘" : "╰", color), page.put(right_edge, bottom, box.ends ? "╛" : "╯", color);
  std::string title = box.text;
  if (color != Status::not_reached) title = fmt::format("{} {}", mark_of(color), title);
  if (box.progress.visits > 1) title += fmt::format("  ×{}", box.progress.visits);
  page.write(box.x + 2, box.y + 1, title, color);
  page.write(box.x + 2, box.y + 2, box.caption, Status::not_reached);
}
// A line turns in the middle of a cell; elsewhere its points lie between two rows, above the one they name.
void draw_line(Page& page, const Line& line) {
  const auto& points = line.points;
  const auto turns = [&](std::size_t i) {
    return (i > 0 && points[i - 1].x != points[i].x) || (i + 1 < points.size() && points[i + 1].x != points[i].x);
  };
  for (std::size_t i = 1; i < points.size(); ++i) {
    const auto [x, y] = points[i - 1];
    for (int at = std::min(x, points[i].x); at < std::max(x, points[i].x); ++at) page.join(at, y, right), page.join(at + 1, y, left);
    if (x != points[i].x) continue;
    std::size_t above = i - 1, below = i;
    if (points[above].y > points[below].y || (points[above].y == points[below].y && turns(above))) std::swap(above, below);
    int from = points[above].y;
    if (turns(above)) page.join(x, from++, down);
    for (int at = from; at < points[below].y; ++at) page.join(x, at, up | down);
    if (turns(below)) page.join(x, points[below].y, up);
  }
}
void draw_ends(Page& page, const Line& line) {
  const Point first = line.points.front(), last = line.points.back();
  const bool downwards = first.y < last.y;
  const int from = downwards ? first.y - 1 : first.y, to = downwards ? last.y : last.y - 1;
  if (page.border(first.x, from)) page.put(first.x, from, downwards ? "┬" : "┴", Status::not_reached);
  if (line.arrow) page.put(last.x, to, downwards ? "▼" : "▲", Status::not_reached);
}

}  // namespace

std::string to_text(const Graph& graph, const ProgressByState& progress, bool colors) {
  const Picture picture = lay_out(graph, progress, {});
  Page page(picture.width, picture.height);
  for (const Line& line : picture.lines) draw_line(page, line);
  for (const Box& box : picture.boxes) {
    if (box.kind == Box::Kind::state) draw_state(page, box);
    if (box.kind == Box::Kind::start) page.put(box.x, box.y, "●", Status::not_reached);
    if (box.kind == Box::Kind::label) page.write(box.x, box.y, box.text, Status::not_reached);
  }
  for (const Line& line : picture.lines) draw_ends(page, line);
  return page.text(colors);
}

}  // namespace snapward::diagrams
