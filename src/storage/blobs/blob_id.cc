#include <fmt/format.h>

#include <algorithm>

#include "storage/blobs/store.h"

namespace tidemill::blobs {

Result<BlobId> BlobId::parse(std::string_view text) {
  const bool good = text.size() == 64 &&
                    std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
  if (good) return BlobId(std::string(text));
  return fail(Code::kInvalidArgument, "ids.malformed",
              fmt::format("'{}' is not the id of a blob.", std::string(text.substr(0, 80))),
              "Give the 64 lowercase hex digits of its SHA-256.");
}

}  // namespace tidemill::blobs
