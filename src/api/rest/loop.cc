#include "api/rest/loop.h"

#include <algorithm>
#include <string>

namespace tidemill::rest {
namespace {

enum class Mood { quiet, active, waiting, alert };
BOOST_DESCRIBE_ENUM(Mood, quiet, active, waiting, alert)

// What one room is doing. `what` is the key of a sentence that the console translates, `values` what stands in it.
struct RoomState {
  std::string noun;
  std::int64_t count = 0;
  Mood state = Mood::quiet;
  std::string what;
  json::Object values;
};
BOOST_DESCRIBE_STRUCT(RoomState, (), (noun, count, state, what, values))

struct Loop {
  bool idle = true;              // nothing is queued, running or due
  std::int64_t turns = 0;        // how often a trigger has started a pipeline
  std::vector<RoomState> rooms;  // in the order of the life cycle
};
BOOST_DESCRIBE_STRUCT(Loop, (), (idle, turns, rooms))

std::int64_t size_of(const auto& list) { return static_cast<std::int64_t>(list.size()); }

Result<RoomState> requirements_state(const LoopRooms& rooms) {
  const auto list = TM_TRY(rooms.requirements.list());
  return RoomState{"requirements", size_of(list), Mood::quiet, "requirements.kept", {}};
}

Result<RoomState> datasets_state(const LoopRooms& rooms) {
  const auto list = TM_TRY(rooms.datasets.list());
  std::int64_t rows = 0;
  for (const auto& dataset : list) rows += dataset.rows;
  return RoomState{"datasets", size_of(list), Mood::quiet, "datasets.rows", json::Object{{"rows", rows}}};
}

Result<RoomState> features_state(const LoopRooms& rooms) {
  const auto list = TM_TRY(rooms.features.list());
  std::int64_t columns = 0;
  for (const auto& view : list) columns += size_of(view.columns);
  return RoomState{"features", size_of(list), Mood::quiet, "features.columns", json::Object{{"columns", columns}}};
}

Result<RoomState> pipelines_state(const LoopRooms& rooms) {
  const auto list = TM_TRY(rooms.pipelines.list());
  const std::int64_t live = TM_TRY(rooms.pipelines.live_runs());
  const auto newest = TM_TRY(rooms.pipelines.runs({.limit = 1}));
  RoomState state{"pipelines", size_of(list), Mood::quiet, "pipelines.none", {}};
  if (live > 0) {
    state.state = Mood::active;
    state.what = "pipelines.running";
    state.values = {{"runs", live}, {"cause", newest.empty() ? "" : newest.front().cause}};
  } else if (!newest.empty()) {
    const bool failed = newest.front().state == pipelines::RunState::failed;
    state.state = failed ? Mood::alert : Mood::quiet;
    state.what = failed ? "pipelines.failed" : "pipelines.last";
    state.values = {{"pipeline", newest.front().pipeline}, {"cause", newest.front().cause}};
  }
  return state;
}

Result<RoomState> models_state(const LoopRooms& rooms) {
  const auto versions = TM_TRY(rooms.database.read([&](sql::Tx& tx) { return rooms.models.list_versions(tx, ""); }));
  const auto pending = TM_TRY(rooms.access.approvals(access::ApprovalState::pending));
  RoomState state{"models", size_of(versions), Mood::quiet, "models.versions",
                  json::Object{{"versions", size_of(versions)}}};
  if (!pending.empty()) {
    state.state = Mood::waiting;
    state.what = "models.waiting";
    state.values = {{"approvals", size_of(pending)}, {"subject", pending.front().subject}};
  }
  return state;
}

Result<RoomState> deployments_state(const LoopRooms& rooms) {
  const auto snapshot = rooms.deployments.snapshot();
  RoomState state{"deployments", size_of(*snapshot), Mood::quiet, "deployments.none", {}};
  for (const auto& [name, deployment] : *snapshot) {
    if (deployment.candidate) {
      state.state = Mood::active;
      state.what = "deployments.canary";
      state.values = {
          {"name", name}, {"version", deployment.candidate->version}, {"percent", deployment.candidate->percent}};
      return state;
    }
    state.what = "deployments.serving";
    state.values = {{"name", name}, {"version", deployment.champion}};
  }
  return state;
}

Result<RoomState> predictions_state(const LoopRooms& rooms) {
  RoomState state{"predictions", 0, Mood::quiet, "predictions.labelled", {}};
  std::int64_t labelled = 0;
  const auto snapshot = rooms.deployments.snapshot();
  for (const auto& [name, deployment] : *snapshot) {
    const auto stats = rooms.predictions.stats(name);
    state.count += stats.rows;
    labelled += stats.labelled;
  }
  state.values = {{"labelled", labelled}};
  return state;
}

Result<RoomState> monitors_state(const LoopRooms& rooms) {
  const auto list = TM_TRY(rooms.monitors.list());
  RoomState state{"monitors", size_of(list), Mood::quiet, "monitors.none", {}};
  for (const auto& monitor : list) {
    const auto windows = TM_TRY(rooms.monitors.windows(monitor.name));
    if (windows.empty()) continue;
    const auto& newest = windows.back();
    const bool alert = newest.alert_count > 0;
    state.state = alert ? Mood::alert : state.state;
    state.what = alert ? "monitors.alerted" : "monitors.calm";
    state.values = {{"window", newest.label}, {"alerts", newest.alert_count}};
    if (newest.served.auc) state.values["auc"] = *newest.served.auc;
  }
  return state;
}

Result<RoomState> triggers_state(const LoopRooms& rooms, std::int64_t* turns) {
  const auto list = TM_TRY(rooms.triggers.list());
  for (const auto& trigger : list) {
    for (const auto& fire : TM_TRY(rooms.triggers.fires(trigger.name, 0, triggers::kFiresMax))) {
      *turns += fire.outcome == triggers::FireOutcome::started ? 1 : 0;
    }
  }
  return RoomState{"triggers", size_of(list), Mood::quiet, "triggers.turns", json::Object{{"turns", *turns}}};
}

// Asked from mouth to source: what a later room has not done yet cannot hide behind an earlier one that looks idle
// already.
Result<bool> is_idle(const LoopRooms& rooms) {
  if (TM_TRY(rooms.monitors.pending())) return false;
  if (!rooms.triggers.idle()) return false;
  return TM_TRY(rooms.pipelines.live_runs()) == 0;
}

Result<Loop> look(const LoopRooms& rooms) {
  Loop loop;
  loop.idle = TM_TRY(is_idle(rooms));
  for (const auto& state : {requirements_state, datasets_state, features_state, pipelines_state, models_state,
                            deployments_state, predictions_state, monitors_state}) {
    loop.rooms.push_back(TM_TRY(state(rooms)));
  }
  loop.rooms.push_back(TM_TRY(triggers_state(rooms, &loop.turns)));
  return loop;
}

struct Idle {
  bool idle = true;
};
BOOST_DESCRIBE_STRUCT(Idle, (), (idle))

}  // namespace

std::vector<http::Route> loop_routes(const LoopRooms& rooms) {
  using access::Right;
  std::vector<http::Route> routes;
  routes.push_back(http::get<Loop>("/api/loop", Right::read, "What every room is doing",
                                   [rooms](const http::Request&) { return look(rooms); }));
  routes.push_back(
      http::get<Idle>("/api/loop/idle", Right::read, "Whether nothing is queued, running or due",
                      [rooms](const http::Request&) -> Result<Idle> { return Idle{TM_TRY(is_idle(rooms))}; }));
  return routes;
}

}  // namespace tidemill::rest
