// Places where the process can be made to die, for the crash campaign (tests/crash): SNAPWARD_CRASH=label:n ends it with SIGKILL when
// the place of that label is passed for the n-th time. Without the variable a place costs one comparison.
#pragma once
#include <string_view>

namespace snapward {

// Labels, in the order of a commit's life: decided (nothing saved), committing (in the transaction), committed (saved, nothing of it
// performed), performing, performed (the outcome not yet taken in), delivering, delivered, answering (the client not yet told). Beside it:
// applying (the journal's groups into the table of rows), keying (a file of the journal gets a new key).
// From any thread.
void crash_point(std::string_view label);

}  // namespace snapward
