// What happens to messages: sent, received, hidden, deleted, moved to dead letters.
//
// A FIFO queue gives the messages of a group in their order: one that is hidden or delayed holds up those behind it. What it has
// accepted it does not take again for five minutes.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/arn.hpp"
#include "base/text.hpp"
#include "services/sqs/checks.hpp"
#include "services/sqs/sqs.hpp"

namespace snapward::services::sqs {

namespace {

constexpr Duration kDeduplication = std::chrono::minutes(5);
constexpr std::int64_t kMostDelay = 900, kMostVisibility = 43'200;

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

bool has_any(const Json& attributes) { return attributes.is_object() && !attributes.as_object().empty(); }

// Twenty digits that grow with the messages, in steps as AWS's do.
std::string sequence_number(std::int64_t number) { return fmt::format("188494{:014}", 96'460'467'696'128 + number * 256); }

Json failed_entry(const Json& entry, const cloud::Error& error) {
  return Json::object({{"Id", entry["Id"]}, {"Code", error.code}, {"Message", error.message}, {"SenderFault", true}});
}

// Whether a receiver asked for an attribute of the message that the queue keeps.
bool wants_system(const Json& request, std::string_view name) {
  for (const char* list : {"MessageSystemAttributeNames", "AttributeNames"})
    for (const Json& wanted : request[list].items())
      if (wanted.string_or() == "All" || wanted.string_or() == name) return true;
  return false;
}

// The sender's attributes that a receiver asked for, by name or by the beginning of the name ("Order.*").
Json chosen_attributes(const Json& attributes, const Json& names) {
  Json::Object out;
  if (attributes.is_object())
    for (const auto& [name, value] : attributes.as_object())
      for (const Json& wanted : names.items()) {
        const std::string_view w = wanted.string_or();
        const bool begins = w.ends_with(".*") && std::string_view(name).starts_with(w.substr(0, w.size() - 2));
        if (w == "All" || w == "*" || w == name || begins) {
          out.set(name, value);
          break;
        }
      }
  return Json(std::move(out));
}

}  // namespace

Json Sqs::Message::to_row() const {
  Json::Object row{{"id", id},
                   {"body", body},
                   {"attributes", attributes},
                   {"sent", sent.time_since_epoch().count()},
                   {"visible", visible.time_since_epoch().count()},
                   {"first", first_received.time_since_epoch().count()},
                   {"receives", receives},
                   {"handle", handle}};
  row.set_if(has_any(system_attributes), "system", system_attributes);
  row.set_if(!group.empty(), "group", group);
  row.set_if(!deduplication.empty(), "deduplication", deduplication);
  row.set_if(!source.empty(), "source", source);
  return Json(std::move(row));
}

Sqs::Message Sqs::Message::from_row(const Json& r) {
  return {.id = std::string(r["id"].string_or()),
          .body = std::string(r["body"].string_or()),
          .attributes = r["attributes"],
          .system_attributes = r["system"],
          .sent = Instant(Duration(r["sent"].integer_or(0))),
          .visible = Instant(Duration(r["visible"].integer_or(0))),
          .first_received = Instant(Duration(r["first"].integer_or(0))),
          .receives = r["receives"].integer_or(0),
          .handle = std::string(r["handle"].string_or()),
          .group = std::string(r["group"].string_or()),
          .deduplication = std::string(r["deduplication"].string_or()),
          .source = std::string(r["source"].string_or())};
}

// ── Sending ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

std::expected<std::string, cloud::Error> Sqs::deduplication_of(const Queue& q, const Json& entry) const {
  if (!entry.find("MessageGroupId")) return cloud::error("MissingParameter", "The request must contain the parameter MessageGroupId.");
  if (const Json* given = entry.find("MessageDeduplicationId")) return std::string(given->string_or());
  if (q.text("ContentBasedDeduplication") == "true") return hex_encode(sha256(entry["MessageBody"].string_or()));
  return cloud::error("InvalidParameterValue",
                      "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly");
}

std::expected<Json, cloud::Error> Sqs::add(Queue& q, const Json& entry) {
  if (auto good = check_message(entry, q.number("MaximumMessageSize", kMaxBytes)); !good) return std::unexpected(good.error());
  const std::int64_t queue_delay = q.number("DelaySeconds", 0), given = entry["DelaySeconds"].integer_or(q.fifo() ? 0 : queue_delay);
  if (given < 0 || given > kMostDelay) return invalid_value(std::to_string(given), "DelaySeconds", "DelaySeconds must be >= 0 and <= 900.");
  if (q.fifo() && given != 0)
    return invalid_value(std::to_string(given), "DelaySeconds", "The request include parameter that is not valid for this queue type.");
  Message m;
  m.body = entry["MessageBody"].string_or();
  m.attributes = entry["MessageAttributes"];
  m.system_attributes = entry["MessageSystemAttributes"];
  m.sent = env_.loop.now();
  m.visible = m.sent + std::chrono::seconds(q.fifo() ? queue_delay : given);
  m.group = entry["MessageGroupId"].string_or();  // a standard queue keeps it for its fairness
  m.deduplication = entry["MessageDeduplicationId"].string_or();
  Json::Object out{{"MD5OfMessageBody", md5(m.body)}};
  if (has_any(m.attributes)) out.set("MD5OfMessageAttributes", md5_of_attributes(m.attributes));
  if (has_any(m.system_attributes)) out.set("MD5OfMessageSystemAttributes", md5_of_attributes(m.system_attributes));
  std::int64_t number = q.next;
  if (q.fifo()) {
    const auto id = deduplication_of(q, entry);
    if (!id) return std::unexpected(id.error());
    m.deduplication = *id;
    std::erase_if(q.accepted, [&](const auto& known) {
      if (m.sent - known.second.at < kDeduplication) return false;
      drop("accepted", key(q, known.second.number));
      return true;
    });
    const std::string scoped = q.text("DeduplicationScope") == "messageGroup" ? m.group + '\n' + *id : *id;
    auto known = q.accepted.find(scoped);
    if (known == q.accepted.end()) known = q.accepted.find(*id);  // accepted when the whole queue was the scope
    if (known != q.accepted.end())
      return Json(std::move(out.set("MessageId", known->second.message_id).set("SequenceNumber", sequence_number(known->second.number))));
    m.id = env_.loop.entropy().uuid();
    q.accepted[scoped] = {.message_id = m.id, .number = number, .at = m.sent};
    save("accepted", key(q, number),
         Json::object({{"id", scoped}, {"message", m.id}, {"number", number}, {"at", m.sent.time_since_epoch().count()}}));
    out.set("SequenceNumber", sequence_number(number));
  } else {
    m.id = env_.loop.entropy().uuid();
  }
  out.set("MessageId", m.id);
  ++q.next;
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
  if (auto good = check_batch(call.input["Entries"], "SendMessageBatch"); !good) return std::unexpected(good.error());
  if ((*q)->fifo())
    for (const Json& entry : entries)  // refuses all of them (recorded by AWS, 2024)
      if (const auto id = deduplication_of(**q, entry); !id) return cloud::error("InvalidParameterValue", id.error().message);
  std::int64_t size = 0;
  for (const Json& entry : entries) size += size_of_message(entry);
  if (size > kMaxBytes)
    return cloud::error("AWS.SimpleQueueService.BatchRequestTooLong",
                        fmt::format("Batch requests cannot be longer than {} bytes. You have sent {} bytes.", kMaxBytes, size));
  Json::Array good, bad;
  for (const Json& entry : entries) {
    const auto added = add(**q, entry);
    if (added) {
      Json::Object ok = added->as_object();
      good.push_back(Json(std::move(ok.set("Id", entry["Id"]))));
    } else {
      bad.push_back(failed_entry(entry, added.error()));
    }
  }
  return Json::object({{"Successful", std::move(good)}, {"Failed", std::move(bad)}});
}

// ── Receiving ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────

bool Sqs::move_to_dead_letters(Queue& q, std::int64_t number) {
  if (q.messages.at(number).receives == 0) return false;
  const auto policy = Json::parse(q.text("RedrivePolicy"));
  const auto target = policy ? Arn::parse((*policy)["deadLetterTargetArn"].string_or()) : std::nullopt;
  if (!target) return false;
  const std::string most = (*policy)["maxReceiveCount"].plain();
  std::int64_t most_receives = 0;
  std::from_chars(most.data(), most.data() + most.size(), most_receives);
  const auto letters = queues_.find({target->region, target->resource});
  Message& m = q.messages.at(number);
  if (most_receives <= 0 || m.receives < most_receives || letters == queues_.end() || &letters->second == &q) return false;
  const std::int64_t moved = letters->second.next++;
  m.source = arn(q);
  save("messages", key(letters->second, moved), m.to_row());
  letters->second.messages[moved] = std::move(m);
  wake(letters->second, env_.loop.now());
  drop("messages", key(q, number));
  q.messages.erase(number);
  return true;
}

Json Sqs::receive_one(Queue& q, std::int64_t number, const Json& request) {
  Message& m = q.messages.at(number);
  const Instant now = env_.loop.now();
  ++m.receives;
  if (m.first_received == Instant()) m.first_received = now;
  m.visible = now + std::chrono::seconds(request["VisibilityTimeout"].integer_or(q.number("VisibilityTimeout", 30)));
  m.handle = base64_encode(fmt::format("{} {} {}", number, m.receives, env_.loop.entropy().hex(16)));
  save("messages", key(q, number), m.to_row());
  const auto millis = [](Instant at) { return std::to_string(at.time_since_epoch().count()); };
  const std::pair<const char*, std::string> kept[] = {
      {"SenderId", env_.account},
      {"SentTimestamp", millis(m.sent)},
      {"ApproximateReceiveCount", std::to_string(m.receives)},
      {"ApproximateFirstReceiveTimestamp", millis(m.first_received)},
      {"MessageGroupId", m.group},
      {"MessageDeduplicationId", m.deduplication},
      {"SequenceNumber", q.fifo() ? sequence_number(number) : ""},
      {"DeadLetterQueueSourceArn", m.source},
      {"AWSTraceHeader", std::string(m.system_attributes["AWSTraceHeader"]["StringValue"].string_or())}};
  Json::Object attributes;
  for (const auto& [name, value] : kept) attributes.set_if(!value.empty() && wants_system(request, name), name, value);
  Json::Object out{{"MessageId", m.id}, {"ReceiptHandle", m.handle}, {"MD5OfBody", md5(m.body)}, {"Body", m.body}};
  out.set_if(!attributes.empty(), "Attributes", attributes);
  if (Json chosen = chosen_attributes(m.attributes, request["MessageAttributeNames"]); has_any(chosen)) {
    out.set("MD5OfMessageAttributes", md5_of_attributes(chosen));
    out.set("MessageAttributes", std::move(chosen));
  }
  return Json(std::move(out));
}

void Sqs::drop_expired(Queue& q) {
  const auto retention = std::chrono::seconds(q.number("MessageRetentionPeriod", 345'600));
  const Instant now = env_.loop.now();
  std::erase_if(q.messages, [&](const auto& entry) {
    if (now - entry.second.sent <= retention) return false;
    drop("messages", key(q, entry.first));
    return true;
  });
}

// The messages that may be received now, in their order.
std::vector<std::int64_t> Sqs::receivable(Queue& q) {
  std::vector<std::int64_t> out;
  const Instant now = env_.loop.now();
  if (!q.fifo()) {
    for (const auto& [number, m] : q.messages)
      if (m.visible <= now) out.push_back(number);
    return out;
  }
  std::map<std::string, std::vector<std::int64_t>> groups;
  for (const auto& [number, m] : q.messages) groups[m.group].push_back(number);
  std::erase_if(q.turns, [&](const auto& turn) { return !groups.contains(turn.first); });
  std::map<std::pair<std::int64_t, std::int64_t>, const std::vector<std::int64_t>*> in_turn;  // by turn, then by the first message
  for (const auto& [group, numbers] : groups) {
    const auto turn = q.turns.find(group);
    in_turn[{turn == q.turns.end() ? 0 : turn->second, numbers.front()}] = &numbers;
  }
  for (const auto& [turn, numbers] : in_turn)
    for (const std::int64_t number : *numbers) {
      if (q.messages.at(number).visible > now) break;  // holds up the rest of its group
      out.push_back(number);
    }
  return out;
}

Json Sqs::take(Queue& q, const Json& request) {
  const auto most = static_cast<std::size_t>(request["MaxNumberOfMessages"].integer_or(1));
  drop_expired(q);
  Json::Array out;
  for (const std::int64_t number : receivable(q)) {
    if (out.size() == most) break;
    if (move_to_dead_letters(q, number)) continue;
    if (q.fifo()) q.turns[q.messages.at(number).group] = ++q.last_turn;
    out.push_back(receive_one(q, number, request));
  }
  return out;
}

Task<Reply> Sqs::receive(Call call) {
  auto q = find(call);
  if (!q) co_return std::unexpected(q.error());
  const std::int64_t most = call.input["MaxNumberOfMessages"].integer_or(1);
  if (most < 1 || most > 10) co_return invalid_value(std::to_string(most), "MaxNumberOfMessages", "Must be between 1 and 10, if provided.");
  const std::int64_t wait = call.input["WaitTimeSeconds"].integer_or((*q)->number("ReceiveMessageWaitTimeSeconds", 0));
  if (wait < 0 || wait > 20) co_return invalid_value(std::to_string(wait), "WaitTimeSeconds", "Must be >= 0 and <= 20, if provided.");
  const std::int64_t hide = call.input["VisibilityTimeout"].integer_or(0);
  if (hide < 0 || hide > kMostVisibility)
    co_return invalid_value(std::to_string(hide), "VisibilityTimeout", "Must be between 0 and 43200, if provided.");
  const Instant deadline = env_.loop.now() + std::chrono::seconds(wait);
  for (;;) {
    Json messages = take(**q, call.input);
    if (!messages.items().empty()) co_return Json::object({{"Messages", std::move(messages)}});
    if (env_.loop.now() >= deadline) co_return Json(Json::Object{});
    Future<bool> woken;
    (*q)->waiters.push_back(woken);
    Instant next = deadline;  // a hidden message may become visible before anything arrives
    for (const auto& [number, m] : (*q)->messages)
      if (m.visible > env_.loop.now()) next = std::min(next, m.visible);
    const auto timer = env_.loop.at(next, [woken] {
      if (!woken.is_set()) woken.set(true);
    });
    co_await woken;
    env_.loop.cancel(timer);
    q = find(call);  // it may have been deleted meanwhile
    if (!q) co_return std::unexpected(q.error());
  }
}

// ── After receiving ────────────────────────────────────────────────────────────────────────────────────────────────────────────

std::expected<std::int64_t, cloud::Error> Sqs::number_of(const std::string& handle) const {
  const auto decoded = base64_decode(handle);
  std::int64_t number = 0;
  if (decoded) std::from_chars(decoded->data(), decoded->data() + decoded->size(), number);
  if (number == 0)
    return cloud::error("ReceiptHandleIsInvalid", fmt::format("The input receipt handle \"{}\" is not a valid receipt handle.", handle));
  return number;
}

std::expected<void, cloud::Error> Sqs::erase(Queue& q, const std::string& handle) {
  const auto number = number_of(handle);
  if (!number) return std::unexpected(number.error());
  const auto m = q.messages.find(*number);
  if (m == q.messages.end()) return {};  // deleted before: fine
  if (q.fifo() && (m->second.handle != handle || m->second.visible <= env_.loop.now()))
    return invalid_value(handle, "ReceiptHandle", "The receipt handle has expired.");
  const std::string group = m->second.group;
  drop("messages", key(q, *number));
  q.messages.erase(m);
  if (q.fifo()) wake(q, env_.loop.now());  // the next one of the group
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
  if (auto good = check_batch(call.input["Entries"], "DeleteMessageBatch"); !good) return std::unexpected(good.error());
  Json::Array good, bad;
  for (const Json& entry : call.input["Entries"].items()) {
    if (auto done = erase(**q, std::string(entry["ReceiptHandle"].string_or())); done)
      good.push_back(Json::object({{"Id", entry["Id"]}}));
    else
      bad.push_back(failed_entry(entry, done.error()));
  }
  return Json::object({{"Successful", std::move(good)}, {"Failed", std::move(bad)}});
}

std::expected<void, cloud::Error> Sqs::change_visibility(Queue& q, const Json& entry) {
  const std::int64_t seconds = entry["VisibilityTimeout"].integer_or(0);
  if (seconds < 0 || seconds > kMostVisibility)
    return invalid_value(std::to_string(seconds), "VisibilityTimeout", "Must be between 0 and 43200.");
  const std::string handle(entry["ReceiptHandle"].string_or());
  const auto number = number_of(handle);
  if (!number) return std::unexpected(number.error());
  const auto found = q.messages.find(*number);
  if (found == q.messages.end())
    return invalid_value(handle, "ReceiptHandle", "Message does not exist or is not available for visibility timeout change.");
  Message& m = found->second;
  m.visible = env_.loop.now() + std::chrono::seconds(seconds);
  save("messages", key(q, *number), m.to_row());
  wake(q, m.visible);
  return {};
}

Reply Sqs::change_visibility(const Call& call) {
  const auto q = find(call);
  if (!q) return std::unexpected(q.error());
  if (auto done = change_visibility(**q, call.input); !done) return std::unexpected(done.error());
  return Json(Json::Object{});
}

Reply Sqs::change_visibility_batch(const Call& call) {
  const auto q = find(call);
  if (!q) return std::unexpected(q.error());
  if (auto good = check_batch(call.input["Entries"], "ChangeMessageVisibilityBatch"); !good) return std::unexpected(good.error());
  Json::Array good, bad;
  for (const Json& entry : call.input["Entries"].items()) {
    if (auto done = change_visibility(**q, entry); done)
      good.push_back(Json::object({{"Id", entry["Id"]}}));
    else
      bad.push_back(failed_entry(entry, done.error()));
  }
  return Json::object({{"Successful", std::move(good)}, {"Failed", std::move(bad)}});
}

}  // namespace snapward::services::sqs
