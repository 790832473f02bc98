// Feature views and what is asked of them. Times are milliseconds since 1970-01-01T00:00:00Z; a duration in a
// definition is text such as "15m", "3h" or "180d".
#pragma once

#include <boost/describe.hpp>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/enums.h"
#include "base/json.h"
#include "storage/tables/frame.h"

namespace tidemill::features {

constexpr std::size_t kColumnsMax = 2'000;  // request columns and features of one view, together
constexpr std::size_t kSourcesMax = 64;
constexpr std::size_t kKeyColumnsMax = 8;
constexpr std::size_t kCategoriesMax = 100'000;  // of one column
constexpr std::int64_t kDurationMaxMs = 50LL * 365 * 86'400'000;

// A column that the asker brings along.
struct RequestColumn {
  using json_defaults = void;
  std::string name;
  tables::Type type = tables::Type::real;
  bool feature = true;  // false: only a key of features, not one itself
  std::vector<std::string>
      categories;  // of a text feature: the vocabulary that models encode by; empty = none is fixed
};
BOOST_DESCRIBE_STRUCT(RequestColumn, (), (name, type, feature, categories))

// A dataset that features are computed from. A row becomes known at `known` + `delay`; a later row of the same `id` is
// a correction of it and replaces it from its own knowledge time on, not before. A source without `known` was always
// known: only lookups may read it, and of rows with one key the last counts.
struct Source {
  using json_defaults = void;
  std::string dataset;
  std::string known;            // a time column, or whole milliseconds; "" = always known
  std::string delay;            // duration from that time until the row is at hand; "" = none
  std::string event;            // of two known rows an as-of lookup takes the one with the later event; "" = `known`
  std::vector<std::string> id;  // the columns that tell rows apart; empty = the keys of the dataset
};
BOOST_DESCRIBE_STRUCT(Source, (), (dataset, known, delay, event, id))

// lookup: the row of the key. as_of: its newest known row. window: an aggregate over its rows that became known within
// the last `over`.
enum class Kind { lookup, as_of, window };
BOOST_DESCRIBE_ENUM(Kind, lookup, as_of, window)

enum class Function { count, sum, mean };
BOOST_DESCRIBE_ENUM(Function, count, sum, mean)

// A computed feature. Its value at time t uses only rows known strictly before the tick floor(t / refresh) · refresh.
struct Feature {
  using json_defaults = void;
  std::string name;
  std::string source;  // a dataset among the view's sources
  Kind kind = Kind::lookup;
  std::vector<std::string> key;      // columns of the source
  std::vector<std::string> by;       // columns of the request, in the order of `key`; empty = those of the same names
  std::string column;                // whose value is taken or aggregated; "" = rows are counted
  std::string max_age;               // as_of: rows known earlier than this before the tick are not used; "" = any age
  std::string over;                  // window: [tick - over, tick)
  std::optional<Function> function;  // window
  std::optional<tables::Type> type;  // of the values; absent = as in the newest version of the dataset
  std::optional<std::vector<std::string>> categories;  // as in RequestColumn
};
BOOST_DESCRIBE_STRUCT(Feature, (), (name, source, kind, key, by, column, max_age, over, function, type, categories))

struct NewView {
  using json_defaults = void;
  std::string name;
  std::string description;
  std::string owner;
  std::string at = "at";  // the request's time column
  std::string refresh;    // how often values change: "1h" = on every full hour; "" = every millisecond
  std::vector<RequestColumn> request;
  std::vector<Source> sources;
  std::vector<Feature> features;
};
BOOST_DESCRIBE_STRUCT(NewView, (), (name, description, owner, at, refresh, request, sources, features))

enum class ColumnKind { number, category };
BOOST_DESCRIBE_ENUM(ColumnKind, number, category)

// A column of what the view gives, in order: request columns that are features, then computed features.
struct OutputColumn {
  std::string name;
  tables::Type type = tables::Type::real;
  ColumnKind kind = ColumnKind::number;
  std::vector<std::string> categories;
};
BOOST_DESCRIBE_STRUCT(OutputColumn, (), (name, type, kind, categories))

// What a view reads of one of its sources.
struct Reads {
  std::string dataset;
  std::vector<tables::ColumnType> columns;
};
BOOST_DESCRIBE_STRUCT(Reads, (), (dataset, columns))

// A view is written once; a changed definition of the same name is the next number. "flights" means its newest,
// "flights@2" the second.
struct View {
  std::string name;
  std::int64_t number = 0;   // 1, 2, 3 …
  std::string digest;        // SHA-256 of the definition
  NewView definition;        // with every default filled in
  std::vector<Reads> reads;  // in the order of definition.sources
  std::vector<OutputColumn> columns;
  std::string made_by;
  std::int64_t made_ms = 0;
};
BOOST_DESCRIBE_STRUCT(View, (), (name, number, digest, definition, reads, columns, made_by, made_ms))

struct DatasetRef {
  std::string dataset;
  std::int64_t number = 0;
};
BOOST_DESCRIBE_STRUCT(DatasetRef, (), (dataset, number))

// Which rows to learn from. The population's rows are asked at the view's `at` column, in [from_ms, to_ms).
struct TrainingSpec {
  std::string view;
  std::string dataset;          // the population: has the request columns, `at`, and the label
  std::vector<std::string> id;  // columns that tell its rows apart; of rows with one id the newest known counts
  std::string label;            // "" = no label, every row of the span is given
  std::string label_known;      // the column with the time at which the label became known; "" = always known
  std::int64_t from_ms = 0;
  std::int64_t to_ms = 0;
  std::optional<std::int64_t> known_by_ms;       // only labels known before; absent = to_ms
  std::map<std::string, std::int64_t> versions;  // by dataset; the newest where absent
};

struct TrainingSet {
  // The population's id columns, the view's `at` (type time), its columns in order, and the label; ordered by time,
  // then as in the dataset.
  tables::Frame frame;
  std::int64_t unlabelled = 0;       // rows of the span whose label was missing or not known in time
  std::vector<DatasetRef> datasets;  // all that was read, in the exact versions
  View view;
};

// What became of rows that were handed in.
struct Pushed {
  std::int64_t added = 0;
  std::int64_t known_already = 0;  // the same row and knowledge time were there
  std::int64_t expired = 0;        // older than anything a view can still look at
};
BOOST_DESCRIBE_STRUCT(Pushed, (), (added, known_already, expired))

struct MaterializedSource {
  std::string dataset;
  std::int64_t number = 0;           // 0 = the dataset has no version yet, or was not asked for
  std::int64_t rows = 0;             // held for the view, online rows included
  std::int64_t newest_known_ms = 0;  // 0 = none
};
BOOST_DESCRIBE_STRUCT(MaterializedSource, (), (dataset, number, rows, newest_known_ms))

struct Materialized {
  std::string view;
  std::int64_t number = 0;
  std::vector<MaterializedSource> sources;
  std::int64_t took_ms = 0;
};
BOOST_DESCRIBE_STRUCT(Materialized, (), (view, number, sources, took_ms))

}  // namespace tidemill::features
