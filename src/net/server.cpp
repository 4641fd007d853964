#include "net/server.hpp"

#include <fmt/format.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>
#include <thread>

namespace snapward::net {

namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using tcp = asio::ip::tcp;
using Socket = asio::basic_stream_socket<tcp, asio::io_context::executor_type>;
using Stream = beast::basic_stream<tcp, asio::io_context::executor_type>;

constexpr std::uint32_t kMaxHeader = 16 * 1024;
constexpr std::uint64_t kMaxBody = 8'388'608;
constexpr auto kIdle = std::chrono::seconds(75);

using Refusal = std::function<wire::HttpResponse(int status, const std::string& message)>;

wire::HttpResponse plain_refusal(int status, const std::string& message) {
  wire::HttpResponse response;
  response.status = status;
  response.headers.add("Content-Type", "text/plain");
  response.body = message + '\n';
  return response;
}

struct Traffic {
  std::atomic<bool> draining = false;
  std::atomic<int> requests = 0;  // taken in, not yet answered
};

class Session : public std::enable_shared_from_this<Session> {
 public:
  Session(Socket socket, asio::io_context& context, const Server::Handler& handler, const Refusal& refusal, Traffic& traffic)
      : stream_(std::move(socket)), context_(context), handler_(handler), refusal_(refusal), traffic_(traffic) {}
  ~Session() {  // its request may have been given up by whoever was to answer it
    if (counted_) --traffic_.requests;
  }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  void read() {
    parser_.emplace();
    parser_->header_limit(kMaxHeader);
    parser_->body_limit(kMaxBody);
    stream_.expires_after(kIdle);
    http::async_read_header(stream_, buffer_, *parser_,
                            [self = shared_from_this()](beast::error_code error, std::size_t) { self->got_header(error); });
  }

 private:
  void got_header(beast::error_code error) {
    if (error) return refuse(error);
    if (iequals(std::string_view(parser_->get()[http::field::expect]), "100-continue")) {
      // Small enough to send without waiting for it to be written.
      static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
      beast::error_code ignored;
      stream_.socket().write_some(asio::buffer(kContinue), ignored);
    }
    http::async_read(stream_, buffer_, *parser_, [self = shared_from_this()](beast::error_code e, std::size_t) { self->got(e); });
  }

  void got(beast::error_code error) {
    if (error) return refuse(error);
    auto message = parser_->release();
    keep_alive_ = message.keep_alive();
    version_ = message.version();
    head_ = message.method() == http::verb::head;
    wire::HttpRequest request;
    request.method = std::string_view(message.method_string());
    request.target = std::string_view(message.target());
    for (const auto& field : message)
      request.headers.add(std::string(std::string_view(field.name_string())), std::string(std::string_view(field.value())));
    request.body = std::move(message.body());
    ++traffic_.requests;
    counted_ = true;
    stream_.expires_never();  // the answer takes what it takes: long polls
    handler_(std::move(request), [self = shared_from_this()](Server::Answer answer) {
      asio::post(self->context_, [self, answer = std::move(answer)] { self->write(answer()); });
    });
  }

  void refuse(beast::error_code error) {
    if (error == http::error::end_of_stream || error == asio::error::operation_aborted || error == beast::error::timeout ||
        error == asio::error::connection_reset)
      return close();
    keep_alive_ = false;
    const bool large = error == http::error::body_limit || error == http::error::header_limit;
    wire::HttpResponse response =
        refusal_(large ? 413 : 400, large ? "The request is larger than this server takes (16 KiB of headers, 8 MiB of body)."
                                          : fmt::format("The request cannot be read: {}.", error.message()));
    write(std::move(response));
  }

  void write(wire::HttpResponse response) {
    message_.emplace();
    message_->version(version_);
    message_->result(static_cast<unsigned>(response.status));
    message_->set(http::field::server, "Snapward/" SNAPWARD_VERSION);
    for (auto& [name, value] : response.headers.list) message_->insert(name, value);
    if (traffic_.draining) keep_alive_ = false;
    message_->keep_alive(keep_alive_);
    message_->body() = std::move(response.body);
    message_->prepare_payload();
    if (head_) message_->body().clear();
    stream_.expires_after(kIdle);
    http::async_write(stream_, *message_, [self = shared_from_this()](beast::error_code error, std::size_t) {
      if (std::exchange(self->counted_, false)) --self->traffic_.requests;
      if (error || !self->keep_alive_) return self->close();
      self->read();
    });
  }

  void close() {
    beast::error_code ignored;
    stream_.socket().shutdown(tcp::socket::shutdown_send, ignored);
  }

  Stream stream_;
  asio::io_context& context_;
  const Server::Handler& handler_;
  const Refusal& refusal_;
  Traffic& traffic_;
  beast::flat_buffer buffer_;
  std::optional<http::request_parser<http::string_body>> parser_;
  std::optional<http::response<http::string_body>> message_;
  bool keep_alive_ = true, head_ = false, counted_ = false;
  unsigned version_ = 11;
};

class BeastServer final : public Server {
 public:
  BeastServer(Handler handler, Refusal refusal) : handler_(std::move(handler)), refusal_(refusal ? std::move(refusal) : plain_refusal) {}
  ~BeastServer() override { stop(); }

  Result<void> open(const Options& options) {
    beast::error_code error;
    const auto address = asio::ip::make_address(options.address, error);
    if (error) return invalid(fmt::format("'{}' is not an IP address", options.address));
    const tcp::endpoint endpoint(address, options.port);
    const auto trouble = [&] {
      return fail(ErrorCode::unavailable,
                  fmt::format("cannot listen on {}:{}: {}; is another server running? choose another port with --port", options.address,
                              options.port, error.message()));
    };
    acceptor_.open(endpoint.protocol(), error);
    if (error) return trouble();
    acceptor_.set_option(asio::socket_base::reuse_address(true), error);
    acceptor_.bind(endpoint, error);
    if (error) return trouble();
    acceptor_.listen(asio::socket_base::max_listen_connections, error);
    if (error) return trouble();
    return {};
  }

  void start() override {
    accept();
    thread_ = std::thread([this] { context_.run(); });
  }
  int drain(std::chrono::milliseconds at_most) override {
    traffic_.draining = true;
    asio::post(context_, [this] {
      beast::error_code ignored;
      acceptor_.close(ignored);
    });
    const auto end = std::chrono::steady_clock::now() + at_most;
    while (traffic_.requests > 0 && std::chrono::steady_clock::now() < end) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    return traffic_.requests;
  }
  void stop() override {
    context_.stop();
    if (thread_.joinable()) thread_.join();
  }
  [[nodiscard]] std::uint16_t port() const override { return acceptor_.local_endpoint().port(); }

 private:
  void accept() {
    acceptor_.async_accept([this](beast::error_code error, Socket socket) {
      if (error == asio::error::operation_aborted || !acceptor_.is_open()) return;
      if (!error) {
        beast::error_code ignored;
        socket.set_option(tcp::no_delay(true), ignored);
        std::make_shared<Session>(std::move(socket), context_, handler_, refusal_, traffic_)->read();
      }
      accept();
    });
  }

  asio::io_context context_{1};
  asio::basic_socket_acceptor<tcp, asio::io_context::executor_type> acceptor_{context_};
  Handler handler_;
  Refusal refusal_;
  Traffic traffic_;
  std::thread thread_;
};

}  // namespace

Result<std::unique_ptr<Server>> Server::listen(const Options& options, Handler handler) {
  auto server = std::make_unique<BeastServer>(std::move(handler), options.refusal);
  if (auto opened = server->open(options); !opened) return std::unexpected(opened.error());
  return std::unique_ptr<Server>(std::move(server));
}

}  // namespace snapward::net
