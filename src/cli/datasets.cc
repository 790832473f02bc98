#include <fmt/format.h>
#include <unistd.h>

#include "cli/command.h"

namespace tidemill::cli {
namespace {

Result<int> create(Call& call) {
  json::Value body = json::Object{{"name", call.get("NAME")}};
  if (call.has("--file")) {
    body = TM_TRY(read_definition(call.get("--file")));
    if (!body.is_object())
      return fail(Code::kInvalidArgument, "cli.bad_definition", "The file does not hold an object.", "Correct it.");
    body.get_object()["name"] = call.get("NAME");
  }
  for (const char* field : {"description", "owner"}) {
    if (call.has(std::string("--") + field)) body.get_object()[field] = call.get(std::string("--") + field);
  }
  const auto answer = TM_TRY(call.client().post(api_path({"datasets"}), body));
  call.say(fmt::format("Dataset {} is there. Add data: tidemill datasets add {} FILE.csv", call.get("NAME"),
                       call.get("NAME")),
           answer);
  return kExitOk;
}

Result<int> add(Call& call) {
  const std::filesystem::path file = call.get("FILE");
  const bool show = isatty(STDERR_FILENO) == 1 && !call.as_json();
  const auto progress = [show](std::uint64_t sent, std::uint64_t total) {
    if (show && total > 0) fmt::print(stderr, "\rsent {:3}% of {} MiB", sent * 100 / total, total >> 20);
  };
  Query query{{"mode", call.get("--mode", "append")}, {"filename", file.filename().string()}};
  if (call.has("--encoding")) query.emplace_back("encoding", call.get("--encoding"));
  // A file that is there already makes no version: the answer is then the newest one, as it was before.
  const auto before = TM_TRY(call.client().get(api_path({"datasets", call.get("NAME")})));
  auto answer = call.client().upload(api_path({"datasets", call.get("NAME"), "versions"}), query, file, progress);
  if (show) fmt::print(stderr, "\r\x1b[K");
  if (!answer) return fail(std::move(answer).error());
  const json::Object& version = answer->as_object();
  if (const auto* latest = at_path(before, "latest"); latest != nullptr && *latest == version.at("number")) {
    call.say(fmt::format("Nothing was added: version {} of {} holds this file already.",
                         json::serialize(version.at("number")), call.get("NAME")),
             *answer);
    return kExitOk;
  }
  call.say(fmt::format("Version {} of {}: {} rows, {} bytes, {} of them new.", json::serialize(version.at("number")),
                       call.get("NAME"), json::serialize(version.at("rows")), json::serialize(version.at("bytes")),
                       json::serialize(version.at("bytes_new"))),
           *answer);
  return kExitOk;
}

Result<int> list(Call& call) {
  call.table(TM_TRY(call.client().get(api_path({"datasets"}))), "datasets",
             {{"NAME", "name"}, {"OWNER", "owner"}, {"DESCRIPTION", "description"}});
  return kExitOk;
}

Result<int> show(Call& call) {
  std::vector<std::string> path{"datasets", call.get("NAME")};
  if (call.has("VERSION")) path.insert(path.end(), {"versions", call.get("VERSION")});
  call.object(TM_TRY(call.client().get(api_path(path))));
  return kExitOk;
}

Result<int> versions(Call& call) {
  call.table(TM_TRY(call.client().get(api_path({"datasets", call.get("NAME"), "versions"}))), "versions",
             {{"VERSION", "number"},
              {"ROWS", "rows"},
              {"BYTES", "bytes"},
              {"NEW", "bytes_new"},
              {"MADE", "made_ms"},
              {"BY", "made_by"}});
  return kExitOk;
}

Result<int> rows(Call& call) {
  const Query query{{"offset", call.get("--offset", "0")}, {"limit", call.get("--limit", "20")}};
  const auto path = api_path({"datasets", call.get("NAME"), "versions", call.get("VERSION"), "rows"});
  const auto answer = TM_TRY(call.client().get(path, query));
  std::vector<Column> columns;
  if (const auto* found = answer.as_object().if_contains("rows");
      found != nullptr && found->is_array() && !found->get_array().empty()) {
    for (const auto& entry : found->get_array().front().as_object())
      columns.push_back({std::string(entry.key()), std::string(entry.key())});
  }
  call.table(answer, "rows", columns);
  return kExitOk;
}

Result<int> diff(Call& call) {
  call.object(TM_TRY(call.client().get(
      api_path({"datasets", call.get("NAME"), "versions", call.get("FROM"), "diff", call.get("TO")}))));
  return kExitOk;
}

}  // namespace

std::vector<Verb> datasets_verbs() {
  const Parameter name{"NAME", "The dataset", true};
  return {
      {"datasets",
       "create",
       "Make a dataset, with its rules",
       {"tidemill datasets create flights --file flights.yaml", "tidemill datasets create patients --owner ann"},
       {name,
        {"--file", "YAML or JSON with description, owner, rules"},
        {"--description", "What it holds"},
        {"--owner", "Who answers for it"}},
       create},
      {"datasets",
       "add",
       "Add a version from a CSV or Parquet file; it is refused when it breaks a rule",
       {"tidemill datasets add flights 2013-01.csv", "tidemill datasets add planes planes.parquet --mode replace"},
       {name,
        {"FILE", "CSV or Parquet", true},
        {"--mode", "append (default) adds the rows, replace takes them instead"},
        {"--encoding", "Of a CSV file: utf8 (default) or gb18030"}},
       add},
      {"datasets", "list", "List all datasets", {"tidemill datasets list --json"}, {}, list},
      {"datasets",
       "show",
       "Show a dataset, or one version with schema, profile and quality",
       {"tidemill datasets show flights", "tidemill datasets show flights 2 --json"},
       {name, {"VERSION", "Its number"}},
       show},
      {"datasets",
       "versions",
       "List the versions of a dataset",
       {"tidemill datasets versions flights"},
       {name},
       versions},
      {"datasets",
       "rows",
       "Look at rows of a version",
       {"tidemill datasets rows flights 1 --limit 5"},
       {name, {"VERSION", "Its number", true}, {"--offset", "Rows to skip"}, {"--limit", "Rows to show (20)"}},
       rows},
      {"datasets",
       "diff",
       "Compare two versions: rows, schema, distributions",
       {"tidemill datasets diff flights 1 2"},
       {name, {"FROM", "The earlier version", true}, {"TO", "The later version", true}},
       diff},
  };
}

}  // namespace tidemill::cli
