#include <map>
#include <mutex>

#include "store/store.hpp"

namespace snapward::store {

Range Range::prefix(std::string_view prefix) {
  Range range;
  range.from = range.to = prefix;
  while (!range.to.empty() && static_cast<unsigned char>(range.to.back()) == 0xFF) range.to.pop_back();
  if (!range.to.empty()) range.to.back() = static_cast<char>(static_cast<unsigned char>(range.to.back()) + 1);
  return range;
}

namespace {

class MemoryStore final : public Store {
 public:
  Result<void> commit(const std::vector<Write>& writes) override {
    const std::lock_guard lock(mutex_);
    for (const Write& w : writes) {
      if (w.value)
        tables_[w.table].insert_or_assign(w.key, w.value);
      else
        tables_[w.table].erase(w.key);
    }
    return {};
  }

  Result<std::optional<std::string>> get(std::string_view table, std::string_view key) override {
    const std::lock_guard lock(mutex_);
    const auto t = tables_.find(table);
    if (t == tables_.end()) return std::optional<std::string>();
    const auto row = t->second.find(key);
    return row == t->second.end() ? std::optional<std::string>() : std::optional(*row->second);
  }

  Result<std::vector<Row>> scan(std::string_view table, const Range& range) override {
    const std::lock_guard lock(mutex_);
    std::vector<Row> out;
    const auto t = tables_.find(table);
    if (t == tables_.end()) return out;
    auto first = t->second.lower_bound(range.from);
    auto last = range.to.empty() ? t->second.end() : t->second.lower_bound(range.to);
    if (range.newest_first) {
      while (last != first && out.size() < range.limit) {
        --last;
        out.push_back({last->first, *last->second});
      }
    } else {
      for (; first != last && out.size() < range.limit; ++first) out.push_back({first->first, *first->second});
    }
    return out;
  }

 private:
  std::mutex mutex_;
  std::map<std::string, std::map<std::string, Bytes, std::less<>>, std::less<>> tables_;
};

}  // namespace

std::unique_ptr<Store> open_memory() { return std::make_unique<MemoryStore>(); }

}  // namespace snapward::store
