// arn:partition:service:region:account:resource. The resource keeps its own colons and slashes.
#pragma once
#include <optional>
#include <string>
#include <string_view>

namespace snapward {

struct Arn {
  std::string partition = "aws";
  std::string service;
  std::string region;
  std::string account;
  std::string resource;

  static std::optional<Arn> parse(std::string_view text);
  [[nodiscard]] std::string str() const;
  // The part after "kind:" or "kind/", or nothing when the resource is of another kind: resource_id("stateMachine").
  [[nodiscard]] std::optional<std::string> resource_id(std::string_view kind) const;
};

// Snapshot notifications put the region in the account's slot (arn:aws:ec2::us-west-2:snapshot/snap-1); a 2020 edition of the
// documentation and late-copy events have it in its own. Both are read; `kind` is "snapshot" or "volume".
struct EbsArn {
  std::string region;
  std::string id;
  static std::optional<EbsArn> parse(std::string_view text, std::string_view kind);
};

}  // namespace snapward
