// What every Store must do, as tests: a new kind of store joins by one INSTANTIATE_TEST_SUITE_P with its StoreKind.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "base/files.h"
#include "base/hash.h"
#include "storage/blobs/bytes_test.h"
#include "storage/blobs/store.h"

namespace tidemill::blobs {

struct StoreKind {
  std::string name;
  // Opens the store whose data lie beneath `folder`; called again, it opens the same one anew.
  std::function<Result<std::unique_ptr<Store>>(const std::filesystem::path& folder, Options options)> open;
  // Changes or removes one byte of the stored object that holds `hex` (a chunk or manifest); returns false when there
  // is none.
  std::function<bool(const std::filesystem::path& folder, const std::string& hex, bool remove)> damage;
};

class StoreConformance : public testing::TestWithParam<StoreKind> {
 protected:
  void SetUp() override { reopen(); }
  void reopen(Options options = {}) {
    store_.reset();
    auto opened = GetParam().open(folder_.path() / "store", options);
    ASSERT_TRUE(opened) << opened.error().text();
    store_ = *std::move(opened);
  }
  Stored put(std::string_view bytes) {
    auto stored = store_->put_bytes(bytes);
    EXPECT_TRUE(stored) << stored.error().text();
    return stored ? *stored : Stored{};
  }
  std::string read(const BlobId& id) {
    auto bytes = store_->read(id, 1 << 30);
    EXPECT_TRUE(bytes) << bytes.error().text();
    return bytes ? *bytes : std::string();
  }
  bool damage(const std::string& hex, bool remove) { return GetParam().damage(folder_.path() / "store", hex, remove); }

  TemporaryFolder folder_ = *TemporaryFolder::create();
  std::unique_ptr<Store> store_;
};

TEST_P(StoreConformance, NameIsTheHashOfTheContent) {
  EXPECT_EQ(put("abc").id.str(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(put("").id.str(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST_P(StoreConformance, EveryBoundarySizeComesBack) {
  const ChunkSizes sizes;
  std::vector<std::size_t> lengths{0, 1, 2};
  for (const std::size_t base :
       {sizes.bytes_min, sizes.bytes_wanted, sizes.bytes_max, 2 * sizes.bytes_max, 8 * sizes.bytes_max}) {
    lengths.insert(lengths.end(), {base - 1, base, base + 1});
  }
  for (const bool zeros : {false, true}) {  // zeros are never cut by content: only the largest size cuts them
    for (const std::size_t length : lengths) {
      const std::string bytes = zeros ? std::string(length, '\0') : random_text(length, length);
      const Stored stored = put(bytes);
      EXPECT_EQ(stored.bytes, length);
      EXPECT_EQ(stored.id.str(), sha256_hex(bytes));
      EXPECT_EQ(read(stored.id), bytes) << length;
      EXPECT_EQ(store_->size(stored.id).value(), length);
      EXPECT_TRUE(store_->has(stored.id).value());
      ASSERT_TRUE(store_->copy_to(stored.id, folder_.path() / "copy"));
      EXPECT_EQ(read_file(folder_.path() / "copy", 1 << 30).value(), bytes);
      std::filesystem::remove(folder_.path() / "copy");
    }
  }
}

TEST_P(StoreConformance, FilesAndBytesAreTheSameBlob) {
  const std::string bytes = random_text(1'000'000, 7);
  ASSERT_TRUE(write_file_durably(folder_.path() / "file", bytes));
  const auto stored = store_->put_file(folder_.path() / "file");
  ASSERT_TRUE(stored);
  EXPECT_EQ(stored->bytes_new, bytes.size());
  const Stored again = put(bytes);
  EXPECT_EQ(again.id, stored->id);
  EXPECT_EQ(again.bytes_new, 0u);
  EXPECT_EQ(store_->put_file(folder_.path() / "none").error().code, Code::kNotFound);
}

TEST_P(StoreConformance, InsertionInTheMiddleStoresFewChunks) {
  std::string bytes = random_text(20'000'000, 1);
  put(bytes);
  bytes.insert(bytes.size() / 2, random_text(1 << 20, 2));
  const Stored stored = put(bytes);
  const ChunkSizes sizes;
  EXPECT_GE(stored.bytes_new, 1u << 20);
  EXPECT_LE(stored.bytes_new, (1u << 20) + 3 * sizes.bytes_max) << "more than the chunks that the insertion touches";
  EXPECT_EQ(read(stored.id), bytes);
}

TEST_P(StoreConformance, RandomEditsShareAndComeBack) {
  std::mt19937_64 random(11);
  std::string bytes = random_text(2'000'000, 3);
  std::vector<std::pair<BlobId, std::string>> kept{{put(bytes).id, sha256_hex(bytes)}};
  for (int edit = 0; edit < 20; ++edit) {
    const std::size_t at = random() % bytes.size();
    const std::size_t count = std::min<std::size_t>(random() % 50'000, bytes.size() - at);
    switch (random() % 3) {
      case 0:
        bytes.erase(at, count);
        break;
      case 1:
        bytes.insert(at, random_text(count, random()));
        break;
      default:
        std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(at), count, 'x');
    }
    const Stored stored = put(bytes);
    EXPECT_LE(stored.bytes_new, count + 4 * ChunkSizes{}.bytes_max);
    kept.emplace_back(stored.id, sha256_hex(bytes));
  }
  for (const auto& [id, hash] : kept) EXPECT_EQ(sha256_hex(read(id)), hash);
}

TEST_P(StoreConformance, RangesAreExact) {
  const std::string bytes = random_text(700'001, 5);
  const BlobId id = put(bytes).id;
  std::mt19937_64 random(6);
  for (int i = 0; i < 200; ++i) {
    const std::uint64_t offset = random() % (bytes.size() + 10);
    const std::uint64_t length = random() % (bytes.size() + 10);
    const auto got = store_->read_range(id, offset, length);
    ASSERT_TRUE(got);
    EXPECT_EQ(*got, offset >= bytes.size() ? "" : bytes.substr(offset, length));
  }
  EXPECT_EQ(store_->read_range(id, 0, UINT64_MAX).value(), bytes);
  EXPECT_EQ(store_->read_range(id, UINT64_MAX, UINT64_MAX).value(), "");
}

TEST_P(StoreConformance, UnknownAndMalformedIdsAreTold) {
  const BlobId none = BlobId::trusted(std::string(64, 'a'));
  EXPECT_EQ(store_->read(none, 10).error().code, Code::kNotFound);
  EXPECT_EQ(store_->copy_to(none, folder_.path() / "x").error().code, Code::kNotFound);
  EXPECT_FALSE(store_->has(none).value());
  EXPECT_EQ(store_->read(BlobId::trusted("../../etc/passwd"), 10).error().code, Code::kInvalidArgument);
  EXPECT_EQ(BlobId::parse(std::string(64, 'A')).error().code, Code::kInvalidArgument);
  EXPECT_EQ(BlobId::parse(std::string(63, 'a')).error().code, Code::kInvalidArgument);
}

TEST_P(StoreConformance, LimitsHoldAtAndPastThem) {
  reopen({.sizes = {}, .blob_bytes_max = 1000});
  const Stored stored = put(std::string(1000, 'x'));
  EXPECT_EQ(store_->put_bytes(std::string(1001, 'x')).error().code, Code::kTooLarge);
  EXPECT_TRUE(store_->read(stored.id, 1000));
  EXPECT_EQ(store_->read(stored.id, 999).error().code, Code::kTooLarge);
}

TEST_P(StoreConformance, BlobsSurviveReopening) {
  const std::string bytes = random_text(900'000, 8);
  const BlobId id = put(bytes).id;
  reopen();
  EXPECT_EQ(read(id), bytes);
  EXPECT_EQ(put(bytes).bytes_new, 0u);
  const auto health = store_->check();
  ASSERT_TRUE(health);
  EXPECT_TRUE(health->damages.empty());
  EXPECT_EQ(health->blobs, 1u);
  EXPECT_EQ(health->bytes, bytes.size());
}

TEST_P(StoreConformance, DamageIsAnErrorNeverOtherBytes) {
  for (const bool remove : {false, true}) {
    const std::string bytes = random_text(900'000, remove ? 9 : 10);
    const BlobId id = put(bytes).id;
    const std::string first_chunk = sha256_hex(std::string_view(bytes).substr(0, chunk_length(bytes)));
    ASSERT_TRUE(damage(first_chunk, remove));
    EXPECT_EQ(store_->read(id, 1 << 30).error().reason, "blobs.damaged");
    EXPECT_EQ(store_->read_range(id, 0, 10).error().reason, "blobs.damaged");
    EXPECT_EQ(store_->read_range(id, bytes.size() - 10, 10).value(), bytes.substr(bytes.size() - 10));
    EXPECT_EQ(store_->copy_to(id, folder_.path() / "copy").error().reason, "blobs.damaged");
    EXPECT_FALSE(std::filesystem::exists(folder_.path() / "copy"));
    EXPECT_FALSE(store_->check()->damages.empty());
    EXPECT_GT(put(bytes).bytes_new, 0u) << "putting the content again must heal it";
    EXPECT_EQ(read(id), bytes);
  }
}

TEST_P(StoreConformance, DamagedManifestIsAnError) {
  const std::string bytes = random_text(900'000, 12);
  const BlobId id = put(bytes).id;
  ASSERT_TRUE(damage(id.str(), false));
  EXPECT_EQ(store_->read(id, 1 << 30).error().reason, "blobs.damaged");
  EXPECT_EQ(store_->read_range(id, 0, 10).error().reason, "blobs.damaged");
  EXPECT_FALSE(store_->check()->damages.empty());
  put(bytes);
  EXPECT_EQ(read(id), bytes);
}

TEST_P(StoreConformance, ThreadsMayPutTheSameContentAtOnce) {
  const std::string bytes = random_text(1'500'000, 13);
  std::vector<std::thread> threads;
  std::atomic<int> good = 0;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      const auto stored = store_->put_bytes(bytes);
      good += stored && store_->read(stored->id, 1 << 30).value_or("") == bytes;
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(good, 4);
  EXPECT_TRUE(store_->check()->damages.empty());
}

}  // namespace tidemill::blobs
