#include "base/written.hpp"

#include <cassert>

namespace snapward {

namespace {

// Arrays and objects are told apart by their node; scalars have no spelling but their own.
const void* node_of(const Json& value) {
  if (value.is_array()) return &value.as_array();
  if (value.is_object()) return &value.as_object();
  return nullptr;
}

// Walks a text together with the value that it gave. The text is known to be good.
class Walk {
 public:
  Walk(std::string_view text, std::unordered_map<const void*, std::string_view>& texts) : text_(text), texts_(texts) {}

  // `value` is null where a later member of the same name won.
  void value(const Json* value) {
    blanks();
    const std::size_t from = at_;
    if (peek() == '[')
      array(value);
    else if (peek() == '{')
      object(value);
    else if (peek() == '"')
      string();
    else
      while (at_ < text_.size() && std::string_view(",]} \t\r\n").find(text_[at_]) == std::string_view::npos) ++at_;
    if (const void* node = value ? node_of(*value) : nullptr) texts_.insert_or_assign(node, text_.substr(from, at_ - from));
  }

 private:
  [[nodiscard]] char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  void blanks() {
    while (at_ < text_.size() && std::string_view(" \t\r\n").find(text_[at_]) != std::string_view::npos) ++at_;
  }
  bool next(char separator) {
    blanks();
    return peek() == separator ? (++at_, true) : false;
  }
  std::string_view string() {
    const std::size_t from = at_;
    for (++at_; at_ < text_.size() && text_[at_] != '"'; ++at_)
      if (text_[at_] == '\\') ++at_;
    ++at_;
    return text_.substr(from, at_ - from);
  }
  void array(const Json* list) {
    ++at_;
    if (next(']')) return;
    std::size_t i = 0;
    do {
      value(list && list->is_array() && i < list->as_array().size() ? &list->as_array()[i] : nullptr);
      ++i;
    } while (next(','));
    next(']');
  }
  void object(const Json* object) {
    ++at_;
    if (next('}')) return;
    do {
      blanks();
      const auto key = Json::parse(string());
      assert(key && key->is_string());
      next(':');
      value(object ? object->find(key->as_string()) : nullptr);
    } while (next(','));
    next('}');
  }

  std::string_view text_;
  std::unordered_map<const void*, std::string_view>& texts_;
  std::size_t at_ = 0;
};

}  // namespace

void AsWritten::add(Json value, std::string_view text) {
  kept_.push_back(std::move(value));
  Walk(text, texts_).value(&kept_.back());
}

std::string AsWritten::print(const Json& value) const {
  std::string out;
  print_to(out, value);
  return out;
}

void AsWritten::print_to(std::string& out, const Json& value) const {
  const void* node = node_of(value);
  if (!node) return value.dump_to(out);
  if (const auto found = texts_.find(node); found != texts_.end()) {
    out += found->second;
    return;
  }
  const char* separator = "";
  out += value.is_array() ? '[' : '{';
  for (const Json& item : value.items()) {
    out += separator;
    print_to(out, item);
    separator = ",";
  }
  if (value.is_object())
    for (const auto& [key, member] : value.as_object()) {
      out += separator;
      append_json_string(out, key);
      out += ':';
      print_to(out, member);
      separator = ",";
    }
  out += value.is_array() ? ']' : '}';
}

}  // namespace snapward
