#include "wire/conform.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace snapward::wire {

namespace {

const char* kind_name(const Shape& shape) {
  switch (shape.type) {
    case ShapeType::structure:
    case ShapeType::map:
      return "an object";
    case ShapeType::list:
      return "an array";
    case ShapeType::integer:
    case ShapeType::floating:
      return "a number";
    case ShapeType::boolean:
      return "a boolean";
    default:
      return "a string";
  }
}

std::string shown(std::string name, Conformity how) {
  if (how.pascal_case && !name.empty() && name[0] >= 'a' && name[0] <= 'z') name[0] = static_cast<char>(name[0] - 32);
  return name;
}

bool fits(const Shape& shape, const Json& value, Conformity how) {
  switch (shape.type) {
    case ShapeType::structure:
    case ShapeType::map:
      return value.is_object();
    case ShapeType::list:
      return value.is_array();
    case ShapeType::integer:
      return value.as_integer().has_value();
    case ShapeType::floating:
      return value.is_number();
    case ShapeType::boolean:
      return value.is_bool();
    case ShapeType::timestamp:
      return value.is_string() || (!how.textual_times && value.is_number());
    case ShapeType::string:
    case ShapeType::blob:
      return value.is_string();
  }
  return false;
}

std::optional<Nonconformity> mismatch(const Shape& shape, const Json& value, Conformity how, const std::string& field,
                                      const std::string& path) {
  if (!fits(shape, value, how)) return Nonconformity{field, path, kind_name(shape)};
  const auto inside = [&](const std::string& name) { return path == "$" ? name : path + '.' + name; };
  if (shape.type == ShapeType::list)
    for (std::size_t i = 0; i < value.as_array().size(); ++i)
      if (auto problem = mismatch(*shape.item.shape, value.as_array()[i], how, field, fmt::format("{}[{}]", path, i))) return problem;
  if (shape.type == ShapeType::map)
    for (const auto& [key, item] : value.as_object())
      if (auto problem = mismatch(*shape.value.shape, item, how, field, inside(key))) return problem;
  if (shape.type != ShapeType::structure) return std::nullopt;
  if (how.required)
    for (const Member& m : shape.members)
      if (const std::string name = shown(m.name, how); m.required && value[name].is_null()) return Nonconformity{name, inside(name)};
  for (const auto& [key, item] : value.as_object()) {
    if (item.is_null()) continue;  // as good as absent
    const auto member =
        std::find_if(shape.members.begin(), shape.members.end(), [&, &name = key](const Member& m) { return shown(m.name, how) == name; });
    if (member == shape.members.end()) continue;
    if (auto problem = mismatch(*member->ref.shape, item, how, key, inside(key))) return problem;
  }
  return std::nullopt;
}

}  // namespace

std::optional<Nonconformity> nonconforming(const Shape& shape, const Json& value, Conformity how) {
  return mismatch(shape, value, how, "$", "$");
}

}  // namespace snapward::wire
