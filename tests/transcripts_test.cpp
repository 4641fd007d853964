// Runs tests/transcripts/*.txt (support/transcript.hpp says what stands in them). With SNAPWARD_REWRITE=1 the answers are recorded anew,
// for people to read the difference ("./dev transcripts --rewrite").
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "support/transcript.hpp"

namespace snapward {
namespace {

const std::filesystem::path kFolder = std::string(SNAPWARD_SOURCE_DIR) + "/tests/transcripts";

std::vector<std::string> names() {
  std::vector<std::string> out;
  for (const auto& file : std::filesystem::directory_iterator(kFolder))
    if (file.path().extension() == ".txt") out.push_back(file.path().stem());
  std::ranges::sort(out);
  return out;
}

// Where two answers part: "- recorded" and "+ now", the first line each. Empty when they are the same.
std::string difference(const std::string& recorded, const std::string& now) {
  if (recorded == now) return {};
  const auto [before, after] = std::ranges::mismatch(recorded, now);
  const auto line = [](const std::string& text, std::string::const_iterator at) {
    const auto begin = text.rfind('\n', static_cast<std::size_t>(at - text.begin()) - (at == text.begin() ? 0 : 1)) + 1;
    return text.substr(begin, text.find('\n', begin) - begin);
  };
  return "\n- " + line(recorded, before) + "\n+ " + line(now, after);
}

class Transcripts : public ::testing::TestWithParam<std::string> {};

TEST_P(Transcripts, GiveTheRecordedAnswers) {
  const auto path = kFolder / (GetParam() + ".txt");
  std::ifstream in(path);
  const auto recorded = support::parse_transcript(std::string(std::istreambuf_iterator<char>(in), {}));
  ASSERT_TRUE(recorded) << path << ": " << recorded.error().message;
  const auto now = support::replay(*recorded);
  ASSERT_TRUE(now) << path << ": " << now.error().message;
  const char* rewrite = std::getenv("SNAPWARD_REWRITE");
  if (rewrite && std::string_view(rewrite) == "1") {
    std::ofstream(path) << support::to_text(*now);
    return;
  }
  for (std::size_t i = 0; i < now->blocks.size(); ++i)
    if (const auto parted = difference(recorded->blocks[i].answer.value_or(""), now->blocks[i].answer.value_or("")); !parted.empty())
      ADD_FAILURE() << path.string() << ':' << now->blocks[i].line << ": " << now->blocks[i].head << parted;
}

INSTANTIATE_TEST_SUITE_P(All, Transcripts, ::testing::ValuesIn(names()), [](const auto& file) {
  std::string name = file.param;
  std::ranges::replace_if(name, [](unsigned char c) { return !std::isalnum(c); }, '_');
  return name;
});

}  // namespace
}  // namespace snapward
