// Where chunks and manifests lie: named objects, written once, in a folder or in a bucket. Private to this room.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace tidemill::blobs {

enum class Kind { chunk, manifest };

// Objects that become durable together. Not thread-safe; without commit() nothing is named.
class Batch {
 public:
  virtual ~Batch() = default;
  // Takes the object, to be written unless one with the same bytes is there already. An object of that name with other
  // bytes (a damaged one) is written anew. May return an error of one added before.
  [[nodiscard]] virtual Result<void> add(Kind kind, const std::string& hex, std::string_view bytes) = 0;
  // Returns after all objects of the batch, also those that were there, are durable under their names: how many bytes
  // had to be written.
  [[nodiscard]] virtual Result<std::uint64_t> commit() = 0;
};

// All functions may be called from any thread.
class Objects {
 public:
  virtual ~Objects() = default;
  [[nodiscard]] virtual Result<std::unique_ptr<Batch>> begin() = 0;
  // Returns the bytes, nothing when there is no such object; kTooLarge past `bytes_max`.
  [[nodiscard]] virtual Result<std::optional<std::string>> get(Kind kind, const std::string& hex,
                                                               std::uint64_t bytes_max) const = 0;
  // Returns the object's length, or nothing when there is none.
  [[nodiscard]] virtual Result<std::optional<std::uint64_t>> size(Kind kind, const std::string& hex) const = 0;
  // Calls `visit` with every name of that kind, in no order.
  [[nodiscard]] virtual Result<void> each(Kind kind,
                                          const std::function<Result<void>(const std::string& hex)>& visit) const = 0;
};

// Returns the objects of a folder, made and swept of what a crash left where this process owns it.
[[nodiscard]] Result<std::unique_ptr<Objects>> local_objects(const std::filesystem::path& root, bool owned);

}  // namespace tidemill::blobs
