#include "edge/origin.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <ifaddrs.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstring>

#include "base/entropy.hpp"
#include "edge/authentication.hpp"
#include "edge/destination.hpp"
#include "wire/protocol.hpp"

namespace snapward::edge {

namespace {

// "https://console.example.com:8443/path" → "console.example.com:8443"
std::string_view authority_of(std::string_view url) {
  const std::size_t scheme = url.find("://");
  if (scheme == std::string_view::npos) return {};
  const std::size_t from = scheme + 3;
  return url.substr(from, url.find_first_of("/?#", from) - from);
}
// Scheme, host and port: "https://console.example.com:8443"
std::string_view origin_of(std::string_view url) {
  const std::string_view authority = authority_of(url);
  return authority.empty() ? std::string_view() : url.substr(0, static_cast<std::size_t>(authority.data() + authority.size() - url.data()));
}

struct Address {
  int family = AF_UNSPEC;  // no IP literal
  std::array<unsigned char, 16> bytes{};
};
Address address_of(std::string_view text) {
  Address a;
  const std::string literal(text.substr(0, text.find('%')));
  if (inet_pton(AF_INET, literal.c_str(), a.bytes.data()) == 1)
    a.family = AF_INET;
  else if (inet_pton(AF_INET6, literal.c_str(), a.bytes.data()) == 1)
    a.family = AF_INET6;
  return a;
}
// One spelling of each address.
std::string spelled(const Address& a) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  return inet_ntop(a.family, a.bytes.data(), text.data(), text.size()) ? text.data() : "";
}
bool is_loopback(const Address& a) {
  if (a.family == AF_INET) return a.bytes[0] == 127;
  std::array<unsigned char, 16> one{};
  one.back() = 1;
  return a.family == AF_INET6 && a.bytes == one;
}

// "[::1]:4566" → "::1", "snapward:4566" → "snapward"; nothing when it is no host and port.
std::optional<std::string> host_of(std::string_view authority) {
  const bool bracketed = authority.starts_with('[');
  const std::size_t end = bracketed ? authority.find(']') : authority.find(':');
  if (bracketed && end == std::string_view::npos) return std::nullopt;
  std::string_view host = authority.substr(bracketed ? 1 : 0, end == std::string_view::npos ? end : end - (bracketed ? 1 : 0));
  std::string_view port = end == std::string_view::npos ? "" : authority.substr(end + (bracketed ? 1 : 0));
  if (!port.empty() && (!port.starts_with(':') || port.find_first_not_of("0123456789", 1) != std::string_view::npos)) return std::nullopt;
  if (host.ends_with('.')) host.remove_suffix(1);
  const auto belongs = [&](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '-' || c == '_' || (bracketed && (c == ':' || c == '%'));
  };
  if (host.empty() || !std::ranges::all_of(host, belongs)) return std::nullopt;
  if (bracketed && address_of(host).family != AF_INET6) return std::nullopt;
  return lower(host);
}

std::set<std::string, std::less<>> addresses_of_this_machine() {
  std::set<std::string, std::less<>> out;
  ifaddrs* all = nullptr;
  if (getifaddrs(&all) != 0) return out;
  for (const ifaddrs* i = all; i; i = i->ifa_next) {
    if (!i->ifa_addr) continue;
    Address a{.family = i->ifa_addr->sa_family};
    if (a.family == AF_INET)
      std::memcpy(a.bytes.data(), &reinterpret_cast<const sockaddr_in*>(i->ifa_addr)->sin_addr, 4);
    else if (a.family == AF_INET6)
      std::memcpy(a.bytes.data(), &reinterpret_cast<const sockaddr_in6*>(i->ifa_addr)->sin6_addr, 16);
    else
      continue;
    out.insert(spelled(a));
  }
  freeifaddrs(all);
  return out;
}

bool is_page(const wire::HttpRequest& request) {
  const std::string_view path = request.path();
  return is_anonymous_page(request) || path == "/metrics" || !destination_of(request).service;
}
bool is_navigation(const wire::HttpRequest& request) {
  return request.method == "GET" && iequals(request.headers.get("sec-fetch-mode"), "navigate");
}

}  // namespace

Origins::Origins(OriginOptions options) : options_(std::move(options)) {
  advertised_ = host_of(authority_of(options_.advertise)).value_or("");
  for (std::string& host : options_.allow_hosts) host = lower(host);
  for (std::string& origin : options_.allow_origins) origin = lower(origin.ends_with('/') ? origin.substr(0, origin.size() - 1) : origin);
}

bool Origins::is_address_of_ours(std::string_view address) const {
  const Address a = address_of(address);
  if (is_loopback(a)) return true;
  const std::string text = spelled(a);
  if (text == spelled(address_of(options_.listens_on))) return true;
  if (options_.listens_on != "0.0.0.0" && options_.listens_on != "::") return false;
  const std::lock_guard lock(mutex_);
  if (addresses_.contains(text)) return true;
  addresses_ = addresses_of_this_machine();
  return addresses_.contains(text);
}

bool Origins::is_ours(std::string_view host) const {
  if (host == "localhost" || host.ends_with(".localhost")) return true;
  const bool named = std::ranges::any_of(options_.allow_hosts, [&](const std::string& allowed) {
    return allowed == host || (allowed.starts_with("*.") && host.ends_with(std::string_view(allowed).substr(1)));
  });
  if (named || host == advertised_) return true;
  if (address_of(host).family != AF_UNSPEC) return is_address_of_ours(host);
  return host.find_first_of(".:") == std::string_view::npos;
}

bool Origins::is_own_origin(std::string_view origin, std::string_view host) const {
  if (origin.empty()) return false;
  return iequals(authority_of(origin), host) || (!options_.advertise.empty() && iequals(origin, origin_of(options_.advertise)));
}

std::string Origins::allowed_origin(const wire::HttpRequest& request) const {
  if (options_.allow_origins.empty()) return {};
  const std::string_view origin = request.headers.get("origin");
  const bool allowed = std::ranges::find(options_.allow_origins, lower(origin)) != options_.allow_origins.end();
  return allowed ? std::string(origin) : std::string();
}

std::optional<std::string> Origins::refusal(const wire::HttpRequest& request) const {
  const std::string* host = request.headers.find("host");
  if (host) {
    const auto name = host_of(trim(*host));
    if (!name || !is_ours(*name))
      return fmt::format("The Host '{}' is not this server's; if it is meant to be, start the server with --allow-host.", trim(*host));
  }
  const std::string_view own = host ? trim(*host) : std::string_view(), site = request.headers.get("sec-fetch-site");
  if (is_navigation(request) && !is_page(request)) {
    const Destination to = destination_of(request);
    if (to.scope || !is_anonymous_link(*to.service, action_of(request), request))
      return "A browser can open pages here, not call operations; use an AWS client.";
  }
  if (const std::string* origin = request.headers.find("origin")) {
    if (!allowed_origin(request).empty() || is_own_origin(*origin, own)) return std::nullopt;
    return fmt::format("Pages of the origin '{}' may not call this server; start it with --allow-origin to let them.", *origin);
  }
  if (is_navigation(request)) return std::nullopt;
  const std::string_view referer = request.headers.get("referer");
  const bool foreign = site.empty() ? !referer.empty() && !is_own_origin(origin_of(referer), own) : site != "same-origin" && site != "none";
  if (foreign) return "Pages of other sites may not call this server; start it with --allow-origin to let some.";
  // Over plain HTTP to anything but a loopback name, a browser says neither Origin nor Sec-Fetch-Site of an image or a frame, and a page
  // can keep it from saying Referer. Its own name it always says, and no AWS client has one like it.
  const bool silent = site.empty() && referer.empty() && request.headers.get("user-agent").starts_with("Mozilla/");
  if (!silent || is_page(request)) return std::nullopt;
  const Destination to = destination_of(request);
  if (!to.scope && is_anonymous_link(*to.service, action_of(request), request)) return std::nullopt;
  return "A browser can open pages here, not call operations; use an AWS client.";
}

bool is_loopback(std::string_view address) { return is_loopback(address_of(address)); }

bool is_preflight(const wire::HttpRequest& request) {
  return request.method == "OPTIONS" && request.headers.find("access-control-request-method");
}

void allow_reading(wire::HttpResponse& response, const std::string& origin) {
  response.headers.add("Access-Control-Allow-Origin", origin);
  response.headers.add("Access-Control-Expose-Headers", "*");
  response.headers.add("Vary", "Origin");
}

wire::HttpResponse preflight_answer(const wire::HttpRequest& request, const std::string& origin) {
  wire::HttpResponse response{.status = 204, .headers = {}, .body = {}};
  response.headers.add("Access-Control-Allow-Methods", "GET, HEAD, POST, PUT, DELETE, PATCH");
  response.headers.add("Access-Control-Allow-Headers", std::string(request.headers.get("access-control-request-headers")));
  response.headers.add("Access-Control-Max-Age", "600");
  allow_reading(response, origin);
  return response;
}

wire::HttpResponse forbidden(const wire::HttpRequest& request, const std::string& sentence) {
  if (const Destination to = destination_of(request); to.service) {
    thread_local SystemEntropy entropy;
    const wire::Protocol protocol = wire::protocol_of(*to.service, request);
    const bool json = protocol == wire::Protocol::json || protocol == wire::Protocol::rest_json;
    return wire::encode_error(to.service, protocol, {json ? "AccessDeniedException" : "AccessDenied", sentence, 403, {}}, entropy.uuid());
  }
  wire::HttpResponse response{.status = 403, .headers = {}, .body = sentence + '\n'};
  response.headers.add("Content-Type", "text/plain; charset=utf-8");
  return response;
}

}  // namespace snapward::edge
