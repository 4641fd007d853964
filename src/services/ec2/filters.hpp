// Filters of Describe calls: [{Name, Values}], values with the wildcards * and ?, ANDed over filters and ORed over values.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cloud/cloud.hpp"

namespace snapward::services::ec2 {

// The values a resource has for a filter name, or nothing when the name is no filter of this call.
using Values = std::function<std::optional<std::vector<std::string>>(const std::string& filter_name)>;

// Whether the resource passes; the error (InvalidParameterValue) is for an unknown filter. tag:KEY, tag-key and tag-value are
// answered from `tags` ([{Key, Value}]), everything else by `values`.
std::expected<bool, cloud::Error> passes(const Json& filters, const Json& tags, const Values& values);

// One page of `ids` in order: MaxResults and NextToken of the input checked as EC2 does.
struct Page {
  std::size_t from = 0, to = 0;
  std::string next_token;
};
std::expected<Page, cloud::Error> paginate(const Json& input, const std::vector<std::string>& ids, std::int64_t least, std::int64_t most);

}  // namespace snapward::services::ec2
