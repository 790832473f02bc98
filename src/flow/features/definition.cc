// Checks of definitions: everything that can be wrong with a view is said here, once, before anything is kept.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>
#include <utility>

#include "base/clock.h"
#include "base/ids.h"
#include "flow/features/convert.h"
#include "flow/features/plan.h"

namespace tidemill::features {
namespace {

using tables::ColumnType;
using tables::Type;

constexpr std::size_t kNameBytesMax = 256;

std::unexpected<Error> bad(std::string message, std::string remedy) {
  return fail(Code::kInvalidArgument, "features.invalid", std::move(message), std::move(remedy));
}

Result<std::int64_t> duration_ms(std::string_view field, const std::string& text) {
  const auto parsed = parse_duration_ms(text);
  if (!parsed || *parsed < 1 || *parsed > kDurationMaxMs) {
    return bad(fmt::format("{} is '{}', which is no duration from 1ms to 50 years.", field, text.substr(0, 64)),
               "Write a number and a unit, such as 15m, 3h or 30d.");
  }
  return *parsed;
}

const ColumnType* find_column(const std::vector<ColumnType>& columns, std::string_view name) {
  const auto found = std::ranges::find(columns, name, &ColumnType::name);
  return found == columns.end() ? nullptr : &*found;
}

Result<void> check_column_name(std::string_view field, const std::string& name) {
  const bool printable = std::ranges::all_of(name, [](unsigned char c) { return c >= 0x20 && c != 0x7f; });
  if (name.empty() || name.size() > kNameBytesMax || !printable) {
    return bad(fmt::format("{} is '{}'.", field, printable ? name.substr(0, 64) : "…"),
               fmt::format("Use 1 to {} bytes without control characters.", kNameBytesMax));
  }
  return {};
}

Result<void> check_categories(std::string_view field, Type type, const std::vector<std::string>& categories) {
  if (categories.empty()) return {};
  if (type != Type::text) {
    return bad(fmt::format("{}.categories is given, but the column is {}.", field, enum_name(type)),
               "Only text has categories.");
  }
  if (categories.size() > kCategoriesMax) {
    return fail(Code::kTooLarge, "features.too_many_categories",
                fmt::format("{} has {} categories.", field, categories.size()),
                fmt::format("Keep them within {}.", kCategoriesMax));
  }
  std::set<std::string_view> seen;
  for (const std::string& category : categories) {
    if (!seen.insert(category).second) {
      return bad(fmt::format("{}.categories has '{}' twice.", field, category), "Name each category once.");
    }
  }
  return {};
}

class Checker {
 public:
  Checker(NewView definition, const std::vector<std::optional<DatasetShape>>& shapes)
      : out_{std::move(definition), {}, {}}, view_(out_.definition), shapes_(shapes) {}

  Result<Checked> check() {
    TM_TRY(check_name("feature view", view_.name));
    TM_CHECK(check_column_name("at", view_.at));
    if (!view_.refresh.empty()) TM_TRY(duration_ms("refresh", view_.refresh));
    TM_CHECK(check_sizes());
    TM_CHECK(check_request());
    for (std::size_t i = 0; i < view_.sources.size(); ++i) TM_CHECK(check_source(i));
    for (std::size_t i = 0; i < view_.features.size(); ++i) TM_CHECK(check_feature(i));
    TM_CHECK(check_use());
    return std::move(out_);
  }

 private:
  Result<void> check_sizes() const {
    const std::size_t columns = view_.request.size() + view_.features.size();
    if (columns == 0) return bad("The view has no columns.", "Give request columns, features, or both.");
    if (columns > kColumnsMax || view_.sources.size() > kSourcesMax) {
      return fail(Code::kTooLarge, "features.too_many_columns",
                  fmt::format("The view has {} columns and {} sources.", columns, view_.sources.size()),
                  fmt::format("Keep it within {} columns and {} sources.", kColumnsMax, kSourcesMax));
    }
    return {};
  }

  Result<void> check_request() {
    std::set<std::string_view> names{view_.at};
    for (std::size_t i = 0; i < view_.request.size(); ++i) {
      const RequestColumn& column = view_.request[i];
      const std::string field = fmt::format("request[{}]", i);
      TM_CHECK(check_column_name(field + ".name", column.name));
      if (!names.insert(column.name).second) {
        return bad(fmt::format("{}.name is '{}', which stands twice.", field, column.name),
                   "Give every request column, and the time column `at`, a name of its own.");
      }
      TM_CHECK(check_categories(field, column.type, column.categories));
      if (column.feature) add_output(column.name, column.type, column.categories);
    }
    return {};
  }

  Result<void> check_source(std::size_t i) {
    Source& source = view_.sources[i];
    const std::string field = fmt::format("sources[{}]", i);
    for (std::size_t j = 0; j < i; ++j) {
      if (view_.sources[j].dataset == source.dataset) {
        return bad(fmt::format("{}.dataset is '{}', which stands twice.", field, source.dataset),
                   "Name each dataset once; several features may read it.");
      }
    }
    if (!shapes_[i]) {
      return bad(fmt::format("{}.dataset is '{}': there is no such dataset, or it has no version yet.", field,
                             source.dataset.substr(0, 128)),
                 "Add the dataset's first version, then define the view.");
    }
    out_.reads.push_back({source.dataset, {}});
    if (source.known.empty() && (!source.event.empty() || !source.delay.empty())) {
      return bad(fmt::format("{} has an event or a delay, but no `known`.", field), "Name the column `known`.");
    }
    if (!source.delay.empty()) TM_TRY(duration_ms(field + ".delay", source.delay));
    if (!source.known.empty()) TM_CHECK(read_time(i, field + ".known", source.known));
    if (!source.event.empty()) TM_CHECK(read_time(i, field + ".event", source.event));
    if (source.id.empty() && !source.known.empty()) source.id = shapes_[i]->keys;
    if (source.id.empty() && !source.known.empty()) {
      return bad(fmt::format("{}.id is empty, and the dataset '{}' has no keys.", field, source.dataset),
                 "Name the columns that tell its rows apart, so that a correction is told from a new row.");
    }
    for (const std::string& column : source.id) TM_TRY(read(i, field + ".id", column));
    return {};
  }

  // Returns the source's column and notes that it is read.
  Result<ColumnType> read(std::size_t source, std::string_view field, const std::string& name) {
    const ColumnType* column = find_column(shapes_[source]->columns, name);
    if (column == nullptr) {
      std::vector<std::string> known;
      for (const ColumnType& one : shapes_[source]->columns) known.push_back(one.name);
      return bad(fmt::format("{} is '{}', which is no column of the dataset '{}'.", field, name.substr(0, 128),
                             view_.sources[source].dataset),
                 fmt::format("Its columns are {}.", fmt::join(known, ", ")));
    }
    auto& columns = out_.reads[source].columns;
    if (find_column(columns, name) == nullptr) columns.push_back(*column);
    return *column;
  }

  Result<void> read_time(std::size_t source, std::string_view field, const std::string& name) {
    const ColumnType column = TM_TRY(read(source, field, name));
    if (column.type == Type::time || column.type == Type::integer) return {};
    return bad(fmt::format("{} is '{}', which is {}.", field, name, enum_name(column.type)),
               "Name a column of times, or of whole milliseconds since 1970.");
  }

  Result<void> check_feature(std::size_t i) {
    Feature& feature = view_.features[i];
    const std::string field = fmt::format("features[{}]", i);
    TM_CHECK(check_column_name(field + ".name", feature.name));
    const bool taken = std::ranges::find(out_.columns, feature.name, &OutputColumn::name) != out_.columns.end();
    if (taken || feature.name == view_.at) {
      return bad(fmt::format("{}.name is '{}', which stands twice.", field, feature.name),
                 "Give every column of the view a name of its own.");
    }
    const auto found = std::ranges::find(view_.sources, feature.source, &Source::dataset);
    if (found == view_.sources.end()) {
      return bad(
          fmt::format("{}.source is '{}', which is none of the view's sources.", field, feature.source.substr(0, 128)),
          "Name one of `sources`.");
    }
    const auto source = static_cast<std::size_t>(found - view_.sources.begin());
    TM_CHECK(check_key(feature, source, field));
    if (feature.kind == Kind::window) {
      TM_CHECK(check_window(feature, source, field));
    } else {
      TM_CHECK(check_taken(feature, source, field));
    }
    TM_CHECK(check_categories(field, *feature.type, feature.categories.value_or(std::vector<std::string>())));
    add_output(feature.name, *feature.type, feature.categories.value_or(std::vector<std::string>()));
    return {};
  }

  Result<void> check_key(Feature& feature, std::size_t source, const std::string& field) {
    if (feature.key.empty() || feature.key.size() > kKeyColumnsMax) {
      return bad(fmt::format("{}.key has {} columns.", field, feature.key.size()),
                 fmt::format("Name 1 to {} columns of '{}'.", kKeyColumnsMax, feature.source));
    }
    if (feature.by.empty()) feature.by = feature.key;
    if (feature.by.size() != feature.key.size()) {
      return bad(fmt::format("{}.by has {} columns, but key has {}.", field, feature.by.size(), feature.key.size()),
                 "Name a request column for each column of the key.");
    }
    for (std::size_t k = 0; k < feature.key.size(); ++k) {
      const ColumnType column = TM_TRY(read(source, field + ".key", feature.key[k]));
      const auto asked = std::ranges::find(view_.request, feature.by[k], &RequestColumn::name);
      if (asked == view_.request.end()) {
        return bad(fmt::format("{}.by is '{}', which is no request column.", field, feature.by[k].substr(0, 128)),
                   "Add it to `request` (with feature: false if the model does not see it).");
      }
      const bool same =
          asked->type == column.type || (asked->type != Type::real && column.type != Type::real &&
                                         converts(asked->type, column.type) && converts(column.type, asked->type));
      if (!same || column.type == Type::real) {
        return bad(fmt::format("{}.key: '{}' of '{}' is {}, the request's '{}' is {}.", field, feature.key[k],
                               feature.source, enum_name(column.type), feature.by[k], enum_name(asked->type)),
                   "Keys are text, whole numbers, times or booleans, of the same type on both sides.");
      }
    }
    if (!view_.sources[source].known.empty()) return {};
    Source& always = view_.sources[source];
    if (always.id.empty()) always.id = feature.key;
    if (std::set(always.id.begin(), always.id.end()) != std::set(feature.key.begin(), feature.key.end())) {
      return bad(fmt::format("{}.key is ({}), but rows of '{}' are told apart by ({}).", field,
                             fmt::join(feature.key, ", "), feature.source, fmt::join(always.id, ", ")),
                 "A source without `known` has one row for each key: look it up by all columns of its id.");
    }
    return {};
  }

  Result<void> check_taken(Feature& feature, std::size_t source, const std::string& field) {
    if (feature.function || !feature.over.empty()) {
      return bad(fmt::format("{} is {}, but has `function` or `over`.", field, enum_name(feature.kind)),
                 "Leave them out, or make it kind: window.");
    }
    if (feature.kind == Kind::as_of && view_.sources[source].known.empty()) {
      return bad(fmt::format("{} is as_of, but the source '{}' has no `known`.", field, feature.source),
                 "Name the source's knowledge time, or make it kind: lookup.");
    }
    if (!feature.max_age.empty()) {
      if (feature.kind == Kind::lookup)
        return bad(fmt::format("{} is a lookup, but has `max_age`.", field), "Make it kind: as_of.");
      TM_TRY(duration_ms(field + ".max_age", feature.max_age));
    }
    const ColumnType column = TM_TRY(read(source, field + ".column", feature.column));
    if (!feature.type) feature.type = column.type;
    if (!converts(column.type, *feature.type)) {
      return bad(fmt::format("{}.type is {}, but '{}' is {}.", field, enum_name(*feature.type), feature.column,
                             enum_name(column.type)),
                 "Leave `type` out, or give one that holds every value.");
    }
    return {};
  }

  Result<void> check_window(Feature& feature, std::size_t source, const std::string& field) {
    if (view_.sources[source].known.empty()) {
      return bad(fmt::format("{} is a window, but the source '{}' has no `known`.", field, feature.source),
                 "Name the source's knowledge time: a window counts only what was known.");
    }
    if (!feature.max_age.empty()) return bad(fmt::format("{} is a window, but has `max_age`.", field), "Use `over`.");
    if (!feature.function) return bad(fmt::format("{} has no `function`.", field), "Use count, sum or mean.");
    TM_TRY(duration_ms(field + ".over", feature.over));
    const Type type = *feature.function == Function::count ? Type::integer : Type::real;
    if (feature.type && *feature.type != type) {
      return bad(fmt::format("{}.type is {}, but a {} is {}.", field, enum_name(*feature.type),
                             enum_name(*feature.function), enum_name(type)),
                 "Leave `type` out.");
    }
    feature.type = type;
    if (feature.column.empty() && *feature.function == Function::count) return {};
    const ColumnType column = TM_TRY(read(source, field + ".column", feature.column));
    const bool number = column.type == Type::boolean || column.type == Type::integer || column.type == Type::real;
    if (!number && *feature.function != Function::count) {
      return bad(fmt::format("{}.column is '{}', which is {}.", field, feature.column, enum_name(column.type)),
                 "Sums and means are of numbers and booleans.");
    }
    return {};
  }

  Result<void> check_use() const {
    for (const Source& source : view_.sources) {
      if (std::ranges::find(view_.features, source.dataset, &Feature::source) == view_.features.end()) {
        return bad(fmt::format("No feature reads the source '{}'.", source.dataset), "Remove it from `sources`.");
      }
    }
    if (out_.columns.empty()) return bad("The view gives no columns.", "Make a request column a feature, or add one.");
    return {};
  }

  void add_output(const std::string& name, Type type, const std::vector<std::string>& categories) {
    out_.columns.push_back({name, type, type == Type::text ? ColumnKind::category : ColumnKind::number, categories});
  }

  Checked out_;
  NewView& view_;
  const std::vector<std::optional<DatasetShape>>& shapes_;
};

}  // namespace

Result<Checked> check_definition(NewView definition, const std::vector<std::optional<DatasetShape>>& shapes) {
  return Checker(std::move(definition), shapes).check();
}

}  // namespace tidemill::features
