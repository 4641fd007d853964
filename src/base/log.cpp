#include "base/log.hpp"

#include <spdlog/formatter.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/spdlog.h>

#include "base/json.hpp"
#include "base/line.hpp"
#include "base/time.hpp"

namespace snapward::log {

namespace {
bool as_json = false;  // set once, before threads

// The fields of the line being written on this thread; the formatter picks them up (loggers are synchronous).
thread_local const std::initializer_list<Field>* current = nullptr;

class JsonLines final : public spdlog::formatter {
 public:
  void format(const spdlog::details::log_msg& line, spdlog::memory_buf_t& out) override {
    std::string text = "{\"time\":";
    append_json_string(text, iso_millis(std::chrono::time_point_cast<Duration>(line.time)));
    text += ",\"level\":";
    append_json_string(
        text, std::string_view(spdlog::level::to_string_view(line.level).data(), spdlog::level::to_string_view(line.level).size()));
    text += ",\"message\":";
    append_json_string(text, std::string_view(line.payload.data(), line.payload.size()));
    if (current)
      for (const Field& field : *current) {
        text += ',';
        append_json_string(text, field.name);
        text += ':';
        append_json_string(text, field.value);
      }
    text += "}\n";
    out.append(text.data(), text.data() + text.size());
  }
  [[nodiscard]] std::unique_ptr<spdlog::formatter> clone() const override { return std::make_unique<JsonLines>(); }
};

class TextLines final : public spdlog::formatter {
 public:
  explicit TextLines(const std::string& pattern) : pattern_(pattern), inner_(pattern, spdlog::pattern_time_type::utc) {}
  void format(const spdlog::details::log_msg& line, spdlog::memory_buf_t& out) override {
    const std::string_view text(line.payload.data(), line.payload.size());
    if (!has_control(text)) return inner_.format(line, out);
    const std::string escaped = escape_control(text);
    spdlog::details::log_msg clean = line;
    clean.payload = escaped;
    inner_.format(clean, out);
    line.color_range_start = clean.color_range_start;
    line.color_range_end = clean.color_range_end;
  }
  [[nodiscard]] std::unique_ptr<spdlog::formatter> clone() const override { return std::make_unique<TextLines>(pattern_); }

 private:
  std::string pattern_;
  spdlog::pattern_formatter inner_;
};
}  // namespace

void write_text(const std::string& pattern) { spdlog::set_formatter(std::make_unique<TextLines>(pattern)); }

void write_json() {
  as_json = true;
  spdlog::set_formatter(std::make_unique<JsonLines>());
}

void write(spdlog::level::level_enum level, std::string_view message, std::initializer_list<Field> fields) {
  if (!spdlog::should_log(level)) return;
  if (as_json) {
    current = &fields;
    spdlog::log(level, "{}", message);
    current = nullptr;
    return;
  }
  std::string text(message);
  for (const Field& field : fields) {
    if (field.value.empty()) continue;
    text += ' ';
    text += field.name;
    text += '=';
    text += field.value;
  }
  spdlog::log(level, "{}", text);
}

}  // namespace snapward::log
