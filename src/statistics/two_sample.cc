#include "statistics/two_sample.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include <fmt/format.h>

#include "statistics/checks.h"
#include "statistics/distributions.h"

namespace tidemill::statistics {
namespace {

Result<void> check_not_empty(const SortedSample& a, const SortedSample& b) {
  if (!a.values.empty() && !b.values.empty()) return {};
  return fail(Code::kInvalidArgument, "statistics.empty",
              fmt::format("One sample has {} values, the other {}.", a.values.size(), b.values.size()),
              "Give two samples that each have a value that is not missing.");
}

// Two rows of counts without the categories that occur in neither.
struct Table {
  std::vector<double> a;
  std::vector<double> b;
  double sum_a = 0;
  double sum_b = 0;
};

Result<Table> make_table(std::span<const double> counts_a, std::span<const double> counts_b) {
  if (counts_a.size() != counts_b.size()) {
    return fail(Code::kInvalidArgument, "statistics.length",
                fmt::format("One sample counts {} categories, the other {}.", counts_a.size(), counts_b.size()),
                "Count both over the same categories.");
  }
  Table table;
  for (std::size_t i = 0; i < counts_a.size(); ++i) {
    for (const double count : {counts_a[i], counts_b[i]}) {
      if (!(count >= 0) || std::isinf(count)) {
        return fail(Code::kInvalidArgument, "statistics.count", fmt::format("Count {} is {}.", i, count),
                    "Counts are finite and not negative.");
      }
    }
    if (counts_a[i] == 0 && counts_b[i] == 0) continue;
    table.a.push_back(counts_a[i]);
    table.b.push_back(counts_b[i]);
    table.sum_a += counts_a[i];
    table.sum_b += counts_b[i];
  }
  if (table.sum_a == 0 || table.sum_b == 0) {
    return fail(Code::kInvalidArgument, "statistics.empty",
                fmt::format("One sample has {} rows, the other {}.", table.sum_a, table.sum_b),
                "Give two samples that each have a row.");
  }
  return table;
}

// x ln(x / y), 0 for x = 0.
double relative_entropy(double x, double y) { return x == 0 ? 0.0 : x * std::log(x / y); }

}  // namespace

Result<KsTest> ks_two_sample(const SortedSample& a, const SortedSample& b) {
  TM_CHECK(check_not_empty(a, b));
  const auto n1 = static_cast<double>(a.values.size());
  const auto n2 = static_cast<double>(b.values.size());
  std::size_t i = 0;
  std::size_t j = 0;
  double widest = 0;
  while (i < a.values.size() && j < b.values.size()) {
    const double value = std::min(a.values[i], b.values[j]);
    while (i < a.values.size() && a.values[i] == value) ++i;
    while (j < b.values.size() && b.values[j] == value) ++j;
    widest = std::max(widest, std::abs(static_cast<double>(i) / n1 - static_cast<double>(j) / n2));
  }
  const auto n = static_cast<std::int64_t>(std::nearbyint(n1 * n2 / (n1 + n2)));  // half to even, as numpy rounds
  return KsTest{widest, std::clamp(kolmogorov_survival(n, widest), 0.0, 1.0)};
}

Result<double> wasserstein(const SortedSample& a, const SortedSample& b) {
  TM_CHECK(check_not_empty(a, b));
  for (const double end : {a.values.front(), a.values.back(), b.values.front(), b.values.back()}) {
    if (std::isinf(end)) {
      return fail(Code::kInvalidArgument, "statistics.infinite", "A sample holds an infinite value.",
                  "Leave infinite values out: no finite distance reaches them.");
    }
  }
  const auto n1 = static_cast<double>(a.values.size());
  const auto n2 = static_cast<double>(b.values.size());
  std::size_t i = 0;
  std::size_t j = 0;
  Sum area;
  double before = std::min(a.values[0], b.values[0]);
  while (i < a.values.size() || j < b.values.size()) {
    const double value =
        j >= b.values.size() || (i < a.values.size() && a.values[i] <= b.values[j]) ? a.values[i] : b.values[j];
    area.add(std::abs(static_cast<double>(i) / n1 - static_cast<double>(j) / n2) * (value - before));
    while (i < a.values.size() && a.values[i] == value) ++i;
    while (j < b.values.size() && b.values[j] == value) ++j;
    before = value;
  }
  return area.value();
}

Result<Chi2Test> chi2_two_sample(std::span<const double> counts_a, std::span<const double> counts_b) {
  const Table table = TM_TRY(make_table(counts_a, counts_b));
  Chi2Test test;
  test.degrees = static_cast<std::int64_t>(table.a.size()) - 1;
  if (test.degrees < 1) return test;
  const double all = table.sum_a + table.sum_b;
  Sum statistic;
  for (std::size_t i = 0; i < table.a.size(); ++i) {
    const double expected_a = (table.a[i] + table.b[i]) * table.sum_a / all;
    const double expected_b = (table.a[i] + table.b[i]) * table.sum_b / all;
    double distance = std::abs(table.a[i] - expected_a);  // the same for b: the column's sum is fixed
    if (test.degrees == 1) distance -= std::min(0.5, distance);
    statistic.add(distance * distance / expected_a);
    statistic.add(distance * distance / expected_b);
  }
  test.statistic = statistic.value();
  test.p = chi2_survival(test.statistic, static_cast<double>(test.degrees));
  return test;
}

Result<double> jensen_shannon(std::span<const double> counts_a, std::span<const double> counts_b) {
  const Table table = TM_TRY(make_table(counts_a, counts_b));
  Sum divergence;
  for (std::size_t i = 0; i < table.a.size(); ++i) {
    const double p = table.a[i] / table.sum_a;
    const double q = table.b[i] / table.sum_b;
    const double middle = (p + q) / 2;
    divergence.add(relative_entropy(p, middle) / 2);
    divergence.add(relative_entropy(q, middle) / 2);
  }
  return std::sqrt(std::max(0.0, divergence.value()));
}

Result<Psi> psi(std::span<const double> counts_before, std::span<const double> counts_now) {
  const Table table = TM_TRY(make_table(counts_before, counts_now));
  const auto bins = static_cast<double>(table.a.size());
  Psi result;
  if (table.a.size() < 2) return result;
  const double all_before = table.sum_a + bins / 2;
  const double all_now = table.sum_b + bins / 2;
  Sum total;
  for (std::size_t i = 0; i < table.a.size(); ++i) {
    const double before = (table.a[i] + 0.5) / all_before;
    const double now = (table.b[i] + 0.5) / all_now;
    total.add((now - before) * std::log(now / before));
  }
  result.value = std::max(0.0, total.value());
  const double noise = 1 / table.sum_a + 1 / table.sum_b;
  result.no_drift = (bins - 1) * noise;
  result.p = chi2_survival(result.value / noise, bins - 1);
  return result;
}

}  // namespace tidemill::statistics
