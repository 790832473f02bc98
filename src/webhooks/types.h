// Who is told of which events, and how it went.
#pragma once

#include <boost/describe.hpp>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/enums.h"
#include "base/ids.h"
#include "base/json.h"
#include "base/outgoing.h"
#include "events/types.h"

namespace tidemill::webhooks {

struct WebhookTag {
  static constexpr const char* kNoun = "webhooks";
};
using WebhookId = Id<WebhookTag>;

enum class Status { active, disabled };
BOOST_DESCRIBE_ENUM(Status, active, disabled)

// In which words the receiver is told: our events as they are, or those of MLflow's registry.
enum class Form { tidemill, mlflow };
BOOST_DESCRIBE_ENUM(Form, tidemill, mlflow)

enum class DeliveryState { pending, delivered, failed };
BOOST_DESCRIBE_ENUM(DeliveryState, pending, delivered, failed)

// `events`: in form tidemill a kind exactly ("monitors.alerted") or, ending in '.', all that begin so ("deployments.");
// in form mlflow "registered_model.created" and the like.
struct NewWebhook {
  using json_defaults = void;
  std::string name;
  std::string url;
  std::vector<std::string> events;
  std::string description;
  std::optional<std::string> secret;  // signs what is sent; never shown again
  Status status = Status::active;
  Form form = Form::tidemill;
};
BOOST_DESCRIBE_STRUCT(NewWebhook, (), (name, url, events, description, secret, status, form))

// What is to be different; absent = as it is. An empty secret takes the signature away.
struct Change {
  using json_defaults = void;
  std::optional<std::string> name;
  std::optional<std::string> url;
  std::optional<std::vector<std::string>> events;
  std::optional<std::string> description;
  std::optional<std::string> secret;
  std::optional<Status> status;
};
BOOST_DESCRIBE_STRUCT(Change, (), (name, url, events, description, secret, status))

struct Webhook {
  WebhookId id;
  std::string name;
  std::string url;
  std::vector<std::string> events;
  std::string description;
  Status status = Status::active;
  Form form = Form::tidemill;
  bool is_signed = false;
  std::string made_by;
  std::int64_t made_ms = 0;
  std::int64_t updated_ms = 0;
};
BOOST_DESCRIBE_STRUCT(Webhook, (),
                      (id, name, url, events, description, status, form, is_signed, made_by, made_ms, updated_ms))

struct Delivery {
  std::string id;
  std::int64_t event_seq = 0;
  std::string event;
  DeliveryState state = DeliveryState::pending;
  std::int64_t attempts = 0;
  std::int64_t due_ms = 0;  // of the next attempt, while pending
  std::optional<std::int64_t> status;
  std::string error;
  std::int64_t made_ms = 0;
  std::optional<std::int64_t> settled_ms;
};
BOOST_DESCRIBE_STRUCT(Delivery, (), (id, event_seq, event, state, attempts, due_ms, status, error, made_ms, settled_ms))

// How a test went: with an answer `status` is set, without one `error`.
struct TestResult {
  bool success = false;
  std::optional<std::int64_t> status;
  std::string body;
  std::string error;
};
BOOST_DESCRIBE_STRUCT(TestResult, (), (success, status, body, error))

// An event in the words of a form.
struct Message {
  std::string event;  // as it is subscribed to
  std::string body;   // JSON
};

// What a form is to this room. Functions may be called from any thread.
struct Translation {
  // Returns nothing for an event that the form has no words for.
  std::function<Result<std::optional<Message>>(const events::Event&)> message;
  // Returns an example for a test; kInvalidArgument for an unknown name.
  std::function<Result<Message>(const std::string& event, std::int64_t at_ms)> example;
  // kInvalidArgument for what cannot be subscribed to.
  std::function<Result<void>(const std::string& event)> check;
  std::string header_prefix;  // of -Signature, -Timestamp and -Delivery-Id
};

struct Options {
  using json_defaults = void;
  std::int64_t webhooks_max = 100;
  std::int64_t attempts_max = 8;        // of one delivery; with the pauses below some 20 minutes
  std::int64_t retry_ms = 5'000;        // before the second attempt; doubles
  std::int64_t retry_ms_max = 600'000;  // also of what a Retry-After may ask for
  std::int64_t pending_max = 10'000;    // of one webhook; past it further events fail at once, and are shown as failed
  std::int64_t keep_ms = 7 * 86'400'000LL;  // settled deliveries
  int parallel_max = 4;                     // webhooks that are being sent to at the same time
};
BOOST_DESCRIBE_STRUCT(Options, (),
                      (webhooks_max, attempts_max, retry_ms, retry_ms_max, pending_max, keep_ms, parallel_max))

}  // namespace tidemill::webhooks
