// Node: the process behind `snapward serve` and `snapward controller`. It owns the state, or its shards of one, the world that lives on
// it, and the port; the commands differ in what they put in.
#pragma once
#include <CLI/CLI.hpp>
#include <optional>
#include <string>

#include "aws/identity.hpp"
#include "base/json.hpp"
#include "base/result.hpp"
#include "edge/front.hpp"
#include "edge/origin.hpp"
#include "services/local_cloud.hpp"
#include "snapshots/settings.hpp"

namespace snapward::cli {

struct NodeOptions {
  std::string host = "127.0.0.1", data = "snapward-data", store, advertise, mail, account = "000000000000";
  std::uint16_t port = 4566;
  bool in_memory = false, no_workflows = false, allow_anonymous = false;
  double time_scale = 1.0, drain_seconds = 5, lease_seconds = 5, min_miles = 0;
  int keep_days = 90;
  std::size_t connections_per_address = 1024;
  std::string keys_file, log_level = "info", log_format = "text";
  snapshots::Settings settings;

  services::LocalCloudOptions cloud;
  edge::FrontOptions front;
  edge::OriginOptions origins;
  Json mocks;
  bool adopt = false;                              // a controller: take into care what was there before its first start
  std::optional<aws::Identity::Options> controls;  // the account at AWS that the workflows act on; absent: the local cloud itself
};

// The options that both commands have.
void add_node_options(CLI::App& command, NodeOptions& options);
// Judges them, and reads what they name; before run_node.
Result<void> check_node_options(NodeOptions& options);
// Until the process is told to stop; the exit code.
int run_node(NodeOptions options);

Result<Json> read_json(const std::string& path);
int fail_with(const std::string& message);  // 1

}  // namespace snapward::cli
