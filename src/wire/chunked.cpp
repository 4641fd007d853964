#include "wire/chunked.hpp"

#include <fmt/format.h>

#include <charconv>

#include "wire/checksum.hpp"

namespace snapward::wire {

namespace {

constexpr std::string_view kSigned = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", kSignedTrailer = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
                           kUnsignedTrailer = "STREAMING-UNSIGNED-PAYLOAD-TRAILER", kChecksum = "x-amz-checksum-";

using Refused = std::unexpected<ApiError>;
Refused incomplete() { return Refused({"IncompleteBody", "The request body terminated unexpectedly", 400, {}}); }
Refused malformed_trailer() {
  return Refused({"MalformedTrailerError",
                  "The request contained trailing data that was not well-formed or did not conform to our published schema.",
                  400,
                  {}});
}
Refused mismatch() {
  return Refused({"SignatureDoesNotMatch",
                  "The request signature we calculated does not match the signature you provided. Check your key and signing method.",
                  403,
                  {}});
}

// Each piece is signed over the signature of the one before.
class Chain {
 public:
  explicit Chain(const std::optional<SigningSeed>& seed) : seed_(seed) {
    if (seed) last_ = seed->signature;
  }
  bool piece(std::string_view data, std::string_view given) {
    return next("AWS4-HMAC-SHA256-PAYLOAD", hex_encode(sha256("")) + '\n' + hex_encode(sha256(data)), given);
  }
  bool trailer(std::string_view lines, std::string_view given) {
    return next("AWS4-HMAC-SHA256-TRAILER", hex_encode(sha256(lines)), given);
  }

 private:
  bool next(std::string_view kind, const std::string& what, std::string_view given) {
    if (!seed_) return true;
    last_ = hex_encode(hmac_sha256(seed_->key, fmt::format("{}\n{}\n{}\n{}\n{}", kind, seed_->date, seed_->scope, last_, what)));
    return same_secret(last_, given);
  }
  const std::optional<SigningSeed>& seed_;
  std::string last_;
};

// Takes what stands before the next CRLF off `rest`; nothing without one.
std::optional<std::string_view> take_line(std::string_view& rest) {
  const std::size_t end = rest.find("\r\n");
  if (end == std::string_view::npos) return std::nullopt;
  const std::string_view line = rest.substr(0, end);
  rest.remove_prefix(end + 2);
  return line;
}

struct PieceHead {
  std::size_t size = 0;
  std::string_view signature;
};
// "10000;chunk-signature=…"
std::optional<PieceHead> piece_head(std::string_view line) {
  constexpr std::string_view kSignature = "chunk-signature=";
  PieceHead head;
  const std::string_view size = line.substr(0, line.find(';'));
  const auto [end, error] = std::from_chars(size.data(), size.data() + size.size(), head.size, 16);
  if (size.empty() || error != std::errc() || end != size.data() + size.size()) return std::nullopt;
  if (const std::size_t at = line.find(kSignature); at != std::string_view::npos) head.signature = line.substr(at + kSignature.size());
  return head;
}

// All pieces up to the empty one; `rest` is left at what follows that one's head.
std::expected<std::string, ApiError> pieces(std::string_view& rest, bool are_signed, Chain& chain) {
  for (std::string body;;) {
    const auto line = take_line(rest);
    const auto head = line ? piece_head(*line) : std::nullopt;
    if (!head || (head->size > 0 && (rest.size() < 2 || head->size > rest.size() - 2))) return incomplete();
    const std::string_view data = rest.substr(0, head->size);
    if (are_signed && !chain.piece(data, head->signature)) return mismatch();
    if (head->size == 0) return body;
    body.append(data);
    rest.remove_prefix(head->size);
    if (!rest.starts_with("\r\n")) return incomplete();
    rest.remove_prefix(2);
  }
}

// The header that x-amz-trailer announced, then, where pieces are signed, the trailer's signature.
std::expected<void, ApiError> take_trailer(HttpRequest& request, std::string_view rest, const std::string& body, bool is_signed,
                                           Chain& chain) {
  const std::string announced(trim(request.headers.get("x-amz-trailer")));
  std::string signature, lines;
  while (const auto line = take_line(rest)) {
    const std::size_t colon = line->find(':');
    if (line->empty() || colon == std::string_view::npos) break;
    const std::string name = lower(trim(line->substr(0, colon))), value(trim(line->substr(colon + 1)));
    if (name == "x-amz-trailer-signature") {
      signature = value;
      continue;
    }
    if (!iequals(name, announced) || !lines.empty()) return malformed_trailer();
    lines = fmt::format("{}:{}\n", name, value);
    if (name.starts_with(kChecksum)) {
      const std::string algorithm = name.substr(kChecksum.size());
      const auto actual = checksum(algorithm, body);
      if (!actual) return malformed_trailer();
      if (*actual != value)
        return Refused(
            {"BadDigest", fmt::format("The {} you specified did not match the calculated checksum.", upper(algorithm)), 400, {}});
    }
    request.headers.add(name, value);
  }
  if (lines.empty() && !announced.empty()) return malformed_trailer();
  if (is_signed && !chain.trailer(lines, signature)) return mismatch();
  return {};
}

void drop_coding(HttpRequest& request) {
  for (auto& [name, value] : request.headers.list) {
    if (!iequals(name, "Content-Encoding")) continue;
    std::vector<std::string> kept;
    for (const std::string& coding : split(value, ','))
      if (!iequals(trim(coding), "aws-chunked")) kept.emplace_back(trim(coding));
    value = join(kept, ",");
  }
  std::erase_if(request.headers.list,
                [](const auto& header) { return iequals(header.first, "Content-Encoding") && header.second.empty(); });
}

}  // namespace

bool is_chunked(const HttpRequest& request) { return request.headers.get("x-amz-content-sha256").starts_with("STREAMING-"); }

std::expected<void, ApiError> decode_chunks(HttpRequest& request, const std::optional<SigningSeed>& seed) {
  const std::string_view mode = request.headers.get("x-amz-content-sha256");
  const bool trailer = mode == kSignedTrailer || mode == kUnsignedTrailer, are_signed = mode == kSigned || mode == kSignedTrailer;
  if (!trailer && !are_signed)
    return Refused({"InvalidRequest", fmt::format("The x-amz-content-sha256 '{}' is not supported here.", mode), 400, {}});
  Chain chain(seed);
  std::string_view rest = request.body;
  auto body = pieces(rest, are_signed, chain);
  if (!body) return std::unexpected(std::move(body.error()));
  if (const std::string_view length = request.headers.get("x-amz-decoded-content-length"); length != std::to_string(body->size()))
    return length.empty() ? Refused({"MissingContentLength", "You must provide the Content-Length HTTP header.", 411, {}}) : incomplete();
  if (trailer)
    if (auto taken = take_trailer(request, rest, *body, are_signed, chain); !taken) return taken;
  request.body = *std::move(body);
  drop_coding(request);
  return {};
}

}  // namespace snapward::wire
