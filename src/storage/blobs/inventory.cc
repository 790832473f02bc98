#include "storage/blobs/inventory.h"

#include <fmt/format.h>

#include <utility>

#include "storage/blobs/chunked_store.h"
#include "storage/blobs/s3_client.h"
#include "storage/blobs/s3_objects.h"

namespace tidemill::blobs {

Inventory::Inventory(std::unique_ptr<ChunkedStore> store) : store_(std::move(store)) {}
Inventory::~Inventory() = default;

Result<std::unique_ptr<Inventory>> Inventory::of_folder(const std::filesystem::path& root) {
  if (!std::filesystem::is_directory(root)) {
    return fail(Code::kNotFound, "blobs.no_folder", fmt::format("There is no folder '{}'.", root.string()),
                "Name the folder of a server that has run.");
  }
  return std::make_unique<Inventory>(std::make_unique<ChunkedStore>(TM_TRY(local_objects(root, false)), Options{}));
}

Result<std::unique_ptr<Inventory>> Inventory::of_bucket(S3Bucket bucket, const Clock& clock) {
  auto objects = TM_TRY(open_bucket(std::move(bucket), clock));
  return std::make_unique<Inventory>(
      std::make_unique<ChunkedStore>(std::move(objects), Options{.sizes = s3_chunk_sizes()}));
}

Result<void> Inventory::each(const Visit& visit) const { return store_->each_object(visit); }
Result<void> Inventory::put(std::string_view name, std::string_view bytes) { return store_->put_object(name, bytes); }
Result<Health> Inventory::check() const { return store_->check(); }

}  // namespace tidemill::blobs
