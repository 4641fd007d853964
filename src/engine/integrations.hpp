// Service integrations: from a Task's Resource to the Call it means, and from the Reply to the Task's outcome, in Step Functions'
// wording. Pure. Source: Step Functions Developer Guide, "Integrating services", "AWS SDK service integrations".
#pragma once
#include <expected>
#include <optional>
#include <string>

#include "asl/execution.hpp"
#include "cloud/cloud.hpp"

namespace snapward::engine {

struct TaskContext {
  std::string region;
  std::string request_id;                    // for error causes
  std::string date;                          // of the answer, as HTTP writes it
  std::string machine = {}, execution = {};  // ARNs of who asks
};

// A resource that names no service or operation we know fails the task rather than the machine.
std::expected<cloud::Call, asl::Failure> call_for(const asl::Resource& resource, const Json& parameters, const TaskContext& context);

std::expected<Json, asl::Failure> outcome_of(const asl::Resource& resource, const cloud::Reply& reply, const TaskContext& context);

// What a .sync or .sync:2 task gives once the execution it started is over; record as Executions::find() gives it.
std::expected<Json, asl::Failure> sync_outcome(const asl::Resource& resource, const Json& record);

// asl::compile_text, and what is known of the integrations: one that there is not, and a field that an optimized integration's
// operation does not take, are diagnostics too. Of services that the local cloud has not nothing is said.
asl::Compiled compile(std::string_view definition, bool express);

// Why a mocked result cannot be what the integration's operation answers by its API model, or nothing: members named and typed as the
// model says, and, when `whole`, those it requires. Results of functions, of other jobs and of token holders may be anything.
std::optional<std::string> result_problem(const asl::Resource& resource, const Json& result, bool whole);

}  // namespace snapward::engine
