// What stands in the journal: batches of predictions and batches of labels. Private to this room.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"
#include "flow/predictions/types.h"

namespace tidemill::predictions {

// Rows that one version answered in one go. `features` is row-major, ids.size() × width, as the model was given them.
struct Batch {
  std::string deployment;
  std::string model;
  std::int64_t version = 0;
  Role role = Role::champion;
  std::int64_t logged_ms = 0;
  std::vector<std::string> ids;
  std::vector<std::int64_t> at_ms;
  std::vector<double> scores;
  std::uint32_t width = 0;
  std::vector<float> features;
};

struct LabelBatch {
  std::string deployment;
  std::vector<Label> labels;
  std::int64_t until_ms = 0;  // everything that became known before this has been sent; 0: not said
};

// The records of one request go into the journal as one payload, so that they are there together or not at all.
using Record = std::variant<Batch, LabelBatch>;

[[nodiscard]] std::string encode_records(const std::vector<Record>& records);
// kInternal when the bytes are no records of ours.
[[nodiscard]] Result<std::vector<Record>> decode_records(std::string_view payload);

}  // namespace tidemill::predictions
