#include "base/arn.hpp"

namespace snapward {

std::optional<Arn> Arn::parse(std::string_view text) {
  std::string_view parts[5];
  for (auto& part : parts) {
    const std::size_t colon = text.find(':');
    if (colon == std::string_view::npos) return std::nullopt;
    part = text.substr(0, colon);
    text.remove_prefix(colon + 1);
  }
  if (parts[0] != "arn" || parts[1].empty() || parts[2].empty() || text.empty()) return std::nullopt;
  return Arn{.partition = std::string(parts[1]),
             .service = std::string(parts[2]),
             .region = std::string(parts[3]),
             .account = std::string(parts[4]),
             .resource = std::string(text)};
}

std::string Arn::str() const { return "arn:" + partition + ':' + service + ':' + region + ':' + account + ':' + resource; }

std::optional<std::string> Arn::resource_id(std::string_view kind) const {
  if (resource.size() <= kind.size() + 1 || !resource.starts_with(kind)) return std::nullopt;
  if (resource[kind.size()] != ':' && resource[kind.size()] != '/') return std::nullopt;
  return resource.substr(kind.size() + 1);
}

std::optional<EbsArn> EbsArn::parse(std::string_view text, std::string_view kind) {
  const auto arn = Arn::parse(text);
  if (!arn || arn->service != "ec2") return std::nullopt;
  auto id = arn->resource_id(kind);
  if (!id) return std::nullopt;
  return EbsArn{.region = arn->region.empty() ? arn->account : arn->region, .id = std::move(*id)};
}

}  // namespace snapward
