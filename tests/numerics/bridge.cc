// Lets Python call src/statistics: one request a line on standard input, one answer a line on standard output.
//   request:  FUNCTION followed by arrays, each as its length and its values (C99 hexadecimal, "nan", "inf")
//   answer:   the numbers of the result as C99 hexadecimal, or "error REASON"
#include <cstdio>
#include <functional>
#include <iostream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "statistics/baseline.h"
#include "statistics/classification.h"
#include "statistics/distributions.h"
#include "statistics/ranking.h"
#include "statistics/two_sample.h"

namespace {

using namespace tidemill::statistics;
using Numbers = std::vector<double>;
using Arrays = std::vector<Numbers>;
using Answer = tidemill::Result<Numbers>;

std::vector<std::uint8_t> labels(const Numbers& values) { return {values.begin(), values.end()}; }
std::vector<std::int32_t> codes(const Numbers& values) { return {values.begin(), values.end()}; }

Answer ks(const Arrays& a) {
  const auto test = TM_TRY(ks_two_sample(sorted_sample(a[0]), sorted_sample(a[1])));
  return Numbers{test.d, test.p};
}

Answer number_drift_of(const Arrays& a) {
  const auto drift = TM_TRY(number_drift(number_baseline("f", a[0]), a[1]));
  return Numbers{drift.psi,
                 drift.ks.value_or(-1),
                 drift.p.value_or(-1),
                 drift.wasserstein.value_or(-1),
                 drift.jensen_shannon,
                 drift.missing_share};
}

Answer category_drift_of(const Arrays& a) {
  std::vector<std::string> names;
  for (int i = 0; i < static_cast<int>(a[2][0]); ++i) names.push_back(std::to_string(i));
  const auto drift = TM_TRY(category_drift(category_baseline("f", names, codes(a[0])), codes(a[1])));
  return Numbers{drift.psi, drift.chi2.value_or(-1), drift.p.value_or(-1), drift.jensen_shannon};
}

Answer edges(const Arrays& a) {
  const auto baseline = number_baseline("f", a[0]);
  Numbers out = baseline.edges;
  out.insert(out.end(), baseline.counts.begin(), baseline.counts.end());
  return out;
}

const std::map<std::string, std::function<Answer(const Arrays&)>> kFunctions = {
    {"auc",
     [](const Arrays& a) -> Answer {
       const auto r = TM_TRY(auc(a[0], labels(a[1])));
       return Numbers{r.estimate.value, r.estimate.variance, r.estimate.low, r.estimate.high};
     }},
    {"auc_difference",
     [](const Arrays& a) -> Answer {
       const auto r = TM_TRY(auc_difference(a[0], a[1], labels(a[2])));
       return Numbers{r.difference.value, r.difference.variance, r.z, r.p};
     }},
    {"separation", [](const Arrays& a) -> Answer { return Numbers{TM_TRY(class_separation(a[0], labels(a[1])))}; }},
    {"brier",
     [](const Arrays& a) -> Answer {
       const auto r = TM_TRY(brier(a[0], labels(a[1])));
       return Numbers{r.value, r.variance};
     }},
    {"log_loss", [](const Arrays& a) -> Answer { return Numbers{TM_TRY(log_loss(a[0], labels(a[1])))}; }},
    {"confusion",
     [](const Arrays& a) -> Answer {
       const auto r = TM_TRY(confusion(a[0], labels(a[1]), a[2][0]));
       return Numbers{r.accuracy(), r.precision(), r.recall(), r.f1()};
     }},
    {"ks", ks},
    {"kolmogorov",
     [](const Arrays& a) -> Answer {
       return Numbers{kolmogorov_survival(static_cast<std::int64_t>(a[0][0]), a[0][1])};
     }},
    {"wasserstein",
     [](const Arrays& a) -> Answer { return Numbers{TM_TRY(wasserstein(sorted_sample(a[0]), sorted_sample(a[1])))}; }},
    {"chi2",
     [](const Arrays& a) -> Answer {
       const auto r = TM_TRY(chi2_two_sample(a[0], a[1]));
       return Numbers{r.statistic, r.p, static_cast<double>(r.degrees)};
     }},
    {"jensen_shannon", [](const Arrays& a) -> Answer { return Numbers{TM_TRY(jensen_shannon(a[0], a[1]))}; }},
    {"psi",
     [](const Arrays& a) -> Answer {
       const auto r = TM_TRY(psi(a[0], a[1]));
       return Numbers{r.value, r.no_drift, r.p};
     }},
    {"sort", [](const Arrays& a) -> Answer { return sorted_sample(a[0]).values; }},
    {"quantile",
     [](const Arrays& a) -> Answer { return Numbers{quantile_of_sorted(sorted_sample(a[0]).values, a[1][0])}; }},
    {"edges", edges},
    {"number_drift", number_drift_of},
    {"category_drift", category_drift_of},
};

}  // namespace

int main() {
  std::string line;
  while (std::getline(std::cin, line)) {
    std::istringstream words(line);
    std::string function;
    words >> function;
    Arrays arrays;
    for (std::size_t length = 0; words >> length;) {
      Numbers& values = arrays.emplace_back();
      values.reserve(length);
      for (std::string word; values.size() < length && words >> word;)
        values.push_back(std::strtod(word.c_str(), nullptr));
    }
    const auto found = kFunctions.find(function);
    if (found == kFunctions.end()) return 2;
    if (const Answer answer = found->second(arrays)) {
      for (const double value : *answer) std::printf("%a ", value);
      std::printf("\n");
    } else {
      std::printf("error %s\n", answer.error().reason.c_str());
    }
    std::fflush(stdout);
  }
}
