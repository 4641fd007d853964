#include "diagrams/layout.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

namespace snapward::diagrams {

namespace {

struct Item {  // what takes a place in a layer: a state, the start, a label, or the bend of a line that passes
  enum class Kind { state, start, label, bend } kind = Kind::bend;
  std::size_t state = 0;
  std::string text = {};
  int width = 1, height = 0, rank = 0;
  int center = 0, top = 0;
  std::size_t order = 0;
};
struct Link {  // between items of neighbouring layers, once bends are made
  std::size_t upper = 0, lower = 0;
  int out = 0, in = 0, track = 0;
};
struct Way {                       // of an edge of the graph, or from the start
  std::vector<std::size_t> items;  // from top to bottom
  bool upwards = false, on_error = false;
  std::size_t first_link = 0;  // its links stand one after another
};

// The steps of a layout, in order. One scope; the scopes within it are laid out first, as they decide how large its states are.
class Layers {
 public:
  Layers(const Graph& graph, const ProgressByState& progress, const Metrics& metrics) : graph_(graph), progress_(progress), m_(metrics) {
    make_items();
    make_ways();
    rank();
    bend();
    order();
    place();
    route();
  }
  Picture picture() {
    Picture out{.width = width_, .height = height_, .boxes = {}, .lines = {}};
    for (const Item& item : items_)
      if (item.kind != Item::Kind::bend) draw(item, out);
    for (std::size_t w = 0; w < ways_.size(); ++w) draw_way(w, out);
    return out;
  }

 private:
  [[nodiscard]] int text_width(std::string_view text) const { return static_cast<int>(characters(text)) * m_.glyph; }
  [[nodiscard]] const Progress& progress_of(const State& state) const {
    static const Progress kNone;
    const auto found = progress_.find(state.name);
    return found == progress_.end() ? kNone : found->second;
  }

  void make_items() {
    for (std::size_t i = 0; i < graph_.states.size(); ++i) {
      const State& state = graph_.states[i];
      Item item{.kind = Item::Kind::state, .state = i};
      constexpr int kMarkAndCount = 8;  // "✓ ", "  ×999"
      const int title = std::max(text_width(state.name) + kMarkAndCount * m_.glyph, text_width(state.caption));
      item.width = title + 2 * m_.padding;
      item.height = 2 * m_.line + 2 * m_.border;
      measure_inside(state, item);
      item.width |= 1;  // so that the centre is a place, and lines between centres are straight
      items_.push_back(std::move(item));
    }
    for (std::size_t i = 0; i < graph_.states.size(); ++i) {  // a place for each line that comes or goes
      const auto lines =
          static_cast<int>(std::max(std::ranges::count(graph_.edges, i, &Edge::from), std::ranges::count(graph_.edges, i, &Edge::to)));
      items_[i].width = std::max(items_[i].width, ((lines + 2) * 2 * m_.glyph) | 1);
    }
  }
  void measure_inside(const State& state, Item& item) {
    int width = 0, height = 0;
    std::vector<Picture> pictures;
    for (const Graph& inner : state.inside) {
      pictures.push_back(lay_out(inner, progress_, m_));
      width += pictures.back().width + (width == 0 ? 0 : m_.gap) + 2 * m_.padding;
      height = std::max(height, pictures.back().height);
    }
    inside_.push_back(std::move(pictures));
    if (state.inside.empty()) return;
    item.width = std::max(item.width, width + 2 * m_.padding);
    item.height += height + 2 * m_.border;
  }

  // Lines that close a cycle go upwards.
  void make_ways() {
    std::vector<int> seen(graph_.states.size(), 0);  // 1: on the path, 2: left
    std::vector<bool> upwards(graph_.edges.size(), false);
    std::vector<std::vector<std::size_t>> leaving(graph_.states.size());
    for (std::size_t e = 0; e < graph_.edges.size(); ++e) leaving[graph_.edges[e].from].push_back(e);
    const auto visit = [&](auto&& self, std::size_t state) -> void {
      seen[state] = 1;
      for (const std::size_t e : leaving[state]) {
        const std::size_t to = graph_.edges[e].to;
        if (seen[to] == 1) upwards[e] = true;
        if (seen[to] == 0) self(self, to);
      }
      seen[state] = 2;
    };
    if (graph_.start < graph_.states.size()) {
      visit(visit, graph_.start);
      items_.push_back({.kind = Item::Kind::start, .width = m_.glyph | 1, .height = m_.line});
      ways_.push_back({.items = {items_.size() - 1, graph_.start}});
    }
    for (std::size_t i = 0; i < seen.size(); ++i)
      if (seen[i] == 0) visit(visit, i);
    for (std::size_t e = 0; e < graph_.edges.size(); ++e) add_way(graph_.edges[e], upwards[e]);
  }
  void add_way(const Edge& edge, bool upwards) {
    if (edge.from == edge.to) {  // told in the state's caption
      loops_[edge.from] = edge.label;
      return;
    }
    Way way{.items = {edge.from}, .upwards = upwards, .on_error = edge.on_error};
    if (!edge.label.empty()) {
      way.items.push_back(items_.size());
      items_.push_back(
          {.kind = Item::Kind::label, .text = edge.label, .width = (text_width(edge.label) + m_.glyph) | 1, .height = m_.line});
    }
    way.items.push_back(edge.to);
    if (upwards) std::ranges::reverse(way.items);
    ways_.push_back(std::move(way));
  }

  // The longest way from the top.
  void rank() {
    for (bool changed = true; changed;) {
      changed = false;
      for (const Way& way : ways_)
        for (std::size_t i = 1; i < way.items.size(); ++i) {
          const int least = items_[way.items[i - 1]].rank + 1;
          if (items_[way.items[i]].rank < least) items_[way.items[i]].rank = least, changed = true;
        }
    }
  }
  void bend() {
    for (std::size_t w = 0; w < ways_.size(); ++w) {
      std::vector<std::size_t> all;
      for (const std::size_t item : ways_[w].items) {
        if (!all.empty())
          for (int rank = items_[all.back()].rank + 1; rank < items_[item].rank; ++rank) {
            items_.push_back({.kind = Item::Kind::bend, .rank = rank});
            all.push_back(items_.size() - 1);
          }
        all.push_back(item);
      }
      ways_[w].first_link = links_.size();
      for (std::size_t i = 1; i < all.size(); ++i) links_.push_back({.upper = all[i - 1], .lower = all[i]});
      ways_[w].items = std::move(all);
    }
    for (std::size_t i = 0; i < items_.size(); ++i) {
      const auto rank = static_cast<std::size_t>(items_[i].rank);
      if (layers_.size() <= rank) layers_.resize(rank + 1);
      items_[i].order = layers_[rank].size();
      layers_[rank].push_back(i);
    }
    above_.resize(items_.size());
    below_.resize(items_.size());
    for (std::size_t l = 0; l < links_.size(); ++l) below_[links_[l].upper].push_back(l), above_[links_[l].lower].push_back(l);
  }

  void order() {
    auto best = layers_;
    std::size_t fewest = crossings();
    constexpr int kSweeps = 12;
    for (int sweep = 0; sweep < kSweeps && fewest > 0; ++sweep) {
      const bool down = sweep % 2 == 0;
      for (std::size_t i = 1; i < layers_.size(); ++i)
        sort_layer(down ? i : layers_.size() - 1 - i, down ? Neighbours::above : Neighbours::below);
      if (const std::size_t now = crossings(); now < fewest) fewest = now, best = layers_;
    }
    layers_ = std::move(best);
    number_layers();
  }
  void number_layers() {
    for (const auto& layer : layers_)
      for (std::size_t i = 0; i < layer.size(); ++i) items_[layer[i]].order = i;
  }
  enum class Neighbours { above, below };
  // The mean of what the neighbours of an item have, where it has any.
  template <class Of>
  [[nodiscard]] std::optional<double> mean(std::size_t item, Neighbours where, const Of& of) const {
    const bool above = where == Neighbours::above;
    const auto& lines = above ? above_[item] : below_[item];
    if (lines.empty()) return std::nullopt;
    double sum = 0;
    for (const std::size_t l : lines) sum += static_cast<double>(of(items_[above ? links_[l].upper : links_[l].lower]));
    return sum / static_cast<double>(lines.size());
  }
  void sort_layer(std::size_t rank, Neighbours where) {
    std::map<std::size_t, double> wish;
    for (const std::size_t item : layers_[rank])
      wish[item] = mean(item, where, [](const Item& i) { return i.order; }).value_or(static_cast<double>(items_[item].order));
    std::ranges::sort(layers_[rank], {}, [&](std::size_t item) { return std::pair(wish[item], items_[item].order); });
    for (std::size_t i = 0; i < layers_[rank].size(); ++i) items_[layers_[rank][i]].order = i;
  }
  // Pairs of lines that cross: of those before a line, the ones that end to the right of it, counted in a Fenwick tree.
  [[nodiscard]] std::size_t crossings() const {
    std::size_t count = 0;
    for (std::size_t rank = 0; rank + 1 < layers_.size(); ++rank) {
      std::vector<std::size_t> tree(layers_[rank + 1].size() + 1, 0);
      std::size_t before = 0;
      for (const std::size_t upper : layers_[rank]) {
        std::vector<std::size_t> ends;
        for (const std::size_t l : below_[upper]) ends.push_back(items_[links_[l].lower].order + 1);
        for (const std::size_t end : ends) {
          std::size_t left = 0;
          for (std::size_t i = end; i > 0; i &= i - 1) left += tree[i];
          count += before - left;
        }
        for (const std::size_t end : ends) {
          for (std::size_t i = end; i < tree.size(); i += i & (~i + 1)) ++tree[i];
          ++before;
        }
      }
    }
    return count;
  }

  void place() {
    for (const auto& layer : layers_) pack(layer, [](std::size_t) { return std::optional<double>(0); });
    constexpr int kSweeps = 8;
    for (int sweep = 0; sweep < kSweeps; ++sweep) {
      const bool down = sweep % 2 == 1;
      for (std::size_t i = 0; i < layers_.size(); ++i) {
        pack(layers_[down ? i : layers_.size() - 1 - i], [&](std::size_t item) {
          return mean(item, down ? Neighbours::above : Neighbours::below, [](const Item& other) { return other.center; });
        });
      }
    }
    int left = 0, right = 0;
    for (const Item& item : items_) left = std::min(left, item.center - item.width / 2);
    for (Item& item : items_) {
      item.center -= left;
      right = std::max(right, item.center + item.width / 2 + 1);
    }
    width_ = right;
  }
  // As near to the wishes as neighbours allow: those that would collide form blocks, and a block stands at the mean of its wishes.
  template <class Wish>
  void pack(const std::vector<std::size_t>& layer, const Wish& wish) {
    struct Block {
      double sum = 0, weight = 0;
      std::size_t size = 0;
      [[nodiscard]] double mean() const { return sum / weight; }
    };
    std::vector<int> offsets;
    std::vector<Block> blocks;
    int offset = 0;
    for (std::size_t i = 0; i < layer.size(); ++i) {
      const Item& item = items_[layer[i]];
      if (i > 0) offset += items_[layer[i - 1]].width / 2 + m_.gap + item.width / 2 + 1;
      offsets.push_back(offset);
      const std::optional<double> wished = wish(layer[i]);
      const double weight = !wished ? 0.01 : item.kind == Item::Kind::bend ? 4 : 1;  // who wishes nothing stays where it is, about
      blocks.push_back({.sum = weight * (wished.value_or(item.center) - offset), .weight = weight, .size = 1});
      while (blocks.size() > 1 && blocks[blocks.size() - 2].mean() >= blocks.back().mean()) {
        Block last = blocks.back();
        blocks.pop_back();
        blocks.back().sum += last.sum, blocks.back().weight += last.weight, blocks.back().size += last.size;
      }
    }
    std::size_t at = 0;
    for (const Block& block : blocks)
      for (std::size_t i = 0; i < block.size; ++i, ++at)
        items_[layer[at]].center = static_cast<int>(std::floor(block.mean())) + offsets[at];
  }

  void route() {
    for (std::size_t i = 0; i < items_.size(); ++i) {
      spread(i, below_[i], &Link::lower, &Link::out);
      spread(i, above_[i], &Link::upper, &Link::in);
    }
    for (Link& link : links_) straighten(link);
    int y = 0;
    for (std::size_t rank = 0; rank < layers_.size(); ++rank) {
      int height = 0;
      for (const std::size_t item : layers_[rank]) height = std::max(height, items_[item].height);
      for (const std::size_t item : layers_[rank]) {
        items_[item].top = y;
        if (items_[item].kind == Item::Kind::bend) items_[item].height = height;
      }
      y += height;
      if (rank + 1 < layers_.size()) y += lay_tracks(rank, y);
    }
    height_ = y;
  }
  // The lines that leave an item below (or come in above), side by side in the order of their other ends.
  void spread(std::size_t item, const std::vector<std::size_t>& mine, std::size_t Link::* other, int Link::* port) {
    std::vector<Link*> lines;
    for (const std::size_t l : mine) lines.push_back(&links_[l]);
    std::ranges::sort(lines, {}, [&](const Link* l) { return std::pair(items_[l->*other].center, l); });
    const Item& box = items_[item];
    for (std::size_t i = 0; i < lines.size(); ++i) {
      const auto n = static_cast<int>(lines.size()), nth = static_cast<int>(i);
      const int step = std::min(box.width / (n + 1), 6 * m_.glyph);
      lines[i]->*port = box.center + (2 * nth - (n - 1)) * step / 2;
    }
  }
  // A straight line where an end is the only one at its box, or needs to move a little only and has room.
  void straighten(Link& link) {
    if (may_move(link, link.lower, above_[link.lower], &Link::in, link.out))
      link.in = link.out;
    else if (may_move(link, link.upper, below_[link.upper], &Link::out, link.in))
      link.out = link.in;
  }
  [[nodiscard]] bool may_move(const Link& link, std::size_t end, const std::vector<std::size_t>& lines, int Link::* port, int to) const {
    const Item& item = items_[end];
    if (item.kind != Item::Kind::state || std::abs(to - item.center) >= item.width / 2 - m_.padding) return false;
    const bool room =
        std::ranges::all_of(lines, [&](std::size_t l) { return &links_[l] == &link || std::abs(links_[l].*port - to) >= 2 * m_.glyph; });
    return room && (lines.size() == 1 || std::abs(link.*port - to) <= 2 * m_.glyph);
  }
  // Gives each line that goes sideways between this layer and the next a height of its own there, and says how high the room for them is.
  int lay_tracks(std::size_t rank, int top) {
    std::vector<Link*> sideways;
    for (const std::size_t item : layers_[rank])
      for (const std::size_t l : below_[item])
        if (links_[l].out != links_[l].in) sideways.push_back(&links_[l]);
    // Where one comes down onto the place that another leaves from, the other's track is above.
    std::ranges::sort(sideways, {}, [](const Link* l) { return std::pair(l->in > l->out ? -l->out : l->out, l); });
    std::vector<std::vector<Link*>> tracks;
    for (Link* link : sideways) {
      const auto [left, right] = std::minmax(link->out, link->in);
      const auto free = [&](const std::vector<Link*>& track) {
        return std::ranges::none_of(track, [&](const Link* l) {
          const auto [from, to] = std::minmax(l->out, l->in);
          return from <= right + m_.glyph && left <= to + m_.glyph;
        });
      };
      std::size_t at = 0;
      for (std::size_t t = 0; t < tracks.size(); ++t)
        for (const Link* l : tracks[t])
          if (link->in == l->out) at = std::max(at, t + 1);
      while (at < tracks.size() && !free(tracks[at])) ++at;
      if (at >= tracks.size()) tracks.resize(at + 1);
      tracks[at].push_back(link);
    }
    for (std::size_t t = 0; t < tracks.size(); ++t)
      for (Link* l : tracks[t]) l->track = top + static_cast<int>(t) * m_.track + m_.track / 2;
    return std::max<int>(1, static_cast<int>(tracks.size())) * m_.track + (m_.track > 1 ? m_.track : 0);
  }

  void draw(const Item& item, Picture& out) {
    const int left = item.center - item.width / 2;
    if (item.kind != Item::Kind::state) {
      const auto kind = item.kind == Item::Kind::start ? Box::Kind::start : Box::Kind::label;
      out.boxes.push_back({.kind = kind,
                           .x = left,
                           .y = item.top,
                           .width = item.width,
                           .height = item.height,
                           .text = item.text,
                           .caption = {},
                           .progress = {}});
      return;
    }
    const State& state = graph_.states[item.state];
    std::string caption = state.caption;
    if (const auto loop = loops_.find(item.state); loop != loops_.end()) caption += loop->second.empty() ? " ↻" : " ↻ " + loop->second;
    out.boxes.push_back({.kind = Box::Kind::state,
                         .x = left,
                         .y = item.top,
                         .width = item.width,
                         .height = item.height,
                         .text = state.name,
                         .caption = clipped(caption, static_cast<std::size_t>((item.width - 2 * m_.padding) / m_.glyph)),
                         .progress = progress_of(state),
                         .ends = state.ends});
    draw_inside(item, left, out);
  }
  void draw_inside(const Item& item, int left, Picture& out) {
    std::vector<Picture>& pictures = inside_[item.state];
    int width = -m_.gap;
    for (const Picture& p : pictures) width += p.width + 2 * m_.padding + m_.gap;
    int x = left + (item.width - width) / 2;
    const int y = item.top + 2 * m_.line + 2 * m_.border;
    for (Picture& p : pictures) {
      out.boxes.push_back({.kind = Box::Kind::scope,
                           .x = x,
                           .y = y - m_.border / 2,
                           .width = p.width + 2 * m_.padding,
                           .height = item.top + item.height - m_.border - (y - m_.border / 2),
                           .text = {},
                           .caption = {},
                           .progress = {}});
      for (Box box : p.boxes) {
        box.x += x + m_.padding, box.y += y;
        out.boxes.push_back(std::move(box));
      }
      for (Line line : p.lines) {
        for (Point& point : line.points) point.x += x + m_.padding, point.y += y;
        out.lines.push_back(std::move(line));
      }
      x += p.width + 2 * m_.padding + m_.gap;
    }
  }
  // A line for each stretch between two boxes or labels: labels stand in between, not on it.
  void draw_way(std::size_t number, Picture& out) {
    const Way& way = ways_[number];
    std::vector<Line> lines(1);
    for (std::size_t l = way.first_link; l < way.first_link + way.items.size() - 1; ++l) {
      const Link& link = links_[l];
      if (l != way.first_link && items_[link.upper].kind == Item::Kind::label) lines.emplace_back();
      auto& points = lines.back().points;
      points.push_back({link.out, items_[link.upper].top + items_[link.upper].height});
      if (link.out != link.in) points.push_back({link.out, link.track}), points.push_back({link.in, link.track});
      points.push_back({link.in, items_[link.lower].top});
    }
    for (Line& line : lines) {
      line.on_error = way.on_error;
      line.arrow = &line == (way.upwards ? &lines.front() : &lines.back());
      if (way.upwards) std::ranges::reverse(line.points);
      out.lines.push_back(std::move(line));
    }
  }

  const Graph& graph_;
  const ProgressByState& progress_;
  const Metrics& m_;
  std::vector<Item> items_;  // states first, by their numbers
  std::vector<std::vector<Picture>> inside_;
  std::map<std::size_t, std::string> loops_;
  std::vector<Way> ways_;
  std::vector<Link> links_;
  std::vector<std::vector<std::size_t>> layers_, above_, below_;
  int width_ = 0, height_ = 0;
};

}  // namespace

Picture lay_out(const Graph& graph, const ProgressByState& progress, const Metrics& metrics) {
  return Layers(graph, progress, metrics).picture();
}

}  // namespace snapward::diagrams
