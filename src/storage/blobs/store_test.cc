#include "storage/blobs/store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/files.h"
#include "storage/blobs/bytes_test.h"
#include "storage/blobs/chunker.h"
#include "storage/blobs/manifest.h"

namespace tidemill::blobs {
namespace {

TEST(Chunker, SizesStayWithinTheirBoundsAndNearTheWantedOne) {
  const ChunkSizes sizes;
  const std::string bytes = random_text(64 << 20, 42);
  std::string_view rest = bytes;
  std::size_t count = 0;
  while (!rest.empty()) {
    const std::size_t length = chunk_length(rest, sizes);
    ASSERT_GT(length, 0u);
    ASSERT_LE(length, sizes.bytes_max);
    if (length < rest.size()) {
      ASSERT_GE(length, sizes.bytes_min);
    }
    rest.remove_prefix(length);
    ++count;
  }
  const std::size_t average = bytes.size() / count;
  EXPECT_GT(average, sizes.bytes_wanted * 3 / 4);
  EXPECT_LT(average, sizes.bytes_wanted * 5 / 4);
}

TEST(Chunker, CutsAreTheSameForEver) {  // sharing with blobs of earlier releases hangs on it
  const std::string bytes = random_text(1 << 20, 99);
  std::vector<std::size_t> lengths;
  for (std::string_view rest = bytes; !rest.empty() && lengths.size() < 4; rest.remove_prefix(lengths.back())) {
    lengths.push_back(chunk_length(rest));
  }
  EXPECT_THAT(lengths, testing::ElementsAre(108381, 71407, 74247, 124122));
}

TEST(Manifest, ComesBackAndShowsEveryChangedByte) {
  const Manifest manifest{30, {{std::string(64, 'a'), 10}, {std::string(64, '0'), 20}}};
  const std::string text = write_manifest(manifest);
  EXPECT_EQ(read_manifest(text, 100).value(), manifest);
  EXPECT_FALSE(read_manifest(text, 19));
  for (std::size_t i = 0; i < text.size(); ++i) {
    std::string changed = text;
    changed[i] = static_cast<char>(changed[i] ^ 1);
    EXPECT_FALSE(read_manifest(changed, 100)) << i;
    EXPECT_FALSE(read_manifest(text.substr(0, i), 100)) << i;
  }
}

TEST(LocalStore, LeftoversOfACrashAreSweptAndSizesChecked) {
  const auto folder = *TemporaryFolder::create();
  ASSERT_TRUE(LocalStore::create(folder.path()));
  ASSERT_TRUE(write_file_durably(folder.path() / "incoming" / "left", "half"));
  ASSERT_TRUE(LocalStore::create(folder.path()));
  EXPECT_TRUE(std::filesystem::is_empty(folder.path() / "incoming"));
  EXPECT_FALSE(LocalStore::create(folder.path(), {.sizes = {100, 50, 200}, .blob_bytes_max = 1}));
  EXPECT_FALSE(LocalStore::create(folder.path(), {.sizes = {100, 1000, 2000}, .blob_bytes_max = 1}));
}

// Kills a process at random moments of its puts: everything that it acknowledged must read back, nothing may be
// damaged.
TEST(LocalStore, AcknowledgedBlobsSurviveKill) {
  const auto folder = *TemporaryFolder::create();
  for (int round = 0; round < 8; ++round) {
    int pipe_ends[2];
    ASSERT_EQ(pipe(pipe_ends), 0);
    const pid_t child = fork();
    if (child == 0) {
      alarm(20);
      const auto store = LocalStore::create(folder.path() / "store");
      for (std::uint64_t i = 0; i < 200 && store; ++i) {
        const auto stored = (*store)->put_bytes(random_text(300'000, static_cast<std::uint64_t>(round) * 1000 + i));
        if (!stored || write(pipe_ends[1], stored->id.str().data(), 64) != 64) break;
      }
      _exit(0);
    }
    close(pipe_ends[1]);
    std::vector<std::string> acknowledged;
    std::string id(64, ' ');
    while (acknowledged.size() < static_cast<std::size_t>(1 + round * 2) && read(pipe_ends[0], id.data(), 64) == 64)
      acknowledged.push_back(id);
    usleep(static_cast<useconds_t>(700 * round));
    kill(child, SIGKILL);
    while (read(pipe_ends[0], id.data(), 64) == 64) acknowledged.push_back(id);
    close(pipe_ends[0]);
    waitpid(child, nullptr, 0);
    const auto store = LocalStore::create(folder.path() / "store");
    ASSERT_TRUE(store);
    for (const auto& one : acknowledged) EXPECT_TRUE((*store)->read(BlobId::trusted(one), 1 << 30)) << one;
    EXPECT_TRUE((*store)->check()->damages.empty());
  }
}

}  // namespace
}  // namespace tidemill::blobs
