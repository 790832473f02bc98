#include "flow/datasets/profile.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>

#include "flow/datasets/rules.h"

namespace tidemill::datasets {
namespace {

constexpr int kBins = 20;
constexpr int kTopValues = 10;
// Columns summed up by one query: keeps plans small for tables of thousands of columns.
constexpr std::size_t kColumnsPerQuery = 64;

bool is_number(Type type) { return type != Type::text; }

// The measures of column number `i`, named m<i>_….
Result<std::string> measures(const ColumnType& column, std::size_t i, bool exact) {
  const std::string name = TM_TRY(tables::quote_identifier(column.name));
  // sql: holds quoted names only
  std::string text = fmt::format("count({0}) AS m{1}_count, approx_count_distinct({0}) AS m{1}_distinct", name, i);
  if (!is_number(column.type)) return text;
  const std::string number = fmt::format("CAST({} AS DOUBLE)", TM_TRY(number_sql(column)));
  const std::string where = column.type == Type::real ? fmt::format(" FILTER (WHERE isfinite({}))", name) : "";
  text += fmt::format(
      ", count({0}){2} AS m{1}_finite, min({0}){2} AS m{1}_min, max({0}){2} AS m{1}_max, avg({0}){2} AS m{1}_mean,"
      " stddev_samp({0}){2} AS m{1}_sd, {3}({0}, [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99]){2} AS m{1}_q",
      number, i, where, exact ? "quantile_cont" : "approx_quantile");
  return text;
}

// What is taken out of the measures: lists of quantiles one by one, since a frame holds no lists.
std::string outputs(const ColumnType& column, std::size_t i) {
  std::string text = fmt::format("m{0}_count, m{0}_distinct", i);
  if (!is_number(column.type)) return text;
  text += fmt::format(", m{0}_finite, m{0}_min, m{0}_max, m{0}_mean, m{0}_sd", i);
  for (int q = 1; q <= 7; ++q) text += fmt::format(", CAST(m{0}_q[{1}] AS DOUBLE) AS m{0}_q{1}", i, q);
  return text;
}

std::optional<double> maybe(const tables::Column& column) {
  return column.is_missing(0) ? std::nullopt : std::optional(column.number(0));
}

// Reads the measures of one column off the answer, from frame column `at` on.
ColumnProfile read_measures(const ColumnType& column, const tables::Frame& frame, std::size_t& at, std::int64_t rows) {
  ColumnProfile profile{};
  profile.name = column.name;
  profile.type = column.type;
  profile.count = frame.columns[at++].integers()[0];
  profile.distinct = std::min(frame.columns[at++].integers()[0], profile.count);
  profile.missing = rows - profile.count;
  if (!is_number(column.type)) return profile;
  profile.not_finite = profile.count - frame.columns[at++].integers()[0];
  profile.min = maybe(frame.columns[at++]);
  profile.max = maybe(frame.columns[at++]);
  profile.mean = maybe(frame.columns[at++]);
  profile.sd = maybe(frame.columns[at++]);
  double q[7];
  const bool there = !frame.columns[at].is_missing(0);
  for (double& one : q) one = frame.columns[at++].number(0);
  if (there) profile.quantiles = Quantiles{q[0], q[1], q[2], q[3], q[4], q[5], q[6]};
  return profile;
}

Result<Histogram> histogram_of(tables::Tables& tables, const tables::Param& files, const ColumnType& column,
                               const ColumnProfile& profile) {
  const double low = *profile.min;
  const double high = *profile.max;
  if (!(low < high) || !std::isfinite(high - low)) return Histogram{{low, high}, {profile.count - profile.not_finite}};
  const double width = (high - low) / kBins;
  const std::string name = TM_TRY(tables::quote_identifier(column.name));
  // sql: holds quoted names only; values are bound
  const std::string text = fmt::format(
      "SELECT CAST(greatest(0, least(floor((CAST({} AS DOUBLE) - $2) / $3), {})) AS BIGINT), count(*) FROM "
      "read_parquet($1) WHERE {} GROUP BY 1",
      TM_TRY(number_sql(column)), kBins - 1,
      column.type == Type::real ? fmt::format("isfinite({})", name) : name + " IS NOT NULL");
  const auto frame = TM_TRY(tables.query({"datasets.histogram", text}, {files, low, width}));
  Histogram histogram{{}, std::vector<std::int64_t>(kBins)};
  for (int i = 0; i < kBins; ++i) histogram.edges.push_back(low + i * width);
  histogram.edges.push_back(high);
  for (std::size_t i = 0; i < frame.rows; ++i) {
    histogram.counts[static_cast<std::size_t>(frame.columns[0].integers()[i])] = frame.columns[1].integers()[i];
  }
  return histogram;
}

Result<std::vector<TopValue>> top_of(tables::Tables& tables, const tables::Param& files, const ColumnType& column) {
  // sql: holds quoted names only
  const std::string text = fmt::format(
      "SELECT CAST({0} AS VARCHAR), count(*) FROM read_parquet($1) WHERE {0} IS NOT NULL GROUP BY {0} ORDER BY 2 DESC, "
      "{0} LIMIT {1}",
      TM_TRY(tables::quote_identifier(column.name)), kTopValues);
  const auto frame = TM_TRY(tables.query({"datasets.top", text}, {files}));
  std::vector<TopValue> top;
  for (std::size_t i = 0; i < frame.rows; ++i)
    top.push_back({frame.columns[0].texts()[i], frame.columns[1].integers()[i]});
  return top;
}

}  // namespace

Result<Profile> make_profile(tables::Tables& tables, const std::vector<std::filesystem::path>& files,
                             const std::vector<ColumnType>& schema, std::int64_t rows) {
  const tables::Param param = tables::texts(files);
  const bool exact =
      rows * std::ranges::count_if(schema, [](const auto& c) { return is_number(c.type); }) <= kExactCellsMax;
  Profile profile;
  profile.rows = rows;
  for (std::size_t from = 0; from < schema.size(); from += kColumnsPerQuery) {
    const std::size_t to = std::min(schema.size(), from + kColumnsPerQuery);
    std::string inner;
    std::string outer;
    for (std::size_t i = from; i < to; ++i) {
      inner += (i > from ? ", " : "") + TM_TRY(measures(schema[i], i, exact));
      outer += (i > from ? ", " : "") + outputs(schema[i], i);
    }
    // sql: holds quoted names only
    const std::string text = fmt::format("SELECT {} FROM (SELECT {} FROM read_parquet($1))", outer, inner);
    const auto frame = TM_TRY(tables.query({"datasets.profile", text}, {param}));
    std::size_t at = 0;
    for (std::size_t i = from; i < to; ++i) profile.columns.push_back(read_measures(schema[i], frame, at, rows));
  }
  for (std::size_t i = 0; i < schema.size(); ++i) {
    ColumnProfile& column = profile.columns[i];
    if (column.min) column.histogram = TM_TRY(histogram_of(tables, param, schema[i], column));
    const bool counted =
        schema[i].type == Type::text || schema[i].type == Type::boolean || schema[i].type == Type::integer;
    if (counted && column.count > 0) column.top = TM_TRY(top_of(tables, param, schema[i]));
  }
  return profile;
}

}  // namespace tidemill::datasets
