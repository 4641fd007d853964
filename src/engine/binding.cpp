#include "engine/binding.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <unordered_map>

#include "base/text.hpp"

namespace snapward::engine {

namespace {

using Bound = std::expected<Json, std::string>;
using wire::Shape;
using wire::ShapeType;

std::unexpected<std::string> must_be(const std::string& field, std::string_view kind) {
  return std::unexpected(
      fmt::format("The value for the field '{}' must be {} {}", field, std::string_view("AEIOU").contains(kind[0]) ? "an" : "a", kind));
}

bool is_attribute_value(const Shape& shape) {
  const auto has = [&](std::string_view name) { return std::ranges::any_of(shape.members, [&](const auto& m) { return m.name == name; }); };
  return has("S") && has("NULL") && has("BOOL");
}

class Binder {
 public:
  explicit Binder(Binding binding) : binding_(binding) {}

  // `field`: the name that errors show; an element of a list has the list's. `whole`: this is the body of a request.
  Bound value(const Shape& shape, const Json& json, const std::string& field, bool whole = false) {
    switch (shape.type) {
      case ShapeType::structure:
        return structure(shape, json, field);
      case ShapeType::list:
        return list(shape, json, field);
      case ShapeType::map:
        return map(shape, json, field);
      case ShapeType::blob:
        if (whole) return text(json, field);
        if (!json.is_string()) return must_be(field, "STRING");
        return Json(base64_decode(json.as_string()).value_or(std::string(json.as_string())));
      case ShapeType::string:
        return text(json, field);
      case ShapeType::timestamp:
        if (!json.is_string() && !json.is_number()) return must_be(field, "STRING");
        return json;
      case ShapeType::boolean:
        return boolean(json, field);
      case ShapeType::integer:
      case ShapeType::floating:
        return number(shape, json, field);
    }
    return json;
  }

 private:
  Bound structure(const Shape& shape, const Json& json, const std::string& field) {
    const bool attribute = is_attribute_value(shape);
    if (attribute && json.is_string() && binding_.attribute_text) return Json::object({{"S", json}});
    if (!json.is_object()) return must_be(field, "OBJECT");
    in_attribute_ += attribute;
    Json::Object out;
    for (const auto& [key, item] : json.as_object()) {
      const wire::Member* member = find(shape, key);
      if (!member) return std::unexpected(fmt::format("The field \"{}\" is not supported by Step Functions", key));
      if (item.is_null()) continue;
      auto bound = value(*member->ref.shape, item, key, member->name == shape.payload);
      if (!bound) return bound;
      out.set(member->name, *std::move(bound));
    }
    in_attribute_ -= attribute;
    return Json(std::move(out));
  }

  Bound list(const Shape& shape, const Json& json, const std::string& field) {
    if (!json.is_array()) return must_be(field, "ARRAY");
    Json::Array out;
    for (const Json& item : json.as_array()) {
      auto bound = value(*shape.item.shape, item, field);
      if (!bound) return bound;
      out.push_back(*std::move(bound));
    }
    return Json(std::move(out));
  }

  Bound map(const Shape& shape, const Json& json, const std::string& field) {
    if (!json.is_object()) return must_be(field, "OBJECT");
    Json::Object out;
    for (const auto& [key, item] : json.as_object()) {
      if (item.is_null()) continue;
      auto bound = value(*shape.value.shape, item, key);
      if (!bound) return bound;
      out.set(key, *std::move(bound));
    }
    return Json(std::move(out));
  }

  [[nodiscard]] Bound text(const Json& json, const std::string& field) const {
    if (json.is_string()) return json;
    if ((json.is_object() || json.is_array()) && in_attribute_ == 0) return Json(json.dump());
    return must_be(field, "STRING");
  }

  static Bound boolean(const Json& json, const std::string& field) {
    if (json.is_bool()) return json;
    if (json.is_string() && iequals(json.as_string(), "true")) return Json(true);
    if (json.is_string() && iequals(json.as_string(), "false")) return Json(false);
    return must_be(field, "BOOLEAN");
  }

  static Bound number(const Shape& shape, const Json& json, const std::string& field) {
    Json read = json;
    if (json.is_string())
      if (auto parsed = Json::parse(json.as_string())) read = *std::move(parsed);
    if (shape.type == ShapeType::integer ? read.as_integer().has_value() : read.is_number()) return read;
    return must_be(field, "NUMBER");
  }

  // The member that is called `name` in Pascal case. The SDK for Java spells abbreviations as words ("Acl" of "ACL").
  static const wire::Member* find(const Shape& shape, std::string_view name) {
    if (name.empty() || name[0] < 'A' || name[0] > 'Z') return nullptr;
    const wire::Member* similar = nullptr;
    for (const wire::Member& m : shape.members) {
      if (m.name.size() != name.size() || !iequals(m.name, name)) continue;
      if (std::string_view(m.name).substr(1) == name.substr(1)) return &m;
      similar = &m;
    }
    return similar;
  }

  Binding binding_;
  int in_attribute_ = 0;  // attribute values around this one: their texts are not serialized JSON
};

// Whether anything below is named or written differently in a result.
bool differs(const Shape& shape, std::set<const Shape*>& seen) {
  if (!seen.insert(&shape).second) return false;
  if (shape.type == ShapeType::blob) return true;
  if (shape.type == ShapeType::list) return differs(*shape.item.shape, seen);
  if (shape.type == ShapeType::map) return differs(*shape.value.shape, seen);
  return std::ranges::any_of(shape.members, [&](const wire::Member& m) {
    return pascal_case(m.name) != m.name || m.ref.location == wire::Location::headers ||
           (!(m.name == shape.payload && m.ref.shape->type == ShapeType::blob) && differs(*m.ref.shape, seen));
  });
}

Json result(const Shape& shape, const Json& reply, bool whole) {
  if (shape.type == ShapeType::blob && reply.is_string() && !whole) return Json(base64_encode(reply.as_string()));
  if (shape.type == ShapeType::list && reply.is_array()) {
    Json::Array out;
    for (const Json& item : reply.as_array()) out.push_back(result(*shape.item.shape, item, false));
    return Json(std::move(out));
  }
  if (shape.type == ShapeType::map && reply.is_object()) {
    Json::Object out;
    for (const auto& [key, item] : reply.as_object()) out.set(key, result(*shape.value.shape, item, false));
    return Json(std::move(out));
  }
  if (shape.type != ShapeType::structure || !reply.is_object()) return reply;
  Json::Object out;
  for (const auto& [key, item] : reply.as_object()) {
    const auto member = std::ranges::find_if(shape.members, [&, &name = key](const wire::Member& m) { return m.name == name; });
    if (member == shape.members.end())
      out.set(key, item);
    else
      out.set(pascal_case(key), result(*member->ref.shape, item, key == shape.payload));
  }
  // The SDK reads a map out of headers even when there are none (S3's Metadata; recorded by AWS, 2025).
  for (const wire::Member& m : shape.members)
    if (m.ref.location == wire::Location::headers && !reply.find(m.name)) out.set(pascal_case(m.name), Json::Object{});
  return Json(std::move(out));
}

}  // namespace

Bound bind(const Shape& input, const Json& parameters, Binding binding) { return Binder(binding).value(input, parameters, "$"); }

Json result_of(const Shape& output, const Json& reply) {
  thread_local std::unordered_map<const Shape*, bool> known;  // most of EC2's replies are results as they are
  const auto [entry, fresh] = known.try_emplace(&output);
  if (fresh) {
    std::set<const Shape*> seen;
    entry->second = differs(output, seen);
  }
  return entry->second ? result(output, reply, false) : reply;
}

std::string pascal_case(std::string name) {
  if (!name.empty() && name[0] >= 'a' && name[0] <= 'z') name[0] = static_cast<char>(name[0] - 32);
  return name;
}

}  // namespace snapward::engine
