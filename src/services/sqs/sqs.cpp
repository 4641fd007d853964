#include "services/sqs/sqs.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/arn.hpp"
#include "base/text.hpp"
#include "services/sqs/checks.hpp"

namespace snapward::services::sqs {

namespace {

struct Attribute {
  const char* name;
  const char* fallback;
  std::int64_t least, most;
};
constexpr Attribute kNumbers[] = {{"VisibilityTimeout", "30", 0, 43'200},
                                  {"DelaySeconds", "0", 0, 900},
                                  {"MaximumMessageSize", "1048576", 1024, kMaxBytes},
                                  {"MessageRetentionPeriod", "345600", 60, 1'209'600},
                                  {"ReceiveMessageWaitTimeSeconds", "0", 0, 20}};
// Attributes that an empty value takes away.
constexpr std::string_view kRemovable[] = {"Policy", "RedrivePolicy", "RedriveAllowPolicy", "KmsMasterKeyId",
                                           "KmsDataKeyReusePeriodSeconds"};

bool is_removable(std::string_view name) { return std::ranges::find(kRemovable, name) != std::end(kRemovable); }

std::unexpected<cloud::Error> no_queue() {
  return cloud::error("AWS.SimpleQueueService.NonExistentQueue", "The specified queue does not exist.");
}

std::unexpected<cloud::Error> unknown_attribute(const std::string& name) {
  return cloud::error("InvalidAttributeName", fmt::format("Unknown Attribute {}.", name));
}

bool is_queue_name(std::string_view name) {
  constexpr std::size_t kLongest = 80;
  const std::string_view base = name.ends_with(".fifo") ? name.substr(0, name.size() - 5) : name;
  return !base.empty() && name.size() <= kLongest &&
         std::ranges::all_of(base, [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_'; });
}

// Attributes with "True" as "true", which SQS takes.
Json with_plain_booleans(const Json& attributes) {
  Json::Object out;
  if (attributes.is_object())
    for (const auto& [name, value] : attributes.as_object()) {
      const bool flag = name == "FifoQueue" || name == "ContentBasedDeduplication" || name == "SqsManagedSseEnabled";
      out.set(name, flag ? Json(lower(value.string_or())) : value);
    }
  return Json(std::move(out));
}

// What a queue's type has to do with an attribute; `fifo`: of the queue, which is being made or not.
std::expected<void, cloud::Error> check_fifo_attribute(const std::string& name, std::string_view value, bool fifo, bool creating) {
  if (name == "FifoQueue") {
    if (!fifo) return unknown_attribute(name);
    if (!creating && value != "true")
      return cloud::error("InvalidAttributeValue",
                          "Invalid value for the parameter FifoQueue. Reason: Modifying queue type is not supported.");
    return {};
  }
  if (name == "ContentBasedDeduplication") return fifo ? std::expected<void, cloud::Error>() : unknown_attribute(name);
  if (!fifo) return cloud::error("InvalidAttributeName", fmt::format("You can specify the {} only when FifoQueue is set to true.", name));
  const bool fits =
      name == "DeduplicationScope" ? value == "queue" || value == "messageGroup" : value == "perQueue" || value == "perMessageGroupId";
  if (!fits) return cloud::error("InvalidAttributeValue", fmt::format("Invalid value for the parameter {}.", name));
  return {};
}

}  // namespace

Json Sqs::Queue::to_row() const {
  Json::Object list;
  for (const auto& [name_, value] : attributes) list.set(name_, value);
  return Json::object({{"name", name},
                       {"region", region},
                       {"url", url},
                       {"created", created.time_since_epoch().count()},
                       {"modified", modified.time_since_epoch().count()},
                       {"attributes", std::move(list)},
                       {"tags", tags}});
}

std::int64_t Sqs::Queue::number(std::string_view attribute, std::int64_t fallback) const {
  const auto found = attributes.find(attribute);
  if (found == attributes.end()) return fallback;
  std::int64_t value = fallback;
  std::from_chars(found->second.data(), found->second.data() + found->second.size(), value);
  return value;
}

std::string_view Sqs::Queue::text(std::string_view attribute) const {
  const auto found = attributes.find(attribute);
  return found == attributes.end() ? std::string_view() : std::string_view(found->second);
}

Sqs::Sqs(Environment& env) : Service("sqs", env) {
  on("CreateQueue", [this](const Call& c) { return create_queue(c); });
  on("DeleteQueue", [this](const Call& c) { return delete_queue(c); });
  on("GetQueueUrl", [this](const Call& c) { return get_url(c); });
  on("ListQueues", [this](const Call& c) { return list_queues(c); });
  on("ListDeadLetterSourceQueues", [this](const Call& c) { return dead_letter_sources(c); });
  on("GetQueueAttributes", [this](const Call& c) { return get_attributes(c); });
  on("SetQueueAttributes", [this](const Call& c) { return set_attributes(c); });
  on("AddPermission", [this](const Call& c) { return permissions(c); });
  on("RemovePermission", [this](const Call& c) { return permissions(c); });
  on("SendMessage", [this](const Call& c) { return send(c); });
  on("SendMessageBatch", [this](const Call& c) { return send_batch(c); });
  on_async("ReceiveMessage", [this](Call c) { return receive(std::move(c)); });
  on("DeleteMessage", [this](const Call& c) { return remove(c); });
  on("DeleteMessageBatch", [this](const Call& c) { return remove_batch(c); });
  on("ChangeMessageVisibility", [this](const Call& c) { return change_visibility(c); });
  on("ChangeMessageVisibilityBatch", [this](const Call& c) { return change_visibility_batch(c); });
  on("PurgeQueue", [this](const Call& c) { return purge(c); });
  on("TagQueue", [this](const Call& c) { return tags(c); });
  on("UntagQueue", [this](const Call& c) { return tags(c); });
  on("ListQueueTags", [this](const Call& c) { return tags(c); });
}

Json Sqs::resource_policy(const std::string& arn) const {
  const auto parsed = Arn::parse(arn);
  const auto queue = parsed ? queues_.find({parsed->region, parsed->resource}) : queues_.end();
  return queue == queues_.end() ? Json() : Json::parse(queue->second.text("Policy")).value_or(Json());
}

void Sqs::restore() {
  each_row("queues", [&](const std::string&, const Json& r) {
    Queue q;
    q.name = r["name"].string_or();
    q.region = r["region"].string_or();
    q.url = r["url"].string_or();
    q.created = Instant(Duration(r["created"].integer_or(0)));
    q.modified = Instant(Duration(r["modified"].integer_or(r["created"].integer_or(0))));
    q.tags = r["tags"];
    if (r["attributes"].is_object())
      for (const auto& [name, value] : r["attributes"].as_object()) q.attributes[name] = value.string_or();
    const std::pair key(q.region, q.name);
    queues_[key] = std::move(q);
  });
  const auto queue_of = [this](const std::vector<std::string>& parts) {
    const auto queue = parts.size() >= 3 ? queues_.find({parts[0], parts[1]}) : queues_.end();
    return queue == queues_.end() ? nullptr : &queue->second;
  };
  each_row("messages", [&](const std::string& row, const Json& r) {
    const auto parts = split(row, '/');
    Queue* queue = queue_of(parts);
    if (!queue) return;
    std::int64_t number = 0;
    std::from_chars(parts[2].data(), parts[2].data() + parts[2].size(), number);
    queue->messages[number] = Message::from_row(r);
    queue->next = std::max(queue->next, number + 1);
  });
  each_row("accepted", [&](const std::string& row, const Json& r) {
    Queue* queue = queue_of(split(row, '/'));
    if (!queue) return;
    const std::int64_t number = r["number"].integer_or(0);
    queue->accepted[std::string(r["id"].string_or())] = {
        .message_id = std::string(r["message"].string_or()), .number = number, .at = Instant(Duration(r["at"].integer_or(0)))};
    queue->next = std::max(queue->next, number + 1);
  });
}

std::string Sqs::arn(const Queue& q) const { return fmt::format("arn:aws:sqs:{}:{}:{}", q.region, env_.account, q.name); }
std::string Sqs::key(const Queue& q, std::int64_t number) const { return fmt::format("{}/{}/{:012}", q.region, q.name, number); }

// A queue URL's last part is its name; which host it was reached by does not matter.
std::expected<Sqs::Queue*, cloud::Error> Sqs::find(const Call& call) {
  const std::string url(call.input["QueueUrl"].string_or());
  const auto found = queues_.find({call.region, url.substr(url.rfind('/') + 1)});
  if (found == queues_.end()) return no_queue();
  return &found->second;
}

Reply Sqs::create_queue(const Call& call) {
  const std::string name(call.input["QueueName"].string_or());
  const Json given = with_plain_booleans(call.input["Attributes"]);
  const bool fifo = given["FifoQueue"].string_or() == "true";
  if (fifo && !name.ends_with(".fifo"))
    return cloud::error("InvalidParameterValue",
                        "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, must end with .fifo "
                        "suffix and be 1 to 80 in length");
  if (!is_queue_name(name) || (name.ends_with(".fifo") && !fifo))
    return cloud::error("InvalidParameterValue", "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length");
  Queue fresh;
  fresh.name = name;
  fresh.region = call.region;
  fresh.url = fmt::format("{}/{}/{}", env_.base_url, env_.account, name);
  fresh.created = fresh.modified = env_.loop.now();
  if (auto good = check_attributes(fresh, given, true); !good) return std::unexpected(good.error());
  for (const Attribute& a : kNumbers) fresh.attributes[a.name] = a.fallback;
  fresh.attributes["SqsManagedSseEnabled"] = given.find("KmsMasterKeyId") ? "false" : "true";
  if (fifo) {
    fresh.attributes["ContentBasedDeduplication"] = "false";
    fresh.attributes["DeduplicationScope"] = "queue";
    fresh.attributes["FifoThroughputLimit"] = "perQueue";
  }
  for (const auto& [attribute, value] : given.as_object())
    if (!is_removable(attribute) || !value.string_or().empty()) fresh.attributes[attribute] = value.string_or();
  if (call.input.find("tags")) fresh.tags = call.input["tags"];
  const std::pair id(call.region, name);
  if (const auto known = queues_.find(id); known != queues_.end()) {
    for (const auto& [attribute, value] : given.as_object())
      if (known->second.text(attribute) != fresh.text(attribute))
        return cloud::error("QueueAlreadyExists",
                            "A queue already exists with the same name and a different value for attribute " + attribute);
    return Json::object({{"QueueUrl", known->second.url}});
  }
  store(fresh);
  return Json::object({{"QueueUrl", (queues_[id] = std::move(fresh)).url}});
}

Reply Sqs::delete_queue(const Call& call) {
  const auto q = find(call);
  if (!q) return std::unexpected(q.error());
  purge(call);
  drop("queues", (*q)->region + '/' + (*q)->name);
  for (const auto& waiter : (*q)->waiters)
    if (!waiter.is_set()) env_.loop.defer([waiter] { waiter.set(false); });
  queues_.erase({(*q)->region, (*q)->name});
  return Json(Json::Object{});
}

Reply Sqs::get_url(const Call& call) {
  const auto found = queues_.find({call.region, std::string(call.input["QueueName"].string_or())});
  if (found == queues_.end()) return no_queue();
  return Json::object({{"QueueUrl", found->second.url}});
}

namespace {

// A page of queue URLs, which are in the order of the names; a token only when MaxResults was given (API Reference).
template <class Wanted>
Reply page_of_urls(const Call& call, const auto& queues, const char* member, Wanted wanted) {
  constexpr std::size_t kMost = 1000;
  const std::int64_t asked = call.input["MaxResults"].integer_or(kMost);
  if (asked < 1 || asked > static_cast<std::int64_t>(kMost))
    return invalid_value(std::to_string(asked), "MaxResults", "Value must be between 1 and 1000.");
  const auto from = page_position(call.input["NextToken"].string_or());
  if (call.input.find("NextToken") && !from) return invalid_value(call.input["NextToken"].string_or(), "NextToken", "Invalid token.");
  Json::Array out;
  Json::Object reply;
  for (const auto& [id, q] : queues) {
    if (id.first != call.region || id.second < from.value_or("") || !wanted(q)) continue;
    if (out.size() == static_cast<std::size_t>(asked)) {
      if (call.input.find("MaxResults")) reply.set("NextToken", page_token(id.second));
      break;
    }
    out.emplace_back(q.url);
  }
  reply.set_if(!out.empty() || std::string_view(member) == "queueUrls", member, out);
  return Json(std::move(reply));
}

}  // namespace

Reply Sqs::list_queues(const Call& call) {
  return page_of_urls(call, queues_, "QueueUrls",
                      [&](const Queue& q) { return q.name.starts_with(call.input["QueueNamePrefix"].string_or()); });
}

Reply Sqs::dead_letter_sources(const Call& call) {
  const auto letters = find(call);
  if (!letters) return std::unexpected(letters.error());
  return page_of_urls(call, queues_, "queueUrls", [&, target = arn(**letters)](const Queue& q) {
    const auto policy = Json::parse(q.text("RedrivePolicy"));
    return policy && (*policy)["deadLetterTargetArn"].string_or() == target;
  });
}

Reply Sqs::get_attributes(const Call& call) {
  const auto found = find(call);
  if (!found) return std::unexpected(found.error());
  const Queue& q = **found;
  std::int64_t visible = 0, hidden = 0, delayed = 0;
  for (const auto& [number, m] : q.messages) ++(m.visible <= env_.loop.now() ? visible : m.receives == 0 ? delayed : hidden);
  std::map<std::string, std::string> all(q.attributes.begin(), q.attributes.end());
  all["ApproximateNumberOfMessages"] = std::to_string(visible);
  all["ApproximateNumberOfMessagesNotVisible"] = std::to_string(hidden);
  all["ApproximateNumberOfMessagesDelayed"] = std::to_string(delayed);
  all["CreatedTimestamp"] = std::to_string(q.created.time_since_epoch().count() / 1000);
  all["LastModifiedTimestamp"] = std::to_string(q.modified.time_since_epoch().count() / 1000);
  all["QueueArn"] = arn(q);
  if (q.text("KmsMasterKeyId").empty()) all.erase("KmsDataKeyReusePeriodSeconds");
  Json::Object out;
  for (const Json& wanted : call.input["AttributeNames"].items()) {
    const std::string name(wanted.string_or());
    if (name == "All")
      for (const auto& [each, value] : all) out.set(each, value);
    else if (const auto one = all.find(name); one != all.end())
      out.set(name, one->second);
  }
  Json::Object reply;
  reply.set_if(!out.empty(), "Attributes", out);
  return Json(std::move(reply));
}

std::expected<void, cloud::Error> Sqs::check_redrive(const Queue& queue, const std::string& text) const {
  const auto invalid = [&](const std::string& reason) { return invalid_value(text, "RedrivePolicy", reason); };
  constexpr std::int64_t kMostReceives = 1000;
  const auto policy = Json::parse(text);
  if (!policy || !policy->is_object()) return invalid("Redrive policy is not a valid JSON map.");
  for (const char* name : {"deadLetterTargetArn", "maxReceiveCount"})
    if (!policy->find(name)) return invalid(fmt::format("Redrive policy does not contain mandatory attribute: {}.", name));
  const std::string count = (*policy)["maxReceiveCount"].plain();
  if (!check_number("maxReceiveCount", count, 1, kMostReceives))
    return invalid(
        fmt::format("Invalid value for maxReceiveCount: {}, valid values are from 1 to {} both inclusive.", count, kMostReceives));
  const auto target = Arn::parse((*policy)["deadLetterTargetArn"].string_or());
  const auto letters = target && target->service == "sqs" ? queues_.find({target->region, target->resource}) : queues_.end();
  if (letters == queues_.end() || target->region != queue.region) return invalid("Dead letter target does not exist.");
  if (letters->second.fifo() != queue.fifo()) return invalid("Dead-letter queue must be same type of queue as the source.");
  return {};
}

std::expected<void, cloud::Error> Sqs::check_attributes(const Queue& queue, const Json& attributes, bool creating) const {
  for (const auto& [name, value] : attributes.as_object()) {
    const std::string text(value.string_or());
    const auto* number = std::ranges::find_if(kNumbers, [&, &n = name](const Attribute& a) { return n == a.name; });
    if (number != std::end(kNumbers)) {
      if (auto good = check_number(name, text, number->least, number->most); !good) return good;
    } else if (name == "FifoQueue" || name == "ContentBasedDeduplication" || name == "DeduplicationScope" ||
               name == "FifoThroughputLimit") {
      if (auto good = check_fifo_attribute(name, text, queue.fifo(), creating); !good) return good;
    } else if (name == "RedrivePolicy" && !text.empty()) {
      if (auto good = check_redrive(queue, text); !good) return good;
    } else if (!is_removable(name) && name != "SqsManagedSseEnabled") {
      return unknown_attribute(name);
    }
  }
  if (attributes["SqsManagedSseEnabled"].string_or() == "true" && !attributes["KmsMasterKeyId"].string_or().empty())
    return cloud::error("InvalidAttributeName",
                        "You can use one type of server-side encryption (SSE) at one time. You can either enable KMS SSE or SQS SSE.");
  return {};
}

Reply Sqs::set_attributes(const Call& call) {
  const auto found = find(call);
  if (!found) return std::unexpected(found.error());
  Queue& q = **found;
  const Json given = with_plain_booleans(call.input["Attributes"]);
  if (auto good = check_attributes(q, given, false); !good) return std::unexpected(good.error());
  for (const auto& [name, value] : given.as_object()) {
    const auto* number = std::ranges::find_if(kNumbers, [&, &n = name](const Attribute& a) { return n == a.name; });
    if (!value.string_or().empty() || !is_removable(name))
      q.attributes[name] = number != std::end(kNumbers) && value.string_or().empty() ? number->fallback : std::string(value.string_or());
    else
      q.attributes.erase(name);
  }
  if (!q.text("KmsMasterKeyId").empty()) q.attributes["SqsManagedSseEnabled"] = "false";
  q.modified = env_.loop.now();
  store(q);
  return Json(Json::Object{});
}

Reply Sqs::permissions(const Call& call) {
  const auto found = find(call);
  if (!found) return std::unexpected(found.error());
  Queue& q = **found;
  const std::string_view label = call.input["Label"].string_or();
  const bool adding = call.operation == "AddPermission";
  const Json policy =
      Json::parse(q.text("Policy")).value_or(Json::object({{"Version", "2008-10-17"}, {"Id", arn(q) + "/" + env_.loop.entropy().uuid()}}));
  Json::Array statements;
  bool known = false;
  for (const Json& statement : policy["Statement"].items())
    if (statement["Sid"].string_or() == label)
      known = true;
    else
      statements.push_back(statement);
  if (known == adding) return invalid_value(label, "Label", adding ? "Already exists." : "can't find label.");
  if (adding) {
    Json::Array actions, principals;
    for (const Json& action : call.input["Actions"].items()) actions.emplace_back(fmt::format("SQS:{}", action.string_or()));
    for (const Json& account : call.input["AWSAccountIds"].items())
      principals.emplace_back(fmt::format("arn:aws:iam::{}:root", account.string_or()));
    const auto one_or_all = [](Json::Array list) { return list.size() == 1 ? list[0] : Json(std::move(list)); };
    statements.push_back(Json::object({{"Sid", label},
                                       {"Effect", "Allow"},
                                       {"Principal", Json::object({{"AWS", one_or_all(std::move(principals))}})},
                                       {"Action", one_or_all(std::move(actions))},
                                       {"Resource", arn(q)}}));
  }
  if (statements.empty()) {
    q.attributes.erase("Policy");
  } else {
    Json::Object changed = policy.as_object();
    q.attributes["Policy"] = Json(std::move(changed.set("Statement", std::move(statements)))).dump();
  }
  store(q);
  return Json(Json::Object{});
}

Reply Sqs::purge(const Call& call) {
  const auto q = find(call);
  if (!q) return std::unexpected(q.error());
  for (const auto& [number, m] : (*q)->messages) drop("messages", key(**q, number));
  for (const auto& [id, accepted] : (*q)->accepted) drop("accepted", key(**q, accepted.number));
  (*q)->messages.clear();
  (*q)->accepted.clear();
  return Json(Json::Object{});
}

Reply Sqs::tags(const Call& call) {
  const auto q = find(call);
  if (!q) return std::unexpected(q.error());
  if (call.operation == "ListQueueTags") return Json::object({{"Tags", (*q)->tags}});
  Json::Object tags = (*q)->tags.is_object() ? (*q)->tags.as_object() : Json::Object{};
  if (call.operation == "TagQueue" && call.input["Tags"].is_object())
    for (const auto& [name, value] : call.input["Tags"].as_object()) tags.set(name, value);
  for (const Json& name : call.input["TagKeys"].items()) tags.erase(name.string_or());
  (*q)->tags = Json(std::move(tags));
  store(**q);
  return Json(Json::Object{});
}

}  // namespace snapward::services::sqs
