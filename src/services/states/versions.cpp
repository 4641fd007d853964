// Versions and aliases. Source: Step Functions Developer Guide, "Versions", "Aliases".
#include <fmt/format.h>

#include "base/arn.hpp"
#include "services/states/states.hpp"

namespace snapward::services::states {

void States::register_versions() {
  on("PublishStateMachineVersion", [this](const Call& c) { return publish(c); });
  on("ListStateMachineVersions", [this](const Call& c) { return list_versions(c); });
  on("DeleteStateMachineVersion", [this](const Call& c) { return remove_version(c); });
  on("CreateStateMachineAlias", [this](const Call& c) { return create_alias(c); });
  on("UpdateStateMachineAlias", [this](const Call& c) { return update_alias(c); });
  on("DescribeStateMachineAlias", [this](const Call& c) { return describe_alias(c); });
  on("ListStateMachineAliases", [this](const Call& c) { return list_aliases(c); });
  on("DeleteStateMachineAlias", [this](const Call& c) { return remove_alias(c); });
}

// The version of what the machine is now: made when the last one differs.
const States::Version& States::publish_version(Machine& m, const std::string& description) {
  for (const auto& [arn, v] : versions_)
    if (v.machine == m.arn && v.revision == m.revision) return v;
  Version v{.arn = {},
            .machine = m.arn,
            .revision = m.revision,
            .role_arn = m.role_arn,
            .description = description,
            .definition = m.definition,
            .number = ++m.versions,
            .created = env_.loop.now(),
            .logging = m.logging,
            .tracing = m.tracing};
  v.arn = fmt::format("{}:{}", m.arn, v.number);
  save("versions", v.arn,
       Json::object({{"machine", v.machine},
                     {"revision", v.revision},
                     {"role", v.role_arn},
                     {"description", v.description},
                     {"number", v.number},
                     {"created", v.created.time_since_epoch().count()},
                     {"logging", v.logging},
                     {"tracing", v.tracing}}));
  store(m);
  return versions_[v.arn] = std::move(v);
}

Reply States::publish(const Call& call) {
  const auto m = find(std::string(call.input["stateMachineArn"].string_or()));
  if (!m) return std::unexpected(m.error());
  if (const Json* wanted = call.input.find("revisionId")) {
    const std::string current = (*m)->changed ? (*m)->revision : "INITIAL";
    if (wanted->string_or() != current && wanted->string_or() != (*m)->revision)
      return cloud::error(
          "ConflictException",
          fmt::format("Failed to publish the State Machine version for revision {}. The current State Machine revision is {}.",
                      wanted->string_or(), current));
  }
  const Version& v = publish_version(**m, std::string(call.input["description"].string_or()));
  return Json::object({{"stateMachineVersionArn", v.arn}, {"creationDate", iso_millis(v.created)}});
}

Reply States::list_versions(const Call& call) {
  const auto m = find(std::string(call.input["stateMachineArn"].string_or()));
  if (!m) return std::unexpected(m.error());
  const auto page = page_request(call.input);
  if (!page) return std::unexpected(page.error());
  std::vector<const Version*> found;
  for (const auto& [arn, v] : versions_)
    if (v.machine == (*m)->arn) found.push_back(&v);
  std::sort(found.begin(), found.end(), [](const Version* a, const Version* b) { return a->number > b->number; });  // newest first
  const std::int64_t first = std::strtoll(page->from.c_str(), nullptr, 10);
  Json::Array out;
  for (const Version* v : found) {
    if (first > 0 && v->number > first) continue;
    if (out.size() == page->limit)
      return Json::object({{"stateMachineVersions", std::move(out)}, {"nextToken", page_token(std::to_string(v->number))}});
    out.push_back(Json::object({{"stateMachineVersionArn", v->arn}, {"creationDate", iso_millis(v->created)}}));
  }
  return Json::object({{"stateMachineVersions", std::move(out)}});
}

Reply States::remove_version(const Call& call) {
  const std::string arn(call.input["stateMachineVersionArn"].string_or());
  if (!Arn::parse(arn)) return invalid_arn(arn);
  std::string users;
  for (const auto& [alias_arn, alias] : aliases_)
    for (const Json& route : alias.routing.items())
      if (route["stateMachineVersionArn"].string_or() == arn) users += (users.empty() ? "" : ", ") + alias.name;
  if (!users.empty())
    return cloud::error(
        "ConflictException",
        fmt::format("Version to be deleted must not be referenced by an alias. Current list of aliases referencing this version: [{}]",
                    users));
  if (versions_.erase(arn)) drop("versions", arn);
  return Json(Json::Object{});
}

void States::store(const Alias& a) {
  save("aliases", a.arn,
       Json::object({{"machine", a.machine},
                     {"name", a.name},
                     {"description", a.description},
                     {"routing", a.routing},
                     {"created", a.created.time_since_epoch().count()},
                     {"updated", a.updated.time_since_epoch().count()}}));
}

// One or two versions of one machine, weights that make 100.
std::expected<Json, cloud::Error> States::check_routing(const Json& routing, std::string& machine) {
  const auto& routes = routing.items();
  std::string arns, shown, weights;
  std::int64_t sum = 0;
  for (const Json& route : routes) {
    const char* comma = arns.empty() ? "" : ", ";
    const std::string_view arn = route["stateMachineVersionArn"].string_or();
    const std::int64_t weight = route["weight"].integer_or(0);
    arns += fmt::format("{}{}", comma, arn);
    weights += fmt::format("{}{}", comma, weight);
    shown += fmt::format("{}RoutingConfigurationListItem(stateMachineVersionArn={}, weight={})", comma, arn, weight);
    sum += weight;
  }
  if (routes.empty() || routes.size() > 2)
    return bad_input(fmt::format(
        "1 validation error detected: Value '[{}]' at 'routingConfiguration' failed to satisfy constraint: Member must have length {}",
        shown, routes.empty() ? "greater than or equal to 1" : "less than or equal to 2"));
  for (std::size_t i = 0; i < routes.size(); ++i)
    if (const std::int64_t weight = routes[i]["weight"].integer_or(0); weight < 0 || weight > 100)
      return bad_input(fmt::format(
          "1 validation error detected: Value '{}' at 'routingConfiguration.{}.member.weight' failed to satisfy constraint: Member must "
          "have value {}",
          weight, i + 1, weight < 0 ? "greater than or equal to 0" : "less than or equal to 100"));
  if (routes.size() == 2 && routes[0]["stateMachineVersionArn"] == routes[1]["stateMachineVersionArn"])
    return bad_input(fmt::format("Routing configuration must contain distinct state machine version ARNs. Received: [{}]", arns));
  if (sum != 100) return bad_input(fmt::format("Sum of routing configuration weights must equal 100. Received: [{}]", weights));
  for (const Json& route : routes) {
    const std::string arn(route["stateMachineVersionArn"].string_or());
    const auto v = versions_.find(arn);
    if (v == versions_.end() && machines_.contains(arn))
      return bad_input(fmt::format("Routing configuration must contain state machine version ARNs. Received: [{}]", arns));
    if (v == versions_.end())
      return cloud::error("ResourceNotFound", fmt::format("Request references a resource that does not exist: '{}'", arns));
    if (!machine.empty() && machine != v->second.machine)
      return bad_input("All state machine version ARNs in the routing configuration must be of one state machine.");
    machine = v->second.machine;
  }
  return routing;
}

Reply States::create_alias(const Call& call) {
  const std::string name(call.input["name"].string_or());
  const bool letters = std::any_of(name.begin(), name.end(),
                                   [](char c) { return std::isalpha(static_cast<unsigned char>(c)) || c == '_' || c == '-' || c == '.'; });
  const bool good = std::all_of(name.begin(), name.end(),
                                [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-' || c == '.'; });
  if (!letters || !good || name.size() > 80)
    return bad_input(fmt::format("1 validation error detected: Value '{}' at 'name' failed to satisfy constraint: Member must {}", name,
                                 name.size() > 80 ? "have length less than or equal to 80"
                                                  : R"(satisfy regular expression pattern: ^(?=.*[a-zA-Z_\-\.])[a-zA-Z0-9_\-\.]+$)"));
  std::string machine;
  const auto routing = check_routing(call.input["routingConfiguration"], machine);
  if (!routing) return std::unexpected(routing.error());
  const std::string arn = machine + ':' + name;
  if (const auto known = aliases_.find(arn); known != aliases_.end()) {
    if (known->second.routing == *routing && known->second.description == call.input["description"].string_or())
      return Json::object({{"stateMachineAliasArn", arn}, {"creationDate", iso_millis(known->second.created)}});
    return cloud::error("ConflictException",
                        "Failed to create alias because an alias with the same name and a different routing configuration already exists.");
  }
  Alias& a = aliases_[arn] = {.arn = arn,
                              .machine = machine,
                              .name = name,
                              .description = std::string(call.input["description"].string_or()),
                              .routing = *routing,
                              .created = env_.loop.now(),
                              .updated = env_.loop.now()};
  store(a);
  return Json::object({{"stateMachineAliasArn", arn}, {"creationDate", iso_millis(a.created)}});
}

Reply States::update_alias(const Call& call) {
  const auto a = aliases_.find(call.input["stateMachineAliasArn"].string_or());
  if (a == aliases_.end())
    return cloud::error("ResourceNotFound", fmt::format("Request references a resource that does not exist: '{}'",
                                                        call.input["stateMachineAliasArn"].string_or()));
  if (!call.input.find("description") && !call.input.find("routingConfiguration"))
    return bad_input("Either the description or the RoutingConfiguration must be specified");
  if (call.input.find("routingConfiguration")) {
    std::string machine = a->second.machine;
    const auto routing = check_routing(call.input["routingConfiguration"], machine);
    if (!routing) return std::unexpected(routing.error());
    a->second.routing = *routing;
  }
  if (const Json* description = call.input.find("description")) a->second.description = description->string_or();
  a->second.updated = env_.loop.now();
  store(a->second);
  return Json::object({{"updateDate", iso_millis(a->second.updated)}});
}

Reply States::describe_alias(const Call& call) {
  const std::string arn(call.input["stateMachineAliasArn"].string_or());
  const auto a = aliases_.find(arn);
  if (a == aliases_.end())
    return cloud::error("ResourceNotFound", fmt::format("Request references a resource that does not exist: '{}'", arn));
  Json::Object out{{"stateMachineAliasArn", arn},
                   {"name", a->second.name},
                   {"routingConfiguration", a->second.routing},
                   {"creationDate", iso_millis(a->second.created)},
                   {"updateDate", iso_millis(a->second.updated)}};
  out.set_if(!a->second.description.empty(), "description", a->second.description);
  return Json(std::move(out));
}

Reply States::list_aliases(const Call& call) {
  const auto t = target(std::string(call.input["stateMachineArn"].string_or()));
  if (!t) return std::unexpected(t.error());
  const auto page = page_request(call.input);
  if (!page) return std::unexpected(page.error());
  Json::Array out;
  for (auto a = aliases_.lower_bound(page->from.empty() ? t->machine->arn + ':' : page->from);
       a != aliases_.end() && a->second.machine == t->machine->arn; ++a) {
    const bool routes_there =
        !t->version || std::any_of(a->second.routing.items().begin(), a->second.routing.items().end(),
                                   [&](const Json& route) { return route["stateMachineVersionArn"].string_or() == t->version->arn; });
    if (!routes_there) continue;
    if (out.size() == page->limit) return Json::object({{"stateMachineAliases", std::move(out)}, {"nextToken", page_token(a->first)}});
    out.push_back(Json::object({{"stateMachineAliasArn", a->first}, {"creationDate", iso_millis(a->second.created)}}));
  }
  return Json::object({{"stateMachineAliases", std::move(out)}});
}

Reply States::remove_alias(const Call& call) {
  const std::string arn(call.input["stateMachineAliasArn"].string_or());
  if (!Arn::parse(arn)) return invalid_arn(arn);
  if (aliases_.erase(arn)) drop("aliases", arn);  // deleting it again is no mistake
  return Json(Json::Object{});
}

}  // namespace snapward::services::states
