// The HTTP server and the client, against each other.
#include "net/server.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <condition_variable>
#include <mutex>
#include <vector>

#include "net/client.hpp"

namespace snapward::net {
namespace {

struct Exchange {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<Server::Respond> asked;
  std::vector<std::string> heard;
  std::unique_ptr<Server> server;
  std::unique_ptr<Client> client = Client::create({.longest = std::chrono::seconds(10)});

  explicit Exchange(std::size_t most_connections = 16) {
    auto listening = Server::listen({.address = "127.0.0.1", .port = 0, .most_connections = most_connections},
                                    [this](const wire::HttpRequest&, Server::Respond respond) {
                                      const std::lock_guard lock(mutex);
                                      asked.push_back(std::move(respond));
                                      changed.notify_all();
                                    });
    server = *std::move(listening);
    server->start();
  }
  void send() {
    client->send("http://127.0.0.1:" + std::to_string(server->port()), {.method = "GET", .target = "/", .headers = {}, .body = {}},
                 [this](const auto& outcome) {
                   const std::lock_guard lock(mutex);
                   heard.push_back(outcome ? outcome->body : "no answer");
                   changed.notify_all();
                 });
  }
  // Whether it comes to that in time.
  template <class Condition>
  bool comes(Condition condition, std::chrono::milliseconds at_most = std::chrono::seconds(5)) {
    std::unique_lock lock(mutex);
    return changed.wait_for(lock, at_most, condition);
  }
  static wire::HttpResponse saying(std::string body) { return {.status = 200, .headers = {}, .body = std::move(body)}; }
};

TEST(ServerTest, AnAnswerThatIsGivenUpEndsTheConnection) {
  Exchange x;
  x.send();
  ASSERT_TRUE(x.comes([&] { return x.asked.size() == 1; }));
  {
    const std::lock_guard lock(x.mutex);
    x.asked.clear();
  }
  ASSERT_TRUE(x.comes([&] { return x.heard.size() == 1; }));
  EXPECT_EQ(x.heard[0], "no answer");
  EXPECT_EQ(x.server->drain(std::chrono::milliseconds(500)), 0) << "it is not waited for";
}

TEST(ServerTest, AnAnswerToAServerThatIsGoneGoesNowhere) {
  Exchange x;
  x.send();
  x.send();
  ASSERT_TRUE(x.comes([&] { return x.asked.size() == 2; }));
  x.server.reset();
  x.asked[0]([] { return Exchange::saying("late"); });
  x.asked.clear();
  ASSERT_TRUE(x.comes([&] { return x.heard.size() == 2; }));
  EXPECT_EQ(x.heard, (std::vector<std::string>{"no answer", "no answer"}));
}

TEST(ServerTest, MoreConnectionsThanItTakesWait) {
  Exchange x(2);
  for (int i = 0; i < 5; ++i) x.send();
  ASSERT_TRUE(x.comes([&] { return x.asked.size() == 2; }));
  EXPECT_FALSE(x.comes([&] { return x.asked.size() > 2; }, std::chrono::milliseconds(200)));
  for (std::size_t i = 0; i < 5; ++i) {
    ASSERT_TRUE(x.comes([&] { return x.asked.size() > i; }));
    Server::Respond respond;
    {
      const std::lock_guard lock(x.mutex);
      respond = x.asked[i];
    }
    respond([i] { return Exchange::saying(std::to_string(i)); });
  }
  ASSERT_TRUE(x.comes([&] { return x.heard.size() == 5; }));
  EXPECT_EQ(std::ranges::count(x.heard, "no answer"), 0);
}

// A client that is no client of ours: bytes out, bytes in.
class Wire {
 public:
  explicit Wire(std::uint16_t port, int receive_buffer = 0) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    if (receive_buffer > 0) ::setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(socket_, reinterpret_cast<const sockaddr*>(&to), sizeof to), 0);
    const timeval patience{.tv_sec = 5, .tv_usec = 0};
    ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  }
  ~Wire() { ::close(socket_); }
  Wire(const Wire&) = delete;
  Wire& operator=(const Wire&) = delete;
  // As much as goes without waiting.
  std::size_t send(const std::string& bytes) {
    const ssize_t n = ::send(socket_, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    return n < 0 ? 0 : static_cast<std::size_t>(n);
  }
  std::string receive() {
    std::array<char, 4096> bytes{};
    const ssize_t n = ::recv(socket_, bytes.data(), bytes.size(), 0);
    return n > 0 ? std::string(bytes.data(), static_cast<std::size_t>(n)) : n == 0 ? "closed" : "nothing";
  }

 private:
  int socket_;
};

// Answers at once.
struct Echo {
  std::unique_ptr<Server> server;
  explicit Echo(Server::Options options = {}) {
    options.port = 0;
    server = *Server::listen(options, [](const wire::HttpRequest& request, const Server::Respond& respond) {
      respond([body = request.body] { return Exchange::saying(body.empty() ? std::string(1000, 'x') : body); });
    });
    server->start();
  }
  bool answers() {
    Wire wire(server->port());
    wire.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    return wire.receive().starts_with("HTTP/1.1 200");
  }
};

TEST(ServerTest, AClientThatDoesNotReadDelaysNobodyAndNotTheEnd) {
  Echo echo;
  Wire greedy(echo.server->port(), 4096);
  const std::string plain = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
  const std::string expecting = "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nz";
  for (int i = 0; i < 4000; ++i) greedy.send(plain);
  for (int i = 0; i < 4000; ++i) greedy.send(expecting);
  EXPECT_TRUE(echo.answers());
  const auto begun = std::chrono::steady_clock::now();
  echo.server->drain(std::chrono::milliseconds(200));
  echo.server->stop();
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(2));
}

TEST(ServerTest, ABodyThatIsExpectedIsAskedFor) {
  Echo echo;
  Wire wire(echo.server->port());
  wire.send("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
  EXPECT_EQ(wire.receive(), "HTTP/1.1 100 Continue\r\n\r\n");
  wire.send("hello");
  EXPECT_TRUE(wire.receive().ends_with("hello"));
}

TEST(ServerTest, RequestsThatOtherServersReadInAnotherWayAreRefused) {
  Echo echo;
  const auto status = [&](const std::string& request) {
    Wire wire(echo.server->port());
    wire.send(request);
    const std::string answer = wire.receive();
    return answer.size() > 12 ? answer.substr(9, 3) : answer;
  };
  EXPECT_EQ(status("GET / HTTP/1.1\r\n\r\n"), "400");
  EXPECT_EQ(status("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"), "400");
  EXPECT_EQ(status("GET / HTTP/1.0\r\n\r\n"), "200");
  for (const char* coding : {"xchunked", "identity, chunked", "gzip", "identity", "chunked, identity"}) {
    const std::string code = status(fmt::format("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {}\r\n\r\n0\r\n\r\n", coding));
    EXPECT_TRUE(code == "501" || code == "400") << coding << ": " << code;
  }
  EXPECT_EQ(status("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n1\r\nz\r\n0\r\n\r\n"), "200");
}

TEST(ServerTest, ConnectionsThatOnlyWaitMakeRoom) {
  Echo echo({.most_connections = 3});
  std::vector<std::unique_ptr<Wire>> idle;
  for (int i = 0; i < 3; ++i) idle.push_back(std::make_unique<Wire>(echo.server->port()));
  EXPECT_TRUE(echo.answers());
}

TEST(ServerTest, OneAddressHasNoMoreConnectionsThanItsShare) {
  Echo echo({.most_from_one_address = 2});
  Wire first(echo.server->port()), second(echo.server->port());
  first.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_TRUE(first.receive().starts_with("HTTP/1.1 200"));
  second.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_TRUE(second.receive().starts_with("HTTP/1.1 200"));
  EXPECT_EQ(Wire(echo.server->port()).receive(), "closed");
}

}  // namespace
}  // namespace snapward::net
