#include "events/transform.hpp"

#include <gtest/gtest.h>

namespace snapward::events {
namespace {

std::string problem(const char* target) {
  const auto checked = check_target_input(*Json::parse(target));
  return checked ? "" : checked.error().message;
}

// State machines hand over parameters that no wire codec has checked: a template that was no text ended the process (found by the fuzzer).
TEST(Transform, RefusesFieldsOfAnotherKind) {
  EXPECT_EQ(problem(R"({"Id":"1","Input":{"a":1}})"), "Parameter Input of target 1 must be a string.");
  EXPECT_EQ(problem(R"({"Id":"1","InputPath":7})"), "Parameter InputPath of target 1 must be a string.");
  EXPECT_EQ(problem(R"({"Id":"1","InputTransformer":{"InputTemplate":{"a":1}}})"),
            "InputTemplate of target 1 must have 1 to 8192 characters.");
  EXPECT_EQ(problem(R"({"Id":"1","InputTransformer":{"InputTemplate":"x","InputPathsMap":[1]}})"),
            "InputPathsMap of target 1 must map names to paths.");
  EXPECT_EQ(problem(R"({"Id":"1","InputTransformer":null})"), "InputTemplate of target 1 must have 1 to 8192 characters.");
  EXPECT_EQ(problem(R"({"Id":"1","InputTransformer":{"InputTemplate":"<a>","InputPathsMap":{"a":"$.detail"}}})"), "");
}

const Json kEvent = *Json::parse(
    R"({"version":"0","id":"1","detail-type":"t","source":"shop","account":"1","time":"2026-01-01T00:00:00Z","region":"us-west-2","resources":[],
    "detail":{"o":{"k":"v"},"l":["A","B"],"s":"it's \"so\"","n":7,"b":true}})");

// What a template makes of kEvent; "nothing" when that cannot be delivered.
std::string made(const char* text) {
  const Json target = Json::object(
      {{"Id", "1"},
       {"InputTransformer",
        Json::object(
            {{"InputPathsMap",
              *Json::parse(
                  R"({"o":"$.detail.o","l":"$.detail.l","s":"$.detail.s","n":"$.detail.n","b":"$.detail.b","no":"$.detail.none"})")},
             {"InputTemplate", text}})}});
  const auto good = check_target_input(target);
  if (!good) return good.error().message;
  return target_input(target, kEvent, {.rule_arn = "arn", .rule_name = "r", .ingested = *parse_iso("2026-01-01T00:00:09Z")})
      .value_or("nothing");
}

// Recorded by AWS, 2024, but for the quotes inside a text.
TEST(Transform, FillsTemplatesAsAwsDoes) {
  EXPECT_EQ(made(R"({"o":<o>,"l":<l>,"s":<s>,"n":<n>})"), R"({"o":{"k":"v"},"l":["A","B"],"s":"it's \"so\"","n":7})");
  EXPECT_EQ(made(R"({"x":"<n>/<b>/<s>"})"), R"({"x":"7/true/it's \"so\""})");
  EXPECT_EQ(made(R"({"x":<no>,"y":"<no>"})"), R"({"x":"","y":""})") << "a path that finds nothing";
  EXPECT_EQ(made(R"("<o> <l> <no> <n> <b>!")"), R"("{k:v} [A,B]  7 true!")") << "a text has no quotes of JSON in it";
  EXPECT_EQ(made(R"({"x":"<o>"})"), "nothing") << "an object inside a text of JSON";
  EXPECT_EQ(made(R"({"x":"a <l>"})"), "nothing");
  EXPECT_EQ(made(R"({"x":<n>)"), "nothing") << "no JSON at all";
  EXPECT_EQ(made(R"("{[/ <n>")"), R"("{[/ 7")");
  EXPECT_EQ(made("<o>"), R"({"k":"v"})");
  EXPECT_EQ(made(R"({"x":<undefined>})"), "InputTemplate for target 1 contains invalid placeholder undefined.");
  EXPECT_EQ(made(R"({"x":"a < b and c > d"})"), R"({"x":"a < b and c > d"})");
}

TEST(Transform, SpellsTheWholeEventAsAwsDoes) {
  EXPECT_EQ(
      made("<aws.events.event>"),
      R"({"id":"1","account":"1","detailType":"t","time":"2026-01-01T00:00:09Z","source":"shop","region":"us-west-2","resources":[],"version":"0"})");
  EXPECT_EQ(made("<aws.events.event.json>"), kEvent.dump());
  EXPECT_EQ(made(R"("<aws.events.rule-name> <aws.events.event.ingestion-time>")"), R"("r 2026-01-01T00:00:09Z")");
}

}  // namespace
}  // namespace snapward::events
