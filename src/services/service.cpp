#include "services/service.hpp"

#include <fmt/format.h>

#include "base/text.hpp"
#include "base/utf8.hpp"
#include "engine/unreadable.hpp"

namespace snapward::services {

std::string Metrics::shown(const Labels& labels) const {
  std::string out;
  for (const Labels* list : {&everywhere_, &labels})
    for (const auto& [label, text] : *list) {
      out += (out.empty() ? "" : ",") + label + "=\"";
      for (const char c : text) {
        if (c == '\\' || c == '"') out += '\\';
        out += c == '\n' ? ' ' : c;
      }
      out += '"';
    }
  return out.empty() ? "" : '{' + out + '}';
}

void Metrics::add(const std::string& name, const std::string& help, const char* type, double value, const Labels& labels) {
  Family& family = families_[name];
  family.help = help;
  family.type = type;
  family.lines += fmt::format("{}{} {}\n", name, shown(labels), value);
}
void Metrics::histogram(const std::string& name, const std::string& help, const engine::Ledger::Latencies& values) {
  Family& family = families_[name];
  family.help = help;
  family.type = "histogram";
  std::uint64_t count = 0;
  for (std::size_t i = 0; i < values.counts.size(); ++i) {
    count += values.counts[i];
    const std::string bound = i < values.kBounds.size() ? fmt::format("{}", values.kBounds[i]) : "+Inf";
    family.lines += fmt::format("{}_bucket{} {}\n", name, shown({{"le", bound}}), count);
  }
  family.lines += fmt::format("{0}_sum{1} {2}\n{0}_count{1} {3}\n", name, shown({}), values.sum, count);
}
std::string Metrics::text() const {
  std::string out;
  for (const auto& [name, family] : families_)
    out += fmt::format("# HELP {} {}\n# TYPE {} {}\n{}", name, family.help, name, family.type, family.lines);
  return out;
}

Task<Reply> Service::handle(Call call) {
  if (const auto found = sync_.find(call.operation); found != sync_.end()) co_return found->second(call);
  if (const auto found = async_.find(call.operation); found != async_.end()) co_return co_await found->second(std::move(call));
  co_return cloud::error("NotImplemented", fmt::format("Snapward's local cloud does not implement {}:{}.", name_, call.operation), 501);
}

void Service::save(const std::string& table, const std::string& key, const Json& value) {
  env_.ledger.put(name_ + '.' + table, key, dump_bytes(value));
}

void Service::each_row(const std::string& table, const std::function<void(const std::string&, const Json&)>& use) {
  const std::string rows = name_ + '.' + table;
  for (const auto& row : env_.ledger.scan(rows, {})) use(row.key, engine::value_of_row(parse_bytes(row.value), rows, row.key));
}

std::string page_token(const std::string& position) { return base64_encode("p1:" + position); }
std::optional<std::string> page_position(std::string_view token) {
  const auto bytes = base64_decode(token);
  if (!bytes || !bytes->starts_with("p1:")) return std::nullopt;
  return bytes->substr(3);
}

std::string log_group_name(const Arn& arn) {
  std::string name = arn.service == "logs" ? arn.resource_id("log-group").value_or("") : "";
  if (name.ends_with(":*")) name.resize(name.size() - 2);
  return name;
}

Json merge_tag_map(const Json& tags, const Json& added) {
  Json::Object out = tags.is_object() ? tags.as_object() : Json::Object{};
  if (added.is_object())
    for (const auto& [key, value] : added.as_object()) out.set(key, value);
  return Json(std::move(out));
}
Json remove_tag_keys(const Json& tags, const Json& keys) {
  Json::Object out = tags.is_object() ? tags.as_object() : Json::Object{};
  for (const Json& key : keys.items()) out.erase(key.string_or());
  return Json(std::move(out));
}

Json merge_tags(const Json& tags, const Json& added, const char* key, const char* value) {
  Json::Array out = tags.items();
  for (const Json& tag : added.items()) {
    const Json fresh = Json::object({{key, tag[key]}, {value, tag[value].is_null() ? Json("") : tag[value]}});
    const auto same = std::find_if(out.begin(), out.end(), [&](const Json& t) { return t[key] == tag[key]; });
    if (same == out.end())
      out.push_back(fresh);
    else
      *same = fresh;
  }
  return out;
}

Json remove_tags(const Json& tags, const Json& keys, const char* key) {
  Json::Array out;
  for (const Json& tag : tags.items())
    if (std::find(keys.items().begin(), keys.items().end(), tag[key]) == keys.items().end()) out.push_back(tag);
  return out;
}

}  // namespace snapward::services
