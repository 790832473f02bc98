#include "flow/datasets/adding.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "base/hash.h"
#include "base/json.h"
#include "flow/datasets/events.h"
#include "flow/datasets/intake.h"
#include "flow/datasets/profile.h"
#include "flow/datasets/rules.h"
#include "flow/datasets/store.h"

namespace tidemill::datasets {
namespace {

// Whether the error tells that the data are bad, rather than that we or the machine failed.
bool is_about_data(const Error& error) {
  return error.code == Code::kInvalidArgument || error.code == Code::kFailedPrecondition;
}

std::string shown(const Example& example) {
  return example.value ? fmt::format("row {}: '{}'", example.row, example.value->substr(0, 80))
                       : fmt::format("row {}: missing", example.row);
}

// Returns the error of a version that broke at least one rule that refuses; nothing when none did.
std::optional<Error> rule_error(const Quality& quality) {
  std::vector<const RuleResult*> broken;
  for (const auto& result : quality.rules) {
    if (!result.passed && result.severity == Severity::refuse) broken.push_back(&result);
  }
  if (broken.empty()) return std::nullopt;
  const RuleResult& first = *broken.front();
  std::string message = fmt::format("Rule '{}' is broken: {}", first.rule, first.message);
  if (!first.examples.empty()) {
    message.back() = ',';  // the sentence goes on
    for (std::size_t i = 0; i < std::min<std::size_t>(3, first.examples.size()); ++i)
      message += (i == 0 ? " " : "; ") + shown(first.examples[i]);
    message += first.failed_rows > 3 ? "; …" : ".";
  }
  if (broken.size() > 1) message += fmt::format(" {} more rules are broken, too.", broken.size() - 1);
  json::Array all;
  for (const auto* result : broken) all.emplace_back(json::to_json(*result));
  return Error{Code::kFailedPrecondition,
               "datasets.rule_broken",
               message,
               "Correct the rows, or change the rule.",
               {{"rule", first.rule},
                {"failed_rows", std::to_string(first.failed_rows)},
                {"examples", json::encode(first.examples)},
                {"broken", json::serialize(all)}}};
}

}  // namespace

Adding::~Adding() {
  for (const auto* path : {&converted_, &transcoded_}) {
    if (!path->empty()) ::unlink(path->c_str());
  }
}

Result<Version> Adding::run(std::string_view name) {
  TM_CHECK(look_up(name));
  if (is_repetition()) return *before_;
  for (const auto step : {&Adding::convert, &Adding::judge_rows, &Adding::keep, &Adding::commit}) {
    if (auto done = (this->*step)(); !done) return refused(std::move(done).error());
  }
  return version_;
}

Result<void> Adding::look_up(std::string_view name) {
  TM_CHECK(impl_.database.read([&](sql::Tx& tx) -> Result<void> {
    dataset_ = TM_TRY(find_dataset(tx, name));
    if (dataset_.latest > 0) before_ = TM_TRY(find_version(tx, name, dataset_.latest));
    return {};
  }));
  part_.blob = TM_TRY(hash_file(upload_.file));
  part_.filename = upload_.filename;
  part_.bytes = static_cast<std::int64_t>(std::filesystem::file_size(upload_.file));
  part_.encoding = upload_.encoding;
  part_.missing = dataset_.missing.value_or(default_missing());
  version_.dataset = dataset_.name;
  version_.number = dataset_.latest + 1;
  version_.mode = upload_.mode;
  version_.made_by = actor_.name;
  version_.made_ms = impl_.clock.now_ms();
  return {};
}

// A request may be sent again because its answer was lost: that must not double the rows.
bool Adding::is_repetition() const {
  if (!before_) return false;
  const auto same = [&](const Part& part) { return part.blob == part_.blob && part.encoding == part_.encoding; };
  if (upload_.mode == Mode::append) return std::ranges::any_of(before_->parts, same);
  return before_->parts.size() == 1 && same(before_->parts.front());
}

Result<void> Adding::convert() {
  part_.format = TM_TRY(format_of(upload_.file));
  if (part_.format == Format::parquet) part_.encoding = Encoding::utf8;
  transcoded_ = impl_.cache->temporary(".csv");
  const auto file = TM_TRY(as_utf8(upload_.file, part_.format, part_.encoding, transcoded_));
  Wanted wanted{dataset_.columns, std::nullopt, {}, part_.missing};
  if (appending()) {
    wanted.schema = before_->schema;
    for (const auto& column : before_->profile.columns) {
      if (column.count == 0) wanted.undecided.push_back(column.name);
    }
  }
  version_.schema = TM_TRY(fit_schema(impl_.tables, file, part_.format, wanted, impl_.settings));
  converted_ = impl_.cache->temporary(".parquet");
  part_.rows =
      TM_TRY(to_parquet(impl_.tables, file, part_.format, version_.schema, part_.missing, impl_.settings, converted_));
  version_.rows_added = part_.rows;
  version_.rows = part_.rows;
  version_.bytes = part_.bytes;
  if (appending()) {
    version_.parts = before_->parts;
    version_.rows += before_->rows;
    version_.bytes += before_->bytes;
    for (const Part& part : before_->parts) files_before_.push_back(TM_TRY(impl_.cache->get(part, version_.schema)));
  }
  version_.parts.push_back(part_);
  return {};
}

Result<void> Adding::judge_rows() {
  std::vector<Rule> rules = rules_of_keys(dataset_.keys);
  rules.insert(rules.end(), dataset_.rules.begin(), dataset_.rules.end());
  const Candidate candidate{
      converted_, files_before_, version_.schema, part_.rows, appending() ? before_->rows : 0, version_.made_ms};
  version_.quality = TM_TRY(judge(impl_.tables, candidate, rules, impl_.settings));
  if (auto error = rule_error(version_.quality)) return fail(*std::move(error));
  std::vector<std::filesystem::path> files = files_before_;
  files.push_back(converted_);
  version_.profile = TM_TRY(make_profile(impl_.tables, files, version_.schema, version_.rows));
  return {};
}

Result<void> Adding::keep() {
  const auto stored = TM_TRY(impl_.blobs.put_file(upload_.file));
  if (stored.id.str() != part_.blob) {
    return fail(Code::kInternal, "datasets.upload_changed", "The upload changed while it was read.", "Send it again.");
  }
  version_.bytes_new = static_cast<std::int64_t>(stored.bytes_new);
  TM_CHECK(impl_.cache->adopt(converted_, part_, version_.schema));
  converted_.clear();
  json::Array parts;
  for (const Part& part : version_.parts)
    parts.emplace_back(
        json::Array{json::to_json(part.format), json::to_json(part.encoding), part.blob, json::to_json(part.missing)});
  version_.digest =
      sha256_hex(json::canonical(json::Object{{"parts", parts}, {"schema", json::to_json(version_.schema)}}));
  return {};
}

Result<void> Adding::commit() {
  return impl_.database.write([&](sql::Tx& tx) -> Result<void> {
    TM_CHECK(insert_version(tx, version_));
    json::Array warnings;
    for (const auto& result : version_.quality.rules) {
      if (!result.passed) warnings.emplace_back(result.rule);
    }
    json::Object payload{{"mode", json::to_json(version_.mode)}, {"rows", version_.rows},
                         {"rows_added", version_.rows_added},    {"bytes", version_.bytes},
                         {"bytes_new", version_.bytes_new},      {"digest", version_.digest},
                         {"filename", part_.filename},           {"warnings", std::move(warnings)}};
    TM_CHECK(impl_.events.append(
        tx, {std::string(events_of::kVersionAdded), fmt::format("datasets/{}/{}", version_.dataset, version_.number),
             actor_.name, std::move(payload)}));
    return {};
  });
}

// Data that were refused leave their trace, so that nobody has to ask why a version is missing.
Result<Version> Adding::refused(Error error) {
  if (!is_about_data(error)) return fail(std::move(error));
  json::Object payload{{"filename", part_.filename}, {"mode", json::to_json(upload_.mode)},
                       {"bytes", part_.bytes},       {"sha256", part_.blob},
                       {"reason", error.reason},     {"message", error.message}};
  for (const char* key : {"rule", "failed_rows", "column", "row", "line", "value"}) {
    if (const auto found = error.details.find(key); found != error.details.end()) payload[key] = found->second;
  }
  if (const auto found = error.details.find("examples"); found != error.details.end()) {
    payload["examples"] = TM_TRY(json::parse(found->second));
  }
  TM_CHECK(impl_.database.write([&](sql::Tx& tx) {
    return impl_.events.append(
        tx, {std::string(events_of::kVersionRefused), fmt::format("datasets/{}", dataset_.name), actor_.name, payload});
  }));
  return fail(std::move(error));
}

}  // namespace tidemill::datasets
