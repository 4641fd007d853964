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

}  // namespace
}  // namespace snapward::events
