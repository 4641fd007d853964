// Chance as an argument: everything random (ids, jitter, injected faults) is drawn from an Entropy, so that a run with a seed repeats.
#pragma once
#include <cstdint>
#include <random>
#include <string>

namespace snapward {

class Entropy {
 public:
  virtual ~Entropy() = default;
  virtual std::uint64_t next() = 0;  // 64 uniform bits

  double unit() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }               // [0, 1)
  std::uint64_t below(std::uint64_t bound) { return bound == 0 ? 0 : next() % bound; }  // [0, bound)
  bool chance(double probability) { return probability > 0 && unit() < probability; }
  std::string hex(std::size_t digits);
  std::string uuid();  // version 4 form
};

// xoshiro-free and small: SplitMix64 (Steele, Lea, Flood 2014). Good enough for ids and faults, never for secrets.
class SeededEntropy final : public Entropy {
 public:
  explicit SeededEntropy(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() override {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  }

 private:
  std::uint64_t state_;
};

// java.util.Random, bit for bit: what Step Functions' seeded functions draw from.
class JavaRandom {
 public:
  explicit JavaRandom(std::int64_t seed) : state_((static_cast<std::uint64_t>(seed) ^ 0x5DEECE66DULL) & kMask) {}
  double next_double() {
    const std::uint64_t high = next(26), low = next(27);
    return static_cast<double>((high << 27) + low) * 0x1.0p-53;
  }
  std::int32_t next_int(std::int32_t bound) {  // [0, bound), bound above 0
    if ((bound & -bound) == bound)
      return static_cast<std::int32_t>((static_cast<std::int64_t>(bound) * static_cast<std::int64_t>(next(31))) >> 31);
    for (;;) {
      const auto bits = static_cast<std::int32_t>(next(31)), value = bits % bound;
      if (static_cast<std::int64_t>(bits) - value + (bound - 1) <= 0x7fffffff) return value;
    }
  }

 private:
  static constexpr std::uint64_t kMask = (1ULL << 48) - 1;
  std::uint64_t next(int bits) {
    state_ = (state_ * 0x5DEECE66DULL + 0xB) & kMask;
    return state_ >> (48 - bits);
  }
  std::uint64_t state_;
};

// Seeded once from the operating system; for the real server.
class SystemEntropy final : public Entropy {
 public:
  SystemEntropy() : generator_(std::random_device{}() | (static_cast<std::uint64_t>(std::random_device{}()) << 32)) {}
  std::uint64_t next() override { return generator_(); }

 private:
  std::mt19937_64 generator_;
};

}  // namespace snapward
