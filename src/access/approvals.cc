#include <fmt/format.h>

#include <utility>

#include "access/access.h"

namespace tidemill::access {
namespace {

constexpr std::size_t kReasonBytesMax = 4096;

constexpr sql::Query kInsert{"approvals.insert",
                             "INSERT INTO approvals (id, subject, kind, asked_by, state, evidence, asked_ms)"
                             " VALUES (?1, ?2, ?3, ?4, 'pending', ?5, ?6)"};
constexpr sql::Query kGet{
    "approvals.get",
    "SELECT id, subject, kind, asked_by, state, decided_by, reason, evidence, asked_ms, decided_ms"
    " FROM approvals WHERE id = ?1"};
constexpr sql::Query kOpen{
    "approvals.open",
    "SELECT id, subject, kind, asked_by, state, decided_by, reason, evidence, asked_ms, decided_ms"
    " FROM approvals WHERE subject = ?1 AND kind = ?2 AND state = 'pending'"};
constexpr sql::Query kList{
    "approvals.list",
    "SELECT id, subject, kind, asked_by, state, decided_by, reason, evidence, asked_ms, decided_ms"
    " FROM approvals WHERE (?1 IS NULL OR state = ?1) AND (?2 = '' OR subject = ?2)"
    " ORDER BY asked_ms DESC, id DESC LIMIT 1000"};
constexpr sql::Query kDecide{"approvals.decide",
                             "UPDATE approvals SET state = ?2, decided_by = ?3, reason = ?4, decided_ms = ?5"
                             " WHERE id = ?1 AND state = 'pending'"};

Approval read_approval(const sql::Row& row) {
  Approval approval;
  approval.id = row.id<ApprovalId>(0);
  approval.subject = row.string(1);
  approval.kind = row.string(2);
  approval.asked_by = row.string(3);
  approval.state = row.enumerator<ApprovalState>(4);
  approval.decided_by = row.string(5);
  approval.reason = row.string(6);
  approval.evidence = json::decode<json::Object>(row.text(7)).value_or(json::Object());
  approval.asked_ms = row.integer(8);
  approval.decided_ms = row.maybe_integer(9);
  return approval;
}

std::string maker_of(const Approval& approval) {
  const auto* maker = approval.evidence.if_contains("made_by");
  return maker != nullptr && maker->is_string() ? std::string(maker->get_string()) : std::string();
}

Result<void> check_decider(const Actor& actor, const Approval& approval) {
  if (!actor.has(Right::approve)) {
    return fail(Code::kPermissionDenied, "access.may_not_approve", fmt::format("'{}' may not approve.", actor.name),
                "Somebody with the role approver must decide.", {{"actor", actor.name}});
  }
  if (actor.name == approval.asked_by || actor.name == maker_of(approval)) {
    return fail(Code::kPermissionDenied, "access.same_person",
                fmt::format("'{}' made or asked for {} and cannot decide about it.", actor.name, approval.subject),
                "A second person must decide.", {{"actor", actor.name}, {"subject", approval.subject}});
  }
  return {};
}

}  // namespace

Result<Approval> Access::ask(sql::Tx& tx, const Actor& actor, std::string_view subject, std::string_view kind,
                             json::Object evidence) {
  if (auto open = TM_TRY(open_approval(tx, subject, kind))) return *std::move(open);
  const auto id = ApprovalId::generate();
  TM_CHECK(tx.exec(kInsert, id, subject, kind, actor.name, json::canonical(evidence), clock_.now_ms()));
  TM_CHECK(events_.append(tx, {"approvals.requested", std::string(subject), actor.name,
                               json::Object{{"approval", id.str()}, {"kind", std::string(kind)}}}));
  return approval(tx, id);
}

Result<Approval> Access::decide(sql::Tx& tx, const Actor& actor, const ApprovalId& id, bool approve,
                                std::string_view reason) {
  const Approval asked = TM_TRY(approval(tx, id));
  TM_CHECK(check_decider(actor, asked));
  if (reason.empty() || reason.size() > kReasonBytesMax) {
    return fail(Code::kInvalidArgument, "access.no_reason",
                fmt::format("A decision needs a reason of 1 to {} bytes.", kReasonBytesMax), "Say why.");
  }
  const ApprovalState state = approve ? ApprovalState::approved : ApprovalState::rejected;
  if (TM_TRY(tx.exec(kDecide, id, state, actor.name, reason, clock_.now_ms())) == 0) {
    return fail(Code::kFailedPrecondition, "access.decided_already",
                fmt::format("{} was {} by '{}' already.", asked.subject, enum_name(asked.state), asked.decided_by),
                "Ask anew.");
  }
  TM_CHECK(events_.append(tx, {"approvals.decided", asked.subject, actor.name,
                               json::Object{{"approval", id.str()},
                                            {"kind", asked.kind},
                                            {"state", enum_name(state)},
                                            {"reason", std::string(reason)},
                                            {"asked_by", asked.asked_by}}}));
  return approval(tx, id);
}

Result<Approval> Access::approval(sql::Tx& tx, const ApprovalId& id) {
  auto found = TM_TRY(tx.one<Approval>(kGet, read_approval, id));
  if (found) return *std::move(found);
  return fail(Code::kNotFound, "approvals.unknown", fmt::format("There is no approval '{}'.", id.str()),
              "List the approvals.");
}

Result<std::optional<Approval>> Access::open_approval(sql::Tx& tx, std::string_view subject, std::string_view kind) {
  return tx.one<Approval>(kOpen, read_approval, subject, kind);
}

Result<std::vector<Approval>> Access::approvals(std::optional<ApprovalState> state, std::string_view subject) {
  return database_.read([&](sql::Tx& tx) { return tx.all<Approval>(kList, read_approval, state, subject); });
}

}  // namespace tidemill::access
