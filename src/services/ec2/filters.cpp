#include "services/ec2/filters.hpp"

#include <fmt/format.h>

#include "base/text.hpp"
#include "services/service.hpp"

namespace snapward::services::ec2 {

std::expected<bool, cloud::Error> passes(const Json& filters, const Json& tags, const Values& values) {
  bool all = true;
  for (const Json& filter : filters.items()) {
    const std::string name(filter["Name"].string_or());
    std::optional<std::vector<std::string>> have;
    if (name.starts_with("tag:")) {
      have.emplace();
      for (const Json& tag : tags.items())
        if (tag["Key"].string_or() == std::string_view(name).substr(4)) have->emplace_back(tag["Value"].string_or());
    } else if (name == "tag-key" || name == "tag-value") {
      have.emplace();
      for (const Json& tag : tags.items()) have->emplace_back(tag[name == "tag-key" ? "Key" : "Value"].string_or());
    } else {
      have = values(name);
    }
    if (!have) return cloud::error("InvalidParameterValue", fmt::format("The filter '{}' is invalid", name));
    const auto& wanted = filter["Values"].items();
    all =
        all && std::any_of(have->begin(), have->end(), [&](const std::string& value) {
          return std::any_of(wanted.begin(), wanted.end(), [&](const Json& pattern) { return wildcard_match(pattern.string_or(), value); });
        });
  }
  return all;
}

std::expected<Page, cloud::Error> paginate(const Json& input, const std::vector<std::string>& ids, std::int64_t least, std::int64_t most) {
  Page page{.from = 0, .to = ids.size(), .next_token = {}};
  if (const Json* token = input.find("NextToken"); token && !token->string_or().empty()) {
    const auto position = page_position(token->string_or());
    if (!position) return cloud::error("InvalidNextToken", "The token is invalid.");
    page.from = static_cast<std::size_t>(std::lower_bound(ids.begin(), ids.end(), *position) - ids.begin());
  }
  if (const Json* max = input.find("MaxResults")) {
    const std::int64_t n = max->integer_or(0);
    if (n < 1) return cloud::error("InvalidMaxResults", "The specified value for MaxResults is not valid.");
    if (n < least)
      return cloud::error(
          "InvalidParameterValue",
          fmt::format("Value ( {} ) for parameter maxResults is invalid. Expecting a value greater than or equal to {}.", n, least));
    if (page.from + static_cast<std::size_t>(std::min(n, most)) < ids.size()) {
      page.to = page.from + static_cast<std::size_t>(std::min(n, most));
      page.next_token = page_token(ids[page.to]);
    }
  }
  return page;
}

}  // namespace snapward::services::ec2
