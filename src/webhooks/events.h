// Kinds of events that this room emits; the subject is "webhooks/<id>". None of them is ever delivered.
#pragma once

namespace tidemill::webhooks {

constexpr const char* kCreatedEvent = "webhooks.created";  // name, url, events, form
constexpr const char* kChangedEvent = "webhooks.changed";  // the fields that are different, the secret as true only
constexpr const char* kDeletedEvent = "webhooks.deleted";  // name
constexpr const char* kDeliveryFailedEvent = "webhooks.delivery_failed";  // delivery, event, event_seq, attempts, error

}  // namespace tidemill::webhooks
