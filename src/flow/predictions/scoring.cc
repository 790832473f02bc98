#include "flow/predictions/scoring.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <span>
#include <utility>

#include "base/metrics.h"
#include "flow/deployments/assignment.h"

namespace tidemill::predictions {
namespace {

using Encoded = std::vector<float>;

// Rows that a version scores for callers, or beside them: the same version may do both in one request.
struct Part {
  std::int64_t version = 0;
  bool shadow = false;
  auto operator<=>(const Part&) const = default;
};

metrics::Counter shadow_failures() {
  static const auto kFailures = metrics::counter("tidemill_predictions_shadow_failures_total",
                                                 "Requests that a shadow could not answer; nobody else noticed");
  return kFailures;
}

// A request while it is worked on.
struct Job {
  const Ask* ask = nullptr;
  std::size_t rows = 0;
  std::vector<std::string> ids;
  std::vector<std::int64_t> at_ms;
  std::vector<std::int64_t> versions;  // that answers each row
  std::map<Part, std::vector<std::size_t>>
      rows_of;                       // which rows each part scores; a shadow those that it does not answer itself
  std::map<Part, Encoded> features;  // those rows, encoded
  std::map<Part, std::vector<double>> scores;
  std::vector<runtimes::Tensor> outputs;  // of the model itself, for a request that sent its tensor
  std::optional<Error> error;

  // A part that cannot be scored: a shadow is left out, whoever is served fails the request.
  void give_up(const Part& part, Error why) {
    if (!part.shadow) {
      error = std::move(why);
      return;
    }
    rows_of.erase(part);
    features.erase(part);
    scores.erase(part);
    shadow_failures().add();
  }
};

// All rows of one version over all jobs.
struct Run {
  std::vector<float> matrix;
  struct Piece {
    std::size_t job = 0;
    Part part;
    std::size_t rows = 0;
  };
  std::vector<Piece> pieces;
};

void set_identity(Job& job, std::int64_t now_ms) {
  job.ids = job.ask->ids;
  for (std::size_t i = job.ids.size(); i < job.rows; ++i)
    job.ids.push_back(fmt::format("{}:{}", job.ask->request_id, i));
  job.at_ms = job.ask->at_ms;
  if (job.at_ms.empty()) job.at_ms.push_back(now_ms);
  if (job.at_ms.size() == 1) job.at_ms.resize(job.rows, job.at_ms.front());
}

Result<void> set_versions(Job& job, const Loaded& loaded) {
  for (const auto& id : job.ids) {
    // A tensor's outputs are one model's: its first id decides for all rows.
    const auto& drawn = job.ask->tensor ? job.ids.front() : id;
    job.versions.push_back(job.ask->version != 0 ? job.ask->version : deployments::assign(loaded.deployment, drawn));
  }
  for (std::size_t i = 0; i < job.rows; ++i) {
    job.rows_of[{job.versions[i], false}].push_back(i);
    for (const std::int64_t shadow : loaded.deployment.shadows) {
      if (shadow != job.versions[i]) job.rows_of[{shadow, true}].push_back(i);
    }
  }
  for (const auto& [part, rows] : job.rows_of) {
    if (loaded.scorers.contains(part.version)) continue;
    return fail(Code::kNotFound, "predictions.version_not_deployed",
                fmt::format("Version {} is not one that '{}' runs.", part.version, loaded.deployment.name),
                "Leave the version out.");
  }
  return {};
}

Result<Encoded> matrix_of(const runtimes::Tensor& tensor, std::size_t width) {
  const std::size_t rows = static_cast<std::size_t>(tensor.shape.front());
  if (tensor.shape.size() != 2 || static_cast<std::size_t>(tensor.shape[1]) != width) {
    return fail(Code::kInvalidArgument, "predictions.wrong_shape",
                fmt::format("The tensor '{}' has {} columns; the model takes {}.", tensor.name,
                            tensor.shape.size() == 2 ? tensor.shape[1] : 1, width),
                "Send a tensor of shape [rows, columns].");
  }
  Encoded matrix(rows * width);
  if (tensor.data_type == runtimes::DataType::FP32) {
    std::ranges::copy(tensor.as<float>(), matrix.begin());
  } else {
    std::ranges::transform(tensor.as<double>(), matrix.begin(), [](double value) { return static_cast<float>(value); });
  }
  return matrix;
}

Encoded pick(const Encoded& matrix, const std::vector<std::size_t>& rows, std::size_t width) {
  Encoded out;
  out.reserve(rows.size() * width);
  for (const std::size_t row : rows) {
    const auto begin = matrix.begin() + static_cast<std::ptrdiff_t>(row * width);
    out.insert(out.end(), begin, begin + static_cast<std::ptrdiff_t>(width));
  }
  return out;
}

Result<void> encode(Job& job, const Loaded& loaded, const Parts& parts) {
  std::optional<tables::Frame> looked_up;
  if (!loaded.deployment.feature_view.empty() && !job.ask->tensor) {
    looked_up = TM_TRY(parts.look_up(loaded.deployment.feature_view, job.ask->rows, job.at_ms));
  }
  const auto rows_of = job.rows_of;  // a copy: giving up a shadow changes it
  for (const auto& [part, rows] : rows_of) {
    const auto& encoder = loaded.scorers.at(part.version)->encoder;
    auto matrix = job.ask->tensor ? matrix_of(*job.ask->tensor, encoder.width())
                                  : encoder.encode(looked_up ? *looked_up : job.ask->rows);
    if (!matrix) {
      job.give_up(part, std::move(matrix).error());
      continue;
    }
    job.features[part] = rows.size() == job.rows ? *std::move(matrix) : pick(*matrix, rows, encoder.width());
  }
  if (job.error) return std::unexpected(*job.error);
  return {};
}

// Keeps the scores of one part, unless the model had no number for a row.
void keep_scores(Job& job, const Part& part, std::span<const double> scores) {
  if (std::ranges::any_of(scores, [](double score) { return !std::isfinite(score); })) {
    return job.give_up(part, {Code::kInvalidArgument,
                              "predictions.no_number",
                              "The model has no finite answer for a row of this request.",
                              "Check the values that were sent.",
                              {}});
  }
  job.scores[part].assign(scores.begin(), scores.end());
}

Result<std::vector<double>> run_matrix(const models::Scorer& scorer, std::span<const float> matrix) {
  const std::size_t width = scorer.encoder.width();
  std::vector<double> scores(matrix.size() / width);
  TM_CHECK(scorer.session->score(matrix, static_cast<std::int64_t>(width), scores));
  return scores;
}

// Runs one version over the rows of all requests at once. When that fails each runs alone, so that one request's values
// cannot fail another's.
void run_version(const models::Scorer& scorer, const Run& run, std::vector<Job>& jobs) {
  const auto together = run_matrix(scorer, run.matrix);
  std::size_t at = 0;
  for (const auto& piece : run.pieces) {
    if (together) {
      keep_scores(jobs[piece.job], piece.part, std::span(*together).subspan(at, piece.rows));
    } else {
      const std::size_t width = scorer.encoder.width();
      const auto alone = run.pieces.size() == 1
                             ? together
                             : run_matrix(scorer, std::span(run.matrix).subspan(at * width, piece.rows * width));
      if (alone) {
        keep_scores(jobs[piece.job], piece.part, *alone);
      } else {
        jobs[piece.job].give_up(piece.part, alone.error());
      }
    }
    at += piece.rows;
  }
}

// Reads the scores off the model's own outputs, by the rule of Session::score.
Result<std::vector<double>> scores_of(const models::Scorer& scorer, const std::vector<runtimes::Tensor>& outputs,
                                      std::size_t rows) {
  const auto& rule = scorer.session->score_rule();
  if (!rule) return std::unexpected(rule.error());
  const auto output = std::ranges::find(outputs, rule->output, &runtimes::Tensor::name);
  std::vector<double> scores(rows);
  const auto fill = [&](auto values) {
    const std::size_t width = values.size() / rows;
    if (values.size() % rows != 0 || width < 1 || width > 2) return false;
    for (std::size_t i = 0; i < rows; ++i) scores[i] = static_cast<double>(values[i * width + width - 1]);
    return true;
  };
  if (output != outputs.end() &&
      (output->data_type == runtimes::DataType::FP64 ? fill(output->as<double>()) : fill(output->as<float>())))
    return scores;
  return fail(Code::kInternal, "predictions.no_score",
              fmt::format("The model's output '{}' has not one score a row.", rule->output), "Send columns instead.");
}

// Answers a request that sent the model's tensor with all that the model says.
void run_tensor(const models::Scorer& scorer, const Part& part, Job& job) {
  const runtimes::TensorView view = job.ask->tensor->view();
  auto outputs = scorer.session->run(std::span(&view, 1));
  if (!outputs) return job.give_up(part, std::move(outputs).error());
  const auto scores = scores_of(scorer, *outputs, job.rows);
  if (!scores) return job.give_up(part, scores.error());
  keep_scores(job, part, *scores);
  job.outputs = *std::move(outputs);
}

Answer answer_of(Job& job, const Loaded& loaded) {
  Answer answer;
  answer.model = loaded.deployment.model;
  answer.ids = job.ids;
  answer.versions = job.versions;
  answer.outputs = std::move(job.outputs);
  answer.probabilities.resize(job.rows);
  for (const auto& [part, rows] : job.rows_of) {
    if (part.shadow) continue;
    for (std::size_t i = 0; i < rows.size(); ++i) answer.probabilities[rows[i]] = job.scores.at(part)[i];
  }
  for (const double probability : answer.probabilities) answer.labels.push_back(probability >= 0.5 ? 1 : 0);
  return answer;
}

std::vector<Record> records_of(Job& job, const Loaded& loaded, std::int64_t now_ms) {
  std::vector<Record> records;
  for (auto& [part, rows] : job.rows_of) {
    Batch batch;
    batch.deployment = loaded.deployment.name;
    batch.model = loaded.deployment.model;
    batch.version = part.version;
    const bool candidate = loaded.deployment.candidate && loaded.deployment.candidate->version == part.version;
    batch.role = part.shadow ? Role::shadow : (candidate ? Role::candidate : Role::champion);
    batch.logged_ms = now_ms;
    for (const std::size_t row : rows) {
      batch.ids.push_back(job.ids[row]);
      batch.at_ms.push_back(job.at_ms[row]);
    }
    batch.scores = std::move(job.scores.at(part));
    batch.width = static_cast<std::uint32_t>(loaded.scorers.at(part.version)->encoder.width());
    batch.features = std::move(job.features.at(part));
    records.emplace_back(std::move(batch));
  }
  return records;
}

}  // namespace

std::vector<Scored> score(const Loaded& loaded, const Parts& parts, const std::vector<Work>& works,
                          std::int64_t now_ms) {
  std::vector<Job> jobs(works.size());
  std::map<std::int64_t, Run> runs;
  std::vector<std::pair<std::size_t, Part>> tensors;  // (job, who answers it)
  for (std::size_t i = 0; i < works.size(); ++i) {
    Job& job = jobs[i];
    job.ask = &works[i].ask;
    job.rows = works[i].rows;
    set_identity(job, now_ms);
    auto prepared = set_versions(job, loaded);
    if (prepared) prepared = encode(job, loaded, parts);
    if (!prepared) {
      job.error = std::move(prepared).error();
      continue;
    }
    for (const auto& [part, features] : job.features) {
      if (job.ask->tensor && !part.shadow) {
        tensors.emplace_back(i, part);
        continue;
      }
      Run& run = runs[part.version];
      run.matrix.insert(run.matrix.end(), features.begin(), features.end());
      run.pieces.push_back({i, part, job.rows_of[part].size()});
    }
  }
  for (const auto& [version, run] : runs) run_version(*loaded.scorers.at(version), run, jobs);
  for (const auto& [job, part] : tensors) run_tensor(*loaded.scorers.at(part.version), part, jobs[job]);
  std::vector<Scored> out;
  for (Job& job : jobs) {
    if (job.error) {
      out.push_back({std::unexpected(*std::move(job.error)), {}});
      continue;
    }
    Answer answer = answer_of(job, loaded);
    out.push_back({std::move(answer), records_of(job, loaded, now_ms)});
  }
  return out;
}

}  // namespace tidemill::predictions
