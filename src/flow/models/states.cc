// The life of a version: gate reports, decisions, stages, archive. Every change of state is here.
#include <fmt/format.h>

#include <utility>

#include "base/json.h"
#include "flow/models/checks.h"
#include "flow/models/events.h"
#include "flow/models/models.h"
#include "flow/models/store.h"

namespace tidemill::models {
namespace {

std::unexpected<Error> wrong_state(const Version& version, std::string_view wanted, std::string_view remedy) {
  return fail(Code::kFailedPrecondition, "models.wrong_state",
              fmt::format("Version {} of '{}' is {}, and cannot be {}.", version.number, version.model,
                          enum_name(version.state), wanted),
              std::string(remedy), {{"model", version.model}, {"state", std::string(enum_name(version.state))}});
}

Result<void> check_tested(const Version& version, std::string_view wanted) {
  switch (version.state) {
    case State::tested:
      return {};
    case State::candidate:
      return wrong_state(version, wanted, "Pass it through the gate (models.gate) first.");
    case State::approved:
      return wrong_state(version, wanted, "It is decided already.");
    case State::rejected:
    case State::archived:
      return wrong_state(version, wanted, "Register a new version.");
  }
  return {};
}

// What the approver looks at, and who made it.
json::Object evidence_of(const Version& version, const std::vector<GateReport>& reports) {
  json::Object evidence{
      {"made_by", version.made_by}, {"model", version.model}, {"number", version.number}, {"digest", version.digest}};
  if (!reports.empty()) evidence["gate"] = json::to_json(reports.back());
  return evidence;
}

}  // namespace

Result<Version> Models::set_state(sql::Tx& tx, const access::Actor& actor, std::string_view model, std::int64_t number,
                                  State state, std::string_view reason) {
  TM_CHECK(check_reason(reason));
  const Version before = TM_TRY(version(tx, model, number));
  if (before.state == state) return before;
  const bool archives = state == State::archived;
  const bool restores = before.state == State::archived && state == State::candidate;
  if (!archives && !restores) {
    return wrong_state(before, fmt::format("made {} by hand", enum_name(state)),
                       "Tested comes from the gate, approved and rejected from a decision.");
  }
  if (archives && TM_TRY(store::find_alias(tx, model, kChampion)) == number) {
    return fail(Code::kFailedPrecondition, "models.in_use",
                fmt::format("Version {} of '{}' is the champion.", number, model), "Promote another version first.");
  }
  TM_CHECK(store::set_state(tx, before, state, parts_.clock.now_ms()));
  TM_CHECK(emit(tx, actor, archives ? events_of::kArchived : events_of::kRestored, subject_of(model, number),
                {{"reason", reason}, {"before", enum_name(before.state)}}));
  return version(tx, model, number);
}

Result<access::Approval> Models::request_approval(sql::Tx& tx, const access::Actor& actor, std::string_view model,
                                                  std::int64_t number) {
  const Version asked = TM_TRY(version(tx, model, number));
  TM_CHECK(check_tested(asked, "put up for approval"));
  const std::string subject = subject_of(model, number);
  if (auto open = TM_TRY(parts_.access.open_approval(tx, subject, kApprovalKind))) return *std::move(open);
  const auto reports = TM_TRY(store::gate_reports(tx, model, number));
  auto approval = TM_TRY(parts_.access.ask(tx, actor, subject, kApprovalKind, evidence_of(asked, reports)));
  TM_CHECK(emit(tx, actor, events_of::kApprovalRequested, subject, {{"approval", approval.id.str()}}));
  return approval;
}

Result<Version> Models::decide(sql::Tx& tx, const access::Actor& actor, const Version& asked, bool approve,
                               std::string_view reason) {
  TM_CHECK(check_reason(reason));
  TM_CHECK(check_tested(asked, approve ? "approved" : "rejected"));
  const std::string subject = subject_of(asked.model, asked.number);
  auto open = TM_TRY(parts_.access.open_approval(tx, subject, kApprovalKind));
  if (!open) {
    const access::Actor maker{asked.made_by, {access::Role::modeller}};
    open = TM_TRY(request_approval(tx, maker, asked.model, asked.number));
  }
  const auto decided = TM_TRY(parts_.access.decide(tx, actor, open->id, approve, reason));
  TM_CHECK(store::set_decision(tx, asked, approve ? State::approved : State::rejected, actor.name, reason,
                               parts_.clock.now_ms()));
  TM_CHECK(
      emit(tx, actor, approve ? events_of::kApproved : events_of::kRejected, subject,
           {{"reason", reason}, {"approval", decided.id.str()}, {"made_by", asked.made_by}, {"digest", asked.digest}}));
  return version(tx, asked.model, asked.number);
}

Result<Version> Models::approve(sql::Tx& tx, const access::Actor& actor, std::string_view model, std::int64_t number,
                                std::string_view reason) {
  return decide(tx, actor, TM_TRY(version(tx, model, number)), true, reason);
}

Result<Version> Models::reject(sql::Tx& tx, const access::Actor& actor, std::string_view model, std::int64_t number,
                               std::string_view reason) {
  return decide(tx, actor, TM_TRY(version(tx, model, number)), false, reason);
}

Result<Version> Models::approve_by_policy(sql::Tx& tx, std::string_view policy, std::string_view model,
                                          std::int64_t number, std::string_view reason) {
  Version asked = TM_TRY(version(tx, model, number));
  if (asked.state == State::approved) return asked;
  const access::Actor actor{fmt::format("policy/{}", policy), {access::Role::approver}};
  return decide(tx, actor, asked, true, reason);
}

Result<void> Models::add_gate_report(sql::Tx& tx, const access::Actor& actor, std::string_view model,
                                     std::int64_t number, const GateReport& report) {
  const Version tested = TM_TRY(version(tx, model, number));
  const std::string key =
      report.pipeline_run.empty() ? "" : fmt::format("{}/{}/{}/{}", report.pipeline_run, report.step, model, number);
  if (!TM_TRY(store::add_gate_report(tx, model, number, report, key))) return {};  // this step's report is kept already
  // The newest report counts: a version that fails on newer rows is no longer tested.
  const std::int64_t now = parts_.clock.now_ms();
  if (report.passed && tested.state == State::candidate) TM_CHECK(store::set_state(tx, tested, State::tested, now));
  if (!report.passed && tested.state == State::tested) TM_CHECK(store::set_state(tx, tested, State::candidate, now));
  return emit(tx, actor, report.passed ? events_of::kGatePassed : events_of::kGateFailed, subject_of(model, number),
              json::to_json(report).as_object());
}

Result<Version> Models::add_gate_report(const access::Actor& actor, std::string_view model, std::int64_t number,
                                        const GateReport& report) {
  return parts_.database.write([&](sql::Tx& tx) -> Result<Version> {
    TM_CHECK(add_gate_report(tx, actor, model, number, report));
    return version(tx, model, number);
  });
}

Result<Version> Models::set_stage(sql::Tx& tx, const access::Actor& actor, std::string_view model, std::int64_t number,
                                  Stage stage, bool archive_others) {
  const Version before = TM_TRY(version(tx, model, number));
  const std::int64_t now = parts_.clock.now_ms();
  const auto move = [&](const Version& moved, Stage to) -> Result<void> {
    TM_CHECK(store::set_stage(tx, moved, to, now));
    return emit(tx, actor, events_of::kStageSet, subject_of(model, moved.number),
                {{"stage", enum_name(to)}, {"before", enum_name(moved.stage)}});
  };
  TM_CHECK(move(before, stage));
  TM_CHECK(store::touch_model(tx, model, now));
  if (archive_others) {
    for (const Version& other : TM_TRY(store::all_versions(tx, model))) {
      if (other.number != number && other.stage == stage) TM_CHECK(move(other, Stage::Archived));
    }
  }
  return version(tx, model, number);
}

Result<void> Models::delete_version(sql::Tx& tx, const access::Actor& actor, std::string_view model,
                                    std::int64_t number) {
  const Version doomed = TM_TRY(version(tx, model, number));
  if (doomed.state == State::approved) return wrong_state(doomed, "deleted", "Archive it first.");
  TM_CHECK(store::delete_version(tx, doomed, parts_.clock.now_ms()));
  TM_CHECK(store::touch_model(tx, model, parts_.clock.now_ms()));
  return emit(tx, actor, events_of::kVersionDeleted, subject_of(model, number), {{"digest", doomed.digest}});
}

}  // namespace tidemill::models
