#include "services/events/constraints.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/arn.hpp"
#include "base/text.hpp"
#include "wire/model.hpp"

namespace snapward::services::events {

namespace {

bool made_of(std::string_view text, std::string_view marks) {
  return std::ranges::all_of(text, [&](char c) { return std::isalnum(static_cast<unsigned char>(c)) || marks.contains(c); });
}
bool digits(std::string_view text) { return text.find_first_not_of("0123456789") == std::string_view::npos; }

// The resource of an ARN of EventBridge, or nothing.
std::optional<std::string> resource_of(std::string_view text) {
  const auto arn = Arn::parse(text);
  if (!arn || !arn->partition.starts_with("aws") || arn->service != "events") return std::nullopt;
  if (!arn->account.empty() && (arn->account.size() != 12 || !digits(arn->account))) return std::nullopt;
  return arn->resource;
}

// A regular expression of the model, as AWS shows it, and what it accepts.
struct Form {
  std::string_view text;
  bool (*fits)(std::string_view);
};

constexpr Form kAny = {"", [](std::string_view) { return true; }};
constexpr Form kName = {R"([\.\-_A-Za-z0-9]+)", [](std::string_view s) { return made_of(s, ".-_"); }};
constexpr Form kPath = {R"([/\.\-_A-Za-z0-9]+)", [](std::string_view s) { return made_of(s, "/.-_"); }};
constexpr Form kBus = {R"((arn:aws[\w-]*:events:[a-z]+-[a-z]+-[\w-]+:[0-9]{12}:event-bus\/)?[/\.\-_A-Za-z0-9]+)", [](std::string_view s) {
                         const auto resource = s.starts_with("arn:") ? resource_of(s) : std::optional(std::string(s));
                         return resource && made_of(*resource, "/.-_");
                       }};
constexpr Form kSource = {R"(^arn:aws([a-z]|\-)*:events:([a-z]|\d|\-)*:([0-9]{12})?:.+\/.+$)", [](std::string_view s) {
                            const auto resource = resource_of(s);
                            return resource && resource->contains('/');
                          }};
constexpr Form kConnection = {
    R"(^arn:aws([a-z]|\-)*:events:([a-z]|\d|\-)*:([0-9]{12})?:connection\/[\.\-_A-Za-z0-9]+\/[\-A-Za-z0-9]+$)", [](std::string_view s) {
      const auto resource = resource_of(s);
      return resource && resource->starts_with("connection/") && std::ranges::count(*resource, '/') == 2 && made_of(*resource, "/.-_");
    }};
constexpr Form kUrl = {R"(^((%[0-9A-Fa-f]{2}|[-()_.!~*';/?:@\x26=+$,A-Za-z0-9])+)([).!';/?:,])?$)",
                       [](std::string_view s) { return made_of(s, "%-()_.!~*';/?:@&=+$,"); }};
constexpr Form kSid = {"[a-zA-Z0-9-_]+", [](std::string_view s) { return made_of(s, "-_"); }};
constexpr Form kAction = {"events:[a-zA-Z]+", [](std::string_view s) {
                            return s.starts_with("events:") && s.size() > 7 &&
                                   std::ranges::all_of(s.substr(7), [](char c) { return std::isalpha(static_cast<unsigned char>(c)); });
                          }};
constexpr Form kPrincipal = {R"((\d{12}|\*))", [](std::string_view s) { return s == "*" || (s.size() == 12 && digits(s)); }};

constexpr std::int64_t kNoLimit = INT64_MAX;

// least, most: the length of texts and lists, or the value of numbers. values: what an enumeration has, "A, B".
struct Constraint {
  std::string_view operation;  // its name ends so
  std::string_view member;
  std::int64_t least = 0, most = kNoLimit;
  Form form = kAny;
  std::string_view values = "";
};

// For a member the first that fits its operation counts. The order of the methods is that of a recorded answer (2024).
constexpr Constraint kConstraints[] = {
    {"DescribeEventBus", "Name", 1, 1600, kBus},
    {"EventBus", "Name", 1, 256, kPath},
    {"ListEventBuses", "NamePrefix", 1, 256, kPath},
    {"", "Name", 1, 64, kName},
    {"ListArchives", "NamePrefix", 1, 48, kName},
    {"", "NamePrefix", 1, 64, kName},
    {"", "Rule", 1, 64, kName},
    {"", "ArchiveName", 1, 48, kName},
    {"", "ReplayName", 1, 64, kName},
    {"Permission", "EventBusName", 1, 256, kName},
    {"", "EventBusName", 1, 1600, kBus},
    {"", "EventSourceArn", 1, 1600, kSource},
    {"", "ConnectionArn", 1, 1600, kConnection},
    {"", "TargetArn", 1, 1600},
    {"", "ResourceARN", 1, 1600},
    {"", "RoleArn", 1, 1600},
    {"", "Description", 0, 512},
    {"", "EventPattern", 0, 4096},
    {"", "ScheduleExpression", 0, 256},
    {"", "InvocationEndpoint", 1, 2048, kUrl},
    {"", "InvocationRateLimitPerSecond", 1},
    {"", "RetentionDays", 0},
    {"", "NextToken", 1, 2048},
    {"", "Limit", 1, 100},
    {"", "StatementId", 1, 64, kSid},
    {"", "Action", 1, 64, kAction},
    {"", "Principal", 1, 12, kPrincipal},
    {"", "Targets", 1, 100},
    {"", "Ids", 1, 100},
    {"", "HttpMethod", 0, kNoLimit, kAny, "HEAD, POST, PATCH, DELETE, PUT, GET, OPTIONS"},
    {"", "AuthorizationType", 0, kNoLimit, kAny, "BASIC, OAUTH_CLIENT_CREDENTIALS, API_KEY"},
    {"PutRule", "State", 0, kNoLimit, kAny, "ENABLED, DISABLED, ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS"},
    {"ListArchives", "State", 0, kNoLimit, kAny, "ENABLED, DISABLED, CREATING, UPDATING, CREATE_FAILED, UPDATE_FAILED"},
    {"ListReplays", "State", 0, kNoLimit, kAny, "STARTING, RUNNING, CANCELLING, COMPLETED, CANCELLED, FAILED"},
    {"", "ConnectionState", 0, kNoLimit, kAny,
     "CREATING, UPDATING, DELETING, AUTHORIZED, DEAUTHORIZED, AUTHORIZING, DEAUTHORIZING, ACTIVE, FAILED_CONNECTIVITY"},
};
// Of elements of lists.
constexpr Constraint kTargetId = {"", "id", 1, 64, kName}, kTargetArn = {"", "arn", 1, 1600}, kTagKey = {"", "key", 1, 128},
                     kTagValue = {"", "value", 0, 256};

const Constraint* constraint_of(std::string_view operation, std::string_view member) {
  const auto* found =
      std::ranges::find_if(kConstraints, [&](const Constraint& c) { return c.member == member && operation.ends_with(c.operation); });
  return found == std::end(kConstraints) ? nullptr : found;
}

bool lists(std::string_view values, std::string_view value) {
  for (std::size_t at = 0; at < values.size();) {
    const std::size_t end = std::min(values.find(", ", at), values.size());
    if (values.substr(at, end - at) == value) return true;
    at = end + 2;
  }
  return false;
}

std::int64_t size_of(const Json& value) {
  if (value.is_number()) return value.integer_or(0);
  return static_cast<std::int64_t>(value.is_array() ? value.as_array().size() : utf8_length(value.string_or()));
}

void check(const Constraint& c, const Json& value, std::string_view place, std::vector<std::string>& problems) {
  const auto broken = [&](std::string_view must) {
    problems.push_back(fmt::format("Value '{}' at '{}' failed to satisfy constraint: Member must {}", value.plain(), place, must));
  };
  const std::int64_t size = size_of(value);
  const char* what = value.is_number() ? "value" : "length";
  if (value.is_string() && !value.string_or().empty() && !c.form.fits(value.string_or()))
    broken(fmt::format("satisfy regular expression pattern: {}", c.form.text));
  if (size > c.most) broken(fmt::format("have {} less than or equal to {}", what, c.most));
  if (size < c.least) broken(fmt::format("have {} greater than or equal to {}", what, c.least));
  if (!c.values.empty() && !lists(c.values, value.string_or())) broken(fmt::format("satisfy enum value set: [{}]", c.values));
}

void check_elements(const Json& list, std::string_view place, const Constraint& c, const char* member, std::vector<std::string>& problems) {
  for (std::size_t i = 0; i < list.items().size(); ++i)
    if (const Json* value = list.items()[i].find(member))
      check(c, *value, fmt::format("{}.{}.member.{}", place, i + 1, c.member), problems);
}

std::string lower_camel(std::string name) {
  name[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(name[0])));
  return name;
}

}  // namespace

cloud::Error validation_error(const std::vector<std::string>& problems) {
  return cloud::error("ValidationException", fmt::format("{} validation error{} detected: {}", problems.size(),
                                                         problems.size() > 1 ? "s" : "", fmt::join(problems, "; ")))
      .error();
}

std::optional<cloud::Error> breach_of_constraints(const cloud::Call& call) {
  static const wire::Service* const model = wire::find_service("events");
  const wire::Operation* operation = model->find(call.operation);
  if (!operation || !operation->input) return std::nullopt;
  std::vector<std::string> problems;
  for (const wire::Member& member : operation->input->members) {
    const Json* value = call.input.find(member.name);
    if (!value || value->is_null()) continue;
    if (const Constraint* c = constraint_of(call.operation, member.name)) check(*c, *value, lower_camel(member.name), problems);
    if (member.name == "Targets") {
      check_elements(*value, "targets", kTargetId, "Id", problems);
      check_elements(*value, "targets", kTargetArn, "Arn", problems);
    } else if (member.name == "Tags") {
      check_elements(*value, "tags", kTagKey, "Key", problems);
      check_elements(*value, "tags", kTagValue, "Value", problems);
    }
  }
  if (problems.empty()) return std::nullopt;
  return validation_error(problems);
}

}  // namespace snapward::services::events
