#include "flow/monitors/evaluation.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <utility>

#include "flow/models/encoder.h"
#include "flow/requirements/requirements.h"
#include "statistics/classification.h"
#include "statistics/ranking.h"

namespace tidemill::monitors {
namespace {

constexpr std::string_view kShadow = "shadow";

template <class T>
Result<const std::vector<T>*> column(const tables::Frame& frame, std::string_view name) {
  const tables::Column* found = frame.find(name);
  if (found != nullptr) {
    if (const auto* values = std::get_if<std::vector<T>>(&found->values)) return values;
  }
  return fail(Code::kInternal, "monitors.bad_frame",
              fmt::format("The prediction log has no usable column '{}'.", name));
}

// The labelled rows among `indices`, as statistics take them.
struct Labelled {
  std::vector<double> scores;
  std::vector<std::uint8_t> labels;
};

Labelled labelled(const Rows& rows, std::span<const std::size_t> indices) {
  Labelled out;
  for (const std::size_t i : indices) {
    if (rows.label[i] == kUnlabelled) continue;
    out.scores.push_back(rows.score[i]);
    out.labels.push_back(static_cast<std::uint8_t>(rows.label[i]));
  }
  return out;
}

std::vector<std::size_t> served_indices(const Rows& rows) {
  std::vector<std::size_t> indices;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (rows.role[i] != kShadow) indices.push_back(i);
  }
  return indices;
}

template <class T>
std::vector<T> gather(const std::vector<T>& values, std::span<const std::size_t> indices) {
  std::vector<T> out;
  out.reserve(indices.size());
  for (const std::size_t i : indices) out.push_back(values[i]);
  return out;
}

// A version that did several things in one window is listed once, under the weightiest of them, with all its rows.
Result<std::vector<VersionQuality>> by_version(const Rows& rows) {
  constexpr std::array<std::string_view, 3> kWeight{"champion", "candidate", kShadow};
  std::map<std::int64_t, std::vector<std::size_t>> groups;
  for (std::size_t i = 0; i < rows.size(); ++i) groups[rows.version[i]].push_back(i);
  std::vector<VersionQuality> out;
  for (const auto& [version, indices] : groups) {
    VersionQuality quality{version, std::string(kShadow), TM_TRY(quality_of(rows, indices))};
    for (const auto role : kWeight) {
      const bool did = std::ranges::any_of(indices, [&](std::size_t i) { return rows.role[i] == role; });
      if (!did) continue;
      quality.role = role;
      break;
    }
    out.push_back(std::move(quality));
  }
  return out;
}

Result<std::vector<statistics::FeatureDrift>> drift_of(const Evidence& evidence, std::span<const std::size_t> indices) {
  std::vector<statistics::FeatureDrift> out;
  if (!evidence.baseline || evidence.columns.empty() || indices.empty()) return out;
  const auto encoder = TM_TRY(models::Encoder::create(evidence.columns));
  for (std::size_t c = 0; c < encoder.width(); ++c) {
    const auto& spec = encoder.columns()[c];
    const auto* base = evidence.baseline->find(spec.name);
    if (base == nullptr || evidence.frame.find(spec.name) == nullptr) continue;
    if (base->kind == statistics::FeatureKind::number) {
      out.push_back(
          TM_TRY(statistics::number_drift(*base, gather(TM_TRY(encoder.numbers(evidence.frame, c)), indices))));
    } else {
      out.push_back(
          TM_TRY(statistics::category_drift(*base, gather(TM_TRY(encoder.codes(evidence.frame, c)), indices))));
    }
  }
  return out;
}

requirements::Metrics metrics_of(const Quality& quality, const Labelled& rows, double threshold) {
  requirements::Metrics metrics;
  const auto put = [&](const char* name, const std::optional<double>& value) {
    if (value) metrics[name] = *value;
  };
  put("auc", quality.auc);
  put("brier", quality.brier);
  put("log_loss", quality.log_loss);
  if (const auto counts = statistics::confusion(rows.scores, rows.labels, threshold)) {
    metrics["accuracy"] = counts->accuracy();
    metrics["precision"] = counts->precision();
    metrics["recall"] = counts->recall();
    metrics["f1"] = counts->f1();
  }
  return metrics;
}

void add_requirement_alerts(Window& window) {
  for (const auto& verdict : window.verdicts) {
    // A metric that could not be measured is not met at a gate, but it is no news about the model in a live window.
    if (verdict.met || !verdict.value) continue;
    window.alerts.push_back({AlertKind::requirement, verdict.rule.metric, *verdict.value, verdict.rule.value,
                             fmt::format("{} {:.4g} misses {} {:g}", verdict.rule.metric, *verdict.value,
                                         verdict.rule.op, verdict.rule.value)});
  }
}

void add_drift_alerts(const DriftRule& rule, Window& window) {
  std::vector<Alert> drifted;
  for (const auto& drift : window.drift) {
    const bool counts = rule.features.empty() || std::ranges::find(rule.features, drift.feature) != rule.features.end();
    if (!counts || drift.psi < rule.psi_alert || drift.rows < rule.rows_min) continue;
    drifted.push_back({AlertKind::drift, drift.feature, drift.psi, rule.psi_alert,
                       fmt::format("{} has drifted (PSI {:.3g} >= {:g})", drift.feature, drift.psi, rule.psi_alert)});
  }
  std::ranges::sort(drifted, std::greater<>(), &Alert::value);
  if (static_cast<std::int64_t>(drifted.size()) >= rule.features_min) {
    window.alerts.insert(window.alerts.end(), drifted.begin(), drifted.end());
  }
  const auto& score = window.score_drift;
  if (score && score->psi >= rule.score_psi_alert && score->rows >= rule.rows_min) {
    window.alerts.push_back(
        {AlertKind::score_drift, "score", score->psi, rule.score_psi_alert,
         fmt::format("the predictions have drifted (PSI {:.3g} >= {:g})", score->psi, rule.score_psi_alert)});
  }
}

}  // namespace

Result<Rows> rows_of(const tables::Frame& frame) {
  Rows rows;
  rows.version = *TM_TRY(column<std::int64_t>(frame, "version"));
  rows.role = *TM_TRY(column<std::string>(frame, "role"));
  rows.score = *TM_TRY(column<double>(frame, "score"));
  const tables::Column* label = frame.find("label");
  const auto& values = *TM_TRY(column<std::int64_t>(frame, "label"));
  rows.label.reserve(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    const bool known = label->valid.empty() || label->valid[i] != 0;
    rows.label.push_back(known ? static_cast<std::int8_t>(values[i] != 0) : kUnlabelled);
  }
  return rows;
}

Result<Quality> quality_of(const Rows& rows, std::span<const std::size_t> indices) {
  Quality quality;
  quality.rows = static_cast<std::int64_t>(indices.size());
  double sum = 0;
  for (const std::size_t i : indices) sum += rows.score[i];
  if (!indices.empty()) quality.mean_score = sum / static_cast<double>(indices.size());
  const Labelled known = labelled(rows, indices);
  quality.labelled = static_cast<std::int64_t>(known.labels.size());
  quality.positives = std::ranges::count(known.labels, 1);
  if (known.labels.empty()) return quality;
  quality.brier = TM_TRY(statistics::brier(known.scores, known.labels)).value;
  quality.log_loss = TM_TRY(statistics::log_loss(known.scores, known.labels));
  if (quality.positives == 0 || quality.positives == quality.labelled) return quality;  // AUC needs both classes
  const auto auc = TM_TRY(statistics::auc(known.scores, known.labels));
  quality.auc = auc.estimate.value;
  quality.auc_low = auc.estimate.low;
  quality.auc_high = auc.estimate.high;
  return quality;
}

Result<Window> evaluate(const Monitor& monitor, const Span& span, const Evidence& evidence) {
  const Rows rows = TM_TRY(rows_of(evidence.frame));
  const auto served = served_indices(rows);
  Window window;
  window.monitor = monitor.name;
  window.deployment = monitor.deployment;
  window.label = span.label;
  window.start_ms = span.start_ms;
  window.end_ms = span.end_ms;
  window.champion = evidence.champion;
  window.served = TM_TRY(quality_of(rows, served));
  window.versions = TM_TRY(by_version(rows));
  window.drift = TM_TRY(drift_of(evidence, served));
  if (evidence.baseline && evidence.baseline->score && !served.empty()) {
    window.score_drift = TM_TRY(statistics::number_drift(*evidence.baseline->score, gather(rows.score, served)));
  }
  if (evidence.requirement && window.served.labelled >= monitor.labels_min) {
    const auto metrics = metrics_of(window.served, labelled(rows, served), evidence.requirement->threshold);
    window.verdicts = requirements::evaluate(*evidence.requirement, metrics, requirements::On::live);
  }
  add_requirement_alerts(window);
  add_drift_alerts(monitor.drift, window);
  window.alert_count = static_cast<std::int64_t>(window.alerts.size());
  return window;
}

std::string describe(const std::vector<Alert>& alerts) {
  constexpr std::size_t kShownMax = 4;
  std::string text;
  for (std::size_t i = 0; i < alerts.size() && i < kShownMax; ++i) text += (i == 0 ? "" : "; ") + alerts[i].message;
  if (alerts.size() > kShownMax) text += fmt::format("; and {} more", alerts.size() - kShownMax);
  return text;
}

}  // namespace tidemill::monitors
