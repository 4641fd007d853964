// Result<T>: a value, or an Error that a caller can act on or show. Bad input and a failing world are Results; our own bugs are
// asserts. No exception leaves a folder (docs/adr/0001).
#pragma once
#include <expected>
#include <string>
#include <utility>

namespace snapward {

// One entry for each way a caller branches; everything else is in the message.
enum class ErrorCode { invalid, not_found, conflict, unavailable, fenced, corrupt, unsupported };

struct Error {
  ErrorCode code = ErrorCode::invalid;
  std::string message;  // one sentence: what is wrong, where, and what to do
};

template <class T>
using Result = std::expected<T, Error>;

inline std::unexpected<Error> fail(ErrorCode code, std::string message) { return std::unexpected(Error{code, std::move(message)}); }
inline std::unexpected<Error> invalid(std::string message) { return fail(ErrorCode::invalid, std::move(message)); }

}  // namespace snapward
