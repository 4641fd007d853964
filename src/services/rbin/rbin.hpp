// Recycle Bin: retention rules that keep deleted snapshots for a while. Source: Recycle Bin API Reference.
#pragma once
#include <map>
#include <string>

#include "services/service.hpp"

namespace snapward::services::rbin {

class Rbin final : public Service {
 public:
  explicit Rbin(Environment& env);
  void restore() override;
  // How long a deleted snapshot with these tags is kept, by the longest matching rule of the region; zero: not at all.
  [[nodiscard]] Duration keeps(const std::string& region, const Json& tags) const;

 private:
  std::expected<Json*, cloud::Error> find(const Call&);
  std::map<std::string, Json, std::less<>> rules_;  // identifier → the rule as GetRule gives it, plus its Region
};

}  // namespace snapward::services::rbin
