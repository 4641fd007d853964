#include "asl/history.hpp"

#include <fmt/format.h>

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

}  // namespace

std::string stored_events(const std::vector<HistoryEvent>& events) {
  std::string out = "[";
  out.reserve(events.size() * 160);
  const Json* last = nullptr;  // the value of the last event that had one
  Instant formatted;
  std::string timestamp;  // of `formatted`: the events of a step share their time
  for (const HistoryEvent& e : events) {
    if (timestamp.empty() || e.at != formatted) {
      timestamp = iso_millis(e.at);
      formatted = e.at;
    }
    if (out.size() > 1) out += ',';
    const fmt::format_int id(e.id), previous(e.previous);
    out.append(R"({"timestamp":")")
        .append(timestamp)
        .append(R"(","type":")")
        .append(e.type)
        .append(R"(","id":)")
        .append(id.data(), id.size());
    out.append(R"(,"previousEventId":)").append(previous.data(), previous.size());
    if (*e.details) {
      out.append(R"(,")").append(e.details).append(R"(":)");
      char separator = '{';
      if (e.body.is_object())
        for (const auto& [key, value] : e.body.as_object()) {
          out += separator;
          separator = ',';
          const bool is_value = value_field(key) != nullptr;
          if (is_value && last && value.identical(*last)) {
            out.append(1, '"').append(key).append(R"(Same":true)");
            continue;
          }
          append_json_string(out, key);
          out += ':';
          value.dump_to(out);
          if (is_value) last = &value;
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
  Json last;
  for (const Json& event : stored.items()) {
    Json::Object shown;
    for (const auto& [key, value] : event.as_object()) {
      if (!value.is_object()) {
        shown.set(key, value);
        continue;
      }
      Json::Object details;
      for (const auto& [field, item] : value.as_object()) {
        const bool same = field.ends_with("ValueSame");
        const auto* known = value_field(same ? std::string_view(field).substr(0, field.size() - 4) : std::string_view(field));
        if (!known) {
          details.set(field, item);
          continue;
        }
        if (!same) last = Json(item.dump());
        details.set(api_name(known->first), last);
        if (known->second) details.set(known->second, kNotTruncated);
      }
      shown.set(key, std::move(details));
    }
    out.emplace_back(std::move(shown));
  }
  return out;
}

}  // namespace snapward::asl
