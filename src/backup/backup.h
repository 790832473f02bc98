// Copies of everything that a server keeps, made while it works, verified before they are believed; and the search for
// damage in what it keeps.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "storage/blobs/inventory.h"

namespace tidemill::backup {

struct Summary {
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;
  std::int64_t events = 0;  // in the log
  std::string head_hash;    // of the log
  std::int64_t made_at_ms = 0;
};

struct Damage {
  std::string what;  // "blobs: chunk <id> has changed"
};

struct Findings {
  std::uint64_t chunks = 0;
  std::uint64_t bytes = 0;  // of them
  std::int64_t events = 0;
  std::string head_hash;
  std::vector<Damage> damages;  // empty: all is as it was written
};

// Copies the data folder and the blobs to `target`, a new folder or a new file NAME.tar. A server may be working in the
// folder; what it had acknowledged when this began is in the copy. kAlreadyExists "backup.exists" when the target is
// there; kInternal when what is to be copied is damaged: a damaged backup is not made. Threads: the caller's.
[[nodiscard]] Result<Summary> make(const std::filesystem::path& data, const blobs::Inventory& blobs,
                                   const std::filesystem::path& target, const Clock& clock);

// Reads all of a backup and compares it with the hashes that it holds. kInternal "backup.damaged" names the first file
// that differs, is missing or was added; kFailedPrecondition "backup.unfinished" for one that was not finished.
[[nodiscard]] Result<Summary> verify(const std::filesystem::path& backup);

// Makes the data folder `data` from a verified backup; blobs go to `bucket` when that is not null. Everything is
// checked before the folder gets its name; after an error there is none. kAlreadyExists "backup.exists" when `data` is
// there and not empty.
[[nodiscard]] Result<Summary> restore(const std::filesystem::path& backup, const std::filesystem::path& data,
                                      blobs::Inventory* bucket);

// Reads everything back: every blob, the database with its own checks, every event of the chain. A server may be
// working in the folder.
[[nodiscard]] Result<Findings> check(const std::filesystem::path& data, const blobs::Inventory& blobs);

}  // namespace tidemill::backup
