#include "asl/items.hpp"

#include <fmt/format.h>

#include "base/text.hpp"

namespace snapward::asl {

namespace {

std::unexpected<Failure> failed(std::string cause) { return std::unexpected(Failure{errors::kItemReaderFailed, std::move(cause)}); }

// RFC 4180: quoted fields may hold delimiters, line ends and doubled quotes.
std::vector<std::vector<std::string>> csv_rows(std::string_view text, char delimiter) {
  std::vector<std::vector<std::string>> rows;
  std::vector<std::string> row;
  std::string field;
  bool quoted = false, any = false;
  const auto end_row = [&] {
    if (!any && field.empty() && row.empty()) return;
    row.push_back(std::exchange(field, {}));
    rows.push_back(std::exchange(row, {}));
    any = false;
  };
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c != '"') {
        field += c;
      } else if (i + 1 < text.size() && text[i + 1] == '"') {
        field += '"';
        ++i;
      } else {
        quoted = false;
      }
    } else if (c == '"' && field.empty()) {
      quoted = any = true;
    } else if (c == delimiter) {
      row.push_back(std::exchange(field, {}));
      any = true;
    } else if (c == '\n' || c == '\r') {
      if (c == '\r' && i + 1 < text.size() && text[i + 1] == '\n') ++i;
      end_row();
    } else {
      field += c;
    }
  }
  end_row();
  return rows;
}

Outcome<Json::Array> csv_items(const ItemReader& reader, std::string_view text) {
  auto rows = csv_rows(text, reader.delimiter);
  std::vector<std::string> headers = reader.headers;
  std::size_t first = 0;
  if (!reader.headers_given) {
    if (rows.empty()) return Json::Array{};
    headers = rows[0];
    first = 1;
  }
  Json::Array out;
  for (std::size_t r = first; r < rows.size(); ++r) {
    Json::Object item;
    for (std::size_t c = 0; c < headers.size(); ++c) item.set(headers[c], c < rows[r].size() ? rows[r][c] : "");
    out.emplace_back(std::move(item));
  }
  return out;
}

// RFC 6901.
const Json* pointed(const Json& root, const std::string& pointer) {
  const Json* at = &root;
  if (pointer.empty()) return at;
  for (std::string part : split(std::string_view(pointer).substr(1), '/')) {
    std::string name;
    for (std::size_t i = 0; i < part.size(); ++i) {
      if (part[i] == '~' && i + 1 < part.size())
        name += part[++i] == '1' ? '/' : '~';
      else
        name += part[i];
    }
    if (at->is_array()) {
      const std::size_t index = static_cast<std::size_t>(std::strtoul(name.c_str(), nullptr, 10));
      at = index < at->as_array().size() ? &at->as_array()[index] : nullptr;
    } else {
      at = at->find(name);
    }
    if (!at) return nullptr;
  }
  return at;
}

}  // namespace

Outcome<Json::Array> read_item_list(const ItemReader& reader, const Json& answer) {
  if (reader.resource.action == "listObjectsV2") return Json::Array(answer["Contents"].items());
  const std::string_view body = answer["Body"].string_or();
  if (reader.input_type == "CSV" || reader.input_type == "MANIFEST") return csv_items(reader, body);
  if (reader.input_type == "JSONL") {
    Json::Array out;
    std::size_t line = 0;
    for (const std::string& text : split(body, '\n')) {
      ++line;
      if (trim(text).empty()) continue;
      auto item = Json::parse(text);
      if (!item)
        return failed(fmt::format("Attempting to map over non-iterable node: line {} is not JSON: {}", line, item.error().message));
      out.push_back(*std::move(item));
    }
    return out;
  }
  const auto document = Json::parse(body);
  if (!document) return failed("Unable to parse JSON: " + document.error().message);
  const Json* items = pointed(*document, reader.items_pointer);
  if (!items) return failed(fmt::format("The ItemsPointer {} names nothing in the document", reader.items_pointer));
  if (items->is_array()) return items->as_array();
  if (items->is_object() && !reader.items_pointer.empty()) {
    Json::Array out;
    for (const auto& [key, value] : items->as_object()) out.push_back(Json::object({{"Key", key}, {"Value", value}}));
    return out;
  }
  return failed("Attempting to map over non-iterable node.");
}

}  // namespace snapward::asl
