#include "wire/protocol.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>

#include "base/time.hpp"
#include "base/utf8.hpp"
#include "wire/codec.hpp"

namespace snapward::wire {

std::vector<std::pair<std::string, std::string>> parse_query(std::string_view query) {
  std::vector<std::pair<std::string, std::string>> out;
  for (const std::string& pair : split(query, '&')) {
    if (pair.empty()) continue;
    const std::size_t equals = pair.find('=');
    out.emplace_back(percent_decode(std::string_view(pair).substr(0, equals), true),
                     equals == std::string::npos ? std::string() : percent_decode(std::string_view(pair).substr(equals + 1), true));
  }
  return out;
}

ApiError missing_parameter(const Service& service, Protocol protocol, const std::string& path) {
  if (protocol == Protocol::ec2 || service.name == "sqs")
    return {
        "MissingParameter", fmt::format("The request must contain the parameter {}", path) + (service.name == "sqs" ? "." : ""), 400, {}};
  const std::string message =
      fmt::format("1 validation error detected: Value null at '{}' failed to satisfy constraint: Member must not be null", path);
  if (protocol == Protocol::query) return {"ValidationError", message, 400, {}};
  return {"ValidationException", message, 400, {}};
}

ApiError bad_type(const Service&, Protocol protocol, const std::string& path, const std::string& value, const char* expected) {
  if (protocol == Protocol::ec2)
    return {"InvalidParameterValue", fmt::format("Value ({}) for parameter {} is invalid. Expected {}.", value, path, expected), 400, {}};
  if (protocol == Protocol::query) return {"MalformedInput", fmt::format("Value '{}' at '{}' is not {}", value, path, expected), 400, {}};
  return {"SerializationException",
          fmt::format("{} can not be converted to {}{}", value, expected, path.empty() ? "" : " at '" + path + "'"),
          400,
          {}};
}

const char* type_name(ShapeType type) {
  switch (type) {
    case ShapeType::integer:
      return "an integer";
    case ShapeType::floating:
      return "a number";
    case ShapeType::boolean:
      return "true or false";
    case ShapeType::timestamp:
      return "an ISO 8601 timestamp";
    case ShapeType::blob:
      return "base64 text";
    default:
      return "a string";
  }
}

namespace {
// The name that an error has over SQS's JSON protocol; its code is that of the query protocol, and stays in a header.
std::string json_name_of(std::string_view code) {
  static const std::map<std::string_view, std::string_view> kNames = {{"MissingParameter", "MissingRequiredParameterException"},
                                                                      {"InvalidParameterValue", "InvalidParameterValueException"},
                                                                      {"QueueAlreadyExists", "QueueNameExists"},
                                                                      {"NonExistentQueue", "QueueDoesNotExist"}};
  constexpr std::string_view kPrefix = "AWS.SimpleQueueService.";
  if (code.starts_with(kPrefix)) code.remove_prefix(kPrefix.size());
  const auto known = kNames.find(code);
  return "com.amazonaws.sqs#" + std::string(known == kNames.end() ? code : known->second);
}

std::string rfc822(Instant at) {
  const auto day = std::chrono::floor<std::chrono::days>(at);
  const std::chrono::year_month_day date{day};
  const std::chrono::hh_mm_ss<Duration> clock{at - day};
  static constexpr const char* kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  return fmt::format("{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT", kDays[std::chrono::weekday(day).c_encoding()],
                     static_cast<unsigned>(date.day()), kMonths[static_cast<unsigned>(date.month()) - 1], static_cast<int>(date.year()),
                     clock.hours().count(), clock.minutes().count(), clock.seconds().count());
}

std::optional<Instant> parse_rfc822(std::string_view text) {
  static constexpr std::string_view kMonths = "JanFebMarAprMayJunJulAugSepOctNovDec";
  if (text.size() != 29 || !text.ends_with(" GMT")) return std::nullopt;
  const std::size_t month = kMonths.find(text.substr(8, 3));
  if (month == std::string_view::npos) return std::nullopt;
  return parse_iso(fmt::format("{}-{:02}-{}T{}Z", text.substr(12, 4), month / 3 + 1, text.substr(5, 2), text.substr(17, 8)));
}
}  // namespace

std::string scalar_text(const Ref& ref, const Json& value, TimestampFormat timestamp) {
  switch (value.kind()) {
    case Json::Kind::boolean:
      return value.as_bool() ? "true" : "false";
    case Json::Kind::number:
      return value.number_text();
    case Json::Kind::string:
      break;
    default:
      return {};
  }
  if (ref.shape->type == ShapeType::blob) return base64_encode(value.as_string());
  if (ref.shape->type == ShapeType::timestamp) {
    const auto at = parse_iso(value.as_string());
    if (at && timestamp == TimestampFormat::unix_seconds) return fmt::format("{}", at->time_since_epoch().count() / 1000);
    if (at && timestamp == TimestampFormat::rfc822) return rfc822(*at);
  }
  return value.plain();
}

std::optional<Json> scalar_value(const Ref& ref, std::string_view text) {
  switch (ref.shape->type) {
    case ShapeType::boolean:
      if (iequals(text, "true") || text == "1") return Json(true);
      if (iequals(text, "false") || text == "0") return Json(false);
      return std::nullopt;
    case ShapeType::integer: {
      std::int64_t value = 0;
      const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
      if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
      return Json(value);
    }
    case ShapeType::floating: {
      auto parsed = Json::parse(text);
      if (!parsed || !parsed->is_number()) return std::nullopt;
      return *std::move(parsed);
    }
    case ShapeType::timestamp: {
      if (const auto at = parse_iso(text)) return Json(iso_millis(*at));
      if (const auto at = parse_rfc822(text)) return Json(iso_millis(*at));
      std::int64_t seconds = 0;
      const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
      if (error != std::errc{} || end != text.data() + text.size() || seconds > 253402300799 || seconds < 0) return std::nullopt;
      return Json(iso_millis(Instant(std::chrono::seconds(seconds))));
    }
    case ShapeType::blob: {
      auto bytes = base64_decode(text);
      if (!bytes) return std::nullopt;
      return Json(*std::move(bytes));
    }
    default:
      if (!is_utf8(text)) return std::nullopt;
      return Json(text);
  }
}

Protocol protocol_of(const Service& service, const HttpRequest& request) {
  if (service.query_compatible && !request.headers.find("x-amz-target")) return Protocol::query;
  return service.protocol;
}

std::expected<DecodedCall, ApiError> decode_request(const Service& service, const HttpRequest& request) {
  const Protocol protocol = protocol_of(service, request);
  if (protocol == Protocol::rest_json || protocol == Protocol::rest_xml) return decode_rest(service, request);

  if (protocol == Protocol::json) {
    const std::string_view target = request.headers.get("x-amz-target");
    const std::size_t dot = target.rfind('.');
    const Operation* operation = service.find(target.substr(dot == std::string_view::npos ? 0 : dot + 1));
    if (!operation) return std::unexpected(ApiError{"UnknownOperationException", "", 400, {}});
    auto body = Json::parse(request.body.empty() ? "{}" : std::string_view(request.body));
    if (!body) return std::unexpected(ApiError{"SerializationException", body.error().message, 400, {}});
    if (!operation->input) return DecodedCall{operation, Json(Json::Object{})};
    auto input = json_in(service, protocol, operation->input_ref, *body, "", Reading::request);
    if (!input) return std::unexpected(input.error());
    return DecodedCall{operation, *std::move(input)};
  }

  auto form = parse_query(request.query());
  for (auto& pair : parse_query(request.body)) form.push_back(std::move(pair));
  const std::string* action = nullptr;
  bool queue_named = service.name != "sqs";
  for (const auto& [name, value] : form) {
    if (name == "Action") action = &value;
    if (name == "QueueUrl") queue_named = true;
  }
  if (!action) return std::unexpected(ApiError{"MissingAction", "The request is missing an action or a required parameter.", 400, {}});
  const Operation* operation = service.find(*action);
  if (!operation)
    return std::unexpected(
        ApiError{"InvalidAction",
                 fmt::format("The action {} is not valid for this {}.", *action, service.name == "sqs" ? "endpoint" : "web service"),
                 400,
                 {}});
  // A request to a queue's URL names the queue by that.
  if (!queue_named && request.path().size() > 1) form.emplace_back("QueueUrl", std::string(request.path()));
  auto input = decode_form(service, protocol, *operation, form);
  if (!input) return std::unexpected(input.error());
  return DecodedCall{operation, *std::move(input)};
}

namespace {
std::string json_content_type(const Service& service) { return "application/x-amz-json-" + service.json_version; }
}  // namespace

HttpResponse encode_reply(const Service& service, Protocol protocol, const Operation& operation, const Json& output,
                          const std::string& request_id) {
  HttpResponse response;
  switch (protocol) {
    case Protocol::rest_json:
    case Protocol::rest_xml:
      response = encode_rest_reply(service, operation, output);
      break;
    case Protocol::json:
      response.headers.add("Content-Type", json_content_type(service));
      if (operation.output)
        response.body = json_out(Protocol::json, operation.output_ref, output).dump();
      else
        response.body = service.name == "events" || service.name == "sqs" ? "" : "{}";
      break;
    case Protocol::ec2:
      response.headers.add("Content-Type", "text/xml;charset=UTF-8");
      response.body = fmt::format("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{0}Response xmlns=\"{1}/\"><requestId>{2}</requestId>",
                                  operation.name, service.xml_namespace, request_id);
      if (operation.output)
        xml_members(response.body, protocol, *operation.output, output, false);
      else
        response.body += "<return>true</return>";
      response.body += fmt::format("</{}Response>", operation.name);
      break;
    case Protocol::query: {
      response.headers.add("Content-Type", "text/xml");
      response.body = fmt::format("<{0}Response xmlns=\"{1}\">", operation.name, service.xml_namespace);
      if (operation.output) {
        const std::string wrapper = operation.result_wrapper.empty() ? operation.name + "Result" : operation.result_wrapper;
        response.body += '<' + wrapper + '>';
        xml_members(response.body, protocol, *operation.output, output, false);
        response.body += "</" + wrapper + '>';
      }
      response.body +=
          fmt::format("<ResponseMetadata><RequestId>{}</RequestId></ResponseMetadata></{}Response>", request_id, operation.name);
      break;
    }
  }
  response.headers.add("x-amzn-RequestId", request_id);
  return response;
}

namespace {

// How the member of a JSON error is written that holds its text.
const char* message_member(const Service* service) {
  static constexpr std::string_view kCapital[] = {"scheduler", "rbin", "dlm", "ebs"};
  return service && std::ranges::find(kCapital, service->name) != std::end(kCapital) ? "Message" : "message";
}

}  // namespace

HttpResponse encode_error(const Service* service, Protocol protocol, const ApiError& error, const std::string& request_id) {
  HttpResponse response;
  response.status = error.status;
  const auto text = [](std::string_view s) {
    std::string out;
    xml_text(out, utf8_of(s));  // what was refused may be no text
    return out;
  };
  switch (protocol) {
    case Protocol::ec2:
      response.headers.add("Content-Type", "text/xml;charset=UTF-8");
      response.body = fmt::format(
          "<?xml version=\"1.0\" "
          "encoding=\"UTF-8\"?>\n<Response><Errors><Error><Code>{}</Code><Message>{}</Message></Error></Errors><RequestID>{}</"
          "RequestID></Response>",
          text(error.code), text(error.message), request_id);
      break;
    case Protocol::query:
      response.headers.add("Content-Type", "text/xml");
      response.body = fmt::format(
          "<ErrorResponse "
          "xmlns=\"{}\"><Error><Type>{}</Type><Code>{}</Code><Message>{}</Message></Error><RequestId>{}</RequestId></ErrorResponse>",
          service ? service->xml_namespace : "", error.status < 500 ? "Sender" : "Receiver", text(error.code), text(error.message),
          request_id);
      break;
    case Protocol::rest_xml:
      response.headers.add("Content-Type", "application/xml");
      response.body = fmt::format(
          "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{}</Code><Message>{}</Message><RequestId>{}</RequestId></Error>",
          text(error.code), text(error.message), request_id);
      break;
    case Protocol::json:
    case Protocol::rest_json: {
      Json::Object body = error.fields.is_object() ? error.fields.as_object() : Json::Object{};
      if (protocol == Protocol::json) body.set("__type", service && service->query_compatible ? json_name_of(error.code) : error.code);
      body.set(message_member(service), utf8_of(error.message));
      response.headers.add("Content-Type", service && protocol == Protocol::json ? json_content_type(*service) : "application/json");
      response.headers.add("x-amzn-ErrorType", error.code);
      if (service && service->query_compatible)
        response.headers.add("x-amzn-query-error", error.code + (error.status < 500 ? ";Sender" : ";Receiver"));
      response.body = Json(std::move(body)).dump();
      break;
    }
  }
  response.headers.add("x-amzn-RequestId", request_id);
  return response;
}

HttpRequest encode_request(const Service& service, const Operation& operation, const Json& input) {
  HttpRequest request;
  switch (service.protocol) {
    case Protocol::rest_json:
    case Protocol::rest_xml:
      request = encode_rest(service, operation, input);
      break;
    case Protocol::json:
      request.headers.add("Content-Type", json_content_type(service));
      request.headers.add("X-Amz-Target", service.target_prefix + '.' + operation.name);
      request.body = operation.input ? json_out(Protocol::json, operation.input_ref, input).dump() : "{}";
      break;
    default:
      request.headers.add("Content-Type", "application/x-www-form-urlencoded; charset=utf-8");
      request.body = encode_form(service, operation, input);
  }
  return request;
}

namespace {
ApiError decode_error(const Service& service, const HttpResponse& response) {
  ApiError error{.code = "", .message = "", .status = response.status, .fields = {}};
  if (service.protocol == Protocol::json || service.protocol == Protocol::rest_json) {
    std::string code(response.headers.get("x-amzn-errortype"));
    if (const auto body = Json::parse(response.body); body && body->is_object()) {
      error.fields = *body;
      error.message = (*body)["message"].string_or((*body)["Message"].string_or());
      if (code.empty()) code = (*body)["__type"].string_or((*body)["code"].string_or());
    }
    code = code.substr(0, code.find(':'));
    error.code = code.substr(code.find('#') == std::string::npos ? 0 : code.find('#') + 1);
  } else {
    pugi::xml_document xml;
    if (xml.load_buffer(response.body.data(), response.body.size())) {
      const pugi::xml_node node = xml.find_node([](const pugi::xml_node& n) { return std::string_view(n.name()) == "Error"; });
      error.code = node.child("Code").text().get();
      error.message = node.child("Message").text().get();
    }
  }
  if (error.code.empty()) error.code = fmt::format("HTTP{}", response.status);
  if (error.message.empty()) error.message = fmt::format("{} answered with HTTP status {}", service.name, response.status);
  return error;
}
}  // namespace

std::expected<Json, ApiError> decode_reply(const Service& service, const Operation& operation, const HttpResponse& response) {
  if (response.status >= 300) return std::unexpected(decode_error(service, response));
  if (service.protocol == Protocol::rest_json || service.protocol == Protocol::rest_xml)
    return decode_rest_reply(service, operation, response);
  if (!operation.output) return Json(Json::Object{});
  if (service.protocol == Protocol::json) {
    const auto body = Json::parse(response.body.empty() ? "{}" : std::string_view(response.body));
    if (!body) return std::unexpected(ApiError{"SerializationException", "unreadable answer: " + body.error().message, 502, {}});
    return json_in(service, Protocol::json, operation.output_ref, *body, "", Reading::answer);
  }
  pugi::xml_document xml;
  if (!xml.load_buffer(response.body.data(), response.body.size(), pugi::parse_default | pugi::parse_ws_pcdata_single))
    return std::unexpected(ApiError{"SerializationException", "unreadable answer: not XML", 502, {}});
  pugi::xml_node root = xml.document_element();
  if (service.protocol == Protocol::query)
    root = root.child((operation.result_wrapper.empty() ? operation.name + "Result" : operation.result_wrapper).c_str());
  return xml_in(service.protocol, *operation.output, root);
}

}  // namespace snapward::wire
