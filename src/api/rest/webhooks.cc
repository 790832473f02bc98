#include "api/rest/webhooks.h"

#include <optional>
#include <string>

namespace tidemill::rest {
namespace {

struct WebhookList {
  std::vector<webhooks::Webhook> webhooks;
};
BOOST_DESCRIBE_STRUCT(WebhookList, (), (webhooks))

struct DeliveryList {
  std::vector<webhooks::Delivery> deliveries;
};
BOOST_DESCRIBE_STRUCT(DeliveryList, (), (deliveries))

struct DeliveriesQuery {
  std::optional<webhooks::DeliveryState> state;
  std::optional<std::int64_t> limit;
};
BOOST_DESCRIBE_STRUCT(DeliveriesQuery, (), (state, limit))

struct TestRequest {
  using json_defaults = void;
  std::string event;
};
BOOST_DESCRIBE_STRUCT(TestRequest, (), (event))

Result<webhooks::WebhookId> id_of(const http::Request& request) {
  return webhooks::WebhookId::parse(request.param("id"));
}

}  // namespace

// Only admins see them: the path of a URL is often the receiver's only secret.
std::vector<http::Route> webhooks_routes(webhooks::Webhooks& all) {
  using access::Right;
  using webhooks::Webhook;
  std::vector<http::Route> routes;
  routes.push_back(http::get<WebhookList>(
      "/api/webhooks", Right::admin, "List webhooks",
      [&all](const http::Request&) -> Result<WebhookList> { return WebhookList{TM_TRY(all.list())}; }));
  routes.push_back(http::post<webhooks::NewWebhook, Webhook>(
      "/api/webhooks", Right::admin, "Tell a URL of events; the secret is not shown again",
      [&all](const http::Request& request, const webhooks::NewWebhook& webhook) {
        return all.add(request.actor, webhook);
      },
      {.status = 201}));
  routes.push_back(http::get<Webhook>(
      "/api/webhooks/{id}", Right::admin, "Get a webhook",
      [&all](const http::Request& request) -> Result<Webhook> { return all.get(TM_TRY(id_of(request))); }));
  routes.push_back(http::patch<webhooks::Change, Webhook>(
      "/api/webhooks/{id}", Right::admin, "Change a webhook, or disable it",
      [&all](const http::Request& request, const webhooks::Change& change) -> Result<Webhook> {
        return all.change(request.actor, TM_TRY(id_of(request)), change);
      }));
  routes.push_back(http::del<void>("/api/webhooks/{id}", Right::admin, "Delete a webhook, with what waits to be sent",
                                   [&all](const http::Request& request) -> Result<void> {
                                     return all.remove(request.actor, TM_TRY(id_of(request)));
                                   }));
  routes.push_back(http::post<TestRequest, webhooks::TestResult>(
      "/api/webhooks/{id}/test", Right::admin, "Send an example now and tell how it went",
      [&all](const http::Request& request, const TestRequest& test) -> Result<webhooks::TestResult> {
        return all.test(TM_TRY(id_of(request)), test.event);
      }));
  routes.push_back(http::get_query<DeliveriesQuery, DeliveryList>(
      "/api/webhooks/{id}/deliveries", Right::admin, "List what was sent and what waits, newest first",
      [&all](const http::Request& request, const DeliveriesQuery& query) -> Result<DeliveryList> {
        return DeliveryList{TM_TRY(all.deliveries(TM_TRY(id_of(request)), query.state, query.limit.value_or(100)))};
      }));
  return routes;
}

}  // namespace tidemill::rest
