// The built-in pipeline step: its `with`, its files, its result.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/clock.h"
#include "base/files.h"
#include "flow/features/training.h"

namespace tidemill::features {
namespace {

// `with` as it is written; times may be milliseconds, as a number or in text, or RFC 3339 text.
struct With {
  using json_defaults = void;
  std::string view;
  std::string dataset;
  std::vector<std::string> id;
  std::string label;
  std::string label_known;
  json::Value from;
  json::Value to;
  json::Value split;
  json::Value known_by;
  std::map<std::string, std::int64_t> versions;
  StepFiles outputs;
};
BOOST_DESCRIBE_STRUCT(With, (), (view, dataset, id, label, label_known, from, to, split, known_by, versions, outputs))

std::unexpected<Error> bad(std::string message, std::string remedy) {
  return fail(Code::kInvalidArgument, "features.invalid", std::move(message), std::move(remedy));
}

Result<std::optional<std::int64_t>> time_of(std::string_view field, const json::Value& value) {
  if (value.is_null()) return std::optional<std::int64_t>();
  if (const std::int64_t* at_ms = value.if_int64()) return std::optional(*at_ms);
  if (const auto* text = value.if_string()) {
    if (text->empty()) return std::optional<std::int64_t>();
    std::int64_t at_ms = 0;
    const char* const end = text->data() + text->size();
    const auto [stop, error] = std::from_chars(text->data(), end, at_ms);
    if (error == std::errc() && stop == end) return std::optional(at_ms);
    if (const auto parsed = parse_utc(std::string_view(*text))) return std::optional(*parsed);
  }
  return bad(fmt::format("with.{} is {}, which is no time.", field, json::serialize(value).substr(0, 64)),
             "Give milliseconds since 1970, or RFC 3339 text such as 2013-03-01T00:00:00Z.");
}

std::int64_t positives(const tables::Frame& frame, const std::string& label) {
  const tables::Column* column = label.empty() ? nullptr : frame.find(label);
  std::int64_t count = 0;
  for (std::size_t row = 0; column != nullptr && row < frame.rows; ++row) count += column->number(row) > 0 ? 1 : 0;
  return count;
}

}  // namespace

Result<StepSpec> parse_step(const json::Object& with) {
  With given = TM_TRY(json::from_json<With>(with, "with"));
  if (given.view.empty() || given.dataset.empty()) {
    return bad(fmt::format("with.{} is missing.", given.view.empty() ? "view" : "dataset"),
               "Name the feature view, and the dataset whose rows are learnt from.");
  }
  const auto from_ms = TM_TRY(time_of("from", given.from));
  const auto to_ms = TM_TRY(time_of("to", given.to));
  if (!from_ms || !to_ms) {
    return bad(fmt::format("with.{} is missing.", from_ms ? "to" : "from"), "Give the span of times, from and to.");
  }
  StepSpec spec;
  spec.split_ms = TM_TRY(time_of("split", given.split));
  if (spec.split_ms && (*spec.split_ms <= *from_ms || *spec.split_ms >= *to_ms)) {
    return bad(fmt::format("with.split is {}, outside of {} to {}.", *spec.split_ms, *from_ms, *to_ms),
               "Split between from and to, or leave it out.");
  }
  spec.training.known_by_ms = TM_TRY(time_of("known_by", given.known_by));
  spec.training.view = std::move(given.view);
  spec.training.dataset = std::move(given.dataset);
  spec.training.id = std::move(given.id);
  spec.training.label = std::move(given.label);
  spec.training.label_known = std::move(given.label_known);
  spec.training.from_ms = *from_ms;
  spec.training.to_ms = *to_ms;
  spec.training.versions = std::move(given.versions);
  spec.outputs = std::move(given.outputs);
  return spec;
}

Result<json::Object> write_step(const TrainingSet& set, const StepSpec& spec, tables::Tables& tables,
                                const std::filesystem::path& outputs) {
  const tables::Frame& frame = set.frame;
  const auto& at_ms = frame.find(set.view.definition.at)->integers();  // in ascending order
  const auto cut = spec.split_ms ? std::ranges::lower_bound(at_ms, *spec.split_ms) : at_ms.end();
  std::vector<std::size_t> train(static_cast<std::size_t>(cut - at_ms.begin()));
  std::vector<std::size_t> newest(frame.rows - train.size());
  for (std::size_t i = 0; i < train.size(); ++i) train[i] = i;
  for (std::size_t i = 0; i < newest.size(); ++i) newest[i] = train.size() + i;
  if (train.empty() || (spec.split_ms && newest.empty())) {
    return fail(Code::kFailedPrecondition, "features.no_rows",
                fmt::format("The span has {} rows to train on and {} after the split; {} rows had no label in time.",
                            train.size(), newest.size(), set.unlabelled),
                "Choose another span, or wait for labels.");
  }
  const std::filesystem::path train_file = TM_TRY(path_beneath(outputs, spec.outputs.train));
  TM_CHECK(tables.write_parquet(newest.empty() ? frame : pick_rows(frame, train), train_file));
  if (spec.split_ms) {
    const std::filesystem::path newest_file = TM_TRY(path_beneath(outputs, spec.outputs.newest));
    TM_CHECK(tables.write_parquet(pick_rows(frame, newest), newest_file));
  }
  json::Object result{{"view", set.view.name},
                      {"number", set.view.number},
                      {"rows", frame.rows},
                      {"train_rows", train.size()},
                      {"newest_rows", newest.size()},
                      {"positives", positives(frame, spec.training.label)},
                      {"unlabelled", set.unlabelled},
                      {"from_ms", spec.training.from_ms},
                      {"to_ms", spec.training.to_ms},
                      {"known_by_ms", spec.training.known_by_ms.value_or(spec.training.to_ms)},
                      {"at", set.view.definition.at},
                      {"id", json::to_json(spec.training.id)},
                      {"label", spec.training.label},
                      {"columns", json::to_json(set.view.columns)},
                      {"datasets", json::to_json(set.datasets)}};
  if (spec.split_ms) result["split_ms"] = *spec.split_ms;
  return result;
}

}  // namespace tidemill::features
