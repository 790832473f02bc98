#include "flow/features/training.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>
#include <unordered_map>
#include <utility>

#include "flow/features/convert.h"
#include "flow/features/engine.h"
#include "flow/features/memory.h"
#include "flow/features/plan.h"

namespace tidemill::features {
namespace {

using tables::Column;
using tables::Frame;
using tables::Type;

std::unexpected<Error> bad(std::string message, std::string remedy) {
  return fail(Code::kInvalidArgument, "features.invalid", std::move(message), std::move(remedy));
}

void add_once(std::vector<std::string>& names, const std::string& name) {
  if (!name.empty() && std::ranges::find(names, name) == names.end()) names.push_back(name);
}

Result<void> check_spec(const View& view, const TrainingSpec& spec) {
  if (spec.from_ms >= spec.to_ms) {
    return bad(fmt::format("from is {} and to is {}: the span is empty.", spec.from_ms, spec.to_ms),
               "Give a time `to` after `from`.");
  }
  if (spec.label.empty() && !spec.label_known.empty()) {
    return bad(fmt::format("label_known is '{}', but there is no label.", spec.label_known), "Name the label.");
  }
  const bool given = std::ranges::find(view.columns, spec.label, &OutputColumn::name) != view.columns.end();
  if (given || spec.label == view.definition.at) {
    return bad(fmt::format("The label '{}' is a column of the view {}.", spec.label, view.name),
               "A model must not see its label: rename the column, or name another label.");
  }
  return {};
}

// The rows of the population in one span, one for each id, with labels that were known in time.
class Population {
 public:
  Population(const TrainingSpec& spec, std::string at) : spec_(spec), at_name_(std::move(at)) {}

  Result<void> read(const NewView& view, DatasetReader& reader) {
    std::vector<std::string> columns = spec_.id;
    add_once(columns, at_name_);
    for (const RequestColumn& column : view.request) add_once(columns, column.name);
    add_once(columns, spec_.label);
    add_once(columns, spec_.label_known);
    frame_ = TM_TRY(reader.read(spec_.dataset, columns));
    const std::string what = fmt::format("Dataset {}", spec_.dataset);
    Column at = TM_TRY(convert(*frame_.find(at_name_), Type::time, what));
    if (!spec_.label_known.empty()) known_ = TM_TRY(convert(*frame_.find(spec_.label_known), Type::time, what));
    choose(at);
    at_ms_ = std::get<std::vector<std::int64_t>>(std::move(at.values));
    return {};
  }

  [[nodiscard]] const Frame& frame() const { return frame_; }
  [[nodiscard]] const std::vector<std::size_t>& rows() const { return rows_; }
  [[nodiscard]] std::int64_t at_ms(std::size_t row) const { return at_ms_[row]; }
  [[nodiscard]] std::int64_t unlabelled() const { return unlabelled_; }

 private:
  [[nodiscard]] bool labelled(std::size_t row) const {
    if (spec_.label.empty()) return true;
    const Column& label = *frame_.find(spec_.label);
    if (label.is_missing(row) || (label.type == Type::real && std::isnan(label.reals()[row]))) return false;
    return !known_ || (!known_->is_missing(row) && known_->integers()[row] < spec_.known_by_ms.value_or(spec_.to_ms));
  }
  [[nodiscard]] bool known_later(std::size_t a, std::size_t b) const {
    return !known_ || known_->is_missing(a) || known_->integers()[a] >= known_->integers()[b];
  }

  void choose(const Column& at) {
    struct Best {
      bool usable = false;
      std::size_t row = 0;
    };
    std::unordered_map<std::string, Best> by_id;
    if (!spec_.id.empty()) by_id.reserve(frame_.rows);
    std::vector<const Column*> id;
    for (const std::string& name : spec_.id) id.push_back(frame_.find(name));
    std::string key;
    for (std::size_t row = 0; row < frame_.rows; ++row) {
      if (at.is_missing(row) || at.integers()[row] < spec_.from_ms || at.integers()[row] >= spec_.to_ms) continue;
      const bool usable = labelled(row);
      if (id.empty()) {
        if (usable) rows_.push_back(row);
        if (!usable) ++unlabelled_;
        continue;
      }
      key.clear();
      for (const Column* column : id) append_key(key, *column, row);
      Best& best = by_id[key];
      if (usable && (!best.usable || known_later(row, best.row))) best = {true, row};
    }
    for (const auto& [text, best] : by_id) {
      if (best.usable) rows_.push_back(best.row);
      if (!best.usable) ++unlabelled_;
    }
    std::ranges::sort(rows_);
    std::ranges::stable_sort(rows_, {}, [&](std::size_t row) { return at.integers()[row]; });
  }

  const TrainingSpec& spec_;
  const std::string at_name_;
  Frame frame_;
  std::optional<Column> known_;
  std::vector<std::int64_t> at_ms_;
  std::vector<std::size_t> rows_;
  std::int64_t unlabelled_ = 0;
};

Result<std::vector<std::unique_ptr<SourceMemory>>> read_sources(const Plan& plan, DatasetReader& reader) {
  std::vector<std::unique_ptr<SourceMemory>> sources;
  for (const SourcePlan& source : plan.sources) {
    std::vector<std::string> columns;
    for (const tables::ColumnType& column : source.columns) columns.push_back(column.name);
    sources.push_back(std::make_unique<SourceMemory>(source));
    TM_CHECK(sources.back()->add(TM_TRY(reader.read(source.dataset, columns))));
  }
  return sources;
}

// Puts together: id columns, time, the view's columns, label.
Frame assemble(const Frame& picked, Frame computed, const TrainingSpec& spec, const std::string& at_name,
               std::vector<std::int64_t> at_ms) {
  Frame out;
  out.rows = picked.rows;
  const auto given = [&](const std::string& name) { return name == at_name || computed.find(name) != nullptr; };
  for (const std::string& name : spec.id) {
    if (!given(name)) out.columns.push_back(*picked.find(name));
  }
  Column at = Column::make(at_name, Type::time);
  at.values = std::move(at_ms);
  out.columns.push_back(std::move(at));
  const bool has_label = !spec.label.empty() && !given(spec.label);
  for (Column& column : computed.columns) out.columns.push_back(std::move(column));
  if (has_label) out.columns.push_back(*picked.find(spec.label));
  return out;
}

}  // namespace

Frame pick_rows(const Frame& frame, const std::vector<std::size_t>& rows) {
  Frame out;
  out.rows = rows.size();
  for (const Column& column : frame.columns) {
    Column some = Column::make(column.name, column.type);
    std::visit(
        [&](auto& values) {
          const auto& all = std::get<std::remove_reference_t<decltype(values)>>(column.values);
          values.reserve(rows.size());
          for (const std::size_t row : rows) values.push_back(all[row]);
        },
        some.values);
    if (!column.valid.empty()) {
      some.valid.reserve(rows.size());
      for (const std::size_t row : rows) some.valid.push_back(column.valid[row]);
    }
    out.columns.push_back(std::move(some));
  }
  return out;
}

Result<std::int64_t> DatasetReader::number(const std::string& dataset) {
  const auto used = used_.find(dataset);
  if (used != used_.end()) return used->second;
  const auto asked = versions_.find(dataset);
  const std::int64_t number = asked != versions_.end() ? asked->second : TM_TRY(datasets_.latest(dataset)).number;
  used_.emplace(dataset, number);
  return number;
}

Result<Frame> DatasetReader::read(const std::string& dataset, const std::vector<std::string>& columns) {
  const std::int64_t version = TM_TRY(number(dataset));
  auto frame = tables_.read_files(TM_TRY(datasets_.materialize(dataset, version)), columns);
  if (!frame) frame.error().message = fmt::format("Dataset {} version {}: {}", dataset, version, frame.error().message);
  return frame;
}

std::vector<DatasetRef> DatasetReader::used() const {
  std::vector<DatasetRef> out;
  for (const auto& [dataset, number] : used_) out.push_back({dataset, number});
  return out;
}

Result<TrainingSet> make_training_set(const View& view, const TrainingSpec& spec, DatasetReader& reader) {
  TM_CHECK(check_spec(view, spec));
  const Plan plan = TM_TRY(make_plan(view));
  Population population(spec, view.definition.at);
  TM_CHECK(population.read(view.definition, reader));
  const auto memories = TM_TRY(read_sources(plan, reader));
  std::vector<const SourceMemory*> sources;
  for (const auto& memory : memories) sources.push_back(memory.get());

  const Frame picked = pick_rows(population.frame(), population.rows());
  std::vector<std::int64_t> at_ms;
  at_ms.reserve(picked.rows);
  for (const std::size_t row : population.rows()) at_ms.push_back(population.at_ms(row));
  Frame computed = TM_TRY(compute(plan, sources, picked, at_ms));

  TrainingSet set;
  set.frame = assemble(picked, std::move(computed), spec, view.definition.at, std::move(at_ms));
  set.unlabelled = population.unlabelled();
  set.datasets = reader.used();
  set.view = view;
  return set;
}

}  // namespace tidemill::features
