#include "events/transform.hpp"

#include <fmt/format.h>

#include "query/jsonpath.hpp"

namespace snapward::events {

namespace {

constexpr std::size_t kMaxInput = 8192;

// Values of the reserved variables; nothing for other names.
std::optional<Json> reserved(std::string_view name, const Json& event, const RuleContext& rule) {
  if (name == "aws.events.rule-arn") return Json(rule.rule_arn);
  if (name == "aws.events.rule-name") return Json(rule.rule_name);
  if (name == "aws.events.event.ingestion-time") return Json(iso_seconds(rule.ingested));
  if (name == "aws.events.event.json") return event;
  if (name == "aws.events.event") {
    Json::Object without = event.as_object();
    without.erase("detail");
    return Json(std::move(without));
  }
  return std::nullopt;
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
  if (const Json* transformer = target.find("InputTransformer")) {
    const Json* text = transformer->find("InputTemplate");
    if (!text || !text->is_string() || text->as_string().empty() || text->as_string().size() > kMaxInput)
      return invalid(fmt::format("InputTemplate of target {} must have 1 to 8192 characters.", id));
    if (const Json* paths = transformer->find("InputPathsMap")) {
      if (!paths->is_object()) return invalid(fmt::format("InputPathsMap of target {} must map names to paths.", id));
      if (paths->as_object().size() > 100) return invalid(fmt::format("InputPathsMap of target {} has more than 100 entries.", id));
      for (const auto& [name, path] : paths->as_object()) {
        if (name.starts_with("AWS.") || name.starts_with("aws."))
          return invalid(fmt::format("InputPathsMap of target {} uses the reserved name {}.", id, name));
        if (!query::JsonPath::parse(path.string_or()))
          return invalid(fmt::format("Invalid InputPathsMap of target {}: {} is not a JSONPath.", id, path.string_or()));
      }
    }
  }
  return {};
}

std::string target_input(const Json& target, const Json& event, const RuleContext& rule) {
  if (const Json* input = target.find("Input")) return input->plain();
  if (const Json* text = target.find("InputPath")) {
    const auto path = query::JsonPath::parse(text->as_string());
    const auto value = path ? path->select(event) : std::nullopt;
    return value ? value->dump() : "{}";
  }
  const Json* transformer = target.find("InputTransformer");
  if (!transformer) return event.dump();

  const std::string text = (*transformer)["InputTemplate"].plain();
  const Json& paths = (*transformer)["InputPathsMap"];
  std::string out;
  bool quoted = false;  // inside a JSON string of the template
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '"' && (i == 0 || text[i - 1] != '\\')) quoted = !quoted;
    const std::size_t close = text[i] == '<' ? text.find('>', i) : std::string::npos;
    if (close == std::string::npos) {
      out.push_back(text[i]);
      continue;
    }
    const std::string name = text.substr(i + 1, close - i - 1);
    std::optional<Json> value = reserved(name, event, rule);
    const Json* path = paths.find(name);
    if (!value && !path) {  // not a variable of ours: text
      out.push_back(text[i]);
      continue;
    }
    if (!value) {
      const auto parsed = query::JsonPath::parse(path->string_or());
      value = parsed ? parsed->select(event) : std::nullopt;
    }
    // Within quotes a value is its text; outside, JSON. What the path does not find is left out.
    if (value) out += quoted ? value->plain() : value->dump();
    i = close;
  }
  return out;
}

}  // namespace snapward::events
