#include "flow/monitors/store.h"

namespace tidemill::monitors {
namespace {

constexpr sql::Query kInsert{
    "monitors.insert",
    "INSERT INTO monitors (name, deployment, definition, made_by, made_ms) VALUES (?1, ?2, ?3, ?4, ?5)"};
constexpr sql::Query kAll{"monitors.all",
                          "SELECT definition, next_start_ms, made_by, made_ms FROM monitors ORDER BY name"};
constexpr sql::Query kFind{"monitors.find",
                           "SELECT definition, next_start_ms, made_by, made_ms FROM monitors WHERE name = ?1"};
constexpr sql::Query kMove{"monitors.move_next_start",
                           "UPDATE monitors SET next_start_ms = ?3 WHERE name = ?1 AND next_start_ms IS ?2"};
constexpr sql::Query kInsertWindow{
    "monitors.insert_window", "INSERT INTO monitor_windows (monitor, start_ms, label, report) VALUES (?1, ?2, ?3, ?4)"};
constexpr sql::Query kWindows{"monitors.windows",
                              "SELECT report FROM monitor_windows WHERE monitor = ?1 ORDER BY start_ms"};

Result<StoredMonitor> decode_monitor(std::string_view definition, StoredMonitor stored) {
  static_cast<NewMonitor&>(stored.monitor) = TM_TRY(json::decode<NewMonitor>(definition));
  return stored;
}

StoredMonitor read_rest(const sql::Row& row) {
  StoredMonitor stored;
  stored.next_start_ms = row.maybe_integer(1);
  stored.monitor.made_by = row.string(2);
  stored.monitor.made_ms = row.integer(3);
  return stored;
}

}  // namespace

Result<void> insert_monitor(sql::Tx& tx, const Monitor& monitor) {
  const std::string definition = json::encode(static_cast<const NewMonitor&>(monitor));
  TM_CHECK(tx.exec(kInsert, monitor.name, monitor.deployment, definition, monitor.made_by, monitor.made_ms));
  return {};
}

Result<std::vector<StoredMonitor>> all_monitors(sql::Tx& tx) {
  std::vector<StoredMonitor> monitors;
  TM_CHECK(tx.each(kAll, [&](const sql::Row& row) -> Result<void> {
    monitors.push_back(TM_TRY(decode_monitor(row.text(0), read_rest(row))));
    return {};
  }));
  return monitors;
}

Result<std::optional<StoredMonitor>> find_monitor(sql::Tx& tx, std::string_view name) {
  std::optional<StoredMonitor> found;
  TM_CHECK(tx.each(
      kFind,
      [&](const sql::Row& row) -> Result<void> {
        found = TM_TRY(decode_monitor(row.text(0), read_rest(row)));
        return {};
      },
      name));
  return found;
}

Result<bool> move_next_start(sql::Tx& tx, std::string_view name, std::optional<std::int64_t> from, std::int64_t to) {
  return TM_TRY(tx.exec(kMove, name, from, to)) == 1;
}

Result<void> insert_window(sql::Tx& tx, const Window& window) {
  TM_CHECK(tx.exec(kInsertWindow, window.monitor, window.start_ms, window.label, json::encode(window)));
  return {};
}

Result<std::vector<Window>> all_windows(sql::Tx& tx, std::string_view monitor) {
  std::vector<Window> windows;
  TM_CHECK(tx.each(
      kWindows,
      [&](const sql::Row& row) -> Result<void> {
        windows.push_back(TM_TRY(json::decode<Window>(row.text(0))));
        return {};
      },
      monitor));
  return windows;
}

}  // namespace tidemill::monitors
