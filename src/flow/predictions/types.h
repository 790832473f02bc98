// What endpoints are asked, what they answer, and what becomes known later.
#pragma once

#include <boost/describe.hpp>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "flow/deployments/types.h"
#include "runtimes/types.h"
#include "storage/tables/frame.h"

namespace tidemill::predictions {

using deployments::Role;

// One request: rows as named columns (the usual form), or the model's own input tensor.
struct Ask {
  std::string deployment;
  std::int64_t version = 0;  // 0: as the deployment says; else that one, which must be among those it runs
  std::string request_id;
  tables::Frame rows;                      // by column; unused when `tensor` is set
  std::optional<runtimes::Tensor> tensor;  // FP32 or FP64 [N, columns]
  std::vector<std::string> ids;            // one a row; empty: "<request_id>:<row>"
  std::vector<std::int64_t> at_ms;         // when each row was asked; empty: now; one value: for all
  std::int64_t deadline_ms = 0;            // on the steady clock; past it the request is not run; 0: none
};

struct Answer {
  std::string model;
  std::vector<std::string> ids;
  std::vector<std::int64_t> versions;     // that answered each row
  std::vector<double> probabilities;      // of the positive class
  std::vector<std::int64_t> labels;       // 1 where the probability is at least 0.5
  std::vector<runtimes::Tensor> outputs;  // everything that the model gave, for a request that sent its tensor

  // Returns the version if one answered all rows, else 0.
  [[nodiscard]] std::int64_t version() const;
};

struct Label {
  using json_defaults = void;
  std::string id;
  std::int64_t label = 0;  // 0 or 1
  std::int64_t at_ms = 0;  // when it became known; 0: now
};
BOOST_DESCRIBE_STRUCT(Label, (), (id, label, at_ms))

struct VersionCount {
  std::int64_t version = 0;
  Role role = Role::champion;
  std::int64_t rows = 0;
  std::int64_t labelled = 0;
};
BOOST_DESCRIBE_STRUCT(VersionCount, (), (version, role, rows, labelled))

struct Stats {
  std::string deployment;
  std::int64_t rows = 0;          // answered, each once
  std::int64_t labelled = 0;      // of those
  std::int64_t labels = 0;        // received, also for ids that were never asked
  std::int64_t first_ms = 0;      // the oldest at_ms; 0: none yet
  std::int64_t watermark_ms = 0;  // the newest at_ms; 0: none yet
  std::vector<VersionCount> versions;
};
BOOST_DESCRIBE_STRUCT(Stats, (), (deployment, rows, labelled, labels, first_ms, watermark_ms, versions))

// One prediction as it was logged, with its label if that is known.
struct Prediction {
  std::string id;
  std::string deployment;
  std::int64_t version = 0;
  Role role = Role::champion;
  std::int64_t at_ms = 0;
  std::int64_t logged_ms = 0;
  double score = 0;
  std::optional<std::int64_t> label;
  json::Object features;
};
BOOST_DESCRIBE_STRUCT(Prediction, (), (id, deployment, version, role, at_ms, logged_ms, score, label, features))

// Which logged rows are wanted. Times are half open: from <= at < to.
struct Filter {
  std::int64_t from_ms = std::numeric_limits<std::int64_t>::min();
  std::int64_t to_ms = std::numeric_limits<std::int64_t>::max();
  std::int64_t logged_from_ms = std::numeric_limits<std::int64_t>::min();
  std::optional<std::int64_t> version{};
  std::optional<Role> role{};
};

}  // namespace tidemill::predictions
