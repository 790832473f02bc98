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
    for (auto& work : works) work.done(std::unexpected(serving(deployment).error()));
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

Result<Stats> Predictions::checked_stats(const std::string& deployment) {
  if (loaded(deployment) == nullptr) TM_CHECK(parts_.deployments.get(deployment));
  return ledger_.stats(deployment);
}

std::vector<Stats> Predictions::all_stats() const {
  std::vector<Stats> all;
  for (const auto& [name, deployment] : *parts_.deployments.snapshot()) all.push_back(ledger_.stats(name));
  return all;
}

}  // namespace tidemill::predictions
