#include "flow/predictions/predictions.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <future>
#include <span>
#include <utility>

#include "base/log.h"
#include "base/metrics.h"
#include "flow/predictions/scoring.h"

namespace tidemill::predictions {
namespace {

constexpr std::int64_t kSealAgainMs = 5'000;

std::size_t rows_of(const Ask& ask) {
  if (!ask.tensor) return ask.rows.rows;
  return ask.tensor->shape.empty() || ask.tensor->shape.front() < 0
             ? 0
             : static_cast<std::size_t>(ask.tensor->shape.front());
}

Error unknown_deployment(std::string_view name) {
  return {Code::kNotFound,
          "deployments.unknown",
          fmt::format("There is no deployment '{}'.", name.substr(0, 128)),
          "List them with 'tidemill deployments list'.",
          {{"deployment", std::string(name.substr(0, 128))}}};
}

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

metrics::Labels labels(const std::string& deployment, std::int64_t version) {
  return {{"deployment", deployment}, {"version", std::to_string(version)}};
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

json::Value cell(const tables::Column& column, std::size_t row) {
  if (column.is_missing(row)) return nullptr;
  switch (column.type) {
    case tables::Type::boolean:
      return column.booleans()[row] != 0;
    case tables::Type::integer:
    case tables::Type::time:
      return column.integers()[row];
    case tables::Type::real:
      return json::to_json(column.reals()[row]);
    case tables::Type::text:
      return json::Value(boost::json::string(column.texts()[row]));
  }
  return nullptr;
}

}  // namespace

std::int64_t Answer::version() const {
  if (versions.empty() || std::ranges::adjacent_find(versions, std::not_equal_to<>()) != versions.end()) return 0;
  return versions.front();
}

Result<std::unique_ptr<Predictions>> Predictions::create(Parts parts, Options options) {
  std::unique_ptr<Predictions> room(new Predictions(std::move(parts), options));
  auto* raw = room.get();
  const auto columns_of = [raw](const std::string& model,
                                std::int64_t version) -> Result<std::vector<models::ColumnSpec>> {
    return TM_TRY(raw->parts_.models.detail(model, version)).columns;
  };
  room->segments_ = TM_TRY(
      Segments::create(room->parts_.database, room->parts_.tables, room->parts_.folder / "segments", columns_of));
  TM_CHECK(room->segments_->load(room->ledger_));
  JournalOptions journal;
  journal.file_bytes_max = static_cast<std::uint64_t>(options.journal_bytes_max);
  room->journal_ = TM_TRY(Journal::open(
      room->parts_.folder / "journal", TM_TRY(room->segments_->sealed_through()),
      [raw](std::uint64_t file, std::string_view payload) { raw->apply(file, payload); },
      [raw](std::uint64_t file) {
        {
          const std::lock_guard lock(raw->mutex_);
          raw->to_seal_.push_back(file);
        }
        raw->changed_.notify_all();
      },
      journal));
  room->lanes_ = std::make_unique<Lanes>(
      LaneOptions{options.workers, options.batch_rows_max, options.waiting_rows_max, options.inline_us_max},
      room->parts_.clock,
      [raw](const std::string& name, std::vector<Work> works) { raw->run(name, std::move(works)); });
  room->alarm_ = std::make_shared<Alarm>();
  room->alarm_->room = raw;
  room->parts_.deployments.on_change([alarm = room->alarm_] {
    const std::lock_guard lock(alarm->mutex);
    if (alarm->room != nullptr) alarm->room->reload();
  });
  room->load_all();
  room->sealer_ = std::thread([raw] { raw->seal_loop(); });
  room->loader_ = std::thread([raw] { raw->load_loop(); });
  return room;
}

Predictions::~Predictions() {
  if (alarm_) {
    const std::lock_guard lock(alarm_->mutex);
    alarm_->room = nullptr;
  }
  lanes_.reset();
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  changed_.notify_all();
  if (sealer_.joinable()) sealer_.join();  // it asks the journal for paths
  if (loader_.joinable()) loader_.join();
  journal_.reset();
}

void Predictions::reload() {
  {
    const std::lock_guard lock(mutex_);
    reload_ = true;
  }
  changed_.notify_all();
}

// --- answering ---

Result<void> Predictions::check_ask(const Ask& ask, std::size_t rows) const {
  if (rows == 0 || rows > static_cast<std::size_t>(options_.request_rows_max)) {
    return fail(rows == 0 ? Code::kInvalidArgument : Code::kTooLarge, "predictions.bad_row_count",
                fmt::format("A request has 1 to {} rows, not {}.", options_.request_rows_max, rows), "Split it.");
  }
  if (!ask.ids.empty() && ask.ids.size() != rows) {
    return fail(Code::kInvalidArgument, "predictions.wrong_id_count",
                fmt::format("There are {} prediction ids for {} rows.", ask.ids.size(), rows),
                "Give one for each row, or none.");
  }
  if (ask.at_ms.size() > 1 && ask.at_ms.size() != rows) {
    return fail(Code::kInvalidArgument, "predictions.wrong_time_count",
                fmt::format("There are {} times for {} rows.", ask.at_ms.size(), rows),
                "Give one for all, one for each, or none.");
  }
  const std::int64_t newest_ms = parts_.clock.now_ms() + options_.future_ms_max;
  for (const std::int64_t at_ms : ask.at_ms) {
    if (at_ms > 0 && at_ms <= newest_ms)
      continue;  // one wrong time in the future would end every window of the monitors
    return fail(Code::kInvalidArgument, "predictions.bad_time", fmt::format("at_ms {} is not a time up to now.", at_ms),
                "Give milliseconds since 1970-01-01T00:00:00Z.");
  }
  for (const auto& id : ask.ids) {
    if (!id.empty() && id.size() <= static_cast<std::size_t>(options_.id_bytes_max)) continue;
    return fail(Code::kInvalidArgument, "predictions.bad_id",
                fmt::format("A prediction's id has 1 to {} bytes.", options_.id_bytes_max), "Shorten it.");
  }
  auto sorted = ask.ids;
  std::ranges::sort(sorted);
  if (const auto twice = std::ranges::adjacent_find(sorted); twice != sorted.end()) {
    return fail(Code::kInvalidArgument, "predictions.id_twice",
                fmt::format("The prediction id '{}' stands twice.", *twice), "Give each row its own.");
  }
  return {};
}

void Predictions::infer(Ask ask, AnswerDone done) {
  const std::size_t rows = rows_of(ask);
  if (auto checked = check_ask(ask, rows); !checked) return done(std::unexpected(std::move(checked).error()));
  if (auto found = serving(ask.deployment); !found) return done(std::unexpected(std::move(found).error()));
  lanes_->submit({std::move(ask), std::move(done), rows, std::chrono::steady_clock::now()});
}

void Predictions::run(const std::string& deployment, std::vector<Work> works) {
  // Taken anew for each run: whoever waited through a change of version is answered by the new one.
  const auto current = loaded(deployment);
  if (current == nullptr) {
    for (auto& work : works) work.done(std::unexpected(unknown_deployment(deployment)));
    return;
  }
  auto scored = score(*current, parts_, works, parts_.clock.now_ms());
  for (std::size_t i = 0; i < works.size(); ++i) {
    if (!scored[i].answer) {
      current->failures.add();
      works[i].done(std::unexpected(std::move(scored[i].answer).error()));
    } else {
      log_and_answer(current, std::move(works[i]), *std::move(scored[i].answer), std::move(scored[i].records));
    }
  }
}

void Predictions::log_and_answer(const std::shared_ptr<const Loaded>& loaded, Work work, Answer answer,
                                 std::vector<Record> records) {
  const auto answered = [loaded, version = answer.versions.front(), begun = work.begun](std::size_t rows) {
    const VersionMetrics& metrics = loaded->metrics.at(version);
    metrics.requests.add();
    metrics.rows.add(static_cast<double>(rows));
    metrics.seconds.observe(std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count());
  };
  const std::size_t rows = answer.ids.size();
  // Rows that are logged already (a request sent again) need no second record; the ledger would drop them anyway.
  const bool repeated =
      std::ranges::all_of(answer.ids, [&](const std::string& id) { return ledger_.has(loaded->deployment.name, id); });
  if (repeated) {
    work.done(std::move(answer));
    return answered(rows);
  }
  std::string payload = encode_records(records);
  if (!loaded->deployment.log.durable) {
    work.done(std::move(answer));
    answered(rows);
    journal_->append(std::move(payload), false, [loaded, rows](Result<void> logged) {
      if (!logged) loaded->log_drops.add(static_cast<double>(rows));
    });
    return;
  }
  auto kept = std::make_shared<Answer>(std::move(answer));
  journal_->append(std::move(payload), true, [kept, done = std::move(work.done), answered, rows](Result<void> logged) {
    if (!logged) return done(std::unexpected(std::move(logged).error()));
    done(std::move(*kept));
    answered(rows);
  });
}

// --- the log ---

void Predictions::apply(std::uint64_t file, std::string_view payload) {
  auto records = decode_records(payload);
  if (!records) {
    log::error("predictions", "a record of the log could not be read", {{"cause", records.error().text()}});
    return;
  }
  for (auto& record : *records) {
    if (auto* batch = std::get_if<Batch>(&record)) {
      ledger_.add(file, std::move(*batch));
    } else {
      ledger_.add(std::get<LabelBatch>(record));
      ledger_.keep_labels(file, std::get<LabelBatch>(record));
    }
  }
}

void Predictions::seal_loop() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return closing_ || !to_seal_.empty(); });
    if (closing_) return;  // what is left is sealed after the next start
    const std::uint64_t file = to_seal_.front();
    lock.unlock();
    auto sealed = segments_->seal(file, ledger_.content(file));
    if (sealed) {
      ledger_.drop(file);
      std::error_code ignored;  // a file left over is skipped at the next start
      std::filesystem::remove(journal_->file_path(file), ignored);
    } else {
      log::error("predictions", "could not seal a file of the log; it stays as it is",
                 {{"cause", sealed.error().text()}});
    }
    lock.lock();
    seal_error_.reset();
    if (sealed) {
      to_seal_.erase(to_seal_.begin());
    } else {
      // A later file must not be sealed before this one: the newest sealed file tells what a start may skip.
      seal_error_ = std::move(sealed).error();
      changed_.notify_all();
      changed_.wait_for(lock, std::chrono::milliseconds(kSealAgainMs), [&] { return closing_; });
    }
    changed_.notify_all();
  }
}

Result<void> Predictions::flush() {
  journal_->rotate();
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return closing_ || to_seal_.empty() || seal_error_; });
  if (seal_error_) return std::unexpected(*seal_error_);
  return {};
}

Result<std::int64_t> Predictions::label(const access::Actor&, const std::string& deployment, std::vector<Label> labels,
                                        std::int64_t until_ms) {
  if (loaded(deployment) == nullptr) TM_CHECK(parts_.deployments.get(deployment));
  if (labels.size() > static_cast<std::size_t>(options_.labels_max)) {
    return fail(Code::kTooLarge, "predictions.many_labels",
                fmt::format("{} labels are more than {}.", labels.size(), options_.labels_max), "Send fewer at once.");
  }
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (labels[i].id.empty() || labels[i].id.size() > static_cast<std::size_t>(options_.id_bytes_max) ||
        labels[i].label < 0 || labels[i].label > 1) {
      return fail(
          Code::kInvalidArgument, "predictions.bad_label",
          fmt::format("labels[{}] must have an id of 1 to {} bytes and a label of 0 or 1.", i, options_.id_bytes_max),
          "Correct it; none was kept.");
    }
    if (labels[i].at_ms == 0) labels[i].at_ms = parts_.clock.now_ms();
  }
  const auto count = static_cast<std::int64_t>(labels.size());
  if (count == 0 && until_ms == 0) return count;
  std::promise<Result<void>> promise;
  auto future = promise.get_future();
  std::vector<Record> records;
  records.emplace_back(LabelBatch{deployment, std::move(labels), until_ms});
  journal_->append(encode_records(records), true, [&](Result<void> done) { promise.set_value(std::move(done)); });
  TM_CHECK(future.get());
  return count;
}

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

Result<Stats> Predictions::checked_stats(const std::string& deployment) {
  if (loaded(deployment) == nullptr) TM_CHECK(parts_.deployments.get(deployment));
  return ledger_.stats(deployment);
}

std::vector<Stats> Predictions::all_stats() const {
  std::vector<Stats> all;
  for (const auto& [name, deployment] : *parts_.deployments.snapshot()) all.push_back(ledger_.stats(name));
  return all;
}

// --- what is loaded ---

Result<std::shared_ptr<const Loaded>> Predictions::serving(std::string_view deployment) const {
  const std::lock_guard lock(mutex_);
  const auto found = loaded_.find(deployment);
  if (found != loaded_.end() && found->second->deployment.state == deployments::State::serving) return found->second;
  const auto error = load_errors_.find(std::string(deployment));
  if (error != load_errors_.end()) return std::unexpected(error->second);
  return std::unexpected(unknown_deployment(deployment));
}

std::shared_ptr<const Loaded> Predictions::loaded(std::string_view deployment) const {
  const std::lock_guard lock(mutex_);
  const auto found = loaded_.find(deployment);
  return found == loaded_.end() ? nullptr : found->second;
}

VersionMetrics::VersionMetrics(const std::string& deployment, std::int64_t version)
    : requests(
          metrics::counter("tidemill_predictions_requests_total", "Requests answered", labels(deployment, version))),
      rows(metrics::counter("tidemill_predictions_rows_total", "Rows answered", labels(deployment, version))),
      seconds(metrics::histogram("tidemill_predictions_request_seconds",
                                 "From a request's arrival in its lane to its answer", metrics::seconds_buckets(),
                                 labels(deployment, version))) {}

Loaded::Loaded(deployments::Deployment loaded)
    : deployment(std::move(loaded)),
      failures(metrics::counter("tidemill_predictions_failures_total", "Requests that could not be scored",
                                {{"deployment", deployment.name}})),
      log_drops(metrics::counter("tidemill_predictions_log_dropped_rows_total",
                                 "Rows that were answered but could not be logged",
                                 {{"deployment", deployment.name}})) {}

Result<std::shared_ptr<const Loaded>> Predictions::load(const deployments::Deployment& deployment) {
  auto next = std::make_shared<Loaded>(deployment);
  std::vector<std::int64_t> versions = deployment.shadows;
  versions.push_back(deployment.champion);
  if (deployment.candidate) versions.push_back(deployment.candidate->version);
  for (const std::int64_t version : versions) {
    if (next->scorers.contains(version)) continue;
    auto scorer = TM_TRY(parts_.models.scorer(deployment.model, version));
    // The first run allocates and is slow; nobody shall wait for it.
    std::vector<double> score(1);
    const std::vector<float> row(scorer->encoder.width());
    TM_CHECK(scorer->session->score(std::span<const float>(row), static_cast<std::int64_t>(row.size()), score));
    next->metrics.emplace(version, VersionMetrics(deployment.name, version));
    next->scorers.emplace(version, std::move(scorer));
  }
  return next;
}

void Predictions::load_loop() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return closing_ || reload_; });
    if (closing_) return;
    lock.unlock();
    load_all();
    lock.lock();
  }
}

// Loads what the newest snapshot asks for. A deployment whose change cannot be loaded goes on as it was.
void Predictions::load_all() {
  {
    const std::lock_guard lock(mutex_);
    reload_ = false;
  }
  const auto snapshot = parts_.deployments.snapshot();
  for (const auto& [name, deployment] : *snapshot) {
    const auto before = loaded(name);
    if (before != nullptr && before->deployment.revision >= deployment.revision) continue;
    auto next = load(deployment);
    if (!next)
      log::error("predictions", "could not load a deployment", {{"deployment", name}, {"cause", next.error().text()}});
    const std::lock_guard lock(mutex_);
    if (next) {
      load_errors_.erase(name);
      loaded_[name] = *std::move(next);
    } else {
      load_errors_[name] = std::move(next).error();
    }
  }
  changed_.notify_all();
}

Result<void> Predictions::wait_loaded(const std::string& deployment, std::int64_t revision, std::int64_t wait_ms) {
  std::unique_lock lock(mutex_);
  const auto there = [&] {
    const auto found = loaded_.find(deployment);
    return found != loaded_.end() && found->second->deployment.revision >= revision;
  };
  changed_.wait_for(lock, std::chrono::milliseconds(wait_ms),
                    [&] { return closing_ || there() || load_errors_.contains(deployment); });
  if (there()) return {};
  const auto error = load_errors_.find(deployment);
  if (error != load_errors_.end()) return std::unexpected(error->second);
  return fail(Code::kUnavailable, "predictions.still_loading", fmt::format("'{}' is still loading.", deployment),
              "Ask again in a second.");
}

}  // namespace tidemill::predictions
