#include <fmt/format.h>

#include <fstream>
#include <iostream>
#include <iterator>

#include "asl/definition.hpp"
#include "asl/yaml.hpp"
#include "base/jackson.hpp"
#include "cli/commands.hpp"
#include "engine/integrations.hpp"

namespace snapward::cli {

namespace {

// Definitions on their way to a deployment name their functions by placeholders, "${TagSnapshot}": any function's ARN does to check the
// rest.
Json with_resources(const Json& value) {
  if (value.is_array()) {
    Json::Array out;
    for (const Json& item : value.as_array()) out.push_back(with_resources(item));
    return Json(std::move(out));
  }
  if (!value.is_object()) return value;
  Json::Object out;
  for (const auto& [key, member] : value.as_object()) {
    const std::string_view text = key == "Resource" ? member.string_or() : "";
    const bool placeholder = text.starts_with("${") && text.find('}') == text.size() - 1;
    out.set(key, placeholder ? Json("arn:aws:lambda:us-east-1:000000000000:function:placeholder") : with_resources(member));
  }
  return Json(std::move(out));
}

struct Problem {
  asl::Diagnostic what;
  std::optional<asl::Place> place;  // in the file, where it is known
};

std::vector<Problem> of(const asl::Compiled& compiled) {
  std::vector<Problem> out;
  for (const asl::Diagnostic& d : compiled.diagnostics) out.push_back({d, std::nullopt});
  return out;
}

std::vector<Problem> problems_of_yaml(const std::string& text, bool express) {
  const auto definition = asl::read_yaml(text);
  if (!definition) return {{{"INVALID_YAML_DESCRIPTION", definition.error().message, ""}, definition.error().place}};
  std::vector<Problem> out = of(engine::compile(with_resources(definition->json).dump(), express));
  for (Problem& p : out) p.place = asl::place_of(*definition, p.what.location);
  return out;
}

std::vector<Problem> problems_of_json(const std::string& text, bool express) {
  if (const auto json = Json::parse(text)) return of(engine::compile(with_resources(*json).dump(), express));
  const auto said = jackson_error(text);
  if (!said) return of(asl::compile_text(text));
  return {{{"INVALID_JSON_DESCRIPTION", said->what, ""}, asl::Place{said->line, said->column}}};
}

std::vector<Problem> problems_of(const std::string& file, bool express) {
  std::ifstream in(file);
  if (!in) return {{{"FILE", "the file cannot be read", ""}, std::nullopt}};
  const std::string text(std::istreambuf_iterator<char>(in), {});
  const bool yaml = file.ends_with(".yaml") || file.ends_with(".yml");
  return yaml ? problems_of_yaml(text, express) : problems_of_json(text, express);
}

std::string shown_location(const Problem& p) {
  const std::string place = p.place ? fmt::format("line {}, column {}", p.place->line, p.place->column) : "";
  if (p.what.location.empty() || place.empty()) return p.what.location + place;
  return fmt::format("{} ({})", p.what.location, place);
}

int validate(const std::vector<std::string>& files, bool express, bool as_json) {
  bool all_good = true;
  Json::Array report;
  for (const std::string& file : files) {
    const std::vector<Problem> problems = problems_of(file, express);
    all_good = all_good && problems.empty();
    if (!as_json) fmt::print("{}: {}\n", file, problems.empty() ? "ok" : fmt::format("{} problem(s)", problems.size()));
    Json::Array list;
    for (const Problem& p : problems) {
      if (!as_json) fmt::print("  {}  {}\n      {}\n", shown_location(p), p.what.message, p.what.code);
      list.push_back(Json::object({{"code", p.what.code}, {"message", p.what.message}, {"location", shown_location(p)}}));
    }
    report.push_back(Json::object({{"file", file}, {"valid", problems.empty()}, {"diagnostics", std::move(list)}}));
  }
  if (as_json) fmt::print("{}\n", Json(std::move(report)).pretty());
  return all_good ? 0 : 1;
}

}  // namespace

void add_validate(CLI::App& app, int& exit_code) {
  auto* command = app.add_subcommand("validate", "Check state machine definitions (Amazon States Language)");
  auto files = std::make_shared<std::vector<std::string>>();
  auto as_json = std::make_shared<bool>(false);
  command->add_option("files", *files, "definition files: JSON, or YAML when the name ends in .yaml or .yml")->required();
  auto express = std::make_shared<bool>(false);
  command->add_flag("--express", *express, "as Express workflows, which can do less");
  command->add_flag("--json", *as_json, "answer for programs");
  command->footer(
      "Exit code 0: all are valid. A Resource that is a placeholder, \"${Name}\", is taken for a function.\nExample: snapward validate "
      "workflows/*.asl.json");
  command->callback([=, &exit_code] { exit_code = validate(*files, *express, *as_json); });
}

}  // namespace snapward::cli
