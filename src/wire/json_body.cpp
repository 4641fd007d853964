// JSON bodies by shape. Bodies carry timestamps as seconds since 1970 (json, and rest-json unless the model says iso8601) and blobs in
// base64.
#include <fmt/format.h>

#include <cmath>

#include "base/time.hpp"
#include "wire/codec.hpp"

namespace snapward::wire {

namespace {
std::string member_name(Protocol protocol, const Member& member) {
  return protocol == Protocol::json || member.ref.location_name.empty() ? member.name : member.ref.location_name;
}

std::string kind_word(const Json& value) {
  switch (value.kind()) {
    case Json::Kind::boolean:
      return value.as_bool() ? "TRUE_VALUE" : "FALSE_VALUE";
    case Json::Kind::number:
      return "NUMBER_VALUE";
    case Json::Kind::string:
      return "STRING_VALUE";
    case Json::Kind::array:
      return "START_ARRAY";
    case Json::Kind::object:
      return "START_OBJECT";
    default:
      return "NULL_VALUE";
  }
}
}  // namespace

Decoded<Json> json_in(const Service& service, Protocol protocol, const Ref& ref, const Json& wire, const std::string& path,
                      Reading reading) {
  const Shape& shape = *ref.shape;
  const auto mismatch = [&](const char* expected) {
    return std::unexpected(bad_type(service, protocol, path, wire.is_string() ? wire.plain() : kind_word(wire), expected));
  };
  switch (shape.type) {
    case ShapeType::structure: {
      if (!wire.is_object()) return mismatch("a structure");
      Json::Object out;
      for (const Member& member : shape.members) {
        const std::string name = member_name(protocol, member);
        const Json* value = wire.find(name);
        const std::string at = path.empty() ? name : path + '.' + name;
        if (!value || value->is_null()) {
          if (member.required && reading == Reading::request) return std::unexpected(missing_parameter(service, protocol, at));
          continue;
        }
        auto decoded = json_in(service, protocol, member.ref, *value, at, reading);
        if (!decoded) return decoded;
        out.set(member.name, *std::move(decoded));
      }
      return Json(std::move(out));
    }
    case ShapeType::list: {
      if (!wire.is_array()) return mismatch("a list");
      Json::Array out;
      for (std::size_t i = 0; i < wire.as_array().size(); ++i) {
        auto decoded = json_in(service, protocol, shape.item, wire.as_array()[i], fmt::format("{}.{}.member", path, i + 1), reading);
        if (!decoded) return decoded;
        out.push_back(*std::move(decoded));
      }
      return Json(std::move(out));
    }
    case ShapeType::map: {
      if (!wire.is_object()) return mismatch("a map");
      Json::Object out;
      for (const auto& [key, value] : wire.as_object()) {
        auto decoded = json_in(service, protocol, shape.value, value, path + '.' + key, reading);
        if (!decoded) return decoded;
        out.set(key, *std::move(decoded));
      }
      return Json(std::move(out));
    }
    case ShapeType::timestamp: {
      if (wire.is_number()) {
        const double seconds = wire.as_double();
        if (!(std::fabs(seconds) < 1e12)) return mismatch("a timestamp");
        return Json(iso_millis(Instant(Duration(std::llround(seconds * 1000)))));
      }
      if (wire.is_string())
        if (const auto at = parse_iso(wire.as_string())) return Json(iso_millis(*at));
      return mismatch("a timestamp");
    }
    case ShapeType::blob: {
      if (!wire.is_string()) return mismatch("base64 text");
      auto bytes = base64_decode(wire.as_string());
      if (!bytes) return mismatch("base64 text");
      return Json(*std::move(bytes));
    }
    case ShapeType::boolean:
      return wire.is_bool() ? Decoded<Json>(wire) : mismatch("a boolean");
    case ShapeType::integer:
      return wire.as_integer() ? Decoded<Json>(Json(*wire.as_integer())) : mismatch("an integer");
    case ShapeType::floating:
      return wire.is_number() ? Decoded<Json>(wire) : mismatch("a number");
    case ShapeType::string:
      return wire.is_string() ? Decoded<Json>(wire) : mismatch("a string");
  }
  return wire;
}

Json json_out(Protocol protocol, const Ref& ref, const Json& value) {
  const Shape& shape = *ref.shape;
  switch (shape.type) {
    case ShapeType::structure: {
      Json::Object out;
      for (const Member& member : shape.members) {
        if (member.ref.location != Location::body) continue;
        const Json* item = value.find(member.name);
        if (item && !item->is_null()) out.set(member_name(protocol, member), json_out(protocol, member.ref, *item));
      }
      return out;
    }
    case ShapeType::list: {
      Json::Array out;
      for (const Json& item : value.items()) out.push_back(json_out(protocol, shape.item, item));
      return out;
    }
    case ShapeType::map: {
      Json::Object out;
      if (value.is_object())
        for (const auto& [key, item] : value.as_object()) out.set(key, json_out(protocol, shape.value, item));
      return out;
    }
    case ShapeType::timestamp: {
      if (ref.timestamp == TimestampFormat::iso8601) return value;
      const auto at = parse_iso(value.string_or());
      if (!at) return {};
      const std::int64_t millis = at->time_since_epoch().count();
      return Json(static_cast<double>(millis) / 1000.0);
    }
    case ShapeType::blob:
      return Json(base64_encode(value.string_or()));
    default:
      return value;
  }
}

}  // namespace snapward::wire
