#include "services/dynamodb/dynamodb.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/arn.hpp"
#include "base/text.hpp"
#include "engine/unreadable.hpp"
#include "services/dynamodb/value.hpp"

namespace snapward::services::dynamodb {

namespace {

constexpr const char* kItems = "dynamodb.items";
constexpr std::size_t kLargestItem = 400 * 1024, kLargestPage = 1024 * 1024, kLongestExpression = 4096;

std::unexpected<cloud::Error> invalid_input(std::string message) { return cloud::error("ValidationException", std::move(message)); }

std::string prefix_of(const std::string& region, const std::string& table) { return region + '\1' + table + '\1'; }

Json key_only(const Json& item, const std::set<std::string>& names) {
  Json::Object out;
  for (const auto& name : names)
    if (const Json* value = item.find(name)) out.set(name, *value);
  return Json(std::move(out));
}

// The rows of a partition that a key condition may accept: sort keys follow the prefix in hex, which sorts as they do, and end with \1.
store::Range sorted_range(const std::string& prefix, const KeyCondition& condition) {
  using Kind = KeyCondition::Kind;
  store::Range range = store::Range::prefix(prefix);
  const auto at = [&prefix](const Json& value) { return prefix + hex_encode(sort_key(value)); };
  switch (condition.kind) {
    case Kind::any:
      break;
    case Kind::begins:
      return store::Range::prefix(at(condition.first));
    case Kind::less:
    case Kind::at_most:
      range.to = at(condition.first) + '\2';
      break;
    case Kind::greater:
    case Kind::at_least:
      range.from = at(condition.first);
      break;
    case Kind::equal:
    case Kind::between:
      range.from = at(condition.first);
      range.to = at(condition.kind == Kind::equal ? condition.first : condition.second) + '\2';
      break;
  }
  return range;
}

// The part of a table that one of several scanners reads: whole partitions, told apart by the digest of their keys.
struct Segment {
  std::uint64_t number = 0, total = 1;

  static std::expected<Segment, cloud::Error> from(const Json& input) {
    const Json *number = input.find("Segment"), *total = input.find("TotalSegments");
    if (!number && !total) return Segment{};
    if (!total)
      return invalid_input("The TotalSegments parameter is required but was not present in the request when Segment parameter is present");
    if (!number)
      return invalid_input("The Segment parameter is required but was not present in the request when parameter TotalSegments is present");
    const std::int64_t n = number->integer_or(-1), of = total->integer_or(0);
    if (of < 1 || of > 1'000'000)
      return invalid_input(
          fmt::format("1 validation error detected: Value '{}' at 'totalSegments' failed to satisfy constraint: Member must "
                      "have value {} than or equal to {}",
                      of, of < 1 ? "greater" : "less", of < 1 ? 1 : 1'000'000));
    if (n < 0 || n >= of)
      return invalid_input(
          fmt::format("The Segment parameter is zero-based and must be less than parameter TotalSegments: Segment: {} is "
                      "not less than TotalSegments: {}",
                      n, of));
    return Segment{static_cast<std::uint64_t>(n), static_cast<std::uint64_t>(of)};
  }
  // `key`: of a row, behind the table's name; its partition ends with \1.
  [[nodiscard]] bool has(std::string_view key) const {
    if (total == 1) return true;
    const std::string digest = sha256(key.substr(0, key.find('\1')));
    std::uint64_t n = 0;
    for (std::size_t i = 0; i < 8; ++i) n = n << 8U | static_cast<unsigned char>(digest[i]);
    return n % total == number;
  }
};

void add_capacity(Json::Object& reply, const Json& input, const std::string& table) {
  const std::string_view wanted = input["ReturnConsumedCapacity"].string_or("NONE");
  if (wanted != "NONE") reply.set("ConsumedCapacity", Json::object({{"TableName", table}, {"CapacityUnits", 1.0}}));
}

// Puts and deletions can give the item as it was, or nothing.
std::expected<void, cloud::Error> may_return(const Json& input) {
  const std::string_view wanted = input["ReturnValues"].string_or("NONE");
  if (wanted != "NONE" && wanted != "ALL_OLD") return invalid_input("Return values set to invalid value");
  return {};
}

}  // namespace

Json DynamoDb::Table::to_row() const {
  return Json::object(
      {{"id", id}, {"definition", definition}, {"created", created.time_since_epoch().count()}, {"items", items}, {"bytes", bytes}});
}

std::string DynamoDb::arn(const Table& t) const { return fmt::format("arn:aws:dynamodb:{}:{}:table/{}", t.region, env_.account, t.name); }

DynamoDb::DynamoDb(Environment& env) : Service("dynamodb", env) {
  on("CreateTable", [this](const Call& c) { return create_table(c); });
  on("DeleteTable", [this](const Call& c) { return delete_table(c); });
  on("DescribeTable", [this](const Call& c) -> Reply {
    const auto table = table_of(c.region, c.input["TableName"]);
    if (!table)
      return cloud::error("ResourceNotFoundException",
                          fmt::format("Requested resource not found: Table: {} not found", c.input["TableName"].string_or()));
    return Json::object({{"Table", describe(**table, "ACTIVE")}});
  });
  on("ListTables", [this](const Call& c) { return list_tables(c); });
  on("PutItem", [this](const Call& c) { return put(c); });
  on("GetItem", [this](const Call& c) { return get(c); });
  on("DeleteItem", [this](const Call& c) { return remove(c); });
  on("UpdateItem", [this](const Call& c) { return update_item(c); });
  on("Query", [this](const Call& c) { return query(c, false); });
  on("Scan", [this](const Call& c) { return query(c, true); });
  on("BatchWriteItem", [this](const Call& c) { return batch_write(c); });
  on("BatchGetItem", [this](const Call& c) { return batch_get(c); });
}

void DynamoDb::restore() {
  each_row("tables", [&](const std::string& key, const Json& r) {
    const std::size_t mark = key.find('\1');
    Table& t = tables_[{key.substr(0, mark), key.substr(mark + 1)}];
    t.region = key.substr(0, mark);
    t.name = key.substr(mark + 1);
    t.id = r["id"].string_or();
    t.definition = r["definition"];
    t.created = Instant(Duration(r["created"].integer_or(0)));
    t.items = r["items"].integer_or(0);
    t.bytes = r["bytes"].integer_or(0);
    for (const Json& k : t.definition["KeySchema"].items())
      (k["KeyType"].string_or() == "HASH" ? t.partition : t.sort) = k["AttributeName"].string_or();
    for (const Json& a : t.definition["AttributeDefinitions"].items())
      t.types[std::string(a["AttributeName"].string_or())] = a["AttributeType"].string_or();
  });
}

// ── Tables ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

std::expected<DynamoDb::Table*, cloud::Error> DynamoDb::table_of(const std::string& region, const Json& name) {
  std::string given(name.string_or());
  if (const auto parsed = Arn::parse(given)) given = parsed->resource_id("table").value_or("");
  const auto found = tables_.find({region, given});
  if (found != tables_.end()) return &found->second;
  const char* wrong = nullptr;
  if (!std::ranges::all_of(given, [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-' || c == '.'; }))
    wrong = "satisfy regular expression pattern: [a-zA-Z0-9_.-]+";
  else if (given.size() < 3)
    wrong = "have length greater than or equal to 3";
  else if (given.size() > 255)
    wrong = "have length less than or equal to 255";
  if (wrong)
    return invalid_input(
        fmt::format("1 validation error detected: Value '{}' at 'tableName' failed to satisfy constraint: Member must {}", given, wrong));
  return cloud::error("ResourceNotFoundException", "Requested resource not found");
}

Json DynamoDb::describe(const Table& t, const char* status) const {
  Json::Object out;
  const Json& d = t.definition;
  out.set("AttributeDefinitions", d["AttributeDefinitions"]).set("TableName", t.name).set("KeySchema", d["KeySchema"]);
  out.set("TableStatus", status).set("CreationDateTime", iso_millis(t.created));
  const bool on_demand = d["BillingMode"].string_or() == "PAY_PER_REQUEST";
  out.set("ProvisionedThroughput", Json::object({{"NumberOfDecreasesToday", 0},
                                                 {"ReadCapacityUnits", d["ProvisionedThroughput"]["ReadCapacityUnits"].integer_or(0)},
                                                 {"WriteCapacityUnits", d["ProvisionedThroughput"]["WriteCapacityUnits"].integer_or(0)}}));
  out.set("TableSizeBytes", t.bytes).set("ItemCount", t.items).set("TableArn", arn(t)).set("TableId", t.id);
  if (on_demand) out.set("BillingModeSummary", Json::object({{"BillingMode", "PAY_PER_REQUEST"}}));
  out.set("DeletionProtectionEnabled", d["DeletionProtectionEnabled"].bool_or(false));
  return Json(std::move(out));
}

// KeySchema and AttributeDefinitions of a new table.
std::expected<void, cloud::Error> DynamoDb::read_keys(const Json& in, Table& t) {
  const auto& schema = in["KeySchema"].items();
  if (schema.size() > 2)
    return invalid_input(
        fmt::format("1 validation error detected: Value '{}' at 'keySchema' failed to satisfy constraint: Member must "
                    "have length less than or equal to 2",
                    in["KeySchema"].dump()));
  for (std::size_t i = 0; i < schema.size(); ++i) {
    if (schema[i]["KeyType"].string_or() != (i == 0 ? "HASH" : "RANGE"))
      return invalid_input(i == 0 ? "Invalid KeySchema: The first KeySchemaElement is not a HASH key type"
                                  : "Invalid KeySchema: The second KeySchemaElement is not a RANGE key type");
    (i == 0 ? t.partition : t.sort) = schema[i]["AttributeName"].string_or();
  }
  if (t.partition == t.sort) return invalid_input("Both the Hash Key and the Range Key element in the KeySchema have the same name");
  std::string defined;
  const auto& definitions = in["AttributeDefinitions"].items();
  for (std::size_t i = 0; i < definitions.size(); ++i) {
    const std::string name(definitions[i]["AttributeName"].string_or()), type(definitions[i]["AttributeType"].string_or());
    if (type != "S" && type != "N" && type != "B")
      return invalid_input(
          fmt::format("1 validation error detected: Value '{}' at 'attributeDefinitions.{}.member.attributeType' failed to "
                      "satisfy constraint: Member must satisfy enum value set: [B, N, S]",
                      type, i + 1));
    t.types[name] = type;
    defined += (defined.empty() ? "" : ", ") + name;
  }
  for (const auto& key : t.keys())
    if (!t.types.contains(key))
      return invalid_input(
          fmt::format("One or more parameter values were invalid: Some index key attributes are not defined in AttributeDefinitions. Keys: "
                      "[{}], AttributeDefinitions: [{}]",
                      key, defined));
  if (t.types.size() != t.keys().size())
    return invalid_input(
        "One or more parameter values were invalid: Number of attributes in KeySchema does not exactly match number of attributes defined "
        "in AttributeDefinitions");
  return {};
}

Reply DynamoDb::create_table(const Call& call) {
  const Json& in = call.input;
  const std::string name(in["TableName"].string_or());
  if (const auto known = table_of(call.region, in["TableName"]); known)
    return cloud::error("ResourceInUseException", fmt::format("Table already exists: {}", name));
  else if (known.error().code == "ValidationException")
    return std::unexpected(known.error());
  const bool stream = in["StreamSpecification"]["StreamEnabled"].bool_or(false);
  for (const char* later : {"GlobalSecondaryIndexes", "LocalSecondaryIndexes", "StreamSpecification"})
    if (in.find(later) && (stream || later != std::string_view("StreamSpecification")))
      return cloud::error("NotImplemented", fmt::format("Snapward's local cloud has no {} of tables.", later), 501);
  Table t;
  if (auto keyed = read_keys(in, t); !keyed) return std::unexpected(keyed.error());
  const bool on_demand = in["BillingMode"].string_or() == "PAY_PER_REQUEST";
  if (on_demand && in.find("ProvisionedThroughput"))
    return invalid_input(
        "One or more parameter values were invalid: Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is "
        "PAY_PER_REQUEST");
  if (!on_demand && !in.find("ProvisionedThroughput"))
    return invalid_input(
        "One or more parameter values were invalid: ReadCapacityUnits and WriteCapacityUnits must both be specified when BillingMode is "
        "PROVISIONED");
  t.name = name;
  t.region = call.region;
  t.id = env_.loop.entropy().uuid();
  t.definition = in;
  t.created = env_.loop.now();
  store(t);
  const Table& kept = tables_[{call.region, name}] = std::move(t);
  return Json::object({{"TableDescription", describe(kept, "CREATING")}});
}

Reply DynamoDb::delete_table(const Call& call) {
  const auto table = table_of(call.region, call.input["TableName"]);
  if (!table)
    return cloud::error("ResourceNotFoundException",
                        fmt::format("Requested resource not found: Table: {} not found", call.input["TableName"].string_or()));
  const Json last = describe(**table, "DELETING");
  const std::string name = (*table)->name;
  for (const auto& row : env_.ledger.scan(kItems, store::Range::prefix(prefix_of(call.region, name)))) env_.ledger.erase(kItems, row.key);
  drop("tables", call.region + '\1' + name);
  tables_.erase({call.region, name});
  return Json::object({{"TableDescription", last}});
}

Reply DynamoDb::list_tables(const Call& call) {
  const std::string from(call.input["ExclusiveStartTableName"].string_or());
  const auto limit = static_cast<std::size_t>(std::clamp<std::int64_t>(call.input["Limit"].integer_or(100), 1, 100));
  Json::Array out;
  bool more = false;
  for (const auto& [key, t] : tables_) {
    if (key.first != call.region || t.name <= from) continue;
    if (out.size() == limit) {
      more = true;
      break;
    }
    out.emplace_back(t.name);
  }
  Json::Object reply;
  if (more) reply.set("LastEvaluatedTableName", out.back());
  reply.set("TableNames", std::move(out));
  return Json(std::move(reply));
}

// ── Items ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

std::expected<std::string, cloud::Error> DynamoDb::key_of(const Table& t, const Json& item, bool whole) {
  if (!whole && item.is_object() && item.as_object().size() != t.keys().size())
    return invalid_input("The provided key element does not match the schema");
  std::string out = prefix_of(t.region, t.name);
  for (const std::string& name : {t.partition, t.sort}) {
    if (name.empty()) continue;
    const Json* value = item.find(name);
    if (!value)
      return invalid_input(whole ? fmt::format("One or more parameter values were invalid: Missing the key {} in the item", name)
                                 : "The provided key element does not match the schema");
    const std::string& type = t.types.at(name);
    if (type_of(*value) != type)
      return invalid_input(whole
                               ? fmt::format("One or more parameter values were invalid: Type mismatch for key {} expected: {} actual: {}",
                                             name, type, type_of(*value))
                               : "The provided key element does not match the schema");
    if ((*value)[type].string_or().empty())
      return invalid_input(
          fmt::format("One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty string "
                      "value. Key: {}",
                      name));
    out += hex_encode(sort_key(*value)) + '\1';
  }
  return out;
}

std::optional<Json> DynamoDb::read(const std::string& key) {
  const auto row = env_.ledger.get(kItems, key);
  if (!row) return std::nullopt;
  return from_row(engine::value_of_row(Json::parse(*row), kItems, key));
}

void DynamoDb::write(Table& t, const std::string& key, const std::optional<Json>& before, const std::optional<Json>& item) {
  if (item)
    env_.ledger.put(kItems, key, to_row(*item).dump());
  else
    env_.ledger.erase(kItems, key);
  t.items += (item ? 1 : 0) - (before ? 1 : 0);
  t.bytes += static_cast<std::int64_t>(item ? size_of(*item) : 0) - static_cast<std::int64_t>(before ? size_of(*before) : 0);
  store(t);
}

// The parameters of before there were expressions are refused, rather than left unheard.
std::expected<DynamoDb::Asked, cloud::Error> DynamoDb::asked(const Call& call, std::initializer_list<const char*> legacy) {
  for (const char* parameter : legacy)
    if (call.input.find(parameter))
      return cloud::error("NotImplemented",
                          fmt::format("Snapward's local cloud does not know the legacy parameter {}: use expressions.", parameter), 501);
  for (const char* expression :
       {"ConditionExpression", "FilterExpression", "UpdateExpression", "ProjectionExpression", "KeyConditionExpression"})
    if (call.input[expression].string_or().size() > kLongestExpression)
      return invalid_input(fmt::format("Invalid {}: Expression size has exceeded the maximum allowed size; expression size: {}", expression,
                                       call.input[expression].string_or().size()));
  const auto table = table_of(call.region, call.input["TableName"]);
  if (!table) return std::unexpected(table.error());
  auto with = Substitutes::from(call.input);
  if (!with) return invalid_input(with.error());
  return Asked{*table, *std::move(with)};
}

std::expected<void, cloud::Error> DynamoDb::check(const Json& input, Substitutes& with, const std::optional<Json>& item) {
  bool good = true;
  if (const Json* condition = input.find("ConditionExpression")) {
    const auto held = holds("ConditionExpression", std::string(condition->string_or()), with, item.value_or(Json(Json::Object{})));
    if (!held) return invalid_input(held.error());
    good = *held;
  }
  if (const auto unused = with.unused()) return invalid_input(*unused);
  if (!good) return cloud::error("ConditionalCheckFailedException", "The conditional request failed");
  return {};
}

Reply DynamoDb::put(const Call& call) {
  auto a = asked(call, {"Expected", "ConditionalOperator"});
  if (!a) return std::unexpected(a.error());
  if (auto may = may_return(call.input); !may) return std::unexpected(may.error());
  Json::Object item;
  if (call.input["Item"].is_object())
    for (const auto& [name, value] : call.input["Item"].as_object()) {
      auto good = checked(value);
      if (!good) return invalid_input(good.error());
      item.set(name, *std::move(good));
    }
  const Json fresh{std::move(item)};
  const auto key = key_of(*a->table, fresh, true);
  if (!key) return std::unexpected(key.error());
  if (size_of(fresh) > kLargestItem) return invalid_input("Item size has exceeded the maximum allowed size");
  const auto before = read(*key);
  if (const auto good = check(call.input, a->with, before); !good) return std::unexpected(good.error());
  write(*a->table, *key, before, fresh);
  Json::Object reply;
  if (before && call.input["ReturnValues"].string_or() == "ALL_OLD") reply.set("Attributes", *before);
  add_capacity(reply, call.input, a->table->name);
  return Json(std::move(reply));
}

Reply DynamoDb::get(const Call& call) {
  auto a = asked(call, {"AttributesToGet"});
  if (!a) return std::unexpected(a.error());
  const auto key = key_of(*a->table, call.input["Key"], false);
  if (!key) return std::unexpected(key.error());
  auto item = read(*key);
  if (const Json* projection = call.input.find("ProjectionExpression")) {
    auto part = project(std::string(projection->string_or()), a->with, item.value_or(Json(Json::Object{})));
    if (!part) return invalid_input(part.error());
    if (item) item = *std::move(part);
  }
  if (const auto unused = a->with.unused()) return invalid_input(*unused);
  Json::Object reply;
  if (item) reply.set("Item", *std::move(item));
  add_capacity(reply, call.input, a->table->name);
  return Json(std::move(reply));
}

Reply DynamoDb::remove(const Call& call) {
  auto a = asked(call, {"Expected", "ConditionalOperator"});
  if (!a) return std::unexpected(a.error());
  if (auto may = may_return(call.input); !may) return std::unexpected(may.error());
  const auto key = key_of(*a->table, call.input["Key"], false);
  if (!key) return std::unexpected(key.error());
  const auto before = read(*key);
  if (const auto good = check(call.input, a->with, before); !good) return std::unexpected(good.error());
  if (before) write(*a->table, *key, before, std::nullopt);
  Json::Object reply;
  if (before && call.input["ReturnValues"].string_or() == "ALL_OLD") reply.set("Attributes", *before);
  add_capacity(reply, call.input, a->table->name);
  return Json(std::move(reply));
}

Reply DynamoDb::update_item(const Call& call) {
  auto a = asked(call, {"AttributeUpdates", "Expected", "ConditionalOperator"});
  if (!a) return std::unexpected(a.error());
  const auto key = key_of(*a->table, call.input["Key"], false);
  if (!key) return std::unexpected(key.error());
  const auto before = read(*key);
  const Json start = before ? *before : call.input["Key"];
  Updated updated{start, {}};
  if (const Json* expression = call.input.find("UpdateExpression")) {
    auto done = update(std::string(expression->string_or()), a->with, start, a->table->keys());
    if (!done) {
      // The condition comes first: one that fails is told, whatever the update would have met.
      if (const auto good = check(call.input, a->with, before); !good && good.error().code == "ConditionalCheckFailedException")
        return std::unexpected(good.error());
      return invalid_input(done.error());
    }
    updated = *std::move(done);
  }
  if (const auto good = check(call.input, a->with, before); !good) return std::unexpected(good.error());
  if (const auto good = checked_depth(updated.item); !good) return invalid_input(good.error());
  if (size_of(updated.item) > kLargestItem) return invalid_input("Item size to update has exceeded the maximum allowed size");
  write(*a->table, *key, before, updated.item);
  Json::Object reply;
  const std::string_view wanted = call.input["ReturnValues"].string_or("NONE");
  const auto touched = [&](const Json& item) { return key_only(item, updated.touched); };
  if (wanted == "ALL_OLD" && before) reply.set("Attributes", *before);
  if (wanted == "ALL_NEW") reply.set("Attributes", updated.item);
  if (wanted == "UPDATED_OLD" && before && !touched(*before).as_object().empty()) reply.set("Attributes", touched(*before));
  if (wanted == "UPDATED_NEW" && !touched(updated.item).as_object().empty()) reply.set("Attributes", touched(updated.item));
  add_capacity(reply, call.input, a->table->name);
  return Json(std::move(reply));
}

Reply DynamoDb::query(const Call& call, bool whole) {
  auto a = asked(call, {"KeyConditions", "QueryFilter", "ScanFilter", "ConditionalOperator", "AttributesToGet"});
  if (!a) return std::unexpected(a.error());
  const Json& in = call.input;
  Table& t = *a->table;
  if (const Json* index = in.find("IndexName"))  // no table has one
    return invalid_input(fmt::format("The table does not have the specified index: {}", index->string_or()));
  const auto segment = whole ? Segment::from(in) : std::expected<Segment, cloud::Error>{};
  if (!segment) return std::unexpected(segment.error());
  std::string prefix = prefix_of(t.region, t.name);
  KeyCondition condition;
  if (!whole) {
    if (!in.find("KeyConditionExpression"))
      return invalid_input("Either the KeyConditions or KeyConditionExpression parameter must be specified in the request.");
    auto parsed = key_condition(std::string(in["KeyConditionExpression"].string_or()), a->with, t.partition, t.sort);
    if (!parsed) return invalid_input(parsed.error());
    condition = *std::move(parsed);
    if (type_of(condition.partition) != t.types[t.partition])
      return invalid_input("One or more parameter values were invalid: Condition parameter type does not match schema type");
    prefix += hex_encode(sort_key(condition.partition)) + '\1';
  }
  const bool backwards = !whole && !in["ScanIndexForward"].bool_or(true);
  store::Range range = sorted_range(prefix, condition);
  range.newest_first = backwards;
  if (const Json* start = in.find("ExclusiveStartKey")) {
    const auto key = key_of(t, *start, false);
    if (!key) return invalid_input("The provided starting key is invalid");
    if (backwards)
      range.to = range.to.empty() ? *key : std::min(range.to, *key);
    else
      range.from = std::max(range.from, *key + '\0');
  }
  const std::set<std::string> not_of = whole ? std::set<std::string>{} : t.keys();  // what a query's filter may not speak of
  const std::int64_t limit = in["Limit"].integer_or(0);
  if (in.find("Limit") && limit < 1)
    return invalid_input(
        fmt::format("1 validation error detected: Value '{}' at 'limit' failed to satisfy constraint: Member must have value greater than "
                    "or equal to 1",
                    limit));
  if (limit > 0 && segment->total == 1)
    range.limit = static_cast<std::size_t>(limit) + 2;  // whether there are more, and the bound that "<" leaves out
  Json::Array items;
  std::int64_t scanned = 0, count = 0;
  std::size_t bytes = 0;
  Json last;
  bool more = false;
  for (const auto& row : env_.ledger.scan(kItems, range)) {
    if (!segment->has(std::string_view(row.key).substr(prefix.size()))) continue;
    Json item = from_row(engine::value_of_row(Json::parse(row.value), kItems, row.key));
    if (condition.kind != KeyCondition::Kind::any && !condition.accepts(item[t.sort])) continue;
    if ((limit > 0 && scanned == limit) || bytes > kLargestPage) {
      more = true;
      break;
    }
    ++scanned;
    bytes += row.value.size();
    last = key_only(item, t.keys());
    if (const Json* filter = in.find("FilterExpression")) {
      const auto held = holds("FilterExpression", std::string(filter->string_or()), a->with, item, not_of);
      if (!held) return invalid_input(held.error());
      if (!*held) continue;
    }
    ++count;
    if (in["Select"].string_or() == "COUNT") continue;
    if (const Json* projection = in.find("ProjectionExpression")) {
      auto part = project(std::string(projection->string_or()), a->with, item);
      if (!part) return invalid_input(part.error());
      item = *std::move(part);
    }
    items.push_back(std::move(item));
  }
  if (scanned == 0) {  // nothing was looked at: the expressions are checked all the same
    const Json none{Json::Object{}};
    if (const Json* filter = in.find("FilterExpression"))
      if (const auto held = holds("FilterExpression", std::string(filter->string_or()), a->with, none, not_of); !held)
        return invalid_input(held.error());
    if (const Json* projection = in.find("ProjectionExpression"))
      if (const auto part = project(std::string(projection->string_or()), a->with, none); !part) return invalid_input(part.error());
  } else if (count == 0 && in.find("ProjectionExpression")) {
    (void)project(std::string(in["ProjectionExpression"].string_or()), a->with, Json(Json::Object{}));
  }
  if (const auto unused = a->with.unused()) return invalid_input(*unused);
  Json::Object reply;
  if (in["Select"].string_or() != "COUNT") reply.set("Items", std::move(items));
  reply.set("Count", count).set("ScannedCount", scanned);
  if (more) reply.set("LastEvaluatedKey", last);
  add_capacity(reply, in, t.name);
  return Json(std::move(reply));
}

// ── Batches ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

Reply DynamoDb::batch_write(const Call& call) {
  if (!call.input["RequestItems"].is_object()) return invalid_input("The batch write request list for a table cannot be null or empty");
  struct Change {
    Table* table;
    std::string key;
    std::optional<Json> item;
  };
  std::vector<Change> changes;  // all are checked before one is made
  std::set<std::string> seen;
  for (const auto& [name, requests] : call.input["RequestItems"].as_object()) {
    const auto table = table_of(call.region, Json(name));
    if (!table) return std::unexpected(table.error());
    for (const Json& request : requests.items()) {
      std::optional<Json> item;
      Json key = request["DeleteRequest"]["Key"];
      if (const Json* put_request = request.find("PutRequest")) {
        Json::Object good;
        for (const auto& [attribute, value] : (*put_request)["Item"].as_object()) {
          auto one = checked(value);
          if (!one) return invalid_input(one.error());
          good.set(attribute, *std::move(one));
        }
        item = Json(std::move(good));
        key = *item;
      }
      const auto row = key_of(**table, key, item.has_value());
      if (!row) return std::unexpected(row.error());
      if (!seen.insert(*row).second) return invalid_input("Provided list of item keys contains duplicates");
      changes.push_back({*table, *row, std::move(item)});
    }
  }
  if (changes.empty())
    return invalid_input(
        "1 validation error detected: Value '{}' at 'requestItems' failed to satisfy constraint: Member must have length greater than or "
        "equal to 1");
  if (changes.size() > 25) return invalid_input("Too many items requested for the BatchWriteItem call");
  for (const Change& c : changes)
    if (const auto before = read(c.key); before || c.item) write(*c.table, c.key, before, c.item);
  return Json::object({{"UnprocessedItems", Json(Json::Object{})}});
}

Reply DynamoDb::batch_get(const Call& call) {
  if (!call.input["RequestItems"].is_object()) return invalid_input("The batch get request list for a table cannot be null or empty");
  Json::Object responses;
  std::size_t total = 0;
  std::set<std::string> seen;
  for (const auto& [name, request] : call.input["RequestItems"].as_object()) {
    const auto table = table_of(call.region, Json(name));
    if (!table) return std::unexpected(table.error());
    auto with = Substitutes::from(request);
    if (!with) return invalid_input(with.error());
    Json::Array found;
    for (const Json& key : request["Keys"].items()) {
      if (++total > 100) return invalid_input("Too many items requested for the BatchGetItem call");
      const auto row = key_of(**table, key, false);
      if (!row) return std::unexpected(row.error());
      if (!seen.insert(*row).second) return invalid_input("Provided list of item keys contains duplicates");
      auto item = read(*row);
      if (!item) continue;
      if (const Json* projection = request.find("ProjectionExpression")) {
        auto part = project(std::string(projection->string_or()), *with, *item);
        if (!part) return invalid_input(part.error());
        item = *std::move(part);
      }
      found.push_back(*std::move(item));
    }
    responses.set((*table)->name, std::move(found));
  }
  return Json::object({{"Responses", std::move(responses)}, {"UnprocessedKeys", Json(Json::Object{})}});
}

}  // namespace snapward::services::dynamodb
