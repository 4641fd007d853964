// Lambda with functions of our own: C++ coroutines registered by name, the same in every region. Invoke answers as Lambda does, so
// state machines call the snapshot tasks here exactly as they call them on AWS. Uploading code is not supported.
#pragma once
#include <functional>
#include <map>
#include <string>

#include "services/service.hpp"

namespace snapward::services::lambda {

struct FunctionError {
  std::string type;     // becomes errorType, which Retry and Catch match
  std::string message;  // errorMessage
};

// What a function is given besides its event.
struct InvocationContext {
  std::string region;
  std::string request_id;
};

using Function = std::function<Task<std::expected<Json, FunctionError>>(Json event, InvocationContext context)>;

class Lambda final : public Service {
 public:
  explicit Lambda(Environment& env);
  void add(std::string name, Function function) { functions_[std::move(name)] = std::move(function); }
  [[nodiscard]] std::string arn(const std::string& region, const std::string& name) const;
  void restore() override;

 private:
  // An asynchronous invocation: accepted, and kept until its function has succeeded or has been tried three times.
  struct Pending {
    std::string id, name, region;
    Json event;
    std::int64_t attempts = 0;
  };
  Task<Reply> invoke(Call call);
  void keep(const Pending& p);
  void run(Pending p);
  [[nodiscard]] Json configuration(const std::string& region, const std::string& name) const;
  std::map<std::string, Function, std::less<>> functions_;
};

}  // namespace snapward::services::lambda
