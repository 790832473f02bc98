// MLflow's model registry over the room of models: versions.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <ranges>

#include "api/mlflow/registry.h"

namespace tidemill::mlflow {
namespace {

constexpr std::int64_t kSearchedByDefault = 10'000;
constexpr std::int64_t kSearchedMax = 200'000;
constexpr int kCopiesMax = 64;  // of copies that are followed to where the files lie
constexpr std::string_view kRunsScheme = "runs:/";
constexpr std::string_view kModelsScheme = "models:/";
constexpr std::string_view kNoWayOut =
    "If supplying a source as an http, https, local file path, ftp, mlflow-artifacts or other address, it must be "
    "without '..' and control characters.";

// Where the files of a version come from.
struct Source {
  std::string uri;                    // as it is kept and answered
  std::optional<std::string> folder;  // in our own store; nothing when it lies elsewhere
  std::string run_id;
  std::string model_id;
};

std::unexpected<Error> bad_source(std::string_view source, std::string_view why) {
  return fail(Code::kInvalidArgument, "mlflow.bad_source",
              fmt::format("Invalid model version source: '{}'. {}", source.substr(0, 256), why),
              "Register a model that was logged here, or that lies in a store both sides reach.");
}

bool is_local(std::string_view uri) {
  return uri.starts_with('/') || uri.starts_with("file:") || uri.starts_with('.') ||
         uri.find(':') == std::string_view::npos || uri.find('\\') != std::string_view::npos;
}

// A path on this machine would let a client read what it names, and one with ".." what lies beside what it may read.
Result<void> check_source(std::string_view source) {
  if (is_local(source)) {
    return bad_source(
        source, "To use a local path as a model version source, it would have to lie in this server: it does not.");
  }
  for (const char c : source) {
    if (static_cast<unsigned char>(c) < 0x20) return bad_source(source, kNoWayOut);
  }
  std::string text(source);
  for (int i = 0; i < 8 && text.find('%') != std::string::npos; ++i) {
    if (text.find("%00") != std::string::npos) return bad_source(source, kNoWayOut);
    auto decoded = http::percent_decode(text);
    if (!decoded) break;
    text = *std::move(decoded);
  }
  for (const auto part : std::views::split(text, '/')) {
    if (std::string_view(part) == "..") return bad_source(source, kNoWayOut);
  }
  return {};
}

// Clients end folders with slashes, and join paths with two.
std::string one_slash_each(std::string_view path) {
  std::string out;
  for (const char c : path) {
    if (c != '/' || (!out.empty() && out.back() != '/')) out += c;
  }
  while (out.ends_with('/')) out.pop_back();
  return out;
}

Result<void> resolve_logged_model(runs::Runs& runs, sql::Tx& tx, Source& source) {
  const auto model = TM_TRY(runs.model(tx, TM_TRY(runs::LoggedModelId::parse(source.model_id))));
  source.folder = own_path(artifact_uri(model));
  if (source.run_id.empty()) source.run_id = model.source_run;
  return {};
}

// A prompt is kept in tags and has no files; clients name a source only because there has to be one. A plain word leads
// nowhere.
Result<void> check_source_of_prompt(std::string_view source) {
  const bool plain = std::ranges::all_of(source, [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '-' || c == '_';
  });
  return plain ? Result<void>() : check_source(source);
}

// Where the files of "runs:/<id>/<path>" lie. MLflow registers what names a run of another server, or none at all, and
// keeps the run_id that it was given: such a version has no files here.
Result<void> resolve_run(runs::Runs& runs, sql::Tx& tx, Source& source) {
  const std::string_view rest = std::string_view(source.uri).substr(kRunsScheme.size());
  const std::size_t slash = rest.find('/');
  const std::string id(rest.substr(0, slash));
  if (source.run_id.empty()) source.run_id = id;
  if (!is_hex_id(id)) return {};
  const auto info = runs.info(tx, runs::RunId::trusted(id));
  if (!info) return info.error().code == Code::kNotFound ? Result<void>() : std::unexpected(info.error());
  if (const auto root = own_path(artifact_uri(*info)); root && slash != std::string_view::npos) {
    source.folder = *root + std::string(rest.substr(slash));
  }
  return {};
}

// The version that "models:/<name>/<number>" names, or nothing for other addresses.
std::optional<std::pair<std::string, std::int64_t>> named_version(std::string_view uri) {
  if (!uri.starts_with(kModelsScheme)) return std::nullopt;
  const std::string_view rest = uri.substr(kModelsScheme.size());
  const std::size_t slash = rest.rfind('/');
  if (slash == std::string_view::npos) return std::nullopt;
  std::int64_t number = 0;
  const char* end = rest.data() + rest.size();
  const auto [last, error] = std::from_chars(rest.data() + slash + 1, end, number);
  if (error != std::errc{} || last != end) return std::nullopt;
  return std::pair{std::string(rest.substr(0, slash)), number};
}

// Gives a new version all that another one is made of.
Result<void> copy_content(models::Models& models, const std::string& name, std::int64_t number,
                          models::NewVersion& version) {
  auto from = TM_TRY(models.detail(name, number));
  version.files = std::move(from.files);
  version.onnx = std::move(from.onnx);
  version.signature = {std::move(from.columns), std::move(from.label_column)};
  version.lineage = std::move(from.lineage);
  version.parity = std::move(from.parity);
  if (version.run_id.empty()) version.run_id = from.run_id;
  const auto model = from.tags.find(std::string(kModelIdTag));
  if (model != from.tags.end()) version.tags.emplace(kModelIdTag, model->second);
  return {};
}

// Fills in what follows from the address. Logged models must exist; of others only the form is checked.
Result<void> resolve(runs::Runs& runs, sql::Tx& tx, Source& source) {
  if (source.uri.starts_with(kRunsScheme)) {
    TM_CHECK(resolve_run(runs, tx, source));
  } else if (source.uri.starts_with(kModelsScheme)) {
    const std::string rest = source.uri.substr(kModelsScheme.size());
    if (!source.model_id.empty() && source.model_id != rest)
      return bad_source(source.uri, "It names another model than model_id.");
    source.model_id = rest;
  } else if (const auto own = own_path(source.uri)) {
    source.folder = one_slash_each(*own);
  }
  if (!source.model_id.empty()) return resolve_logged_model(runs, tx, source);
  return {};
}

// Fills in the files that lie at the source now.
Result<void> take_files(runs::Runs& runs, sql::Tx& tx, Source& source, models::NewVersion& version) {
  TM_CHECK(resolve(runs, tx, source));
  version.run_id = source.run_id;
  if (!source.model_id.empty()) version.tags[std::string(kModelIdTag)] = source.model_id;
  if (!source.folder || source.folder->empty()) return {};
  for (const auto& file : TM_TRY(runs.artefacts(tx, *source.folder))) {
    version.files[file.path.substr(source.folder->size() + 1)] = {file.blob, file.bytes};
  }
  return {};
}

Result<models::NewVersion> read_version(runs::Runs& runs, models::Models& models, const Call& call) {
  Source source{TM_TRY(call.fields.required("source")),
                {},
                TM_TRY(call.fields.text("run_id")),
                TM_TRY(call.fields.text("model_id"))};
  models::NewVersion version;
  version.model = TM_TRY(call.fields.required("name"));
  version.description = TM_TRY(call.fields.text("description"));
  version.run_link = TM_TRY(call.fields.text("run_link"));
  version.tags = TM_TRY(tags_of(call.fields));
  TM_CHECK(is_prompt(version.tags) ? check_source_of_prompt(source.uri) : check_source(source.uri));
  version.source = source.uri;
  version.run_id = source.run_id;
  if (const auto from = named_version(source.uri)) {
    TM_CHECK(copy_content(models, from->first, from->second, version));
  } else {
    TM_CHECK(runs.database().read([&](sql::Tx& tx) { return take_files(runs, tx, source, version); }));
  }
  return version;
}

Result<std::string> create(runs::Runs& runs, models::Models& models, const Call& call) {
  const auto version = TM_TRY(read_version(runs, models, call));
  const auto added = TM_TRY(models.add_version(call.actor, version));
  return wrapped_version(added);
}

// A version that another server knew: with its number and the time at which it was made there.
Result<std::string> take_over(runs::Runs& runs, models::Models& models, const Call& call) {
  auto version = TM_TRY(read_version(runs, models, call));
  version.number = TM_TRY(version_of(call.fields));
  version.made_ms = TM_TRY(call.fields.maybe_integer("creation_timestamp"));
  return wrapped_version(TM_TRY(models.add_version(call.actor, version)));
}

Result<std::string> download_uri(runs::Runs& runs, models::Models& models, const Call& call) {
  const std::string name = TM_TRY(call.fields.required("name"));
  const std::int64_t number = TM_TRY(version_of(call.fields));
  const std::string uri = TM_TRY(runs.database().read([&](sql::Tx& tx) -> Result<std::string> {
    auto version = TM_TRY(models.version(tx, name, number));
    for (int i = 0; i < kCopiesMax; ++i) {  // a copy of a copy lies where the first one does
      const auto from = named_version(version.source);
      if (!from) break;
      auto before = models.version(tx, from->first, from->second);
      if (!before) break;  // deleted since
      version = *std::move(before);
    }
    const auto model = version.tags.find(std::string(kModelIdTag));
    if (model == version.tags.end()) return version.source;
    return artifact_uri(TM_TRY(runs.model(tx, TM_TRY(runs::LoggedModelId::parse(model->second)))));
  }));
  JsonText json;
  json.begin_object().text("artifact_uri", uri).end_object();
  return json.take();
}

Result<void> check(const runs::Comparison& comparison) {
  if (comparison.entity == "tag" || comparison.entity == "tags") return runs::check_textual(comparison, false, true);
  if (!is_attribute(comparison.entity))
    return runs::bad_filter(fmt::format("Versions have no '{}'.", comparison.entity));
  if (comparison.key == "name" || comparison.key == "source_path") return runs::check_textual(comparison, false, false);
  if (comparison.key == "run_id") return runs::check_textual(comparison, true, false);
  if (comparison.key == "version_number") return runs::check_numeric(comparison);
  return runs::bad_filter(
      fmt::format("Versions have name, run_id, source_path, version_number and tags, not '{}'.", comparison.key));
}

bool fits(const runs::Comparison& comparison, const models::Version& version) {
  if (comparison.entity == "tag" || comparison.entity == "tags") return fits_tags(comparison, version.tags);
  if (comparison.key == "name") return runs::holds(comparison, version.model);
  if (comparison.key == "run_id") return runs::holds(comparison, version.run_id);
  if (comparison.key == "source_path") return runs::holds(comparison, version.source);
  return runs::holds(comparison, static_cast<double>(version.number));
}

std::strong_ordering compare(const models::Version& a, const models::Version& b, std::string_view key) {
  if (key == "name") return a.model <=> b.model;
  if (key == "version_number") return a.number <=> b.number;
  if (key == "creation_timestamp") return a.made_ms <=> b.made_ms;
  return a.updated_ms <=> b.updated_ms;
}

Result<void> sort(std::vector<models::Version>& found, const std::vector<std::string>& terms) {
  std::vector<runs::Order> orders;
  for (const std::string& term : terms) {
    orders.push_back(TM_TRY(runs::parse_order(term)));
    constexpr std::array<std::string_view, 4> kKeys{"name", "version_number", "creation_timestamp",
                                                    "last_updated_timestamp"};
    if (std::ranges::find(kKeys, orders.back().key) == kKeys.end()) {
      return runs::bad_filter(fmt::format("Invalid order by key '{}'.", orders.back().key));
    }
  }
  std::ranges::stable_sort(found, [&](const models::Version& a, const models::Version& b) {
    if (orders.empty() && a.updated_ms != b.updated_ms) return a.updated_ms > b.updated_ms;
    return a.model != b.model ? a.model < b.model : a.number > b.number;
  });
  for (auto order = orders.rbegin(); order != orders.rend(); ++order) {  // the first term last, so that it rules
    std::ranges::stable_sort(found, [&](const models::Version& a, const models::Version& b) {
      return order->descending ? compare(b, a, order->key) < 0 : compare(a, b, order->key) < 0;
    });
  }
  return {};
}

Result<std::string> search(models::Models& models, const Call& call) {
  const auto filter = TM_TRY(runs::parse_filter(TM_TRY(call.fields.text("filter"))));
  std::string name;  // of the one model that is asked for, so that no other's versions are read
  for (const auto& comparison : filter) {
    TM_CHECK(check(comparison));
    if (is_attribute(comparison.entity) && comparison.key == "name" && comparison.op == runs::Operator::equal)
      name = comparison.text();
  }
  const auto order_by = TM_TRY(call.fields.texts("order_by"));
  const std::int64_t limit = TM_TRY(max_results(call.fields, kSearchedByDefault, kSearchedMax));
  const std::int64_t offset = TM_TRY(offset_of(TM_TRY(call.fields.text("page_token"))));
  auto found = TM_TRY(models.parts().database.read([&](sql::Tx& tx) {
    if (!name.empty()) {
      if (const auto model = models.model(tx, name); !model) {
        if (model.error().code == Code::kNotFound) return Result<std::vector<models::Version>>();
        return Result<std::vector<models::Version>>(std::unexpected(model.error()));
      }
    }
    return models.list_versions(tx, name, [&](const models::Version& version) {
      return std::ranges::all_of(filter, [&](const auto& comparison) { return fits(comparison, version); });
    });
  }));
  TM_CHECK(sort(found, order_by));
  runs::Page<models::Version> page;
  const auto count = static_cast<std::int64_t>(found.size());
  for (std::int64_t i = offset; i < std::min(offset + limit, count); ++i)
    page.items.push_back(std::move(found[static_cast<std::size_t>(i)]));
  if (offset + limit < count) page.next = offset + limit;
  return wrapped("model_versions", page);
}

// Adds an endpoint that changes the version of its fields name and version.
template <class F>
void add_change(Endpoints& endpoints, models::Models& models, Method method, std::string_view path,
                std::string_view summary, F change) {
  endpoints.add(method, path, Right::write, summary, [&models, change](const Call& call) -> Result<std::string> {
    const std::string name = TM_TRY(call.fields.required("name"));
    const std::int64_t number = TM_TRY(version_of(call.fields));
    return models.parts().database.write(
        [&](sql::Tx& tx) -> Result<std::string> { return change(models, tx, call, name, number); });
  });
}

Result<std::string> transition(models::Models& models, sql::Tx& tx, const Call& call, const std::string& name,
                               std::int64_t number) {
  const std::string stage = TM_TRY(call.fields.required("stage"));
  const bool archive = TM_TRY(call.fields.maybe_boolean("archive_existing_versions")).value_or(false);
  for (const auto known :
       {models::Stage::None, models::Stage::Staging, models::Stage::Production, models::Stage::Archived}) {
    if (std::ranges::equal(stage, enum_name(known), {}, ::tolower, ::tolower)) {
      return wrapped_version(TM_TRY(models.set_stage(tx, call.actor, name, number, known, archive)));
    }
  }
  return invalid_value("stage", json::Value(stage), "None, Staging, Production or Archived");
}

void add_changes(Endpoints& endpoints, models::Models& all_models) {
  using Models = models::Models;
  add_change(endpoints, all_models, Method::patch, "/mlflow/model-versions/update", "Describe a version",
             [](Models& models, sql::Tx& tx, const Call& call, const std::string& name,
                std::int64_t number) -> Result<std::string> {
               const std::string text = TM_TRY(call.fields.text("description"));
               return wrapped_version(TM_TRY(models.describe_version(tx, call.actor, name, number, text)));
             });
  add_change(endpoints, all_models, Method::post, "/mlflow/model-versions/transition-stage",
             "Set the stage of a version", transition);
  add_change(endpoints, all_models, Method::del, "/mlflow/model-versions/delete", "Delete a version",
             [](Models& models, sql::Tx& tx, const Call& call, const std::string& name,
                std::int64_t number) -> Result<std::string> {
               TM_CHECK(models.delete_version(tx, call.actor, name, number));
               return std::string(kNothing);
             });
  add_change(endpoints, all_models, Method::post, "/mlflow/model-versions/set-tag", "Set a tag of a version",
             [](Models& models, sql::Tx& tx, const Call& call, const std::string& name,
                std::int64_t number) -> Result<std::string> {
               const std::string value = TM_TRY(call.fields.text("value"));
               TM_CHECK(models.tag_version(tx, call.actor, name, number, TM_TRY(call.fields.required("key")), value));
               return std::string(kNothing);
             });
  add_change(
      endpoints, all_models, Method::del, "/mlflow/model-versions/delete-tag", "Delete a tag of a version",
      [](Models& models, sql::Tx& tx, const Call& call, const std::string& name,
         std::int64_t number) -> Result<std::string> {
        TM_CHECK(models.tag_version(tx, call.actor, name, number, TM_TRY(call.fields.required("key")), std::nullopt));
        return std::string(kNothing);
      });
}

}  // namespace

void add_model_versions(Endpoints& endpoints, runs::Runs& runs, models::Models& models) {
  endpoints.add(Method::post, "/mlflow/imports/model-versions", Right::admin, "Take over a version with its number",
                [&runs, &models](const Call& call) { return take_over(runs, models, call); });
  add_changes(endpoints, models);
  endpoints.add(Method::post, "/mlflow/model-versions/create", Right::write, "Register a version",
                [&runs, &models](const Call& call) { return create(runs, models, call); });
  endpoints.add(Method::get, "/mlflow/model-versions/search", Right::read, "Search versions",
                [&models](const Call& call) { return search(models, call); });
  endpoints.add(Method::get, "/mlflow/model-versions/get-download-uri", Right::read, "Get where a version's files lie",
                [&runs, &models](const Call& call) { return download_uri(runs, models, call); });
  endpoints.add(Method::get, "/mlflow/model-versions/get", Right::read, "Get a version",
                [&models](const Call& call) -> Result<std::string> {
                  const std::string name = TM_TRY(call.fields.required("name"));
                  const std::int64_t number = TM_TRY(version_of(call.fields));
                  return wrapped_version(TM_TRY(models.version(name, number)));
                });
}

}  // namespace tidemill::mlflow
