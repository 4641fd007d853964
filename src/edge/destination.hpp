// Which service and region a request means: from the scope of its signature, else from its target or the Action of a link. All regions
// share one port. Reading it checks nothing.
#pragma once
#include <optional>
#include <string>

#include "wire/http.hpp"
#include "wire/model.hpp"
#include "wire/sigv4.hpp"

namespace snapward::edge {

struct Destination {
  const wire::Service* service = nullptr;  // null where the request names none that is known
  std::string region;
  std::optional<wire::SignatureScope> scope;  // absent: not signed, or not readable
};

constexpr const char* kDefaultRegion = "us-east-1";  // of requests that name no region
Destination destination_of(const wire::HttpRequest& request, const std::string& default_region = kDefaultRegion);

// The Action of the query string; empty without.
std::string action_of(const wire::HttpRequest& request);

}  // namespace snapward::edge
