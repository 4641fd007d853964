// HistoryEvent: an entry users read with GetExecutionHistory. Field names and order are the API's (Step Functions API Reference,
// HistoryEvent).
//
// The API shows data as JSON text. Here, and in the store, it stays a value, under "inputValue", "outputValue" or "parametersValue":
// one copy shared by all events about it, and nothing escaped twice. In the stored form of a step's events, a value that is the one of the
// event before is not repeated. api_events() turns them into what the API shows.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

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
};

// The stored form of a step's events: a JSON array of {"timestamp": ISO text, "type", "id", "previousEventId", details…}.
std::string stored_events(const std::vector<HistoryEvent>& events);
// Read back, as the API shows them.
std::vector<Json> api_events(const Json& stored);

}  // namespace snapward::asl
