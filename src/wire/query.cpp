// The query protocols: parameters named by dotted paths. ec2 writes every list flat and starts names with a capital; query writes
// ".member.N" (or the list's own item name) unless the list is flattened, and ".entry.N.key/.value" for maps.
#include <fmt/format.h>

#include <charconv>

#include "wire/codec.hpp"

namespace snapward::wire {

namespace {

// The parameters as a tree: "Tag.1.Key=a" is Tag → 1 → Key → "a".
struct Node {
  const std::string* text = nullptr;
  std::map<std::string, Node, std::less<>> children;
};

std::string capitalised(std::string s) {
  if (!s.empty() && s[0] >= 'a' && s[0] <= 'z') s[0] = static_cast<char>(s[0] - 32);
  return s;
}

std::string form_name(Protocol protocol, const Member& member) {
  if (protocol == Protocol::ec2) {
    if (!member.ref.query_name.empty()) return member.ref.query_name;
    return capitalised(member.ref.location_name.empty() ? member.name : member.ref.location_name);
  }
  return member.ref.location_name.empty() ? member.name : member.ref.location_name;
}

// The name of a flattened list is that of its items where the model gives one.
std::string flat_name(const Ref& ref, const std::string& name) {
  const std::string& item = ref.shape->item.location_name;
  return item.empty() ? name : item;
}

bool is_flat(Protocol protocol, const Ref& ref) { return protocol == Protocol::ec2 || ref.flattened; }

class Reader {
 public:
  Reader(const Service& service, Protocol protocol) : service_(service), protocol_(protocol) {}

  Decoded<Json> structure(const Shape& shape, const Node& node, const std::string& path) {
    if (++depth_ > 32) return std::unexpected(bad_type(service_, protocol_, path, "…", "a shallower structure"));
    Json::Object out;
    for (const Member& member : shape.members) {
      std::string name = form_name(protocol_, member);
      if (protocol_ == Protocol::query && member.ref.flattened && member.ref.shape->type == ShapeType::list)
        name = flat_name(member.ref, name);
      const std::string shown = validated() ? uncapitalised(name) : name, at = path.empty() ? shown : path + '.' + shown;
      const auto found = node.children.find(name);
      if (found == node.children.end()) {
        if (member.required && service_.name == "sqs" && member.ref.shape->type == ShapeType::list)
          out.set(member.name, Json::Array{});  // an empty batch, which has an error of its own
        else if (member.required)
          return std::unexpected(missing_parameter(service_, protocol_, at));
        continue;
      }
      auto value = any(member.ref, found->second, at);
      if (!value) return std::unexpected(value.error());
      out.set(member.name, *std::move(value));
    }
    --depth_;
    return Json(std::move(out));
  }

 private:
  // Whether errors name places as the services do that check requests by their models: "attributes.name.member.dataType".
  [[nodiscard]] bool validated() const { return protocol_ == Protocol::query && service_.name != "sqs"; }

  static std::string uncapitalised(std::string name) {
    if (!name.empty() && name[0] >= 'A' && name[0] <= 'Z') name[0] = static_cast<char>(name[0] + 32);
    return name;
  }

  Decoded<Json> any(const Ref& ref, const Node& node, const std::string& path) {
    switch (ref.shape->type) {
      case ShapeType::structure:
        return structure(*ref.shape, node, path);
      case ShapeType::list:
        return list(ref, node, path);
      case ShapeType::map:
        return map(ref, node, path);
      default:
        break;
    }
    const std::string text = node.text ? *node.text : std::string();
    auto value = scalar_value(ref, text);
    if (!value) return std::unexpected(bad_type(service_, protocol_, path, text, type_name(ref.shape->type)));
    return *std::move(value);
  }

  // Children with numbers, in their numbers' order.
  static std::map<std::uint64_t, const Node*> numbered(const Node& node) {
    std::map<std::uint64_t, const Node*> out;
    for (const auto& [key, child] : node.children) {
      std::uint64_t index = 0;
      const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), index);
      if (error == std::errc{} && end == key.data() + key.size()) out[index] = &child;
    }
    return out;
  }

  Decoded<Json> list(const Ref& ref, const Node& node, const std::string& path) {
    const Node* items = &node;
    if (!is_flat(protocol_, ref)) {
      const std::string& item = ref.shape->item.location_name;
      const auto found = node.children.find(item.empty() ? "member" : item);
      if (found == node.children.end()) return Json(Json::Array{});
      items = &found->second;
    }
    Json::Array out;
    for (const auto& [index, child] : numbered(*items)) {
      auto value = any(ref.shape->item, *child, fmt::format("{}.{}{}", path, index, validated() ? ".member" : ""));
      if (!value) return std::unexpected(value.error());
      out.push_back(*std::move(value));
    }
    return Json(std::move(out));
  }

  Decoded<Json> map(const Ref& ref, const Node& node, const std::string& path) {
    const Node* entries = &node;
    if (!is_flat(protocol_, ref)) {
      const auto found = node.children.find("entry");
      if (found == node.children.end()) return Json(Json::Object{});
      entries = &found->second;
    }
    const std::string key_name = ref.shape->key.location_name.empty() ? "key" : ref.shape->key.location_name;
    const std::string value_name = ref.shape->value.location_name.empty() ? "value" : ref.shape->value.location_name;
    Json::Object out;
    for (const auto& [index, child] : numbered(*entries)) {
      const auto key = child->children.find(key_name);
      if (key == child->children.end() || !key->second.text)
        return std::unexpected(missing_parameter(service_, protocol_, fmt::format("{}.{}.{}", path, index, key_name)));
      const auto value = child->children.find(value_name);
      static const Node kNothing;
      auto decoded = any(ref.shape->value, value == child->children.end() ? kNothing : value->second,
                         validated() ? fmt::format("{}.{}.member", path, *key->second.text) : path);
      if (!decoded) return std::unexpected(decoded.error());
      out.set(*key->second.text, *std::move(decoded));
    }
    return Json(std::move(out));
  }

  const Service& service_;
  Protocol protocol_;
  int depth_ = 0;
};

class Writer {
 public:
  Writer(Protocol protocol, std::string& out) : protocol_(protocol), out_(out) {}

  void structure(const Shape& shape, const Json& value, const std::string& prefix) {
    for (const Member& member : shape.members) {
      const Json* item = value.find(member.name);
      if (!item || item->is_null()) continue;
      std::string name = form_name(protocol_, member);
      if (protocol_ == Protocol::query && member.ref.flattened && member.ref.shape->type == ShapeType::list)
        name = flat_name(member.ref, name);
      any(member.ref, *item, prefix.empty() ? name : prefix + '.' + name);
    }
  }

 private:
  void any(const Ref& ref, const Json& value, const std::string& name) {
    switch (ref.shape->type) {
      case ShapeType::structure:
        return structure(*ref.shape, value, name);
      case ShapeType::list: {
        std::string base = name;
        if (!is_flat(protocol_, ref)) base += '.' + (ref.shape->item.location_name.empty() ? "member" : ref.shape->item.location_name);
        for (std::size_t i = 0; i < value.items().size(); ++i) any(ref.shape->item, value.items()[i], fmt::format("{}.{}", base, i + 1));
        return;
      }
      case ShapeType::map: {
        const std::string base = is_flat(protocol_, ref) ? name : name + ".entry";
        const std::string key_name = ref.shape->key.location_name.empty() ? "key" : ref.shape->key.location_name;
        const std::string value_name = ref.shape->value.location_name.empty() ? "value" : ref.shape->value.location_name;
        std::size_t i = 0;
        for (const auto& [key, item] : value.as_object()) {
          ++i;
          pair(fmt::format("{}.{}.{}", base, i, key_name), key);
          any(ref.shape->value, item, fmt::format("{}.{}.{}", base, i, value_name));
        }
        return;
      }
      default:
        pair(name, scalar_text(ref, value, TimestampFormat::iso8601));
    }
  }
  void pair(const std::string& name, std::string_view value) { out_ += '&' + percent_encode(name) + '=' + percent_encode(value); }

  Protocol protocol_;
  std::string& out_;
};

}  // namespace

Decoded<Json> decode_form(const Service& service, Protocol protocol, const Operation& operation,
                          const std::vector<std::pair<std::string, std::string>>& form) {
  if (!operation.input) return Json(Json::Object{});
  Node root;
  for (const auto& [name, value] : form) {
    Node* node = &root;
    int depth = 0;
    for (const std::string& part : split(name, '.')) {
      if (++depth > 64) return std::unexpected(bad_type(service, protocol, name.substr(0, 64), "…", "a shorter parameter name"));
      node = &node->children[part];
    }
    node->text = &value;
  }
  Reader reader(service, protocol);
  return reader.structure(*operation.input, root, "");
}

std::string encode_form(const Service& service, const Operation& operation, const Json& input) {
  std::string out = "Action=" + operation.name + "&Version=" + service.api_version;
  if (operation.input)
    Writer(service.protocol == Protocol::ec2 ? Protocol::ec2 : Protocol::query, out).structure(*operation.input, input, "");
  return out;
}

}  // namespace snapward::wire
