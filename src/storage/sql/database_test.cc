#include "storage/sql/database.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <latch>
#include <string>
#include <thread>
#include <vector>

#include "base/files.h"

namespace tidemill::sql {
namespace {

constexpr std::string_view kSteps = R"(-- A table for tests.
-- step 1
CREATE TABLE points (id INTEGER PRIMARY KEY, name TEXT UNIQUE, value REAL, note TEXT CHECK (note <> 'bad'));
)";
constexpr Query kInsert{"points.insert", "INSERT INTO points (name, value, note) VALUES (?1, ?2, ?3)"};
constexpr Query kCount{"points.count", "SELECT count(*) FROM points"};
constexpr Query kNames{"points.names", "SELECT name FROM points ORDER BY id"};

class DatabaseTest : public testing::Test {
 protected:
  void SetUp() override { reopen(); }
  void reopen() {
    database_.reset();
    database_ = Database::open(folder_.path() / "test.db").value();
    ASSERT_TRUE(database_->migrate("points", kSteps));
  }
  Result<std::int64_t> insert(const std::string& name, double value = 1, std::optional<std::string> note = {}) {
    return database_->write([&](Tx& tx) { return tx.exec(kInsert, name, value, note); });
  }
  std::int64_t count() {
    return database_->read([](Tx& tx) { return tx.integer(kCount, -1); }).value();
  }

  TemporaryFolder folder_ = TemporaryFolder::create().value();
  std::unique_ptr<Database> database_;
};

TEST_F(DatabaseTest, KeepsWhatItAcknowledged) {
  EXPECT_EQ(insert("a").value(), 1);
  reopen();
  EXPECT_EQ(count(), 1);
}

TEST_F(DatabaseTest, NamesTheKindOfRefusal) {
  ASSERT_TRUE(insert("a"));
  EXPECT_EQ(insert("a").error().code, Code::kAlreadyExists);
  EXPECT_EQ(insert("b", 1, "bad").error().reason, "sql.constraint");
  EXPECT_EQ(count(), 1);
  const auto broken = database_->read([](Tx& tx) { return tx.integer({"points.broken", "SELECT nothing"}, 0); });
  EXPECT_NE(broken.error().message.find("points.broken"), std::string::npos);
}

TEST_F(DatabaseTest, UndoesAllOfAFailedWriteAndNothingElse) {
  std::vector<std::thread> threads;
  std::latch together(40);
  std::atomic<int> failed = 0;
  for (int i = 0; i < 40; ++i) {
    threads.emplace_back([&, i] {
      together.arrive_and_wait();
      const auto result = database_->write([&](Tx& tx) -> Result<void> {
        TM_CHECK(tx.exec(kInsert, std::to_string(i), 1.0, std::optional<std::string>()));
        TM_CHECK(tx.exec(kInsert, std::to_string(i) + "b", 1.0, std::optional<std::string>()));
        if (i % 4 == 0) return fail(Code::kConflict, "test.no", "No.");
        return {};
      });
      if (!result) ++failed;
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(failed, 10);
  EXPECT_EQ(count(), 60);
}

TEST_F(DatabaseTest, UndoesAWriteThatThrows) {
  const auto result = database_->write([&](Tx& tx) -> Result<void> {
    TM_CHECK(tx.exec(kInsert, "a", 1.0, std::optional<std::string>()));
    throw std::runtime_error("boom");
  });
  EXPECT_EQ(result.error().code, Code::kInternal);
  EXPECT_EQ(count(), 0);
}

TEST_F(DatabaseTest, CallsBackOnlyAfterACommit) {
  int called = 0;
  ASSERT_TRUE(database_->write([&](Tx& tx) -> Result<void> {
    tx.after_commit([&] { ++called; });
    return {};
  }));
  const auto undone = database_->write([&](Tx& tx) -> Result<void> {
    tx.after_commit([&] { ++called; });
    return fail(Code::kConflict, "test.no", "No.");
  });
  EXPECT_FALSE(undone);
  EXPECT_EQ(called, 1);
}

TEST_F(DatabaseTest, AReaderCannotWrite) {
  const auto refused =
      database_->read([&](Tx& tx) { return tx.exec(kInsert, "a", 1.0, std::optional<std::string>()); });
  EXPECT_FALSE(refused);
  EXPECT_EQ(count(), 0);
}

TEST_F(DatabaseTest, RefusesAWriteWithinAWrite) {
  const auto result = database_->write([&](Tx&) { return insert("inner"); });
  EXPECT_EQ(result.error().reason, "sql.nested_write");
}

TEST_F(DatabaseTest, ABlockedWriterMakesTheQueueSayFull) {
  database_.reset();
  database_ = Database::open(folder_.path() / "small.db", Options{.waiting_max = 2}).value();
  std::latch entered(1);
  std::latch release(1);
  std::thread blocker([&] {
    const auto blocked = database_->write([&](Tx&) -> Result<void> {
      entered.count_down();
      release.wait();
      return {};
    });
    EXPECT_TRUE(blocked);
  });
  entered.wait();
  std::atomic<int> full = 0;
  std::atomic<int> done = 0;
  for (int i = 0; i < 3; ++i) {
    database_->write_async([](Tx&) -> Result<void> { return {}; },
                           [&](Result<void> result) { (result ? done : full) += 1; });
  }
  EXPECT_EQ(full, 1);  // two wait, the third is told
  release.count_down();
  blocker.join();
  database_.reset();  // finishes what was queued
  EXPECT_EQ(done, 2);
}

TEST_F(DatabaseTest, BindsAndReadsEveryType) {
  const std::string text("nul\0inside and 汉字", 19);
  ASSERT_TRUE(insert(text, -0.0));
  const auto name =
      database_->read([](Tx& tx) { return tx.one<std::string>(kNames, [](const Row& row) { return row.string(0); }); });
  EXPECT_EQ(name.value().value(), text);
  const auto sign = database_->read([](Tx& tx) {
    return tx.one<double>({"points.value", "SELECT value FROM points"}, [](const Row& row) { return row.real(0); });
  });
  EXPECT_EQ(sign.value().value(), 0.0);
  const auto blob = database_->read([](Tx& tx) {
    return tx.one<std::string>(
        {"points.blob", "SELECT ?1"}, [](const Row& row) { return std::string(row.blob(0)); },
        Blob{std::string("\x00\xFF", 2)});
  });
  EXPECT_EQ(blob.value().value(), std::string("\x00\xFF", 2));
}

TEST_F(DatabaseTest, PreparesTextMadeAtRunTimeAnewEachTime) {
  ASSERT_TRUE(insert("a", 1.5));
  for (const char* column : {"name", "value"}) {  // both texts may come to lie at the same address
    const std::string text =
        std::string("SELECT ") + column + " FROM points WHERE name = ?1 AND value < ?2 AND ?3 IS NULL";
    const auto found = database_->read([&](Tx& tx) {
      return tx.one<std::string>(
          {"points.made", text.c_str(), false}, [](const Row& row) { return row.string(0); },
          Values{std::string("a"), 2.0, std::monostate()});
    });
    EXPECT_EQ(found.value().value(), std::string(column) == "name" ? "a" : "1.5");
  }
}

TEST_F(DatabaseTest, AppendsStepsAndRefusesChangedOnes) {
  const std::string more = std::string(kSteps) + "-- step 2\nALTER TABLE points ADD COLUMN extra TEXT;\n";
  EXPECT_TRUE(database_->migrate("points", more));
  EXPECT_TRUE(database_->migrate("points", more));
  EXPECT_EQ(database_->migrate("points", kSteps).error().reason, "sql.newer_schema");
  EXPECT_EQ(database_->migrate("points", "-- step 1\nCREATE TABLE other (x);\n-- step 2\nSELECT 1;\n").error().reason,
            "sql.step_changed");
  EXPECT_EQ(database_->migrate("odd", "-- step 2\nSELECT 1;\n").error().reason, "sql.steps_out_of_order");
}

TEST_F(DatabaseTest, AFailedStepChangesNothing) {
  EXPECT_FALSE(database_->migrate("half", "-- step 1\nCREATE TABLE half (x);\nCREATE TABLE half (x);\n"));
  EXPECT_FALSE(database_->read([](Tx& tx) { return tx.integer({"half.count", "SELECT count(*) FROM half"}, 0); }));
}

TEST_F(DatabaseTest, BacksUpWhileOthersWrite) {
  std::atomic<bool> stop = false;
  std::thread writer([&] {
    for (int i = 0; !stop; ++i) EXPECT_TRUE(insert("w" + std::to_string(i)));
  });
  ASSERT_TRUE(database_->backup(folder_.path() / "copy.db"));
  stop = true;
  writer.join();
  const auto copy = Database::open(folder_.path() / "copy.db").value();
  EXPECT_TRUE(copy->check());
}

}  // namespace
}  // namespace tidemill::sql
