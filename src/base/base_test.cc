#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <limits>
#include <set>
#include <string>
#include <thread>

#include "base/clock.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/ids.h"
#include "base/queue.h"

namespace tidemill {
namespace {

struct ThingTag {
  static constexpr const char* kNoun = "things";
};
using ThingId = Id<ThingTag>;

TEST(Ids, AreUniqueSortedByTimeAndReadBack) {
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) {
    const auto id = ThingId::generate();
    EXPECT_TRUE(seen.insert(id.str()).second);
    EXPECT_EQ(ThingId::parse(id.str()).value(), id);
  }
  const auto early = ThingId::generate();
  usleep(2000);
  EXPECT_LT(early, ThingId::generate());
}

TEST(Ids, RefuseOtherText) {
  for (const char* text : {"", "abc", "0123456789ABCDEF0123456789ABCDEF", "0123456789abcdef0123456789abcdeg",
                           "0123456789abcdef0123456789abcdef0"}) {
    const auto refused = ThingId::parse(text);
    ASSERT_FALSE(refused) << text;
    EXPECT_NE(refused.error().remedy.find("things"), std::string::npos);
  }
}

TEST(Names, KeepTheRule) {
  for (const char* good : {"a", "9", "flights", "A.b_c-9"}) EXPECT_TRUE(check_name("dataset", good)) << good;
  EXPECT_TRUE(check_name("dataset", std::string(128, 'x')));
  EXPECT_FALSE(check_name("dataset", std::string(129, 'x')));
  for (const char* bad : {"", ".a", "-a", "a b", "a/b", "..", "é", "a\n"})
    EXPECT_FALSE(check_name("dataset", bad)) << bad;
}

TEST(Times, ReadAndWriteUtc) {
  EXPECT_EQ(parse_utc("1970-01-01").value(), 0);
  EXPECT_EQ(parse_utc("2013-01-31T23:59:59Z").value(), 1'359'676'799'000);
  EXPECT_EQ(parse_utc("2013-02-01T07:59:59.250+08:00").value(), 1'359'676'799'250);
  EXPECT_EQ(parse_utc("2016-02-29T00:00:00.1239Z").value() % 1000, 123);
  EXPECT_EQ(format_utc(1'359'676'799'250), "2013-01-31T23:59:59.250Z");
  EXPECT_EQ(format_utc(-1), "1969-12-31T23:59:59.999Z");
  for (const char* bad :
       {"", "2013", "2013-02-29", "2013-13-01", "2013-01-01T", "2013-01-01T24:00:00Z", "2013-01-01T00:00:00",
        "2013-01-01T00:00:00.Z", "2013-01-01T00:00:00Zx", "-013-01-01", "2013-1-1"}) {
    EXPECT_FALSE(parse_utc(bad)) << bad;
  }
}

TEST(Times, ReadDurations) {
  EXPECT_EQ(parse_duration_ms("250ms").value(), 250);
  EXPECT_EQ(parse_duration_ms("90s").value(), 90'000);
  EXPECT_EQ(parse_duration_ms("7d").value(), 7 * 86'400'000LL);
  for (const char* bad : {"", "5", "s", "-1s", "1w", "1.5h", "9223372036854775807d", "1 s"}) {
    EXPECT_FALSE(parse_duration_ms(bad)) << bad;
  }
}

TEST(Hashes, MatchThePublishedVectors) {
  // FIPS 180-4 examples.
  EXPECT_EQ(sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  Sha256 parts;
  parts.update("a");
  parts.update("");
  parts.update("bc");
  EXPECT_EQ(to_hex(parts.finish()), sha256_hex("abc"));
  EXPECT_EQ(to_hex(parts.finish()), sha256_hex(""));  // starts anew
}

TEST(Hashes, HexBothWays) {
  EXPECT_EQ(from_hex("00fF").value(), std::string("\x00\xFF", 2));
  EXPECT_FALSE(from_hex("0"));
  EXPECT_FALSE(from_hex("0g"));
  EXPECT_TRUE(equal_in_constant_time("abc", "abc"));
  EXPECT_FALSE(equal_in_constant_time("abc", "abd"));
  EXPECT_FALSE(equal_in_constant_time("abc", "ab"));
}

class PathBeneathRefuses : public testing::TestWithParam<std::string> {};

TEST_P(PathBeneathRefuses, Text) {
  const auto folder = TemporaryFolder::create().value();
  EXPECT_EQ(path_beneath(folder.path(), GetParam()).error().reason, "paths.refused") << GetParam();
}

INSTANTIATE_TEST_SUITE_P(All, PathBeneathRefuses,
                         testing::Values("", "/", "/etc/passwd", "..", "../x", "a/../../x", "a/..", ".", "./a", "a//b",
                                         "a/", "a\\..\\b", std::string("a\0b", 3), "a\nb", "\x7F",
                                         std::string(4097, 'a')));

TEST(PathBeneath, AllowsPlainNamesAndRefusesLinks) {
  const auto folder = TemporaryFolder::create().value();
  EXPECT_EQ(path_beneath(folder.path(), "a/b.c/%2e%2e").value(), folder.path() / "a/b.c/%2e%2e");
  EXPECT_EQ(path_beneath(folder.path(), "...").value(), folder.path() / "...");
  ASSERT_EQ(symlink("/etc", (folder.path() / "link").c_str()), 0);
  EXPECT_FALSE(path_beneath(folder.path(), "link"));
  EXPECT_FALSE(path_beneath(folder.path(), "link/passwd"));
}

TEST(Files, WriteDurablyReplacesAndLeavesNoTemporary) {
  const auto folder = TemporaryFolder::create().value();
  const auto path = folder.path() / "file";
  ASSERT_TRUE(write_file_durably(path, "one"));
  ASSERT_TRUE(write_file_durably(path, "two"));
  EXPECT_EQ(read_file(path, 3).value(), "two");
  EXPECT_EQ(read_file(path, 2).error().code, Code::kTooLarge);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
  EXPECT_EQ(read_file(folder.path() / "none", 3).error().code, Code::kNotFound);
  EXPECT_EQ(read_file(folder.path(), 3).error().reason, "storage.not_a_file");
  EXPECT_FALSE(write_file_durably(folder.path() / "no" / "file", "x"));
}

TEST(Files, MakeFolderIsPrivate) {
  const auto folder = TemporaryFolder::create().value();
  ASSERT_TRUE(make_folder(folder.path() / "a" / "b"));
  struct stat status {};
  ASSERT_EQ(stat((folder.path() / "a" / "b").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700u);
  ASSERT_TRUE(write_file_durably(folder.path() / "file", ""));
  EXPECT_FALSE(make_folder(folder.path() / "file"));
}

TEST(Queue, HasABoundAndDrainsAfterClose) {
  BoundedQueue<int> queue(2);
  EXPECT_TRUE(queue.try_push(1));
  EXPECT_TRUE(queue.try_push(2));
  EXPECT_FALSE(queue.try_push(3));
  queue.close();
  EXPECT_FALSE(queue.try_push(4));
  EXPECT_EQ(queue.pop_some(1), std::vector<int>{1});
  EXPECT_EQ(queue.pop().value(), 2);
  EXPECT_FALSE(queue.pop());
  EXPECT_TRUE(queue.pop_some(5).empty());
}

TEST(Queue, WakesAWaitingConsumer) {
  BoundedQueue<int> queue(1);
  std::thread producer([&] {
    usleep(1000);
    EXPECT_TRUE(queue.try_push(7));
  });
  EXPECT_EQ(queue.pop().value(), 7);
  producer.join();
}

}  // namespace
}  // namespace tidemill
