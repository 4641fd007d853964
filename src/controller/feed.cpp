#include "controller/feed.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>

#include "services/events/events.hpp"

namespace snapward::controller {

namespace {

constexpr Duration kFirstPause = std::chrono::seconds(1), kLongestPause = std::chrono::minutes(1);
constexpr std::int64_t kMostMessages = 10, kLongPoll = 20;  // SQS's own most; seconds
constexpr const char* kKept = "1209600";                    // seconds; SQS's most
constexpr const char* kHidden = "30";                       // seconds a message taken is ours alone: far longer than a commit
constexpr const char* kTarget = "queue";

using Answer = std::expected<Json, cloud::Error>;

bool is_gone(const cloud::Error& error) {
  return error.code == "AWS.SimpleQueueService.NonExistentQueue" || error.code == "QueueDoesNotExist" ||
         error.code == "ResourceNotFoundException";
}

}  // namespace

Task<std::expected<std::string, cloud::Error>> prepare(cloud::Cloud& account, std::string region, std::string pattern) {
  // Without attributes: a queue that is there is found, whatever it was told before.
  Json named = Json::object({{"QueueName", kQueue}});
  const Answer queue = co_await account.call({"sqs", region, "CreateQueue", std::move(named)});
  if (!queue) co_return std::unexpected(queue.error());
  const std::string url((*queue)["QueueUrl"].string_or());
  Json asked = Json::object({{"QueueUrl", url}, {"AttributeNames", Json::array({"QueueArn"})}});
  const Answer known = co_await account.call({"sqs", region, "GetQueueAttributes", std::move(asked)});
  if (!known) co_return std::unexpected(known.error());
  const std::string queue_arn((*known)["Attributes"]["QueueArn"].string_or());
  Json rule = Json::object({{"Name", kRule},
                            {"EventPattern", std::move(pattern)},
                            {"State", "ENABLED"},
                            {"Description", "Snapshot notifications for Snapward's controller"}});
  const Answer made = co_await account.call({"events", region, "PutRule", std::move(rule)});
  if (!made) co_return std::unexpected(made.error());
  const Json policy = Json::object(
      {{"Version", "2012-10-17"},
       {"Statement", Json::array({Json::object(
                         {{"Sid", "EventsOfTheRule"},
                          {"Effect", "Allow"},
                          {"Principal", Json::object({{"Service", "events.amazonaws.com"}})},
                          {"Action", "sqs:SendMessage"},
                          {"Resource", queue_arn},
                          {"Condition", Json::object({{"ArnEquals", Json::object({{"aws:SourceArn", (*made)["RuleArn"]}})}})}})})}});
  Json attributes = Json::object(
      {{"QueueUrl", url},
       {"Attributes", Json::object({{"Policy", policy.dump()}, {"MessageRetentionPeriod", kKept}, {"VisibilityTimeout", kHidden}})}});
  const Answer set = co_await account.call({"sqs", region, "SetQueueAttributes", std::move(attributes)});
  if (!set) co_return std::unexpected(set.error());
  Json targets = Json::object({{"Rule", kRule}, {"Targets", Json::array({Json::object({{"Id", kTarget}, {"Arn", queue_arn}})})}});
  const Answer put = co_await account.call({"events", region, "PutTargets", std::move(targets)});
  if (!put) co_return std::unexpected(put.error());
  if (const Json& refused = (*put)["FailedEntries"]; refused.is_array() && !refused.items().empty())
    co_return cloud::error(std::string(refused.items()[0]["ErrorCode"].string_or()),
                           std::string(refused.items()[0]["ErrorMessage"].string_or()));
  co_return url;
}

Task<std::expected<void, cloud::Error>> remove(cloud::Cloud& account, std::string region) {
  const auto bad = [](const Answer& answer) { return !answer && !is_gone(answer.error()); };
  Json targets = Json::object({{"Rule", kRule}, {"Ids", Json::array({kTarget})}});
  const Answer removed = co_await account.call({"events", region, "RemoveTargets", std::move(targets)});
  if (bad(removed)) co_return std::unexpected(removed.error());
  Json rule = Json::object({{"Name", kRule}});
  const Answer deleted = co_await account.call({"events", region, "DeleteRule", std::move(rule)});
  if (bad(deleted)) co_return std::unexpected(deleted.error());
  Json named = Json::object({{"QueueName", kQueue}});
  const Answer found = co_await account.call({"sqs", region, "GetQueueUrl", std::move(named)});
  if (bad(found)) co_return std::unexpected(found.error());
  if (!found) co_return std::expected<void, cloud::Error>();
  Json queue = Json::object({{"QueueUrl", (*found)["QueueUrl"]}});
  const Answer gone = co_await account.call({"sqs", region, "DeleteQueue", std::move(queue)});
  if (bad(gone)) co_return std::unexpected(gone.error());
  co_return std::expected<void, cloud::Error>();
}

Task<void> Feed::failed(cloud::Error error) {
  ++counts_.failures;
  if (std::exchange(well_, false) || pause_ == Duration(0))
    spdlog::error("{}: no events come, it is tried again: {}: {}", region_, error.code, error.message);
  pause_ = std::clamp<Duration>(2 * pause_, kFirstPause, kLongestPause);
  co_await loop_.sleep(pause_);
}

Task<void> Feed::run() {
  for (;;) {
    const Url url = co_await prepare(account_, region_, pattern_);
    if (!url) {
      co_await failed(url.error());
      continue;
    }
    spdlog::info("{}: events come from {}", region_, *url);
    well_ = true;
    for (;;) {
      Json asked = Json::object({{"QueueUrl", *url}, {"MaxNumberOfMessages", kMostMessages}, {"WaitTimeSeconds", well_ ? kLongPoll : 0}});
      const Answer got = co_await account_.call({"sqs", region_, "ReceiveMessage", std::move(asked)});
      if (!got) {
        co_await failed(got.error());
        if (is_gone(got.error())) break;  // somebody deleted the queue: it is made again
        continue;
      }
      if (!std::exchange(well_, true) && pause_ != Duration(0)) spdlog::info("{}: events come again", region_);
      pause_ = Duration(0);
      const Json& messages = (*got)["Messages"];
      if (!messages.is_array() || messages.items().empty()) continue;
      Json::Array entries;
      for (const Json& message : messages.items()) {
        co_await take(message);
        entries.push_back(Json::object({{"Id", std::to_string(entries.size())}, {"ReceiptHandle", message["ReceiptHandle"]}}));
      }
      Future<bool> durable;
      ledger_.after_commit([durable] { durable.set(true); });
      co_await durable;
      Json done = Json::object({{"QueueUrl", *url}, {"Entries", std::move(entries)}});
      // What is not deleted comes again, and begins nothing again.
      const Answer deleted = co_await account_.call({"sqs", region_, "DeleteMessageBatch", std::move(done)});
      if (!deleted) spdlog::warn("{}: messages could not be deleted, they will come again: {}", region_, deleted.error().message);
    }
  }
}

Task<void> Feed::take(Json message) {
  const auto event = Json::parse(message["Body"].string_or());
  if (!event || !event->is_object() || (*event)["id"].string_or().empty() || (*event)["source"].string_or().empty()) {
    ++counts_.dropped;
    spdlog::error("{}: a message in the queue is no event of EventBridge's and is dropped: {}", region_, message["Body"].string_or());
    co_return;
  }
  ++counts_.events;
  Json given = Json::object({{"Bus", "default"}, {"Event", *event}});
  const Answer taken = co_await here_.call({"events", region_, services::events::kReceiveEvent, std::move(given)});
  if (!taken) spdlog::error("{}: the event {} was not taken: {}", region_, (*event)["id"].string_or(), taken.error().message);
}

}  // namespace snapward::controller
