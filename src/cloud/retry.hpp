// Retrying: a Cloud that tries again what another try may mend, as the AWS SDKs do in their standard mode.
//
// Throttled calls were not carried out: every one may be repeated. After "unavailable" it is not known whether the call was carried
// out: only operations that do no harm twice are repeated; CopySnapshot, CreateSnapshot and Publish are given back to the caller, who
// can look before acting again.
// Source: AWS SDKs and Tools Reference Guide, "Retry behavior".
#pragma once
#include <functional>

#include "base/entropy.hpp"
#include "base/time.hpp"
#include "cloud/cloud.hpp"

namespace snapward::cloud {

class Retrying final : public Cloud {
 public:
  using Sleep = std::function<Task<void>(Duration)>;
  Retrying(Cloud& inner, Sleep sleep, Entropy& entropy) : inner_(inner), sleep_(std::move(sleep)), entropy_(entropy) {}
  Task<Reply> call(Call call) override;

 private:
  Cloud& inner_;
  Sleep sleep_;
  Entropy& entropy_;
};

}  // namespace snapward::cloud
