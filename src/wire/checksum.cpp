#include "wire/checksum.hpp"

#include <array>
#include <cstdint>

#include "base/text.hpp"

namespace snapward::wire {

namespace {

// A reflected CRC with all bits set at the beginning and inverted at the end, as all three of S3's are.
template <class Word, Word kPolynomial>
std::string crc(std::string_view bytes) {
  static constexpr auto kTable = [] {
    std::array<Word, 256> table{};
    for (std::size_t i = 0; i < table.size(); ++i) {
      Word word = static_cast<Word>(i);
      for (int bit = 0; bit < 8; ++bit) word = (word >> 1) ^ ((word & 1) != 0 ? kPolynomial : 0);
      table[i] = word;
    }
    return table;
  }();
  Word word = ~Word{0};
  for (const char c : bytes) word = (word >> 8) ^ kTable[(word ^ static_cast<unsigned char>(c)) & 0xFF];
  word = ~word;
  std::string out;
  for (int shift = static_cast<int>(sizeof(Word)) * 8 - 8; shift >= 0; shift -= 8) out.push_back(static_cast<char>(word >> shift));
  return out;
}

std::string raw(std::string_view hex) {
  std::string out;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
    out.push_back(static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16)));
  return out;
}

}  // namespace

std::optional<std::string> checksum(std::string_view algorithm, std::string_view bytes) {
  if (algorithm == "crc32") return base64_encode(crc<std::uint32_t, 0xEDB88320>(bytes));
  if (algorithm == "crc32c") return base64_encode(crc<std::uint32_t, 0x82F63B78>(bytes));
  if (algorithm == "crc64nvme") return base64_encode(crc<std::uint64_t, 0x9A6C9329AC4BC9B5>(bytes));
  if (algorithm == "sha256") return base64_encode(sha256(bytes));
  if (algorithm == "sha1") return base64_encode(raw(digest_hex("SHA-1", bytes).value_or("")));
  return std::nullopt;
}

}  // namespace snapward::wire
