// Any bytes as a request in every protocol, and as an answer: an error or a value, never a crash.
#include "wire/protocol.hpp"
#include "wire/sigv4.hpp"

using namespace snapward::wire;

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  if (size < 2) return 0;
  const std::string rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  HttpRequest request;
  switch (data[0] % 6) {
    case 0:
      request.body = rest;
      (void)decode_request(*find_service("ec2"), request);
      break;
    case 1:
      request.body = rest;
      (void)decode_request(*find_service("sns"), request);
      break;
    case 2:
      request.headers.add("X-Amz-Target", "AmazonSQS.SendMessageBatch");
      request.body = rest;
      (void)decode_request(*find_service("sqs"), request);
      break;
    case 3: {
      const std::size_t line = rest.find('\n');
      request.method = data[0] & 64 ? "PUT" : "POST";
      request.target = "/" + rest.substr(0, line);
      if (line != std::string::npos) request.body = rest.substr(line + 1);
      (void)decode_request(*find_service(data[0] & 128 ? "s3" : "lambda"), request);
      break;
    }
    case 4: {
      HttpResponse response;
      response.status = data[0] & 64 ? 400 : 200;
      response.body = rest;
      for (const char* name : {"ec2", "states", "s3"}) {
        const Service* service = find_service(name);
        (void)decode_reply(*service,
                           *service->find(name[0] == 'e'   ? "DescribeSnapshots"
                                          : name[1] == 't' ? "DescribeExecution"
                                                           : "ListObjectsV2"),
                           response);
      }
      break;
    }
    default:
      request.target = "/?" + rest;
      request.headers.add("Authorization", "AWS4-HMAC-SHA256 " + rest);
      (void)scope_of(request);
      (void)verify(request, "secret", {});
  }
  return 0;
}
