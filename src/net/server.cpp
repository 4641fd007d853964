#include "net/server.hpp"

#include <fmt/format.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>
#include <list>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "base/thread_name.hpp"

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
constexpr auto kYoung = std::chrono::seconds(1);         // a connection that has waited less makes no room for another
constexpr auto kPause = std::chrono::milliseconds(100);  // before it is looked again whether one can be accepted
constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";

using Refusal = std::function<wire::HttpResponse(int status, const std::string& message)>;

wire::HttpResponse plain_refusal(int status, const std::string& message) {
  wire::HttpResponse response;
  response.status = status;
  response.headers.add("Content-Type", "text/plain");
  response.body = message + '\n';
  return response;
}

class Session;

// What a server's sessions share. On the server's thread, but for what says otherwise.
struct Hall {
  Hall(const Server::Handler& h, const Refusal& r) : handler(h), refusal(r) {}
  const Server::Handler& handler;
  const Refusal& refusal;
  std::set<std::shared_ptr<Session>> asking;  // their requests are with the handler
  std::list<Session*> waiting;                // for a request, or the rest of one; the one that waits longest first
  std::map<asio::ip::address, std::size_t> connections_from;
  std::size_t connections = 0;
  std::function<void()> on_leaving;    // a connection has ended
  std::atomic<bool> draining = false;  // from any thread
  std::atomic<int> requests = 0;       // taken in, not yet answered; from any thread
};

// Where answers come back in, from any thread and at any time: when the server is gone they go nowhere.
struct Door {
  std::mutex mutex;
  asio::io_context* context = nullptr;
  template <class Work>
  void post(Work work) {
    const std::lock_guard lock(mutex);
    if (context) asio::post(*context, std::move(work));
  }
};

class Session : public std::enable_shared_from_this<Session> {
 public:
  Session(Socket socket, asio::ip::address from, Hall& hall, std::shared_ptr<Door> door)
      : stream_(std::move(socket)), from_(std::move(from)), hall_(hall), door_(std::move(door)) {
    ++hall_.connections;
    ++hall_.connections_from[from_];
  }
  ~Session() {
    waits_no_more();
    --hall_.connections;
    if (const auto others = hall_.connections_from.find(from_); --others->second == 0) hall_.connections_from.erase(others);
    if (hall_.on_leaving) hall_.on_leaving();
  }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  void read() {
    parser_.emplace();
    parser_->header_limit(kMaxHeader);
    parser_->body_limit(kMaxBody);
    waits();
    stream_.expires_after(kIdle);
    http::async_read_header(stream_, buffer_, *parser_,
                            [self = shared_from_this()](beast::error_code error, std::size_t) { self->got_header(error); });
  }

  void answer(wire::HttpResponse response) {
    hall_.asking.erase(shared_from_this());
    write(std::move(response));
  }
  // Since when it has been waiting for a request.
  [[nodiscard]] std::chrono::steady_clock::time_point waiting_since() const { return waiting_since_; }
  // Makes room for another: what it was reading ends.
  void make_way() { stream_.cancel(); }

  // Whoever was to answer has let go of it: the client is not left waiting.
  void give_up() {
    hall_.asking.erase(shared_from_this());
    if (std::exchange(counted_, false)) --hall_.requests;
    close();
  }

 private:
  // A request that waits for its answer.
  struct Pending {
    Pending(std::shared_ptr<Door> d, std::weak_ptr<Session> s) : door(std::move(d)), session(std::move(s)) {}
    ~Pending() {
      if (answered) return;
      door->post([s = session] {
        if (const auto self = s.lock()) self->give_up();
      });
    }
    Pending(const Pending&) = delete;
    Pending& operator=(const Pending&) = delete;
    std::shared_ptr<Door> door;
    std::weak_ptr<Session> session;
    std::atomic<bool> answered = false;
  };

  void waits() {
    waits_no_more();
    waiting_since_ = std::chrono::steady_clock::now();
    place_ = hall_.waiting.insert(hall_.waiting.end(), this);
  }
  void waits_no_more() {
    if (const auto place = std::exchange(place_, std::nullopt)) hall_.waiting.erase(*place);
  }

  void got_header(beast::error_code error) {
    if (error) return refuse(error);
    const auto& header = parser_->get();
    version_ = header.version();
    // More than the parser asks for: what is read in two ways by two servers is read by none.
    const auto hosts = header.count(http::field::host), codings = header.count(http::field::transfer_encoding);
    if (hosts > 1 || (hosts == 0 && version_ >= 11)) return refuse(400, "The request cannot be read: it must have one Host.");
    if (codings > 1 || (codings == 1 && !iequals(trim(std::string_view(header[http::field::transfer_encoding])), "chunked")))
      return refuse(501, "The only Transfer-Encoding that this server knows is chunked.");
    stream_.expires_after(kIdle);
    if (!iequals(std::string_view(header[http::field::expect]), "100-continue")) return read_body();
    asio::async_write(stream_, asio::buffer(kContinue), [self = shared_from_this()](beast::error_code e, std::size_t) {
      if (e) return self->close();
      self->read_body();
    });
  }

  void read_body() {
    http::async_read(stream_, buffer_, *parser_, [self = shared_from_this()](beast::error_code e, std::size_t) { self->got(e); });
  }

  void got(beast::error_code error) {
    if (error) return refuse(error);
    waits_no_more();
    auto message = parser_->release();
    keep_alive_ = message.keep_alive();
    head_ = message.method() == http::verb::head;
    wire::HttpRequest request;
    request.method = std::string_view(message.method_string());
    request.target = std::string_view(message.target());
    for (const auto& field : message)
      request.headers.add(std::string(std::string_view(field.name_string())), std::string(std::string_view(field.value())));
    request.body = std::move(message.body());
    ++hall_.requests;
    counted_ = true;
    stream_.expires_never();  // the answer takes what it takes: long polls
    hall_.asking.insert(shared_from_this());
    hall_.handler(std::move(request), [pending = std::make_shared<Pending>(door_, weak_from_this())](Server::Answer answer) {
      pending->answered = true;
      pending->door->post([session = pending->session, answer = std::move(answer)] {
        if (const auto self = session.lock()) self->answer(answer());
      });
    });
  }

  void refuse(beast::error_code error) {
    if (error == http::error::end_of_stream || error == asio::error::operation_aborted || error == beast::error::timeout ||
        error == asio::error::connection_reset)
      return close();
    if (error == http::error::body_limit || error == http::error::header_limit)
      return refuse(413, "The request is larger than this server takes (16 KiB of headers, 8 MiB of body).");
    refuse(400, fmt::format("The request cannot be read: {}.", error.message()));
  }
  // What comes after it on the connection cannot be told from its body.
  void refuse(int status, const std::string& message) {
    waits_no_more();
    keep_alive_ = false;
    write(hall_.refusal(status, message));
  }

  void write(wire::HttpResponse response) {
    message_.emplace();
    message_->version(version_);
    message_->result(static_cast<unsigned>(response.status));
    message_->set(http::field::server, "Snapward/" SNAPWARD_VERSION);
    for (auto& [name, value] : response.headers.list) message_->insert(name, value);
    if (hall_.draining) keep_alive_ = false;
    message_->keep_alive(keep_alive_);
    message_->body() = std::move(response.body);
    message_->prepare_payload();
    if (head_) message_->body().clear();
    stream_.expires_after(kIdle);
    http::async_write(stream_, *message_, [self = shared_from_this()](beast::error_code error, std::size_t) {
      if (std::exchange(self->counted_, false)) --self->hall_.requests;
      if (error || !self->keep_alive_) return self->close();
      self->read();
    });
  }

  void close() {
    beast::error_code ignored;
    stream_.socket().shutdown(tcp::socket::shutdown_send, ignored);
  }

  Stream stream_;
  asio::ip::address from_;
  Hall& hall_;
  std::shared_ptr<Door> door_;
  beast::flat_buffer buffer_;
  std::optional<http::request_parser<http::string_body>> parser_;
  std::optional<http::response<http::string_body>> message_;
  std::optional<std::list<Session*>::iterator> place_;  // among those that wait
  std::chrono::steady_clock::time_point waiting_since_;
  bool keep_alive_ = true, head_ = false, counted_ = false;
  unsigned version_ = 11;
};

class BeastServer final : public Server {
 public:
  BeastServer(Handler handler, const Options& options)
      : most_connections_(options.most_connections),
        most_from_one_address_(options.most_from_one_address),
        handler_(std::move(handler)),
        refusal_(options.refusal ? options.refusal : plain_refusal),
        hall_(handler_, refusal_) {
    door_->context = &context_;
    hall_.on_leaving = [this] {
      if (std::exchange(full_, false)) accept();
    };
  }
  ~BeastServer() override {
    stop();
    hall_.on_leaving = {};
    hall_.asking.clear();
  }

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
    thread_ = std::thread([this] {
      name_this_thread("http-server");
      context_.run();
    });
  }
  int drain(std::chrono::milliseconds at_most) override {
    hall_.draining = true;
    asio::post(context_, [this] {
      beast::error_code ignored;
      acceptor_.close(ignored);
    });
    const auto end = std::chrono::steady_clock::now() + at_most;
    while (hall_.requests > 0 && std::chrono::steady_clock::now() < end) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    return hall_.requests;
  }
  void stop() override {
    {
      const std::lock_guard lock(door_->mutex);
      door_->context = nullptr;
    }
    context_.stop();
    if (thread_.joinable()) thread_.join();
  }
  [[nodiscard]] std::uint16_t port() const override { return acceptor_.local_endpoint().port(); }

 private:
  void accept() {
    if (hall_.connections >= most_connections_) {
      full_ = true;
      return make_room_for_next();
    }
    acceptor_.async_accept([this](beast::error_code error, Socket socket) {
      if (error == asio::error::operation_aborted || !acceptor_.is_open()) return;
      // No descriptor is left, or no memory: asking again at once would only spin.
      if (error && error != asio::error::connection_aborted) return after_a_pause([this] { accept(); });
      if (!error) take_in(std::move(socket));
      accept();
    });
  }

  void take_in(Socket socket) {
    beast::error_code error;
    const tcp::endpoint from = socket.remote_endpoint(error);
    const auto others = hall_.connections_from.find(from.address());
    if (error || (others != hall_.connections_from.end() && others->second >= most_from_one_address_)) return;
    socket.set_option(tcp::no_delay(true), error);
    std::make_shared<Session>(std::move(socket), from.address(), hall_, door_)->read();
  }

  // When another asks to come in: on_leaving goes on with it.
  void make_room_for_next() {
    if (std::exchange(looks_for_room_, true)) return;
    acceptor_.async_wait(tcp::acceptor::wait_read, [this](beast::error_code error) {
      looks_for_room_ = false;
      if (error || !full_) return;
      const auto now = std::chrono::steady_clock::now();
      if (!hall_.waiting.empty() && now - hall_.waiting.front()->waiting_since() >= kYoung) hall_.waiting.front()->make_way();
      after_a_pause([this] {
        if (full_) make_room_for_next();
      });
    });
  }

  template <class Work>
  void after_a_pause(Work work) {
    pause_.expires_after(kPause);
    pause_.async_wait([work = std::move(work), this](beast::error_code error) {
      if (!error && acceptor_.is_open()) work();
    });
  }

  std::size_t most_connections_, most_from_one_address_;
  bool full_ = false;            // none is accepted until one ends
  bool looks_for_room_ = false;  // waits for one that asks to come in
  Handler handler_;
  Refusal refusal_;
  std::shared_ptr<Door> door_ = std::make_shared<Door>();
  Hall hall_;  // before the context: what waits there are sessions
  asio::io_context context_{1};
  asio::executor_work_guard<asio::io_context::executor_type> work_{context_.get_executor()};  // also while it only waits for answers
  asio::basic_socket_acceptor<tcp, asio::io_context::executor_type> acceptor_{context_};
  asio::basic_waitable_timer<std::chrono::steady_clock, asio::wait_traits<std::chrono::steady_clock>, asio::io_context::executor_type>
      pause_{context_};
  std::thread thread_;
};

}  // namespace

Result<std::unique_ptr<Server>> Server::listen(const Options& options, Handler handler) {
  auto server = std::make_unique<BeastServer>(std::move(handler), options);
  if (auto opened = server->open(options); !opened) return std::unexpected(opened.error());
  return std::unique_ptr<Server>(std::move(server));
}

}  // namespace snapward::net
