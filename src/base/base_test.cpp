#include <gtest/gtest.h>

#include "base/arn.hpp"
#include "base/entropy.hpp"
#include "base/task.hpp"
#include "base/text.hpp"
#include "base/time.hpp"
#include "base/utf8.hpp"

namespace snapward {
namespace {

TEST(Time, ReadsAndWritesIso) {
  const auto at = parse_iso("2026-02-28T23:59:59.987Z");
  ASSERT_TRUE(at);
  EXPECT_EQ(iso_millis(*at), "2026-02-28T23:59:59.987Z");
  EXPECT_EQ(iso_seconds(*at), "2026-02-28T23:59:59Z");
  EXPECT_EQ(iso_seconds(*parse_iso("2026-01-01T01:00:00+02:30")), "2025-12-31T22:30:00Z");
  EXPECT_EQ(iso_millis(*parse_iso("2026-01-01T00:00:00.5Z")), "2026-01-01T00:00:00.500Z");
  for (const char* bad : {"2026-02-29T00:00:00Z", "2026-01-01", "2026-01-01T00:00:00", "2026-01-01T24:00:00Z", "2026-01-01 00:00:00Z",
                          "2026-01-01T00:00:00.Z", ""})
    EXPECT_FALSE(parse_iso(bad)) << bad;
}

TEST(Time, AClockMayRunFastAndAheadButNotBack) {
  const auto before = SystemClock().now();
  const SystemClock ahead(1.0, before + std::chrono::hours(5));
  EXPECT_GE(ahead.now(), before + std::chrono::hours(5));
  EXPECT_LT(ahead.now(), before + std::chrono::hours(6));
  const SystemClock not_behind(1.0, before - std::chrono::hours(5));
  EXPECT_GE(not_behind.now(), before);
  EXPECT_EQ(SystemClock(60).real(std::chrono::minutes(1)), std::chrono::seconds(1));
}

TEST(Text, WildcardsAreLinearAndEscape) {
  EXPECT_TRUE(wildcard_match("snap-*7?", "snap-0171"));
  EXPECT_TRUE(wildcard_match("*", ""));
  EXPECT_FALSE(wildcard_match("a?c", "ac"));
  EXPECT_TRUE(wildcard_match(R"(100\*\?)", "100*?"));
  EXPECT_FALSE(wildcard_match(R"(100\*)", "1000"));
  EXPECT_FALSE(wildcard_match("*a*a*a*a*a*a*a*a*a*b", std::string(5000, 'a')));
}

TEST(Text, Encodings) {
  EXPECT_EQ(percent_encode("a b/ü~"), "a%20b%2F%C3%BC~");
  EXPECT_EQ(percent_decode("a%20b+%zz%2"), "a b+%zz%2");
  EXPECT_EQ(percent_decode("a+b", true), "a b");
  for (const char* s : {"", "f", "fo", "foo", "foob"}) EXPECT_EQ(base64_decode(base64_encode(s)), s);
  EXPECT_EQ(base64_encode("foob"), "Zm9vYg==");
  for (const char* bad : {"a", "ab==c===", "a=bc", "####"}) EXPECT_FALSE(base64_decode(bad)) << bad;
  EXPECT_EQ(digest_hex("MD5", ""), "d41d8cd98f00b204e9800998ecf8427e");
  EXPECT_EQ(digest_hex("SHA-256", "abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_FALSE(is_utf8("\xc3"));
}

TEST(Arn, KeepsItsParts) {
  const auto arn = Arn::parse("arn:aws:states:us-west-2:123456789012:execution:Machine:name");
  ASSERT_TRUE(arn);
  EXPECT_EQ(arn->resource_id("execution"), "Machine:name");
  EXPECT_EQ(arn->resource_id("exec"), std::nullopt);
  EXPECT_EQ(arn->str(), "arn:aws:states:us-west-2:123456789012:execution:Machine:name");
  for (const char* bad : {"", "arn:aws:ec2", "urn:aws:ec2:a:b:c", "arn:aws:ec2:r:a:"}) EXPECT_FALSE(Arn::parse(bad)) << bad;
}

// The seed cut its ids out with indexOf('::'), which the 2020 form of these ARNs defeats.
TEST(Arn, ReadsEveryFormOfSnapshotArns) {
  for (const char* text : {"arn:aws:ec2::us-west-2:snapshot/snap-1", "arn:aws:ec2:us-west-2::snapshot/snap-1",
                           "arn:aws:ec2:us-west-2:123456789012:snapshot/snap-1"}) {
    const auto arn = EbsArn::parse(text, "snapshot");
    ASSERT_TRUE(arn) << text;
    EXPECT_EQ(arn->region, "us-west-2");
    EXPECT_EQ(arn->id, "snap-1");
  }
  EXPECT_FALSE(EbsArn::parse("arn:aws:ec2::us-west-2:volume/vol-1", "snapshot"));
}

TEST(Entropy, ASeedRepeats) {
  SeededEntropy a(7), b(7), c(8);
  EXPECT_EQ(a.uuid(), b.uuid());
  EXPECT_NE(a.uuid(), c.uuid());
  EXPECT_EQ(a.hex(17).size(), 17U);
  for (int i = 0; i < 1000; ++i) {
    const double u = a.unit();
    EXPECT_GE(u, 0.0);
    EXPECT_LT(u, 1.0);
  }
}

Task<int> add_later(Future<int> first, int second) { co_return co_await first + second; }

TEST(Task, WaitsForAFutureAndHandsItsValueOn) {
  Future<int> future;
  int got = 0;
  TaskScope scope;
  scope.spawn(add_later(future, 2), [&](int value) { got = value; });
  EXPECT_EQ(got, 0);
  future.set(40);
  EXPECT_EQ(got, 42);
}

Task<int> count_down(int n) { co_return n == 0 ? 0 : 1 + co_await count_down(n - 1); }

TEST(Task, NestsDeep) {
  int got = 0;
  TaskScope scope;
  scope.spawn(count_down(10'000), [&](int value) { got = value; });
  EXPECT_EQ(got, 10'000);
}

TEST(Task, AScopeDropsWhatIsUnfinished) {
  const auto held = std::make_shared<int>(1);
  const Future<int> never;
  {
    TaskScope scope;
    auto waits = [](Future<int> future, std::shared_ptr<int> keeps) -> Task<int> { co_return co_await future + *keeps; };
    scope.spawn(waits(never, held), [](int) { FAIL(); });
    EXPECT_EQ(scope.unfinished(), 1U);
    EXPECT_EQ(held.use_count(), 2);
  }
  EXPECT_EQ(held.use_count(), 1);
}

TEST(Text, KnowsUtf8FromWhatIsNot) {
  for (const char* good : {"", "a", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xf4\x8f\xbf\xbf"}) EXPECT_TRUE(is_utf8(good)) << good;
  // Overlong forms, a surrogate, beyond the last code point, cut short, a stray continuation.
  for (const char* bad :
       {"\xc1\x92", "\xe0\x80\x80", "\xf0\x80\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80", "\xc3", "\x80"})
    EXPECT_FALSE(is_utf8(bad));
}

// As java.lang.String reads bytes.
TEST(Text, WhatIsNotUtf8IsReplaced) {
  const std::string r = "\xef\xbf\xbd";
  for (const auto& [bytes, text] : {std::pair<std::string, std::string>{"plain é", "plain é"},
                                    {"\xff", r},
                                    {"a\xc3(", "a" + r + "("},
                                    {"\xe2\x82", r},
                                    {"\xe2\x28\xa1", r + "(" + r},
                                    {"\xf0\x9f\x98", r},
                                    {"\xed\xa0\x80", r + r + r},
                                    {"\xc0\xaf", r + r}}) {
    EXPECT_EQ(utf8_of(bytes), text);
    EXPECT_TRUE(is_utf8(utf8_of(bytes)));
  }
  const Json good = *Json::parse(R"({"a":["long enough to be a node",1]})");
  EXPECT_TRUE(readable(good).identical(good));
  EXPECT_EQ(readable(Json::object({{"\xff", Json::array({"\x80x", 1})}})).dump(), "{\"" + r + "\":[\"" + r + "x\",1]}");
}

}  // namespace
}  // namespace snapward
