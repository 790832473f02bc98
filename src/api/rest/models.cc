#include "api/rest/models.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "flow/models/gate.h"

namespace tidemill::rest {
namespace {

using access::Right;
using models::Model;
using models::Models;
using models::Version;

constexpr std::uint64_t kFileBytesMax = 256u << 20;  // of a file fetched whole
constexpr std::uint64_t kGateBytesMax = 4ull << 30;  // of labelled rows sent to the gate
constexpr std::uint64_t kOnnxBytesMax = 1u << 30;
constexpr std::int64_t kListMax = 1000;
constexpr std::string_view kReviewKind = models::kApprovalKind;

struct NewModelBody {
  using json_defaults = void;
  std::string name;
  std::string description;
  models::Tags tags;
};
BOOST_DESCRIBE_STRUCT(NewModelBody, (), (name, description, tags))

struct ModelPatch {
  std::optional<std::string> description;
  std::optional<std::map<std::string, json::Value>> tags;  // null removes
};
BOOST_DESCRIBE_STRUCT(ModelPatch, (), (description, tags))

struct ModelList {
  std::vector<Model> models;
};
BOOST_DESCRIBE_STRUCT(ModelList, (), (models))

struct VersionsQuery {
  std::optional<models::State> state;
  std::optional<std::int64_t> before;  // number; versions below it, for the next page
  std::optional<std::int64_t> limit;
};
BOOST_DESCRIBE_STRUCT(VersionsQuery, (), (state, before, limit))

struct VersionList {
  std::vector<Version> versions;
  std::optional<std::int64_t> next;  // give it as `before`
};
BOOST_DESCRIBE_STRUCT(VersionList, (), (versions, next))

struct Reason {
  std::string reason;
};
BOOST_DESCRIBE_STRUCT(Reason, (), (reason))

struct AliasBody {
  std::int64_t number = 0;
};
BOOST_DESCRIBE_STRUCT(AliasBody, (), (number))

struct Nothing {
  using json_defaults = void;
};
BOOST_DESCRIBE_STRUCT(Nothing, (), ())

// A version with who asked and who decided about it.
struct VersionView : models::VersionDetail {
  std::vector<access::Approval> approvals;  // newest first
};
BOOST_DESCRIBE_STRUCT(VersionView, (models::VersionDetail), (approvals))

struct LineageView {
  std::string model;
  std::int64_t number = 0;
  std::string digest;
  std::string run_id;
  std::string source;
  models::Lineage lineage;
  std::map<std::string, models::FileRef> files;
  std::vector<std::string> tested_on;  // SHA-256 of the labelled rows of each gate report
  std::vector<access::Approval> approvals;
};
BOOST_DESCRIBE_STRUCT(LineageView, (), (model, number, digest, run_id, source, lineage, files, tested_on, approvals))

struct GateQuery : models::GateOptions {
  std::string requirement;
};
BOOST_DESCRIBE_STRUCT(GateQuery, (models::GateOptions), (requirement))

// What stands beside an uploaded ONNX file.
struct UploadQuery {
  using json_defaults = void;
  std::string columns;  // columns.json as text; "" = a version that is kept but cannot be tested
  std::string description;
  std::string run_id;
  std::string source;
};
BOOST_DESCRIBE_STRUCT(UploadQuery, (), (columns, description, run_id, source))

template <class F>
auto write(Models& room, F&& function) {
  return room.parts().database.write(std::forward<F>(function));
}

Result<std::vector<access::Approval>> approvals_of(Models& room, const Version& version) {
  auto all =
      TM_TRY(room.parts().access.approvals(std::nullopt, fmt::format("models/{}/{}", version.model, version.number)));
  std::erase_if(all, [](const access::Approval& approval) { return approval.kind != kReviewKind; });
  return all;
}

Result<VersionView> show(Models& room, const http::Request& request) {
  VersionView view;
  static_cast<models::VersionDetail&>(view) =
      TM_TRY(room.detail(request.param("model"), TM_TRY(request.number_param("number"))));
  view.approvals = TM_TRY(approvals_of(room, view));
  return view;
}

Result<LineageView> lineage(Models& room, const http::Request& request) {
  VersionView view = TM_TRY(show(room, request));
  LineageView out{view.model,   view.number, view.digest, view.run_id,   view.source,
                  view.lineage, view.files,  {},          view.approvals};
  for (const auto& report : view.tests) out.tested_on.push_back(report.data);
  return out;
}

Result<VersionList> list_versions(Models& room, const std::string& model, const VersionsQuery& query) {
  const std::int64_t limit = query.limit.value_or(100);
  if (limit < 1 || limit > kListMax) {
    return fail(Code::kInvalidArgument, "models.limit", fmt::format("limit is {}.", limit),
                fmt::format("Give 1 to {}.", kListMax));
  }
  VersionList list{TM_TRY(room.parts().database.read([&](sql::Tx& tx) {
                     return room.list_versions(tx, model, [&](const Version& v) {
                       return (!query.state || v.state == *query.state) && (!query.before || v.number < *query.before);
                     });
                   })),
                   std::nullopt};
  if (static_cast<std::int64_t>(list.versions.size()) > limit) {
    list.versions.resize(static_cast<std::size_t>(limit));
    list.next = list.versions.back().number;
  }
  return list;
}

// Texts and tags, of a model (`number` empty) or a version: the only things about them that may be changed.
Result<void> apply(Models& room, sql::Tx& tx, const http::Request& request, std::optional<std::int64_t> number,
                   const ModelPatch& patch) {
  const std::string& model = request.param("model");
  if (patch.description) {
    if (number) {
      TM_CHECK(room.describe_version(tx, request.actor, model, *number, *patch.description));
    } else {
      TM_CHECK(room.describe_model(tx, request.actor, model, *patch.description));
    }
  }
  if (!patch.tags) return {};
  for (const auto& [key, value] : *patch.tags) {
    if (!value.is_string() && !value.is_null()) {
      return fail(Code::kInvalidArgument, "models.tag_invalid", fmt::format("Tag '{}' is no text.", key.substr(0, 128)),
                  "Give a text, or null to remove the tag.");
    }
    const auto text = value.is_null() ? std::nullopt : std::optional<std::string_view>(value.get_string());
    TM_CHECK(number ? room.tag_version(tx, request.actor, model, *number, key, text)
                    : room.tag_model(tx, request.actor, model, key, text));
  }
  return {};
}

Result<http::Response> file_of(Models& room, const http::Request& request) {
  const auto detail = TM_TRY(room.detail(request.param("model"), TM_TRY(request.number_param("number"))));
  const std::string& path = request.param("path");
  const auto found = detail.files.find(path);
  if (found == detail.files.end()) {
    return fail(Code::kNotFound, "models.unknown_file",
                fmt::format("Version {} of '{}' has no file '{}'.", detail.number, detail.model, path.substr(0, 128)),
                "The version lists its files.");
  }
  http::Response response;
  response.content_type = "application/octet-stream";
  response.headers.emplace_back("Content-Disposition", "attachment");
  response.headers.emplace_back("ETag", "\"" + found->second.blob + "\"");
  response.body = TM_TRY(room.parts().blobs.read(blobs::BlobId::trusted(found->second.blob), kFileBytesMax));
  return response;
}

// A version from an ONNX file alone, without a pipeline.
Result<VersionView> add_uploaded(Models& room, const http::Request& request) {
  const auto query = TM_TRY(http::decode_query<UploadQuery>(request.query));
  const std::string& model = request.param("model");
  const auto stored = TM_TRY(room.parts().blobs.put_file(request.body_file));
  models::NewVersion wanted;
  wanted.model = model;
  wanted.description = query.description;
  wanted.run_id = query.run_id;
  wanted.source = query.source;
  wanted.onnx = "model.onnx";
  wanted.files["model.onnx"] = {stored.id.str(), stored.bytes};
  if (!query.columns.empty()) wanted.signature = TM_TRY(json::decode<models::Signature>(query.columns));
  const Version added = TM_TRY(room.add_version(request.actor, wanted));
  VersionView view;
  static_cast<models::VersionDetail&>(view) = TM_TRY(room.detail(model, added.number));
  return view;
}

// Judges labelled rows that are sent with the request, and keeps the report: the gate without a pipeline.
Result<models::GateReport> gate(Models& room, const http::Request& request) {
  const auto query = TM_TRY(http::decode_query<GateQuery>(request.query));
  const std::string& model = request.param("model");
  const std::int64_t number = TM_TRY(request.number_param("number"));
  auto report = TM_TRY(models::judge(room, model, number, query.requirement, request.body_file, query));
  report.made_by = request.actor.name;
  report.made_ms = room.parts().clock.now_ms();
  TM_CHECK(room.add_gate_report(request.actor, model, number, report));
  return report;
}

void add_model_routes(std::vector<http::Route>& routes, Models& room) {
  routes.push_back(http::post<NewModelBody, Model>(
      "/api/models", Right::write, "Register a model, to which versions are added",
      [&room](const http::Request& request, const NewModelBody& body) {
        return write(room, [&](sql::Tx& tx) {
          return room.add_model(tx, request.actor, body.name, body.description, body.tags);
        });
      },
      {.status = 201}));
  routes.push_back(http::get<ModelList>(
      "/api/models", Right::read, "List models", [&room](const http::Request&) -> Result<ModelList> {
        return ModelList{TM_TRY(room.parts().database.read([&](sql::Tx& tx) { return room.list_models(tx); }))};
      }));
  routes.push_back(http::get<Model>(
      "/api/models/{model}", Right::read, "Show a model", [&room](const http::Request& request) -> Result<Model> {
        return room.parts().database.read([&](sql::Tx& tx) { return room.model(tx, request.param("model")); });
      }));
  routes.push_back(http::patch<ModelPatch, Model>("/api/models/{model}", Right::write,
                                                  "Change a model's description or tags",
                                                  [&room](const http::Request& request, const ModelPatch& patch) {
                                                    return write(room, [&](sql::Tx& tx) -> Result<Model> {
                                                      TM_CHECK(apply(room, tx, request, std::nullopt, patch));
                                                      return room.model(tx, request.param("model"));
                                                    });
                                                  }));
  routes.push_back(http::del<void>(
      "/api/models/{model}", Right::write, "Remove a model without approved versions from view",
      [&room](const http::Request& request) {
        return write(room, [&](sql::Tx& tx) { return room.delete_model(tx, request.actor, request.param("model")); });
      }));
  routes.push_back(http::put<AliasBody, Model>(
      "/api/models/{model}/aliases/{alias}", Right::write, "Point an alias at a version",
      [&room](const http::Request& request, const AliasBody& body) {
        return write(room, [&](sql::Tx& tx) -> Result<Model> {
          TM_CHECK(room.set_alias(tx, request.actor, request.param("model"), request.param("alias"), body.number));
          return room.model(tx, request.param("model"));
        });
      }));
  routes.push_back(http::del<void>(
      "/api/models/{model}/aliases/{alias}", Right::write, "Remove an alias", [&room](const http::Request& request) {
        return write(room, [&](sql::Tx& tx) {
          return room.delete_alias(tx, request.actor, request.param("model"), request.param("alias"));
        });
      }));
}

void add_version_routes(std::vector<http::Route>& routes, Models& room) {
  auto add = http::upload<VersionView>(http::Method::post, "/api/models/{model}/versions", Right::write,
                                       "Add a version from an ONNX file sent as the body",
                                       [&room](const http::Request& request) { return add_uploaded(room, request); },
                                       {.status = 201, .body_bytes_max = kOnnxBytesMax});
  add.query_schema = [](json::Schemas& schemas) { return json::schema_of<UploadQuery>(schemas); };
  routes.push_back(std::move(add));
  routes.push_back(http::get_query<VersionsQuery, VersionList>(
      "/api/models/{model}/versions", Right::read, "List versions, newest first",
      [&room](const http::Request& request, const VersionsQuery& query) {
        return list_versions(room, request.param("model"), query);
      }));
  routes.push_back(http::get<VersionView>("/api/models/{model}/versions/{number}", Right::read,
                                          "Show a version: content, proofs, tests, approvals",
                                          [&room](const http::Request& request) { return show(room, request); }));
  routes.push_back(http::patch<ModelPatch, VersionView>(
      "/api/models/{model}/versions/{number}", Right::write,
      "Change a version's description or tags; nothing else of it changes",
      [&room](const http::Request& request, const ModelPatch& patch) -> Result<VersionView> {
        const auto number = TM_TRY(request.number_param("number"));
        TM_CHECK(write(room, [&](sql::Tx& tx) { return apply(room, tx, request, number, patch); }));
        return show(room, request);
      }));
  routes.push_back(http::del<void>(
      "/api/models/{model}/versions/{number}", Right::write, "Remove a version that is not approved from view",
      [&room](const http::Request& request) -> Result<void> {
        const auto number = TM_TRY(request.number_param("number"));
        return write(
            room, [&](sql::Tx& tx) { return room.delete_version(tx, request.actor, request.param("model"), number); });
      }));
  routes.push_back(http::get<LineageView>("/api/models/{model}/versions/{number}/lineage", Right::read,
                                          "Show what a version was made from and tested on",
                                          [&room](const http::Request& request) { return lineage(room, request); }));
  routes.push_back(http::get<http::Response>("/api/models/{model}/versions/{number}/files/{path...}", Right::read,
                                             "Fetch a file of a version",
                                             [&room](const http::Request& request) { return file_of(room, request); },
                                             {.content_type = "application/octet-stream"}));
  routes.push_back(http::get<statistics::Baseline>(
      "/api/models/{model}/versions/{number}/baseline", Right::read, "Show what the training rows looked like",
      [&room](const http::Request& request) -> Result<statistics::Baseline> {
        const auto number = TM_TRY(request.number_param("number"));
        auto baseline = TM_TRY(room.baseline(request.param("model"), number));
        if (baseline) return *std::move(baseline);
        return fail(Code::kNotFound, "models.no_baseline", fmt::format("Version {} has no baseline.", number),
                    "Give models.register the training rows as its input 'baseline'.");
      }));
}

// approve and reject: the same call but for the verb.
http::Route decision_route(Models& room, const std::string& verb, const std::string& summary,
                           Result<Version> (Models::*decide)(sql::Tx&, const access::Actor&, std::string_view,
                                                             std::int64_t, std::string_view)) {
  return http::post<Reason, Version>(
      "/api/models/{model}/versions/{number}/" + verb, Right::approve, summary,
      [&room, decide](const http::Request& request, const Reason& body) -> Result<Version> {
        const auto number = TM_TRY(request.number_param("number"));
        return write(room, [&](sql::Tx& tx) {
          return (room.*decide)(tx, request.actor, request.param("model"), number, body.reason);
        });
      });
}

http::Route state_route(Models& room, const std::string& verb, const std::string& summary, models::State state) {
  return http::post<Reason, Version>(
      "/api/models/{model}/versions/{number}/" + verb, Right::write, summary,
      [&room, state](const http::Request& request, const Reason& body) -> Result<Version> {
        const auto number = TM_TRY(request.number_param("number"));
        return write(room, [&](sql::Tx& tx) {
          return room.set_state(tx, request.actor, request.param("model"), number, state, body.reason);
        });
      });
}

void add_life_routes(std::vector<http::Route>& routes, Models& room) {
  auto gate_route = http::upload<models::GateReport>(
      http::Method::post, "/api/models/{model}/versions/{number}/gate", Right::write,
      "Judge a version by a requirement on labelled rows (Parquet) sent as the body",
      [&room](const http::Request& request) { return gate(room, request); }, {.body_bytes_max = kGateBytesMax});
  gate_route.query_schema = [](json::Schemas& schemas) { return json::schema_of<GateQuery>(schemas); };
  routes.push_back(std::move(gate_route));
  routes.push_back(http::post<Nothing, access::Approval>(
      "/api/models/{model}/versions/{number}/request-approval", Right::write,
      "Ask a second person to decide about a tested version",
      [&room](const http::Request& request, Nothing) -> Result<access::Approval> {
        const auto number = TM_TRY(request.number_param("number"));
        return write(room, [&](sql::Tx& tx) {
          return room.request_approval(tx, request.actor, request.param("model"), number);
        });
      },
      {.status = 201}));
  routes.push_back(
      decision_route(room, "approve", "Approve a tested version that somebody else made", &Models::approve));
  routes.push_back(decision_route(room, "reject", "Reject a tested version that somebody else made", &Models::reject));
  routes.push_back(state_route(room, "archive", "Archive a version that no deployment needs", models::State::archived));
  routes.push_back(
      state_route(room, "restore", "Take an archived version back as a candidate", models::State::candidate));
}

}  // namespace

std::vector<http::Route> models_routes(Models& models) {
  std::vector<http::Route> routes;
  add_model_routes(routes, models);
  add_version_routes(routes, models);
  add_life_routes(routes, models);
  return routes;
}

}  // namespace tidemill::rest
