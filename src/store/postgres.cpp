#include "store/postgres.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <thread>

#include "base/crash_point.hpp"
#include "store/packing.hpp"
#include "store/pq.hpp"

namespace snapward::store {

namespace {

constexpr auto kPatience = std::chrono::milliseconds(5000);  // with one statement
constexpr auto kLongestRead = std::chrono::seconds(60);
constexpr int kLayout = 3;

// Each brings the tables from the layout before to its own. They run under a lock: nodes start together.
constexpr const char* kMigrations[kLayout] = {
    R"(CREATE TABLE snapward.rows (tbl text COLLATE "C" NOT NULL, key bytea NOT NULL, value bytea NOT NULL, PRIMARY KEY (tbl, key));
ALTER TABLE snapward.rows ALTER COLUMN value SET STORAGE EXTERNAL;
CREATE TABLE snapward.leases (shard text PRIMARY KEY, epoch bigint NOT NULL, node text NOT NULL, address text NOT NULL, expires timestamptz NOT NULL);
INSERT INTO snapward.leases VALUES ('all', 0, '', '', 'epoch');)",
    "",  // 2: histories refer to values they have written before (asl/history.hpp)
    // 3: a state in shards. One that was written before stays in one piece, the shard 'all'.
    R"(ALTER TABLE snapward.rows ADD COLUMN shard text COLLATE "C" NOT NULL DEFAULT 'all';
ALTER TABLE snapward.rows ALTER COLUMN shard DROP DEFAULT, DROP CONSTRAINT rows_pkey, ADD PRIMARY KEY (shard, tbl, key);
CREATE TABLE snapward.nodes (node text PRIMARY KEY, expires timestamptz NOT NULL);
CREATE TABLE snapward.cluster (secret text NOT NULL);
INSERT INTO snapward.cluster VALUES (gen_random_uuid());)"};

// Fails in the transaction, so that nothing of it is kept, unless the epoch is the lease's. FOR KEY SHARE: renewing goes on beside it,
// taking waits.
constexpr const char* kFence =
    "SELECT 1 / (SELECT count(*) FROM (SELECT 1 FROM snapward.leases WHERE shard = $1 AND epoch = $2::bigint FOR KEY SHARE) held)";
constexpr std::string_view kDivisionByZero = "22012";

Result<void> check_layout(int layout) {
  if (layout <= kLayout) return {};
  return fail(ErrorCode::unsupported,
              fmt::format("the database was written by a newer snapward (layout {}, this one knows {}); use that one", layout, kLayout));
}

std::string_view field(const pq::Answer& answer, int row, int column) {
  return {PQgetvalue(answer.get(), row, column), static_cast<std::size_t>(PQgetlength(answer.get(), row, column))};
}

class PostgresStore final : public Store {
 public:
  PostgresStore(std::string url, std::string shard, std::int64_t epoch)
      : url_(std::move(url)), shard_(std::move(shard)), epoch_(std::to_string(epoch)) {}

  Result<void> open() {
    if (auto connected = writer_.ensure(url_); !connected) return connected;
    // Another node may have brought it up to date since this one started.
    const auto found = writer_.run("SELECT max(layout) FROM snapward.layout");
    if (!found) return std::unexpected(found.error());
    if (auto known = check_layout(std::atoi(PQgetvalue(found->get(), 0, 0))); !known) return known;
    return reader_.ensure(url_);
  }

  Result<void> commit(const std::vector<Write>& writes) override {
    if (auto connected = writer_.ensure(url_); !connected) return connected;
    std::vector<std::string_view> tables, keys, values, erased_tables, erased_keys;
    std::vector<std::string> packed;
    packed.reserve(writes.size());
    for (const Write& w : writes) {
      (w.value ? tables : erased_tables).push_back(w.table);
      (w.value ? keys : erased_keys).push_back(w.key);
      if (!w.value) continue;
      const std::string_view kept = packer_.pack(*w.value);
      const bool own = kept.data() == w.value->data();
      values.push_back(own ? kept : std::string_view(packed.emplace_back(kept)));
    }
    std::vector<std::string> arrays;
    arrays.reserve(5);
    const auto array = [&arrays](std::string bytes) { return pq::Parameter{arrays.emplace_back(std::move(bytes)), true}; };
    std::vector<pq::Connection::Statement> statements;
    if (epoch_ != "0") statements.push_back({kFence, {{shard_}, {epoch_}}});
    if (!keys.empty())
      statements.push_back(
          {"INSERT INTO snapward.rows (shard, tbl, key, value) SELECT $4, * FROM unnest($1::text[], $2::bytea[], $3::bytea[]) "
           "ON CONFLICT (shard, tbl, key) DO UPDATE SET value = excluded.value",
           {array(pq::text_array(tables)), array(pq::bytea_array(keys)), array(pq::bytea_array(values)), {shard_}}});
    if (!erased_keys.empty())
      statements.push_back(
          {"DELETE FROM snapward.rows r USING unnest($1::text[], $2::bytea[]) AS gone(t, k) WHERE r.shard = $3 AND r.tbl = gone.t AND "
           "r.key = gone.k",
           {array(pq::text_array(erased_tables)), array(pq::bytea_array(erased_keys)), {shard_}}});
    crash_point("committing");
    const auto done = writer_.run_together(statements);
    if (done) return {};
    if (pq::has_state(done.error(), kDivisionByZero))
      return fail(ErrorCode::fenced, fmt::format("another node owns the shard {} now; this one writes nothing more", shard_));
    return std::unexpected(done.error());
  }

  Result<std::optional<std::string>> get(std::string_view table, std::string_view key) override {
    const auto answer = read("SELECT value FROM snapward.rows WHERE shard = $3 AND tbl = $1::text AND key = $2::bytea",
                             {{table, false}, {key, true}, {shard_, false}});
    if (!answer) return std::unexpected(answer.error());
    if (PQntuples(answer->get()) == 0) return std::nullopt;
    auto value = unpacker_.unpack(field(*answer, 0, 0));
    if (!value) return damaged(table, key);
    return std::optional(*std::move(value));
  }

  Result<std::vector<Row>> scan(std::string_view table, const Range& range) override {
    std::string sql = "SELECT key, value FROM snapward.rows WHERE shard = $3 AND tbl = $1::text AND key >= $2::bytea";
    std::vector<pq::Parameter> parameters{{table, false}, {range.from, true}, {shard_, false}};
    if (!range.to.empty()) {
      sql += " AND key < $4::bytea";
      parameters.push_back({range.to, true});
    }
    sql += range.newest_first ? " ORDER BY key DESC" : " ORDER BY key";
    if (range.limit != static_cast<std::size_t>(-1)) sql += fmt::format(" LIMIT {}", range.limit);
    const auto answer = read(sql, parameters);
    if (!answer) return std::unexpected(answer.error());
    std::vector<Row> out;
    out.reserve(static_cast<std::size_t>(PQntuples(answer->get())));
    for (int i = 0; i < PQntuples(answer->get()); ++i) {
      auto value = unpacker_.unpack(field(*answer, i, 1));
      if (!value) return damaged(table, field(*answer, i, 0));
      out.push_back({std::string(field(*answer, i, 0)), *std::move(value)});
    }
    return out;
  }

 private:
  // A database that is away comes back, or another node takes over; an answer without it would be wrong.
  Result<pq::Answer> read(const std::string& sql, const std::vector<pq::Parameter>& parameters) {
    const auto until = std::chrono::steady_clock::now() + kLongestRead;
    for (;;) {
      auto connected = reader_.ensure(url_);
      auto answer = connected ? reader_.run(sql, parameters, true) : Result<pq::Answer>(std::unexpected(connected.error()));
      if (answer || std::chrono::steady_clock::now() > until) return answer;
      spdlog::warn("reading is tried again: {}", answer.error().message);
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
    }
  }
  static std::unexpected<Error> damaged(std::string_view table, std::string_view key) {
    return fail(ErrorCode::corrupt, fmt::format("the row '{}' of {} in PostgreSQL is damaged; restore it from a backup", key, table));
  }

  std::string url_, shard_, epoch_;
  pq::Connection writer_{kPatience}, reader_{kPatience};
  Packer packer_;
  Unpacker unpacker_;
};

}  // namespace

Result<Database> prepare_postgres(const std::string& url, const std::vector<std::string>& shards) {
  pq::Connection connection{std::chrono::seconds(30)};
  if (auto connected = connection.ensure(url); !connected) return std::unexpected(connected.error());
  const auto run = [&](const std::string& sql) -> Result<pq::Answer> { return connection.run(sql); };
  if (auto locked = run("SELECT pg_advisory_lock(hashtext('snapward'))"); !locked) return std::unexpected(locked.error());
  if (auto made = run("CREATE SCHEMA IF NOT EXISTS snapward; CREATE TABLE IF NOT EXISTS snapward.layout (layout int NOT NULL)"); !made)
    return std::unexpected(made.error());
  const auto found = run("SELECT coalesce(max(layout), 0) FROM snapward.layout");
  if (!found) return std::unexpected(found.error());
  const int layout = std::atoi(PQgetvalue(found->get(), 0, 0));
  if (auto known = check_layout(layout); !known) return std::unexpected(known.error());
  for (int i = layout; i < kLayout; ++i)
    if (auto migrated = run(fmt::format("BEGIN; {} INSERT INTO snapward.layout VALUES ({}); COMMIT", kMigrations[i], i + 1)); !migrated)
      return std::unexpected(migrated.error());
  // A state that nobody has owned yet is split as asked for; any other stays as it is.
  const std::string wanted = pq::text_array({shards.begin(), shards.end()});
  const auto split = connection.run(
      "WITH fresh AS (SELECT 1 FROM snapward.leases HAVING max(epoch) = 0), "
      "gone AS (DELETE FROM snapward.leases WHERE EXISTS (SELECT FROM fresh) AND shard <> ALL ($1::text[])) "
      "INSERT INTO snapward.leases SELECT name, 0, '', '', 'epoch'::timestamptz FROM unnest($1::text[]) AS wanted(name), fresh ON CONFLICT "
      "DO NOTHING",
      {{wanted, true}});
  if (!split) return std::unexpected(split.error());
  const auto parts = run("SELECT shard FROM snapward.leases ORDER BY shard"), secret = run("SELECT secret FROM snapward.cluster");
  if (!parts) return std::unexpected(parts.error());
  if (!secret) return std::unexpected(secret.error());
  Database out{.shards = {}, .secret = std::string(field(*secret, 0, 0))};
  for (int i = 0; i < PQntuples(parts->get()); ++i) out.shards.emplace_back(field(*parts, i, 0));
  return out;
}

Result<std::unique_ptr<Store>> open_postgres(const std::string& url, const std::string& shard, std::int64_t epoch) {
  auto store = std::make_unique<PostgresStore>(url, shard, epoch);
  if (auto opened = store->open(); !opened) return std::unexpected(opened.error());
  return std::unique_ptr<Store>(std::move(store));
}

}  // namespace snapward::store
