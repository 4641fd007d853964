#include "services/sqs/sqs.hpp"

#include <fmt/format.h>

#include <charconv>

#include "base/arn.hpp"
#include "base/text.hpp"

namespace snapward::services::sqs {

namespace {

constexpr std::size_t kMaxBody = 1'048'576;

struct Attribute {
  const char* name;
  const char* fallback;
  std::int64_t least, most;
};
constexpr Attribute kNumbers[] = {{"VisibilityTimeout", "30", 0, 43'200},
                                  {"DelaySeconds", "0", 0, 900},
                                  {"MaximumMessageSize", "1048576", 1024, 1'048'576},
                                  {"MessageRetentionPeriod", "345600", 60, 1'209'600},
                                  {"ReceiveMessageWaitTimeSeconds", "0", 0, 20}};

std::unexpected<cloud::Error> no_queue() {
  return cloud::error("AWS.SimpleQueueService.NonExistentQueue", "The specified queue does not exist.");
}

std::string md5(std::string_view text) { return *digest_hex("MD5", text); }

// MD5 over the sorted attributes, each with its lengths (SQS Developer Guide, "Calculating the MD5 message digest for message attributes").
std::string md5_of_attributes(const Json& attributes) {
  std::map<std::string, Json> sorted;
  for (const auto& [name, value] : attributes.as_object()) sorted[name] = value;
  std::string bytes;
  const auto add = [&](std::string_view s) {
    const auto n = static_cast<std::uint32_t>(s.size());
    for (int shift = 24; shift >= 0; shift -= 8) bytes.push_back(static_cast<char>(n >> shift & 255));
    bytes += s;
  };
  for (const auto& [name, value] : sorted) {
    const bool binary = value["DataType"].string_or().starts_with("Binary");
    add(name);
    add(value["DataType"].string_or());
    bytes.push_back(binary ? 2 : 1);
    add(value[binary ? "BinaryValue" : "StringValue"].string_or());
  }
  return md5(bytes);
}

}  // namespace

Json Sqs::Message::to_row() const {
  return Json::object({{"id", id},
                       {"body", body},
                       {"attributes", attributes},
                       {"sent", sent.time_since_epoch().count()},
                       {"visible", visible.time_since_epoch().count()},
                       {"first", first_received.time_since_epoch().count()},
                       {"receives", receives},
                       {"handle", handle}});
}

Json Sqs::Queue::to_row() const {
  Json::Object list;
  for (const auto& [name_, value] : attributes) list.set(name_, value);
  return Json::object({{"name", name},
                       {"region", region},
                       {"url", url},
                       {"created", created.time_since_epoch().count()},
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

Sqs::Sqs(Environment& env) : Service("sqs", env) {
  on("CreateQueue", [this](const Call& c) { return create_queue(c); });
  on("DeleteQueue", [this](const Call& c) { return delete_queue(c); });
  on("GetQueueUrl", [this](const Call& c) { return get_url(c); });
  on("ListQueues", [this](const Call& c) { return list_queues(c); });
  on("GetQueueAttributes", [this](const Call& c) { return get_attributes(c); });
  on("SetQueueAttributes", [this](const Call& c) { return set_attributes(c); });
  on("SendMessage", [this](const Call& c) { return send(c); });
  on("SendMessageBatch", [this](const Call& c) { return send_batch(c); });
  on_async("ReceiveMessage", [this](Call c) { return receive(std::move(c)); });
  on("DeleteMessage", [this](const Call& c) { return remove(c); });
  on("DeleteMessageBatch", [this](const Call& c) { return remove_batch(c); });
  on("ChangeMessageVisibility", [this](const Call& c) { return change_visibility(c); });
  on("PurgeQueue", [this](const Call& c) { return purge(c); });
  on("TagQueue", [this](const Call& c) { return tags(c); });
  on("UntagQueue", [this](const Call& c) { return tags(c); });
  on("ListQueueTags", [this](const Call& c) { return tags(c); });
}

Json Sqs::resource_policy(const std::string& arn) const {
  const auto parsed = Arn::parse(arn);
  const auto queue = parsed ? queues_.find({parsed->region, parsed->resource}) : queues_.end();
  if (queue == queues_.end()) return {};
  const auto policy = queue->second.attributes.find("Policy");
  return policy == queue->second.attributes.end() ? Json() : Json::parse(policy->second).value_or(Json());
}

void Sqs::restore() {
  each_row("queues", [&](const std::string&, const Json& r) {
    Queue q;
    q.name = r["name"].string_or();
    q.region = r["region"].string_or();
    q.url = r["url"].string_or();
    q.created = Instant(Duration(r["created"].integer_or(0)));
    q.tags = r["tags"];
    if (r["attributes"].is_object())
      for (const auto& [name, value] : r["attributes"].as_object()) q.attributes[name] = value.string_or();
    const std::pair key(q.region, q.name);
    queues_[key] = std::move(q);
  });
  each_row("messages", [&](const std::string& row, const Json& r) {
    const auto parts = split(row, '/');
    const auto queue = parts.size() == 3 ? queues_.find({parts[0], parts[1]}) : queues_.end();
    if (queue == queues_.end()) return;
    std::int64_t number = 0;
    std::from_chars(parts[2].data(), parts[2].data() + parts[2].size(), number);
    Message m{.id = std::string(r["id"].string_or()),
              .body = std::string(r["body"].string_or()),
              .attributes = r["attributes"],
              .sent = Instant(Duration(r["sent"].integer_or(0))),
              .visible = Instant(Duration(r["visible"].integer_or(0))),
              .first_received = Instant(Duration(r["first"].integer_or(0))),
              .receives = r["receives"].integer_or(0),
              .handle = std::string(r["handle"].string_or())};
    queue->second.messages[number] = std::move(m);
    queue->second.next = std::max(queue->second.next, number + 1);
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
  const bool fits = !name.empty() && name.size() <= 80 && std::all_of(name.begin(), name.end(), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_';
  });
  if (name.ends_with(".fifo") || call.input["Attributes"]["FifoQueue"].string_or() == "true")
    return cloud::error("AWS.SimpleQueueService.UnsupportedOperation", "FIFO queues are not supported by Snapward's local cloud.");
  if (!fits)
    return cloud::error("InvalidParameterValue", "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length");
  auto [queue, fresh] = queues_.try_emplace({call.region, name});
  Queue& q = queue->second;
  if (fresh) {
    q.name = name;
    q.region = call.region;
    q.url = fmt::format("{}/{}/{}", env_.base_url, env_.account, name);
    q.created = env_.loop.now();
    for (const Attribute& a : kNumbers) q.attributes[a.name] = a.fallback;
    if (call.input.find("tags")) q.tags = call.input["tags"];
  }
  Call set = call;
  set.input = Json::object({{"QueueUrl", q.url}, {"Attributes", call.input["Attributes"]}});
  if (fresh) {
    if (auto done = set_attributes(set); !done) {
      queues_.erase(queue);
      return done;
    }
    store(q);
  } else if (call.input["Attributes"].is_object()) {
    for (const auto& [attribute, value] : call.input["Attributes"].as_object())
      if (q.attributes[attribute] != value.string_or())
        return cloud::error("QueueAlreadyExists",
                            "A queue already exists with the same name and a different value for attribute " + attribute);
  }
  return Json::object({{"QueueUrl", q.url}});
}

Reply Sqs::delete_queue(const Call& call) {
  const auto q = find(call);
  if (!q) return std::unexpected(q.error());
  for (const auto& [number, m] : (*q)->messages) drop("messages", key(**q, number));
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

Reply Sqs::list_queues(const Call& call) {
  Json::Array out;
  for (const auto& [id, q] : queues_)
    if (id.first == call.region && id.second.starts_with(call.input["QueueNamePrefix"].string_or()) && out.size() < 1000)
      out.push_back(Json(q.url));
  Json::Object reply;
  reply.set_if(!out.empty(), "QueueUrls", out);
  return Json(std::move(reply));
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
  all["QueueArn"] = arn(q);
  Json::Object out;
  const auto& names = call.input["AttributeNames"].items();
  for (const auto& [name, value] : all)
    if (std::any_of(names.begin(), names.end(),
                    [&, &n = name](const Json& wanted) { return wanted.string_or() == "All" || wanted.string_or() == n; }))
      out.set(name, value);
  Json::Object reply;
  reply.set_if(!out.empty(), "Attributes", out);
  return Json(std::move(reply));
}

Reply Sqs::set_attributes(const Call& call) {
  const auto q = find(call);
  if (!q) return std::unexpected(q.error());
  if (!call.input["Attributes"].is_object()) return Json(Json::Object{});
  for (const auto& [name, value] : call.input["Attributes"].as_object()) {
    const std::string text(value.string_or());
    const auto* number = std::find_if(std::begin(kNumbers), std::end(kNumbers), [&, &n = name](const Attribute& a) { return n == a.name; });
    if (number != std::end(kNumbers)) {
      std::int64_t n = -1;
      const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
      if (error != std::errc{} || end != text.data() + text.size() || n < number->least || n > number->most)
        return cloud::error("InvalidAttributeValue", fmt::format("Invalid value for the parameter {}.", name));
    } else if (name != "Policy" && name != "RedrivePolicy" && name != "RedriveAllowPolicy" && name != "KmsMasterKeyId" &&
               name != "KmsDataKeyReusePeriodSeconds" && name != "SqsManagedSseEnabled" && name != "FifoQueue") {
      return cloud::error("InvalidAttributeName", fmt::format("Unknown Attribute {}.", name));
    } else if (name == "RedrivePolicy" && !text.empty()) {
      const auto policy = Json::parse(text);
      if (!policy || !Arn::parse((*policy)["deadLetterTargetArn"].string_or()))
        return cloud::error("InvalidParameterValue", fmt::format("Value {} for parameter RedrivePolicy is invalid.", text));
    }
  }
  for (const auto& [name, value] : call.input["Attributes"].as_object()) (*q)->attributes[name] = value.string_or();
  store(**q);
  return Json(Json::Object{});
}

std::expected<Json, cloud::Error> Sqs::add(Queue& q, const Json& entry) {
  const std::string body(entry["MessageBody"].string_or());
  if (body.empty()) return cloud::error("MissingParameter", "The request must contain the parameter MessageBody.");
  if (body.size() > static_cast<std::size_t>(q.number("MaximumMessageSize", static_cast<std::int64_t>(kMaxBody))))
    return cloud::error("InvalidParameterValue",
                        fmt::format("One or more parameters are invalid. Reason: Message must be shorter than {} bytes.",
                                    q.number("MaximumMessageSize", static_cast<std::int64_t>(kMaxBody))));
  const std::int64_t delay = entry["DelaySeconds"].integer_or(q.number("DelaySeconds", 0));
  if (delay < 0 || delay > 900)
    return cloud::error(
        "InvalidParameterValue",
        fmt::format("Value {} for parameter DelaySeconds is invalid. Reason: DelaySeconds must be >= 0 and <= 900.", delay));
  Message m;
  m.id = env_.loop.entropy().uuid();
  m.body = body;
  m.attributes = entry["MessageAttributes"];
  m.sent = env_.loop.now();
  m.visible = m.sent + std::chrono::seconds(delay);
  Json::Object out{{"MessageId", m.id}, {"MD5OfMessageBody", md5(body)}};
  if (m.attributes.is_object() && !m.attributes.as_object().empty()) out.set("MD5OfMessageAttributes", md5_of_attributes(m.attributes));
  const std::int64_t number = q.next++;
  save("messages", key(q, number), m.to_row());
  const Instant visible = m.visible;
  q.messages[number] = std::move(m);
  wake(q, visible);
  return Json(std::move(out));
}

// Lets one long poll look again when a message becomes visible.
void Sqs::wake(Queue& q, Instant at) {
  while (!q.waiters.empty() && q.waiters.front().is_set()) q.waiters.pop_front();
  if (q.waiters.empty()) return;
  const auto waiter = q.waiters.front();
  if (at <= env_.loop.now()) {
    q.waiters.pop_front();
    env_.loop.defer([waiter] {
      if (!waiter.is_set()) waiter.set(true);
    });
  } else {
    env_.loop.at(at, [waiter] {
      if (!waiter.is_set()) waiter.set(true);
    });
  }
}

Reply Sqs::send(const Call& call) {
  const auto q = find(call);
  if (!q) return std::unexpected(q.error());
  return add(**q, call.input);
}

Reply Sqs::send_batch(const Call& call) {
  const auto q = find(call);
  if (!q) return std::unexpected(q.error());
  const auto& entries = call.input["Entries"].items();
  if (entries.empty())
    return cloud::error("AWS.SimpleQueueService.EmptyBatchRequest",
                        "There should be at least one SendMessageBatchRequestEntry in the request.");
  if (entries.size() > 10)
    return cloud::error("AWS.SimpleQueueService.TooManyEntriesInBatchRequest", "Maximum number of entries per request are 10.");
  Json::Array good, bad;
  for (const Json& entry : entries) {
    const auto added = add(**q, entry);
    if (added) {
      Json::Object ok = added->as_object();
      good.push_back(Json(std::move(ok.set("Id", entry["Id"]))));
    } else {
      bad.push_back(
          Json::object({{"Id", entry["Id"]}, {"Code", added.error().code}, {"Message", added.error().message}, {"SenderFault", true}}));
    }
  }
  return Json::object({{"Successful", std::move(good)}, {"Failed", std::move(bad)}});
}

Json Sqs::take(Queue& q, const Json& request) {
  const Instant now = env_.loop.now();
  const std::int64_t most = request["MaxNumberOfMessages"].integer_or(1);
  const std::int64_t hide = request["VisibilityTimeout"].integer_or(q.number("VisibilityTimeout", 30));
  const auto retention = std::chrono::seconds(q.number("MessageRetentionPeriod", 345'600));
  const auto policy =
      Json::parse(q.attributes.contains("RedrivePolicy") && !q.attributes["RedrivePolicy"].empty() ? q.attributes["RedrivePolicy"] : "{}");
  std::int64_t max_receives = 0;
  std::optional<Arn> dead;
  if (policy) {
    const Json& count = (*policy)["maxReceiveCount"];
    max_receives = count.is_string() ? std::strtoll(count.plain().c_str(), nullptr, 10) : count.integer_or(0);
    dead = Arn::parse((*policy)["deadLetterTargetArn"].string_or());
  }
  const auto wants = [&](const char* list, std::string_view name) {
    for (const char* field : {list, "AttributeNames"})
      for (const Json& wanted : request[field].items())
        if (wanted.string_or() == "All" || wanted.string_or() == name) return true;
    return false;
  };
  Json::Array out;
  for (auto at = q.messages.begin(); at != q.messages.end() && static_cast<std::int64_t>(out.size()) < most;) {
    Message& m = at->second;
    if (now - m.sent > retention) {
      drop("messages", key(q, at->first));
      at = q.messages.erase(at);
      continue;
    }
    if (m.visible > now) {
      ++at;
      continue;
    }
    if (max_receives > 0 && m.receives >= max_receives && dead) {
      if (const auto letters = queues_.find({dead->region, dead->resource}); letters != queues_.end() && &letters->second != &q) {
        const std::int64_t number = letters->second.next++;
        Message moved = m;
        moved.receives = 0;
        save("messages", key(letters->second, number), moved.to_row());
        letters->second.messages[number] = std::move(moved);
        wake(letters->second, now);
        drop("messages", key(q, at->first));
        at = q.messages.erase(at);
        continue;
      }
    }
    ++m.receives;
    if (m.receives == 1) m.first_received = now;
    m.visible = now + std::chrono::seconds(hide);
    m.handle = base64_encode(fmt::format("{} {} {}", at->first, m.receives, env_.loop.entropy().hex(16)));
    save("messages", key(q, at->first), m.to_row());
    Json::Object json{{"MessageId", m.id}, {"ReceiptHandle", m.handle}, {"MD5OfBody", md5(m.body)}, {"Body", m.body}};
    Json::Object attributes;
    attributes.set_if(wants("MessageSystemAttributeNames", "SenderId"), "SenderId", env_.account);
    attributes.set_if(wants("MessageSystemAttributeNames", "SentTimestamp"), "SentTimestamp",
                      std::to_string(m.sent.time_since_epoch().count()));
    attributes.set_if(wants("MessageSystemAttributeNames", "ApproximateReceiveCount"), "ApproximateReceiveCount",
                      std::to_string(m.receives));
    attributes.set_if(wants("MessageSystemAttributeNames", "ApproximateFirstReceiveTimestamp"), "ApproximateFirstReceiveTimestamp",
                      std::to_string(m.first_received.time_since_epoch().count()));
    json.set_if(!attributes.empty(), "Attributes", attributes);
    if (m.attributes.is_object()) {
      Json::Object chosen;
      for (const auto& [name, value] : m.attributes.as_object())
        for (const Json& wanted : request["MessageAttributeNames"].items()) {
          const std::string_view w = wanted.string_or();
          if (w == "All" || w == ".*" || w == name ||
              (w.ends_with(".*") && std::string_view(name).starts_with(w.substr(0, w.size() - 1)))) {
            chosen.set(name, value);
            break;
          }
        }
      if (!chosen.empty()) {
        const std::string sum = md5_of_attributes(Json(chosen));
        json.set("MessageAttributes", std::move(chosen)).set("MD5OfMessageAttributes", sum);
      }
    }
    out.emplace_back(std::move(json));
    ++at;
  }
  return out;
}

Task<Reply> Sqs::receive(Call call) {
  auto q = find(call);
  if (!q) co_return std::unexpected(q.error());
  const std::int64_t most = call.input["MaxNumberOfMessages"].integer_or(1);
  if (most < 1 || most > 10)
    co_return cloud::error(
        "InvalidParameterValue",
        fmt::format("Value {} for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided.", most));
  const std::int64_t wait = call.input["WaitTimeSeconds"].integer_or((*q)->number("ReceiveMessageWaitTimeSeconds", 0));
  if (wait < 0 || wait > 20)
    co_return cloud::error(
        "InvalidParameterValue",
        fmt::format("Value {} for parameter WaitTimeSeconds is invalid. Reason: Must be >= 0 and <= 20, if provided.", wait));
  const Instant deadline = env_.loop.now() + std::chrono::seconds(wait);
  for (;;) {
    Json messages = take(**q, call.input);
    if (!messages.items().empty()) co_return Json::object({{"Messages", std::move(messages)}});
    if (env_.loop.now() >= deadline) co_return Json(Json::Object{});
    Future<bool> woken;
    (*q)->waiters.push_back(woken);
    Instant next = deadline;  // a hidden message may become visible before anything arrives
    for (const auto& [number, m] : (*q)->messages) next = std::min(next, std::max(m.visible, env_.loop.now() + Duration(1)));
    const auto timer = env_.loop.at(next, [woken] {
      if (!woken.is_set()) woken.set(true);
    });
    co_await woken;
    env_.loop.cancel(timer);
    q = find(call);  // it may have been deleted meanwhile
    if (!q) co_return std::unexpected(q.error());
  }
}

std::expected<void, cloud::Error> Sqs::erase(Queue& q, const std::string& handle) {
  const auto decoded = base64_decode(handle);
  std::int64_t number = 0;
  if (decoded) std::from_chars(decoded->data(), decoded->data() + decoded->size(), number);
  if (number == 0)
    return cloud::error("ReceiptHandleIsInvalid", fmt::format("The input receipt handle \"{}\" is not a valid receipt handle.", handle));
  const auto m = q.messages.find(number);
  if (m == q.messages.end()) return {};  // deleted before: fine
  drop("messages", key(q, number));
  q.messages.erase(m);
  return {};
}

Reply Sqs::remove(const Call& call) {
  const auto q = find(call);
  if (!q) return std::unexpected(q.error());
  if (auto done = erase(**q, std::string(call.input["ReceiptHandle"].string_or())); !done) return std::unexpected(done.error());
  return Json(Json::Object{});
}

Reply Sqs::remove_batch(const Call& call) {
  const auto q = find(call);
  if (!q) return std::unexpected(q.error());
  Json::Array good, bad;
  for (const Json& entry : call.input["Entries"].items()) {
    if (auto done = erase(**q, std::string(entry["ReceiptHandle"].string_or())); done)
      good.push_back(Json::object({{"Id", entry["Id"]}}));
    else
      bad.push_back(
          Json::object({{"Id", entry["Id"]}, {"Code", done.error().code}, {"Message", done.error().message}, {"SenderFault", true}}));
  }
  return Json::object({{"Successful", std::move(good)}, {"Failed", std::move(bad)}});
}

Reply Sqs::change_visibility(const Call& call) {
  const auto q = find(call);
  if (!q) return std::unexpected(q.error());
  const std::int64_t seconds = call.input["VisibilityTimeout"].integer_or(0);
  if (seconds < 0 || seconds > 43'200)
    return cloud::error("InvalidParameterValue",
                        fmt::format("Value {} for parameter VisibilityTimeout is invalid. Reason: Must be between 0 and 43200.", seconds));
  for (auto& [number, m] : (*q)->messages) {
    if (m.handle != call.input["ReceiptHandle"].string_or()) continue;
    m.visible = env_.loop.now() + std::chrono::seconds(seconds);
    save("messages", key(**q, number), m.to_row());
    wake(**q, m.visible);
    return Json(Json::Object{});
  }
  return cloud::error("ReceiptHandleIsInvalid", "The input receipt handle is invalid.");
}

Reply Sqs::purge(const Call& call) {
  const auto q = find(call);
  if (!q) return std::unexpected(q.error());
  for (const auto& [number, m] : (*q)->messages) drop("messages", key(**q, number));
  (*q)->messages.clear();
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
