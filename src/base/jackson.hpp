// Reads JSON text token by token, with the places and words of the parser that AWS's services use (Jackson's streaming reader): a
// mistake is reported where that parser stands when it is noticed. Slower than Json::parse, which decides what is JSON; this one
// tells what is wrong as AWS would, and reads event patterns, whose grammar is checked on the way. Pure.
//
// Where it stands: behind the last character read. Behind a name it has read on to the first character of the value (all of it, when
// that is a number or a literal); a string is read to its end only when its text is asked for or the next token is.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.hpp"

namespace snapward {

class JacksonReader {
 public:
  enum class Token { object_start, object_end, array_start, array_end, name, string, number, boolean, null, end };

  // Thrown by what reads, and caught in the file that does. Ends with " at [Source: …]" where Jackson's message does.
  struct Failure {
    std::string message;
    bool end_of_input = false;  // the text ends too early: an exception of another class there
    std::string what = {};      // without the place, which is
    std::size_t line = 0, column = 0;
  };

  // text must outlive the reader, which can be copied to look ahead.
  explicit JacksonReader(std::string_view text) : text_(text) {}

  Token next();
  [[nodiscard]] Token token() const { return token_; }
  // Of the name, string, number or literal that the last token is.
  const std::string& text();
  Json value();

  [[noreturn]] void fail(std::string_view message) const;

 private:
  struct Open {
    bool object;
    std::size_t at;  // of its bracket
    bool used = false;
  };

  [[nodiscard]] bool more() const { return at_ < text_.size(); }
  void blanks();
  Token start_value(char c);
  Token close(char c);
  void read_number(char first);
  void read_literal(char first);
  void finish_string();
  [[noreturn]] void unexpected(char32_t c, std::string_view comment) const;
  [[noreturn]] void out_of_input() const;
  char32_t read_character(char first);
  // {line, column}
  [[nodiscard]] std::pair<std::size_t, std::size_t> position(std::size_t at, bool behind) const;
  [[nodiscard]] std::string place(std::size_t at, bool behind) const;

  std::string_view text_;
  std::size_t at_ = 0;
  std::vector<Open> open_;
  Token token_ = Token::end;
  bool pending_ = false;     // the value behind a name has been begun: `pending_token_`
  bool unfinished_ = false;  // the string of the last token has not been read to its end
  Token pending_token_ = Token::end;
  std::string pending_text_, token_text_;
};

// What Jackson says of a text that is not JSON, without and with the name of its exception ("com.fasterxml.jackson.core.…: …"), and for
// people: what is wrong, and where. Nothing when the text is JSON.
struct JacksonError {
  std::string message, exception;
  std::string what;
  std::size_t line = 0, column = 0;  // 0: not known
};
std::optional<JacksonError> jackson_error(std::string_view text);

}  // namespace snapward
