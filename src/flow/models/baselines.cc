#include "flow/models/baselines.h"

#include <string>

namespace tidemill::models {

Result<statistics::Baseline> build_baseline(const Encoder& encoder, const tables::Frame& frame,
                                            std::span<const double> scores) {
  statistics::Baseline baseline;
  for (std::size_t i = 0; i < encoder.width(); ++i) {
    const ColumnSpec& column = encoder.columns()[i];
    if (column.kind == ColumnKind::number) {
      baseline.features.push_back(statistics::number_baseline(column.name, TM_TRY(encoder.numbers(frame, i))));
    } else {
      baseline.features.push_back(
          statistics::category_baseline(column.name, column.categories, TM_TRY(encoder.codes(frame, i))));
    }
  }
  if (!scores.empty()) baseline.score = statistics::number_baseline(std::string(statistics::kScoreFeature), scores);
  return baseline;
}

Result<std::vector<statistics::FeatureDrift>> measure_drift(const statistics::Baseline& baseline,
                                                            const Encoder& encoder, const tables::Frame& frame) {
  std::vector<statistics::FeatureDrift> drifts;
  for (const statistics::FeatureBaseline& feature : baseline.features) {
    const auto column = encoder.find(feature.feature);
    if (!column || frame.find(feature.feature) == nullptr) continue;
    if (feature.kind == statistics::FeatureKind::number) {
      drifts.push_back(TM_TRY(statistics::number_drift(feature, TM_TRY(encoder.numbers(frame, *column)))));
    } else {
      drifts.push_back(TM_TRY(statistics::category_drift(feature, TM_TRY(encoder.codes(frame, *column)))));
    }
  }
  return drifts;
}

}  // namespace tidemill::models
