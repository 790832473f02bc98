#include "api/rest/predictions.h"

#include <string>

namespace tidemill::rest {
namespace {

using predictions::Predictions;
using predictions::Stats;

struct LabelList {
  std::vector<predictions::Label> labels;
  std::optional<std::int64_t> until_ms;
};
BOOST_DESCRIBE_STRUCT(LabelList, (), (labels, until_ms))

struct Kept {
  std::int64_t labels = 0;
};
BOOST_DESCRIBE_STRUCT(Kept, (), (labels))

struct StatsList {
  std::vector<Stats> predictions;
};
BOOST_DESCRIBE_STRUCT(StatsList, (), (predictions))

struct Nothing {
  using json_defaults = void;
};
BOOST_DESCRIBE_STRUCT(Nothing, (), ())

}  // namespace

std::vector<http::Route> predictions_routes(Predictions& room) {
  using access::Right;
  std::vector<http::Route> routes;
  routes.push_back(
      http::get<StatsList>("/api/predictions", Right::read, "Count predictions and labels of every deployment",
                           [&room](const http::Request&) -> Result<StatsList> { return StatsList{room.all_stats()}; }));
  routes.push_back(http::post<LabelList, Kept>(
      "/api/predictions/{deployment}/labels", Right::predict, "Keep labels that have become known",
      [&room](const http::Request& request, LabelList list) -> Result<Kept> {
        return Kept{TM_TRY(
            room.label(request.actor, request.param("deployment"), std::move(list.labels), list.until_ms.value_or(0)))};
      }));
  routes.push_back(http::get<Stats>(
      "/api/predictions/{deployment}/stats", Right::read, "Count predictions and labels",
      [&room](const http::Request& request) { return room.checked_stats(request.param("deployment")); }));
  routes.push_back(http::post<Nothing, void>("/api/predictions/{deployment}/flush", Right::write,
                                             "Turn what was logged into Parquet segments now",
                                             [&room](const http::Request& request, Nothing) -> Result<void> {
                                               TM_CHECK(room.checked_stats(request.param("deployment")));
                                               return room.flush();
                                             }));
  routes.push_back(http::get<predictions::Prediction>(
      "/api/predictions/{deployment}/{id}", Right::read, "Show one prediction with its features and label",
      [&room](const http::Request& request) { return room.find(request.param("deployment"), request.param("id")); }));
  return routes;
}

}  // namespace tidemill::rest
