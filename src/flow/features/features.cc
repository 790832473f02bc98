#include "flow/features/features.h"

#include <fmt/format.h>

#include <algorithm>
#include <mutex>
#include <set>
#include <shared_mutex>
#include <thread>
#include <utility>

#include "base/hash.h"
#include "base/log.h"
#include "flow/datasets/datasets.h"
#include "flow/features/events.h"
#include "flow/features/json_frame.h"
#include "flow/features/online.h"
#include "flow/features/plan.h"
#include "flow/features/schema.sql.h"
#include "flow/features/store.h"
#include "flow/features/training.h"

namespace tidemill::features {
namespace {

std::string full_name(const View& view) { return fmt::format("{}@{}", view.name, view.number); }
std::string subject(const View& view) { return fmt::format("features/{}/{}", view.name, view.number); }

}  // namespace

class Features::Impl {
 public:
  Impl(sql::Database& database, events::Events& events, const Clock& clock, kv::Kv& kv, tables::Tables& tables,
       datasets::Datasets& datasets, const Settings& settings)
      : database_(database),
        events_(events),
        clock_(clock),
        tables_(tables),
        datasets_(datasets),
        settings_(settings),
        online_(kv, clock, settings) {}

  Result<void> open() {
    TM_CHECK(database_.migrate("features", kSchemaSql));
    std::vector<std::string> materialized;
    const std::vector<View> views = TM_TRY(database_.read([&](sql::Tx& tx) -> Result<std::vector<View>> {
      materialized = TM_TRY(materialized_views(tx));
      return all_views(tx);
    }));
    std::vector<std::string> to_load;
    for (const View& view : views) {
      const bool loaded = std::ranges::find(materialized, full_name(view)) != materialized.end();
      TM_CHECK(online_.add_view(TM_TRY(make_plan(view)), loaded));
      if (loaded || view.reads.empty()) note_newest(view);
      if (loaded) to_load.push_back(full_name(view));
    }
    if (to_load.empty()) return {};
    loader_ = std::jthread([this, to_load](const std::stop_token& stop) {
      for (const std::string& view : to_load) {
        if (stop.stop_requested()) return;
        if (auto loaded = online_.load(view); !loaded)
          log::error("features", "could not load a view", {{"view", view}, {"error", loaded.error().text()}});
      }
    });
    return {};
  }

  Result<View> define(const access::Actor& actor, const NewView& definition);
  Result<Materialized> materialize(const access::Actor& actor, std::string_view name,
                                   const std::map<std::string, std::int64_t>& versions);
  Result<Pushed> push(std::string_view dataset, const json::Array& rows);
  Result<tables::Frame> online(std::string_view view, const tables::Frame& request,
                               std::optional<std::span<const std::int64_t>> at_ms);
  Result<tables::Frame> request_frame(std::string_view view, const json::Array& rows);

  Result<View> get(std::string_view name) {
    const ViewName parsed = TM_TRY(parse_view_name(name));
    return database_.read([&](sql::Tx& tx) { return get_view(tx, parsed); });
  }

  Result<TrainingSet> training_set(TrainingSpec spec) {
    const View view = TM_TRY(get(spec.view));
    if (spec.id.empty()) spec.id = TM_TRY(datasets_.get(spec.dataset)).keys;
    DatasetReader reader(datasets_, tables_, spec.versions);
    return make_training_set(view, spec, reader);
  }

  sql::Database& database_;
  events::Events& events_;
  const Clock& clock_;
  tables::Tables& tables_;
  datasets::Datasets& datasets_;
  const Settings settings_;

 private:
  // Returns "name@number" of what a caller calls "name" or "name@number". The name alone means the newest that was
  // materialized, so that defining another does not take an endpoint's features away.
  Result<std::string> resolve(std::string_view name) {
    if (name.find('@') == std::string_view::npos) {
      const std::shared_lock lock(newest_mutex_);
      const auto found = newest_.find(name);
      if (found != newest_.end()) return fmt::format("{}@{}", name, found->second);
    }
    return full_name(TM_TRY(get(name)));
  }
  void note_newest(const View& view) {
    const std::unique_lock lock(newest_mutex_);
    std::int64_t& newest = newest_[view.name];
    newest = std::max(newest, view.number);
  }
  Result<std::optional<DatasetShape>> shape_of(const std::string& dataset);
  Result<std::vector<tables::ColumnType>> push_columns(std::string_view dataset, const json::Array& rows);

  Online online_;

  mutable std::shared_mutex newest_mutex_;
  std::map<std::string, std::int64_t, std::less<>> newest_;                           // guarded by newest_mutex_
  std::map<std::string, std::vector<tables::ColumnType>, std::less<>> push_columns_;  // guarded by newest_mutex_

  std::jthread loader_;
};

Result<std::optional<DatasetShape>> Features::Impl::shape_of(const std::string& dataset) {
  auto found = datasets_.get(dataset);
  if (!found && found.error().code == Code::kNotFound) return std::optional<DatasetShape>();
  if (!found) return std::unexpected(found.error());
  if (found->latest == 0) return std::optional<DatasetShape>();
  return std::optional<DatasetShape>(
      DatasetShape{TM_TRY(datasets_.version(dataset, found->latest)).schema, found->keys});
}

Result<View> Features::Impl::define(const access::Actor& actor, const NewView& definition) {
  std::vector<std::optional<DatasetShape>> shapes;
  for (const Source& source : definition.sources) {
    if (shapes.size() == kSourcesMax) break;
    shapes.push_back(TM_TRY(shape_of(source.dataset)));
  }
  shapes.resize(definition.sources.size());
  Checked checked = TM_TRY(check_definition(definition, shapes));
  View view;
  view.name = checked.definition.name;
  view.definition = std::move(checked.definition);
  view.reads = std::move(checked.reads);
  view.columns = std::move(checked.columns);
  view.digest = sha256_hex(json::canonical(json::Array{json::to_json(view.definition), json::to_json(view.reads)}));
  view.made_by = actor.name;
  view.made_ms = clock_.now_ms();
  Plan plan = TM_TRY(make_plan(view));
  bool added = false;
  view = TM_TRY(database_.write([&](sql::Tx& tx) -> Result<View> {
    View mine = view;
    const auto newest = TM_TRY(newest_view(tx, view.name));
    if (newest && newest->digest == view.digest) return *newest;
    mine.number = newest ? newest->number + 1 : 1;
    TM_CHECK(insert_view(tx, mine));
    json::Array datasets;
    for (const Source& source : mine.definition.sources) datasets.emplace_back(source.dataset);
    TM_TRY(events_.append(
        tx, {std::string(events_of::kViewDefined), subject(mine), actor.name,
             json::Object{{"digest", mine.digest}, {"datasets", datasets}, {"columns", mine.columns.size()}}}));
    added = true;
    return mine;
  }));
  if (!added) return view;
  plan.view.number = view.number;
  TM_CHECK(online_.add_view(std::move(plan), false));
  if (view.reads.empty()) note_newest(view);
  return view;
}

Result<Materialized> Features::Impl::materialize(const access::Actor& actor, std::string_view name,
                                                 const std::map<std::string, std::int64_t>& versions) {
  const std::int64_t start_ms = clock_.steady_ms();
  const View view = TM_TRY(get(name));
  for (const auto& [dataset, number] : versions) {
    if (std::ranges::find(view.reads, dataset, &Reads::dataset) != view.reads.end()) continue;
    return fail(Code::kInvalidArgument, "features.invalid",
                fmt::format("versions names '{}', which the view {} does not read.", dataset, full_name(view)),
                "Name only its sources.");
  }
  DatasetReader reader(datasets_, tables_, versions);
  for (const Reads& reads : view.reads) {
    std::vector<std::string> columns;
    for (const tables::ColumnType& column : online_.read_columns(reads.dataset)) columns.push_back(column.name);
    TM_CHECK(online_.fill(reads.dataset, TM_TRY(reader.read(reads.dataset, columns))));
  }
  Materialized out{view.name, view.number, TM_TRY(online_.refresh(full_name(view))), 0};
  for (MaterializedSource& source : out.sources) source.number = TM_TRY(reader.number(source.dataset));
  out.took_ms = clock_.steady_ms() - start_ms;
  TM_CHECK(database_.write([&](sql::Tx& tx) -> Result<void> {
    TM_CHECK(put_materialized(tx, out, clock_.now_ms()));
    TM_TRY(events_.append(tx, {std::string(events_of::kMaterialized), subject(view), actor.name,
                               json::Object{{"sources", json::to_json(out.sources)}, {"took_ms", out.took_ms}}}));
    return {};
  }));
  note_newest(view);
  return out;
}

// The columns that a handed-in row may have: those of the dataset's newest version, so that a view that is defined
// later finds them, with the types that the views read.
Result<std::vector<tables::ColumnType>> Features::Impl::push_columns(std::string_view dataset,
                                                                     const json::Array& rows) {
  const std::vector<tables::ColumnType> read = online_.read_columns(dataset);
  if (read.empty()) {
    return fail(Code::kFailedPrecondition, "features.not_read",
                fmt::format("No feature view reads a dataset '{}'.", dataset.substr(0, 128)),
                "Define a view with this dataset among its sources first.");
  }
  const auto fits = [&](const std::vector<tables::ColumnType>& columns) {
    for (const json::Value& row : rows) {
      if (!row.is_object()) continue;
      for (const auto& entry : row.get_object()) {
        if (std::ranges::find(columns, std::string_view(entry.key()), &tables::ColumnType::name) == columns.end())
          return false;
      }
    }
    return true;
  };
  if (fits(read)) return read;
  {
    const std::shared_lock lock(newest_mutex_);
    const auto known = push_columns_.find(dataset);
    if (known != push_columns_.end() && fits(known->second)) return known->second;
  }
  std::vector<tables::ColumnType> columns = read;
  for (const tables::ColumnType& column : TM_TRY(datasets_.latest(dataset)).schema) {
    if (std::ranges::find(columns, column.name, &tables::ColumnType::name) == columns.end()) columns.push_back(column);
  }
  const std::unique_lock lock(newest_mutex_);
  push_columns_[std::string(dataset)] = columns;
  return columns;
}

Result<Pushed> Features::Impl::push(std::string_view dataset, const json::Array& rows) {
  if (rows.size() > static_cast<std::size_t>(settings_.push_rows_max)) {
    return fail(Code::kTooLarge, "features.too_many_rows", fmt::format("{} rows were handed in.", rows.size()),
                fmt::format("Hand in at most {} at once (features.push_rows_max).", settings_.push_rows_max));
  }
  const std::vector<tables::ColumnType> columns = TM_TRY(push_columns(dataset, rows));
  return online_.push(dataset, TM_TRY(frame_of(rows, columns)));
}

Result<tables::Frame> Features::Impl::online(std::string_view view, const tables::Frame& request,
                                             std::optional<std::span<const std::int64_t>> at_ms) {
  if (request.rows > static_cast<std::size_t>(settings_.request_rows_max)) {
    return fail(Code::kTooLarge, "features.too_many_rows", fmt::format("{} rows were asked for.", request.rows),
                fmt::format("Ask for at most {} at once (features.request_rows_max).", settings_.request_rows_max));
  }
  const std::string name = TM_TRY(resolve(view));
  if (!at_ms) return online_.compute(name, request, TM_TRY(online_.times_of(name, request)));
  if (at_ms->size() == request.rows) return online_.compute(name, request, *at_ms);
  return fail(Code::kInvalidArgument, "features.invalid",
              fmt::format("{} times were given for {} rows.", at_ms->size(), request.rows), "Give one for each row.");
}

Result<tables::Frame> Features::Impl::request_frame(std::string_view view, const json::Array& rows) {
  const auto plan = online_.plan(TM_TRY(resolve(view)));
  std::vector<tables::ColumnType> columns{{plan->view.definition.at, tables::Type::time}};
  for (const RequestColumn& column : plan->view.definition.request) columns.push_back({column.name, column.type});
  return frame_of(rows, columns);
}

// --- Features ---------------------------------------------------------------------------------------------------

Features::Features(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Features::~Features() = default;

Result<std::unique_ptr<Features>> Features::create(sql::Database& database, events::Events& events, const Clock& clock,
                                                   kv::Kv& kv, tables::Tables& tables, datasets::Datasets& datasets,
                                                   Settings settings) {
  auto impl = std::make_unique<Impl>(database, events, clock, kv, tables, datasets, settings);
  TM_CHECK(impl->open());
  return std::unique_ptr<Features>(new Features(std::move(impl)));
}

Result<View> Features::define(const access::Actor& actor, const NewView& definition) {
  return impl_->define(actor, definition);
}
Result<View> Features::get(std::string_view view) { return impl_->get(view); }
Result<std::vector<View>> Features::list() { return impl_->database_.read(newest_views); }
Result<std::vector<View>> Features::versions(std::string_view name) {
  return impl_->database_.read([&](sql::Tx& tx) { return view_versions(tx, name); });
}
Result<TrainingSet> Features::training_set(const TrainingSpec& spec) { return impl_->training_set(spec); }

Result<json::Object> Features::training_set_step(const json::Object& with, const std::filesystem::path& outputs) {
  StepSpec spec = TM_TRY(parse_step(with));
  if (spec.training.id.empty()) spec.training.id = TM_TRY(impl_->datasets_.get(spec.training.dataset)).keys;
  const TrainingSet set = TM_TRY(impl_->training_set(spec.training));
  return write_step(set, spec, impl_->tables_, outputs);
}

Result<Materialized> Features::materialize(const access::Actor& actor, std::string_view view,
                                           const std::map<std::string, std::int64_t>& versions) {
  return impl_->materialize(actor, view, versions);
}
Result<Pushed> Features::push(std::string_view dataset, const json::Array& rows) { return impl_->push(dataset, rows); }
Result<tables::Frame> Features::online(std::string_view view, const tables::Frame& request) const {
  return impl_->online(view, request, std::nullopt);
}
Result<tables::Frame> Features::online(std::string_view view, const tables::Frame& request,
                                       std::span<const std::int64_t> at_ms) const {
  return impl_->online(view, request, at_ms);
}

Result<tables::Frame> Features::request_frame(std::string_view view, const json::Array& rows) const {
  return impl_->request_frame(view, rows);
}

}  // namespace tidemill::features
