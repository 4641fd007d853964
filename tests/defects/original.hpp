// The design of the article's published code, rebuilt from its described behaviour, defects included: what our tests of those defects
// are measured against. It lives in the tests only.
#pragma once
#include <string>

#include "support/world.hpp"

namespace snapward::defects {

struct OriginalSettings {
  std::string tag_key = "none";
  int retention = 7, dr_retention = 1;
  int retention_in_function = 0;  // the second place where the retention stood; 0: the same
};

struct Machines {
  std::string primary, dr, topic, dr_topic;
};

// Adds the functions, machines, topics and rules to a world.
Machines deploy_original(support::TestWorld& w, const OriginalSettings& settings);

}  // namespace snapward::defects
