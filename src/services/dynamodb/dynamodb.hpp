// DynamoDB, as far as state machines and small applications use it: tables with their keys, items by key, conditions and updates by
// expressions, queries and scans, batches. Items stay in the store and are read from there, in the order of their keys.
// Source: DynamoDB API Reference; Developer Guide.
#pragma once
#include <map>
#include <set>
#include <string>

#include "services/dynamodb/expression.hpp"
#include "services/service.hpp"

namespace snapward::services::dynamodb {

class DynamoDb final : public Service {
 public:
  explicit DynamoDb(Environment& env);
  void restore() override;

 private:
  struct Table {
    std::string name, region, id;
    std::string partition, sort;  // names of the key attributes; sort may be empty
    std::map<std::string, std::string> types;
    Json definition;  // what CreateTable was given
    Instant created;
    std::int64_t items = 0, bytes = 0;
    [[nodiscard]] Json to_row() const;
    [[nodiscard]] std::set<std::string> keys() const { return sort.empty() ? std::set{partition} : std::set{partition, sort}; }
  };
  // A request's table, key and what its expressions stand for.
  struct Asked {
    Table* table = nullptr;
    Substitutes with;
  };

  Reply create_table(const Call& call);
  Reply delete_table(const Call& call);
  Reply list_tables(const Call& call);
  Reply put(const Call& call);
  Reply get(const Call& call);
  Reply remove(const Call& call);
  Reply update_item(const Call& call);
  Reply query(const Call& call, bool scan);
  Reply batch_write(const Call& call);
  Reply batch_get(const Call& call);

  static std::expected<void, cloud::Error> read_keys(const Json& input, Table& table);
  std::expected<Asked, cloud::Error> asked(const Call& call, std::initializer_list<const char*> legacy);
  std::expected<Table*, cloud::Error> table_of(const std::string& region, const Json& name);
  [[nodiscard]] Json describe(const Table& table, const char* status) const;
  // The row's key of an item (whole: of an item, else of a key that must be nothing else).
  static std::expected<std::string, cloud::Error> key_of(const Table& table, const Json& item, bool whole);
  std::optional<Json> read(const std::string& key);
  void write(Table& table, const std::string& key, const std::optional<Json>& before, const std::optional<Json>& item);
  static std::expected<void, cloud::Error> check(const Json& input, Substitutes& with, const std::optional<Json>& item);
  void store(const Table& table) { save("tables", table.region + '\1' + table.name, table.to_row()); }
  [[nodiscard]] std::string arn(const Table& table) const;

  std::map<std::pair<std::string, std::string>, Table> tables_;  // region, name
};

}  // namespace snapward::services::dynamodb
