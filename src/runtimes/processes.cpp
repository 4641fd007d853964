#include "runtimes/processes.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <spdlog/spdlog.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <thread>

#include "base/text.hpp"
#include "base/thread_name.hpp"
#include "runtimes/archive.hpp"

extern "C" {
extern const char snapward_runtime_python[], snapward_runtime_python_end[];
extern const char snapward_runtime_node[], snapward_runtime_node_end[];
}

namespace snapward::runtimes {

using services::lambda::Invocation;
using services::lambda::Outcome;
using services::lambda::RunnableVersion;

namespace {

constexpr std::size_t kLogTail = 4096;                      // Invoke, LogType
constexpr std::size_t kMostAnswer = 6 * 1024 * 1024 + 100;  // "Lambda quotas": 6 MB, in fact 6,291,556 bytes
constexpr std::size_t kLongestLine = 256 * 1024;            // of a log: an event of CloudWatch Logs
// What an invocation may write into its log. Lambda has no such limit; here what is written is state, and is kept in memory until it is
// on the disk. A line counts as CloudWatch Logs counts an event.
constexpr std::size_t kMostOutput = 1024 * 1024, kLineOverhead = 26;
constexpr auto kWhileDropping = std::chrono::milliseconds(1);  // between reads, so that a flood does not take a processor to drop it
constexpr auto kInitialization = std::chrono::seconds(10);
// Of a process's credentials. One that would outlive them is replaced before its next invocation, which takes 15 minutes at most.
constexpr auto kCredentials = std::chrono::hours(12), kLongestInvocation = std::chrono::hours(1);

// A program by name, in PATH.
std::optional<std::string> program(const std::string& name) {
  const char* path = std::getenv("PATH");
  for (const std::string& folder : split(path ? path : "/usr/local/bin:/usr/bin:/bin", ':'))
    if (const std::string file = folder + '/' + name; access(file.c_str(), X_OK) == 0) return file;
  return std::nullopt;
}

// Whether it says its version: a version manager puts programs into PATH that only say that they are not there.
bool works(const std::string& file) {
  std::string program_file = file, argument = "--version";
  std::array<char*, 3> command = {program_file.data(), argument.data(), nullptr};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  for (const int descriptor : {0, 1, 2}) posix_spawn_file_actions_addopen(&actions, descriptor, "/dev/null", O_RDWR, 0);
  posix_spawn_file_actions_addclosefrom_np(&actions, 3);
  pid_t pid = 0;
  const int failed = posix_spawn(&pid, file.c_str(), &actions, nullptr, command.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  int status = 0;
  return failed == 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

// Python of the very version if it is there, else another 3. Looked for once.
std::optional<std::string> interpreter(const std::string& runtime) {
  static std::map<std::string, std::optional<std::string>> known;  // on the loop's thread only
  if (const auto found = known.find(runtime); found != known.end()) return found->second;
  std::optional<std::string> file = program(runtime.starts_with("python3") ? runtime : "node");
  if (file && !works(*file)) file.reset();
  if (!file && runtime.starts_with("python3")) file = program("python3");
  return known[runtime] = file;
}

Outcome broken(const std::string& type, const std::string& message) {
  return {.payload = Json::object({{"errorType", type}, {"errorMessage", message}}).dump(), .failed = true, .log = {}};
}

// A process that has been started, until it is reaped: after that its number may be another's.
struct Child {
  std::mutex mutex;
  pid_t pid = 0;
  bool reaped = false;

  void kill_group() {
    const std::scoped_lock lock(mutex);
    if (!reaped) ::kill(-pid, SIGKILL);
  }
  std::optional<int> reap() {
    const std::scoped_lock lock(mutex);
    int status = 0;
    if (waitpid(pid, &status, WNOHANG) != pid) return std::nullopt;
    reaped = true;
    return status;
  }
};

// What a process writes, read by a thread of its own. Of each invocation so much is kept; the rest is read too, so that the function does
// not wait, and dropped. The loop is given one piece at a time: a function that floods its log does not keep the loop busy, and what is
// read and not yet taken stays small.
class Output {
 public:
  using Lines = std::vector<std::string>;

  Output() : wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (pipe2(ends_.data(), O_CLOEXEC) != 0) ends_ = {-1, -1};
  }
  ~Output() {
    for (const int descriptor : {wake_, ends_[0], ends_[1]})
      if (descriptor >= 0) close(descriptor);
  }
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  [[nodiscard]] bool good() const { return wake_ >= 0 && ends_[0] >= 0; }
  [[nodiscard]] int writing_end() const { return ends_[1]; }
  void close_writing_end() { close(std::exchange(ends_[1], -1)); }

  // From the loop, before an invocation's event is delivered: its output has the whole room again.
  void begin_invocation() { begins_ = true; }
  // From the loop, when it has the lines that it was given.
  void taken() { let_go(false); }
  // From the loop, before it waits for the reading thread: nobody takes lines any more.
  void abandon() { let_go(true); }

  // Calls it when the lines of all that has been written so far are given; on the reading thread, or, if that has ended, at once. What
  // a function says and what it prints come by different ways, and its log has them in the order of the function.
  void after_what_is_written(std::function<void()> call) {
    {
      const std::scoped_lock lock(mutex_);
      if (!ended_) {
        calls_.push_back(std::move(call));
        const std::uint64_t one = 1;
        [[maybe_unused]] const auto woken = write(wake_, &one, sizeof one);
        return;
      }
    }
    call();
  }

  // Gives the lines, each time waiting for taken(), until the process has ended and what it wrote is read; then how it ended.
  int follow(Child& child, const std::function<void(Lines)>& give) {
    bool open = true;
    std::optional<int> status;
    while (!status) {
      std::array<pollfd, 2> wanted{
          {{.fd = open ? ends_[0] : -1, .events = POLLIN, .revents = 0}, {.fd = wake_, .events = POLLIN, .revents = 0}}};
      poll(wanted.data(), wanted.size(), open ? 100 : 5);
      if (wanted[1].revents != 0) {
        std::uint64_t ignored = 0;
        [[maybe_unused]] const auto got = read(wake_, &ignored, sizeof ignored);
        const auto calls = take_calls(false);
        open = open && take_written(give);
        for (const auto& call : calls) call();
      } else if (wanted[0].revents != 0) {
        open = take(give);
      }
      status = child.reap();
    }
    // Not until the end of the pipe: somebody it started may hold the other end, and write for ever.
    if (open) take_written(give);
    for (const auto& call : take_calls(true)) call();
    return *status;
  }

 private:
  // All that has been written until now, an unfinished line and what was dropped included; false at the end.
  bool take_written(const std::function<void(Lines)>& give) {
    int written = 0;
    ioctl(ends_[0], FIONREAD, &written);
    bool open = true;
    for (const std::size_t until = seen_ + static_cast<std::size_t>(written); open && seen_ < until;) open = take(give);
    if (!rest_.empty()) keep(std::exchange(rest_, {}));
    if (dropped_ > 0)
      lines_.push_back(fmt::format("{} bytes of output were dropped: the log of an invocation takes {} bytes, and {} for each line",
                                   std::exchange(dropped_, 0), kMostOutput, kLineOverhead));
    hand_over(give);
    return open;
  }

  // What is there, or comes next; false at the end.
  bool take(const std::function<void(Lines)>& give) {
    std::array<char, 8192> buffer{};
    const ssize_t got = read(ends_[0], buffer.data(), buffer.size());
    if (got <= 0) return false;
    seen_ += static_cast<std::size_t>(got);
    if (full() && rest_.empty()) {
      dropped_ += static_cast<std::size_t>(got);
      std::this_thread::sleep_for(kWhileDropping);
      return true;
    }
    rest_.append(buffer.data(), static_cast<std::size_t>(got));
    std::size_t begin = 0;
    for (;;) {
      const std::size_t end = std::min(rest_.find('\n', begin), begin + kLongestLine);
      if (end >= rest_.size()) break;
      keep(rest_.substr(begin, end - begin));
      begin = end + (rest_[end] == '\n' ? 1 : 0);
    }
    rest_.erase(0, begin);
    hand_over(give);
    return true;
  }

  [[nodiscard]] bool full() {
    if (begins_ && begins_.exchange(false)) kept_ = 0;
    return kept_ >= kMostOutput;
  }
  void keep(std::string line) {
    if (full()) {
      dropped_ += line.size() + 1;
      return;
    }
    kept_ += line.size() + kLineOverhead;
    lines_.push_back(std::move(line));
  }
  void hand_over(const std::function<void(Lines)>& give) {
    if (lines_.empty()) return;
    {
      const std::scoped_lock lock(mutex_);
      given_ = true;
    }
    give(std::exchange(lines_, {}));
    std::unique_lock lock(mutex_);
    taken_.wait(lock, [this] { return !given_ || abandoned_; });
  }
  void let_go(bool for_good) {
    {
      const std::scoped_lock lock(mutex_);
      given_ = false;
      abandoned_ = abandoned_ || for_good;
    }
    taken_.notify_one();
  }
  std::vector<std::function<void()>> take_calls(bool last) {
    const std::scoped_lock lock(mutex_);
    ended_ = last;
    return std::exchange(calls_, {});
  }

  int wake_;                            // an eventfd
  std::array<int, 2> ends_{};           // of the pipe: what is read, what the process writes to
  std::string rest_;                    // a line without its end yet
  Lines lines_;                         // not handed over yet
  std::size_t seen_ = 0;                // bytes
  std::size_t kept_ = 0, dropped_ = 0;  // bytes, of this invocation and since that was last said
  std::atomic<bool> begins_ = false;
  std::mutex mutex_;  // guards what follows
  std::condition_variable taken_;
  bool given_ = false, abandoned_ = false;
  std::vector<std::function<void()>> calls_;
  bool ended_ = false;
};

constexpr std::string_view kFolder = "snapward-functions.";

// A folder of this process's own, whose lock it holds while it lives; or none. What servers that were killed left behind goes.
std::optional<std::string> make_folder(int& lock) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  const fs::path among = fs::temp_directory_path(ignored);
  std::vector<fs::path> others;
  for (const fs::directory_entry& entry : fs::directory_iterator(among, ignored))
    if (entry.path().filename().string().starts_with(kFolder)) others.push_back(entry.path());
  for (const fs::path& other : others) {
    const int theirs = open((other / "lock").c_str(), O_RDWR | O_CLOEXEC);
    if (theirs < 0) continue;
    if (flock(theirs, LOCK_EX | LOCK_NB) == 0) fs::remove_all(other, ignored);
    close(theirs);
  }
  std::string folder = (among / kFolder).string() + "XXXXXX";
  if (!mkdtemp(folder.data())) return std::nullopt;
  // It gets its name when it is held, so that nobody finds it free.
  const std::string fresh = folder + "/fresh";
  lock = open(fresh.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (lock >= 0 && flock(lock, LOCK_EX | LOCK_NB) == 0) fs::rename(fresh, folder + "/lock", ignored);
  return folder;
}

std::string how_it_ended(int status) {
  if (WIFSIGNALED(status)) return fmt::format("Runtime exited with error: signal: {}", lower(strsignal(WTERMSIG(status))));
  if (WEXITSTATUS(status) != 0) return fmt::format("Runtime exited with error: exit status {}", WEXITSTATUS(status));
  return "Runtime exited without providing a reason";
}

}  // namespace

struct Processes::Environment {
  std::string id, stream;
  RunnableVersion version;
  Child child;
  std::shared_ptr<Output> output = std::make_shared<Output>();
  std::unique_ptr<net::Server> server;
  std::thread reader;
  std::optional<net::Server::Respond> asking;  // for the next event
  std::optional<Waiting> at;
  std::optional<std::chrono::steady_clock::time_point> delivered;
  std::string tail;
  Instant credentials_until{};
  engine::Loop::TimerId timer{};
};

Processes::Processes(engine::Loop& loop, Options options, Log log) : loop_(loop), options_(std::move(options)), log_(std::move(log)) {}

Processes::~Processes() {
  while (!environments_.empty()) end(environments_.begin()->first);
  std::error_code ignored;
  if (!folder_.empty()) std::filesystem::remove_all(folder_, ignored);
  if (lock_ >= 0) close(lock_);
}

std::optional<std::string> Processes::refusal(const std::string& runtime) {
  const bool python = runtime.starts_with("python3"), node = runtime.starts_with("nodejs");
  if (runtime.starts_with("provided")) return std::nullopt;
  if (!python && !node)
    return fmt::format("Snapward runs functions of the runtimes python3.*, nodejs*.x and provided.*, not of '{}'", runtime);
  if (interpreter(runtime)) return std::nullopt;
  return fmt::format("This machine has no '{}' in its PATH to run functions of '{}' with", python ? "python3" : "node", runtime);
}

Duration Processes::scaled(Duration real) const {
  return Duration(static_cast<std::int64_t>(static_cast<double>(real.count()) * options_.time_scale));
}

Task<Outcome> Processes::invoke(RunnableVersion version, Invocation invocation) {
  Waiting waiting{.version = std::move(version), .invocation = std::move(invocation), .answer = {}};
  const auto answer = waiting.answer;
  assign(std::move(waiting));
  co_return co_await answer;
}

void Processes::forget(const std::string& arn) {
  std::vector<std::string> gone;
  for (const auto& [id, e] : environments_)
    if (e->version.arn == arn && !e->at) gone.push_back(id);
  for (const auto& id : gone) end(id);
}

void Processes::end_those_with_old_credentials() {
  std::vector<std::string> old;
  for (const auto& [id, e] : environments_)
    if (!e->at && e->credentials_until < loop_.now() + scaled(kLongestInvocation)) old.push_back(id);
  for (const std::string& id : old) end(id);
}

// To one that idles, to a new one, in the place of one that idles, or, when all are at work, later.
void Processes::assign(Waiting waiting) {
  if (options_.sessions) end_those_with_old_credentials();
  Environment* idle = nullptr;
  for (const auto& [id, e] : environments_) {
    if (e->at) continue;
    idle = e.get();
    if (e->version.revision == waiting.version.revision) break;
  }
  if (idle && idle->version.revision == waiting.version.revision) {
    loop_.cancel(idle->timer);
    idle->at = std::move(waiting);
    return deliver(*idle);
  }
  if (environments_.size() >= options_.at_most) {
    if (!idle) return waiting_.push_back(std::move(waiting));
    end(idle->id);
  }
  auto made = std::make_unique<Environment>();
  Environment& e = *made;
  e.id = std::to_string(++ids_);
  e.version = waiting.version;
  e.at = std::move(waiting);
  const std::string day = iso_millis(loop_.now()).substr(0, 10);
  e.stream = fmt::format("{}/{}/{}/[{}]{}", day.substr(0, 4), day.substr(5, 2), day.substr(8, 2), e.version.version,
                         hex_encode(sha256(e.version.revision + e.id)).substr(0, 32));
  environments_[e.id] = std::move(made);
  const auto launched = launch(e);
  if (launched) {
    e.timer = loop_.after(scaled(kInitialization), [this, id = e.id] {
      const auto found = environments_.find(id);
      if (found == environments_.end() || !found->second->at) return;
      const std::string request = found->second->at->invocation.request_id;
      finish(*found->second, broken("Sandbox.Timedout", fmt::format("RequestId: {} Error: Task timed out after 10.00 seconds", request)));
      end(id);
      next();
    });
    return;
  }
  finish(e, broken("Runtime.InvalidEntrypoint",
                   fmt::format("RequestId: {} Error: {}", e.at->invocation.request_id, launched.error().message)));
  end(e.id);
  loop_.defer([this] { next(); });
}

Result<std::string> Processes::code_folder(const RunnableVersion& version) {
  std::error_code failed;
  if (folder_.empty()) {
    const auto made = make_folder(lock_);
    if (!made)
      return fail(ErrorCode::unavailable,
                  fmt::format("no folder for functions can be made in {}", std::filesystem::temp_directory_path(failed).string()));
    folder_ = *made;
    std::ofstream(folder_ + "/python.py") << std::string_view(snapward_runtime_python, snapward_runtime_python_end);
    std::ofstream(folder_ + "/node.mjs") << std::string_view(snapward_runtime_node, snapward_runtime_node_end);
  }
  std::string folder = folder_ + '/' + hex_encode(sha256(version.arn + version.revision)).substr(0, 24);
  if (std::filesystem::exists(folder, failed)) return folder;
  std::filesystem::create_directories(folder, failed);
  if (const auto unpacked = unpack(version.code(), folder); !unpacked) {
    std::filesystem::remove_all(folder, failed);
    return std::unexpected(unpacked.error());
  }
  return folder;
}

Result<void> Processes::launch(Environment& e) {
  const RunnableVersion& v = e.version;
  const auto code = code_folder(v);
  if (!code) return std::unexpected(code.error());
  std::vector<std::string> command;
  if (v.runtime.starts_with("provided")) {
    command = {*code + "/bootstrap"};
  } else {
    const auto with = interpreter(v.runtime);
    if (!with) return fail(ErrorCode::unavailable, refusal(v.runtime).value_or("its interpreter is gone"));
    command = {*with, folder_ + (v.runtime.starts_with("python") ? "/python.py" : "/node.mjs")};
  }
  if (!e.output->good()) return fail(ErrorCode::unavailable, "no pipe can be made for a function's output");
  auto listening = net::Server::listen(
      {.address = "127.0.0.1", .port = 0}, [this, id = e.id, output = e.output](wire::HttpRequest request, net::Server::Respond respond) {
        output->after_what_is_written([this, id, request = std::move(request), respond = std::move(respond)]() mutable {
          loop_.post([this, id, request = std::move(request), respond = std::move(respond)] { heard(id, request, respond); });
        });
      });
  if (!listening) return std::unexpected(listening.error());
  e.server = *std::move(listening);
  e.server->start();

  std::vector<std::string> environment;
  const auto set = [&](const std::string& name, const std::string& value) { environment.push_back(name + '=' + value); };
  for (const char* name : {"PATH", "HOME", "LD_LIBRARY_PATH", "TMPDIR"})
    if (const char* value = std::getenv(name)) set(name, value);
  for (const auto& [name, value] : v.variables) set(name, value);
  set("AWS_LAMBDA_RUNTIME_API", fmt::format("127.0.0.1:{}", e.server->port()));
  set("_HANDLER", v.handler);
  set("LAMBDA_TASK_ROOT", *code);
  set("LAMBDA_RUNTIME_DIR", folder_);
  set("AWS_LAMBDA_FUNCTION_NAME", v.name);
  set("AWS_LAMBDA_FUNCTION_VERSION", v.version);
  set("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", std::to_string(v.memory_mb));
  set("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/" + v.name);
  set("AWS_LAMBDA_LOG_STREAM_NAME", e.stream);
  set("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand");
  set("AWS_EXECUTION_ENV", "AWS_Lambda_" + v.runtime);
  set("AWS_REGION", v.region);
  set("AWS_DEFAULT_REGION", v.region);
  wire::Credentials credentials{.access_key = "snapward", .secret_key = "snapward", .session_token = {}};
  if (options_.sessions) {
    e.credentials_until = loop_.now() + scaled(kCredentials);
    credentials = options_.sessions->issue("ASIA" + upper(loop_.entropy().hex(16)), v.arn, e.credentials_until);
    set("AWS_SESSION_TOKEN", credentials.session_token);
  }
  set("AWS_ACCESS_KEY_ID", credentials.access_key);
  set("AWS_SECRET_ACCESS_KEY", credentials.secret_key);
  set("AWS_ENDPOINT_URL", options_.endpoint);
  set("PYTHONUNBUFFERED", "1");
  set("PYTHONDONTWRITEBYTECODE", "1");
  set("TZ", ":UTC");

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, e.output->writing_end(), 1);
  posix_spawn_file_actions_adddup2(&actions, e.output->writing_end(), 2);
  posix_spawn_file_actions_addclosefrom_np(&actions, 3);  // the server's port is not its to keep open when the server dies
  posix_spawn_file_actions_addchdir_np(&actions, code->c_str());
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
  const auto pointers = [](std::vector<std::string>& texts) {
    std::vector<char*> out;
    for (std::string& text : texts) out.push_back(text.data());
    out.push_back(nullptr);
    return out;
  };
  const int failed =
      posix_spawn(&e.child.pid, command[0].c_str(), &actions, &attributes, pointers(command).data(), pointers(environment).data());
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  e.output->close_writing_end();
  if (failed != 0) {
    e.child.pid = 0;
    return fail(ErrorCode::unavailable,
                fmt::format("{} cannot be started: {}", command[0].starts_with(*code) ? "/var/task/bootstrap" : command[0],
                            std::generic_category().message(failed)));
  }
  e.reader = std::thread([this, &e, id = e.id] {
    name_this_thread("function");
    const int status = e.output->follow(e.child, [this, &id, output = e.output](Output::Lines lines) {
      loop_.post([this, id, output, lines = std::move(lines)] {
        output->taken();
        if (const auto found = environments_.find(id); found != environments_.end())
          for (const std::string& line : lines) write(*found->second, line);
      });
    });
    loop_.post([this, id, status] { exited(id, how_it_ended(status)); });
  });
  return {};
}

void Processes::write(Environment& e, const std::string& line) {
  e.tail += line + '\n';
  if (e.tail.size() > kLogTail) e.tail.erase(0, e.tail.size() - kLogTail);
  log_(e.version.region, "/aws/lambda/" + e.version.name, e.stream, line);
}

void Processes::deliver(Environment& e) {
  if (!e.asking || !e.at) return;
  const auto respond = *std::exchange(e.asking, std::nullopt);
  const Invocation& invocation = e.at->invocation;
  const auto deadline = std::chrono::system_clock::now() + e.version.timeout;
  wire::HttpResponse event;
  event.headers.add("Content-Type", "application/json");
  event.headers.add("Lambda-Runtime-Aws-Request-Id", invocation.request_id);
  event.headers.add("Lambda-Runtime-Deadline-Ms",
                    std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(deadline.time_since_epoch()).count()));
  event.headers.add("Lambda-Runtime-Invoked-Function-Arn", invocation.invoked_arn);
  if (!invocation.client_context.empty()) event.headers.add("Lambda-Runtime-Client-Context", invocation.client_context);
  event.body = invocation.event;
  e.tail.clear();
  e.output->begin_invocation();
  write(e, fmt::format("START RequestId: {} Version: {}", invocation.request_id, e.version.version));
  e.delivered = std::chrono::steady_clock::now();
  loop_.cancel(e.timer);
  e.timer = loop_.after(scaled(e.version.timeout), [this, id = e.id] {
    const auto found = environments_.find(id);
    if (found == environments_.end() || !found->second->at) return;
    Environment& late = *found->second;
    const auto message = fmt::format("RequestId: {} Error: Task timed out after {:.2f} seconds", late.at->invocation.request_id,
                                     static_cast<double>(late.version.timeout.count()) / 1000);
    finish(late, broken("Sandbox.Timedout", message));
    end(id);
    next();
  });
  respond([event = std::move(event)] { return event; });
}

void Processes::heard(const std::string& id, const wire::HttpRequest& request, const net::Server::Respond& respond) {
  const auto say = [&respond](int status, const std::string& body) {
    wire::HttpResponse response{.status = status, .headers = {}, .body = body};
    response.headers.add("Content-Type", "application/json");
    respond([response = std::move(response)] { return response; });
  };
  const auto found = environments_.find(id);
  if (found == environments_.end()) return say(410, R"({"errorType":"Gone"})");
  Environment& e = *found->second;
  const std::string_view path = request.path();
  constexpr std::string_view kInvocation = "/2018-06-01/runtime/invocation/";
  if (path == "/2018-06-01/runtime/invocation/next" && request.method == "GET") {
    e.asking = respond;
    return deliver(e);
  }
  if (path == "/2018-06-01/runtime/init/error") {
    say(202, R"({"status":"OK"})");
    if (e.at) finish(e, {.payload = request.body, .failed = true, .log = {}});
    end(id);
    return next();
  }
  const std::string_view rest = path.starts_with(kInvocation) ? path.substr(kInvocation.size()) : std::string_view();
  const std::string_view request_id = rest.substr(0, rest.find('/'));
  const std::string_view what = rest.substr(std::min(rest.size(), request_id.size() + 1));
  if (what != "response" && what != "error") return say(404, R"({"errorType":"NotFound"})");
  if (!e.at || e.asking || e.at->invocation.request_id != request_id) return say(400, R"({"errorType":"InvalidRequestID"})");
  if (request.body.size() > kMostAnswer) {
    say(413, R"({"errorType":"RequestEntityTooLarge"})");
    finish(e, broken("Function.ResponseSizeTooLarge",
                     fmt::format("Response payload size exceeded maximum allowed payload size ({} bytes).", kMostAnswer)));
  } else {
    say(202, R"({"status":"OK"})");
    finish(e, {.payload = request.body, .failed = what == "error", .log = {}});
  }
  e.timer = loop_.after(scaled(options_.keep_idle), [this, id] { end(id); });
  next();
}

void Processes::finish(Environment& e, Outcome outcome) {
  Waiting done = *std::exchange(e.at, std::nullopt);
  loop_.cancel(e.timer);
  if (const auto delivered = std::exchange(e.delivered, std::nullopt)) {
    const double ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - *delivered).count();
    write(e, "END RequestId: " + done.invocation.request_id);
    write(e, fmt::format("REPORT RequestId: {}\tDuration: {:.2f} ms\tBilled Duration: {} ms\tMemory Size: {} MB",
                         done.invocation.request_id, ms, static_cast<std::int64_t>(ms) + 1, e.version.memory_mb));
  }
  outcome.log = e.tail;
  loop_.defer([answer = done.answer, outcome = std::move(outcome)] { answer.set(outcome); });
}

void Processes::exited(const std::string& id, const std::string& how) {
  const auto found = environments_.find(id);
  if (found == environments_.end()) return;
  if (found->second->at)
    finish(*found->second,
           broken("Runtime.ExitError", fmt::format("RequestId: {} Error: {}", found->second->at->invocation.request_id, how)));
  end(id);
  next();
}

void Processes::end(const std::string& id) {
  const auto found = environments_.find(id);
  if (found == environments_.end()) return;
  const std::unique_ptr<Environment> e = std::move(found->second);
  environments_.erase(found);
  loop_.cancel(e->timer);
  if (e->child.pid != 0) e->child.kill_group();
  e->output->abandon();
  if (e->reader.joinable()) e->reader.join();
  if (e->server) e->server->stop();
}

void Processes::next() {
  if (waiting_.empty()) return;
  Waiting first = std::move(waiting_.front());
  waiting_.pop_front();
  assign(std::move(first));
}

}  // namespace snapward::runtimes
