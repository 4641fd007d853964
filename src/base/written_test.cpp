#include "base/written.hpp"

#include <gtest/gtest.h>

namespace snapward {

TEST(AsWritten, WhatWasReadKeepsItsSpellingWhatWasMadeIsCompact) {
  const std::string text = R"( {"a": [1, 2.0 ,{"b" : "x\" ,"}], "c":{ }} )";
  const Json read = *Json::parse(text);
  AsWritten written;
  written.add(read, text);
  EXPECT_EQ(written.print(read), R"({"a": [1, 2.0 ,{"b" : "x\" ,"}], "c":{ }})");
  EXPECT_EQ(written.print(read["a"]), R"([1, 2.0 ,{"b" : "x\" ,"}])");
  EXPECT_EQ(written.print(read["a"].as_array()[1]), "2.0");
  EXPECT_EQ(written.print(Json::object({{"x", read["a"].as_array()[2]}, {"y", Json::array({read["c"], 1})}})),
            R"({"x":{"b" : "x\" ,"},"y":[{ },1]})");
}

TEST(AsWritten, OfMembersWithOneNameTheLastOneCounts) {
  const std::string text = R"({"a": [1, 2], "a": [3, [4,  5]]})";
  const Json read = *Json::parse(text);
  AsWritten written;
  written.add(read, text);
  EXPECT_EQ(written.print(read["a"]), "[3, [4,  5]]");
  EXPECT_EQ(written.print(read["a"].as_array()[1]), "[4,  5]");
}

}  // namespace snapward
