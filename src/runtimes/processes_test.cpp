// Functions as processes of this machine: real ones, over Lambda's Runtime API, in real time.
#include "runtimes/processes.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <unistd.h>
#include <zip.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "base/entropy.hpp"
#include "runtimes/archive.hpp"

namespace snapward::runtimes {
namespace {

using services::lambda::Outcome;

std::string zipped(const std::vector<std::pair<std::string, std::string>>& files) {
  zip_error_t error;
  zip_error_init(&error);
  zip_source_t* source = zip_source_buffer_create(nullptr, 0, 0, &error);
  zip_source_keep(source);
  zip_t* archive = zip_open_from_source(source, ZIP_TRUNCATE, &error);
  for (const auto& [name, text] : files) {
    const auto at = zip_file_add(archive, name.c_str(), zip_source_buffer(archive, text.data(), text.size(), 0), 0);
    zip_file_set_external_attributes(archive, static_cast<zip_uint64_t>(at), 0, ZIP_OPSYS_UNIX, 0100755U << 16U);
  }
  zip_close(archive);
  zip_source_open(source);
  zip_source_seek(source, 0, SEEK_END);
  std::string out(static_cast<std::size_t>(zip_source_tell(source)), '\0');
  zip_source_seek(source, 0, SEEK_SET);
  zip_source_read(source, out.data(), out.size());
  zip_source_close(source);
  zip_source_free(source);
  return out;
}

struct Folder {
  Folder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "snapward-test.XXXXXX").string();
    path = mkdtemp(pattern.data());
  }
  ~Folder() { std::filesystem::remove_all(path); }
  std::filesystem::path path;
};

TEST(Archive, UnpacksAndNeverOutside) {
  Folder folder;
  ASSERT_TRUE(unpack(zipped({{"a.txt", "one"}, {"deep/b.txt", "two"}}), folder.path.string()));
  std::ifstream in(folder.path / "deep/b.txt");
  std::string text;
  in >> text;
  EXPECT_EQ(text, "two");
  for (const char* name : {"../out.txt", "deep/../../out.txt", "/tmp/snapward-out.txt"}) {
    Folder inner;
    const auto refused = unpack(zipped({{name, "x"}}), inner.path.string());
    ASSERT_FALSE(refused) << name;
    EXPECT_NE(refused.error().message.find("outside"), std::string::npos);
  }
  const auto nonsense = unpack("PK nonsense", folder.path.string());
  ASSERT_FALSE(nonsense);
  EXPECT_TRUE(nonsense.error().message.starts_with("the code is not a zip archive")) << nonsense.error().message;
}

struct ProcessesTest : testing::Test {
  SystemClock clock{1.0, Instant{}};
  SystemEntropy entropy;
  engine::Loop loop{clock, entropy};
  std::vector<std::string> lines;
  Processes processes{loop,
                      {.endpoint = "http://127.0.0.1:1", .at_most = 2},
                      [this](const auto&, const auto&, const auto&, const std::string& line) { lines.push_back(line); }};

  static services::lambda::RunnableVersion function(const std::string& runtime,
                                                    const std::vector<std::pair<std::string, std::string>>& files,
                                                    Duration timeout = std::chrono::seconds(10)) {
    return {.arn = "arn:aws:lambda:us-west-2:123456789012:function:f",
            .name = "f",
            .version = "$LATEST",
            .revision = runtime + files[0].second,
            .region = "us-west-2",
            .runtime = runtime,
            .handler = "app.handler",
            .variables = {{"WHO", "snapward"}},
            .timeout = timeout,
            .memory_mb = 128,
            .code = [files] { return zipped(files); }};
  }
  // The answers to events sent at once, in the order of the events.
  std::vector<Outcome> run(const services::lambda::RunnableVersion& version, const std::vector<std::string>& events) {
    std::vector<Outcome> out(events.size());
    std::size_t open = events.size();
    for (std::size_t i = 0; i < events.size(); ++i)
      loop.post([&, i] {
        auto call = processes.invoke(
            version, {.request_id = "id-" + std::to_string(i), .invoked_arn = version.arn, .event = events[i], .client_context = {}});
        loop.spawn(std::move(call), [&, i](Outcome outcome) {
          out[i] = std::move(outcome);
          if (--open == 0) loop.stop();
        });
      });
    loop.run();
    return out;
  }
};

TEST_F(ProcessesTest, PythonAnswersFailsAndGoesOn) {
  const auto version = function("python3.11", {{"app.py", R"(import os
def handler(event, context):
    print("seen", event["n"])
    if event["n"] == 1:
        raise KeyError("one")
    return {"n": event["n"], "who": os.environ["WHO"], "id": context.aws_request_id}
)"}});
  const auto out = run(version, {R"({"n":0})", R"({"n":1})", R"({"n":2})"});
  EXPECT_EQ(out[0].payload, R"({"n": 0, "who": "snapward", "id": "id-0"})");
  EXPECT_TRUE(out[1].failed);
  const auto error = Json::parse(out[1].payload);
  ASSERT_TRUE(error);
  EXPECT_EQ((*error)["errorType"].string_or(), "KeyError");
  EXPECT_EQ((*error)["errorMessage"].string_or(), "'one'");
  EXPECT_EQ((*error)["stackTrace"].items()[0].string_or(),
            "  File \"/var/task/app.py\", line 5, in handler\n    raise KeyError(\"one\")\n");
  EXPECT_EQ(out[2].payload, R"({"n": 2, "who": "snapward", "id": "id-2"})");
  EXPECT_NE(std::ranges::find(lines, "seen 2"), lines.end());
}

// Output and answer come by different ways: what was written before the answer stands before its end, and in the tail that Invoke gives.
TEST_F(ProcessesTest, WhatWasWrittenStandsBeforeTheEnd) {
  const auto version = function("python3.11", {{"app.py", R"(import sys
def handler(event, context):
    for i in range(200):
        print(f"{event}: {i}")
    sys.stdout.write(f"{event}: no end")
)"}});
  std::vector<std::string> events;
  for (int i = 0; i < 40; ++i) events.push_back(std::to_string(i));
  const auto out = run(version, events);
  for (int i = 0; i < 40; ++i)
    EXPECT_NE(out[static_cast<std::size_t>(i)].log.find(fmt::format("{0}: 199\n{0}: no end\nEND RequestId: id-{0}\nREPORT", i)),
              std::string::npos)
        << out[static_cast<std::size_t>(i)].log;
}

TEST_F(ProcessesTest, WhatAKilledServerLeftIsRemoved) {
  Folder temporary;
  const char* const before = std::getenv("TMPDIR");
  const std::string old = before ? before : "/tmp";
  setenv("TMPDIR", temporary.path.c_str(), 1);
  const auto left = temporary.path / "snapward-functions.dead", held = temporary.path / "snapward-functions.alive";
  for (const auto& folder : {left, held}) {
    std::filesystem::create_directories(folder / "code");
    std::ofstream(folder / "lock") << "";
  }
  const int lock = open((held / "lock").c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_EQ(flock(lock, LOCK_EX), 0);
  const auto version = function("python3.11", {{"app.py", "def handler(event, context):\n    return event\n"}});
  EXPECT_EQ(run(version, {"1"})[0].payload, "1");
  EXPECT_FALSE(std::filesystem::exists(left));
  EXPECT_TRUE(std::filesystem::exists(held));
  close(lock);
  // And another's here, while the first one lives, leaves its folder alone.
  Processes second{loop, {.endpoint = "http://127.0.0.1:1"}, [](const auto&, const auto&, const auto&, const auto&) {}};
  std::optional<Outcome> outcome;
  loop.post([&] {
    loop.spawn(second.invoke(version, {.request_id = "id", .invoked_arn = version.arn, .event = "2", .client_context = {}}),
               [&](Outcome o) {
                 outcome = std::move(o);
                 loop.stop();
               });
  });
  loop.run();
  EXPECT_EQ(outcome->payload, "2");
  EXPECT_FALSE(std::filesystem::exists(held)) << "nobody holds it any more";
  EXPECT_EQ(run(version, {"3"})[0].payload, "3");
  setenv("TMPDIR", old.c_str(), 1);
}

// Else a server that was killed could not listen on its port again while a process of a function lives on.
TEST_F(ProcessesTest, NothingOfTheServersStaysOpenInThem) {
  const int kept = open("/dev/null", O_RDONLY);  // no O_CLOEXEC: as sockets that libraries make
  const int high = fcntl(kept, F_DUPFD, 200);
  const auto outcomes =
      run(function("python3.11",
                   {{"app.py", "import os\ndef handler(event, context):\n    return os.path.exists(f\"/proc/self/fd/{event}\")\n"}}),
          {std::to_string(high)});
  EXPECT_EQ(outcomes[0].payload, "false");
  close(high);
  close(kept);
}

TEST_F(ProcessesTest, ALineWithoutAnEndIsCut) {
  const auto version =
      function("python3.11", {{"app.py", "import sys\ndef handler(event, context):\n    sys.stdout.write('x' * 1000000)\n"}});
  EXPECT_EQ(run(version, {"1"})[0].payload, "null");
  const auto longest = std::ranges::max_element(lines, {}, &std::string::size);
  EXPECT_EQ(longest->size(), 256U * 1024);
}

// What was once 12 GB of memory in half a minute. The function is not held up, and the next invocation has its room again.
TEST_F(ProcessesTest, AFloodOfOutputIsCutAndSaid) {
  const auto version = function("python3.11", {{"app.py", R"(import os
def handler(event, context):
    for i in range(event):
        os.write(1, b"0123456789" * 800 + b"\n")
    return event
)"}});
  const auto out = run(version, {"2000", "1"});
  EXPECT_EQ(out[0].payload, "2000");
  std::size_t kept = 0;
  for (const std::string& line : lines) kept += line.size();
  EXPECT_GT(kept, 1000U * 1000);
  EXPECT_LT(kept, 1100U * 1000);
  EXPECT_NE(out[0].log.find(" bytes of output were dropped: the log of an invocation takes 1048576 bytes, and 26 for each line\nEND "),
            std::string::npos)
      << out[0].log;
  EXPECT_NE(out[1].log.find("0123456789\nEND "), std::string::npos) << out[1].log;
}

TEST_F(ProcessesTest, EmptyLinesAreBoundedToo) {
  const auto version = function("python3.11", {{"app.py", R"(import os
def handler(event, context):
    for i in range(100):
        os.write(1, b"\n" * 10000)
)"}});
  run(version, {"1"});
  EXPECT_LT(lines.size(), 41'000U);
}

// What a function starts may outlive it, hold its output and go on writing: the function's end is heard all the same.
TEST_F(ProcessesTest, AProcessThatWritesOnDoesNotHoldUpTheEnd) {
  const auto version = function("python3.11", {{"app.py", R"(import os, subprocess
def handler(event, context):
    subprocess.Popen(["yes"], start_new_session=True)
    os._exit(3)
)"}},
                                std::chrono::seconds(20));
  const auto begun = std::chrono::steady_clock::now();
  EXPECT_NE(run(version, {"1"})[0].payload.find("exit status 3"), std::string::npos);
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(10));
}

TEST_F(ProcessesTest, WhatCannotBeImportedIsTheFunctionsError) {
  auto version = function("python3.11", {{"app.py", "import nothing_of_that_name"}});
  EXPECT_EQ((*Json::parse(run(version, {"{}"})[0].payload))["errorType"].string_or(), "Runtime.ImportModuleError");
  version = function("python3.11", {{"app.py", "x = 1"}});
  EXPECT_EQ((*Json::parse(run(version, {"{}"})[0].payload))["errorMessage"].string_or(), "Handler 'handler' missing on module 'app'");
  version = function("provided.al2023", {{"other", "x"}});
  EXPECT_EQ((*Json::parse(run(version, {"{}"})[0].payload))["errorType"].string_or(), "Runtime.InvalidEntrypoint");
}

TEST_F(ProcessesTest, LateOnesAreKilledAndTheDeadReplaced) {
  const auto slow =
      function("python3.11", {{"app.py", "import time\ndef handler(event, context):\n    time.sleep(event)\n    return 'done'\n"}},
               std::chrono::seconds(1));
  const auto out = run(slow, {"30", "0"});
  EXPECT_EQ(out[0].payload,
            R"({"errorType":"Sandbox.Timedout","errorMessage":"RequestId: id-0 Error: Task timed out after 1.00 seconds"})");
  EXPECT_EQ(out[1].payload, R"("done")");
  const auto dying = function("python3.11", {{"app.py", "import os\ndef handler(event, context):\n    os._exit(7)\n"}});
  const auto ends = run(dying, {"0", "0", "0", "0"});  // two at a time: the others wait
  for (const auto& end : ends) EXPECT_NE(end.payload.find("Runtime exited with error: exit status 7"), std::string::npos) << end.payload;
}

TEST_F(ProcessesTest, ABootstrapOfTheFunctionsOwn) {
  const auto version = function("provided.al2023", {{"bootstrap", R"(#!/usr/bin/env python3
import http.client, os
api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
while True:
    api.request("GET", "/2018-06-01/runtime/invocation/next")
    event = api.getresponse()
    body = event.read()
    api.request("POST", "/2018-06-01/runtime/invocation/" + event.headers["Lambda-Runtime-Aws-Request-Id"] + "/response", b"[" + body + b"]")
    api.getresponse().read()
)"}});
  EXPECT_EQ(run(version, {"1"})[0].payload, "[1]");
}

}  // namespace
}  // namespace snapward::runtimes
