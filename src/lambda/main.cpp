// snapward-lambda: the snapshot tasks as functions of AWS Lambda, on its custom runtimes (provided.al2023). The function's handler names
// the task (snapshots/tasks.hpp); deploy/snapward.yaml has all of them. Credentials and region are the environment's, as for any function.
#include <fmt/format.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <cstdlib>

#include "aws/aws_cloud.hpp"
#include "base/entropy.hpp"
#include "base/log.hpp"
#include "cloud/retry.hpp"
#include "lambda/function.hpp"

namespace {

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

}  // namespace

int main() {
  using namespace snapward;
  const std::string api = variable("AWS_LAMBDA_RUNTIME_API"), handler = variable("_HANDLER");
  if (api.empty()) {
    fmt::print(stderr,
               "This program answers as a function of AWS Lambda: it needs the Runtime API that Lambda gives it (AWS_LAMBDA_RUNTIME_API).\n"
               "'./dev package' puts it into build/snapward-lambda.zip; docs/serverless.md says what to do with that.\n");
    return 2;
  }
  spdlog::set_default_logger(spdlog::stdout_logger_st("lambda"));
  snapward::log::write_text("[%l] %v");  // Lambda adds the time
  SystemClock clock(1.0, Instant{});
  SystemEntropy entropy;
  engine::Loop loop(clock, entropy);
  const auto to_aws = net::Client::create({.longest = std::chrono::seconds(60)});
  // Lambda freezes the process between two events: no patience is long enough.
  const auto to_lambda = net::Client::create({.longest = std::chrono::hours(24 * 365), .keep = net::Client::Keep::always});
  aws::AwsCloud cloud(
      loop, *to_aws,
      {.endpoint = variable("AWS_ENDPOINT_URL"),
       .credentials = aws::fixed({variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY"), variable("AWS_SESSION_TOKEN")})});
  cloud::Retrying retrying(cloud, [&loop](Duration delay) { return loop.sleep(delay); }, entropy);
  snapshots::Tasks tasks(retrying, clock);
  const auto functions = tasks.functions();
  const auto task = functions.find(handler);
  lambda::Function function(loop, *to_lambda, api, task == functions.end() ? snapshots::Tasks::Function{} : task->second);
  loop.post([&] {
    auto work =
        task != functions.end()
            ? function.run()
            : function.refuse("Runtime.NoSuchHandler",
                              fmt::format("there is no task '{}'; the handler names one of Snapward's, as snapward-tag-snapshot", handler));
    loop.spawn(std::move(work), [&loop](const std::string& why) {
      spdlog::error("{}", why);
      loop.stop();
    });
  });
  loop.run();
  return 1;
}
