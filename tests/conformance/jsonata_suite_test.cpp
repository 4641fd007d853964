// Runs jsonata-js's own test suite out of a checkout: JSONATA_SUITE=…/test/test-suite. Skips without one.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "query/jsonata.hpp"

namespace snapward::query {
namespace {

std::string read(const std::filesystem::path& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

TEST(JsonataSuite, Passes) {
  const char* suite = std::getenv("JSONATA_SUITE");
  if (!suite) GTEST_SKIP() << "JSONATA_SUITE does not name a checkout's test/test-suite";
  const std::filesystem::path root(suite);
  int passed = 0, failed = 0;
  for (const auto& file : std::filesystem::recursive_directory_iterator(root / "groups")) {
    if (file.path().extension() != ".json") continue;
    const auto content = Json::parse(read(file.path()));
    if (!content) continue;  // a case whose text is not JSON, such as a lone surrogate
    for (const Json& row : content->is_array() ? content->as_array() : Json::Array{*content}) {
      const std::string text = row.find("expr-file") ? read(file.path().parent_path() / std::string(row["expr-file"].string_or()))
                                                     : std::string(row["expr"].string_or());
      std::optional<Json> data;
      if (const Json* name = row.find("dataset"); name && name->is_string()) {
        auto parsed = Json::parse(read(root / "datasets" / (name->plain() + ".json")));
        if (parsed) data = *std::move(parsed);
      } else if (row.find("data")) {
        data = row["data"];
      }
      std::map<std::string, Json, std::less<>> variables;
      if (row["bindings"].is_object())
        for (const auto& [key, value] : row["bindings"].as_object()) variables[key] = value;
      SeededEntropy entropy(1);
      Jsonata::Environment environment{
          .variables = &variables, .entropy = &entropy, .now = std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now())};
      environment.limits.depth = static_cast<int>(row["depth"].integer_or(1000));
      std::string answer;
      bool good = false;
      const std::string_view code = row.find("code") ? row["code"].string_or() : row["error"]["code"].string_or();
      const auto expression = Jsonata::parse(text);
      if (!expression) {
        answer = expression.error().code + ' ' + expression.error().message;
        good = !code.empty() && expression.error().code == code;
      } else {
        const auto out = expression->evaluate(data ? &*data : nullptr, environment);
        answer = !out ? out.error().code + ' ' + out.error().message : *out ? (*out)->dump() : "undefined";
        if (!code.empty())
          good = !out && out.error().code == code;
        else if (row["undefinedResult"].bool_or(false))
          good = out && !*out;
        else
          good = out && *out && **out == row["result"];
      }
      (good ? passed : failed) += 1;
      if (!good)
        std::printf("%s: %s\n   wanted %s%s\n   got    %s\n", file.path().lexically_relative(root).c_str(), text.substr(0, 300).c_str(),
                    std::string(code).c_str(), row["result"].dump().substr(0, 200).c_str(), answer.substr(0, 200).c_str());
    }
  }
  std::printf("jsonata test suite: %d passed, %d failed\n", passed, failed);
  EXPECT_EQ(failed, 0);
}

}  // namespace
}  // namespace snapward::query
