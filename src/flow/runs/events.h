// Kinds of events that this room emits. Points, parameters and tags of runs are bulk and no events; the end of a run is
// one, with counts and a digest of what it kept.
#pragma once

#include <string_view>

namespace tidemill::runs::events_of {

constexpr std::string_view kExperimentCreated = "experiments.created";  // subject experiments/<id>; name, artefact_root
constexpr std::string_view kExperimentRenamed = "experiments.renamed";  // name, before
constexpr std::string_view kExperimentDeleted = "experiments.deleted";  // name
constexpr std::string_view kExperimentRestored = "experiments.restored";  // name
constexpr std::string_view kEnded = "runs.ended";  // subject runs/<id>; experiment, name, status, times, counts, digest
constexpr std::string_view kDeleted = "runs.deleted";    // experiment, name
constexpr std::string_view kRestored = "runs.restored";  // experiment, name
constexpr std::string_view kModelLogged =
    "logged_models.finished";  // subject logged_models/<id>; experiment, name, run, status, files
constexpr std::string_view kModelDeleted = "logged_models.deleted";  // experiment, name

}  // namespace tidemill::runs::events_of
