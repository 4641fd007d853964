// STS: who is asking, and roles assumed.
#pragma once
#include "services/service.hpp"

namespace snapward::services::sts {

class Sts final : public Service {
 public:
  explicit Sts(Environment& env);
};

}  // namespace snapward::services::sts
