#include <fmt/format.h>

#include <fstream>
#include <iostream>
#include <iterator>

#include "asl/definition.hpp"
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

int validate(const std::vector<std::string>& files, bool express, bool as_json) {
  bool all_good = true;
  Json::Array report;
  for (const std::string& file : files) {
    std::ifstream in(file);
    asl::Compiled compiled;
    if (in) {
      const std::string text(std::istreambuf_iterator<char>(in), {});
      const auto json = Json::parse(text);
      if (json)
        compiled = engine::compile(with_resources(*json).dump(), express);
      else if (const auto said = jackson_error(text))
        compiled.diagnostics.push_back(
            {"INVALID_JSON_DESCRIPTION", said->what, fmt::format("line {}, column {}", said->line, said->column)});
    } else {
      compiled.diagnostics.push_back({"FILE", "the file cannot be read", ""});
    }
    all_good = all_good && compiled.diagnostics.empty();
    Json::Array list;
    if (!as_json)
      fmt::print("{}: {}\n", file, compiled.diagnostics.empty() ? "ok" : fmt::format("{} problem(s)", compiled.diagnostics.size()));
    for (const auto& d : compiled.diagnostics) {
      if (!as_json) fmt::print("  {}  {}\n      {}\n", d.location, d.message, d.code);
      list.push_back(Json::object({{"code", d.code}, {"message", d.message}, {"location", d.location}}));
    }
    report.push_back(Json::object({{"file", file}, {"valid", compiled.diagnostics.empty()}, {"diagnostics", std::move(list)}}));
  }
  if (as_json) fmt::print("{}\n", Json(std::move(report)).pretty());
  return all_good ? 0 : 1;
}

}  // namespace

void add_validate(CLI::App& app, int& exit_code) {
  auto* command = app.add_subcommand("validate", "Check state machine definitions (Amazon States Language)");
  auto files = std::make_shared<std::vector<std::string>>();
  auto as_json = std::make_shared<bool>(false);
  command->add_option("files", *files, "definition files")->required();
  auto express = std::make_shared<bool>(false);
  command->add_flag("--express", *express, "as Express workflows, which can do less");
  command->add_flag("--json", *as_json, "answer for programs");
  command->footer(
      "Exit code 0: all are valid. A Resource that is a placeholder, \"${Name}\", is taken for a function.\nExample: snapward validate "
      "workflows/*.asl.json");
  command->callback([=, &exit_code] { exit_code = validate(*files, *express, *as_json); });
}

}  // namespace snapward::cli
