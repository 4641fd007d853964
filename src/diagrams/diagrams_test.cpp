// Pictures beside their recorded texts in tests/diagrams: with SNAPWARD_REWRITE=1 they are recorded anew, for people to read the
// difference.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>

#include "diagrams/layout.hpp"

namespace snapward::diagrams {
namespace {

const std::string kFolder = std::string(SNAPWARD_SOURCE_DIR) + "/tests/diagrams/";

std::string content(const std::string& name) {
  std::ifstream in(kFolder + name);
  return {std::istreambuf_iterator<char>(in), {}};
}
Json json(const std::string& text) { return Json::parse(text).value(); }
void expect_recorded(const std::string& name, const std::string& now) {
  const char* rewrite = std::getenv("SNAPWARD_REWRITE");
  if (rewrite && std::string_view(rewrite) == "1")
    std::ofstream(kFolder + name) << now;
  else
    EXPECT_EQ(content(name), now) << name;
}

class OrderDiagram : public ::testing::Test {
 protected:
  const Graph graph = graph_of(json(content("order.asl.json")));
  const std::vector<Visit> visits = visits_of(events_in(content("order.history.json")).value());
  const ProgressByState progress = progress_of(visits);
};

TEST_F(OrderDiagram, AsText) { expect_recorded("order.txt", to_text(graph, progress, false)); }
TEST_F(OrderDiagram, AsTextInColors) {
  const std::string text = to_text(graph, progress, true);
  EXPECT_NE(text.find("\x1b[31m✗\x1b[0m"), std::string::npos);
  EXPECT_EQ(to_text(graph, {}, true), to_text(graph, {}, false));
}
TEST_F(OrderDiagram, AsMermaid) { expect_recorded("order.mmd", to_mermaid(graph, progress)); }
TEST_F(OrderDiagram, AsSvg) { expect_recorded("order.svg", to_svg(graph, progress)); }

TEST_F(OrderDiagram, BoxesOfAScopeDoNotOverlap) {
  const Picture picture = lay_out(graph, progress, {});
  const auto apart = [](const Box& a, const Box& b) {
    return a.x + a.width <= b.x || b.x + b.width <= a.x || a.y + a.height <= b.y || b.y + b.height <= a.y;
  };
  const auto within = [](const Box& a, const Box& b) {
    return a.x >= b.x && a.y >= b.y && a.x + a.width <= b.x + b.width && a.y + a.height <= b.y + b.height;
  };
  for (std::size_t i = 0; i < picture.boxes.size(); ++i)
    for (std::size_t j = i + 1; j < picture.boxes.size(); ++j) {
      const Box &a = picture.boxes[i], &b = picture.boxes[j];
      EXPECT_TRUE(apart(a, b) || within(b, a)) << a.text << " and " << b.text;
    }
}

TEST_F(OrderDiagram, EachStateShowsItsWorstVisit) {
  EXPECT_EQ(progress.at("Check stock").status, Status::done);  // after a retry
  EXPECT_EQ(progress.at("Each").status, Status::caught);
  EXPECT_EQ(progress.at("Bad").status, Status::failed);
  EXPECT_EQ(progress.at("Good").status, Status::aborted);
  EXPECT_EQ(progress.at("One").visits, 2U);
  EXPECT_FALSE(progress.contains("Apologise"));
}

TEST(Visits, ReadEpochSecondsAndReversedOrder) {
  const auto events = events_in(R"({"events":[
      {"id":2,"previousEventId":0,"type":"PassStateEntered","timestamp":1700000000.25,"stateEnteredEventDetails":{"name":"A"}},
      {"id":1,"previousEventId":0,"type":"ExecutionStarted","timestamp":1700000000}]})");
  ASSERT_TRUE(events);
  const auto visits = visits_of(*events);
  ASSERT_EQ(visits.size(), 1U);
  EXPECT_EQ(iso_millis(visits[0].from), "2023-11-14T22:13:20.250Z");
  EXPECT_EQ(visits[0].status, Status::running);
}

TEST(Visits, AFailureWithoutAnEventOfItsOwnFailsTheStateItCameFrom) {
  const auto visits = visits_of(json(R"([
      {"id":1,"previousEventId":0,"type":"ExecutionStarted","timestamp":"2026-01-01T00:00:00.000000+01:00"},
      {"id":2,"previousEventId":0,"type":"PassStateEntered","timestamp":"2026-01-01T00:00:00Z","stateEnteredEventDetails":{"name":"A"}},
      {"id":3,"previousEventId":2,"type":"ExecutionFailed","timestamp":"2026-01-01T00:00:00Z","executionFailedEventDetails":{"error":"States.Runtime"}}])")
                                    .as_array());
  ASSERT_EQ(visits.size(), 1U);
  EXPECT_EQ(visits[0].status, Status::failed);
}

TEST(Visits, WhatIsNoHistoryIsRefused) {
  EXPECT_FALSE(events_in("{"));
  EXPECT_FALSE(events_in(R"({"executions":[]})"));
  EXPECT_FALSE(events_in(R"([{"name":"x"}])"));
}

TEST(Graph, DrawsWhatIsNotValid) {
  const Graph graph = graph_of(json(R"({"StartAt":"X","States":{"A":{"Type":"Bogus","Next":"A"},"B":{"Next":"Nowhere"}}})"));
  EXPECT_EQ(graph.states.size(), 2U);
  EXPECT_NE(to_text(graph, {}, false).find("Bogus ↻"), std::string::npos);
  EXPECT_EQ(to_text(graph_of(json("[]")), {}, false), "");
}

TEST(Graph, ConditionsAreShort) {
  const auto label = [](const std::string& rule) {
    return graph_of(json(R"({"StartAt":"C","States":{"C":{"Type":"Choice","Choices":[)" + rule + R"(]},"D":{"Type":"Succeed"}}})"))
        .edges.at(0)
        .label;
  };
  EXPECT_EQ(label(R"({"Variable":"$.n","NumericGreaterThanEqualsPath":"$.m","Next":"D"})"), "$.n >= $.m");
  EXPECT_EQ(label(R"({"Not":{"Variable":"$.n","IsNull":true},"Next":"D"})"), "not ($.n is null)");
  EXPECT_EQ(label(R"({"And":[{"Variable":"$.a","IsPresent":false},{"Variable":"$.b","StringMatches":"x*"}],"Next":"D"})"),
            "$.a is not present and $.b l…");
  EXPECT_EQ(label(R"({"Condition":"{% $states.input.n > 3 %}","Next":"D"})"), "$states.input.n > 3");
}

}  // namespace
}  // namespace snapward::diagrams
