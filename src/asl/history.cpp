#include "asl/history.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <ranges>

namespace snapward::asl {

namespace {

constexpr std::pair<std::string_view, const char*> kValues[] = {
    {"inputValue", "inputDetails"}, {"outputValue", "outputDetails"}, {"parametersValue", nullptr}};

// "inputValue" → {"input", "inputDetails"}; null for other fields.
const std::pair<std::string_view, const char*>* value_field(std::string_view name) {
  for (const auto& value : kValues)
    if (value.first == name) return &value;
  return nullptr;
}
std::string api_name(std::string_view value_field) { return std::string(value_field.substr(0, value_field.size() - 5)); }

// How a value is written.
constexpr std::string_view kSame = "Same", kOf = "Of", kOver = "Over";

// The values of a step's events, by the event that had each first.
template <class Value>
class Values {
 public:
  void add(std::int64_t event, Value value) {
    if (known_.empty() || known_.back().first != event) known_.emplace_back(event, std::move(value));
  }
  [[nodiscard]] const std::vector<std::pair<std::int64_t, Value>>& known() const { return known_; }

 private:
  std::vector<std::pair<std::int64_t, Value>> known_;
};
constexpr std::size_t kLookedBack = 32;

// Whether setting members of `base` makes `value`, and less is to be written so.
bool extends(const Json& value, const Json& base) {
  if (!value.is_object() || !base.is_object() || value.as_object().size() < base.as_object().size()) return false;
  bool saves = false;
  auto member = value.as_object().begin();
  for (const auto& [key, before] : base.as_object()) {
    if (member->key != key) return false;
    saves = saves || (before.depth() > 0 && member->value.identical(before));
    ++member;
  }
  return saves;
}

void append_changed(std::string& out, const Json& value, const Json& base) {
  auto before = base.as_object().begin();
  char separator = '{';
  for (const auto& [key, member] : value.as_object()) {
    const bool unchanged = before != base.as_object().end() && member.identical(before->value);
    if (before != base.as_object().end()) ++before;
    if (unchanged) continue;
    out += separator;
    separator = ',';
    append_json_string(out, key);
    out += ':';
    member.dump_to(out);
  }
  out += separator == '{' ? "{}" : "}";
}

}  // namespace

std::string stored_events(const std::vector<HistoryEvent>& events) {
  std::string out = "[";
  out.reserve(events.size() * 160);
  const Json* last = nullptr;  // the value of the last event that had one
  Values<const Json*> values;
  const auto append_value = [&](std::string_view key, const Json& value, std::int64_t event) {
    const auto field = [&](std::string_view how) { out.append(1, '"').append(key).append(how).append("\":"); };
    if (last && value.identical(*last)) {
      field(kSame);
      out += "true";
      return;
    }
    const auto earlier = [&](auto&& fits) -> const std::pair<std::int64_t, const Json*>* {
      if (value.depth() == 0) return nullptr;
      for (const auto& known : values.known() | std::views::reverse | std::views::take(kLookedBack))
        if (fits(*known.second)) return &known;
      return nullptr;
    };
    if (const auto* same = earlier([&](const Json& known) { return known.identical(value); })) {
      field(kOf);
      out += fmt::format_int(same->first).str();
    } else if (const auto* base = earlier([&](const Json& known) { return extends(value, known); })) {
      field(kOver);
      out.append(R"({"of":)").append(fmt::format_int(base->first).str()).append(R"(,"set":)");
      append_changed(out, value, *base->second);
      out += '}';
      values.add(event, &value);
    } else {
      field("");
      value.dump_to(out);
      values.add(event, &value);
    }
    last = &value;
  };
  Instant formatted;
  std::string beginning;  // up to the type, of an event at `formatted`: the events of a step share their time
  for (const HistoryEvent& e : events) {
    if (beginning.empty() || e.at != formatted) {
      beginning = R"({"timestamp":")" + iso_millis(e.at) + R"(","type":")";
      formatted = e.at;
    }
    if (out.size() > 1) out += ',';
    const fmt::format_int id(e.id), previous(e.previous);
    out.append(beginning).append(e.type).append(R"(","id":)").append(id.data(), id.size());
    out.append(R"(,"previousEventId":)").append(previous.data(), previous.size());
    if (*e.details) {
      out.append(R"(,")").append(e.details).append(R"(":)");
      char separator = '{';
      if (e.body.is_object())
        for (const auto& [key, value] : e.body.as_object()) {
          out += separator;
          separator = ',';
          if (value_field(key)) {
            append_value(key, value, e.id);
            continue;
          }
          append_json_string(out, key);
          out += ':';
          value.dump_to(out);
        }
      out += separator == '{' ? "{}" : "}";
    }
    out += '}';
  }
  return out += ']';
}

std::vector<Json> api_events(const Json& stored) {
  static const Json kNotTruncated = Json::object({{"truncated", false}});
  std::vector<Json> out;
  struct Value {
    Json value, text;
  };
  Value last;
  Values<Value> values;
  // What a field like "outputValueOver" says, as text.
  const auto read = [&](std::string_view how, const Json& item, std::int64_t event) -> const Json& {
    const auto earlier = [&](const Json& which) {
      for (const auto& [id, value] : values.known())
        if (id == which.integer_or(0)) return value;
      return Value();
    };
    if (how == kSame) return last.text;
    if (how == kOf) {
      last = earlier(item);
      return last.text;
    }
    if (how == kOver) {
      const Value base = earlier(item["of"]);
      Json::Object over = base.value.is_object() ? base.value.as_object() : Json::Object();
      if (const Json& set = item["set"]; set.is_object())
        for (const auto& [key, member] : set.as_object()) over.set(key, member);
      last.value = Json(std::move(over));
    } else {
      last.value = item;
    }
    last.text = Json(last.value.dump());
    values.add(event, last);
    return last.text;
  };
  for (const Json& event : stored.items()) {
    const std::int64_t id = event["id"].integer_or(0);
    Json::Object shown;
    for (const auto& [key, value] : event.as_object()) {
      if (!value.is_object()) {
        shown.set(key, value);
        continue;
      }
      Json::Object details;
      for (const auto& [field, item] : value.as_object()) {
        const std::size_t end = field.rfind("Value");
        const std::string_view how = end == std::string::npos ? "" : std::string_view(field).substr(end + 5);
        const auto* known = how.empty() || how == kSame || how == kOf || how == kOver
                                ? value_field(std::string_view(field).substr(0, field.size() - how.size()))
                                : nullptr;
        if (!known) {
          details.set(field, item);
          continue;
        }
        details.set(api_name(known->first), read(how, item, id));
        if (known->second) details.set(known->second, kNotTruncated);
      }
      shown.set(key, std::move(details));
    }
    out.emplace_back(std::move(shown));
  }
  return out;
}

}  // namespace snapward::asl
