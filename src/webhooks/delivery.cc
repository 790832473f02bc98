// From events to deliveries, and from these to the receivers.
#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <array>

#include "base/base64.h"
#include "base/log.h"
#include "base/text.h"
#include "webhooks/events.h"
#include "webhooks/store.h"
#include "webhooks/webhooks.h"

namespace tidemill::webhooks {
namespace {

constexpr std::int64_t kLookMs = 250;  // how late an attempt may be
constexpr std::int64_t kAfterErrorMs = 1'000;
constexpr std::int64_t kCursorLagMax = 1'000;  // events that a restart may have to look at again
constexpr std::int64_t kTidyMs = 600'000;
constexpr std::size_t kErrorBytesMax = 500;

bool heeds(const Webhook& webhook, const std::string& event) {
  return std::ranges::any_of(webhook.events, [&](const std::string& wanted) {
    return wanted.ends_with('.') ? event.starts_with(wanted) : event == wanted;
  });
}

// A 3xx leads elsewhere, which is not followed; other 4xx will be the same the next time.
bool may_change(int status) { return status == 408 || status == 425 || status == 429 || status >= 500; }

}  // namespace

std::string signature(std::string_view secret, std::string_view delivery, std::string_view timestamp,
                      std::string_view body) {
  const std::string text = fmt::format("{}.{}.{}", delivery, timestamp, body);
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int size = 0;
  HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()),
       reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data(), &size);
  return "v1," + encode_base64({reinterpret_cast<const char*>(digest.data()), size});
}

Result<void> Webhooks::queue(const WebhookId& id, std::int64_t seq,
                             const std::vector<std::pair<std::int64_t, Message>>& messages) {
  return parts_.database.write([&](sql::Tx& tx) -> Result<void> {
    const auto kept = TM_TRY(store::find(tx, id));
    if (!kept || kept->webhook.status == Status::disabled) return {};  // changed meanwhile
    std::int64_t pending = TM_TRY(store::count_pending(tx, id));
    const std::int64_t now_ms = parts_.clock.now_ms();
    for (const auto& [event_seq, message] : messages) {
      if (event_seq <= kept->cursor_seq) continue;
      store::Due due{{generate_hex_id(), event_seq, message.event, {}, 0, now_ms, {}, "", now_ms, {}}, message.body};
      if (++pending > options_.pending_max) {
        due.delivery.state = DeliveryState::failed;
        due.delivery.error = fmt::format("{} deliveries were waiting already.", options_.pending_max);
        due.delivery.settled_ms = now_ms;
      }
      TM_CHECK(store::add_delivery(tx, id, due));
    }
    return seq > kept->cursor_seq ? store::move_cursor(tx, id, seq) : Result<void>();
  });
}

Result<void> Webhooks::heed_batch(const std::vector<events::Event>& batch) {
  for (const auto& kept : TM_TRY(parts_.database.read([](sql::Tx& tx) { return store::list(tx); }))) {
    const auto words = forms_.find(kept.webhook.form);
    if (kept.webhook.status == Status::disabled || words == forms_.end()) continue;
    std::vector<std::pair<std::int64_t, Message>> messages;
    for (const events::Event& event : batch) {
      // Its own events would make further ones for ever.
      if (event.seq <= kept.cursor_seq || event.kind.starts_with("webhooks.")) continue;
      auto message = TM_TRY(words->second.message(event));
      if (message && heeds(kept.webhook, message->event)) messages.emplace_back(event.seq, *std::move(message));
    }
    if (!messages.empty()) TM_CHECK(queue(kept.webhook.id, batch.back().seq, messages));
  }
  return {};
}

Result<void> Webhooks::heed_events() {
  while (!stopping_.load()) {
    const auto batch = TM_TRY(parts_.events.read(
        {.after_seq = seen_seq_, .kind_prefix = "", .subject_prefix = "", .limit = events::kReadMax}));
    if (batch.empty()) return {};
    TM_CHECK(heed_batch(batch));
    seen_seq_ = batch.back().seq;
    if (seen_seq_ - kept_seq_ < kCursorLagMax) continue;
    TM_CHECK(parts_.database.write([&](sql::Tx& tx) { return store::move_cursors(tx, seen_seq_); }));
    kept_seq_ = seen_seq_;
  }
  return {};
}

Result<std::int64_t> Webhooks::wake_senders() {
  const std::int64_t now_ms = parts_.clock.now_ms();
  std::int64_t wait_ms = kLookMs;
  for (const Webhook& webhook : TM_TRY(list())) {
    if (webhook.status == Status::disabled) continue;
    const auto next = TM_TRY(parts_.database.read([&](sql::Tx& tx) { return store::next(tx, webhook.id); }));
    if (!next) continue;
    if (next->delivery.due_ms > now_ms) {
      wait_ms = std::min(wait_ms, next->delivery.due_ms - now_ms);
      continue;
    }
    const auto made = parts_.database.write([&](sql::Tx& tx) {
      return parts_.jobs.enqueue(
          tx, {.kind = "webhooks.deliver", .key = webhook.id.str(), .payload = {{"webhook", webhook.id.str()}}});
    });
    // Somebody is at it already, or the queue is full: then at the next look.
    if (!made && made.error().code != Code::kAlreadyExists && made.error().code != Code::kExhausted) {
      return std::unexpected(made.error());
    }
  }
  if (now_ms - tidied_ms_ >= kTidyMs) {
    tidied_ms_ = now_ms;
    TM_CHECK(parts_.database.write([&](sql::Tx& tx) { return store::tidy(tx, now_ms - options_.keep_ms); }));
  }
  return wait_ms;
}

void Webhooks::loop() {
  while (!stopping_.load()) {
    const auto heeded = heed_events();
    const auto wait_ms = heeded ? wake_senders() : Result<std::int64_t>(std::unexpected(heeded.error()));
    if (wait_ms) {
      [[maybe_unused]] const std::int64_t head = parts_.events.wait_past(seen_seq_, *wait_ms);
      continue;
    }
    log::warn("webhooks", "could not deal with events", {{"cause", wait_ms.error().text()}});
    for (std::int64_t waited_ms = 0; waited_ms < kAfterErrorMs && !stopping_.load(); waited_ms += 20) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  }
}

void Webhooks::start() {
  stopping_ = false;
  thread_ = std::thread([this] { loop(); });
}

void Webhooks::stop() {
  stopping_ = true;
  if (thread_.joinable()) thread_.join();
}

Result<outgoing::Answer> Webhooks::send(const Webhook& webhook, const std::string& secret, const std::string& delivery,
                                        const std::string& body, const std::function<bool()>& stop) const {
  const std::string timestamp = std::to_string(parts_.clock.now_ms() / 1'000);
  const std::string& prefix = forms_.at(webhook.form).header_prefix;
  outgoing::Headers headers{{"Content-Type", "application/json"},
                            {"User-Agent", "tidemill"},
                            {prefix + "-Delivery-Id", delivery},
                            {prefix + "-Timestamp", timestamp}};
  if (!secret.empty()) headers.emplace_back(prefix + "-Signature", signature(secret, delivery, timestamp, body));
  return parts_.client.post(webhook.url, headers, body, stop);
}

Webhooks::Outcome Webhooks::judge(const Result<outgoing::Answer>& answer, std::int64_t attempts) const {
  Outcome outcome;
  if (answer) outcome.status = answer->status;
  if (answer && answer->status >= 200 && answer->status < 300) {
    outcome.state = DeliveryState::delivered;
    return outcome;
  }
  outcome.error = printable_utf8(answer ? answer->body : answer.error().message, kErrorBytesMax);
  const bool again = answer ? may_change(answer->status) : answer.error().code == Code::kUnavailable;
  if (!again || attempts >= options_.attempts_max) {
    outcome.state = DeliveryState::failed;
    return outcome;
  }
  std::int64_t pause_ms = options_.retry_ms;
  for (std::int64_t i = 1; i < attempts && pause_ms < options_.retry_ms_max; ++i) pause_ms *= 2;
  if (answer) pause_ms = std::max(pause_ms, std::min<std::int64_t>(answer->retry_after_s, 86'400) * 1'000);
  outcome.due_ms = parts_.clock.now_ms() + std::min(pause_ms, options_.retry_ms_max);
  return outcome;
}

// Sends what is due to one webhook, oldest first, until nothing is. The answer is kept only while this still holds the
// job, so a delivery may be sent twice but is settled once.
Result<json::Object> Webhooks::deliver(jobs::Context& context) {
  const WebhookId id = WebhookId::trusted(std::string(context.job().payload.at("webhook").as_string()));
  const auto stop = [&] { return context.stopping() || context.cancelled(); };
  std::int64_t sent = 0;
  while (true) {
    if (context.stopping()) return fail(jobs::Context::interrupted());
    const auto kept = TM_TRY(parts_.database.read([&](sql::Tx& tx) { return store::find(tx, id); }));
    if (!kept || kept->webhook.status == Status::disabled || context.cancelled()) break;
    const auto next = TM_TRY(parts_.database.read([&](sql::Tx& tx) { return store::next(tx, id); }));
    if (!next || next->delivery.due_ms > parts_.clock.now_ms()) break;
    const auto secret =
        kept->sealed.empty() ? Result<std::string>("") : parts_.seal.open(kept->sealed, "webhooks/" + id.str());
    const auto answer = secret ? send(kept->webhook, *secret, next->delivery.id, next->body, stop)
                               : Result<outgoing::Answer>(std::unexpected(secret.error()));
    if (!answer && stop()) continue;  // it was us who broke it off
    Delivery delivery = next->delivery;
    const Outcome outcome = judge(answer, ++delivery.attempts);
    delivery.state = outcome.state;
    delivery.due_ms = outcome.due_ms;
    delivery.status = outcome.status;
    delivery.error = outcome.error;
    if (outcome.state != DeliveryState::pending) delivery.settled_ms = parts_.clock.now_ms();
    TM_CHECK(parts_.database.write([&](sql::Tx& tx) -> Result<void> {
      TM_CHECK(context.check(tx));
      TM_CHECK(store::settle(tx, delivery));
      if (delivery.state != DeliveryState::failed) return {};
      TM_CHECK(parts_.events.append(tx, {kDeliveryFailedEvent, "webhooks/" + id.str(), "system",
                                         json::Object{{"delivery", delivery.id},
                                                      {"event", delivery.event},
                                                      {"event_seq", delivery.event_seq},
                                                      {"attempts", delivery.attempts},
                                                      {"error", delivery.error}}}));
      return {};
    }));
    ++sent;
  }
  return json::Object{{"sent", sent}};
}

}  // namespace tidemill::webhooks
