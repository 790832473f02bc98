#include "storage/kv/kv.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <map>
#include <random>
#include <thread>
#include <vector>

#include "base/files.h"

namespace tidemill::kv {
namespace {

class KvTest : public ::testing::Test {
 protected:
  void SetUp() override { open(); }
  void open(Options options = {}) {
    kv_.reset();
    kv_ = Kv::create(folder_.path() / "kv", options).value();
  }
  std::map<std::string, std::string> all(std::string_view begin = "", std::string_view end = "") {
    std::map<std::string, std::string> found;
    EXPECT_TRUE(kv_->scan(begin, end, [&](std::string_view key, std::string_view value) -> Result<bool> {
      EXPECT_TRUE(found.empty() || found.rbegin()->first < key);
      found.emplace(key, value);
      return true;
    }));
    return found;
  }

  TemporaryFolder folder_ = TemporaryFolder::create().value();
  std::unique_ptr<Kv> kv_;
};

TEST_F(KvTest, KeepsWhatWasPutAcrossOpening) {
  const std::string binary("\0\xff\n", 3);
  ASSERT_TRUE(kv_->put_many(std::vector<Entry>{{"b", "1"}, {"a", ""}, {binary, binary}, {"b", "2"}}));
  open();
  EXPECT_EQ(kv_->get("b").value(), "2");
  EXPECT_EQ(kv_->get("a").value(), "");
  EXPECT_EQ(kv_->get(binary).value(), binary);
  EXPECT_EQ(kv_->get("c").value(), std::nullopt);
  EXPECT_EQ(kv_->get("").value(), std::nullopt);
}

TEST_F(KvTest, RefusesBadKeysAndValuesAsAWhole) {
  EXPECT_EQ(kv_->put_many(std::vector<Entry>{{"good", "1"}, {"", "1"}}).error().code, Code::kInvalidArgument);
  EXPECT_EQ(kv_->put_many(std::vector<Entry>{{std::string(kKeyBytesMax + 1, 'k'), "1"}}).error().reason, "kv.bad_key");
  EXPECT_EQ(kv_->put_many(std::vector<Entry>{{"k", std::string(kValueBytesMax + 1, 'v')}}).error().code,
            Code::kTooLarge);
  EXPECT_TRUE(all().empty());
  EXPECT_TRUE(kv_->put_many(std::vector<Entry>{{std::string(kKeyBytesMax, 'k'), std::string(kValueBytesMax, 'v')}}));
}

TEST_F(KvTest, SaysWhenItIsFullAndLivesOn) {
  open({.map_bytes = 1 << 20});
  ASSERT_TRUE(kv_->put_many(std::vector<Entry>{{"small", "1"}}));
  const auto full = kv_->put_many(std::vector<Entry>{{"big", std::string(2 << 20, 'x')}});
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().code, Code::kExhausted);
  EXPECT_EQ(kv_->get("small").value(), "1");
  EXPECT_TRUE(kv_->put_many(std::vector<Entry>{{"small", "2"}}));
}

TEST_F(KvTest, ScansRangesAndPrefixes) {
  const std::string last = "p\xff\xff";
  ASSERT_TRUE(kv_->put_many(std::vector<Entry>{{"o", ""}, {"p", ""}, {"pa", ""}, {last, ""}, {"q", ""}}));
  EXPECT_EQ(all("p", "q").size(), 3u);
  EXPECT_EQ(all("pa", last).size(), 1u);
  EXPECT_EQ(all("", "p").size(), 1u);
  int visits = 0;
  ASSERT_TRUE(kv_->scan_prefix("p", [&](std::string_view, std::string_view) -> Result<bool> { return ++visits < 2; }));
  EXPECT_EQ(visits, 2);
  const auto failed = kv_->scan_prefix("p", [](std::string_view, std::string_view) -> Result<bool> {
    return fail(Code::kInternal, "test.stop", "stop");
  });
  EXPECT_EQ(failed.error().reason, "test.stop");
  EXPECT_EQ(prefix_end("a\xff"), "b");
  EXPECT_EQ(prefix_end("\xff\xff"), "");
}

TEST_F(KvTest, FindsTheLastKeyOfARange) {
  EXPECT_EQ(kv_->last_key("", "").value(), std::nullopt);
  ASSERT_TRUE(kv_->put_many(std::vector<Entry>{{"b", ""}, {"d", ""}}));
  EXPECT_EQ(kv_->last_key("", "").value(), "d");
  EXPECT_EQ(kv_->last_key("a", "d").value(), "b");
  EXPECT_EQ(kv_->last_key("c", "d").value(), std::nullopt);
  EXPECT_EQ(kv_->last_key("", "b").value(), std::nullopt);
  EXPECT_EQ(kv_->last_key("d", "e").value(), "d");
}

TEST_F(KvTest, ErasesLongRangesInSeveralCommits) {
  std::vector<Entry> entries;
  for (std::size_t i = 0; i < kEraseEntriesMax + 5; ++i) entries.push_back({fmt::format("r{:08}", i), "x"});
  entries.push_back({"s", "kept"});
  ASSERT_TRUE(kv_->put_many(entries));
  EXPECT_EQ(kv_->erase_range("r", "s").value(), kEraseEntriesMax + 5);
  EXPECT_EQ(kv_->erase_range("r", "s").value(), 0u);
  EXPECT_EQ(all().size(), 1u);
  EXPECT_EQ(kv_->erase_range("", "").value(), 1u);
}

TEST_F(KvTest, AgreesWithAMapUnderRandomWork) {
  std::mt19937 random(7);
  std::map<std::string, std::string> model;
  for (int round = 0; round < 200; ++round) {
    if (random() % 4 == 0) {
      std::string low = std::to_string(random() % 300);
      std::string high = std::to_string(random() % 300);
      if (high < low) std::swap(low, high);
      ASSERT_TRUE(kv_->erase_range(low, high));
      model.erase(model.lower_bound(low), model.lower_bound(high));
    } else {
      std::vector<Entry> entries;
      for (unsigned i = 0; i < random() % 20; ++i) {
        entries.push_back({std::to_string(random() % 300), std::to_string(random())});
        model[entries.back().key] = entries.back().value;
      }
      ASSERT_TRUE(kv_->put_many(entries));
    }
    ASSERT_EQ(all(), model) << "round " << round;
  }
}

TEST_F(KvTest, ManyWritersAndReadersAtOnce) {
  std::atomic<int> failures = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 6; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 50; ++i) {
        // Both entries come in one commit, so that a reader sees both or none.
        const std::vector<Entry> pair{{fmt::format("{}/{}/x", t, i), "1"}, {fmt::format("{}/{}/y", t, i), "1"}};
        if (!kv_->put_many(pair)) ++failures;
        int seen = 0;
        if (!kv_->scan("", "", [&](std::string_view, std::string_view) -> Result<bool> { return ++seen > 0; }))
          ++failures;
        if (seen % 2 != 0) ++failures;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failures, 0);
  EXPECT_EQ(all().size(), 600u);
}

// A writer is killed while it writes; every entry that it had announced through the pipe must be there.
TEST_F(KvTest, KeepsEveryAcknowledgedEntryWhenKilled) {
  kv_.reset();
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    alarm(5);
    auto kv = Kv::create(folder_.path() / "kv");
    for (std::uint32_t i = 0; kv && i < 100'000; ++i) {
      const std::vector<Entry> one{{fmt::format("{:08}", i), "v"}};
      if (!(*kv)->put_many(one) || write(ends[1], &i, sizeof i) != sizeof i) _exit(1);
    }
    _exit(0);
  }
  close(ends[1]);
  std::uint32_t last = 0;
  for (int reads = 0; reads < 40 && read(ends[0], &last, sizeof last) == sizeof last; ++reads) {
  }
  kill(child, SIGKILL);
  while (read(ends[0], &last, sizeof last) == sizeof last) {
  }
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status));
  open();
  EXPECT_GE(all().size(), std::size_t{last} + 1);
}

}  // namespace
}  // namespace tidemill::kv
