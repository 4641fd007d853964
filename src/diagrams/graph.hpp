// Graph: the part of a state machine's definition that is drawn. Lenient: unknown fields and missing targets are left out, so that invalid
// definitions, and definitions newer than this program, can be drawn too.
#pragma once
#include <string>
#include <vector>

#include "base/json.hpp"

namespace snapward::diagrams {

struct Graph;

struct State {
  std::string name;
  std::string caption;  // "Task · lambda:invoke"
  bool ends = false;    // End, Succeed, Fail
  std::vector<Graph> inside;
};
struct Edge {
  std::size_t from = 0, to = 0;  // states, by their number
  std::string label = {};        // a choice's condition, a catcher's errors; may be empty
  bool on_error = false;
};
// One "States" scope. `start` is states.size() where the definition names none.
struct Graph {
  std::size_t start = 0;
  std::vector<State> states;
  std::vector<Edge> edges;
};

Graph graph_of(const Json& definition);

// At most `most` characters (not bytes) of a text, with "…" where some are missing.
std::string clipped(std::string_view text, std::size_t most);
std::size_t characters(std::string_view text);

}  // namespace snapward::diagrams
