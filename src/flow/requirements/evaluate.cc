// How rules are judged.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "flow/requirements/requirements.h"

namespace tidemill::requirements {
namespace {

bool holds(double value, std::string_view op, double limit) {
  if (op == ">=") return value >= limit;
  if (op == ">") return value > limit;
  if (op == "<=") return value <= limit;
  return op == "<" && value < limit;
}

}  // namespace

std::vector<Verdict> evaluate(const Requirement& requirement, const Metrics& metrics, On place) {
  std::vector<Verdict> verdicts;
  for (const Rule& rule : requirement.rules) {
    if (rule.on != On::newest_window && rule.on != place) continue;
    Verdict verdict{rule, std::nullopt, false};
    const auto measured = metrics.find(rule.metric);
    if (measured != metrics.end() && !std::isnan(measured->second)) {
      verdict.value = measured->second;
      verdict.met = holds(measured->second, rule.op, rule.value);
    }
    verdicts.push_back(std::move(verdict));
  }
  return verdicts;
}

bool all_met(const std::vector<Verdict>& verdicts) {
  return std::all_of(verdicts.begin(), verdicts.end(), [](const Verdict& v) { return v.met; });
}

std::string describe_misses(const std::vector<Verdict>& verdicts) {
  std::string text;
  for (const Verdict& verdict : verdicts) {
    if (verdict.met) continue;
    if (!text.empty()) text += "; ";
    text += verdict.value ? fmt::format("{} {:.4g} misses {} {:g}", verdict.rule.metric, *verdict.value,
                                        verdict.rule.op, verdict.rule.value)
                          : fmt::format("{} was not measured", verdict.rule.metric);
  }
  return text;
}

}  // namespace tidemill::requirements
