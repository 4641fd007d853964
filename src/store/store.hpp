// Store: durable tables of rows, ordered by key. One interface, one test suite (store_test.cpp), several implementations.
//
// A commit is all or nothing, and durable when it returns. One thread commits; one other thread may read at the same time.
// Errors: unavailable (disk full, read-only, another process holds the data; trying again later may help), corrupt (it will not), fenced
// (the state has another owner now: what this process believes of it is out of date).
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"

namespace snapward::store {

// Values are shared, not copied, between those who wrote them, the commit and a store in memory.
using Bytes = std::shared_ptr<const std::string>;

struct Write {
  Write(std::string in_table, std::string row_key, Bytes bytes)
      : table(std::move(in_table)), key(std::move(row_key)), value(std::move(bytes)) {}
  Write(std::string in_table, std::string row_key, std::string bytes)
      : Write(std::move(in_table), std::move(row_key), std::make_shared<const std::string>(std::move(bytes))) {}
  Write(std::string in_table, std::string row_key, std::nullopt_t) : Write(std::move(in_table), std::move(row_key), Bytes()) {}
  std::string table, key;
  Bytes value;  // null: the row is erased
};

struct Row {
  std::string key, value;
};

// Keys in [from, to); an empty `to` means no end.
struct Range {
  std::string from, to;
  std::size_t limit = static_cast<std::size_t>(-1);
  bool newest_first = false;  // descending keys

  static Range prefix(std::string_view prefix);  // every key that begins so
};

class Store {
 public:
  virtual ~Store() = default;
  virtual Result<void> commit(const std::vector<Write>& writes) = 0;
  virtual Result<std::optional<std::string>> get(std::string_view table, std::string_view key) = 0;
  virtual Result<std::vector<Row>> scan(std::string_view table, const Range& range) = 0;
};

std::unique_ptr<Store> open_memory();

// A journal and a file `snapward.db` in an existing folder, made when missing. Refuses a folder that another process holds open.
Result<std::unique_ptr<Store>> open_sqlite(const std::string& folder);

}  // namespace snapward::store
