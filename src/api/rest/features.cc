#include "api/rest/features.h"

#include <map>
#include <string>
#include <utility>

#include "flow/features/json_frame.h"

namespace tidemill::rest {
namespace {

struct ViewList {
  std::vector<features::View> features;
};
BOOST_DESCRIBE_STRUCT(ViewList, (), (features))

struct ViewVersions {
  std::vector<features::View> versions;
};
BOOST_DESCRIBE_STRUCT(ViewVersions, (), (versions))

struct Materialize {
  using json_defaults = void;
  std::map<std::string, std::int64_t> versions;  // by dataset; the newest where absent
};
BOOST_DESCRIBE_STRUCT(Materialize, (), (versions))

struct Rows {
  json::Array rows;
};
BOOST_DESCRIBE_STRUCT(Rows, (), (rows))

http::Route online_route(features::Features& features) {
  return http::post<Rows, Rows>("/api/features/{view}/online", http::Right::read, "Look up the features of each row",
                                [&features](const http::Request& request, const Rows& asked) -> Result<Rows> {
                                  const std::string& view = request.param("view");
                                  const tables::Frame frame = TM_TRY(features.request_frame(view, asked.rows));
                                  return Rows{features::rows_of(TM_TRY(features.online(view, frame)))};
                                });
}

}  // namespace

std::vector<http::Route> features_routes(features::Features& features) {
  using http::Right;
  std::vector<http::Route> routes;
  routes.push_back(http::post<features::NewView, features::View>(
      "/api/features", Right::write, "Define a feature view; a changed definition is its next number",
      [&features](const http::Request& request, const features::NewView& view) {
        return features.define(request.actor, view);
      },
      {.status = 201}));
  routes.push_back(http::get<ViewList>(
      "/api/features", Right::read, "List the feature views, newest number each",
      [&features](const http::Request&) -> Result<ViewList> { return ViewList{TM_TRY(features.list())}; }));
  routes.push_back(http::get<features::View>(
      "/api/features/{view}", Right::read, "Show a feature view; name@2 is its second number",
      [&features](const http::Request& request) { return features.get(request.param("view")); }));
  routes.push_back(http::get<ViewVersions>("/api/features/{view}/versions", Right::read,
                                           "List all numbers of a feature view, newest first",
                                           [&features](const http::Request& request) -> Result<ViewVersions> {
                                             return ViewVersions{TM_TRY(features.versions(request.param("view")))};
                                           }));
  routes.push_back(http::post<Materialize, features::Materialized>(
      "/api/features/{view}/materialize", Right::write, "Load dataset versions into the online store",
      [&features](const http::Request& request, const Materialize& asked) {
        return features.materialize(request.actor, request.param("view"), asked.versions);
      }));
  routes.push_back(http::post<Rows, features::Pushed>("/api/features/sources/{dataset}/rows", Right::write,
                                                      "Keep rows of a dataset for online use, durably",
                                                      [&features](const http::Request& request, const Rows& handed_in) {
                                                        return features.push(request.param("dataset"), handed_in.rows);
                                                      }));
  routes.push_back(online_route(features));
  return routes;
}

}  // namespace tidemill::rest
