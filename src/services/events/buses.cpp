// Event buses: their policies, and the tags of buses and rules.
#include <fmt/format.h>

#include "base/arn.hpp"
#include "services/events/events.hpp"
#include "services/events/listing.hpp"

namespace snapward::services::events {

namespace {

std::unexpected<cloud::Error> not_found(std::string message) { return cloud::error("ResourceNotFoundException", std::move(message)); }
std::unexpected<cloud::Error> bad_input(std::string message) { return cloud::error("ValidationException", std::move(message)); }

constexpr std::size_t kLongestPolicy = 10'240;  // bytes

}  // namespace

std::string bus_name(std::string_view given) {
  if (given.empty()) return "default";
  if (!given.starts_with("arn:")) return std::string(given);
  const auto arn = Arn::parse(given);
  return arn ? arn->resource_id("event-bus").value_or("") : "";
}

void Events::register_buses() {
  on("CreateEventBus", [this](const Call& c) { return create_event_bus(c); });
  on("UpdateEventBus", [this](const Call& c) { return update_event_bus(c); });
  on("DeleteEventBus", [this](const Call& c) { return delete_event_bus(c); });
  on("DescribeEventBus", [this](const Call& c) { return describe_event_bus(c); });
  on("ListEventBuses", [this](const Call& c) { return list_event_buses(c); });
  on("PutPermission", [this](const Call& c) { return put_permission(c); });
  on("RemovePermission", [this](const Call& c) { return remove_permission(c); });
  on("TagResource", [this](const Call& c) { return with_tags(c, [&](const Json& tags) { return merge_tags(tags, c.input["Tags"]); }); });
  on("UntagResource",
     [this](const Call& c) { return with_tags(c, [&](const Json& tags) { return remove_tags(tags, c.input["TagKeys"]); }); });
  on("ListTagsForResource", [this](const Call& call) -> Reply {
    const auto tagged = tagged_by(call);
    if (!tagged) return std::unexpected(tagged.error());
    return Json::object({{"Tags", *tagged->tags}});
  });
}

void Events::restore_buses() {
  each_row("buses", [&](const std::string&, const Json& r) {
    // Before buses showed when they were made, the default bus did not keep it.
    const Instant kept(Duration(r["created"].integer_or(0)));
    const Instant created = kept == Instant{} ? env_.loop.now() : kept;
    Bus bus{.name = std::string(r["name"].string_or()),
            .region = std::string(r["region"].string_or()),
            .created = created,
            .modified = Instant(Duration(r["modified"].integer_or(created.time_since_epoch().count()))),
            .settings = r["settings"].is_object() ? r["settings"] : Json::object({{"Description", r["description"].string_or()}}),
            .policy = r["policy"],
            .tags = r["tags"].is_array() ? r["tags"] : Json(Json::Array{}),
            .rules = {}};
    buses_[{bus.region, bus.name}] = std::move(bus);
  });
}

void Events::store(const Bus& bus) {
  save("buses", bus.region + '/' + bus.name,
       Json::object({{"name", bus.name},
                     {"region", bus.region},
                     {"created", bus.created.time_since_epoch().count()},
                     {"modified", bus.modified.time_since_epoch().count()},
                     {"settings", bus.settings},
                     {"policy", bus.policy},
                     {"tags", bus.tags}}));
}

Events::Bus& Events::default_bus(const std::string& region) {
  auto [bus, fresh] = buses_.try_emplace({region, "default"});
  if (fresh) {
    bus->second.name = "default";
    bus->second.region = region;
    bus->second.created = bus->second.modified = env_.loop.now();
    store(bus->second);
  }
  return bus->second;
}

std::expected<Events::Bus*, cloud::Error> Events::bus_in(const std::string& region, const std::string& name) {
  if (name == "default") return &default_bus(region);
  const auto found = buses_.find({region, name});
  if (found == buses_.end()) return not_found(fmt::format("Event bus {} does not exist.", name));
  return &found->second;
}
std::expected<Events::Bus*, cloud::Error> Events::find_bus(const Call& call, std::string_view given) {
  return bus_in(call.region, bus_name(given));
}

std::string Events::bus_arn(const Bus& bus) const {
  return fmt::format("arn:aws:events:{}:{}:event-bus/{}", bus.region, env_.account, bus.name);
}

namespace {

// What of a bus can be set, and is answered as it was given.
Json settings_of(const Json& in) {
  Json::Object out;
  for (const char* field : {"Description", "KmsKeyIdentifier", "DeadLetterConfig"})
    if (const Json* value = in.find(field)) out.set(field, *value);
  return Json(std::move(out));
}

}  // namespace

Reply Events::create_event_bus(const Call& call) {
  const std::string name(call.input["Name"].string_or());
  if (name == "default" || buses_.contains({call.region, name}))
    return cloud::error("ResourceAlreadyExistsException", fmt::format("Event bus {} already exists.", name));
  if (name.contains('/')) return bad_input("Event bus name must not contain '/'.");
  Bus bus{.name = name,
          .region = call.region,
          .created = env_.loop.now(),
          .modified = env_.loop.now(),
          .settings = settings_of(call.input),
          .tags = merge_tags(Json(Json::Array{}), call.input["Tags"]),
          .rules = {}};
  Bus& kept = buses_[{call.region, name}] = std::move(bus);
  store(kept);
  Json::Object out = kept.settings.as_object();
  out.set("EventBusArn", bus_arn(kept));
  return Json(std::move(out));
}

Reply Events::update_event_bus(const Call& call) {
  const auto bus = find_bus(call, call.input["Name"].string_or());
  if (!bus) return std::unexpected(bus.error());
  (*bus)->settings = settings_of(call.input);
  (*bus)->modified = env_.loop.now();
  store(**bus);
  Json::Object out = (*bus)->settings.as_object();
  out.set("Arn", bus_arn(**bus)).set("Name", (*bus)->name);
  return Json(std::move(out));
}

Reply Events::delete_event_bus(const Call& call) {
  const std::string name = bus_name(call.input["Name"].string_or());
  if (name == "default") return bad_input("Cannot delete event bus default.");
  const auto found = buses_.find({call.region, name});
  if (found == buses_.end()) return Json(Json::Object{});
  if (!found->second.rules.empty()) return bad_input("Cannot delete event bus while it has rules.");
  buses_.erase(found);
  drop("buses", call.region + '/' + name);
  return Json(Json::Object{});
}

Json Events::bus_json(const Bus& bus) const {
  Json::Object out = bus.settings.as_object();
  out.set("Name", bus.name)
      .set("Arn", bus_arn(bus))
      .set("CreationTime", iso_millis(bus.created))
      .set("LastModifiedTime", iso_millis(bus.modified));
  if (out.find("Description") && out.find("Description")->string_or().empty()) out.erase("Description");
  if (!bus.policy.is_null()) out.set("Policy", bus.policy.dump());
  return Json(std::move(out));
}

Reply Events::describe_event_bus(const Call& call) {
  const auto bus = find_bus(call, call.input["Name"].string_or());
  if (!bus) return std::unexpected(bus.error());
  return bus_json(**bus);
}

Reply Events::list_event_buses(const Call& call) {
  default_bus(call.region);
  return list_named(call, buses_, "EventBuses", [&](const Bus& bus) { return std::optional(bus_json(bus)); });
}

// ── Policies ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────

Reply Events::put_permission(const Call& call) {
  const Json& in = call.input;
  const auto bus = find_bus(call, in["EventBusName"].string_or());
  if (!bus) return std::unexpected(bus.error());
  if (const Json* text = in.find("Policy")) {
    auto policy = Json::parse(text->string_or());
    if (!policy || !policy->is_object() || !policy->find("Statement"))
      return bad_input("Policy is not valid. Reason: it must be a JSON object with Statement.");
    if (text->string_or().size() > kLongestPolicy)
      return cloud::error("PolicyLengthExceededException", "The event bus policy is too long.");
    return set_policy(**bus, *std::move(policy));
  }
  const std::string_view action = in["Action"].string_or(), principal = in["Principal"].string_or(), id = in["StatementId"].string_or();
  if (action != "events:PutEvents") return bad_input(fmt::format("Provided value in parameter 'action' is not supported: {}", action));
  if (principal.empty() || id.empty()) return bad_input("Parameter(s) Principal and StatementId must be specified.");
  Json::Object statement{
      {"Sid", id},
      {"Effect", "Allow"},
      {"Principal", principal == "*" ? Json("*") : Json::object({{"AWS", fmt::format("arn:aws:iam::{}:root", principal)}})},
      {"Action", action},
      {"Resource", bus_arn(**bus)}};
  if (const Json* c = in.find("Condition"))
    statement.set(
        "Condition",
        Json::object({{std::string((*c)["Type"].string_or()), Json::object({{std::string((*c)["Key"].string_or()), (*c)["Value"]}})}}));
  Json::Array statements;
  for (const Json& known : (*bus)->policy["Statement"].items())
    if (known["Sid"].string_or() != id) statements.push_back(known);
  statements.emplace_back(std::move(statement));
  return set_policy(**bus, Json::object({{"Version", "2012-10-17"}, {"Statement", std::move(statements)}}));
}

Reply Events::remove_permission(const Call& call) {
  const auto bus = find_bus(call, call.input["EventBusName"].string_or());
  if (!bus) return std::unexpected(bus.error());
  if (call.input["RemoveAllPermissions"].bool_or(false)) return set_policy(**bus, Json());
  const std::string_view id = call.input["StatementId"].string_or();
  const auto& known = (*bus)->policy["Statement"].items();
  Json::Array statements;
  std::ranges::copy_if(known, std::back_inserter(statements), [&](const Json& s) { return s["Sid"].string_or() != id; });
  if (statements.size() == known.size()) return not_found("Statement with the provided id does not exist.");
  return set_policy(**bus, statements.empty() ? Json() : Json::object({{"Version", "2012-10-17"}, {"Statement", std::move(statements)}}));
}

Reply Events::set_policy(Bus& bus, Json policy) {
  bus.policy = std::move(policy);
  bus.modified = env_.loop.now();
  store(bus);
  return Json(Json::Object{});
}

// ── Tags ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

std::expected<Events::Tagged, cloud::Error> Events::tagged_by(const Call& call) {
  const std::string_view text = call.input["ResourceARN"].string_or();
  const auto arn = Arn::parse(text);
  if (const auto id = arn ? arn->resource_id("event-bus") : std::nullopt) {
    const auto bus = bus_in(arn->region, *id);
    if (!bus) return std::unexpected(bus.error());
    return Tagged{&(*bus)->tags, [this, kept = *bus] { store(*kept); }};
  }
  if (const auto id = arn ? arn->resource_id("rule") : std::nullopt) {
    const std::size_t slash = id->find('/');
    const std::string name = slash == std::string::npos ? *id : id->substr(slash + 1);
    const std::string on = slash == std::string::npos ? "default" : id->substr(0, slash);
    const auto bus = bus_in(arn->region, on);
    if (!bus) return std::unexpected(bus.error());
    const auto rule = (*bus)->rules.find(name);
    if (rule == (*bus)->rules.end()) return not_found(fmt::format("Rule {} does not exist on EventBus {}.", name, on));
    return Tagged{&rule->second.tags, [this, &kept = rule->second] { store(kept); }};
  }
  return bad_input(fmt::format("Parameter {} is not valid. Reason: Provided Arn is not in correct format.", text));
}

Reply Events::with_tags(const Call& call, const std::function<Json(const Json&)>& change) {
  const auto tagged = tagged_by(call);
  if (!tagged) return std::unexpected(tagged.error());
  *tagged->tags = change(*tagged->tags);
  tagged->save();
  return Json(Json::Object{});
}

}  // namespace snapward::services::events
