// Predictions: reading the log, with the labels that came later.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <unordered_set>
#include <utility>
#include <variant>

#include "flow/predictions/predictions.h"

namespace tidemill::predictions {
namespace {

// Appends `more` to `frame`, column by column; a column that one of the two lacks is missing there.
void append_frame(tables::Frame& frame, const tables::Frame& more, const std::vector<std::size_t>& rows) {
  if (frame.columns.empty() && rows.size() == more.rows) {
    frame = more;
    return;
  }
  for (const auto& column : more.columns) {
    if (frame.find(column.name) != nullptr) continue;
    frame.columns.push_back(tables::Column::make(column.name, column.type));
    for (std::size_t i = 0; i < frame.rows; ++i) frame.columns.back().append_missing();
  }
  for (auto& column : frame.columns) {
    const tables::Column* from = more.find(column.name);
    for (const std::size_t row : rows) {
      if (from == nullptr || from->type != column.type || from->is_missing(row)) {
        column.append_missing();
        continue;
      }
      std::visit(
          [&](auto& values) {
            using Values = std::remove_cvref_t<decltype(values)>;
            values.push_back(std::get<Values>(from->values)[row]);
          },
          column.values);
      if (!column.valid.empty()) column.valid.push_back(1);
    }
  }
  frame.rows += rows.size();
}

// Returns whether a row of the batch may be wanted; spares turning the others into columns.
bool may_match(const Batch& batch, const Filter& filter) {
  if (batch.logged_ms < filter.logged_from_ms || (filter.version && batch.version != *filter.version) ||
      (filter.role && batch.role != *filter.role)) {
    return false;
  }
  return std::ranges::any_of(batch.at_ms,
                             [&](std::int64_t at_ms) { return at_ms >= filter.from_ms && at_ms < filter.to_ms; });
}

std::vector<std::size_t> matching_rows(const tables::Frame& frame, const Filter& filter) {
  std::vector<std::size_t> rows;
  if (frame.rows == 0) return rows;
  const auto& at_ms = frame.find("at_ms")->integers();
  const auto& logged_ms = frame.find("logged_ms")->integers();
  const auto& versions = frame.find("version")->integers();
  const auto& roles = frame.find("role")->texts();
  for (std::size_t i = 0; i < frame.rows; ++i) {
    const bool wanted = at_ms[i] >= filter.from_ms && at_ms[i] < filter.to_ms &&
                        logged_ms[i] >= filter.logged_from_ms && (!filter.version || versions[i] == *filter.version) &&
                        (!filter.role || roles[i] == enum_name(*filter.role));
    if (wanted) rows.push_back(i);
  }
  return rows;
}

void add_labels(tables::Frame& frame, const std::vector<std::int8_t>& labels) {
  tables::Column column = tables::Column::make("label", tables::Type::integer);
  for (const std::int8_t label : labels) {
    if (label < 0) {
      column.append_missing();
    } else {
      std::get<std::vector<std::int64_t>>(column.values).push_back(label);
      if (!column.valid.empty()) column.valid.push_back(1);
    }
  }
  frame.columns.push_back(std::move(column));
}

// The double that reads as the float's shortest digits: 12.04, where the float itself is 12.039999961853027.
double as_written(float value) {
  std::array<char, 32> digits{};
  const auto [end, error] = std::to_chars(digits.data(), digits.data() + digits.size(), value);
  double read = value;
  std::from_chars(digits.data(), end, read);
  return read;
}

// A feature as it was given to the model, which takes floats.
json::Value cell(const tables::Column& column, std::size_t row) {
  if (column.is_missing(row)) return nullptr;
  switch (column.type) {
    case tables::Type::boolean:
      return column.booleans()[row] != 0;
    case tables::Type::integer:
    case tables::Type::time:
      return column.integers()[row];
    case tables::Type::real:
      return json::to_json(as_written(static_cast<float>(column.reals()[row])));
    case tables::Type::text:
      return json::Value(boost::json::string(column.texts()[row]));
  }
  return nullptr;
}

}  // namespace

Result<tables::Frame> Predictions::joined(const std::string& deployment, const Filter& filter) {
  // Open batches first: one that is sealed in between is then seen twice, never missed, and the second sight is
  // dropped.
  auto batches = ledger_.open_batches(deployment);
  std::erase_if(batches, [&](const std::shared_ptr<const Batch>& batch) { return !may_match(*batch, filter); });
  auto frames = TM_TRY(segments_->read(deployment, filter));
  auto open = TM_TRY(segments_->frames_of(batches));
  tables::Frame joined;
  std::map<std::int64_t, std::unordered_set<std::string>>
      seen;  // by version, of the segments, when both sources are there
  for (const auto& frame : frames) append_frame(joined, frame, matching_rows(frame, filter));
  if (!open.empty() && joined.rows > 0) {
    const auto& ids = joined.find("prediction_id")->texts();
    const auto& versions = joined.find("version")->integers();
    for (std::size_t i = 0; i < joined.rows; ++i) seen[versions[i]].insert(ids[i]);
  }
  for (const auto& frame : open) {
    auto rows = matching_rows(frame, filter);
    if (!seen.empty()) {
      const auto& ids = frame.find("prediction_id")->texts();
      const auto& versions = frame.find("version")->integers();
      std::erase_if(rows, [&](std::size_t row) {
        const auto found = seen.find(versions[row]);
        return found != seen.end() && found->second.contains(ids[row]);
      });
    }
    append_frame(joined, frame, rows);
  }
  const tables::Column* ids = joined.find("prediction_id");
  add_labels(joined, ids == nullptr ? std::vector<std::int8_t>() : ledger_.labels(deployment, ids->texts()));
  return joined;
}

Result<Prediction> Predictions::find(const std::string& deployment, const std::string& id) {
  const auto at_ms = ledger_.at_ms(deployment, id);
  const auto refuse = [&] {
    return fail(Code::kNotFound, "predictions.unknown",
                fmt::format("'{}' has no prediction '{}'.", deployment, id.substr(0, 128)), "Check the id.");
  };
  if (!at_ms) return refuse();
  const auto frame = TM_TRY(joined(deployment, {.from_ms = *at_ms, .to_ms = *at_ms + 1}));
  const auto& ids = frame.find("prediction_id")->texts();
  const auto& roles = frame.find("role")->texts();
  for (std::size_t i = 0; i < frame.rows; ++i) {
    if (ids[i] != id || roles[i] == enum_name(Role::shadow)) continue;
    Prediction prediction;
    prediction.id = id;
    prediction.deployment = deployment;
    prediction.version = frame.find("version")->integers()[i];
    prediction.role = parse_enum<Role>(roles[i]).value_or(Role::champion);
    prediction.at_ms = *at_ms;
    prediction.logged_ms = frame.find("logged_ms")->integers()[i];
    prediction.score = frame.find("score")->reals()[i];
    prediction.label = ledger_.label(deployment, id);
    constexpr std::size_t kFeatures = 6;
    for (std::size_t c = kFeatures; c + 1 < frame.columns.size(); ++c)
      prediction.features[frame.columns[c].name] = cell(frame.columns[c], i);
    return prediction;
  }
  return refuse();
}

}  // namespace tidemill::predictions
