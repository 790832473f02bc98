#include "flow/predictions/journal.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>

#include "base/log.h"

namespace tidemill::predictions {
namespace {

constexpr std::size_t kHeadBytes = sizeof(std::uint32_t) + sizeof(std::uint64_t);
constexpr std::uint64_t kReplayBytesMax = 8ull << 30;
constexpr std::string_view kPrefix = "journal-";
constexpr std::string_view kSuffix = ".log";

std::uint64_t check_of(std::string_view payload, std::uint64_t number) {
  return XXH3_64bits_withSeed(payload.data(), payload.size(), number);
}

void put_record(std::string& out, std::string_view payload, std::uint64_t number) {
  const auto length = static_cast<std::uint32_t>(payload.size());
  const std::uint64_t check = check_of(payload, number);
  out.append(reinterpret_cast<const char*>(&length), sizeof length);
  out.append(reinterpret_cast<const char*>(&check), sizeof check);
  out.append(payload);
}

// Returns the payload of the record at the front of `bytes`, or nothing when there is no whole, sound one.
std::optional<std::string_view> record_at(std::string_view bytes, std::uint64_t number) {
  if (bytes.size() < kHeadBytes) return std::nullopt;
  std::uint32_t length = 0;
  std::uint64_t check = 0;
  std::memcpy(&length, bytes.data(), sizeof length);
  std::memcpy(&check, bytes.data() + sizeof length, sizeof check);
  if (length > kRecordBytesMax || bytes.size() - kHeadBytes < length) return std::nullopt;
  const std::string_view payload = bytes.substr(kHeadBytes, length);
  if (check_of(payload, number) != check) return std::nullopt;
  return payload;
}

// Returns whether a sound record begins anywhere behind the first byte: then what stands at the front is damage, no
// torn tail.
bool has_later_record(std::string_view bytes, std::uint64_t number) {
  for (std::size_t i = 1; i + kHeadBytes < bytes.size(); ++i) {
    const auto payload = record_at(bytes.substr(i), number);
    if (payload && !payload->empty()) return true;
  }
  return false;
}

std::optional<std::uint64_t> number_of(const std::filesystem::path& path) {
  const std::string name = path.filename().string();
  if (!name.starts_with(kPrefix) || !name.ends_with(kSuffix)) return std::nullopt;
  const std::string_view digits =
      std::string_view(name).substr(kPrefix.size(), name.size() - kPrefix.size() - kSuffix.size());
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (error != std::errc{} || end != digits.data() + digits.size()) return std::nullopt;
  return number;
}

}  // namespace

Result<std::unique_ptr<Journal>> Journal::open(std::filesystem::path folder, std::uint64_t skip_through, Apply apply,
                                               Filled filled, JournalOptions options) {
  TM_CHECK(make_folder(folder));
  std::unique_ptr<Journal> journal(new Journal(std::move(folder), std::move(apply), std::move(filled), options));
  std::vector<std::uint64_t> numbers;
  for (const auto& entry : std::filesystem::directory_iterator(journal->folder_)) {
    if (const auto number = number_of(entry.path()); number && *number > skip_through) numbers.push_back(*number);
  }
  std::ranges::sort(numbers);
  for (const std::uint64_t number : numbers) TM_CHECK(journal->replay(number));
  const std::uint64_t newest = numbers.empty() ? skip_through : numbers.back();
  TM_CHECK(journal->begin_file(newest + 1));
  journal->thread_ = std::thread([raw = journal.get()] { raw->loop(); });
  for (const std::uint64_t number : numbers) journal->filled_(number);
  return journal;
}

Journal::~Journal() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  ready_.notify_all();
  if (thread_.joinable()) thread_.join();
}

std::filesystem::path Journal::file_path(std::uint64_t number) const {
  return folder_ / fmt::format("{}{:012}{}", kPrefix, number, kSuffix);
}

bool Journal::healthy() const {
  const std::lock_guard lock(mutex_);
  return healthy_;
}

Result<void> Journal::replay(std::uint64_t number) {
  const auto path = file_path(number);
  const std::string bytes = TM_TRY(read_file(path, kReplayBytesMax));
  std::string_view rest = bytes;
  while (const auto payload = record_at(rest, number)) {
    apply_(number, *payload);
    rest.remove_prefix(kHeadBytes + payload->size());
  }
  if (rest.empty()) return {};
  const std::size_t good = bytes.size() - rest.size();
  if (has_later_record(rest, number)) {
    return fail(Code::kInternal, "predictions.journal_damaged",
                fmt::format("'{}' is damaged at byte {}.", path.string(), good), "Restore it from a backup.");
  }
  log::warn("predictions", "cut a torn tail off", {{"file", path.string()}, {"bytes", std::to_string(rest.size())}});
  if (::truncate(path.c_str(), static_cast<off_t>(good)) != 0) return fail(errno_error("truncate", path, errno));
  const FileDescriptor file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!file.open()) return fail(errno_error("open", path, errno));
  return sync_file(file.get(), path);
}

Result<void> Journal::begin_file(std::uint64_t number) {
  const auto path = file_path(number);
  FileDescriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!file.open()) return fail(errno_error("create", path, errno));
  TM_CHECK(sync_folder(folder_));
  file_ = std::move(file);
  number_ = number;
  file_bytes_ = 0;
  return {};
}

void Journal::append(std::string payload, bool durable, std::function<void(Result<void>)> done) {
  std::optional<Error> refusal;
  bool wake = false;
  {
    const std::lock_guard lock(mutex_);
    if (!healthy_ || closing_) {
      refusal = Error{Code::kUnavailable,
                      "predictions.log_stopped",
                      "The prediction log accepts nothing more.",
                      "Check the disk, then restart the server.",
                      {}};
    } else if (payload.size() > kRecordBytesMax) {
      refusal = Error{Code::kTooLarge,
                      "predictions.record_too_large",
                      "The request is too large for the prediction log.",
                      "Send fewer rows at once.",
                      {}};
    } else if (pending_bytes_ + payload.size() > options_.pending_bytes_max && !pending_.empty()) {
      refusal = Error{
          Code::kExhausted, "predictions.log_full", "The prediction log cannot follow.", "Try again in a second.", {}};
    } else {
      const bool had_to = must_write();
      pending_bytes_ += payload.size();
      urgent_ = urgent_ || durable;
      wake = pending_.empty() || (!had_to && must_write());
      pending_.push_back({std::move(payload), durable, std::move(done)});
    }
  }
  if (refusal) return done(std::unexpected(*std::move(refusal)));
  if (wake) ready_.notify_one();
}

bool Journal::must_write() const {
  return closing_ || urgent_ || pending_bytes_ >= options_.gather_bytes || rotations_asked_ > rotations_done_;
}

void Journal::rotate() {
  std::unique_lock lock(mutex_);
  const std::uint64_t ticket = ++rotations_asked_;
  ready_.notify_one();
  rotated_.wait(lock, [&] { return rotations_done_ >= ticket; });
}

void Journal::loop() {
  while (true) {
    std::vector<Pending> group;
    std::uint64_t rotations = 0;
    bool last = false;
    {
      std::unique_lock lock(mutex_);
      ready_.wait(lock, [&] { return closing_ || !pending_.empty() || rotations_asked_ > rotations_done_; });
      if (!must_write()) {
        ready_.wait_for(lock, std::chrono::milliseconds(options_.gather_ms), [&] { return must_write(); });
      }
      group.swap(pending_);
      pending_bytes_ = 0;
      urgent_ = false;
      rotations = rotations_asked_;
      last = closing_;
    }
    Result<void> written = write_group(group);
    for (const auto& record : group) {
      if (written) apply_(number_, record.payload);
    }
    for (auto& record : group) record.done(written);
    bool rotate_now = file_bytes_ >= options_.file_bytes_max;
    {
      const std::lock_guard lock(mutex_);
      if (!written) healthy_ = false;
      rotate_now = healthy_ && (rotate_now || (rotations > rotations_done_ && file_bytes_ > 0));
    }
    if (rotate_now) next_file();
    {
      const std::lock_guard lock(mutex_);
      rotations_done_ = rotations;
      last = last && pending_.empty();
    }
    rotated_.notify_all();
    if (last) return;
  }
}

Result<void> Journal::write_group(const std::vector<Pending>& group) {
  if (group.empty()) return {};
  if (!healthy())
    return fail(Code::kUnavailable, "predictions.log_stopped", "The prediction log accepts nothing more.",
                "Restart the server.");
  std::string bytes;
  bool durable = false;
  for (const auto& record : group) {
    put_record(bytes, record.payload, number_);
    durable = durable || record.durable;
  }
  TM_CHECK(write_all(file_.get(), bytes, file_path(number_)));
  file_bytes_ += bytes.size();
  if (durable && ::fdatasync(file_.get()) != 0) return fail(errno_error("sync", file_path(number_), errno));
  return {};
}

// Begins the next file; the one before is synced, as its last records may have been handed over without a sync.
void Journal::next_file() {
  const std::uint64_t before = number_;
  auto begun = sync_file(file_.get(), file_path(before));
  if (begun) begun = begin_file(before + 1);
  if (begun) {
    filled_(before);
    return;
  }
  log::error("predictions", "could not begin the next file of the log", {{"cause", begun.error().text()}});
  const std::lock_guard lock(mutex_);
  healthy_ = false;
}

}  // namespace tidemill::predictions
