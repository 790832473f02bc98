// Predictions and labels in Parquet, and back. Private to this room.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "flow/models/types.h"
#include "flow/predictions/ledger.h"
#include "flow/predictions/types.h"
#include "storage/sql/database.h"
#include "storage/tables/tables.h"

namespace tidemill::predictions {

// The columns of a model version, to give the journal's numbers their names and categories back.
using ColumnsOf =
    std::function<Result<std::vector<models::ColumnSpec>>(const std::string& model, std::int64_t version)>;

// Columns of every frame and segment of predictions, before the features: prediction_id text, at_ms integer, logged_ms
// integer, version integer, role text, score real. Features follow under their own names: numbers as real, NaN as
// missing; categories as text.
class Segments {
 public:
  // Makes or updates its tables. `folder` is made.
  [[nodiscard]] static Result<std::unique_ptr<Segments>> create(sql::Database& database, tables::Tables& tables,
                                                                std::filesystem::path folder, ColumnsOf columns_of);

  // Returns the newest journal number N such that all up to N are sealed.
  [[nodiscard]] Result<std::uint64_t> sealed_through();
  // Enters every sealed row and label into the ledger.
  [[nodiscard]] Result<void> load(Ledger& ledger);
  // Writes a journal file's content as Parquet and records it in one commit. Safe to repeat: the same file gives the
  // same segments.
  [[nodiscard]] Result<void> seal(std::uint64_t journal, const Ledger::FileContent& content);

  // Returns the frames of all segments of a deployment that may hold rows of the filter; rows beyond it are still in.
  [[nodiscard]] Result<std::vector<tables::Frame>> read(const std::string& deployment, const Filter& filter);
  // Returns batches as frames, one for each set of columns.
  [[nodiscard]] Result<std::vector<tables::Frame>> frames_of(const std::vector<std::shared_ptr<const Batch>>& batches);

 private:
  Segments(sql::Database& database, tables::Tables& tables, std::filesystem::path folder, ColumnsOf columns_of)
      : database_(database), tables_(tables), folder_(std::move(folder)), columns_of_(std::move(columns_of)) {}
  [[nodiscard]] Result<std::shared_ptr<const std::vector<models::ColumnSpec>>> columns(const std::string& model,
                                                                                       std::int64_t version);

  sql::Database& database_;
  tables::Tables& tables_;
  const std::filesystem::path folder_;
  const ColumnsOf columns_of_;

  std::mutex mutex_;
  // What a version was made of never changes. Guarded by mutex_.
  std::map<std::pair<std::string, std::int64_t>, std::shared_ptr<const std::vector<models::ColumnSpec>>> columns_;
};

}  // namespace tidemill::predictions
