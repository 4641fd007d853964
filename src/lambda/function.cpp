#include "lambda/function.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

namespace snapward::lambda {

namespace {
std::string error_body(const std::string& type, const std::string& message) {
  return Json::object({{"errorType", type}, {"errorMessage", message}, {"stackTrace", Json::array({})}}).dump();
}
}  // namespace

Task<Function::Response> Function::ask(std::string method, std::string path, std::string body, std::string error_type) {
  wire::HttpRequest request{.method = std::move(method), .target = "/", .headers = {}, .body = std::move(body)};
  if (!request.body.empty()) request.headers.add("Content-Type", "application/json");
  if (!error_type.empty()) request.headers.add("Lambda-Runtime-Function-Error-Type", std::move(error_type));
  co_return co_await net::ask(loop_, client_, api_ + path, std::move(request));
}

Task<std::string> Function::run() {
  for (;;) {
    const Response event = co_await ask("GET", "invocation/next", {});
    if (!event) co_return fmt::format("the Runtime API is gone: {}", event.error());
    if (event->status != 200) co_return fmt::format("the Runtime API has no event: HTTP status {}, {}", event->status, event->body);
    const std::string id(event->headers.get("Lambda-Runtime-Aws-Request-Id"));
    const auto input = Json::parse(event->body);
    snapshots::TaskResult result = std::unexpected(snapshots::TaskError{"Snapward.InvalidInput", "the event is not JSON"});
    if (input) {
      Json given = *input;
      result = co_await task_(std::move(given));
    }
    if (!result) spdlog::error("{} {}: {}", id, result.error().type, result.error().message);
    const std::string path = fmt::format("invocation/{}/{}", id, result ? "response" : "error");
    const Response taken = result
                               ? co_await ask("POST", path, result->dump())
                               : co_await ask("POST", path, error_body(result.error().type, result.error().message), result.error().type);
    if (!taken) co_return fmt::format("the Runtime API is gone: {}", taken.error());
    if (taken->status != 202) spdlog::warn("{}: the answer was not taken: HTTP status {}, {}", id, taken->status, taken->body);
  }
}

Task<std::string> Function::refuse(std::string type, std::string message) {
  const Response taken = co_await ask("POST", "init/error", error_body(type, message), type);
  co_return taken ? message : fmt::format("{} ({})", message, taken.error());
}

}  // namespace snapward::lambda
