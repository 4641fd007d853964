// The sub-commands of snapward. Each adds itself to the command line; its callback runs it and leaves the exit code.
#pragma once
#include <CLI/CLI.hpp>

namespace snapward::cli {

void add_serve(CLI::App& app, int& exit_code);
void add_controller(CLI::App& app, int& exit_code);
void add_demo(CLI::App& app, int& exit_code);
void add_report(CLI::App& app, int& exit_code);
void add_simulate(CLI::App& app, int& exit_code);
void add_backup(CLI::App& app, int& exit_code);
void add_validate(CLI::App& app, int& exit_code);
void add_executions(CLI::App& app, int& exit_code);
void add_events(CLI::App& app, int& exit_code);

// What was built: an abbreviated commit, "-dirty" behind it when it was changed.
const char* commit();

}  // namespace snapward::cli
