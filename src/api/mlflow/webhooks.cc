// MLflow's webhooks over the room of webhooks. Only those of the form mlflow are seen here; /api/webhooks shows all.
#include <fmt/format.h>

#include <algorithm>

#include "api/mlflow/mlflow.h"
#include "api/mlflow/parts.h"

namespace tidemill::mlflow {
namespace {

using webhooks::Webhook;

constexpr std::int64_t kListedByDefault = 100;
constexpr std::int64_t kListedMax = 1'000;

std::string cased(std::string text, int (*change)(int)) {
  std::ranges::transform(text, text.begin(), [&](unsigned char c) { return static_cast<char>(change(c)); });
  return text;
}

Result<std::string> event_of(const Fields& fields) {
  return cased(TM_TRY(fields.required("entity")) + "." + TM_TRY(fields.required("action")), ::tolower);
}

Result<std::vector<std::string>> events_of(const Fields& fields) {
  std::vector<std::string> out;
  for (const Fields& event : TM_TRY(fields.objects("events"))) out.push_back(TM_TRY(event_of(event)));
  return out;
}

Result<std::optional<webhooks::Status>> status_of(const Fields& fields) {
  const std::string text = TM_TRY(fields.text("status"));
  if (text.empty()) return std::optional<webhooks::Status>();
  if (text == "ACTIVE") return std::optional(webhooks::Status::active);
  if (text == "DISABLED") return std::optional(webhooks::Status::disabled);
  return invalid_value("status", json::Value(text), "ACTIVE or DISABLED");
}

// Returns the webhook of the path; one of another form is none here.
Result<Webhook> asked(webhooks::Webhooks& all, const Call& call) {
  const std::string& text = call.request.param("webhook_id");
  if (is_hex_id(text)) {
    auto webhook = TM_TRY(all.get(webhooks::WebhookId::trusted(text)));
    if (webhook.form == webhooks::Form::mlflow) return webhook;
  }
  return fail(Code::kNotFound, "webhooks.unknown", fmt::format("Webhook with ID {} not found.", text.substr(0, 64)),
              "See the list of webhooks.");
}

Result<std::string> create(webhooks::Webhooks& all, const Call& call) {
  webhooks::NewWebhook wanted;
  wanted.name = TM_TRY(call.fields.required("name"));
  wanted.url = TM_TRY(call.fields.required("url"));
  wanted.events = TM_TRY(events_of(call.fields));
  if (wanted.events.empty()) return missing_value("events");
  wanted.description = TM_TRY(call.fields.text("description"));
  wanted.secret = TM_TRY(call.fields.maybe_text("secret"));
  wanted.status = TM_TRY(status_of(call.fields)).value_or(webhooks::Status::active);
  wanted.form = webhooks::Form::mlflow;
  return wrapped("webhook", TM_TRY(all.add(call.actor, wanted)));
}

Result<std::string> list(webhooks::Webhooks& all, const Call& call) {
  const std::int64_t limit = TM_TRY(max_results(call.fields, kListedByDefault, kListedMax));
  const std::int64_t offset = TM_TRY(offset_of(TM_TRY(call.fields.text("page_token"))));
  auto found = TM_TRY(all.list());
  std::erase_if(found, [](const Webhook& webhook) { return webhook.form != webhooks::Form::mlflow; });
  runs::Page<Webhook> page;
  const auto count = static_cast<std::int64_t>(found.size());
  for (std::int64_t i = offset; i < std::min(offset + limit, count); ++i) {
    page.items.push_back(std::move(found[static_cast<std::size_t>(i)]));
  }
  if (offset + limit < count) page.next = offset + limit;
  return wrapped("webhooks", page);
}

Result<std::string> update(webhooks::Webhooks& all, const Call& call) {
  const Webhook known = TM_TRY(asked(all, call));
  webhooks::Change change;
  const auto filled = [](std::string text) { return text.empty() ? std::nullopt : std::optional(std::move(text)); };
  change.name = filled(TM_TRY(call.fields.text("name")));
  change.url = filled(TM_TRY(call.fields.text("url")));
  change.description = TM_TRY(call.fields.maybe_text("description"));
  change.secret = TM_TRY(call.fields.maybe_text("secret"));
  change.status = TM_TRY(status_of(call.fields));
  auto events = TM_TRY(events_of(call.fields));
  if (!events.empty()) change.events = std::move(events);
  return wrapped("webhook", TM_TRY(all.change(call.actor, known.id, change)));
}

Result<std::string> test(webhooks::Webhooks& all, const Call& call) {
  const Webhook known = TM_TRY(asked(all, call));
  const std::string event = call.fields.has("event") ? TM_TRY(event_of(TM_TRY(call.fields.object("event")))) : "";
  const auto result = TM_TRY(all.test(known.id, event));
  JsonText json;
  json.begin_object().key("result").begin_object().boolean("success", result.success);
  json.integer_if("response_status", result.status).text_if("response_body", result.body);
  json.text_if("error_message", result.error).end_object().end_object();
  return json.take();
}

}  // namespace

void write(JsonText& json, const Webhook& webhook) {
  json.begin_object().text("webhook_id", webhook.id.str()).text("name", webhook.name);
  json.text_if("description", webhook.description).text("url", webhook.url).key("events").begin_array();
  for (const std::string& event : webhook.events) {
    const std::size_t dot = event.find('.');
    json.begin_object().text("entity", cased(event.substr(0, dot), ::toupper));
    json.text("action", cased(event.substr(dot + 1), ::toupper)).end_object();
  }
  json.end_array().text("status", cased(std::string(enum_name(webhook.status)), ::toupper));
  json.integer("creation_timestamp", webhook.made_ms).integer("last_updated_timestamp", webhook.updated_ms);
  json.end_object();
}

// MLflow's auth app lets only admins near them, and so do we.
std::vector<http::Route> webhook_routes(webhooks::Webhooks& all) {
  Endpoints endpoints;
  const std::string one = "/mlflow/webhooks/{webhook_id}";
  endpoints.add(Method::post, "/mlflow/webhooks", Right::admin, "Make a webhook",
                [&all](const Call& call) { return create(all, call); });
  endpoints.add(Method::get, "/mlflow/webhooks", Right::admin, "List webhooks",
                [&all](const Call& call) { return list(all, call); });
  endpoints.add(Method::get, one, Right::admin, "Get a webhook", [&all](const Call& call) -> Result<std::string> {
    return wrapped("webhook", TM_TRY(asked(all, call)));
  });
  endpoints.add(Method::patch, one, Right::admin, "Change a webhook",
                [&all](const Call& call) { return update(all, call); });
  endpoints.add(Method::del, one, Right::admin, "Delete a webhook", [&all](const Call& call) -> Result<std::string> {
    TM_CHECK(all.remove(call.actor, TM_TRY(asked(all, call)).id));
    return std::string(kNothing);
  });
  endpoints.add(Method::post, one + "/test", Right::admin, "Send an example to a webhook",
                [&all](const Call& call) { return test(all, call); });
  return endpoints.take();
}

}  // namespace tidemill::mlflow
