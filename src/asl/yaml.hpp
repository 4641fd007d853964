// Definitions written in YAML, as AWS SAM and the AWS Toolkits keep them ("machine.asl.yaml"): read into the JSON that they stand for,
// with the place of each value. One document of YAML 1.2's core schema: keys are texts and unique; quoted scalars are texts; anchors and
// aliases work; tags other than the core schema's, merge keys and numbers that JSON does not have are refused.
// Limits: nesting of 500, and a million values after aliases are followed (each could double a document). Pure.
#pragma once
#include <expected>
#include <map>
#include <string>
#include <string_view>

#include "base/json.hpp"

namespace snapward::asl {

struct Place {
  std::size_t line = 1, column = 1;
};

struct YamlDefinition {
  Json json;
  std::map<std::string, Place, std::less<>> places;  // by location, as diagnostics name it: "/States/C/Choices[0]/Next"; "" is the whole
};

struct YamlProblem {
  std::string message;
  Place place;
};

std::expected<YamlDefinition, YamlProblem> read_yaml(std::string_view text);

// Where a diagnostic's location is in the document: its own place, or that of the nearest value around it.
Place place_of(const YamlDefinition& definition, std::string_view location);

}  // namespace snapward::asl
