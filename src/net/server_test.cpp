// The HTTP server and the client, against each other.
#include "net/server.hpp"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace snapward::net
