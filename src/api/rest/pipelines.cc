#include "api/rest/pipelines.h"

#include <optional>
#include <string>
#include <utility>

namespace tidemill::rest {
namespace {

using access::Right;
using pipelines::PipelineRunId;
using pipelines::Pipelines;

constexpr std::uint64_t kVersionBytesMax = 32u << 20;  // the code files, escaped as JSON
constexpr std::uint64_t kOutputBytesMax = 256u << 20;  // of an output fetched whole; larger ones come in ranges

struct NewVersionBody {
  std::string definition;
  std::optional<std::map<std::string, std::string>> files;
};
BOOST_DESCRIBE_STRUCT(NewVersionBody, (), (definition, files))

struct PipelineList {
  std::vector<pipelines::Pipeline> pipelines;
};
BOOST_DESCRIBE_STRUCT(PipelineList, (), (pipelines))

struct BuiltinList {
  std::vector<std::string> builtins;
};
BOOST_DESCRIBE_STRUCT(BuiltinList, (), (builtins))

struct RunsQuery {
  std::optional<std::string> pipeline;
  std::optional<pipelines::RunState> state;
  std::optional<std::string> next;  // from the previous page
  std::optional<std::int64_t> limit;
};
BOOST_DESCRIBE_STRUCT(RunsQuery, (), (pipeline, state, next, limit))

struct RunList {
  std::vector<pipelines::Run> runs;
  std::optional<std::string> next;
};
BOOST_DESCRIBE_STRUCT(RunList, (), (runs, next))

struct LogQuery {
  std::optional<std::int64_t> attempt;
  std::optional<std::int64_t> offset;
};
BOOST_DESCRIBE_STRUCT(LogQuery, (), (attempt, offset))

struct OutputQuery {
  std::optional<std::uint64_t> offset;
  std::optional<std::uint64_t> length;
};
BOOST_DESCRIBE_STRUCT(OutputQuery, (), (offset, length))

struct Nothing {
  using json_defaults = void;
};
BOOST_DESCRIBE_STRUCT(Nothing, (), ())

Result<PipelineRunId> run_of(const http::Request& request) { return PipelineRunId::parse(request.param("id")); }

Result<RunList> list_runs(Pipelines& room, const RunsQuery& query) {
  pipelines::RunFilter filter{query.pipeline.value_or(""), query.state, "", query.limit.value_or(50)};
  if (query.next) filter.before = TM_TRY(PipelineRunId::parse(*query.next)).str();
  RunList list{TM_TRY(room.runs(filter)), std::nullopt};
  if (static_cast<std::int64_t>(list.runs.size()) == filter.limit) list.next = list.runs.back().id.str();
  return list;
}

Result<http::Response> log_of(Pipelines& room, const http::Request& request, const LogQuery& query) {
  auto part = TM_TRY(
      room.log(TM_TRY(run_of(request)), request.param("step"), query.attempt.value_or(0), query.offset.value_or(0)));
  auto response = http::Response::text(200, std::move(part.text));
  response.headers.emplace_back("Tidemill-Next-Offset", std::to_string(part.next_offset));
  response.headers.emplace_back("Tidemill-Attempt", std::to_string(part.attempt));
  response.headers.emplace_back("Tidemill-Ended", part.ended ? "true" : "false");
  return response;
}

Result<http::Response> output_of(Pipelines& room, blobs::Store& blobs, const http::Request& request,
                                 const OutputQuery& query) {
  const auto output = TM_TRY(room.output(TM_TRY(run_of(request)), request.param("step"), request.param("file")));
  const auto id = blobs::BlobId::trusted(output.blob);
  http::Response response;
  response.content_type = "application/octet-stream";
  // What a step wrote is for saving, not for the browser to run as if it were ours.
  response.headers.emplace_back("Content-Disposition", "attachment");
  response.headers.emplace_back("ETag", "\"" + output.blob + "\"");
  if (query.offset || query.length) {
    response.body = TM_TRY(blobs.read_range(id, query.offset.value_or(0),
                                            std::min(query.length.value_or(kOutputBytesMax), kOutputBytesMax)));
  } else {
    response.body = TM_TRY(blobs.read(id, kOutputBytesMax));
  }
  return response;
}

void add_version_routes(std::vector<http::Route>& routes, Pipelines& room) {
  routes.push_back(http::post<NewVersionBody, pipelines::Version>(
      "/api/pipelines", Right::write, "Add a version of a pipeline; the same content again is the same version",
      [&room](const http::Request& request, NewVersionBody body) {
        return room.add(request.actor, {std::move(body.definition),
                                        std::move(body.files).value_or(std::map<std::string, std::string>())});
      },
      {.status = 201, .body_bytes_max = kVersionBytesMax}));
  routes.push_back(http::get<PipelineList>(
      "/api/pipelines", Right::read, "List pipelines",
      [&room](const http::Request&) -> Result<PipelineList> { return PipelineList{TM_TRY(room.list())}; }));
  routes.push_back(http::get<BuiltinList>(
      "/api/pipelines/builtins", Right::read, "List what steps may use",
      [&room](const http::Request&) -> Result<BuiltinList> { return BuiltinList{room.builtins()}; }));
  routes.push_back(http::get<pipelines::Version>(
      "/api/pipelines/{name}", Right::read, "Show the newest version of a pipeline",
      [&room](const http::Request& request) { return room.version(request.param("name")); }));
  routes.push_back(http::get<pipelines::Version>(
      "/api/pipelines/{name}/versions/{number}", Right::read, "Show a version of a pipeline",
      [&room](const http::Request& request) -> Result<pipelines::Version> {
        return room.version(request.param("name"), TM_TRY(request.number_param("number")));
      }));
}

void add_run_routes(std::vector<http::Route>& routes, Pipelines& room, blobs::Store& blobs) {
  routes.push_back(http::post<pipelines::NewRun, pipelines::Run>(
      "/api/pipelines/{name}/runs", Right::write, "Start a run",
      [&room](const http::Request& request, const pipelines::NewRun& run) {
        return room.start(request.actor, request.param("name"), run);
      },
      {.status = 201}));
  routes.push_back(http::get_query<RunsQuery, RunList>(
      "/api/pipelines/runs", Right::read, "List runs, newest first",
      [&room](const http::Request&, const RunsQuery& query) { return list_runs(room, query); }));
  routes.push_back(http::get<pipelines::Run>(
      "/api/pipelines/runs/{id}", Right::read, "Show a run and its steps",
      [&room](const http::Request& request) -> Result<pipelines::Run> { return room.run(TM_TRY(run_of(request))); }));
  routes.push_back(
      http::post<Nothing, pipelines::Run>("/api/pipelines/runs/{id}/cancel", Right::write, "Stop a run",
                                          [&room](const http::Request& request, Nothing) -> Result<pipelines::Run> {
                                            return room.cancel(request.actor, TM_TRY(run_of(request)));
                                          }));
  routes.push_back(http::get_query<LogQuery, http::Response>(
      "/api/pipelines/runs/{id}/steps/{step}/log", Right::read, "Read what a step has written so far",
      [&room](const http::Request& request, const LogQuery& query) { return log_of(room, request, query); },
      {.content_type = "text/plain; charset=utf-8"}));
  routes.push_back(http::get_query<OutputQuery, http::Response>(
      "/api/pipelines/runs/{id}/steps/{step}/outputs/{file...}", Right::read, "Fetch a kept output of a step",
      [&room, &blobs](const http::Request& request, const OutputQuery& query) {
        return output_of(room, blobs, request, query);
      },
      {.content_type = "application/octet-stream"}));
}

}  // namespace

std::vector<http::Route> pipelines_routes(Pipelines& pipelines, blobs::Store& blobs) {
  std::vector<http::Route> routes;
  add_version_routes(routes, pipelines);
  add_run_routes(routes, pipelines, blobs);
  return routes;
}

}  // namespace tidemill::rest
