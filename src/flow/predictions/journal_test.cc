#include "flow/predictions/journal.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <future>
#include <string>
#include <vector>

#include "base/files.h"

namespace tidemill::predictions {
namespace {

class JournalTest : public testing::Test {
 protected:
  std::unique_ptr<Journal> open(std::uint64_t skip_through = 0, JournalOptions options = {}) {
    return try_open(skip_through, options).value();
  }
  Result<std::unique_ptr<Journal>> try_open(std::uint64_t skip_through = 0, JournalOptions options = {}) {
    applied_.clear();
    filled_.clear();
    return Journal::open(
        folder_.path(), skip_through,
        [this](std::uint64_t, std::string_view payload) { applied_.emplace_back(payload); },
        [this](std::uint64_t number) { filled_.push_back(number); }, options);
  }
  static Result<void> append(Journal& journal, std::string payload, bool durable = true) {
    std::promise<Result<void>> promise;
    journal.append(std::move(payload), durable, [&](Result<void> result) { promise.set_value(std::move(result)); });
    return promise.get_future().get();
  }
  std::string bytes_of(const std::filesystem::path& path) { return read_file(path, 1u << 30).value(); }
  void write(const std::filesystem::path& path, std::string_view bytes) {
    std::ofstream(path, std::ios::binary | std::ios::trunc)
        .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }

  TemporaryFolder folder_ = TemporaryFolder::create().value();
  std::vector<std::string> applied_;
  std::vector<std::uint64_t> filled_;
};

TEST_F(JournalTest, GivesBackWhatItTookInOrder) {
  auto journal = open();
  ASSERT_TRUE(append(*journal, "one"));
  ASSERT_TRUE(append(*journal, "", false));
  ASSERT_TRUE(append(*journal, std::string(100'000, 'x')));
  EXPECT_EQ(applied_.size(), 3u);  // applied before it was acknowledged
  journal.reset();
  journal = open();
  EXPECT_EQ(applied_, (std::vector<std::string>{"one", "", std::string(100'000, 'x')}));
  EXPECT_EQ(filled_, std::vector<std::uint64_t>{1});
}

TEST_F(JournalTest, CutsATornTailAtEveryByte) {
  const auto path = folder_.path() / "journal-000000000001.log";
  {
    auto journal = open();
    ASSERT_TRUE(append(*journal, "first"));
    ASSERT_TRUE(append(*journal, "second"));
    ASSERT_TRUE(append(*journal, "third"));
  }
  const std::string whole = bytes_of(path);
  const std::size_t third = whole.size() - 12 - 5;
  for (std::size_t cut = third; cut < whole.size(); ++cut) {
    std::filesystem::remove(folder_.path() / "journal-000000000002.log");
    write(path, whole.substr(0, cut));
    open().reset();
    EXPECT_EQ(applied_, (std::vector<std::string>{"first", "second"})) << cut;
    EXPECT_EQ(std::filesystem::file_size(path), third) << cut;
  }
}

TEST_F(JournalTest, CutsATailOfRubbish) {
  const auto path = folder_.path() / "journal-000000000001.log";
  {
    auto journal = open();
    ASSERT_TRUE(append(*journal, "first"));
  }
  const std::string whole = bytes_of(path);
  for (const auto& rubbish : {std::string(4096, '\0'), std::string(77, '\xFF'), std::string("abc")}) {
    std::filesystem::remove(folder_.path() / "journal-000000000002.log");
    write(path, whole + rubbish);
    open().reset();
    EXPECT_EQ(applied_, std::vector<std::string>{"first"});
  }
}

TEST_F(JournalTest, RefusesDamageInTheMiddle) {
  const auto path = folder_.path() / "journal-000000000001.log";
  {
    auto journal = open();
    for (const char* text : {"first", "second", "third"}) ASSERT_TRUE(append(*journal, text));
  }
  const std::string whole = bytes_of(path);
  for (std::size_t at = 0; at < whole.size() - 12 - 5; ++at) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x10);
    std::filesystem::remove(folder_.path() / "journal-000000000002.log");
    write(path, damaged);
    const auto opened = try_open();
    ASSERT_FALSE(opened) << at;
    EXPECT_EQ(opened.error().reason, "predictions.journal_damaged") << at;
  }
}

TEST_F(JournalTest, BeginsANewFileWhenOneIsFull) {
  auto journal = open(0, {.file_bytes_max = 100});
  for (int i = 0; i < 6; ++i) ASSERT_TRUE(append(*journal, std::string(50, static_cast<char>('a' + i))));
  journal.reset();
  EXPECT_EQ(filled_, (std::vector<std::uint64_t>{1, 2, 3}));
  open(2).reset();  // files 1 and 2 are needed no more
  EXPECT_EQ(applied_.size(), 2u);
}

TEST_F(JournalTest, RotatesWhenAsked) {
  auto journal = open();
  ASSERT_TRUE(append(*journal, "one"));
  journal->rotate();
  EXPECT_EQ(filled_, std::vector<std::uint64_t>{1});
  journal->rotate();  // an empty file stays
  EXPECT_EQ(filled_, std::vector<std::uint64_t>{1});
}

TEST_F(JournalTest, ManyThreadsLoseNothing) {
  auto journal = open();
  std::vector<std::thread> threads;
  std::atomic<int> good = 0;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 100; ++i)
        good += append(*journal, std::to_string(t) + ":" + std::to_string(i)).has_value() ? 1 : 0;
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(good, 800);
  journal.reset();
  open().reset();
  EXPECT_EQ(applied_.size(), 800u);
}

TEST_F(JournalTest, HasLimits) {
  auto journal = open();
  EXPECT_EQ(append(*journal, std::string(kRecordBytesMax + 1, 'x')).error().code, Code::kTooLarge);
  EXPECT_TRUE(append(*journal, "still good"));
}

}  // namespace
}  // namespace tidemill::predictions
