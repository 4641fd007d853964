// Ledger: the loop's view of the store. Writes are gathered and committed in groups, one after the other in the order they were made;
// what has to wait for durability (answers to clients, commands to perform) waits with after_commit (design, contract 2: persist, then
// perform).
//
// Reads see every write made before them, durable or not.
// A group that cannot be committed is tried again until it can: nothing after it is let out meanwhile, so nothing is lost, and
// healthy() is false. When the state has another owner now, the fenced handler is told, and nothing more is let out.
// What cannot be read ends the process: an answer without it would be wrong. Owned by main; used on the loop's thread.
// Background commits run on a thread of the ledger's own, which has the next group at hand when it is done with one.
#pragma once
#include <array>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "engine/loop.hpp"
#include "store/store.hpp"

namespace snapward::engine {

class Ledger {
 public:
  enum class Mode { inline_commits, background_commits };  // inline: for virtual time and for stores that need no waiting
  Ledger(store::Store& store, Loop& loop, Mode mode);
  ~Ledger();  // commits what is left
  Ledger(const Ledger&) = delete;
  Ledger& operator=(const Ledger&) = delete;

  void put(std::string table, std::string key, std::string value);
  void erase(std::string table, std::string key);
  std::optional<std::string> get(std::string_view table, std::string_view key);
  std::vector<store::Row> scan(std::string_view table, store::Range range);

  // Runs `work` on the loop once all that has been written so far is durable.
  void after_commit(Loop::Work work);
  // The same for an answer to a client, which may be given on any thread: it leaves as soon as the writes are durable, whatever the loop
  // is at. It touches nothing of the loop's.
  void answer_after_commit(Loop::Work answer);
  [[nodiscard]] bool healthy() const { return healthy_; }
  void on_fenced(Loop::Work handler) { on_fenced_ = std::move(handler); }
  // From now on nothing is committed or let out: the state is another's. On the loop.
  void abandon() { abandoned_ = true; }
  [[nodiscard]] std::uint64_t commits() const { return commits_; }
  // Real time that commits took, on whatever thread.
  struct Latencies {
    static constexpr std::array<double, 10> kBounds{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0};  // seconds
    std::array<std::uint64_t, kBounds.size() + 1> counts{};  // each up to its bound, the last beyond all
    double sum = 0;
    void add(double seconds);
  };
  [[nodiscard]] const Latencies& latencies() const { return latencies_; }
  [[nodiscard]] std::size_t waiting() const;  // answers and commands

 private:
  using Key = std::pair<std::string, std::string>;
  struct Group {
    std::map<Key, store::Bytes, std::less<>> writes;  // null: erased
    std::vector<Loop::Work> waiting, answers;
    [[nodiscard]] std::vector<store::Write> list() const;
  };

  void flush();
  void commit_inline();
  void commit_in_background();
  void committed(double seconds);
  void let_out(std::vector<Loop::Work> waiting);
  void commit_failed(const Error& error);
  // Asked before a commit that failed is tried again; on the committer.
  [[nodiscard]] bool closed_within(std::chrono::milliseconds time);

  store::Store& store_;
  Loop& loop_;
  Mode mode_;
  Group gathering_;
  std::deque<Group> flying_;  // being committed, oldest first. The committer reads their writes and answers
  bool healthy_ = true, abandoned_ = false;
  Loop::Work on_fenced_;
  std::uint64_t commits_ = 0;
  Latencies latencies_;

  std::mutex mutex_;  // guards jobs_ and closing_
  std::condition_variable wake_;
  std::deque<const Group*> jobs_;
  bool closing_ = false;
  std::thread committer_;
};

}  // namespace snapward::engine
