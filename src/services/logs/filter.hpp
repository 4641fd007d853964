// Filter patterns of CloudWatch Logs for unstructured events: terms that must be there, ?terms of which one must, -terms that must not,
// "quoted phrases". Source: CloudWatch Logs User Guide, "Filter pattern syntax".
#pragma once
#include <expected>
#include <string>
#include <string_view>
#include <vector>

namespace snapward::services::logs {

class Filter {
 public:
  // The error says what cannot be understood; patterns for JSON and for space-delimited events are refused.
  static std::expected<Filter, std::string> parse(std::string_view pattern);
  [[nodiscard]] bool matches(std::string_view message) const;

 private:
  std::vector<std::string> all_, any_, none_;
};

}  // namespace snapward::services::logs
