// A graph for Mermaid (mermaid.js.org, "Flowcharts"), which Markdown on GitHub and GitLab shows.
#include <fmt/format.h>

#include <set>

#include "diagrams/layout.hpp"

namespace snapward::diagrams {

namespace {

class Writer {
 public:
  explicit Writer(const ProgressByState& progress) : progress_(progress) {}

  std::string write(const Graph& graph) {
    out_ = "flowchart TD\n";
    scope(graph, "  ");
    for (const Status status : used_)
      line("  ", fmt::format("classDef {} fill:{},stroke:{}", name_of(status), colors_of(status).fill, colors_of(status).stroke));
    out_ += classes_;
    return std::move(out_);
  }

 private:
  void scope(const Graph& graph, const std::string& indent) {
    const int first = next_;
    next_ += static_cast<int>(graph.states.size());
    const int start = next_++;
    for (std::size_t i = 0; i < graph.states.size(); ++i) state(graph.states[i], first + static_cast<int>(i), indent);
    if (graph.start < graph.states.size()) {
      line(indent, fmt::format("s{}(( ))", start));
      line(indent, fmt::format("s{} --> s{}", start, first + static_cast<int>(graph.start)));
    }
    for (const Edge& edge : graph.edges) {
      const std::string label = edge.label.empty() ? "" : fmt::format("|{}|", quoted(edge.label));
      line(indent, fmt::format("s{} {}{} s{}", first + static_cast<int>(edge.from), edge.on_error ? "-.->" : "-->", label,
                               first + static_cast<int>(edge.to)));
    }
  }
  void state(const State& state, int id, const std::string& indent) {
    const auto known = progress_.find(state.name);
    const Progress progress = known == progress_.end() ? Progress{} : known->second;
    const std::string count = progress.visits > 1 ? fmt::format("  ×{}", progress.visits) : "";
    const std::string text = quoted(fmt::format("{}{}\n{}", state.name, count, state.caption));
    if (progress.status != Status::not_reached) {
      used_.insert(progress.status);
      classes_ += fmt::format("  class s{} {}\n", id, name_of(progress.status));
    }
    if (state.inside.empty()) {
      line(indent, state.ends ? fmt::format("s{}([{}])", id, text) : fmt::format("s{}[{}]", id, text));
      return;
    }
    line(indent, fmt::format("subgraph s{}[{}]", id, text));
    for (std::size_t i = 0; i < state.inside.size(); ++i) {
      const bool several = state.inside.size() > 1;
      if (several) line(indent + "  ", fmt::format("subgraph s{}_{}[{}]", id, i + 1, quoted(fmt::format("branch {}", i + 1))));
      scope(state.inside[i], indent + (several ? "    " : "  "));
      if (several) line(indent + "  ", "end");
    }
    line(indent, "end");
  }
  static std::string quoted(std::string_view text) {  // Mermaid's texts are HTML, with entities that begin with '#'
    std::string out = "\"";
    for (const char c : text) {
      if (c == '\n')
        out += "<br/>";
      else if (c == '"' || c == '<' || c == '>' || c == '#' || c == '&')
        out += fmt::format("#{};", static_cast<int>(c));
      else
        out += c;
    }
    return out + '"';
  }
  void line(const std::string& indent, const std::string& text) { out_ += indent + text + '\n'; }

  const ProgressByState& progress_;
  std::string out_, classes_;
  std::set<Status> used_;
  int next_ = 1;
};

}  // namespace

std::string to_mermaid(const Graph& graph, const ProgressByState& progress) { return Writer(progress).write(graph); }

}  // namespace snapward::diagrams
