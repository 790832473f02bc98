#include "webhooks/webhooks.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <mutex>
#include <optional>

#include "base/files.h"

namespace tidemill::webhooks {
namespace {

// A receiver on loopback that answers with the statuses it was given, then with 200, and keeps what it was sent.
class Receiver {
 public:
  explicit Receiver(std::vector<int> statuses = {}) : statuses_(std::move(statuses)), listener_(make()) {
    thread_ = std::thread([this] { serve(); });
  }
  ~Receiver() {
    shutdown(listener_, SHUT_RDWR);
    thread_.join();
    close(listener_);
  }
  [[nodiscard]] std::string url() const { return "http://127.0.0.1:" + std::to_string(port_) + "/hook"; }
  [[nodiscard]] std::vector<std::string> requests() {
    const std::lock_guard lock(mutex_);
    return requests_;
  }

 private:
  int make() {
    const int made = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    bind(made, reinterpret_cast<sockaddr*>(&address), size);
    listen(made, 16);
    getsockname(made, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    return made;
  }
  static std::string read_request(int peer) {
    std::string request;
    char bytes[4096];
    while (true) {
      const std::size_t end = request.find("\r\n\r\n");
      const std::size_t at = request.find("Content-Length: ");
      if (end != std::string::npos && at != std::string::npos &&
          request.size() >= end + 4 + std::stoul(request.substr(at + 16))) {
        return request;
      }
      const ssize_t count = read(peer, bytes, sizeof bytes);
      if (count <= 0) return request;
      request.append(bytes, static_cast<std::size_t>(count));
    }
  }
  void serve() {
    for (std::size_t i = 0;; ++i) {
      const int peer = accept(listener_, nullptr, nullptr);
      if (peer < 0) return;
      std::string request = read_request(peer);
      {
        const std::lock_guard lock(mutex_);
        requests_.push_back(std::move(request));
      }
      const std::string reply = "HTTP/1.1 " + std::to_string(i < statuses_.size() ? statuses_[i] : 200) +
                                " X\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
      [[maybe_unused]] const ssize_t sent = write(peer, reply.data(), reply.size());
      close(peer);
    }
  }

  const std::vector<int> statuses_;
  int port_ = 0;
  const int listener_;
  std::mutex mutex_;
  std::vector<std::string> requests_;  // guarded by mutex_
  std::thread thread_;
};

std::string header_of(const std::string& request, const std::string& name) {
  const std::size_t at = request.find("\r\n" + name + ": ");
  if (at == std::string::npos) return "";
  const std::size_t begin = at + name.size() + 4;
  return request.substr(begin, request.find("\r\n", begin) - begin);
}

std::string body_of(const std::string& request) { return request.substr(request.find("\r\n\r\n") + 4); }

class WebhooksTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_.emplace(TemporaryFolder::create().value());
    options_.retry_ms = 1'000;
    open();
  }
  void TearDown() override { close(); }

  // A life of the server.
  void open() {
    database_ = sql::Database::open(folder_->path() / "db").value();
    events_ = events::Events::create(*database_, clock_).value();
    jobs_ = jobs::Jobs::create(*database_, *events_, clock_).value();
    seal_.emplace(access::Seal::create(folder_->path() / "key").value());
    client_.emplace(outgoing::Client::create({.plain_http = true, .allowed_networks = {"127.0.0.0/8"}}).value());
    auto made = Webhooks::create({*database_, *events_, *jobs_, clock_, *seal_, *client_}, options_);
    ASSERT_TRUE(made) << made.error().text();
    webhooks_ = *std::move(made);
  }
  void start() {
    jobs_->start();
    webhooks_->start();
  }
  void close() {
    if (events_) events_->close();
    webhooks_->stop();
    jobs_->stop();
    webhooks_.reset();
    jobs_.reset();
    events_.reset();
    database_.reset();
  }

  void emit(const std::string& kind, json::Object payload = {}) {
    ASSERT_TRUE(database_->write([&](sql::Tx& tx) { return events_->append(tx, {kind, "things/1", "ann", payload}); }));
  }
  Webhook add(const std::string& url, std::vector<std::string> kinds = {"monitors."}) {
    return webhooks_->add(actor_, {"hook", url, std::move(kinds), "", "s3cret", Status::active, Form::tidemill})
        .value();
  }
  std::vector<Delivery> deliveries(const Webhook& webhook) {
    return webhooks_->deliveries(webhook.id, std::nullopt).value();
  }
  template <class F>
  void await_that(F&& condition) {
    for (int i = 0; i < 2'000 && !condition(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    EXPECT_TRUE(condition());
  }
  void await_attempts(const Webhook& webhook, std::int64_t attempts) {
    await_that([&] {
      const auto all = deliveries(webhook);
      return !all.empty() && all.back().attempts == attempts;
    });
  }

  const access::Actor actor_{"ann", {access::Role::admin}};
  std::optional<TemporaryFolder> folder_;
  FakeClock clock_;
  Options options_;
  std::unique_ptr<sql::Database> database_;
  std::unique_ptr<events::Events> events_;
  std::unique_ptr<jobs::Jobs> jobs_;
  std::optional<access::Seal> seal_;
  std::optional<outgoing::Client> client_;
  std::unique_ptr<Webhooks> webhooks_;
};

TEST_F(WebhooksTest, SendsWhatIsHeededSignedAndInOrder) {
  Receiver receiver;
  const Webhook webhook = add(receiver.url());
  start();
  emit("monitors.alerted", {{"metric", "psi"}});
  emit("datasets.created");
  emit("monitors.created");
  await_that([&] { return receiver.requests().size() == 2; });
  const auto requests = receiver.requests();
  const auto event = json::decode<events::Event>(body_of(requests[0])).value();
  EXPECT_EQ(event.kind, "monitors.alerted");
  EXPECT_EQ(event.payload.at("metric"), "psi");
  EXPECT_EQ(json::decode<events::Event>(body_of(requests[1])).value().kind, "monitors.created");
  const std::string id = header_of(requests[0], "X-Tidemill-Delivery-Id");
  const std::string at = header_of(requests[0], "X-Tidemill-Timestamp");
  EXPECT_EQ(at, std::to_string(clock_.now_ms() / 1'000));
  EXPECT_EQ(header_of(requests[0], "X-Tidemill-Signature"), signature("s3cret", id, at, body_of(requests[0])));
  await_that([&] { return deliveries(webhook).front().state == DeliveryState::delivered; });
  EXPECT_EQ(deliveries(webhook).back().id, id);
}

// Computed with Python: hmac.new(b"secret", b"id.1700000000.{}", "sha256").
TEST(Signature, IsThatOfStandardWebhooks) {
  EXPECT_EQ(signature("secret", "id", "1700000000", "{}"), "v1,GBemBzTgbKoVEGKycqyY3615LbdJbhFLE1oQk+zZ+lo=");
}

TEST_F(WebhooksTest, TriesAgainWithGrowingPausesUnderTheSameId) {
  Receiver receiver({503, 429, 200});
  const Webhook webhook = add(receiver.url());
  start();
  emit("monitors.alerted");
  await_attempts(webhook, 1);
  EXPECT_EQ(deliveries(webhook)[0].state, DeliveryState::pending);
  EXPECT_EQ(deliveries(webhook)[0].status, 503);
  EXPECT_EQ(deliveries(webhook)[0].due_ms, clock_.now_ms() + 1'000);
  clock_.advance_ms(1'000);
  await_attempts(webhook, 2);
  EXPECT_EQ(deliveries(webhook)[0].due_ms, clock_.now_ms() + 2'000);
  clock_.advance_ms(2'000);
  await_attempts(webhook, 3);
  EXPECT_EQ(deliveries(webhook)[0].state, DeliveryState::delivered);
  const auto requests = receiver.requests();
  ASSERT_EQ(requests.size(), 3U);
  EXPECT_EQ(header_of(requests[0], "X-Tidemill-Delivery-Id"), header_of(requests[2], "X-Tidemill-Delivery-Id"));
}

TEST_F(WebhooksTest, GivesUpAfterTheLastAttemptAndSaysSo) {
  TearDown();
  options_.attempts_max = 2;
  open();
  Receiver receiver({500, 500});
  const Webhook webhook = add(receiver.url());
  start();
  emit("monitors.alerted");
  await_attempts(webhook, 1);
  clock_.advance_ms(1'000);
  await_attempts(webhook, 2);
  EXPECT_EQ(deliveries(webhook)[0].state, DeliveryState::failed);
  const auto said = events_->read({.kind_prefix = "webhooks.delivery_failed"}).value();
  ASSERT_EQ(said.size(), 1U);
  EXPECT_EQ(said[0].payload.at("attempts"), 2);
}

TEST_F(WebhooksTest, WhatWillNotChangeIsNotTriedAgain) {
  Receiver receiver({400, 302});
  const Webhook webhook = add(receiver.url());
  start();
  emit("monitors.alerted");
  emit("monitors.alerted");
  await_that([&] { return deliveries(webhook).size() == 2 && deliveries(webhook)[0].attempts == 1; });
  for (const Delivery& delivery : deliveries(webhook)) EXPECT_EQ(delivery.state, DeliveryState::failed);
}

TEST_F(WebhooksTest, AReceiverThatIsDownHoldsUpNobodyAndARestartLosesNothing) {
  std::string url;
  {
    const Receiver gone;
    url = gone.url();
  }
  const Webhook webhook = add(url);
  Receiver alive;
  const Webhook other = add(alive.url());
  start();
  emit("monitors.alerted");
  await_attempts(webhook, 1);
  await_that([&] { return alive.requests().size() == 1; });
  EXPECT_EQ(deliveries(webhook)[0].state, DeliveryState::pending);
  close();
  open();
  emit("monitors.created");  // before the loop runs
  start();
  await_that([&] { return alive.requests().size() == 2; });
  EXPECT_EQ(deliveries(webhook).size(), 2U);
  EXPECT_EQ(deliveries(webhook).back().attempts, 1);
  EXPECT_EQ(deliveries(other).size(), 2U);
}

TEST_F(WebhooksTest, TooManyWaitingFailAtOnce) {
  TearDown();
  options_.pending_max = 2;
  open();
  std::string url;
  {
    const Receiver gone;
    url = gone.url();
  }
  const Webhook webhook = add(url);
  webhooks_->start();  // but no jobs: nothing is sent
  for (int i = 0; i < 3; ++i) emit("monitors.alerted");
  await_that([&] { return deliveries(webhook).size() == 3; });
  const auto all = deliveries(webhook);
  EXPECT_EQ(all[0].state, DeliveryState::failed);
  EXPECT_EQ(all[1].state, DeliveryState::pending);
  EXPECT_EQ(all[2].state, DeliveryState::pending);
}

TEST_F(WebhooksTest, ADisabledOneMissesWhatHappens) {
  Receiver receiver;
  const Webhook webhook = add(receiver.url());
  ASSERT_TRUE(webhooks_->change(actor_, webhook.id, {.status = Status::disabled}));
  start();
  emit("monitors.alerted");
  std::this_thread::sleep_for(std::chrono::milliseconds(600));
  ASSERT_TRUE(webhooks_->change(actor_, webhook.id, {.status = Status::active}));
  emit("monitors.created");
  await_that([&] { return receiver.requests().size() == 1; });
  EXPECT_EQ(deliveries(webhook).size(), 1U);
  EXPECT_EQ(deliveries(webhook)[0].event, "monitors.created");
}

TEST_F(WebhooksTest, TheSecretStandsNowhereInTheClear) {
  Receiver receiver;
  const Webhook webhook = add(receiver.url());
  EXPECT_TRUE(webhook.is_signed);
  EXPECT_EQ(json::encode(webhook).find("s3cret"), std::string::npos);
  ASSERT_TRUE(webhooks_->change(actor_, webhook.id, {.secret = "other-s3cret"}));
  const auto all = events_->read({}).value();
  for (const auto& event : all) {
    EXPECT_EQ(json::encode(event).find("s3cret"), std::string::npos);
    EXPECT_EQ(json::encode(event).find("/hook"), std::string::npos);
  }
  const auto copy = folder_->path() / "copy.db";
  ASSERT_TRUE(database_->backup(copy));
  EXPECT_EQ(read_file(copy, 64u << 20).value().find("s3cret"), std::string::npos);
  ASSERT_TRUE(webhooks_->change(actor_, webhook.id, {.secret = ""}));
  EXPECT_FALSE(webhooks_->get(webhook.id).value().is_signed);
}

TEST_F(WebhooksTest, ATestTellsHowItWent) {
  Receiver receiver({200, 404});
  const Webhook webhook = add(receiver.url());
  const auto good = webhooks_->test(webhook.id, "").value();
  EXPECT_TRUE(good.success);
  EXPECT_EQ(good.status, 200);
  EXPECT_EQ(good.body, "ok");
  EXPECT_FALSE(webhooks_->test(webhook.id, "monitors.alerted").value().success);
  EXPECT_TRUE(deliveries(webhook).empty());
}

TEST_F(WebhooksTest, WhatCannotBeHeededIsRefused) {
  Receiver receiver;
  const auto refused = [&](NewWebhook webhook) {
    const auto made = webhooks_->add(actor_, webhook);
    return made ? std::string("nothing") : made.error().reason;
  };
  const NewWebhook good{"hook", receiver.url(), {"monitors.alerted"}, "", {}, Status::active, Form::tidemill};
  for (const char* event : {"", "monitors", ".", "webhooks.created", "webhooks.", "Monitors.x", "a b.c"}) {
    NewWebhook bad = good;
    bad.events = {event};
    EXPECT_EQ(refused(bad), "webhooks.bad_event") << event;
  }
  NewWebhook bad = good;
  bad.events = {};
  EXPECT_EQ(refused(bad), "webhooks.events");
  bad = good;
  bad.url = "http://10.0.0.1/";
  EXPECT_EQ(refused(bad), "outgoing.refused_address");
  bad = good;
  bad.form = Form::mlflow;  // nobody gave its words
  EXPECT_EQ(refused(bad), "webhooks.no_form");
  bad = good;
  bad.secret = std::string(1'025, 'x');
  EXPECT_EQ(refused(bad), "webhooks.long_secret");
  const Webhook known = webhooks_->add(actor_, good).value();
  EXPECT_FALSE(webhooks_->change(actor_, known.id, {.url = "http://169.254.169.254/"}));
  EXPECT_EQ(webhooks_->get(known.id).value().url, receiver.url());
  ASSERT_TRUE(webhooks_->remove(actor_, known.id));
  EXPECT_EQ(webhooks_->remove(actor_, known.id).error().code, Code::kNotFound);
}

TEST_F(WebhooksTest, ThereIsALimitToTheirNumber) {
  TearDown();
  options_.webhooks_max = 2;
  open();
  Receiver receiver;
  add(receiver.url());
  add(receiver.url());
  const auto third = webhooks_->add(actor_, {"hook", receiver.url(), {"monitors."}, "", {}, Status::active, {}});
  ASSERT_FALSE(third);
  EXPECT_EQ(third.error().reason, "webhooks.too_many");
}

}  // namespace
}  // namespace tidemill::webhooks
