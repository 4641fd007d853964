#include "support/transcript.hpp"

#include <fmt/format.h>
#include <re2/re2.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "base/text.hpp"
#include "support/world.hpp"
#include "wire/protocol.hpp"

namespace snapward::support {

namespace {

constexpr std::size_t kWidth = 140;

bool has_answer(std::string_view command) { return command != "wait" && command != "mock"; }

void read_head(Block& block) {
  for (std::string& word : split(block.head, ' ')) {
    const auto equals = word.find('=');
    if (equals != std::string::npos)
      block.options[word.substr(0, equals)] = word.substr(equals + 1);
    else if (!word.empty())
      block.words.push_back(std::move(word));
  }
}

// Placeholders for what differs from run to run, numbered by first appearance. wire.py has the same table.
class Masks {
 public:
  std::string hide(std::string_view text) {
    std::string out;
    std::array<re2::StringPiece, 7> found;  // the whole, then a group a kind
    std::size_t at = 0;
    while (pattern().Match(re2::StringPiece(text.data(), text.size()), at, text.size(), RE2::UNANCHORED, found.data(), found.size())) {
      const auto kind =
          static_cast<std::size_t>(std::find_if(found.begin() + 1, found.end(), [](auto f) { return !f.empty(); }) - found.begin());
      const auto begin = static_cast<std::size_t>(found[0].data() - text.data());
      out += text.substr(at, begin - at);
      out += placeholder(kind - 1, std::string(found[0]));
      at = begin + found[0].size();
    }
    return out.append(text.substr(at));
  }
  Json hide_in(const Json& value) {
    if (value.is_string()) return hide(value.as_string());
    if (value.is_array()) {
      Json::Array out;
      for (const Json& item : value.as_array()) out.push_back(hide_in(item));
      return Json(std::move(out));
    }
    if (!value.is_object()) return value;
    std::vector<Json::Member> members(value.as_object().begin(), value.as_object().end());
    std::ranges::sort(members, {}, [](const auto& m) { return std::pair(m.key != "name", m.key); });
    Json::Object out;
    for (const auto& [key, member] : members)
      if (!member.is_null()) out.set(key, hide_in(member));
    return Json(std::move(out));
  }
  [[nodiscard]] std::string reveal(std::string text) const {
    for (const auto& [value, name] : names_)
      for (auto at = text.find(name); at != std::string::npos; at = text.find(name, at + value.size()))
        text.replace(at, name.size(), value);
    return text;
  }

 private:
  static const RE2& pattern() {
    static const RE2 kPattern(
        R"((20(?:2[5-9]|[3-9]\d)-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)|[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} 20\d\d \d\d:\d\d:\d\d GMT))"
        R"(|\b([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})\b)"
        R"(|\b(snap-[0-9a-f]{17})\b|\b(vol-[0-9a-f]{17})\b)"
        R"(|([0-9a-f]{64}|[A-Za-z0-9+/_-]{80,}=*)|\b([0-9a-f]{32})\b)");
    return kPattern;
  }
  std::string placeholder(std::size_t kind, const std::string& value) {
    static constexpr std::array kKinds{"time", "uuid", "snapshot", "volume", "token", "digest"};
    if (kind == 0) return "<time>";
    std::string& name = names_[value];
    if (name.empty()) name = fmt::format("<{}-{}>", kKinds.at(kind), ++counts_.at(kind));
    return name;
  }
  std::map<std::string, std::string> names_;  // value → placeholder
  std::array<int, 6> counts_{};
};

// A text with quotes in it stands between backticks, without escapes.
std::string scalar(const Json& value) {
  std::string out = value.dump();
  if (!value.is_string() || out.find('\\') == std::string::npos) return out;
  const std::string_view text = value.as_string();
  const bool plain = std::ranges::none_of(text, [](unsigned char c) { return c < ' ' || c == '`'; });
  return plain ? fmt::format("`{}`", text) : out;
}
// JSON on one line where it fits, else an item a line.
std::string lay_out(const Json& value, std::size_t indent, std::size_t width) {
  if (!value.is_object() && !value.is_array()) return scalar(value);
  std::vector<std::string> items;
  std::size_t length = indent + 2;
  const auto add = [&](const std::string& key, const Json& item) {
    items.push_back((value.is_object() ? Json(key).dump() + ": " : "") + lay_out(item, indent + 2, width));
    length += items.back().size() + 2;
    if (items.back().find('\n') != std::string::npos) length = width + 1;
  };
  if (value.is_object())
    for (const auto& [key, member] : value.as_object()) add(key, member);
  else
    for (const Json& item : value.as_array()) add({}, item);
  const std::string_view ends = value.is_object() ? "{}" : "[]";
  if (length <= width) return fmt::format("{}{}{}", ends[0], fmt::join(items, ", "), ends[1]);
  const std::string line = '\n' + std::string(indent + 2, ' ');
  return fmt::format("{}{}{}\n{}{}", ends[0], line, fmt::join(items, "," + line), std::string(indent, ' '), ends[1]);
}
std::string one_line(std::string text) {
  RE2::GlobalReplace(&text, "\n", R"(\\n)");
  return text;
}

// "2 < 0  PassStateEntered  {details}": the event's id, the id of the event that led to it, its type.
std::string event_line(const Json& event, Masks& masks) {
  Json details;
  for (const auto& [key, member] : event.as_object())
    if (key.ends_with("EventDetails")) details = member;
  Json::Object shown;
  for (const auto& [key, member] : details.is_object() ? details.as_object() : Json::Object{})
    if (key != "inputDetails" && key != "outputDetails") shown.set(key, member);
  return fmt::format("{:>3} < {:<3} {}{}", event["id"].integer_or(0), event["previousEventId"].integer_or(0), event["type"].string_or(),
                     shown.empty() ? "" : "  " + lay_out(masks.hide_in(Json(std::move(shown))), 0, std::string::npos - 1));
}

class Stage {
 public:
  explicit Stage(const Transcript& transcript) {
    Json::Object machines, responses;
    int runs = 0;
    Json::Object states;
    for (const Block& block : transcript.blocks) {
      if (block.words[0] == "run") {
        ++runs;
        const Json cases = Json::object({{"TestCases", Json::object({{kCase, std::exchange(states, {})}})}});
        machines.set(machine_name(block, runs), cases);
      } else if (block.words[0] == "mock" && block.words.size() == 2) {
        const std::string name = fmt::format("{}-{}", block.words[1], block.line);
        states.set(block.words[1], name);
        responses.set(name, Json::parse(block.body).value_or(Json()));
      }
    }
    world_.world->cloud.executions().set_mocks(
        Json::object({{"StateMachines", std::move(machines)}, {"MockedResponses", std::move(responses)}}));
  }

  Result<std::string> perform(const Block& block) {
    region_ = option(block, "region", TestWorld::kPrimary);
    const std::string& command = block.words[0];
    if (command == "run") return run(block);
    if (command == "validate") return validate(block);
    if (command == "history" && block.words.size() == 2) return history(block, block.words[1]);
    if (command == "aws" && block.words.size() == 3) return aws(block);
    if (command == "wait" && block.words.size() == 2) return world_.advance(seconds(block.words[1])), std::string();
    if (command == "mock" && block.words.size() == 2) {
      mocked_ = true;
      const auto json = Json::parse(block.body);
      return json ? Result<std::string>("") : invalid("the responses are not JSON: " + json.error().message);
    }
    return invalid("a command is: run, mock STATE, history EXECUTION, validate, aws SERVICE OPERATION, wait SECONDS");
  }

 private:
  static constexpr const char* kCase = "transcript";
  static constexpr const char* kRole = "arn:aws:iam::123456789012:role/transcript";

  static std::string option(const Block& block, std::string_view name, std::string otherwise) {
    const auto found = block.options.find(name);
    return found == block.options.end() ? std::move(otherwise) : found->second;
  }
  static std::string machine_name(const Block& block, int run) { return option(block, "name", fmt::format("M{}", run)); }
  static Duration seconds(const std::string& text) {
    double value = 0;
    std::from_chars(text.data(), text.data() + text.size(), value);
    return Duration(static_cast<std::int64_t>(value * 1000));
  }

  // Through the wire's codecs, so that what they keep and leave out is seen as clients see it.
  std::expected<Json, wire::ApiError> call(const std::string& name, const std::string& operation, const Json& input) {
    const wire::Service* service = wire::find_service(name);
    const wire::Operation* known = service ? service->find(operation) : nullptr;
    if (!known) return std::unexpected(wire::ApiError{"UnknownOperation", name + ' ' + operation, 404, {}});
    const auto decoded = wire::decode_request(*service, wire::encode_request(*service, *known, input));
    if (!decoded) return std::unexpected(decoded.error());
    std::optional<cloud::Reply> reply;
    world_.world->loop.spawn(world_.world->cloud.call({name, region_, operation, decoded->input}),
                             [&](cloud::Reply r) { reply = std::move(r); });
    const Instant limit = world_.clock.now() + std::chrono::minutes(2);  // longer than any long poll
    world_.world->loop.settle();
    while (!reply && world_.world->loop.step(world_.clock, limit)) {
    }
    if (!reply) return std::unexpected(wire::ApiError{"NoAnswer", "the call did not answer within two minutes", 500, {}});
    if (!*reply) return std::unexpected(wire::ApiError{reply->error().code, reply->error().message, reply->error().status, {}});
    return wire::decode_reply(*service, *known, wire::encode_reply(*service, service->protocol, *known, **reply, "request"));
  }
  std::expected<Json, wire::ApiError> states(const std::string& operation, Json::Object input) {
    return call("states", operation, Json(std::move(input)));
  }
  std::string refused(const wire::ApiError& error) { return one_line(masks_.hide(error.code + ": " + error.message)) + '\n'; }

  Result<std::string> run(const Block& block) {
    ++runs_;
    const std::string test_case = std::exchange(mocked_, false) ? std::string("#") + kCase : "";
    const auto [definition, input] = definition_and_input(block);
    if (definition.empty()) return invalid("the definition is missing");
    const std::string type = option(block, "type", "STANDARD");
    const auto machine = states("CreateStateMachine",
                                {{"name", machine_name(block, runs_)}, {"definition", definition}, {"roleArn", kRole}, {"type", type}});
    if (!machine) return refused(machine.error());
    Json::Object start{{"stateMachineArn", std::string((*machine)["stateMachineArn"].string_or()) + test_case},
                       {"name", fmt::format("E{}", runs_)},
                       {"input", input}};
    const auto started = states(type == "EXPRESS" ? "StartSyncExecution" : "StartExecution", std::move(start));
    if (!started) return refused(started.error());
    if (type == "EXPRESS") return ending(*started);
    executions_[fmt::format("E{}", runs_)] = started->find("executionArn")->string_or();
    return history(block, fmt::format("E{}", runs_));
  }
  std::pair<std::string, std::string> definition_and_input(const Block& block) const {
    const std::string body = masks_.reveal(block.body);
    const auto at = ("\n" + body).find("\ninput\n");
    if (at == std::string::npos) return {body, "{}"};
    return {body.substr(0, at), std::string(trim(std::string_view(body).substr(at + 6)))};
  }

  Result<std::string> history(const Block& block, const std::string& name) {
    const auto known = executions_.find(name);
    if (known == executions_.end()) return invalid(fmt::format("no run before it has the execution {}", name));
    wait_for(block, known->second);
    std::string out;
    Json::Object page{{"executionArn", known->second}, {"maxResults", 1000}};
    for (;;) {
      const auto answer = states("GetExecutionHistory", page);
      if (!answer) return refused(answer.error());
      for (const Json& event : (*answer)["events"].items()) out += event_line(event, masks_) + '\n';
      if (!answer->find("nextToken")) break;
      page.set("nextToken", (*answer)["nextToken"]);
    }
    const auto described = states("DescribeExecution", {{"executionArn", known->second}});
    return described ? out + ending(*described) : refused(described.error());
  }
  void wait_for(const Block& block, const std::string& arn) {
    engine::Loop& loop = world_.world->loop;
    const auto until = block.options.find("until");
    loop.settle();
    if (until != block.options.end()) return world_.advance(seconds(until->second));
    const Instant limit = world_.clock.now() + std::chrono::days(1);
    const auto running = [&] {
      const auto record = world_.world->cloud.executions().find(arn);
      return record && (*record)["status"].string_or() == "RUNNING";
    };
    while (running() && loop.step(world_.clock, limit)) {
    }
  }
  std::string ending(const Json& execution) {
    std::string out(execution["status"].string_or());
    if (execution.find("output")) out += ' ' + std::string(execution["output"].string_or());
    if (execution.find("error")) out += ' ' + std::string(execution["error"].string_or());
    if (execution.find("cause")) out += ": " + std::string(execution["cause"].string_or());
    return one_line(masks_.hide(out)) + '\n';
  }

  Result<std::string> validate(const Block& block) {
    const auto answer =
        states("ValidateStateMachineDefinition",
               {{"definition", masks_.reveal(block.body)}, {"type", option(block, "type", "STANDARD")}, {"severity", "WARNING"}});
    if (!answer) return refused(answer.error());
    std::string out;
    for (const Json& d : (*answer)["diagnostics"].items())
      out += one_line(fmt::format("{} {} {}: {}", d["severity"].string_or(), d["code"].string_or(), d["location"].string_or(),
                                  d["message"].string_or())) +
             '\n';
    return out.empty() ? "OK\n" : masks_.hide(out);
  }

  Result<std::string> aws(const Block& block) {
    const std::string text = masks_.reveal(block.body);
    const auto input = Json::parse(text.empty() ? "{}" : text);
    if (!input) return invalid("the request is not JSON: " + input.error().message);
    const auto answer = call(block.words[1], block.words[2], *input);
    return answer ? lay_out(masks_.hide_in(*answer), 0, kWidth) + '\n' : refused(answer.error());
  }

  TestWorld world_;
  Masks masks_;
  std::string region_;
  std::map<std::string, std::string> executions_;  // E1 → its ARN
  int runs_ = 0;
  bool mocked_ = false;
};

}  // namespace

Result<Transcript> parse_transcript(std::string_view text) {
  Transcript out;
  std::vector<std::string> lines = split(text, '\n');
  if (!lines.empty() && lines.back().empty()) lines.pop_back();
  const auto stands = [&](std::size_t at) { return at < lines.size() && !trim(lines[at]).empty(); };
  std::size_t at = 0;
  for (;;) {
    std::string before;
    for (; at < lines.size() && (!stands(at) || lines[at].starts_with('#')); ++at) before += lines[at] + '\n';
    if (at == lines.size()) {
      out.after = std::move(before);
      return out;
    }
    Block block{.before = std::move(before), .line = at + 1, .head = lines[at++], .words = {}, .options = {}, .body = {}, .answer = {}};
    read_head(block);
    if (block.words.empty()) return invalid(fmt::format("line {}: a block begins with a command", block.line));
    for (; stands(at) && lines[at] != "----"; ++at) block.body += lines[at] + '\n';
    if (at < lines.size() && lines[at] == "----")
      for (++at, block.answer = ""; stands(at); ++at) *block.answer += lines[at] + '\n';
    out.blocks.push_back(std::move(block));
  }
}

std::string to_text(const Transcript& transcript) {
  std::string out;
  for (const Block& block : transcript.blocks)
    out += block.before + block.head + '\n' + block.body + (block.answer ? "----\n" + *block.answer : "");
  return out + transcript.after;
}

Result<Transcript> replay(const Transcript& transcript) {
  Transcript out = transcript;
  Stage stage(transcript);
  for (Block& block : out.blocks) {
    auto answer = stage.perform(block);
    if (!answer) return invalid(fmt::format("line {}: {}", block.line, answer.error().message));
    if (has_answer(block.words[0])) block.answer = *std::move(answer);
  }
  return out;
}

}  // namespace snapward::support
