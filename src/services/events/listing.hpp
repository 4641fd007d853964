// The List operations over what is kept by region and name, alike for archives, replays, connections and API destinations: NamePrefix,
// Limit (100 at most) and NextToken.
#pragma once
#include <algorithm>
#include <optional>

#include "services/service.hpp"

namespace snapward::services::events {

// `all` is ordered by (region, name). `show` gives what is listed, or nothing for what a filter leaves out.
template <class Map, class Show>
Reply list_named(const Call& call, const Map& all, const char* member, Show show) {
  const auto from = page_position(call.input["NextToken"].string_or());
  if (call.input.find("NextToken") && !from) return cloud::error("ValidationException", "Parameter NextToken is not valid.");
  const auto limit = static_cast<std::size_t>(std::clamp<std::int64_t>(call.input["Limit"].integer_or(100), 1, 100));
  Json::Array out;
  for (auto at = all.lower_bound({call.region, from.value_or("")}); at != all.end() && at->first.first == call.region; ++at) {
    if (!at->first.second.starts_with(call.input["NamePrefix"].string_or())) continue;
    std::optional<Json> shown = show(at->second);
    if (!shown) continue;
    if (out.size() == limit) return Json::object({{member, std::move(out)}, {"NextToken", page_token(at->first.second)}});
    out.push_back(*std::move(shown));
  }
  return Json::object({{member, std::move(out)}});
}

}  // namespace snapward::services::events
