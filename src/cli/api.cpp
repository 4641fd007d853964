#include "cli/api.hpp"

#include <fmt/format.h>

#include <cstdlib>
#include <optional>

namespace snapward::cli {

namespace {
wire::Credentials credentials() {
  const auto from_environment = [](const char* name, const char* fallback) {
    const char* value = std::getenv(name);
    return std::string(value ? value : fallback);
  };
  return {from_environment("AWS_ACCESS_KEY_ID", "test"), from_environment("AWS_SECRET_ACCESS_KEY", "test"),
          from_environment("AWS_SESSION_TOKEN", "")};
}
}  // namespace

Api::Api(std::string endpoint, std::string service)
    : service_(std::move(service)), cloud_(loop_, *client_, {.endpoint = std::move(endpoint), .credentials = aws::fixed(credentials())}) {}

std::expected<Json, std::string> Api::call(const std::string& region, const std::string& operation, const Json& input) {
  std::optional<cloud::Reply> reply;
  loop_.post([&] {
    loop_.spawn(cloud_.call({service_, region, operation, input}), [&](cloud::Reply answer) {
      reply = std::move(answer);
      loop_.stop();
    });
  });
  loop_.run();
  if (*reply) return **std::move(reply);
  return std::unexpected(said(reply->error()));
}

aws::Identity::Options caller_at_aws(const std::string& profile, const std::string& region) {
  return {.profile = profile, .endpoint = aws::Identity::environment_variable("AWS_ENDPOINT_URL"), .region = region};
}

aws::Identity::Options caller_here(const std::string& endpoint) {
  const wire::Credentials keys = credentials();
  return {.endpoint = endpoint, .variable = [keys](const char* name) {
            const std::string_view n = name;
            return n == "AWS_ACCESS_KEY_ID"       ? keys.access_key
                   : n == "AWS_SECRET_ACCESS_KEY" ? keys.secret_key
                   : n == "AWS_SESSION_TOKEN"     ? keys.session_token
                                                  : std::string();
          }};
}

std::string said(const cloud::Error& error) {
  const bool sentence = error.code == aws::kUnreachable || error.code == aws::kNoEndpoint || error.code == aws::kNoCredentials;
  return sentence ? error.message : fmt::format("{}: {}", error.code, error.message);
}

}  // namespace snapward::cli
