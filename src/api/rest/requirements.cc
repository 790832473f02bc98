#include "api/rest/requirements.h"

#include <fmt/format.h>

#include <cmath>
#include <optional>
#include <string>
#include <utility>

#include "flow/requirements/metrics.h"

namespace tidemill::rest {
namespace {

using access::Right;
using requirements::NewRequirement;
using requirements::Requirement;
using requirements::Requirements;

struct RequirementList {
  std::vector<Requirement> requirements;
};
BOOST_DESCRIBE_STRUCT(RequirementList, (), (requirements))

struct RevisionList {
  std::vector<Requirement> revisions;
};
BOOST_DESCRIBE_STRUCT(RevisionList, (), (revisions))

struct MetricView {
  std::string name;
  std::string unit;
  requirements::Better better = requirements::Better::higher;
  double low = 0;
  std::optional<double> high;  // absent = unbounded
  std::string formula;
};
BOOST_DESCRIBE_STRUCT(MetricView, (), (name, unit, better, low, high, formula))

struct MetricList {
  std::vector<MetricView> metrics;
};
BOOST_DESCRIBE_STRUCT(MetricList, (), (metrics))

// A new revision; the name stands in the path and may be repeated.
struct Revision : NewRequirement {
  std::optional<std::int64_t> if_revision;  // refuse when another one is the newest by now
};
BOOST_DESCRIBE_STRUCT(Revision, (NewRequirement), (if_revision))

struct Reason {
  std::string reason;
};
BOOST_DESCRIBE_STRUCT(Reason, (), (reason))

MetricList metric_list() {
  MetricList list;
  for (const auto& metric : requirements::known_metrics()) {
    list.metrics.push_back({std::string(metric.name), std::string(metric.unit), metric.better, metric.low,
                            std::isinf(metric.high) ? std::nullopt : std::optional(metric.high),
                            std::string(metric.formula)});
  }
  return list;
}

Result<Requirement> revise(Requirements& room, const http::Request& request, Revision body) {
  const std::string& name = request.param("name");
  if (!body.name.empty() && body.name != name) {
    return fail(Code::kInvalidArgument, "requirements.invalid",
                fmt::format("The body names '{}', the path '{}'.", body.name.substr(0, 128), name),
                "Name the same requirement in both, or leave it out of the body.");
  }
  body.name = name;
  return room.revise(request.actor, body, body.if_revision);
}

}  // namespace

std::vector<http::Route> requirements_routes(Requirements& room) {
  std::vector<http::Route> routes;
  routes.push_back(http::post<NewRequirement, Requirement>(
      "/api/requirements", Right::write, "Record a requirement",
      [&room](const http::Request& request, const NewRequirement& body) { return room.add(request.actor, body); },
      {.status = 201}));
  routes.push_back(http::get<RequirementList>(
      "/api/requirements", Right::read, "List requirements",
      [&room](const http::Request&) -> Result<RequirementList> { return RequirementList{TM_TRY(room.list())}; }));
  routes.push_back(http::get<MetricList>("/api/requirements/metrics", Right::read,
                                         "List the metrics that rules may name",
                                         [](const http::Request&) -> Result<MetricList> { return metric_list(); }));
  routes.push_back(
      http::get<Requirement>("/api/requirements/{name}", Right::read, "Show the newest revision of a requirement",
                             [&room](const http::Request& request) { return room.get(request.param("name")); }));
  routes.push_back(http::put<Revision, Requirement>(
      "/api/requirements/{name}", Right::write, "Make a new revision, which supersedes the one before",
      [&room](const http::Request& request, Revision body) { return revise(room, request, std::move(body)); }));
  routes.push_back(http::get<RevisionList>("/api/requirements/{name}/revisions", Right::read,
                                           "List all revisions, newest first",
                                           [&room](const http::Request& request) -> Result<RevisionList> {
                                             return RevisionList{TM_TRY(room.revisions(request.param("name")))};
                                           }));
  routes.push_back(http::post<Reason, Requirement>(
      "/api/requirements/{name}/retire", Right::write, "End a requirement: nothing may be judged by it any more",
      [&room](const http::Request& request, const Reason& body) {
        return room.retire(request.actor, request.param("name"), body.reason);
      }));
  return routes;
}

}  // namespace tidemill::rest
