// Newer rows laid over what a store holds: how reads see writes that are on their way into it.
#pragma once
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "store/store.hpp"

namespace snapward::store {

// Newer rows of one table in a range, by key; null: erased.
using NewerRows = std::map<std::string, Bytes>;

// How far to read in the store so that the limit is filled although newer rows can hide some of its own.
inline Range widened(Range range, const NewerRows& newer) {
  if (range.limit < static_cast<std::size_t>(-1) - newer.size()) range.limit += newer.size();
  return range;
}

inline std::vector<Row> lay_over(std::vector<Row> rows, const NewerRows& newer, const Range& range) {
  if (newer.empty()) return rows;
  std::map<std::string, std::string> merged;
  for (auto& row : rows) merged.insert_or_assign(std::move(row.key), std::move(row.value));
  for (const auto& [key, value] : newer) {
    if (value)
      merged.insert_or_assign(key, *value);
    else
      merged.erase(key);
  }
  std::vector<Row> out;
  const auto take = [&](auto first, const auto& last) {
    for (; first != last && out.size() < range.limit; ++first) out.push_back({first->first, first->second});
  };
  if (range.newest_first)
    take(merged.rbegin(), merged.rend());
  else
    take(merged.begin(), merged.end());
  return out;
}

}  // namespace snapward::store
