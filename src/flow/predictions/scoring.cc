#include "flow/predictions/scoring.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

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

// A request while it is worked on.
struct Job {
  const Ask* ask = nullptr;
  std::size_t rows = 0;
  std::vector<std::string> ids;
  std::vector<std::int64_t> at_ms;
  std::vector<std::int64_t> versions;                // that answers each row
  std::map<Part, std::vector<std::size_t>> rows_of;  // which rows each part scores; a shadow those that it does not answer itself
  std::map<Part, Encoded> features;                  // those rows, encoded
  std::map<Part, std::vector<double>> scores;
  std::optional<Error> error;
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
  for (std::size_t i = job.ids.size(); i < job.rows; ++i) job.ids.push_back(fmt::format("{}:{}", job.ask->request_id, i));
  job.at_ms = job.ask->at_ms;
  if (job.at_ms.empty()) job.at_ms.push_back(now_ms);
  if (job.at_ms.size() == 1) job.at_ms.resize(job.rows, job.at_ms.front());
}

Result<void> set_versions(Job& job, const Loaded& loaded) {
  for (const auto& id : job.ids) {
    job.versions.push_back(job.ask->version != 0 ? job.ask->version : deployments::assign(loaded.deployment, id));
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
                fmt::format("Version {} is not one that '{}' runs.", part.version, loaded.deployment.name), "Leave the version out.");
  }
  return {};
}

Result<Encoded> matrix_of(const runtimes::Tensor& tensor, std::size_t width) {
  const std::size_t rows = static_cast<std::size_t>(tensor.shape.front());
  if (tensor.shape.size() != 2 || static_cast<std::size_t>(tensor.shape[1]) != width) {
    return fail(Code::kInvalidArgument, "predictions.wrong_shape",
                fmt::format("The tensor '{}' has {} columns; the model takes {}.", tensor.name, tensor.shape.size() == 2 ? tensor.shape[1] : 1, width),
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
  for (const auto& [part, rows] : job.rows_of) {
    const auto& encoder = loaded.scorers.at(part.version)->encoder;
    Encoded matrix = job.ask->tensor ? TM_TRY(matrix_of(*job.ask->tensor, encoder.width()))
                                     : TM_TRY(encoder.encode(looked_up ? *looked_up : job.ask->rows));
    job.features[part] = rows.size() == job.rows ? std::move(matrix) : pick(matrix, rows, encoder.width());
  }
  return {};
}

Result<void> run_version(const models::Scorer& scorer, const Run& run, std::vector<Job>& jobs) {
  const std::size_t width = scorer.encoder.width();
  std::vector<double> scores(run.matrix.size() / width);
  TM_CHECK(scorer.session->score(std::span<const float>(run.matrix), static_cast<std::int64_t>(width), scores));
  std::size_t at = 0;
  for (const auto& piece : run.pieces) {
    const auto begin = scores.begin() + static_cast<std::ptrdiff_t>(at);
    auto& own = jobs[piece.job].scores[piece.part];
    own.assign(begin, begin + static_cast<std::ptrdiff_t>(piece.rows));
    at += piece.rows;
    if (std::ranges::any_of(own, [](double score) { return !std::isfinite(score); })) {
      jobs[piece.job].error = Error{Code::kInvalidArgument, "predictions.no_number", "The model has no finite answer for a row of this request.",
                              "Check the values that were sent.", {}};
    }
  }
  return {};
}

Answer answer_of(const Job& job, const Loaded& loaded) {
  Answer answer;
  answer.model = loaded.deployment.model;
  answer.ids = job.ids;
  answer.versions = job.versions;
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

std::vector<Scored> score(const Loaded& loaded, const Parts& parts, const std::vector<Work>& works, std::int64_t now_ms) {
  std::vector<Job> jobs(works.size());
  std::map<std::int64_t, Run> runs;
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
      Run& run = runs[part.version];
      run.matrix.insert(run.matrix.end(), features.begin(), features.end());
      run.pieces.push_back({i, part, job.rows_of[part].size()});
    }
  }
  for (const auto& [version, run] : runs) {
    if (auto ran = run_version(*loaded.scorers.at(version), run, jobs); !ran) {
      for (const auto& piece : run.pieces) jobs[piece.job].error = ran.error();
    }
  }
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
