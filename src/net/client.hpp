// An HTTP/1.1 client, http and https, behind a plain interface; Boost.Beast and OpenSSL stay inside client.cpp.
//
// Threads: it runs its own one; send() may be called from any, and `done` is called on the client's own: post from there.
// One connection a request, unless connections are kept. Certificates are checked against the system's (or SSL_CERT_FILE's). Answers up
// to 8 MiB.
#pragma once
#include <chrono>
#include <expected>
#include <functional>
#include <memory>
#include <string>

#include "base/task.hpp"
#include "wire/http.hpp"

namespace snapward::net {

class Client {
 public:
  using Done = std::function<void(std::expected<wire::HttpResponse, std::string>)>;
  enum class Keep {
    no,
    // For the four seconds that a next request is likely to come in, less than servers keep what is idle. A request that meets a closed
    // connection all the same fails: it may have been heard, and is not sent twice.
    briefly,
    // For ever, and a request that meets a closed one before any answer is sent once more on a new one: where that does no harm.
    always,
  };
  struct Options {
    std::chrono::milliseconds longest = std::chrono::seconds(15);  // for the whole exchange
    Keep keep = Keep::no;
  };
  static std::unique_ptr<Client> create(const Options& options);
  static std::unique_ptr<Client> create() { return create({}); }
  virtual ~Client() = default;  // ends what is under way
  // `url` gives scheme, host, port and, unless request.target is more than "/", the target. Host is added.
  virtual void send(const std::string& url, wire::HttpRequest request, Done done) = 0;
};

struct Url {
  std::string scheme, host, port, target;
  static std::expected<Url, std::string> parse(const std::string& text);
};

// send() as a coroutine of `loop`, an engine::Loop or whatever else has its post().
template <class Loop>
Task<std::expected<wire::HttpResponse, std::string>> ask(Loop& loop, Client& client, std::string url, wire::HttpRequest request) {
  Future<std::expected<wire::HttpResponse, std::string>> answer;
  client.send(url, std::move(request),
              [&loop, answer](auto outcome) { loop.post([answer, outcome = std::move(outcome)] { answer.set(outcome); }); });
  co_return co_await answer;
}

}  // namespace snapward::net
