// A function against a Runtime API of the test's own.
#include "lambda/function.hpp"

#include <gtest/gtest.h>

#include "base/entropy.hpp"
#include "net/server.hpp"

namespace snapward::lambda {
namespace {

struct FunctionTest : testing::Test {
  SystemClock clock;
  SystemEntropy entropy;
  engine::Loop loop{clock, entropy};
  std::vector<std::string> events;  // given one after another; then there is no more
  std::vector<wire::HttpRequest> told;
  std::unique_ptr<net::Server> api = *net::Server::listen({.address = "127.0.0.1", .port = 0}, [this](wire::HttpRequest request,
                                                                                                      const net::Server::Respond& respond) {
    wire::HttpResponse response{.status = 202, .headers = {}, .body = R"({"status":"OK"})"};
    if (request.path() == "/2018-06-01/runtime/invocation/next") {
      response = {.status = given_ < events.size() ? 200 : 410, .headers = {}, .body = given_ < events.size() ? events[given_] : "gone"};
      response.headers.add("Lambda-Runtime-Aws-Request-Id", "id-" + std::to_string(given_++));
    } else {
      told.push_back(std::move(request));
    }
    respond([response] { return response; });
  });
  std::unique_ptr<net::Client> client = net::Client::create({.longest = std::chrono::seconds(10), .keep = net::Client::Keep::always});
  std::string address = "127.0.0.1:" + std::to_string(api->port());
  std::size_t given_ = 0;

  FunctionTest() { api->start(); }
  std::string finish(Task<std::string> work) {
    std::string why;
    loop.post([&, task = std::make_shared<Task<std::string>>(std::move(work))] {
      loop.spawn(std::move(*task), [&](std::string said) {
        why = std::move(said);
        loop.stop();
      });
    });
    loop.run();
    return why;
  }
  static Task<snapshots::TaskResult> task(Json event) {
    if (event["n"].integer_or(0) == 2) co_return std::unexpected(snapshots::TaskError{"Snapward.Throttled", "slower, please"});
    co_return Json::object({{"n", event["n"]}});
  }
};

TEST_F(FunctionTest, AnswersOneEventAfterAnother) {
  events = {R"({"n":1})", R"({"n":2})", "{", R"({"n":4})"};
  Function function(loop, *client, address, task);
  EXPECT_EQ(finish(function.run()), "the Runtime API has no event: HTTP status 410, gone");
  ASSERT_EQ(told.size(), 4U);
  EXPECT_EQ(told[0].path(), "/2018-06-01/runtime/invocation/id-0/response");
  EXPECT_EQ(told[0].body, R"({"n":1})");
  EXPECT_EQ(told[1].path(), "/2018-06-01/runtime/invocation/id-1/error");
  EXPECT_EQ(told[1].body, R"({"errorType":"Snapward.Throttled","errorMessage":"slower, please","stackTrace":[]})");
  EXPECT_EQ(told[1].headers.get("Lambda-Runtime-Function-Error-Type"), "Snapward.Throttled");
  EXPECT_EQ(told[2].path(), "/2018-06-01/runtime/invocation/id-2/error");
  EXPECT_EQ((*Json::parse(told[2].body))["errorType"].string_or(), "Snapward.InvalidInput");
  EXPECT_EQ(told[3].body, R"({"n":4})");
}

TEST_F(FunctionTest, SaysThatItCannotWork) {
  Function function(loop, *client, address, {});
  EXPECT_EQ(finish(function.refuse("Runtime.NoSuchHandler", "there is no task 'x'")), "there is no task 'x'");
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0].path(), "/2018-06-01/runtime/init/error");
  api.reset();
  const std::string why = finish(function.run());
  EXPECT_TRUE(why.starts_with("the Runtime API is gone: 127.0.0.1")) << why;
}

}  // namespace
}  // namespace snapward::lambda
