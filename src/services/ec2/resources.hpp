// The things EC2 keeps for us: volumes, snapshots, images, instances. Plain values with their JSON rows.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "base/json.hpp"
#include "base/time.hpp"
#include "services/ec2/blocks.hpp"

namespace snapward::services::ec2 {

struct Attachment {
  std::string instance_id, device;
  Instant at;
  bool delete_on_termination = false;
};

struct Volume {
  std::string id, region, zone, type = "gp3", snapshot_id, kms_key_id;
  std::int64_t size_gib = 0, iops = 3000, throughput = 125;
  bool encrypted = false;
  Instant created, last_write;
  std::vector<Attachment> attachments;
  Json tags = Json(Json::Array{});
  std::shared_ptr<const BlockMap> content = std::make_shared<BlockMap>();
  std::string lineage;  // shared by all snapshots of the volume and their copies
  Json extra;           // further members of CreateVolume, given back as they came

  [[nodiscard]] Json to_row() const;
  static Volume from_row(const Json& row);
};

struct Lock {
  std::string mode;  // governance, compliance; empty: none
  Instant created, cool_off_ends, expires;
  std::int64_t duration_days = 0, cool_off_hours = 0;
};

struct Snapshot {
  std::string id, region, volume_id, description, state = "pending", state_message, kms_key_id, owner;
  std::int64_t size_gib = 0;
  bool encrypted = false;
  Instant started, completes, completed;
  Json tags = Json(Json::Array{});
  std::shared_ptr<const BlockMap> content;
  std::string lineage;
  std::int64_t transferred_blocks = 0;   // what its making moved
  std::string source_region, source_id;  // of a copy
  bool incremental = false;
  std::string failure;   // decided at the start, told at completion (EBS finds out asynchronously)
  bool deleted = false;  // deleted while pending: completes first
  std::string batch;     // CreateSnapshots that made it
  Lock lock;
  Instant bin_entered, bin_exits;  // Recycle Bin; state "recoverable"

  [[nodiscard]] bool is_copy() const { return !source_id.empty(); }
  [[nodiscard]] Json to_row() const;
  static Snapshot from_row(const Json& row);
};

struct Image {
  std::string id, region, name, description, state = "available";
  Instant created;
  std::vector<std::string> snapshot_ids;
  Json mappings = Json(Json::Array{});
  Json tags = Json(Json::Array{});
  std::string root_device;

  [[nodiscard]] Json to_row() const;
  static Image from_row(const Json& row);
};

struct Instance {
  std::string id, region, zone, image_id, type, state = "running";
  Instant launched;
  Json tags = Json(Json::Array{});
  std::string root_device = "/dev/xvda";

  [[nodiscard]] Json to_row() const;
  static Instance from_row(const Json& row);
};

}  // namespace snapward::services::ec2
