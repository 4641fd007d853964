#include "snapshots/selection.hpp"

#include <fmt/format.h>

namespace snapward::snapshots {

namespace {

// The tool that a snapshot belongs to, or "".
std::string owner_of(const cloud::Snapshot& s) {
  for (const auto& [key, value] : s.tags) {
    if (key.starts_with("aws:backup:")) return "AWS Backup";
    if (key.starts_with("aws:dlm:") || key == "dlm:managed") return "Data Lifecycle Manager";
  }
  if (s.description.starts_with("Created by CreateImage(") || s.description.starts_with("Copied for DestinationAmi ")) return "an image";
  if (s.description.starts_with("This snapshot is created by the AWS Backup service")) return "AWS Backup";
  return {};
}

}  // namespace

bool carries(const cloud::Tags& tags, std::string_view filter) {
  if (filter == "none") return true;
  const std::size_t equals = filter.find('=');
  const auto found = tags.find(filter.substr(0, equals));
  return found != tags.end() && (equals == std::string_view::npos || found->second == filter.substr(equals + 1));
}

Selection select(const Settings& settings, const cloud::Snapshot& s, const std::optional<cloud::Tags>& volume) {
  if (const std::string owner = owner_of(s); !owner.empty()) return {false, fmt::format("it was made for {}", owner)};
  if (settings.tag == "none") return {true, "every volume is managed"};
  const cloud::Tags& tags = volume ? *volume : s.tags;
  const char* who = volume ? "its volume" : "it (its volume is gone)";
  if (carries(tags, settings.tag)) return {true, fmt::format("{} carries the tag {}", who, settings.tag)};
  return {false, fmt::format("{} does not carry the tag {}", who, settings.tag)};
}

}  // namespace snapward::snapshots
