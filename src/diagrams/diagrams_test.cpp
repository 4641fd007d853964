// Pictures beside their recorded texts in tests/diagrams: with SNAPWARD_REWRITE=1 they are recorded anew, for people to read the
// difference.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>

#include "base/entropy.hpp"
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

// Whether two boxes are apart, or the later one stands within the earlier.
bool in_order(const Box& a, const Box& b) {
  const bool apart = a.x + a.width <= b.x || b.x + b.width <= a.x || a.y + a.height <= b.y || b.y + b.height <= a.y;
  const bool within = b.x >= a.x && b.y >= a.y && b.x + b.width <= a.x + a.width && b.y + b.height <= a.y + a.height;
  return apart || within;
}
bool passes_through(const Line& line, const Box& box) {
  for (std::size_t i = 1; i < line.points.size(); ++i) {
    const auto [left, right] = std::minmax(line.points[i - 1].x, line.points[i].x);
    const auto [top, bottom] = std::minmax(line.points[i - 1].y, line.points[i].y);
    if (right >= box.x && left < box.x + box.width && bottom > box.y && top < box.y + box.height) return true;
  }
  return false;
}
// A scope of states with choices, catchers and scopes within, any of which may lead anywhere.
Json random_scope(Entropy& entropy, int depth, int& names) {
  std::vector<std::string> states;
  for (std::uint64_t n = 1 + entropy.below(9); n > 0; --n) states.push_back("S" + std::to_string(++names));
  const auto any = [&] { return Json(states[entropy.below(states.size())]); };
  Json::Object out;
  for (const std::string& name : states) {
    Json::Object state{{"Type", "Task"}, {"Resource", "arn:aws:states:::lambda:invoke"}};
    if (entropy.chance(0.3)) {
      Json::Array rules;
      for (std::uint64_t n = entropy.below(4); n > 0; --n)
        rules.push_back(Json::object({{"Variable", "$.x"}, {"IsNull", true}, {"Next", any()}}));
      state.set("Type", "Choice").set("Choices", std::move(rules)).set("Default", any());
    } else {
      if (entropy.chance(0.8)) state.set("Next", any());
      if (entropy.chance(0.3)) state.set("Catch", Json::array({Json::object({{"ErrorEquals", Json::array({"E"})}, {"Next", any()}})}));
      if (depth < 2 && entropy.chance(0.15))
        state.set("Branches", Json::array({random_scope(entropy, depth + 1, names), random_scope(entropy, depth + 1, names)}));
    }
    out.set(name, std::move(state));
  }
  return Json::object({{"StartAt", any()}, {"States", std::move(out)}});
}

TEST(Layout, LinesAndBoxesKeepOutOfEachOthersWay) {
  SeededEntropy entropy(7);
  for (int round = 0; round < 300; ++round) {
    int names = 0;
    const Json definition = random_scope(entropy, 0, names);
    const Picture picture = lay_out(graph_of(definition), {}, {});
    for (std::size_t i = 0; i < picture.boxes.size(); ++i) {
      const Box& box = picture.boxes[i];
      EXPECT_TRUE(box.x >= 0 && box.y >= 0 && box.x + box.width <= picture.width && box.y + box.height <= picture.height)
          << definition.dump();
      for (std::size_t j = i + 1; j < picture.boxes.size(); ++j)
        ASSERT_TRUE(in_order(box, picture.boxes[j])) << box.text << " and " << picture.boxes[j].text << ": " << definition.dump();
    }
    for (const Line& line : picture.lines)
      for (const Box& box : picture.boxes)
        if (box.kind == Box::Kind::label || (box.kind == Box::Kind::state && box.height <= 4))  // those that hold no scope
          ASSERT_FALSE(passes_through(line, box)) << box.text << ": " << definition.dump();
    to_text(graph_of(definition), {}, false);
  }
}

TEST(Layout, AMachineOfAThousandStatesIsDrawn) {
  Json::Object states;
  for (int i = 0; i < 1000; ++i)
    states.set("S" + std::to_string(i),
               Json::object({{"Type", "Pass"},
                             {"Next", "S" + std::to_string(i % 10 == 9 ? i - 9 : i + 1)},
                             {"Catch", Json::array({Json::object({{"Next", "S" + std::to_string((i + 10) % 1000)}})})}}));
  EXPECT_FALSE(to_text(graph_of(Json::object({{"StartAt", "S0"}, {"States", std::move(states)}})), {}, false).empty());
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

TEST(Visits, AnEvaluationThatFailsNamesItsState) {
  const auto visits = visits_of(json(R"([
      {"id":1,"previousEventId":0,"type":"ExecutionStarted","timestamp":1},
      {"id":2,"previousEventId":0,"type":"TaskStateEntered","timestamp":1,"stateEnteredEventDetails":{"name":"A"}},
      {"id":3,"previousEventId":0,"type":"EvaluationFailed","timestamp":1,"evaluationFailedEventDetails":{"state":"A","error":"States.QueryEvaluationError"}},
      {"id":4,"previousEventId":3,"type":"ExecutionFailed","timestamp":1,"executionFailedEventDetails":{"error":"States.QueryEvaluationError"}}])")
                                    .as_array());
  EXPECT_EQ(visits.at(0).status, Status::failed);
  EXPECT_EQ(visits.at(0).error, "States.QueryEvaluationError");
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
