#include "cloud/cloud.hpp"

#include <string_view>

namespace snapward::cloud {

Kind kind_of(const Error& error) {
  const std::string_view code = error.code;
  for (const char* known : {"RequestLimitExceeded", "Throttling", "ThrottlingException", "TooManyRequestsException",
                            "SnapshotCreationPerVolumeRateExceeded", "ThrottledException"})
    if (code == known) return Kind::throttled;
  for (const char* known : {"ResourceLimitExceeded", "ConcurrentSnapshotLimitExceeded", "PendingSnapshotLimitExceeded"})
    if (code == known) return Kind::limit;
  for (const char* known : {"InvalidSnapshot.InUse", "SnapshotLocked", "InvalidSnapshot.Locked"})
    if (code == known) return Kind::in_use;
  if (error.message.find("managed by the AWS Backup service") != std::string::npos || error.message.find("is locked") != std::string::npos)
    return Kind::in_use;
  if (code.ends_with("NotFound") || code.ends_with("DoesNotExist") || code.ends_with("NonExistentQueue") ||
      code == "ResourceNotFoundException" || code == "NotFoundException")
    return Kind::not_found;
  for (const char* known : {"UnauthorizedOperation", "AuthorizationError", "AccessDenied", "AccessDeniedException", "AuthFailure"})
    if (code == known) return Kind::denied;
  if (error.status >= 500) return Kind::unavailable;
  return Kind::invalid;
}

}  // namespace snapward::cloud
