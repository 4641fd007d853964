// HistoryEvent: an entry users read with GetExecutionHistory. Field names and order are the API's (Step Functions API Reference,
// HistoryEvent).
//
// The API shows data as JSON text. Here, and in the store, it stays a value, under "inputValue", "outputValue" or "parametersValue":
// one copy shared by all events about it, and nothing escaped twice. What a state passes on is mostly what it was given, so in the stored
// form of a step's events a value is written once:
//   "outputValueSame": true     the one of the event before that has one
//   "outputValueOf": 7          the one of event 7, of the same step
//   "outputValueOver": {"of": 7, "set": {…}}      that of event 7, an object, with these members set
// api_events() turns them into what the API shows.
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
