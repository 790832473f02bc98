#include "webhooks/webhooks.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "webhooks/events.h"
#include "webhooks/schema.sql.h"
#include "webhooks/store.h"

namespace tidemill::webhooks {
namespace {

constexpr std::size_t kEventsMax = 50;
constexpr std::size_t kDescriptionBytesMax = 4'096;
constexpr std::size_t kSecretBytesMax = 1'024;
constexpr std::string_view kOwnKinds = "webhooks.";

std::unexpected<Error> unknown(const WebhookId& id) {
  return fail(Code::kNotFound, "webhooks.unknown", fmt::format("Webhook '{}' not found.", id.str()),
              "See the list of webhooks.");
}

std::string purpose(const WebhookId& id) { return "webhooks/" + id.str(); }

// Only the host stands in the log: the path of a chat's webhook is as good as a password.
std::string host_of(const std::string& url) {
  const std::size_t begin = std::min(url.find("//"), url.size() - 2) + 2;
  return url.substr(begin, url.find_first_of("/?#", begin) - begin);
}

Result<std::string> sealed(const access::Seal& seal, const WebhookId& id, const std::string& secret) {
  if (secret.size() > kSecretBytesMax) {
    return fail(Code::kInvalidArgument, "webhooks.long_secret",
                fmt::format("The secret has more than {} bytes.", kSecretBytesMax), "Shorten it.");
  }
  return secret.empty() ? std::string() : seal.close(secret, purpose(id));
}

// Our own words: the event as it stands in the log.
Translation own_words() {
  Translation words;
  words.message = [](const events::Event& event) -> Result<std::optional<Message>> {
    return Message{event.kind, json::encode(event)};
  };
  words.example = [](const std::string& event, std::int64_t at_ms) -> Result<Message> {
    const std::string kind = event.ends_with('.') ? event + "example" : event;
    return Message{kind, json::encode(events::Event{0, at_ms, kind, "examples/1", "system", {{"test", true}}, "", ""})};
  };
  words.check = [](const std::string& event) -> Result<void> {
    const std::size_t dot = event.find('.');
    const bool known =
        dot != std::string::npos && dot > 0 && event.size() <= 128 && !event.starts_with(kOwnKinds) &&
        std::ranges::all_of(event, [](char c) { return (c >= 'a' && c <= 'z') || c == '_' || c == '.'; });
    if (known) return {};
    return fail(Code::kInvalidArgument, "webhooks.bad_event",
                fmt::format("A webhook cannot heed '{}'.", event.substr(0, 128)),
                "Name a kind such as monitors.alerted, or all of a room: deployments.");
  };
  words.header_prefix = "X-Tidemill";
  return words;
}

}  // namespace

Result<std::unique_ptr<Webhooks>> Webhooks::create(Parts parts, Options options) {
  TM_CHECK(parts.database.migrate("webhooks", kSchemaSql));
  std::unique_ptr<Webhooks> room(new Webhooks(parts, options));
  room->add_form(Form::tidemill, own_words());
  // Begin where the slowest cursor stands: each webhook passes over what its own cursor has behind it.
  std::int64_t seq = parts.events.wait_past(0, 0);
  for (const auto& kept : TM_TRY(parts.database.read([](sql::Tx& tx) { return store::list(tx); }))) {
    seq = std::min(seq, kept.cursor_seq);
  }
  room->seen_seq_ = seq;
  room->kept_seq_ = seq;
  parts.jobs.handle(
      "webhooks.deliver", [raw = room.get()](jobs::Context& context) { return raw->deliver(context); },
      options.parallel_max);
  return room;
}

Webhooks::~Webhooks() { stop(); }

void Webhooks::add_form(Form form, Translation translation) { forms_[form] = std::move(translation); }

Result<void> Webhooks::check(const Webhook& webhook) const {
  TM_CHECK(check_name("webhook", webhook.name));
  if (webhook.description.size() > kDescriptionBytesMax) {
    return fail(Code::kInvalidArgument, "webhooks.long_description",
                fmt::format("The description has more than {} bytes.", kDescriptionBytesMax), "Shorten it.");
  }
  if (webhook.events.empty() || webhook.events.size() > kEventsMax) {
    return fail(Code::kInvalidArgument, "webhooks.events",
                fmt::format("Webhook '{}' heeds {} events.", webhook.name, webhook.events.size()),
                fmt::format("Name 1 to {}.", kEventsMax));
  }
  const auto words = forms_.find(webhook.form);
  if (words == forms_.end()) {
    return fail(Code::kUnimplemented, "webhooks.no_form",
                fmt::format("This server has no form '{}'.", enum_name(webhook.form)), "Use form tidemill.");
  }
  for (const std::string& event : webhook.events) TM_CHECK(words->second.check(event));
  return {};
}

Result<Webhook> Webhooks::add(const access::Actor& actor, const NewWebhook& wanted) {
  Webhook webhook{WebhookId::generate(), wanted.name, wanted.url, wanted.events, wanted.description,
                  wanted.status,         wanted.form, false,      actor.name,    parts_.clock.now_ms(),
                  parts_.clock.now_ms()};
  TM_CHECK(check(webhook));
  TM_CHECK(parts_.client.check(webhook.url));
  store::Kept kept{webhook, TM_TRY(sealed(parts_.seal, webhook.id, wanted.secret.value_or(""))), 0};
  kept.webhook.is_signed = !kept.sealed.empty();
  return parts_.database.write([&](sql::Tx& tx) -> Result<Webhook> {
    if (static_cast<std::int64_t>(TM_TRY(store::list(tx)).size()) >= options_.webhooks_max) {
      return fail(Code::kExhausted, "webhooks.too_many",
                  fmt::format("There are {} webhooks already.", options_.webhooks_max),
                  "Delete one, or raise webhooks.webhooks_max.");
    }
    kept.cursor_seq = TM_TRY(parts_.events.append(tx, {kCreatedEvent, purpose(webhook.id), actor.name,
                                                       json::Object{{"name", webhook.name},
                                                                    {"host", host_of(webhook.url)},
                                                                    {"events", json::to_json(webhook.events)},
                                                                    {"form", enum_name(webhook.form)}}}));
    TM_CHECK(store::put(tx, kept));
    return kept.webhook;
  });
}

Result<Webhook> Webhooks::change(const access::Actor& actor, const WebhookId& id, const Change& change) {
  if (change.url) TM_CHECK(parts_.client.check(*change.url));
  return parts_.database.write([&](sql::Tx& tx) -> Result<Webhook> {
    auto kept = TM_TRY(store::find(tx, id));
    if (!kept) return unknown(id);
    Webhook& webhook = kept->webhook;
    json::Object payload = json::to_json(change).as_object();
    if (change.name) webhook.name = *change.name;
    if (change.url) payload["url"] = host_of(webhook.url = *change.url);
    if (change.events) webhook.events = *change.events;
    if (change.description) webhook.description = *change.description;
    if (change.secret) {
      payload["secret"] = true;
      kept->sealed = TM_TRY(sealed(parts_.seal, id, *change.secret));
      webhook.is_signed = !kept->sealed.empty();
    }
    const bool wakes = change.status == Status::active && webhook.status == Status::disabled;
    if (change.status) webhook.status = *change.status;
    TM_CHECK(check(webhook));
    webhook.updated_ms = parts_.clock.now_ms();
    const std::int64_t seq =
        TM_TRY(parts_.events.append(tx, {kChangedEvent, purpose(id), actor.name, std::move(payload)}));
    if (wakes) kept->cursor_seq = seq;  // what happened while it slept is not made up for
    TM_CHECK(store::put(tx, *kept));
    return webhook;
  });
}

Result<void> Webhooks::remove(const access::Actor& actor, const WebhookId& id) {
  return parts_.database.write([&](sql::Tx& tx) -> Result<void> {
    const auto kept = TM_TRY(store::find(tx, id));
    if (!kept) return unknown(id);
    TM_CHECK(store::remove(tx, id));
    TM_CHECK(
        parts_.events.append(tx, {kDeletedEvent, purpose(id), actor.name, json::Object{{"name", kept->webhook.name}}}));
    return {};
  });
}

Result<std::vector<Webhook>> Webhooks::list() {
  std::vector<Webhook> out;
  for (auto& kept : TM_TRY(parts_.database.read([](sql::Tx& tx) { return store::list(tx); }))) {
    out.push_back(std::move(kept.webhook));
  }
  return out;
}

Result<Webhook> Webhooks::get(const WebhookId& id) {
  auto kept = TM_TRY(parts_.database.read([&](sql::Tx& tx) { return store::find(tx, id); }));
  if (!kept) return unknown(id);
  return std::move(kept->webhook);
}

Result<std::vector<Delivery>> Webhooks::deliveries(const WebhookId& id, std::optional<DeliveryState> state,
                                                   std::int64_t limit) {
  if (limit < 1 || limit > kDeliveriesMax) {
    return fail(Code::kInvalidArgument, "webhooks.bad_limit", fmt::format("The limit {} is out of range.", limit),
                fmt::format("Use 1 to {}.", kDeliveriesMax));
  }
  TM_CHECK(get(id));
  return parts_.database.read([&](sql::Tx& tx) { return store::deliveries(tx, id, state, limit); });
}

Result<TestResult> Webhooks::test(const WebhookId& id, const std::string& event) {
  const auto kept = TM_TRY(parts_.database.read([&](sql::Tx& tx) { return store::find(tx, id); }));
  if (!kept) return unknown(id);
  const Translation& words = forms_.at(kept->webhook.form);
  const Message message =
      TM_TRY(words.example(event.empty() ? kept->webhook.events.front() : event, parts_.clock.now_ms()));
  const std::string secret = kept->sealed.empty() ? "" : TM_TRY(parts_.seal.open(kept->sealed, purpose(id)));
  const auto answer = send(kept->webhook, secret, generate_hex_id(), message.body, {});
  if (!answer) return TestResult{false, std::nullopt, "", answer.error().text()};
  return TestResult{answer->status < 300, answer->status, answer->body, ""};
}

}  // namespace tidemill::webhooks
