// HTTP messages as plain values, shared by the codecs (which make and read them) and net (which carries them).
#pragma once
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/text.hpp"

namespace snapward::wire {

struct Headers {
  std::vector<std::pair<std::string, std::string>> list;  // names as sent; compared without case

  [[nodiscard]] const std::string* find(std::string_view name) const {
    for (const auto& [key, value] : list)
      if (iequals(key, name)) return &value;
    return nullptr;
  }
  [[nodiscard]] std::string_view get(std::string_view name) const {
    const std::string* value = find(name);
    return value ? std::string_view(*value) : std::string_view();
  }
  void add(std::string name, std::string value) { list.emplace_back(std::move(name), std::move(value)); }
};

struct HttpRequest {
  std::string method = "POST";
  std::string target = "/";  // path and query, percent-encoded, as on the request line
  Headers headers;
  std::string body;

  [[nodiscard]] std::string_view path() const { return std::string_view(target).substr(0, target.find('?')); }
  [[nodiscard]] std::string_view query() const {
    const std::size_t mark = target.find('?');
    return mark == std::string::npos ? std::string_view() : std::string_view(target).substr(mark + 1);
  }
};

struct HttpResponse {
  int status = 200;
  Headers headers;
  std::string body;
};

// "a=1&b" → {("a","1"),("b","")}, decoded.
std::vector<std::pair<std::string, std::string>> parse_query(std::string_view query);

}  // namespace snapward::wire
