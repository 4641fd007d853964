#include "base/jackson.hpp"

#include <fmt/format.h>

namespace snapward {

namespace {

constexpr std::string_view kExpectedValue =
    "expected a valid value (JSON String, Number, Array, Object or token 'null', 'true' or 'false')";

constexpr std::string_view kComment =
    "maybe a (non-standard) comment? (not recognized as one since Feature 'ALLOW_COMMENTS' not enabled for parser)";

bool digit(char c) { return c >= '0' && c <= '9'; }

// What may go on a word for Jackson: Java's identifier parts, of which those outside ASCII are taken for letters.
bool word_part(char c) {
  const auto u = static_cast<unsigned char>(c);
  return std::isalnum(u) || c == '_' || c == '$' || u >= 0x80;
}

// Appends a code point as UTF-8.
void append(std::string& out, std::uint32_t c) {
  if (c < 0x80) {
    out.push_back(static_cast<char>(c));
  } else if (c < 0x800) {
    out.push_back(static_cast<char>(0xc0 | (c >> 6)));
    out.push_back(static_cast<char>(0x80 | (c & 0x3f)));
  } else if (c < 0x10000) {
    out.push_back(static_cast<char>(0xe0 | (c >> 12)));
    out.push_back(static_cast<char>(0x80 | ((c >> 6) & 0x3f)));
    out.push_back(static_cast<char>(0x80 | (c & 0x3f)));
  } else {
    out.push_back(static_cast<char>(0xf0 | (c >> 18)));
    out.push_back(static_cast<char>(0x80 | ((c >> 12) & 0x3f)));
    out.push_back(static_cast<char>(0x80 | ((c >> 6) & 0x3f)));
    out.push_back(static_cast<char>(0x80 | (c & 0x3f)));
  }
}

// How many UTF-16 units the bytes are: Java counts columns in them.
std::size_t utf16_units(std::string_view bytes) {
  std::size_t units = 0;
  for (const char c : bytes) {
    const auto u = static_cast<unsigned char>(c);
    if ((u & 0xc0) != 0x80) units += u >= 0xf0 ? 2 : 1;
  }
  return units;
}

// The first 500 units of the source, control characters but line ends escaped.
std::string excerpt(std::string_view text) {
  constexpr std::size_t kShown = 500;
  std::string shown;
  std::size_t units = 0;
  for (std::size_t i = 0; i < text.size();) {
    std::size_t length = 1;
    while (i + length < text.size() && (static_cast<unsigned char>(text[i + length]) & 0xc0) == 0x80) ++length;
    const std::string_view one = text.substr(i, length);
    units += utf16_units(one);
    if (units > kShown) break;
    if (static_cast<unsigned char>(one[0]) < 0x20 && one[0] != '\n' && one[0] != '\r')
      shown += fmt::format("\\u{:04X}", static_cast<unsigned>(one[0]));
    else
      shown += one;
    i += length;
  }
  const std::size_t all = utf16_units(text);
  return fmt::format("\"{}\"{}", shown, all > kShown ? fmt::format("[truncated {} chars]", all - kShown) : "");
}

}  // namespace

std::pair<std::size_t, std::size_t> JacksonReader::position(std::size_t at, bool behind) const {
  std::size_t line = 1, begin = 0;
  for (std::size_t i = 0; i < at; ++i)
    if (text_[i] == '\n' || (text_[i] == '\r' && (i + 1 >= text_.size() || text_[i + 1] != '\n'))) ++line, begin = i + 1;
  return {line, text_.empty() && behind ? 0 : utf16_units(text_.substr(begin, at - begin)) + 1};
}

std::string JacksonReader::place(std::size_t at, bool behind) const {
  const auto [line, column] = position(at, behind);
  return fmt::format("[Source: (String){}; line: {}, column: {}]", excerpt(text_), line, column);
}

void JacksonReader::fail(std::string_view message) const {
  const auto [line, column] = position(at_, true);
  throw Failure{fmt::format("{}\n at {}", message, place(at_, true)), message.starts_with("Unexpected end-of-input"),
                std::string(message.substr(0, message.find(" (start marker"))), line, column};
}

void JacksonReader::unexpected(char32_t c, std::string_view comment) const {
  std::string shown;
  if (c < 0x20 || c == 0x7f)
    shown = fmt::format("(CTRL-CHAR, code {})", static_cast<unsigned>(c));
  else {
    append(shown, c);
    shown = fmt::format("'{}' (code {}{})", shown, static_cast<unsigned>(c),
                        c > 0xff ? fmt::format(" / 0x{:x}", static_cast<unsigned>(c)) : "");
  }
  fail(fmt::format("Unexpected character ({}){}{}", shown, comment.starts_with(" ") ? "" : ": ", comment));
}

void JacksonReader::out_of_input() const {
  const Open& open = open_.back();
  fail(fmt::format("Unexpected end-of-input: expected close marker for {} (start marker at {})", open.object ? "Object" : "Array",
                   place(open.at, false)));
}

void JacksonReader::blanks() {
  while (more() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n' || text_[at_] == '\r')) ++at_;
}

// The code point that begins with this byte, already read.
char32_t JacksonReader::read_character(char first) {
  const auto u = static_cast<unsigned char>(first);
  if (u < 0xc0) return u;
  const int rest = u >= 0xf0 ? 3 : u >= 0xe0 ? 2 : 1;
  char32_t out = u & (0x3fU >> rest);
  for (int i = 0; i < rest && more(); ++i) out = (out << 6) | (static_cast<unsigned char>(text_[at_++]) & 0x3fU);
  return out;
}

JacksonReader::Token JacksonReader::close(char c) {
  const bool object = c == '}';
  if (open_.empty())
    fail(fmt::format("Unexpected close marker '{}': expected '{}' (for root starting at [Source: (String){}; line: 1, column: 0])", c,
                     object ? ']' : '}', excerpt(text_)));
  if (open_.back().object != object)
    fail(fmt::format("Unexpected close marker '{}': expected '{}' (for {} starting at {})", c, object ? ']' : '}',
                     open_.back().object ? "Object" : "Array", place(open_.back().at, false)));
  open_.pop_back();
  return object ? Token::object_end : Token::array_end;
}

JacksonReader::Token JacksonReader::next() {
  if (pending_) {
    pending_ = false;
    token_text_ = std::move(pending_text_);
    token_ = pending_token_;
    if (token_ == Token::object_start || token_ == Token::array_start) open_.push_back({token_ == Token::object_start, at_ - 1});
    unfinished_ = token_ == Token::string;
    return token_;
  }
  if (unfinished_) finish_string();
  token_text_.clear();
  blanks();
  if (!more()) {
    if (!open_.empty()) out_of_input();
    return token_ = Token::end;
  }
  char c = text_[at_++];
  if (c == '}' || c == ']') return token_ = close(c);
  if (!open_.empty() && open_.back().used) {
    const char* kind = open_.back().object ? "Object" : "Array";
    if (c != ',') unexpected(read_character(c), fmt::format("was expecting comma to separate {} entries", kind));
    blanks();
    if (!more()) fail(fmt::format("Unexpected end-of-input within/between {} entries", kind));
    c = text_[at_++];
  }
  if (!open_.empty()) open_.back().used = true;
  if (open_.empty() || !open_.back().object) {
    token_ = start_value(c);
    if (token_ == Token::object_start || token_ == Token::array_start) open_.push_back({token_ == Token::object_start, at_ - 1});
    unfinished_ = token_ == Token::string;
    return token_;
  }
  if (c != '"') unexpected(read_character(c), "was expecting double-quote to start field name");
  token_ = Token::name;
  finish_string();
  std::string name = std::move(token_text_);
  blanks();
  if (!more()) fail("Unexpected end-of-input within/between Object entries");
  c = text_[at_++];
  if (c != ':') unexpected(read_character(c), "was expecting a colon to separate field name and value");
  blanks();
  if (!more()) fail("Unexpected end-of-input within/between Object entries");
  pending_token_ = start_value(text_[at_++]);
  pending_ = true;
  pending_text_ = std::move(token_text_);
  token_text_ = std::move(name);
  return token_ = Token::name;
}

JacksonReader::Token JacksonReader::start_value(char c) {
  token_text_.clear();
  switch (c) {
    case '"':
      return Token::string;
    case '{':
      return Token::object_start;
    case '[':
      return Token::array_start;
    default:
      break;
  }
  if (c == '-' || digit(c)) {
    read_number(c);
    return Token::number;
  }
  if (word_part(c)) {
    read_literal(c);
    return token_text_ == "null" ? Token::null : Token::boolean;
  }
  if (c == '/') unexpected(U'/', kComment);
  unexpected(read_character(c), kExpectedValue);
}

void JacksonReader::read_number(char first) {
  token_text_.push_back(first);
  // What is not a digit where one must be is named, and stays unread.
  const auto digits = [&](std::string_view comment) {
    if (!more()) fail("Unexpected end-of-input within numeric value");
    if (!digit(text_[at_])) unexpected(static_cast<unsigned char>(text_[at_]), fmt::format(" in numeric value: {}", comment));
    while (more() && digit(text_[at_])) token_text_.push_back(text_[at_++]);
  };
  if (first == '-') {
    if (!more()) fail("Unexpected end-of-input within numeric value");
    const char c = text_[at_++];
    if (!digit(c)) unexpected(read_character(c), " in numeric value: expected digit (0-9) to follow minus sign, for valid numeric value");
    token_text_.push_back(first = c);
  }
  if (first == '0' && more() && digit(text_[at_])) fail("Invalid numeric value: Leading zeroes not allowed");
  while (more() && digit(text_[at_])) token_text_.push_back(text_[at_++]);
  if (more() && text_[at_] == '.') {
    token_text_.push_back(text_[at_++]);
    digits("Decimal point not followed by a digit");
  }
  if (more() && (text_[at_] == 'e' || text_[at_] == 'E')) {
    token_text_.push_back(text_[at_++]);
    if (more() && (text_[at_] == '+' || text_[at_] == '-')) token_text_.push_back(text_[at_++]);
    digits("Exponent indicator not followed by a digit");
  }
  if (open_.empty() && more() && !std::string_view(" \t\n\r").contains(text_[at_])) {
    const char c = text_[at_++];
    unexpected(read_character(c), "Expected space separating root-level values");
  }
}

void JacksonReader::read_literal(char first) {
  token_text_.push_back(first);
  while (more() && word_part(text_[at_])) token_text_.push_back(text_[at_++]);
  if (token_text_ != "true" && token_text_ != "false" && token_text_ != "null")
    fail(fmt::format("Unrecognized token '{}': was expecting (JSON String, Number, Array, Object or token 'null', 'true' or 'false')",
                     token_text_));
}

void JacksonReader::finish_string() {
  unfinished_ = false;
  token_text_.clear();
  for (;;) {
    if (!more())
      fail(token_ == Token::name ? "Unexpected end-of-input in field name"
                                 : "Unexpected end-of-input: was expecting closing quote for a string value");
    const char c = text_[at_++];
    if (c == '"') return;
    const auto u = static_cast<unsigned char>(c);
    if (u < 0x20)
      fail(fmt::format("Illegal unquoted character ((CTRL-CHAR, code {})): has to be escaped using backslash to be included in {}", u,
                       token_ == Token::name ? "name" : "string value"));
    if (c != '\\') {
      token_text_.push_back(c);
      continue;
    }
    if (!more()) fail("Unexpected end-of-input in character escape sequence");
    const char escaped = text_[at_++];
    static constexpr std::string_view kFrom = "\"\\/bfnrt", kTo = "\"\\/\b\f\n\r\t";
    if (const std::size_t known = kFrom.find(escaped); known != std::string_view::npos) {
      token_text_.push_back(kTo[known]);
      continue;
    }
    if (escaped != 'u') {
      const char32_t what = read_character(escaped);
      std::string shown;
      append(shown, what);
      fail(fmt::format("Unrecognized character escape '{}' (code {})", shown, static_cast<unsigned>(what)));
    }
    const auto unit = [&] {
      std::uint32_t value = 0;
      for (int i = 0; i < 4; ++i) {
        if (!more()) fail("Unexpected end-of-input in character escape sequence");
        const char h = text_[at_++];
        const std::size_t n = std::string_view("0123456789abcdef").find(static_cast<char>(std::tolower(static_cast<unsigned char>(h))));
        if (n == std::string_view::npos) unexpected(read_character(h), "expected a hex-digit for character escape sequence");
        value = value * 16 + static_cast<std::uint32_t>(n);
      }
      return value;
    };
    std::uint32_t value = unit();
    if (value >= 0xd800 && value < 0xdc00 && text_.substr(at_).starts_with("\\u")) {
      const std::size_t back = at_;
      at_ += 2;
      const std::uint32_t low = unit();
      if (low >= 0xdc00 && low < 0xe000)
        value = 0x10000 + ((value - 0xd800) << 10) + (low - 0xdc00);
      else
        at_ = back;
    }
    append(token_text_, value >= 0xd800 && value < 0xe000 ? 0xfffd : value);
  }
}

const std::string& JacksonReader::text() {
  if (unfinished_) finish_string();
  return token_text_;
}

Json JacksonReader::value() {
  switch (token_) {
    case Token::string:
      return Json(text());
    case Token::number:
      return Json::parse(token_text_).value_or(Json());
    case Token::boolean:
      return Json(token_text_ == "true");
    default:
      return {};
  }
}

std::optional<JacksonError> jackson_error(std::string_view text) {
  if (text.find_first_not_of(" \t\r\n") == std::string_view::npos) {
    const std::string message = fmt::format("No content to map due to end-of-input\n at [Source: (String){}; line: 1, column: {}]",
                                            excerpt(text), text.empty() ? 0 : utf16_units(text) + 1);
    return JacksonError{message, "com.fasterxml.jackson.databind.exc.MismatchedInputException: " + message, "The text is empty", 1, 1};
  }
  JacksonReader reader(text);
  try {
    while (reader.next() != JacksonReader::Token::end) reader.text();
  } catch (const JacksonReader::Failure& failure) {
    const char* name = failure.end_of_input ? "io.JsonEOFException" : "JsonParseException";
    return JacksonError{failure.message, fmt::format("com.fasterxml.jackson.core.{}: {}", name, failure.message), failure.what,
                        failure.line, failure.column};
  }
  // What follows a whole value, and what only Json::parse refuses (its depth).
  if (const auto json = Json::parse(text); !json) return JacksonError{json.error().message, json.error().message, json.error().message};
  return std::nullopt;
}

}  // namespace snapward
