// Inside wire: what the protocol files share. Not for other folders.
#pragma once
#include <expected>
#include <map>
#include <pugixml.hpp>
#include <string>
#include <utility>
#include <vector>

#include "base/json.hpp"
#include "wire/api_error.hpp"
#include "wire/http.hpp"
#include "wire/model.hpp"
#include "wire/protocol.hpp"

namespace snapward::wire {

template <class T>
using Decoded = std::expected<T, ApiError>;

// How a protocol words a bad input; `path` is the parameter as the caller wrote it.
ApiError missing_parameter(const Service& service, Protocol protocol, const std::string& path);
ApiError bad_type(const Service& service, Protocol protocol, const std::string& path, const std::string& value, const char* expected);

// Scalars as text (query strings, headers, XML) and back. decode gives nothing when the text does not fit.
std::string scalar_text(const Ref& ref, const Json& value, TimestampFormat timestamp);
std::optional<Json> scalar_value(const Ref& ref, std::string_view text);
const char* type_name(ShapeType type);

// query.cpp: ec2 query and query requests.
Decoded<Json> decode_form(const Service& service, Protocol protocol, const Operation& operation,
                          const std::vector<std::pair<std::string, std::string>>& form);
std::string encode_form(const Service& service, const Operation& operation, const Json& input);

// json_body.cpp: JSON documents by shape.
// Requests are read strictly: a required member that is missing is an error. Answers are read for what they hold.
enum class Reading { request, answer };
Decoded<Json> json_in(const Service& service, Protocol protocol, const Ref& ref, const Json& wire, const std::string& path,
                      Reading reading);
Json json_out(Protocol protocol, const Ref& ref, const Json& value);

// xml.cpp: XML documents by shape. The root element's members are the shape's.
void xml_members(std::string& out, Protocol protocol, const Shape& shape, const Json& value, bool body_only);
void xml_element(std::string& out, Protocol protocol, const std::string& name, const Ref& ref, const Json& value);
Json xml_in(Protocol protocol, const Shape& shape, pugi::xml_node element);
Json xml_value(Protocol protocol, const Ref& ref, pugi::xml_node element);
void xml_text(std::string& out, std::string_view text);

// rest.cpp: paths, headers, query strings and payloads.
Decoded<DecodedCall> decode_rest(const Service& service, const HttpRequest& request);
HttpRequest encode_rest(const Service& service, const Operation& operation, const Json& input);
HttpResponse encode_rest_reply(const Service& service, const Operation& operation, const Json& output);
Json decode_rest_reply(const Service& service, const Operation& operation, const HttpResponse& response);

}  // namespace snapward::wire
