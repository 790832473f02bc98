#include "flow/datasets/diff.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>

#include "statistics/baseline.h"

namespace tidemill::datasets {
namespace {

constexpr std::size_t kCategoriesMax = 200;  // of text; rarer values are one bin

// A column that both versions have.
struct Common {
  std::string name;
  std::string quoted;
  bool same_type = true;
  Type type = Type::text;
};

Result<std::vector<Common>> compare_schemas(const Version& from, const Version& to, Diff& diff) {
  std::vector<Common> common;
  for (const auto& column : from.schema) {
    const auto other = std::ranges::find(to.schema, column.name, &ColumnType::name);
    if (other == to.schema.end()) {
      diff.columns_removed.push_back(column);
      continue;
    }
    if (other->type != column.type) diff.types_changed.push_back({column.name, column.type, other->type});
    common.push_back(
        {column.name, TM_TRY(tables::quote_identifier(column.name)), other->type == column.type, column.type});
  }
  for (const auto& column : to.schema) {
    if (std::ranges::find(from.schema, column.name, &ColumnType::name) == from.schema.end())
      diff.columns_added.push_back(column);
  }
  return common;
}

Result<std::int64_t> count(tables::Tables& tables, const std::string& sql, const std::vector<tables::Param>& params) {
  return TM_TRY(tables.query({"datasets.diff", sql}, params)).columns[0].integers()[0];
}

Result<void> compare_rows(tables::Tables& tables, const Side& from, const Side& to, const std::vector<Common>& common,
                          Diff& diff) {
  if (common.empty()) {
    diff.rows_removed = diff.rows_from;
    diff.rows_added = diff.rows_to;
    return {};
  }
  std::vector<std::string> names;
  for (const auto& column : common)
    names.push_back(column.same_type ? column.quoted : fmt::format("CAST({} AS VARCHAR)", column.quoted));
  // sql: names are quoted, values bound
  const std::string text =
      fmt::format("SELECT count(*) FROM (SELECT {0} FROM read_parquet($1) EXCEPT ALL SELECT {0} FROM read_parquet($2))",
                  fmt::join(names, ", "));
  diff.rows_removed = TM_TRY(count(tables, text, {tables::texts(from.files), tables::texts(to.files)}));
  diff.rows_added = TM_TRY(count(tables, text, {tables::texts(to.files), tables::texts(from.files)}));
  return {};
}

// Counts rows whose keys are in both versions and whose other values differ.
Result<void> compare_keyed(tables::Tables& tables, const Side& from, const Side& to, const std::vector<Common>& common,
                           const std::vector<std::string>& keys, Diff& diff) {
  std::vector<std::string> same;
  std::vector<std::string> other{"false"};
  for (const auto& column : common) {
    const bool key = std::ranges::find(keys, column.name) != keys.end();
    if (key && !column.same_type) return {};
    if (key) {
      same.push_back(fmt::format("a.{0} = b.{0}", column.quoted));
    } else if (column.same_type) {
      other.push_back(fmt::format("a.{0} IS DISTINCT FROM b.{0}", column.quoted));
    }
  }
  if (keys.empty() || same.size() != keys.size()) return {};
  // sql: names are quoted, values bound
  const std::string text = fmt::format("SELECT count(*) FROM read_parquet($1) a JOIN read_parquet($2) b ON {} WHERE {}",
                                       fmt::join(same, " AND "), fmt::join(other, " OR "));
  diff.rows_changed = TM_TRY(count(tables, text, {tables::texts(from.files), tables::texts(to.files)}));
  return {};
}

std::vector<double> numbers(const tables::Column& column) {
  std::vector<double> values(column.size());
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = column.number(i);
  return values;
}

std::vector<std::int32_t> codes(const tables::Column& column, const std::map<std::string, std::int32_t>& categories) {
  std::vector<std::int32_t> out(column.size(), statistics::kMissingCode);
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (column.is_missing(i)) continue;
    const auto found = categories.find(column.texts()[i]);
    out[i] = found == categories.end() ? statistics::kOtherCode : found->second;
  }
  return out;
}

Result<statistics::FeatureDrift> text_drift(const tables::Column& from, const tables::Column& to) {
  std::map<std::string, std::int64_t> counts;
  for (std::size_t i = 0; i < from.size(); ++i) {
    if (!from.is_missing(i)) ++counts[from.texts()[i]];
  }
  std::vector<std::pair<std::string, std::int64_t>> ordered(counts.begin(), counts.end());
  std::ranges::stable_sort(ordered, std::ranges::greater{}, &std::pair<std::string, std::int64_t>::second);
  ordered.resize(std::min(ordered.size(), kCategoriesMax));
  std::vector<std::string> categories;
  std::map<std::string, std::int32_t> places;
  for (const auto& [value, times] : ordered) {
    places[value] = static_cast<std::int32_t>(categories.size());
    categories.push_back(value);
  }
  const auto baseline = statistics::category_baseline(from.name, categories, codes(from, places));
  return statistics::category_drift(baseline, codes(to, places));
}

Result<ColumnShift> compare_column(tables::Tables& tables, const Side& from, const Side& to, const Common& column) {
  const auto before = TM_TRY(tables.read_files(from.files, {column.name}));
  const auto now = TM_TRY(tables.read_files(to.files, {column.name}));
  ColumnShift shift{};
  shift.name = column.name;
  shift.type = column.type;
  statistics::FeatureDrift drift;
  if (column.type == Type::text) {
    drift = TM_TRY(text_drift(before.columns[0], now.columns[0]));
  } else {
    const auto baseline = statistics::number_baseline(column.name, numbers(before.columns[0]));
    drift = TM_TRY(statistics::number_drift(baseline, numbers(now.columns[0])));
    shift.mean_from = baseline.mean;
  }
  shift.missing_share_from = drift.missing_share_before;
  shift.missing_share_to = drift.missing_share;
  shift.mean_to = drift.mean;
  shift.psi = drift.psi;
  shift.psi_p = drift.psi_p;
  shift.ks = drift.ks;
  shift.p = drift.p;
  return shift;
}

}  // namespace

Result<Diff> compare(tables::Tables& tables, const Side& from, const Side& to, const std::vector<std::string>& keys) {
  Diff diff{};
  diff.dataset = from.version.dataset;
  diff.from = from.version.number;
  diff.to = to.version.number;
  diff.rows_from = from.version.rows;
  diff.rows_to = to.version.rows;
  const auto common = TM_TRY(compare_schemas(from.version, to.version, diff));
  TM_CHECK(compare_rows(tables, from, to, common, diff));
  TM_CHECK(compare_keyed(tables, from, to, common, keys, diff));
  for (const auto& column : common) {
    if (column.same_type) diff.shifts.push_back(TM_TRY(compare_column(tables, from, to, column)));
  }
  return diff;
}

}  // namespace tidemill::datasets
