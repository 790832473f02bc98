#include "flow/models/gate.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "flow/models/checks.h"
#include "flow/models/rows.h"
#include "statistics/classification.h"
#include "statistics/ranking.h"

namespace tidemill::models {
namespace {

constexpr std::size_t kLatencyRuns = 200;

struct Labelled {
  tables::Frame frame;
  std::vector<std::uint8_t> labels;
  std::int64_t positives = 0;
};

// The champion to beat, or nothing when the model has none or it is the candidate itself.
Result<std::shared_ptr<const Scorer>> find_champion(Models& models, std::string_view model, std::int64_t number,
                                                    const GateOptions& options) {
  if (!options.beat_champion) return std::shared_ptr<const Scorer>();
  const auto champion = models.resolve(model, options.champion);
  if (!champion && champion.error().code != Code::kNotFound) return std::unexpected(champion.error());
  if (!champion || *champion == number) return std::shared_ptr<const Scorer>();
  return models.scorer(model, *champion);
}

Result<Labelled> read_labelled(Models& models, const std::filesystem::path& data, const Scorer& candidate,
                               const Scorer* champion, const std::string& label) {
  std::set<std::string> names{label};
  for (const ColumnSpec& column : candidate.encoder.columns()) names.insert(column.name);
  if (champion != nullptr) {
    for (const ColumnSpec& column : champion->encoder.columns()) names.insert(column.name);
  }
  Labelled rows;
  rows.frame = TM_TRY(read_rows(models.parts().tables, data, {names.begin(), names.end()}));
  rows.labels = TM_TRY(binary_labels(rows.frame, label));
  rows.positives = std::count(rows.labels.begin(), rows.labels.end(), 1);
  return rows;
}

// Everything of which there is too little to judge by, or "".
std::string too_little(const Labelled& rows, const GateOptions& options) {
  const auto all = static_cast<std::int64_t>(rows.labels.size());
  std::string text;
  const auto need = [&text](std::int64_t there, std::string_view what, std::int64_t least, std::string_view option) {
    if (there >= least) return;
    text += fmt::format("{}There are {} {} rows; the gate needs {} ({}).", text.empty() ? "" : " ", there, what, least,
                        option);
  };
  need(all, "labelled", options.rows_min, "rows_min");
  need(rows.positives, "positive", std::max<std::int64_t>(options.positives_min, 1), "positives_min");
  need(all - rows.positives, "negative", std::max<std::int64_t>(options.negatives_min, 1), "negatives_min");
  return text;
}

// The median and 99th percentile of scoring one row. Measured with the machine's own clock: it is a stopwatch, not a
// date.
Result<void> measure_latency(const Scorer& scorer, const tables::Frame& frame, requirements::Metrics& metrics) {
  const std::vector<float> matrix = TM_TRY(scorer.encoder.encode(frame));
  const std::size_t width = scorer.encoder.width();
  std::vector<double> times_ms;
  double score = 0;
  for (std::size_t i = 0; i < kLatencyRuns; ++i) {
    const std::span<const float> row(matrix.data() + (i % frame.rows) * width, width);
    const auto begun = std::chrono::steady_clock::now();
    TM_CHECK(scorer.session->score(row, static_cast<std::int64_t>(width), std::span(&score, 1)));
    times_ms.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begun).count());
  }
  const statistics::SortedSample sorted = statistics::sorted_sample(times_ms);
  metrics["latency_ms_p50"] = statistics::quantile_of_sorted(sorted.values, 0.5);
  metrics["latency_ms_p99"] = statistics::quantile_of_sorted(sorted.values, 0.99);
  return {};
}

struct Measured {
  Performance performance;
  requirements::Metrics metrics;
};

Result<Measured> measure(std::int64_t number, const std::vector<double>& scores, const Labelled& rows,
                         double threshold) {
  const auto ranking = TM_TRY(statistics::auc(scores, rows.labels));
  const auto brier = TM_TRY(statistics::brier(scores, rows.labels));
  Measured measured;
  Performance& p = measured.performance;
  p = {number,
       ranking.estimate.value,
       ranking.estimate.low,
       ranking.estimate.high,
       brier.value,
       brier.low,
       brier.high,
       TM_TRY(statistics::log_loss(scores, rows.labels)),
       TM_TRY(statistics::confusion(scores, rows.labels, threshold))};
  measured.metrics = {{"auc", p.auc},
                      {"auc_low", p.auc_low},
                      {"gini", 2 * p.auc - 1},
                      {"ks", TM_TRY(statistics::class_separation(scores, rows.labels))},
                      {"brier", p.brier},
                      {"brier_high", p.brier_high},
                      {"log_loss", p.log_loss},
                      {"accuracy", p.confusion.accuracy()},
                      {"precision", p.confusion.precision()},
                      {"recall", p.confusion.recall()},
                      {"f1", p.confusion.f1()},
                      {"rows", static_cast<double>(rows.labels.size())},
                      {"positives", static_cast<double>(rows.positives)}};
  return measured;
}

Result<Difference> compare(const std::vector<double>& candidate, const std::vector<double>& champion,
                           const Labelled& rows, const GateOptions& options) {
  const auto paired = TM_TRY(statistics::auc_difference(candidate, champion, rows.labels));
  Difference difference{
      paired.difference.value, paired.difference.low, paired.difference.high, paired.p, options.margin, false};
  const double reached = options.significant ? difference.auc_low : difference.auc;
  // A margin of 0 asks for a better model; only a negative one lets an equal or worse one through.
  difference.met = reached >= options.margin && (options.margin < 0 || reached > 0);
  return difference;
}

std::string explain(const GateReport& report, const GateOptions& options) {
  std::string text;
  const std::string misses = requirements::describe_misses(report.verdicts);
  if (!misses.empty()) text = fmt::format("Requirement {}: {}.", report.requirement, misses);
  if (report.difference && !report.difference->met) {
    text += fmt::format(
        "{}AUC {:.4f} does not beat champion {} ({:.4f}) by {:g}{}: the difference is {:+.4f} ({:+.4f} to {:+.4f}).",
        text.empty() ? "" : " ", report.candidate->auc, report.champion->version, report.champion->auc, options.margin,
        options.significant ? " significantly" : "", report.difference->auc, report.difference->auc_low,
        report.difference->auc_high);
  }
  if (!text.empty()) return text;
  text = fmt::format("AUC {:.4f} ({:.4f} to {:.4f}) on {} rows meets every rule of {}", report.candidate->auc,
                     report.candidate->auc_low, report.candidate->auc_high, report.rows, report.requirement);
  if (report.champion)
    text += fmt::format(" and beats champion {} by {:+.4f}", report.champion->version, report.difference->auc);
  return text + ".";
}

Result<void> check_parity(const VersionDetail& version, const GateOptions& options) {
  if (!options.parity_required || version.parity) return {};
  return fail(
      Code::kFailedPrecondition, "models.no_parity",
      fmt::format("Version {} of '{}' has no parity proof.", version.number, version.model),
      "Run models.parity before models.register, or set parity_required: false for a model that was never converted.");
}

}  // namespace

Result<GateReport> judge(Models& models, std::string_view model, std::int64_t number, std::string_view requirement_name,
                         const std::filesystem::path& data, const GateOptions& options) {
  const requirements::Requirement requirement = TM_TRY(models.parts().requirements.active(requirement_name));
  const VersionDetail version = TM_TRY(models.detail(model, number));
  TM_CHECK(check_parity(version, options));
  const auto candidate = TM_TRY(models.scorer(model, number));
  const auto champion = TM_TRY(find_champion(models, model, number, options));
  const std::string& label = options.label_column.empty() ? candidate->label_column : options.label_column;
  if (label.empty()) {
    return fail(Code::kInvalidArgument, "models.no_label",
                fmt::format("Version {} of '{}' names no label column.", number, model),
                "Set label_column in columns.json or for the gate.");
  }
  const Labelled rows = TM_TRY(read_labelled(models, data, *candidate, champion.get(), label));

  GateReport report;
  report.requirement = requirement.name;
  report.requirement_revision = requirement.revision;
  report.rows = static_cast<std::int64_t>(rows.labels.size());
  report.positives = rows.positives;
  report.data = TM_TRY(file_digest(data));
  report.reason = too_little(rows, options);
  if (!report.reason.empty()) return report;

  const std::vector<double> scores = TM_TRY(candidate->score(rows.frame));
  Measured measured = TM_TRY(measure(number, scores, rows, requirement.threshold));
  TM_CHECK(measure_latency(*candidate, rows.frame, measured.metrics));
  report.candidate = measured.performance;
  report.metrics = std::move(measured.metrics);
  report.verdicts = requirements::evaluate(requirement, report.metrics, requirements::On::gate);
  if (champion) {
    const std::vector<double> theirs = TM_TRY(champion->score(rows.frame));
    report.champion = TM_TRY(measure(champion->number, theirs, rows, requirement.threshold)).performance;
    report.difference = TM_TRY(compare(scores, theirs, rows, options));
  }
  report.passed = requirements::all_met(report.verdicts) && (!report.difference || report.difference->met);
  report.reason = explain(report, options);
  return report;
}

}  // namespace tidemill::models
