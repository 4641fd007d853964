// HistoryEvent: an entry users read with GetExecutionHistory. Field names and order are the API's (Step Functions API Reference, HistoryEvent).
#pragma once
#include <cstdint>
#include <string>

#include "base/json.hpp"
#include "base/time.hpp"

namespace snapward::asl {

struct HistoryEvent {
  std::int64_t id = 0;
  std::int64_t previous = 0;
  Instant at;
  const char* type = "";     // "PassStateEntered": static text
  const char* details = "";  // "stateEnteredEventDetails", or "" for none
  Json body;                 // the details

  // {"timestamp": ISO text, "type", "id", "previousEventId", details…}
  [[nodiscard]] Json to_json() const;
};

}  // namespace snapward::asl
