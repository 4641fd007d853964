#include "store/pq.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <poll.h>

#include <optional>

namespace snapward::store::pq {

namespace {

using Clock = std::chrono::steady_clock;

// Whether the socket became ready in time.
bool wait_for(PGconn* connection, short events, Clock::time_point until) {
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now()).count();
    if (left <= 0) return false;
    pollfd wanted{.fd = PQsocket(connection), .events = events, .revents = 0};
    const int ready = poll(&wanted, 1, static_cast<int>(left));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return false;
  }
}

std::string one_line(const char* message) {
  std::string out = message ? message : "";
  while (out.ends_with('\n')) out.pop_back();
  for (char& c : out)
    if (c == '\n') c = ' ';
  return out;
}

void append_int(std::string& out, std::uint32_t value) {
  const std::uint32_t network = htonl(value);
  out.append(reinterpret_cast<const char*>(&network), sizeof network);
}

std::string array_of(std::uint32_t element_type, const std::vector<std::string_view>& items) {
  std::size_t size = 20;
  for (const auto item : items) size += 4 + item.size();
  std::string out;
  out.reserve(size);
  append_int(out, items.empty() ? 0 : 1);  // dimensions
  append_int(out, 0);                      // no nulls
  append_int(out, element_type);
  if (items.empty()) return out;
  append_int(out, static_cast<std::uint32_t>(items.size()));
  append_int(out, 1);  // lower bound
  for (const auto item : items) {
    append_int(out, static_cast<std::uint32_t>(item.size()));
    out.append(item);
  }
  return out;
}

constexpr std::uint32_t kBytea = 17, kText = 25;  // pg_type.oid

}  // namespace

std::string text_array(const std::vector<std::string_view>& items) { return array_of(kText, items); }
std::string bytea_array(const std::vector<std::string_view>& items) { return array_of(kBytea, items); }

bool has_state(const Error& error, std::string_view state) { return error.message.find(fmt::format("[{}]", state)) != std::string::npos; }

std::unexpected<Error> Connection::trouble(const char* what, const PGresult* answer) {
  std::string message = one_line(answer ? PQresultErrorMessage(answer) : connection_ ? PQerrorMessage(connection_.get()) : "");
  if (const char* state = answer ? PQresultErrorField(answer, PG_DIAG_SQLSTATE) : nullptr) message = fmt::format("[{}] {}", state, message);
  if (message.empty()) message = "it did not answer in time";
  // What the database said no to leaves the connection as it was; anything else is its end.
  if (!answer || PQstatus(connection_.get()) != CONNECTION_OK) drop();
  return fail(ErrorCode::unavailable, fmt::format("PostgreSQL {}: {}", what, message));
}

Result<void> Connection::ensure(const std::string& url, const std::string& session) {
  if (connected()) return {};
  const auto until = Clock::now() + patience_;
  const char* names[] = {"dbname", "application_name", "client_encoding", "tcp_user_timeout", "keepalives_idle", nullptr};
  const char* values[] = {url.c_str(), "snapward", "UTF8", "5000", "2", nullptr};
  connection_.reset(PQconnectStartParams(names, values, 1));
  if (!connection_) return fail(ErrorCode::unavailable, "PostgreSQL cannot be reached: no memory");
  for (PostgresPollingStatusType state = PGRES_POLLING_WRITING;;) {
    if (PQstatus(connection_.get()) == CONNECTION_BAD || state == PGRES_POLLING_FAILED) return trouble("cannot be reached");
    if (state == PGRES_POLLING_OK) break;
    if (!wait_for(connection_.get(), state == PGRES_POLLING_READING ? POLLIN : POLLOUT, until)) {
      drop();
      return fail(ErrorCode::unavailable, "PostgreSQL cannot be reached: no answer in time");
    }
    state = PQconnectPoll(connection_.get());
  }
  PQsetnonblocking(connection_.get(), 1);
  PQsetNoticeProcessor(connection_.get(), [](void*, const char*) {}, nullptr);
  if (session.empty()) return {};
  const auto ready = run(session);
  return ready ? Result<void>() : std::unexpected(ready.error());
}

Result<Answer> Connection::next(Clock::time_point until) {
  for (;;) {
    const int flushed = PQflush(connection_.get());
    if (flushed < 0) return trouble("is gone");
    if (flushed == 0 && !PQisBusy(connection_.get())) return Answer(PQgetResult(connection_.get()));
    if (!wait_for(connection_.get(), flushed > 0 ? POLLIN | POLLOUT : POLLIN, until)) {
      drop();
      return fail(ErrorCode::unavailable, "PostgreSQL did not answer in time");
    }
    if (!PQconsumeInput(connection_.get())) return trouble("is gone");
  }
}

Result<Answer> Connection::run(const std::string& sql) {
  const auto until = Clock::now() + patience_;
  if (!PQsendQuery(connection_.get(), sql.c_str())) return trouble("is gone");
  Answer last;
  std::optional<std::unexpected<Error>> wrong;
  for (;;) {
    auto answer = next(until);
    if (!answer) return answer;
    if (!*answer) break;
    const auto status = PQresultStatus(answer->get());
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK && !wrong) wrong = trouble("refused", answer->get());
    last = *std::move(answer);
  }
  if (wrong) return *wrong;
  return last;
}

namespace {
struct Bound {
  explicit Bound(const std::vector<Parameter>& parameters) {
    for (const Parameter& p : parameters) {
      if (p.binary) {
        values.push_back(p.bytes.empty() ? "" : p.bytes.data());
      } else {
        texts.push_back(std::make_unique<std::string>(p.bytes));
        values.push_back(texts.back()->c_str());
      }
      lengths.push_back(static_cast<int>(p.bytes.size()));
      formats.push_back(p.binary ? 1 : 0);
    }
  }
  std::vector<std::unique_ptr<std::string>> texts;
  std::vector<const char*> values;
  std::vector<int> lengths, formats;
};
}  // namespace

Result<Answer> Connection::run(const std::string& sql, const std::vector<Parameter>& parameters, bool binary_answer) {
  const auto until = Clock::now() + patience_;
  const Bound b(parameters);
  if (!PQsendQueryParams(connection_.get(), sql.c_str(), static_cast<int>(parameters.size()), nullptr, b.values.data(), b.lengths.data(),
                         b.formats.data(), binary_answer ? 1 : 0))
    return trouble("is gone");
  Answer first;
  for (;;) {
    auto answer = next(until);
    if (!answer) return answer;
    if (!*answer) break;
    if (!first) first = *std::move(answer);
  }
  const auto status = PQresultStatus(first.get());
  if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) return trouble("refused", first.get());
  return first;
}

// Statements between two syncs of a pipeline are one transaction (libpq, "Pipeline Mode").
Result<std::vector<Answer>> Connection::run_together(const std::vector<Statement>& statements) {
  const auto until = Clock::now() + patience_;
  PGconn* c = connection_.get();
  if (!PQenterPipelineMode(c)) return trouble("is gone");
  for (const Statement& s : statements) {
    const Bound b(s.parameters);
    if (!PQsendQueryParams(c, s.sql.c_str(), static_cast<int>(s.parameters.size()), nullptr, b.values.data(), b.lengths.data(),
                           b.formats.data(), 0))
      return trouble("is gone");
  }
  if (!PQpipelineSync(c)) return trouble("is gone");
  std::vector<Answer> out;
  std::optional<std::unexpected<Error>> wrong;
  for (;;) {
    auto answer = next(until);
    if (!answer) return std::unexpected(answer.error());
    if (!*answer) continue;  // the end of one statement's
    const auto status = PQresultStatus(answer->get());
    if (status == PGRES_PIPELINE_SYNC) break;
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK && status != PGRES_PIPELINE_ABORTED && !wrong)
      wrong = trouble("refused", answer->get());
    if (!connection_) return *wrong;
    out.push_back(*std::move(answer));
  }
  if (!PQexitPipelineMode(c)) return trouble("is gone");
  if (wrong) return *wrong;
  return out;
}

bool Connection::notified(std::chrono::milliseconds wait, int wake) {
  const auto until = Clock::now() + wait;
  for (;;) {
    bool any = false;
    if (connection_) {
      if (!PQconsumeInput(connection_.get())) return drop(), false;
      while (PGnotify* n = PQnotifies(connection_.get())) {
        any = true;
        PQfreemem(n);
      }
    }
    if (any) return true;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()).count();
    if (left <= 0) return false;
    std::array<pollfd, 2> wanted{{{.fd = wake, .events = POLLIN, .revents = 0},
                                  {.fd = connection_ ? PQsocket(connection_.get()) : -1, .events = POLLIN, .revents = 0}}};
    const int ready = poll(wanted.data(), wanted.size(), static_cast<int>(left));
    if (wanted[0].revents != 0 || (ready < 0 && errno != EINTR)) return false;
  }
}

}  // namespace snapward::store::pq
