// Numbers and times as text and back. Source: XPath and XQuery Functions 3.1, "fn:format-number", "fn:format-integer",
// "fn:format-dateTime", whose pictures JSONata takes over.
#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>
#include <map>

#include "base/text.hpp"
#include "query/jsonata/evaluator.hpp"

namespace snapward::query::jsonata {

namespace {

std::u32string wide(std::string_view s) {
  std::u32string out;
  for (std::size_t i = 0; i < s.size();) {
    const auto lead = static_cast<unsigned char>(s[i]);
    const std::size_t n = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    char32_t c = n == 1 ? lead : lead & (0xff >> (n + 1));
    for (std::size_t k = 1; k < n && i + k < s.size(); ++k) c = (c << 6) | (static_cast<unsigned char>(s[i + k]) & 0x3f);
    out += c;
    i += n;
  }
  return out;
}
std::string narrow(std::u32string_view s) {
  std::string out;
  for (const char32_t c : s) append_utf8(out, c);
  return out;
}

// ── Integers ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────

enum class Primary { decimal, letters, roman, words, sequence };
enum class Case { lower, upper, title };

struct IntegerFormat {
  Primary primary = Primary::decimal;
  Case letter_case = Case::lower;
  bool ordinal = false;
  char32_t zero = '0';
  std::size_t mandatory = 0, optional = 0;
  std::size_t regular = 0;                                   // a separator every so many digits
  std::vector<std::pair<std::size_t, char32_t>> separators;  // digits to their right
  std::string token;
  std::size_t width = 0;  // when parsing next to another number: exactly so many digits
};

constexpr char32_t kZeros[] = {0x30,   0x0660, 0x06F0, 0x07C0, 0x0966, 0x09E6, 0x0A66, 0x0AE6, 0x0B66, 0x0BE6, 0x0C66, 0x0CE6, 0x0D66,
                               0x0DE6, 0x0E50, 0x0ED0, 0x0F20, 0x1040, 0x1090, 0x17E0, 0x1810, 0x1946, 0x19D0, 0x1A80, 0x1A90, 0x1B50,
                               0x1BB0, 0x1C40, 0x1C50, 0xA620, 0xA8D0, 0xA900, 0xA9D0, 0xA9F0, 0xAA50, 0xABF0, 0xFF10};

IntegerFormat analyse(const std::string& picture) {
  IntegerFormat out;
  std::string primary = picture;
  const std::size_t semicolon = picture.rfind(';');
  if (semicolon != std::string::npos) {
    primary = picture.substr(0, semicolon);
    out.ordinal = picture.substr(semicolon + 1).starts_with('o');
  }
  if (primary == "A" || primary == "a") {
    out.primary = Primary::letters;
    out.letter_case = primary == "A" ? Case::upper : Case::lower;
  } else if (primary == "I" || primary == "i") {
    out.primary = Primary::roman;
    out.letter_case = primary == "I" ? Case::upper : Case::lower;
  } else if (primary == "W" || primary == "w" || primary == "Ww") {
    out.primary = Primary::words;
    out.letter_case = primary == "W" ? Case::upper : primary == "w" ? Case::lower : Case::title;
  } else {
    std::optional<char32_t> zero;
    std::size_t position = 0;
    const std::u32string chars = wide(primary);
    for (auto c = chars.rbegin(); c != chars.rend(); ++c) {
      bool digit = false;
      for (const char32_t z : kZeros)
        if (*c >= z && *c <= z + 9) {
          digit = true;
          ++out.mandatory;
          ++position;
          if (zero && *zero != z) raise("D3131");
          zero = z;
        }
      if (digit) continue;
      if (*c == '#') {
        ++position;
        ++out.optional;
      } else {
        out.separators.emplace_back(position, *c);
      }
    }
    if (out.mandatory == 0) {
      out.primary = Primary::sequence;
      out.token = primary;
      return out;
    }
    out.zero = *zero;
    // Regular when the same sign stands at every multiple of one distance.
    if (!out.separators.empty()) {
      const char32_t sign = out.separators[0].second;
      std::size_t gcd = 0;
      bool same = true;
      for (const auto& [at, c] : out.separators) {
        gcd = std::gcd(gcd, at);
        same = same && c == sign;
      }
      for (std::size_t i = 1; same && gcd && i <= out.separators.size(); ++i)
        same = std::any_of(out.separators.begin(), out.separators.end(), [&](const auto& s) { return s.first == i * gcd; });
      if (same && gcd) out.regular = gcd;
    }
  }
  return out;
}

constexpr const char* kFew[] = {"Zero",     "One",     "Two",     "Three",     "Four",     "Five",    "Six",
                                "Seven",    "Eight",   "Nine",    "Ten",       "Eleven",   "Twelve",  "Thirteen",
                                "Fourteen", "Fifteen", "Sixteen", "Seventeen", "Eighteen", "Nineteen"};
constexpr const char* kOrdinals[] = {"Zeroth",     "First",     "Second",    "Third",       "Fourth",     "Fifth",     "Sixth",
                                     "Seventh",    "Eighth",    "Ninth",     "Tenth",       "Eleventh",   "Twelfth",   "Thirteenth",
                                     "Fourteenth", "Fifteenth", "Sixteenth", "Seventeenth", "Eighteenth", "Nineteenth"};
constexpr const char* kDecades[] = {"Twenty", "Thirty", "Forty", "Fifty", "Sixty", "Seventy", "Eighty", "Ninety", "Hundred"};
constexpr const char* kMagnitudes[] = {"Thousand", "Million", "Billion", "Trillion"};

std::string words_of(double n, bool after, bool ordinal) {
  if (n <= 19) return std::string(after ? " and " : "") + (ordinal ? kOrdinals : kFew)[static_cast<int>(n)];
  if (n < 100) {
    std::string out = std::string(after ? " and " : "") + kDecades[static_cast<int>(n / 10) - 2];
    const double rest = std::fmod(n, 10);
    if (rest > 0) return out + '-' + words_of(rest, false, ordinal);
    return ordinal ? out.substr(0, out.size() - 1) + "ieth" : out;
  }
  if (n < 1000) {
    std::string out = std::string(after ? ", " : "") + kFew[static_cast<int>(n / 100)] + " Hundred";
    const double rest = std::fmod(n, 100);
    if (rest > 0) return out + words_of(rest, true, ordinal);
    return ordinal ? out + "th" : out;
  }
  const int magnitude = std::min(4, static_cast<int>(std::floor(std::log10(n) / 3)));
  const double factor = std::pow(10, magnitude * 3);
  const double mantissa = std::floor(n / factor), rest = n - mantissa * factor;
  std::string out = std::string(after ? ", " : "") + words_of(mantissa, false, false) + ' ' + kMagnitudes[magnitude - 1];
  if (rest > 0) return out + words_of(rest, true, ordinal);
  return ordinal ? out + "th" : out;
}

std::string upper_of(std::string s) {
  for (char& c : s) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return s;
}

std::string digits_of(double n) { return fmt::format("{:.0f}", n); }

std::string format_with(double value, const IntegerFormat& f) {
  const bool negative = value < 0;
  value = std::fabs(value);
  std::string out;
  switch (f.primary) {
    case Primary::letters: {
      auto n = static_cast<std::uint64_t>(std::min(value, 1e15));
      while (n > 0) {
        out.insert(out.begin(), static_cast<char>((f.letter_case == Case::upper ? 'A' : 'a') + (n - 1) % 26));
        n = (n - 1) / 26;
      }
      break;
    }
    case Primary::roman: {
      static constexpr std::pair<int, const char*> kRoman[] = {{1000, "m"}, {900, "cm"}, {500, "d"}, {400, "cd"}, {100, "c"},
                                                               {90, "xc"},  {50, "l"},   {40, "xl"}, {10, "x"},   {9, "ix"},
                                                               {5, "v"},    {4, "iv"},   {1, "i"}};
      if (value > 1e9) raise("D3001");  // a million letters
      auto n = static_cast<int>(value);
      for (const auto& [amount, letters] : kRoman)
        for (; n >= amount; n -= amount) out += letters;
      if (f.letter_case == Case::upper) out = upper_of(out);
      break;
    }
    case Primary::words:
      out = words_of(value, false, f.ordinal);
      if (f.letter_case == Case::upper) out = upper_of(out);
      if (f.letter_case == Case::lower) out = lower(out);
      break;
    case Primary::decimal: {
      const std::string digits = digits_of(value);
      std::u32string text = wide(digits);
      if (text.size() < f.mandatory) text.insert(0, f.mandatory - text.size(), U'0');
      if (f.zero != '0')
        for (char32_t& c : text) c = c - '0' + f.zero;
      if (f.regular) {
        for (std::size_t at = f.regular; at < text.size(); at += f.regular + 1) text.insert(text.size() - at, 1, f.separators[0].second);
      } else {
        // From the left-most on, so that the digits to a separator's right stay countable.
        std::size_t added = 0;
        for (const auto& [position, sign] : f.separators)
          if (position + added < text.size()) text.insert(text.size() - position - added, 1, sign), ++added;
      }
      out = narrow(text);
      if (f.ordinal) {
        const char last = digits.back();
        const bool teen = digits.size() > 1 && digits[digits.size() - 2] == '1';
        out += teen ? "th" : last == '1' ? "st" : last == '2' ? "nd" : last == '3' ? "rd" : "th";
      }
      break;
    }
    case Primary::sequence:
      throw Failure{.code = "D3130", .value = f.token};
  }
  return negative ? '-' + out : out;
}

// How much of the text the format takes, and what it says; nothing when it takes none.
struct Read {
  double value = 0;
  std::size_t size = 0;
};

double word_value(std::string_view word) {
  static const std::map<std::string, double, std::less<>> kValues = [] {
    std::map<std::string, double, std::less<>> out;
    for (int i = 0; i < 20; ++i) out[lower(kFew[i])] = out[lower(kOrdinals[i])] = i;
    for (int i = 0; i < 9; ++i) {
      const std::string decade = lower(kDecades[i]);
      out[decade] = (i + 2) * 10;
      out[decade.substr(0, decade.size() - 1) + "ieth"] = (i + 2) * 10;
    }
    out["hundred"] = out["hundredth"] = 100;
    for (int i = 0; i < 4; ++i) out[lower(kMagnitudes[i])] = out[lower(kMagnitudes[i]) + "th"] = std::pow(10, (i + 1) * 3);
    return out;
  }();
  const auto found = kValues.find(word);
  return found == kValues.end() ? -1 : found->second;
}

std::optional<Read> read_words(std::string_view text) {
  std::vector<double> parts = {0};
  std::size_t at = 0, taken = 0;
  while (at < text.size()) {
    std::size_t end = at;
    while (end < text.size() && std::isalpha(static_cast<unsigned char>(text[end]))) ++end;
    const std::string word = lower(text.substr(at, end - at));
    if (word != "and") {
      const double value = word_value(word);
      if (value < 0) break;
      if (value < 100) {
        double top = parts.back();
        parts.pop_back();
        if (top >= 1000) parts.push_back(std::exchange(top, 0));
        parts.push_back(top + value);
      } else {
        parts.back() *= value;
      }
      taken = end;
    }
    at = end;
    while (at < text.size() && (text[at] == ' ' || text[at] == ',' || text[at] == '-')) ++at;
    if (at == end) break;
  }
  if (!taken) return std::nullopt;
  double sum = 0;
  for (const double part : parts) sum += part;
  return Read{sum, taken};
}

std::optional<Read> read_with(std::string_view text, const IntegerFormat& f) {
  Read out;
  switch (f.primary) {
    case Primary::letters:
      while (out.size < text.size() && std::isalpha(static_cast<unsigned char>(text[out.size])))
        out.value = out.value * 26 + (std::tolower(static_cast<unsigned char>(text[out.size++])) - 'a' + 1);
      break;
    case Primary::roman: {
      static const std::map<char, int> kRoman = {{'m', 1000}, {'d', 500}, {'c', 100}, {'l', 50}, {'x', 10}, {'v', 5}, {'i', 1}};
      std::vector<int> values;
      for (; out.size < text.size(); ++out.size) {
        const auto found = kRoman.find(static_cast<char>(std::tolower(static_cast<unsigned char>(text[out.size]))));
        if (found == kRoman.end()) break;
        values.push_back(found->second);
      }
      int most = 1;
      for (auto v = values.rbegin(); v != values.rend(); ++v) {
        out.value += *v < most ? -*v : *v;
        most = std::max(most, *v);
      }
      break;
    }
    case Primary::words:
      return read_words(text);
    case Primary::decimal: {
      std::size_t digits = 0;
      const std::u32string chars = wide(text);
      std::size_t used = 0;
      for (const char32_t c : chars) {
        const bool separator = std::any_of(f.separators.begin(), f.separators.end(), [c](const auto& s) { return s.second == c; });
        if (c >= f.zero && c <= f.zero + 9 && (f.width == 0 || digits < f.width)) {
          out.value = out.value * 10 + static_cast<double>(c - f.zero);
          ++digits;
        } else if (!separator || digits == 0) {
          break;
        }
        ++used;
      }
      if (digits == 0) return std::nullopt;
      out.size = narrow(std::u32string_view(chars).substr(0, used)).size();
      if (f.ordinal)
        for (const char* suffix : {"st", "nd", "rd", "th"})
          if (text.substr(out.size).starts_with(suffix)) {
            out.size += 2;
            break;
          }
      break;
    }
    case Primary::sequence:
      throw Failure{.code = "D3130", .value = f.token};
  }
  if (out.size == 0) return std::nullopt;
  return out;
}

}  // namespace

std::string format_integer(double value, const std::string& picture) { return format_with(value, analyse(picture)); }

double parse_integer(const std::string& text, const std::string& picture) {
  const IntegerFormat format = analyse(picture);
  if (text.empty() && format.primary == Primary::roman) return 0;
  const bool negative = text.starts_with('-');
  const auto read = read_with(negative ? std::string_view(text).substr(1) : std::string_view(text), format);
  if (!read) return std::nan("");
  return negative ? -read->value : read->value;
}

// ── Decimal numbers ────────────────────────────────────────────────────────────────────────────────────────────────────────────

namespace {

struct NumberPicture {
  std::u32string prefix, suffix, whole;
  std::size_t regular = 0;
  std::vector<std::size_t> groups, fraction_groups;
  std::size_t least_integer = 0, scaling = 0, least_fraction = 0, most_fraction = 0, least_exponent = 0;
};

}  // namespace

std::string format_number(double value, const std::string& picture, const Value& options) {
  std::map<std::string, std::u32string> p = {
      {"decimal-separator", U"."}, {"grouping-separator", U","}, {"exponent-separator", U"e"}, {"minus-sign", U"-"},
      {"percent", U"%"},           {"per-mille", U"\u2030"},     {"zero-digit", U"0"},         {"digit", U"#"},
      {"pattern-separator", U";"}};
  if (options.is_object())
    options.each_member([&](const std::string& key, const Value& v) {
      if (v.is_string() && !v.text().empty()) p[key] = wide(v.text());
    });
  const char32_t zero = p["zero-digit"][0], dot = p["decimal-separator"][0], comma = p["grouping-separator"][0],
                 exponent = p["exponent-separator"][0], optional = p["digit"][0], separator = p["pattern-separator"][0];
  const auto is_digit = [&](char32_t c) { return c >= zero && c <= zero + 9; };
  const auto is_active = [&](char32_t c) {
    return is_digit(c) || c == dot || c == comma || c == exponent || c == optional || c == separator;
  };
  const auto occurs = [](std::u32string_view in, std::u32string_view what) { return in.find(what) != std::u32string_view::npos; };
  const auto twice = [](std::u32string_view in, std::u32string_view what) { return in.find(what) != in.rfind(what); };

  std::vector<std::u32string> subs = {{}};
  for (const char32_t c : wide(picture)) {
    if (c == separator)
      subs.emplace_back();
    else
      subs.back() += c;
  }
  if (subs.size() > 2) raise("D3080");

  const auto study = [&](const std::u32string& sub) {
    NumberPicture out;
    out.whole = sub;
    const auto edge = [&](char32_t c) { return is_active(c) && c != exponent; };
    std::size_t from = 0, to = sub.size();
    while (from < sub.size() && !edge(sub[from])) ++from;
    if (from == sub.size()) from = 0;  // nothing active: all of it is judged
    while (to > from && !edge(sub[to - 1])) --to;
    if (to == from) to = sub.size();
    out.prefix = sub.substr(0, from);
    out.suffix = sub.substr(to);
    const std::u32string active = sub.substr(from, to - from);
    const std::size_t e = active.find(exponent);
    const std::u32string mantissa = active.substr(0, e), power = e == std::u32string::npos ? U"" : active.substr(e + 1);
    const std::size_t point = mantissa.find(dot);
    const std::u32string integer = mantissa.substr(0, point), fraction = point == std::u32string::npos ? U"" : mantissa.substr(point + 1);

    const char* wrong = nullptr;  // the last mistake found is the one that is told, as in the reference
    if (twice(sub, {&dot, 1})) wrong = "D3081";
    if (twice(sub, p["percent"])) wrong = "D3082";
    if (twice(sub, p["per-mille"])) wrong = "D3083";
    if (occurs(sub, p["percent"]) && occurs(sub, p["per-mille"])) wrong = "D3084";
    if (std::none_of(mantissa.begin(), mantissa.end(), [&](char32_t c) { return is_digit(c) || c == optional; })) wrong = "D3085";
    if (std::any_of(active.begin(), active.end(), [&](char32_t c) { return !is_active(c); })) wrong = "D3086";
    if (point != std::u32string::npos &&
        ((point > 0 && mantissa[point - 1] == comma) || (point + 1 < mantissa.size() && mantissa[point + 1] == comma)))
      wrong = "D3087";
    if (point == std::u32string::npos && !integer.empty() && integer.back() == comma) wrong = "D3088";
    const char32_t pair[] = {comma, comma};
    if (occurs(sub, {pair, 2})) wrong = "D3089";
    const std::size_t hash = integer.find(optional);
    for (std::size_t i = 0; hash != std::u32string::npos && i < hash; ++i)
      if (is_digit(integer[i])) wrong = "D3090";
    const std::size_t last = fraction.rfind(optional);
    for (std::size_t i = last; last != std::u32string::npos && i < fraction.size(); ++i)
      if (is_digit(fraction[i])) wrong = "D3091";
    if (e != std::u32string::npos && !power.empty() && (occurs(sub, p["percent"]) || occurs(sub, p["per-mille"]))) wrong = "D3092";
    if (e != std::u32string::npos && (power.empty() || std::any_of(power.begin(), power.end(), [&](char32_t c) { return !is_digit(c); })))
      wrong = "D3093";
    if (wrong) raise(wrong);

    const auto positions = [&](std::u32string_view part, bool to_left) {
      std::vector<std::size_t> at;
      for (std::size_t i = 0; i < part.size(); ++i) {
        if (part[i] != comma) continue;
        const std::u32string_view side = to_left ? part.substr(0, i) : part.substr(i);
        at.push_back(
            static_cast<std::size_t>(std::count_if(side.begin(), side.end(), [&](char32_t c) { return is_digit(c) || c == optional; })));
      }
      return at;
    };
    out.groups = positions(integer, false);
    if (!out.groups.empty()) {
      std::size_t gcd = 0;
      for (const std::size_t g : out.groups) gcd = std::gcd(gcd, g);
      bool regular = gcd > 0;
      for (std::size_t i = 1; regular && i <= out.groups.size(); ++i)
        regular = std::find(out.groups.begin(), out.groups.end(), i * gcd) != out.groups.end();
      if (regular) out.regular = gcd;
    }
    out.fraction_groups = positions(fraction, true);
    const auto digits = [&](std::u32string_view part) {
      return static_cast<std::size_t>(std::count_if(part.begin(), part.end(), is_digit));
    };
    out.least_integer = out.scaling = digits(integer);
    out.least_fraction = digits(fraction);
    out.most_fraction = out.least_fraction + static_cast<std::size_t>(std::count(fraction.begin(), fraction.end(), optional));
    const bool has_exponent = e != std::u32string::npos;
    if (out.least_integer == 0 && out.most_fraction == 0) {
      if (has_exponent)
        out.least_fraction = out.most_fraction = 1;
      else
        out.least_integer = 1;
    }
    if (has_exponent && out.least_integer == 0 && integer.find(optional) != std::u32string::npos) out.least_integer = 1;
    if (out.least_integer == 0 && out.least_fraction == 0) out.least_fraction = 1;
    if (has_exponent) out.least_exponent = digits(power);
    return out;
  };
  NumberPicture positive = study(subs[0]);
  NumberPicture negative = subs.size() == 2 ? study(subs[1]) : positive;
  if (subs.size() == 1) negative.prefix = p["minus-sign"] + negative.prefix;
  const NumberPicture& f = value >= 0 ? positive : negative;

  double number = value;
  if (occurs(f.whole, p["percent"])) number *= 100;
  if (occurs(f.whole, p["per-mille"])) number *= 1000;
  int power = 0;
  if (f.least_exponent && number != 0) {
    const double most = std::pow(10, static_cast<double>(f.scaling)), least = std::pow(10, static_cast<double>(f.scaling) - 1);
    while (std::fabs(number) < least) number *= 10, --power;
    while (std::fabs(number) > most) number /= 10, ++power;
  }
  // Half to even at the last digit shown.
  const double scale = std::pow(10, static_cast<double>(std::min<std::size_t>(f.most_fraction, 15)));
  if (std::fabs(number) * scale < 9e15) {
    const double shifted = std::strtod(fmt::format("{:.15g}", std::fabs(number) * scale).c_str(), nullptr);
    number = std::nearbyint(shifted) / scale;
  }
  std::u32string text = wide(fmt::format("{:.{}f}", std::fabs(number), f.most_fraction));
  std::size_t point = text.find(U'.');
  if (point == std::u32string::npos) text += U'.';
  while (text.starts_with(U'0')) text.erase(0, 1);
  while (text.ends_with(U'0')) text.pop_back();
  point = text.find(U'.');
  if (point < f.least_integer) text.insert(0, f.least_integer - point, U'0');
  point = text.find(U'.');
  const std::size_t fraction = text.size() - point - 1;
  if (fraction < f.least_fraction) text.append(f.least_fraction - fraction, U'0');
  for (char32_t& c : text) c = c == '.' ? dot : c - '0' + zero;
  point = text.find(dot);
  if (f.regular) {
    for (std::size_t at = f.regular; at < point; at += f.regular) text.insert(point - at, 1, comma);
  } else {
    for (const std::size_t group : f.groups)
      if (group < point) text.insert(point - group, 1, comma), ++point;
  }
  point = text.find(dot);
  std::size_t added = 0;
  for (const std::size_t group : f.fraction_groups)
    if (group + point + 1 + added < text.size()) text.insert(group + point + 1 + added, 1, comma), ++added;
  point = text.find(dot);
  if (f.whole.find(dot) == std::u32string::npos || point == text.size() - 1) text.erase(point, 1);
  if (f.least_exponent) {
    std::u32string digits = wide(digits_of(std::abs(power)));
    if (digits.size() < f.least_exponent) digits.insert(0, f.least_exponent - digits.size(), U'0');
    for (char32_t& c : digits) c = c - '0' + zero;
    text += p["exponent-separator"] + (power < 0 ? p["minus-sign"] : U"") + digits;
  }
  return narrow(f.prefix + text + f.suffix);
}

// ── Dates and times ────────────────────────────────────────────────────────────────────────────────────────────────────────────

namespace {

constexpr const char* kMonths[] = {"January", "February", "March",     "April",   "May",      "June",
                                   "July",    "August",   "September", "October", "November", "December"};
constexpr const char* kDays[] = {"", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"};

struct Part {
  std::string literal;  // or a component:
  char component = '\0';
  std::optional<Case> names;
  std::optional<IntegerFormat> integer;
  char second = '\0';
  std::optional<std::size_t> least, most;
  int year_digits = -1;
};

std::vector<Part> analyse_time(const std::string& picture) {
  std::vector<Part> parts;
  const auto literal = [&](std::string text) {
    if (text.empty()) return;
    Part part;
    for (std::size_t i; (i = text.find("]]")) != std::string::npos;) text.erase(i, 1);
    part.literal = std::move(text);
    parts.push_back(std::move(part));
  };
  std::size_t start = 0;
  for (std::size_t at = 0; at < picture.size();) {
    if (picture[at] != '[') {
      ++at;
      continue;
    }
    literal(picture.substr(start, at - start));
    if (at + 1 < picture.size() && picture[at + 1] == '[') {
      literal("[");
      at += 2;
      start = at;
      continue;
    }
    const std::size_t end = picture.find(']', at);
    if (end == std::string::npos) raise("D3135");
    std::string marker = picture.substr(at + 1, end - at - 1);
    std::erase_if(marker, [](char c) { return std::isspace(static_cast<unsigned char>(c)); });
    at = start = end + 1;
    Part part;
    part.component = marker.empty() ? '\0' : marker[0];
    std::string presentation = marker.empty() ? "" : marker.substr(1);
    const std::size_t comma = marker.rfind(',');
    if (comma != std::string::npos) {
      presentation = marker.substr(1, comma - 1);
      const std::string width = marker.substr(comma + 1);
      const std::size_t dash = width.find('-');
      const auto number = [](const std::string& s) -> std::optional<std::size_t> {
        if (s.empty() || s == "*") return std::nullopt;
        return static_cast<std::size_t>(std::min(std::strtoul(s.c_str(), nullptr, 10), 1000UL));
      };
      part.least = number(width.substr(0, dash));
      if (dash != std::string::npos) part.most = number(width.substr(dash + 1));
    }
    static const std::map<char, const char*> kDefaults = {
        {'Y', "1"}, {'M', "1"}, {'D', "1"},  {'d', "1"},  {'F', "n"}, {'W', "1"},     {'w', "1"},     {'X', "1"}, {'x', "1"}, {'H', "1"},
        {'h', "1"}, {'P', "n"}, {'m', "01"}, {'s', "01"}, {'f', "1"}, {'Z', "01:01"}, {'z', "01:01"}, {'C', "n"}, {'E', "n"}};
    const auto known = kDefaults.find(part.component);
    if (known == kDefaults.end()) throw Failure{.code = "D3132", .value = std::string(1, part.component)};
    std::string first = presentation;
    if (presentation.size() > 1 && std::string_view("atco").find(presentation.back()) != std::string_view::npos) {
      part.second = presentation.back();
      first.pop_back();
    }
    if (first.empty()) first = known->second;
    if (first[0] == 'n') {
      part.names = Case::lower;
    } else if (first[0] == 'N') {
      part.names = first.size() > 1 && first[1] == 'n' ? Case::title : Case::upper;
    } else if (std::string_view("YMDdFWwXxHhms").find(part.component) != std::string_view::npos || part.component == 'f') {
      part.integer = analyse(first);
      part.integer->ordinal = part.second == 'o';
      if (part.least && part.integer->mandatory < *part.least) part.integer->mandatory = *part.least;
      if (part.component == 'Y') {
        if (part.most) {
          part.year_digits = static_cast<int>(*part.most);
          part.integer->mandatory = *part.most;
        } else if (const std::size_t digits = part.integer->mandatory + part.integer->optional; digits >= 2) {
          part.year_digits = static_cast<int>(digits);
        }
      }
      // Two numbers side by side: the first takes just its own digits.
      if (!parts.empty() && parts.back().integer && parts.back().integer->primary == Primary::decimal)
        parts.back().integer->width = parts.back().integer->mandatory;
    }
    if (part.component == 'Z' || part.component == 'z') part.integer = analyse(first);
    parts.push_back(std::move(part));
  }
  literal(picture.substr(start));
  return parts;
}

using Days = std::chrono::sys_days;

struct Moment {
  std::int64_t millis;  // shifted by the zone
  std::chrono::year_month_day date;
  explicit Moment(std::int64_t shifted) : millis(shifted), date(std::chrono::floor<std::chrono::days>(Instant(Duration(shifted)))) {}
  [[nodiscard]] int year() const { return static_cast<int>(date.year()); }
  [[nodiscard]] std::int64_t of_day() const { return ((millis % 86'400'000) + 86'400'000) % 86'400'000; }
  [[nodiscard]] int weekday() const { return static_cast<int>(std::chrono::weekday(Days(date)).iso_encoding()); }
};

// The Monday of the first week (of a year or month): the week its first Thursday lies in.
Days first_week(Days first) {
  const int day = static_cast<int>(std::chrono::weekday(first).iso_encoding());
  return day > 4 ? first + std::chrono::days(8 - day) : first - std::chrono::days(day - 1);
}
Days first_of(int year, unsigned month) { return Days(std::chrono::year(year) / std::chrono::month(month) / 1); }

double fragment(const Moment& m, char component) {
  const Days day = Days(m.date);
  const auto month = static_cast<unsigned>(m.date.month());
  const auto weeks = [](Days from, Days to) { return static_cast<double>((to - from).count() / 7); };
  switch (component) {
    case 'Y':
      return m.year();
    case 'M':
      return month;
    case 'D':
      return static_cast<unsigned>(m.date.day());
    case 'd':
      return static_cast<double>((day - first_of(m.year(), 1)).count()) + 1;
    case 'F':
      return m.weekday();
    case 'W': {
      const Days next = first_week(first_of(m.year() + 1, 1)), here = first_week(first_of(m.year(), 1));
      if (day >= next) return 1;
      if (day < here) return weeks(first_week(first_of(m.year() - 1, 1)), day) + 1;
      return weeks(here, day) + 1;
    }
    case 'w': {
      const int next_year = month == 12 ? m.year() + 1 : m.year(), last_year = month == 1 ? m.year() - 1 : m.year();
      const Days next = first_week(first_of(next_year, month == 12 ? 1 : month + 1)), here = first_week(first_of(m.year(), month));
      if (day >= next) return 1;
      if (day < here) return weeks(first_week(first_of(last_year, month == 1 ? 12 : month - 1)), day) + 1;
      return weeks(here, day) + 1;
    }
    case 'X':
      if (day >= first_week(first_of(m.year() + 1, 1))) return m.year() + 1;
      return day < first_week(first_of(m.year(), 1)) ? m.year() - 1 : m.year();
    case 'x':
      if (day >= first_week(first_of(month == 12 ? m.year() + 1 : m.year(), month == 12 ? 1 : month + 1)))
        return month == 12 ? 1 : month + 1;
      return day < first_week(first_of(m.year(), month)) ? (month == 1 ? 12 : month - 1) : month;
    case 'H':
      return static_cast<double>(m.of_day() / 3'600'000);
    case 'h': {
      const auto hour = m.of_day() / 3'600'000 % 12;
      return static_cast<double>(hour == 0 ? 12 : hour);
    }
    case 'm':
      return static_cast<double>(m.of_day() / 60'000 % 60);
    case 's':
      return static_cast<double>(m.of_day() / 1000 % 60);
    case 'f':
      return static_cast<double>(m.of_day() % 1000);
    default:
      return 0;
  }
}

std::string cased(std::string name, Case c) { return c == Case::upper ? upper_of(name) : c == Case::lower ? lower(name) : name; }

}  // namespace

std::string format_time(std::int64_t millis, const std::string& picture, const std::string& zone) {
  int hours = 0, minutes = 0;
  if (!zone.empty()) {
    const long offset = std::strtol(zone.c_str(), nullptr, 10);
    hours = static_cast<int>(offset >= 0 ? offset / 100 : -((99 - offset) / 100));
    minutes = static_cast<int>(offset % 100);
  }
  const Moment m(millis + (60LL * hours + minutes) * 60'000);
  std::string out;
  for (const Part& part : analyse_time(picture)) {
    if (!part.component) {
      out += part.literal;
      continue;
    }
    switch (part.component) {
      case 'Z':
      case 'z': {
        const int offset = hours * 100 + minutes;
        std::string text;
        if (part.integer->regular) {
          text = format_with(offset, *part.integer);
        } else if (part.integer->mandatory <= 2) {
          text = format_with(hours, *part.integer);
          if (minutes != 0) text += ':' + format_integer(minutes, "00");
        } else if (part.integer->mandatory <= 4) {
          text = format_with(offset, *part.integer);
        } else {
          throw Failure{.code = "D3134", .value = std::to_string(part.integer->mandatory)};
        }
        if (offset >= 0) text.insert(0, 1, '+');
        if (part.component == 'z') text = "GMT" + text;
        if (offset == 0 && part.second == 't') text = "Z";
        out += text;
        break;
      }
      case 'P': {
        const std::string name = m.of_day() >= 12 * 3'600'000 ? "pm" : "am";
        out += part.names == Case::upper ? upper_of(name) : name;
        break;
      }
      case 'C':
      case 'E':
        out += "ISO";
        break;
      default: {
        double n = fragment(m, part.component);
        if (part.names) {
          std::string name;
          if (part.component == 'M' || part.component == 'x')
            name = kMonths[static_cast<int>(n) - 1];
          else if (part.component == 'F')
            name = kDays[static_cast<int>(n)];
          else
            throw Failure{.code = "D3133", .value = std::string(1, part.component)};
          name = cased(name, *part.names);
          if (part.most && name.size() > *part.most) name.resize(*part.most);
          out += name;
          break;
        }
        if (part.component == 'Y' && part.year_digits != -1) n = std::fmod(n, std::pow(10, part.year_digits));
        out += format_with(n, *part.integer);
        break;
      }
    }
  }
  return out;
}

namespace {

std::optional<double> parse_iso_text(const std::string& s) {
  const auto digits = [&](std::size_t at, std::size_t n) -> int {
    int out = 0;
    if (at + n > s.size()) return -1;
    for (std::size_t i = at; i < at + n; ++i) {
      if (s[i] < '0' || s[i] > '9') return -1;
      out = out * 10 + (s[i] - '0');
    }
    return out;
  };
  const auto bad = [&]() -> std::optional<double> { throw Failure{.code = "D3110", .value = s}; };
  int year = digits(0, 4), month = 1, day = 1;
  if (year < 0) return bad();
  std::size_t at = 4;
  if (at < s.size() && s[at] == '-') month = digits(at + 1, 2), at += 3;
  if (at < s.size() && s[at] == '-') day = digits(at + 1, 2), at += 3;
  std::int64_t time = 0, zone = 0;
  if (at < s.size() && s[at] == 'T') {
    const int hour = digits(at + 1, 2), minute = digits(at + 4, 2), second = digits(at + 7, 2);
    if (hour < 0 || hour > 24 || minute < 0 || minute > 59 || second < 0 || second > 59 || s[at + 3] != ':' || s[at + 6] != ':')
      return bad();
    time = ((hour * 60LL + minute) * 60 + second) * 1000;
    at += 9;
  }
  if (at < s.size() && s[at] == '.') {
    std::size_t n = 0;
    std::int64_t fraction = 0;
    for (++at; at < s.size() && s[at] >= '0' && s[at] <= '9'; ++at, ++n)
      if (n < 3) fraction = fraction * 10 + (s[at] - '0');
    if (n == 0) return bad();
    for (std::size_t i = std::min<std::size_t>(n, 3); i < 3; ++i) fraction *= 10;
    time += fraction;
  }
  if (at < s.size() && s[at] == 'Z') {
    ++at;
  } else if (at < s.size() && (s[at] == '+' || s[at] == '-')) {
    const int sign = s[at] == '-' ? -1 : 1, hour = digits(at + 1, 2);
    const std::size_t colon = at + 3 < s.size() && s[at + 3] == ':' ? 1 : 0;
    const int minute = digits(at + 3 + colon, 2);
    if (hour < 0 || minute < 0) return bad();
    zone = sign * (hour * 60LL + minute) * 60'000;
    at += 5 + colon;
  }
  const std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(static_cast<unsigned>(std::max(month, 0))),
                                         std::chrono::day(static_cast<unsigned>(std::max(day, 0)))};
  if (at != s.size() || month < 1 || month > 12 || !date.ok()) return bad();
  return static_cast<double>(Days(date).time_since_epoch().count() * 86'400'000LL + time - zone);
}

}  // namespace

std::optional<double> parse_time(const std::string& text, const std::string& picture, Instant now) {
  if (picture.empty()) return parse_iso_text(text);
  std::map<char, double> found;
  std::size_t at = 0;
  const std::string_view whole = text;
  for (const Part& part : analyse_time(picture)) {
    const std::string_view rest = whole.substr(at);
    if (!part.component) {
      if (!iequals(rest.substr(0, part.literal.size()), part.literal)) return std::nullopt;
      at += part.literal.size();
      continue;
    }
    const auto name = [&](const auto& names, int first) -> bool {
      // The longest name that fits wins; with a width, the names are cut to it.
      std::size_t best = 0;
      int index = first;
      for (const char* candidate : names) {
        std::string n = candidate;
        if (part.most && n.size() > *part.most) n.resize(*part.most);
        if (!n.empty() && n.size() > best && iequals(rest.substr(0, n.size()), n)) {
          best = n.size();
          found[part.component] = index;
        }
        ++index;
      }
      at += best;
      return best > 0;
    };
    if (part.component == 'Z' || part.component == 'z') {
      std::string_view z = rest;
      if (part.component == 'z' && z.starts_with("GMT")) z.remove_prefix(3);
      if (part.second == 't' && z.starts_with('Z')) {
        found['Z'] = 0;
        at = text.size() - z.size() + 1;
        continue;
      }
      if (z.empty() || (z[0] != '+' && z[0] != '-')) return std::nullopt;
      const int sign = z[0] == '-' ? -1 : 1;
      z.remove_prefix(1);
      std::string digits;
      bool colon = false;
      while (!z.empty() && (std::isdigit(static_cast<unsigned char>(z[0])) || (z[0] == ':' && !colon)) && digits.size() < 4) {
        if (z[0] == ':')
          colon = true;
        else
          digits += z[0];
        z.remove_prefix(1);
      }
      if (digits.empty()) return std::nullopt;
      const int n = std::atoi(digits.c_str());
      const int minutes = digits.size() <= 2 ? n * 60 : n / 100 * 60 + n % 100;
      found['Z'] = sign * minutes;
      at = text.size() - z.size();
    } else if (part.component == 'P') {
      const std::string p = lower(rest.substr(0, 2));
      if (p != "am" && p != "pm") return std::nullopt;
      found['P'] = p == "pm";
      at += 2;
    } else if (part.names) {
      if (part.component == 'M' || part.component == 'x') {
        if (!name(kMonths, 1)) return std::nullopt;
      } else if (part.component == 'F') {
        if (!name(kDays, 0)) return std::nullopt;
      } else {
        throw Failure{.code = "D3133", .value = std::string(1, part.component)};
      }
    } else if (part.integer) {
      const auto read = read_with(rest, *part.integer);
      if (!read) return std::nullopt;
      double n = read->value;
      if (part.component == 'f') n = std::trunc(n * std::pow(10, 3 - static_cast<double>(read->size)));
      found[part.component] = n;
      at += read->size;
    }
  }
  if (at != text.size() || found.empty()) return std::nullopt;
  // Which components are there; a gap between them leaves the time open.
  const auto has = [&](char c) { return found.contains(c); };
  if (has('X') || has('x') || has('w') || has('W')) throw Failure{.code = "D3136"};
  const bool by_day = has('d');
  const bool twelve = has('h') || has('P');
  const std::string order = std::string(by_day ? "Yd" : "YMD") + (twelve ? "Phmsf" : "Hmsf");
  std::size_t first = order.size(), last = 0;
  for (std::size_t i = 0; i < order.size(); ++i)
    if (has(order[i])) first = std::min(first, i), last = std::max(last, i);
  for (std::size_t i = first; i < last && first < order.size(); ++i)
    if (!has(order[i])) throw Failure{.code = "D3136"};
  const Moment today(now.time_since_epoch().count());
  const auto value = [&](char c) -> double {
    if (has(c)) return found[c];
    const std::size_t i = order.find(c);
    if (i < first) return fragment(today, c);  // what is left out before is today's
    return std::string_view("MDd").find(c) != std::string_view::npos ? 1 : 0;
  };
  // What no calendar has: std::chrono's ends with the year 32767.
  if (std::fabs(value('Y')) > 32'767 || std::fabs(value('D')) > 10'000 || std::fabs(value('d')) > 10'000) return std::nullopt;
  const int year = static_cast<int>(value('Y'));
  Days date;
  if (by_day)
    date = first_of(year, 1) + std::chrono::days(static_cast<int>(value('d')) - 1);
  else
    date = Days(std::chrono::year(year) / std::chrono::month(static_cast<unsigned>(std::clamp(value('M'), 1.0, 12.0))) / 1) +
           std::chrono::days(static_cast<int>(value('D')) - 1);
  double hour = value('H');
  if (twelve) {
    hour = value('h') == 12 ? 0 : value('h');
    if (value('P') == 1) hour += 12;
  }
  double out = static_cast<double>(date.time_since_epoch().count()) * 86'400'000.0 + hour * 3'600'000 + value('m') * 60'000 +
               value('s') * 1000 + value('f');
  if (has('Z')) out -= found['Z'] * 60'000;
  return out;
}

}  // namespace snapward::query::jsonata
