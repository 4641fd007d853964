#include "diagrams/graph.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/text.hpp"

namespace snapward::diagrams {

namespace {

constexpr std::size_t kMostOfALabel = 28;

// "sqs:sendMessage.waitForTaskToken", a function's or an activity's name.
std::string resource_name(std::string_view resource) {
  if (const auto service = resource.find(":states:::"); service != std::string_view::npos)
    return std::string(resource.substr(service + 10));
  for (const std::string_view kind : {":function:", ":activity:"})
    if (const auto at = resource.find(kind); at != std::string_view::npos) return std::string(resource.substr(at + kind.size()));
  return std::string(resource);
}
std::string caption_of(const Json& state) {
  const std::string type(state["Type"].string_or("?"));
  if (type == "Task") return clipped(type + " · " + resource_name(state["Resource"].string_or()), 40);
  if (type == "Map" && state["ItemProcessor"]["ProcessorConfig"]["Mode"].string_or() == "DISTRIBUTED") return "Map · distributed";
  if (type == "Wait" && state["Seconds"].is_number()) return fmt::format("Wait · {} s", state["Seconds"].number_text());
  if (type == "Fail" && state["Error"].is_string()) return clipped("Fail · " + std::string(state["Error"].as_string()), 40);
  return type;
}

std::string condition(const Json& rule);
std::string joined(const Json& rules, std::string_view word) {
  std::string out;
  for (const Json& rule : rules.items()) out += (out.empty() ? "" : fmt::format(" {} ", word)) + condition(rule);
  return out;
}
// "StringGreaterThanEqualsPath" → ">=".
std::string sign_of(std::string_view test) {
  static const std::vector<std::pair<std::string_view, std::string_view>> kSigns = {
      {"LessThanEquals", "<="}, {"GreaterThanEquals", ">="}, {"LessThan", "<"}, {"GreaterThan", ">"}, {"Equals", "="}, {"Matches", "like"}};
  if (test.ends_with("Path")) test.remove_suffix(4);
  for (const auto& [suffix, sign] : kSigns)
    if (test.ends_with(suffix)) return std::string(sign);
  return std::string(test);
}
std::string condition(const Json& rule) {
  if (const Json* text = rule.find("Condition")) {
    std::string_view expression = text->string_or();
    if (expression.starts_with("{%") && expression.ends_with("%}")) expression = expression.substr(2, expression.size() - 4);
    return std::string(trim(expression));
  }
  if (rule.find("And")) return joined(rule["And"], "and");
  if (rule.find("Or")) return joined(rule["Or"], "or");
  if (rule.find("Not")) return fmt::format("not ({})", condition(rule["Not"]));
  const std::string_view variable = rule["Variable"].string_or();
  for (const auto& [test, operand] : rule.is_object() ? rule.as_object() : Json::Object{}) {
    if (test == "Variable" || test == "Next" || test == "Comment" || test == "Assign" || test == "Output") continue;
    if (test.starts_with("Is")) {
      std::string word = test.substr(2);
      std::ranges::transform(word, word.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
      return fmt::format("{} is {}{}", variable, operand.bool_or(true) ? "" : "not ", word);
    }
    return fmt::format("{} {} {}", variable, sign_of(test), operand.plain());
  }
  return "?";
}

class Reader {
 public:
  explicit Reader(const Json& scope) : scope_(scope) {}

  Graph read() {
    for (const auto& [name, state] : states()) {
      number_[name] = graph_.states.size();
      graph_.states.push_back({.name = name, .caption = caption_of(state), .ends = ends(state), .inside = {}});
      for (const Json* inner : scopes_in(state)) graph_.states.back().inside.push_back(graph_of(*inner));
    }
    for (const auto& [name, state] : states()) read_edges(number_[name], state);
    const auto start = number_.find(scope_["StartAt"].string_or());
    graph_.start = start == number_.end() ? graph_.states.size() : start->second;
    return std::move(graph_);
  }

 private:
  [[nodiscard]] const Json::Object& states() const {
    static const Json::Object kNone;
    return scope_["States"].is_object() ? scope_["States"].as_object() : kNone;
  }
  static bool ends(const Json& state) {
    const std::string_view type = state["Type"].string_or();
    return state["End"].bool_or(false) || type == "Succeed" || type == "Fail";
  }
  static std::vector<const Json*> scopes_in(const Json& state) {
    std::vector<const Json*> out;
    for (const Json& branch : state["Branches"].items()) out.push_back(&branch);
    for (const char* member : {"ItemProcessor", "Iterator"})
      if (const Json* processor = state.find(member)) out.push_back(processor);
    return out;
  }
  void read_edges(std::size_t from, const Json& state) {
    for (const Json& rule : state["Choices"].items()) connect(from, rule["Next"], clipped(condition(rule), kMostOfALabel), false);
    connect(from, state["Default"], "otherwise", false);
    connect(from, state["Next"], "", false);
    for (const Json& catcher : state["Catch"].items()) {
      std::string errors;
      for (const Json& error : catcher["ErrorEquals"].items()) errors += (errors.empty() ? "" : ", ") + std::string(error.string_or());
      connect(from, catcher["Next"], clipped("on " + errors, kMostOfALabel), true);
    }
  }
  void connect(std::size_t from, const Json& to, std::string label, bool on_error) {
    if (const auto known = number_.find(to.string_or()); known != number_.end())
      graph_.edges.push_back({.from = from, .to = known->second, .label = std::move(label), .on_error = on_error});
  }

  const Json& scope_;
  Graph graph_;
  std::map<std::string, std::size_t, std::less<>> number_;
};

}  // namespace

Graph graph_of(const Json& definition) { return Reader(definition).read(); }

std::size_t characters(std::string_view text) {
  return static_cast<std::size_t>(std::ranges::count_if(text, [](char c) { return (c & 0xC0) != 0x80; }));
}
std::string clipped(std::string_view text, std::size_t most) {
  std::string out;
  for (std::size_t i = 0, n = 0; i < text.size(); ++i) {
    if ((text[i] & 0xC0) != 0x80 && ++n > most) return out + "…";
    out += text[i] == '\n' ? ' ' : text[i];
  }
  return out;
}

}  // namespace snapward::diagrams
