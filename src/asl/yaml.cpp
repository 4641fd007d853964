#include "asl/yaml.hpp"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <cmath>
#include <cstdlib>
#include <optional>
#include <sstream>
#include <vector>

#include "base/text.hpp"

namespace snapward::asl {

namespace {

constexpr std::size_t kMostValues = 1'000'000;
constexpr std::size_t kMostDepth = 500;

Place place(const YAML::Mark& mark) {
  return {static_cast<std::size_t>(std::max(mark.line, 0)) + 1, static_cast<std::size_t>(std::max(mark.column, 0)) + 1};
}

// Thrown and caught in this file, as the library's own exceptions are.
[[noreturn]] void refuse(std::string message, const YAML::Mark& mark) { throw YamlProblem{std::move(message), place(mark)}; }

bool is_one_of(std::string_view text, std::initializer_list<std::string_view> known) {
  return std::find(known.begin(), known.end(), text) != known.end();
}

// A plain scalar that is a number by the core schema: decimal, octal (0o17), hexadecimal (0x1f), or with a fraction or an exponent.
std::optional<Json> number_of(const std::string& text, const YAML::Mark& mark) {
  if (is_one_of(text, {".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF", "-.inf", "-.Inf", "-.INF", ".nan", ".NaN", ".NAN"}))
    refuse(fmt::format("JSON has no number {}", text), mark);
  const bool other_base = text.starts_with("0x") || text.starts_with("0o");
  const char* digits = text.starts_with("0x") ? "0123456789abcdefABCDEF" : "01234567";
  if (other_base && text.size() > 2 && text.size() < 18 && text.find_first_not_of(digits, 2) == std::string::npos)
    return Json(static_cast<std::int64_t>(std::strtoll(text.c_str() + 2, nullptr, text[1] == 'x' ? 16 : 8)));
  std::size_t at = text.starts_with('-') || text.starts_with('+') ? 1 : 0;
  const auto run = [&] {
    const std::size_t from = at;
    while (at < text.size() && std::isdigit(static_cast<unsigned char>(text[at]))) ++at;
    return text.substr(from, at - from);
  };
  std::string whole = run(), fraction, exponent;
  if (at < text.size() && text[at] == '.') {
    ++at;
    fraction = run();
  }
  if (whole.empty() && fraction.empty()) return std::nullopt;
  if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
    exponent = "e";
    ++at;
    if (at < text.size() && (text[at] == '-' || text[at] == '+')) exponent += text[at++];
    const std::string power = run();
    if (power.empty()) return std::nullopt;
    exponent += power;
  }
  if (at != text.size()) return std::nullopt;
  whole.erase(0, std::min(whole.find_first_not_of('0'), whole.size()));
  const std::string number =
      (text.starts_with('-') ? "-" : "") + (whole.empty() ? "0" : whole) + (fraction.empty() ? "" : '.' + fraction) + exponent;
  if (!Json::parse(number)) refuse(fmt::format("JSON has no number {}", text), mark);
  return Json::number(number);
}

Json plain(const std::string& text, const YAML::Mark& mark) {
  if (is_one_of(text, {"", "~", "null", "Null", "NULL"})) return {};
  if (is_one_of(text, {"true", "True", "TRUE"})) return Json(true);
  if (is_one_of(text, {"false", "False", "FALSE"})) return Json(false);
  if (auto number = number_of(text, mark)) return *std::move(number);
  return Json(text);
}

// The library names a plain scalar's tag "?" and a quoted one's "!".
Json scalar(const std::string& tag, const std::string& text, const YAML::Mark& mark) {
  if (tag == "!" || tag == "tag:yaml.org,2002:str") return Json(text);
  if (tag.empty() || tag == "?") return plain(text, mark);
  const bool core =
      is_one_of(tag, {"tag:yaml.org,2002:int", "tag:yaml.org,2002:float", "tag:yaml.org,2002:bool", "tag:yaml.org,2002:null"});
  if (!core) refuse(fmt::format("the tag {} is not known in a definition", tag), mark);
  Json value = plain(text, mark);
  if (value.is_string()) refuse(fmt::format("'{}' is not of the type {}", text, tag), mark);
  return value;
}

class Reader : public YAML::EventHandler {
 public:
  YamlDefinition out;
  bool document = false;

  void OnDocumentStart(const YAML::Mark&) override { document = true; }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override { value(Json(), 1, anchor, mark); }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, const std::string& text) override {
    if (!is_utf8(text)) refuse("the text is not UTF-8", mark);
    if (awaits_key()) return key(text, mark);
    value(scalar(tag, text, mark), 1, anchor, mark);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto known = anchors_.find(anchor);
    if (known == anchors_.end()) refuse("an alias names a value that it is part of", mark);
    if (awaits_key()) refuse("a key must be a text", mark);
    value(known->second.value, known->second.values, 0, mark);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, YAML::EmitterStyle::value) override {
    open(false, tag, anchor, mark);
  }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, YAML::EmitterStyle::value) override {
    open(true, tag, anchor, mark);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapEnd() override { close(); }

 private:
  struct Open {
    bool object;
    YAML::anchor_t anchor;
    YAML::Mark mark;
    std::string location;
    std::size_t values = 1;
    Json::Array items = {};
    Json::Object members = {};
    std::optional<std::string> key = {};
  };
  struct Anchored {
    Json value;
    std::size_t values;  // in it, itself included
  };

  [[nodiscard]] bool awaits_key() const { return !open_.empty() && open_.back().object && !open_.back().key; }

  // Of the value that comes next.
  [[nodiscard]] std::string location() const {
    if (open_.empty()) return "";
    const Open& in = open_.back();
    return in.object ? in.location + '/' + *in.key : fmt::format("{}[{}]", in.location, in.items.size());
  }

  void key(const std::string& text, const YAML::Mark& mark) {
    Open& in = open_.back();
    if (text == "<<") refuse("merge keys (<<) are not read", mark);
    if (in.members.find(text)) refuse(fmt::format("the key '{}' is there twice", text), mark);
    in.key = text;
  }

  void open(bool object, const std::string& tag, YAML::anchor_t anchor, const YAML::Mark& mark) {
    if (awaits_key()) refuse("a key must be a text", mark);
    if (!is_one_of(tag, {"", "?", "!", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"}))
      refuse(fmt::format("the tag {} is not known in a definition", tag), mark);
    if (open_.size() == kMostDepth) refuse(fmt::format("values are nested deeper than {}", kMostDepth), mark);
    std::string at = location();
    out.places.emplace(at, place(mark));
    open_.push_back({.object = object, .anchor = anchor, .mark = mark, .location = std::move(at)});
  }

  void close() {
    Open done = std::move(open_.back());
    open_.pop_back();
    value(done.object ? Json(std::move(done.members)) : Json(std::move(done.items)), done.values, done.anchor, done.mark);
  }

  void value(Json json, std::size_t values, YAML::anchor_t anchor, const YAML::Mark& mark) {
    if (awaits_key()) refuse("a key must be a text", mark);
    if (anchor) anchors_.insert_or_assign(anchor, Anchored{json, values});
    out.places.emplace(location(), place(mark));
    if (open_.empty()) {
      out.json = std::move(json);
      return;
    }
    Open& in = open_.back();
    if ((in.values += values) > kMostValues) refuse(fmt::format("there are more than {} values", kMostValues), mark);
    if (json.depth() + open_.size() > kMostDepth) refuse(fmt::format("values are nested deeper than {}", kMostDepth), mark);
    if (in.object)
      in.members.set(*std::exchange(in.key, std::nullopt), std::move(json));
    else
      in.items.push_back(std::move(json));
  }

  std::vector<Open> open_;
  std::map<YAML::anchor_t, Anchored> anchors_;
};

}  // namespace

std::expected<YamlDefinition, YamlProblem> read_yaml(std::string_view text) {
  std::istringstream in{std::string(text)};
  Reader reader, rest;
  try {
    YAML::Parser parser(in);
    if (!parser.HandleNextDocument(reader) || !reader.document) return std::unexpected(YamlProblem{"the document is empty", {}});
    if (parser.HandleNextDocument(rest)) return std::unexpected(YamlProblem{"there is more than one document", place_of(rest.out, "")});
    return std::move(reader.out);
  } catch (const YamlProblem& problem) {
    return std::unexpected(problem);
  } catch (const YAML::Exception& e) {
    return std::unexpected(YamlProblem{e.msg, place(e.mark)});
  }
}

Place place_of(const YamlDefinition& definition, std::string_view location) {
  for (std::string_view at = location == "/" ? "" : location;; at = at.substr(0, at.find_last_of("/["))) {
    if (const auto found = definition.places.find(at); found != definition.places.end()) return found->second;
    if (at.find_last_of("/[") == std::string_view::npos) return {};
  }
}

}  // namespace snapward::asl
