#include "defects/original.hpp"

#include <fmt/format.h>

#include "base/arn.hpp"
#include "cloud/ec2.hpp"

namespace snapward::defects {

namespace {

using Result = std::expected<Json, services::lambda::FunctionError>;
using services::lambda::FunctionError;

FunctionError thrown(const cloud::Error& e) { return {e.code, e.message}; }
std::string after_slash(std::string_view arn) { return std::string(arn.substr(arn.rfind('/') + 1)); }

// Says VOLUME_NOT_TAGGED without returning, and goes on to tag.
Task<Result> tag_snapshot(cloud::Cloud& cloud, Json event, std::string tag_key) {
  const std::string region(event["region"].string_or());
  const std::string snapshot = after_slash(event["detail"]["snapshot_id"].string_or()),
                    volume = after_slash(event["detail"]["source"].string_or());
  std::string said;
  if (tag_key != "none") {
    const auto tags = co_await cloud::volume_tags(cloud, region, volume);
    if (!tags) co_return std::unexpected(thrown(tags.error()));
    if (!*tags || !(*tags)->contains(tag_key)) said = "VOLUME_NOT_TAGGED";
  }
  cloud::Tags wanted{{"AutomatedSnapName", volume + "_" + std::string(event["detail"]["startTime"].string_or())},
                     {"OriginalVolumeId", volume}};
  const auto tagged = co_await cloud::create_tags(cloud, region, snapshot, std::move(wanted));
  if (!tagged) co_return std::unexpected(thrown(tagged.error()));
  co_return Json(said.empty() ? volume : said);
}

Task<Result> tag_copy(cloud::Cloud& cloud, Json event) {
  const std::string region(event["region"].string_or()), snapshot = after_slash(event["detail"]["snapshot_id"].string_or());
  const auto found = co_await cloud::find_snapshot(cloud, region, snapshot);
  if (!found) co_return std::unexpected(thrown(found.error()));
  const std::string& d = (*found)->description;
  const std::size_t a = d.find("**"), b = d.find("**", a + 2);
  const std::string volume = d.substr(a + 2, b - a - 2);
  cloud::Tags wanted{{"OriginalVolumeId", volume}, {"OriginalRegion", d.substr(b + 2)}};
  const auto tagged = co_await cloud::create_tags(cloud, region, snapshot, std::move(wanted));
  if (!tagged) co_return std::unexpected(thrown(tagged.error()));
  co_return Json(volume);
}

// Counts whatever carries the tag, in any state, and puts the whole list into the state.
Task<Result> count(cloud::Cloud& cloud, Json event) {
  const std::string region(event["region"].string_or());
  Json request = Json::object(
      {{"Filters", Json::array({Json::object({{"Name", "tag:OriginalVolumeId"}, {"Values", Json::array({event["originalVolumeId"]})}})})}});
  const auto reply = co_await cloud.call({"ec2", region, "DescribeSnapshots", std::move(request)});
  if (!reply) co_return std::unexpected(thrown(reply.error()));
  co_return Json::object({{"numSnapshots", (*reply)["Snapshots"].items().size()}, {"Snapshots", (*reply)["Snapshots"]}});
}

// Asks for a copy without looking for one; asked for is done.
Task<Result> copy(cloud::Cloud& cloud, Json event) {
  const std::string source = after_slash(event["detail"]["snapshot_id"].string_or());
  Json request = Json::object(
      {{"SourceRegion", event["region"]},
       {"SourceSnapshotId", source},
       {"Description", fmt::format("{}**{}**{}", source, event["originalVolumeId"].string_or(), event["region"].string_or())}});
  const auto reply = co_await cloud.call({"ec2", "us-east-2", "CopySnapshot", std::move(request)});
  if (!reply) co_return std::unexpected(thrown(reply.error()));
  co_return Json("Success");
}

// Deletes the oldest beyond its own idea of the retention; the first refusal hides what became of the others.
Task<Result> remove(cloud::Cloud& cloud, Json event, int retention) {
  std::vector<cloud::Snapshot> list;
  for (const Json& s : event["snapshotList"]["Snapshots"].items()) list.push_back(cloud::Snapshot::from_json(s));
  std::sort(list.begin(), list.end(), [](const auto& a, const auto& b) { return a.started > b.started; });
  if (static_cast<int>(list.size()) <= retention) co_return std::unexpected(FunctionError{"Error", "You shouldn't be here!"});
  std::optional<FunctionError> first;
  for (std::size_t i = static_cast<std::size_t>(retention); i < list.size(); ++i) {
    Json request = Json::object({{"SnapshotId", list[i].id}});
    const auto reply = co_await cloud.call({"ec2", std::string(event["region"].string_or()), "DeleteSnapshot", std::move(request)});
    if (!reply && !first) first = thrown(reply.error());
  }
  if (first) co_return std::unexpected(*first);
  co_return Json("Success");
}

Task<Result> notify(cloud::Cloud& cloud, Json event, std::string topic) {
  Json request = Json::object(
      {{"TopicArn", topic},
       {"Subject", "Snapshot Management Error"},
       {"Message", fmt::format("volumeid: {} error: {}", event["detail"]["source"].string_or(), event["errorMsg"]["Cause"].string_or())}});
  const auto reply = co_await cloud.call({"sns", Arn::parse(topic)->region, "Publish", std::move(request)});
  if (!reply) co_return std::unexpected(thrown(reply.error()));
  co_return Json("Success");
}

constexpr const char* kCatch = R"x("Catch":[{"ErrorEquals":["States.ALL"],"ResultPath":"$.errorMsg","Next":"%s"}])x";

std::string task(const std::string& region, const std::string& function, const std::string& more) {
  return fmt::format(R"x({{"Type":"Task","Resource":"arn:aws:lambda:{}:123456789012:function:original-{}",{}}})x", region, function, more);
}
std::string caught(const std::string& next) {
  std::string out = kCatch;
  return out.replace(out.find("%s"), 2, next);
}

std::string primary_definition(int retention) {
  const std::string r = "us-west-2";
  return R"x({"StartAt":"TagSnapshot","States":{"TagSnapshot":)x" +
         task(r, "tag", R"x("ResultPath":"$.originalVolumeId","TimeoutSeconds":60,"Next":"EvaluateContinue",)x" + caught("NotifyUser")) +
         R"x(,"EvaluateContinue":{"Type":"Choice","Choices":[{"StringEquals":"VOLUME_NOT_TAGGED","Variable":"$.originalVolumeId","Next":"SuccessState"}],"Default":"Count"},"Count":)x" +
         task(r, "count", R"x("ResultPath":"$.snapshotList","TimeoutSeconds":60,"Next":"Manage",)x" + caught("NotifyUser")) +
         R"x(,"Manage":{"Type":"Parallel","Next":"SuccessState","Branches":[{"StartAt":"Copy","States":{"Copy":)x" +
         task(r, "copy", R"x("TimeoutSeconds":10,"End":true,)x" + caught("Notify1")) + R"x(,"Notify1":)x" +
         task(r, "notify", R"x("End":true)x") +
         R"x(}},{"StartAt":"Evaluate","States":{"Evaluate":{"Type":"Choice","Choices":[{"NumericGreaterThan":)x" +
         std::to_string(retention) + R"x(,"Variable":"$.snapshotList.numSnapshots","Next":"Delete"}],"Default":"Enough"},"Delete":)x" +
         task(r, "delete", R"x("TimeoutSeconds":60,"End":true,)x" + caught("Notify2")) + R"x(,"Notify2":)x" +
         task(r, "notify", R"x("End":true)x") + R"x(,"Enough":{"Type":"Succeed"}}}]},"NotifyUser":)x" +
         task(r, "notify", R"x("End":true)x") + R"x(,"SuccessState":{"Type":"Succeed"}}})x";
}

std::string dr_definition(int retention) {
  const std::string r = "us-east-2";
  return R"x({"StartAt":"TagSnapshot","States":{"TagSnapshot":)x" +
         task(r, "tag-copy", R"x("ResultPath":"$.originalVolumeId","TimeoutSeconds":15,"Next":"Count",)x" + caught("NotifyUser")) +
         R"x(,"Count":)x" +
         task(r, "count", R"x("ResultPath":"$.snapshotList","TimeoutSeconds":20,"Next":"Evaluate",)x" + caught("NotifyUser")) +
         R"x(,"Evaluate":{"Type":"Choice","Choices":[{"NumericGreaterThan":)x" + std::to_string(retention) +
         R"x(,"Variable":"$.snapshotList.numSnapshots","Next":"Delete"}],"Default":"SuccessState"},"Delete":)x" +
         task(r, "delete-dr", R"x("TimeoutSeconds":60,"End":true,)x" + caught("NotifyUser")) + R"x(,"NotifyUser":)x" +
         task(r, "notify-dr", R"x("End":true)x") + R"x(,"SuccessState":{"Type":"Succeed"}}})x";
}

}  // namespace

Machines deploy_original(support::TestWorld& w, const OriginalSettings& s) {
  Machines out;
  cloud::Cloud& cloud = w.world->cloud;
  out.topic = w.must("sns", "CreateTopic", R"({"Name":"original"})")["TopicArn"].string_or();
  out.dr_topic = w.must("sns", "CreateTopic", R"({"Name":"original"})", "us-east-2")["TopicArn"].string_or();
  auto& functions = w.world->cloud.lambda();
  const auto add = [&](const char* name, auto function) {
    functions.add(std::string("original-") + name,
                  [function](Json event, services::lambda::InvocationContext) { return function(std::move(event)); });
  };
  const int in_function = s.retention_in_function ? s.retention_in_function : s.retention;
  add("tag", [&cloud, key = s.tag_key](Json e) { return tag_snapshot(cloud, std::move(e), key); });
  add("tag-copy", [&cloud](Json e) { return tag_copy(cloud, std::move(e)); });
  add("count", [&cloud](Json e) { return count(cloud, std::move(e)); });
  add("copy", [&cloud](Json e) { return copy(cloud, std::move(e)); });
  add("delete", [&cloud, in_function](Json e) { return remove(cloud, std::move(e), in_function); });
  add("delete-dr", [&cloud, keep = s.dr_retention](Json e) { return remove(cloud, std::move(e), keep); });
  add("notify", [&cloud, topic = out.topic](Json e) { return notify(cloud, std::move(e), topic); });
  add("notify-dr", [&cloud, topic = out.dr_topic](Json e) { return notify(cloud, std::move(e), topic); });
  for (const bool dr : {false, true}) {
    const std::string region = dr ? "us-east-2" : "us-west-2", role = "arn:aws:iam::123456789012:role/original";
    std::string& arn = dr ? out.dr : out.primary;
    arn = w.must("states", "CreateStateMachine",
                 Json::object({{"name", "Original"},
                               {"roleArn", role},
                               {"definition", dr ? dr_definition(s.dr_retention) : primary_definition(s.retention)}}),
                 region)["stateMachineArn"]
              .string_or();
    // No word about the result: failures match too.
    w.must("events", "PutRule",
           Json::object({{"Name", "original"},
                         {"EventPattern",
                          fmt::format(R"({{"source":["aws.ec2"],"detail-type":["EBS Snapshot Notification"],"detail":{{"event":["{}"]}}}})",
                                      dr ? "copySnapshot" : "createSnapshot")}}),
           region);
    w.must("events", "PutTargets",
           Json::object({{"Rule", "original"}, {"Targets", Json::array({Json::object({{"Id", "1"}, {"Arn", arn}, {"RoleArn", role}})})}}),
           region);
  }
  return out;
}

}  // namespace snapward::defects
