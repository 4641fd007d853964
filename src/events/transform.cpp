#include "events/transform.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "query/jsonpath.hpp"

namespace snapward::events {

namespace {

constexpr std::size_t kMaxInput = 8192;

// A part of a template: text as it stands, or the name of a placeholder.
struct Piece {
  std::string_view text;
  bool placeholder = false;
  bool quoted = false;  // inside a JSON string
};

bool is_name(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || std::string_view("._-").contains(c);
  });
}

std::vector<Piece> pieces_of(std::string_view text) {
  std::vector<Piece> out;
  bool quoted = false;
  std::size_t begin = 0;
  const auto add = [&](Piece piece) {
    if (!piece.text.empty()) out.push_back(piece);
  };
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (quoted && text[i] == '\\') {
      ++i;
    } else if (text[i] == '"') {
      quoted = !quoted;
    } else if (text[i] == '<') {
      const std::size_t close = text.find('>', i);
      if (close == std::string_view::npos || !is_name(text.substr(i + 1, close - i - 1))) continue;
      add({text.substr(begin, i - begin), false, quoted});
      add({text.substr(i + 1, close - i - 1), true, quoted});
      i = close;
      begin = close + 1;
    }
  }
  add({begin < text.size() ? text.substr(begin) : std::string_view(), false, quoted});
  return out;
}

constexpr std::string_view kReserved[] = {"aws.events.rule-arn", "aws.events.rule-name", "aws.events.event.ingestion-time",
                                          "aws.events.event.json", "aws.events.event"};

bool is_reserved(std::string_view name) { return std::ranges::find(kReserved, name) != std::end(kReserved); }

Json reserved(std::string_view name, const Json& event, const RuleContext& rule) {
  if (name == "aws.events.rule-arn") return {rule.rule_arn};
  if (name == "aws.events.rule-name") return {rule.rule_name};
  if (name == "aws.events.event.ingestion-time") return {iso_seconds(rule.ingested)};
  if (name == "aws.events.event.json") return event;
  // Another spelling than the event's own, without its detail, and its time is that of its arrival (recorded by AWS, 2024).
  return Json::object({{"id", event["id"]},
                       {"account", event["account"]},
                       {"detailType", event["detail-type"]},
                       {"time", iso_seconds(rule.ingested)},
                       {"source", event["source"]},
                       {"region", event["region"]},
                       {"resources", event["resources"]},
                       {"version", event["version"]}});
}

// What a placeholder stands for in this event; nothing when its path finds nothing.
std::optional<Json> value_of(std::string_view name, const Json& paths, const Json& event, const RuleContext& rule) {
  if (is_reserved(name)) return reserved(name, event, rule);
  const auto path = query::JsonPath::parse(paths[name].string_or());
  return path ? path->select(event) : std::nullopt;
}

std::string without_quotes(std::string text) {
  std::erase(text, '"');
  return text;
}

// Recorded by AWS (2024): outside quotes a value is JSON, and "" when there is none; inside, it is its text. Objects and lists lose
// their quotes inside a template that is a text; inside a text of a JSON template they make nothing that can be delivered.
std::optional<std::string> expand(const Json& transformer, const Json& event, const RuleContext& rule) {
  const std::string text = transformer["InputTemplate"].plain();
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  const bool json = first != std::string::npos && (text[first] == '{' || text[first] == '[');
  std::string out;
  for (const Piece& piece : pieces_of(text)) {
    if (!piece.placeholder) {
      out += piece.text;
      continue;
    }
    const std::optional<Json> value = value_of(piece.text, transformer["InputPathsMap"], event, rule);
    const std::string shown = value ? value->dump() : "\"\"";
    if (!piece.quoted)
      out += shown;
    else if (!value || value->is_string())
      out += std::string_view(shown).substr(1, shown.size() - 2);
    else if (!value->is_object() && !value->is_array())
      out += shown;
    else if (!json)
      out += without_quotes(shown);
    else
      return std::nullopt;
  }
  if (json && !Json::parse(out)) return std::nullopt;
  return out;
}

Result<void> check_template(const Json& transformer, const std::string& id) {
  const Json* text = transformer.find("InputTemplate");
  if (!text || !text->is_string() || text->as_string().empty() || text->as_string().size() > kMaxInput)
    return invalid(fmt::format("InputTemplate of target {} must have 1 to 8192 characters.", id));
  const Json* paths = transformer.find("InputPathsMap");
  if (paths && !paths->is_object()) return invalid(fmt::format("InputPathsMap of target {} must map names to paths.", id));
  if (paths && paths->as_object().size() > 100) return invalid(fmt::format("InputPathsMap of target {} has more than 100 entries.", id));
  if (paths)
    for (const auto& [name, path] : paths->as_object()) {
      if (name.starts_with("AWS.") || name.starts_with("aws."))
        return invalid(fmt::format("InputPathsMap of target {} uses the reserved name {}.", id, name));
      if (!query::JsonPath::parse(path.string_or()))
        return invalid(fmt::format("Invalid InputPathsMap of target {}: {} is not a JSONPath.", id, path.string_or()));
    }
  for (const Piece& piece : pieces_of(text->as_string()))
    if (piece.placeholder && !is_reserved(piece.text) && !(paths && paths->find(piece.text)))
      return invalid(fmt::format("InputTemplate for target {} contains invalid placeholder {}.", id, piece.text));  // recorded, 2024
  return {};
}

}  // namespace

Result<void> check_target_input(const Json& target) {
  int ways = 0;
  for (const char* field : {"Input", "InputPath", "InputTransformer"}) ways += target.find(field) ? 1 : 0;
  const std::string id(target["Id"].string_or());
  if (ways > 1) return invalid(fmt::format("Only one of Input, InputPath, or InputTransformer must be provided for target {}.", id));
  for (const char* field : {"Input", "InputPath"})
    if (const Json* text = target.find(field); text && !text->is_string())
      return invalid(fmt::format("Parameter {} of target {} must be a string.", field, id));
  if (const Json* input = target.find("Input")) {
    if (input->as_string().size() > kMaxInput) return invalid(fmt::format("Input for target {} is longer than 8192 characters.", id));
    if (!Json::parse(input->as_string())) return invalid(fmt::format("JSON syntax error in input for target {}", id));
  }
  if (const Json* path = target.find("InputPath"))
    if (!query::JsonPath::parse(path->as_string())) return invalid(fmt::format("Parameter InputPath of target {} is not valid.", id));
  if (const Json* transformer = target.find("InputTransformer")) return check_template(*transformer, id);
  return {};
}

std::optional<std::string> target_input(const Json& target, const Json& event, const RuleContext& rule) {
  if (const Json* input = target.find("Input")) return input->plain();
  if (const Json* text = target.find("InputPath")) {
    const auto path = query::JsonPath::parse(text->as_string());
    const auto value = path ? path->select(event) : std::nullopt;
    return value ? value->dump() : "{}";
  }
  if (const Json* transformer = target.find("InputTransformer")) return expand(*transformer, event, rule);
  return event.dump();
}

}  // namespace snapward::events
