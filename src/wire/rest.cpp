// The REST protocols: an operation is a method and a URI template; members travel in the path, the query string, headers or the body.
#include <fmt/format.h>

#include <charconv>

#include "wire/codec.hpp"

namespace snapward::wire {

namespace {

struct Template {
  std::vector<std::string> segments;
  std::vector<std::pair<std::string, std::string>> fixed_query;
};

Template parse_template(const std::string& uri) {
  Template out;
  const std::size_t mark = uri.find('?');
  const std::string path = uri.substr(0, mark);
  for (std::string& part : split(path, '/'))
    if (!part.empty()) out.segments.push_back(std::move(part));
  if (mark != std::string::npos) out.fixed_query = parse_query(std::string_view(uri).substr(mark + 1));
  return out;
}

bool is_label(const std::string& segment) { return segment.size() > 2 && segment.front() == '{' && segment.back() == '}'; }
bool is_greedy(const std::string& segment) { return is_label(segment) && segment[segment.size() - 2] == '+'; }
std::string label(const std::string& segment) { return segment.substr(1, segment.size() - (is_greedy(segment) ? 3 : 2)); }

using Pairs = std::vector<std::pair<std::string, std::string>>;

std::string header_name(const Member& m) { return m.ref.location_name.empty() ? m.name : m.ref.location_name; }

// How well a request fits an operation's template: labels bound, and a score (more literal segments and fixed query wins).
struct Fit {
  std::map<std::string, std::string> labels;
  int score = 0;
};

std::optional<Fit> fits(const Operation& op, const HttpRequest& request, const std::vector<std::string>& path, const Pairs& query) {
  if (op.method != request.method) return std::nullopt;
  const Template t = parse_template(op.uri);
  Fit fit;
  std::size_t at = 0;
  for (const std::string& segment : t.segments) {
    if (at >= path.size()) return std::nullopt;
    if (is_greedy(segment)) {
      fit.labels[label(segment)] = percent_decode(join({path.begin() + static_cast<std::ptrdiff_t>(at), path.end()}, "/"));
      at = path.size();
    } else if (is_label(segment)) {
      fit.labels[label(segment)] = percent_decode(path[at++]);
    } else {
      if (percent_decode(path[at++]) != segment) return std::nullopt;
      fit.score += 10;
    }
  }
  if (at != path.size()) return std::nullopt;
  for (const auto& [name, value] : t.fixed_query) {
    bool there = false;
    for (const auto& [n, v] : query) there = there || (n == name && (value.empty() || v == value));
    if (!there) return std::nullopt;
    fit.score += 5;
  }
  // Query members that the request carries make the operation with that member likelier (S3's UploadPart against PutObject).
  if (op.input)
    for (const Member& m : op.input->members)
      if (m.ref.location == Location::querystring)
        for (const auto& [n, v] : query) {
          if (n == m.ref.location_name) fit.score += 1;
        }
  for (const auto& m : op.input ? op.input->members : std::vector<Member>{})
    if (m.required && m.ref.location == Location::querystring) {
      bool there = false;
      for (const auto& [n, v] : query) there = there || n == m.ref.location_name;
      if (!there) return std::nullopt;
    } else if (m.required && m.ref.location == Location::header && !request.headers.find(header_name(m))) {
      return std::nullopt;  // CopyObject is PutObject with a source
    }
  return fit;
}

Protocol body_protocol(const Service& service) { return service.protocol; }

TimestampFormat query_format(const Service&, const Ref& ref) {
  return ref.timestamp == TimestampFormat::unspecified ? TimestampFormat::iso8601 : ref.timestamp;
}
TimestampFormat header_format(const Ref& ref) {
  return ref.timestamp == TimestampFormat::unspecified ? TimestampFormat::rfc822 : ref.timestamp;
}

bool raw_payload(const Ref& ref) { return ref.shape->type == ShapeType::blob || ref.shape->type == ShapeType::string; }

std::string xml_document(const Service& service, const std::string& root, const Ref& ref, const Json& value) {
  Ref named = ref;
  if (named.xml_namespace.empty()) named.xml_namespace = service.xml_namespace;
  std::string out = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
  xml_element(out, service.protocol, root, named, value);
  return out;
}

bool has_body_member(const Shape& shape) {
  for (const Member& m : shape.members)
    if (m.ref.location == Location::body) return true;
  return false;
}

// Body members only, so that header and query members do not show twice.
Json body_part(const Shape& shape, const Json& value) {
  Json::Object out;
  for (const Member& m : shape.members)
    if (m.ref.location == Location::body)
      if (const Json* item = value.find(m.name)) out.set(m.name, *item);
  return out;
}

std::string encode_body(const Service& service, const Operation& op, const Ref& ref, const Json& value, bool request) {
  const Shape& shape = *ref.shape;
  if (!shape.payload.empty()) {
    for (const Member& m : shape.members) {
      if (m.name != shape.payload) continue;
      const Json* payload = value.find(m.name);
      if (!payload || payload->is_null()) return {};
      if (raw_payload(m.ref)) return std::string(payload->string_or());
      if (service.protocol == Protocol::rest_json) return json_out(Protocol::rest_json, m.ref, *payload).dump();
      return xml_document(service, m.ref.location_name.empty() ? m.name : m.ref.location_name, m.ref, *payload);
    }
    return {};
  }
  if (!has_body_member(shape)) return {};
  if (service.protocol == Protocol::rest_json) return json_out(Protocol::rest_json, ref, body_part(shape, value)).dump();
  const std::string root = !ref.location_name.empty() ? ref.location_name : op.name + (request ? "Request" : "Result");
  return xml_document(service, root, ref, body_part(shape, value));
}

// A document has the protocol's type; a raw payload has the type its caller gives it.
void put_content_type(const Service& service, const Shape& shape, const std::string& body, Headers& headers) {
  const auto payload = std::find_if(shape.members.begin(), shape.members.end(), [&](const Member& m) { return m.name == shape.payload; });
  if (body.empty() || headers.find("content-type") || (payload != shape.members.end() && raw_payload(payload->ref))) return;
  headers.add("Content-Type", service.protocol == Protocol::rest_json ? "application/json" : "application/xml");
}

void put_headers(const Shape& shape, const Json& value, Headers& headers) {
  for (const Member& m : shape.members) {
    const Json* item = value.find(m.name);
    if (!item || item->is_null()) continue;
    if (m.ref.location == Location::header && m.ref.shape->type == ShapeType::list) {
      std::vector<std::string> parts;
      for (const Json& part : item->items()) parts.push_back(scalar_text(m.ref.shape->item, part, header_format(m.ref.shape->item)));
      headers.add(header_name(m), join(parts, ","));
    } else if (m.ref.location == Location::header) {
      headers.add(header_name(m), scalar_text(m.ref, *item, header_format(m.ref)));
    }
    if (m.ref.location == Location::headers && item->is_object())
      for (const auto& [key, text] : item->as_object()) headers.add(m.ref.location_name + key, std::string(text.string_or()));
  }
}

void read_headers(const Shape& shape, const Headers& headers, Json::Object& out) {
  for (const Member& m : shape.members) {
    if (m.ref.location == Location::header) {
      const std::string* text = headers.find(header_name(m));
      if (text && m.ref.shape->type == ShapeType::list) {
        Json::Array parts;
        for (const std::string& part : split(*text, ','))
          if (auto value = scalar_value(m.ref.shape->item, trim(part))) parts.push_back(*std::move(value));
        out.set(m.name, std::move(parts));
      } else if (text) {
        if (auto value = scalar_value(m.ref, *text)) out.set(m.name, *std::move(value));
      }
    } else if (m.ref.location == Location::headers) {
      Json::Object entries;
      for (const auto& [name, text] : headers.list)
        if (name.size() > m.ref.location_name.size() &&
            iequals(std::string_view(name).substr(0, m.ref.location_name.size()), m.ref.location_name))
          entries.set(lower(std::string_view(name).substr(m.ref.location_name.size())), text);
      if (!entries.empty()) out.set(m.name, std::move(entries));
    }
  }
}

// Reads a body into the members that travel in it.
Decoded<Json::Object> read_body(const Service& service, const Shape& shape, const std::string& body, Reading reading) {
  Json::Object out;
  const Protocol protocol = body_protocol(service);
  const auto malformed = [&](std::string what) {
    return std::unexpected(
        service.protocol == Protocol::rest_xml
            ? ApiError{"MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema", 400, {}}
            : ApiError{"SerializationException", std::move(what), 400, {}});
  };
  const auto document = [&](const Ref& ref) -> Decoded<Json> {
    if (protocol == Protocol::rest_json) {
      const auto parsed = Json::parse(body);
      if (!parsed) return malformed(parsed.error().message);
      return json_in(service, protocol, ref, *parsed, "", reading);
    }
    pugi::xml_document xml;
    if (!xml.load_buffer(body.data(), body.size(), pugi::parse_default | pugi::parse_ws_pcdata_single)) return malformed("");
    return xml_value(protocol, ref, xml.document_element());
  };
  if (!shape.payload.empty()) {
    for (const Member& m : shape.members) {
      if (m.name != shape.payload) continue;
      if (raw_payload(m.ref)) {
        if (!body.empty()) out.set(m.name, body);
      } else if (!body.empty()) {
        auto value = document(m.ref);
        if (!value) return std::unexpected(value.error());
        out.set(m.name, *std::move(value));
      } else if (reading == Reading::request && m.required) {
        return std::unexpected(missing_parameter(service, protocol, m.name));
      }
    }
    return out;
  }
  if (!has_body_member(shape)) return out;
  Shape part;  // the body's own shape: other members are not in it
  for (const Member& m : shape.members)
    if (m.ref.location == Location::body) part.members.push_back(m);
  part.type = ShapeType::structure;
  if (reading == Reading::answer)
    for (Member& m : part.members) m.required = false;
  Ref ref;
  ref.shape = &part;
  if (body.empty()) {
    for (const Member& m : part.members)
      if (m.required) return std::unexpected(missing_parameter(service, protocol, m.name));
    return out;
  }
  auto value = document(ref);
  if (!value) return std::unexpected(value.error());
  for (const auto& [name, item] : value->as_object()) out.set(name, item);
  return out;
}

}  // namespace

Decoded<DecodedCall> decode_rest(const Service& service, const HttpRequest& request) {
  const Pairs query = parse_query(request.query());
  std::vector<std::string> path;
  for (std::string& part : split(request.path(), '/'))
    if (!part.empty()) path.push_back(std::move(part));

  const Operation* best = nullptr;
  Fit best_fit;
  for (const auto& [name, op] : service.operations) {
    auto fit = fits(op, request, path, query);
    // Some operations of S3 have a deprecated twin of the same method and path; the newer one has the longer name.
    if (fit && (!best || fit->score > best_fit.score || (fit->score == best_fit.score && name.size() > best->name.size()))) {
      best = &op;
      best_fit = *std::move(fit);
    }
  }
  if (!best)
    return std::unexpected(service.protocol == Protocol::rest_xml
                               ? ApiError{"MethodNotAllowed", "The specified method is not allowed against this resource.", 405, {}}
                               : ApiError{"UnknownOperationException",
                                          fmt::format("No operation of {} answers {} {}", service.name, request.method, request.path()),
                                          404,
                                          {}});
  Json::Object input;
  if (best->input) {
    const Shape& shape = *best->input;
    for (const Member& m : shape.members) {
      if (m.ref.location == Location::uri) {
        const auto bound = best_fit.labels.find(m.ref.location_name.empty() ? m.name : m.ref.location_name);
        if (bound == best_fit.labels.end()) continue;
        auto value = scalar_value(m.ref, bound->second);
        if (!value) return std::unexpected(bad_type(service, service.protocol, m.name, bound->second, type_name(m.ref.shape->type)));
        input.set(m.name, *std::move(value));
      } else if (m.ref.location == Location::querystring) {
        Json::Array many;
        for (const auto& [n, v] : query) {
          if (m.ref.shape->type == ShapeType::map) {  // every parameter that is nobody else's
            continue;
          }
          if (n != m.ref.location_name) continue;
          const Ref& scalar = m.ref.shape->type == ShapeType::list ? m.ref.shape->item : m.ref;
          auto value = scalar_value(scalar, v);
          if (!value) return std::unexpected(bad_type(service, service.protocol, m.name, v, type_name(scalar.shape->type)));
          many.push_back(*std::move(value));
        }
        if (many.empty()) continue;
        if (m.ref.shape->type == ShapeType::list)
          input.set(m.name, std::move(many));
        else
          input.set(m.name, many.front());
      }
    }
    read_headers(shape, request.headers, input);
    auto body = read_body(service, shape, request.body, Reading::request);
    if (!body) return std::unexpected(body.error());
    for (const auto& [name, value] : *body) input.set(name, value);
    for (const Member& m : shape.members)
      if (m.required && !input.find(m.name)) return std::unexpected(missing_parameter(service, service.protocol, m.name));
  }
  return DecodedCall{best, Json(std::move(input))};
}

HttpRequest encode_rest(const Service& service, const Operation& op, const Json& input) {
  HttpRequest request;
  request.method = op.method;
  const Template t = parse_template(op.uri);
  std::string path;
  for (const std::string& segment : t.segments) {
    if (!is_label(segment)) {
      path += '/' + segment;
      continue;
    }
    for (const Member& m : op.input->members)
      if (m.ref.location == Location::uri && (m.ref.location_name.empty() ? m.name : m.ref.location_name) == label(segment))
        path += '/' + percent_encode(scalar_text(m.ref, input[m.name], query_format(service, m.ref)), is_greedy(segment));
  }
  if (path.empty()) path = "/";
  std::string query;
  const auto add = [&](const std::string& name, const std::string& value) {
    query += (query.empty() ? "?" : "&") + percent_encode(name) + '=' + percent_encode(value);
  };
  for (const auto& [name, value] : t.fixed_query) add(name, value);
  if (op.input) {
    for (const Member& m : op.input->members) {
      const Json* value = input.find(m.name);
      if (!value || value->is_null() || m.ref.location != Location::querystring) continue;
      if (m.ref.shape->type == ShapeType::list)
        for (const Json& item : value->items())
          add(m.ref.location_name, scalar_text(m.ref.shape->item, item, query_format(service, m.ref.shape->item)));
      else if (m.ref.shape->type != ShapeType::map)
        add(m.ref.location_name, scalar_text(m.ref, *value, query_format(service, m.ref)));
    }
    put_headers(*op.input, input, request.headers);
    request.body = encode_body(service, op, op.input_ref, input, true);
    put_content_type(service, *op.input, request.body, request.headers);
  }
  request.target = path + query;
  return request;
}

HttpResponse encode_rest_reply(const Service& service, const Operation& op, const Json& output) {
  HttpResponse response;
  if (!op.output) return response;
  for (const Member& m : op.output->members)
    if (m.ref.location == Location::status_code) response.status = static_cast<int>(output[m.name].integer_or(200));
  put_headers(*op.output, output, response.headers);
  response.body = encode_body(service, op, op.output_ref, output, false);
  put_content_type(service, *op.output, response.body, response.headers);
  return response;
}

Json decode_rest_reply(const Service& service, const Operation& op, const HttpResponse& response) {
  Json::Object out;
  if (!op.output) return out;
  read_headers(*op.output, response.headers, out);
  for (const Member& m : op.output->members)
    if (m.ref.location == Location::status_code) out.set(m.name, response.status);
  if (auto body = read_body(service, *op.output, response.body, Reading::answer))
    for (const auto& [name, value] : *body) out.set(name, value);
  return out;
}

}  // namespace snapward::wire
