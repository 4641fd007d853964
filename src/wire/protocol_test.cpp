#include "wire/protocol.hpp"

#include <gtest/gtest.h>

#include "base/entropy.hpp"
#include "base/time.hpp"
#include "wire/codec.hpp"

namespace snapward::wire {
namespace {

// A random value of a shape. `depth` ends recursive shapes. What a protocol cannot tell apart (an empty list in a form) is not made.
class Generator {
 public:
  Generator(Entropy& entropy, bool lists_never_empty) : entropy_(entropy), never_empty_(lists_never_empty) {}

  Json value(const Ref& ref, int depth, bool header = false) {
    const Shape& shape = *ref.shape;
    switch (shape.type) {
      case ShapeType::structure:
        return structure(shape, depth);
      case ShapeType::list: {
        Json::Array out;
        for (std::size_t n = size(); n > 0; --n) out.push_back(value(shape.item, depth + 1, header));
        return out;
      }
      case ShapeType::map: {
        Json::Object out;
        for (std::size_t n = size(); n > 0; --n) out.set("k" + entropy_.hex(4), value(shape.value, depth + 1, header));
        return out;
      }
      case ShapeType::boolean:
        return entropy_.chance(0.5);
      case ShapeType::integer:
        return static_cast<std::int64_t>(entropy_.below(100'000)) - 1000;
      case ShapeType::floating:
        return Json::number(std::to_string(entropy_.below(1000)) + ".5");
      // Headers carry whole seconds.
      case ShapeType::timestamp:
        return iso_millis(Instant(Duration(static_cast<std::int64_t>(entropy_.below(4'000'000)) * 1'000'000 +
                                           (header ? 0 : static_cast<std::int64_t>(entropy_.below(1000))))));
      case ShapeType::blob:
        return Json(header ? entropy_.hex(8) : std::string("\0\xff", 2) + entropy_.hex(5));
      case ShapeType::string:
        return Json(header ? entropy_.hex(6) : "v <&> \"é\"" + entropy_.hex(6));
    }
    return {};
  }

  Json structure(const Shape& shape, int depth) {
    Json::Object out;
    for (const Member& m : shape.members) {
      if (m.ref.shape->event_stream) continue;
      const bool status = m.ref.location == Location::status_code;  // an answer always has one
      if (!m.required && !status && (depth > 3 || entropy_.chance(0.4))) continue;
      if (depth > 12) continue;
      if (m.ref.location == Location::querystring && m.ref.shape->type == ShapeType::map)
        continue;  // parameters of any name: not in what we speak
      if (m.ref.location == Location::status_code) {
        out.set(m.name, 200);
        continue;
      }
      const bool header = m.ref.location == Location::header || m.ref.location == Location::headers ||
                          m.ref.location == Location::querystring || m.ref.location == Location::uri;
      if (m.ref.location == Location::headers) {
        out.set(m.name, Json::object({{"k" + entropy_.hex(4), entropy_.hex(6)}}));
        continue;
      }
      if (m.ref.location == Location::header && m.ref.shape->type == ShapeType::list) {
        out.set(m.name, Json::array({entropy_.hex(3), entropy_.hex(3)}));
        continue;
      }
      out.set(m.name, value(m.ref, depth + 1, header));
    }
    if (out.empty() && never_empty_ && depth > 0)  // a form cannot say "an empty structure"
      for (const Member& m : shape.members)
        if (m.ref.shape->type == ShapeType::string || m.ref.shape->type == ShapeType::integer || m.ref.shape->type == ShapeType::boolean) {
          out.set(m.name, value(m.ref, depth + 1));
          return out;
        }
    if (out.empty() && never_empty_ && depth > 0 && !shape.members.empty())
      out.set(shape.members[0].name, value(shape.members[0].ref, depth + 1));
    return out;
  }

 private:
  std::size_t size() { return (never_empty_ ? 1 : 0) + entropy_.below(3); }
  Entropy& entropy_;
  bool never_empty_;
};

class EveryOperation : public testing::TestWithParam<std::string> {};

// Encode as a client, decode as a server; encode as a server, decode as a client: the same value, for every operation of the model.
TEST_P(EveryOperation, SurvivesTheWireBothWays) {
  const Service* service = find_service(GetParam());
  ASSERT_NE(service, nullptr);
  SeededEntropy entropy(42);
  std::size_t checked = 0;
  for (const auto& [name, operation] : service->operations) {
    SCOPED_TRACE(name);
    for (int round = 0; round < 3; ++round) {
      if (operation.input) {
        const Json input = Generator(entropy, service->protocol != Protocol::json).structure(*operation.input, 0);
        const HttpRequest request = encode_request(*service, operation, input);
        const auto decoded = decode_request(*service, request);
        ASSERT_TRUE(decoded) << decoded.error().code << ' ' << decoded.error().message << '\n'
                             << request.method << ' ' << request.target << '\n'
                             << request.body;
        // Two operations of one method and path (S3 has some) are told apart by what they carry.
        if (decoded->operation->name != name && decoded->operation->method == operation.method && decoded->operation->uri == operation.uri)
          continue;  // a deprecated twin
        ASSERT_EQ(decoded->operation->name, name) << request.method << ' ' << request.target;
        ASSERT_EQ(decoded->input, input) << input.dump() << '\n' << decoded->input.dump() << '\n' << request.target << '\n' << request.body;
        ++checked;
      }
      if (operation.output) {
        bool stream = false;
        for (const Member& m : operation.output->members) stream = stream || m.ref.shape->event_stream;
        if (stream) continue;
        const Json output = Generator(entropy, service->protocol == Protocol::rest_xml).structure(*operation.output, 0);
        const HttpResponse response = encode_reply(*service, service->protocol, operation, output, "id");
        const auto decoded = decode_reply(*service, operation, response);
        ASSERT_TRUE(decoded) << decoded.error().message;
        ASSERT_EQ(*decoded, output) << output.dump() << '\n' << decoded->dump() << '\n' << response.body;
        ++checked;
      }
    }
  }
  EXPECT_GT(checked, service->operations.size());
}

INSTANTIATE_TEST_SUITE_P(Services, EveryOperation, testing::ValuesIn(service_names()), [](const auto& i) { return i.param; });

// SQS is also asked in the query protocol, by older clients.
TEST(Protocol, SqsSurvivesFormsToo) {
  const Service* sqs = find_service("sqs");
  SeededEntropy entropy(7);
  for (const auto& [name, operation] : sqs->operations) {
    SCOPED_TRACE(name);
    if (!operation.input) continue;
    const Json input = Generator(entropy, true).structure(*operation.input, 0);
    HttpRequest request;
    request.body = encode_form(*sqs, operation, input);
    const auto decoded = decode_request(*sqs, request);
    ASSERT_TRUE(decoded) << decoded.error().message << '\n' << request.body;
    EXPECT_EQ(decoded->input, input) << input.dump() << '\n' << decoded->input.dump() << '\n' << request.body;
  }
}

HttpRequest form(const std::string& body) {
  HttpRequest request;
  request.body = body;
  return request;
}
HttpRequest json_call(const std::string& target, const std::string& body) {
  HttpRequest request;
  request.headers.add("X-Amz-Target", target);
  request.body = body;
  return request;
}
std::string refusal(const std::string& service, const HttpRequest& request) {
  const auto decoded = decode_request(*find_service(service), request);
  return decoded ? "accepted" : decoded.error().code + ": " + decoded.error().message;
}

TEST(Protocol, BadRequestsAreRefusedInAwsWords) {
  EXPECT_EQ(refusal("ec2", form("Action=Nonsense&Version=2016-11-15")),
            "InvalidAction: The action Nonsense is not valid for this web service.");
  EXPECT_EQ(refusal("ec2", form("")), "MissingAction: The request is missing an action or a required parameter.");
  EXPECT_EQ(refusal("ec2", form("Action=CopySnapshot&SourceRegion=us-west-2")),
            "MissingParameter: The request must contain the parameter SourceSnapshotId");
  EXPECT_EQ(refusal("ec2", form("Action=DescribeSnapshots&MaxResults=abc")),
            "InvalidParameterValue: Value (abc) for parameter MaxResults is invalid. Expected an integer.");
  EXPECT_EQ(refusal("ec2", form("Action=DescribeSnapshots&DryRun=perhaps")),
            "InvalidParameterValue: Value (perhaps) for parameter DryRun is invalid. Expected true or false.");
  EXPECT_EQ(refusal("states", json_call("AWSStepFunctions.Nonsense", "{}")), "UnknownOperationException: ");
  EXPECT_EQ(refusal("states", json_call("AWSStepFunctions.StartExecution", "{}")),
            "ValidationException: 1 validation error detected: Value null at 'stateMachineArn' failed to satisfy constraint: Member must "
            "not be null");
  EXPECT_TRUE(
      refusal("states", json_call("AWSStepFunctions.StartExecution", "{\"stateMachineArn\":7}")).starts_with("SerializationException: "));
  EXPECT_TRUE(
      refusal("states", json_call("AWSStepFunctions.StartExecution", "{\"stateMachineArn\":")).starts_with("SerializationException: "));
  EXPECT_TRUE(refusal("states", json_call("AWSStepFunctions.StartExecution", "[]")).starts_with("SerializationException: "));
}

TEST(Protocol, FormsNestAndNumber) {
  const auto decoded = decode_request(*find_service("ec2"), form("Action=CreateSnapshot&VolumeId=vol-1&TagSpecification.1.ResourceType="
                                                                 "snapshot&TagSpecification.1.Tag.2.Key=b&TagSpecification.1.Tag.2.Value=2"
                                                                 "&TagSpecification.1.Tag.10.Key=c&TagSpecification.1.Tag.10.Value=3&"
                                                                 "TagSpecification.1.Tag.1.Key=a&TagSpecification.1.Tag.1.Value=%C3%A9+1"));
  ASSERT_TRUE(decoded);
  EXPECT_EQ(
      decoded->input.dump(),
      R"({"VolumeId":"vol-1","TagSpecifications":[{"ResourceType":"snapshot","Tags":[{"Key":"a","Value":"é 1"},{"Key":"b","Value":"2"},{"Key":"c","Value":"3"}]}]})");
}

TEST(Protocol, ErrorsLookLikeAwsErrors) {
  const ApiError error{"InvalidSnapshot.NotFound", "The snapshot 'snap-<1>' does not exist.", 400, {}};
  EXPECT_EQ(encode_error(find_service("ec2"), Protocol::ec2, error, "req").body,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response><Errors><Error><Code>InvalidSnapshot.NotFound</Code><Message>The "
            "snapshot 'snap-&lt;1&gt;' does not "
            "exist.</Message></Error></Errors><RequestID>req</RequestID></Response>");
  for (const char* name : {"ec2", "sns", "states", "s3", "lambda", "sqs"}) {
    const Service* service = find_service(name);
    const HttpResponse response = encode_error(service, service->protocol, error, "req");
    EXPECT_EQ(response.status, 400);
    const auto decoded = decode_reply(*service, service->operations.begin()->second, response);
    ASSERT_FALSE(decoded) << name;
    EXPECT_EQ(decoded.error().code, error.code) << name;
    EXPECT_EQ(decoded.error().message, error.message) << name;
  }
  // Some services write the member in capitals; clients read it by that name.
  const auto body = [&](const char* name) {
    return encode_error(find_service(name), Protocol::rest_json, {"X", "m", 400, {}}, "req").body;
  };
  EXPECT_EQ(body("scheduler"), R"({"Message":"m"})");
  EXPECT_EQ(body("lambda"), R"({"message":"m"})");
}

}  // namespace
}  // namespace snapward::wire
