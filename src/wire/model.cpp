#include "wire/model.hpp"

#include <cassert>
#include <mutex>

#include "base/json.hpp"

extern "C" const char snapward_models[];
extern "C" const char snapward_models_end[];

namespace snapward::wire {

namespace {

struct Entry {
  std::string_view text;
  std::once_flag once;
  std::unique_ptr<Service> service;
};

// Our own build step wrote this data, so its shape is trusted.
class Compiler {
 public:
  explicit Compiler(const Json& api, Service& out) : api_(api), out_(out) {}

  void run() {
    const std::string_view protocol = api_["protocol"].string_or();
    out_.protocol = protocol == "ec2"         ? Protocol::ec2
                    : protocol == "query"     ? Protocol::query
                    : protocol == "rest-json" ? Protocol::rest_json
                    : protocol == "rest-xml"  ? Protocol::rest_xml
                                              : Protocol::json;
    out_.id = api_["serviceId"].string_or();
    out_.json_version = api_["jsonVersion"].string_or("1.1");
    out_.target_prefix = api_["targetPrefix"].string_or();
    out_.api_version = api_["apiVersion"].string_or();
    out_.xml_namespace = api_["xmlNamespace"].string_or();
    out_.query_compatible = api_["queryCompatible"].bool_or(false);
    for (const auto& [name, op] : api_["operations"].as_object()) {
      Operation operation;
      operation.name = name;
      operation.method = op["method"].string_or("POST");
      operation.uri = op["uri"].string_or("/");
      if (const Json* input = op.find("input")) operation.input_ref = ref(*input), operation.input = operation.input_ref.shape;
      if (const Json* output = op.find("output")) {
        operation.output_ref = ref(*output);
        operation.output = operation.output_ref.shape;
        operation.result_wrapper = (*output)["resultWrapper"].string_or();
      }
      out_.operations.emplace(name, std::move(operation));
    }
  }

 private:
  Ref ref(const Json& use) {
    Ref r;
    if (const Json* name = use.find("shape")) {
      const auto& definition = api_["shapes"][name->as_string()];
      r.shape = named(name->plain());
      traits(r, definition);
    } else {
      r.shape = shape(use);
    }
    traits(r, use);
    return r;
  }

  static void traits(Ref& r, const Json& use) {
    if (const Json* v = use.find("locationName")) r.location_name = v->as_string();
    if (const Json* v = use.find("queryName")) r.query_name = v->as_string();
    if (const Json* v = use.find("flattened")) r.flattened = v->bool_or(false);
    if (const Json* v = use.find("xmlAttribute")) r.xml_attribute = v->bool_or(false);
    if (const Json* v = use.find("xmlNamespace")) r.xml_namespace = v->string_or();
    const std::string_view location = use["location"].string_or();
    if (!location.empty())
      r.location = location == "header"        ? Location::header
                   : location == "headers"     ? Location::headers
                   : location == "uri"         ? Location::uri
                   : location == "querystring" ? Location::querystring
                   : location == "statusCode"  ? Location::status_code
                                               : Location::body;
    const std::string_view format = use["timestampFormat"].string_or();
    if (!format.empty())
      r.timestamp = format == "iso8601"         ? TimestampFormat::iso8601
                    : format == "unixTimestamp" ? TimestampFormat::unix_seconds
                    : format == "rfc822"        ? TimestampFormat::rfc822
                                                : TimestampFormat::unspecified;
  }

  const Shape* named(const std::string& name) {
    if (const auto known = named_.find(name); known != named_.end()) return known->second;
    Shape* s = fresh();
    named_[name] = s;  // before its members: shapes refer to themselves
    fill(*s, api_["shapes"][name]);
    return s;
  }
  const Shape* shape(const Json& definition) {
    Shape* s = fresh();
    fill(*s, definition);
    return s;
  }
  Shape* fresh() { return out_.shapes.emplace_back(std::make_unique<Shape>()).get(); }

  void fill(Shape& s, const Json& d) {
    const std::string_view type = d["type"].string_or(d.find("members") ? "structure" : "string");
    s.type = type == "structure"                                           ? ShapeType::structure
             : type == "list"                                              ? ShapeType::list
             : type == "map"                                               ? ShapeType::map
             : type == "integer" || type == "long"                         ? ShapeType::integer
             : type == "float" || type == "double" || type == "bigdecimal" ? ShapeType::floating
             : type == "boolean"                                           ? ShapeType::boolean
             : type == "blob"                                              ? ShapeType::blob
             : type == "timestamp"                                         ? ShapeType::timestamp
                                                                           : ShapeType::string;
    s.event_stream = d["eventstream"].bool_or(false);
    if (const Json* item = d.find("member")) s.item = ref(*item);
    if (const Json* key = d.find("key")) s.key = ref(*key);
    if (const Json* value = d.find("value")) s.value = ref(*value);
    s.payload = d["payload"].string_or();
    if (const Json* members = d.find("members"))
      for (const auto& [name, use] : members->as_object()) s.members.push_back({name, ref(use), false});
    for (const Json& required : d["required"].items())
      for (Member& m : s.members)
        if (m.name == required.as_string()) m.required = true;
  }

  const Json& api_;
  Service& out_;
  std::map<std::string, const Shape*> named_;
};

std::map<std::string, Entry, std::less<>>& catalogue() {
  static auto& entries = *[] {
    auto* all = new std::map<std::string, Entry, std::less<>>();
    const std::string_view data(snapward_models, static_cast<std::size_t>(snapward_models_end - snapward_models));
    const std::size_t line = data.find('\n');
    const auto index = Json::parse(data.substr(0, line));
    assert(index.has_value());
    for (const auto& [name, range] : index->as_object())
      (*all)[name].text = data.substr(line + 1 + *range.items()[0].as_integer(), *range.items()[1].as_integer());
    return all;
  }();
  return entries;
}

}  // namespace

const Operation* Service::find(std::string_view operation) const {
  const auto found = operations.find(operation);
  return found == operations.end() ? nullptr : &found->second;
}

const Service* find_service(std::string_view name) {
  auto& all = catalogue();
  const auto found = all.find(name);
  if (found == all.end()) return nullptr;
  Entry& entry = found->second;
  std::call_once(entry.once, [&] {
    const auto api = Json::parse(entry.text);
    assert(api.has_value());
    entry.service = std::make_unique<Service>();
    entry.service->name = found->first;
    Compiler(*api, *entry.service).run();
  });
  return entry.service.get();
}

std::vector<std::string> service_names() {
  std::vector<std::string> names;
  for (const auto& entry : catalogue()) names.push_back(entry.first);
  return names;
}

const Service* find_service_by_target(std::string_view prefix) {
  static const std::map<std::string, std::string, std::less<>> kPrefixes = {
      {"AWSStepFunctions", "states"},    {"AWSEvents", "events"},   {"AmazonSQS", "sqs"},
      {"DynamoDB_20120810", "dynamodb"}, {"Logs_20140328", "logs"}, {"secretsmanager", "secretsmanager"}};
  const auto found = kPrefixes.find(prefix);
  return found == kPrefixes.end() ? nullptr : find_service(found->second);
}

}  // namespace snapward::wire
