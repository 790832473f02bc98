#include "storage/blobs/store_conformance.h"

#include "storage/blobs/s3.h"
#include "storage/blobs/s3_server_test.h"

namespace tidemill::blobs {
namespace {

const SystemClock kClock;

std::string prefix_of(const std::filesystem::path& folder) { return sha256_hex(folder.string()).substr(0, 16); }

StoreKind local() {
  return {"local", [](const auto& folder, Options options) { return LocalStore::create(folder, options); },
          damage_object};
}

StoreKind s3() {
  return {"s3",
          [](const auto& folder, Options options) {
            const std::uint16_t port = S3Server::get().port();
            return S3Store::create(S3Server::bucket(prefix_of(folder), {}, port), kClock, options);
          },
          [](const auto& folder, const std::string& hex, bool remove) {
            return damage_object(S3Server::get().folder() / prefix_of(folder), hex, remove);
          }};
}

INSTANTIATE_TEST_SUITE_P(Stores, StoreConformance, testing::Values(local(), s3()),
                         [](const auto& kind) { return kind.param.name; });

}  // namespace
}  // namespace tidemill::blobs
