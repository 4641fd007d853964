#include "services/s3/s3.hpp"

#include <fmt/format.h>

#include "base/text.hpp"

namespace snapward::services::s3 {

namespace {
constexpr const char* kBodies = "s3.bodies";
constexpr const char* kEncryption = "AES256";  // what every object has since 2023 that asks for nothing else
std::string row(const std::string& bucket, const std::string& key) { return bucket + '\n' + key; }
std::unexpected<cloud::Error> no_key(const Call& call) {
  auto error = cloud::error("NoSuchKey", "The specified key does not exist.", 404);
  error.error().fields = Json::object({{"Key", call.input["Key"]}});
  return error;
}
bool is_bucket_name(std::string_view name) {
  return name.size() >= 3 && name.size() <= 63 && std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.';
         });
}
}  // namespace

void S3::restore() {
  each_row("buckets", [&](const std::string& name, const Json& r) {
    Bucket& b = buckets_[name];
    b.region = r["region"].string_or();
    b.created = Instant(Duration(r["created"].integer_or(0)));
  });
  each_row("objects", [&](const std::string& key, const Json& meta) {
    const std::size_t end = key.find('\n');
    if (const auto b = buckets_.find(key.substr(0, end)); b != buckets_.end()) b->second.objects[key.substr(end + 1)] = {meta};
  });
}

std::expected<S3::Bucket*, cloud::Error> S3::find(const Call& call) {
  const auto found = buckets_.find(call.input["Bucket"].string_or());
  if (found == buckets_.end()) return cloud::error("NoSuchBucket", "The specified bucket does not exist", 404);
  return &found->second;
}

void S3::erase(const std::string& bucket, const std::string& key) {
  drop("objects", row(bucket, key));
  env_.ledger.erase(kBodies, row(bucket, key));
}

S3::S3(Environment& env) : Service("s3", env) {
  on("CreateBucket", [this](const Call& call) -> Reply {
    const std::string name(call.input["Bucket"].string_or());
    if (!is_bucket_name(name)) return cloud::error("InvalidBucketName", "The specified bucket is not valid.");
    if (buckets_.contains(name))
      return cloud::error("BucketAlreadyOwnedByYou", "Your previous request to create the named bucket succeeded and you already own it.",
                          409);
    Bucket& b = buckets_[name];
    b.region = call.input["CreateBucketConfiguration"]["LocationConstraint"].string_or(call.region);
    b.created = env_.loop.now();
    save("buckets", name, Json::object({{"region", b.region}, {"created", b.created.time_since_epoch().count()}}));
    return Json::object({{"Location", "/" + name}});
  });
  on("DeleteBucket", [this](const Call& call) -> Reply {
    const auto b = find(call);
    if (!b) return std::unexpected(b.error());
    if (!(*b)->objects.empty()) return cloud::error("BucketNotEmpty", "The bucket you tried to delete is not empty", 409);
    const std::string name(call.input["Bucket"].string_or());
    drop("buckets", name);
    buckets_.erase(name);
    return Json(Json::Object{});
  });
  on("HeadBucket", [this](const Call& call) -> Reply {
    const auto b = find(call);
    if (!b) return cloud::error("404", "Not Found", 404);
    return Json::object({{"BucketRegion", (*b)->region}});
  });
  on("GetBucketLocation", [this](const Call& call) -> Reply {
    const auto b = find(call);
    if (!b) return std::unexpected(b.error());
    return Json::object({{"LocationConstraint", (*b)->region == "us-east-1" ? Json() : Json((*b)->region)}});
  });
  on("ListBuckets", [this](const Call&) -> Reply {
    Json::Array out;
    for (const auto& [name, b] : buckets_) out.push_back(Json::object({{"Name", name}, {"CreationDate", iso_millis(b.created)}}));
    return Json::object({{"Buckets", std::move(out)}, {"Owner", Json::object({{"ID", env_.account}})}});
  });
  on("PutObject", [this](const Call& call) { return put(call); });
  on("GetObject", [this](const Call& call) { return get(call, true); });
  on("HeadObject", [this](const Call& call) { return get(call, false); });
  on("ListObjectsV2", [this](const Call& call) { return list(call, true); });
  on("ListObjects", [this](const Call& call) { return list(call, false); });
  on("DeleteObject", [this](const Call& call) -> Reply {
    const auto b = find(call);
    if (!b) return std::unexpected(b.error());
    const std::string key(call.input["Key"].string_or());
    if ((*b)->objects.erase(key)) erase(std::string(call.input["Bucket"].string_or()), key);
    return Json(Json::Object{});
  });
  on("DeleteObjects", [this](const Call& call) -> Reply {
    const auto b = find(call);
    if (!b) return std::unexpected(b.error());
    Json::Array deleted;
    for (const Json& object : call.input["Delete"]["Objects"].items()) {
      const std::string key(object["Key"].string_or());
      if ((*b)->objects.erase(key)) erase(std::string(call.input["Bucket"].string_or()), key);
      deleted.push_back(Json::object({{"Key", key}}));
    }
    return Json::object({{"Deleted", std::move(deleted)}});
  });
}

Reply S3::put(const Call& call) {
  const auto b = find(call);
  if (!b) return std::unexpected(b.error());
  const std::string key(call.input["Key"].string_or()), bucket(call.input["Bucket"].string_or());
  if (key.empty() || key.size() > 1024) return cloud::error("KeyTooLongError", "Your key is too long");
  const std::string body(call.input["Body"].string_or());
  const std::string tag = '"' + digest_hex("MD5", body).value_or("") + '"';
  const Json meta = Json::object({{"ETag", tag},
                                  {"LastModified", iso_seconds(env_.loop.now())},
                                  {"Size", body.size()},
                                  {"ContentType", call.input["ContentType"].string_or("binary/octet-stream")},
                                  {"Metadata", call.input["Metadata"]}});
  save("objects", row(bucket, key), meta);
  env_.ledger.put(kBodies, row(bucket, key), body);
  (*b)->objects[key] = {meta};
  return Json::object({{"ETag", tag}, {"ServerSideEncryption", kEncryption}});
}

Reply S3::get(const Call& call, bool with_body) {
  const auto b = find(call);
  if (!b) return std::unexpected(b.error());
  const std::string key(call.input["Key"].string_or());
  const auto o = (*b)->objects.find(key);
  if (o == (*b)->objects.end()) return with_body ? no_key(call) : cloud::error("404", "Not Found", 404);
  const Json& meta = o->second.meta;
  std::string body = with_body ? env_.ledger.get(kBodies, row(std::string(call.input["Bucket"].string_or()), key)).value_or("") : "";
  Json::Object out{{"ETag", meta["ETag"]},
                   {"LastModified", meta["LastModified"]},
                   {"ContentType", meta["ContentType"]},
                   {"AcceptRanges", "bytes"},
                   {"ServerSideEncryption", kEncryption}};
  std::int64_t size = meta["Size"].integer_or(0);
  if (const Json* range = call.input.find("Range"); range && with_body) {  // "bytes=from-to"
    const std::string text(range->string_or());
    const std::size_t dash = text.find('-');
    const std::int64_t from = std::strtoll(text.c_str() + std::min<std::size_t>(6, text.size()), nullptr, 10);
    const bool open = dash == std::string::npos || dash + 1 == text.size();
    const std::int64_t to = open ? size - 1 : std::min<std::int64_t>(size - 1, std::strtoll(text.c_str() + dash + 1, nullptr, 10));
    if (!text.starts_with("bytes=") || from < 0 || from > to)
      return cloud::error("InvalidRange", "The requested range is not satisfiable", 416);
    out.set("ContentRange", fmt::format("bytes {}-{}/{}", from, to, size));
    body = body.substr(static_cast<std::size_t>(from), static_cast<std::size_t>(to - from + 1));
    size = static_cast<std::int64_t>(body.size());
  }
  out.set("ContentLength", size);
  if (meta["Metadata"].is_object()) out.set("Metadata", meta["Metadata"]);
  if (with_body) out.set("Body", std::move(body));
  return Json(std::move(out));
}

Reply S3::list(const Call& call, bool second_version) {
  const auto b = find(call);
  if (!b) return std::unexpected(b.error());
  const Json& in = call.input;
  const std::string prefix(in["Prefix"].string_or()), delimiter(in["Delimiter"].string_or());
  std::string after(second_version ? in["StartAfter"].string_or() : in["Marker"].string_or());
  if (const Json* token = in.find("ContinuationToken")) {
    const auto position = page_position(token->string_or());
    if (!position) return cloud::error("InvalidArgument", "The continuation token provided is incorrect");
    after = *position;
  }
  const auto max = static_cast<std::size_t>(std::clamp<std::int64_t>(in["MaxKeys"].integer_or(1000), 0, 1000));
  // A key may hold what XML cannot.
  const std::string_view encoding = in["EncodingType"].string_or();
  if (!encoding.empty() && encoding != "url") return cloud::error("InvalidArgument", "Invalid Encoding Method specified in Request");
  const auto shown = [&](const std::string& text) { return encoding.empty() ? text : percent_encode(text, true); };
  Json::Array contents, prefixes;
  std::string last;
  bool truncated = false;
  for (auto o = (*b)->objects.lower_bound(std::max(prefix, after)); o != (*b)->objects.end() && o->first.starts_with(prefix); ++o) {
    const std::string& key = o->first;
    std::string group;
    if (!delimiter.empty())
      if (const std::size_t found = key.find(delimiter, prefix.size()); found != std::string::npos)
        group = key.substr(0, found + delimiter.size());
    const std::string& name = group.empty() ? key : group;
    if ((!after.empty() && name <= after) || name == last) continue;
    if (contents.size() + prefixes.size() == max) {
      truncated = true;
      break;
    }
    last = name;
    if (!group.empty()) {
      prefixes.push_back(Json::object({{"Prefix", shown(group)}}));
      continue;
    }
    const Json& meta = o->second.meta;
    contents.push_back(Json::object({{"Key", shown(key)},
                                     {"LastModified", meta["LastModified"]},
                                     {"ETag", meta["ETag"]},
                                     {"Size", meta["Size"]},
                                     {"StorageClass", "STANDARD"}}));
  }
  Json::Object out{{"Name", in["Bucket"]}, {"Prefix", shown(prefix)}, {"MaxKeys", max}, {"IsTruncated", truncated}};
  if (!encoding.empty()) out.set("EncodingType", encoding);
  if (second_version) out.set("KeyCount", contents.size() + prefixes.size());
  if (truncated) out.set(second_version ? "NextContinuationToken" : "NextMarker", second_version ? page_token(last) : shown(last));
  if (!delimiter.empty()) out.set("Delimiter", shown(delimiter));
  if (!contents.empty()) out.set("Contents", std::move(contents));
  if (!prefixes.empty()) out.set("CommonPrefixes", std::move(prefixes));
  return Json(std::move(out));
}

}  // namespace snapward::services::s3
