// Outbound: what leaves the local cloud for the world outside: HTTP requests to subscribers and mail. Implemented over net, or by tests.
// Both are called on the loop; http's Task ends there too.
#pragma once
#include <expected>
#include <string>

#include "base/task.hpp"
#include "wire/http.hpp"

namespace snapward::services {

class Outbound {
 public:
  virtual ~Outbound() = default;
  // url is http:// or https://; the error says in a sentence why no answer came.
  virtual Task<std::expected<wire::HttpResponse, std::string>> http(std::string url, wire::HttpRequest request) = 0;
  virtual void mail(const std::string& to, const std::string& subject, const std::string& body) = 0;
};

}  // namespace snapward::services
