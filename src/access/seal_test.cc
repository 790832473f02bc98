#include "access/seal.h"

#include <gtest/gtest.h>

#include "base/files.h"

namespace tidemill::access {
namespace {

TEST(Seal, OpensWhatItClosedAndNothingElse) {
  const auto folder = TemporaryFolder::create().value();
  const Seal seal = Seal::create(folder.path() / "key").value();
  const std::string closed = seal.close("s3cret", "webhooks/1");
  EXPECT_EQ(closed.find("s3cret"), std::string::npos);
  EXPECT_NE(closed, seal.close("s3cret", "webhooks/1"));
  EXPECT_EQ(seal.open(closed, "webhooks/1").value(), "s3cret");
  EXPECT_FALSE(seal.open(closed, "webhooks/2"));
  for (std::size_t i = 0; i < closed.size(); ++i) {
    std::string changed = closed;
    changed[i] = static_cast<char>(changed[i] ^ 1);
    EXPECT_FALSE(seal.open(changed, "webhooks/1")) << i;
  }
  EXPECT_FALSE(seal.open("", "webhooks/1"));
  EXPECT_EQ(seal.open(seal.close("", "p"), "p").value(), "");
}

TEST(Seal, TheKeyOutlivesTheProcessAndIsOnlyOurs) {
  const auto folder = TemporaryFolder::create().value();
  const auto file = folder.path() / "key";
  const std::string closed = Seal::create(file).value().close("a", "p");
  EXPECT_EQ(std::filesystem::status(file).permissions() & std::filesystem::perms::all,
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  EXPECT_EQ(Seal::create(file).value().open(closed, "p").value(), "a");
  EXPECT_FALSE(Seal::create(folder.path() / "other").value().open(closed, "p"));
  ASSERT_TRUE(write_file_durably(file, "short"));
  EXPECT_EQ(Seal::create(file).error().reason, "access.bad_key_file");
}

}  // namespace
}  // namespace tidemill::access
