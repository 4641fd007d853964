// The AWS API models, as compiled from the embedded, trimmed package data (tools/models.mjs).
//
// A Service is parsed on first use and lives until the end of the program; everything here is immutable afterwards and may be read
// from any thread.
#pragma once
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace snapward::wire {

enum class Protocol { ec2, query, json, rest_json, rest_xml };
enum class ShapeType { structure, list, map, string, integer, floating, boolean, blob, timestamp };
enum class Location { body, header, headers, uri, querystring, status_code };
enum class TimestampFormat { unspecified, iso8601, unix_seconds, rfc822 };

struct Shape;

// A use of a shape: the names and places it has there.
struct Ref {
  const Shape* shape = nullptr;
  std::string location_name;  // empty: the default of the place
  std::string query_name;
  Location location = Location::body;
  TimestampFormat timestamp = TimestampFormat::unspecified;
  bool flattened = false;
  bool xml_attribute = false;
  std::string xml_namespace;
};

struct Member {
  std::string name;
  Ref ref;
  bool required = false;
};

struct Shape {
  ShapeType type = ShapeType::string;
  std::vector<Member> members;  // structure
  Ref item;                     // list
  Ref key, value;               // map
  std::string payload;          // structure: the member that is the whole body
  bool event_stream = false;    // answers that are streams of events: not spoken
};

struct Operation {
  std::string name;
  std::string method = "POST";
  std::string uri = "/";          // with {Label} and {Greedy+}
  const Shape* input = nullptr;   // null: none
  const Shape* output = nullptr;  // null: none
  Ref input_ref, output_ref;
  std::string result_wrapper;  // query protocol
};

struct Service {
  std::string name;  // its signing name: ec2, states, events …
  std::string id;    // its service id: EC2, SFN, EventBridge …
  Protocol protocol = Protocol::json;
  std::string json_version, target_prefix, api_version, xml_namespace;
  bool query_compatible = false;  // also answers the query protocol (SQS)
  std::map<std::string, Operation, std::less<>> operations;

  [[nodiscard]] const Operation* find(std::string_view operation) const;
  std::vector<std::unique_ptr<Shape>> shapes;  // owns
};

// The service signed for as `name`, or null when no model of it is built in.
const Service* find_service(std::string_view name);
std::vector<std::string> service_names();
// By the prefix of X-Amz-Target ("AWSStepFunctions"), or null.
const Service* find_service_by_target(std::string_view prefix);

}  // namespace snapward::wire
