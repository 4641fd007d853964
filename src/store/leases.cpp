#include "store/leases.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>

#include "base/thread_name.hpp"
#include "store/pq.hpp"

namespace snapward::store {

namespace {

// How long a shard stands free for the node that has the fewest before any may take it.
constexpr auto kFirstRefusal = std::chrono::milliseconds(500);

constexpr const char* kNoMore = "DELETE FROM snapward.nodes WHERE node = $1";

std::int64_t boot_nanoseconds() {  // goes on while the machine sleeps
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

}  // namespace

struct Leases::Link {
  explicit Link(std::chrono::milliseconds patience) : connection(patience) {}
  pq::Connection connection;
};

// A lease, or, without a shard, a node that lives.
struct Leases::Seen {
  std::string shard, node, address;
  std::int64_t epoch = 0;
  double left = 0;  // milliseconds; negative: free for so long
};

Leases::Leases(Options options) : options_(std::move(options)), wake_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  for (const std::string& name : options_.shards) shards_[name];
  thread_ = std::thread([this] { run(); });
}
Leases::~Leases() {
  stop();
  ::close(wake_);
}

void Leases::wake() const {
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = write(wake_, &one, sizeof one);
}

bool Leases::held(const std::string& shard) const {
  const std::lock_guard lock(mutex_);
  const Shard& s = shards_.at(shard);
  return s.owned && boot_nanoseconds() < s.until;
}
bool Leases::leaving(const std::string& shard) const {
  const std::lock_guard lock(mutex_);
  return shards_.at(shard).leaving;
}
std::string Leases::owner(const std::string& shard) const {
  const std::lock_guard lock(mutex_);
  const Shard& s = shards_.at(shard);
  return s.owned && boot_nanoseconds() >= s.until ? "" : s.owner;
}
std::int64_t Leases::epoch(const std::string& shard) const {
  const std::lock_guard lock(mutex_);
  return shards_.at(shard).epoch;
}

std::optional<std::int64_t> Leases::acquire(const std::string& shard, std::function<void()> leave) {
  std::unique_lock lock(mutex_);
  Shard& s = shards_.at(shard);
  while (!closed_ && !s.owned) {  // it may be taken and lost before anybody has heard of it
    s.leave = leave;
    s.wanted = true;
    wake();
    changed_.wait(lock, [&] { return closed_ || s.owned || !s.wanted; });
  }
  if (closed_) return std::nullopt;
  return s.epoch;
}

void Leases::release(const std::string& shard) {
  std::unique_lock lock(mutex_);
  Shard& s = shards_.at(shard);
  s.leave = {};
  s.wanted = false;
  if (!s.owned) return;
  s.releasing = true;
  wake();
  changed_.wait(lock, [&] { return !s.releasing; });
}

void Leases::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  for (auto& [name, s] : shards_) s.wanted = false;
  changed_.notify_all();
}

void Leases::stop() {
  if (!thread_.joinable()) return;
  close();
  for (const std::string& name : options_.shards) release(name);
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake();
  thread_.join();
}

bool Leases::let_go(Link& link) {
  std::vector<std::pair<std::string, std::int64_t>> going;
  bool closed = false;
  {
    const std::lock_guard lock(mutex_);
    closed = closed_;
    for (const auto& [name, s] : shards_)
      if (s.releasing) going.emplace_back(name, s.epoch);
  }
  if (going.empty()) return false;
  if (closed) (void)link.connection.run(kNoMore, {{options_.node}});  // so that nobody leaves anything for it
  for (const auto& [name, epoch] : going) {
    const std::string epoch_text = std::to_string(epoch);
    (void)link.connection.run(
        "UPDATE snapward.leases SET expires = clock_timestamp(), address = '' WHERE shard = $1 AND epoch = $2::bigint AND node = $3",
        {{name}, {epoch_text}, {options_.node}});
  }
  (void)link.connection.run("NOTIFY snapward_lease");
  const std::lock_guard lock(mutex_);
  for (const auto& [name, epoch] : going) {
    Shard& s = shards_.at(name);
    s.owned = s.leaving = s.releasing = false;
    s.owner.clear();
  }
  changed_.notify_all();
  return true;
}

// False: the database does not answer.
bool Leases::beat(Link& link) {
  const std::int64_t asked = boot_nanoseconds();
  const std::string seconds = fmt::format("{}", static_cast<double>(options_.span.count()) / 1000);
  std::vector<std::string> names, epochs;
  bool closed = false;
  {
    const std::lock_guard lock(mutex_);
    closed = closed_;
    for (const auto& [name, s] : shards_)
      if (s.owned) names.push_back(name), epochs.push_back(std::to_string(s.epoch));
  }
  const std::string mine = pq::text_array({names.begin(), names.end()}), of = pq::text_array({epochs.begin(), epochs.end()});
  const auto renewed = link.connection.run(
      "WITH lives AS (INSERT INTO snapward.nodes SELECT $1, clock_timestamp() + make_interval(secs => $2::float8) WHERE NOT $5::bool "
      "ON CONFLICT (node) DO UPDATE SET expires = excluded.expires) "
      "UPDATE snapward.leases l SET expires = clock_timestamp() + make_interval(secs => $2::float8) "
      "FROM unnest($3::text[], $4::text[]) AS mine(shard, epoch) "
      "WHERE l.shard = mine.shard AND l.epoch = mine.epoch::bigint AND l.node = $1 RETURNING l.shard",
      {{options_.node}, {seconds}, {mine, true}, {of, true}, {closed ? "t" : "f"}});
  if (!renewed) {
    spdlog::debug("leases cannot be renewed: {}", renewed.error().message);
    return false;
  }
  std::vector<std::string> kept;
  for (int i = 0; i < PQntuples(renewed->get()); ++i) kept.emplace_back(PQgetvalue(renewed->get(), i, 0));
  const std::lock_guard lock(mutex_);
  for (const std::string& name : names)  // what is not among them has been taken by another
    shards_.at(name).until = std::ranges::count(kept, name) ? asked + options_.span.count() * 900'000 : 0;
  return true;
}

std::optional<std::vector<Leases::Seen>> Leases::look(Link& link) {
  const auto found = link.connection.run(
      "SELECT shard, node, address, epoch, 1000 * extract(epoch FROM expires - clock_timestamp())::float8 FROM snapward.leases "
      "UNION ALL SELECT '', node, '', 0, 0 FROM snapward.nodes WHERE expires > clock_timestamp()",
      {});
  if (!found) {
    spdlog::warn("the leases cannot be read: {}", found.error().message);
    return std::nullopt;
  }
  std::vector<Seen> out;
  for (int i = 0; i < PQntuples(found->get()); ++i) {
    const auto text = [&](int column) { return PQgetvalue(found->get(), i, column); };
    out.push_back({text(0), text(1), text(2), std::atoll(text(3)), std::strtod(text(4), nullptr)});
  }
  return out;
}

bool Leases::take(Link& link, const std::string& shard) {
  const std::int64_t asked = boot_nanoseconds();
  const std::string seconds = fmt::format("{}", static_cast<double>(options_.span.count()) / 1000);
  const auto taken = link.connection.run(
      "WITH free AS (SELECT 1 FROM snapward.leases WHERE shard = $4 AND expires <= clock_timestamp() FOR UPDATE) "
      "UPDATE snapward.leases SET epoch = epoch + 1, node = $1, address = $2, expires = clock_timestamp() + make_interval(secs => "
      "$3::float8) FROM free WHERE shard = $4 RETURNING epoch",
      {{options_.node}, {options_.address}, {seconds}, {shard}});
  if (!taken) spdlog::warn("the lease on {} cannot be taken: {}", shard, taken.error().message);
  if (!taken || PQntuples(taken->get()) != 1) return false;
  (void)link.connection.run("NOTIFY snapward_lease");
  const std::lock_guard lock(mutex_);
  Shard& s = shards_.at(shard);
  s.owned = true;
  s.leaving = false;
  s.epoch = std::atoll(PQgetvalue(taken->get(), 0, 0));
  s.owner = options_.address;
  s.until = asked + options_.span.count() * 900'000;  // a tenth sooner than the database thinks
  changed_.notify_all();
  return true;
}

std::chrono::milliseconds Leases::act(Link& link, std::vector<Seen> seen) {
  std::map<std::string, int> counts;  // of the nodes that live
  for (const Seen& s : seen)
    if (s.shard.empty()) counts[s.node] = 0;
  for (const Seen& s : seen)
    if (!s.shard.empty() && s.left > 0 && counts.contains(s.node)) ++counts[s.node];
  const int mine = counts[options_.node];
  int fewest = mine;
  bool most = true;  // of two with as many, the one with the greater name: or both would let one go, and one would have been enough
  for (const auto& [node, count] : counts) {
    fewest = std::min(fewest, count);
    most = most && std::pair(count, node) <= std::pair(mine, options_.node);
  }

  double next = static_cast<double>(options_.span.count());
  std::string to_take;
  std::function<void()> leave;
  {
    const std::lock_guard lock(mutex_);
    bool settled = true;  // nothing changes hands just now
    std::string last;     // of those it has
    for (const Seen& s : seen) {
      const auto found = shards_.find(s.shard);
      if (found == shards_.end()) continue;
      Shard& own = found->second;
      settled = settled && s.left > 0 && !own.leaving;
      if (own.owned) {
        last = s.shard;
        continue;
      }
      own.epoch = s.epoch;
      own.owner = s.left > 0 ? s.address : "";
      if (s.left > 0) {
        next = std::min(next, s.left);
      } else if (own.wanted) {
        if (fewest >= mine || -s.left >= static_cast<double>(kFirstRefusal.count()))
          to_take = s.shard;
        else
          next = std::min(next, static_cast<double>(kFirstRefusal.count()) + s.left);
      }
    }
    if (settled && most && mine - fewest >= 2 && !last.empty()) {
      shards_.at(last).leaving = true;
      leave = shards_.at(last).leave;
      spdlog::info("the shard {} goes to a node that has fewer", last);
    }
  }
  if (leave) leave();
  if (!to_take.empty() && take(link, to_take)) return std::chrono::milliseconds(0);
  return std::chrono::milliseconds(std::max<std::int64_t>(20, static_cast<std::int64_t>(next) + 1));
}

void Leases::give_up_overdue() {
  std::vector<std::function<void()>> leaves;
  {
    const std::lock_guard lock(mutex_);
    for (auto& [name, s] : shards_) {
      if (!s.owned || s.releasing || boot_nanoseconds() < s.until) continue;
      spdlog::warn("this node does not own the shard {} any more: its lease could not be renewed in time, or another node has it", name);
      s.owned = s.wanted = s.leaving = false;
      s.owner.clear();
      leaves.push_back(std::exchange(s.leave, {}));
    }
    if (!leaves.empty()) changed_.notify_all();
  }
  for (const auto& leave : leaves)
    if (leave) leave();
}

// Until somebody says that a lease changed, something is asked of this one here, or so long.
void Leases::wait_for_news(Link& link, std::chrono::milliseconds at_most) {
  link.connection.notified(at_most, wake_);
  std::uint64_t ignored = 0;
  [[maybe_unused]] const auto got = read(wake_, &ignored, sizeof ignored);
}

void Leases::run() {
  name_this_thread("leases");
  using Clock = std::chrono::steady_clock;
  Link link(options_.span / 4);
  auto next_beat = Clock::now();
  bool fresh = true;
  for (;;) {
    {
      const std::lock_guard lock(mutex_);
      if (stopping_) break;
    }
    if (let_go(link)) continue;
    give_up_overdue();
    auto wait = options_.span / 20;
    if (link.connection.ensure(options_.url, "LISTEN snapward_lease")) {
      if (std::exchange(fresh, false))
        (void)link.connection.run("DELETE FROM snapward.nodes WHERE expires < clock_timestamp() - interval '1 minute'");
      if (Clock::now() >= next_beat && beat(link)) {
        give_up_overdue();
        next_beat = Clock::now() + options_.span / 3;
      }
      if (auto seen = look(link)) wait = act(link, *std::move(seen));
      const auto until_beat = std::chrono::ceil<std::chrono::milliseconds>(next_beat - Clock::now());
      wait = std::min(wait, std::max(until_beat, options_.span / 20));
    } else {
      const std::lock_guard lock(mutex_);
      for (auto& [name, s] : shards_)
        if (!s.owned) s.owner.clear();
    }
    if (wait.count() > 0) wait_for_news(link, wait);
  }
  if (link.connection.connected()) (void)link.connection.run(kNoMore, {{options_.node}});
}

}  // namespace snapward::store
