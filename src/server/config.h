// What the server can be told, and its limits by name.
#pragma once

#include <boost/describe.hpp>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "access/access.h"
#include "api/http/server.h"
#include "api/oip/oip.h"
#include "base/outgoing.h"
#include "base/result.h"
#include "flow/datasets/datasets.h"
#include "flow/features/features.h"
#include "flow/monitors/monitors.h"
#include "flow/pipelines/types.h"
#include "flow/predictions/predictions.h"
#include "flow/runs/types.h"
#include "flow/traces/types.h"
#include "jobs/jobs.h"
#include "storage/blobs/s3.h"
#include "storage/tables/tables.h"
#include "webhooks/types.h"

namespace tidemill::server {

// Limits, settable as --set room.name=value or in the file of --config: {"http": {"worker_threads": 64}}.
struct Settings {
  using json_defaults = void;
  http::ServerOptions http;
  access::Options access;
  jobs::JobsOptions jobs;
  outgoing::Options outgoing;
  webhooks::Options webhooks;
  tables::Options tables;
  blobs::S3Settings s3;
  datasets::Settings datasets;
  features::Settings features;
  pipelines::Limits pipelines;
  runs::Limits runs;
  traces::Limits traces;
  predictions::Options predictions;
  monitors::Options monitors;
  oip::Settings oip;
};
BOOST_DESCRIBE_STRUCT(Settings, (),
                      (http, access, jobs, outgoing, webhooks, tables, s3, datasets, features, pipelines, runs, traces,
                       predictions, monitors, oip))

struct Config {
  std::filesystem::path data;
  std::string blobs;  // "s3://bucket/prefix"; empty: the folder `blobs` of data
  std::string host = "127.0.0.1";
  std::uint16_t port = 7070;
  std::vector<std::string> names;  // further Host names to answer to
  bool anonymous_read = false;
  std::string python = "python3";      // what "python" means in a step
  std::string steps_sandbox = "auto";  // or "required", "off": whether steps and probes are shut off from `data`
  std::filesystem::path libraries;     // folder of libduckdb and libonnxruntime; empty: where the build put them
  std::string log_level = "info";
  Settings settings;

  [[nodiscard]] bool loopback() const;
};

// Reads the arguments after `tidemill server`. kInvalidArgument names the flag. `*help` becomes true when the text of
// the help was printed instead.
[[nodiscard]] Result<Config> parse_arguments(int argc, char** argv, bool* help);

// Reads the file of --config ("": none), then applies the --set of the command line.
[[nodiscard]] Result<Settings> read_settings(const std::string& file, const std::vector<std::string>& assignments);

// Returns `settings` with "room.name=value" applied; kInvalidArgument for an unknown name or a wrong value.
[[nodiscard]] Result<Settings> with_setting(const Settings& settings, const std::string& assignment);

}  // namespace tidemill::server
