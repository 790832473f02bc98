// Requests to one bucket: signed, sent by libcurl, tried again where that helps. Private to this room.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "storage/blobs/s3.h"
#include "storage/blobs/s3_signature.h"

namespace tidemill::blobs {

struct S3Request {
  std::string method;
  std::string key;  // within the bucket, with its prefix; empty: the bucket itself
  S3Query query{};
  std::map<std::string, std::string> headers{};  // x-amz-… in lowercase; all are signed
  std::string_view body{};                       // must live until send() returns
  std::uint64_t answer_bytes_max = 1 << 20;      // past it: kTooLarge "blobs.too_large"
};

struct S3Answer {
  long status = 0;
  std::string etag;         // with its quotes
  std::uint64_t bytes = 0;  // Content-Length
  std::string body;
};

// Any thread. Connections are kept and used again.
class S3Client {
 public:
  S3Client(S3Bucket bucket, const Clock& clock);
  ~S3Client();
  S3Client(const S3Client&) = delete;
  S3Client& operator=(const S3Client&) = delete;

  // Returns the answer when it is 2xx, or a 404 that means this key; an S3 error inside a 200 counts as an error.
  // Failed connections, cut bodies, 429, 5xx and S3's own "try again" are tried again, with waits that double and are
  // drawn at random up to their length. Afterwards: kUnavailable "blobs.s3_unreachable" without any answer,
  // "blobs.s3_refused" with S3's code and message; kExhausted "storage.disk_full" for 507.
  [[nodiscard]] Result<S3Answer> send(const S3Request& request) const;

  [[nodiscard]] const S3Bucket& bucket() const { return bucket_; }

 private:
  struct Attempt;
  class Handle;

  void attempt(const S3Request& request, Attempt& attempt) const;
  [[nodiscard]] std::map<std::string, std::string> signed_headers(const S3Request& request,
                                                                  const std::string& path) const;
  [[nodiscard]] Error failure(const S3Request& request, const Attempt& attempt) const;

  const S3Bucket bucket_;
  const Clock& clock_;
  const std::string scheme_;       // "https://"
  const std::string host_;         // with the port where one was given
  const std::string path_prefix_;  // "/bucket" where the host does not name it

  mutable std::mutex mutex_;
  mutable std::vector<void*> idle_;  // guarded by mutex_; CURL handles
};

// Returns the text within each <tag>…</tag> in order, entities decoded. For S3's flat answers only, not for XML at
// large.
[[nodiscard]] std::vector<std::string> xml_texts(std::string_view xml, std::string_view tag);
// Returns the first of them, or "".
[[nodiscard]] std::string xml_text(std::string_view xml, std::string_view tag);

}  // namespace tidemill::blobs
