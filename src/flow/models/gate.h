// The release gate: a version against its requirement and against the champion, on labelled rows that neither has seen.
#pragma once

#include <filesystem>
#include <string>

#include "access/types.h"
#include "base/result.h"
#include "flow/models/models.h"
#include "flow/models/types.h"

namespace tidemill::models {

struct GateOptions {
  using json_defaults = void;
  bool beat_champion = true;        // where the model has a champion, the candidate must be better than it
  std::string champion{kChampion};  // its alias
  double margin = 0;                // by how much AUC at least; 0 = any amount, negative = may be so much worse
  bool significant = false;         // also the lower end of the difference's interval must reach the margin
  bool parity_required = true;      // only versions with a parity proof
  std::int64_t rows_min = 500;      // with fewer rows, or fewer of either class, nothing is proved: not passed
  std::int64_t positives_min = 50;
  std::int64_t negatives_min = 50;
  std::string label_column;  // "" = the version's own
};
BOOST_DESCRIBE_STRUCT(GateOptions, (),
                      (beat_champion, champion, margin, significant, parity_required, rows_min, positives_min,
                       negatives_min, label_column))

// Scores the rows of `data` (Parquet or CSV) with the version, and with the champion where there is another one, in our
// own runtime; judges the rules of `requirement` and the difference (paired DeLong). Returns the report, passed or not;
// keeps nothing. Errors are for what cannot be judged: an unknown or retired requirement, a missing column, a label
// that is not 0/1, a model that gives no probabilities. Any thread; takes as long as the scoring.
[[nodiscard]] Result<GateReport> judge(Models& models, std::string_view model, std::int64_t number,
                                       std::string_view requirement, const std::filesystem::path& data,
                                       const GateOptions& options);

}  // namespace tidemill::models
