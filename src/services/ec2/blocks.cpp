#include "services/ec2/blocks.hpp"

#include <algorithm>

namespace snapward::services::ec2 {

void BlockMap::write(std::int64_t start, std::int64_t count, std::int64_t content) {
  if (count <= 0) return;
  blocks_ = -1;
  const std::int64_t end = start + count;
  auto at = runs_.lower_bound(start);
  if (at != runs_.begin()) {
    const auto before = std::prev(at);
    const std::int64_t before_end = before->first + before->second.count;
    if (before_end > start) {  // cut what reaches into us, keep what sticks out behind
      if (before_end > end) runs_[end] = {before_end - end, before->second.content};
      before->second.count = start - before->first;
    }
  }
  while (at != runs_.end() && at->first < end) {
    const std::int64_t at_end = at->first + at->second.count;
    if (at_end > end) runs_[end] = {at_end - end, at->second.content};
    at = runs_.erase(at);
  }
  runs_[start] = {count, content};
}

std::int64_t BlockMap::blocks() const {
  if (blocks_ < 0) {
    blocks_ = 0;
    for (const auto& run : runs_) blocks_ += run.second.count;
  }
  return blocks_;
}

std::int64_t BlockMap::changed_since(const BlockMap& older) const {
  std::int64_t same = 0;
  auto theirs = older.runs_.begin();
  for (const auto& [start, run] : runs_) {
    const std::int64_t end = start + run.count;
    while (theirs != older.runs_.end() && theirs->first + theirs->second.count <= start) ++theirs;
    for (auto t = theirs; t != older.runs_.end() && t->first < end; ++t)
      if (t->second.content == run.content) same += std::min(end, t->first + t->second.count) - std::max(start, t->first);
  }
  return blocks() - same;
}

Json BlockMap::to_json() const {
  Json::Array out;
  for (const auto& [start, run] : runs_) out.push_back(Json::array({start, run.count, run.content}));
  return out;
}

BlockMap BlockMap::from_json(const Json& json) {
  BlockMap out;
  for (const Json& run : json.items()) {
    const auto& r = run.items();
    if (r.size() == 3) out.runs_[r[0].integer_or(0)] = {r[1].integer_or(0), r[2].integer_or(0)};
  }
  return out;
}

}  // namespace snapward::services::ec2
