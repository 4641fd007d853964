#include "net/client.hpp"

#include <fmt/format.h>

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

// One request over a connection of its own, with TLS.
class SecureExchange : public std::enable_shared_from_this<SecureExchange> {
 public:
  SecureExchange(asio::io_context& context, asio::ssl::context& tls, std::chrono::milliseconds longest, Url url,
                 const wire::HttpRequest& request, Client::Done done)
      : resolver_(context),
        stream_(context, tls),
        longest_(longest),
        url_(std::move(url)),
        done_(std::move(done)),
        request_(text_of(url_, request, false)) {
    prepare(parser_, request.method == "HEAD");
  }

  void start() {
    SSL_set_tlsext_host_name(stream_.native_handle(), url_.host.c_str());
    stream_.set_verify_callback(asio::ssl::host_name_verification(url_.host));
    resolver_.async_resolve(
        url_.host, url_.port, [self = shared_from_this()](beast::error_code error, const tcp::resolver::results_type& found) {
          if (error) return self->fail("its name cannot be resolved", error);
          beast::get_lowest_layer(self->stream_).expires_after(self->longest_);
          beast::get_lowest_layer(self->stream_).async_connect(found, [self](beast::error_code e, const tcp::endpoint&) {
            if (e) return self->fail("no connection", e);
            self->stream_.async_handshake(asio::ssl::stream_base::client, [self](beast::error_code e2) {
              if (e2) return self->fail("no TLS session", e2);
              self->write();
            });
          });
        });
  }

 private:
  void write() {
    asio::async_write(stream_, asio::buffer(request_), [self = shared_from_this()](beast::error_code error, std::size_t) {
      if (error) return self->fail("the request could not be sent", error);
      http::async_read(self->stream_, self->buffer_, *self->parser_, [self](beast::error_code e, std::size_t) {
        if (e) return self->fail("no answer", e);
        self->done_(response_of(*self->parser_));
      });
    });
  }
  void fail(const char* what, beast::error_code error) { done_(trouble(url_, what, error)); }

  tcp::resolver resolver_;
  beast::ssl_stream<beast::tcp_stream> stream_;
  std::chrono::milliseconds longest_;
  Url url_;
  Client::Done done_;
  std::string request_;
  std::optional<Parser> parser_;
  beast::flat_buffer buffer_;
};

// Connections that wait for their next request, by host and port.
using Kept = std::map<std::string, std::vector<beast::tcp_stream>>;
constexpr std::size_t kMostKept = 64;  // of one host

// One request without TLS; where connections are kept, over one that may have served others.
class PlainExchange : public std::enable_shared_from_this<PlainExchange> {
 public:
  PlainExchange(asio::io_context& context, Kept& kept, const Client::Options& options, Url url, const wire::HttpRequest& request,
                Client::Done done)
      : context_(context),
        kept_(kept),
        options_(options),
        url_(std::move(url)),
        done_(std::move(done)),
        head_(request.method == "HEAD"),
        request_(text_of(url_, request, options.keep_connections)) {}

  void start() {
    auto& free = kept_[url_.host + ':' + url_.port];
    used_before_ = !free.empty();
    if (!used_before_) return connect();
    stream_.emplace(std::move(free.back()));
    free.pop_back();
    exchange();
  }

 private:
  void connect() {
    used_before_ = false;
    stream_.emplace(context_);
    resolver_.emplace(context_);
    resolver_->async_resolve(url_.host, url_.port,
                             [self = shared_from_this()](beast::error_code error, const tcp::resolver::results_type& found) {
                               if (error) return self->fail("its name cannot be resolved", error);
                               self->stream_->expires_after(self->options_.longest);
                               self->stream_->async_connect(found, [self](beast::error_code e, const tcp::endpoint&) {
                                 if (e) return self->fail("no connection", e);
                                 beast::error_code ignored;
                                 self->stream_->socket().set_option(tcp::no_delay(true), ignored);
                                 self->exchange();
                               });
                             });
  }
  void exchange() {
    prepare(parser_, head_);
    buffer_.clear();
    stream_->expires_after(options_.longest);
    asio::async_write(*stream_, asio::buffer(request_), [self = shared_from_this()](beast::error_code error, std::size_t) {
      if (error) return self->used_before_ ? self->connect() : self->fail("the request could not be sent", error);
      http::async_read(*self->stream_, self->buffer_, *self->parser_, [self](beast::error_code e, std::size_t) {
        // The other side closed it while it waited: nothing of an answer came.
        if (e && self->used_before_ && !self->parser_->got_some() && e != beast::error::timeout) return self->connect();
        if (e) return self->fail("no answer", e);
        const bool keep = self->options_.keep_connections && self->parser_->get().keep_alive();
        wire::HttpResponse response = response_of(*self->parser_);
        auto& free = self->kept_[self->url_.host + ':' + self->url_.port];
        if (keep && free.size() < kMostKept) {
          self->stream_->expires_never();
          free.push_back(std::move(*self->stream_));
        }
        self->done_(std::move(response));
      });
    });
  }
  void fail(const char* what, beast::error_code error) { done_(trouble(url_, what, error)); }

  asio::io_context& context_;
  Kept& kept_;
  Client::Options options_;
  Url url_;
  Client::Done done_;
  bool head_;
  std::string request_;
  std::optional<tcp::resolver> resolver_;
  std::optional<beast::tcp_stream> stream_;
  std::optional<Parser> parser_;
  beast::flat_buffer buffer_;
  bool used_before_ = false;
};

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
    const auto start = [&](const auto& exchange) { asio::post(context_, [exchange] { exchange->start(); }); };
    if (parsed->scheme == "http")
      start(std::make_shared<PlainExchange>(context_, kept_, options_, *std::move(parsed), request, std::move(done)));
    else
      start(std::make_shared<SecureExchange>(context_, tls_, options_.longest, *std::move(parsed), request, std::move(done)));
  }

 private:
  Options options_;
  asio::io_context context_{1};
  asio::executor_work_guard<asio::io_context::executor_type> work_{context_.get_executor()};
  asio::ssl::context tls_{asio::ssl::context::tls_client};
  Kept kept_;  // of the client's thread
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
