// The pages of the List operations: Limit (100 at most) and NextToken; and what archives, replays, connections and API destinations
// have in common, which are kept by region and name: NamePrefix.
#pragma once
#include <algorithm>
#include <optional>
#include <string>

#include "services/service.hpp"

namespace snapward::services::events {

// One page of something that is listed in the order of its positions.
class Page {
 public:
  // The error is for a NextToken that none of the operations gave.
  static std::expected<Page, cloud::Error> of(const Call& call) {
    const auto from = page_position(call.input["NextToken"].string_or());
    if (call.input.find("NextToken") && !from) return cloud::error("ValidationException", "Parameter NextToken is not valid.");
    Page page;
    page.from_ = from.value_or("");
    page.limit_ = static_cast<std::size_t>(std::clamp<std::int64_t>(call.input["Limit"].integer_or(100), 1, 100));
    return page;
  }
  [[nodiscard]] const std::string& from() const { return from_; }  // the first position of this page
  // False when the page is full: the next one begins at this position.
  bool add(const std::string& position, Json shown) {
    if (items_.size() == limit_) {
      next_ = position;
      return false;
    }
    items_.push_back(std::move(shown));
    return true;
  }
  [[nodiscard]] Json answer(const char* member) && {
    Json::Object out{{member, std::move(items_)}};
    if (next_) out.set("NextToken", page_token(*next_));
    return Json(std::move(out));
  }

 private:
  std::string from_;
  std::size_t limit_ = 100;
  Json::Array items_;
  std::optional<std::string> next_;
};

// `all` is ordered by (region, name). `show` gives what is listed, or nothing for what a filter leaves out.
template <class Map, class Show>
Reply list_named(const Call& call, const Map& all, const char* member, Show show) {
  auto page = Page::of(call);
  if (!page) return std::unexpected(page.error());
  for (auto at = all.lower_bound({call.region, page->from()}); at != all.end() && at->first.first == call.region; ++at) {
    if (!at->first.second.starts_with(call.input["NamePrefix"].string_or())) continue;
    std::optional<Json> shown = show(at->second);
    if (shown && !page->add(at->first.second, *std::move(shown))) break;
  }
  return (*std::move(page)).answer(member);
}

// Of archives and replays one filter can be given at a time.
inline std::expected<void, cloud::Error> check_filters(const Call& call) {
  int filters = 0;
  for (const char* filter : {"State", "EventSourceArn", "NamePrefix"}) filters += call.input.find(filter) ? 1 : 0;
  if (filters <= 1) return {};
  return cloud::error("ValidationException",
                      "At most one filter is allowed for " + call.operation + ". Use either : State, EventSourceArn, or NamePrefix.");
}

}  // namespace snapward::services::events
