// What lies in a store, object by object, for backups and checks beside a server that works with it.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"
#include "storage/blobs/s3.h"
#include "storage/blobs/store.h"

namespace tidemill::blobs {

class ChunkedStore;

// Any thread.
class Inventory {
 public:
  // Of a folder that another process may own: nothing of it is swept. kNotFound when there is none.
  [[nodiscard]] static Result<std::unique_ptr<Inventory>> of_folder(const std::filesystem::path& root);
  // Of a bucket; errors as S3Store::create. The clock must outlive it.
  [[nodiscard]] static Result<std::unique_ptr<Inventory>> of_bucket(S3Bucket bucket, const Clock& clock);
  explicit Inventory(std::unique_ptr<ChunkedStore> store);
  ~Inventory();
  Inventory(const Inventory&) = delete;
  Inventory& operator=(const Inventory&) = delete;

  // Calls `visit` with everything that lies in the store, under names such as "chunks/ab/ab…": put into another store,
  // they make it hold the same blobs. What is put meanwhile may be among them or not, a blob never in part.
  // kInternal "blobs.damaged" at the first object that is not what its name says.
  using Visit = std::function<Result<void>(const std::string& name, std::string_view bytes)>;
  [[nodiscard]] Result<void> each(const Visit& visit) const;
  // kInvalidArgument "blobs.bad_object" for another name, or bytes that are not what it says. Durable on return.
  [[nodiscard]] Result<void> put(std::string_view name, std::string_view bytes);
  // As Store::check.
  [[nodiscard]] Result<Health> check() const;

 private:
  const std::unique_ptr<ChunkedStore> store_;
};

}  // namespace tidemill::blobs
