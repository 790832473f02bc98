// The append log of predictions and labels: durable before it is answered, whole after any crash.
//
// On disk: files `journal-<number>.log` in one folder. Each is a sequence of records
//     u32 length | u64 check | payload of `length` bytes            (little-endian)
// where check = XXH3-64 of the payload, seeded with the file's number, so that a record copied from elsewhere does not
// pass. A torn tail (a length that runs past the end, or a check that fails in the last record written) is cut off when
// the file is opened: it was never acknowledged. A bad record with good ones behind it is damage, and opening fails.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/files.h"
#include "base/result.h"

namespace tidemill::predictions {

constexpr std::uint32_t kRecordBytesMax = 64u << 20;

struct JournalOptions {
  std::uint64_t file_bytes_max = 32u << 20;     // then the next file begins
  std::uint64_t pending_bytes_max = 64u << 20;  // records waiting for the disk; past it append answers kExhausted
  // Records that nobody waits for gather this long, or until there are so many, before the thread is woken for them.
  std::int64_t gather_ms = 20;
  std::uint64_t gather_bytes = 256u << 10;
};

// Owns its thread, which writes and syncs whole groups of records: while one sync runs the next records gather.
class Journal {
 public:
  // `apply(file number, payload)` is called for every durable record in the order of the file: on the calling thread
  // for what is there already, on the journal's thread afterwards, before the record's own `done`. `filled(file
  // number)` is called on the journal's thread when a file gets no further records.
  using Apply = std::function<void(std::uint64_t, std::string_view)>;
  using Filled = std::function<void(std::uint64_t)>;

  // Opens the folder's files with a number above `skip_through` and begins a new one. kInternal
  // "predictions.journal_damaged" for a bad record that is no torn tail.
  [[nodiscard]] static Result<std::unique_ptr<Journal>> open(std::filesystem::path folder, std::uint64_t skip_through,
                                                             Apply apply, Filled filled, JournalOptions options = {});
  // Writes what is pending, then ends.
  ~Journal();

  // Takes a record; `done` is called once on the journal's thread (or at once with an error) when it is on disk, or, if
  // not `durable`, when it has been handed to the operating system. Any thread.
  void append(std::string payload, bool durable, std::function<void(Result<void>)> done);
  // Ends the current file, so that `filled` is called for it, and waits for that. Any thread but the journal's.
  void rotate();
  // Returns false after a failed write or sync: nothing more is accepted.
  [[nodiscard]] bool healthy() const;

  // Returns the path of a file, for who deletes it once it is no longer needed.
  [[nodiscard]] std::filesystem::path file_path(std::uint64_t number) const;

 private:
  struct Pending {
    std::string payload;
    bool durable = true;
    std::function<void(Result<void>)> done;
  };

  Journal(std::filesystem::path folder, Apply apply, Filled filled, JournalOptions options)
      : folder_(std::move(folder)), apply_(std::move(apply)), filled_(std::move(filled)), options_(options) {}
  [[nodiscard]] Result<void> replay(std::uint64_t number);
  [[nodiscard]] Result<void> begin_file(std::uint64_t number);
  void loop();
  [[nodiscard]] bool must_write() const;  // with mutex_ held
  [[nodiscard]] Result<void> write_group(const std::vector<Pending>& group);
  void next_file();

  const std::filesystem::path folder_;
  const Apply apply_;
  const Filled filled_;
  const JournalOptions options_;

  FileDescriptor file_;           // of the journal's thread
  std::uint64_t number_ = 0;      // of the journal's thread
  std::uint64_t file_bytes_ = 0;  // of the journal's thread

  mutable std::mutex mutex_;
  std::condition_variable ready_;
  std::condition_variable rotated_;
  std::vector<Pending> pending_;       // guarded by mutex_
  std::uint64_t pending_bytes_ = 0;    // guarded by mutex_
  bool urgent_ = false;                // somebody waits for a pending record; guarded by mutex_
  std::uint64_t rotations_asked_ = 0;  // guarded by mutex_
  std::uint64_t rotations_done_ = 0;   // guarded by mutex_
  bool healthy_ = true;                // guarded by mutex_
  bool closing_ = false;               // guarded by mutex_

  std::thread thread_;  // last
};

}  // namespace tidemill::predictions
