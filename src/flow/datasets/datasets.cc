#include "flow/datasets/datasets.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/json.h"
#include "flow/datasets/adding.h"
#include "flow/datasets/cache.h"
#include "flow/datasets/diff.h"
#include "flow/datasets/events.h"
#include "flow/datasets/impl.h"
#include "flow/datasets/intake.h"
#include "flow/datasets/profile.h"
#include "flow/datasets/rules.h"
#include "flow/datasets/schema.sql.h"
#include "flow/datasets/store.h"

namespace tidemill::datasets {
namespace {

constexpr std::size_t kTextBytesMax = 16 * 1024;

std::unexpected<Error> bad(std::string message, std::string remedy) {
  return fail(Code::kInvalidArgument, "datasets.invalid", std::move(message), std::move(remedy));
}

Result<void> check_columns(const std::vector<ColumnType>& columns) {
  std::set<std::string> names;
  for (const auto& column : columns) {
    TM_CHECK(tables::quote_identifier(column.name));
    if (!names.insert(column.name).second)
      return bad(fmt::format("columns names '{}' twice.", column.name), "Name it once.");
  }
  return {};
}

Result<void> check_dataset(const NewDataset& dataset) {
  TM_CHECK(check_name("dataset", dataset.name));
  for (const auto& [field, text] : {std::pair("description", &dataset.description), {"owner", &dataset.owner}}) {
    if (text->size() > kTextBytesMax)
      return bad(fmt::format("{} has more than {} bytes.", field, kTextBytesMax), "Shorten it.");
  }
  std::set<std::string> keys;
  for (const auto& key : dataset.keys) {
    TM_CHECK(tables::quote_identifier(key));
    if (!keys.insert(key).second) return bad(fmt::format("keys names '{}' twice.", key), "Name it once.");
  }
  for (const auto& word : dataset.missing.value_or(std::vector<std::string>())) {
    if (word.empty() || word.size() > 64)
      return bad("missing has a word that is empty or longer than 64 bytes.",
                 "An empty cell is missing anyway: leave it out.");
  }
  return check_columns(dataset.columns);
}

events::NewEvent event(std::string_view kind, std::string_view name, const access::Actor& actor, json::Object payload) {
  return {std::string(kind), fmt::format("datasets/{}", name), actor.name, std::move(payload)};
}

}  // namespace

Datasets::Datasets(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Datasets::~Datasets() = default;

Result<std::unique_ptr<Datasets>> Datasets::create(sql::Database& database, events::Events& events, const Clock& clock,
                                                   blobs::Store& blobs, tables::Tables& tables,
                                                   std::filesystem::path cache, Settings settings) {
  TM_CHECK(database.migrate("datasets", kSchemaSql));
  auto made = TM_TRY(Cache::create(std::move(cache), blobs, tables, settings));
  auto impl =
      std::unique_ptr<Impl>(new Impl{database, events, clock, blobs, tables, settings, std::move(made), {}, {}});
  return std::unique_ptr<Datasets>(new Datasets(std::move(impl)));
}

Result<Dataset> Datasets::add(const access::Actor& actor, const NewDataset& wanted) {
  TM_CHECK(check_dataset(wanted));
  NewDataset dataset = wanted;
  dataset.rules = TM_TRY(check_rules(impl_->tables, std::move(dataset.rules), impl_->settings));
  return impl_->database.write([&](sql::Tx& tx) -> Result<Dataset> {
    TM_CHECK(insert_dataset(tx, dataset, actor.name, impl_->clock.now_ms()));
    json::Object payload{{"keys", json::to_json(dataset.keys)},
                         {"columns", json::to_json(dataset.columns)},
                         {"rules", json::to_json(dataset.rules)}};
    TM_CHECK(impl_->events.append(tx, event(events_of::kCreated, dataset.name, actor, std::move(payload))));
    return find_dataset(tx, dataset.name);
  });
}

Result<Dataset> Datasets::get(std::string_view name) {
  return impl_->database.read([&](sql::Tx& tx) { return find_dataset(tx, name); });
}

Result<std::vector<Dataset>> Datasets::list() {
  return impl_->database.read([](sql::Tx& tx) { return all_datasets(tx); });
}

Result<Dataset> Datasets::set_rules(const access::Actor& actor, std::string_view name, std::vector<Rule> wanted) {
  const auto rules = TM_TRY(check_rules(impl_->tables, std::move(wanted), impl_->settings));
  return impl_->database.write([&](sql::Tx& tx) -> Result<Dataset> {
    Dataset dataset = TM_TRY(find_dataset(tx, name));
    json::Object payload{{"before", json::to_json(dataset.rules)}, {"after", json::to_json(rules)}};
    dataset.rules = rules;
    TM_CHECK(update_dataset(tx, dataset));
    TM_CHECK(impl_->events.append(tx, event(events_of::kRulesChanged, name, actor, std::move(payload))));
    return dataset;
  });
}

Result<Dataset> Datasets::set_columns(const access::Actor& actor, std::string_view name,
                                      std::vector<ColumnType> columns) {
  TM_CHECK(check_columns(columns));
  return impl_->database.write([&](sql::Tx& tx) -> Result<Dataset> {
    Dataset dataset = TM_TRY(find_dataset(tx, name));
    json::Object payload{{"before", json::to_json(dataset.columns)}, {"after", json::to_json(columns)}};
    dataset.columns = columns;
    TM_CHECK(update_dataset(tx, dataset));
    TM_CHECK(impl_->events.append(tx, event(events_of::kColumnsChanged, name, actor, std::move(payload))));
    return dataset;
  });
}

Result<Version> Datasets::add_version(const access::Actor& actor, std::string_view name, const Upload& upload) {
  const auto lock = impl_->lock_dataset(name);
  return Adding(*impl_, actor, upload).run(name);
}

Result<Version> Datasets::version(std::string_view name, std::int64_t number) {
  return impl_->database.read([&](sql::Tx& tx) { return find_version(tx, name, number); });
}

Result<Version> Datasets::latest(std::string_view name) {
  return impl_->database.read([&](sql::Tx& tx) -> Result<Version> {
    const Dataset dataset = TM_TRY(find_dataset(tx, name));
    if (dataset.latest > 0) return find_version(tx, name, dataset.latest);
    return fail(Code::kNotFound, "datasets.no_version", fmt::format("Dataset '{}' has no version yet.", name),
                fmt::format("Add data: POST /api/datasets/{}/versions.", name));
  });
}

Result<std::vector<VersionLine>> Datasets::versions(std::string_view name) {
  return impl_->database.read([&](sql::Tx& tx) { return all_versions(tx, name); });
}

Result<std::vector<std::filesystem::path>> Datasets::materialize(std::string_view name, std::int64_t number) {
  return impl_->files_of(TM_TRY(version(name, number)));
}

Result<tables::Frame> Datasets::rows(std::string_view name, std::int64_t number, std::int64_t offset,
                                     std::int64_t limit) {
  if (offset < 0 || limit < 0) return bad("offset and limit must not be negative.", "Start from 0.");
  if (limit > impl_->settings.page_rows_max) {
    return fail(Code::kTooLarge, "datasets.page_too_large",
                fmt::format("limit {} is above {}.", limit, impl_->settings.page_rows_max),
                "Ask for the rows page by page.");
  }
  const Version found = TM_TRY(version(name, number));
  // Only the parts that the page touches are read.
  std::vector<std::filesystem::path> files;
  std::int64_t start = 0;
  std::int64_t skipped = 0;
  for (const Part& part : found.parts) {
    if (start + part.rows <= offset) {
      skipped += part.rows;
    } else if (start < offset + limit || files.empty()) {
      files.push_back(TM_TRY(impl_->cache->get(part, found.schema)));
    }
    start += part.rows;
  }
  if (files.empty()) {
    files.push_back(TM_TRY(impl_->cache->get(found.parts.back(), found.schema)));
    skipped -= found.parts.back().rows;
  }
  return impl_->tables.read_files(files, {}, {offset - skipped, limit});
}

Result<Diff> Datasets::diff(std::string_view name, std::int64_t from, std::int64_t to) {
  const Version a = TM_TRY(version(name, from));
  const Version b = TM_TRY(version(name, to));
  if (a.rows + b.rows > impl_->settings.diff_rows_max) {
    return fail(Code::kTooLarge, "datasets.diff_too_large",
                fmt::format("The versions have {} rows together; the limit is {}.", a.rows + b.rows,
                            impl_->settings.diff_rows_max),
                "Raise datasets.diff_rows_max.");
  }
  const Dataset dataset = TM_TRY(get(name));
  return compare(impl_->tables, {a, TM_TRY(impl_->files_of(a))}, {b, TM_TRY(impl_->files_of(b))}, dataset.keys);
}

}  // namespace tidemill::datasets
