// XML bodies by shape, for the answers of ec2 and query and for both directions of rest-xml.
#include <fmt/format.h>

#include "wire/codec.hpp"

namespace snapward::wire {

void xml_text(std::string& out, std::string_view text) {
  for (const char c : text) switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\r':
        out += "&#xD;";
        break;
      case '\n':
        out += "&#xA;";
        break;
      case '\t':
        out += "&#x9;";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20)
          out += "\xEF\xBF\xBD";  // no XML 1.0 document can hold it
        else
          out.push_back(c);
    }
}

namespace {
void scalar(std::string& out, const std::string& name, const Ref& ref, const Json& value, const std::string& attributes) {
  out += '<' + name + attributes + '>';
  xml_text(out, scalar_text(ref, value, TimestampFormat::iso8601));
  out += "</" + name + '>';
}
const std::string& item_name(Protocol protocol, const Ref& list) {
  static const std::string kMember = "member", kItem = "item";
  if (!list.shape->item.location_name.empty()) return list.shape->item.location_name;
  return protocol == Protocol::ec2 ? kItem : kMember;
}
std::string element_name(const Member& member) { return member.ref.location_name.empty() ? member.name : member.ref.location_name; }
// A flattened list's elements are named by its item where that has a name of its own, else by the list.
std::string flat_name(const Ref& ref, const std::string& name) {
  return ref.shape->item.location_name.empty() ? name : ref.shape->item.location_name;
}
const std::string& key_name(const Shape& map) {
  static const std::string kKey = "key";
  return map.key.location_name.empty() ? kKey : map.key.location_name;
}
const std::string& value_name(const Shape& map) {
  static const std::string kValue = "value";
  return map.value.location_name.empty() ? kValue : map.value.location_name;
}
}  // namespace

void xml_members(std::string& out, Protocol protocol, const Shape& shape, const Json& value, bool body_only) {
  for (const Member& member : shape.members) {
    if (member.ref.xml_attribute || (body_only && member.ref.location != Location::body)) continue;
    const Json* item = value.find(member.name);
    if (item && !item->is_null()) xml_element(out, protocol, element_name(member), member.ref, *item);
  }
}

void xml_element(std::string& out, Protocol protocol, const std::string& name, const Ref& ref, const Json& value) {
  const Shape& shape = *ref.shape;
  std::string attributes = ref.xml_namespace.empty() ? "" : fmt::format(" xmlns=\"{}\"", ref.xml_namespace);
  switch (shape.type) {
    case ShapeType::structure:
      for (const Member& member : shape.members)
        if (member.ref.xml_attribute && value.find(member.name)) {
          attributes += fmt::format(
              " {}{}=\"", element_name(member).starts_with("xsi:") ? "xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" " : "",
              element_name(member));
          xml_text(attributes, value[member.name].string_or());
          attributes += '"';
        }
      out += '<' + name + attributes + '>';
      xml_members(out, protocol, shape, value, false);
      out += "</" + name + '>';
      return;
    case ShapeType::list: {
      if (ref.flattened) {
        for (const Json& item : value.items()) xml_element(out, protocol, flat_name(ref, name), shape.item, item);
        return;
      }
      out += '<' + name + attributes + '>';
      for (const Json& item : value.items()) xml_element(out, protocol, item_name(protocol, ref), shape.item, item);
      out += "</" + name + '>';
      return;
    }
    case ShapeType::map: {
      if (!value.is_object()) return;
      const std::string entry = ref.flattened ? name : "entry";
      if (!ref.flattened) out += '<' + name + attributes + '>';
      for (const auto& [key, item] : value.as_object()) {
        out += '<' + entry + "><" + key_name(shape) + '>';
        xml_text(out, key);
        out += "</" + key_name(shape) + '>';
        xml_element(out, protocol, value_name(shape), shape.value, item);
        out += "</" + entry + '>';
      }
      if (!ref.flattened) out += "</" + name + '>';
      return;
    }
    default:
      scalar(out, name, ref, value, attributes);
  }
}

Json xml_value(Protocol protocol, const Ref& ref, pugi::xml_node element) {
  const Shape& shape = *ref.shape;
  switch (shape.type) {
    case ShapeType::structure:
      return xml_in(protocol, shape, element);
    case ShapeType::list: {
      Json::Array out;
      for (const pugi::xml_node item : element.children(item_name(protocol, ref).c_str()))
        out.push_back(xml_value(protocol, shape.item, item));
      return out;
    }
    case ShapeType::map: {
      Json::Object out;
      for (const pugi::xml_node entry : element.children("entry"))
        out.set(entry.child(key_name(shape).c_str()).text().get(),
                xml_value(protocol, shape.value, entry.child(value_name(shape).c_str())));
      return out;
    }
    default:
      return scalar_value(ref, element.text().get()).value_or(Json());
  }
}

Json xml_in(Protocol protocol, const Shape& shape, pugi::xml_node element) {
  Json::Object out;
  for (const Member& member : shape.members) {
    if (member.ref.location != Location::body) continue;
    const std::string name = element_name(member);
    if (member.ref.xml_attribute) {
      if (const auto attribute = element.attribute(name.c_str())) out.set(member.name, attribute.value());
      continue;
    }
    const ShapeType type = member.ref.shape->type;
    if (member.ref.flattened && type == ShapeType::list) {
      Json::Array items;
      for (const pugi::xml_node item : element.children(flat_name(member.ref, name).c_str()))
        items.push_back(xml_value(protocol, member.ref.shape->item, item));
      if (!items.empty()) out.set(member.name, std::move(items));
    } else if (member.ref.flattened && type == ShapeType::map) {
      Json::Object entries;
      const Shape& map = *member.ref.shape;
      for (const pugi::xml_node entry : element.children(name.c_str()))
        entries.set(entry.child(key_name(map).c_str()).text().get(), xml_value(protocol, map.value, entry.child(value_name(map).c_str())));
      if (!entries.empty()) out.set(member.name, std::move(entries));
    } else if (const pugi::xml_node child = element.child(name.c_str())) {
      out.set(member.name, xml_value(protocol, member.ref, child));
    }
  }
  return out;
}

}  // namespace snapward::wire
