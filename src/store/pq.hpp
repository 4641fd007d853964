// A connection to PostgreSQL, for this folder alone: libpq, with a limit on how long anything may take.
#pragma once
#include <libpq-fe.h>

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"

namespace snapward::store::pq {

struct CloseConnection {
  void operator()(PGconn* c) const { PQfinish(c); }
};
struct ClearResult {
  void operator()(PGresult* r) const { PQclear(r); }
};
using Answer = std::unique_ptr<PGresult, ClearResult>;

// A parameter: text, or bytes as PostgreSQL's binary formats have them. It must outlive the call.
struct Parameter {
  std::string_view bytes;
  bool binary = false;
};

class Connection {
 public:
  explicit Connection(std::chrono::milliseconds patience) : patience_(patience) {}
  // Connects when there is no connection, or it is broken. `session` is sent first thing on a new one.
  Result<void> ensure(const std::string& url, const std::string& session = "");
  void drop() { connection_.reset(); }
  [[nodiscard]] bool connected() const { return connection_ && PQstatus(connection_.get()) == CONNECTION_OK; }

  // One statement without parameters, or several.
  Result<Answer> run(const std::string& sql);
  Result<Answer> run(const std::string& sql, const std::vector<Parameter>& parameters, bool binary_answer = false);

  // Several statements in one transaction and one round trip (pipeline mode).
  struct Statement {
    std::string sql;
    std::vector<Parameter> parameters;
  };
  Result<std::vector<Answer>> run_together(const std::vector<Statement>& statements);

  // Whether something arrived on a channel it listens to, within so long. False at the end of the connection too, and as soon as `wake` can
  // be read. Without a connection only that is waited for.
  bool notified(std::chrono::milliseconds wait, int wake);

 private:
  Result<Answer> next(std::chrono::steady_clock::time_point until);  // null: the end of a statement's answers
  std::unexpected<Error> trouble(const char* what, const PGresult* answer = nullptr);

  std::chrono::milliseconds patience_;
  std::unique_ptr<PGconn, CloseConnection> connection_;
};

// The SQLSTATE that made an error; Errors of this folder carry it as "[22012] …".
bool has_state(const Error& error, std::string_view state);

// PostgreSQL's binary format of text[] and bytea[].
std::string text_array(const std::vector<std::string_view>& items);
std::string bytea_array(const std::vector<std::string_view>& items);

}  // namespace snapward::store::pq
