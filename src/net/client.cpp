#include "net/client.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/connect.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl/ssl_stream.hpp>
#include <map>
#include <optional>
#include <thread>

#include "base/line.hpp"
#include "base/text.hpp"
#include "base/thread_name.hpp"

namespace snapward::net {

namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using tcp = asio::ip::tcp;

constexpr std::uint64_t kMaxBody = 8'388'608;

using Parser = http::response_parser<http::string_body>;

// As it is sent. Written here, because Beast's serializer costs a third of this file's time to compile and a request is one text anyway.
std::string text_of(const Url& url, const wire::HttpRequest& request, bool keep_alive) {
  std::string out = fmt::format("{} {} HTTP/1.1\r\n", request.method, request.target.size() > 1 ? request.target : url.target);
  const auto field = [&out](std::string_view name, std::string_view value) {
    fmt::format_to(std::back_inserter(out), "{}: {}\r\n", name, value);
  };
  for (const auto& [name, value] : request.headers.list)
    if (!iequals(name, "Content-Length") && !iequals(name, "Transfer-Encoding") && !iequals(name, "Connection")) field(name, value);
  const bool plain_port = url.port == (url.scheme == "https" ? "443" : "80");
  if (request.headers.get("Host").empty()) field("Host", plain_port ? url.host : url.host + ':' + url.port);
  if (!request.body.empty() || request.method == "POST" || request.method == "PUT")
    field("Content-Length", std::to_string(request.body.size()));
  if (!keep_alive) field("Connection", "close");
  return out + "\r\n" + request.body;
}

// Whoever made it, nothing in it may end its line and begin another.
bool is_sendable(const Url& url, const wire::HttpRequest& request) {
  return is_header_name(request.method) && is_request_target(request.target.size() > 1 ? request.target : url.target) &&
         is_header_value(url.host) && is_header_value(url.port) && std::ranges::all_of(request.headers.list, [](const auto& header) {
           return is_header_name(header.first) && is_header_value(header.second);
         });
}

void prepare(std::optional<Parser>& parser, bool head) {
  parser.emplace();
  parser->body_limit(kMaxBody);
  if (head) parser->skip(true);
}

wire::HttpResponse response_of(Parser& parser) {
  auto& message = parser.get();
  wire::HttpResponse response;
  response.status = static_cast<int>(message.result_int());
  for (const auto& field : message)
    response.headers.add(std::string(std::string_view(field.name_string())), std::string(std::string_view(field.value())));
  response.body = std::move(message.body());
  return response;
}

std::unexpected<std::string> trouble(const Url& url, const char* what, beast::error_code error) {
  return std::unexpected(fmt::format("{}:{}: {} ({})", url.host, url.port, what, error.message()));
}

using Plain = beast::tcp_stream;
using Secure = beast::ssl_stream<beast::tcp_stream>;

// Connections that wait for their next request, by host and port.
template <class Stream>
class Kept {
 public:
  using Connection = std::unique_ptr<Stream>;
  explicit Kept(std::chrono::milliseconds longest) : longest_(longest) {}
  // The one that was used last, or null.
  Connection take(const std::string& place) {
    auto& idle = idle_[place];
    const auto now = std::chrono::steady_clock::now();
    std::erase_if(idle, [&](const Idle& i) { return now - i.since > longest_; });
    if (idle.empty()) return nullptr;
    Connection out = std::move(idle.back().connection);
    idle.pop_back();
    return out;
  }
  void keep(const std::string& place, Connection connection) {
    auto& idle = idle_[place];
    if (idle.size() < kMost) idle.push_back({std::move(connection), std::chrono::steady_clock::now()});
  }

 private:
  static constexpr std::size_t kMost = 64;  // to one place
  struct Idle {
    Connection connection;
    std::chrono::steady_clock::time_point since;
  };
  std::chrono::milliseconds longest_;
  std::map<std::string, std::vector<Idle>> idle_;
};

// One request, over a connection of its own or one that has served others.
template <class Stream>
class Exchange : public std::enable_shared_from_this<Exchange<Stream>> {
 public:
  static constexpr bool kSecure = std::is_same_v<Stream, Secure>;

  Exchange(asio::io_context& context, asio::ssl::context& tls, Kept<Stream>& kept, const Client::Options& options, Url url,
           const wire::HttpRequest& request, Client::Done done)
      : context_(context),
        tls_(tls),
        kept_(kept),
        options_(options),
        url_(std::move(url)),
        place_(url_.host + ':' + url_.port),
        done_(std::move(done)),
        head_(request.method == "HEAD"),
        request_(text_of(url_, request, options.keep != Client::Keep::no)) {}

  void start() {
    stream_ = kept_.take(place_);
    used_before_ = stream_ != nullptr;
    if (used_before_)
      exchange();
    else
      connect();
  }

 private:
  tcp::resolver& resolver() {
    if (!resolver_) resolver_.emplace(context_);
    return *resolver_;
  }
  beast::tcp_stream& tcp_stream() { return beast::get_lowest_layer(*stream_); }

  void connect() {
    used_before_ = false;
    if constexpr (kSecure)
      stream_ = std::make_unique<Stream>(context_, tls_);
    else
      stream_ = std::make_unique<Stream>(context_);
    resolver().async_resolve(url_.host, url_.port,
                             [self = this->shared_from_this()](beast::error_code error, const tcp::resolver::results_type& found) {
                               if (error) return self->fail("its name cannot be resolved", error);
                               self->tcp_stream().expires_after(self->options_.longest);
                               self->tcp_stream().async_connect(found, [self](beast::error_code e, const tcp::endpoint&) {
                                 if (e) return self->fail("no connection", e);
                                 beast::error_code ignored;
                                 self->tcp_stream().socket().set_option(tcp::no_delay(true), ignored);
                                 self->connected();
                               });
                             });
  }
  void connected() {
    if constexpr (kSecure) {
      SSL_set_tlsext_host_name(stream_->native_handle(), url_.host.c_str());
      stream_->set_verify_callback(asio::ssl::host_name_verification(url_.host));
      stream_->async_handshake(asio::ssl::stream_base::client, [self = this->shared_from_this()](beast::error_code error) {
        if (error) return self->fail("no TLS session", error);
        self->exchange();
      });
    } else {
      exchange();
    }
  }
  void exchange() {
    prepare(parser_, head_);
    buffer_.clear();
    tcp_stream().expires_after(options_.longest);
    asio::async_write(*stream_, asio::buffer(request_), [self = this->shared_from_this()](beast::error_code error, std::size_t) {
      if (error) return self->broken("the request could not be sent", error);
      http::async_read(*self->stream_, self->buffer_, *self->parser_, [self](beast::error_code e, std::size_t) {
        if (e) return self->broken("no answer", e);
        const bool keep = self->options_.keep != Client::Keep::no && self->parser_->get().keep_alive();
        wire::HttpResponse response = response_of(*self->parser_);
        if (keep) {
          self->tcp_stream().expires_never();
          self->kept_.keep(self->place_, std::move(self->stream_));
        }
        self->done_(std::move(response));
      });
    });
  }
  // The other side may have closed it while it waited.
  void broken(const char* what, beast::error_code error) {
    const bool again = options_.keep == Client::Keep::always && used_before_ && !parser_->got_some() && error != beast::error::timeout;
    if (again) return connect();
    fail(what, error);
  }
  void fail(const char* what, beast::error_code error) { done_(trouble(url_, what, error)); }

  asio::io_context& context_;
  asio::ssl::context& tls_;
  Kept<Stream>& kept_;
  Client::Options options_;
  Url url_;
  std::string place_;
  Client::Done done_;
  bool head_;
  std::string request_;
  std::optional<tcp::resolver> resolver_;
  typename Kept<Stream>::Connection stream_;
  std::optional<Parser> parser_;
  beast::flat_buffer buffer_;
  bool used_before_ = false;
};

std::chrono::milliseconds idle_of(const Client::Options& options) {
  return options.keep == Client::Keep::always ? std::chrono::milliseconds(std::chrono::hours(24 * 365)) : std::chrono::milliseconds(4000);
}

class BeastClient final : public Client {
 public:
  explicit BeastClient(const Options& options) : options_(options) {
    tls_.set_default_verify_paths();
    tls_.set_verify_mode(asio::ssl::verify_peer);
    thread_ = std::thread([this] {
      name_this_thread("http-client");
      context_.run();
    });
  }
  ~BeastClient() override {
    context_.stop();
    thread_.join();
  }
  void send(const std::string& url, wire::HttpRequest request, Done done) override {
    auto parsed = Url::parse(url);
    if (!parsed) return done(std::unexpected(parsed.error()));
    if (!is_sendable(*parsed, request))
      return done(std::unexpected(std::string("the request's line or a header has characters that HTTP does not allow there")));
    const auto start = [&](const auto& exchange) { asio::post(context_, [exchange] { exchange->start(); }); };
    if (parsed->scheme == "http")
      start(std::make_shared<Exchange<Plain>>(context_, tls_, plain_, options_, *std::move(parsed), request, std::move(done)));
    else
      start(std::make_shared<Exchange<Secure>>(context_, tls_, secure_, options_, *std::move(parsed), request, std::move(done)));
  }

 private:
  Options options_;
  asio::io_context context_{1};
  asio::executor_work_guard<asio::io_context::executor_type> work_{context_.get_executor()};
  asio::ssl::context tls_{asio::ssl::context::tls_client};
  // Of the client's thread.
  Kept<Plain> plain_{idle_of(options_)};
  Kept<Secure> secure_{idle_of(options_)};
  std::thread thread_;
};

}  // namespace

std::expected<Url, std::string> Url::parse(const std::string& text) {
  Url url;
  const std::size_t scheme = text.find("://");
  url.scheme = text.substr(0, scheme == std::string::npos ? 0 : scheme);
  if (url.scheme != "http" && url.scheme != "https") return std::unexpected(fmt::format("'{}' is not an http or https URL", text));
  const std::size_t from = scheme + 3;
  const std::size_t slash = text.find_first_of("/?", from);
  const std::string authority = text.substr(from, slash == std::string::npos ? slash : slash - from);
  url.target = slash == std::string::npos ? "/" : text.substr(slash);
  if (url.target.front() == '?') url.target.insert(0, "/");
  const std::size_t bracket = authority.rfind(']');
  const std::size_t colon = authority.rfind(':');
  const bool has_port = colon != std::string::npos && (bracket == std::string::npos || colon > bracket);
  url.host = authority.substr(0, has_port ? colon : std::string::npos);
  url.port = has_port ? authority.substr(colon + 1) : url.scheme == "https" ? "443" : "80";
  if (url.host.size() > 2 && url.host.front() == '[') url.host = url.host.substr(1, url.host.size() - 2);
  if (url.host.empty() || url.port.empty()) return std::unexpected(fmt::format("'{}' names no host", text));
  return url;
}

std::unique_ptr<Client> Client::create(const Options& options) { return std::make_unique<BeastClient>(options); }

}  // namespace snapward::net
