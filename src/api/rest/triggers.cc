#include "api/rest/triggers.h"

#include <optional>
#include <string>

namespace tidemill::rest {
namespace {

struct TriggerList {
  std::vector<triggers::Trigger> triggers;
};
BOOST_DESCRIBE_STRUCT(TriggerList, (), (triggers))

struct FiresQuery {
  std::optional<std::int64_t> next;  // from the previous page
  std::optional<std::int64_t> limit;
};
BOOST_DESCRIBE_STRUCT(FiresQuery, (), (next, limit))

struct FireList {
  std::vector<triggers::Fire> fires;
  std::optional<std::int64_t> next;
};
BOOST_DESCRIBE_STRUCT(FireList, (), (fires, next))

struct Nothing {
  using json_defaults = void;
};
BOOST_DESCRIBE_STRUCT(Nothing, (), ())

Result<FireList> list_fires(triggers::Triggers& room, std::string_view name, const FiresQuery& query) {
  const std::int64_t limit = query.limit.value_or(100);
  FireList list{TM_TRY(room.fires(name, query.next.value_or(0), limit)), std::nullopt};
  if (static_cast<std::int64_t>(list.fires.size()) == limit) list.next = list.fires.back().number;
  return list;
}

}  // namespace

std::vector<http::Route> triggers_routes(triggers::Triggers& room) {
  using access::Right;
  using triggers::NewTrigger;
  using triggers::Trigger;
  std::vector<http::Route> routes;
  routes.push_back(http::post<NewTrigger, Trigger>(
      "/api/triggers", Right::write, "Let an event or the clock start a pipeline",
      [&room](const http::Request& request, const NewTrigger& trigger) { return room.make(request.actor, trigger); },
      {.status = 201}));
  routes.push_back(http::get<TriggerList>(
      "/api/triggers", Right::read, "List triggers",
      [&room](const http::Request&) -> Result<TriggerList> { return TriggerList{TM_TRY(room.list())}; }));
  routes.push_back(
      http::get<Trigger>("/api/triggers/{name}", Right::read, "Show a trigger",
                         [&room](const http::Request& request) { return room.get(request.param("name")); }));
  routes.push_back(http::put<NewTrigger, Trigger>(
      "/api/triggers/{name}", Right::write, "Replace what a trigger heeds and starts, from now on",
      [&room](const http::Request& request, const NewTrigger& trigger) -> Result<Trigger> {
        if (trigger.name != request.param("name")) {
          return fail(Code::kInvalidArgument, "triggers.other_name",
                      "The body names the trigger '" + trigger.name + "', the path another.",
                      "Use the same name; a trigger cannot be renamed.");
        }
        return room.replace(request.actor, trigger);
      }));
  for (const bool enabled : {true, false}) {
    routes.push_back(http::post<Nothing, Trigger>(
        enabled ? "/api/triggers/{name}/enable" : "/api/triggers/{name}/disable", Right::write,
        enabled ? "Let a trigger fire again, from now on" : "Keep a trigger from firing",
        [&room, enabled](const http::Request& request, Nothing) {
          return room.enable(request.actor, request.param("name"), enabled);
        }));
  }
  routes.push_back(http::post<Nothing, triggers::Fire>(
      "/api/triggers/{name}/fire", Right::write, "Fire a trigger by hand",
      [&room](const http::Request& request, Nothing) { return room.fire(request.actor, request.param("name")); },
      {.status = 201}));
  routes.push_back(http::get_query<FiresQuery, FireList>(
      "/api/triggers/{name}/fires", Right::read, "List when a trigger fired, why, and what it started",
      [&room](const http::Request& request, const FiresQuery& query) {
        return list_fires(room, request.param("name"), query);
      }));
  return routes;
}

}  // namespace tidemill::rest
