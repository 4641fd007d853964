// What Step Functions' operations have in common: names, ARNs, pages, inputs and tags, and how they are refused.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/arn.hpp"
#include "base/jackson.hpp"
#include "base/text.hpp"
#include "services/states/states.hpp"

namespace snapward::services::states {

std::unexpected<cloud::Error> bad_input(std::string message) { return cloud::error("ValidationException", std::move(message)); }

bool is_name(std::string_view name) {
  if (name.empty() || utf8_length(name) > 80) return false;
  char before = 0;
  for (const char c : name) {
    const auto u = static_cast<unsigned char>(c);
    const bool control = u < 0x20 || u == 0x7f || (before == '\xc2' && u < 0xa0);
    if (control || std::string_view(" <>{}[]?*\"#%\\^|~`$&,;:/").contains(c)) return false;
    before = c;
  }
  return true;
}

std::unexpected<cloud::Error> invalid_arn(std::string_view arn) {
  const auto parsed = Arn::parse(arn);
  if (!parsed) return cloud::error("InvalidArn", fmt::format("Invalid Arn: 'Invalid ARN prefix: {}'", arn));
  return cloud::error("InvalidArn", fmt::format("Invalid Arn: 'Resource type not valid in this context: {}'",
                                                parsed->resource.substr(0, parsed->resource.find_first_of(":/"))));
}

std::expected<PageRequest, cloud::Error> page_request(const Json& input, std::size_t longest_token) {
  const std::int64_t max = input["maxResults"].integer_or(0);
  const std::string_view token = input["nextToken"].string_or();
  std::vector<std::string> problems;
  if (max < 0 || max > 1000)
    problems.push_back(fmt::format("Value '{}' at 'maxResults' failed to satisfy constraint: Member must have value {}", max,
                                   max < 0 ? "greater than or equal to 0" : "less than or equal to 1000"));
  if (input.find("nextToken") && (token.empty() || token.size() > longest_token))
    problems.push_back(fmt::format("Value '{}' at 'nextToken' failed to satisfy constraint: Member must have length {} than or equal to {}",
                                   token, token.empty() ? "greater" : "less", token.empty() ? 1 : longest_token));
  if (!problems.empty())
    return bad_input(
        fmt::format("{} validation error{} detected: {}", problems.size(), problems.size() > 1 ? "s" : "", fmt::join(problems, "; ")));
  PageRequest out;
  if (max > 0) out.limit = static_cast<std::size_t>(max);
  if (!token.empty()) {
    const auto position = page_position(token);
    if (!position) return cloud::error("InvalidToken", "Invalid Token: 'Invalid token'");
    out.from = *position;
  }
  return out;
}

std::expected<Json, cloud::Error> execution_input(std::string_view text) {
  if (text.size() > asl::kMaxPayloadBytes)
    return bad_input(
        "1 validation error detected: Value at 'input' failed to satisfy constraint: Member must have length less than or equal to 262144");
  auto input = Json::parse(text);
  if (input) return *std::move(input);
  const auto said = jackson_error(text);
  return cloud::error("InvalidExecutionInput",
                      fmt::format("Invalid State Machine Execution Input: '{}'", said ? said->exception : input.error().message));
}

// The tags of a machine or an activity, and how to keep them; null when there is no such resource (versions and aliases have none).
Json* States::tags_of(const std::string& arn, std::function<void()>& save) {
  if (const auto m = machines_.find(arn); m != machines_.end()) {
    save = [this, &machine = m->second] { store(machine); };
    return &m->second.tags;
  }
  if (const auto a = activities_.find(arn); a != activities_.end()) {
    save = [this, &activity = a->second] { store(activity); };
    return &a->second.tags;
  }
  return nullptr;
}

std::expected<Json*, cloud::Error> States::tagged(const Call& call, std::function<void()>& save) {
  const std::string arn(call.input["resourceArn"].string_or());
  if (!Arn::parse(arn)) return invalid_arn(arn);
  const auto& tags = call.input["tags"].items();
  for (std::size_t i = 0; i < tags.size(); ++i)
    for (const auto& [field, least, most] : {std::tuple{"key", 1UL, 128UL}, std::tuple{"value", 0UL, 256UL}})
      if (const std::string_view text = tags[i][field].string_or(); utf8_length(text) < least || utf8_length(text) > most)
        return bad_input(fmt::format(
            "1 validation error detected: Value '{}' at 'tags.{}.member.{}' failed to satisfy constraint: Member must have length {}", text,
            i + 1, field, text.empty() ? "greater than or equal to 1" : fmt::format("less than or equal to {}", most)));
  Json* found = tags_of(arn, save);
  if (!found) return cloud::error("ResourceNotFound", fmt::format("Resource not found: '{}'", arn));
  return found;
}

Reply States::tag(const Call& call) {
  std::function<void()> keep;
  const auto tags = tagged(call, keep);
  if (!tags) return std::unexpected(tags.error());
  **tags = merge_tags(**tags, call.input["tags"], "key", "value");
  keep();
  return Json(Json::Object{});
}
Reply States::untag(const Call& call) {
  std::function<void()> keep;
  const auto tags = tagged(call, keep);
  if (!tags) return std::unexpected(tags.error());
  **tags = remove_tags(**tags, call.input["tagKeys"], "key");
  keep();
  return Json(Json::Object{});
}
Reply States::list_tags(const Call& call) {
  std::function<void()> keep;
  const auto tags = tagged(call, keep);
  if (!tags) return std::unexpected(tags.error());
  return Json::object({{"tags", **tags}});
}

}  // namespace snapward::services::states
