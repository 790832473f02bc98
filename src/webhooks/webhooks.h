// Tells others of events: a view of the log that is sent. See README.md.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "access/seal.h"
#include "access/types.h"
#include "base/clock.h"
#include "base/outgoing.h"
#include "events/events.h"
#include "jobs/jobs.h"
#include "storage/sql/database.h"
#include "webhooks/types.h"

namespace tidemill::webhooks {

constexpr std::int64_t kDeliveriesMax = 500;  // in one list

struct Parts {
  sql::Database& database;
  events::Events& events;
  jobs::Jobs& jobs;
  const Clock& clock;
  const access::Seal& seal;
  const outgoing::Client& client;
};

// All functions may be called from any thread, those that say so only before start().
class Webhooks {
 public:
  // Makes its tables and takes over the jobs of kind webhooks.deliver. What `parts` refers to must outlive this.
  [[nodiscard]] static Result<std::unique_ptr<Webhooks>> create(Parts parts, Options options = {});
  ~Webhooks();  // stop()
  Webhooks(const Webhooks&) = delete;
  Webhooks& operator=(const Webhooks&) = delete;

  // Before start(): gives the words of a form.
  void add_form(Form form, Translation translation);

  // Keeps a webhook; it is told of events after its own webhooks.created. kInvalidArgument for a bad name, no event or
  // one that the form does not know, and what outgoing::Client::check refuses; kExhausted at webhooks_max. Resolves the
  // URL's name: may block for seconds.
  [[nodiscard]] Result<Webhook> add(const access::Actor& actor, const NewWebhook& webhook);
  [[nodiscard]] Result<Webhook> change(const access::Actor& actor, const WebhookId& id, const Change& change);
  // What was not delivered yet is dropped with it.
  [[nodiscard]] Result<void> remove(const access::Actor& actor, const WebhookId& id);
  // By name, then id.
  [[nodiscard]] Result<std::vector<Webhook>> list();
  [[nodiscard]] Result<Webhook> get(const WebhookId& id);
  // Newest first.
  [[nodiscard]] Result<std::vector<Delivery>> deliveries(const WebhookId& id, std::optional<DeliveryState> state,
                                                         std::int64_t limit = 100);

  // Sends an example of `event` (empty: of the first one that it heeds) now, once, and tells how it went. An error only
  // for an unknown webhook or event.
  [[nodiscard]] Result<TestResult> test(const WebhookId& id, const std::string& event);

  // Starts and stops turning events into deliveries; these are sent by jobs.
  void start();
  void stop();

 private:
  struct Outcome {
    DeliveryState state = DeliveryState::pending;
    std::int64_t due_ms = 0;
    std::optional<std::int64_t> status;
    std::string error;
  };

  Webhooks(Parts parts, Options options) : parts_(parts), options_(options) {}

  [[nodiscard]] Result<void> check(const Webhook& webhook) const;
  void loop();
  [[nodiscard]] Result<void> heed_events();
  [[nodiscard]] Result<void> heed_batch(const std::vector<events::Event>& batch);
  [[nodiscard]] Result<void> queue(const WebhookId& id, std::int64_t seq,
                                   const std::vector<std::pair<std::int64_t, Message>>& messages);
  // Makes a job for every webhook whose next delivery is due; returns when to look again.
  [[nodiscard]] Result<std::int64_t> wake_senders();
  [[nodiscard]] Result<json::Object> deliver(jobs::Context& context);
  [[nodiscard]] Result<outgoing::Answer> send(const Webhook& webhook, const std::string& secret,
                                              const std::string& delivery, const std::string& body,
                                              const std::function<bool()>& stop) const;
  [[nodiscard]] Outcome judge(const Result<outgoing::Answer>& answer, std::int64_t attempts) const;

  const Parts parts_;
  const Options options_;
  std::map<Form, Translation> forms_;  // constant once started

  std::atomic<bool> stopping_ = false;
  std::int64_t seen_seq_ = 0;   // of the loop: events up to this one have been looked at
  std::int64_t kept_seq_ = 0;   // of the loop: where all cursors on disk stand at least
  std::int64_t tidied_ms_ = 0;  // of the loop

  std::thread thread_;  // last: it uses all of the above
};

// Returns "v1," and the base64 of HMAC-SHA256(secret, "<delivery>.<timestamp>.<body>"), as Standard Webhooks and MLflow
// 3 have it.
[[nodiscard]] std::string signature(std::string_view secret, std::string_view delivery, std::string_view timestamp,
                                    std::string_view body);

}  // namespace tidemill::webhooks
