// AWS's wire protocols in both directions, driven by the API models: ec2 query, query, json 1.0/1.1, rest-json, rest-xml.
//
// Between these functions and the rest of the house an API call is JSON shaped as the model says, with
//   timestamps   ISO 8601 text (2026-01-01T03:00:00.000Z)
//   blobs        strings holding the raw bytes
//   everything else as one expects.
// All functions are pure and may run on any thread. Source: Smithy's protocol descriptions (smithy.io, aws-protocols).
#pragma once
#include <expected>
#include <string>

#include "base/json.hpp"
#include "wire/api_error.hpp"
#include "wire/http.hpp"
#include "wire/model.hpp"

namespace snapward::wire {

struct DecodedCall {
  const Operation* operation = nullptr;
  Json input;
};

// Which protocol a request for this service speaks: services of the json protocol that are query-compatible are asked in both.
Protocol protocol_of(const Service& service, const HttpRequest& request);

// Server side. Errors are AWS's: unknown operation, missing required parameter, wrong type, unreadable body.
std::expected<DecodedCall, ApiError> decode_request(const Service& service, const HttpRequest& request);
HttpResponse encode_reply(const Service& service, Protocol protocol, const Operation& operation, const Json& output,
                          const std::string& request_id);
HttpResponse encode_error(const Service* service, Protocol protocol, const ApiError& error, const std::string& request_id);

// Client side. The request lacks host and signature, which the caller adds.
HttpRequest encode_request(const Service& service, const Operation& operation, const Json& input);
std::expected<Json, ApiError> decode_reply(const Service& service, const Operation& operation, const HttpResponse& response);

}  // namespace snapward::wire
