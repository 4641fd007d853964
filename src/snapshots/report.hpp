// Report: how well an account's volumes are protected, from what is really there. Nobody's word is taken for it: a copy counts when it is
// seen complete in the DR region.
//
// A tier says how much may be lost (recovery point objective): of a volume, since its newest completed snapshot was taken; of its region,
// since the newest one was taken that has a complete copy in the DR region. A volume without any has all to lose since it was made.
// Source: Well-Architected Framework, "Disaster recovery (DR) objectives".
#pragma once
#include <expected>
#include <optional>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "base/task.hpp"
#include "base/time.hpp"
#include "cloud/ec2.hpp"
#include "snapshots/settings.hpp"

namespace snapward::snapshots {

struct Tier {
  std::string name;
  std::string tag = "none";  // volumes of it: "none" (all), "Key" or "Key=Value"
  Duration rpo = std::chrono::hours(24), dr_rpo = std::chrono::hours(24);

  // {"tiers": [{"name": "gold", "tag": "Tier=gold", "rpo": "1h", "drRpo": "4h"}]}; spans are "90s", "15m", "4h", "7d".
  static Result<std::vector<Tier>> list_from_json(const Json& json);
};
Result<Duration> span_from(std::string_view text);

struct Protection {  // of one volume
  std::string volume, name, tier;
  std::int64_t size_gib = 0;
  bool gone = false;                             // the volume is; its snapshots are there
  std::size_t snapshots = 0, copies = 0;         // complete ones
  std::optional<Instant> newest, newest_copied;  // when what is in them was taken
  Duration exposed{0}, dr_exposed{0};            // what the loss of the volume, or of its region, would lose; 0 when the volume is gone
  std::vector<std::string> findings;             // sentences; none: it is as it should be
};

struct Report {
  Instant at;
  std::string primary, dr;          // regions; dr empty: no copies are wanted
  std::optional<double> miles;      // between them
  std::vector<Protection> volumes;  // those with findings first
  std::vector<std::string> findings;

  [[nodiscard]] bool good() const;
  [[nodiscard]] Json to_json() const;
};

// What a report looks at.
struct Inventory {
  std::vector<cloud::Volume> volumes;      // of the primary region
  std::vector<cloud::Snapshot> snapshots;  // own ones there
  std::vector<cloud::Snapshot> copies;     // own ones in the DR region
};
Task<cloud::Answer<Inventory>> take_inventory(cloud::Cloud& cloud, Settings settings);

// By the time that is `now`, or later where the inventory knows of a later one.
// `tiers`: the first that a volume belongs to counts; `others` for those of none. `min_miles` 0: any distance will do.
Report assess(const Inventory& inventory, const Settings& settings, const std::vector<Tier>& tiers, const Tier& others, double min_miles,
              Instant now);

}  // namespace snapward::snapshots
