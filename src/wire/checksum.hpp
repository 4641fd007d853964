// The checksums that S3 clients send beside a body, by the end of the header's name.
#pragma once
#include <optional>
#include <string>
#include <string_view>

namespace snapward::wire {

// `algorithm` as in x-amz-checksum-ALGORITHM: crc32, crc32c, crc64nvme, sha1, sha256. In base64, big-endian, as S3 wants it; nothing for
// another algorithm.
std::optional<std::string> checksum(std::string_view algorithm, std::string_view bytes);

}  // namespace snapward::wire
