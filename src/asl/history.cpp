#include "asl/history.hpp"

namespace snapward::asl {

Json HistoryEvent::to_json() const {
  Json::Object out;
  out.set("timestamp", iso_millis(at)).set("type", type).set("id", id).set("previousEventId", previous);
  if (*details) out.set(details, body);
  return out;
}

}  // namespace snapward::asl
