#include "api/rest/events.h"

#include <fmt/format.h>

#include <charconv>
#include <utility>

namespace tidemill::rest {
namespace {

struct EventsQuery {
  using json_defaults = void;
  std::int64_t after_seq = 0;
  std::string kind_prefix;
  std::string subject_prefix;
  std::int64_t limit = 100;
  bool newest_first = false;
};
BOOST_DESCRIBE_STRUCT(EventsQuery, (), (after_seq, kind_prefix, subject_prefix, limit, newest_first))

struct EventList {
  std::vector<events::Event> events;
};
BOOST_DESCRIBE_STRUCT(EventList, (), (events))

// Sends every event after a number, then each new one. The browser's EventSource names the last it saw when it
// reconnects.
class EventStream final : public http::Stream {
 public:
  EventStream(events::Events& events, std::int64_t after_seq) : events_(events), after_seq_(after_seq) {}

  std::optional<std::string> next(std::int64_t wait_ms) override {
    if (events_.wait_past(after_seq_, wait_ms) <= after_seq_) return std::string();
    const auto page = events_.read({.after_seq = after_seq_});
    if (!page) return std::nullopt;
    std::string text;
    for (const auto& event : *page) {
      text += fmt::format("id: {}\ndata: {}\n\n", event.seq, json::encode(event));
      after_seq_ = event.seq;
    }
    return text;
  }

 private:
  events::Events& events_;
  std::int64_t after_seq_;
};

Result<http::Response> open_stream(events::Events& events, const http::Request& request) {
  std::int64_t after_seq = events.wait_past(0, 0);  // from now on
  if (const auto last = request.headers.get("Last-Event-ID")) {
    const auto [end, error] = std::from_chars(last->data(), last->data() + last->size(), after_seq);
    if (error != std::errc{} || end != last->data() + last->size() || after_seq < 0) {
      return fail(Code::kInvalidArgument, "events.bad_last_id", "Last-Event-ID is not the number of an event.",
                  "Leave it out.");
    }
  }
  http::Response response;
  response.content_type = "text/event-stream";
  response.headers.emplace_back("Cache-Control", "no-store");
  response.stream = std::make_shared<EventStream>(events, after_seq);
  return response;
}

}  // namespace

std::vector<http::Route> events_routes(events::Events& events) {
  using access::Right;
  std::vector<http::Route> routes;
  routes.push_back(http::get_query<EventsQuery, EventList>(
      "/api/events", Right::read, "List events",
      [&events](const http::Request&, const EventsQuery& query) -> Result<EventList> {
        return EventList{TM_TRY(events.read({.after_seq = query.after_seq,
                                             .kind_prefix = query.kind_prefix,
                                             .subject_prefix = query.subject_prefix,
                                             .limit = query.limit,
                                             .newest_first = query.newest_first}))};
      }));
  routes.push_back(http::get<events::Verification>("/api/events/verify", Right::read, "Recompute the hash chain",
                                                   [&events](const http::Request&) { return events.verify(); }));
  routes.push_back(
      http::get<http::Response>("/api/events/stream", Right::read, "Follow new events as server-sent events",
                                [&events](const http::Request& request) { return open_stream(events, request); },
                                {.content_type = "text/event-stream"}));
  return routes;
}

}  // namespace tidemill::rest
