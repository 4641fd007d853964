#include "services/logs/filter.hpp"

#include <algorithm>

#include "base/text.hpp"

namespace snapward::services::logs {

std::expected<Filter, std::string> Filter::parse(std::string_view pattern) {
  Filter out;
  std::string_view rest = trim(pattern);
  if (rest.starts_with('{') || rest.starts_with('['))
    return std::unexpected("Snapward's local cloud filters log events by terms, not by JSON or space-delimited patterns");
  while (!rest.empty()) {
    auto* terms = &out.all_;
    if (rest[0] == '?' || rest[0] == '-') {
      terms = rest[0] == '?' ? &out.any_ : &out.none_;
      rest.remove_prefix(1);
    }
    std::string term;
    if (rest.starts_with('"')) {
      std::size_t i = 1;
      for (; i < rest.size() && rest[i] != '"'; ++i) {
        if (rest[i] == '\\' && i + 1 < rest.size()) ++i;
        term += rest[i];
      }
      if (i >= rest.size()) return std::unexpected("a quoted term is not closed");
      rest.remove_prefix(i + 1);
    } else {
      const std::size_t end = std::min(rest.find_first_of(" \t"), rest.size());
      term = rest.substr(0, end);
      rest.remove_prefix(end);
    }
    if (term.empty()) return std::unexpected("a term is empty");
    terms->push_back(std::move(term));
    rest = trim(rest);
  }
  return out;
}

bool Filter::matches(std::string_view message) const {
  const auto there = [message](const std::string& term) { return message.find(term) != std::string_view::npos; };
  return std::ranges::all_of(all_, there) && std::ranges::none_of(none_, there) && (any_.empty() || std::ranges::any_of(any_, there));
}

}  // namespace snapward::services::logs
