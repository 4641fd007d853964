#include "base/json.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "base/entropy.hpp"
#include "base/jackson.hpp"
#include "base/json_reading.hpp"

namespace snapward {
namespace {

std::string round_trip(const std::string& text) {
  const auto json = Json::parse(text);
  return json ? json->dump() : "error: " + json.error().message;
}

TEST(Json, KeepsTheTextOfNumbers) {
  for (const char* text : {"0", "-0", "1.0", "1e3", "0.1", "123456789012345678901234567890", "1e400", "-12.50"})
    EXPECT_EQ(round_trip(text), text);
}

TEST(Json, KeepsTheOrderOfMembers) { EXPECT_EQ(round_trip(R"({"b":1,"a":{"z":[],"y":{}}})"), R"({"b":1,"a":{"z":[],"y":{}}})"); }

TEST(Json, ALaterDuplicateWins) { EXPECT_EQ(round_trip(R"({"a":1,"b":2,"a":3})"), R"({"a":3,"b":2})"); }

TEST(Json, FindsMembersOfLargeObjects) {
  Json::Object object;
  for (int i = 0; i < 100; ++i) object.set("key" + std::to_string(i), i);
  object.set("key7", "seven");
  EXPECT_TRUE(object.erase("key3"));
  EXPECT_FALSE(object.erase("key3"));
  EXPECT_EQ(object.size(), 99U);
  EXPECT_EQ(object.find("key7")->as_string(), "seven");
  EXPECT_EQ(object.find("key99")->as_integer(), 99);
  EXPECT_EQ(object.find("key3"), nullptr);
}

TEST(Json, EscapesWhatMustBeEscaped) {
  EXPECT_EQ(Json("a\"b\\c\n\t\x01\x7f/é").dump(), "\"a\\\"b\\\\c\\n\\t\\u0001\x7f/é\"");
  EXPECT_EQ(round_trip("\"\\ud83d\\ude00\""), "\"😀\"");
}

// Each length and place, since eight bytes are looked at at a time.
TEST(Json, EscapesAtEveryPlace) {
  for (std::size_t length = 0; length < 40; ++length)
    for (std::size_t at = 0; at < length; ++at)
      for (const auto& [c, escaped] :
           {std::pair('"', "\\\""), {'\\', "\\\\"}, {'\n', "\\n"}, {'\x1f', "\\u001f"}, {'\x7f', "\x7f"}, {' ', " "}}) {
        std::string text(length, '\xc3');
        for (std::size_t i = 1; i < length; i += 2) text[i] = '\xa9';
        std::string expected = '"' + text.substr(0, at) + escaped + text.substr(at + 1) + '"';
        text[at] = c;
        std::string out = "before";
        append_json_string(out, text);
        EXPECT_EQ(out, "before" + expected);
      }
  EXPECT_EQ(Json(std::string(1000, '\x01')).dump().size(), 6002U);
}

TEST(Json, KnowsWhetherItsTextIsTooLong) {
  const std::string long_text(300, 'x');
  for (const Json& value :
       {Json(nullptr), Json(false), Json(-5), Json::number("-12.50"), Json("abc"), Json(long_text), Json(std::string(50, '\x01')),
        Json(Json::Array{}), Json(Json::Object{}), *Json::parse(R"({"a":[1,2,{"b":"c\n"}],"d":{"e":null,"f":[[],[true]]}})")}) {
    const std::size_t size = value.dump().size();
    EXPECT_TRUE(value.dumps_within(size)) << size;
    EXPECT_TRUE(value.dumps_within(size * 100));
    EXPECT_FALSE(value.dumps_within(size - 1)) << size;
  }
}

TEST(Json, RefusesWhatIsNotJson) {
  for (const char* text : {"", "{", "[1,]", "{\"a\" 1}", "nul", "01", "1 2", "\"\x80\"", "'a'", "{\"a\":1}x"})
    EXPECT_FALSE(Json::parse(text)) << text;
  EXPECT_FALSE(Json::parse(std::string(100'000, '[')));
  EXPECT_TRUE(Json::parse(std::string(500, '[') + std::string(500, ']')));
}

// The quick reader reads what is ordinary, and nothing that the careful one refuses or reads otherwise.
TEST(Json, ItsTwoReadersAgree) {
  const std::vector<std::string> documents = {
      R"({"id":"snap-1","size":12,"free":-0,"rate":1.50,"big":123456789012345678901,"small":-17,"tags":[{"a":"b"},{"a":"c"},[]],"on":true,"off":false,"no":null})",
      R"([ 1e5 , -2.5E-3,0.0, "a\"b\\c\/\b\f\n\r\t" ,"\u00e9\u4e2d\ud83d\ude00 é中😀", {"":{}, " ":[ ]} , {"k\u0031":1,"k1":2}])",
      "\t{\"long text of more than fourteen bytes\":\"another one, which is not kept inside of the value\"}\r\n"};
  SeededEntropy chance(7);
  const std::string odd = "\"\\{}[],:0123456789-+.eE \n\ttrufalsn/\x01\x7f\xc3\xa9\xff";
  for (const std::string& document : documents) {
    ASSERT_TRUE(reading::quick(document)) << document;
    for (int i = 0; i < 20'000; ++i) {
      std::string text = document;
      for (std::uint64_t n = chance.below(4); n > 0; --n) {
        const std::size_t at = chance.below(text.size());
        if (chance.below(3) == 0)
          text.erase(at, 1 + chance.below(3));
        else
          text[at] = odd[chance.below(odd.size())];
      }
      const auto quick = reading::quick(text);
      const auto careful = reading::careful(text);
      if (quick) {
        ASSERT_TRUE(careful) << text;
        ASSERT_EQ(quick->dump(), careful->dump()) << text;
      }
    }
  }
  // What it leaves to the other.
  for (const char* text :
       {"", " ", "{\"a\":\"\\ud800\"}", "[01]", "[1.]", "[-]", "[\"\x01\"]", "[1,]", "[1 2]", "{\"a\":1,}", "[tru]", "[1]]"})
    EXPECT_FALSE(reading::quick(text)) << text;
  EXPECT_FALSE(reading::quick(std::string(513, '[') + std::string(513, ']')));
  EXPECT_TRUE(reading::quick(std::string(512, '[') + std::string(512, ']')));
}

TEST(Json, WhatJacksonSaysOfAMistake) {
  const auto said = [](const char* text) { return jackson_error(text).value_or(JacksonError{}).exception; };
  EXPECT_EQ(said(R"({"a":[1,"b",true]})"), "");
  EXPECT_EQ(
      said("nope"),
      "com.fasterxml.jackson.core.JsonParseException: Unrecognized token 'nope': was expecting (JSON String, Number, Array, Object or "
      "token 'null', 'true' or 'false')\n at [Source: (String)\"nope\"; line: 1, column: 5]");
  EXPECT_EQ(said("[1"),
            "com.fasterxml.jackson.core.io.JsonEOFException: Unexpected end-of-input: expected close marker for Array (start marker at "
            "[Source: (String)\"[1\"; line: 1, column: 1])\n at [Source: (String)\"[1\"; line: 1, column: 3]");
  EXPECT_EQ(said(""),
            "com.fasterxml.jackson.databind.exc.MismatchedInputException: No content to map due to end-of-input\n at [Source: "
            "(String)\"\"; line: 1, column: 0]");
  EXPECT_EQ(said("1 2"), "not JSON: text after the value, at byte 2");
}

TEST(Json, ComparesByValue) {
  EXPECT_EQ(*Json::parse("[1, {\"a\":1.0,\"b\":2}]"), *Json::parse("[1.0, {\"b\":2,\"a\":1}]"));
  EXPECT_FALSE(*Json::parse("{\"a\":1}") == *Json::parse("{\"a\":1,\"b\":2}"));
  EXPECT_FALSE(Json("1") == Json(1));
}

TEST(Json, ReadsIntegersExactly) {
  EXPECT_EQ(Json::number("1e3").as_integer(), 1000);
  EXPECT_EQ(Json::number("1.5").as_integer(), std::nullopt);
  EXPECT_EQ(Json::number("9223372036854775807").as_integer(), INT64_MAX);
  EXPECT_EQ(Json::number("1e400").as_integer(), std::nullopt);
}

TEST(Json, CopiesShareAndMutationOfBuildersDoesNotShowThrough) {
  Json::Object object{{"a", 1}};
  const Json first(object);
  object.set("a", 2);
  EXPECT_EQ(first["a"].as_integer(), 1);
  const Json second = first;
  EXPECT_TRUE(second.identical(first));
}

// The last of several owners frees a value, whichever thread it is on (the thread sanitizer looks on).
TEST(Json, IsSharedBetweenThreads) {
  Json shared = *Json::parse(R"({"long":"a text that is too long to lie in the value itself","list":[1,2,"three"]})");
  std::atomic<int> right = 0;
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t)
      threads.emplace_back([copy = shared, &right] {
        for (int i = 0; i < 2000; ++i) {
          const Json mine = copy;
          const Json part = mine["list"];
          if (part.as_array()[2].as_string() == "three" && mine["long"].as_string().size() == 50) ++right;
        }
      });
    shared = Json();
  }
  EXPECT_EQ(right, 8000);
}

// What lies in a value and what lies outside it must not be told apart from outside.
TEST(Json, ValuesOfAnyLengthAreAlike) {
  for (std::size_t n = 0; n < 40; ++n) {
    const std::string text(n, 'x'), digits = std::string(n, '7') + "7";
    Json value(text);
    const Json copy = value;
    Json moved = std::move(value);
    EXPECT_EQ(moved.as_string(), text);
    EXPECT_EQ(copy, moved);
    EXPECT_EQ(copy.dump(), '"' + text + '"');
    EXPECT_TRUE(copy.identical(moved));
    moved = Json(1);
    EXPECT_EQ(copy.as_string(), text);
    for (const std::string& number : {digits, "-" + digits, digits + ".0", "0." + digits, digits + "e2"}) {
      const auto parsed = Json::parse(number);
      ASSERT_TRUE(parsed);
      EXPECT_EQ(parsed->number_text(), number);
      EXPECT_EQ(parsed->dump(), number);
      EXPECT_EQ(*parsed, Json::number(number));
      EXPECT_DOUBLE_EQ(parsed->as_double(), std::strtod(number.c_str(), nullptr));
    }
  }
  EXPECT_EQ(Json::parse("-0")->number_text(), "-0");
  EXPECT_EQ(Json::parse("0")->as_integer(), 0);
  EXPECT_EQ(Json::parse("999999999999999999")->as_integer(), 999'999'999'999'999'999);
  EXPECT_EQ(Json::parse("9223372036854775807")->as_integer(), INT64_MAX);
  EXPECT_EQ(Json(INT64_MIN).dump(), "-9223372036854775808");
}

}  // namespace
}  // namespace snapward
