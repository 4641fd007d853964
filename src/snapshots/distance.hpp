// How far apart two regions are: great-circle miles between the cities that they are named after, give or take a hundred miles, since
// AWS says no more than the city. For the policy "the backup is so many miles away".
#pragma once
#include <optional>
#include <string_view>

namespace snapward::snapshots {

std::optional<double> miles_between(std::string_view region, std::string_view other);  // nothing for a region that is not known

}  // namespace snapward::snapshots
