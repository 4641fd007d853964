// Random event patterns and events over a small world, so that they meet often. Shared by the matcher's test and its fuzzer.
#pragma once
#include "base/entropy.hpp"
#include "base/json.hpp"

namespace snapward::support {

inline std::string random_word(Entropy& e) {
  static constexpr const char* kWords[] = {"",   "a",   "ab",  "abc",      "abcd",     "b",           "bc",      "cab",
                                           "AB", "aBc", "x*y", "10.0.0.7", "10.1.2.3", "2001:db8::1", "\xc3\xa9"};
  return kWords[e.below(std::size(kWords))];
}
inline Json random_scalar(Entropy& e) {
  switch (e.below(8)) {
    case 0:
      return Json(static_cast<std::int64_t>(e.below(4)));
    case 1:
      return Json(static_cast<double>(e.below(8)) / 2);
    case 2:
      return Json(e.chance(0.5));
    case 3:
      return Json();
    default:
      return Json(random_word(e));
  }
}
inline std::string random_key(Entropy& e) {
  static constexpr const char* kKeys[] = {"a", "b", "c", "dd"};
  return kKeys[e.below(std::size(kKeys))];
}

inline Json random_event(Entropy& e, int depth = 0) {
  Json::Object out;
  const auto value = [&](auto&& self, int level) -> Json {
    switch (level > 3 ? 9 : e.below(10)) {
      case 0:
      case 1:
        return random_event(e, level + 1);
      case 2:
      case 3: {
        Json::Array items;
        for (std::uint64_t n = e.below(4); n > 0; --n) items.push_back(self(self, level + 1));
        return Json(std::move(items));
      }
      default:
        return random_scalar(e);
    }
  };
  for (std::uint64_t n = 1 + e.below(4); n > 0; --n) out.set(random_key(e), value(value, depth + 1));
  return Json(std::move(out));
}

inline Json random_match(Entropy& e) {
  const auto one = [](const char* key, Json value) { return Json::object({{key, std::move(value)}}); };
  const auto blind = [&](const char* key) {
    return e.chance(0.3) ? one(key, one("equals-ignore-case", Json(random_word(e)))) : one(key, Json(random_word(e)));
  };
  switch (e.below(14)) {
    case 0:
      return blind("prefix");
    case 1:
      return blind("suffix");
    case 2:
      return one("equals-ignore-case", Json(random_word(e)));
    case 3: {
      static constexpr const char* kGlobs[] = {"*", "a*", "*b", "a*c", "*b*", "ab*d", "a*b*c", "x\\*y", "abc", "*x\\*y"};
      return one("wildcard", Json(kGlobs[e.below(std::size(kGlobs))]));
    }
    case 4: {
      Json::Array list;
      const bool numbers = e.chance(0.3);
      for (std::uint64_t n = 1 + e.below(3); n > 0; --n)
        list.push_back(numbers ? Json(static_cast<std::int64_t>(e.below(4))) : Json(random_word(e)));
      return one("anything-but", Json(std::move(list)));
    }
    case 5: {
      static constexpr const char* kKinds[] = {"prefix", "suffix", "equals-ignore-case"};
      return one("anything-but", one(kKinds[e.below(3)], Json(random_word(e))));
    }
    case 6:
      return one("exists", Json(e.chance(0.6)));
    case 7: {
      static constexpr const char* kSigns[] = {"=", "<", "<=", ">", ">="};
      return one("numeric", Json::array({Json(kSigns[e.below(5)]), Json(static_cast<double>(e.below(6)) / 2)}));
    }
    case 8:
      return one("numeric", Json::array({Json(">="), Json(0.5), Json("<"), Json(static_cast<double>(2 + e.below(3)))}));
    case 9: {
      static constexpr const char* kNets[] = {"10.0.0.0/8", "10.0.0.0/24", "10.1.2.3/32", "2001:db8::/32", "0.0.0.0/0"};
      return one("cidr", Json(kNets[e.below(std::size(kNets))]));
    }
    default:
      return random_scalar(e);
  }
}

inline Json random_pattern(Entropy& e, int depth = 0) {
  Json::Object out;
  for (std::uint64_t n = 1 + e.below(depth == 0 ? 2 : 3); n > 0; --n) {
    if (depth < 3 && e.chance(0.25)) {
      out.set(random_key(e), random_pattern(e, depth + 1));
    } else {
      Json::Array list;
      for (std::uint64_t k = 1 + e.below(3); k > 0; --k) list.push_back(random_match(e));
      out.set(random_key(e), Json(std::move(list)));
    }
  }
  if (depth < 2 && e.chance(0.15)) {
    Json::Array options;
    for (std::uint64_t k = 2 + e.below(2); k > 0; --k) options.push_back(random_pattern(e, depth + 1));
    out.set("$or", Json(std::move(options)));
  }
  return Json(std::move(out));
}

}  // namespace snapward::support
