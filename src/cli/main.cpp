#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include "base/log.hpp"
#include "cli/commands.hpp"

int main(int argc, char** argv) {
  CLI::App app{"Snapward: EBS snapshots tagged, pruned and copied to a disaster-recovery region, driven by events."};
  app.footer(
      "Examples:\n"
      "  snapward serve                         the local cloud on http://127.0.0.1:4566\n"
      "  snapward controller --tag Backup=yes   the workflows over a real AWS account\n"
      "  snapward report                        what would be lost, by volume\n"
      "  snapward demo                          two weeks of a small fleet in a second\n"
      "  snapward validate machine.asl.json     check a state machine\n"
      "  snapward executions show ARN           what an execution did, a line a state\n"
      "  snapward events tail                   watch a bus");
  app.require_subcommand(1);
  app.set_version_flag("--version", std::string("snapward " SNAPWARD_VERSION " (") + snapward::cli::commit() + ")");
  spdlog::set_default_logger(spdlog::stderr_color_mt("snapward"));  // standard output is for results
  snapward::log::write_text("%Y-%m-%dT%H:%M:%S.%eZ %^%l%$ %v");
  int exit_code = 0;
  snapward::cli::add_serve(app, exit_code);
  snapward::cli::add_controller(app, exit_code);
  snapward::cli::add_report(app, exit_code);
  snapward::cli::add_demo(app, exit_code);
  snapward::cli::add_simulate(app, exit_code);
  snapward::cli::add_backup(app, exit_code);
  snapward::cli::add_validate(app, exit_code);
  snapward::cli::add_executions(app, exit_code);
  snapward::cli::add_events(app, exit_code);
  CLI11_PARSE(app, argc, argv);
  return exit_code;
}
