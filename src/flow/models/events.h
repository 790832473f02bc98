// Kinds of events that this room emits; the subject is "models/<name>" or "models/<name>/<number>".
#pragma once

#include <string_view>

namespace tidemill::models::events_of {

constexpr std::string_view kCreated = "models.created";      // description, tags
constexpr std::string_view kRenamed = "models.renamed";      // from; the subject has the new name
constexpr std::string_view kDescribed = "models.described";  // description; of a model or a version
constexpr std::string_view kTagged = "models.tagged";        // key, value (null = removed); of either
constexpr std::string_view kDeleted = "models.deleted";      // versions: how many went with it
constexpr std::string_view kVersionRegistered =
    "models.version_registered";  // digest, files, lineage, parity, run_id, source
constexpr std::string_view kVersionDeleted = "models.version_deleted";        // digest
constexpr std::string_view kBaselineKept = "models.baseline_kept";            // rows, features
constexpr std::string_view kStageSet = "models.stage_set";                    // stage, before
constexpr std::string_view kAliasSet = "models.alias_set";                    // alias, number, before (null = none)
constexpr std::string_view kAliasDeleted = "models.alias_deleted";            // alias, before
constexpr std::string_view kGatePassed = "models.gate_passed";                // the report
constexpr std::string_view kGateFailed = "models.gate_failed";                // the report
constexpr std::string_view kApprovalRequested = "models.approval_requested";  // approval
constexpr std::string_view kApproved = "models.approved";                     // reason, approval, made_by
constexpr std::string_view kRejected = "models.rejected";                     // reason, approval, made_by
constexpr std::string_view kArchived = "models.archived";                     // reason, before
constexpr std::string_view kRestored = "models.restored";                     // reason

}  // namespace tidemill::models::events_of
