// Lambda: functions that were uploaded, run by the Runtimes, and functions of our own, C++ coroutines registered by name, the same in
// every region. Invoke answers for both as Lambda does, so state machines call the snapshot tasks here exactly as they call them on AWS.
// Source: Lambda API Reference; Developer Guide, "Lambda quotas", "How Lambda handles errors and retries".
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "services/lambda/runtimes.hpp"
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
  void add(std::string name, Function function) { built_in_[std::move(name)] = std::move(function); }
  // Without, functions are kept but not run. They outlive the last call.
  void set_runtimes(Runtimes& runtimes) { runtimes_ = &runtimes; }
  [[nodiscard]] std::string arn(const std::string& region, const std::string& name) const;
  void restore() override;
  [[nodiscard]] Json resource_policy(const std::string& arn) const override;

 private:
  // An asynchronous invocation: accepted, and kept until its function has succeeded or has been tried three times.
  struct Pending {
    std::string id, name, qualifier, region;
    Json event;
    std::int64_t attempts = 0;
  };
  // An uploaded function. Configurations are as GetFunctionConfiguration gives them; code is in a table of its own, by digest.
  struct Uploaded {
    std::string name, region;
    Json latest;
    std::map<std::int64_t, Json> versions;
    std::int64_t next_version = 1;
    std::string published;  // the revision of `latest` that the newest version was made of
    std::map<std::string, Json> aliases;
    Json tags = Json(Json::Object{});
    std::map<std::string, Json> statements;  // of its policy, by id
    [[nodiscard]] Json to_row() const;
    static Uploaded from_row(const Json& row);
  };
  // "name", "name:qualifier", an ARN with or without qualifier.
  struct Named {
    std::string name, qualifier;
  };
  static Named named(const Json& input);

  Task<Reply> invoke(Call call);
  Task<Outcome> run(std::string region, Named function, std::string event, std::string request_id, std::string client_context);
  void keep(const Pending& p);
  void to_dead_letters(const Pending& p, const Outcome& last);
  void run_later(Pending p);
  [[nodiscard]] Json built_in(const std::string& region, const std::string& name) const;
  [[nodiscard]] std::unexpected<cloud::Error> not_found(const std::string& region, const Named& function) const;

  void register_management();  // management.cpp: everything but Invoke
  std::expected<Uploaded*, cloud::Error> uploaded(const Call& call);
  // Of a function, built in or uploaded, by its qualifier, an alias resolved.
  std::expected<Json, cloud::Error> configuration(const std::string& region, const Named& function);
  Task<std::expected<std::string, cloud::Error>> archive(std::string region, Json code);
  std::expected<void, cloud::Error> set_configuration(Json::Object& configuration, const Json& input);
  static void set_code(Json::Object& configuration, const std::string& zip);
  void keep_code(const std::string& region, const std::string& zip);
  void drop_code(const std::string& region, const std::string& digest);  // unless a function still has it
  void changed(Uploaded& f, Json::Object configuration);
  Json publish(Uploaded& f, const Json& input);
  void store(const Uploaded& f) { save("functions", f.region + '/' + f.name, f.to_row()); }
  Task<Reply> create(Call call);
  Task<Reply> update_code(Call call);
  Reply update_configuration(const Call& call);
  Reply remove(const Call& call);
  Reply put_alias(const Call& call, bool fresh);
  Reply add_permission(const Call& call);
  static Json policy_of(const Uploaded& f);

  Runtimes* runtimes_ = nullptr;
  std::map<std::string, Function, std::less<>> built_in_;
  std::map<std::pair<std::string, std::string>, Uploaded> uploaded_;  // region, name
};

}  // namespace snapward::services::lambda
