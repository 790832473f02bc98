#include "flow/requirements/metrics.h"

#include <algorithm>
#include <array>
#include <limits>

namespace tidemill::requirements {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

constexpr std::array kMetrics = {
    Metric{"auc", "share", Better::higher, 0, 1,
           "share of (positive, negative) pairs in which the positive scores higher, ties one half"},
    Metric{"auc_low", "share", Better::higher, 0, 1, "lower end of the 95 % interval of auc (DeLong)"},
    Metric{"gini", "share", Better::higher, -1, 1, "2 auc - 1"},
    Metric{"ks", "share", Better::higher, 0, 1, "greatest distance of the score distributions of the two classes"},
    Metric{"brier", "squared probability", Better::lower, 0, 1, "mean of (probability - label)^2"},
    Metric{"brier_high", "squared probability", Better::lower, 0, 1, "upper end of the 95 % interval of brier"},
    Metric{"log_loss", "nats", Better::lower, 0, kInfinity, "mean of -ln(probability given to what happened)"},
    Metric{"accuracy", "share", Better::higher, 0, 1, "share of rows called rightly at the threshold"},
    Metric{"precision", "share", Better::higher, 0, 1,
           "share of positives among the rows called positive at the threshold"},
    Metric{"recall", "share", Better::higher, 0, 1, "share of the positives that are called positive at the threshold"},
    Metric{"f1", "share", Better::higher, 0, 1, "harmonic mean of precision and recall"},
    Metric{"rows", "rows", Better::higher, 0, kInfinity, "labelled rows that were judged"},
    Metric{"positives", "rows", Better::higher, 0, kInfinity, "rows among them with label 1"},
    Metric{"latency_ms_p50", "ms", Better::lower, 0, kInfinity, "median time of one prediction of one row"},
    Metric{"latency_ms_p99", "ms", Better::lower, 0, kInfinity,
           "99th percentile of the time of one prediction of one row"},
};

}  // namespace

std::span<const Metric> known_metrics() { return kMetrics; }

const Metric* find_metric(std::string_view name) {
  const auto found = std::find_if(kMetrics.begin(), kMetrics.end(), [&](const Metric& m) { return m.name == name; });
  return found == kMetrics.end() ? nullptr : &*found;
}

}  // namespace tidemill::requirements
