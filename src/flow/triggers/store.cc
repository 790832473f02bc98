#include "flow/triggers/store.h"

namespace tidemill::triggers::store {
namespace {

constexpr sql::Query kPut{
    "triggers.put",
    "INSERT INTO triggers (name, definition, enabled, cursor_seq, next_ms, started_ms, made_by, made_ms)"
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (name) DO UPDATE SET definition = excluded.definition,"
    " enabled = excluded.enabled, cursor_seq = excluded.cursor_seq, next_ms = excluded.next_ms,"
    " started_ms = excluded.started_ms"};
constexpr sql::Query kFind{"triggers.find",
                           "SELECT definition, enabled, cursor_seq, next_ms, started_ms, made_by, made_ms FROM triggers"
                           " WHERE name = ?1"};
constexpr sql::Query kList{"triggers.list",
                           "SELECT definition, enabled, cursor_seq, next_ms, started_ms, made_by, made_ms FROM triggers"
                           " ORDER BY name"};
constexpr sql::Query kInsertFire{
    "triggers.insert_fire",
    "INSERT INTO trigger_fires (trigger, kind, cause, event_seq, due_ms, at_ms, outcome, pipeline_run, message)"
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"};
constexpr sql::Query kSettleFire{
    "triggers.settle_fire", "UPDATE trigger_fires SET outcome = ?2, pipeline_run = ?3, message = ?4 WHERE number = ?1"};
constexpr sql::Query kFires{"triggers.fires",
                            "SELECT number, trigger, kind, cause, event_seq, due_ms, at_ms, outcome, pipeline_run,"
                            " message FROM trigger_fires WHERE trigger = ?1 AND (?2 = 0 OR number < ?2)"
                            " ORDER BY number DESC LIMIT ?3"};
constexpr sql::Query kMoveCursors{"triggers.move_cursors",
                                  "UPDATE triggers SET cursor_seq = ?1 WHERE enabled AND cursor_seq < ?1"
                                  " AND next_ms IS NULL"};

Result<Trigger> read_trigger(const sql::Row& row) {
  auto definition = json::decode<NewTrigger>(row.text(0));
  if (!definition) {
    return fail(Code::kInternal, "triggers.damaged",
                "A stored trigger does not read back: " + definition.error().message,
                "Run the integrity check; restore a backup.");
  }
  Trigger trigger;
  static_cast<NewTrigger&>(trigger) = *std::move(definition);
  trigger.enabled = row.boolean(1);
  trigger.cursor_seq = row.integer(2);
  trigger.next_ms = row.maybe_integer(3);
  trigger.started_ms = row.maybe_integer(4);
  trigger.made_by = row.string(5);
  trigger.made_ms = row.integer(6);
  return trigger;
}

Fire read_fire(const sql::Row& row) {
  return {
      row.integer(0),       row.string(1),  row.enumerator<FireKind>(2),    row.string(3),       row.maybe_integer(4),
      row.maybe_integer(5), row.integer(6), row.enumerator<FireOutcome>(7), row.maybe_string(8), row.string(9)};
}

template <class... Args>
Result<std::vector<Trigger>> read_all(sql::Tx& tx, const sql::Query& query, const Args&... args) {
  std::vector<Trigger> triggers;
  TM_CHECK(tx.each(
      query,
      [&](const sql::Row& row) -> Result<void> {
        triggers.push_back(TM_TRY(read_trigger(row)));
        return {};
      },
      args...));
  return triggers;
}

}  // namespace

Result<void> put(sql::Tx& tx, const Trigger& trigger) {
  TM_CHECK(tx.exec(kPut, trigger.name, json::encode(static_cast<const NewTrigger&>(trigger)), trigger.enabled,
                   trigger.cursor_seq, trigger.next_ms, trigger.started_ms, trigger.made_by, trigger.made_ms));
  return {};
}

Result<std::optional<Trigger>> find(sql::Tx& tx, std::string_view name) {
  auto found = TM_TRY(read_all(tx, kFind, name));
  if (found.empty()) return std::optional<Trigger>();
  return std::optional<Trigger>(std::move(found.front()));
}

Result<std::vector<Trigger>> list(sql::Tx& tx) { return read_all(tx, kList); }

Result<std::int64_t> insert_fire(sql::Tx& tx, const Fire& fire) {
  TM_CHECK(tx.exec(kInsertFire, fire.trigger, fire.kind, fire.cause, fire.event_seq, fire.due_ms, fire.at_ms,
                   fire.outcome, fire.pipeline_run, fire.message));
  return tx.last_row_id();
}

Result<void> settle_fire(sql::Tx& tx, const Fire& fire) {
  TM_CHECK(tx.exec(kSettleFire, fire.number, fire.outcome, fire.pipeline_run, fire.message));
  return {};
}

Result<std::vector<Fire>> fires(sql::Tx& tx, std::string_view trigger, std::int64_t before, std::int64_t limit) {
  return tx.all<Fire>(kFires, read_fire, trigger, before, limit);
}

Result<void> move_cursors(sql::Tx& tx, std::int64_t seq) {
  TM_CHECK(tx.exec(kMoveCursors, seq));
  return {};
}

}  // namespace tidemill::triggers::store
