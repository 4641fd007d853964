// DynamoDB over the Cloud port: tables, items, expressions.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <set>

#include "services/dynamodb/value.hpp"
#include "support/world.hpp"

namespace snapward::services::dynamodb {
namespace {

using support::TestWorld;

TEST(DynamoDbValue, NumbersSortAndAdd) {
  const std::vector<std::string> ascending = {"-1E+30", "-12.5", "-12", "-1", "-0.5", "0", "0.001", "0.5", "1", "9", "10", "10.5", "1E+20"};
  for (std::size_t i = 1; i < ascending.size(); ++i)
    EXPECT_LT(sort_key(Json::object({{"N", ascending[i - 1]}})), sort_key(Json::object({{"N", ascending[i]}}))) << ascending[i];
  EXPECT_EQ(*number("01.500"), "1.5");
  EXPECT_EQ(*number("1e2"), "100");
  EXPECT_EQ(*number("-0"), "0");
  EXPECT_FALSE(number("1x"));
  EXPECT_FALSE(number("1" + std::string(37, '0') + "11"));
  EXPECT_EQ(*sum("0.1", "0.2", false), "0.3");
  EXPECT_EQ(*sum("99999999999999999999999999999999999998", "1", false), "99999999999999999999999999999999999999");
  EXPECT_EQ(*sum("1", "3", true), "-2");
  EXPECT_EQ(sum("9E+125", "9E+125", false).error(),
            "Number overflow. Attempting to store a number with magnitude larger than supported range");
  EXPECT_EQ(number("abc").error(), "The parameter cannot be converted to a numeric value: abc");
}

struct DynamoDbTest : testing::Test {
  TestWorld w;
  void SetUp() override {
    w.must("dynamodb", "CreateTable",
           R"x({"TableName":"music","KeySchema":[{"AttributeName":"artist","KeyType":"HASH"},{"AttributeName":"n","KeyType":"RANGE"}],
      "AttributeDefinitions":[{"AttributeName":"artist","AttributeType":"S"},{"AttributeName":"n","AttributeType":"N"}],"BillingMode":"PAY_PER_REQUEST"})x");
    w.must(
        "dynamodb", "CreateTable",
        R"x({"TableName":"plain","KeySchema":[{"AttributeName":"id","KeyType":"HASH"}],"AttributeDefinitions":[{"AttributeName":"id","AttributeType":"S"}],"BillingMode":"PAY_PER_REQUEST"})x");
  }
  std::string updated(const std::string& expression, const std::string& values = "{}", const std::string& more = "") {
    const std::string with = values == "{}" ? "" : R"x(,"ExpressionAttributeValues":)x" + values;
    const auto reply = w.call("dynamodb", "UpdateItem",
                              R"x({"TableName":"plain","Key":{"id":{"S":"1"}},"ReturnValues":"ALL_NEW","UpdateExpression":")x" +
                                  expression + '"' + with + more + "}");
    return reply ? (*reply)["Attributes"].dump() : reply.error().code + ": " + reply.error().message;
  }
  std::vector<std::string> queried(const std::string& more, const char* operation = "Query") {
    const Json reply = w.must("dynamodb", operation, R"x({"TableName":"music",)x" + more + "}");
    std::vector<std::string> out;
    for (const Json& item : reply["Items"].items()) out.emplace_back(item["n"]["N"].string_or());
    return out;
  }
};

TEST_F(DynamoDbTest, ItemsAreKeptByTheirKey) {
  w.must("dynamodb", "PutItem", R"x({"TableName":"plain","Item":{"id":{"S":"1"},"v":{"N":"1.50"},"b":{"B":"\u0000x"}}})x");
  w.restart();
  EXPECT_EQ(w.must("dynamodb", "GetItem", R"x({"TableName":"plain","Key":{"id":{"S":"1"}}})x")["Item"].dump(),
            R"x({"id":{"S":"1"},"v":{"N":"1.5"},"b":{"B":"\u0000x"}})x");
  EXPECT_EQ(w.must("dynamodb", "GetItem", R"x({"TableName":"plain","Key":{"id":{"S":"2"}}})x").dump(), "{}");
  EXPECT_EQ(w.refusal("dynamodb", "GetItem", R"x({"TableName":"nothing","Key":{"id":{"S":"2"}}})x"),
            "ResourceNotFoundException: Requested resource not found");
  EXPECT_EQ(w.refusal("dynamodb", "GetItem", R"x({"TableName":"plain","Key":{"id":{"N":"2"}}})x"),
            "ValidationException: The provided key element does not match the schema");
  EXPECT_EQ(w.refusal("dynamodb", "PutItem", R"x({"TableName":"plain","Item":{"x":{"S":"1"}}})x"),
            "ValidationException: One or more parameter values were invalid: Missing the key id in the item");
  EXPECT_EQ(w.refusal("dynamodb", "PutItem",
                      R"x({"TableName":"plain","Item":{"id":{"S":"1"}},"ConditionExpression":"attribute_not_exists(id)"})x"),
            "ConditionalCheckFailedException: The conditional request failed");
  const Json old = w.must(
      "dynamodb", "DeleteItem",
      R"x({"TableName":"plain","Key":{"id":{"S":"1"}},"ReturnValues":"ALL_OLD","ConditionExpression":"v = :v","ExpressionAttributeValues":{":v":{"N":"1.5"}}})x");
  EXPECT_EQ(old["Attributes"]["v"]["N"].string_or(), "1.5");
  EXPECT_EQ(w.must("dynamodb", "DescribeTable", R"x({"TableName":"plain"})x")["Table"]["ItemCount"].integer_or(-1), 0);
}

// Value by value an item could be nested until the row could not be read any more.
TEST_F(DynamoDbTest, AnItemIsNotNestedTooDeepByUpdates) {
  const auto nested = [](int levels) {
    std::string value = R"({"S":"x"})";
    for (int i = 0; i < levels; ++i) value = R"({"M":{"a":)" + value + "}}";
    return R"({":v":)" + value + '}';
  };
  std::string path = "a";
  EXPECT_TRUE(updated("SET a = :v", nested(20)).starts_with(R"({"id")"));
  for (int i = 0; i < 20; ++i) path += ".a";
  EXPECT_TRUE(updated("SET " + path + " = :v", nested(12)).starts_with(R"({"id")")) << "32 levels";
  EXPECT_EQ(
      updated("SET " + path + " = :v", nested(13)),
      "ValidationException: Nesting Levels have exceeded supported limits: Attributes in the item have nested levels beyond supported "
      "limit");
}

TEST_F(DynamoDbTest, Updates) {
  EXPECT_EQ(
      updated("SET a = :a, l = :l, m = :m", R"x({":a":{"N":"1"},":l":{"L":[{"S":"x"},{"S":"y"},{"S":"z"}]},":m":{"M":{"k":{"S":"v"}}}})x"),
      R"x({"id":{"S":"1"},"a":{"N":"1"},"l":{"L":[{"S":"x"},{"S":"y"},{"S":"z"}]},"m":{"M":{"k":{"S":"v"}}}})x");
  EXPECT_EQ(
      updated("SET a = a + :one, c = if_not_exists(c, :one) REMOVE l[0], l[2] ADD s :s", R"x({":one":{"N":"1"},":s":{"SS":["q","p"]}})x"),
      R"x({"id":{"S":"1"},"a":{"N":"2"},"l":{"L":[{"S":"y"}]},"m":{"M":{"k":{"S":"v"}}},"c":{"N":"1"},"s":{"SS":["p","q"]}})x");
  EXPECT_EQ(
      updated("SET m.k2 = m.k, l = list_append(l, :l) DELETE s :s REMOVE a, c", R"x({":l":{"L":[{"NULL":true}]},":s":{"SS":["p","q"]}})x"),
      R"x({"id":{"S":"1"},"l":{"L":[{"S":"y"},{"NULL":true}]},"m":{"M":{"k":{"S":"v"},"k2":{"S":"v"}}}})x");
  EXPECT_EQ(
      updated("SET id = :v", R"x({":v":{"S":"2"}})x"),
      "ValidationException: One or more parameter values were invalid: Cannot update attribute id. This attribute is part of the key");
  EXPECT_EQ(updated("SET x = absent", "{}"),
            "ValidationException: The provided expression refers to an attribute that does not exist in the item");
  EXPECT_EQ(updated("SET x.y = :v", R"x({":v":{"S":"2"}})x"),
            "ValidationException: The document path provided in the update expression is invalid for update");
  EXPECT_EQ(updated("SET x = :v", R"x({":v":{"S":"2"},":w":{"S":"2"}})x"),
            "ValidationException: Value provided in ExpressionAttributeValues unused in expressions: keys: {:w}");
  EXPECT_TRUE(updated("SET x = = :v", R"x({":v":{"S":"2"}})x")
                  .starts_with("ValidationException: Invalid UpdateExpression: Syntax error; token: \"=\""));
}

TEST_F(DynamoDbTest, QueriesFollowTheKeys) {
  for (const char* n : {"10", "9", "-3", "2.5"})
    w.must("dynamodb", "PutItem",
           std::string(R"x({"TableName":"music","Item":{"artist":{"S":"a"},"even":{"BOOL":)x") +
               (std::string(n) == "10" ? "true" : "false") + R"x(},"n":{"N":")x" + n + "\"}}}");
  w.must("dynamodb", "PutItem", R"x({"TableName":"music","Item":{"artist":{"S":"ab"},"n":{"N":"1"}}})x");
  const std::string of_a = R"x("KeyConditionExpression":"artist = :a","ExpressionAttributeValues":{":a":{"S":"a"}})x";
  EXPECT_EQ(queried(of_a), (std::vector<std::string>{"-3", "2.5", "9", "10"}));
  EXPECT_EQ(queried(of_a + R"x(,"ScanIndexForward":false,"Limit":2)x"), (std::vector<std::string>{"10", "9"}));
  const auto where = [&](const std::string& condition, const std::string& more = "") {
    return queried(R"x("KeyConditionExpression":"artist = :a AND n )x" + condition +
                   R"x(","ExpressionAttributeValues":{":a":{"S":"a"},":n":{"N":"9"}})x" + more);
  };
  EXPECT_EQ(where("< :n"), (std::vector<std::string>{"-3", "2.5"}));
  EXPECT_EQ(where("<= :n"), (std::vector<std::string>{"-3", "2.5", "9"}));
  EXPECT_EQ(where("> :n"), std::vector<std::string>{"10"});
  EXPECT_EQ(where(">= :n"), (std::vector<std::string>{"9", "10"}));
  EXPECT_EQ(where("= :n"), std::vector<std::string>{"9"});
  EXPECT_EQ(where("< :n", R"x(,"Limit":1,"ScanIndexForward":false)x"), std::vector<std::string>{"2.5"});
  EXPECT_EQ(where("> :n", R"x(,"Limit":1)x"), std::vector<std::string>{"10"});
  EXPECT_EQ(queried(of_a + R"x(,"ScanIndexForward":false,"ExclusiveStartKey":{"artist":{"S":"a"},"n":{"N":"9"}})x"),
            (std::vector<std::string>{"2.5", "-3"}));
  EXPECT_EQ(
      queried(
          R"x("KeyConditionExpression":"#a = :a AND n BETWEEN :x AND :y","ExpressionAttributeNames":{"#a":"artist"},"ExpressionAttributeValues":{":a":{"S":"a"},":x":{"N":"2.5"},":y":{"N":"9"}})x"),
      (std::vector<std::string>{"2.5", "9"}));
  EXPECT_EQ(
      queried(
          R"x("KeyConditionExpression":"artist = :a","FilterExpression":"NOT (even = :f OR size(title) > :n)","ExpressionAttributeValues":{":a":{"S":"a"},":f":{"BOOL":false},":n":{"N":"5"}})x"),
      std::vector<std::string>{"10"});
  EXPECT_EQ(
      queried(
          R"x("FilterExpression":"begins_with(artist, :p) AND n IN (:x, :y)","ExpressionAttributeValues":{":p":{"S":"a"},":x":{"N":"1.0"},":y":{"N":"9"}})x",
          "Scan")
          .size(),
      2U);
  const Json page = w.must("dynamodb", "Scan", R"x({"TableName":"music","Limit":3,"Select":"COUNT"})x");
  EXPECT_EQ(page["Count"].integer_or(0), 3);
  EXPECT_TRUE(page.find("LastEvaluatedKey"));
  EXPECT_EQ(w.refusal("dynamodb", "Query",
                      R"x({"TableName":"music","KeyConditionExpression":"n = :a","ExpressionAttributeValues":{":a":{"N":"1"}}})x"),
            "ValidationException: Query condition missed key schema element: artist");
  w.must("dynamodb", "DeleteTable", R"x({"TableName":"music"})x");
  EXPECT_TRUE(w.refusal("dynamodb", "Scan", R"x({"TableName":"music"})x").starts_with("ResourceNotFoundException"));
}

TEST_F(DynamoDbTest, WhatDynamoDbRefusesIsRefused) {
  const std::string invalid = "ValidationException: ";
  EXPECT_EQ(updated("SET name = :v", R"x({":v":{"S":"2"}})x"),
            invalid + "Invalid UpdateExpression: Attribute name is a reserved keyword; reserved keyword: name");
  EXPECT_EQ(updated("SET a.Status = :v", R"x({":v":{"S":"2"}})x"),
            invalid + "Invalid UpdateExpression: Attribute name is a reserved keyword; reserved keyword: Status");
  EXPECT_EQ(updated("SET #n = :v", R"x({":v":{"S":"2"}})x", R"x(,"ExpressionAttributeNames":{"#n":"name"})x"),
            R"x({"id":{"S":"1"},"name":{"S":"2"}})x");
  EXPECT_EQ(updated("SET a.b = :v REMOVE a", R"x({":v":{"S":"2"}})x"),
            invalid +
                "Invalid UpdateExpression: Two document paths overlap with each other; must remove or rewrite one of these paths; path "
                "one: [a, b], path two: [a]");
  EXPECT_EQ(updated("SET a.b = :v, a[0] = :v", R"x({":v":{"S":"2"}})x"),
            invalid +
                "Invalid UpdateExpression: Two document paths conflict with each other; must remove or rewrite one of these paths; path "
                "one: [a, b], path two: [a, [0]]");
  EXPECT_EQ(updated("ADD a :v", R"x({":v":{"S":"2"}})x"),
            invalid +
                "Invalid UpdateExpression: Incorrect operand type for operator or function; operator: ADD, operand type: STRING, "
                "typeSet: ALLOWED_FOR_ADD_OPERAND");
  const auto refused = [&](const char* operation, const std::string& input) { return w.refusal("dynamodb", operation, input); };
  const std::string get = R"x({"TableName":"plain","Key":{"id":{"S":"1"}})x";
  EXPECT_EQ(refused("GetItem", get + R"x(,"ProjectionExpression":"a, a.b"})x"),
            invalid +
                "Invalid ProjectionExpression: Two document paths overlap with each other; must remove or rewrite one of these paths; "
                "path one: [a], path two: [a, b]");
  EXPECT_EQ(refused("GetItem", get + R"x(,"ExpressionAttributeNames":{}})x"), invalid + "ExpressionAttributeNames must not be empty");
  EXPECT_EQ(refused("DeleteItem", get + R"x(,"ReturnValues":"ALL_NEW"})x"), invalid + "Return values set to invalid value");
  EXPECT_EQ(refused("BatchGetItem", R"x({"RequestItems":{"plain":{"Keys":[{"id":{"S":"1"}},{"id":{"S":"1"}}]}}})x"),
            invalid + "Provided list of item keys contains duplicates");
  const std::string query = R"x({"TableName":"music","KeyConditionExpression":"artist = :a","ExpressionAttributeValues":{":a":{"S":"a"}})x";
  EXPECT_EQ(refused("Query", query + R"x(,"FilterExpression":"n > :a"})x"),
            invalid + "Filter Expression can only contain non-primary key attributes: Primary key attribute: n");
  EXPECT_EQ(refused("Query", query + R"x(,"IndexName":"i"})x"), invalid + "The table does not have the specified index: i");
  const auto table = [&](const std::string& keys, const std::string& attributes) {
    return refused("CreateTable", R"x({"TableName":"new","BillingMode":"PAY_PER_REQUEST","KeySchema":[)x" + keys +
                                      R"x(],"AttributeDefinitions":[)x" + attributes + "]}");
  };
  const std::string hash = R"x({"AttributeName":"p","KeyType":"HASH"})x", p = R"x({"AttributeName":"p","AttributeType":"S"})x";
  EXPECT_EQ(table(hash + R"x(,{"AttributeName":"s","KeyType":"HASH"})x", p),
            invalid + "Invalid KeySchema: The second KeySchemaElement is not a RANGE key type");
  EXPECT_EQ(table(hash + R"x(,{"AttributeName":"p","KeyType":"RANGE"})x", p),
            invalid + "Both the Hash Key and the Range Key element in the KeySchema have the same name");
  EXPECT_EQ(table(hash + R"x(,{"AttributeName":"s","KeyType":"RANGE"})x", p),
            invalid +
                "One or more parameter values were invalid: Some index key attributes are not defined in AttributeDefinitions. Keys: "
                "[s], AttributeDefinitions: [p]");
  EXPECT_EQ(table(hash, R"x({"AttributeName":"p","AttributeType":"BOOL"})x"),
            invalid +
                "1 validation error detected: Value 'BOOL' at 'attributeDefinitions.1.member.attributeType' failed to satisfy "
                "constraint: Member must satisfy enum value set: [B, N, S]");
  EXPECT_EQ(refused("Scan", R"x({"TableName":"t"})x"),
            invalid +
                "1 validation error detected: Value 't' at 'tableName' failed to satisfy constraint: Member must have length greater "
                "than or equal to 3");
}

// Scanners side by side read every item once, whichever pages they take.
TEST_F(DynamoDbTest, ATableIsScannedInSegments) {
  for (int i = 0; i < 100; ++i) w.must("dynamodb", "PutItem", fmt::format(R"x({{"TableName":"plain","Item":{{"id":{{"S":"{}"}}}}}})x", i));
  std::multiset<std::string> seen;
  std::size_t least = 100;
  for (int segment = 0; segment < 4; ++segment) {
    std::size_t here = 0;
    Json start;
    do {
      Json::Object input{{"TableName", "plain"}, {"Segment", segment}, {"TotalSegments", 4}, {"Limit", 7}};
      if (start.is_object()) input.set("ExclusiveStartKey", start);
      const Json page = w.must("dynamodb", "Scan", Json(std::move(input)));
      for (const Json& item : page["Items"].items()) seen.insert(std::string(item["id"]["S"].string_or()));
      here += page["Items"].items().size();
      start = page["LastEvaluatedKey"];
    } while (start.is_object());
    least = std::min(least, here);
  }
  EXPECT_EQ(seen.size(), 100U);
  EXPECT_EQ(std::set<std::string>(seen.begin(), seen.end()).size(), 100U);
  EXPECT_GT(least, 10U);
  EXPECT_EQ(
      w.refusal("dynamodb", "Scan", R"x({"TableName":"plain","Segment":1})x"),
      "ValidationException: The TotalSegments parameter is required but was not present in the request when Segment parameter is present");
  EXPECT_EQ(
      w.refusal("dynamodb", "Scan", R"x({"TableName":"plain","Segment":2,"TotalSegments":2})x"),
      "ValidationException: The Segment parameter is zero-based and must be less than parameter TotalSegments: Segment: 2 is not less "
      "than TotalSegments: 2");
}

TEST_F(DynamoDbTest, DeepExpressionsAreRefused) {
  for (const char* part : {"(", "NOT ", "size("}) {
    std::string deep;
    for (int i = 0; i < 800; ++i) deep += part;
    EXPECT_TRUE(w.refusal("dynamodb", "Scan", Json::object({{"TableName", "plain"}, {"FilterExpression", deep + "a"}}).dump())
                    .starts_with("ValidationException: Invalid FilterExpression: "))
        << part;
  }
}

TEST_F(DynamoDbTest, StateMachinesUseIt) {
  const Json made = w.must("states", "CreateStateMachine",
                           Json::object({{"name", "m"}, {"roleArn", "arn:aws:iam::1:role/r"}, {"definition", R"x({"StartAt":"P","States":{
    "P":{"Type":"Task","Resource":"arn:aws:states:::dynamodb:putItem","Parameters":{"TableName":"plain","Item":{"id":{"S.$":"$.id"}}},"ResultPath":"$.put","Next":"G"},
    "G":{"Type":"Task","Resource":"arn:aws:states:::aws-sdk:dynamodb:getItem","Parameters":{"TableName":"plain","Key":{"id":{"S.$":"$.id"}}},"ResultPath":"$.got","Next":"Bad"},
    "Bad":{"Type":"Task","Resource":"arn:aws:states:::dynamodb:getItem","Parameters":{"TableName":"none","Key":{"id":{"S":"x"}}},"Catch":[{"ErrorEquals":["DynamoDB.ResourceNotFoundException"],"ResultPath":"$.bad","Next":"E"}],"End":true},
    "E":{"Type":"Pass","End":true}}})x"}}));
  const Json e =
      w.must("states", "StartExecution", Json::object({{"stateMachineArn", made["stateMachineArn"]}, {"input", R"x({"id":"k"})x"}}));
  w.world->loop.settle();
  const Json done = w.must("states", "DescribeExecution", Json::object({{"executionArn", e["executionArn"]}}));
  ASSERT_EQ(done["status"].string_or(), "SUCCEEDED") << done.dump();
  const Json out = *Json::parse(done["output"].string_or());
  EXPECT_EQ(out["put"]["SdkHttpMetadata"]["HttpStatusCode"].integer_or(0), 200);
  EXPECT_EQ(out["got"].dump(), R"x({"Item":{"id":{"S":"k"}}})x");
  EXPECT_TRUE(out["bad"]["Cause"].string_or().starts_with(
      "Requested resource not found (Service: AmazonDynamoDBv2; Status Code: 400; Error Code: ResourceNotFoundException;"));
}

}  // namespace
}  // namespace snapward::services::dynamodb
