#include "base/line.hpp"

#include <gtest/gtest.h>

namespace snapward {
namespace {

TEST(LineTest, ControlCharactersAreEscaped) {
  EXPECT_EQ(escape_control("a\nb\r\tc\x1b[2J\x7f"), "a\\nb\\r\\tc\\x1b[2J\\x7f");
  EXPECT_EQ(escape_control("Grüße, \\n"), "Grüße, \\n");
  EXPECT_TRUE(has_control(std::string_view("a\0b", 3)));
  EXPECT_FALSE(has_control("Grüße"));
}

TEST(LineTest, HeadersAndTargetsHoldNoLineBreaks) {
  EXPECT_TRUE(is_header_name("X-Custom_1"));
  for (const char* name : {"", "X Custom", "X:", "X\r\nY", "Grüße"}) EXPECT_FALSE(is_header_name(name)) << name;
  EXPECT_TRUE(is_header_value("a\tb"));
  EXPECT_FALSE(is_header_value("a\r\nX-Injected: yes"));
  EXPECT_TRUE(is_request_target("/a?b=%0d"));
  for (const char* target : {"", "/x HTTP/1.1\r\nX: ", "/a b"}) EXPECT_FALSE(is_request_target(target)) << target;
}

}  // namespace
}  // namespace snapward
