// Origin: what a browser may send here. A page of any site can make a browser send requests to this port, and a name that an attacker
// resolves to this machine makes its answers readable (DNS rebinding). So a request is refused, with or without keys, whose Host is not
// this server's, or that a browser says is another site's.
//
// Threads: const after construction; any thread.
// Source: Fetch standard (Origin), "Fetch Metadata Request Headers" (W3C), RFC 9110, 7.2 (Host).
#pragma once
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "wire/http.hpp"

namespace snapward::edge {

struct OriginOptions {
  std::string listens_on = "127.0.0.1";    // the address of the port; 0.0.0.0 and :: are all of this machine's
  std::string advertise;                   // the URL that others reach this server at; its host is ours
  std::vector<std::string> allow_hosts;    // more names of ours; "*.example.com" is every name below that
  std::vector<std::string> allow_origins;  // "https://console.example.com": whose pages may call
};

class Origins {
 public:
  explicit Origins(OriginOptions options = {});

  // The sentence that the request is refused with, or nothing.
  //   Host     ours are loopback addresses, addresses that we listen on, localhost, *.localhost, names of one label (containers call each
  //            other so), --advertise and --allow-host. Requests without a Host (HTTP/1.0) are no browser's.
  //   Origin   must be this server's own or of --allow-origin; "null" is foreign
  //   Sec-Fetch-Site, or Referer where a browser sends neither: same-origin, or none (typed by the user)
  // A navigation (the user follows a link, GET) may come from any site. It reaches pages, and the links that SNS sends; never operations.
  [[nodiscard]] std::optional<std::string> refusal(const wire::HttpRequest& request) const;

  // The request's Origin when --allow-origin names it, else empty: what the answer allows to read it.
  [[nodiscard]] std::string allowed_origin(const wire::HttpRequest& request) const;

  [[nodiscard]] bool is_ours(std::string_view host) const;  // without a port

 private:
  [[nodiscard]] bool is_address_of_ours(std::string_view address) const;
  [[nodiscard]] bool is_own_origin(std::string_view origin, std::string_view host) const;

  OriginOptions options_;
  std::string advertised_;  // its host
  mutable std::mutex mutex_;
  mutable std::set<std::string, std::less<>> addresses_;  // of this machine, where we listen on all; read anew on a miss
};

bool is_loopback(std::string_view address);  // an IP address that only this machine reaches

// The answers to an allowed origin: to a preflight (OPTIONS with Access-Control-Request-Method), and what every other one has beside it.
bool is_preflight(const wire::HttpRequest& request);
wire::HttpResponse preflight_answer(const wire::HttpRequest& request, const std::string& origin);
void allow_reading(wire::HttpResponse& response, const std::string& origin);

// 403 with the sentence: as the service that the request means words errors, plain where it means none.
wire::HttpResponse forbidden(const wire::HttpRequest& request, const std::string& sentence);

}  // namespace snapward::edge
