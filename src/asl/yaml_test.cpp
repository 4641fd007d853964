#include "asl/yaml.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace snapward::asl {
namespace {

std::string read(std::string_view text) {
  const auto out = read_yaml(text);
  return out ? out->json.dump() : fmt::format("{}:{}: {}", out.error().place.line, out.error().place.column, out.error().message);
}

TEST(Yaml, ScalarsAreReadByTheCoreSchema) {
  EXPECT_EQ(read("a: 1\nb: '1'\nc: yes\nd: true\ne: ~\nf:\ng: 2020-01-01T00:00:00Z\nh: !!str 5\n"),
            R"({"a":1,"b":"1","c":"yes","d":true,"e":null,"f":null,"g":"2020-01-01T00:00:00Z","h":"5"})");
  EXPECT_EQ(read("[0x1F, 0o17, .5, +3, 007, 1., 1e3, -2.50, 1.2.3, 0x, e5]"), R"([31,15,0.5,3,7,1,1e3,-2.50,"1.2.3","0x","e5"])");
  EXPECT_EQ(read("a: .inf"), "1:4: JSON has no number .inf");
}

TEST(Yaml, DefinitionsLookAsTheirJson) {
  EXPECT_EQ(read("StartAt: A\nStates:\n  A:\n    Type: Wait\n    Seconds: 5\n    Output:\n      text: >-\n        one\n        two\n    "
                 "End: true\n"),
            R"({"StartAt":"A","States":{"A":{"Type":"Wait","Seconds":5,"Output":{"text":"one two"},"End":true}}})");
  EXPECT_EQ(read(R"({"StartAt": "A", "n": [1, "{% $x %}"]})"), R"({"StartAt":"A","n":[1,"{% $x %}"]})");
}

TEST(Yaml, WhatADefinitionCannotHoldIsRefusedAtItsPlace) {
  EXPECT_EQ(read("a: 1\nb: 2\na: 3\n"), "3:1: the key 'a' is there twice");
  EXPECT_EQ(read("Resource: !GetAtt F.Arn\n"), "1:11: the tag !GetAtt is not known in a definition");
  EXPECT_EQ(read("? [a]\n: 1\n"), "1:3: a key must be a text");
  EXPECT_EQ(read("a: 1\n---\nb: 2\n"), "3:1: there is more than one document");
  EXPECT_EQ(read(""), "1:1: the document is empty");
  EXPECT_EQ(read("x: {<<: 1}"), "1:5: merge keys (<<) are not read");
  EXPECT_FALSE(read_yaml("a: [1, 2"));
  EXPECT_FALSE(read_yaml("a: *nowhere"));
  EXPECT_FALSE(read_yaml("a: &x [*x]"));
}

TEST(Yaml, AliasesAreFollowedButNotForEver) {
  EXPECT_EQ(read("a: &r [{E: [X]}]\nb: *r\n"), R"({"a":[{"E":["X"]}],"b":[{"E":["X"]}]})");
  std::string doubling = "a0: &a0 [1, 1]\n";
  for (int i = 1; i < 30; ++i) doubling += fmt::format("a{}: &a{} [*a{}, *a{}]\n", i, i, i - 1, i - 1);
  EXPECT_NE(read(doubling).find("there are more than 1000000 values"), std::string::npos);
  EXPECT_FALSE(read_yaml(std::string(100'000, '[')));
}

TEST(Yaml, PlacesAreThoseOfDiagnostics) {
  const auto out = read_yaml("StartAt: C\nStates:\n  C:\n    Type: Choice\n    Choices:\n      - Variable: x\n        Next: D\n");
  ASSERT_TRUE(out);
  const auto at = [&](std::string_view location) {
    const Place place = place_of(*out, location);
    return fmt::format("{}:{}", place.line, place.column);
  };
  EXPECT_EQ(at("/States/C/Choices[0]/Next"), "7:15");
  EXPECT_EQ(at("/States/C/Choices[0]/Nowhere/Deep[3]"), "6:9");
  EXPECT_EQ(at("/"), "1:1");
  EXPECT_EQ(at(""), "1:1");
}

// Its JSON could not be read again.
TEST(Yaml, TextThatIsNotUtf8IsRefused) {
  const auto out = read_yaml(
      "Comment: \"a\x80"
      "b\"\n");
  ASSERT_FALSE(out);
  EXPECT_EQ(out.error().message, "the text is not UTF-8");
}

}  // namespace
}  // namespace snapward::asl
