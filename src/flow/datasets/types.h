// What a dataset is: named data that grows or changes by versions, each with schema, profile and a quality report.
#pragma once

#include <boost/describe.hpp>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/enums.h"
#include "base/json.h"
#include "storage/tables/frame.h"

namespace tidemill::datasets {

using tables::ColumnType;
using tables::Type;

// not_null   no value of `column` is missing
// range      low <= value <= high, either may be left out; numbers, or times as RFC 3339 text or milliseconds
// one_of     the value as text is one of `values`
// pattern    the value as text matches all of `pattern` (RE2 syntax: linear in the text, whatever the pattern)
// unique     no two rows of the whole version have the same values in `column`, or in all of `columns` together
// row_count  low <= rows of the upload <= high
// monotone   the times or numbers of `column` never fall from one row to the next of the upload
// fresh      the newest time of `column` in the upload is at most `age_max` ("7d", "3h" …) old
// Missing values break not_null alone. NaN breaks range.
enum class RuleKind { unset, not_null, range, one_of, pattern, unique, row_count, monotone, fresh };
BOOST_DESCRIBE_ENUM(RuleKind, not_null, range, one_of, pattern, unique, row_count, monotone, fresh)

// Whether a broken rule refuses the version or is only told in its quality report.
enum class Severity { refuse, warn };
BOOST_DESCRIBE_ENUM(Severity, refuse, warn)

struct Rule {
  using json_defaults = void;
  std::string name;  // empty: made from the rest, such as "dep_time range 0..2400"
  RuleKind kind = RuleKind::unset;
  std::string column;
  std::vector<std::string> columns;  // of unique
  json::Value low;                   // of range and row_count: a number, or for times text; null = no limit
  json::Value high;
  std::vector<std::string> values;  // of one_of
  std::string pattern;
  std::string age_max;
  double share_max = 0;  // this share of the rows may break it, 0..1: of not_null, range, one_of, pattern
  Severity severity = Severity::refuse;
};
BOOST_DESCRIBE_STRUCT(Rule, (), (name, kind, column, columns, low, high, values, pattern, age_max, share_max, severity))

struct NewDataset {
  using json_defaults = void;
  std::string name;
  std::string description;
  std::string owner;
  std::vector<std::string> keys;  // columns that name a row: never missing, and together unique
  // Types that must not be inferred, by column; others are, from the first upload.
  std::vector<ColumnType> columns;
  // Words that mean missing in CSV when they stand without quotes; absent: NA, N/A, #N/A, NULL, null, \N.
  std::optional<std::vector<std::string>> missing;
  std::vector<Rule> rules;
};
BOOST_DESCRIBE_STRUCT(NewDataset, (), (name, description, owner, keys, columns, missing, rules))

struct Dataset {
  std::string name;
  std::string description;
  std::string owner;
  std::vector<std::string> keys;
  std::vector<ColumnType> columns;  // as declared
  std::optional<std::vector<std::string>> missing;
  std::vector<Rule> rules;
  std::int64_t latest = 0;  // number of the newest version; 0 = none yet
  std::int64_t rows = 0;    // of that version
  std::string made_by;
  std::int64_t made_ms = 0;
};
BOOST_DESCRIBE_STRUCT(Dataset, (),
                      (name, description, owner, keys, columns, missing, rules, latest, rows, made_by, made_ms))

// append adds the rows to those of the version before; replace takes them instead.
enum class Mode { append, replace };
BOOST_DESCRIBE_ENUM(Mode, append, replace)

// How the text of a CSV file is written. Never guessed: bytes of one encoding are often text in another, too.
enum class Encoding { utf8, gb18030 };
BOOST_DESCRIBE_ENUM(Encoding, utf8, gb18030)

enum class Format { csv, parquet };
BOOST_DESCRIBE_ENUM(Format, csv, parquet)

// One uploaded file, kept byte for byte.
struct Part {
  using json_defaults = void;
  std::string blob;  // SHA-256 of its bytes
  std::string filename;
  Format format = Format::csv;
  Encoding encoding = Encoding::utf8;  // of CSV
  std::int64_t rows = 0;
  std::int64_t bytes = 0;
  std::vector<std::string> missing;  // the words that meant missing when it was taken
};
BOOST_DESCRIBE_STRUCT(Part, (), (blob, filename, format, encoding, rows, bytes, missing))

struct TopValue {
  std::string value;
  std::int64_t count = 0;
};
BOOST_DESCRIBE_STRUCT(TopValue, (), (value, count))

// Counts of values in [edges[i], edges[i + 1]), the last bin with its right edge.
struct Histogram {
  std::vector<double> edges;
  std::vector<std::int64_t> counts;
};
BOOST_DESCRIBE_STRUCT(Histogram, (), (edges, counts))

struct Quantiles {
  double p01 = 0;
  double p05 = 0;
  double p25 = 0;
  double p50 = 0;
  double p75 = 0;
  double p95 = 0;
  double p99 = 0;
};
BOOST_DESCRIBE_STRUCT(Quantiles, (), (p01, p05, p25, p50, p75, p95, p99))

// Of the whole version. Numbers are of the values that are neither missing nor NaN nor infinite; times count as
// milliseconds, booleans as 0 and 1. `sd` is the sample's (n - 1).
struct ColumnProfile {
  std::string name;
  Type type = Type::text;
  std::int64_t count = 0;  // values that are there
  std::int64_t missing = 0;
  std::int64_t not_finite = 0;  // NaN and infinities among the values
  std::int64_t distinct = 0;    // exact while small, else by HyperLogLog: within some percent
  std::optional<double> min;
  std::optional<double> max;
  std::optional<double> mean;
  std::optional<double> sd;
  std::optional<Quantiles> quantiles;
  std::optional<Histogram> histogram;
  std::vector<TopValue> top;  // the most frequent, of text, boolean and integer columns
};
BOOST_DESCRIBE_STRUCT(ColumnProfile, (),
                      (name, type, count, missing, not_finite, distinct, min, max, mean, sd, quantiles, histogram, top))

struct Profile {
  std::int64_t rows = 0;
  std::vector<ColumnProfile> columns;
};
BOOST_DESCRIBE_STRUCT(Profile, (), (rows, columns))

// A row that breaks a rule. `row` counts the rows of the upload from 1, without its header.
struct Example {
  std::int64_t row = 0;
  std::optional<std::string> value;  // absent: missing
};
BOOST_DESCRIBE_STRUCT(Example, (), (row, value))

struct RuleResult {
  std::string rule;  // its name
  RuleKind kind = RuleKind::not_null;
  std::string column;
  Severity severity = Severity::refuse;
  bool passed = true;
  std::int64_t failed_rows = 0;
  std::vector<Example> examples;  // the first ones
  std::string message;            // "" when passed
};
BOOST_DESCRIBE_STRUCT(RuleResult, (), (rule, kind, column, severity, passed, failed_rows, examples, message))

struct Quality {
  bool passed = true;             // no rule was broken, not even one that only warns
  std::int64_t rows_checked = 0;  // of the upload
  std::vector<RuleResult> rules;
};
BOOST_DESCRIBE_STRUCT(Quality, (), (passed, rows_checked, rules))

// A version as it is listed.
struct VersionLine {
  std::string dataset;
  std::int64_t number = 0;  // 1, 2, 3 …
  Mode mode = Mode::append;
  std::int64_t rows = 0;
  std::int64_t rows_added = 0;  // of the upload
  std::int64_t bytes = 0;       // of all parts as uploaded
  std::int64_t bytes_new = 0;   // of these, what had to be stored
  std::string digest;           // SHA-256 over the parts' digests, formats and the schema
  std::string made_by;
  std::int64_t made_ms = 0;
};
BOOST_DESCRIBE_STRUCT(VersionLine, (),
                      (dataset, number, mode, rows, rows_added, bytes, bytes_new, digest, made_by, made_ms))

struct Version : VersionLine {
  std::vector<Part> parts;
  std::vector<ColumnType> schema;
  Profile profile;
  Quality quality;
};
BOOST_DESCRIBE_STRUCT(Version, (VersionLine), (parts, schema, profile, quality))

struct Upload {
  std::filesystem::path file;  // stays the caller's
  std::string filename;        // as the sender calls it; .parquet makes it Parquet, anything else CSV
  Mode mode = Mode::append;
  Encoding encoding = Encoding::utf8;  // of CSV
};

struct ColumnChange {
  std::string name;
  Type from = Type::text;
  Type to = Type::text;
};
BOOST_DESCRIBE_STRUCT(ColumnChange, (), (name, from, to))

// How one column's distribution moved. `psi` is over the deciles (or the most frequent values) of `from`, the missing
// being a bin of their own; `psi_p` says how likely sampling alone gives so much; `ks` is of numbers and times, with
// `p`, which for text is of a chi-squared test.
struct ColumnShift {
  std::string name;
  Type type = Type::text;
  double missing_share_from = 0;
  double missing_share_to = 0;
  std::optional<double> mean_from;
  std::optional<double> mean_to;
  double psi = 0;
  double psi_p = 1;
  std::optional<double> ks;
  std::optional<double> p;
};
BOOST_DESCRIBE_STRUCT(ColumnShift, (),
                      (name, type, missing_share_from, missing_share_to, mean_from, mean_to, psi, psi_p, ks, p))

struct Diff {
  std::string dataset;
  std::int64_t from = 0;
  std::int64_t to = 0;
  std::int64_t rows_from = 0;
  std::int64_t rows_to = 0;
  std::int64_t rows_removed = 0;  // only in `from`, over the common columns; equal rows count one by one
  std::int64_t rows_added = 0;    // only in `to`
  std::optional<std::int64_t>
      rows_changed;  // of datasets with keys: in both, with other values. They count as removed and added, too.
  std::vector<ColumnType> columns_removed;
  std::vector<ColumnType> columns_added;
  std::vector<ColumnChange> types_changed;
  std::vector<ColumnShift> shifts;  // of the common columns
};
BOOST_DESCRIBE_STRUCT(Diff, (),
                      (dataset, from, to, rows_from, rows_to, rows_removed, rows_added, rows_changed, columns_removed,
                       columns_added, types_changed, shifts))

}  // namespace tidemill::datasets
