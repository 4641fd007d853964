// Identity: whose the calls to AWS are. Credentials are looked for where the AWS SDKs look, the first place that has some wins, and they
// are looked for again five minutes before they end:
//
//   1. AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN (not if a profile is named in the options)
//   2. a role for a web identity's token: AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN (Kubernetes)
//   3. the profile (the options', AWS_PROFILE, or "default") in ~/.aws/credentials and ~/.aws/config (or AWS_SHARED_CREDENTIALS_FILE and
//      AWS_CONFIG_FILE): keys, or role_arn with source_profile or credential_source, or role_arn with web_identity_token_file
//   4. the container's: AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or AWS_CONTAINER_CREDENTIALS_FULL_URI
//   5. the EC2 instance's role, by IMDSv2, unless AWS_EC2_METADATA_DISABLED is true
//
// Profiles with sso_session, sso_start_url, credential_process or mfa_serial are not read: the error says so, and what helps.
// Threads: the loop's. Errors: one sentence.
// Source: AWS SDKs and Tools Reference Guide, "Standardized credential providers"; EC2 User Guide, "Retrieve instance metadata".
#pragma once
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "engine/loop.hpp"
#include "net/client.hpp"
#include "wire/sigv4.hpp"

namespace snapward::aws {

// Sections of an AWS configuration file, each with its settings; those of "[profile x]" are x's. What is nested below a setting is left
// out.
using Profiles = std::map<std::string, std::map<std::string, std::string, std::less<>>, std::less<>>;
Profiles read_profiles(std::string_view text);

class Identity {
 public:
  struct Options {
    std::string profile = {};                                                 // empty: what the environment says
    std::string endpoint = {};                                                // of STS, as AWS_ENDPOINT_URL; empty: AWS's own
    std::string region = "us-east-1";                                         // whose STS is asked for roles
    std::function<std::string(const char*)> variable = environment_variable;  // "" where there is none
  };
  Identity(engine::Loop& loop, Options options);

  // For a call that is made now. Whoever asks while they are looked for waits with the first.
  Task<Result<wire::Credentials>> get();
  [[nodiscard]] const std::string& source() const { return found_.source; }  // "the profile 'backup'"; of the last ones

  static std::string environment_variable(const char* name);

 private:
  struct Found {
    wire::Credentials credentials;
    std::optional<Instant> until;  // when they end
    std::string source;
  };
  using Answer = Result<Found>;
  struct Role {
    std::string arn, session, external_id, seconds;
  };

  Task<Answer> look();
  Task<Answer> of_profile(std::string name, int depth);
  Task<Answer> of_container();
  Task<Answer> of_instance();
  Task<Answer> as_role(Role role, Found caller, std::string source);
  Task<Answer> by_token(Role role, std::string token_file, std::string source);
  Task<Result<std::string>> metadata(std::string url, std::string method, std::string header, std::string value);
  [[nodiscard]] std::string sts() const;

  engine::Loop& loop_;
  Options options_;
  std::unique_ptr<net::Client> near_, far_;           // metadata answers at once or not at all; STS may take its time
  Found found_;                                       // without keys: none yet
  std::optional<std::vector<Future<bool>>> waiting_;  // while they are looked for: who else asked
};

}  // namespace snapward::aws
