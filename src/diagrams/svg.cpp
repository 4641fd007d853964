// A graph as an SVG file that needs nothing beside itself.
#include <fmt/format.h>

#include "diagrams/layout.hpp"

namespace snapward::diagrams {

namespace {

constexpr Metrics kPixels{.glyph = 7, .line = 17, .border = 7, .padding = 14, .gap = 26, .track = 12};
constexpr int kMargin = 16;

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) switch (c) {
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '&':
        out += "&amp;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  return out;
}

std::string rectangle(const Box& box, int inset, const char* style) {
  return fmt::format(R"(<rect x="{}" y="{}" width="{}" height="{}" rx="6" {}/>)", box.x + inset, box.y + inset, box.width - 2 * inset,
                     box.height - 2 * inset, style) +
         '\n';
}
std::string state(const Box& box) {
  const Colors colors = colors_of(box.progress.status);
  std::string out = rectangle(box, 0, fmt::format(R"(fill="{}" stroke="{}" stroke-width="1.5")", colors.fill, colors.stroke).c_str());
  if (box.ends) out += rectangle(box, 3, fmt::format(R"(fill="none" stroke="{}")", colors.stroke).c_str());
  const std::string_view mark = mark_of(box.progress.status);
  const int x = box.x + kPixels.padding, y = box.y + kPixels.border + 13;
  const std::string tick = mark.empty() ? "" : fmt::format(R"(<tspan fill="{}">{}</tspan><tspan dx="5">)", colors.stroke, mark);
  out += fmt::format(R"(<text x="{}" y="{}" class="name">{}{}{}</text>)", x, y, tick, escaped(box.text), mark.empty() ? "" : "</tspan>") +
         '\n';
  if (box.progress.visits > 1)
    out += fmt::format(R"(<text x="{}" y="{}" class="caption" text-anchor="end">×{}</text>)", box.x + box.width - kPixels.padding, y,
                       box.progress.visits) +
           '\n';
  return out + fmt::format(R"(<text x="{}" y="{}" class="caption">{}</text>)", x, y + kPixels.line, escaped(box.caption)) + '\n';
}
std::string label(const Box& box) {
  return fmt::format(R"(<text x="{}" y="{}" class="label" text-anchor="middle">{}</text>)", box.x + box.width / 2, box.y + 13,
                     escaped(box.text)) +
         '\n';
}
std::string drawn(const Box& box) {
  switch (box.kind) {
    case Box::Kind::state:
      return state(box);
    case Box::Kind::label:
      return label(box);
    case Box::Kind::scope:
      return rectangle(box, 0, R"(fill="#ffffff" fill-opacity="0.6" stroke="#b9c0c9" stroke-dasharray="4 3")");
    case Box::Kind::start:
      return fmt::format(R"(<circle cx="{}" cy="{}" r="6" fill="#39424e"/>)", box.x + box.width / 2, box.y + box.height - 6) + '\n';
  }
  return {};
}
std::string path(const Line& line) {
  std::string points;
  for (const Point& p : line.points) points += fmt::format("{}{},{}", points.empty() ? "" : " ", p.x, p.y);
  return fmt::format(R"(<polyline points="{}" class="line"{}{}/>)", points, line.on_error ? R"( stroke-dasharray="5 3")" : "",
                     line.arrow ? R"x( marker-end="url(#arrow)")x" : "") +
         '\n';
}

}  // namespace

std::string to_svg(const Graph& graph, const ProgressByState& progress) {
  const Picture picture = lay_out(graph, progress, kPixels);
  const int width = picture.width + 2 * kMargin, height = picture.height + 2 * kMargin;
  std::string out = fmt::format(
      R"x(<svg xmlns="http://www.w3.org/2000/svg" width="{0}" height="{1}" viewBox="{2} {2} {0} {1}">
<style>
text {{ font-family: "Helvetica Neue", Arial, "Liberation Sans", sans-serif; fill: #1f2933 }}
.name {{ font-size: 13px; font-weight: bold }} .caption {{ font-size: 12px; fill: #5b6672 }} .label {{ font-size: 12px; font-style: italic }}
.line {{ fill: none; stroke: #5b6672; stroke-width: 1.3; stroke-linejoin: round }}
</style>
<defs><marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="#5b6672"/></marker></defs>
<rect x="{2}" y="{2}" width="{0}" height="{1}" fill="#ffffff"/>
)x",
      width, height, -kMargin);
  for (const Box& box : picture.boxes) out += drawn(box);
  for (const Line& line : picture.lines) out += path(line);
  return out + "</svg>\n";
}

}  // namespace snapward::diagrams
