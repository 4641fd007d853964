// EC2, as far as volumes and their snapshots need it, behaving as AWS behaves: snapshots are pending, then completed or in error;
// copies run in the destination region under its limits; every completion is an event on the region's bus.
// Sources: EC2 API Reference; EBS User Guide (snapshots, copy, lock, Recycle Bin); "Request throttling for the Amazon EC2 API".
#pragma once
#include <map>
#include <set>
#include <string>

#include "cloud/ec2.hpp"
#include "services/ec2/filters.hpp"
#include "services/ec2/resources.hpp"
#include "services/service.hpp"

namespace snapward::services::ec2 {

// How the simulated cloud behaves; faults are probabilities in [0, 1].
struct Behaviour {
  bool throttling = true;  // AWS's token buckets
  Duration snapshot_overhead = std::chrono::seconds(2), copy_overhead = std::chrono::seconds(3);
  std::int64_t mib_per_second = 4096;   // how fast changed blocks move
  double used_fraction = 0.6;           // of a fresh volume
  double daily_change = 0.03;           // of a volume's blocks
  std::int64_t copy_limit = 20;         // per destination region
  std::int64_t pending_per_volume = 5;  // 1 for st1 and sc1

  std::set<std::string> denied;  // operations answered UnauthorizedOperation, also as a DryRun

  double fail_throttle = 0;  // any call: RequestLimitExceeded
  double fail_call = 0;      // any call: InternalError, nothing done
  double lose_reply = 0;     // any call: done, but the answer is InternalError
  double fail_snapshot = 0;  // a snapshot ends in error
  double fail_copy = 0;      // a copy ends in error, as an inaccessible KMS key makes it
  double drop_event = 0, duplicate_event = 0, delay_event = 0;
  Duration max_event_delay = std::chrono::minutes(10);

  // Members of the faults file named as above in snake case; unknown ones are refused.
  static Result<Behaviour> from_json(const Json& json);
};

// No operation of AWS's: how one region of the cloud reads a snapshot of another, content and all, to copy it.
inline constexpr const char* kReadSnapshot = "snapward:ReadSnapshot";

class Ec2 final : public Service {
 public:
  // `part`: of a cloud whose regions are apart; contents are numbered so that no two of them have the same.
  Ec2(Environment& env, Behaviour behaviour, std::int64_t part = 0);
  Task<Reply> handle(Call call) override;
  void restore() override;
  void metrics(Metrics& m) const override;

  // Gives the Recycle Bin rules to ask when a snapshot is deleted: how long to keep it, or zero. Set by rbin.
  std::function<Duration(const std::string& region, const Json& tags)> recycle_bin;

  [[nodiscard]] Behaviour& behaviour() { return behaviour_; }
  // All snapshots of a region as they are, past every fault and throttle; for audits.
  [[nodiscard]] std::vector<cloud::Snapshot> inspect(const std::string& region) const;
  [[nodiscard]] std::optional<cloud::Snapshot> inspect(const std::string& region, const std::string& id) const;
  // Bytes paid for by each live snapshot of a region, by the incremental model; for reports.
  [[nodiscard]] std::map<std::string, std::int64_t> owned_bytes(const std::string& region) const;

 private:
  using Check = std::expected<void, cloud::Error>;

  void register_volumes();
  void register_snapshots();
  void register_images();
  void register_tags();

  // volumes.cpp
  Reply create_volume(const Call&);
  Reply delete_volume(const Call&);
  Reply describe_volumes(const Call&);
  Reply attach_volume(const Call&);
  Reply detach_volume(const Call&);
  Reply run_instances(const Call&);
  Reply terminate_instances(const Call&);
  Reply describe_instances(const Call&);
  Json volume_json(const Volume&) const;
  Json instance_json(const Instance&) const;
  Volume& add_volume(Volume volume);
  void churn(Volume& volume);  // what its user has written since
  std::expected<Volume*, cloud::Error> find_volume(const std::string& region, const std::string& id);

  // snapshots.cpp
  Reply create_snapshot(const Call&);
  Reply create_snapshots(const Call&);
  Task<Reply> copy_snapshot(Call);
  Task<std::expected<Snapshot, cloud::Error>> source_of_copy(std::string region, std::string id);
  Reply delete_snapshot(const Call&);
  Reply describe_snapshots(const Call&);
  Reply lock_snapshot(const Call&);
  Reply unlock_snapshot(const Call&);
  Reply describe_locked_snapshots(const Call&);
  Reply list_bin(const Call&);
  Reply restore_from_bin(const Call&);
  std::expected<Snapshot*, cloud::Error> snapshot_of(Volume& volume, const std::string& description, Json tags);
  std::expected<Snapshot*, cloud::Error> find_snapshot(const std::string& region, const std::string& id);
  Json snapshot_json(const Snapshot&) const;
  Json lock_json(const Snapshot&) const;
  void schedule(const Snapshot&);
  void complete(const std::string& id);
  void remove(std::string id);  // a copy: the id may be the very snapshot's own
  void announce(const Snapshot&);
  void announce_batch(const std::string& batch);
  void emit(const std::string& region, std::string detail_type, Json resources, Json detail);
  void deliver_late(const std::string& key, Instant at, const Json& event);
  [[nodiscard]] const Snapshot* newest_of_lineage(const std::string& region, const std::string& lineage, bool pending_too) const;
  void store(const Snapshot& s) { save("snapshots", s.id, s.to_row()); }

  // images.cpp
  Reply register_image(const Call&);
  Reply create_image(const Call&);
  Reply deregister_image(const Call&);
  Reply disable_image(const Call&);
  Reply describe_images(const Call&);
  [[nodiscard]] const Image* image_using(const std::string& snapshot_id) const;

  // tags.cpp
  Reply create_tags(const Call&);
  Reply delete_tags(const Call&);
  Reply describe_tags(const Call&);
  Check check_tags(const Json& tags) const;
  std::expected<Json, cloud::Error> specified_tags(const Call&, std::string_view resource_type) const;
  Json* tags_of(const std::string& region, const std::string& id, std::string& table);

  Check throttle(const Call&);
  bool take_token(const std::string& bucket, double capacity, double refill_per_second);

  Behaviour behaviour_;
  std::map<std::string, Volume, std::less<>> volumes_;
  std::map<std::string, Snapshot, std::less<>> snapshots_;
  std::map<std::string, Image, std::less<>> images_;
  std::map<std::string, Instance, std::less<>> instances_;
  std::int64_t content_ids_ = 0;  // fresh content of blocks; kept by the ledger

  struct Bucket {
    double tokens = 0;
    Instant at;
  };
  std::map<std::string, Bucket> buckets_;           // region, operation
  std::map<std::string, std::uint64_t> throttled_;  // by operation
};

}  // namespace snapward::services::ec2
