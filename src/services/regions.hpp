// The AWS regions of the default partition, as DescribeRegions lists them.
#pragma once
#include <array>
#include <string_view>

namespace snapward::services {

struct Region {
  std::string_view name;
  bool opt_in;  // must be enabled by an account; here all are
};

inline constexpr std::array<Region, 30> kRegions = {{
    {"af-south-1", true},     {"ap-east-1", true},     {"ap-northeast-1", false}, {"ap-northeast-2", false}, {"ap-northeast-3", false},
    {"ap-south-1", false},    {"ap-south-2", true},    {"ap-southeast-1", false}, {"ap-southeast-2", false}, {"ap-southeast-3", true},
    {"ap-southeast-4", true}, {"ca-central-1", false}, {"ca-west-1", true},       {"eu-central-1", false},   {"eu-central-2", true},
    {"eu-north-1", false},    {"eu-south-1", true},    {"eu-south-2", true},      {"eu-west-1", false},      {"eu-west-2", false},
    {"eu-west-3", false},     {"il-central-1", true},  {"me-central-1", true},    {"me-south-1", true},      {"mx-central-1", true},
    {"sa-east-1", false},     {"us-east-1", false},    {"us-east-2", false},      {"us-west-1", false},      {"us-west-2", false},
}};

inline bool is_region(std::string_view name) {
  for (const Region& r : kRegions)
    if (r.name == name) return true;
  return false;
}

// Where a service keeps what belongs to no region: the names of IAM and of S3's buckets are one space (at AWS too it is us-east-1).
inline std::string_view home_of(std::string_view service, std::string_view region) {
  return service == "iam" || service == "s3" ? "us-east-1" : region;
}

}  // namespace snapward::services
