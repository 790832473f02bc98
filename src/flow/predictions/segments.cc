#include "flow/predictions/segments.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/files.h"
#include "base/hash.h"
#include "flow/predictions/schema.sql.h"

namespace tidemill::predictions {
namespace {

constexpr sql::Query kSealedThrough{"prediction_journals.sealed_through",
                                    "SELECT max(number) FROM prediction_journals"};
constexpr sql::Query kSealed{"prediction_journals.sealed",
                             "SELECT count(*) FROM prediction_journals WHERE number = ?1"};
constexpr sql::Query kMarkSealed{"prediction_journals.mark_sealed",
                                 "INSERT OR IGNORE INTO prediction_journals (number) VALUES (?1)"};
constexpr sql::Query kInsert{"prediction_segments.insert",
                             "INSERT OR REPLACE INTO prediction_segments (file, journal, deployment, rows, at_min_ms, "
                             "at_max_ms, logged_min_ms, logged_max_ms)"
                             " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"};
constexpr sql::Query kFind{"prediction_segments.find",
                           "SELECT file FROM prediction_segments WHERE deployment = ?1 AND at_max_ms >= ?2 AND "
                           "at_min_ms < ?3 AND logged_max_ms >= ?4"
                           " ORDER BY journal, file"};
constexpr sql::Query kAll{"prediction_segments.all",
                          "SELECT file, deployment FROM prediction_segments ORDER BY journal, file"};

// Row groups whose times lie elsewhere are skipped by their statistics.
constexpr const char* kReadSegment =
    "SELECT * FROM read_parquet($1) WHERE at_ms >= $2 AND at_ms < $3 AND logged_ms >= $4";

struct Segment {
  std::string file;
  std::string deployment;
  std::int64_t rows = 0;
  std::int64_t at_min_ms = 0;
  std::int64_t at_max_ms = 0;
  std::int64_t logged_min_ms = 0;
  std::int64_t logged_max_ms = 0;
};

using Columns = std::vector<models::ColumnSpec>;

template <class T>
std::vector<T>& values_of(tables::Column& column) {
  return std::get<std::vector<T>>(column.values);
}

tables::Column feature_column(const models::ColumnSpec& spec) {
  return tables::Column::make(spec.name,
                              spec.kind == models::ColumnKind::number ? tables::Type::real : tables::Type::text);
}

void append_feature(tables::Column& column, const models::ColumnSpec& spec, float value) {
  if (spec.kind == models::ColumnKind::number) {
    if (std::isnan(value)) return column.append_missing();
    values_of<double>(column).push_back(value);
  } else {
    const bool known = value >= 0 && value < static_cast<float>(spec.categories.size());
    if (!known) return column.append_missing();
    values_of<std::string>(column).push_back(spec.categories[static_cast<std::size_t>(value)]);
  }
  if (!column.valid.empty()) column.valid.push_back(1);
}

tables::Frame empty_frame(const Columns& columns) {
  tables::Frame frame;
  using tables::Type;
  for (const auto& [name, type] : std::vector<std::pair<const char*, Type>>{{"prediction_id", Type::text},
                                                                            {"at_ms", Type::integer},
                                                                            {"logged_ms", Type::integer},
                                                                            {"version", Type::integer},
                                                                            {"role", Type::text},
                                                                            {"score", Type::real}}) {
    frame.columns.push_back(tables::Column::make(name, type));
  }
  for (const auto& spec : columns) frame.columns.push_back(feature_column(spec));
  return frame;
}

void append_batch(tables::Frame& frame, const Batch& batch, const Columns& columns) {
  constexpr std::size_t kFeatures = 6;
  for (std::size_t i = 0; i < batch.ids.size(); ++i) {
    values_of<std::string>(frame.columns[0]).push_back(batch.ids[i]);
    values_of<std::int64_t>(frame.columns[1]).push_back(batch.at_ms[i]);
    values_of<std::int64_t>(frame.columns[2]).push_back(batch.logged_ms);
    values_of<std::int64_t>(frame.columns[3]).push_back(batch.version);
    values_of<std::string>(frame.columns[4]).emplace_back(enum_name(batch.role));
    values_of<double>(frame.columns[5]).push_back(batch.scores[i]);
    for (std::size_t c = 0; c < columns.size(); ++c) {
      append_feature(frame.columns[kFeatures + c], columns[c], batch.features[i * batch.width + c]);
    }
  }
  frame.rows += batch.ids.size();
}

Segment segment_of(const tables::Frame& frame, std::string file, std::string deployment) {
  const auto [at_min, at_max] = std::ranges::minmax(frame.columns[1].integers());
  const auto [logged_min, logged_max] = std::ranges::minmax(frame.columns[2].integers());
  return {std::move(file), std::move(deployment), static_cast<std::int64_t>(frame.rows), at_min, at_max, logged_min,
          logged_max};
}

tables::Frame label_frame(const std::vector<LabelBatch>& batches) {
  tables::Frame frame;
  frame.columns = {
      tables::Column::make("deployment", tables::Type::text), tables::Column::make("prediction_id", tables::Type::text),
      tables::Column::make("label", tables::Type::integer), tables::Column::make("at_ms", tables::Type::integer)};
  for (const auto& batch : batches) {
    for (const auto& label : batch.labels) {
      values_of<std::string>(frame.columns[0]).push_back(batch.deployment);
      values_of<std::string>(frame.columns[1]).push_back(label.id);
      values_of<std::int64_t>(frame.columns[2]).push_back(label.label);
      values_of<std::int64_t>(frame.columns[3]).push_back(label.at_ms);
      ++frame.rows;
    }
    if (batch.until_ms == 0) continue;
    // How far the labels are complete is kept as a row without an id.
    values_of<std::string>(frame.columns[0]).push_back(batch.deployment);
    values_of<std::string>(frame.columns[1]).emplace_back();
    values_of<std::int64_t>(frame.columns[2]).push_back(-1);
    values_of<std::int64_t>(frame.columns[3]).push_back(batch.until_ms);
    ++frame.rows;
  }
  return frame;
}

std::string signature_of(const Columns& columns) { return sha256_hex(json::encode(columns)).substr(0, 12); }

}  // namespace

Result<std::unique_ptr<Segments>> Segments::create(sql::Database& database, tables::Tables& tables,
                                                   std::filesystem::path folder, ColumnsOf columns_of) {
  TM_CHECK(make_folder(folder));
  TM_CHECK(database.migrate("predictions", kSchemaSql));
  return std::unique_ptr<Segments>(new Segments(database, tables, std::move(folder), std::move(columns_of)));
}

Result<std::uint64_t> Segments::sealed_through() {
  // Files are sealed in order, so the newest sealed one tells of all before it.
  const auto number = TM_TRY(database_.read([](sql::Tx& tx) { return tx.integer(kSealedThrough, 0); }));
  return static_cast<std::uint64_t>(number);
}

Result<std::shared_ptr<const Columns>> Segments::columns(const std::string& model, std::int64_t version) {
  const std::lock_guard lock(mutex_);
  auto& known = columns_[{model, version}];
  if (known == nullptr) known = std::make_shared<const Columns>(TM_TRY(columns_of_(model, version)));
  return known;
}

Result<std::vector<tables::Frame>> Segments::frames_of(const std::vector<std::shared_ptr<const Batch>>& batches) {
  std::map<std::string, tables::Frame> frames;  // by signature of the columns
  for (const auto& batch : batches) {
    const auto specs = TM_TRY(columns(batch->model, batch->version));
    if (specs->size() != batch->width) {
      return fail(Code::kInternal, "predictions.wrong_width",
                  fmt::format("A logged row of '{}' version {} has {} features instead of {}.", batch->model,
                              batch->version, batch->width, specs->size()));
    }
    const auto [place, is_new] = frames.try_emplace(signature_of(*specs));
    if (is_new) place->second = empty_frame(*specs);
    append_batch(place->second, *batch, *specs);
  }
  std::vector<tables::Frame> out;
  for (auto& [signature, frame] : frames) out.push_back(std::move(frame));
  return out;
}

Result<void> Segments::seal(std::uint64_t journal, const Ledger::FileContent& content) {
  if (TM_TRY(database_.read([&](sql::Tx& tx) { return tx.integer(kSealed, 0, static_cast<std::int64_t>(journal)); })) >
      0)
    return {};
  std::map<std::string, std::vector<std::shared_ptr<const Batch>>> by_deployment;
  for (const auto& batch : content.batches) by_deployment[batch->deployment].push_back(batch);
  std::vector<Segment> segments;
  for (const auto& [deployment, batches] : by_deployment) {
    TM_CHECK(make_folder(folder_ / deployment));
    int part = 0;
    for (const auto& frame : TM_TRY(frames_of(batches))) {
      const std::string file = fmt::format("{}/segment-{:012}-{}.parquet", deployment, journal, part++);
      TM_CHECK(tables_.write_parquet(frame, folder_ / file));
      segments.push_back(segment_of(frame, file, deployment));
    }
  }
  if (const auto labels = label_frame(content.labels); labels.rows > 0) {
    const std::string file = fmt::format("labels-{:012}.parquet", journal);
    TM_CHECK(tables_.write_parquet(labels, folder_ / file));
    segments.push_back({file, "", static_cast<std::int64_t>(labels.rows), 0, 0, 0, 0});
  }
  return database_.write([&](sql::Tx& tx) -> Result<void> {
    for (const auto& s : segments) {
      TM_CHECK(tx.exec(kInsert, s.file, static_cast<std::int64_t>(journal), s.deployment, s.rows, s.at_min_ms,
                       s.at_max_ms, s.logged_min_ms, s.logged_max_ms));
    }
    TM_CHECK(tx.exec(kMarkSealed, static_cast<std::int64_t>(journal)));
    return {};
  });
}

Result<void> Segments::load(Ledger& ledger) {
  const auto all = TM_TRY(database_.read([](sql::Tx& tx) {
    return tx.all<Segment>(kAll, [](const sql::Row& row) { return Segment{row.string(0), row.string(1)}; });
  }));
  for (const auto& segment : all) {
    if (segment.deployment.empty()) {
      const auto frame = TM_TRY(tables_.read_files({folder_ / segment.file}));
      std::map<std::string, LabelBatch> batches;
      for (std::size_t i = 0; i < frame.rows; ++i) {
        const std::string& deployment = frame.find("deployment")->texts()[i];
        batches[deployment].deployment = deployment;
        if (frame.find("prediction_id")->texts()[i].empty()) {
          batches[deployment].until_ms = std::max(batches[deployment].until_ms, frame.find("at_ms")->integers()[i]);
          continue;
        }
        batches[deployment].labels.push_back({frame.find("prediction_id")->texts()[i],
                                              frame.find("label")->integers()[i], frame.find("at_ms")->integers()[i]});
      }
      for (const auto& [deployment, batch] : batches) ledger.add(batch);
      continue;
    }
    const auto frame =
        TM_TRY(tables_.read_files({folder_ / segment.file}, {"prediction_id", "version", "role", "at_ms"}));
    for (std::size_t i = 0; i < frame.rows; ++i) {
      ledger.add_sealed(
          segment.deployment, frame.find("prediction_id")->texts()[i], frame.find("version")->integers()[i],
          parse_enum<Role>(frame.find("role")->texts()[i]).value_or(Role::shadow), frame.find("at_ms")->integers()[i]);
    }
  }
  return {};
}

Result<std::vector<tables::Frame>> Segments::read(const std::string& deployment, const Filter& filter) {
  const auto files = TM_TRY(database_.read([&](sql::Tx& tx) {
    return tx.all<std::string>(
        kFind, [](const sql::Row& row) { return row.string(0); }, deployment, filter.from_ms, filter.to_ms,
        filter.logged_from_ms);
  }));
  std::vector<tables::Frame> frames;
  for (const auto& file : files) {
    frames.push_back(
        TM_TRY(tables_.query(tables::NamedSql{"predictions.read_segment", kReadSegment},
                             {(folder_ / file).string(), filter.from_ms, filter.to_ms, filter.logged_from_ms})));
  }
  return frames;
}

}  // namespace tidemill::predictions
