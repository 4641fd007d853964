// Rows of tests/cases/*.json.
#pragma once
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <string>

#include "base/json.hpp"

namespace snapward::support {

inline Json cases(const std::string& name) {
  std::ifstream in(std::string(SNAPWARD_SOURCE_DIR) + "/tests/cases/" + name);
  const auto json = Json::parse(std::string(std::istreambuf_iterator<char>(in), {}));
  EXPECT_TRUE(json) << name << ": " << (json ? "" : json.error().message);
  return json.value_or(Json());
}

}  // namespace snapward::support
