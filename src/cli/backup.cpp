// A server's own state, saved while it runs and put back.
#include "store/backup.hpp"

#include <fmt/format.h>

#include "base/json.hpp"
#include "base/private_file.hpp"
#include "cli/commands.hpp"

namespace snapward::cli {

namespace {
struct Options {
  std::string data = "snapward-data", file;
  bool as_json = false;
};

int tell(const Options& o, const char* done, const Result<store::BackupInfo>& outcome) {
  if (!outcome) {
    fmt::print(stderr, "snapward: {}\n", outcome.error().message);
    return 1;
  }
  if (o.as_json)
    fmt::print(
        "{}\n",
        Json::object({{"file", o.file}, {"data", o.data}, {"rows", outcome->rows}, {"bytes", static_cast<std::int64_t>(outcome->bytes)}})
            .dump());
  else
    fmt::print("{}: {} rows, {:.1f} MiB, checked\n", done, outcome->rows, static_cast<double>(outcome->bytes) / 1048576.0);
  return 0;
}

void add_options(CLI::App* c, const std::shared_ptr<Options>& o, const char* file) {
  c->add_option("file", o->file, file)->required();
  c->add_option("--data", o->data, "folder that keeps the state")->capture_default_str();
  c->add_flag("--json", o->as_json, "the result for programs");
}
}  // namespace

void add_backup(CLI::App& app, int& exit_code) {
  auto o = std::make_shared<Options>();
  auto* b = app.add_subcommand("backup", "Save a server's state into one file, while it runs");
  add_options(b, o, "the backup to make; it must not exist");
  b->footer(
      "It holds all that was committed when it began. Example: snapward backup --data /var/lib/snapward /backup/snapward-$(date +%F).db");
  b->callback([o, &exit_code] {
    umask(kPrivateMask);
    exit_code = tell(*o, "Saved", store::back_up(o->data, o->file));
  });
  auto* r = app.add_subcommand("restore", "Put a backup into a folder that holds no state");
  add_options(r, o, "a backup");
  r->footer("Example: snapward restore --data /var/lib/snapward /backup/snapward-2026-11-24.db");
  r->callback([o, &exit_code] {
    umask(kPrivateMask);
    exit_code = tell(*o, "Restored", store::restore(o->file, o->data));
  });
}

}  // namespace snapward::cli
