// The SQL of this room; private to it.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "flow/models/types.h"
#include "storage/sql/database.h"

namespace tidemill::models::store {

// The part of a version that is one JSON text.
struct Content {
  using json_defaults = void;
  std::map<std::string, FileRef> files;
  std::vector<ColumnSpec> columns;
  std::string label_column;
  std::vector<runtimes::TensorInfo> inputs;
  std::vector<runtimes::TensorInfo> outputs;
  Lineage lineage;
  std::optional<Parity> parity;
};
BOOST_DESCRIBE_STRUCT(Content, (), (files, columns, label_column, inputs, outputs, lineage, parity))

// Each is one statement or a few; none checks rights or states, none emits events. "Not there" is an empty optional or
// 0 rows.

[[nodiscard]] Result<void> migrate(sql::Database& database);

// Makes the model, or takes a deleted one up again. kAlreadyExists when it is there.
[[nodiscard]] Result<void> add_model(sql::Tx& tx, const Model& model);
[[nodiscard]] Result<std::optional<Model>> find_model(sql::Tx& tx, std::string_view name);
[[nodiscard]] Result<std::vector<Model>> all_models(sql::Tx& tx);
[[nodiscard]] Result<void> describe_model(sql::Tx& tx, std::string_view name, std::string_view description,
                                          std::int64_t at_ms);
[[nodiscard]] Result<void> touch_model(sql::Tx& tx, std::string_view name, std::int64_t at_ms);
[[nodiscard]] Result<void> rename_model(sql::Tx& tx, std::string_view name, std::string_view new_name,
                                        std::int64_t at_ms);
// Marks the model and its versions deleted, drops its tags and aliases; returns how many versions that were.
[[nodiscard]] Result<std::int64_t> delete_model(sql::Tx& tx, std::string_view name, std::int64_t at_ms);
[[nodiscard]] Result<void> tag_model(sql::Tx& tx, std::string_view name, std::string_view key,
                                     std::optional<std::string_view> value);

// Takes the model's next number.
[[nodiscard]] Result<std::int64_t> next_number(sql::Tx& tx, std::string_view model);
// Takes this very number, and leaves those up to it out from now on. kAlreadyExists when a version has, or had, it.
[[nodiscard]] Result<std::int64_t> take_number(sql::Tx& tx, std::string_view model, std::int64_t number);
[[nodiscard]] Result<void> add_version(sql::Tx& tx, const Version& version, const Content& content,
                                       std::string_view once_key);
[[nodiscard]] Result<std::optional<Version>> find_version(sql::Tx& tx, std::string_view model, std::int64_t number);
[[nodiscard]] Result<std::optional<Version>> find_once(sql::Tx& tx, std::string_view once_key);
[[nodiscard]] Result<std::optional<Content>> find_content(sql::Tx& tx, std::string_view model, std::int64_t number);
// Of one model, newest first; of all (empty `model`), most recently updated first.
[[nodiscard]] Result<std::vector<Version>> all_versions(sql::Tx& tx, std::string_view model);
[[nodiscard]] Result<std::int64_t> count_in_state(sql::Tx& tx, std::string_view model, State state);
[[nodiscard]] Result<void> describe_version(sql::Tx& tx, const Version& version, std::string_view description,
                                            std::int64_t at_ms);
[[nodiscard]] Result<void> tag_version(sql::Tx& tx, const Version& version, std::string_view key,
                                       std::optional<std::string_view> value);
[[nodiscard]] Result<void> set_stage(sql::Tx& tx, const Version& version, Stage stage, std::int64_t at_ms);
[[nodiscard]] Result<void> set_state(sql::Tx& tx, const Version& version, State state, std::int64_t at_ms);
[[nodiscard]] Result<void> set_decision(sql::Tx& tx, const Version& version, State state, std::string_view by,
                                        std::string_view reason, std::int64_t at_ms);
[[nodiscard]] Result<void> delete_version(sql::Tx& tx, const Version& version, std::int64_t at_ms);

[[nodiscard]] Result<std::optional<std::int64_t>> find_alias(sql::Tx& tx, std::string_view model,
                                                             std::string_view alias);
[[nodiscard]] Result<void> set_alias(sql::Tx& tx, std::string_view model, std::string_view alias, std::int64_t number);
[[nodiscard]] Result<void> delete_alias(sql::Tx& tx, std::string_view model, std::string_view alias);

// Returns false when a report with this key is there already.
[[nodiscard]] Result<bool> add_gate_report(sql::Tx& tx, std::string_view model, std::int64_t number,
                                           const GateReport& report, std::string_view once_key);
[[nodiscard]] Result<std::vector<GateReport>> gate_reports(sql::Tx& tx, std::string_view model, std::int64_t number);
[[nodiscard]] Result<std::optional<GateReport>> find_gate_report(sql::Tx& tx, std::string_view once_key);

[[nodiscard]] Result<void> set_baseline(sql::Tx& tx, const Version& version, std::string_view baseline);
[[nodiscard]] Result<std::optional<std::string>> baseline(sql::Tx& tx, std::string_view model, std::int64_t number);

}  // namespace tidemill::models::store
