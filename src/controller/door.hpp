// Door: what a controller's port lets through. Executions, rules and logs may be looked at, executions started, stopped and redriven.
// Nothing can be changed there that the account's credentials would act on, and nothing in the account be reached: for that there
// is AWS.
//
// Threads: the loop's. Errors: AccessDeniedException, or what the protocol of the service calls it.
#pragma once
#include "cloud/cloud.hpp"

namespace snapward::controller {

class Door final : public cloud::Cloud {
 public:
  explicit Door(cloud::Cloud& inside) : inside_(inside) {}
  Task<cloud::Reply> call(cloud::Call call) override;
  static bool lets(const cloud::Call& call);

 private:
  cloud::Cloud& inside_;
};

}  // namespace snapward::controller
