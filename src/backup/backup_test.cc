#include "backup/backup.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/files.h"
#include "events/events.h"
#include "storage/kv/kv.h"
#include "storage/sql/database.h"

namespace tidemill::backup {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kSteps = "-- step 1\nCREATE TABLE facts (id INTEGER PRIMARY KEY, text TEXT NOT NULL);\n";
constexpr sql::Query kInsert{"facts.insert", "INSERT INTO facts (text) VALUES (?1)"};
constexpr sql::Query kCount{"facts.count", "SELECT count(*) FROM facts"};

std::string pattern(std::size_t bytes, unsigned seed) {
  std::string text(bytes, '\0');
  for (char& c : text) c = static_cast<char>((seed = seed * 1664525 + 1013904223) >> 24);
  return text;
}

void flip_bit(const fs::path& path, std::uintmax_t at) {
  fs::permissions(path, fs::perms::owner_all);
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(static_cast<std::streamoff>(at));
  const int byte = file.get();
  file.seekp(static_cast<std::streamoff>(at));
  file.put(static_cast<char>(byte ^ 4));
  ASSERT_TRUE(file.good());
}

// Every test runs on a folder and on a tar file.
class Backup : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    for (const char* folder : {"predictions/journal", "cache/tables", "pipelines/work/7", "pipelines/logs"}) {
      fs::create_directories(data_ / folder);
    }
    for (const char* file :
         {"predictions/journal/1.log", "cache/tables/x", "pipelines/work/7/y", "pipelines/logs/z", "lock", "empty"}) {
      ASSERT_TRUE(write_file_durably(data_ / file, std::string(file) == "empty" ? "" : pattern(5000, 7)));
    }
    database_ = sql::Database::open(data_ / "tidemill.db").value();
    ASSERT_TRUE(database_->migrate("facts", kSteps));
    events_ = events::Events::create(*database_, clock_).value();
    for (int i = 0; i < 50; ++i) add_fact(i);
    store_ = blobs::LocalStore::create(data_ / "blobs").value();
    blob_ = store_->put_bytes(pattern(700'000, 1)).value().id;
    small_ = store_->put_bytes("small").value().id;
    online_ = kv::Kv::create(data_ / "online").value();
    const kv::Entry entry{"key", "value"};
    ASSERT_TRUE(online_->put_many({&entry, 1}));
  }
  void add_fact(int number) {
    const auto added = database_->write([&](sql::Tx& tx) -> Result<void> {
      TM_CHECK(tx.exec(kInsert, std::to_string(number)));
      TM_CHECK(events_->append(tx, {.kind = "facts.added", .subject = "facts/" + std::to_string(number)}));
      return {};
    });
    EXPECT_TRUE(added) << added.error().text();
  }
  [[nodiscard]] std::unique_ptr<blobs::Inventory> inventory() const {
    return blobs::Inventory::of_folder(data_ / "blobs").value();
  }
  Result<Summary> make() { return backup::make(data_, *inventory(), target_, clock_); }
  [[nodiscard]] bool is_folder() const { return std::string(GetParam()).empty(); }

  const TemporaryFolder folder_ = TemporaryFolder::create().value();
  const fs::path data_ = folder_.path() / "data";
  const fs::path target_ = folder_.path() / (std::string("copy") + GetParam());
  const fs::path restored_ = folder_.path() / "restored";
  const FakeClock clock_;
  std::unique_ptr<sql::Database> database_;
  std::unique_ptr<events::Events> events_;
  std::unique_ptr<blobs::Store> store_;
  std::unique_ptr<kv::Kv> online_;
  blobs::BlobId blob_;
  blobs::BlobId small_;
};

INSTANTIATE_TEST_SUITE_P(Containers, Backup, testing::Values("", ".tar"),
                         [](const auto& kind) { return *kind.param == '\0' ? "folder" : "tar"; });

TEST_P(Backup, ComesBackWhole) {
  const auto made = make();
  ASSERT_TRUE(made) << made.error().text();
  EXPECT_EQ(made->events, 50);
  const auto verified = verify(target_);
  ASSERT_TRUE(verified) << verified.error().text();
  EXPECT_EQ(verified->head_hash, made->head_hash);
  const auto back = restore(target_, restored_, nullptr);
  ASSERT_TRUE(back) << back.error().text();
  EXPECT_EQ(fs::status(restored_).permissions(), fs::perms::owner_all);
  const auto database = sql::Database::open(restored_ / "tidemill.db").value();
  EXPECT_EQ(database->read([](sql::Tx& tx) { return tx.integer(kCount, 0); }).value(), 50);
  EXPECT_EQ(blobs::LocalStore::create(restored_ / "blobs").value()->read(blob_, 1 << 20).value(), pattern(700'000, 1));
  EXPECT_EQ(kv::Kv::create(restored_ / "online").value()->get("key").value(), "value");
  EXPECT_EQ(read_file(restored_ / "predictions/journal/1.log", 10'000).value(), pattern(5000, 7));
  EXPECT_TRUE(fs::exists(restored_ / "empty"));
  for (const char* made_anew : {"lock", "cache/tables/x", "pipelines/work"}) {
    EXPECT_FALSE(fs::exists(restored_ / made_anew)) << made_anew;
  }
}

TEST_P(Backup, WritesNothingOver) {
  ASSERT_TRUE(make());
  EXPECT_EQ(make().error().reason, "backup.exists");
  EXPECT_TRUE(verify(target_));
  EXPECT_EQ(restore(target_, data_, nullptr).error().reason, "backup.exists");
  EXPECT_EQ(restore(folder_.path() / "none", restored_, nullptr).error().code, Code::kNotFound);
  EXPECT_FALSE(fs::exists(restored_));
}

TEST_P(Backup, OneFlippedBitAnywhereIsRefused) {
  ASSERT_TRUE(make());
  std::vector<fs::path> files{target_};
  if (is_folder()) {
    files.clear();
    for (const auto& entry : fs::recursive_directory_iterator(target_)) {
      if (entry.is_regular_file() && entry.file_size() > 0) files.push_back(entry.path());
    }
  }
  for (const fs::path& file : files) {
    const std::uintmax_t size = fs::file_size(file);
    for (const std::uintmax_t at : {std::uintmax_t{0}, size / 3, size / 2}) {
      flip_bit(file, at);
      EXPECT_FALSE(restore(target_, restored_, nullptr)) << file << " at " << at;
      EXPECT_FALSE(fs::exists(restored_));
      flip_bit(file, at);
    }
  }
  EXPECT_TRUE(restore(target_, restored_, nullptr));
}

TEST_P(Backup, ADamagedSourceMakesNoBackup) {
  for (const auto& entry : fs::recursive_directory_iterator(data_ / "blobs/chunks")) {
    if (entry.is_regular_file()) flip_bit(entry.path(), 2);
  }
  EXPECT_EQ(make().error().reason, "blobs.damaged");
  EXPECT_FALSE(restore(target_, restored_, nullptr));
}

TEST_P(Backup, MadeWhileOthersWriteHoldsWhatWasThereBefore) {
  std::atomic<bool> stop = false;
  std::atomic<int> written = 50;
  std::thread writing([&] {
    for (int i = 50; !stop; ++i) {
      add_fact(i);
      written = i + 1;
      EXPECT_TRUE(store_->put_bytes(pattern(40'000, static_cast<unsigned>(i))));
    }
  });
  while (written < 60) std::this_thread::yield();
  const int before = written;
  const auto made = make();
  const int after = written + 1;
  stop = true;
  writing.join();
  ASSERT_TRUE(made) << made.error().text();
  EXPECT_GE(made->events, before);
  EXPECT_LE(made->events, after);
  ASSERT_TRUE(restore(target_, restored_, nullptr));
  const auto database = sql::Database::open(restored_ / "tidemill.db").value();
  EXPECT_EQ(database->read([](sql::Tx& tx) { return tx.integer(kCount, 0); }).value(), made->events);
}

// Of what needs no second container.
class Check : public Backup {};
INSTANTIATE_TEST_SUITE_P(Containers, Check, testing::Values(""), [](const auto&) { return "folder"; });

TEST_P(Check, NamesTheDamagedObjectAndTheChangedEvent) {
  auto found = check(data_, *inventory());
  ASSERT_TRUE(found) << found.error().text();
  EXPECT_TRUE(found->damages.empty());
  EXPECT_EQ(found->events, 50);
  EXPECT_GT(found->chunks, 2u);
  flip_bit(data_ / "blobs/chunks" / small_.str().substr(0, 2) / small_.str(), 1);
  found = check(data_, *inventory());
  ASSERT_EQ(found->damages.size(), 1u);
  EXPECT_EQ(found->damages[0].what, "blobs: chunk " + small_.str() + " has changed");
  ASSERT_TRUE(store_->put_bytes("small"));  // heals it
  ASSERT_TRUE(database_->write([](sql::Tx& tx) {
    return tx.exec({"test.drop", "DROP TRIGGER events_never_updated"});
  }));
  ASSERT_TRUE(database_->write([](sql::Tx& tx) {
    return tx.exec({"test.change", "UPDATE events SET subject = 'facts/x' WHERE seq = 17"});
  }));
  found = check(data_, *inventory());
  ASSERT_EQ(found->damages.size(), 1u);
  EXPECT_EQ(found->damages[0].what, "events: Event 17 was changed after it was written.");
}

TEST_P(Check, NamesWhatIsWrongWithABackup) {
  ASSERT_TRUE(make());
  flip_bit(target_ / "predictions/journal/1.log", 100);
  EXPECT_THAT(verify(target_).error().message, testing::HasSubstr("'predictions/journal/1.log' has changed"));
  flip_bit(target_ / "predictions/journal/1.log", 100);
  ASSERT_TRUE(write_file_durably(target_ / "planted", "x"));
  EXPECT_THAT(verify(target_).error().message, testing::HasSubstr("'planted' does not belong"));
  fs::remove(target_ / "planted");
  fs::remove(target_ / "tidemill.db");
  EXPECT_THAT(verify(target_).error().message, testing::HasSubstr("'tidemill.db' is missing"));
  fs::remove(target_ / "backup.json");
  EXPECT_EQ(verify(target_).error().reason, "backup.unfinished");
}

TEST_P(Check, NeedsAFolderOfAServer) {
  EXPECT_EQ(check(folder_.path(), *inventory()).error().reason, "sql.no_file");
  EXPECT_EQ(blobs::Inventory::of_folder(folder_.path() / "none").error().code, Code::kNotFound);
}

}  // namespace
}  // namespace tidemill::backup
