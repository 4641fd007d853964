#include "store/postgres.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <ctime>

#include "base/crash_point.hpp"
#include "store/packing.hpp"
#include "store/pq.hpp"

namespace snapward::store {

namespace {

constexpr auto kPatience = std::chrono::milliseconds(5000);  // with one statement
constexpr auto kLongestRead = std::chrono::seconds(60);
constexpr int kLayout = 2;

// Each brings the tables from the layout before to its own. They run under a lock: nodes start together.
constexpr const char* kMigrations[kLayout] = {
    R"(CREATE TABLE snapward.rows (tbl text COLLATE "C" NOT NULL, key bytea NOT NULL, value bytea NOT NULL, PRIMARY KEY (tbl, key));
ALTER TABLE snapward.rows ALTER COLUMN value SET STORAGE EXTERNAL;
CREATE TABLE snapward.leases (shard text PRIMARY KEY, epoch bigint NOT NULL, node text NOT NULL, address text NOT NULL, expires timestamptz NOT NULL);
INSERT INTO snapward.leases VALUES ('all', 0, '', '', 'epoch');)",
    ""};  // 2: histories refer to values they have written before (asl/history.hpp)

// Fails in the transaction, so that nothing of it is kept, unless the epoch is the lease's. FOR KEY SHARE: renewing goes on beside it,
// taking waits.
constexpr const char* kFence =
    "SELECT 1 / (SELECT count(*) FROM (SELECT 1 FROM snapward.leases WHERE shard = 'all' AND epoch = $1::bigint FOR KEY SHARE) held)";
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
  PostgresStore(std::string url, std::int64_t epoch) : url_(std::move(url)), epoch_(std::to_string(epoch)) {}

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
    if (epoch_ != "0") statements.push_back({kFence, {{epoch_}}});
    if (!keys.empty())
      statements.push_back(
          {"INSERT INTO snapward.rows SELECT * FROM unnest($1::text[], $2::bytea[], $3::bytea[]) "
           "ON CONFLICT (tbl, key) DO UPDATE SET value = excluded.value",
           {array(pq::text_array(tables)), array(pq::bytea_array(keys)), array(pq::bytea_array(values))}});
    if (!erased_keys.empty())
      statements.push_back(
          {"DELETE FROM snapward.rows r USING unnest($1::text[], $2::bytea[]) AS gone(t, k) WHERE r.tbl = gone.t AND r.key = gone.k",
           {array(pq::text_array(erased_tables)), array(pq::bytea_array(erased_keys))}});
    crash_point("committing");
    const auto done = writer_.run_together(statements);
    if (done) return {};
    if (pq::has_state(done.error(), kDivisionByZero))
      return fail(ErrorCode::fenced, "another node owns the state now; this one writes nothing more");
    return std::unexpected(done.error());
  }

  Result<std::optional<std::string>> get(std::string_view table, std::string_view key) override {
    const auto answer = read("SELECT value FROM snapward.rows WHERE tbl = $1::text AND key = $2::bytea", {{table, false}, {key, true}});
    if (!answer) return std::unexpected(answer.error());
    if (PQntuples(answer->get()) == 0) return std::nullopt;
    auto value = unpacker_.unpack(field(*answer, 0, 0));
    if (!value) return damaged(table, key);
    return std::optional(*std::move(value));
  }

  Result<std::vector<Row>> scan(std::string_view table, const Range& range) override {
    std::string sql = "SELECT key, value FROM snapward.rows WHERE tbl = $1::text AND key >= $2::bytea";
    std::vector<pq::Parameter> parameters{{table, false}, {range.from, true}};
    if (!range.to.empty()) {
      sql += " AND key < $3::bytea";
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

  std::string url_, epoch_;
  pq::Connection writer_{kPatience}, reader_{kPatience};
  Packer packer_;
  Unpacker unpacker_;
};

std::int64_t boot_nanoseconds() {  // goes on while the machine sleeps
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

}  // namespace

Result<void> prepare_postgres(const std::string& url) {
  pq::Connection connection{std::chrono::seconds(30)};
  if (auto connected = connection.ensure(url); !connected) return connected;
  const auto run = [&](const std::string& sql) -> Result<pq::Answer> { return connection.run(sql); };
  if (auto locked = run("SELECT pg_advisory_lock(hashtext('snapward'))"); !locked) return std::unexpected(locked.error());
  if (auto made = run("CREATE SCHEMA IF NOT EXISTS snapward; CREATE TABLE IF NOT EXISTS snapward.layout (layout int NOT NULL)"); !made)
    return std::unexpected(made.error());
  const auto found = run("SELECT coalesce(max(layout), 0) FROM snapward.layout");
  if (!found) return std::unexpected(found.error());
  const int layout = std::atoi(PQgetvalue(found->get(), 0, 0));
  if (auto known = check_layout(layout); !known) return known;
  for (int i = layout; i < kLayout; ++i)
    if (auto migrated = run(fmt::format("BEGIN; {} INSERT INTO snapward.layout VALUES ({}); COMMIT", kMigrations[i], i + 1)); !migrated)
      return std::unexpected(migrated.error());
  return {};
}

Result<std::unique_ptr<Store>> open_postgres(const std::string& url, std::int64_t epoch) {
  auto store = std::make_unique<PostgresStore>(url, epoch);
  if (auto opened = store->open(); !opened) return std::unexpected(opened.error());
  return std::unique_ptr<Store>(std::move(store));
}

// ── The lease ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────

struct Lease::Link {
  explicit Link(std::chrono::milliseconds patience) : connection(patience) {}
  pq::Connection connection;
};

Lease::Lease(Options options) : options_(std::move(options)) {
  thread_ = std::thread([this] { run(); });
}
Lease::~Lease() { stop(); }

bool Lease::held() const {
  const std::lock_guard lock(mutex_);
  return owned_ && boot_nanoseconds() < until_;
}
std::string Lease::owner() const {
  const std::lock_guard lock(mutex_);
  return owned_ && boot_nanoseconds() >= until_ ? "" : owner_;
}
std::int64_t Lease::epoch() const {
  const std::lock_guard lock(mutex_);
  return epoch_;
}

std::optional<std::int64_t> Lease::acquire(const std::function<void()>& lost) {
  std::unique_lock lock(mutex_);
  while (!stopping_ && !owned_) {  // it may be taken and lost before anybody has heard of it
    lost_ = lost;
    wanted_ = true;
    changed_.notify_all();
    changed_.wait(lock, [this] { return stopping_ || owned_ || !wanted_; });
  }
  if (stopping_) return std::nullopt;
  return epoch_;
}

void Lease::release() {
  std::unique_lock lock(mutex_);
  lost_ = {};
  wanted_ = false;
  if (!owned_) return;
  releasing_ = true;
  changed_.notify_all();
  changed_.wait(lock, [this] { return !releasing_; });
}

void Lease::stop() {
  if (!thread_.joinable()) return;
  release();
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Lease::give_up() {
  std::function<void()> lost;
  {
    const std::lock_guard lock(mutex_);
    owned_ = false;
    wanted_ = false;
    owner_.clear();
    lost = std::exchange(lost_, {});
    changed_.notify_all();
  }
  if (lost) lost();
}

bool Lease::try_to_take(Link& link) {
  const std::int64_t asked = boot_nanoseconds();
  const std::string seconds = fmt::format("{}", static_cast<double>(options_.span.count()) / 1000);
  const auto taken = link.connection.run(
      "WITH free AS (SELECT 1 FROM snapward.leases WHERE shard = 'all' AND expires <= clock_timestamp() FOR UPDATE) "
      "UPDATE snapward.leases SET epoch = epoch + 1, node = $1, address = $2, expires = clock_timestamp() + make_interval(secs => "
      "$3::float8) "
      "FROM free WHERE shard = 'all' RETURNING epoch",
      {{options_.node}, {options_.address}, {seconds}});
  if (!taken) spdlog::warn("the lease cannot be taken: {}", taken.error().message);
  if (!taken || PQntuples(taken->get()) != 1) return false;
  (void)link.connection.run("NOTIFY snapward_lease");
  const std::lock_guard lock(mutex_);
  owned_ = true;
  epoch_ = std::atoll(PQgetvalue(taken->get(), 0, 0));
  owner_ = options_.address;
  until_ = asked + options_.span.count() * 900'000;  // a tenth sooner than the database thinks
  changed_.notify_all();
  return true;
}

// False: another has it, or the database does not answer.
bool Lease::renew(Link& link) {
  const std::int64_t asked = boot_nanoseconds();
  const std::string seconds = fmt::format("{}", static_cast<double>(options_.span.count()) / 1000), epoch_text = std::to_string(epoch());
  if (!link.connection.ensure(options_.url, "LISTEN snapward_lease")) return false;
  const auto renewed = link.connection.run(
      "UPDATE snapward.leases SET expires = clock_timestamp() + make_interval(secs => $3::float8) WHERE shard = 'all' AND epoch = "
      "$1::bigint AND node = $2 RETURNING 1",
      {{epoch_text}, {options_.node}, {seconds}});
  if (!renewed) return false;
  const std::lock_guard lock(mutex_);
  if (PQntuples(renewed->get()) != 1)
    until_ = 0;  // another took it
  else
    until_ = asked + options_.span.count() * 900'000;
  return until_ != 0;
}

std::chrono::milliseconds Lease::look(Link& link) {
  const auto seen = link.connection.run(
      "SELECT address, epoch, greatest(0, ceil(1000 * extract(epoch FROM expires - clock_timestamp())))::float8 FROM snapward.leases WHERE "
      "shard = 'all'",
      {});
  if (!seen) spdlog::warn("the lease cannot be read: {}", seen.error().message);
  if (!seen || PQntuples(seen->get()) != 1) return std::chrono::milliseconds(200);
  const double left = std::strtod(PQgetvalue(seen->get(), 0, 2), nullptr);
  const std::lock_guard lock(mutex_);
  epoch_ = std::atoll(PQgetvalue(seen->get(), 0, 1));
  owner_ = left > 0 ? PQgetvalue(seen->get(), 0, 0) : "";
  return std::chrono::milliseconds(left > 0 && left < 1e9 ? static_cast<std::int64_t>(left) : 0);
}

// Until somebody says that the lease changed, or so long.
void Lease::wait_for_news(Link& link, std::chrono::milliseconds at_most) {
  const auto until = std::chrono::steady_clock::now() + at_most;
  for (;;) {
    {
      const std::lock_guard lock(mutex_);
      if (stopping_) return;
    }
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
    if (left.count() <= 0 || !link.connection.connected() || link.connection.notified(std::min(left, std::chrono::milliseconds(100))))
      return;
  }
}

void Lease::run() {
  Link link(options_.span / 4);
  auto pause = options_.span / 3;  // until the next renewal
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (releasing_) {
      const std::string epoch_text = std::to_string(epoch_);
      lock.unlock();
      (void)link.connection.run(
          "UPDATE snapward.leases SET expires = 'epoch', address = '' WHERE shard = 'all' AND epoch = $1::bigint AND node = $2",
          {{epoch_text}, {options_.node}});
      (void)link.connection.run("NOTIFY snapward_lease");
      lock.lock();
      owned_ = releasing_ = false;
      owner_.clear();
      changed_.notify_all();
      continue;
    }
    if (owned_) {
      // Three times in a span; when it fails, again and again until it would be too late.
      changed_.wait_for(lock, pause, [this] { return stopping_ || releasing_; });
      if (stopping_ || releasing_) continue;
      lock.unlock();
      const bool renewed = renew(link);
      pause = renewed ? options_.span / 3 : options_.span / 20;
      if (!renewed && !held()) {
        spdlog::warn("this node does not own the state any more: its lease could not be renewed in time, or another node has it");
        give_up();
      }
      lock.lock();
      continue;
    }
    lock.unlock();
    if (!link.connection.ensure(options_.url, "LISTEN snapward_lease")) {
      lock.lock();
      owner_.clear();
      changed_.wait_for(lock, std::chrono::milliseconds(200), [this] { return stopping_; });
      continue;
    }
    const auto left = look(link);
    lock.lock();
    const bool may_take = wanted_;
    lock.unlock();
    if (left.count() > 0 || !may_take || !try_to_take(link))
      wait_for_news(link, std::clamp(left, std::chrono::milliseconds(20), options_.span));
    pause = options_.span / 3;
    lock.lock();
  }
}

}  // namespace snapward::store
