// The body of an S3 request in pieces ("aws-chunked"): decoded, with the signature of every piece and the checksum in the trailer checked.
// It is not the chunked coding of HTTP, and may stand inside that.
// Source: S3 API Reference, "Signature Calculations for the Authorization Header: Transferring Payload in Multiple Chunks" and
// "Including Trailing Headers".
#pragma once
#include <expected>
#include <optional>

#include "wire/api_error.hpp"
#include "wire/http.hpp"
#include "wire/sigv4.hpp"

namespace snapward::wire {

// Whether the request says that its body comes in pieces (x-amz-content-sha256: STREAMING-…).
bool is_chunked(const HttpRequest& request);

// Puts the decoded body in place of the pieces; the trailer joins the headers, "aws-chunked" leaves Content-Encoding. Without a seed no
// signature is checked, and a body whose pieces are signed is taken all the same: of a server without keys.
// Errors are S3's: SignatureDoesNotMatch, IncompleteBody, MalformedTrailerError, BadDigest, InvalidRequest.
std::expected<void, ApiError> decode_chunks(HttpRequest& request, const std::optional<SigningSeed>& seed);

}  // namespace snapward::wire
