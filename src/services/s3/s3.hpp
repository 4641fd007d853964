// S3: buckets and objects, enough for what Step Functions reads from it and writes to it (ItemReader, ResultWriter, aws-sdk:s3) and for
// putting data there and looking at it. No versions, multipart uploads, policies or ACLs: those are refused. Addressed by path.
// Source: Amazon S3 API Reference.
#pragma once
#include <map>
#include <string>

#include "services/service.hpp"

namespace snapward::services::s3 {

class S3 final : public Service {
 public:
  explicit S3(Environment& env);
  void restore() override;

 private:
  struct Object {
    Json meta;  // {ETag, LastModified, Size, ContentType, Metadata}; the body is in the ledger
  };
  struct Bucket {
    std::string region;
    Instant created;
    std::map<std::string, Object, std::less<>> objects;  // by key, in the order listings have
  };

  std::expected<Bucket*, cloud::Error> find(const Call& call);
  Reply put(const Call& call);
  Reply get(const Call& call, bool with_body);
  Reply list(const Call& call, bool second_version);
  void erase(const std::string& bucket, const std::string& key);

  std::map<std::string, Bucket, std::less<>> buckets_;  // names are the account's in all regions
};

}  // namespace snapward::services::s3
