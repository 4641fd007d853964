#include "cli/api.hpp"

#include <fmt/format.h>

#include <condition_variable>
#include <mutex>
#include <optional>

#include "wire/protocol.hpp"
#include "wire/sigv4.hpp"

namespace snapward::cli {

std::expected<Json, std::string> Api::call(const std::string& region, const std::string& operation, const Json& input) {
  const wire::Service* service = wire::find_service(service_);
  const wire::Operation* op = service->find(operation);
  const auto url = net::Url::parse(endpoint_);
  if (!url) return std::unexpected(url.error());
  wire::HttpRequest request = wire::encode_request(*service, *op, input);
  request.headers.add("Host", url->host + ':' + url->port);
  const auto from_environment = [](const char* name, const char* fallback) {
    const char* value = std::getenv(name);
    return std::string(value ? value : fallback);
  };
  wire::sign(request,
             {from_environment("AWS_ACCESS_KEY_ID", "test"), from_environment("AWS_SECRET_ACCESS_KEY", "test"),
              from_environment("AWS_SESSION_TOKEN", "")},
             {region, service_, std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now())});
  std::mutex mutex;
  std::condition_variable ready;
  std::optional<std::expected<wire::HttpResponse, std::string>> answer;
  client_->send(endpoint_, std::move(request), [&](auto outcome) {
    const std::lock_guard lock(mutex);
    answer = std::move(outcome);
    ready.notify_one();
  });
  std::unique_lock lock(mutex);
  ready.wait(lock, [&] { return answer.has_value(); });
  if (!*answer) return std::unexpected(fmt::format("{} cannot be reached: {}", endpoint_, answer->error()));
  auto reply = wire::decode_reply(*service, *op, **answer);
  if (!reply) return std::unexpected(fmt::format("{}: {}", reply.error().code, reply.error().message));
  return *std::move(reply);
}

}  // namespace snapward::cli
