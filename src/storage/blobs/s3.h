// A store in a bucket of any S3 API, shared by as many servers as like: what it holds is written once and never
// changed.
#pragma once

#include <boost/describe.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"
#include "storage/blobs/store.h"

namespace tidemill::blobs {

// Where the bucket is and how to talk with it; what an environment says wins over empty fields alone.
struct S3Settings {
  using json_defaults = void;
  std::string endpoint;  // "https://s3.example:9000"; empty: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, else AWS itself
  std::string region;    // empty: AWS_REGION, AWS_DEFAULT_REGION, else us-east-1
  std::string
      credentials_file;  // in the form of ~/.aws/credentials; empty: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY
  std::string profile = "default";            // of that file
  std::uint64_t part_bytes = 8 << 20;         // larger objects are sent in parts of this; S3 allows no part below 5 MiB
  std::int64_t transfers_max = 8;             // requests under way at once for what is being stored
  std::int64_t attempts_max = 5;              // of one request
  std::int64_t backoff_ms = 100;              // the longest wait before the 2nd attempt; doubles from there
  std::int64_t backoff_ms_max = 5'000;        // where doubling ends
  std::int64_t connect_timeout_ms = 5'000;    // for a connection with TLS
  std::int64_t stall_timeout_ms = 30'000;     // without a byte moving
  std::int64_t request_timeout_ms = 600'000;  // of one attempt as a whole
};
BOOST_DESCRIBE_STRUCT(S3Settings, (),
                      (endpoint, region, credentials_file, profile, part_bytes, transfers_max, attempts_max, backoff_ms,
                       backoff_ms_max, connect_timeout_ms, stall_timeout_ms, request_timeout_ms))

struct S3Credentials {
  std::string access_key;
  std::string secret_key;
  std::string session_token;  // of temporary credentials; else empty
};

// A bucket with everything that its requests need.
struct S3Bucket {
  std::string name;
  std::string prefix;   // of every key; empty or ending in '/'
  S3Settings settings;  // endpoint and region filled in
  S3Credentials credentials;
};

// Returns the value of an environment variable, or nothing.
using Environment = std::function<std::optional<std::string>(const char* name)>;

// Reads "s3://bucket/prefix" and completes it from the settings and the environment. kInvalidArgument for another
// form, a bad bucket name, endpoint or limit, or without credentials; kPermissionDenied when others may read the file
// of the credentials.
[[nodiscard]] Result<S3Bucket> s3_bucket(std::string_view url, const S3Settings& settings,
                                         const Environment& environment);

// Sizes that suit a bucket, where each request costs a round trip: 256 KiB, 1 MiB, 4 MiB.
[[nodiscard]] ChunkSizes s3_chunk_sizes();

class S3Store {
 public:
  // Asks the bucket once: kUnavailable "blobs.s3_unreachable" without an answer after all attempts, "blobs.s3_refused"
  // when it is answered no (the message holds S3's own words). The clock must outlive the store.
  [[nodiscard]] static Result<std::unique_ptr<Store>> create(S3Bucket bucket, const Clock& clock,
                                                             Options options = {.sizes = s3_chunk_sizes()});
};

}  // namespace tidemill::blobs
