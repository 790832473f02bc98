#include "events/events.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>

#include "base/clock.h"
#include "base/files.h"
#include "storage/sql/database.h"

namespace tidemill::events {
namespace {

constexpr sql::Query kDropGuards{"test.drop_update_guard", "DROP TRIGGER events_never_updated"};
constexpr sql::Query kDropDeleteGuard{"test.drop_delete_guard", "DROP TRIGGER events_never_deleted"};

class EventsTest : public testing::Test {
 protected:
  void SetUp() override {
    database_ = sql::Database::open(folder_.path() / "test.db").value();
    events_ = Events::create(*database_, clock_).value();
  }

  std::int64_t append(const std::string& kind, const std::string& subject = "runs/a") {
    return database_
        ->write([&](sql::Tx& tx) {
          return events_->append(tx, {kind, subject, "ann", json::Object{{"n", 1}}});
        })
        .value();
  }

  Result<std::int64_t> change(const sql::Query& query) {
    return database_->write([&](sql::Tx& tx) { return tx.exec(query); });
  }

  TemporaryFolder folder_ = TemporaryFolder::create().value();
  FakeClock clock_;
  std::unique_ptr<sql::Database> database_;
  std::unique_ptr<Events> events_;
};

TEST_F(EventsTest, NumbersWithoutGapAndChains) {
  EXPECT_EQ(append("runs.started"), 1);
  EXPECT_EQ(append("runs.finished"), 2);
  const auto events = events_->read(Filter{}).value();
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[1].prev_hash, events[0].hash);
  EXPECT_EQ(events[0].payload.at("n").as_int64(), 1);
  const auto verdict = events_->verify().value();
  EXPECT_TRUE(verdict.ok);
  EXPECT_EQ(verdict.events, 2);
  EXPECT_EQ(verdict.head_hash, events[1].hash);
}

TEST_F(EventsTest, AnUndoneFactLeavesNoEvent) {
  const auto undone = database_->write([&](sql::Tx& tx) -> Result<void> {
    TM_CHECK(events_->append(tx, {"runs.started", "runs/a", "ann", {}}));
    return fail(Code::kConflict, "test.undone", "Undone.");
  });
  EXPECT_FALSE(undone);
  EXPECT_EQ(append("runs.started"), 1);
}

TEST_F(EventsTest, FiltersByPrefixes) {
  append("runs.started", "runs/a");
  append("runs.finished", "runs/ab");
  append("models.approved", "models/m/1");
  Filter filter;
  filter.kind_prefix = "runs.";
  EXPECT_EQ(events_->read(filter).value().size(), 2u);
  filter.subject_prefix = "runs/ab";
  EXPECT_EQ(events_->read(filter).value().size(), 1u);
  Filter newest{.limit = 1, .newest_first = true};
  EXPECT_EQ(events_->read(newest).value().at(0).kind, "models.approved");
  EXPECT_EQ(events_->read(Filter{.limit = 0}).error().code, Code::kInvalidArgument);
  EXPECT_EQ(events_->read(Filter{.limit = kReadMax + 1}).error().code, Code::kInvalidArgument);
}

TEST_F(EventsTest, TheTableRefusesChanges) {
  append("runs.started");
  EXPECT_FALSE(change({"test.update", "UPDATE events SET actor = 'eve'"}));
  EXPECT_FALSE(change({"test.delete", "DELETE FROM events"}));
  EXPECT_TRUE(events_->verify().value().ok);
}

struct Tampering {
  const char* name;
  sql::Query query;
  std::int64_t broken_seq;
};

class EventsTampering : public EventsTest, public testing::WithParamInterface<Tampering> {};

TEST_P(EventsTampering, IsFoundAtItsPlace) {
  for (int i = 0; i < 5; ++i) append("runs.started");
  ASSERT_TRUE(change(kDropGuards));
  ASSERT_TRUE(change(kDropDeleteGuard));
  ASSERT_TRUE(change(GetParam().query));
  const auto verdict = events_->verify().value();
  EXPECT_FALSE(verdict.ok);
  EXPECT_EQ(verdict.broken_seq, GetParam().broken_seq);
}

INSTANTIATE_TEST_SUITE_P(
    All, EventsTampering,
    testing::Values(Tampering{"actor", {"t.actor", "UPDATE events SET actor = 'eve' WHERE seq = 3"}, 3},
                    Tampering{"payload", {"t.payload", "UPDATE events SET payload = '{\"n\":2}' WHERE seq = 2"}, 2},
                    Tampering{"time", {"t.time", "UPDATE events SET at_ms = at_ms + 1 WHERE seq = 5"}, 5},
                    Tampering{"hash", {"t.hash", "UPDATE events SET hash = prev_hash WHERE seq = 4"}, 4},
                    Tampering{"first", {"t.first", "DELETE FROM events WHERE seq = 1"}, 1},
                    Tampering{"middle", {"t.middle", "DELETE FROM events WHERE seq = 3"}, 3},
                    Tampering{"renumbered", {"t.renumbered", "UPDATE events SET seq = 9 WHERE seq = 3"}, 3}),
    [](const auto& info) { return std::string(info.param.name); });

TEST_F(EventsTest, ACutTailShowsInTheHead) {
  for (int i = 0; i < 3; ++i) append("runs.started");
  const std::string head = events_->verify().value().head_hash;
  ASSERT_TRUE(change(kDropDeleteGuard));
  ASSERT_TRUE(change({"test.cut", "DELETE FROM events WHERE seq = 3"}));
  EXPECT_NE(events_->verify().value().head_hash, head);
}

TEST_F(EventsTest, RefusesAHugePayload) {
  const auto refused = database_->write([&](sql::Tx& tx) {
    return events_->append(tx,
                           {"runs.started", "runs/a", "ann", json::Object{{"x", std::string(kPayloadBytesMax, 'x')}}});
  });
  EXPECT_EQ(refused.error().code, Code::kTooLarge);
}

TEST_F(EventsTest, WakesWaitersAfterTheCommit) {
  std::thread writer([&] { append("runs.started"); });
  EXPECT_EQ(events_->wait_past(0, 10'000), 1);
  writer.join();
  events_->close();
  EXPECT_EQ(events_->wait_past(1, 10'000), 1);  // returns at once after close
}

TEST_F(EventsTest, ContinuesTheChainAfterAReopen) {
  append("runs.started");
  events_.reset();
  database_.reset();
  SetUp();
  EXPECT_EQ(append("runs.finished"), 2);
  EXPECT_TRUE(events_->verify().value().ok);
}

}  // namespace
}  // namespace tidemill::events
