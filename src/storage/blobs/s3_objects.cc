#include "storage/blobs/s3_objects.h"

#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <set>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "base/base64.h"
#include "base/hash.h"

namespace tidemill::blobs {
namespace {

constexpr const char* kChecksum = "x-amz-checksum-sha256";

std::string base64_sha256(std::string_view bytes) {
  const Digest digest = sha256(bytes);
  return encode_base64({reinterpret_cast<const char*>(digest.data()), digest.size()});
}

// Threads that send what is being stored, for all batches together.
class Senders {
 public:
  explicit Senders(std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) threads_.emplace_back([this] { loop(); });
  }
  Senders(const Senders&) = delete;
  Senders& operator=(const Senders&) = delete;
  ~Senders() {
    {
      const std::lock_guard lock(mutex_);
      closing_ = true;
    }
    ready_.notify_all();
    for (auto& thread : threads_) thread.join();
  }
  // Batches bound what they have under way, so this queue needs no bound of its own.
  void run(std::function<void()> work) {
    {
      const std::lock_guard lock(mutex_);
      waiting_.push_back(std::move(work));
    }
    ready_.notify_one();
  }

 private:
  void loop() {
    while (true) {
      std::unique_lock lock(mutex_);
      ready_.wait(lock, [&] { return closing_ || !waiting_.empty(); });
      if (waiting_.empty()) return;
      const auto work = std::move(waiting_.front());
      waiting_.pop_front();
      lock.unlock();
      work();
    }
  }

  std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<std::function<void()>> waiting_;  // guarded by mutex_
  bool closing_ = false;                       // guarded by mutex_
  std::vector<std::thread> threads_;
};

class S3Objects final : public Objects {
 public:
  explicit S3Objects(std::unique_ptr<S3Client> client)
      : client_(std::move(client)), senders_(client_->bucket().settings.transfers_max) {}

  Result<std::unique_ptr<Batch>> begin() override;
  Result<std::optional<std::string>> get(Kind kind, const std::string& hex, std::uint64_t bytes_max) const override;
  Result<std::optional<std::uint64_t>> size(Kind kind, const std::string& hex) const override;
  Result<void> each(Kind kind, const std::function<Result<void>(const std::string& hex)>& visit) const override;

  // Sends the object unless it is there with the same bytes; returns how many bytes were sent.
  [[nodiscard]] Result<std::uint64_t> put(Kind kind, const std::string& hex, std::string_view bytes) const;
  [[nodiscard]] Senders& senders() { return senders_; }
  [[nodiscard]] std::int64_t transfers_max() const { return client_->bucket().settings.transfers_max; }

 private:
  [[nodiscard]] std::string folder(Kind kind) const {
    return client_->bucket().prefix + (kind == Kind::chunk ? "chunks/" : "blobs/");
  }
  [[nodiscard]] std::string key(Kind kind, const std::string& hex) const {
    return fmt::format("{}{}/{}", folder(kind), hex.substr(0, 2), hex);
  }
  [[nodiscard]] Result<void> put_parts(const std::string& key, std::string_view bytes) const;
  [[nodiscard]] Result<std::string> send_parts(const std::string& key, const std::string& upload,
                                               std::string_view bytes) const;

  const std::unique_ptr<S3Client> client_;
  Senders senders_;
};

class S3Batch final : public Batch {
 public:
  explicit S3Batch(S3Objects& objects) : objects_(objects) {}
  S3Batch(const S3Batch&) = delete;
  S3Batch& operator=(const S3Batch&) = delete;
  ~S3Batch() override {
    std::unique_lock lock(mutex_);
    wait_for_fewer_than(1, lock);
  }

  Result<void> add(Kind kind, const std::string& hex, std::string_view bytes) override;
  Result<std::uint64_t> commit() override;

 private:
  void wait_for_fewer_than(std::int64_t count, std::unique_lock<std::mutex>& lock) {
    changed_.wait(lock, [&] { return under_way_ < count; });
  }
  void send(Kind kind, const std::string& hex, std::string_view bytes);

  S3Objects& objects_;
  std::set<std::pair<Kind, std::string>> added_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::int64_t under_way_ = 0;    // guarded by mutex_
  std::uint64_t bytes_new_ = 0;   // guarded by mutex_
  std::optional<Error> failure_;  // guarded by mutex_; the first
};

Result<void> S3Batch::add(Kind kind, const std::string& hex, std::string_view bytes) {
  if (!added_.emplace(kind, hex).second) return {};
  {
    std::unique_lock lock(mutex_);
    wait_for_fewer_than(objects_.transfers_max(), lock);
    if (failure_) return fail(*failure_);
    ++under_way_;
  }
  objects_.senders().run([this, kind, hex, copy = std::string(bytes)] { send(kind, hex, copy); });
  return {};
}

void S3Batch::send(Kind kind, const std::string& hex, std::string_view bytes) {
  auto sent = objects_.put(kind, hex, bytes);
  const std::lock_guard lock(mutex_);
  if (sent) {
    bytes_new_ += *sent;
  } else if (!failure_) {
    failure_ = std::move(sent).error();
  }
  --under_way_;
  changed_.notify_all();  // under the lock: whoever waits may end this batch as soon as it has it
}

Result<std::uint64_t> S3Batch::commit() {
  std::unique_lock lock(mutex_);
  wait_for_fewer_than(1, lock);
  if (failure_) return fail(*failure_);
  return bytes_new_;
}

Result<std::unique_ptr<Batch>> S3Objects::begin() { return std::make_unique<S3Batch>(*this); }

Result<std::uint64_t> S3Objects::put(Kind kind, const std::string& hex, std::string_view bytes) const {
  // What is there is read, not believed: this is how a damaged object heals.
  const auto there = get(kind, hex, bytes.size());
  if (there && *there == bytes) return 0;
  if (!there && there.error().code != Code::kTooLarge) return fail(there.error());
  const std::string name = key(kind, hex);
  if (bytes.size() > client_->bucket().settings.part_bytes) {
    TM_CHECK(put_parts(name, bytes));
  } else {
    TM_CHECK(
        client_->send({.method = "PUT", .key = name, .headers = {{kChecksum, base64_sha256(bytes)}}, .body = bytes}));
  }
  return bytes.size();
}

Result<void> S3Objects::put_parts(const std::string& key, std::string_view bytes) const {
  const S3Answer begun = TM_TRY(client_->send(
      {.method = "POST", .key = key, .query = {{"uploads", ""}}, .headers = {{"x-amz-checksum-algorithm", "SHA256"}}}));
  const std::string upload = xml_text(begun.body, "UploadId");
  auto done = [&]() -> Result<void> {
    const std::string list = TM_TRY(send_parts(key, upload, bytes));
    TM_CHECK(client_->send({.method = "POST", .key = key, .query = {{"uploadId", upload}}, .body = list}));
    return {};
  }();
  // Parts of an upload that is neither finished nor given up are paid for, for ever.
  if (!done) std::ignore = client_->send({.method = "DELETE", .key = key, .query = {{"uploadId", upload}}});
  return done;
}

// Returns the list that completes the upload.
Result<std::string> S3Objects::send_parts(const std::string& key, const std::string& upload,
                                          std::string_view bytes) const {
  std::string list = "<CompleteMultipartUpload>";
  for (int number = 1; !bytes.empty(); ++number) {
    const std::string_view part = bytes.substr(0, client_->bucket().settings.part_bytes);
    const std::string checksum = base64_sha256(part);
    const S3Answer sent = TM_TRY(client_->send({.method = "PUT",
                                                .key = key,
                                                .query = {{"partNumber", std::to_string(number)}, {"uploadId", upload}},
                                                .headers = {{kChecksum, checksum}},
                                                .body = part}));
    list += fmt::format("<Part><ChecksumSHA256>{}</ChecksumSHA256><ETag>{}</ETag><PartNumber>{}</PartNumber></Part>",
                        checksum, sent.etag, number);
    bytes.remove_prefix(part.size());
  }
  return list + "</CompleteMultipartUpload>";
}

Result<std::optional<std::string>> S3Objects::get(Kind kind, const std::string& hex, std::uint64_t bytes_max) const {
  // An error's text must fit, too.
  auto answer = TM_TRY(client_->send(
      {.method = "GET", .key = key(kind, hex), .answer_bytes_max = std::max<std::uint64_t>(bytes_max, 4096)}));
  if (answer.status == 404) return std::optional<std::string>();
  if (answer.body.size() > bytes_max) {
    return fail(Code::kTooLarge, "blobs.too_large",
                fmt::format("The object {} has more than {} bytes.", hex, bytes_max), "");
  }
  return std::optional(std::move(answer.body));
}

Result<std::optional<std::uint64_t>> S3Objects::size(Kind kind, const std::string& hex) const {
  const S3Answer answer = TM_TRY(client_->send({.method = "HEAD", .key = key(kind, hex)}));
  if (answer.status == 404) return std::optional<std::uint64_t>();
  return std::optional(answer.bytes);
}

Result<void> S3Objects::each(Kind kind, const std::function<Result<void>(const std::string& hex)>& visit) const {
  const std::string beneath = folder(kind);
  S3Query query{{"list-type", "2"}, {"prefix", beneath}};
  while (true) {
    const S3Answer page = TM_TRY(client_->send({.method = "GET", .query = query, .answer_bytes_max = 16 << 20}));
    for (const std::string& key : xml_texts(page.body, "Key")) TM_CHECK(visit(key.substr(key.rfind('/') + 1)));
    const std::string next = xml_text(page.body, "NextContinuationToken");
    if (xml_text(page.body, "IsTruncated") != "true" || next.empty()) return {};
    query = {{"list-type", "2"}, {"prefix", beneath}, {"continuation-token", next}};
  }
}

}  // namespace

std::unique_ptr<Objects> s3_objects(std::unique_ptr<S3Client> client) {
  return std::make_unique<S3Objects>(std::move(client));
}

Result<std::unique_ptr<Objects>> open_bucket(S3Bucket bucket, const Clock& clock) {
  const S3Query ask{{"list-type", "2"}, {"max-keys", "1"}, {"prefix", bucket.prefix}};
  auto client = std::make_unique<S3Client>(std::move(bucket), clock);
  TM_CHECK(client->send({.method = "GET", .query = ask}));
  return s3_objects(std::move(client));
}

}  // namespace tidemill::blobs
