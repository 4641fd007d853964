// STS: who is asking, roles assumed, and sessions. The credentials that it hands out sign requests until they expire (wire/sessions.hpp).
#pragma once
#include "services/service.hpp"
#include "wire/sessions.hpp"

namespace snapward::services::sts {

class Sts final : public Service {
 public:
  Sts(Environment& env, wire::Sessions sessions);

 private:
  Json credentials(const std::string& principal, std::chrono::seconds lifetime);

  wire::Sessions sessions_;
};

}  // namespace snapward::services::sts
