// S3's example of an upload in pieces (S3 API Reference, "Signature Calculations for the Authorization Header: Transferring Payload in
// Multiple Chunks"): same key, date and body, and the signatures that AWS printed.
#include "wire/chunked.hpp"

#include <gtest/gtest.h>

#include "wire/checksum.hpp"

namespace snapward::wire {
namespace {

constexpr const char* kSecret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const Instant kAt = *parse_iso("2013-05-24T00:00:00Z");

HttpRequest upload() {
  HttpRequest request;
  request.method = "PUT";
  request.target = "/examplebucket/chunkObject.txt";
  request.headers.add("Host", "s3.amazonaws.com");
  request.headers.add("x-amz-date", "20130524T000000Z");
  request.headers.add("x-amz-storage-class", "REDUCED_REDUNDANCY");
  request.headers.add("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD");
  request.headers.add("Content-Encoding", "aws-chunked");
  request.headers.add("x-amz-decoded-content-length", "66560");
  request.headers.add("Content-Length", "66824");
  request.headers.add("Authorization",
                      "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"
                      "SignedHeaders=content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;"
                      "x-amz-storage-class,Signature=4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9");
  request.body = "10000;chunk-signature=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648\r\n" + std::string(65536, 'a') +
                 "\r\n400;chunk-signature=0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497\r\n" + std::string(1024, 'a') +
                 "\r\n0;chunk-signature=b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9\r\n\r\n";
  return request;
}

std::string refusal(HttpRequest request, const std::optional<SigningSeed>& seed) {
  const auto decoded = decode_chunks(request, seed);
  return decoded ? "taken" : decoded.error().code;
}

TEST(ChunkedTest, ThePublishedExample) {
  HttpRequest request = upload();
  EXPECT_EQ(verify(request, kSecret, kAt).verdict, Verdict::valid);
  ASSERT_TRUE(decode_chunks(request, seed_of(request, kSecret)));
  EXPECT_EQ(request.body, std::string(66560, 'a'));
  EXPECT_FALSE(request.headers.find("Content-Encoding")) << "the object is not stored with it";
}

TEST(ChunkedTest, PiecesThatWereAlteredOnTheWayAreRefused) {
  const auto seed = seed_of(upload(), kSecret);
  HttpRequest altered = upload();
  altered.body[altered.body.find("\r\n") + 10] = 'b';
  EXPECT_EQ(refusal(altered, seed), "SignatureDoesNotMatch");
  HttpRequest shortened = upload();  // one piece is left out
  shortened.body.erase(0, shortened.body.find("400;"));
  EXPECT_EQ(refusal(shortened, seed), "SignatureDoesNotMatch");
  HttpRequest cut = upload();
  cut.body.resize(70'000 < cut.body.size() ? 70'000 : 66'000);
  EXPECT_EQ(refusal(cut, seed), "IncompleteBody");
  for (const char* body : {"", "zz\r\n", "5;chunk-signature=x", "ffffffffffffffff\r\nabc\r\n", "3\r\nabcd"}) {
    HttpRequest broken = upload();
    broken.body = body;
    EXPECT_EQ(refusal(broken, std::nullopt), "IncompleteBody") << body;
  }
}

HttpRequest with_trailer(const std::string& trailer) {
  HttpRequest request;
  request.headers.add("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER");
  request.headers.add("x-amz-decoded-content-length", "9");
  request.headers.add("x-amz-trailer", "x-amz-checksum-crc32");
  request.headers.add("Content-Encoding", "gzip, aws-chunked");
  request.body = "9\r\n123456789\r\n0\r\n" + trailer + "\r\n";
  return request;
}

TEST(ChunkedTest, TheChecksumInTheTrailerIsChecked) {
  HttpRequest request = with_trailer("x-amz-checksum-crc32:y/Q5Jg==\r\n");
  ASSERT_TRUE(decode_chunks(request, std::nullopt));
  EXPECT_EQ(request.body, "123456789");
  EXPECT_EQ(request.headers.get("x-amz-checksum-crc32"), "y/Q5Jg==");
  EXPECT_EQ(request.headers.get("content-encoding"), "gzip");
  EXPECT_EQ(refusal(with_trailer("x-amz-checksum-crc32:AAAAAA==\r\n"), std::nullopt), "BadDigest");
  EXPECT_EQ(refusal(with_trailer(""), std::nullopt), "MalformedTrailerError");
  EXPECT_EQ(refusal(with_trailer("x-amz-other:1\r\n"), std::nullopt), "MalformedTrailerError");
}

// The check values of the catalogue of CRCs, in base64.
TEST(ChunkedTest, Checksums) {
  EXPECT_EQ(checksum("crc32", "123456789"), "y/Q5Jg==");
  EXPECT_EQ(checksum("crc32c", "123456789"), "4waSgw==");
  EXPECT_EQ(checksum("crc64nvme", "123456789"), "rosUhgp5mIg=");
  EXPECT_EQ(checksum("sha1", ""), "2jmj7l5rSw0yVb/vlWAYkK/YBwk=");
  EXPECT_EQ(checksum("sha256", ""), "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
  EXPECT_FALSE(checksum("md5", ""));
}

}  // namespace
}  // namespace snapward::wire
