// An HTTP/1.1 server behind a plain interface; Boost.Beast stays inside server.cpp.
//
// Threads: the server runs its own one. The handler is called on it, and answers each request once, from any thread; the answer's
// function runs on the server's thread again, so that encoding does not burden the caller.
// A request whose answer's function is dropped unused loses its connection; one that is used when the server is gone does nothing.
// Limits: headers 16 KiB, bodies 8 MiB (413 beyond); 75 s for each of waiting for a request, reading its body and writing its answer; so
// many connections at a time and from one address. A connection holds one answer at most: its next request is read when that is written.
// When all connections are taken, the one that has waited longest for a request, a second at least, makes room; where none waits, or the
// process has no descriptor left, new ones stay in the kernel's queue and are looked at again after a tenth of a second.
// Nothing here blocks: a client that does not read or write keeps only its own connection busy.
// Source: RFC 9112; a request with another Transfer-Encoding than "chunked" is answered 501, one without exactly one Host 400.
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/result.hpp"
#include "wire/http.hpp"

namespace snapward::net {

class Server {
 public:
  using Answer = std::function<wire::HttpResponse()>;
  using Respond = std::function<void(Answer)>;
  using Handler = std::function<void(wire::HttpRequest request, Respond respond)>;

  struct Options {
    std::string address = "127.0.0.1";
    std::uint16_t port = 4566;  // 0: any free one
    std::size_t most_connections = 4096;
    std::size_t most_from_one_address = 4096;  // those beyond are closed at once
    // The answer to a request that cannot be read (400) or is too large (413), in the words of whoever serves; plain text without.
    std::function<wire::HttpResponse(int status, const std::string& message)> refusal = {};
  };

  // Listens, and serves from the moment start() is called.
  static Result<std::unique_ptr<Server>> listen(const Options& options, Handler handler);
  virtual ~Server() = default;
  virtual void start() = 0;
  // Takes no new connections, ends each after its answer, and waits for the requests under way, this long at most. From any thread but
  // the server's own. How many were still unanswered.
  virtual int drain(std::chrono::milliseconds at_most) = 0;
  virtual void stop() = 0;  // ends connections and the thread
  [[nodiscard]] virtual std::uint16_t port() const = 0;
};

}  // namespace snapward::net
