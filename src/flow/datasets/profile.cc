#include "flow/datasets/profile.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "flow/datasets/rules.h"

namespace tidemill::datasets {
namespace {

constexpr int kBins = 20;
constexpr int kTopValues = 10;
constexpr std::int64_t kGroupsMax = 20'000;  // distinct numbers that are counted one by one
// Columns summed up by one query: keeps plans small for tables of thousands of columns.
constexpr std::size_t kColumnsPerQuery = 64;

bool is_number(Type type) { return type != Type::text; }

// The measures of column number `i`, named m<i>_….
Result<std::string> measures(const ColumnType& column, std::size_t i) {
  const std::string name = TM_TRY(tables::quote_identifier(column.name));
  // sql: holds quoted names only
  std::string text = fmt::format("count({0}) AS m{1}_count, approx_count_distinct({0}) AS m{1}_distinct", name, i);
  if (!is_number(column.type)) return text;
  const std::string number = fmt::format("CAST({} AS DOUBLE)", TM_TRY(number_sql(column)));
  const std::string where = column.type == Type::real ? fmt::format(" FILTER (WHERE isfinite({}))", name) : "";
  text += fmt::format(
      ", count({0}){2} AS m{1}_finite, min({0}){2} AS m{1}_min, max({0}){2} AS m{1}_max, avg({0}){2} AS m{1}_mean,"
      " stddev_samp({0}){2} AS m{1}_sd",
      number, i, where);
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
  return profile;
}

// Where numbers are counted: the bins of the histogram between the smallest and the largest value.
class Bins {
 public:
  Bins(double low, double high) : low_(low), high_(high), several_(low < high && std::isfinite(high - low)) {
    histogram_.counts.resize(several_ ? kBins : 1);
    for (std::size_t i = 0; i < histogram_.counts.size(); ++i)
      histogram_.edges.push_back(low + static_cast<double>(i) * width());
    histogram_.edges.push_back(high);
  }
  [[nodiscard]] double width() const { return (high_ - low_) / kBins; }
  [[nodiscard]] bool several() const { return several_; }
  void add(double value, std::int64_t times) { add_to(several_ ? std::floor((value - low_) / width()) : 0, times); }
  void add_to(double bin, std::int64_t times) {
    histogram_.counts[several_ ? static_cast<std::size_t>(std::clamp(bin, 0.0, kBins - 1.0)) : 0] += times;
  }
  [[nodiscard]] Histogram take() { return std::move(histogram_); }

 private:
  const double low_;
  const double high_;
  const bool several_;
  Histogram histogram_;
};

// The condition that a value can be placed on a line.
Result<std::string> finite_sql(const ColumnType& column) {
  const std::string name = TM_TRY(tables::quote_identifier(column.name));
  return column.type == Type::real ? fmt::format("isfinite({})", name) : name + " IS NOT NULL";
}

// The `share` quantile of values in ascending order that stand `counts` times each: linear between neighbours (Hyndman
// & Fan 1996, type 7), as quantile_cont.
double quantile_of(const std::vector<double>& values, const std::vector<std::int64_t>& counts, std::int64_t total,
                   double share) {
  const double place = static_cast<double>(total - 1) * share;
  const auto below = static_cast<std::int64_t>(place);
  std::size_t i = 0;
  std::int64_t end = counts[0];  // how many values stand up to and including number i
  while (end <= below) end += counts[++i];
  const double low = values[i];
  const double high = below + 1 < end || i + 1 == values.size() ? low : values[i + 1];
  return low == high ? low : low + (high - low) * (place - static_cast<double>(below));
}

std::string value_text(const ColumnType& column, double value) {
  if (column.type == Type::boolean) return value != 0 ? "true" : "false";
  return std::to_string(static_cast<std::int64_t>(value));
}

// Whether the most frequent values of such numbers are told. Past 2^53 a real does not hold every integer.
bool has_top(const ColumnType& column, const ColumnProfile& profile) {
  constexpr double kExact = 9007199254740992.0;
  return column.type == Type::boolean ||
         (column.type == Type::integer && std::abs(*profile.min) <= kExact && std::abs(*profile.max) <= kExact);
}

// A column of few distinct numbers: everything else exactly, from one count of each.
Result<void> fill_grouped(tables::Tables& tables, const tables::Param& files, const ColumnType& column,
                          ColumnProfile& profile) {
  // sql: holds quoted names only
  const std::string text =
      fmt::format("SELECT CAST({} AS DOUBLE), count(*) FROM read_parquet($1) WHERE {} GROUP BY 1 ORDER BY 1",
                  TM_TRY(number_sql(column)), TM_TRY(finite_sql(column)));
  const auto frame = TM_TRY(tables.query({"datasets.groups", text}, {files}));
  const auto& values = frame.columns[0].reals();
  const auto& counts = frame.columns[1].integers();
  const std::int64_t total = profile.count - profile.not_finite;
  if (profile.not_finite == 0) profile.distinct = static_cast<std::int64_t>(frame.rows);
  Bins bins(*profile.min, *profile.max);
  for (std::size_t i = 0; i < frame.rows; ++i) bins.add(values[i], counts[i]);
  profile.histogram = bins.take();
  const auto at = [&](double share) { return quantile_of(values, counts, total, share); };
  profile.quantiles = Quantiles{at(0.01), at(0.05), at(0.25), at(0.5), at(0.75), at(0.95), at(0.99)};
  if (!has_top(column, profile)) return {};
  std::vector<std::size_t> order(frame.rows);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, std::ranges::greater{}, [&](std::size_t i) { return counts[i]; });
  order.resize(std::min<std::size_t>(order.size(), kTopValues));
  for (const std::size_t i : order) profile.top.push_back({value_text(column, values[i]), counts[i]});
  return {};
}

// A column of many distinct numbers.
Result<void> fill_spread(tables::Tables& tables, const tables::Param& files, const ColumnType& column, bool exact,
                         ColumnProfile& profile) {
  const std::string number = fmt::format("CAST({} AS DOUBLE)", TM_TRY(number_sql(column)));
  const std::string finite = TM_TRY(finite_sql(column));
  Bins bins(*profile.min, *profile.max);
  if (bins.several()) {
    // sql: holds quoted names only; values are bound
    const std::string text =
        fmt::format("SELECT floor(({} - $2) / $3), count(*) FROM read_parquet($1) WHERE {} GROUP BY 1", number, finite);
    const auto frame = TM_TRY(tables.query({"datasets.histogram", text}, {files, *profile.min, bins.width()}));
    for (std::size_t i = 0; i < frame.rows; ++i)
      bins.add_to(frame.columns[0].number(i), frame.columns[1].integers()[i]);
  } else {
    bins.add_to(0, profile.count - profile.not_finite);
  }
  profile.histogram = bins.take();
  // sql: holds quoted names only
  const std::string text = fmt::format(
      "SELECT q[1], q[2], q[3], q[4], q[5], q[6], q[7] FROM (SELECT {}({}, [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99]) "
      "AS q"
      " FROM read_parquet($1) WHERE {})",
      exact ? "quantile_cont" : "approx_quantile", number, finite);
  const auto frame = TM_TRY(tables.query({"datasets.quantiles", text}, {files}));
  const auto at = [&](std::size_t i) { return frame.columns[i].number(0); };
  profile.quantiles = Quantiles{at(0), at(1), at(2), at(3), at(4), at(5), at(6)};
  return {};
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
    std::string list;
    for (std::size_t i = from; i < to; ++i) list += (i > from ? ", " : "") + TM_TRY(measures(schema[i], i));
    // sql: holds quoted names only
    const auto frame =
        TM_TRY(tables.query({"datasets.profile", fmt::format("SELECT {} FROM read_parquet($1)", list)}, {param}));
    std::size_t at = 0;
    for (std::size_t i = from; i < to; ++i) profile.columns.push_back(read_measures(schema[i], frame, at, rows));
  }
  for (std::size_t i = 0; i < schema.size(); ++i) {
    ColumnProfile& column = profile.columns[i];
    const bool grouped = column.distinct <= kGroupsMax;
    if (column.min && grouped) TM_CHECK(fill_grouped(tables, param, schema[i], column));
    if (column.min && !grouped) TM_CHECK(fill_spread(tables, param, schema[i], exact, column));
    const bool counted = schema[i].type == Type::text || (schema[i].type == Type::integer && column.top.empty());
    if (counted && column.count > 0) column.top = TM_TRY(top_of(tables, param, schema[i]));
  }
  return profile;
}

}  // namespace tidemill::datasets
