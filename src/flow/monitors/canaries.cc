#include "flow/monitors/canaries.h"

#include <fmt/format.h>

#include <algorithm>

namespace tidemill::monitors {

Result<Judgement> judge(const deployments::CanaryRule& rule, std::span<const double> candidate,
                        std::span<const double> champion, std::span<const std::uint8_t> labels) {
  Judgement judgement;
  const auto positives = std::ranges::count(labels, 1);
  const auto rows = static_cast<std::int64_t>(labels.size());
  if (rows < rule.labels_min || positives == 0 || positives == rows) {
    judgement.reason = fmt::format("{} of {} labels", rows, rule.labels_min);
    return judgement;
  }
  const double candidate_auc = TM_TRY(statistics::auc(candidate, labels)).estimate.value;
  const double champion_auc = TM_TRY(statistics::auc(champion, labels)).estimate.value;
  const auto difference = TM_TRY(statistics::auc_difference(candidate, champion, labels));
  const bool good = difference.difference.value >= -rule.margin;
  judgement.ruling = good ? Ruling::promote : Ruling::roll_back;
  judgement.reason = fmt::format("AUC {:.4f} against the champion's {:.4f} on the same {} labelled rows ({} -{:g})",
                                 candidate_auc, champion_auc, rows, good ? "no worse than" : "worse than", rule.margin);
  judgement.evidence = json::Object{{"candidate_auc", candidate_auc},
                                    {"champion_auc", champion_auc},
                                    {"difference", json::to_json(difference.difference)},
                                    {"p", difference.p},
                                    {"rows", rows},
                                    {"positives", positives},
                                    {"margin", rule.margin}};
  return judgement;
}

}  // namespace tidemill::monitors
