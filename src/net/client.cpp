#include "net/client.hpp"

#include <fmt/format.h>

#include <boost/asio/connect.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl/ssl_stream.hpp>
#include <thread>

namespace snapward::net {

namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using tcp = asio::ip::tcp;

constexpr auto kTimeout = std::chrono::seconds(15);
constexpr std::uint64_t kMaxBody = 8'388'608;

class Exchange : public std::enable_shared_from_this<Exchange> {
 public:
  Exchange(asio::io_context& context, asio::ssl::context& tls, Url url, wire::HttpRequest request, Client::Done done)
      : resolver_(context), stream_(context, tls), url_(std::move(url)), done_(std::move(done)), secure_(url_.scheme == "https") {
    message_.version(11);
    message_.method_string(request.method);
    message_.target(request.target.size() > 1 ? request.target : url_.target);
    for (auto& [name, value] : request.headers.list) message_.insert(name, value);
    const bool plain_port = url_.port == (secure_ ? "443" : "80");
    if (message_[http::field::host].empty()) message_.set(http::field::host, plain_port ? url_.host : url_.host + ':' + url_.port);
    message_.body() = std::move(request.body);
    message_.keep_alive(false);
    message_.prepare_payload();
    parser_.body_limit(kMaxBody);
  }

  void start() {
    if (secure_) {
      SSL_set_tlsext_host_name(stream_.native_handle(), url_.host.c_str());
      stream_.set_verify_callback(asio::ssl::host_name_verification(url_.host));
    }
    resolver_.async_resolve(
        url_.host, url_.port, [self = shared_from_this()](beast::error_code error, const tcp::resolver::results_type& found) {
          if (error) return self->fail("its name cannot be resolved", error);
          beast::get_lowest_layer(self->stream_).expires_after(kTimeout);
          beast::get_lowest_layer(self->stream_).async_connect(found, [self](beast::error_code e, const tcp::endpoint&) {
            if (e) return self->fail("no connection", e);
            if (!self->secure_) return self->write(beast::get_lowest_layer(self->stream_));
            self->stream_.async_handshake(asio::ssl::stream_base::client, [self](beast::error_code e2) {
              if (e2) return self->fail("no TLS session", e2);
              self->write(self->stream_);
            });
          });
        });
  }

 private:
  template <class S>
  void write(S& stream) {
    http::async_write(stream, message_, [self = shared_from_this(), &stream](beast::error_code error, std::size_t) {
      if (error) return self->fail("the request could not be sent", error);
      http::async_read(stream, self->buffer_, self->parser_, [self](beast::error_code e, std::size_t) {
        if (e) return self->fail("no answer", e);
        auto& message = self->parser_.get();
        wire::HttpResponse response;
        response.status = static_cast<int>(message.result_int());
        for (const auto& field : message)
          response.headers.add(std::string(std::string_view(field.name_string())), std::string(std::string_view(field.value())));
        response.body = std::move(message.body());
        self->done_(std::move(response));
      });
    });
  }
  void fail(const char* what, beast::error_code error) {
    done_(std::unexpected(fmt::format("{}:{}: {} ({})", url_.host, url_.port, what, error.message())));
  }

  tcp::resolver resolver_;
  beast::ssl_stream<beast::tcp_stream> stream_;
  Url url_;
  Client::Done done_;
  bool secure_;
  http::request<http::string_body> message_;
  http::response_parser<http::string_body> parser_;
  beast::flat_buffer buffer_;
};

class BeastClient final : public Client {
 public:
  BeastClient() {
    tls_.set_default_verify_paths();
    tls_.set_verify_mode(asio::ssl::verify_peer);
    thread_ = std::thread([this] { context_.run(); });
  }
  ~BeastClient() override {
    context_.stop();
    thread_.join();
  }
  void send(const std::string& url, wire::HttpRequest request, Done done) override {
    auto parsed = Url::parse(url);
    if (!parsed) return done(std::unexpected(parsed.error()));
    auto exchange = std::make_shared<Exchange>(context_, tls_, *std::move(parsed), std::move(request), std::move(done));
    asio::post(context_, [exchange] { exchange->start(); });
  }

 private:
  asio::io_context context_{1};
  asio::executor_work_guard<asio::io_context::executor_type> work_{context_.get_executor()};
  asio::ssl::context tls_{asio::ssl::context::tls_client};
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

std::unique_ptr<Client> Client::create() { return std::make_unique<BeastClient>(); }

}  // namespace snapward::net
