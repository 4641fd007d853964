// Load over HTTP: so many clients, each with one connection, start executions of one machine as fast as they are answered.
// usage: snapward_load PORT MACHINE_FILE INPUT_FILE [CLIENTS 16] [SECONDS 5] [REGION the server's own]
// Prints executions a second and the latency of StartExecution. Goes to 127.0.0.1 only; ends by itself.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <fstream>
#include <iterator>
#include <thread>
#include <vector>

#include "base/json.hpp"

namespace {

using snapward::Json;

std::string read_file(const char* path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

class Connection {
 public:
  Connection(std::uint16_t port, const std::string& region) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    if (!region.empty())
      scope_ = fmt::format(
          "Authorization: AWS4-HMAC-SHA256 Credential=load/20260101/{}/states/aws4_request, SignedHeaders=host, Signature=0\r\n", region);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    good_ = ::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
    const int on = 1;
    setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() { ::close(socket_); }

  // The status; the body goes to `body`.
  int call(const std::string& operation, const std::string& content, std::string* body = nullptr) {
    const std::string request = fmt::format(
        "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\n{}X-Amz-Target: AWSStepFunctions.{}\r\nContent-Type: "
        "application/x-amz-json-1.0\r\nContent-Length: {}\r\n\r\n{}",
        scope_, operation, content.size(), content);
    if (!good_ || ::send(socket_, request.data(), request.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(request.size())) return 0;
    std::string answer;
    char buffer[16384];
    for (;;) {
      const ssize_t n = ::recv(socket_, buffer, sizeof buffer, 0);
      if (n <= 0) return 0;
      answer.append(buffer, static_cast<std::size_t>(n));
      const std::size_t head = answer.find("\r\n\r\n");
      if (head == std::string::npos) continue;
      const std::size_t length = answer.find("Content-Length: ");
      const std::size_t size = length == std::string::npos ? 0 : std::strtoul(answer.c_str() + length + 16, nullptr, 10);
      if (answer.size() < head + 4 + size) continue;
      if (body) *body = answer.substr(head + 4);
      return std::atoi(answer.c_str() + 9);
    }
  }

 private:
  int socket_;
  std::string scope_;
  bool good_ = false;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    fmt::print(stderr, "usage: snapward_load PORT MACHINE_FILE INPUT_FILE [CLIENTS] [SECONDS] [REGION]\n");
    return 2;
  }
  const auto port = static_cast<std::uint16_t>(std::atoi(argv[1]));
  const int clients = argc > 4 ? std::atoi(argv[4]) : 16;
  const double seconds = argc > 5 ? std::atof(argv[5]) : 5;
  const std::string region = argc > 6 ? argv[6] : "";
  std::string body;
  Connection first(port, region);
  const std::string name = fmt::format("load-{}", std::chrono::system_clock::now().time_since_epoch().count());
  const Json create =
      Json::object({{"name", name}, {"definition", read_file(argv[2])}, {"roleArn", "arn:aws:iam::000000000000:role/load"}});
  if (first.call("CreateStateMachine", create.dump(), &body) != 200) {
    fmt::print(stderr, "the machine could not be made: {}\n", body);
    return 1;
  }
  const Json machine = *Json::parse(body);
  const std::string start =
      Json::object({{"stateMachineArn", machine["stateMachineArn"]}, {"input", Json::parse(read_file(argv[3]))->dump()}}).dump();

  std::vector<std::vector<double>> micros(static_cast<std::size_t>(clients));
  std::atomic<int> failures{0};
  std::vector<std::thread> threads;
  const auto begun = std::chrono::steady_clock::now();
  const auto end = begun + std::chrono::duration<double>(seconds);
  for (int c = 0; c < clients; ++c)
    threads.emplace_back([&, c] {
      Connection connection(port, region);
      while (std::chrono::steady_clock::now() < end) {
        const auto sent = std::chrono::steady_clock::now();
        if (connection.call("StartExecution", start) != 200) {
          ++failures;
          return;
        }
        micros[static_cast<std::size_t>(c)].push_back(
            std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - sent).count());
      }
    });
  for (auto& t : threads) t.join();
  const double took = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  std::vector<double> all;
  for (const auto& list : micros) all.insert(all.end(), list.begin(), list.end());
  std::sort(all.begin(), all.end());
  if (all.empty()) return 1;
  const auto at = [&](double q) { return all[static_cast<std::size_t>(q * static_cast<double>(all.size() - 1))] / 1000; };
  fmt::print("{} clients: {:.0f} executions/s ({} in {:.1f} s), p50 {:.2f} ms, p99 {:.2f} ms, {} failures\n", clients,
             static_cast<double>(all.size()) / took, all.size(), took, at(0.5), at(0.99), failures.load());
  return failures == 0 ? 0 : 1;
}
