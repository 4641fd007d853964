#include <fmt/format.h>

#include <fstream>
#include <iostream>
#include <iterator>

#include "asl/definition.hpp"
#include "cli/commands.hpp"

namespace snapward::cli {

namespace {

int validate(const std::vector<std::string>& files, bool express, bool as_json) {
  bool all_good = true;
  Json::Array report;
  for (const std::string& file : files) {
    std::ifstream in(file);
    asl::Compiled compiled;
    if (!in)
      compiled.diagnostics.push_back({"FILE", "the file cannot be read", ""});
    else
      compiled = asl::compile_text(std::string(std::istreambuf_iterator<char>(in), {}), express);
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
  command->footer("Exit code 0: all are valid. Example: snapward validate workflows/*.asl.json");
  command->callback([=, &exit_code] { exit_code = validate(*files, *express, *as_json); });
}

}  // namespace snapward::cli
