// A whole server's worth of rooms around pipelines, on a folder that outlives it: for this room's tests and for those
// of triggers.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <thread>

#include "base/files.h"
#include "flow/pipelines/pipelines.h"

namespace tidemill::pipelines {

class House {
 public:
  explicit House(std::filesystem::path folder, const Clock& clock, Options options = {}) {
    database = sql::Database::open(folder / "db").value();
    events = events::Events::create(*database, clock).value();
    access = access::Access::create(*database, *events, clock).value();
    jobs = jobs::Jobs::create(*database, *events, clock).value();
    blobs = blobs::LocalStore::create(folder / "blobs").value();
    options.folder = folder / "pipelines";
    pipelines = Pipelines::create(*database, *events, *access, *jobs, *blobs, clock, std::move(options)).value();
  }
  ~House() { jobs->stop(); }

  // Waits until the run has ended, or for a minute.
  Run await(const PipelineRunId& id) {
    for (int i = 0; i < 12'000; ++i) {
      auto run = pipelines->run(id);
      if (run && run->finished_ms) return *std::move(run);
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return pipelines->run(id).value();
  }

  std::unique_ptr<sql::Database> database;
  std::unique_ptr<events::Events> events;
  std::unique_ptr<access::Access> access;
  std::unique_ptr<blobs::Store> blobs;
  std::unique_ptr<jobs::Jobs> jobs;
  std::unique_ptr<Pipelines> pipelines;
};

}  // namespace tidemill::pipelines
